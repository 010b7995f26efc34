/* SPDX-License-Identifier: MIT
 *
 * Lethe in your own program: a patch (made by `lethe patch`) attached to any libllama context by
 * its eval callback. The model forgets while it runs; its weights stay as they are.
 *
 *     lethe_patch *patch = NULL;
 *     lethe_attachment *forget = NULL;
 *     lethe_err err;
 *     if (lethe_patch_open(&patch, "patch.safetensors", &err) != LETHE_OK ||
 *         lethe_attachment_open(&forget, model, (const lethe_patch *const[]){patch}, 1, &err)
 *             != LETHE_OK)
 *         ... err.text says why
 *     struct llama_context_params params = llama_context_default_params();
 *     params.cb_eval = lethe_eval_callback;
 *     params.cb_eval_user_data = forget;
 *     struct llama_context *ctx = llama_init_from_model(model, params);
 *
 * After each llama_decode ask lethe_attachment_status: a callback has no other way to say that it
 * failed, and after a failure the logits are worth nothing.
 *
 * What is known of a row. Its token and position are read from the graph. Its sequence is in no
 * input of it: with one sequence (ids as of llama_batch_get_one) nothing needs to be done; with
 * several, tell each batch by lethe_attachment_next_batch, and make the context with kv_unified,
 * since libllama orders a batch otherwise without it (which is noticed, and is a failure). Batches
 * of embeddings have no tokens and are a failure.
 *
 * A patch's guard, and every setting of a sequence, go by sequence and position; a position that
 * comes again rewinds its sequence, as after llama_memory_seq_rm. What the KV cache holds was
 * computed with the setting of its time: whoever flips the switch in mid-conversation and wants the
 * past run anew clears it (llama_memory_clear).
 *
 * Threads: a patch may be shared by any number of attachments in any threads. An attachment belongs
 * to one context, and to the thread that runs it.
 *
 * The library never prints and never exits. Functions that can fail return a lethe_status and write
 * the reason into *err, which may be NULL.
 */
#ifndef LETHE_LETHE_H
#define LETHE_LETHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lethe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LETHE_API __attribute__((visibility("default")))
#else
#define LETHE_API
#endif

struct ggml_tensor;
struct llama_batch;
struct llama_model;

/* ---- patches --------------------------------------------------------------------------------- */

typedef struct lethe_patch lethe_patch;

/* Every number of the file is checked. Fails: NOTFOUND, FORMAT, NOMEM. */
LETHE_API lethe_status lethe_patch_open(lethe_patch **out, const char *path, lethe_err *err);
LETHE_API void lethe_patch_close(lethe_patch **patch); /* after its attachments; accepts NULL */

LETHE_API size_t lethe_patch_features(const lethe_patch *patch);           /* how many */
LETHE_API int32_t lethe_patch_feature(const lethe_patch *patch, size_t i); /* latent of the SAE */
LETHE_API int lethe_patch_layer(const lethe_patch *patch);                 /* from 0 */
LETHE_API const char *lethe_patch_model_name(const lethe_patch *patch);    /* made for */
LETHE_API double lethe_patch_strength(const lethe_patch *patch);           /* as written */

/* ---- attachments ----------------------------------------------------------------------------- */

typedef struct lethe_attachment lethe_attachment;

#define LETHE_EVERY (-1) /* every patch; every sequence */

/* For one context of this model, which need not exist yet. patch [n], n >= 1: borrowed, work in
 * this order where they share a layer. On in every sequence. Whether the patch was made for just
 * this model cannot be seen from here; its width and its layer are checked. Fails: MISMATCH, USAGE
 * (a patch before layer 0, one that its method lacks something of), NOMEM. */
LETHE_API lethe_status lethe_attachment_open(lethe_attachment **out,
                                             const struct llama_model *model,
                                             const lethe_patch *const *patch, size_t n,
                                             lethe_err *err);
/* After the context was freed; accepts NULL. */
LETHE_API void lethe_attachment_close(lethe_attachment **attachment);

/* cb_eval of the context; user is the lethe_attachment. A callback of your own calls it with each
 * tensor and either answer: `return lethe_eval_callback(t, ask, a) | mine` when ask is true (but
 * both have to be called), `&` when it is false. It never minds a tensor that it did not ask for.
 */
LETHE_API bool lethe_eval_callback(struct ggml_tensor *t, bool ask, void *user);

/* The batch that llama_decode gets next; copied. Once told, every batch has to be. Fails: USAGE (a
 * batch of embeddings), NOMEM. */
LETHE_API lethe_status lethe_attachment_next_batch(lethe_attachment *a,
                                                   const struct llama_batch *batch, lethe_err *err);

/* How the decode calls since the last question went. A failure stays until it is asked for here,
 * and no graph is computed whole until then. Fails: FAIL (rows cannot be told apart, the model's
 * graph has no such layer), NONFINITE (the strength is too much), NOMEM. */
LETHE_API lethe_status lethe_attachment_status(lethe_attachment *a, lethe_err *err);

/* ---- tuning, between decode calls ------------------------------------------------------------ */

/* seq: a sequence id or LETHE_EVERY (also those to come). which: a patch by its place, or
 * LETHE_EVERY. Off: the rows stay as they are, but what fires is told all the same. Fails: USAGE
 * (no such patch, a negative sequence), NOMEM. */
LETHE_API lethe_status lethe_attachment_switch(lethe_attachment *a, int which, int32_t seq, bool on,
                                               lethe_err *err);

/* Another strength, in the unit of the patch's method; NAN: as the patch says. Fails: USAGE (also:
 * a number out of range), NOMEM. */
LETHE_API lethe_status lethe_attachment_strength(lethe_attachment *a, int which, int32_t seq,
                                                 double strength, lethe_err *err);

/* ---- what fired ------------------------------------------------------------------------------ */

typedef struct lethe_fired {
    int32_t seq, pos, token; /* where */
    int32_t which, feature;  /* which patch, which of its latents (its number in the SAE) */
    float value;             /* its activation */
    bool acted;              /* the removal was at work there: on, and its guard open */
} lethe_fired;

#define LETHE_FIRED_MOST 65536 /* kept of one list */

/* What fired in the decode calls since this was asked last, in the order it ran; valid until the
 * next decode call, which begins a new list. Special positions (BOS and the like) are left out
 * unless the patch is for them, too. */
LETHE_API const lethe_fired *lethe_attachment_fired(lethe_attachment *a, size_t *n);

#ifdef __cplusplus
}
#endif

#endif
