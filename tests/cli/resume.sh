#!/usr/bin/env bash
# Training that is killed again and again ends with the same bytes as an undisturbed run; so does any
# number of threads. KILLS: how often (default 3). Ctrl-C saves and says how to go on.
. "$(dirname "$0")/lib.sh"
kills=${KILLS:-3}

options=(--max-tokens "${TOKENS:-12000}" --epochs "${EPOCHS:-4}" --expansion 4 --k 8 --batch-size 128 --save-every 20 --seed 7)

train() { # DIR [options]
    "$LETHE" train --out "$@" "${options[@]}"
}

# In the background as the program itself, not a subshell, so that a signal reaches it; $pid is set.
train_behind() { # DIR [options]
    "$LETHE" train --out "$@" "${options[@]}" >/dev/null 2>err &
    pid=$!
}

for store in bf16 off; do
    rm -rf whole cut
    ok train whole --threads 2 --store $store
    ok train one --threads 1 --store $store
    check "1 and 2 threads: same bytes ($store)" cmp -s whole/sae.safetensors one/sae.safetensors
    rm -rf one

    start=$(date +%s%N)
    ok train timing --threads 2 --store $store
    span=$((($(date +%s%N) - start) / 1000000))
    rm -rf timing
    killed=0
    while [ "$killed" -lt "$kills" ]; do
        if [ -e cut/sae.safetensors ]; then # it got through: once more from the start
            check "same bytes after $killed kills ($store)" cmp -s whole/sae.safetensors cut/sae.safetensors
            rm -rf cut
        fi
        train_behind cut --threads 2 --store $store --resume
        ms=$(((RANDOM * 32768 + RANDOM) % (span * 18 / 10 / (kills + 1)) + 50))
        sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
        if kill -KILL $pid 2>/dev/null; then killed=$((killed + 1)); fi
        wait $pid 2>/dev/null
    done
    echo "$store: killed $killed times"
    find cut -name '*.tmp-*' -delete # a SIGKILL may leave the temporary file of a write, never the file itself
    ok train cut --threads 2 --store $store --resume
    check "killed $killed times and resumed: same bytes ($store)" cmp -s whole/sae.safetensors cut/sae.safetensors

    # Ctrl-C at some moment, then the rest: the same bytes again.
    rm -rf cut
    train_behind cut --threads 2 --store $store
    ms=$((span * (30 + RANDOM % 50) / 100))
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill -INT $pid 2>/dev/null
    wait $pid
    ok train cut --threads 2 --store $store --resume
    check "stopped and resumed: same bytes ($store)" cmp -s whole/sae.safetensors cut/sae.safetensors
done

# Ctrl-C.
options+=(--epochs 400)
train_behind stop --threads 2
for _ in $(seq 600); do
    [ -e stop/activations/index.json ] && break
    sleep 0.1
done
sleep 1.5
kill -INT $pid
wait $pid
status=$?
check "Ctrl-C: exit status 1, got $status" [ "$status" -eq 1 ]
check "Ctrl-C: says how to go on: $(tail -1 err)" grep -q -- "--resume" err
check "Ctrl-C: the state is there" [ -s stop/train.ckpt ]
options+=(--epochs 401)
expect 3 "stop/train.ckpt: of a training of" train stop --threads 2 --resume
finish
