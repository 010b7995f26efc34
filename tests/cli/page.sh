#!/usr/bin/env bash
# The page's bundle in web/dist/ is what web/src/ gives: built again from the locked packages, and
# compared. Skips, saying so, where npm or the packages cannot be had.
set -euo pipefail
source_dir=${LETHE_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
skip() {
    echo "skipped: $*"
    exit 77
}
command -v node >/dev/null && command -v npm >/dev/null || skip "no npm (Debian: apt-get install npm)"

# Packages go into a cache named after the lock, so that one fetch is enough.
lock=$(sha256sum "$source_dir/web/package-lock.json" | cut -c1-16)
cache=${LETHE_CACHE:-$HOME/.cache/lethe}/page-$lock
if [ ! -e "$cache/fetched" ]; then
    mkdir -p "$cache"
    cp "$source_dir"/web/package.json "$source_dir"/web/package-lock.json "$cache/"
    (cd "$cache" && timeout 120 npm ci --no-audit --no-fund --ignore-scripts --loglevel error >&2) ||
        skip "npm cannot fetch esbuild and typescript"
    touch "$cache/fetched"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/lethe-page-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -r "$source_dir"/web/{src,build.mjs,package.json,tsconfig.json} "$work/"
ln -s "$cache/node_modules" "$work/node_modules"
cd "$work"
node_modules/.bin/tsc --noEmit || { echo "web/src: the types do not fit"; exit 1; }
node build.mjs dist
diff -rq "$source_dir/web/dist" dist || {
    echo "web/dist/ is not what web/src/ gives: make page, and commit it"
    exit 1
}
echo "the page's bundle is that of its sources"
