#!/usr/bin/env bash
# lethe serve under load for a minute: 64 clients, half of them forgetting, with hang-ups. Right
# answers, no error but 429, memory that stays, and the price of forgetting.
. "$(dirname "$0")/../cli/lib.sh"
. "$(dirname "$0")/../cli/serve_lib.sh"
serve
ok "$SERVE_LOAD" "$url" $server 60 64 0.05 "${SERVE_GROWTH:-8192}"
cat out err
ratio=$(sed -n 's/^median ratio //p' out)
check "throughput with forgetting is 0.95 of that without: $ratio" awk "BEGIN { exit !($ratio >= 0.95) }"
stop
finish
