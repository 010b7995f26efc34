#!/usr/bin/env bash
# lethe convert and lethe inspect FILE: SAEs of other projects in and out, lists of features, what a
# file is, what does not fit, what is wrong; and that the safetensors package of Python reads ours.
. "$(dirname "$0")/lib.sh"

G=${LETHE_SHARED:-$LETHE_SOURCE/../shared}/golden/formats
if [ ! -r "$G/sizes.json" ]; then
    [ "${CI:-}" != true ] || { echo "golden/formats is missing" >&2; exit 1; }
    echo "skipped: golden/formats is missing"
    exit 77
fi
# Rows to encode: 48 wide, as the SAEs there.
cat >rows.py <<'END'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
begin, end = json.loads(raw[8:8 + n])["x"]["data_offsets"]
head = json.dumps({"activations": {"dtype": "F32", "shape": [32, 48], "data_offsets": [0, end - begin]}}).encode()
open(sys.argv[2], "wb").write(struct.pack("<Q", len(head)) + head + raw[8 + n + begin:8 + n + end])
END

# ---- every format: encode, describe, convert
folders="reference_pt bare_pt linear_safetensors saelens_standard saelens_standard_bf16 saelens_topk
    saelens_topk_rescaled saelens_old_topk saelens_jumprelu saelens_gated sparsify/layers.15 gemma_scope
    gemma_scope_2 llama_scope/Llama3_1-8B-Base-L15R-8x dictionary_learning/standard
    dictionary_learning/topk dictionary_learning/batch_topk dictionary_learning/jumprelu"
for f in $folders; do
    k=()
    case $f in bare_pt | linear_safetensors) k=(--k 6) ;; esac
    ok "$LETHE" inspect "$G/$f" --json
    check "$f: described" [ "$("$JSONGET" out kind) $("$JSONGET" out width) $("$JSONGET" out latents)" = "SAE 48 192" ]
    number out norms.decoder_rows.median '>' 0.99
    number out dead '==' 0
    rm -rf sl back.safetensors
    ok "$LETHE" convert "$G/$f" a.safetensors --to lethe "${k[@]}"
    ok "$LETHE" convert a.safetensors sl --to saelens
    ok "$LETHE" convert sl back.safetensors --to lethe
    # The same tensors to the byte; what stands before them is the metadata.
    check "$f: Lethe -> SAELens -> Lethe" cmp -s <(tail -c +16393 a.safetensors) <(tail -c +16393 back.safetensors)
    if command -v python3 >/dev/null; then
        python3 rows.py "$G/$f/expected.safetensors" rows.safetensors
        ok "$LETHE" encode --sae "$G/$f" --activations rows.safetensors --out z1.safetensors --dense --quiet "${k[@]}"
        ok "$LETHE" encode --sae sl --activations rows.safetensors --out z2.safetensors --dense --quiet
        check "$f: the same activations" cmp -s z1.safetensors z2.safetensors
    fi
done

# ---- sparsify and plain
ok "$LETHE" convert "$G/reference_pt" ref.safetensors --to lethe
ok "$LETHE" convert ref.safetensors sparse --to sparsify --json
check "the folder is named after the layer" [ "$("$JSONGET" out out)" = sparse/layers.15/sae.safetensors ]
ok "$LETHE" convert sparse back.safetensors --to lethe
check "Lethe -> sparsify -> Lethe" cmp -s <(tail -c +16393 ref.safetensors) <(tail -c +16393 back.safetensors)
ok "$LETHE" convert ref.safetensors plain.safetensors --to plain
ok "$LETHE" convert plain.safetensors back.safetensors --to lethe
check "Lethe -> plain -> Lethe" cmp -s <(tail -c +16393 ref.safetensors) <(tail -c +16393 back.safetensors)
ok "$LETHE" convert "$G/bare_pt" run --to sparsify --k 6 --layer 3
check "a layer that is told" [ -s run/layers.3/cfg.json ]
ok "$LETHE" convert "$G/bare_pt" run --to sparsify --k 6 --layer 4
expect 3 "holds several SAEs, name one of them: layers.3/sae.safetensors, layers.4/sae.safetensors" "$LETHE" inspect run
ok "$LETHE" inspect run/layers.4 --json
number out layer '==' 4

# ---- Python's own reader
for python in ${LETHE_PYTHON:-} python3 /usr/bin/python3; do
    "$python" -c "import safetensors, numpy" 2>/dev/null || continue
    ok "$python" "$LETHE_SOURCE/tests/support/read_safetensors.py" sl/sae_weights.safetensors
    check "SAELens' names and shapes" [ "$(grep -c . out)" -ge 5 ]
    for line in "W_dec F32 192x48" "W_enc F32 48x192" "b_dec F32 48" "b_enc F32 192" "threshold F32 192"; do
        check "$line" grep -qx "$line" out
    done
    ok "$python" "$LETHE_SOURCE/tests/support/read_safetensors.py" sparse/layers.15/sae.safetensors
    for line in "W_dec F32 192x48" "encoder.weight F32 192x48" "b_dec F32 48" "encoder.bias F32 192"; do
        check "$line" grep -qx "$line" out
    done
    ok "$python" "$LETHE_SOURCE/tests/support/read_safetensors.py" ref.safetensors
    check "metadata" grep -qx "format=lethe-sae-1" out
    python_read=yes
    break
done
[ "${python_read:-}" ] || echo "skipped: Python's safetensors package is missing"

# ---- what does not go, and leaves nothing
mkdir empty
expect 3 "sparsify cannot express architecture gated" "$LETHE" convert "$G/saelens_gated" no --to sparsify
expect 3 "pass --layer 7 --hook post" "$LETHE" convert "$G/saelens_topk" no --to sparsify
expect 3 "pass --layer N" "$LETHE" convert "$G/linear_safetensors" no --to sparsify --k 6
expect 3 "plain cannot express architecture jumprelu" "$LETHE" convert "$G/gemma_scope" no --to plain
expect 3 "--k N" "$LETHE" convert "$G/bare_pt" no --to lethe
expect 2 "k is 500, want 1 to 192" "$LETHE" convert "$G/bare_pt" no --to lethe --k 500
expect 2 "a gated SAE has no k" "$LETHE" convert "$G/saelens_gated" no --to lethe --k 5
expect 2 "--to: got \"onnx\"" "$LETHE" convert ref.safetensors no --to onnx
expect 3 "a patch, not an SAE" "$LETHE" convert "$demo/patch.safetensors" no --to lethe
expect 2 "convert needs IN, OUT and --to" "$LETHE" convert ref.safetensors
expect 2 "stray word" "$LETHE" convert a b c --to lethe
expect 2 "--layer: got -2" "$LETHE" convert ref.safetensors no --to saelens --layer -2
expect 2 "want pre or post" "$LETHE" convert ref.safetensors no --to saelens --hook mid
expect 2 "is there already" "$LETHE" convert ref.safetensors sl --to saelens
expect 3 "none" "$LETHE" convert none no --to lethe
expect 3 "no SAE in this folder" "$LETHE" convert empty no --to lethe
expect 1 "nowhere" "$LETHE" convert ref.safetensors nowhere/a.safetensors --to lethe
expect 1 "nowhere" "$LETHE" convert ref.safetensors nowhere/a --to saelens
check "nothing is left of what failed" [ ! -e no ]
mkdir locked && chmod 555 locked
if ! touch locked/x 2>/dev/null; then
    expect 1 "locked" "$LETHE" convert ref.safetensors locked/out --to saelens
fi

# ---- lists of features
pt=$G/reference_pt/layer_15_features.pt
ok "$LETHE" convert "$pt" f.csv --to csv
check "a line a feature" [ "$(wc -l <f.csv)" -eq 101 ]
check "with names" grep -q "^rank,index,forget_fires,retain_fires" f.csv
check "best first" grep -q "^1,104,614," f.csv
expect 3 "not written: forget_freq of feature" "$LETHE" convert "$pt" f.json --to json
check "no file of ours with what we would refuse" [ ! -e f.json ]
expect 3 "x.json" "$LETHE" convert x.json f.csv --to csv
echo '{"a": 1}' >x.json
expect 3 "config" "$LETHE" convert x.json f2.csv --to csv
expect 3 "tensor \"indices\" is missing" "$LETHE" convert "$G/bare_pt/sae.pt" f2.csv --to csv

# ---- what a file is
ok "$LETHE" inspect "$pt" --json
check "a list of features" [ "$("$JSONGET" out kind) $("$JSONGET" out layer) $("$JSONGET" out best.0)" = "features 15 104" ]
number out features '==' 100
ok "$LETHE" inspect "$model" --json
check "a model" [ "$("$JSONGET" out kind) $("$JSONGET" out architecture)" = "model llama" ]
number out layers '==' 4
number out width '==' 192
ok "$LETHE" inspect "$demo/patch.safetensors" --model "$model" --json
check "a patch that fits" [ "$("$JSONGET" out kind) $("$JSONGET" out fit.fits)" = "patch true" ]
ok "$LETHE" inspect "$G/saelens_gated" --model "$model" --json
check "an SAE that does not" [ "$("$JSONGET" out fit.fits)" = false ]
check "and why" [ "$("$JSONGET" out fit.why)" = "it is 48 wide, the model 192" ]
check "its formula" [ "$("$JSONGET" out formula)" = "v = W_enc (x - b_dec), z = [v + b_gate > 0] ReLU(exp(r_mag) v + b_mag)" ]
check "who made it" [ "$("$JSONGET" out producer)" = "SAELens 6.18.0" ]
ok "$LETHE" inspect "$G/saelens_gated"
check "for people" grep -qE "^layout +SAELens$" out
check "norms" grep -qE "decoder_rows +min 1, median 1, max 1" out
ok "$LETHE" inspect rows.safetensors --json
check "activations" [ "$("$JSONGET" out kind) $("$JSONGET" out rows)" = "activations 32" ]
ok "$LETHE" inspect "$G/sparsify/layers.15/expected.safetensors" --json
check "tensors" [ "$("$JSONGET" out kind) $("$JSONGET" out tensors.z.shape.1)" = "tensors 192" ]
expect 3 "no SAE in this folder" "$LETHE" inspect empty
expect 3 "nowhere" "$LETHE" inspect nowhere
echo "just text" >t.txt
expect 3 "t.txt" "$LETHE" inspect t.txt
expect 3 "t.txt" "$LETHE" inspect ref.safetensors --model t.txt

# ---- an SAE says where it belongs: layer and hook of a new run are its own
ok "$LETHE" harvest --model "$model" --layer 1 --text "$demo/neutral.txt" --max-tokens 4000 --out acts.safetensors --quiet
ok "$LETHE" inspect acts.safetensors --model "$model" --json
check "our own activations" [ "$("$JSONGET" out kind) $("$JSONGET" out fit.fits)" = "activations true" ]
ok "$LETHE" train --out st --layer 1 --max-tokens 4000 --epochs 1 --expansion 2 --k 8 --store f32 --quiet
ok "$LETHE" inspect st/activations --model "$model" --json
check "a store" [ "$("$JSONGET" out kind) $("$JSONGET" out width) $("$JSONGET" out fit.fits)" = "store 192 true" ]
ok "$LETHE" train --activations acts.safetensors --expansion 2 --k 8 --epochs 1 --out own --quiet
rm -rf own_sl
ok "$LETHE" convert own/sae.safetensors own_sl --to saelens
features() {
    "$LETHE" features --model "$model" --forget "$demo/forget.jsonl" --retain "$demo/retain.jsonl" --max-tokens 6000 \
        --min-forget-fires 1 --min-freq 0 --max-retain-freq 1 --max-freq 1 --min-ratio 0 --quiet "$@"
}
ok features --sae own_sl --out new
check "the layer of the SAE" [ "$("$JSONGET" new/run.json config.layer)" = 1 ]
expect 3 "belongs to layer 1" features --sae own_sl --layer 2 --out new2
cp own_sl/cfg.json kept.json
sed -i 's/"d_sae": [0-9]*/"d_sae": 5/' own_sl/cfg.json
expect 3 "cfg.json: d_sae: got 5, want 384" "$LETHE" features --out new --sae own_sl
cp kept.json own_sl/cfg.json
finish
