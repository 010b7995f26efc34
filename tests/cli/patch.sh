#!/usr/bin/env bash
# lethe patch writes a removal as one file; lethe eval --patch applies it, with nothing else there.
. "$(dirname "$0")/lib.sh"

expect 3 "there is no SAE yet" "$LETHE" patch --out nothing --max-tokens 16000
ok small run --store f32
expect 3 "no features are chosen yet" "$LETHE" patch --out run
choose() { "$LETHE" features --out run --min-forget-fires 4 --near-weight 1 --retain-weight 1 --num-features 10 "$@"; }
ok choose
expect 2 "want a number" "$LETHE" patch --out run --scale strong
expect 1 "nowhere/p.safetensors" "$LETHE" patch --out run --to nowhere/p.safetensors
check "no patch of a failed command" [ ! -e run/patch.safetensors ]

# ---- writing
ok "$LETHE" patch --out run --scale -2.5 --guard off
check "the table has the gate's figures" grep -qE "^pairs +[0-9.]+ % +[0-9.]+ % +[0-9.]+ %" out
check "the table says where the patch is" grep -q "^run/patch.safetensors" out
check "progress went to standard error" grep -q "patch" err
ok "$LETHE" patch --out run --json --quiet --threads 1 --to other.safetensors
check "--quiet is quiet" [ ! -s err ]
check "the same bytes with one thread, and the run's scale" cmp -s run/patch.safetensors other.safetensors
number out features '==' 10
number out scale '==' -2.5
number out layer '==' 1
number out bytes '==' "$(stat -c %s other.safetensors)"
number out rows '>' 5000
number out held_out.rows '>' 1000
for key in agreement precision recall row_agreement row_precision row_recall activation_recall; do
    number out held_out.$key '<=' 1
done
number out held_out.agreement '>' 0.95
number out held_out.recall '>' 0.3
number out thresholds.min '>=' 0
check "run.json has the stage" "$JSONGET" run/run.json stages.patch.figures.recall >/dev/null
mv run/activations kept
ok "$LETHE" patch --out run --quiet
check "stored activations and the model give the same bytes" cmp -s run/patch.safetensors other.safetensors
mv kept run/activations

# ---- applying: nothing there but the file and a model
ok "$LETHE" eval --out run --probes few_probes.json --max-new-tokens 4 --quiet --json --scale 1 --prompts "$demo/prompts.json" --eval-tokens 500 --items 2 --samples 2
cp out exact.json
check "the exact gate is named" [ "$("$JSONGET" exact.json config.gate)" = exact ]
mkdir alone
cp run/patch.safetensors alone/p.safetensors
cd alone || exit 1
ok "$LETHE" eval --patch p.safetensors --model "$model" --probes ../few_probes.json --perplexity "$demo/neutral.txt" --eval-tokens 500 --items 2 --samples 2 --out fresh --json --quiet
cd ..
cp alone/out patched.json
check "eval.json is there" [ -s alone/fresh/eval.json ]
check "the compact gate is named" [ "$("$JSONGET" patched.json config.gate)" = compact ]
check "and the patch" [ "$("$JSONGET" patched.json config.patch)" = "$work/alone/p.safetensors" ]
number patched.json config.ablation_scale '==' -2.5
number patched.json config.layer '==' 1
number patched.json config.num_features '==' 10
number patched.json metrics.summary.kl_retain '>=' 0
number patched.json metrics.summary.hook_activity.fired '>' 0
few=(--probes few_probes.json --prompts "$demo/prompts.json" --max-new-tokens 4 --eval-tokens 500 --items 2 --samples 2 --quiet)
ok "$LETHE" eval --out run --patch run/patch.safetensors "${few[@]}" --scale 1 --json
number out config.ablation_scale '==' 1
number out metrics.summary.kl_retain '<' 1e-9
number out metrics.summary.hook_activity.fired '>' 0
ok "$LETHE" eval --patch run/patch.safetensors "${few[@]}" --out demo
check "the embedded default, in a run of its own" grep -q "10 features at scale -2.5 (compact gate)" out
ok "$LETHE" patch --out run --special-too --scale 0 --to special.safetensors --quiet
ok "$LETHE" eval --patch special.safetensors "${few[@]}" --out demo --json
check "the patch says whether special positions count" [ "$("$JSONGET" out config.ablate_special)" = true ]
number out config.ablation_scale '==' 0

# ---- methods, guard, several at once
ok "$LETHE" patch --out run --method clamp --strength 2 --guard auto --guard-by share --to clamp.safetensors --quiet --json
check "the patch's method" [ "$("$JSONGET" out method)" = clamp ]
number out guard '<=' 1
number out guard_window '==' 16
share=$("$JSONGET" out guard)
ok "$LETHE" eval --patch clamp.safetensors "${few[@]}" --out demo --json
check "it is done as the patch says" [ "$("$JSONGET" out config.method)" = clamp ]
number out config.strength '==' 2
number out config.guard '==' "$share"
check "eval.json has it" [ "$("$JSONGET" demo/eval.json config.clamp_unit)" = activation ]
ok "$LETHE" eval --patch clamp.safetensors --method direction --strength 0.1 --direction-gated --guard off "${few[@]}" --out demo --json
check "unless the command line has another" [ "$("$JSONGET" out config.method)" = direction ]
check "and no guard" [ "$("$JSONGET" out config.guard)" = null ]
ok "$LETHE" eval --patch clamp.safetensors --patch special.safetensors "${few[@]}" --out demo --json
check "two removals, each in its own way" [ "$("$JSONGET" out config.removals.0.method) $("$JSONGET" out config.removals.1.method)" = "clamp scale" ]
number out config.removals.1.strength '==' 0
expect 2 "with several patches each is done as it says itself: leave out --scale" "$LETHE" eval --patch clamp.safetensors special.safetensors --scale -1 --probes few_probes.json --out demo
ok "$LETHE" eval --out run "${few[@]}" --method clamp --strength 0.5 --clamp-unit norm --guard 0.25 --guard-window 8 --json
check "the exact gate, too" [ "$("$JSONGET" out config.clamp_unit)" = norm ]
number out config.guard '==' 0.25
check "a window means a guard by share" [ "$("$JSONGET" out config.guard_by)" = share ]
ok "$LETHE" patch --out run --scale -2 --guard 5 --guard-by evidence --to evidence.safetensors --quiet --json
check "a guard by evidence" [ "$("$JSONGET" out guard_by)" = evidence ]
check "has no window" [ -z "$("$JSONGET" out guard_window 2>/dev/null)" ]
ok "$LETHE" eval --patch evidence.safetensors "${few[@]}" --out demo
check "for people" grep -q "guard 5 nats of evidence" out
ok "$LETHE" eval --patch evidence.safetensors "${few[@]}" --out demo --json
number out config.guard '==' 5
check "as the patch says" [ "$("$JSONGET" out config.guard_by)" = evidence ]
ok "$LETHE" eval --patch evidence.safetensors "${few[@]}" --guard 0 --guard-by evidence --out demo --json
number out config.guard '==' 0
acted=$("$JSONGET" out metrics.summary.hook_activity.rows_acted)
ok "$LETHE" eval --patch evidence.safetensors "${few[@]}" --guard 1e6 --guard-by evidence --out demo --json
number out metrics.summary.hook_activity.rows_acted '<' "$acted"
expect 2 "a share of positions or nats of evidence?" "$LETHE" eval --patch evidence.safetensors --guard 0.3 --out demo
expect 2 "wants a number of its own" "$LETHE" eval --patch evidence.safetensors --guard-by share --out demo
expect 2 "wants a number of its own" "$LETHE" eval --patch evidence.safetensors --guard-window 8 --out demo
expect 2 "leave out --guard-by" "$LETHE" eval --patch evidence.safetensors special.safetensors --guard-by share --probes few_probes.json --out demo
ok "$LETHE" eval --patch clamp.safetensors "${few[@]}" --guard 0.3 --out demo --json
check "a share stays a share" [ "$("$JSONGET" out config.guard_by)" = share ]
ok "$LETHE" patch --out run --scale -2 --guard auto --guard-by evidence --to auto.safetensors --quiet --json
number out guard '>' 0
ok "$LETHE" eval --out run "${few[@]}" --scale -1 --guard off --json
check "--scale is method scale" [ "$("$JSONGET" out config.method)" = scale ]

# ---- what does not fit
with() { "$LETHE" eval --out run --probes few_probes.json "$@"; }
expect 2 "want scale, clamp or direction" with --method burn
expect 2 "want activation or norm" with --method clamp --clamp-unit metres
expect 2 "--strength is -1, must be 0 or more" with --method clamp --strength -1
expect 2 "--strength is for --method clamp or direction" with --method scale --strength 2
expect 2 "--scale is for --method scale" with --method clamp --scale -1
expect 2 "--clamp-unit is for --method clamp" with --method direction --clamp-unit norm
expect 2 "--direction-gated is for --method direction" with --method clamp --direction-gated
expect 2 "want off, auto or a number" with --guard maybe
expect 2 "--guard is -1, must be 0 or more nats" with --guard -1 --guard-by evidence
expect 2 "--guard-by: got \"smell\", want share or evidence" with --guard 1 --guard-by smell
expect 2 "--guard-by is for --guard auto or a number" with --guard off --guard-by share
expect 2 "--guard-window is for --guard-by share" with --guard 1 --guard-by evidence --guard-window 4
expect 2 "--guard is 1.5, must be a share from 0 to 1" with --guard 1.5 --guard-by share
expect 2 "--guard-window: got -1" with --guard 0.5 --guard-window -1
expect 2 "--guard-window is for --guard auto or a share" with --guard off --guard-window 4
choose_by() { "$LETHE" features --out run --num-features 5 --quiet "$@"; }
expect 2 "want diff-means, act-squared or effect" choose_by --select luck
expect 2 "--ratio-percentile is 101, must be 0 to 100" choose_by --select act-squared --ratio-percentile 101
expect 2 "--effect-windows: got 0" choose_by --select effect --effect-windows 0
expect 2 "--effect-candidates: got -1" choose_by --select effect --effect-candidates -1
ok choose_by --select act-squared
check "features.json says how" [ "$("$JSONGET" run/features.json thresholds.select)" = act-squared ]
ok choose_by --select effect --effect-candidates 8 --effect-windows 1 --min-forget-fires 4 --near-weight 0 --retain-weight 0
check "another selection is another choice" [ "$("$JSONGET" run/features.json thresholds.select)" = effect ]
cp run/features.json effect.json
ok choose_by --fresh --threads 1
check "the same choice with one thread" cmp -s run/features.json effect.json
ok choose

eval_with() { "$LETHE" eval --model "$model" --probes few_probes.json --out bad "$@"; }
expect 3 "none.safetensors" eval_with --patch none.safetensors
echo "no patch" >text.safetensors
expect 3 "text.safetensors" eval_with --patch text.safetensors
expect 3 "sae.safetensors: not a patch" eval_with --patch run/sae.safetensors
head -c 20000 run/patch.safetensors >cut.safetensors
expect 3 "cut.safetensors" eval_with --patch cut.safetensors
expect 3 "this patch belongs to layer 1" eval_with --patch run/patch.safetensors --layer 2
expect 3 "this patch belongs to layer 1" eval_with --patch run/patch.safetensors --hook pre
expect 2 "leave out --sae and --features" eval_with --patch run/patch.safetensors --sae run/sae.safetensors
expect 2 "leave out --sae and --features" eval_with --patch run/patch.safetensors --features run/features.json
LC_ALL=C sed 's/"model_hash":"../"model_hash":"zz/' run/patch.safetensors >foreign.safetensors
expect 3 "this patch was made for another model" eval_with --patch foreign.safetensors
LC_ALL=C sed 's/"layer":"1"/"layer":"9"/' foreign.safetensors >deep.safetensors
expect 3 "this patch was made for another model" eval_with --patch deep.safetensors
LC_ALL=C sed 's/"layer":"1"/"layer":"x"/' run/patch.safetensors >damaged.safetensors
expect 3 'metadata "layer" is "x", want a number' eval_with --patch damaged.safetensors
check "no run directory for a patch that failed" [ ! -e bad ]
expect 2 "is not an option of" "$LETHE" forget --patch run/patch.safetensors
expect 2 "is not an option of" "$LETHE" features --patch run/patch.safetensors
expect 2 "is not an option of" "$LETHE" eval --to p.safetensors
if [ -r "${LETHE_SHARED:-$LETHE_SOURCE/../shared}/models/stories260K.gguf" ]; then
    stories=${LETHE_SHARED:-$LETHE_SOURCE/../shared}/models/stories260K.gguf
    expect 3 "this patch is 192 wide, the model" "$LETHE" eval --model "$stories" --patch run/patch.safetensors --probes few_probes.json --out bad
else
    echo "skipped: a patch of another width (stories260K.gguf is missing)"
fi
finish
