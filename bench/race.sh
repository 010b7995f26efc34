#!/usr/bin/env bash
# Races the training step against a program of the same arithmetic, the two in turn:
#
#   bench/race.sh [-r ROUNDS] [-s STEPS] [-t THREADS] [-l LETHE] PEER.py [PYTHON] [SHAPE..]
#
# PEER.py takes --d --expansion --k --batch --steps --threads --dead and prints one JSON object with
# seconds_per_step.median, sgemm_gflops and peak_rss_mib. SHAPE is D,EXPANSION,K,BATCH[,DEAD];
# without any: those of bench/README.md. Each round runs either program once, STEPS steps each after
# one that does not count; printed is the ratio of the medians over the rounds. A race does not count
# when the peer's plain product is slower than 70 % of ours (it then has no proper BLAS), or when the
# machine was not quiet.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
rounds=5 steps=6 threads=$(nproc) lethe=$here/build/lethe
while getopts r:s:t:l: option; do
    case $option in
    r) rounds=$OPTARG ;;
    s) steps=$OPTARG ;;
    t) threads=$OPTARG ;;
    l) lethe=$OPTARG ;;
    *) sed -n '2,4p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
peer=$1 python=${2:-python3}
shift $(($# < 2 ? 1 : 2))
[ $# -gt 0 ] || set -- 768,16,32,2048 768,16,32,16384 768,16,32,2048,0.3 4096,8,32,2048 192,8,16,4096
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# malloc keeps its pages between steps: up to a fifth faster, and that is the one to race.
tunables=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296

run_peer() {
    GLIBC_TUNABLES=$tunables "$python" "$peer" --d "$d" --expansion "$expansion" --k "$k" \
        --batch "$batch" --steps $((steps + 1)) --threads "$threads" --dead "$dead"
}

run_lethe() {
    "$lethe" bench --what train --no-reference --recipe reference --d "$d" \
        --expansion "$expansion" --k "$k" --batch-size "$batch" --steps "$steps" \
        --threads "$threads" --dead "$dead" --json --quiet | tr -d '\n'
    echo
}

cat >"$work/report.py" <<'END'
import json, statistics, sys
peer = [json.loads(line) for line in open(sys.argv[1])]
ours = [json.loads(line) for line in open(sys.argv[2])]
load = float(sys.argv[3])
p = [r["seconds_per_step"]["median"] for r in peer]
o = [r["train"]["lethe"]["seconds"]["median"] for r in ours]
plain = statistics.median(r["sgemm_gflops"] for r in peer)
best = max(statistics.median(r["machine"]["sgemm_gflops"] for r in ours), plain)
print("  peer   %.4g s (%.4g to %.4g), %.0f MiB, torch %s" % (statistics.median(p), min(p), max(p),
      max(r["peak_rss_mib"] for r in peer), peer[0].get("torch", "?")))
print("  lethe  %.4g s (%.4g to %.4g), %.0f MiB, kernels %s" % (statistics.median(o), min(o), max(o),
      max(r["train"]["peak_rss_mib"] for r in ours), ours[0]["machine"]["kernels"]))
why = []
if plain < 0.7 * best:
    why.append("the peer's plain product reaches %.0f of %.0f GFLOP/s: no proper BLAS" % (plain, best))
for name, times in (("peer", p), ("lethe", o)):
    if max(times) > 1.25 * min(times):
        why.append("%s varies by %.0f %% from round to round" % (name, 100 * max(times) / min(times) - 100))
if load > 0.5:
    why.append("other work was running before it (load %.2f)" % load)
print("  ratio  %.2f%s" % (statistics.median(p) / statistics.median(o),
      "".join("\n  DOES NOT COUNT: " + w for w in why)))
END

for shape in "$@"; do
    IFS=, read -r d expansion k batch dead <<<"$shape"
    dead=${dead:-0}
    : "${batch:?a shape is D,EXPANSION,K,BATCH[,DEAD]}"
    load=$(cut -d' ' -f1 /proc/loadavg)
    # Only the first shape begins after rest; before a later one the load is our own.
    [ "$shape" = "$1" ] || load=0
    echo "d $d, expansion $expansion, k $k, batch $batch, dead $dead, $threads threads," \
        "$rounds rounds of $steps steps"
    : >"$work/peer" && : >"$work/lethe"
    for ((round = 1; round <= rounds; round++)); do
        printf '\r  round %d of %d ' "$round" "$rounds" >&2
        run_peer >>"$work/peer"
        run_lethe >>"$work/lethe"
    done
    printf '\r%20s\r' '' >&2
    "$python" "$work/report.py" "$work/peer" "$work/lethe" "$load"
done
