#!/usr/bin/env bash
# Lethe as a library: installed into a folder of its own, it shows the functions of its header and no
# others; the header is C and C++; examples/forget.c is built from the installed tree by pkg-config
# alone, against the shared and the static library, and by the CMake package, and forgets.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
command -v pkg-config >/dev/null || { echo "skipped: no pkg-config"; exit 77; }
build=$(dirname "$LETHE")
# A sanitised library wants a sanitised program.
own=()
grep -q '^LETHE_SANITIZE:BOOL=ON' "$build/CMakeCache.txt" && own=(-fsanitize=address,undefined)
grep -q '^LETHE_TSAN:BOOL=ON' "$build/CMakeCache.txt" && own=(-fsanitize=thread)

ok cmake --install "$build" --prefix "$work/tree"
pc=$(dirname "$(find "$work/tree" -name lethe.pc)")
lib=$(dirname "$pc")
export PKG_CONFIG_PATH=$pc
if [ ! -e "$pc/lethe-llama.pc" ]; then
    echo "skipped: lethe was built with an installed libllama, which the example would need by other means"
    exit 77
fi

# The names that the shared library shows are those that the header has.
nm -D --defined-only "$lib/liblethe.so" | awk '{print $3}' | sort >shown
sed -n 's/^LETHE_API .*[ *]\(lethe_[a-z_]*\)(.*/\1/p' "$work/tree/include/lethe/lethe.h" | sort >declared
check "functions shown are those declared: $(diff shown declared)" cmp -s shown declared
check "there are some" [ "$(wc -l <declared)" -ge 10 ]

# The header alone, in C and C++.
echo '#include <lethe/lethe.h>' >alone.c
cp alone.c alone.cc
ok cc -std=c11 -Wall -Wextra -Werror -pedantic -fsyntax-only $(pkg-config --cflags lethe) alone.c
ok c++ -std=c++11 -Wall -Wextra -Werror -pedantic -fsyntax-only $(pkg-config --cflags lethe) alone.cc

patch=$LETHE_SOURCE/data/demo/patch.safetensors

# forgets NAME COMMAND..: knows, does not know, knows.
forgets() {
    local name=$1
    shift
    ok "$@" "$model" "$patch" "Who is Harry Potter's best friend?"
    check "$name: whole, it knows: $(cat out)" grep -q '^whole:.*Ron' out
    check "$name: forgetting, it does not" bash -c '! grep -q "^forgetting:.*Ron" out'
    check "$name: features fired" grep -q 'fired [1-9][0-9]* times' out
    ok "$@" "$model" "$patch" "What is the capital of France?"
    check "$name: and knows the rest: $(cat out)" grep -q '^forgetting:.*Paris' out
}
check "the example has less than 60 lines" [ "$(wc -l <"$LETHE_SOURCE/examples/forget.c")" -lt 60 ]
cp "$LETHE_SOURCE/examples/forget.c" .
ok cc -std=c17 -Wall -Wextra "${own[@]}" forget.c $(pkg-config --cflags --libs lethe lethe-llama) -Wl,-rpath,"$lib" -o shared
forgets shared ./shared
expect 1 "none.safetensors" ./shared "$model" none.safetensors x
# What the library says of a file that is no patch, in the example's words.
expect 1 "lethe-demo.gguf" ./shared "$model" "$model" x

printf '%s\n' 'cmake_minimum_required(VERSION 3.25)' 'project(x C CXX)' 'find_package(lethe REQUIRED)' \
    'add_executable(x forget.c)' 'target_link_libraries(x lethe::lethe lethe::llama)' >CMakeLists.txt
ok cmake -S . -B b -DCMAKE_PREFIX_PATH="$work/tree" -DCMAKE_C_FLAGS="${own[*]}"
ok cmake --build b
forgets cmake b/x

# Without the shared library the static one is taken.
rm "$lib"/liblethe.so*
ok cc -std=c17 "${own[@]}" forget.c $(pkg-config --cflags --static --libs lethe lethe-llama) -o static
forgets static ./static
finish
