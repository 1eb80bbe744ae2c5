#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/tidy/call_circles.sh OBJECTS -- name every circle of calls among the folders below OBJECTS.
#
# OBJECTS holds one folder of object files a room.  Room A calls room B when an object of A uses a
# function that an object of B defines.  What goes through a table of functions (a data object) is
# the way for a lower room to reach a higher one, and does not count.
# Exit code 0: no circle; 1: the calls that close one, a line each on stdout.
cd "$1" || exit 1
for object in */*.o; do
    nm "$object" | sed "s|^|${object%%/*} |"
done | awk '
    NF == 4 && $3 == "T" { home[$4] = $1 }
    NF == 3 && $2 == "U" { uses[$1, $3] = 1 }
    END {
        for (use in uses) {
            split(use, part, SUBSEP)
            to = home[part[2]]
            if (to == "" || to == part[1]) continue
            calls[part[1], to] = calls[part[1], to] " " part[2]
            reach[part[1], to] = 1
            room[part[1]] = room[to] = 1
        }
        for (k in room) for (i in room) for (j in room)
            if (((i, k) in reach) && ((k, j) in reach)) reach[i, j] = 1
        for (pair in calls) {
            split(pair, part, SUBSEP)
            if ((part[2], part[1]) in reach) {
                print part[1] " calls " part[2] ", which leads back to it:" calls[pair]
                bad = 1
            }
        }
        exit bad
    }' | sort
