#!/usr/bin/env bash
# SAEs of every architecture through the program: features, both gates, cards, effects, encode. They
# are a small trained topk, recast (tests/support/recast_sae.c).
. "$(dirname "$0")/lib.sh"
: "${RECAST_SAE:?}"

ok small run --store f32
ok "$RECAST_SAE" run/sae.safetensors jumprelu.safetensors jumprelu none 7 1
ok "$RECAST_SAE" run/sae.safetensors gated.safetensors gated none 7 1
ok "$RECAST_SAE" run/sae.safetensors relu.safetensors relu none 7 1
ok "$RECAST_SAE" run/sae.safetensors rescale.safetensors jumprelu rescale 6 3
ok "$RECAST_SAE" run/sae.safetensors layer.safetensors gated layer 6 3
ok "$RECAST_SAE" run/sae.safetensors normed.safetensors topk layer 0 3

# ---- encode
ok "$LETHE" harvest --model "$model" --layer 1 --text "$demo/neutral.txt" --ctx-len 64 --max-tokens 1500 --out acts.safetensors --quiet
encode() { "$LETHE" encode --sae "$1.safetensors" --activations acts.safetensors --out z.safetensors --json --quiet "${@:2}"; }
for kind in jumprelu gated relu rescale layer normed; do
    ok encode $kind
    number out l0 '>' 1
    number out l0 '<' 60
    number out fvu '<' 0.9
    cp out $kind.json
    cp z.safetensors $kind.z
    ok encode $kind --threads 1
    check "$kind: the same bytes with one thread" cmp -s z.safetensors $kind.z
    ok encode $kind --dense
    check "$kind: --dense finds as many" [ "$("$JSONGET" out l0)" = "$("$JSONGET" $kind.json l0)" ]
done
check "a gated latent is a jumprelu" [ "$("$JSONGET" gated.json l0)" = "$("$JSONGET" jumprelu.json l0)" ]
for kind in jumprelu gated relu rescale layer; do expect 2 "SAE has no k, got 3 (leave out --k" encode $kind --k 3; done
ok encode normed --k 3
number out l0 '<=' 3

# ---- features, cards, patch, both gates
few=(--probes few_probes.json --prompts "$demo/prompts.json" --max-new-tokens 4 --eval-tokens 500 --items 2 --samples 2 --quiet --json)
choose() { "$LETHE" features --out run --sae "$1.safetensors" --min-forget-fires 4 --near-weight 1 --retain-weight 1 --num-features 6 --quiet "${@:2}"; }
chosen() { for i in 0 1 2 3 4 5; do "$JSONGET" run/features.json features.$i.index; done; }
expect 2 "SAE has no k, got 4" "$LETHE" features --out run --sae relu.safetensors --k 4
for kind in jumprelu gated relu rescale layer normed; do
    ok choose $kind
    number run/features.json features.# '==' 6
    chosen >$kind.chosen
    ok "$LETHE" patch --out run --sae $kind.safetensors --scale -3 --guard off --to $kind.patch --quiet --json
    number out features '==' 6
    if [ $kind != normed ]; then
        number out held_out.agreement '>' 0.9999
        number out held_out.precision '>' 0.995
        number out held_out.recall '>' 0.995
    else
        number out held_out.agreement '>' 0.95
    fi
    ok "$LETHE" eval --out run --sae $kind.safetensors --scale -3 --guard off "${few[@]}"
    cp out exact.json
    check "$kind: the exact gate" [ "$("$JSONGET" exact.json config.gate)" = exact ]
    number exact.json metrics.summary.hook_activity.fired '>' 0
    number exact.json metrics.summary.kl_retain '>=' 0
    ok "$LETHE" eval --patch $kind.patch --out alone "${few[@]}"
    check "$kind: the compact gate" [ "$("$JSONGET" out config.gate)" = compact ]
    number out metrics.summary.hook_activity.fired '>' 0
    [ $kind = normed ] && continue
    for key in hook_activity.fired kl_retain logprob_shifts.hp; do
        checks=$((checks + 1))
        a=$("$JSONGET" exact.json metrics.summary.$key) b=$("$JSONGET" out metrics.summary.$key)
        awk -v a="$a" -v b="$b" 'BEGIN { d = a - b; if (d < 0) d = -d; if (a < 0) a = -a; exit !(d <= 0.01 * a + 1e-4) }' ||
            fail "$kind: $key is $a by the exact gate, $b by the compact one"
    done
done
check "a gated latent is a jumprelu, so the choice is the same" cmp -s gated.chosen jumprelu.chosen
choose layer --select effect --effect-candidates 8 --effect-windows 1 --near-weight 0 --retain-weight 0 >out 2>err || fail "effect: $(tail -1 err)"
number run/features.json features.0.score '>' 0
ok "$LETHE" inspect --out run --sae layer.safetensors --quiet --json
number out features.0.share '>' 0
number out features.0.statistics.forget.fires '>' 0

# ---- training is for topk
expect 2 "only a topk SAE that takes b_dec off its input and has no norm can be trained on; this is relu" "$LETHE" train --out other --init relu.safetensors --layer 1 --max-tokens 4000 --epochs 1
expect 2 "this is topk, norm layer" "$LETHE" train --out other --init normed.safetensors --layer 1 --max-tokens 4000 --epochs 1
check "no SAE of a failed training" [ ! -e other/sae.safetensors ]
no_leftovers
finish
