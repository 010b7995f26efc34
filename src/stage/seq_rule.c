/* SPDX-License-Identifier: MIT */
#include "stage/seq_rule.h"

#include <assert.h>

#include "base/mem.h"

void lethe_seq_rules_free(lethe_seq_rules *r) {
    lethe_free(r->rule);
    *r = (lethe_seq_rules){0};
}

lethe_status lethe_seq_rules_of(lethe_seq_rules *r, int32_t seq, lethe_seq_rule **out,
                                lethe_err *err) {
    assert(seq >= 0);
    size_t want = (size_t)seq + 1;
    if (want > r->n) {
        LETHE_TRY(lethe_grow(&r->rule, &r->cap, r->n, want, sizeof *r->rule,
                             "settings of sequences", err));
        while (r->n < want) r->rule[r->n++] = r->other;
    }
    *out = &r->rule[seq];
    return LETHE_OK;
}

bool lethe_seq_rules_any(const lethe_seq_rules *r) {
    return r->n || r->other.off || r->other.own;
}

bool lethe_seq_rule_same(const lethe_seq_rule *a, const lethe_seq_rule *b) {
    if (a->own != b->own) return false;
    return !a->own || (a->scale == b->scale && a->strength == b->strength);
}

lethe_seq_rule lethe_seq_rules_at(const lethe_seq_rules *r, int32_t seq) {
    return seq >= 0 && (size_t)seq < r->n ? r->rule[seq] : r->other;
}
