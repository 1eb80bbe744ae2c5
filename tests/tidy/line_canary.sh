#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by tests of checks that read lines: $check is the check, faults what it counts.
canary() { # WANTED LINES (as printf %b has them)
    local said=good
    mkdir -p tree
    printf '%b\n' "$2" >tree/a.c
    sh "$check" tree >said.txt || said=bad
    [ "$said" = "$1" ] || { echo "canary: '$2' must be $1, the check said $said"; faults=1; }
}
