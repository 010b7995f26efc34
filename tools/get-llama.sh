#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Gets libllama and builds it. Prints the folder it was installed in; progress goes to standard
# error.
#
#   get-llama.sh [OPTION...]                    the pinned release, kept in a cache
#   get-llama.sh --source TREE --into DIR ...   a source tree of yours, built in DIR/build
#
# OPTIONs that start with -D go to its CMake (-DGGML_CUDA=ON). CC and CXX choose the compilers,
# LETHE_JOBS the number of compile jobs. The cache is ${LETHE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/lethe}:
#
#   llama-src-TREE        the source, checked against the hashes below
#   llama-TREE-KEY        an installed build; KEY stands for options, compilers and processor
#   llama.log             what the last build printed
#
# Folders appear under these names only when they are whole, so a build that was killed leaves
# nothing behind that a later one could mistake for a result.
set -eu

release=v0.5.0
tree=fd570ef54b10ec5fecb739e7e04c8ce44a6f415a
package=node-llama-cpp@3.22.1 # its llama/gitRelease.bundle holds the release
bundle_sha256=5f5d1105d5df040738d87b8290e5d17e7362131cdcfdb0831618e0ea528b4a51
upstream=https://github.com/ggml-org/llama.cpp

say() { echo "libllama: $*" >&2; }
die() {
    say "$@"
    exit 1
}
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing (Debian: apt install $2)"; }

source='' into=''
while [ $# -gt 0 ]; do
    case $1 in
    --source) source=$2 && shift 2 ;;
    --into) into=$2 && shift 2 ;;
    --) shift && break ;;
    -D*) break ;;
    *) die "unknown argument $1" ;;
    esac
done
for option; do
    case $option in -D?*) ;; *) die "unknown option $option (options for libllama start with -D)" ;; esac
done

need cmake cmake
jobs=${LETHE_JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}

# configure SOURCE BUILD PREFIX OPTION...: only what Lethe links: the library, static.
configure() {
    c_source=$1 c_build=$2 c_prefix=$3
    shift 3
    cmake -S "$c_source" -B "$c_build" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_INSTALL_PREFIX="$c_prefix" \
        -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF \
        -DLLAMA_OPENSSL=OFF -DGGML_CCACHE=OFF "$@"
}

# compile BUILD: a line now and then on the way.
compile() {
    cmake --build "$1" --parallel "$jobs" 2>&1 | tee -a "$log" |
        awk '/^\[ *[0-9]+%\]/ { p = $0; sub(/%.*/, "", p); sub(/.*\[ */, "", p)
               if (p + 0 >= next_p) { print "libllama: " p "% compiled"; fflush(); next_p = p + 10 } }
             /rror: |Error [0-9]/ { print; fflush() }' >&2
    # The pipe hides how the build ended; a second call has nothing left to do or fails again.
    cmake --build "$1" >>"$log" 2>&1
}

build_into() { # SOURCE BUILD PREFIX OPTION...
    b_build=$2
    : >"$log"
    say "building (about two minutes on two cores; log: $log)"
    configure "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "configuring failed; see $log"; }
    compile "$b_build" || { tail -n 20 "$log" >&2; die "the build failed; see $log"; }
    cmake --install "$b_build" >>"$log" 2>&1 || die "installing failed; see $log"
}

if [ -n "$source" ]; then
    [ -n "$into" ] || die "--source needs --into DIR"
    [ -f "$source/include/llama.h" ] || die "$source is not a source tree of llama.cpp"
    mkdir -p "$into"
    into=$(cd "$into" && pwd) log=$into/llama.log
    build_into "$source" "$into/build" "$into/inst" "$@"
    echo "$into/inst"
    exit 0
fi

# ---- the pinned release -------------------------------------------------------------------------

cache=${LETHE_CACHE:-${XDG_CACHE_HOME:-${HOME:?set LETHE_CACHE}/.cache}/lethe}
mkdir -p "$cache" || die "cannot make the cache $cache (set LETHE_CACHE to a folder of yours)"
cache=$(cd "$cache" && pwd)
short=$(echo $tree | cut -c1-12)
src=$cache/llama-src-$short log=$cache/llama.log

digest() { if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }
processor() { # a build for "this processor" must not be used on another
    uname -sm
    grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || sysctl -n machdep.cpu.features 2>/dev/null || :
}
key=$({
    "${CC:-cc}" --version
    "${CXX:-c++}" --version
    processor
    echo 1 "$@" # 1: raise it when the options in configure() change
} | digest | cut -c1-12)
prefix=$cache/llama-$short-$key

if [ -f "$prefix/lib/cmake/llama/llama-config.cmake" ]; then
    echo "$prefix"
    exit 0
fi

# One at a time; who comes second finds the result.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$cache/lock"
    if ! flock -n 9; then
        say "another build is at work in $cache; waiting for it"
        flock 9
    fi
    if [ -f "$prefix/lib/cmake/llama/llama-config.cmake" ]; then
        echo "$prefix"
        exit 0
    fi
    rm -rf "$cache"/tmp.* # left by builds that were killed: we hold the lock
fi

need git git
work=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

from_npm() {
    command -v npm >/dev/null 2>&1 || { say "npm is missing"; return 1; }
    say "fetching release $release from the npm package $package"
    (cd "$work" && npm pack --ignore-scripts --silent "$package" >npm.out 2>npm.err) ||
        { sed 's/^/libllama: npm: /' "$work/npm.err" | tail -n 3 >&2; return 1; }
    tar -xzf "$work"/node-llama-cpp-*.tgz -C "$work" package/llama/gitRelease.bundle || return 1
    got=$(digest "$work/package/llama/gitRelease.bundle" | cut -c1-64)
    [ "$got" = "$bundle_sha256" ] ||
        die "the bundle in $package has the hash $got, want $bundle_sha256: not used"
    git -c advice.detachedHead=false clone -q -c core.autocrlf=false \
        "$work/package/llama/gitRelease.bundle" "$work/src"
}

from_git() {
    say "fetching release $release with git from $upstream"
    GIT_TERMINAL_PROMPT=0 git -c advice.detachedHead=false clone -q -c core.autocrlf=false \
        --depth 1 --branch "$release" "$upstream" "$work/src"
}

if [ ! -d "$src" ]; then
    from_npm || from_git || die "cannot fetch release $release: neither npm nor git reached it." \
        "Connect to a network, or use a source tree (cmake -DLETHE_LLAMA_DIR=TREE) or an" \
        "installed libllama (cmake -DLETHE_SYSTEM_LLAMA=ON)"
    got=$(git -C "$work/src" rev-parse 'HEAD^{tree}')
    [ "$got" = "$tree" ] || die "release $release has the tree $got, want $tree: not used"
    rm -rf "$work/src/.git"
    mv "$work/src" "$src"
fi

# Installed below $work first; the package's own paths are relative, so it may be moved.
build_into "$src" "$work/build" "$work/inst" "$@"
rm -rf "$work/inst/lib/pkgconfig" # these files alone name the folder, and nobody reads them
mv "$work/inst" "$prefix"
say "ready in $prefix"
echo "$prefix"
