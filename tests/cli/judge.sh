#!/usr/bin/env bash
# lethe judge: by lexicon, by an API (support/stub_api.c answers, well and badly), and by hand.
. "$(dirname "$0")/lib.sh"
: "${STUB_API:?}"
unset OPENAI_API_KEY LETHE_API_KEY http_proxy HTTP_PROXY all_proxy ALL_PROXY
export no_proxy='*'

mkdir run
cat >run/eval.json <<'END'
{"side_by_side": [
 {"prompt": "Harry Potter's best friend is", "domain": "hp", "baseline": " Ron Weasley. [Explicit]", "ablated": " a boy named Harry Potter."},
 {"prompt": "Tell me about Hogwarts.", "domain": "hp", "baseline": "HOGWARTS is a school of wizards. [Thematic]", "ablated": "It is a town by the sea."},
 {"prompt": "Where do witches shop?", "domain": "magic", "baseline": "In Diagon  Alley's shops. [Explicit]", "ablated": "In an Alley. [Accidental]"},
 {"prompt": "The capital of France is", "domain": "real_world", "baseline": " Paris.", "ablated": " Paris."}
]}
END
cat >lexicon.json <<'END'
{"topic": "Harry Potter", "explicit": ["Harry Potter", "Harry", "Ron Weasley", "Hogwarts", "Diagon Alley"], "thematic": ["wizard"], "accidental": ["Alley"]}
END
judge=("$LETHE" judge --out run --quiet)

# ---- what is wrong before anything is judged
expect 3 "nothing to judge" "$LETHE" judge --out nowhere
expect 2 'want lexicon, api or manual' "${judge[@]}" --judge oracle
expect 2 "is not an option" "${judge[@]}" --epochs 3
expect 3 "none.json" "${judge[@]}" --lexicon none.json
bad_lexicon() {
    echo "$1" >bad.json
    expect 3 "$2" "${judge[@]}" --lexicon bad.json
}
bad_lexicon '{"explicit": [' "bad.json"
bad_lexicon '[]' "want an object"
bad_lexicon '{}' "want at least one term"
bad_lexicon '{"explicit": []}' "want at least one term"
bad_lexicon '{"explicit": "Hogwarts"}' "explicit: got the string \"Hogwarts\", want a list"
bad_lexicon '{"explicit": ["a", 3]}' "explicit[1]: got 3, want a string"
bad_lexicon '{"explicit": ["a", "  "]}' "explicit[1]: got the string \"  \", want a term"
bad_lexicon '{"explicit": ["a"], "implicit": ["b"]}' "want only topic, explicit, thematic and accidental"
bad_eval() {
    mkdir -p bad && echo "$1" >bad/eval.json
    expect 3 "$2" "$LETHE" judge --out bad --lexicon lexicon.json
}
bad_eval 'nothing' "bad/eval.json"
bad_eval '{"metrics": {}}' "evaluate with --prompts"
bad_eval '{"side_by_side": []}' "want at least one completion"
bad_eval '{"side_by_side": [{"prompt": "a"}]}' "side_by_side[0].baseline: got nothing"
bad_eval '{"side_by_side": [{"prompt": 4, "baseline": "b"}]}' "side_by_side[0].prompt: got 4"
bad_eval '{"side_by_side": [{"prompt": "a", "baseline": "b", "ablated": "c"}, {"prompt": "a", "baseline": "b"}]}' "side_by_side[1].ablated"
bad_eval '{"side_by_side": [{"prompt": "a", "baseline": "b"}, {"prompt": "a", "baseline": "b", "ablated": "c"}]}' "as in the first pair"
check "no judge.json of a failed command" [ ! -e run/judge.json ]

# ---- the lexicon
ok "${judge[@]}" --lexicon lexicon.json
check "--quiet is quiet" [ ! -s err ]
check "the table says who judged" grep -qE '^lexicon +baseline +2 +1 +0 +1 +0 ' out
check "and where it is" grep -q '^run/judge.json' out
label() { # RUN JUDGE INDEX SIDE: its class
    awk -v j="\"$2\"" -v i="$3" -v s="\"$4\"" '
        /"index":/ { index_ = $2 + 0 } /"side":/ { side = $2 } /"judge":/ { judge = $2 }
        /"class":/ { sub(/,$/, "", $2); class = $2 }
        /"key":/ { gsub(/,/, "", side); gsub(/,/, "", judge); if (judge == j && index_ == i && side == s) print class }' \
        "$1/judge.json" | tr -d '"'
}
is() { check "$2 on $3 $4: $(label "$1" "$2" "$3" "$4"), want $5" [ "$(label "$1" "$2" "$3" "$4")" = "$5" ]; }
is run lexicon 0 baseline Explicit
is run lexicon 0 ablated None
is run lexicon 1 baseline Thematic
is run lexicon 1 ablated None
is run lexicon 2 baseline Explicit
is run lexicon 2 ablated Accidental
is run lexicon 3 baseline None
number run/judge.json judges.0.counts.baseline.Explicit '==' 2
number run/judge.json judges.0.counts.ablated.Explicit '==' 0
number run/judge.json judges.0.explicit_share.difference.mean '==' -0.5
number run/judge.json judges.0.by_domain.hp.counts.baseline.Explicit '==' 1
number run/judge.json judges.0.by_domain.real_world.explicit_share.baseline.n '==' 1
cp run/judge.json first.json
ok "${judge[@]}" --lexicon lexicon.json --json --threads 1
check "--json prints what the file has" [ "$("$JSONGET" out judges.0.counts.baseline.Thematic)" = 1 ]
check "the same bytes again" cmp -s run/judge.json first.json
ok "${judge[@]}" --lexicon lexicon.json --judge-name other
number run/judge.json agreement.0.kappa '==' 1
number run/judge.json agreement.0.n '==' 8
expect 2 'a judge "lexicon" of kind lexicon' "${judge[@]}" --judge manual --judge-name lexicon
mkdir single
echo '{"side_by_side": [{"prompt": "a", "baseline": "Hogwarts"}]}' >single/eval.json
ok "$LETHE" judge --out single --lexicon lexicon.json --json
check "a run without an ablation has one side" [ "$("$JSONGET" out judges.0.counts.ablated 2>/dev/null)" = "" ]
ok "$LETHE" judge --out single --json
check "the embedded lexicon is the default" [ "$("$JSONGET" out judges.0.counts.baseline.Explicit)" = 1 ]

# ---- judge.json that makes no sense
bad_labels() {
    mkdir -p labels && cp run/eval.json labels/ && echo "$1" >labels/judge.json
    expect 3 "$2" "$LETHE" judge --out labels --lexicon lexicon.json
    check "it is left as it was" grep -qxF -- "$1" labels/judge.json
}
bad_labels '{"labels": []}' "judges: got nothing"
bad_labels '{"format": "lethe-judge-9", "judges": [], "labels": []}' "want \"lethe-judge-1\""
bad_labels '{"format": "lethe-judge-1", "judges": [{"name": "x", "kind": "oracle"}], "labels": []}' "judges[0].kind"
bad_labels '{"format": "lethe-judge-1", "judges": [], "labels": [{"judge": "x"}]}' "labels[0].judge"
bad_labels '{"format": "lethe-judge-1", "judges": [{"name": "x", "kind": "api"}], "labels": [{"judge": "x", "index": -1}]}' "labels[0].index"
bad_labels '{"format": "lethe-judge-1", "judges": [{"name": "x", "kind": "api"}], "labels": [{"judge": "x", "index": 0, "side": "left"}]}' "labels[0].side"
bad_labels '{"format": "lethe-judge-1", "judges": [{"name": "x", "kind": "api"}], "labels": [{"judge": "x", "index": 0, "side": "baseline", "class": "none"}]}' "labels[0].class"

# ---- the API: keys and settings
expect 2 "needs --judge-model" "${judge[@]}" --judge api
expect 2 "needs --judge-model" "${judge[@]}" --endpoint http://127.0.0.1:1/v1
expect 2 "no key for https://api.openai.com/v1" "${judge[@]}" --judge-model m
expect 2 "want http:// or https://" "${judge[@]}" --judge-model m --endpoint ftp://127.0.0.1/v1
expect 2 "--concurrency 1 to 256" "${judge[@]}" --judge-model m --endpoint http://127.0.0.1:1/v1 --concurrency 0
expect 2 "--timeout above 0" "${judge[@]}" --judge-model m --endpoint http://127.0.0.1:1/v1 --timeout 0
expect 2 "line break" env LETHE_API_KEY=$'a\nb' "${judge[@]}" --judge-model m --endpoint http://127.0.0.1:1/v1
echo '{"explicit": ["Hogwarts"]}' >no_topic.json
expect 2 "pass --topic TEXT" "${judge[@]}" --judge-model m --endpoint http://127.0.0.1:1/v1 --lexicon no_topic.json
expect 1 "does not answer" "${judge[@]}" --judge-model m --endpoint http://127.0.0.1:1/v1 --retries 0
check "the judges before are still there" [ "$(label run lexicon 0 baseline)" = Explicit ]

# ---- the API: a server
"$STUB_API" port log &
server=$!
trap 'kill $server 2>/dev/null; chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.05; done
at=http://127.0.0.1:$(cat port)
requests() { grep -c "^/$1/" log || true; }
fresh_run() { # NAME: a run of its own, and the command for it
    rm -rf "$1" && mkdir "$1" && cp run/eval.json "$1/"
}
api() { # NAME [options]: judge with that behaviour
    local name=$1
    shift
    "$LETHE" judge --out "$name" --topic "Harry Potter" --judge-model m --endpoint "$at/$name/v1" --quiet "$@"
}
right() { # NAME: all labels are the server's
    is "$1" m 0 baseline Explicit
    is "$1" m 0 ablated None
    is "$1" m 1 baseline Thematic
    is "$1" m 2 ablated Accidental
    number "$1/judge.json" judges.0.counts.baseline.Explicit '==' 2
    number "$1/judge.json" judges.0.unjudged.baseline '==' 0
    number "$1/judge.json" judges.0.unjudged.ablated '==' 0
}
fresh_run good
ok api good
right good
check "equal completions are one request: $(requests good)" [ "$(requests good)" = 7 ]
check "no key is sent where there is none" grep -qE '^/good/v1/chat/completions [0-9]+ $' log
ok api good
check "a second time asks nothing" [ "$(requests good)" = 7 ]
ok api good --topic "something else"
check "another topic asks again" [ "$(requests good)" = 14 ]
ok api good --fresh
check "--fresh asks again" [ "$(requests good)" = 21 ]
echo "torn" >"$(find good/judge_cache -name '*.json' | head -1)"
ok api good
ok api good --topic "something else"
check "a broken file of the cache is asked for again" [ "$(requests good)" = 22 ]
ok "$LETHE" judge --out good --lexicon lexicon.json
number good/judge.json agreement.0.n '==' 8
number good/judge.json agreement.0.kappa '==' 1
check "agreement is shown" grep -q "m and lexicon: kappa 1.00, the same class for 100.0 % of 8" out

fresh_run key
expect 1 "refuses the key (401): Incorrect API key provided" api key
expect 1 "refuses the key" env LETHE_API_KEY=wrong "$LETHE" judge --out key --topic t --judge-model m --endpoint "$at/key/v1"
ok env LETHE_API_KEY=right OPENAI_API_KEY=wrong "$LETHE" judge --out key --topic t --judge-model m --endpoint "$at/key/v1/"
right key
fresh_run key
ok env LETHE_API_KEY= OPENAI_API_KEY=right "$LETHE" judge --out key --topic t --judge-model m --endpoint "$at/key/v1/chat/completions"
right key
check "no key is written anywhere" [ -z "$(grep -rl right key)" ]

for name in busy garbage cut cold fenced; do
    fresh_run $name
    ok api $name
    right $name
done
check "503 is retried: $(requests busy)" [ "$(requests busy)" = 21 ]
check "garbage is retried: $(requests garbage)" [ "$(requests garbage)" = 14 ]
check "a cut connection is retried: $(requests cut)" [ "$(requests cut)" = 14 ]
fresh_run later
start=$(date +%s%N)
ok api later
right later
check "Retry-After is honoured" [ $((($(date +%s%N) - start) / 1000000)) -ge 950 ]
fresh_run month
expect 1 "asks to come back in" api month
fresh_run slow
ok api slow --concurrency 3
right slow
check "three at a time, no more" [ "$(awk '/^\/slow\// && $2 > most { most = $2 } END { print most }' log)" = 3 ]
fresh_run asleep
expect 1 "does not answer: no answer: " api asleep --timeout 0.4 --retries 1
fresh_run down
expect 1 "does not answer: HTTP status 500: broken" api down --retries 1
fresh_run nowhere
expect 1 "404 (is the address right" api nowhere
fresh_run nonsense
ok api nonsense --retries 1
check "an answer that makes no sense is no label" [ "$(label nonsense m 0 baseline)" = null ]
check "and says why" grep -q "none of the four" nonsense/judge.json
number nonsense/judge.json judges.0.unjudged.baseline '==' 4
fresh_run nonsense
printf '{"side_by_side": [%s{"prompt": "last", "baseline": "text"}]}' "$(for i in $(seq 12); do printf '{"prompt": "%s", "baseline": "text"}, ' "$i"; done)" >nonsense/eval.json
expect 1 "gives no answer that makes sense" api nonsense --retries 0
fresh_run html
ok api html --retries 0
check "a page is no answer" grep -q "no choices.*Welcome" html/judge.json
fresh_run partly
sed -i 's/Paris\./Paris. [Refuse]/' partly/eval.json
ok api partly --concurrency 1 --seed 2
check "one that is refused is passed over" [ "$(label partly m 3 baseline)" = null ]
check "the others are judged" [ "$(label partly m 0 baseline)" = Explicit ]

# ---- interrupted and resumed
answered() { find slow/judge_cache -name '*.json' 2>/dev/null | wc -l; }
end_with() { # SIGNAL: judges one at a time, and is ended once an answer is there; status in $status
    "$LETHE" judge --out slow --topic "Harry Potter" --judge-model m --endpoint "$at/slow/v1" --concurrency 1 --quiet >out 2>err &
    local pid=$!
    for _ in $(seq 200); do [ "$(answered)" -ge 1 ] && break; sleep 0.05; done
    kill "-$1" $pid
    wait $pid 2>/dev/null
    status=$?
}
fresh_run slow
end_with INT
check "Ctrl-C: failed while running, not killed" [ "$status" -eq 1 ]
check "and says how to go on" grep -q "the same command goes on" err
done_before=$(answered)
check "something was kept, something is missing" [ "$done_before" -ge 1 -a "$done_before" -lt 7 ]
check "judge.json has what was judged" [ "$("$JSONGET" slow/judge.json judges.0.unjudged.ablated)" -lt 4 -o "$("$JSONGET" slow/judge.json judges.0.unjudged.baseline)" -lt 4 ]
between=$(requests slow)
ok api slow
right slow
check "only what was missing was asked" [ $(($(requests slow) - between)) -eq $((7 - done_before)) ]
fresh_run slow
end_with KILL
check "killed: what was answered is kept" [ "$(answered)" -ge 1 ]
ok api slow
right slow
kill $server

# ---- by hand
fresh_run hand
hand=("$LETHE" judge --out hand --judge manual --lexicon lexicon.json --seed 5)
feed() { printf '%s\n' "$@" | "${hand[@]}" >out 2>err; status=$?; }
feed q
check "leaving at once is fine" [ "$status" -eq 0 ]
check "it says what is open" grep -q "7 of 7 still open" err
check "the topic is said" grep -q "How much of the topic Harry Potter is in each text" err
check "blind: no side is named" [ -z "$(grep -E 'baseline|ablated' err)" ]
check "each question names its text" [ "$(grep -c '^A' err)" -ge 1 ]
feed e x '' ee t
check "what is no answer is asked again" [ "$(grep -c 'one of e, t, a, n' err)" -eq 3 ]
check "the end of the input is leaving" [ "$status" -eq 0 ]
check "two are answered" grep -q "5 of 7 still open" err
cp hand/judge.json two.json
feed b N
check "back and change: still two" grep -q "5 of 7 still open" err
check "the label has changed" [ "$(cmp -s hand/judge.json two.json; echo $?)" = 1 ]
feed s s s s s
check "skipped ones stay open" grep -q "5 of 7 still open" err
feed a n e t n
check "all answered" [ -z "$(grep 'still open' err)" ]
number hand/judge.json judges.0.unjudged.baseline '==' 0
number hand/judge.json judges.0.unjudged.ablated '==' 0
check "equal texts have one label" [ "$(label hand manual 3 baseline)" = "$(label hand manual 3 ablated)" ]
ok "${hand[@]}" </dev/null
check "nothing is asked when all is answered" [ -z "$(grep 'prompt' err)" ]
ok "$LETHE" judge --out hand --judge manual --fresh --seed 6 --lexicon lexicon.json </dev/null
number hand/judge.json judges.0.unjudged.baseline '==' 0
printf '{"side_by_side": [{"prompt": "p", "baseline": "a\\u001b[2Jb\\u0007\\nc"}]}' >single/eval.json
printf 'n\n' | "$LETHE" judge --out single --judge manual >out 2>err
check "control characters do not reach the terminal" [ -z "$(tr -d '\n' <err | grep -P '[\x00-\x08\x0b-\x1f]')" ]
check "labels of a text that has changed are dropped, with a word" grep -q "labels in single/judge.json are about completions that have changed" err
check "the text is shown" grep -q 'a?\[2Jb?' err
finish
