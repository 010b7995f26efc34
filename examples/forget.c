/* SPDX-License-Identifier: MIT
 *
 * A plain libllama program that answers a question, as the model is and forgetting. Lethe's lines are marked.
 * cc forget.c $(pkg-config --cflags --libs lethe lethe-llama) -o forget
 */
#include <lethe/lethe.h> /* lethe */
#include <llama.h>
#include <stdio.h>

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    if (level == GGML_LOG_LEVEL_ERROR && !user) fputs(text, stderr);
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: forget MODEL PATCH QUESTION\n"), 2;
    llama_log_set(quiet, NULL);
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 1;
    struct llama_context_params params = llama_context_default_params();
    lethe_err err; /* lethe: from here */
    lethe_patch *patch = NULL;
    lethe_attachment *forget = NULL;
    if (lethe_patch_open(&patch, argv[2], &err) != LETHE_OK ||
        lethe_attachment_open(&forget, model, (const lethe_patch *const[]){patch}, 1, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    params.cb_eval = lethe_eval_callback;
    params.cb_eval_user_data = forget; /* to here */
    struct llama_context *ctx = llama_init_from_model(model, params);
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    struct llama_sampler *greedy = llama_sampler_init_greedy();
    struct llama_chat_message ask = {"user", argv[3]};
    char prompt[4096], piece[256];
    int n = llama_chat_apply_template(llama_model_chat_template(model, NULL), &ask, 1, true, prompt, 4096);
    for (int on = 0; on < 2 && ctx && n > 0 && n <= 4096; on++) {
        lethe_attachment_switch(forget, LETHE_EVERY, LETHE_EVERY, on, NULL); /* lethe */
        llama_memory_clear(llama_get_memory(ctx), true);
        llama_token token[1024];
        int have = llama_tokenize(vocab, prompt, n, token, 1024, true, true);
        size_t fired = 0, more;
        printf(on ? "forgetting:" : "whole:");
        for (int i = 0; i < 40 && have > 0; i++) {
            if (llama_decode(ctx, llama_batch_get_one(token, have)) ||
                lethe_attachment_status(forget, &err)) /* lethe */
                return fprintf(stderr, "%s\n", err.text), 1;
            lethe_attachment_fired(forget, &more); /* lethe */
            fired += more;
            token[0] = llama_sampler_sample(greedy, ctx, -1);
            if (llama_vocab_is_eog(vocab, token[0])) break;
            have = 1;
            printf("%.*s", llama_token_to_piece(vocab, token[0], piece, sizeof piece, 0, 0), piece);
        }
        printf("\n  (removed features fired %zu times)\n", fired);
    }
    llama_sampler_free(greedy);
    llama_free(ctx);
    lethe_attachment_close(&forget); /* lethe */
    lethe_patch_close(&patch);       /* lethe */
    llama_model_free(model);
}
