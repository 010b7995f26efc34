/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "front/prepare.h"

typedef struct spread {
    float least, median, most;
} spread;

static int rising(const void *pa, const void *pb) {
    const float *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* Sorts the thresholds, which are on disk by now. */
static spread spread_of(lethe_patch *p) {
    qsort(p->threshold, p->n, sizeof *p->threshold, rising);
    return (spread){p->threshold[0], p->threshold[p->n / 2], p->threshold[p->n - 1]};
}

static long long size_of(const char *path) {
    struct stat s;
    return stat(path, &s) ? 0 : (long long)s.st_size;
}

static json_t *figures_json(const lethe_gate_figures *f) {
    return json_pack(
        "{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rows", (json_int_t)f->held_out, "agreement",
        lethe_json_real(f->agreement), "precision", lethe_json_real(f->precision), "recall",
        lethe_json_real(f->recall), "row_agreement", lethe_json_real(f->row_agreement),
        "row_precision", lethe_json_real(f->row_precision), "row_recall",
        lethe_json_real(f->row_recall), "activation_recall", lethe_json_real(f->activation_recall));
}

static json_t *result_json(lethe_patch *p, const lethe_calibration_result *r, const char *path) {
    spread t = spread_of(p);
    bool scale = p->how.method == LETHE_METHOD_SCALE, ok = true;
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:i, s:s, s:o, s:b, s:{s:o, s:o, s:o}, s:I, s:I, s:I, s:o}",
                  "patch", path, "bytes", (json_int_t)size_of(path), "features", (json_int_t)p->n,
                  "layer", p->layer, "hook", lethe_hook_name((int)p->hook), "scale",
                  scale ? lethe_json_real(p->how.strength) : json_null(), "special", p->special,
                  "thresholds", "min", lethe_json_real((double)t.least), "median",
                  lethe_json_real((double)t.median), "max", lethe_json_real((double)t.most), "rows",
                  (json_int_t)r->rows, "never_fired", (json_int_t)r->never_fired, "thinned",
                  (json_int_t)r->thinned, "held_out", figures_json(&r->figures));
    if (o) lethe_intervention_json(&p->how, o, &ok);
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static void print_share(double x) {
    if (!isnan(x))
        printf("  %9.4f %%", 100 * x);
    else
        printf("  %11s", "-");
}

static void print_table(lethe_patch *p, const lethe_calibration_result *r, const char *path) {
    const lethe_gate_figures *f = &r->figures;
    spread t = spread_of(p);
    char how[160];
    lethe_intervention_text(&p->how, how, sizeof how);
    printf("%zu features of layer %d (%s) at %s%s\n", p->n, p->layer, lethe_hook_name((int)p->hook),
           how, p->special ? ", special positions too" : "");
    printf("thresholds  %.4g to %.4g, median %.4g, calibrated on %llu tokens", (double)t.least,
           (double)t.most, (double)t.median, (unsigned long long)r->rows);
    if (r->never_fired) printf("; %zu features never fired there", r->never_fired);
    if (r->thinned) printf("; %zu from a sample of them", r->thinned);
    printf("\n\nthe compact gate against the exact one, on %llu other tokens\n"
           "          agreement    precision       recall\npairs   ",
           (unsigned long long)f->held_out);
    print_share(f->agreement);
    print_share(f->precision);
    print_share(f->recall);
    printf("   (token and feature)\ntokens  ");
    print_share(f->row_agreement);
    print_share(f->row_precision);
    print_share(f->row_recall);
    printf("   (any feature)\n");
    if (!isnan(f->activation_recall))
        printf("the pairs it recalls hold %.2f %% of the exact gate's activation\n",
               100 * f->activation_recall);
    printf("\n%s  %lld bytes\n", path, size_of(path));
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_pipeline p;
    LETHE_TRY(lethe_prepare_pipeline(in, &p, err));
    lethe_patch patch = {0};
    lethe_calibration_result r;
    char *path = NULL;
    lethe_status st = lethe_pipeline_patch(&p, &patch, &r, &path, err);
    if (!st && in->config.json)
        st = lethe_print_json(result_json(&patch, &r, path), err);
    else if (!st)
        print_table(&patch, &r, path);
    lethe_free(path);
    lethe_patch_free(&patch);
    lethe_pipeline_close(&p);
    return st;
}

const lethe_cmd lethe_cmd_patch = {
    .name = "patch",
    .brief = "write the removal as one small file, with a gate that costs nearly nothing",
    .usage = "usage: lethe patch [--out DIR] [--scale X | --method NAME --strength X] [--to FILE] "
             "[options]",
    .about =
        "Takes the chosen features out of the run's SAE and finds for each the threshold at which\n"
        "it agrees best with the exact gate, the top-k of the whole SAE. Four fifths of the run's\n"
        "texts calibrate, the rest says how well the two agree. Features of an SAE of another\n"
        "architecture have thresholds of their own and keep them. The file is all that --patch "
        "needs.",
    .examples = "  lethe patch\n"
                "  lethe patch --out runs/llama --scale -3 --to potter.safetensors\n"
                "  lethe eval --patch potter.safetensors --model llama-2-7b-chat.Q4_0.gguf \\\n"
                "      --probes data/demo/probes.json --out runs/patched",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_TEXT | LETHE_FOR_RUN | LETHE_FOR_SAE | LETHE_FOR_PATCH,
    .run = run,
};
