#!/usr/bin/env bash
# The embedded default, three seeds: the model knows all four domains, forgets Harry Potter, keeps the
# rest; a random choice of as many features does not do this.
. "$(dirname "$0")/../cli/lib.sh"

value() { "$JSONGET" "$1" "$2"; }
for seed in 0 1 2; do
    start=$(date +%s)
    ok "$LETHE" forget --out run$seed --seed $seed --quiet
    spent=$(($(date +%s) - start))
    e=run$seed/eval.json
    for domain in hp magic fantasy real_world; do
        number $e metrics.baseline.recall.$domain '>=' 0.95
    done
    number $e metrics.ablated.recall.hp '<=' 0.25
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
    ok "$LETHE" features --out run$seed --num-features "$n" --sort-by random --quiet
    ok "$LETHE" eval --out run$seed --quiet
    head -8 out | sed "s/^/seed $seed, random features: /"
    number $e metrics.ablated.recall.hp '>' 0.5
done
finish
