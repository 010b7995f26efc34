/* SPDX-License-Identifier: MIT
 *
 * One request, for scripts: prints the reply as it came, chunks put together. Usage: ask URL PATH
 * BODY [HEADER].. ("": a GET)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw_http.h"

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    char extra[2000] = "", request[4000];
    for (int i = 4; i < argc; i++) {
        size_t n = strlen(extra);
        snprintf(extra + n, sizeof extra - n, "%s\r\n", argv[i]);
    }
    raw_reply r;
    if (*argv[3]) {
        size_t n;
        char *post = raw_post(argv[2], extra, argv[3], &n);
        raw_ask(argv[1], post, n, &r);
        free(post);
    } else {
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", argv[2],
                 extra);
        raw_ask(argv[1], request, strlen(request), &r);
    }
    if (r.text) fputs(r.text, stdout);
    int none = r.status == 0;
    raw_free(&r);
    return none;
}
