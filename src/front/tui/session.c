/* SPDX-License-Identifier: MIT */
#include "front/tui/session.h"

#include <math.h>
#include <string.h>

#include "base/io.h"

#define ANSWER_TOKENS 512 /* where --max-new-tokens is not given */

static bool given(const lethe_session *s, const char *name) {
    return s->in->set[lethe_setting_find(name) - lethe_settings];
}

static lethe_status sampling(const lethe_session *s, lethe_sampling *out, lethe_err *err) {
    LETHE_TRY(lethe_pipeline_sampling(&s->in->config, out, err));
    if (!given(s, "max-new-tokens")) out->max_tokens = ANSWER_TOKENS;
    return LETHE_OK;
}

void lethe_session_init(lethe_session *s, lethe_invocation *in) {
    const lethe_config *c = &in->config;
    *s = (lethe_session){
        .in = in, .forgetting = c->forgetting, .both = c->side_by_side, .marks = !c->no_marks};
    snprintf(s->heading, sizeof s->heading, "lethe chat");
}

static void head(lethe_session *s) {
    const lethe_ablation *a = s->use.removal.ablation;
    size_t features = 0, removals = 0;
    char how[160];
    lethe_intervention_text(lethe_ablation_how(a), how, sizeof how);
    for (const lethe_ablation *b = a; b; b = lethe_ablation_next(b, NULL, NULL, NULL), removals++)
        features += lethe_ablation_size(b);
    const char *name = lethe_lm_get_info(s->use.pipeline.lm)->name;
    if (removals > 1)
        snprintf(s->heading, sizeof s->heading, "%s, %zu features of %zu patches", name, features,
                 removals);
    else
        snprintf(s->heading, sizeof s->heading, "%s, %zu features of layer %lld at %s", name,
                 features, (long long)s->in->config.layer, how);
}

lethe_status lethe_session_load(lethe_session *s, lethe_err *err) {
    lethe_talk_opts o = {.no_retry = s->in->config.no_retry, .system = s->in->config.system};
    LETHE_TRY(sampling(s, &o.sampling, err));
    LETHE_TRY(lethe_use_open(&s->use, s->in, LETHE_TALK_SIDES, err));
    lethe_status st =
        lethe_talk_open(&s->talk, s->use.pipeline.lm, s->use.removal.ablation, &o, err);
    if (st)
        lethe_use_close(&s->use);
    else
        head(s);
    return st;
}

void lethe_session_close(lethe_session *s) {
    lethe_talk_close(&s->talk);
    lethe_use_close(&s->use);
}

lethe_status lethe_session_ask(lethe_session *s, const char *prompt, lethe_err *err) {
    unsigned sides = 1u << (s->forgetting ? LETHE_TALK_FORGETTING : LETHE_TALK_WHOLE);
    if (s->both) sides = (1u << LETHE_TALK_SIDES) - 1;
    return lethe_talk_ask(s->talk, prompt + (prompt[0] == '/'), sides, err);
}

/* ---- commands ---------------------------------------------------------------------------------
 */

typedef lethe_status (*command_fn)(lethe_session *s, const char *rest, lethe_reply *r,
                                   lethe_err *err);

static lethe_status on_off(const char *name, const char *rest, bool *flag, lethe_err *err) {
    if (!*rest)
        *flag = !*flag;
    else if (!strcmp(rest, "on") || !strcmp(rest, "off"))
        *flag = rest[1] == 'n';
    else
        return lethe_fail(err, LETHE_USAGE, "/%s: got \"%s\", want on or off", name, rest);
    return LETHE_OK;
}

void lethe_session_flip(lethe_session *s, char *out, size_t size) {
    size_t n = 0;
    if (s->ready) lethe_talk_turns(s->talk, &n);
    snprintf(out, size, "forgetting is %s%s", s->forgetting ? "on" : "off",
             n ? ": what this state has not seen of the conversation is read again" : "");
}

static lethe_status do_forget(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    bool before = s->forgetting;
    LETHE_TRY(on_off("forget", rest, &s->forgetting, err));
    char text[160];
    lethe_session_flip(s, text, sizeof text);
    if (before == s->forgetting)
        lethe_strbuf_addf(&r->text, "forgetting is %s as it was", before ? "on" : "off");
    else
        lethe_strbuf_adds(&r->text, text);
    return LETHE_OK;
}

static lethe_status do_both(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    LETHE_TRY(on_off("both", rest, &s->both, err));
    lethe_strbuf_addf(&r->text, "every prompt is answered %s",
                      s->both ? "both ways" : "as the switch is");
    return LETHE_OK;
}

static lethe_status do_marks(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    LETHE_TRY(on_off("marks", rest, &s->marks, err));
    lethe_strbuf_addf(&r->text, "marks are %s", s->marks ? "on" : "off");
    return LETHE_OK;
}

static const char *const settable[] = {
    "temperature",     "top-p",          "top-k", "repeat-penalty", "frequency-penalty",
    "no-repeat-ngram", "max-new-tokens", "seed",  "strength",       "scale"};
#define N_SETTABLE (sizeof settable / sizeof *settable)

static lethe_status list_settings(const lethe_session *s, lethe_strbuf *out, lethe_err *err) {
    lethe_sampling o;
    LETHE_TRY(sampling(s, &o, err));
    lethe_strbuf_addf(
        out,
        "temperature %g, top-p %g, top-k %d, repeat-penalty %g, frequency-penalty %g, "
        "no-repeat-ngram %d, max-new-tokens %zu, seed %llu",
        o.temperature, o.top_p, o.top_k, o.repeat_penalty, o.frequency_penalty, o.no_repeat_ngram,
        o.max_tokens, (unsigned long long)o.seed);
    return LETHE_OK;
}

/* Of all removals, in sequences that forget: a scale works by method scale, whatever the removal's.
 */
static lethe_status set_strength(lethe_session *s, const char *name, const char *value,
                                 lethe_err *err) {
    bool scale = !strcmp(name, "scale");
    if (!scale && lethe_ablation_how(s->use.removal.ablation)->method == LETHE_METHOD_SCALE)
        return lethe_fail(err, LETHE_USAGE, "this removal has a scale, no strength");
    const lethe_setting *setting = lethe_setting_find(name);
    LETHE_TRY(lethe_config_set(&s->in->config, setting, value, true, err));
    return scale ? lethe_talk_scale(s->talk, s->in->config.scale, err)
                 : lethe_talk_strength(s->talk, s->in->config.strength, err);
}

static lethe_status set_sampling(lethe_session *s, const char *name, const char *value,
                                 lethe_err *err) {
    const lethe_setting *setting = lethe_setting_find(name);
    bool *given_now = &s->in->set[setting - lethe_settings], given_before = *given_now;
    LETHE_TRY(lethe_config_set(&s->in->config, setting, value, true, err));
    *given_now = true;
    lethe_sampling now;
    lethe_status st = sampling(s, &now, err);
    if (st)
        *given_now = given_before;
    else
        lethe_talk_sampling(s->talk, &now);
    return st;
}

static lethe_status do_set(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    char name[40] = "";
    size_t n = strcspn(rest, " "), at = 0;
    const char *value = rest + n + strspn(rest + n, " ");
    if (!*rest) return list_settings(s, &r->text, err);
    if (n < sizeof name) memcpy(name, rest, n);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '-';
    while (at < N_SETTABLE && strcmp(settable[at], name) != 0) at++;
    if (at == N_SETTABLE)
        return lethe_fail(err, LETHE_USAGE, "/set: \"%.*s\" is none of the settings (see: /set)",
                          (int)(n > 60 ? 60 : n), rest);
    if (!*value) return lethe_fail(err, LETHE_USAGE, "/set %s: a value is missing", name);
    const lethe_config before = s->in->config; /* what can be set are numbers: nothing owned */
    bool strength = !strcmp(name, "strength") || !strcmp(name, "scale");
    lethe_status st =
        strength ? set_strength(s, name, value, err) : set_sampling(s, name, value, err);
    if (st) {
        s->in->config = before;
        return st;
    }
    lethe_strbuf_addf(&r->text, "%s is %s", name, value);
    return LETHE_OK;
}

static lethe_status do_save(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    if (!*rest) return lethe_fail(err, LETHE_USAGE, "/save: the name of a file is missing");
    lethe_strbuf text = {0};
    char heading[420];
    snprintf(heading, sizeof heading, "Lethe: %s", s->heading);
    lethe_talk_transcript(s->talk, heading, &text);
    lethe_status st = text.status ? lethe_fail(err, text.status, "out of memory for the transcript")
                                  : lethe_write_file(rest, lethe_strbuf_str(&text), text.len, err);
    lethe_strbuf_free(&text);
    if (!st) lethe_strbuf_addf(&r->text, "saved: %s", rest);
    return st;
}

static lethe_status do_clear(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    (void)rest;
    (void)err;
    lethe_talk_clear(s->talk);
    lethe_strbuf_adds(&r->text, "a new conversation");
    return LETHE_OK;
}

static lethe_status do_help(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    (void)s;
    (void)rest;
    (void)err;
    r->help = true;
    return LETHE_OK;
}

static lethe_status do_quit(lethe_session *s, const char *rest, lethe_reply *r, lethe_err *err) {
    (void)s;
    (void)rest;
    (void)err;
    r->quit = true;
    return LETHE_OK;
}

static const struct {
    const char *name, *args, *help;
    bool needs_model;
    command_fn run;
} commands[] = {
    {"forget", "[on|off]", "switch forgetting", false, do_forget},
    {"both", "[on|off]", "answer every prompt both ways", false, do_both},
    {"marks", "[on|off]", "underline where a removed feature fired", false, do_marks},
    {"set", "[NAME VALUE]", "show or change temperature, seed, strength, ...", true, do_set},
    {"save", "FILE", "write the conversation to a file", true, do_save},
    {"clear", "", "begin a new conversation", true, do_clear},
    {"help", "", "this", false, do_help},
    {"quit", "", "leave", false, do_quit},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

bool lethe_session_is_command(const char *line) {
    return line[0] == '/' && line[1] != '/';
}

lethe_status lethe_session_command(lethe_session *s, const char *line, lethe_reply *reply,
                                   lethe_err *err) {
    const char *name = line + 1;
    size_t n = strcspn(name, " ");
    const char *rest = name + n + strspn(name + n, " ");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strlen(commands[i].name) != n || memcmp(commands[i].name, name, n) != 0) continue;
        if (commands[i].needs_model && !s->ready)
            return lethe_fail(err, LETHE_USAGE, "/%s: the model is still loading",
                              commands[i].name);
        LETHE_TRY(commands[i].run(s, rest, reply, err));
        return reply->text.status ? lethe_fail(err, reply->text.status, "out of memory") : LETHE_OK;
    }
    return lethe_fail(err, LETHE_USAGE,
                      "/%.*s is no command (see: /help; a prompt that begins so: //%.*s)",
                      (int)(n > 40 ? 40 : n), name, (int)(n > 40 ? 40 : n), name);
}

void lethe_session_help(lethe_strbuf *out) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char left[40];
        snprintf(left, sizeof left, "/%s %s", commands[i].name, commands[i].args);
        lethe_strbuf_addf(out, "%-20s %s\n", left, commands[i].help);
    }
}
