/* SPDX-License-Identifier: MIT */
#include "kernel/topk.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The bits of a float, turned so that unsigned order is the order of the numbers: flip the sign bit
 * of positive numbers, all bits of negative ones. The complement of the index below it makes the
 * lower index the larger key. */
static uint64_t key_of(float value, uint32_t index) {
    value += 0.0f; /* -0 becomes +0 */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~index;
}

static float key_value(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= bits >> 31 ? 0x80000000u : 0xffffffffu;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t key_index(uint64_t key) {
    return ~(uint32_t)key;
}

void lethe_topk_begin(lethe_topk *t, size_t k, uint64_t *key) {
    assert(k > 0);
    *t = (lethe_topk){.k = k, .threshold = -INFINITY, .key = key};
}

/* Puts a key in its place; the last one falls out when there are k already. */
static void insert(lethe_topk *t, uint64_t key) {
    size_t lo = 0, hi = t->count; /* the first place with a smaller key lies within */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->key[mid] > key)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t kept = t->count < t->k ? t->count++ : t->k - 1;
    memmove(t->key + lo + 1, t->key + lo, (kept - lo) * sizeof *t->key);
    t->key[lo] = key;
    if (t->count == t->k) t->threshold = key_value(t->key[t->k - 1]);
}

void lethe_topk_offer(lethe_topk *t, float value, uint32_t index) {
    /* The threshold itself may still win by its index; the key tells. */
    if (!(value >= t->threshold) || value == -INFINITY) return;
    uint64_t key = key_of(value, index);
    if (t->count < t->k || key > t->key[t->k - 1]) insert(t, key);
}

void lethe_topk_merge(lethe_topk *t, const lethe_topk *from) {
    for (size_t i = 0; i < from->count; i++)
        if (t->count < t->k || from->key[i] > t->key[t->k - 1]) insert(t, from->key[i]);
}

static bool taken(const int32_t *index, size_t n, int32_t candidate) {
    for (size_t i = 0; i < n; i++)
        if (index[i] == candidate) return true;
    return false;
}

void lethe_topk_end(const lethe_topk *t, const int32_t *rows, size_t m, int32_t *index,
                    float *value) {
    assert(t->k <= m);
    for (size_t i = 0; i < t->count; i++) {
        index[i] = (int32_t)key_index(t->key[i]);
        value[i] = key_value(t->key[i]);
    }
    size_t next = 0;
    for (size_t i = t->count; i < t->k; i++, next++) {
        while (taken(index, t->count, rows ? rows[next] : (int32_t)next)) next++;
        index[i] = rows ? rows[next] : (int32_t)next;
        value[i] = -INFINITY;
    }
}
