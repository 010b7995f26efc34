#!/usr/bin/env bash
# The model families by the program: rows before and after the first, a middle and the last layer, in float32 and
# quantised, against Hugging Face transformers (golden/backbone).
. "$(dirname "$0")/lib.sh"
: "${QUANTIZE:?}" "${COMPARE_ROWS:?}"
golden=${LETHE_SHARED:-$LETHE_SOURCE/../shared}/golden/backbone
[ -r "$golden/llama.gguf" ] || { echo "skipped: no $golden"; exit 77; }

# near MODEL.gguf FAMILY LAYERS FLOOR [MOST]: each row's cosine is FLOOR at least, each value within MOST.
near() {
    local gguf=$1 family=$2 layers=$3 floor=$4 most=${5:-1e9} layer hook worst off low=1
    for layer in 0 $((layers / 2)) $((layers - 1)); do
        for hook in pre post; do
            ok "$LETHE" harvest --model "$gguf" --layer "$layer" --hook "$hook" --keep-bos --keep-outliers --quiet \
                --token-ids "$golden/$family.safetensors" --out rows.safetensors
            read -r worst off < <("$COMPARE_ROWS" rows.safetensors activations \
                "$golden/$family.safetensors" "$hook.$layer")
            checks=$((checks + 1))
            awk -v c="${worst:-0}" -v o="${off:-1e30}" -v f="$floor" -v m="$most" \
                'BEGIN { exit !(c >= f && o <= m) }' ||
                fail "$gguf, $hook.$layer: cosine $worst (want $floor), difference $off (want $most)"
            low=$(awk -v a="$low" -v b="${worst:-0}" 'BEGIN { print a < b ? a : b }')
        done
    done
    echo "$gguf: worst cosine of a row $low"
}
# family, layers, largest difference in float32 (test_backbone.c says why), floors of Q8_0 and Q4_0. The models are
# tiny and random: rounding shows more than in a trained one.
while read -r family layers exact eight four; do
    near "$golden/$family.gguf" "$family" "$layers" 0.99999 "$exact"
    for type in q8_0 q4_0; do
        ok "$QUANTIZE" "$golden/$family.gguf" "$family-$type.gguf" "$type"
        cat out
        case $type in q8_0) floor=$eight ;; *) floor=$four ;; esac
        near "$family-$type.gguf" "$family" "$layers" "$floor"
    done
done <<'END'
llama 4 1e-5 0.998 0.93
mistral 3 1e-5 0.998 0.89
gemma 3 1e-3 0.998 0.97
gemma2 4 1e-3 0.998 0.90
gpt2 4 1e-3 0.998 0.95
END
finish
