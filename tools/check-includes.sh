#!/usr/bin/env bash
# Includes go down only (docs/ARCHITECTURE.md): a file may include headers of its own folder and of
# folders on lower levels; folders of one level never see each other; only src/lm sees libllama.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A level=([base]=0 [kernel]=1 [format]=1 [sae]=2 [lm]=2 [dist]=2 [stage]=3 [front]=4)
bad=0
while IFS=: read -r file line text; do
    from=${file#src/}; from=${from%%/*}
    header=$(sed -E 's/.*#include *[<"]([^>"]+)[>"].*/\1/' <<<"$text")
    case $header in
    llama.h | ggml*.h | gguf.h)
        [ "$from" = lm ] || { echo "$file:$line: only src/lm may include $header"; bad=1; }
        continue ;;
    esac
    to=${header%%/*}
    [[ $header == */* && -n ${level[$to]:-} ]] || continue
    if [ "$to" != "$from" ] && [ "${level[$to]}" -ge "${level[$from]}" ]; then
        echo "$file:$line: src/$from (level ${level[$from]}) includes $header (level ${level[$to]})"
        bad=1
    fi
done < <(grep -rnE '^ *#include' src --include='*.[ch]')
[ $bad -eq 0 ] && echo "include directions: fine"
exit $bad
