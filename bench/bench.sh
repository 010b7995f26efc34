#!/usr/bin/env bash
# The standing measurements, in a few minutes: `lethe bench` on random rows and the embedded default,
# harvest and decode on a random model of half a billion parameters, and the stages of a whole run.
# Quote figures with the machine they came from; run on a quiet machine. bench/README.md has more.
set -euo pipefail
build=${1:?usage: bench.sh BUILD_DIR}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== random rows, embedded default"
"$build/lethe" bench --recipe reference --steps 3 --scaling --quiet
echo
echo "== a random model of 514 M parameters"
"$build/lethe_make_model" "$work/model.gguf" --d 1024 --layers 40 --ffn 2752 --type q4_0
"$build/lethe" bench --what harvest,decode --model "$work/model.gguf" --steps 3 --quiet
rm "$work/model.gguf"
echo
echo "== stages on the embedded default"
for threads in 1 2; do
    echo "-- $threads thread(s)"
    "$build/lethe" forget --out "$work/run$threads" --threads "$threads" 2>&1 >/dev/null |
        grep -E '100%' | sed 's/^/   /'
done
