#!/usr/bin/env bash
# lethe pull against a Hub of our own that misbehaves on request (tests/support/stub_hub.c).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hub_lib.sh"

# ---- the Hub's files
models=root/models/me
mkdir -p $models/demo $models/split $models/one $models/sae $models/none root/datasets/me/texts
blob() { # FILE BYTES SEED
    mkdir -p "$(dirname "$1")"
    awk -v n="$2" -v s="$3" 'BEGIN { srand(s); for (i = 0; i < n / 64; i++)
        printf "%08x%08x%08x%08x%08x%08x%08x%07x\n", rand() * 4294967295, rand() * 4294967295, rand() * 4294967295,
            rand() * 4294967295, rand() * 4294967295, rand() * 4294967295, rand() * 4294967295, rand() * 268435455 }' >"$1"
}
blob $models/demo/demo.Q4_K_M.gguf 3000000 1
blob $models/demo/demo.Q8_0.gguf 200000 2
blob $models/demo/demo.Q4_K_S.gguf 100000 3
blob $models/demo/mmproj-demo-Q4_K_M.gguf 100000 4
echo '{"a": 1}' >$models/demo/config.json
: >$models/demo/empty.txt
for i in 1 2 3; do blob $models/split/Q6_K/big-Q6_K-0000$i-of-00003.gguf 150000 1$i; done
cp $models/split/Q6_K/big-Q6_K-00001-of-00003.gguf $models/split/torn-F16-00001-of-00002.gguf
blob $models/one/2b_pt_v2.gguf 70000 20
blob $models/sae/sae.safetensors 300000 21
echo '{"k": 3}' >$models/sae/cfg.json
blob $models/none/layer_0/width_16k/params.npz 100000 22
blob $models/none/layer_1/width_16k/params.npz 100000 23
echo 'x' >$models/none/README.md
blob "root/datasets/me/texts/a b.txt" 90000 24
blob $models/large/large.Q4_K_M.gguf 60000000 30

hub

# pull MODE ARGS..: into the cache of $HF_HOME or cache/
export HF_HUB_CACHE=$PWD/cache
pull() { local mode=$1; shift; "$LETHE" pull --endpoint "$at/$mode" "$@"; }
same() { check "$1: the bytes of $2" cmp -s "$2" "$1"; }
afresh() { rm -rf cache; : >log; }
sent() { awk -v side="$1" '$1 == side { sub(/sent=/, "", $5); n += $5 } END { print n + 0 }' log; }
requests() { grep -c "$1" log; }

# ---- as it should be
ok pull good me/demo --quiet
path=$(cat out)
check "--quiet is quiet" [ ! -s err ]
check "the path is in the cache" [ "$path" = "$PWD/cache/models--me--demo/snapshots/0123456789abcdef0123456789abcdef01234567/demo.Q4_K_M.gguf" ]
same "$path" $models/demo/demo.Q4_K_M.gguf
sum=$(sha256sum <"$path" | cut -d' ' -f1)
check "a relative link to the blob" [ "$(readlink "$path")" = "../../blobs/$sum" ]
check "refs/main" [ "$(cat cache/models--me--demo/refs/main)" = 0123456789abcdef0123456789abcdef01234567 ]
check "the lock's file, where others look" [ -e "cache/.locks/models--me--demo/$sum.lock" ]
check "nothing unfinished" [ -z "$(find cache -name '*incomplete*')" ]
: >log
ok pull good me/demo
check "it is not fetched again" [ "$(requests CDN)" -eq 0 ]
check "says what" grep -q "me/demo at 0123456789ab: 1 file, 3.0 MB, of which 0.0 fetched" err

ok pull good me/demo:Q8_0
same "$(cat out)" $models/demo/demo.Q8_0.gguf
ok pull good me/demo:q4_k_s
same "$(cat out)" $models/demo/demo.Q4_K_S.gguf
ok pull good me/demo:config.json
same "$(cat out)" $models/demo/config.json
check "a small file by git's checksum" [ -f "cache/models--me--demo/blobs/$( (printf 'blob 9\0'; cat $models/demo/config.json) | sha1sum | cut -d' ' -f1)" ]
ok pull good me/demo:empty.txt
check "an empty file" [ -f "$(cat out)" -a ! -s "$(cat out)" ]
ok pull good me/split:Q6_K --json
first=$("$JSONGET" out path)
check "all parts of a split model, and the first is named" [ "${first##*/}" = big-Q6_K-00001-of-00003.gguf ]
for i in 1 2 3; do same "${first%1-of-00003.gguf}$i-of-00003.gguf" $models/split/Q6_K/big-Q6_K-0000$i-of-00003.gguf; done
check "a link from a folder" [ "$(readlink "$first" | cut -c1-15)" = ../../../blobs/ ]
number out files == 3
number out fetched == "$(cat $models/split/Q6_K/* | wc -c)"
ok pull good me/one
same "$(cat out)" $models/one/2b_pt_v2.gguf
ok pull good me/sae
check "an SAE's repository is pulled whole" [ -f "$(cat out)/sae.safetensors" -a -f "$(cat out)/cfg.json" ]
ok pull good me/none:layer_1/width_16k/
check "a folder" [ -f "$(cat out)/params.npz" ]
check "and nothing else" [ ! -e "$(cat out)/../../layer_0" ]
ok pull good me/none --all
check "--all" [ -f "$(cat out)/layer_0/width_16k/params.npz" -a -f "$(cat out)/README.md" ]
ok pull good "datasets/me/texts:a b.txt"
same "$(cat out)" "root/datasets/me/texts/a b.txt"
check "a dataset's folder" [ -d cache/datasets--me--texts ]
ok pull good me/demo:config.json --revision refs/pr/1
check "a ref in folders" [ -f cache/models--me--demo/refs/refs/pr/1 ]

# ---- choosing
expect 2 "which of its files?" pull good me/none
expect 2 "layer_0/width_16k/params.npz, layer_1" pull good me/none
expect 3 "no \"Q5_K_M\" in it. There is: demo.Q4_K_M.gguf, demo.Q4_K_S.gguf, demo.Q8_0.gguf" pull good me/demo:Q5_K_M
expect 3 "1 of its 2 parts are there" pull good me/split:F16
expect 3 "no \"nothing.txt\" in it" pull good me/none:nothing.txt
expect 2 "none of its models has Q4_K_M" pull good me/split
ok pull good me/demo --list
check "--list has sizes and quantisations" grep -qE '^ +3.0 MB  Q4_K_M   demo.Q4_K_M.gguf' out
ok pull good me/demo --list --json
number out files.1.size == 3000000
ok "$LETHE" pull --list
check "short names" grep -q '^llama-2-7b-chat ' out
ok "$LETHE" pull --list --json
check "short names as JSON" [ "$("$JSONGET" out names.0.name)" = llama-2-7b-chat ]
expect 2 "is no repository" pull good me/../x
expect 2 "is no repository" pull good https://huggingface.co/me/demo
expect 2 "is missing behind the colon" pull good me/demo:
expect 2 "want a branch" pull good me/demo --revision ../x
expect 2 "pull what?" pull good
expect 2 "no address that can be asked" "$LETHE" pull me/demo --endpoint ftp://x
expect 2 "--concurrency 1 to 64" pull good me/demo --concurrency 0

# ---- servers that are slow, busy, odd
for mode in pages cut later busy noranges damaged1 expired changed renamed; do
    afresh
    ok pull $mode me/demo --quiet
    [ "$status" -eq 0 ] && same "$(cat out)" $models/demo/demo.Q4_K_M.gguf
    check "$mode: nothing unfinished" [ -z "$(find cache -name '*incomplete*')" ]
    case $mode in
    cut) check "cut: what came is not fetched again" [ "$(sent CDN)" -lt 3900000 ] ;;
    damaged1) check "damaged1: says so" grep -q "fetched again" err ;;
    pages) check "pages: several" [ "$(requests 'HUB GET.*/tree/')" -gt 2 ] ;;
    esac
done
afresh
ok pull expired me/large --quiet
same "$(cat out)" $models/large/large.Q4_K_M.gguf
check "expired: resolved again" [ "$(requests 'HUB GET.*/resolve/')" -gt 1 ]
afresh
expect 3 "twice: the server or the way to it damages the file" pull damaged me/demo
check "and nothing is kept" [ -z "$(find cache -name '*incomplete*')" ]
expect 3 "want bytes 0 to 2999999 of 3000000" pull wrongrange me/demo
afresh
expect 3 "of 2999999, the size in the list of files" pull long me/demo
expect 3 "of 3000001, the size in the list of files" pull short me/demo
expect 3 "the size in the list of files" pull long me/demo:config.json
expect 1 "the server says 500: broken" pull down me/demo --retries 1
expect 1 "asks to come back in 2592000 s: quota" pull month me/demo
expect 3 "no JSON" pull badlist me/demo
expect 3 "sha: got the string \"../../x\", want a commit" pull badsha me/demo
expect 3 "want 64 hex digits" pull badoid me/demo
expect 3 "sends us to another server" pull elsewhere me/demo
expect 3 "redirects in circles" pull circle me/demo
for i in 0 1 2 3 4 5 6 7 8 9; do
    expect 3 "a name that stays inside the repository" pull evil$i me/demo --all
done
check "no evil file" [ -z "$(find "$work" -name 'evil*')" -a ! -e /etc/evil ]

# ---- who may
expect 3 "not there (404)" pull good me/nobody
expect 3 "no such revision" pull norev me/demo
expect 1 "gated (403): accept its terms on its page" pull gated me/demo
expect 1 "wants a token: set HF_TOKEN" pull private me/demo
check "no escapes of the server's on the terminal" [ -z "$(tr -d '\n -~' <err)" ]
expect 1 "the token (of HF_TOKEN, or the token file) is not accepted" env HF_TOKEN=wrong "$LETHE" pull me/demo --endpoint "$at/private"
afresh
ok env HF_TOKEN=right "$LETHE" pull me/demo --endpoint "$at/gated"
check "the CDN never sees the token" [ "$(grep -c '^CDN.*auth=$' log)" -eq "$(requests '^CDN')" -a "$(requests '^CDN')" -gt 0 ]
check "the Hub does" grep -q '^HUB.*auth=Bearer right' log
mkdir -p hf && printf ' right\n' >hf/token
afresh
ok env HF_HOME="$PWD/hf" HF_ENDPOINT="$at/gated" "$LETHE" pull me/demo:Q8_0
ok env HF_TOKEN_PATH="$PWD/hf/token" HF_ENDPOINT="$at/private/" "$LETHE" pull me/demo:Q4_K_S
expect 2 "holds no token" env HF_TOKEN="two words" "$LETHE" pull me/demo --endpoint "$at/good"
ok env -u HF_HUB_CACHE HF_HOME="$PWD/hf" "$LETHE" pull me/one --endpoint "$at/good"
check "HF_HOME/hub" [ -d hf/hub/models--me--one ]
ok env -u HF_HUB_CACHE "$LETHE" pull me/one --endpoint "$at/good"
check "~/.cache/huggingface/hub" [ -d home/.cache/huggingface/hub/models--me--one ]

# ---- offline
afresh
ok pull good me/demo:Q8_0
: >log
ok env HF_HUB_OFFLINE=1 "$LETHE" pull me/demo:Q8_0 --endpoint "$at/good"
same "$(cat out)" $models/demo/demo.Q8_0.gguf
check "nobody was asked" [ ! -s log ]
expect 3 "offline, in the cache" env HF_HUB_OFFLINE=yes "$LETHE" pull me/demo:Q4_K_S --endpoint "$at/good"
expect 3 "nothing of revision \"main\" is in the cache" env HF_HUB_OFFLINE=1 "$LETHE" pull me/other
ok "$LETHE" pull me/demo:Q8_0 --endpoint http://127.0.0.1:9
check "unreachable: what is in the cache is taken" grep -q "what is in the cache is taken" err
expect 1 "cannot reach http://127.0.0.1:9" "$LETHE" pull me/other --endpoint http://127.0.0.1:9

# ---- killed, and on
afresh
unfinished() { find cache -name "*.lethe.incomplete" 2>/dev/null; }
bytes() { stat -c %b $(unfinished) 2>/dev/null || echo 0; }
for i in 1 2 3 4 5 6 7 8 9 10; do
    "$LETHE" pull --endpoint "$at/slow" me/large --quiet >out 2>err &
    pid=$!
    want=$((i * 9500)) # of its 117,188 disk blocks
    for _ in $(seq 400); do [ "$(bytes)" -ge $want ] && break; sleep 0.01; done
    [ "$i" -eq 10 ] && kill -INT $pid || kill -KILL $pid
    wait $pid 2>/dev/null
    check "killed $i: something is kept" [ -n "$(unfinished)" ]
    check "killed $i: nothing is in place" [ -z "$(find cache -path '*snapshots*' -name '*.gguf')" ]
done
check "an interrupted pull says that it goes on" grep -q "goes on from there" err
ok pull good me/large --quiet
same "$(cat out)" $models/large/large.Q4_K_M.gguf
total=$(sent CDN)
check "killed ten times: $total bytes sent of 60,000,000" [ "$total" -lt 130000000 ]
check "the cache is clean" [ -z "$(unfinished)" ]

# one of the parts damaged on the disk, meanwhile
afresh
"$LETHE" pull --endpoint "$at/slow" me/large --quiet >out 2>err &
pid=$!
for _ in $(seq 400); do [ "$(bytes)" -ge 60000 ] && break; sleep 0.01; done
kill -KILL $pid; wait $pid 2>/dev/null
printf 'X' | dd of="$(unfinished)" bs=1 seek=1000 conv=notrunc 2>/dev/null
ok pull good me/large
check "a damaged part is noticed" grep -q "1 damaged parts are fetched again" err
same "$(cat out)" $models/large/large.Q4_K_M.gguf
check "and it alone is fetched again: $(sent CDN)" [ "$(sent CDN)" -lt 115000000 ]

# what other tools have begun
afresh
sum=$(sha256sum <$models/large/large.Q4_K_M.gguf | cut -d' ' -f1)
mkdir -p cache/models--me--large/blobs
head -c 50000000 $models/large/large.Q4_K_M.gguf >cache/models--me--large/blobs/$sum.incomplete
ok pull good me/large
same "$(cat out)" $models/large/large.Q4_K_M.gguf
check "goes on where others stopped" [ "$(sent CDN)" -eq 10000000 ]
afresh
mkdir -p cache/models--me--large/blobs
head -c 50000000 $models/demo/demo.Q4_K_M.gguf >cache/models--me--large/blobs/$sum.incomplete
ok pull good me/large
check "what others left is not believed" grep -q "fetched again" err
same "$(cat out)" $models/large/large.Q4_K_M.gguf
afresh
mkdir -p cache/models--me--large/blobs
head -c 61000000 /dev/zero >cache/models--me--large/blobs/$sum.lethe.incomplete
ok pull good me/large --quiet
same "$(cat out)" $models/large/large.Q4_K_M.gguf

# two at once
afresh
pull slow me/large --quiet >out1 2>err1 & one=$!
sleep 0.5
ok pull good me/large
wait $one
check "both get it" cmp -s out out1
check "one waits" grep -q "another program fetches" err
check "and it came once" [ "$(sent CDN)" -eq 60000000 ]

# no room: a file-size limit is a failed write
afresh
expect 1 "no room for it" bash -c "ulimit -f 1000; exec '$LETHE' pull me/large --endpoint '$at/good'"
ok pull good me/large --quiet
same "$(cat out)" $models/large/large.Q4_K_M.gguf
mkdir locked && chmod a-w locked
[ "$(id -u)" -eq 0 ] || expect 1 "cannot make the folder" env HF_HUB_CACHE="$PWD/locked/c" "$LETHE" pull me/demo --endpoint "$at/good"

finish
