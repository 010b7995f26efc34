/* SPDX-License-Identifier: MIT */
#include "stage/probes.h"

#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "format/jsonio.h"

static lethe_status copy(const char *s, char **out, lethe_err *err) {
    *out = lethe_strdup(s);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory: probes and prompts");
}

static lethe_status want_words(const lethe_json_ref *r, const char **out, lethe_err *err) {
    LETHE_TRY(lethe_json_want_string(r, out, err));
    return **out ? LETHE_OK : lethe_json_fail(r, err, "a string that is not empty");
}

/* "chat" may be left out: false. */
static lethe_status optional_chat(const lethe_json_ref *item, bool *out, lethe_err *err) {
    lethe_json_ref r = lethe_json_key(item, "chat");
    *out = false;
    return r.value ? lethe_json_want_bool(&r, out, err) : LETHE_OK;
}

/* ---- probe files ----------------------------------------------------------------------------- */

void lethe_probe_free(lethe_probe *q) {
    lethe_free(q->prompt);
    lethe_free(q->target);
    lethe_free(q->fact);
    for (size_t i = 0; i < q->n_turns; i++) lethe_free(q->turn[i]);
    lethe_free(q->turn);
}

void lethe_probes_free(lethe_probes *p) {
    for (size_t i = 0; i < p->n_domains; i++) lethe_free(p->domain[i]);
    for (size_t i = 0; i < p->n; i++) lethe_probe_free(&p->item[i]);
    lethe_free(p->domain);
    lethe_free(p->item);
    *p = (lethe_probes){0};
}

char *lethe_fact_of_target(const char *target) {
    while (*target == ' ' || *target == '\n') target++;
    size_t n = strlen(target);
    while (n && (target[n - 1] == ' ' || target[n - 1] == '\n')) n--;
    char *out = lethe_strdup(target);
    if (!out) return NULL;
    out[n] = '\0';
    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    return out;
}

lethe_status lethe_probes_domain(lethe_probes *p, const char *name, size_t *index, lethe_err *err) {
    for (size_t i = 0; i < p->n_domains; i++)
        if (!strcmp(p->domain[i], name)) {
            *index = i;
            return LETHE_OK;
        }
    LETHE_TRY(lethe_grow(&p->domain, &p->domain_cap, p->n_domains, p->n_domains + 1,
                         sizeof *p->domain, "domains of probes", err));
    LETHE_TRY(copy(name, &p->domain[p->n_domains], err));
    *index = p->n_domains++;
    return LETHE_OK;
}

lethe_status lethe_probes_add(lethe_probes *p, const lethe_probe *from, lethe_err *err) {
    LETHE_TRY(lethe_grow(&p->item, &p->cap, p->n, p->n + 1, sizeof *p->item, "probes", err));
    lethe_probe *q = &p->item[p->n++];
    *q = (lethe_probe){.domain = from->domain, .chat = from->chat};
    LETHE_TRY(copy(from->prompt, &q->prompt, err));
    LETHE_TRY(copy(from->target, &q->target, err));
    q->fact = from->fact ? lethe_strdup(from->fact) : lethe_fact_of_target(from->target);
    if (!q->fact) return lethe_fail(err, LETHE_NOMEM, "out of memory: probes and prompts");
    if (!from->n_turns) return LETHE_OK;
    LETHE_TRY(lethe_zalloc(&q->turn, from->n_turns, sizeof *q->turn, "turns of a probe", err));
    for (; q->n_turns < from->n_turns; q->n_turns++)
        LETHE_TRY(copy(from->turn[q->n_turns], &q->turn[q->n_turns], err));
    return LETHE_OK;
}

/* "turns" may be left out. The strings stay the JSON value's; *turn is freed by the caller. */
static lethe_status optional_turns(const lethe_json_ref *item, lethe_probe *q, lethe_err *err) {
    lethe_json_ref list = lethe_json_key(item, "turns");
    if (!list.value) return LETHE_OK;
    size_t n;
    LETHE_TRY(lethe_json_want_list(&list, &n, err));
    if (n % 2 || n > LETHE_PROBE_TURNS || !q->chat)
        return lethe_json_fail(&list, err,
                               "an even number of at most %u turns (the user's, the assistant's, "
                               "...) of a probe with \"chat\": true",
                               LETHE_PROBE_TURNS);
    LETHE_TRY(lethe_zalloc(&q->turn, n, sizeof *q->turn, "turns of a probe", err));
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref one = lethe_json_item(&list, i);
        const char *text;
        LETHE_TRY(want_words(&one, &text, err));
        q->turn[i] = (char *)(uintptr_t)text;
    }
    q->n_turns = n;
    return LETHE_OK;
}

lethe_status lethe_probes_read(lethe_probes *p, size_t domain, const struct lethe_json_ref *item,
                               lethe_err *err) {
    LETHE_TRY(lethe_json_want_object(item, err));
    lethe_probe q = {.domain = domain};
    lethe_json_ref prompt = lethe_json_key(item, "prompt"), target = lethe_json_key(item, "target"),
                   fact = lethe_json_key(item, "fact");
    const char *from, *to, *name = NULL;
    LETHE_TRY(optional_chat(item, &q.chat, err));
    LETHE_TRY(want_words(&prompt, &from, err));
    LETHE_TRY(want_words(&target, &to, err));
    if (fact.value) LETHE_TRY(want_words(&fact, &name, err));
    q.prompt = (char *)(uintptr_t)from;
    q.target = (char *)(uintptr_t)to;
    q.fact = (char *)(uintptr_t)name;
    lethe_status st = optional_turns(item, &q, err);
    if (st == LETHE_OK) st = lethe_probes_add(p, &q, err);
    lethe_free(q.turn);
    return st;
}

/* [{"prompt", "target", "chat"}, ...] */
static lethe_status read_items(lethe_probes *p, size_t domain, const lethe_json_ref *list,
                               lethe_err *err) {
    size_t n;
    LETHE_TRY(lethe_json_want_list(list, &n, err));
    if (!n) return lethe_json_fail(list, err, "at least one probe");
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref item = lethe_json_item(list, i);
        LETHE_TRY(lethe_probes_read(p, domain, &item, err));
    }
    return LETHE_OK;
}

/* {"prompts": [...], "targets": [...]} */
static lethe_status read_pair_of_lists(lethe_probes *p, size_t domain, const lethe_json_ref *o,
                                       lethe_err *err) {
    lethe_json_ref prompts = lethe_json_key(o, "prompts"), targets = lethe_json_key(o, "targets");
    size_t n, n_targets;
    bool chat;
    LETHE_TRY(lethe_json_want_list(&prompts, &n, err));
    LETHE_TRY(lethe_json_want_list(&targets, &n_targets, err));
    LETHE_TRY(optional_chat(o, &chat, err));
    if (!n) return lethe_json_fail(&prompts, err, "at least one prompt");
    if (n != n_targets)
        return lethe_json_fail(&targets, err, "a list of %zu, one target a prompt", n);
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref prompt = lethe_json_item(&prompts, i), target = lethe_json_item(&targets, i);
        const char *from, *to;
        LETHE_TRY(want_words(&prompt, &from, err));
        LETHE_TRY(want_words(&target, &to, err));
        lethe_probe q = {domain, (char *)(uintptr_t)from, (char *)(uintptr_t)to, .chat = chat};
        LETHE_TRY(lethe_probes_add(p, &q, err));
    }
    return LETHE_OK;
}

static lethe_status read_domains(lethe_probes *p, const lethe_json_ref *top, lethe_err *err) {
    LETHE_TRY(lethe_json_want_object(top, err));
    if (!json_object_size(top->value)) return lethe_json_fail(top, err, "at least one domain");
    const char *name;
    json_t *value;
    json_object_foreach(top->value, name, value) {
        if (!*name) return lethe_json_fail(top, err, "domains with a name that is not empty");
        lethe_json_ref r = lethe_json_key(top, name);
        size_t d;
        LETHE_TRY(lethe_probes_domain(p, name, &d, err));
        if (json_is_object(value))
            LETHE_TRY(read_pair_of_lists(p, d, &r, err));
        else
            LETHE_TRY(read_items(p, d, &r, err));
    }
    return LETHE_OK;
}

lethe_status lethe_probes_load(lethe_probes *out, const char *path, lethe_err *err) {
    json_t *j = NULL;
    LETHE_TRY(lethe_json_load(&j, path, err));
    lethe_json_ref top = lethe_json_top(j, path);
    lethe_probes p = {0};
    lethe_status st = read_domains(&p, &top, err);
    json_decref(j);
    if (st == LETHE_OK)
        *out = p;
    else
        lethe_probes_free(&p);
    return st;
}

/* ---- prompt sets ----------------------------------------------------------------------------- */

void lethe_prompts_free(lethe_prompts *p) {
    for (size_t i = 0; i < p->n; i++) {
        lethe_free(p->item[i].prompt);
        lethe_free(p->item[i].domain);
    }
    lethe_free(p->item);
    *p = (lethe_prompts){0};
}

/* prompt: moved, freed on failure too; NULL: there was no memory for it. */
static lethe_status add_prompt(lethe_prompts *p, char *prompt, const char *domain, bool chat,
                               lethe_err *err) {
    char *d = NULL;
    lethe_status st =
        prompt ? copy(domain, &d, err) : lethe_fail(err, LETHE_NOMEM, "out of memory: prompts");
    if (st == LETHE_OK)
        st = lethe_grow(&p->item, &p->cap, p->n, p->n + 1, sizeof *p->item, "prompts", err);
    if (st != LETHE_OK) {
        lethe_free(d);
        lethe_free(prompt);
        return st;
    }
    p->item[p->n++] = (lethe_prompt){.prompt = prompt, .domain = d, .chat = chat};
    return LETHE_OK;
}

static lethe_status read_prompt_list(lethe_prompts *p, const lethe_json_ref *top, lethe_err *err) {
    size_t n;
    LETHE_TRY(lethe_json_want_list(top, &n, err));
    for (size_t i = 0; i < n; i++) {
        lethe_json_ref item = lethe_json_item(top, i), prompt = item;
        const char *text, *domain = "";
        bool chat = false;
        if (json_is_object(item.value)) {
            prompt = lethe_json_key(&item, "prompt");
            lethe_json_ref d = lethe_json_key(&item, "domain");
            if (d.value) LETHE_TRY(lethe_json_want_string(&d, &domain, err));
            LETHE_TRY(optional_chat(&item, &chat, err));
        } else if (!json_is_string(item.value)) {
            return lethe_json_fail(&item, err, "a string or {\"prompt\": \"...\"}");
        }
        LETHE_TRY(want_words(&prompt, &text, err));
        LETHE_TRY(add_prompt(p, lethe_strdup(text), domain, chat, err));
    }
    return LETHE_OK;
}

static lethe_status load_json(lethe_prompts *p, const char *path, lethe_err *err) {
    json_t *j = NULL;
    LETHE_TRY(lethe_json_load(&j, path, err));
    lethe_json_ref top = lethe_json_top(j, path);
    lethe_status st = read_prompt_list(p, &top, err);
    json_decref(j);
    return st;
}

static lethe_status read_lines(lethe_prompts *p, const char *s, size_t n, const char *path,
                               lethe_err *err) {
    size_t good = lethe_utf8_valid_prefix(s, n);
    if (good < n || (n && memchr(s, 0, n)))
        return lethe_fail(err, LETHE_FORMAT, "%s: byte %zu: not UTF-8 text, want one prompt a line",
                          path, good < n ? good : (size_t)((const char *)memchr(s, 0, n) - s));
    for (size_t i = 0; i < n;) {
        const char *end = memchr(s + i, '\n', n - i);
        size_t stop = end ? (size_t)(end - s) : n, len = stop - i;
        if (len && s[stop - 1] == '\r') len--;
        if (len) {
            char *line = NULL;
            LETHE_TRY(lethe_alloc(&line, len + 1, 1, "prompts", err));
            memcpy(line, s + i, len);
            line[len] = '\0';
            LETHE_TRY(add_prompt(p, line, "", false, err));
        }
        i = stop + 1;
    }
    return LETHE_OK;
}

static lethe_status load_lines(lethe_prompts *p, const char *path, lethe_err *err) {
    lethe_map map;
    LETHE_TRY(lethe_map_open(&map, path, err));
    lethe_status st = read_lines(p, map.size ? (const char *)map.data : "", map.size, path, err);
    lethe_map_close(&map);
    return st;
}

lethe_status lethe_prompts_load(lethe_prompts *out, const char *path, lethe_err *err) {
    size_t n = strlen(path);
    bool json = n >= 5 && !strcmp(path + n - 5, ".json");
    lethe_prompts p = {0};
    lethe_status st = json ? load_json(&p, path, err) : load_lines(&p, path, err);
    if (st == LETHE_OK && !p.n)
        st = lethe_fail(err, LETHE_FORMAT, "%s: no prompts in it, want at least one", path);
    if (st == LETHE_OK)
        *out = p;
    else
        lethe_prompts_free(&p);
    return st;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Text with BOS by the model's rule. Some models also want EOS behind a text; a prompt goes on. */
static lethe_status text_tokens(const lethe_lm *lm, const char *text, lethe_tokens *out,
                                lethe_err *err) {
    size_t before = out->n;
    LETHE_TRY(lethe_lm_tokenize(lm, text, strlen(text), true, false, out, err));
    int32_t eos = lethe_lm_get_info(lm)->eos;
    if (out->n > before + 1 && eos >= 0 && out->id[out->n - 1] == eos) out->n--;
    return LETHE_OK;
}

lethe_status lethe_prompt_tokens(const lethe_lm *lm, const char *prompt, bool chat,
                                 lethe_tokens *out, lethe_err *err) {
    lethe_probe p = {.prompt = (char *)(uintptr_t)prompt, .chat = chat};
    return lethe_probe_prompt_tokens(lm, &p, out, err);
}

/* Messages of a chat probe, its turns and its prompt; returns how many. */
static size_t messages_of(const lethe_probe *p, lethe_chat_message m[LETHE_PROBE_TURNS + 1]) {
    static const char *const roles[] = {"user", "assistant"};
    size_t n = 0;
    for (; n < p->n_turns && n < LETHE_PROBE_TURNS; n++)
        m[n] = (lethe_chat_message){roles[n % 2], p->turn[n]};
    m[n] = (lethe_chat_message){"user", p->prompt};
    return n + 1;
}

lethe_status lethe_probe_prompt_tokens(const lethe_lm *lm, const lethe_probe *probe,
                                       lethe_tokens *out, lethe_err *err) {
    if (!probe->chat) return text_tokens(lm, probe->prompt, out, err);
    lethe_chat_message m[LETHE_PROBE_TURNS + 1];
    return lethe_lm_chat_tokens(lm, m, messages_of(probe, m), true, out, err);
}

static size_t common_prefix(const lethe_tokens *a, const lethe_tokens *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->id[n] == b->id[n]) n++;
    return n;
}

/* Outside text may spell a control token; it must not become one. */
static bool any_special(const lethe_lm *lm, const lethe_tokens *t, size_t from) {
    for (size_t i = from; i < t->n; i++)
        if (lethe_lm_is_special(lm, t->id[i])) return true;
    return false;
}

static lethe_status append(lethe_tokens *out, const lethe_tokens *from, lethe_err *err) {
    for (size_t i = 0; i < from->n; i++) LETHE_TRY(lethe_tokens_push(out, from->id[i], err));
    return LETHE_OK;
}

/* joint = the prompt as the model sees it, followed by the target, in one piece. A chat prompt's
 * template is parsed for control tokens; BOS is put before it where `alone` has one and the
 * template did not write it. */
static lethe_status joint_tokens(const lethe_lm *lm, const lethe_probe *probe,
                                 const lethe_tokens *alone, lethe_tokens *joint, lethe_err *err) {
    lethe_strbuf text = {0};
    lethe_status st = LETHE_OK;
    if (probe->chat) {
        lethe_chat_message m[LETHE_PROBE_TURNS + 1];
        st = lethe_lm_chat(lm, m, messages_of(probe, m), true, &text, err);
    } else {
        lethe_strbuf_adds(&text, probe->prompt);
    }
    lethe_strbuf_adds(&text, probe->target);
    if (st == LETHE_OK && text.status != LETHE_OK)
        st = lethe_fail(err, text.status, "out of memory: the text of a probe");
    if (st == LETHE_OK && !probe->chat) {
        st = text_tokens(lm, lethe_strbuf_str(&text), joint, err);
    } else if (st == LETHE_OK) {
        st = lethe_lm_tokenize(lm, text.data, text.len, false, true, joint, err);
        int32_t bos = lethe_lm_get_info(lm)->bos;
        bool wants_bos = alone->n && alone->id[0] == bos && (!joint->n || joint->id[0] != bos);
        if (st == LETHE_OK && wants_bos) {
            joint->n = 0;
            st = lethe_tokens_push(joint, bos, err);
            if (st == LETHE_OK)
                st = lethe_lm_tokenize(lm, text.data, text.len, false, true, joint, err);
        }
    }
    lethe_strbuf_free(&text);
    return st;
}

/* The prompt's tokens, then the target's own. */
static lethe_status tokens_apart(const lethe_lm *lm, const lethe_probe *probe,
                                 const lethe_tokens *alone, lethe_tokens *out, size_t *prompt_len,
                                 lethe_err *err) {
    LETHE_TRY(append(out, alone, err));
    *prompt_len = out->n;
    LETHE_TRY(lethe_lm_tokenize(lm, probe->target, strlen(probe->target), false, false, out, err));
    if (out->n == *prompt_len || !*prompt_len)
        return lethe_fail(err, LETHE_FORMAT,
                          "probe \"%s\" -> \"%s\": the %s has no tokens in this model",
                          probe->prompt, probe->target, *prompt_len ? "target" : "prompt");
    return LETHE_OK;
}

lethe_status lethe_probe_tokens(const lethe_lm *lm, const lethe_probe *probe, bool reference,
                                lethe_tokens *out, size_t *prompt_len, lethe_err *err) {
    lethe_tokens alone = {0}, joint = {0};
    out->n = 0;
    lethe_status st =
        reference && !probe->chat
            ? lethe_lm_tokenize(lm, probe->prompt, strlen(probe->prompt), false, false, &alone, err)
            : lethe_probe_prompt_tokens(lm, probe, &alone, err);
    if (st == LETHE_OK && !reference) st = joint_tokens(lm, probe, &alone, &joint, err);
    size_t same = common_prefix(&alone, &joint);
    if (st == LETHE_OK && same && same < joint.n && !any_special(lm, &joint, same)) {
        *prompt_len = same;
        st = append(out, &joint, err);
    } else if (st == LETHE_OK) { /* the reference's way, or no joint tokens to go by */
        st = tokens_apart(lm, probe, &alone, out, prompt_len, err);
    }
    lethe_tokens_free(&alone);
    lethe_tokens_free(&joint);
    return st;
}
