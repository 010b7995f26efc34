/* SPDX-License-Identifier: MIT
 *
 * What a language model that judges is told, and how its answer is read: pure functions on text.
 * The request is the body of an OpenAI-compatible chat completion.
 */
#ifndef LETHE_STAGE_JUDGE_RUBRIC_H
#define LETHE_STAGE_JUDGE_RUBRIC_H

#include "stage/judge.h"

/* The instructions for a topic ("Harry Potter"); owned by the caller's buffer. */
void lethe_rubric_text(const char *topic, lethe_strbuf *out);

/* The request's body for one completion. with_temperature: "temperature": 0 is asked for (some
 * models refuse any). Fails: NOMEM. */
lethe_status lethe_rubric_request(const char *model, const char *rubric, const char *prompt,
                                  const char *completion, bool with_temperature, char **out,
                                  lethe_err *err);

/* Reads a response's body: choices[0].message.content must be one JSON object {"class": one of the
 * four exactly so, "reason": text} and nothing else; white space, a code fence around it and a
 * "<think>..</think>" before it are passed over. reason: owned. Fails: FORMAT (what was wrong),
 * NOMEM.
 */
lethe_status lethe_rubric_answer(const char *body, size_t len, lethe_judge_class *out,
                                 char **reason, lethe_err *err);

/* What a server says went wrong: error.message of its JSON, else the start of the body on one line.
 * out: NUL-terminated, cut at size. */
void lethe_rubric_complaint(const char *body, size_t len, char *out, size_t size);

#endif
