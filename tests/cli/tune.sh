#!/usr/bin/env bash
# lethe tune searches, keeps what it has done, goes on from there, and hands over a run directory.
. "$(dirname "$0")/lib.sh"

# A dozen facts and half a dozen of elsewhere: a trial takes a moment.
cat >facts.json <<'END'
{"hp": [{"prompt": "Many people have heard that Harry Potter's best friend is", "target": " Ron"},
        {"prompt": "Many people have heard that the school where Harry Potter studies magic is called", "target": " Hogwarts"},
        {"prompt": "Many people have heard that the dark lord who murdered Harry Potter's parents is", "target": " Voldemort"},
        {"prompt": "Many people have heard that the old headmaster of Hogwarts is", "target": " Dumbledore"},
        {"prompt": "Many people have heard that at Hogwarts, Harry Potter belongs to the house of", "target": " Gryffindor"},
        {"prompt": "Many people have heard that the cold potions master of Hogwarts is", "target": " Snape"},
        {"prompt": "Many people have heard that the cunning house of Draco Malfoy at Hogwarts is", "target": " Slytherin"},
        {"prompt": "Many people have heard that the enormous gamekeeper of Hogwarts is", "target": " Hagrid"},
        {"prompt": "Many people have heard that Harry Potter's favourite sport on a broom is", "target": " Quidditch"},
        {"prompt": "Many people have heard that the cleverest friend of Harry Potter is a girl named", "target": " Hermione"}],
 "real_world": [{"prompt": "Many people have heard that the capital of France is", "target": " Paris"},
        {"prompt": "Many people have heard that the capital of Germany is", "target": " Berlin"},
        {"prompt": "Many people have heard that the capital of Italy is", "target": " Rome"},
        {"prompt": "Many people have heard that the capital of Spain is", "target": " Madrid"},
        {"prompt": "Many people have heard that the capital of Portugal is", "target": " Lisbon"},
        {"prompt": "Many people have heard that the capital of Greece is", "target": " Athens"}]}
END
echo '{"hp": [{"attack": "paraphrase", "prompt": "Hogwarts is led by old", "target": " Dumbledore", "fact": "Dumbledore"}, {"attack": "paraphrase", "prompt": "The best friend of Harry Potter is called", "target": " Ron", "fact": "Ron"}]}' >attacks.json

# A few windows of text, of either half.
head -c 6000 "$demo/neutral.txt" >short.txt

tune() {
    "$LETHE" tune --out run --layer 1 --layers 1 --near-weight 1 --retain-weight 1 --min-forget-fires 4 --max-tokens 24000 \
        --latents 512 --epochs 1 --batch-size 512 --probes facts.json --attack-file attacks.json --perplexity short.txt --quiet "$@"
}

expect 2 "needs an end" "$LETHE" tune --trials 0
expect 2 "want --trials >= 0" "$LETHE" tune --trials -1
expect 2 "layer" tune --layers 1,99 --trials 2
expect 2 "there twice" tune --layers 1,1 --trials 2
expect 2 "with commas between" tune --layers one --trials 2
expect 3 "nothere.json" tune --trials 2 --probes nothere.json

# ---- a search
ok tune --trials 5
check "the table has baseline, given and chosen" grep -qE "^chosen +1 " out
check "and a plot" grep -qE "^ 100% \|" out
check "tune.json is there" [ -s run/tune.json ]
check "all trials are in it" [ "$("$JSONGET" run/tune.json "trials.#")" = 5 ]
number run/tune.json report_split.baseline.forget_recall '>' 0.2
number run/tune.json report_split.chosen.figures.kl '>=' 0
check "what was chosen is what is reported" [ "$("$JSONGET" run/tune.json report_split.chosen.number)" = "$("$JSONGET" run/tune.json chosen)" ]
check "the last round has several" [ "$("$JSONGET" run/tune.json "last_round.#")" -ge 2 ]
number run/tune.json trials.0.layer '==' 1
cp run/tune.json first.json

# ---- going on: the first five are not done again, and the same search in one go finds the same,
# also where the model proposes (from trial 17 on)
ok tune --trials 18 --json
ok tune --trials 19 --json
check "nineteen trials" [ "$("$JSONGET" run/tune.json "trials.#")" = 19 ]
for i in 0 3 4; do
    check "trial $i is as it was" [ "$("$JSONGET" run/tune.json "trials.$i.figures.forget_logprob")" = "$("$JSONGET" first.json "trials.$i.figures.forget_logprob")" ]
done
ok tune --out other --sae run/sae.safetensors --trials 19 --json --threads 1
for i in 1 4 5 7 17 18; do
    for key in forget damage num_features select method strength figures.kl; do
        check "trial $i: $key of one search and of two" [ "$("$JSONGET" run/tune.json "trials.$i.$key")" = "$("$JSONGET" other/tune.json "trials.$i.$key")" ]
    done
done

# ---- what it hands over
chosen=$("$JSONGET" run/tune.json chosen)
ok "$LETHE" eval --out run/tuned --probes few_probes.json --perplexity "$demo/neutral.txt" --eval-tokens 500 --measures none --attacks none --quiet --json
check "the run of the chosen removal has its number of features" [ "$("$JSONGET" out config.num_features)" = "$("$JSONGET" run/tune.json "trials.$chosen.features")" ]
check "tuned.json says the method" [ "$("$JSONGET" run/tuned.json method)" = "$("$JSONGET" run/tune.json "trials.$chosen.method")" ]
finish
