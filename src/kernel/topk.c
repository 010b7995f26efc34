/* SPDX-License-Identifier: MIT */
#include "kernel/topk.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/kernel.h"

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

static void swap(uint64_t *a, uint64_t *b) {
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

/* Puts the k largest of n keys first (0 < k <= n), the k-th itself at key[k - 1]: Hoare's
 * quickselect with the median of three as pivot. Keys differ from each other. */
static void select_largest(uint64_t *key, size_t n, size_t k) {
    ptrdiff_t lo = 0, hi = (ptrdiff_t)n - 1, at = (ptrdiff_t)k - 1;
    while (lo < hi) {
        uint64_t a = key[lo], b = key[lo + (hi - lo) / 2], c = key[hi];
        uint64_t pivot = a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b));
        ptrdiff_t i = lo, j = hi;
        while (i <= j) {
            while (key[i] > pivot) i++;
            while (key[j] < pivot) j--;
            if (i <= j) swap(&key[i++], &key[j--]);
        }
        if (at <= j) /* key[lo .. j] >= pivot >= key[i .. hi] */
            hi = j;
        else if (at >= i)
            lo = i;
        else
            return;
    }
}

static void sift_down(uint64_t *key, size_t n, size_t at) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && key[child + 1] < key[child]) child++;
        if (key[at] <= key[child]) return;
        swap(&key[at], &key[child]);
    }
}

/* Falling order: heap sort on a min-heap. */
static void sort_falling(uint64_t *key, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift_down(key, n, i);
    for (size_t end = n; end > 1; end--) {
        swap(&key[0], &key[end - 1]);
        sift_down(key, end - 1, 0);
    }
}

size_t lethe_topk_cap(size_t k) {
    return k + (k < 32 ? 32 : k);
}

void lethe_topk_begin(lethe_topk *t, size_t k, size_t cap, uint64_t *key) {
    assert(k > 0 && k < cap);
    *t = (lethe_topk){.k = k, .cap = cap, .threshold = -INFINITY, .key = key};
}

static void prune(lethe_topk *t) {
    if (t->count < t->k) return;
    select_largest(t->key, t->count, t->k);
    t->count = t->k;
    t->threshold = key_value(t->key[t->k - 1]);
}

void lethe_topk_put(lethe_topk *t, const float *a, const float *bias, size_t n, size_t base,
                    int32_t *hit) {
    size_t hits = lethe_kernels_get()->screen(a, bias, n, t->threshold, hit);
    for (size_t h = 0; h < hits; h++) {
        float value = a[hit[h]] + bias[hit[h]];
        /* Equal to the threshold: it comes after k others, whose indices are lower. */
        if (!(value > t->threshold)) continue;
        t->key[t->count++] = key_of(value, (uint32_t)(base + (size_t)hit[h]));
        if (t->count == t->cap) prune(t);
    }
}

void lethe_topk_merge(lethe_topk *t, const lethe_topk *from) {
    for (size_t i = 0; i < from->count; i++) {
        t->key[t->count++] = from->key[i];
        if (t->count == t->cap) prune(t);
    }
}

static bool taken(const int32_t *index, size_t n, size_t candidate) {
    for (size_t i = 0; i < n; i++)
        if ((size_t)index[i] == candidate) return true;
    return false;
}

void lethe_topk_end(lethe_topk *t, size_t m, int32_t *index, float *value) {
    assert(t->k <= m);
    prune(t);
    sort_falling(t->key, t->count);
    for (size_t i = 0; i < t->count; i++) {
        index[i] = (int32_t)key_index(t->key[i]);
        value[i] = key_value(t->key[i]);
    }
    size_t candidate = 0;
    for (size_t i = t->count; i < t->k; i++, candidate++) {
        while (taken(index, t->count, candidate)) candidate++;
        index[i] = (int32_t)candidate;
        value[i] = -INFINITY;
    }
}
