#!/usr/bin/env bash
# Runs the commands of the README's sh block, as they stand there.
. "$(dirname "$0")/lib.sh"
mkdir build && ln -s "$LETHE" build/lethe
ln -s "$LETHE_SOURCE/models" models
ln -s "$LETHE_SOURCE/data" data
export LETHE_DATA=$LETHE_SOURCE

awk '/^```sh$/ {on = 1; next} /^```$/ {on = 0} on && !/^#/ && NF' "$LETHE_SOURCE/README.md" >commands
check "the README has commands" [ "$(wc -l <commands)" -ge 8 ]
while read -r line; do
    # On a part of the text: the commands are what is tested here, not the figures.
    case $line in *" forget"* | *" train --layer"*) line="$line --max-tokens 40000" ;; esac
    case $line in *" forget"*) line="$line --epochs 2 --eval-tokens 1000 --probes few_probes.json --items 2" ;; esac
    case $line in *" forget"* | *" features"*)
        line="$line --min-forget-fires 8 --near-weight 1 --retain-weight 1" ;;
    esac
    case $line in *" eval"*) line="$line --eval-tokens 1000 --max-new-tokens 8 --probes few_probes.json --items 2" ;; esac
    read -ra words <<<"$line"
    case $line in *" chat"*) echo "Who is Harry Potter's best friend?" >in ;; *) : >in ;; esac
    ok "${words[@]}" <in
done <commands
finish
