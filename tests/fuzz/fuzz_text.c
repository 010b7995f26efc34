/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: files of text, whatever wraps them. The first byte says under what name the rest is
 * read. What is handed out must be valid UTF-8 in pieces of the promised size, twice the same; what
 * is refused must have a message that begins with the file's name.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "stage/corpus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MOST (256u << 10) /* bytes of text looked at: a bomb need not be gone through */

static void must(int holds) {
    if (!holds) abort();
}

static const char *const name[] = {"x.txt", "x.jsonl", "x.json", "x.zip/*", "x.jsonl.gz", "x"};
#define N_NAMES (sizeof name / sizeof *name)

static char dir[] = "/tmp/lethe-fuzz-XXXXXX";
static char path[N_NAMES][64];
static int file = -1;

static void tidy(void) {
    for (size_t i = 0; i < N_NAMES; i++) {
        if (i == 3) path[i][strlen(path[i]) - 2] = '\0';
        unlink(path[i]);
    }
    rmdir(dir);
}

/* Every name is a link to one file in memory. */
static void prepare(void) {
    if (file >= 0) return;
    file = memfd_create("text", 0);
    must(file >= 0 && mkdtemp(dir) != NULL);
    char target[64], link[64];
    snprintf(target, sizeof target, "/proc/self/fd/%d", file);
    for (size_t i = 0; i < N_NAMES; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", dir, name[i]);
        snprintf(link, sizeof link, "%s", path[i]);
        if (i == 3) link[strlen(link) - 2] = '\0';
        must(!symlink(target, link));
    }
    atexit(tidy);
}

static void check_piece(const lethe_piece *p) {
    if (p->text) {
        must(lethe_utf8_valid_prefix(p->text, p->len) == p->len);
        must(!memchr(p->text, '\0', p->len));
        return;
    }
    must(p->n_messages > 0);
    for (size_t i = 0; i < p->n_messages; i++) must(p->message[i].role && p->message[i].content);
}

static void check_message(lethe_status st, const lethe_err *err) {
    must(st == LETHE_FORMAT || st == LETHE_NOMEM ||
         (st == LETHE_NOTFOUND && strstr(err->text, "zip")));
    must(st == LETHE_NOMEM || !strncmp(err->text, dir, strlen(dir)));
    for (const char *c = err->text; *c; c++) must((unsigned char)*c >= 0x20 && *c != 0x7f);
}

/* Documents and their fingerprint; *whole is false where it stopped at MOST. */
static lethe_status read_all(lethe_corpus *c, char hex[LETHE_HASH_HEX], int *whole,
                             lethe_err *err) {
    lethe_hasher *h;
    must(!lethe_hasher_open(&h, NULL));
    lethe_status st;
    lethe_piece p;
    bool got = true;
    size_t all = 0;
    while (!(st = lethe_corpus_next(c, &p, &got, err)) && got && all < MOST) {
        check_piece(&p);
        unsigned char mark = p.starts_document;
        lethe_hasher_put(h, &mark, 1);
        if (p.text) lethe_hasher_put(h, p.text, p.len);
        all += p.len + 1;
    }
    *whole = !got;
    lethe_hasher_hex(h, hex);
    lethe_hasher_close(&h);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    prepare();
    if (!n) return 0;
    must(!ftruncate(file, 0) && pwrite(file, data + 1, n - 1, 0) == (ssize_t)(n - 1));
    const char *at = path[data[0] % N_NAMES];
    lethe_corpus *c;
    lethe_err err = {0};
    lethe_status st = lethe_corpus_open(&c, &at, 1, data[0] & 64 ? "body,a.b,text" : NULL, &err);
    if (st) {
        check_message(st, &err);
        return 0;
    }
    char one[LETHE_HASH_HEX], two[LETHE_HASH_HEX], hash[LETHE_HASH_HEX];
    int whole, again;
    st = read_all(c, one, &whole, &err);
    if (st) {
        check_message(st, &err);
    } else {
        lethe_corpus_rewind(c);
        must(!read_all(c, two, &again, &err) && whole == again && !strcmp(one, two));
        if (whole) must(!lethe_corpus_hash(c, hash, &err) && strlen(hash) == LETHE_HASH_HEX - 1);
    }
    lethe_corpus_close(&c);
    return 0;
}
