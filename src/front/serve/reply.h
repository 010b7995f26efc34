/* SPDX-License-Identifier: MIT
 *
 * What a client reads: whole answers, chunks of streams and errors in the OpenAI API's JSON, from
 * what the engine told. Pure; each function appends text to a buffer, whose status says if there
 * was memory.
 */
#ifndef LETHE_SERVE_REPLY_H
#define LETHE_SERVE_REPLY_H

#include "front/serve/answer.h"
#include "front/serve/request.h"

typedef struct lethe_reply_head {
    bool chat, stream, usage, trace, logprobs; /* as the request has it */
    const char *model;
    char id[48];
    int64_t created; /* seconds since 1970 */
} lethe_reply_head;

typedef struct lethe_usage {
    uint64_t prompt, cached, completion;
} lethe_usage;

/* {"error": {...}} */
void lethe_reply_error(lethe_strbuf *out, const lethe_refusal *why);

/* Chunks, each "data: ...\n\n". logprob, traced: of lethe_answer_take, moved. offset: bytes of the
 * answer before the text. */
void lethe_chunk_role(lethe_strbuf *out, const lethe_reply_head *h, size_t index);
void lethe_chunk_text(lethe_strbuf *out, const lethe_reply_head *h, size_t index,
                      const lethe_strbuf *text, size_t offset, json_t *logprob, json_t *traced);
void lethe_chunk_end(lethe_strbuf *out, const lethe_reply_head *h, size_t index,
                     const char *reason);
void lethe_chunk_usage(lethe_strbuf *out, const lethe_reply_head *h, const lethe_usage *u);
void lethe_chunk_error(lethe_strbuf *out, const lethe_refusal *why);
void lethe_chunk_done(lethe_strbuf *out);

/* An answer of a request without streaming; moved: logprob, traced. New reference, NULL: no
 * memory. */
json_t *lethe_reply_choice(const lethe_reply_head *h, size_t index, const lethe_strbuf *text,
                           json_t *logprob, json_t *traced, const char *reason);

/* The whole reply; choices: moved. */
void lethe_reply_whole(lethe_strbuf *out, const lethe_reply_head *h, json_t *choices,
                       const lethe_usage *u);

/* Appends a JSON value (moved; NULL: no memory) as text. */
void lethe_reply_json(lethe_strbuf *out, json_t *value);

#endif
