/* SPDX-License-Identifier: MIT
 *
 * Sequences that want a removal otherwise than it is set: off, of another strength, or by method
 * scale.
 */
#ifndef LETHE_STAGE_SEQ_RULE_H
#define LETHE_STAGE_SEQ_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct lethe_seq_rule {
    bool off;
    bool own;   /* strength holds instead of the removal's */
    bool scale; /* of own: it is a factor of method scale, whatever the removal's method is */
    double strength;
} lethe_seq_rule;

typedef struct lethe_seq_rules { /* zeroed: none */
    lethe_seq_rule *rule;        /* [n] by sequence */
    size_t n, cap;
    lethe_seq_rule other; /* of sequences not named */
} lethe_seq_rules;

void lethe_seq_rules_free(lethe_seq_rules *r); /* accepts a zeroed one; zeroes it */

/* The rule of a sequence >= 0, to be changed. Valid until the next call. Fails: NOMEM. */
lethe_status lethe_seq_rules_of(lethe_seq_rules *r, int32_t seq, lethe_seq_rule **out,
                                lethe_err *err);

/* Any rule is other than on, as the removal is set. */
bool lethe_seq_rules_any(const lethe_seq_rules *r);

/* Whether rows under both can be treated alike. */
bool lethe_seq_rule_same(const lethe_seq_rule *a, const lethe_seq_rule *b);

/* The rule of any sequence; of one that was not named: other. */
lethe_seq_rule lethe_seq_rules_at(const lethe_seq_rules *r, int32_t seq);

#endif
