/* SPDX-License-Identifier: MIT
 *
 * A language model behind an OpenAI-compatible API as a judge.
 *
 * Every completion is one request (equal ones, of equal prompts, share it). Answers are kept in
 * cache_dir, one file each, under the fingerprint of model, instructions, prompt and completion: a
 * second run asks only for what is missing, so that stopping at any moment, by a kill even, costs
 * only what was under way.
 *
 * Retried, up to `retries` times an item: 408, 429, 5xx, a connection that fails or breaks, an
 * answer that is not one of the four classes. The wait is what Retry-After says, and then nothing
 * else is sent either; without it 0.5 s * 2^tries, at most 30 s, less a random part of up to half.
 * Then the item is marked FAILED with what went wrong, and the run goes on; but it ends when nobody
 * answers (the first item to be given up, with no answer yet, or the third in a row), and at once
 * for 401, 403, 404 and for any other 4xx before the first answer.
 */
#ifndef LETHE_STAGE_JUDGE_API_H
#define LETHE_STAGE_JUDGE_API_H

#include "base/run.h"
#include "stage/judge.h"

typedef struct lethe_judge_api_opts { /* borrowed */
    const char *endpoint;             /* "https://api.openai.com/v1"; /chat/completions is added */
    const char *model, *key;          /* key NULL: none is sent */
    const char *topic;
    const char *cache_dir; /* made if it is not there */
    size_t concurrency;    /* requests under way at a time; 4 */
    unsigned retries;      /* 5 */
    double timeout;        /* of a request, in seconds; 60 */
    bool fresh;            /* ask again for what the cache has, too; false */
    uint64_t seed;         /* of the waits */
} lethe_judge_api_opts;

lethe_judge_api_opts lethe_judge_api_defaults(void);

typedef struct lethe_judge_api_stats {
    size_t cached, asked, retried, failed; /* answers from the cache, answers and retries from the
                                              server, items given up */
} lethe_judge_api_stats;

/* Labels every completion as `judge`, an index of j. What there is when it fails or is stopped is
 * in j and worth saving. Fails: STOPPED, IO (nobody answers; what the server complains of), FAIL
 * (no sense in it), USAGE (no such address), NOMEM. */
lethe_status lethe_judge_api_run(lethe_judging *j, size_t judge, const lethe_judge_api_opts *o,
                                 const lethe_env *env, lethe_judge_api_stats *stats,
                                 lethe_err *err);

/* Which key goes to an endpoint: LETHE_API_KEY's anywhere, OPENAI_API_KEY's over https or to this
 * machine (an http server elsewhere would see it in the clear). Both as found in the environment,
 * or NULL; "" is none. *out: one of the two, or NULL. Fails: USAGE (https without a key, a key with
 * a line break, an endpoint that is neither http nor https). */
lethe_status lethe_judge_api_key(const char *endpoint, const char *lethe_key,
                                 const char *openai_key, const char **out, lethe_err *err);

#endif
