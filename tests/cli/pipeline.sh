#!/usr/bin/env bash
# The whole pipeline on a small part of the embedded default: files, keys, reuse, formats.
. "$(dirname "$0")/lib.sh"

# On a part of the text, few features are as clear as the embedded default wants them.
common=(--probes few_probes.json --near-weight 1 --retain-weight 1 --max-tokens 24000 --epochs 1 --expansion 4 --k 8 --min-forget-fires 8 --num-features 20
    --eval-tokens 1000 --max-new-tokens 8 --items 3 --samples 2)
ok "$LETHE" forget --out run "${common[@]}"
for f in run.json sae.safetensors features.json eval.json judge.json; do check "$f is there" [ -s run/$f ]; done
check "the checkpoint is gone when the SAE is written" [ ! -e run/train.ckpt ]
check "the table names the domains" grep -q "real_world" out
check "side by side completions" grep -qi "baseline" out
check "where to look next" grep -q "run/eval.json" out
check "progress went to standard error" grep -q "train" err

for side in baseline ablated; do
    for domain in hp magic fantasy real_world; do
        number run/eval.json metrics.$side.logprobs.$domain '<=' 0
        number run/eval.json metrics.$side.recall.$domain '<=' 1
    done
    for key in avg_distinct_3 degeneration_rate perplexity; do number run/eval.json metrics.$side.$key '>=' 0; done
done
number run/eval.json metrics.summary.kl_retain '>=' 0
number run/eval.json metrics.summary.logprob_shifts.hp '<=' 20
check "ppl_change" "$JSONGET" run/eval.json metrics.summary.ppl_change >/dev/null
check "hook_activity" "$JSONGET" run/eval.json metrics.summary.hook_activity >/dev/null
for key in prompt baseline ablated baseline_distinct_3; do
    check "side_by_side has $key" "$JSONGET" run/eval.json side_by_side.0.$key >/dev/null
done
number run/judge.json judges.0.counts.baseline.Explicit '>=' 3
number run/judge.json judges.0.by_domain.real_world.counts.baseline.Explicit '==' 0
expect 3 "none.json" "$LETHE" eval --out run --lexicon none.json "${common[@]:0:2}"
check "run.json has the model's fingerprint" "$JSONGET" run/run.json inputs.model >/dev/null
number run/features.json features.# '>' 0

# Nothing is done twice.
stamp() { stat -c %Y.%s run/sae.safetensors run/features.json; stat -c %i run/sae.safetensors run/features.json; }
before=$(stamp)
ok "$LETHE" forget --out run "${common[@]}"
check "stages that are done are not done again" [ "$before" = "$(stamp)" ]
check "and that is said" grep -q "done before" out

# --json: one object on standard output.
ok "$LETHE" forget --out run --json --quiet "${common[@]}"
check "--quiet is quiet" [ ! -s err ]
check "--json has the metrics" "$JSONGET" out metrics.summary.kl_retain >/dev/null
check "--json has the training" "$JSONGET" out train.fvu >/dev/null

# Any stage alone, with the run's own settings.
ok "$LETHE" features --out run --num-features 5 --select diff-means --sort-by ratio --json --quiet
number out features.# '<=' 5
ok "$LETHE" features --out run --num-features 100 --select diff-means --sort-by random --json --quiet
ok "$LETHE" eval --out run --scale 1 --json --quiet
number out metrics.summary.kl_retain '<' 1e-9
number out metrics.summary.ppl_change '<' 1e-9
ok "$LETHE" eval --out run --scale -3 --guard off --json --quiet
number out metrics.summary.kl_retain '>' 0

# harvest -> train --activations -> encode, from outside.
ok "$LETHE" harvest --model "$model" --layer 1 --text "$demo/neutral.txt" --ctx-len 64 --max-tokens 4096 \
    --out acts.safetensors --json
number out rows '>' 3000
ok "$LETHE" train --activations acts.safetensors --expansion 2 --k 8 --epochs 2 --batch-size 256 --out acts --json
number out fvu '<' 1
ok "$LETHE" train --activations acts.safetensors --init acts/sae.safetensors --no-shuffle --max-steps 2 --out again --json
number out steps '==' 2
ok "$LETHE" encode --sae acts/sae.safetensors --activations acts.safetensors --out z.safetensors --json
number out l0 '<=' 8
ok "$LETHE" encode --sae acts/sae.safetensors --activations acts.safetensors --dense --out dense.safetensors
check "dense is larger" [ "$(stat -c %s dense.safetensors)" -gt "$(stat -c %s z.safetensors)" ]
ok "$LETHE" harvest --model "$model" --layer 1 --text "$demo/neutral.txt" --ctx-len 64 --max-tokens 4096 --out store
ok "$LETHE" train --activations store --expansion 2 --k 8 --epochs 1 --batch-size 256 --out fromstore
ok "$LETHE" harvest --model "$model" --layer 0 --hook pre --text "$demo/neutral.txt" --ctx-len 64 --max-tokens 1024 --out pre.safetensors

# A store of other text is not used.
ok "$LETHE" train --out run --max-tokens 16000 --epochs 2 --expansion 4 --k 8
ok "$LETHE" train --out run --max-tokens 20000 --epochs 2 --expansion 4 --k 8
check "the other store was refused" grep -q "harvesting again" err
ok "$LETHE" train --out run --max-tokens 20000 --epochs 2 --expansion 4 --k 9
check "the right one was used" grep -q "using the activations" err

# Streamed from the model, without a store.
ok "$LETHE" train --out stream --store off --buffer-tokens 4096 --max-tokens 16000 --epochs 2 --expansion 4 --k 8
check "no store was left" [ ! -e stream/activations ]
# Documents read apart; features weighed by activation; a configuration file wins over the default.
ok "$LETHE" train --out apart --separate-documents --max-tokens 16000 --epochs 1 --expansion 4 --k 8
ok "$LETHE" features --out apart --min-forget-fires 4 --weigh-by activation --retain-weight 2 --near-weight 1 --json --quiet
echo '{"k": 5, "expansion": 2, "epochs": 1, "max_tokens": 8000}' >c.json
ok "$LETHE" train --config c.json --out configured --json --quiet
number out l0 '<=' 5
number out latents '==' 384
# Reference recipe.
ok "$LETHE" train --out ref --recipe reference --max-tokens 16000 --epochs 1 --expansion 4 --k 8 --batch-size 128
finish
