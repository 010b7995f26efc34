#!/usr/bin/env bash
# The official openai npm package against lethe serve. Skips, saying so, where node, npm or the
# package cannot be had.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/serve_lib.sh"
skip() {
    echo "skipped: $*"
    exit 77
}
command -v node >/dev/null && command -v npm >/dev/null || skip "no npm (Debian: apt-get install npm)"
here=$LETHE_SOURCE/tests/openai
lock=$(sha256sum "$here/package-lock.json" | cut -c1-16)
cache=${LETHE_CACHE:-$HOME/.cache/lethe}/openai-$lock
if [ ! -e "$cache/fetched" ]; then
    mkdir -p "$cache"
    cp "$here"/package.json "$here"/package-lock.json "$cache/"
    (cd "$cache" && timeout 120 npm ci --no-audit --no-fund --ignore-scripts --loglevel error >&2) ||
        skip "npm cannot fetch openai"
    touch "$cache/fetched"
fi
cp "$here/client.mjs" "$work/client.mjs"
ln -s "$cache/node_modules" "$work/node_modules"
LETHE_SERVE_KEY=sesame serve
ok node client.mjs "$url" sesame
cat out err
stop
finish
