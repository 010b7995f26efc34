/* SPDX-License-Identifier: MIT
 *
 * The files of a corpus: what the paths that were given stand for. corpus.c reads them.
 */
#ifndef LETHE_STAGE_CORPUS_PARTS_H
#define LETHE_STAGE_CORPUS_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "format/text_stream.h"

typedef enum lethe_corpus_kind {
    LETHE_CORPUS_TEXT,
    LETHE_CORPUS_LINES, /* JSON lines */
    LETHE_CORPUS_JSON,  /* named .json: JSON lines by what is in it, or refused */
    LETHE_CORPUS_ASK    /* without a name: text or JSON lines, by what is in it */
} lethe_corpus_kind;

typedef struct lethe_corpus_file {
    char *path; /* of the file or the archive; "-": standard input */
    char *name; /* for messages, printable */
    bool in_zip;
    size_t member; /* in_zip: its number */
    lethe_corpus_kind kind;
} lethe_corpus_file;

typedef struct lethe_corpus_files { /* owned; zeroed: empty */
    lethe_corpus_file *item;
    size_t n, cap;
} lethe_corpus_files;

/* Appends what one path stands for (corpus.h), in order. Fails: NOTFOUND, FORMAT, IO, NOMEM. */
lethe_status lethe_corpus_files_add(lethe_corpus_files *f, const char *path, lethe_err *err);
void lethe_corpus_files_free(lethe_corpus_files *f);

/* Opens files one after the other, each archive once. Zeroed: nothing is open. */
typedef struct lethe_corpus_opener {
    lethe_zip *zip;
} lethe_corpus_opener;

/* *kind: TEXT or LINES. Close the stream before the next file is opened. */
lethe_status lethe_corpus_open_file(lethe_corpus_opener *o, const lethe_corpus_file *f,
                                    lethe_text_stream **out, lethe_corpus_kind *kind,
                                    lethe_err *err);
void lethe_corpus_opener_close(lethe_corpus_opener *o);

#endif
