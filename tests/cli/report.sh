#!/usr/bin/env bash
# The report: well-formed, the evaluation's own numbers, hostile text, missing parts, bad files.
. "$(dirname "$0")/lib.sh"

html() { "$HTMLCHECK" "$@"; }

# cell FILE TABLE ROW COLUMN: of a table of a page, from 1, the head being row 1.
cell() { html "$1" "table-$2" | sed -n "$3p" | cut -f "$4"; }

# same "what" A B: as numbers, to the last digit that jsonget prints.
same() {
    checks=$((checks + 1))
    awk -v a="$2" -v b="$3" 'BEGIN { d = a - b; if (d < 0) d = -d
        exit !(a != "" && b != "" && d <= 1e-8 * (b < 0 ? 1 - b : 1 + b)) }' ||
        fail "$1: the table has \"$2\", the file \"$3\""
}

mkdir run
cat >run/eval.json <<'J'
{"config": {"model_name": "tiny", "model_hash": "00ff", "layer": 2, "hook": "post", "ablation_scale": null,
  "method": "clamp", "strength": 7, "clamp_unit": "norm", "guard": 0.125, "forget_domain": "hp",
  "settings": {"k": 8, "model": "a <b> & \"c\".gguf"}},
 "metrics": {
  "baseline": {"logprobs": {"hp": -0.5123456789, "real_world": -0.25}, "recall": {"hp": 0.9375, "real_world": 0.875},
   "perplexity": 12.003, "avg_distinct_3": 0.98, "degeneration_rate": 0.083},
  "ablated": {"logprobs": {"hp": -4.75, "real_world": -0.3}, "recall": {"hp": 0.0625, "real_world": 0.86},
   "perplexity": 12.45, "avg_distinct_3": 0.97, "degeneration_rate": 0.09},
  "summary": {"kl_retain": 0.0123, "top1_agreement": 0.975, "hook_activity": {"row_rate": 0.05}},
  "intervals": {"baseline": {"recall": {"hp": {"mean": 0.9375, "low": 0.9, "high": 0.96}}},
   "ablated": {"logprobs": {"hp": [-5, -4.5]}}}},
 "measures": [
  {"group": "attack", "name": "typo", "title": "Spelling mistakes <i>", "domain": "hp", "unit": "share", "n": 16,
   "forgetting": "lower", "baseline": {"mean": 0.8, "low": 0.7, "high": 0.9}, "ablated": {"mean": 0.125, "low": 0, "high": 0.3},
   "difference": {"mean": -0.675, "low": -0.8, "high": -0.5}},
  {"group": "forget", "name": "verbatim", "title": "Verbatim", "domain": "hp", "unit": "share", "n": 3,
   "forgetting": "lower", "baseline": {"mean": 0.5, "low": 0.4, "high": 0.6}, "ablated": null, "difference": null},
  {"group": "retain", "name": "mc", "title": "Multiple choice", "domain": null, "unit": "share", "n": 40,
   "forgetting": "lower", "baseline": {"mean": 0.7, "low": 0.6, "high": 0.8}, "ablated": {"mean": 0.69, "low": 0.6, "high": 0.8},
   "difference": {"mean": -0.01, "low": -0.05, "high": 0.03}}],
 "side_by_side": [
  {"prompt": "</script><script>alert(1)</script>", "domain": "hp", "baseline": "\" onmouseover=\"x' &amp; <b>",
   "ablated": "\u202eevil\u202c \u0007 \u2028 =1+1", "baseline_degenerate": true},
  {"prompt": "=cmd|' /C calc'!A0", "domain": "\"><img src=x>", "baseline": "same", "ablated": "same"}],
 "probes": [
  {"domain": "hp", "prompt": "q1 <x>", "target": " a", "baseline_recall": true, "ablated_recall": false,
   "baseline_logprob": -0.1, "ablated_logprob": -6.25},
  {"domain": "real_world", "prompt": "q2", "target": " b", "baseline_recall": true, "ablated_recall": false,
   "baseline_logprob": -0.2, "ablated_logprob": -1}]}
J
cat >run/judge.json <<'J'
{"judges": [{"name": "lexicon <&>", "kind": "lexicon", "counts": {
   "baseline": {"Explicit": 129, "Thematic": 90, "Accidental": 31, "None": 50},
   "ablated": {"Explicit": 34, "Thematic": 100, "Accidental": 48, "None": 118}}}],
 "labels": [{"index": 0, "side": "baseline", "judge": "lexicon <&>", "class": "Explicit", "reason": "says \"x\""}],
 "agreement": [{"a": "lexicon", "b": "manual", "n": 20, "kappa": 0.625, "observed": 0.8}]}
J
cat >run/tune.json <<'J'
{"trials": [
  {"number": 0, "layer": 2, "num_features": 100, "select": "score", "method": "scale", "strength": -3, "guard": false, "forget": 0.4, "damage": 0.02, "front": true},
  {"number": 1, "layer": 2, "num_features": 10, "select": "score", "method": "clamp", "strength": 5, "guard": 6, "guard_by": "evidence", "forget": 0.1, "damage": 0.05, "front": true},
  {"number": 2, "layer": 1, "num_features": 10, "select": "effect", "method": "clamp", "strength": 5, "guard": true, "forget": 0.5, "damage": 0.5, "front": false}],
 "chosen": 1, "report_split": {
   "baseline": {"forget_recall": 0.995, "worst_attack": 1, "retain_recall": 0.97, "kl": 0, "perplexity": 5.66},
   "chosen": {"number": 1, "figures": {"forget_recall": 0.0625, "worst_attack": 0.125, "retain_recall": 0.9375, "kl": 0.0071, "perplexity": 5.75}},
   "reference": {"number": 0, "figures": {"forget_recall": 0.1875, "worst_attack": 0.25, "retain_recall": 0.875, "kl": 0.0231, "perplexity": null}}}}
J
cat >run/cards.json <<'J'
{"format": "lethe-cards-1", "features": [{"index": 17, "share": 0.25,
  "statistics": {"forget": {"freq": 0.02}, "near": {"freq": 0.001}, "retain": {"freq": 0}},
  "histogram": {"width": 1, "forget": [5, 3, 1], "near": [1, 0, 0], "retain": [0, 0, 0]},
  "promotes": [{"token": " <wand>", "id": 1, "logit": 2}], "suppresses": [{"token": "\n", "id": 2, "logit": -2}],
  "contexts": [{"role": "forget", "peak": 4, "at": 1, "tokens": ["a", "</mark>", "c"], "activations": [0, 4, 1]}]}]}
J
cat >run/run.json <<'J'
{"format": "lethe-run-1", "lethe": "0.1.0", "libllama": "x", "config": {}, "inputs": {"forget": "abc"},
 "stages": {"train": {"key": "k", "finished": "2026-01-01T00:00:00Z", "figures": {"steps": 20, "fvu": 0.25,
   "curve": {"step": [0, 10, 20], "fvu": [1, 0.5, 0.25], "dead": [0, 3, 1]}}}}}
J

ok "$LETHE" report run --format html,latex,csv,text
check "the page is well-formed" html run/report.html
check "nothing but ours is in tables/" [ -z "$(ls run/tables | grep -vE '^[a-z]+\.(tex|csv)$|^summary\.txt$')" ]
for side in 3:baseline 4:ablated; do
    for row in 2:hp 3:real_world; do
        for table in recall logprob; do
            key=$table; [ $table = logprob ] && key=logprobs
            same "$table ${row#*:} ${side#*:}" "$(cell run/report.html $table "${row%:*}" "${side%:*}")" \
                "$("$JSONGET" run/eval.json "metrics.${side#*:}.$key.${row#*:}")"
        done
    done
    same "perplexity ${side#*:}" "$(cell run/report.html quality 2 $((${side%:*} - 1)))" \
        "$("$JSONGET" run/eval.json "metrics.${side#*:}.perplexity")"
    same "attack ${side#*:}" "$(cell run/report.html attack 2 $((${side%:*} + 1)))" \
        "$("$JSONGET" run/eval.json "measures.0.${side#*:}.mean")"
done
same "judge before" "$(cell run/report.html judge 2 3)" 129
same "judge after" "$(cell run/report.html judge 5 4)" 118
same "kappa" "$(cell run/report.html agreement 2 5)" 0.625
same "a trial on the front" "$(cell run/report.html tune 3 10)" 0.05
same "by what its guard goes" "$(cell run/report.html tune 3 7)" evidence
same "what the search found, held out" "$(cell run/report.html tuned 3 3)" 0.125
same "the reference beside it, held out" "$(cell run/report.html tuned 4 5)" 0.0231
check "trials off the front are not in the table" [ "$(html run/report.html table-tune | wc -l)" -eq 3 ]
check "the attack is drawn" grep -q 'aria-label="Spelling mistakes &lt;i&gt;: before 80.0 %, after 12.5 %"' run/report.html
check "the training is drawn" grep -q 'Variance left unexplained over the steps' run/report.html
check "the interval is shown" grep -q '<span class="ci">90.0 to 96.0 %</span>' run/report.html
check "an interval as a pair is shown" grep -q '<span class="ci">−5.000 to −4.500</span>' run/report.html
check "the worst attack is named" grep -q "the most that comes back is 12.5" run/report.html
same "CSV has every digit" "$(awk -F, 'NR==2 {print $3}' run/tables/logprob.csv)" -0.5123456789
check "CSV has the ends of intervals" grep -q '"Before, low","Before, high"' run/tables/recall.csv
check "LaTeX is booktabs" grep -q '\\toprule' run/tables/recall.tex
check "LaTeX is escaped" grep -qF 'Spelling mistakes \textless{}i\textgreater{}' run/tables/attack.tex
check "verdict in the summary" grep -q "Harry Potter is forgotten, at little cost" run/tables/summary.txt

# Hostile text: nothing of it is markup, and what turns the direction of writing is shown.
check "one script" [ "$(grep -c '<script' run/report.html)" -eq 1 ]
check "no image" bash -c '! grep -q "<img" run/report.html'
check "bidi controls are shown" grep -q '⟨U+202E⟩evil⟨U+202C⟩ ␇ ⟨U+2028⟩' run/report.html
check "no bidi control is left" bash -c "! grep -qP '\xE2\x80\xAE' run/report.html"
check "the policy allows nothing from outside" grep -q "default-src 'none'" run/report.html
check "no address but in texts" bash -c '! grep -qE "(src|href)=\"[^#]" run/report.html'
check "formulas are defused" grep -q "\"'=cmd" run/tables/completions.csv
check "the certificate has the method" grep -q '<dt>Guard: acts above this share of positions</dt><dd>0.125' run/report.html
check "labels of judges" grep -q 'title="lexicon &lt;&amp;&gt;: says &quot;x&quot;">Explicit' run/report.html

# The same files give the same page.
cp run/report.html first.html
ok "$LETHE" report run --format html --json
check "the same bytes" cmp -s first.html run/report.html
check "grade as JSON" [ "$("$JSONGET" out grade)" = forgotten ]
check "--json says where" [ "$("$JSONGET" out out)" = run ]

# Parts that are missing, a file alone, the reference experiment's file.
mkdir bare
echo '{"metrics": {"baseline": {"perplexity": 5}, "ablated": null, "summary": null}}' >bare/eval.json
ok "$LETHE" report bare --format html,text,csv,latex
check "a baseline alone is well-formed" html bare/report.html
check "it says that nothing was removed" grep -q "nothing was removed" bare/report.html
mkdir ref
cat >ref/unified_eval_results.json <<'J'
{"config": {"model_name": "meta-llama/Llama-2-7b-chat-hf", "layer": 15, "ablation_scale": -3.0},
 "metrics": {"baseline": {"logprobs": {"hp": -3.273, "magic": -3.1, "fantasy": -3.0, "real_world": -2.0},
   "avg_distinct_3": 0.95, "degeneration_rate": 0.083, "perplexity": 12.0,
   "llm_judge": {"Explicit": 129, "Thematic": 80, "Accidental": 41, "None": 50, "Error": 0}},
  "ablated": {"logprobs": {"hp": -4.085, "magic": -3.2, "fantasy": -3.25, "real_world": -2.03},
   "avg_distinct_3": 0.95, "degeneration_rate": 0.09, "perplexity": 12.45,
   "llm_judge": {"Explicit": 34, "Thematic": 90, "Accidental": 58, "None": 118, "Error": 0}},
  "summary": {"logprob_shifts": {"hp": -0.812, "magic": -0.1, "fantasy": -0.25, "real_world": -0.03}, "ppl_change": 0.0375,
   "hook_activity": {"total_target_positions": 1000, "fired_target_positions": 2, "fired_rate": 0.0023}}},
 "side_by_side": [{"prompt": "Harry", "baseline": "Potter", "ablated": "Smith", "baseline_distinct_3": 1,
   "ablated_distinct_3": 1, "baseline_degenerated": false, "ablated_degenerated": true}]}
J
ok "$LETHE" report ref/unified_eval_results.json --format html,csv --out there
check "the reference's file gives a page" html there/report.html
check "nothing was written beside it" [ ! -e ref/report.html ]
same "its judge" "$(cell there/report.html judge 2 4)" 34
same "its log-probability" "$(cell there/report.html logprob 2 4)" -4.085
check "its degenerate completions" grep -q 'class="chip bad">degenerate' there/report.html
check "its shift is weighed against the others" grep -q "Harry Potter is partly forgotten" there/report.html
ok "$LETHE" report ref/unified_eval_results.json --format html
check "without --out: beside the file" html ref/report.html

# Plots.
if command -v gnuplot >/dev/null; then
    ok "$LETHE" report run --format plots --out drawn
    for plot in logprobs logprob_shifts judges general pareto; do
        check "$plot.png is a PNG" [ "$(head -c 4 drawn/plots/$plot.png | tail -c 3)" = PNG ]
        check "$plot.pdf is a PDF" [ "$(head -c 4 drawn/plots/$plot.pdf)" = %PDF ]
        check "$plot.svg is an SVG" grep -q "<svg" drawn/plots/$plot.svg
    done
    check "no unfinished picture" bash -c '! ls drawn/plots | grep -q part'
fi
mkdir empty
expect 1 "apt-get install gnuplot-nox" env PATH="$PWD/empty" "$LETHE" report run --format plots --out nowhere
ok env PATH="$PWD/empty" "$LETHE" report run --out most
check "without gnuplot the rest is there" html most/report.html
check "and it says so" grep -q "no plots: gnuplot is not on the PATH" err
mkdir fake && printf '#!/bin/sh\necho "no terminal" >&2\nexit 3\n' >fake/gnuplot && chmod +x fake/gnuplot
expect 1 "gnuplot failed: no terminal" env PATH="$PWD/fake:$PATH" "$LETHE" report run --format plots --out broken
check "no half picture" [ -z "$(ls broken/plots | grep -v '\.gp$')" ]

# Wrong usage and bad files.
expect 2 "--format: got \"pdf\"" "$LETHE" report run --format html,pdf
expect 2 "stray word \"two\"" "$LETHE" report one two
expect 3 "no such run or file" "$LETHE" report nowhere-at-all
expect 3 "there is no evaluation yet" "$LETHE" report empty
bad() { # bad "message" 'JSON': as eval.json
    rm -rf bad && mkdir bad && printf '%s' "$2" >bad/eval.json
    expect 3 "$1" "$LETHE" report bad --format html
    check "no page of a bad file" [ ! -e bad/report.html ]
}
bad "eval.json" '{"metrics": '
bad "no \"metrics\"" '{"a": 1}'
bad "eval.json" '[1]'
bad "metrics.baseline" '{"metrics": {"baseline": 3}}'
bad "metrics.baseline.logprobs" '{"metrics": {"baseline": {"logprobs": [1]}}}'
bad "metrics.baseline.logprobs.hp" '{"metrics": {"baseline": {"logprobs": {"hp": "x"}}}}'
bad "metrics.ablated.perplexity" '{"metrics": {"baseline": {}, "ablated": {"perplexity": true}}}'
bad "side_by_side[0]" '{"metrics": {"baseline": {}}, "side_by_side": [4]}'
bad "eval.json" '{"metrics": {"baseline": {}}, "side_by_side": [{"prompt": "\u0000"}]}'
echo '[]' >bare/judge.json
expect 3 "judge.json: got a list" "$LETHE" report bare --format html
no_leftovers
finish
