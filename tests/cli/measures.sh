#!/usr/bin/env bash
# The measures of lethe eval: options, files of one's own, halves, bad files.
. "$(dirname "$0")/lib.sh"

ok "$LETHE" forget --out run --probes few_probes.json --near-weight 1 --retain-weight 1 --max-tokens 24000 \
    --epochs 1 --expansion 4 --k 8 --min-forget-fires 8 --num-features 20 --eval-tokens 1000 \
    --max-new-tokens 4 --items 2 --samples 2 --quiet

# The embedded default brings its own files, all measures have intervals, all items are kept.
names=$(python3 - run/eval.json run/eval_items.jsonl <<'END'
import json, sys
e = json.load(open(sys.argv[1]))
items = [json.loads(line) for line in open(sys.argv[2])]
for m in e["measures"]:
    for side in "baseline", "ablated", "difference":
        i = m[side]
        assert i["low"] - 1e-9 <= i["mean"] <= i["high"] + 1e-9, (m["name"], side, i)
    assert m["group"] in ("forget", "retain", "attack") and m["forgetting"] in ("lower", "higher")
    mine = [i for i in items if (i["measure"], i["domain"]) == (m["name"], m["domain"])]
    assert len(mine) == m["n"] > 0, m["name"]
    if all("weight" not in i for i in mine):
        for side in "baseline", "ablated":
            mean = sum(i[side]["value"] for i in mine) / len(mine)
            assert abs(mean - m[side]["mean"]) < 1e-9, (m["name"], side)
by = {(m["name"], m["domain"]): m for m in e["measures"]}
for d, r in e["metrics"]["baseline"]["recall"].items():
    assert abs(by["recall", d]["baseline"]["mean"] - r) < 1e-9
    assert abs(e["metrics"]["intervals"]["baseline"]["recall"][d]["mean"] - r) < 1e-9
assert abs(by["perplexity", None]["ablated"]["mean"] - e["metrics"]["ablated"]["perplexity"]) < 1e-6
assert abs(by["kl", None]["ablated"]["mean"] - e["metrics"]["summary"]["kl_retain"]) < 1e-9
print(" ".join(sorted({m["name"] for m in e["measures"]})))
END
) || fail "eval.json and eval_items.jsonl do not agree"
for name in recall logprob perplexity kl degeneration familiarity verbatim_rouge_l extraction_strength \
    knowledge_rouge_l truth_ratio choice_accuracy attack_padding attack_role_play attack_typos attack_turns \
    attack_paraphrase attack_french attack_german attack_sampling_any attack_sampling_mean; do
    check "measure $name" grep -qw "$name" <<<"$names"
done
ok "$LETHE" eval --out run
check "the table has intervals" grep -q "recall, padding, hp .*\[" out

# Options.
only=(--out run --quiet --attacks none)
ok "$LETHE" eval "${only[@]}" --measures none --json
check "nothing that was not asked for" [ "$("$JSONGET" out measures.#)" -lt 20 ]
check "no attack" bash -c "! grep -q '\"name\": \"attack_' out"
ok "$LETHE" eval "${only[@]}" --measures choice --choice-by letters --choice-orders 2 --json
check "multiple choice by letters" grep -q choice_strict out
ok "$LETHE" eval "${only[@]}" --attacks typos,german --json
check "the attacks that were named" grep -q '"name": "attack_german' out
check "and no other" bash -c "! grep -q '\"name\": \"attack_padding' out"
ok "$LETHE" eval "${only[@]}" --forget-domain magic --json
number out measures.# '>' 10

# The halves make up the whole.
count() { "$LETHE" eval --out run --quiet --measures none --attacks none --probes "$demo/probes.json" \
    --eval-tokens 500 --max-new-tokens 1 --split "$1" --json >split.json && "$JSONGET" split.json probes.#; }
tune=$(count tune) report=$(count report)
check "tune and report are all" [ $((tune + report)) -eq 1600 ]
ok "$LETHE" eval --out run --quiet --measures none --attacks none
check "and the table says that it is one" grep -q '^Only the half "report" of facts' out
check "and about as large" [ "$tune" -gt 600 ] && [ "$report" -gt 600 ]

# One's own files, as they are published.
echo '{"question": "2 + 2?", "choices": ["3", "4", "5", "6"], "answer": 1}' >wmdp.jsonl
echo '[{"prompt": "The capital of", "gt": " France is Paris."}]' >verbmem.json
echo '[{"question": "Who is the queen?", "answer": "Anna", "perturbed_answer": ["Bea"]}]' >tofu.json
ok "$LETHE" eval "${only[@]}" --split all --measures all --choice wmdp.jsonl --verbatim verbmem.json --knowledge tofu.json --json
for domain in wmdp verbmem tofu; do check "domain $domain" grep -q "\"$domain\"" out; done

# What is wrong.
bad() { local status=$1 text=$2; shift 2; expect "$status" "$text" "$LETHE" eval --out run "$@"; }
bad 2 '--split: got "half"' --split half
bad 2 'no measure "lies"' --measures truth,lies
bad 2 'no attack "flattery"' --attacks flattery
bad 2 '--choice-by: got "luck"' --choice-by luck
bad 2 "--samples >= 1" --samples 0
bad 2 "--items >= 0" --items -1
bad 2 'no domain "nothing"' --forget-domain nothing
bad 3 "none.jsonl" --choice none.jsonl
echo '{"question": "a", "choices": ["x", "y"], "answer": 7}' >bad.jsonl
bad 3 "bad.jsonl: line 1" --choice bad.jsonl
printf '{"question": "a", "answer": "b"}\n{"question"' >cut.jsonl
bad 3 "cut.jsonl:2:" --knowledge cut.jsonl
: >empty.jsonl
bad 3 "empty.jsonl: no items" --verbatim empty.jsonl
echo '{"hp": [{"attack": "typos", "prompt": "a", "target": "b"}]}' >attacks.json
bad 3 "attacks.json" --attack-file attacks.json
finish
