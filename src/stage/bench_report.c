/* SPDX-License-Identifier: MIT
 *
 * What a measurement found, with the machine and the shape it belongs to.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format/jsonio.h"
#include "kernel/gemm.h"
#include "kernel/kernel.h"
#include "stage/bench_parts.h"

/* The processor by its own name; "unknown" where the system does not tell. */
static void cpu_name(char *out, size_t size) {
    snprintf(out, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, size, "%s", colon);
        break;
    }
    if (f) fclose(f);
}

static long cores(void) {
    return sysconf(_SC_NPROCESSORS_ONLN);
}

/* ---- for people ----------------------------------------------------------------------------- */

static void seconds(lethe_strbuf *out, double s) {
    if (s < 1e-3)
        lethe_strbuf_addf(out, " %8.2f us", 1e6 * s);
    else if (s < 1)
        lethe_strbuf_addf(out, " %8.2f ms", 1e3 * s);
    else
        lethe_strbuf_addf(out, " %8.3f s ", s);
}

void lethe_bench_table(const lethe_bench_opts *o, const lethe_bench_result *r, lethe_strbuf *out) {
    char cpu[128];
    cpu_name(cpu, sizeof cpu);
    lethe_strbuf_addf(out,
                      "machine  %s, %ld cores, %d threads; kernels %s; %s, %.0f GFLOP/s in a plain "
                      "product\n",
                      cpu, cores(), lethe_threads(), lethe_kernels_get()->name, lethe_gemm_name(),
                      r->sgemm_gflops);
    if (o->what & ~(unsigned)LETHE_BENCH_LM)
        lethe_strbuf_addf(out,
                          "shape    random rows, d %zu, %zu latents (x%.4g), k %zu, batch %zu, "
                          "recipe %s, %.4g %% held dead\n",
                          o->d, o->m, o->expansion, o->k, o->batch, o->recipe.name, 100 * o->dead);
    if (r->has_model)
        lethe_strbuf_addf(out, "model    %s, %d layers, width %zu, %.4g M parameters\n",
                          r->model.name, r->model.n_layer, r->model.d_model,
                          1e-6 * (double)r->model.n_params);
    lethe_strbuf_addf(out, "rounds   %zu, the sides in turn; medians, and ratios of medians\n\n",
                      o->rounds);
    lethe_strbuf_addf(out, "%-8s %-22s %11s %11s %11s %11s %8s\n", "", "", "median", "min", "max",
                      "tokens/s", "ratio");
    for (size_t i = 0; i < r->n; i++) {
        const lethe_bench_race *race = &r->race[i];
        for (size_t s = 0; s < race->n_sides; s++) {
            const lethe_bench_side *side = &race->side[s];
            lethe_strbuf_addf(out, "%-8s %-22s", s ? "" : race->key, side->label);
            seconds(out, side->median);
            seconds(out, side->min);
            seconds(out, side->max);
            lethe_strbuf_addf(out, " %11.6g", race->tokens / side->median);
            if (side->ratio > 0) lethe_strbuf_addf(out, " %8.3f", side->ratio);
            lethe_strbuf_adds(out, "\n");
        }
        for (const char *note = lethe_strbuf_str(&race->note); *note;) {
            size_t n = strcspn(note, "\n");
            lethe_strbuf_addf(out, "           %.*s\n", (int)n, note);
            note += n + (note[n] != '\0');
        }
    }
    lethe_strbuf_addf(out, "\npeak memory of all of it: %.0f MiB\n", lethe_bench_peak_mib());
}

/* ---- for programs --------------------------------------------------------------------------- */

static json_t *machine_json(const lethe_bench_result *r, bool *ok) {
    char cpu[128];
    cpu_name(cpu, sizeof cpu);
    json_t *j = json_object();
    lethe_json_put(j, "cpu", lethe_json_text(cpu, strlen(cpu)), ok);
    lethe_json_put(j, "cores", json_integer(cores()), ok);
    lethe_json_put(j, "threads", json_integer(lethe_threads()), ok);
    lethe_json_put(j, "kernels", json_string(lethe_kernels_get()->name), ok);
    lethe_json_put(j, "gemm", json_string(lethe_gemm_name()), ok);
    lethe_json_put(j, "sgemm_gflops", lethe_json_real(r->sgemm_gflops), ok);
    return j;
}

static json_t *shape_json(const lethe_bench_opts *o, bool *ok) {
    json_t *j = json_object();
    lethe_json_put(j, "d", json_integer((json_int_t)o->d), ok);
    lethe_json_put(j, "m", json_integer((json_int_t)o->m), ok);
    lethe_json_put(j, "expansion", lethe_json_real(o->expansion), ok);
    lethe_json_put(j, "k", json_integer((json_int_t)o->k), ok);
    lethe_json_put(j, "batch_size", json_integer((json_int_t)o->batch), ok);
    lethe_json_put(j, "dead", lethe_json_real(o->dead), ok);
    lethe_json_put(j, "recipe", json_string(o->recipe.name), ok);
    lethe_json_put(j, "rounds", json_integer((json_int_t)o->rounds), ok);
    lethe_json_put(j, "seed", json_integer((json_int_t)o->seed), ok);
    return j;
}

static json_t *model_json(const lethe_bench_opts *o, const lethe_bench_result *r, bool *ok) {
    json_t *j = json_object();
    const char *name = r->model.name;
    lethe_json_put(j, "name", lethe_json_text(name, strlen(name)), ok);
    lethe_json_put(j, "layers", json_integer(r->model.n_layer), ok);
    lethe_json_put(j, "layer", json_integer(r->layer), ok);
    lethe_json_put(j, "d", json_integer((json_int_t)r->model.d_model), ok);
    lethe_json_put(j, "parameters", json_integer((json_int_t)r->model.n_params), ok);
    lethe_json_put(j, "ctx_len", json_integer((json_int_t)o->ctx_len), ok);
    return j;
}

static json_t *side_json(const lethe_bench_race *race, const lethe_bench_side *s, bool *ok) {
    json_t *j = json_object(), *times = json_object(), *all = json_array();
    lethe_json_put(times, "min", lethe_json_real(s->min), ok);
    lethe_json_put(times, "median", lethe_json_real(s->median), ok);
    lethe_json_put(times, "max", lethe_json_real(s->max), ok);
    for (size_t i = 0; i < s->n; i++) lethe_json_append(all, lethe_json_real(s->seconds[i]), ok);
    lethe_json_put(times, "rounds", all, ok);
    lethe_json_put(j, "seconds", times, ok);
    lethe_json_put(j, "tokens_per_second", lethe_json_real(race->tokens / s->median), ok);
    if (s->ratio > 0) lethe_json_put(j, "ratio", lethe_json_real(s->ratio), ok);
    return j;
}

lethe_status lethe_bench_json(const lethe_bench_opts *o, const lethe_bench_result *r, json_t **out,
                              lethe_err *err) {
    bool ok = true;
    json_t *j = json_object();
    lethe_json_put(j, "machine", machine_json(r, &ok), &ok);
    lethe_json_put(j, "shape", shape_json(o, &ok), &ok);
    if (r->has_model) lethe_json_put(j, "model", model_json(o, r, &ok), &ok);
    for (size_t i = 0; i < r->n; i++) {
        const lethe_bench_race *race = &r->race[i];
        json_t *one = json_deep_copy(race->figures);
        for (size_t s = 0; s < race->n_sides; s++)
            lethe_json_put(one, race->side[s].key, side_json(race, &race->side[s], &ok), &ok);
        lethe_json_put(j, race->key, one, &ok);
    }
    lethe_json_put(j, "peak_rss_mib", lethe_json_real(lethe_bench_peak_mib()), &ok);
    if (!ok) {
        json_decref(j);
        return lethe_fail(err, LETHE_NOMEM, "out of memory for the figures");
    }
    *out = j;
    return LETHE_OK;
}
