/* SPDX-License-Identifier: MIT
 *
 * htmlcheck FILE [TABLE]: is the page well-formed? Every element but the void ones is closed in
 * order, attributes have quotes, ids are there once, text holds no bare "<", "&" begins a reference
 * that ends, and there are no control characters. With TABLE: prints the cells of the table of that
 * id, a line a row, tabs between; of a <data value="X"> the value. Exit status 1 and a message
 * where it is not so.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t size;
static char stack[256][32];
static size_t depth;
static char *ids[20000];
static size_t n_ids;

static void fail(size_t at, const char *what, const char *name) {
    size_t line = 1;
    for (size_t i = 0; i < at && i < size; i++) line += text[i] == '\n';
    fprintf(stderr, "htmlcheck: line %zu: %s %s\n", line, what, name);
    exit(1);
}

static bool is_void(const char *tag) {
    static const char *const list[] = {"meta", "input", "br", "link", "hr", "img"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!strcmp(list[i], tag)) return true;
    return false;
}

static void check_reference(size_t at) {
    size_t n = strspn(text + at + 1, "#abcdefghijklmnopqrstuvwxyz0123456789");
    if (!n || text[at + 1 + n] != ';') fail(at, "a bare &", "");
}

static void note_id(size_t at, const char *value, size_t n) {
    char *id = strndup(value, n);
    for (size_t i = 0; i < n_ids; i++)
        if (!strcmp(ids[i], id)) fail(at, "an id twice:", id);
    if (n_ids < sizeof ids / sizeof *ids) ids[n_ids++] = id;
}

/* Reads attributes from `at`; returns the place behind '>'. value, id: of the attributes so named.
 */
static size_t attributes(size_t at, char *value, char *id, size_t room, bool *self) {
    *self = false;
    *value = *id = '\0';
    for (;;) {
        at += strspn(text + at, " \n\t");
        if (text[at] == '>') return at + 1;
        if (text[at] == '/' && text[at + 1] == '>') {
            *self = true;
            return at + 2;
        }
        size_t n = strcspn(text + at, "= \n\t>/");
        if (!n || at + n >= size) fail(at, "a broken tag", "");
        char name[64] = "";
        snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), text + at);
        at += n;
        if (text[at] != '=') continue; /* an attribute without a value */
        if (text[at + 1] != '"') fail(at, "no quotes around the value of", name);
        if (!strncmp(name, "on", 2) || !strcmp(name, "style")) fail(at, "not allowed:", name);
        at += 2;
        size_t len = strcspn(text + at, "\"");
        for (size_t i = 0; i < len; i++) {
            if (text[at + i] == '<') fail(at + i, "a bare < in", name);
            if (text[at + i] == '&') check_reference(at + i);
        }
        if (!strcmp(name, "id")) note_id(at, text + at, len);
        if (!strcmp(name, "value")) snprintf(value, room, "%.*s", (int)len, text + at);
        if (!strcmp(name, "id")) snprintf(id, room, "%.*s", (int)len, text + at);
        at += len + 1;
    }
}

int main(int argc, char **argv) {
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    const char *want = argc > 2 ? argv[2] : "";
    if (!f) return 2;
    text = malloc(64u << 20);
    size = fread(text, 1, (64u << 20) - 1, f);
    text[size] = '\0';
    fclose(f);
    size_t at = 0, table = 0; /* depth of the wanted table */
    bool in_value = false, found = false;
    if (strncasecmp(text, "<!doctype html>", 15)) fail(0, "no doctype", "");
    at = 15;
    while (at < size) {
        unsigned char c = (unsigned char)text[at];
        if ((c < 32 && c != '\n' && c != '\t') || c == 127) fail(at, "a control character", "");
        if (c == '&') check_reference(at);
        if (c != '<') {
            if (table && !in_value && c != '\n') putchar(c);
            at++;
            continue;
        }
        bool close = text[at + 1] == '/';
        size_t start = at + 1 + close, n = 0;
        while (isalnum((unsigned char)text[start + n])) n++;
        if (!n || n > 30) fail(at, "a bare <", "");
        char tag[32], value[256], id[256];
        snprintf(tag, sizeof tag, "%.*s", (int)n, text + start);
        bool self;
        size_t next = attributes(start + n, value, id, sizeof value, &self);
        if (close) {
            if (!depth || strcmp(stack[depth - 1], tag)) fail(at, "closed out of order:", tag);
            depth--;
            if (table && depth < table) table = 0;
            if (table && !strcmp(tag, "tr")) putchar('\n');
            if (table && (!strcmp(tag, "td") || !strcmp(tag, "th"))) putchar('\t');
            if (!strcmp(tag, "td") || !strcmp(tag, "th")) in_value = false;
        } else if (!self && !is_void(tag)) {
            if (depth == 255) fail(at, "too deep:", tag);
            strcpy(stack[depth++], tag);
            if (!strcmp(tag, "table") && *want && !strcmp(id, want)) {
                table = depth;
                found = true;
            }
            if (table && !strcmp(tag, "data")) {
                fputs(value, stdout);
                in_value = true; /* what is shown is not printed */
            }
        }
        at = next;
        if (!close && (!strcmp(tag, "style") || !strcmp(tag, "script"))) { /* raw text */
            char end[40];
            snprintf(end, sizeof end, "</%s>", tag);
            char *stop = strstr(text + at, end);
            if (!stop) fail(at, "not closed:", tag);
            at = (size_t)(stop - text);
        }
    }
    if (depth) fail(size, "not closed:", stack[depth - 1]);
    if (*want && !found) fail(size, "no table", want);
    return 0;
}
