/* SPDX-License-Identifier: MIT
 *
 * What the files of src/lm share. Nothing outside this folder includes it.
 *
 * One decode call is one ubatch. libllama may cut a batch into ubatches and reorder it; with a
 * unified KV cache (or a single sequence, for recurrent models) and at most n_ubatch tokens a call
 * it does neither, so row i of the residual stream is entry i of our batch. lm_hooks.c checks that
 * against the graph's own token input in every call instead of relying on it.
 */
#ifndef LETHE_LM_INTERNAL_H
#define LETHE_LM_INTERNAL_H

#include <limits.h>
#include <llama.h>

#include "base/mem.h"
#include "lm/lm.h"

#define LETHE_LM_MAX_HOOKS 64
#define LETHE_LM_MAX_SEQ 256 /* sequence ids a unified KV cache knows in libllama */
#define LETHE_LM_UBATCH 512  /* tokens a decode call */
#define LETHE_LM_KV_STEP 256 /* libllama rounds the cells that attention looks at up to this */

/* A site is the index of the layer whose output it is; the input of layer 0 is site -1. So
 * "before layer L" and "after layer L - 1" are one site. */
#define LETHE_LM_SITE_INPUT (-1)

typedef struct lm_hook {
    int site;
    bool edit, seen;
    lethe_rows_fn fn;
    void *user;
} lm_hook;

/* Where the residual stream enters layer 0: the node of this number in the graph's order. */
typedef struct lm_input_node {
    bool known;
    int number;
    char name[64]; /* GGML_MAX_NAME */
} lm_input_node;

/* Tokens of one decode call and which rows they are. Arrays have room for cap tokens. */
typedef struct lm_batch {
    struct llama_batch raw;
    size_t n, cap;
    int32_t *seq; /* the caller's sequence number */
    bool *want;   /* the caller asked for this token's logits */
    size_t n_out; /* entries with raw.logits set */
    /* The same for the entries with raw.logits set, when the last layer has only those rows. */
    int32_t *out_token, *out_pos, *out_seq;
} lm_batch;

struct lethe_lm {
    struct llama_model *model;
    const struct llama_vocab *vocab;
    struct llama_context *ctx; /* NULL: vocab_only */
    lethe_lm_info info;
    lethe_env env; /* copy; silent when the caller gave none */
    char *path;
    size_t ctx_len, n_seq;
    size_t max_out;     /* rows of logits a decode call may ask for */
    size_t max_pack;    /* sequences a decode call may mix */
    size_t pack_tokens; /* tokens of them together */
    bool no_byte_tokens;

    lm_hook hook[LETHE_LM_MAX_HOOKS];
    size_t n_hooks;
    lm_input_node input;
    lm_batch batch;
    float *scratch; /* [cap, d], for rows that are not plain host memory */

    /* The decode call in progress, seen by the callback. */
    int stop_site; /* compute no further than this site; INT_MAX: everything */
    int node;      /* number of the next node */
    bool learning; /* find the input node instead of running hooks */
    bool checked;  /* the order of the rows has been verified */
    bool layer0;   /* layer 0 has begun: its input was verified */
    bool stopped;
    const struct ggml_tensor *input_tensor;
    char seen_name[64][64]; /* learning: names of the nodes before layer 0 */
    lethe_status status;
    lethe_err *err;
};

/* ---- lm_log.c: libllama's log --------------------------------------------------------------- */

/* Starts libllama once a process; from now until lethe_lm_log_leave this thread's messages go to
 * env at debug level, and the last error lines are kept. */
void lethe_lm_log_enter(const lethe_env *env);
void lethe_lm_log_leave(void);
const char *lethe_lm_log_errors(void); /* of this thread since enter; "" when there were none */

/* ---- lm_file.c: what can be known before libllama reads the file ---------------------------- */

/* Fails: NOTFOUND, IO, FORMAT (not GGUF, tensors beyond the end of the file). */
lethe_status lethe_lm_check_file(const char *path, uint64_t *size, lethe_err *err);

/* ---- lm_node.c: nodes of a graph ------------------------------------------------------------- */

bool lethe_lm_node_is(const char *name, const char *want); /* of this name, or a copy of it */
int lethe_lm_node_layer(const struct ggml_tensor *t);      /* L of l_out-L; -1: another node */
/* Rows of a float32 tensor [d, n]: in place where they are host memory without gaps, else copied to
 * scratch [n, d]. put: back to where they came from, nothing where that is in place. */
float *lethe_lm_rows_get(const struct ggml_tensor *t, float *scratch);
void lethe_lm_rows_put(struct ggml_tensor *t, const float *x);
bool lethe_lm_all_finite(const float *x, size_t n);
bool lethe_lm_vocab_is_special(const struct llama_vocab *vocab, int32_t token);

/* ---- lm_hooks.c ----------------------------------------------------------------------------- */

bool lethe_lm_eval_callback(struct ggml_tensor *t, bool ask, void *user);
bool lethe_lm_has_tap_at(const lethe_lm *lm, int site);
bool lethe_lm_has_hook_at(const lethe_lm *lm, int site);
/* After a decode call: every hook up to stop_site has seen its site. */
lethe_status lethe_lm_check_seen(const lethe_lm *lm, lethe_err *err);

/* ---- lm_batch.c: one decode call ------------------------------------------------------------ */

lethe_status lethe_lm_batch_open(lm_batch *b, size_t cap, lethe_err *err);
void lethe_lm_batch_close(lm_batch *b);
void lethe_lm_batch_clear(lm_batch *b);
/* row: this entry is an output of the graph; want: its logits are for the caller (implies row). */
void lethe_lm_batch_push(lm_batch *b, int32_t token, int32_t pos, int32_t slot, int32_t seq,
                         bool row, bool want);

/* USAGE unless the model has weights, and seqs fit ctx_len and have tokens in range. */
lethe_status lethe_lm_check_seqs(const lethe_lm *lm, const lethe_seq *seqs, size_t n_seqs,
                                 lethe_err *err);
/* Around every run: begin forgets all sequences; end forgets them again, wiping the cache after a
 * failure (an edit may have written numbers that are not finite). */
lethe_status lethe_lm_run_begin(lethe_lm *lm, int stop_site, lethe_err *err);
lethe_status lethe_lm_run_end(lethe_lm *lm, lethe_status st);
/* Decodes lm->batch with all hooks. Fails: STOPPED, NOMEM, FAIL, what a hook failed with. */
lethe_status lethe_lm_decode(lethe_lm *lm, lethe_err *err);

#endif
