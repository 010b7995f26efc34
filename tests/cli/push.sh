#!/usr/bin/env bash
# lethe push against a Hub of our own (tests/support/stub_hub.c).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hub_lib.sh"
mkdir -p root/models

ok small run
ok "$LETHE" features --out run --min-forget-fires 4 --num-features 10 --quiet
ok "$LETHE" patch --out run --quiet
ok "$LETHE" eval --out run --probes few_probes.json --max-new-tokens 4 --eval-tokens 500 --items 2 --samples 2 --quiet

hub
push() { local mode=$1; shift; env HF_TOKEN=right "$LETHE" push --endpoint "$at/$mode" "$@"; }
received() { cat "root/received/$1"; }
afresh() { rm -rf root/received; : >log; }
sum() { sha256sum <"$1" | cut -d' ' -f1; }
sae=$(sum run/sae.safetensors) patch=$(sum run/patch.safetensors)
lines() { grep -c "\"key\":\"$1\"" root/received/commit.ndjson; }
# content NAME: of a small file inside the commit
content() { grep "\"path\":\"$1\"" root/received/commit.ndjson | sed 's/.*"content":"\([^"]*\)".*/\1/' | base64 -d; }
whole() { # MODE: everything is there as it is here
    check "$1: the SAE, whole" cmp -s "root/received/$sae" run/sae.safetensors
    check "$1: the patch, whole" cmp -s "root/received/$patch" run/patch.safetensors
    check "$1: a commit of it" grep -q "^{\"key\":\"lfsFile\",\"value\":{\"path\":\"sae.safetensors\",\"algo\":\"sha256\",\"oid\":\"$sae\",\"size\":$(stat -c %s run/sae.safetensors)}}$" root/received/commit.ndjson
    check "$1: the header comes first" [ "$(head -1 root/received/commit.ndjson | cut -c1-15)" = '{"key":"header"' ]
    check "$1: one line a file" [ "$(lines file) $(lines lfsFile)" = "3 2" ]
    content features.json >sent.json
    check "$1: features.json in the commit" cmp -s sent.json run/features.json
}

# ---- nothing is sent
: >log
ok push good run me/demo --dry-run
check "a dry run asks nobody" [ ! -s log ]
check "it lists the files" grep -qE "^ +[0-9]+  ${sae:0:16}..  sae.safetensors" out
check "and shows the card" grep -q "^library_name: lethe" out
ok env HF_HUB_OFFLINE=1 "$LETHE" push run me/demo --dry-run --json
check "as JSON" [ "$("$JSONGET" out files.0.sha256)" = "$sae" ]
check "no path of this machine" [ -z "$(grep -F "$work" out)" ]

# ---- sent
ok push good run me/demo
check "prints where" grep -qx "http://127.0.0.1/commit/1" out
whole good
check "the repository is made" [ "$(received create.json)" = '{"type":"model","name":"demo","organization":"me","private":false}' ]
content README.md >card
check "the card has a head" [ "$(head -1 card)" = --- ]
check "figures" grep -q "Recall by domain" card
check "what it is not" grep -q "No weight of the model is changed" card
content eval_summary.json >sent.json
number sent.json config.layer == 1
number sent.json metrics.summary.kl_retain '>=' 0
check "no path of this machine is sent" [ -z "$(cat card sent.json | grep -F "$work")" -a -z "$(grep -aF "$work" "root/received/$sae" "root/received/$patch")" ]
check "the CDN never sees the token" [ "$(grep -c '^CDN.*auth=$' log)" -eq "$(grep -c '^CDN' log)" -a "$(grep -c '^CDN' log)" -gt 0 ]
check "the commit is the last request" grep -q "commit/main" <(tail -1 log)
ok push exists run me/demo --private --message 'Seconds "out"' --json
check "a repository that is there is fine" [ "$("$JSONGET" out sent)" = 2 ]
check "--private cannot hide it, and says so" grep -q "does not change who may see it" err
check "the message" grep -qF '"summary":"Seconds \"out\""' root/received/commit.ndjson
afresh
ok push good run datasets/me/demo --revision a/branch --quiet
check "a dataset, a branch" grep -q "POST /api/datasets/me/demo/commit/a/branch" log
check "--quiet is quiet" [ ! -s err ]
for mode in later busy multi putslow; do
    afresh
    ok push $mode run me/demo
    whole $mode
done
check "multi: several parts" [ "$(ls root/received | grep -c part)" -eq 0 ]
afresh
ok push multi run me/demo
check "multi: parts went to the CDN" [ "$(grep -c '^CDN PUT /part/' log)" -ge 3 ]
afresh
ok push have run me/demo --json
check "what the Hub has is not sent" [ "$("$JSONGET" out there)" = 2 -a "$(grep -c PUT log)" -eq 0 ]
afresh
ok push ignored run me/demo --json
check "what it does not want is left out" [ "$("$JSONGET" out ignored)" = 1 -a "$(lines file)" -eq 2 ]
check "and that is said" grep -q "features.json: the repository's rules leave it out" err

# ---- not sent, and then there is no commit
no_commit() { check "$1: no commit" [ ! -e root/received/commit.ndjson ]; }
afresh
expect 1 "the server refuses it: the quota is used up" push refuse run me/demo
no_commit refuse
expect 1 "403: the token may not do this" push denied run me/demo
no_commit denied
expect 1 "the server says 500" push putfail run me/demo --retries 1
no_commit putfail
expect 2 "no token" env -u HF_TOKEN "$LETHE" push run me/demo --endpoint "$at/good"
expect 2 "HF_HUB_OFFLINE is set" env HF_HUB_OFFLINE=1 "$LETHE" push run me/demo --endpoint "$at/good"
expect 1 "cannot reach http://127.0.0.1:9" env HF_TOKEN=x "$LETHE" push run me/demo --endpoint http://127.0.0.1:9
expect 2 "whose?" push good run demo
expect 2 "without \":x\"" push good run me/demo:x
expect 2 "push what, and where to?" push good
expect 2 "push what, and where to?" push good run
expect 3 "nowhere: no run directory" push good nowhere me/demo
mkdir empty
expect 3 "nothing to push" push good empty me/demo
mkdir bad && cp run/* bad 2>/dev/null
echo '{' >bad/eval.json
expect 3 "bad/eval.json" push good bad me/demo
cp run/eval.json bad && head -c 100 run/patch.safetensors >bad/patch.safetensors
expect 3 "bad/patch.safetensors" push good bad me/demo
no_commit bad
for signal in KILL INT; do
    afresh
    env HF_TOKEN=right "$LETHE" push run me/demo --endpoint "$at/putslow" >out 2>err &
    pid=$!
    for _ in $(seq 200); do grep -q objects/batch log && break; sleep 0.02; done
    sleep 0.3
    kill -$signal $pid
    wait $pid 2>/dev/null
    no_commit "interrupted by $signal"
done
check "says that it was stopped" grep -q "stopped" err
ok push good run me/demo --quiet
whole "after that"

# ---- an SAE alone, and back again
mkdir alone && cp run/sae.safetensors run/run.json alone
ok push good alone me/alone --dry-run
check "not evaluated" grep -q "was not evaluated" out
mkdir -p root/models/me/back
cp "root/received/$sae" root/models/me/back/sae.safetensors
content README.md >root/models/me/back/README.md
ok env HF_HUB_CACHE="$PWD/cache" "$LETHE" pull me/back --endpoint "$at/good" --quiet
check "what was pushed is pulled" cmp -s "$(cat out)/sae.safetensors" run/sae.safetensors

finish
