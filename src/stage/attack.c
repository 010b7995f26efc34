/* SPDX-License-Identifier: MIT */
#include "stage/attack.h"

#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "stage/attack_parts.h"

static const struct {
    const char *name;
    lethe_attack_fn make;
} mechanical[] = {
    {"padding", lethe_attack_padding}, {"role_play", lethe_attack_role_play},
    {"typos", lethe_attack_typos},     {"few_shot", lethe_attack_few_shot},
    {"turns", lethe_attack_turns},
};
#define MECHANICAL (sizeof mechanical / sizeof *mechanical)

const char *lethe_attack_name(size_t i) {
    return i < MECHANICAL ? mechanical[i].name : NULL;
}

bool lethe_list_names(const char *list, const char *name) {
    size_t n = strlen(name);
    if (!strcmp(list, "all")) return true;
    for (const char *p = list; *p;) {
        p += strspn(p, ", ");
        size_t len = strcspn(p, ", ");
        if (len && len == n && !strncmp(p, name, n)) return true;
        p += len;
    }
    return false;
}

/* ---- mechanical ------------------------------------------------------------------------------ */

static void made_clear(lethe_attack_made *m) {
    lethe_strbuf_clear(&m->prompt);
    for (size_t i = 0; i < LETHE_PROBE_TURNS; i++) lethe_strbuf_clear(&m->turn[i]);
    m->n_turns = 0;
}

static void made_free(lethe_attack_made *m) {
    lethe_strbuf_free(&m->prompt);
    for (size_t i = 0; i < LETHE_PROBE_TURNS; i++) lethe_strbuf_free(&m->turn[i]);
}

static lethe_status add_made(lethe_probes *out, const char *attack, const lethe_probe *like,
                             const lethe_attack_made *m, lethe_err *err) {
    char *turn[LETHE_PROBE_TURNS];
    lethe_status bad = m->prompt.status;
    for (size_t i = 0; i < m->n_turns; i++) {
        turn[i] = (char *)(uintptr_t)lethe_strbuf_str(&m->turn[i]);
        if (m->turn[i].status != LETHE_OK) bad = m->turn[i].status;
    }
    if (bad != LETHE_OK) return lethe_fail(err, bad, "out of memory: attacks");
    lethe_probe q = *like;
    LETHE_TRY(lethe_probes_domain(out, attack, &q.domain, err));
    q.prompt = (char *)(uintptr_t)lethe_strbuf_str(&m->prompt);
    if (m->n_turns) {
        q.turn = turn;
        q.n_turns = m->n_turns;
    }
    return lethe_probes_add(out, &q, err);
}

/* The first plain and the first chat probe of its fact. */
static bool stands_for_fact(const lethe_probes *p, size_t i) {
    const lethe_probe *q = &p->item[i];
    for (size_t j = 0; j < i; j++) {
        const lethe_probe *o = &p->item[j];
        if (o->domain == q->domain && o->chat == q->chat && !strcmp(o->fact, q->fact)) return false;
    }
    return true;
}

lethe_status lethe_attacks_make(const lethe_probes *probes, size_t domain, const char *list,
                                uint64_t seed, lethe_probes *out, lethe_err *err) {
    lethe_attack_made made = {0};
    lethe_status st = LETHE_OK;
    for (size_t a = 0; a < MECHANICAL; a++) {
        if (!lethe_list_names(list, mechanical[a].name)) continue;
        for (size_t i = 0; st == LETHE_OK && i < probes->n; i++) {
            const lethe_probe *q = &probes->item[i];
            if (q->domain != domain || !stands_for_fact(probes, i)) continue;
            lethe_rng rng = lethe_rng_make(seed, ((uint64_t)a << 32) + i);
            made_clear(&made);
            if (mechanical[a].make(q, probes, &rng, &made))
                st = add_made(out, mechanical[a].name, q, &made, err);
        }
    }
    made_free(&made);
    return st;
}

/* ---- from a file ----------------------------------------------------------------------------- */

static lethe_status read_item(const lethe_json_ref *item, const char *list, lethe_probes *out,
                              lethe_err *err) {
    lethe_json_ref attack = lethe_json_key(item, "attack");
    const char *name;
    LETHE_TRY(lethe_json_want_object(item, err));
    LETHE_TRY(lethe_json_want_string(&attack, &name, err));
    bool taken = !strcmp(name, LETHE_ATTACK_SAMPLING) || !*name || strpbrk(name, ", ");
    for (size_t a = 0; a < MECHANICAL; a++) taken = taken || !strcmp(name, mechanical[a].name);
    if (taken)
        return lethe_json_fail(&attack, err,
                               "a name of its own, without commas and blanks (padding, role_play, "
                               "typos, few_shot, turns and sampling are made from the probes)");
    if (!list || !lethe_list_names(list, name)) return LETHE_OK;
    size_t d;
    LETHE_TRY(lethe_probes_domain(out, name, &d, err));
    return lethe_probes_read(out, d, item, err);
}

static lethe_status read_domain(const lethe_json_ref *items, const char *list, lethe_probes *out,
                                lethe_err *err) {
    size_t n;
    LETHE_TRY(lethe_json_want_list(items, &n, err));
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref item = lethe_json_item(items, i);
        LETHE_TRY(read_item(&item, list, out, err));
    }
    return LETHE_OK;
}

lethe_status lethe_attacks_load(const char *path, const char *domain, const char *list,
                                lethe_probes *out, lethe_err *err) {
    json_t *j = NULL;
    LETHE_TRY(lethe_json_load(&j, path, err));
    lethe_json_ref top = lethe_json_top(j, path);
    lethe_status st = lethe_json_want_object(&top, err);
    lethe_json_ref items = lethe_json_key(&top, domain);
    if (st == LETHE_OK && items.value) st = read_domain(&items, list, out, err);
    json_decref(j);
    return st;
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* Names of the attacks in the file, of all its domains, into `known`. */
static lethe_status known_of_file(const char *path, lethe_probes *known, lethe_err *err) {
    json_t *j = NULL, *value;
    const char *domain;
    LETHE_TRY(lethe_json_load(&j, path, err));
    lethe_json_ref top = lethe_json_top(j, path);
    lethe_status st = lethe_json_want_object(&top, err);
    if (st == LETHE_OK) json_object_foreach(j, domain, value) {
            lethe_json_ref items = lethe_json_key(&top, domain);
            if (st == LETHE_OK) st = read_domain(&items, "all", known, err);
        }
    json_decref(j);
    return st;
}

static bool is_known(const lethe_probes *known, const char *name, size_t n) {
    for (size_t i = 0; i < known->n_domains; i++)
        if (strlen(known->domain[i]) == n && !strncmp(known->domain[i], name, n)) return true;
    return false;
}

static lethe_status check_names(const char *list, const lethe_probes *known, lethe_err *err) {
    for (const char *p = list; *p;) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        if (n && !is_known(known, p, n)) {
            lethe_strbuf all = {0};
            for (size_t i = 0; i < known->n_domains; i++)
                lethe_strbuf_addf(&all, "%s%s", i ? ", " : "", known->domain[i]);
            lethe_fail(err, LETHE_USAGE,
                       "--attacks: no attack \"%.*s\"; there are: %s; or all, or none", (int)n, p,
                       lethe_strbuf_str(&all));
            lethe_strbuf_free(&all);
            return LETHE_USAGE;
        }
        p += n;
    }
    return LETHE_OK;
}

lethe_status lethe_attacks_check(const char *list, const char *path, lethe_err *err) {
    lethe_probes known = {0};
    size_t d;
    lethe_status st = LETHE_OK;
    for (size_t a = 0; st == LETHE_OK && a < MECHANICAL; a++)
        st = lethe_probes_domain(&known, mechanical[a].name, &d, err);
    if (st == LETHE_OK) st = lethe_probes_domain(&known, LETHE_ATTACK_SAMPLING, &d, err);
    if (st == LETHE_OK && path) st = known_of_file(path, &known, err);
    if (st == LETHE_OK && strcmp(list, "all") && strcmp(list, "none"))
        st = check_names(list, &known, err);
    lethe_probes_free(&known);
    return st;
}

lethe_status lethe_attacks_fit(const lethe_lm *lm, lethe_probes *attacks, size_t *left_out,
                               lethe_err *err) {
    lethe_tokens t = {0};
    lethe_status st = LETHE_OK;
    size_t kept = 0, n = attacks->n;
    for (size_t i = 0; i < n; i++) {
        size_t prompt = 0;
        t.n = 0;
        if (st == LETHE_OK) st = lethe_probe_tokens(lm, &attacks->item[i], false, &t, &prompt, err);
        if (st == LETHE_OK && t.n > lethe_lm_ctx_len(lm))
            lethe_probe_free(&attacks->item[i]);
        else
            attacks->item[kept++] = attacks->item[i];
    }
    *left_out = n - kept;
    attacks->n = kept;
    lethe_tokens_free(&t);
    return st;
}
