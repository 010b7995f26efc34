#!/usr/bin/env bash
# Bad input: one clear message (what, where, how to mend it), the right exit status, no half file.
. "$(dirname "$0")/lib.sh"

words() { for _ in $(seq "$1"); do printf 'The old man walked to the river and sat down by the water. '; done; }
words 60 >keep.txt
words 60 >drop.txt
texts=(--forget drop.txt --retain keep.txt --ctx-len 32)

# ---- model
expect 3 "none.gguf: cannot open: No such file" "$LETHE" train --model none.gguf "${texts[@]}" --out r
echo "not a model" >text.gguf
expect 3 "text.gguf" "$LETHE" train --model text.gguf "${texts[@]}" --out r
: >empty.gguf
expect 3 "empty.gguf" "$LETHE" train --model empty.gguf "${texts[@]}" --out r
size=$(stat -c %s "$model")
for share in 1 10 50 90 99; do
    head -c $((size * share / 100)) "$model" >cut.gguf
    expect 3 "cut.gguf" "$LETHE" train --model cut.gguf "${texts[@]}" --out r
done
sed 's/general\.architecture\(.\{12\}\)llama/general.architecture\1lxxma/' "$model" >odd.gguf
if ! cmp -s "$model" odd.gguf; then
    expect 3 "odd.gguf" "$LETHE" train --model odd.gguf "${texts[@]}" --out r
else
    fail "the test could not make a model of an unknown architecture"
fi
expect 3 "drop.txt" "$LETHE" train --model drop.txt "${texts[@]}" --out r
expect 2 "layer" "$LETHE" train --model "$model" --layer 99 "${texts[@]}" --out r
expect 2 "layer" "$LETHE" train --model "$model" --layer -7 "${texts[@]}" --out r
expect 2 "context length" "$LETHE" train --model "$model" --forget drop.txt --retain keep.txt --ctx-len 100000 --out r
check "no run directory for a model that failed" [ ! -e r ]

# ---- text
expect 3 "none.txt: no such file" "$LETHE" train --forget none.txt --out r1
: >empty.txt
expect 3 "less than one window" "$LETHE" train --forget empty.txt --out r1
echo "short" >short.txt
expect 3 "less than one window" "$LETHE" train --forget short.txt --out r1
printf 'fine text, then \xff\xfe bytes' >latin.txt
expect 3 "latin.txt: not UTF-8 text at byte 16" "$LETHE" train --forget latin.txt --out r1
mkdir nothing
expect 3 "nothing: no files" "$LETHE" train --forget nothing --out r1
echo '{"text": 3}' >bad.jsonl
expect 3 "bad.jsonl:1: \"text\" must be a string" "$LETHE" train --forget bad.jsonl --out r1
printf '{"text": "a"}\n{"other": "b"}\n' >bad2.jsonl
expect 3 "bad2.jsonl:2: neither" "$LETHE" train --forget bad2.jsonl --out r1
printf '{"text": "a"}\n{"text": ' >bad3.jsonl
expect 3 "bad3.jsonl:2:" "$LETHE" train --forget bad3.jsonl --out r1
echo '{"messages": [{"role": "user"}]}' >bad4.jsonl
expect 3 "bad4.jsonl:1: a message needs" "$LETHE" train --forget bad4.jsonl --out r1
expect 2 "text is missing" "$LETHE" train --model "$model" --retain keep.txt --out r1

# ---- sizes
expect 2 "k" "$LETHE" train --k 100000 --max-tokens 8000 --out r2
check "k > m leaves no SAE" [ ! -e r2/sae.safetensors ]

# ---- SAE and features
ok small run1
expect 3 "there is no SAE yet" "$LETHE" features --out r3
expect 3 "no features are chosen yet" "$LETHE" eval --out run1
head -c 100000 run1/sae.safetensors >cut.safetensors
expect 3 "cut.safetensors" "$LETHE" features --out run1 --sae cut.safetensors
expect 2 "k" "$LETHE" features --out run1 --k 4000
expect 3 "belongs to layer" "$LETHE" features --out run1 --layer 2 --sae run1/sae.safetensors
ok "$LETHE" harvest --model "$model" --layer 1 --text keep.txt --ctx-len 32 --out acts.safetensors
check "harvest wrote its file" [ -s acts.safetensors ]
expect 3 "acts.safetensors" "$LETHE" features --out run1 --sae acts.safetensors
echo '[1, 2, "x"]' >ids.json
expect 3 "ids.json" "$LETHE" harvest --model "$model" --layer 1 --token-ids ids.json --out b.safetensors
echo '1 2 99999999' >ids.txt
expect 2 "token" "$LETHE" harvest --model "$model" --layer 1 --token-ids ids.txt --out b.safetensors
check "no file of a failed harvest" [ ! -e b.safetensors ]
expect 3 "keep.txt" "$LETHE" encode --sae keep.txt --activations acts.safetensors --out z.safetensors
expect 3 "keep.txt" "$LETHE" train --activations keep.txt --out r4
expect 3 "none.safetensors" "$LETHE" train --activations none.safetensors --out r4
head -c 5000 acts.safetensors >cutacts.safetensors
expect 3 "cutacts.safetensors" "$LETHE" train --activations cutacts.safetensors --out r4

# An SAE of another width: trained on another model's activations.
if [ -r "${LETHE_SHARED:-$LETHE_SOURCE/../shared}/models/stories260K.gguf" ]; then
    stories=${LETHE_SHARED:-$LETHE_SOURCE/../shared}/models/stories260K.gguf
    ok "$LETHE" harvest --model "$stories" --layer 1 --text keep.txt --ctx-len 32 --out small.safetensors
    ok "$LETHE" train --activations small.safetensors --expansion 4 --k 4 --epochs 1 --quiet --out narrow
    expect 3 "W_enc is 64 x 256, but layer 1 of the model is" "$LETHE" features --out run1 --sae narrow/sae.safetensors
    expect 3 "wide" "$LETHE" encode --sae narrow/sae.safetensors --activations acts.safetensors --out z.safetensors
else
    echo "skipped: an SAE of another width (stories260K.gguf is missing)"
fi
check "no encoded file of a failed encode" [ ! -e z.safetensors ]

# ---- features and probes
expect 1 "no feature" "$LETHE" features --out run1 --select diff-means --min-freq 0.9 --max-freq 1
check "the message counts what each threshold removed" grep -q "min-freq\|min_freq" err
ok "$LETHE" features --out run1 --min-forget-fires 4 --near-weight 1 --retain-weight 1 --num-features 10
echo '{"hp": [{"prompt": 3, "target": "x"}]}' >p1.json
expect 3 "p1.json" "$LETHE" eval --out run1 --probes p1.json
echo '{"hp": 5}' >p2.json
expect 3 "p2.json" "$LETHE" eval --out run1 --probes p2.json
echo '{"hp": [' >p3.json
expect 3 "p3.json" "$LETHE" eval --out run1 --probes p3.json
expect 3 "none.json" "$LETHE" eval --out run1 --probes none.json
expect 3 "latin.txt" "$LETHE" eval --out run1 --perplexity latin.txt
check "no eval.json of a failed evaluation" [ ! -e run1/eval.json ]
echo '{"format": "x"}' >f.json
expect 3 "f.json" "$LETHE" eval --out run1 --features f.json
echo '{"epochs": "many"}' >c.json
expect 3 "c.json: \"epochs\": want a whole number" "$LETHE" train --config c.json --out r5
echo '{"epochz": 3}' >c2.json
expect 3 "c2.json: unknown setting \"epochz\"" "$LETHE" train --config c2.json --out r5

# ---- a damaged store, a damaged checkpoint
ok small run2 --store f32
printf 'x' | dd of=run2/activations/shard-00000.safetensors bs=1 seek=200000 conv=notrunc 2>/dev/null
expect 3 "damaged" small run2 --store f32 --k 9
mkdir -p run3
echo "no checkpoint" >run3/train.ckpt
expect 3 "train.ckpt" small run3 --resume

# ---- a place that cannot be written. Root can write anywhere, so it becomes somebody else, who may
# not be able to read the source tree: the program and its data go where everybody can.
mkdir locked
chmod 555 locked
as=() program=$LETHE readable=$model
if [ "$(id -u)" -eq 0 ]; then
    mkdir open
    cp "$LETHE" open/lethe
    cp -r "$LETHE_SOURCE/models" "$LETHE_SOURCE/data" open/
    chmod 755 "$work"
    chmod -R a+rX "$work"
    program=$work/open/lethe readable=$work/open/models/lethe-demo.gguf
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups env "LETHE_DATA=$work/open")
fi
expect 1 "locked" "${as[@]}" "$program" train --out locked/run --max-tokens 8000 --quiet
expect 1 "locked" "${as[@]}" "$program" harvest --model "$readable" --layer 1 --text keep.txt --ctx-len 32 --out locked/a.safetensors

# ---- a full disk (files may not grow past 64 KiB)
full() { (ulimit -f 64; "$@"); }
expect 1 "writing failed; nothing was changed" full "$LETHE" harvest --model "$model" --layer 1 --text keep.txt --ctx-len 32 --out big.safetensors
check "no file on a full disk" [ ! -e big.safetensors ]
expect 1 "writing failed; nothing was changed" full "$LETHE" train --activations acts.safetensors --expansion 4 --epochs 1 --out rfull
check "no SAE on a full disk" [ ! -e rfull/sae.safetensors ]
finish
