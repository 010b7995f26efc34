#!/usr/bin/env bash
# Measurements: what a tap costs, and how fast the stages run on the embedded default. Quote figures
# with the machine they came from; run on a quiet machine.
set -euo pipefail
build=${1:?usage: bench.sh BUILD_DIR}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "machine: $(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), $(nproc) cores"
echo
echo "== tapping a layer against the whole prefill (random model, alternating, medians)"
LETHE_SOURCE=$here LETHE_MAKE_MODEL=$build/lethe_make_model "$build/tests/test_tap_cost"
echo
echo "== stages on the embedded default"
for threads in 1 2; do
    echo "-- $threads thread(s)"
    "$build/lethe" forget --out "$work/run$threads" --threads "$threads" 2>&1 >/dev/null |
        grep -E '100%' | sed 's/^/   /'
done
