/* SPDX-License-Identifier: MIT
 *
 * jsonget FILE key.key.0.key: prints one value of a JSON file, for the shell tests. "-" reads
 * standard input; "#" behind a path prints the number of its items. Exit status 1 when it is not
 * there.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    json_error_t e;
    json_t *top = strcmp(argv[1], "-") ? json_load_file(argv[1], 0, &e) : json_loadf(stdin, 0, &e);
    if (!top) {
        fprintf(stderr, "jsonget: %s: %s\n", argv[1], e.text);
        return 1;
    }
    json_t *at = top;
    for (char *key = strtok(argv[2], "."); key && at; key = strtok(NULL, ".")) {
        if (!strcmp(key, "#")) {
            printf("%zu\n", json_is_array(at) ? json_array_size(at) : json_object_size(at));
            json_decref(top);
            return 0;
        }
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
                               : json_object_get(at, key);
    }
    int found = at != NULL;
    if (found) {
        if (json_is_string(at))
            puts(json_string_value(at));
        else {
            json_dumpf(at, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
            putchar('\n');
        }
    }
    json_decref(top);
    return !found;
}
