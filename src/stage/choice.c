/* SPDX-License-Identifier: MIT */
#include "stage/choice.h"

#include <assert.h>
#include <math.h>

size_t lethe_choice_orders(size_t options) {
    assert(options >= 1 && options <= LETHE_CHOICE_OPTIONS);
    size_t n = 1;
    for (size_t i = 2; i <= options; i++) n *= i;
    return n;
}

/* r in the factorial number system: digit j says which of the options left over comes next. */
void lethe_choice_order(size_t options, size_t r, uint8_t order[LETHE_CHOICE_OPTIONS]) {
    size_t block = lethe_choice_orders(options);
    assert(r < block);
    uint8_t left[LETHE_CHOICE_OPTIONS];
    for (size_t i = 0; i < options; i++) left[i] = (uint8_t)i;
    for (size_t j = 0; j < options; j++) {
        block /= options - j;
        size_t pick = r / block;
        r %= block;
        order[j] = left[pick];
        for (size_t i = pick; i + 1 < options - j; i++) left[i] = left[i + 1];
    }
}

static lethe_status check_order(const uint8_t *order, size_t options, size_t r, lethe_err *err) {
    unsigned seen = 0;
    for (size_t j = 0; j < options; j++)
        if (order[j] < options) seen |= 1u << order[j];
    if (seen != (1u << options) - 1)
        return lethe_fail(err, LETHE_USAGE,
                          "multiple choice: order %zu does not show each option once", r);
    return LETHE_OK;
}

static size_t largest(const double *l, size_t n) {
    size_t best = 0;
    for (size_t j = 1; j < n; j++)
        if (l[j] > l[best]) best = j;
    return best;
}

static double share(const double *l, size_t n, size_t at) {
    double most = l[largest(l, n)], sum = 0;
    if (isinf(most)) return 1 / (double)n;
    for (size_t j = 0; j < n; j++) sum += exp(l[j] - most);
    return exp(l[at] - most) / sum;
}

lethe_status lethe_choice_score(const double *logprob, const uint8_t *order, size_t orders,
                                size_t options, size_t answer, lethe_choice *out, lethe_err *err) {
    if (options < 1 || options > LETHE_CHOICE_OPTIONS || answer >= options || orders < 1 ||
        (!order && orders != 1))
        return lethe_fail(err, LETHE_USAGE,
                          "multiple choice: got %zu options, the answer %zu, %zu orders; want 1 to "
                          "%d options, one of them the answer, and at least one order",
                          options, answer, orders, LETHE_CHOICE_OPTIONS);
    lethe_choice c = {0};
    size_t right = 0;
    for (size_t r = 0; r < orders; r++) {
        const double *l = logprob + r * options;
        const uint8_t *shown = order ? order + r * options : NULL;
        if (shown) LETHE_TRY(check_order(shown, options, r, err));
        size_t at = answer;
        for (size_t j = 0; j < options; j++) {
            if (isnan(l[j]) || (isinf(l[j]) && l[j] > 0))
                return lethe_fail(
                    err, LETHE_NONFINITE,
                    "multiple choice: the log-probability at order %zu, position %zu is "
                    "%g",
                    r, j, l[j]);
            if (shown && shown[j] == answer) at = j;
        }
        bool hit = largest(l, options) == at;
        if (r == 0) c.right = hit;
        right += hit;
        c.probability += share(l, options, at);
    }
    c.strict = right == orders;
    c.mean = (double)right / (double)orders;
    c.probability /= (double)orders;
    *out = c;
    return LETHE_OK;
}
