#!/usr/bin/env bash
# lethe bench: every part at a tiny shape, its table and its JSON, and what it refuses. Figures are
# only looked at for being there: how fast is not this test's business.
. "$(dirname "$0")/lib.sh"
export LETHE_DATA=$LETHE_SOURCE
tiny=(--d 32 --expansion 4 --k 4 --batch-size 64 --steps 2)

# side FILE PART SIDE [TIMES]: the side's times, 2 unless given, and rate are there and in order.
side() {
    number "$1" "$2.$3.seconds.median" '>' 0
    number "$1" "$2.$3.seconds.min" '<=' "$("$JSONGET" "$1" "$2.$3.seconds.median")"
    number "$1" "$2.$3.seconds.max" '>=' "$("$JSONGET" "$1" "$2.$3.seconds.median")"
    number "$1" "$2.$3.seconds.rounds.#" == "${4:-2}"
    number "$1" "$2.$3.tokens_per_second" '>' 0
}

ok "$LETHE" bench --what train,encode,gate "${tiny[@]}" --recipe reference --dead 0.3 --scaling --json
cp out tiny.json
number tiny.json machine.threads '>' 0
number tiny.json machine.cores '>' 0
number tiny.json machine.sgemm_gflops '>' 0
check "the machine has a name" [ -n "$("$JSONGET" tiny.json machine.cpu)" ]
check "the kernels have a name" [ -n "$("$JSONGET" tiny.json machine.kernels)" ]
number tiny.json shape.d == 32
number tiny.json shape.m == 128
number tiny.json shape.batch_size == 64
for one in lethe one_thread dense; do side tiny.json train $one; done
for one in lethe sgemm; do side tiny.json encode $one; done
for one in exact compact dense; do side tiny.json gate $one; done
for ratio in train.lethe train.one_thread encode.lethe gate.exact gate.compact train.thread_gain; do
    case $ratio in *gain) number tiny.json $ratio '>' 0 ;; *) number tiny.json $ratio.ratio '>' 0 ;; esac
done
number tiny.json encode.exact_per_token '>=' 4 # k
number tiny.json train.exact_per_token '>=' 4
number tiny.json encode.full_share '>=' 0
number tiny.json train.dead '>=' 38 # 0.3 of 128
number tiny.json train.peak_rss_mib '<=' "$("$JSONGET" tiny.json peak_rss_mib)"
check "progress is on standard error" grep -q "rounds" err

# Both sides do the same sum: the same loss after the same steps, dead latents or not.
for dead in 0 0.3; do
    for recipe in reference default; do
        ok "$LETHE" bench --what train "${tiny[@]}" --recipe $recipe --dead $dead --json --quiet
        cp out same.json
        check "--quiet says nothing" [ ! -s err ]
        loss=$("$JSONGET" same.json train.dense_recon_loss)
        number same.json train.recon_loss '>' "$(awk "BEGIN { print $loss * 0.9999 }")"
        number same.json train.recon_loss '<' "$(awk "BEGIN { print $loss * 1.0001 }")"
    done
done

ok "$LETHE" bench --what train "${tiny[@]}" --no-reference --json
cp out alone.json
number alone.json train.lethe.seconds.median '>' 0
check "no reference was asked for" [ -z "$("$JSONGET" alone.json train.dense)" ]
check "without a reference there is no ratio" [ -z "$("$JSONGET" alone.json train.lethe.ratio)" ]

ok "$LETHE" bench --what gate "${tiny[@]}" --threads 1
check "the table names the machine" grep -q "^machine  .* 1 threads" out
check "the table names the shape" grep -q "d 32, 128 latents (x4), k 4, batch 64" out
check "the table has both sides" [ "$(grep -cE '^gate +exact gate|^ +compact gate|^ +encoder read once' out)" -eq 3 ]

# On a model: the embedded default's without --model.
ok "$LETHE" bench --what harvest,decode --steps 2 --max-new-tokens 8 --ctx-len 64 --expansion 4 --json
cp out model.json
number model.json model.layers == 4
number model.json harvest.share == 0.5
number model.json harvest.rows '>' 0
for one in harvest prefill; do side model.json harvest $one; done
for one in plain exact compact; do side model.json decode $one 16; done # two rounds of 8 tokens
number model.json harvest.harvest.ratio '>' 0
number model.json decode.exact.ratio '>' 0
number model.json decode.compact.ratio '>' 0
check "says that the SAE is a random one" [ "$("$JSONGET" model.json decode.sae)" = random ]
check "says that the features are random ones" [ "$("$JSONGET" model.json decode.random_features)" = true ]

ok small run
ok "$LETHE" bench --what decode --model "$model" --sae run/sae.safetensors --num-features 5 \
    --steps 1 --max-new-tokens 4
check "says that the SAE was given" grep -q "given SAE of 768 latents, k 8, 5 random features after layer 1" out
ok "$LETHE" features --out run --quiet --min-forget-fires 4 --near-weight 1
ok "$LETHE" patch --out run --quiet --to p.safetensors
ok "$LETHE" bench --what decode --model "$model" --patch p.safetensors --steps 1 --max-new-tokens 4 --json
cp out patched.json
check "says which patch" [ "$("$JSONGET" patched.json decode.patch)" = p.safetensors ]
number patched.json model.layer == 1 # the patch's own
# A gate at layer 0's input, whose place in the graph has to be found first.
ok small pre --layer 0 --hook pre
ok "$LETHE" features --out pre --quiet --min-forget-fires 4 --near-weight 1
ok "$LETHE" patch --out pre --quiet --to pre.safetensors
ok "$LETHE" bench --what decode --patch pre.safetensors --steps 1 --max-new-tokens 4 --expansion 4 --quiet
check "tells how many tokens" grep -q "^ *4 tokens of each side" out
expect 3 "run/sae.safetensors" "$LETHE" bench --what decode --patch run/sae.safetensors --quiet
ok "$LETHE" bench --what gate --model "$model" --expansion 2 --steps 1 --json
cp out width.json
number width.json shape.d == 192 # the model's own

expect 2 'want one or more, with commas, of: all' "$LETHE" bench --what speed
expect 2 'want one or more, with commas, of: all' "$LETHE" bench --what train,
expect 2 "--steps: got 0, want 1" "$LETHE" bench --what gate --steps 0
expect 2 "--d: got -1" "$LETHE" bench --what gate --d -1
expect 2 "--batch-size: got 0" "$LETHE" bench --what train --batch-size 0
expect 2 "--expansion: got 0" "$LETHE" bench --what train --expansion 0
expect 2 "--dead: got 1" "$LETHE" bench --what train --dead 1
expect 2 "want one of: default, reference" "$LETHE" bench --what train --recipe best
expect 2 "is more than the dictionary's 8 latents" "$LETHE" bench --what train --d 8 --expansion 1 --k 9
expect 2 "--features belong to an SAE" "$LETHE" bench --what decode --features f.json
expect 2 "--ctx-len: got 20, want at least 32" "$LETHE" bench --what decode --ctx-len 20 --quiet
# More tokens than a text has room for: another one follows.
ok "$LETHE" bench --what decode --steps 1 --max-new-tokens 30 --ctx-len 32 --expansion 4 --quiet
expect 2 "layer" "$LETHE" bench --what harvest --layer 99 --quiet
expect 3 "missing.gguf" "$LETHE" bench --what decode --model missing.gguf
expect 3 "missing.safetensors" "$LETHE" bench --what decode --sae missing.safetensors
finish
