/* SPDX-License-Identifier: MIT
 *
 * Which of the hits that wait of a tile of tokens get a second and a third look, and the
 * thresholds.
 *
 * A seat's threshold only rises: it is the k-th largest lower bound met so far (or a guess, which
 * select.c checks in the end). A latent whose upper bound is below it cannot be among the k
 * largest, nor equal to the last of them.
 *
 * With all latents seen, the first looks say nearly where the k-th largest lies: their bounds are
 * Cauchy and Schwarz's, but the errors themselves are some thirty times smaller. So the threshold
 * is first put where it most likely is, which leaves about half of the hits, and afterwards checked
 * against the k-th largest lower bound of the third looks. Where it was too high all hits are
 * looked at.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/select_internal.h"

/* The likely error of a first look, as a share of its bound. */
#define LIKELY 0.125f

/* Of a fine one it is a larger share: where a few dimensions make most of a token, their errors
 * are most of the whole and do not cancel. */
#define LIKELY_FINE 0.25f

float lethe_select_kth(float *lower, size_t n, size_t k) {
    if (k > n) return -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (isnan(lower[i])) lower[i] = -INFINITY;
    /* Hoare's selection: what is larger goes left. */
    size_t left = 0, right = n - 1, want = k - 1;
    while (left < right) {
        float pivot = lower[left + (right - left) / 2];
        size_t i = left, j = right;
        for (;;) {
            while (lower[i] > pivot) i++;
            while (lower[j] < pivot) j--;
            if (i >= j) break;
            float t = lower[i];
            lower[i++] = lower[j];
            lower[j--] = t;
        }
        /* left .. j are not smaller than the pivot, j + 1 .. right not larger. */
        if (want <= j)
            right = j;
        else
            left = j + 1;
    }
    return lower[want];
}

void lethe_seat_begin(lethe_seat *seat, float whole, float guess, size_t k, size_t cap) {
    *seat = (lethe_seat){.whole = whole,
                         .guess = guess,
                         .threshold = fmaxf(guess, -FLT_MAX),
                         .full = !isfinite(whole),
                         .next = 2 * k + 16 < cap ? 2 * k + 16 : cap,
                         .list = seat->list};
}

/* The threshold becomes the k-th largest lower bound, and candidates that it has overtaken go;
 * those that hold the bound stay. False when too many are left all the same. */
static bool raise_threshold(lethe_seat *seat, size_t k, size_t cap, float *lower) {
    for (size_t i = 0; i < seat->count; i++) lower[i] = seat->list[i].lower;
    seat->threshold = fmaxf(seat->threshold, lethe_select_kth(lower, seat->count, k));
    size_t kept = 0;
    for (size_t i = 0; i < seat->count; i++)
        if (!(seat->list[i].upper < seat->threshold)) seat->list[kept++] = seat->list[i];
    seat->count = kept;
    seat->next = kept + k + 16 < cap ? kept + k + 16 : cap;
    return kept <= cap - cap / 4;
}

/* Nothing passes this seat any more: select.c computes the token in full. */
static void give_up(lethe_seat *seat) {
    seat->full = true;
    seat->threshold = INFINITY;
}

/* The seats that candidates go to. */
typedef struct seating {
    lethe_seat *seat; /* [nt] */
    size_t k, cap;
    float *lower; /* scratch */
} seating;

static void take_seat(void *user, size_t i, lethe_candidate is) {
    seating *to = user;
    lethe_seat *seat = &to->seat[i];
    if (seat->full) return;
    seat->list[seat->count++] = is;
    if (seat->count == seat->next && !raise_threshold(seat, to->k, to->cap, to->lower))
        give_up(seat);
}

static seating seating_of(const lethe_select_job *job, size_t s, lethe_seat *seat,
                          const lethe_select_bench *b) {
    return (seating){.seat = seat, .k = job->sel[s].k, .cap = job->cap[s], .lower = b->lower};
}

/* Closer looks at all hits of token i, in their order, while its seat is not given up. */
static void look_at_all(const lethe_select_job *job, size_t s, size_t i, lethe_seat *seat,
                        const lethe_hits *hits, lethe_select_bench *b) {
    seating to = seating_of(job, s, seat, b);
    for (size_t h = 0; h < hits->count && !seat[i].full; h++)
        lethe_select_closer(job, s, i, (size_t)hits->list[h].place, hits->list[h].c, seat, b,
                            take_seat, &to);
}

/* Bounds of what the first look at token i says about its hits, the lower one with only `share` of
 * the error. With a share of 1 both are proved: bias[] has a slack on top, which is taken off twice
 * here, and the error's own slack covers the rounding of these lines (kernel/sieve.h). */
static void reach_set(const lethe_select_job *job, size_t s, size_t i, const lethe_hits *hits,
                      float share, lethe_select_bench *b) {
    const lethe_token_error *x = &b->error[i];
    for (size_t h = 0; h < hits->count; h++) {
        size_t p = (size_t)hits->list[h].place;
        float bias = job->bias[s][p];
        float a = x->scale * job->scale[p] * (float)hits->list[h].c + bias;
        for (size_t o = 0; o < job->outliers; o++)
            a += b->x_out[i * LETHE_OUTLIERS + o] * job->w_out[o * job->m + p];
        /* Far above LETHE_SIEVE_TINY, so that the product is no denormal, which is slow. */
        float off = (x->first_w * job->norm[p] + x->first_f * job->err1[p]) * 1.001f +
                    (fabsf(bias) + 0x1p-90f) * 0x1p-17f;
        b->reach.upper[h] = a + off;
        b->reach.lower[h] = a - off * share;
    }
}

/* Smallest and largest of v [n], no NaN among them. In lanes, as compilers vectorise such a loop
 * only with leave to reorder, and not all of them even then. */
static void range_of(const float *v, size_t n, float *least, float *most) {
    enum { LANES = 16 };
    float lo[LANES], hi[LANES];
    size_t i = 0;
    for (size_t l = 0; l < LANES; l++) {
        lo[l] = INFINITY;
        hi[l] = -INFINITY;
    }
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (size_t l = 0; l < LANES; l++) {
            lo[l] = v[i + l] < lo[l] ? v[i + l] : lo[l];
            hi[l] = v[i + l] > hi[l] ? v[i + l] : hi[l];
        }
    for (; i < n; i++) {
        lo[0] = v[i] < lo[0] ? v[i] : lo[0];
        hi[0] = v[i] > hi[0] ? v[i] : hi[0];
    }
    *least = lo[0];
    *most = hi[0];
    for (size_t l = 1; l < LANES; l++) {
        *least = lo[l] < *least ? lo[l] : *least;
        *most = hi[l] > *most ? hi[l] : *most;
    }
}

/* A number that at least k of v [n] reach, and not many more; -infinity when fewer than k are
 * finite; v's others become -FLT_MAX. Halving an interval needs no sorting and no branches. */
static float nearly_kth(float *v, size_t n, size_t k) {
    int32_t finite = 0, want = (int32_t)k;
#pragma omp simd reduction(+ : finite)
    for (size_t i = 0; i < n; i++) {
        int32_t ok = fabsf(v[i]) <= FLT_MAX;
        v[i] = ok ? v[i] : -FLT_MAX;
        finite += ok;
    }
    float least, most;
    range_of(v, n, &least, &most);
    if (finite < want) return -INFINITY;
    for (int round = 0; round < 10; round++) {
        float middle = 0.5f * least + 0.5f * most;
        int32_t reach = 0;
#pragma omp simd reduction(+ : reach)
        for (size_t i = 0; i < n; i++) reach += v[i] >= middle;
        if (reach >= want)
            least = middle;
        else
            most = middle;
    }
    return least;
}

/* The hits whose upper bound reaches the threshold come first, in their order; the others stay
 * behind them if `all`. Returns how many are in front. */
static size_t to_front(lethe_hits *hits, float threshold, bool all, const lethe_reach *r) {
    size_t front = 0, out = 0;
    for (size_t h = 0; h < hits->count; h++) { /* without branches: they cannot be foretold */
        lethe_hit hit = hits->list[h];
        bool reach = !(r->upper[h] < threshold);
        hits->list[front] = r->spill[out] = hit;
        front += reach;
        out += !reach && all;
    }
    if (out) memcpy(hits->list + front, r->spill, out * sizeof *r->spill);
    hits->count = front + out;
    return front;
}

void lethe_select_relieve(const lethe_select_job *job, size_t s, size_t i, lethe_seat *seats,
                          lethe_hits *hits, lethe_select_bench *b) {
    lethe_seat *seat = &seats[i];
    reach_set(job, s, i, hits, 1, b);
    seat->threshold =
        fmaxf(seat->threshold, nearly_kth(b->reach.lower, hits->count, job->sel[s].k));
    to_front(hits, seat->threshold, false, &b->reach);
    if (hits->count <= job->room / 2) return;
    seat->flushed = true;
    look_at_all(job, s, i, seats, hits, b);
    hits->count = 0;
}

/* How many of its hits token i needs a second look at, most likely: they come first. The threshold
 * is the likely one afterwards. */
static size_t likely_hits(const lethe_select_job *job, size_t s, size_t i, lethe_seat *seat,
                          lethe_hits *hits, lethe_select_bench *b) {
    if (seat->flushed || hits->count <= job->sel[s].k) return hits->count;
    reach_set(job, s, i, hits, job->fine ? LIKELY_FINE : LIKELY, b);
    float likely = nearly_kth(b->reach.lower, hits->count, job->sel[s].k);
    if (!(likely > seat->threshold)) return hits->count;
    seat->threshold = likely;
    return to_front(hits, likely, true, &b->reach);
}

/* Whether k candidates certainly reach the threshold. */
static bool holds(const lethe_seat *seat, size_t k) {
    size_t reach = 0;
    for (size_t c = 0; c < seat->count; c++) reach += seat->list[c].lower >= seat->threshold;
    return reach >= k;
}

void lethe_select_again(const lethe_select_job *job, size_t s, size_t nt, size_t first, size_t end,
                        lethe_seat *seat, lethe_hits *hits, lethe_select_bench *b) {
    lethe_todo *todo = &b->todo;
    for (size_t i = 0; i < nt; i++) {
        todo->sure[i] = seat[i].threshold;
        todo->next[i] = 0;
        todo->keep[i] = likely_hits(job, s, i, &seat[i], &hits[i], b);
    }
    seating to = seating_of(job, s, seat, b);
    for (size_t at = first, nm; at < end; at += nm) {
        nm = end - at < job->close_m ? end - at : job->close_m;
        lethe_select_closer_block(job, s, nt, at, nm, hits, seat, b, take_seat, &to);
    }
    for (size_t i = 0; i < nt; i++) {
        if (seat[i].full || !(seat[i].threshold > todo->sure[i]) || seat[i].flushed ||
            holds(&seat[i], job->sel[s].k))
            continue;
        seat[i].threshold = todo->sure[i];
        seat[i].count = 0;
        look_at_all(job, s, i, seat, &hits[i], b);
    }
}
