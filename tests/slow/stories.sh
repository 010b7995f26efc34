#!/usr/bin/env bash
# Real input that nobody here wrote: stories260K, the Oz novels to forget, other books and WikiText-2 to
# keep. The whole pipeline runs; the figures are printed.
. "$(dirname "$0")/../cli/lib.sh"
shared=${LETHE_SHARED:-$LETHE_SOURCE/../shared}
stories=$shared/models/stories260K.gguf
[ -r "$stories" ] || { echo "skipped: $stories is missing"; exit 77; }

start=$(date +%s)
ok "$LETHE" forget --model "$stories" --layer 2 --ctx-len 256 --expansion 16 --k 16 --epochs 2 \
    --forget "$shared/data/oz" --near "$shared/data/books" --retain "$shared/data/wikitext-2/valid.txt" \
    --max-tokens 600000 --perplexity "$shared/data/wikitext-2/test.txt" --eval-tokens 20000 \
    --max-retain-freq 0.01 --min-ratio 2 --num-features 20 --scale -1 --out run
cat out
number run/run.json stages.train.figures.fvu '<' 0.5
number run/run.json stages.train.figures.l0 '<=' 16
number run/eval.json metrics.baseline.perplexity '>' 1
number run/eval.json metrics.summary.kl_retain '>=' 0
echo "time: $(($(date +%s) - start)) s; figures of the training:"
"$JSONGET" run/run.json stages.train.figures
finish
