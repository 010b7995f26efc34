/* SPDX-License-Identifier: MIT */
#include "stage/judge_cache.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"

lethe_status lethe_judge_cache_key(const char *model, const char *rubric, const char *prompt,
                                   const char *completion, char out[LETHE_HASH_HEX],
                                   lethe_err *err) {
    const char *const parts[] = {model, rubric, prompt, completion};
    lethe_hasher *h;
    LETHE_TRY(lethe_hasher_open(&h, err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        lethe_hasher_put(h, parts[i], strlen(parts[i]) + 1);
    lethe_hasher_hex(h, out);
    lethe_hasher_close(&h);
    return LETHE_OK;
}

static lethe_status path_of(const char *dir, const char *key, char **out, lethe_err *err) {
    char name[LETHE_HASH_HEX + 8];
    snprintf(name, sizeof name, "%s.json", key);
    *out = lethe_path_join(dir, name);
    return *out ? LETHE_OK : lethe_fail(err, LETHE_NOMEM, "out of memory for a path");
}

lethe_status lethe_judge_cache_get(const char *dir, const char *key, lethe_judge_class *is,
                                   char **reason, lethe_err *err) {
    char *path;
    json_t *o = NULL;
    *is = LETHE_JUDGE_OPEN;
    *reason = NULL;
    LETHE_TRY(path_of(dir, key, &path, err));
    lethe_status st = lethe_path_exists(path) ? lethe_json_load(&o, path, err) : LETHE_OK;
    lethe_free(path);
    if (st == LETHE_NOMEM) return st;
    const char *name = json_string_value(json_object_get(o, "class"));
    const char *why = json_string_value(json_object_get(o, "reason"));
    lethe_judge_class c = name && why ? lethe_judge_class_of(name) : LETHE_JUDGE_OPEN;
    st = LETHE_OK;
    if (c >= 0) {
        *reason = lethe_strdup(why);
        if (*reason)
            *is = c;
        else
            st = lethe_fail(err, LETHE_NOMEM, "out of memory: an answer");
    }
    json_decref(o);
    return st;
}

lethe_status lethe_judge_cache_put(const char *dir, const char *key, lethe_judge_class is,
                                   const char *reason, const char *model, lethe_err *err) {
    bool ok = true;
    char *path;
    LETHE_TRY(path_of(dir, key, &path, err));
    json_t *o = json_object();
    lethe_json_put(o, "class", json_string(lethe_judge_class_name(is)), &ok);
    lethe_json_put(o, "reason", lethe_json_text(reason, strlen(reason)), &ok);
    lethe_json_put(o, "model", lethe_json_text(model, strlen(model)), &ok);
    lethe_status st = ok ? lethe_json_save(o, path, err)
                         : lethe_fail(err, LETHE_NOMEM, "out of memory: an answer as JSON");
    json_decref(o);
    lethe_free(path);
    return st;
}
