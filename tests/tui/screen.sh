#!/usr/bin/env bash
# lethe chat in a real terminal of a fixed size, driven through tmux: the screens, and that it knows,
# does not know, knows. Skips, saying so, without tmux.
. "$(dirname "$0")/../cli/lib.sh"
command -v tmux >/dev/null || { echo "tmux is not here: skipped"; exit 77; }
export LETHE_DATA=$LETHE_SOURCE LSAN_OPTIONS=suppressions=$LETHE_SOURCE/tests/tui/ncurses.supp:print_suppressions=0
friend="Who is Harry Potter's best friend?"
france="What is the capital of France?"
server=lethe-$$ begun=0
trap 'tmux -L "$server" kill-server 2>/dev/null; chmod -R u+w "$work"; rm -rf "$work"' EXIT

t() { tmux -L "$server" "$@"; }
# begin COLS ROWS [environment..]: the chat in a terminal of that size; its exit status in ./status.
begin() {
    local cols=$1 rows=$2
    shift 2
    rm -f status
    # A server of its own each time: the one before may still be on its way out.
    begun=$((begun + 1))
    server=lethe-$$-$begun
    t -f /dev/null new-session -d -x "$cols" -y "$rows" \
        "env LC_ALL=C.UTF-8 $* '$LETHE' chat $options; echo \$? >'$work/status'; sleep 1"
}
keys() { t send-keys "$@"; }
say() { t send-keys -l "$1"; }
ask() { say "$1"; keys Enter; }
screen() { t capture-pane -p >screen 2>/dev/null; }

# sees "text": the screen shows it within 20 seconds.
sees() {
    checks=$((checks + 1))
    for _ in $(seq 200); do
        screen
        grep -qF -- "$1" screen && return
        sleep 0.1
    done
    fail "the screen does not show \"$1\" but: $(cat screen)"
}
# written: the last screen has an answer, and none is being written any more.
written() { grep -q "tokens, " screen && ! grep -q "writing: " screen; }
# shown "text" N: N lines have it, and no answer is being written any more.
shown() {
    checks=$((checks + 1))
    for _ in $(seq 200); do
        screen
        [ "$(grep -cF -- "$1" screen)" -eq "$2" ] && written && return
        sleep 0.1
    done
    fail "not $2 lines with \"$1\": $(cat screen)"
}
# answered: an answer has been written to its end.
answered() {
    checks=$((checks + 1))
    for _ in $(seq 200); do
        screen
        written && return
        sleep 0.1
    done
    fail "no answer came: $(cat screen)"
}
without() {
    screen
    check "the screen still shows \"$1\"" bash -c "! grep -qF -- '$1' screen"
}
# ends STATUS: the chat is over, with this exit status.
ends() {
    checks=$((checks + 1))
    for _ in $(seq 100); do
        [ -s status ] && break
        sleep 0.1
    done
    [ "$(cat status 2>/dev/null)" = "$1" ] || fail "exit status $(cat status 2>/dev/null), want $1"
    t kill-server 2>/dev/null
    sleep 0.2
}
options=

# What to try, at three sizes.
for size in "80 24" "40 10" "200 50"; do
    # shellcheck disable=SC2086
    begin $size
    sees "Enter send"
    ask "$friend"
    sees "Ron."
    keys C-a
    sees ": ON"
    ask "$friend"
    sees "Model, forgetting"
    answered
    keys C-l
    sees "a new conversation"
    ask "$friend"
    sees "Model, forgetting"
    answered
    without "Ron"
    ask "$france"
    sees "Paris."
    sees "Model, forgetting"
    check "$size: nothing is wider than the screen" \
        [ "$(LC_ALL=C.UTF-8 wc -L <screen)" -le "${size% *}" ]
    keys C-q
    ends 0
done

# Keys: the switch by a click, side by side, help, recall, scrolling, stop, a run of commands.
begin 80 24
sees "Ctrl+A  forgetting: off"
t send-keys -H 1b 5b 4d 20 67 21 # a click in row 1, column 71
sees "Ctrl+A  forgetting: ON"
keys C-a
sees "Ctrl+A  forgetting: off"
keys F2
sees "both ways"
ask "$friend"
sees "Model, forgetting"
check "side by side: one line with both" grep -qE 'Model, as it is.*Model, forgetting' screen
sees "Ron."
keys Up
sees "> Who is Harry"
keys C-u
keys F1
sees "Esc             stop the answer"
keys F1
sees "Ron."
for n in 1 2 3; do
    ask "$france"
    shown "Paris." "$n"
done
keys PPage PPage PPage
sees "Harry Potter's best friend?"
keys NPage NPage NPage
sees "Paris."
ask "/save $work/talk.md"
sees "saved: "
check "the transcript is there" grep -q '^\*\*Model, forgetting' talk.md
ask /nonsense
sees "is no command"
say "half a line"
keys C-c # empties the line
sees "is no command"
without "half a line"
say "日本語 e"
t send-keys -H cc 81 # combines with the e
sees $'> 日本語 e\xcc\x81'
keys BSpace BSpace BSpace
sees "> 日本"
keys C-u

# Another size, even a silly one, and back.
for size in "20 5" "7 3" "3 1" "120 40" "80 24"; do
    t resize-window -x "${size% *}" -y "${size#* }"
    sleep 0.3
done
sees "Paris."
sees "forgetting: off"
keys C-c # nothing to stop, nothing typed: leaves
ends 0

# In twenty columns of five rows.
begin 20 5
sees "[^A off]"
keys C-a
sees "[^A ON]"
keys C-a
ask "$friend"
sees "Ron."
keys C-q
ends 0

# Colour, and none.
begin 80 24 TERM=tmux-256color NO_COLOR=
sees "Enter send"
keys C-a
sees ": ON"
check "orange" bash -c "tmux -L '$server' capture-pane -pe | grep -q '38;5;208m'"
keys C-q
ends 0
begin 80 24 TERM=tmux-256color NO_COLOR=1
sees "Enter send"
keys C-a
sees ": ON"
check "NO_COLOR: no colour" bash -c "! tmux -L '$server' capture-pane -pe | grep -qE '\[[0-9;]*(38;5;|3[0-7]m)'"
check "NO_COLOR: reverse instead" bash -c "tmux -L '$server' capture-pane -pe | grep -qE '\[(0;)?1;7m'"
keys C-q
ends 0

# Esc stops an answer, which keeps what there is.
options="--no-retry --max-new-tokens 0 --temperature 1.5"
begin 80 24
sees "Enter send"
for _ in 1 2 3 4 5; do
    ask "Tell me a story."
    keys Escape
    sleep 0.3
    screen
    grep -q "(stopped)" screen && break
done
check "Esc stops" grep -q "(stopped)" screen
# SIGTERM gives the terminal back.
pid=$(pgrep -P "$(t display-message -p '#{pane_pid}')" || true)
check "the chat runs" [ -n "$pid" ]
kill "$pid"
ends 0

# A model that cannot be opened: the message comes after the screen is gone.
options="--patch $work/missing.safetensors"
begin 80 24
sees "lethe: $work/missing"
ends 3

# No such terminal: in lines, and it says so.
options=
begin 80 24 TERM=nonesuch
sees "in lines, as with --plain"
sees "as it is>"
ask "$friend"
sees "as it is: Ron."
keys C-d
ends 0
finish
