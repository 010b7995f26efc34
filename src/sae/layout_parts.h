/* SPDX-License-Identifier: MIT
 *
 * How a foreign file becomes a dictionary, in three steps:
 *
 *   source   layout_find.c    the tensors and the configurations beside them
 *   plan     layout_NAME.c    a project's conventions: which tensor is what, and what is to be
 * folded weights  layout_read.c    the plan carried out, alike for all
 *
 * layout.c holds the table of projects. A plan is made of checked things only: shapes agree with
 * each other and with the configuration, types are floating, numbers are in range.
 */
#ifndef LETHE_SAE_LAYOUT_PARTS_H
#define LETHE_SAE_LAYOUT_PARTS_H

#include "format/jsonio.h"
#include "format/safetensors.h"
#include "sae/layout.h"

typedef enum lethe_cfg_file {
    LETHE_CFG,    /* cfg.json */
    LETHE_CONFIG, /* config.json */
    LETHE_HYPER,  /* hyperparams.json, also of the folder above */
    LETHE_SCALER, /* activation_scaler.json */
    LETHE_CFG_COUNT
} lethe_cfg_file;

typedef struct lethe_layout_source {
    lethe_bundle *bundle;
    char *weights;                   /* owned; absolute, symbolic links in it as they are */
    char *cfg_path[LETHE_CFG_COUNT]; /* owned; NULL: not there */
    json_t *cfg[LETHE_CFG_COUNT];    /* owned; an object; NULL: not there */
    const char *prefix;              /* of the tensors' names: "", "sae_state_dict.", .. */
    size_t k;                        /* what a person said; 0: nothing */
} lethe_layout_source;

/* Finds and opens. Fails: NOTFOUND, IO, FORMAT (also: several SAEs in a folder, named), NOMEM. */
lethe_status lethe_layout_find(lethe_layout_source *out, const char *path, size_t k,
                               lethe_err *err);
void lethe_layout_source_close(lethe_layout_source *s); /* accepts a zeroed one; zeroes it */

/* A tensor by its name behind the prefix; NULL: not there. */
const lethe_tensor *lethe_layout_tensor(const lethe_layout_source *s, const char *name);

/* The same, one-dimensional with n elements of a floating type. Fails: FORMAT. */
lethe_status lethe_layout_vector(const lethe_layout_source *s, const char *name, size_t n,
                                 const lethe_tensor **out, lethe_err *err);

typedef struct lethe_plan {
    const char *layout;
    lethe_cfg_file config; /* what was gone by; LETHE_CFG_COUNT: nothing */
    lethe_arch arch;
    lethe_norm norm;
    bool raw_input;
    size_t d, m, k;
    const lethe_tensor *W_enc, *b_enc, *W_dec;
    const lethe_tensor *b_dec; /* NULL: zeros */
    const lethe_tensor *threshold, *r_mag, *b_mag;
    bool enc_turned, dec_turned; /* [d, m] in the file */
    bool threshold_log;          /* the tensor holds logarithms */
    bool threshold_one;          /* .. a single number, for all latents */
    double threshold_all;        /* where there is no tensor */
    /* Folded, so that z is in the units of its project and x in those of the model: */
    bool unit_decoder;        /* rows of W_dec made unit, W_enc and b_enc times their norm */
    const lethe_tensor *gain; /* [m] on the rows of W_dec; NULL: none */
    double enc_mul, dec_mul, b_dec_mul; /* on W_enc, W_dec, b_dec */
    lethe_sae_meta meta;
    char producer[96], hook_name[128], folded[160];
} lethe_plan;

/* Sets W_enc and W_dec with d and m from them, and both biases: "[d, m]" or turned. Names behind
 * the prefix; b_enc NULL: none (yet); b_dec NULL: zeros. Fails: FORMAT. */
typedef struct lethe_names {
    const char *W_enc, *b_enc, *W_dec, *b_dec;
    bool enc_turned, dec_turned;
} lethe_names;
lethe_status lethe_plan_matrices(const lethe_layout_source *s, lethe_plan *p, const lethe_names *n,
                                 lethe_err *err);

/* Makes the plan: finds the project and asks it. *out is borrowed from s. */
lethe_status lethe_layout_plan(lethe_layout_source *s, lethe_plan *out, lethe_err *err);

/* Reads the weights. Fails: FORMAT (numbers that are not finite: names tensor and place), NOMEM. */
lethe_status lethe_layout_read(const lethe_layout_source *s, const lethe_plan *p, lethe_sae *out,
                               lethe_err *err);

/* ---- what the projects share ----------------------------------------------------------------- */

/* Top of a configuration. */
lethe_json_ref lethe_layout_cfg(const lethe_layout_source *s, lethe_cfg_file f);

/* What the file of the weights says beside its tensors. */
lethe_json_ref lethe_layout_values(const lethe_layout_source *s);

/* Values that may be missing or null: then *out stays and *there (NULL: nobody asks) is false. */
lethe_status lethe_cfg_int(const lethe_json_ref *in, const char *key, int64_t lo, int64_t hi,
                           int64_t *out, bool *there, lethe_err *err);
lethe_status lethe_cfg_real(const lethe_json_ref *in, const char *key, double lo, double hi,
                            double *out, bool *there, lethe_err *err);
lethe_status lethe_cfg_bool(const lethe_json_ref *in, const char *key, bool *out, lethe_err *err);
lethe_status lethe_cfg_text(const lethe_json_ref *in, const char *key, const char **out,
                            lethe_err *err); /* *out borrowed */

/* A size that the configuration gives as well must be the tensors'. */
lethe_status lethe_cfg_same(const lethe_json_ref *in, const char *key, size_t want, const char *of,
                            lethe_err *err);

/* k of topk: what a person said, else what the file says (0: nothing), which must agree with m. */
lethe_status lethe_plan_k(const lethe_layout_source *s, lethe_plan *p, int64_t told,
                          lethe_err *err);

/* Reads "blocks.8.hook_resid_pre", "layers.15", "model.layers.13.output", "h.3", "embed_tokens"
 * into the plan's meta and hook_name; a name without a layer says nothing. Fails: FORMAT (another
 * site than the residual stream before or after a layer, or a layer that disagrees with one known
 * already). */
lethe_status lethe_plan_site(const lethe_layout_source *s, lethe_plan *p, const char *name,
                             lethe_err *err);

void lethe_plan_model(lethe_plan *p, const char *name); /* cut to what fits */
void lethe_plan_folded(lethe_plan *p, const char *what);

/* "FILE: LAYOUT: what (why)": an SAE that is known and of no use here. */
lethe_status lethe_layout_refuse(const lethe_layout_source *s, const char *what, lethe_err *err);

/* The other way: x [m, d] as the data of a tensor [d, m] that was begun. */
lethe_status lethe_sae_put_turned(lethe_st_writer *w, const float *x, size_t d, size_t m,
                                  lethe_err *err);

/* ---- the projects ---------------------------------------------------------------------------- */

typedef struct lethe_layout {
    const char *name;
    bool (*is)(const lethe_layout_source *s);
    lethe_status (*plan)(const lethe_layout_source *s, lethe_plan *p, lethe_err *err);
} lethe_layout;

extern const lethe_layout lethe_layout_lethe, lethe_layout_saelens, lethe_layout_sparsify,
    lethe_layout_openai, lethe_layout_llama_scope, lethe_layout_gemma_scope_2,
    lethe_layout_gemma_scope, lethe_layout_dictionary_learning, lethe_layout_reference,
    lethe_layout_linear, lethe_layout_bare;

#endif
