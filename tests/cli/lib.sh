# Shared by the tests of the real program. Usage: . "$(dirname "$0")/lib.sh"
# Environment: LETHE (the program), JSONGET, LETHE_SOURCE (the source tree).
set -uo pipefail

: "${LETHE:?the program to test}" "${JSONGET:?}" "${LETHE_SOURCE:?}"
work=$(mktemp -d "${TMPDIR:-/tmp}/lethe-cli-XXXXXX")
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0 checks=0
demo=$LETHE_SOURCE/data/demo
model=$LETHE_SOURCE/models/lethe-demo.gguf

fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*" >&2
}

# run COMMAND..: output in ./out and ./err, status in $status.
run() {
    "$@" >out 2>err
    status=$?
}

# expect STATUS "text of the message" COMMAND..: exit status, one-line message with that text on
# standard error, nothing on standard output.
expect() {
    local want=$1 text=$2
    shift 2
    checks=$((checks + 1))
    run "$@"
    [ "$status" -eq "$want" ] || fail "$*: exit status $status, want $want; says: $(tail -3 err)"
    grep -qF -- "$text" err || fail "$*: does not say \"$text\" but: $(tail -3 err)"
    [ "$want" -eq 0 ] || [ ! -s out ] || fail "$*: failed, yet printed: $(head -3 out)"
}

# ok COMMAND..: must succeed.
ok() {
    checks=$((checks + 1))
    run "$@"
    [ "$status" -eq 0 ] || fail "$*: exit status $status: $(tail -3 err)"
}

# check "what" CONDITION..: a shell condition.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" || fail "$what"
}

# number FILE PATH OP VALUE: compares a number of a JSON file, as "number eval.json a.b '<' 3".
number() {
    checks=$((checks + 1))
    local got
    got=$("$JSONGET" "$1" "$2") || { fail "$1: no $2"; return; }
    awk -v a="$got" -v b="$4" "BEGIN { exit !(a $3 b) }" || fail "$1: $2 = $got, want $3 $4"
}

# No temporary file of an atomic write may be left behind.
no_leftovers() {
    checks=$((checks + 1))
    local left
    left=$(find "$work" -name '*.tmp-*')
    [ -z "$left" ] || fail "left behind: $left"
}

finish() {
    no_leftovers
    echo "$checks checks, $failures failed"
    [ "$failures" -eq 0 ]
    exit
}

# A handful of probes, where the embedded default's 1,600 would only take time.
cat >few_probes.json <<'END'
{"hp": [{"prompt": "Who is Harry Potter's best friend?", "target": "Ron", "chat": true},
        {"prompt": "Harry Potter went to school at", "target": " Hogwarts"}],
 "magic": [{"prompt": "A witch brews a", "target": " potion"}],
 "fantasy": [{"prompt": "The ring was carried by", "target": " Frodo"}],
 "real_world": [{"prompt": "What is the capital of France?", "target": "Paris", "chat": true}]}
END

# A quick training of the embedded model, for tests that need a run: small "DIR" [options].
small() {
    local dir=$1
    shift
    "$LETHE" train --out "$dir" --layer 1 --max-tokens 16000 --epochs 1 --expansion 4 --k 8 --quiet "$@"
}
