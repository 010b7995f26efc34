/* SPDX-License-Identifier: MIT
 *
 * A conversation as people read it.
 */
#include <stdio.h>

#include "base/utf8.h"
#include "stage/talk.h"

const char *lethe_talk_side_name(int side) {
    return side == LETHE_TALK_FORGETTING ? "forgetting" : "as it is";
}

void lethe_talk_remark(const lethe_talk_answer *a, char *out, size_t size) {
    char older[80] = "";
    if (a->unseen)
        snprintf(older, sizeof older, "%zu older turn%s no longer fit%s the context", a->unseen,
                 a->unseen == 1 ? "" : "s", a->unseen == 1 ? "s" : "");
    const char *end = a->end == LETHE_TALK_STOPPED  ? "stopped"
                      : a->end == LETHE_TALK_LENGTH ? "cut at the limit of length"
                                                    : "";
    const char *again = a->retried ? "repeated itself, written again" : "";
    snprintf(out, size, "%s%s%s%s%s", end, *end && *again ? "; " : "", again,
             (*end || *again) && *older ? "; " : "", older);
}

size_t lethe_talk_ready(const lethe_talk_answer *a) {
    const char *text = lethe_strbuf_str(&a->text.text);
    const size_t n = a->text.text.len;
    if (a->end != LETHE_TALK_RUNS) return n;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if (c < 0x80) break;
        if (c < 0xC0) continue; /* goes on with the character before it */
        size_t want = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        return back < want ? n - back : n;
    }
    return n;
}

void lethe_talk_clean(const char *text, size_t n, lethe_strbuf *out) {
    for (size_t i = 0; i < n;) {
        size_t start = i;
        uint32_t c = lethe_utf8_next(text, n, &i);
        bool control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
        if (control || c == 0xFFFD)
            lethe_strbuf_adds(out, "\xEF\xBF\xBD");
        else
            lethe_strbuf_add(out, text + start, i - start);
    }
}

static void add_text(const lethe_talk_text *t, lethe_strbuf *out) {
    lethe_talk_clean(lethe_strbuf_str(&t->text), t->text.len, out);
    lethe_strbuf_adds(out, "\n\n");
}

void lethe_talk_transcript(const lethe_talk *t, const char *heading, lethe_strbuf *out) {
    size_t n;
    const lethe_talk_turn *turn = lethe_talk_turns(t, &n);
    lethe_strbuf_addf(out, "# %s\n\n", heading);
    for (size_t i = 0; i < n; i++) {
        lethe_strbuf_adds(out, "**You:** ");
        add_text(&turn[i].prompt, out);
        for (int s = 0; s < LETHE_TALK_SIDES; s++) {
            const lethe_talk_answer *a = &turn[i].answer[s];
            if (!a->there) continue;
            char remark[200];
            lethe_talk_remark(a, remark, sizeof remark);
            lethe_strbuf_addf(out, "**Model, %s%s%s:** ", lethe_talk_side_name(s),
                              *remark ? "; " : "", remark);
            add_text(&a->text, out);
        }
    }
}
