#!/usr/bin/env bash
# A short load on lethe serve: 64 clients, half of them forgetting, with hang-ups, for a few
# seconds. slow/load.sh has the long one.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/serve_lib.sh"
serve
ok "$SERVE_LOAD" "$url" $server 5 64 0.05 "${SERVE_GROWTH:-8192}"
cat out err
stop
finish
