#!/usr/bin/env bash
# Feature cards of a small run: numbers that agree with features.json, contexts, colours, the page.
. "$(dirname "$0")/lib.sh"

expect 3 "there is no SAE yet" "$LETHE" inspect --out none
ok "$LETHE" train --out run --epochs 1 --expansion 4 --k 8 --max-tokens 16000 --quiet
expect 3 "no features are chosen yet" "$LETHE" inspect --out run
ok "$LETHE" features --out run --min-forget-fires 8 --num-features 6 --near-weight 1 --retain-weight 1 --quiet
ok "$LETHE" inspect --out run --quiet
check "a table" grep -q "^feature    share   forget" out
cp out by_out
ok "$LETHE" inspect run --quiet
check "a run by its name alone" cmp -s out by_out
check "cards" grep -q "^  promotes " out
check "no escapes where no terminal is" bash -c "! grep -q $'\x1b' out"
check "the peak is marked" grep -qE '^  forget +[0-9.e+]+  .*\[[^]]+\]' out
check "cards.json" [ "$("$JSONGET" run/cards.json format)" = lethe-cards-1 ]
n=$("$JSONGET" run/features.json features.#)
number run/cards.json features.# '==' "$n"
sum=0
for ((i = 0; i < n; i++)); do # by share here, by score there
    index=$("$JSONGET" run/cards.json features.$i.index)
    for ((j = 0; j < n; j++)); do [ "$("$JSONGET" run/features.json features.$j.index)" = "$index" ] && break; done
    number run/cards.json features.$i.statistics.forget.fires '==' "$("$JSONGET" run/features.json features.$j.forget_fires)"
    number run/cards.json features.$i.statistics.near.fires '==' "$("$JSONGET" run/features.json features.$j.near_fires)"
    number run/cards.json features.$i.promotes.# '==' 12
    sum=$(awk -v a="$sum" -v b="$("$JSONGET" run/cards.json features.$i.share)" 'BEGIN { print a + b }')
done
check "the shares are all" awk -v s="$sum" 'BEGIN { exit !(s > 0.9999 && s < 1.0001) }'
number run/cards.json features.0.contexts.0.peak '==' "$("$JSONGET" run/cards.json features.0.statistics.forget.max)"
number run/cards.json features.0.contexts.0.tokens.# '>' 1

# From the model instead of the store: the same cards but for the rounding of stored rows.
first=$("$JSONGET" run/cards.json features.0.index)
ok "$LETHE" inspect --out run --feature "$first" --json --quiet
check "one card" [ "$("$JSONGET" out features.#)" = 1 ]
check "the asked one" [ "$("$JSONGET" out features.0.index)" = "$first" ]
number run/cards.json features.# '==' "$n"
for ((other = 0; ; other++)); do "$JSONGET" run/features.json features | grep -q "\"index\":$other," || break; done
cp run/cards.json before.json
ok "$LETHE" inspect --out run --feature "$other" --json --quiet
check "one that is not chosen has no share" [ "$("$JSONGET" out features.0.share)" = null ]
check "and is not written" cmp -s before.json run/cards.json
ok "$LETHE" inspect --out run --contexts 0 --feature "$first" --json --quiet
check "no contexts" [ "$("$JSONGET" out features.0.contexts.#)" = 0 ]
cp before.json run/cards.json

# On a terminal: colours, unless NO_COLOR says no.
if command -v script >/dev/null; then
    colours() { TERM=xterm-256color script -qec "$* inspect --out run --feature $first --quiet" /dev/null </dev/null >term 2>&1; }
    colours "$LETHE"
    check "colours on a terminal" grep -q $'\x1b\\[48;5;' term
    NO_COLOR=1 colours "$LETHE"
    check "NO_COLOR is respected" bash -c "! grep -q $'\x1b' term"
fi

ok "$LETHE" eval --out run --probes few_probes.json --eval-tokens 500 --max-new-tokens 4 --measures none --attacks none --quiet
ok "$LETHE" report run --format html --quiet
check "the page is well-formed" "$HTMLCHECK" run/report.html
check "the page has the card" grep -q "id=\"f-$first\"" run/report.html

expect 2 "--feature: got 99999" "$LETHE" inspect --out run --feature 99999
expect 2 "--contexts: got -1" "$LETHE" inspect --out run --contexts -1
finish
