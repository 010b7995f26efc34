/* SPDX-License-Identifier: MIT
 *
 * Folders are made under another name beside their own and renamed when they are whole. Weights
 * keep their bits: a matrix is at most turned.
 */
#include "sae/export.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "sae/layout_parts.h"
#include "sae/params.h"

bool lethe_sae_format_from_name(const char *name, lethe_sae_format *out) {
    static const char *const names[LETHE_SAE_FORMAT_COUNT] = {"lethe", "plain", "saelens",
                                                              "sparsify"};
    for (int i = 0; i < LETHE_SAE_FORMAT_COUNT; i++)
        if (!strcmp(names[i], name)) {
            *out = (lethe_sae_format)i;
            return true;
        }
    return false;
}

static lethe_status no_memory(lethe_err *err) {
    return lethe_fail(err, LETHE_NOMEM, "out of memory while writing an SAE");
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* x [m, d] as a tensor [d, m]. */
static lethe_status put_turned(lethe_st_writer *w, const char *name, const float *x, size_t d,
                               size_t m, lethe_err *err) {
    lethe_st_begin(w, name, LETHE_F32, 2, (const size_t[]){d, m});
    return lethe_sae_put_turned(w, x, d, m, err);
}

static void put_matrix(lethe_st_writer *w, const char *name, const float *x, size_t d, size_t m) {
    lethe_st_put_f32(w, name, 2, (const size_t[]){m, d}, x);
}

static void put_vector(lethe_st_writer *w, const char *name, const float *x, size_t n) {
    lethe_st_put_f32(w, name, 1, &n, x);
}

/* What other readers pass over, and lethe_sae_load takes up again. */
static void put_meta(lethe_st_writer *w, const lethe_sae_meta *meta) {
    lethe_st_set_meta(w, "written_by", "Lethe");
    if (meta->model_hash[0]) lethe_st_set_meta(w, "model_hash", meta->model_hash);
    if (meta->recipe[0]) lethe_st_set_meta(w, "recipe", meta->recipe);
}

static lethe_status weights_saelens(lethe_st_writer *w, const lethe_sae *s, lethe_err *err) {
    LETHE_TRY(put_turned(w, "W_enc", s->W_enc, s->d, s->m, err));
    put_matrix(w, "W_dec", s->W_dec, s->d, s->m);
    put_vector(w, s->arch == LETHE_ARCH_GATED ? "b_gate" : "b_enc", s->b_enc, s->m);
    put_vector(w, "b_dec", s->b_dec, s->d);
    for (lethe_extra x = 0; x < LETHE_EXTRA_COUNT; x++) /* of the same names */
        if (lethe_extra_data(s, x))
            put_vector(w, lethe_extras[x].name, lethe_extra_data(s, x), s->m);
    return LETHE_OK;
}

static lethe_status weights_sparsify(lethe_st_writer *w, const lethe_sae *s, lethe_err *err) {
    (void)err;
    put_matrix(w, "encoder.weight", s->W_enc, s->d, s->m);
    put_vector(w, "encoder.bias", s->b_enc, s->m);
    put_matrix(w, "W_dec", s->W_dec, s->d, s->m);
    put_vector(w, "b_dec", s->b_dec, s->d);
    return LETHE_OK;
}

static lethe_status weights_plain(lethe_st_writer *w, const lethe_sae *s, lethe_err *err) {
    put_matrix(w, "encoder.weight", s->W_enc, s->d, s->m);
    put_vector(w, "encoder.bias", s->b_enc, s->m);
    LETHE_TRY(put_turned(w, "decoder.weight", s->W_dec, s->d, s->m, err));
    put_vector(w, "b_dec", s->b_dec, s->d);
    return LETHE_OK;
}

typedef lethe_status (*put_fn)(lethe_st_writer *w, const lethe_sae *s, lethe_err *err);

static lethe_status write_weights(const char *path, const lethe_sae *s, const lethe_sae_meta *meta,
                                  put_fn put, lethe_err *err) {
    lethe_st_writer *w;
    LETHE_TRY(lethe_st_create(&w, path, err));
    put_meta(w, meta);
    if (put == weights_plain) { /* it has no configuration */
        lethe_st_set_meta_number(w, "k", s->k);
        if (meta->layer >= 0) lethe_st_set_meta_number(w, "layer", (uint64_t)meta->layer);
        if (meta->hook >= 0) lethe_st_set_meta(w, "hook", meta->hook ? "post" : "pre");
        if (meta->model_name[0]) lethe_st_set_meta(w, "model_name", meta->model_name);
    }
    lethe_status st = put(w, s, err);
    if (st) {
        lethe_st_abort(&w);
        return st;
    }
    return lethe_st_commit(&w, err);
}

/* ---- configurations -------------------------------------------------------------------------- */

/* Version of the layout: from 6 on what belongs to the model is under "metadata". */
#define SAELENS_VERSION "6.18.0"

static json_t *cfg_saelens(const lethe_sae *s, const lethe_sae_meta *meta) {
    static const char *const archs[LETHE_ARCH_COUNT] = {"topk", "standard", "jumprelu", "gated"};
    static const char *const norms[LETHE_NORM_COUNT] = {"none", "constant_norm_rescale",
                                                        "layer_norm"};
    bool ok = true;
    json_t *metadata = json_pack("{s:s, s:n, s:s}", "sae_lens_version", SAELENS_VERSION,
                                 "hook_head_index", "trained_with", "Lethe"),
           *cfg =
               json_pack("{s:s, s:I, s:I, s:s, s:s, s:b, s:s, s:s}", "architecture", archs[s->arch],
                         "d_in", (json_int_t)s->d, "d_sae", (json_int_t)s->m, "dtype", "float32",
                         "device", "cpu", "apply_b_dec_to_input", !s->raw_input,
                         "normalize_activations", norms[s->norm], "reshape_activations", "none");
    if (s->arch == LETHE_ARCH_TOPK) {
        lethe_json_put(cfg, "k", json_integer((json_int_t)s->k), &ok);
        lethe_json_put(cfg, "rescale_acts_by_decoder_norm", json_false(), &ok);
    }
    if (meta->model_name[0])
        lethe_json_put(metadata, "model_name",
                       lethe_json_text(meta->model_name, strlen(meta->model_name)), &ok);
    if (meta->layer >= 0 && meta->hook >= 0)
        lethe_json_put(
            metadata, "hook_name",
            json_sprintf("blocks.%d.hook_resid_%s", meta->layer, meta->hook ? "post" : "pre"), &ok);
    lethe_json_put(cfg, "metadata", metadata, &ok);
    if (ok) return cfg;
    json_decref(cfg);
    return NULL;
}

static bool unit_rows(const lethe_sae *s) {
    for (size_t j = 0; j < s->m; j++) {
        double sum = 0;
        for (size_t i = 0; i < s->d; i++)
            sum += (double)s->W_dec[j * s->d + i] * (double)s->W_dec[j * s->d + i];
        if (fabs(sqrt(sum) - 1) > 1e-3) return false;
    }
    return true;
}

static json_t *cfg_sparsify(const lethe_sae *s, const lethe_sae_meta *meta) {
    (void)meta;
    size_t factor = s->m / s->d;
    return json_pack("{s:I, s:I, s:I, s:b, s:I, s:b, s:b, s:b, s:s}", "d_in", (json_int_t)s->d,
                     "expansion_factor", (json_int_t)(factor ? factor : 1), "num_latents",
                     (json_int_t)s->m, "normalize_decoder", unit_rows(s), "k", (json_int_t)s->k,
                     "multi_topk", 0, "skip_connection", 0, "transcode", 0, "activation", "topk");
}

/* ---- folders --------------------------------------------------------------------------------- */

typedef struct folder {
    const char *weights;
    put_fn put;
    json_t *(*cfg)(const lethe_sae *s, const lethe_sae_meta *meta);
} folder;

static const folder saelens = {"sae_weights.safetensors", weights_saelens, cfg_saelens};
static const folder sparsify = {"sae.safetensors", weights_sparsify, cfg_sparsify};

static lethe_status fill(const folder *f, const char *weights, const char *cfg_path,
                         const lethe_sae *s, const lethe_sae_meta *meta, lethe_err *err) {
    LETHE_TRY(write_weights(weights, s, meta, f->put, err));
    json_t *cfg = f->cfg(s, meta);
    lethe_status st = lethe_json_save(cfg, cfg_path, err);
    json_decref(cfg);
    return st;
}

static lethe_status write_folder(const folder *f, const char *dir, const lethe_sae *s,
                                 const lethe_sae_meta *meta, lethe_err *err) {
    char tmp[4096];
    int n = snprintf(tmp, sizeof tmp, "%s.tmp-%ld", dir, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof tmp)
        return lethe_fail(err, LETHE_USAGE, "%.60s...: the path is too long", dir);
    if (lethe_path_exists(dir))
        return lethe_fail(err, LETHE_USAGE,
                          "%s: is there already (remove it, or name another folder)", dir);
    if (mkdir(tmp, 0777)) return lethe_fail_errno(err, LETHE_IO, "%s: making the folder", tmp);
    char *weights = lethe_path_join(tmp, f->weights), *cfg = lethe_path_join(tmp, "cfg.json");
    lethe_status st = weights && cfg ? fill(f, weights, cfg, s, meta, err) : no_memory(err);
    if (!st && rename(tmp, dir))
        st = lethe_fail_errno(err, LETHE_IO, "%s: putting the folder in place", dir);
    if (st) {
        if (weights) unlink(weights);
        if (cfg) unlink(cfg);
        rmdir(tmp);
    }
    lethe_free(weights);
    lethe_free(cfg);
    return st;
}

/* ---- targets --------------------------------------------------------------------------------- */

static lethe_status check_simple(const lethe_sae *s, const char *target, lethe_err *err) {
    if (s->arch != LETHE_ARCH_TOPK)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s cannot express architecture %s, only topk (saelens can)", target,
                          lethe_arch_name(s->arch));
    if (s->norm != LETHE_NORM_NONE)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s cannot express an input that is normalised (%s; saelens can)", target,
                          lethe_norm_name(s->norm));
    if (s->raw_input)
        return lethe_fail(err, LETHE_MISMATCH,
                          "%s cannot express an SAE that does not take b_dec off its input "
                          "(saelens can)",
                          target);
    return LETHE_OK;
}

static lethe_status site_of_sparsify(const lethe_sae_meta *meta, char name[32], lethe_err *err) {
    if (meta->layer < 0 || meta->hook < 0)
        return lethe_fail(err, LETHE_MISMATCH,
                          "sparsify names a folder after the layer, which the SAE does not say "
                          "(pass --layer N, and --hook post)");
    if (meta->hook == 1)
        snprintf(name, 32, "layers.%d", meta->layer);
    else if (meta->layer == 0)
        snprintf(name, 32, "embed_tokens");
    else
        return lethe_fail(err, LETHE_MISMATCH,
                          "sparsify has no name for the stream before layer %d (after layer %d is "
                          "the same: pass --layer %d --hook post)",
                          meta->layer, meta->layer - 1, meta->layer - 1);
    return LETHE_OK;
}

static lethe_status to_sparsify(const lethe_sae *s, const lethe_sae_meta *meta, const char *path,
                                char **written, lethe_err *err) {
    char name[32];
    LETHE_TRY(check_simple(s, "sparsify", err));
    LETHE_TRY(site_of_sparsify(meta, name, err));
    bool made = !lethe_path_exists(path);
    LETHE_TRY(lethe_mkdirs(path, err));
    char *dir = lethe_path_join(path, name);
    lethe_status st = dir ? write_folder(&sparsify, dir, s, meta, err) : no_memory(err);
    if (!st && !(*written = lethe_path_join(dir, sparsify.weights))) st = no_memory(err);
    if (st && made) rmdir(path);
    lethe_free(dir);
    return st;
}

static lethe_status to_file(const lethe_sae *s, const lethe_sae_meta *meta, bool plain,
                            const char *path, char **written, lethe_err *err) {
    if (plain) LETHE_TRY(check_simple(s, "plain", err));
    LETHE_TRY(plain ? write_weights(path, s, meta, weights_plain, err)
                    : lethe_sae_save(s, meta, path, err));
    return (*written = lethe_strdup(path)) ? LETHE_OK : no_memory(err);
}

lethe_status lethe_sae_export(const lethe_sae *sae, const lethe_sae_meta *meta,
                              lethe_sae_format format, const char *path, char **written,
                              lethe_err *err) {
    if (format == LETHE_SAE_AS_SPARSIFY) return to_sparsify(sae, meta, path, written, err);
    if (format != LETHE_SAE_AS_SAELENS)
        return to_file(sae, meta, format == LETHE_SAE_AS_PLAIN, path, written, err);
    LETHE_TRY(write_folder(&saelens, path, sae, meta, err));
    return (*written = lethe_path_join(path, saelens.weights)) ? LETHE_OK : no_memory(err);
}
