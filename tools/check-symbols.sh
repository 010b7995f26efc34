#!/usr/bin/env bash
# Every symbol that the library exports starts lethe_.
set -euo pipefail
lib=${1:?usage: check-symbols.sh LIBRARY}
bad=$(nm -g --defined-only "$lib" | awk 'NF == 3 && $2 ~ /[TDBRVW]/ && $3 !~ /^lethe_/ {print $3}' | sort -u)
if [ -n "$bad" ]; then
    echo "symbols without the prefix lethe_:"
    echo "$bad"
    exit 1
fi
echo "symbol prefixes: fine"
