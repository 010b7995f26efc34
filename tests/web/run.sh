#!/usr/bin/env bash
# make test-browser, in Chromium: the page, against a scripted server and against lethe serve on the
# embedded default; the report of a small run of the embedded default and of a hostile one. Needs npm
# (for playwright-core) and a chromium; where one is missing it says so and skips.
# Usage: run.sh LETHE [FOLDER_FOR_SCREENSHOTS]
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
lethe=$(realpath "${1:?the program}")
shots=${2:+$(realpath "$2")}
skip() {
    echo "skipped: $*"
    exit 0
}
command -v node >/dev/null && command -v npm >/dev/null || skip "no npm (Debian: apt-get install npm)"
browser=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$browser" ] || skip "no chromium (Debian: apt-get install chromium)"

cache=${LETHE_CACHE:-$HOME/.cache/lethe}/playwright
mkdir -p "$cache"
cp "$source_dir/tests/web/package.json" "$cache/"
if [ ! -d "$cache/node_modules/playwright-core" ]; then
    (cd "$cache" && npm install --no-audit --no-fund --ignore-scripts >&2) || skip "npm cannot fetch playwright-core"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/lethe-web-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$source_dir"/tests/web/*.mjs "$cache/"
cd "$work"
LETHE_DATA=$source_dir "$lethe" serve --port 0 >address 2>server.log &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    grep -q '^http' address && break
    kill -0 $server 2>/dev/null || { cat server.log >&2; exit 1; }
    sleep 0.2
done
node "$cache/page.mjs" "$browser" "$source_dir" "$shots" "$(sed -n 's#^\(http://[0-9.:]*\).*#\1/#p' address)"
kill $server
LETHE_DATA=$source_dir "$lethe" forget --out demo --epochs 2 --max-tokens 60000 --min-forget-fires 8 \
    --near-weight 1 --retain-weight 1 --eval-tokens 1000 --quiet >/dev/null
node "$cache/report.mjs" "$browser" demo "$shots"
mkdir hostile
cp "$source_dir/tests/web/hostile.json" hostile/eval.json
"$lethe" report hostile --format html --quiet >/dev/null
node "$cache/report.mjs" "$browser" hostile
