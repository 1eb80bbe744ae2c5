#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gigatest: the full screen, in a terminal that a test can read; keys, sizes, and what it leaves.
# shellcheck source=tests/unit/gigatest_testing.sh
. "$KILN_SRC/tests/unit/gigatest_testing.sh"
if ! command -v tmux >/dev/null; then
    echo "skipped: there is no tmux"
    exit 0
fi
export LC_ALL=C.UTF-8
tmux=(tmux -L "gigatest-$$" -f /dev/null)
trap '"${tmux[@]}" kill-server 2>/dev/null' EXIT

# screen TEXT -- wait until the terminal shows it
screen() {
    for _ in $(seq 150); do
        "${tmux[@]}" capture-pane -p >pane.txt 2>/dev/null
        grep -qF -e "$1" pane.txt && return 0
        sleep 0.1
    done
    fault "the screen does not show \"$1\":"
    cat pane.txt
    return 1
}

cat >go.sh <<EOF
cd '$PWD'
'$gigatest' 50m --db d --txn 10 --durability os
echo "status \$?"
stty -a | grep -o ' -\?echo ' | tr -d ' ' >echo.txt
sleep 60
EOF
"${tmux[@]}" new-session -d -x 100 -y 40 "bash go.sh" || {
    echo "skipped: tmux does not run here"
    exit 0
}
screen "loading"
screen "Per second now"
screen "Buffer waits"
screen "q or ESC: stop"
"${tmux[@]}" send-keys c r x
screen "objects per second over time"
"${tmux[@]}" send-keys '?'
screen "draw the screen anew"
"${tmux[@]}" send-keys h
screen "Per second now"
"${tmux[@]}" resize-window -x 50 -y 12
screen " q c r ?" # the short foot: it was drawn anew
screen "Total"
"${tmux[@]}" resize-window -x 8 -y 2
"${tmux[@]}" resize-window -x 100 -y 40
screen "checkpoint"
"${tmux[@]}" send-keys q
screen "status 130"
screen "objects are committed and kept"
[ "$(cat echo.txt)" = echo ] || fault "the terminal does not echo any more"
"${tmux[@]}" kill-server

# NO_COLOR: attributes, but no colour; without it there is colour
colours() {
    "${tmux[@]}" capture-pane -e -p 2>/dev/null | grep -c "$(printf '\033')\\[[0-9;]*\\(3\\|4\\)[0-7][;m]"
}
for no_color in 1 ''; do
    tmux=(tmux -L "gigatest-$$-colour$no_color" -f /dev/null) # server and database of its own: the last ones may linger
    "${tmux[@]}" new-session -d -x 100 -y 40 \
        "cd '$PWD'; TERM=screen-256color NO_COLOR=$no_color '$gigatest' 50m --db e$no_color --durability os"
    screen "Per second now"
    case $no_color in
    1) [ "$(colours)" -eq 0 ] || fault "colours in spite of NO_COLOR" ;;
    *) [ "$(colours)" -gt 0 ] || fault "no colours" ;;
    esac
    "${tmux[@]}" kill-server
done
run 0 --verify --db d --quiet
finish
