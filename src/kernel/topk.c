/* SPDX-License-Identifier: MIT */
#include "kernel/topk.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
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

static int falling(const void *pa, const void *pb) {
    uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
    return (a < b) - (a > b);
}

/* Few keys by counting how many each is below: n^2 comparisons, but no branches. */
static void sort(uint64_t *key, size_t n) {
    enum { FEW = 64 };
    uint64_t sorted[FEW];
    if (n > FEW) {
        qsort(key, n, sizeof *key, falling);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t above = 0;
        for (size_t j = 0; j < i; j++) above += key[j] >= key[i];
        for (size_t j = i + 1; j < n; j++) above += key[j] > key[i];
        sorted[above] = key[i];
    }
    memcpy(key, sorted, n * sizeof *key);
}

/* Takes a key. The first k are only sorted when they are there; of one more the last falls out. */
static void insert(lethe_topk *t, uint64_t key) {
    if (t->count < t->k) {
        t->key[t->count++] = key;
        if (t->count < t->k) return;
        sort(t->key, t->count);
    } else {
        size_t lo = 0, hi = t->k; /* the first place with a smaller key lies within */
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (t->key[mid] > key)
                lo = mid + 1;
            else
                hi = mid;
        }
        memmove(t->key + lo + 1, t->key + lo, (t->k - 1 - lo) * sizeof *t->key);
        t->key[lo] = key;
    }
    t->threshold = key_value(t->key[t->k - 1]);
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
    if (t->count < t->k) sort(t->key, t->count);
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
