#!/usr/bin/env bash
# Each fuzz target for a minute (FUZZ_SECONDS) with libFuzzer, from its corpus on. Needs clang with its
# runtime; builds in build-fuzz (FUZZ_BUILD). An input that breaks something stays there.
set -euo pipefail
build=${FUZZ_BUILD:-$LETHE_SOURCE/build-fuzz}
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return 0 * (p[0] + (int)n); }' >"$probe/a.c"
if ! clang -fsanitize=fuzzer,address "$probe/a.c" -o "$probe/a" 2>/dev/null || ! command -v clang++ >/dev/null; then
    echo "skipped: needs clang with libFuzzer (clang, libclang-rt-dev)"
    exit 77
fi
targets=()
for source in "$LETHE_SOURCE"/tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    [ "$name" = fuzz_driver ] || targets+=("$name")
done
cmake -S "$LETHE_SOURCE" -B "$build" -DLETHE_FUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ >"$probe/log" 2>&1 &&
    cmake --build "$build" -j "$(nproc)" --target "${targets[@]}" >>"$probe/log" 2>&1 ||
    { tail -20 "$probe/log"; exit 1; }
for name in "${targets[@]}"; do
    mkdir "$probe/$name"
    echo "$name"
    if ! OMP_WAIT_POLICY=passive "$build/tests/$name" -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=1 \
        -artifact_prefix="$build/$name-" "$probe/$name" "$LETHE_SOURCE/tests/fuzz/${name#fuzz_}" >"$probe/log" 2>&1; then
        tail -40 "$probe/log"
        exit 1
    fi
    grep number_of_executed_units "$probe/log"
done
