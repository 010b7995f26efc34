#!/usr/bin/env bash
# checkasm for 64-bit Arm, cross-compiled and run under emulation: on a processor with everything
# (tables ref, neon, neondot) and on one without the dot-product instructions (ref, neon). Only
# src/base, src/kernel and tests/kernel are built, so nothing but the C library is needed.
#
#     tools/check-arm.sh [ARGUMENTS OF CHECKASM]
#
# Installs nothing. Needs (Debian): gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user.
# CROSS_CC and QEMU name other programs, QEMU_LD_PREFIX the folder of their C library.
set -euo pipefail
cd "$(dirname "$0")/.."
cc=${CROSS_CC:-aarch64-linux-gnu-gcc}
qemu=${QEMU:-qemu-aarch64}
export QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}
for program in "$cc" "$qemu"; do
    command -v "$program" >/dev/null && continue
    echo "$program is missing; on Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2
    exit 1
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The flags of CMakeLists.txt and cmake/kernels.cmake.
flags=(-std=c17 -D_GNU_SOURCE -O3 -fopenmp -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
       -Wmissing-prototypes -Werror -ffp-contract=off -fno-math-errno -Iinclude -Isrc -Itests)
sources=(src/base/{err,mem,rng,run,strbuf}.c src/kernel/{kernel,kernel_ref,digits}.c
         src/kernel/kernel_sets_arm.c src/kernel/kernel_neon*.c tests/kernel/*.c)
objects=()
for source in "${sources[@]}"; do
    own=()
    [ "$source" = src/kernel/kernel_neondot.c ] && own=(-march=armv8.2-a+dotprod)
    object=$work/$(basename "$source" .c).o
    "$cc" "${flags[@]}" "${own[@]}" -c "$source" -o "$object"
    objects+=("$object")
done
"$cc" -fopenmp "${objects[@]}" -o "$work/checkasm" -lm

# A product and a sum that are rounded once give other bytes than everywhere else.
"${cc%gcc}objdump" -d "$work/kernel_neon.o" >"$work/code"
if grep -wE 'fmla|fmls|fmadd|fmsub|fnmadd|fnmsub' "$work/code"; then
    echo "kernel_neon.c was compiled to fused instructions" >&2
    exit 1
fi

# The tables that were checked must be just these.
run() {
    local cpu=$1 want=$2 got
    shift 2
    echo "== $cpu"
    "$qemu" -cpu "$cpu" "$work/checkasm" "$@" | tee "$work/out"
    got=$(grep ' comparisons: fine$' "$work/out" | sed 's/^checkasm: \([^ ]*\) .*/\1/' | xargs)
    [ "$got" = "$want" ] || { echo "checked \"$got\", want \"$want\"" >&2; exit 1; }
}
run max "ref neon neondot" "$@"
run cortex-a53 "ref neon" "$@"
echo "check-arm: fine"
