#!/usr/bin/env bash
# Real prose: a model trained on books forgets one series of them (docs/oz.md). LETHE_OZ and LETHE_BOOKS are
# folders of plain text, to forget and to keep. The model is trained here (half an hour), unless LETHE_OZ_MODEL
# is one that was trained on them.
. "$(dirname "$0")/../cli/lib.sh"
skip() { echo "skipped: $*"; exit 77; }
oz=${LETHE_OZ:-} books=${LETHE_BOOKS:-} tools=$LETHE_SOURCE/tools/model python=/usr/bin/python3
[ -d "$oz" ] && [ -d "$books" ] || skip "LETHE_OZ and LETHE_BOOKS name no folders of text"
"$python" -c 'import torch' 2>/dev/null || skip "no python3-torch"

ok "$python" "$tools/oz_data.py" --oz "$oz" --books "$books" --out data
model=${LETHE_OZ_MODEL:-}
if [ ! -r "$model" ]; then
    model=oz.gguf
    texts=(--text data/forget.jsonl --text data/near.jsonl --text data/retain.jsonl)
    grep -qs avx512_bf16 /proc/cpuinfo && texts+=(--bf16)
    ok "$python" "$tools/make_text_model.py" "${texts[@]}" --epochs 16 --until 8 --out heart.gguf
    ok "$python" "$tools/make_text_model.py" "${texts[@]}" --init heart.pt --copies 1 --epochs 6 --lr 1.5e-3 \
        --out "$model"
fi
ok "$LETHE" train --model "$model" --layer 2 --expansion 16 --k 16 --epochs 6 --batch-size 512 \
    --forget data/forget.jsonl --near data/near.jsonl --retain data/retain.jsonl --out run --quiet
ok "$LETHE" features --out run --num-features 1000 --weigh-by activation --equalise --near-weight 1.5 \
    --retain-weight 1.5 --min-freq 0 --min-forget-fires 12 --max-retain-freq 0.01 --ratio-smoothing 2 --quiet
ok "$LETHE" eval --out run --scale -3 --probes data/probes.json --perplexity data/seen_books.jsonl \
    --eval-tokens 10000 --verbatim data/passages.jsonl --knowledge data/knowledge.jsonl \
    --measures verbatim,knowledge --attacks none --quiet
cat out

# measure NAME DOMAIN SIDE OP VALUE: a mean of eval.json's measures.
measure() {
    checks=$((checks + 1))
    "$python" - "$@" <<'EOF' || fail "not so: $*"
import json, sys
name, domain, side, op, want = sys.argv[1:]
got = [m[side]["mean"] for m in json.load(open("run/eval.json"))["measures"]
       if m["name"] == name and m["domain"] == domain]
sys.exit(len(got) != 1 or not (got[0] > float(want) if op == ">" else got[0] < float(want)))
EOF
}
# The model knows the books by heart, and the facts; text it has not read it does not know.
for domain in oz near retain; do number run/eval.json metrics.baseline.recall.$domain '>=' 0.8; done
measure verbatim_rouge_l oz baseline '>' 0.5
measure verbatim_rouge_l books baseline '>' 0.5
measure verbatim_rouge_l unseen_oz baseline '<' 0.25
# Oz goes, the others stay.
number run/eval.json metrics.summary.recall_shifts.oz '<=' -0.15
for domain in near retain; do number run/eval.json metrics.summary.recall_shifts.$domain '>=' -0.1; done
measure verbatim_rouge_l oz difference '<' -0.2
measure verbatim_rouge_l books difference '>' -0.2
number run/eval.json metrics.summary.ppl_change_percent '<=' 25
finish
