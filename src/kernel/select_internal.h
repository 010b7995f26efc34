/* SPDX-License-Identifier: MIT
 *
 * Selection from inside: what select.c (the k largest) and select_above.c (those above a
 * floor) share: select_job.c (what a call needs), select_look.c (the first look), select_closer.c
 * (the second and the third) and select_again.c (which hits of a tile get them).
 *
 * Places: the latents to select from are numbered 0 .. m - 1 in the order of from->rows; where that
 * is NULL a place is the latent's index itself.
 */
#ifndef LETHE_KERNEL_SELECT_INTERNAL_H
#define LETHE_KERNEL_SELECT_INTERNAL_H

#include <stdbool.h>

#include "base/pool.h"
#include "kernel/kernel.h"
#include "kernel/select.h"
#include "kernel/topk.h"

/* Tokens computed in full together: the encoder's rows are read once for all of them. */
#define LETHE_FULL_TOKENS 32

/* A tile of fewer would read the encoder too often. */
#define LETHE_FEW_TOKENS 16

/* Dimensions at a time in a second look. */
#define LETHE_STRIP 1024

/* Fewer tokens than this leave the processor waiting for the latents' digits: the first look then
 * takes the tokens' second digits along, for nothing, and packing a block would not pay. */
#define LETHE_FEW_TO_LOOK 8

/* Dimensions that are kept out of the digits. */
#define LETHE_OUTLIERS 16

typedef struct lethe_candidate {
    int32_t place;
    float lower, upper; /* the latent's number is within */
} lethe_candidate;

/* What one selection knows about one token, or about one token and a part of the latents. */
typedef struct lethe_seat {
    float whole;           /* at least the token's norm */
    float guess;           /* what the threshold began with; -infinity: no guess */
    float threshold;       /* an upper bound below this is out */
    bool full;             /* must be computed in full */
    bool flushed;          /* some hits had their second look early, for want of room */
    size_t count;          /* candidates */
    size_t next;           /* at this many the threshold is set anew */
    lethe_candidate *list; /* [job->cap], borrowed */
} lethe_seat;

/* One call of lethe_select. */
typedef struct lethe_select_job {
    const float *x;
    size_t n, d, m;
    const lethe_latents *from;
    const lethe_selection *sel;
    size_t n_sel;
    lethe_pool *pool;             /* what all of this is taken from, and a thread's scratch */
    size_t cap[LETHE_SELECTIONS]; /* candidates a seat can hold */
    size_t room;                  /* hits of the first look that can wait for a second, a token */

    /* [m] by place: the sieve's own arrays, or gathered. */
    const float *scale, *norm, *err1;
    const int32_t *sum_hi;
    float *bias[LETHE_SELECTIONS]; /* with the slack for rounding */

    size_t outliers, dim[LETHE_OUTLIERS];
    float *w_out; /* [outliers, m] */

    size_t tile_n, tile_m; /* tokens and latents of a tile */
    size_t close_m;        /* latents of a block for closer looks, at least tile_m */
    bool fine;             /* first looks with the tokens' second digits: few tokens */
} lethe_select_job;

/* First-look bounds of one token's hits; see select_again.c. */
typedef struct lethe_reach {
    float *upper, *lower; /* [room] */
    lethe_hit *spill;     /* [room] */
} lethe_reach;

/* Which hits get closer looks: those from next[i] to keep[i] of token i, by blocks of latents. */
typedef struct lethe_todo {
    size_t *keep, *next; /* [tile_n] */
    float *sure;         /* [tile_n] the threshold without the guess that keep rests on */

    /* Those of one block by latent: where each one's begin, their tokens and first products. */
    uint32_t *start; /* [close_m + 1] */
    uint32_t *token; /* [tile_n close_m] */
    int32_t *c;      /* [tile_n close_m] */
    int32_t *lo;     /* [tile_n close_m] products with the tokens' second digits */
    int32_t *hi;     /* [tile_n] of one latent: its second digits with the tokens' first */
} lethe_todo;

/* A token's share in the bounds (kernel/sieve.h: e, r, x). */
typedef struct lethe_token_error {
    float scale;   /* t */
    float first_w; /* first look, times |w| + |f|: |e|, or |r| of a fine one, and slacks */
    float first_f; /* first look, times |f|: |x|, or |x| + |r| of a fine one */
    float er;      /* |e| + |r| */
    float r;       /* |r|, and the slack for rounding */
    float xr;      /* |x| + |r| */
} lethe_token_error;

/* What the token's second digits add to a product of first ones, in its units. A fine first look
 * keeps the sum, which closer looks take apart again. */
static inline int32_t lethe_second_share(int32_t lo) {
    return (lo + (lo < 0 ? -LETHE_LO_DIGIT / 2 : LETHE_LO_DIGIT / 2)) / LETHE_LO_DIGIT;
}

/* That sum is at most half a unit, t s / 2, off; and 126 s is at most |w|. */
#define LETHE_SHARE_ERROR 0.005f

/* Scratch of one thread. */
typedef struct lethe_select_bench {
    uint8_t *hi;     /* [tile_n, ld] first digits of the tokens, 128 added; fine: [2 tile_n, ld],
                        the second ones behind them */
    uint8_t *lo;     /* the second ones: [tile_n, LETHE_STRIP] strip by strip, the last less wide */
    uint8_t *own_lo; /* [ld] those of one token */
    lethe_digits *digits;     /* [tile_n] */
    lethe_token_error *error; /* [tile_n] */
    float *whole;             /* [tile_n] at least the norm of the whole token */
    float *x_out;             /* [tile_n, LETHE_OUTLIERS] */
    float *rest;              /* [d] a token without its outliers */
    int8_t *w_hi;             /* [tile_m, ld] gathered rows */
    lethe_bound *bound;       /* [n_sel, tile_n] */
    int32_t *c, *hit;         /* products [tile_n, tile_m] (fine: [2 tile_n, tile_m], as hi) and
                                 hits [tile_m], where no sift does it */
    lethe_hits *hits;         /* [n_sel, tile_n] */
    lethe_hit *waiting;       /* their lists */
    lethe_reach reach;        /* bounds of one token's hits */
    lethe_todo todo;          /* of one selection */
    void *sift;               /* its scratch */
    float *lower;             /* room for the lower bounds of a token */
    uint64_t *key;            /* room for the keys of LETHE_FULL_TOKENS top-ks */
    lethe_select_stats stats;
} lethe_select_bench;

static inline size_t lethe_place_row(const lethe_select_job *job, size_t place) {
    return job->from->rows ? (size_t)job->from->rows[place] : place;
}

/* Threads worth waking for a job: one for a token of a small model while it generates. */
int lethe_select_threads(const lethe_select_job *job);

/* Fills the rest of a job whose x, n, d, m, from, sel, n_sel and pool are set. Fails: NOMEM. */
lethe_status lethe_select_job_open(lethe_select_job *job, int threads, lethe_err *err);

/* Scratch for a thread of so many; zeroed before. Fails: NOMEM. */
lethe_status lethe_select_bench_open(const lethe_select_job *job, size_t threads,
                                     lethe_select_bench *b, lethe_err *err);

/* The k-th largest of n lower bounds, a NaN counting as -infinity; -infinity when k > n. Reorders
 * them. */
float lethe_select_kth(float *lower, size_t n, size_t k);

/* An empty seat whose threshold begins with the guess. */
void lethe_seat_begin(lethe_seat *seat, float whole, float guess, size_t k, size_t cap);

/* Digits of nt tokens. */
void lethe_select_digits(const lethe_select_job *job, const uint32_t *token, size_t nt,
                         lethe_select_bench *b);

/* The first look alone, at nt tokens and the nm <= tile_m latents from place `at` on: what it lets
 * pass by the seats' thresholds is added to b->hits[s * nt + i], which must have room for nm more.
 * next: latents of the block after it, or 0. */
void lethe_select_screen(const lethe_select_job *job, size_t nt, size_t at, size_t nm, size_t next,
                         const lethe_seat *seat, size_t stride, lethe_select_bench *b);

/* Hears of token i of the tile and the bounds of a latent's number that reach its threshold. */
typedef void lethe_found(void *user, size_t i, lethe_candidate is);

/* A second look at token i of the tile and the latent of this place, c their first product, and a
 * third if that does not settle it: found() if its number may reach seat[i].threshold. */
void lethe_select_closer(const lethe_select_job *job, size_t s, size_t i, size_t place, int32_t c,
                         const lethe_seat *seat, lethe_select_bench *b, lethe_found *found,
                         void *user);

/* The same at all that b->todo.next and .keep say of nt tokens' hits and the nm <= close_m latents
 * from place `at` on: next[i] is moved to the first hit behind them. A token's latents come in
 * their order. */
void lethe_select_closer_block(const lethe_select_job *job, size_t s, size_t nt, size_t at,
                               size_t nm, const lethe_hits *hits, const lethe_seat *seat,
                               lethe_select_bench *b, lethe_found *found, void *user);

/* All looks at the tile's tokens and the latents from place `first` to `end`. seat[s * stride +
 * i]: of selection s and the tile's token i; its list has the candidates afterwards. */
void lethe_select_look(const lethe_select_job *job, size_t nt, size_t first, size_t end,
                       lethe_seat *seat, size_t stride, lethe_select_bench *b);

/* Makes room among the hits of token i and selection s: by what their first looks prove, and if
 * that is not enough by closer looks at all of them. seat: those of the selection. */
void lethe_select_relieve(const lethe_select_job *job, size_t s, size_t i, lethe_seat *seat,
                          lethe_hits *hits, lethe_select_bench *b);

/* The closer looks at the hits [nt] of selection s, latents from place `first` to `end`. */
void lethe_select_again(const lethe_select_job *job, size_t s, size_t nt, size_t first, size_t end,
                        lethe_seat *seat, lethe_hits *hits, lethe_select_bench *b);

#endif
