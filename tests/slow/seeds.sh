#!/usr/bin/env bash
# The embedded default, three seeds: the model knows all four domains, forgets Harry Potter, keeps the
# rest; a random choice of as many features does not do this.
. "$(dirname "$0")/../cli/lib.sh"

value() { "$JSONGET" "$1" "$2"; }
# The attack brings back at most a quarter of what was known.
below_quarter() {
    checks=$((checks + 1))
    local i n
    n=$(value "$1" "measures.#")
    for ((i = 0; i < n; i++)); do
        [ "$(value "$1" measures.$i.name)" = "$2" ] || continue
        awk -v got="$(value "$1" measures.$i.ablated.mean)" 'BEGIN { exit !(got <= 0.25) }' || fail "$1: $2 brings back more than a quarter"
        return
    done
    fail "$1: no measure $2"
}

for seed in 0 1 2; do
    start=$(date +%s)
    ok "$LETHE" forget --out run$seed --seed $seed --quiet
    spent=$(($(date +%s) - start))
    e=run$seed/eval.json
    for domain in hp magic fantasy real_world; do
        number $e metrics.baseline.recall.$domain '>=' 0.95
    done
    number $e metrics.ablated.recall.hp '<=' 0.15
    for attack in padding role_play typos few_shot turns paraphrase foreign_frame sampling_any; do
        below_quarter $e attack_$attack
    done
    number $e metrics.summary.logprob_shifts.hp '<=' -3
    drop=$(value $e metrics.summary.logprob_shifts.hp)
    for domain in magic fantasy real_world; do
        number $e metrics.summary.recall_shifts.$domain '>=' -0.05
        # at least ten times as much as this domain
        checks=$((checks + 1))
        awk -v hp="$drop" -v d="$(value $e metrics.summary.logprob_shifts.$domain)" \
            'BEGIN { exit !(hp <= 10 * d) }' || fail "seed $seed: $domain falls by more than a tenth of hp"
    done
    number $e metrics.summary.ppl_change_percent '<=' 1
    "$LETHE" eval --out run$seed --quiet | sed "s/^/seed $seed: /" | head -12
    echo "seed $seed: $spent s"

    # The control.
    n=$(value run$seed/features.json features.#)
    ok "$LETHE" features --out run$seed --num-features "$n" --select diff-means --sort-by random --quiet
    ok "$LETHE" eval --out run$seed --guard off --quiet # that of features that say nothing never opens
    head -8 out | sed "s/^/seed $seed, random features: /"
    number $e metrics.ablated.recall.hp '>' 0.5
done
finish
