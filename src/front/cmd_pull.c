/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "format/jsonio.h"
#include "front/hub_open.h"
#include "front/prepare.h"
#include "stage/pull.h"

static lethe_status print(json_t *o, bool ok, lethe_err *err) {
    if (ok && o) return lethe_print_json(o, err);
    json_decref(o);
    return lethe_fail(err, LETHE_NOMEM, "out of memory: the result");
}

static lethe_status short_names(bool as_json, lethe_err *err) {
    json_t *o = json_object(), *list = json_array();
    bool ok = true;
    for (size_t i = 0; i < lethe_short_names_count; i++) {
        const lethe_short_name *s = &lethe_short_names[i];
        if (!as_json)
            printf("%-20s %s%s%s\n%-20s %s\n", s->name, s->repo, s->what ? ":" : "",
                   s->what ? s->what : "", "", s->about);
        json_t *e = json_object();
        lethe_json_put(e, "name", json_string(s->name), &ok);
        lethe_json_put(e, "repo", json_string(s->repo), &ok);
        lethe_json_put(e, "what", s->what ? json_string(s->what) : json_null(), &ok);
        lethe_json_put(e, "about", json_string(s->about), &ok);
        lethe_json_append(list, e, &ok);
    }
    lethe_json_put(o, "names", list, &ok);
    if (as_json) return print(o, ok, err);
    json_decref(o);
    return LETHE_OK;
}

static void file_line(const lethe_hub_file *f) {
    char quant[16];
    lethe_pull_quant(f->path, quant, sizeof quant);
    if (f->size < 1000000)
        printf("%9.1f kB  %-8s %s\n", (double)f->size / 1e3, quant, f->path);
    else if (f->size < 1000000000)
        printf("%9.1f MB  %-8s %s\n", (double)f->size / 1e6, quant, f->path);
    else
        printf("%9.2f GB  %-8s %s\n", (double)f->size / 1e9, quant, f->path);
}

static lethe_status files(const lethe_invocation *in, const lethe_hub_use *u,
                          const lethe_hub_repo *repo, lethe_err *err) {
    lethe_hub_listing l;
    LETHE_TRY(u->hub ? lethe_hub_list(u->hub, repo, &l, err)
                     : lethe_hub_cached(u->places.cache, repo, &l, err));
    json_t *o = json_object(), *list = json_array();
    bool ok = true;
    for (size_t i = 0; i < l.n; i++) {
        const lethe_hub_file *f = &l.file[i];
        if (!in->config.json) {
            file_line(f);
            continue;
        }
        json_t *e = json_object();
        lethe_json_put(e, "path", lethe_json_text(f->path, strlen(f->path)), &ok);
        lethe_json_put(e, "size", json_integer((json_int_t)f->size), &ok);
        lethe_json_put(e, "oid", f->oid[0] ? json_string(f->oid) : json_null(), &ok);
        lethe_json_append(list, e, &ok);
    }
    lethe_json_put(o, "commit", json_string(l.commit), &ok);
    lethe_json_put(o, "files", list, &ok);
    lethe_hub_listing_free(&l);
    if (in->config.json) return print(o, ok, err);
    json_decref(o);
    return LETHE_OK;
}

static lethe_status show(const lethe_invocation *in, const lethe_hub_repo *repo,
                         const lethe_pulled *p, lethe_err *err) {
    lethe_log(in->env, LETHE_LOG_INFO, "%s at %.12s: %zu file%s, %.1f MB, of which %.1f fetched",
              repo->name, p->commit, p->files, p->files == 1 ? "" : "s", (double)p->bytes / 1e6,
              (double)p->fetched / 1e6);
    if (!in->config.json) {
        puts(p->path);
        return LETHE_OK;
    }
    json_t *o = json_object();
    bool ok = true;
    lethe_json_put(o, "repo", json_string(repo->name), &ok);
    lethe_json_put(o, "revision", json_string(repo->revision), &ok);
    lethe_json_put(o, "commit", json_string(p->commit), &ok);
    lethe_json_put(o, "path", lethe_json_text(p->path, strlen(p->path)), &ok);
    lethe_json_put(o, "files", json_integer((json_int_t)p->files), &ok);
    lethe_json_put(o, "bytes", json_integer((json_int_t)p->bytes), &ok);
    lethe_json_put(o, "fetched", json_integer((json_int_t)p->fetched), &ok);
    lethe_json_put(o, "offline", json_boolean(p->offline), &ok);
    return print(o, ok, err);
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_hub_use u = {0};
    lethe_hub_repo repo;
    lethe_pulled pulled = {0};
    char *what = NULL;
    if (!c->repo && c->list) return short_names(c->json, err);
    if (!c->repo)
        return lethe_fail(err, LETHE_USAGE,
                          "pull what? lethe pull OWNER/NAME[:FILE or :Q4_K_M], or a short name "
                          "(lethe pull --list)");
    LETHE_TRY(lethe_pull_parse(c->repo, c->revision, &repo, &what, err));
    lethe_status st = lethe_hub_use_open(&u, in, err);
    if (!st && c->list)
        st = files(in, &u, &repo, err);
    else if (!st) {
        st = lethe_pull(u.hub, u.places.cache, &repo, what, c->all, in->env, &pulled, err);
        if (!st) st = show(in, &repo, &pulled, err);
    }
    lethe_pulled_free(&pulled);
    lethe_hub_use_close(&u);
    lethe_free(what);
    return st;
}

const lethe_cmd lethe_cmd_pull = {
    .name = "pull",
    .brief = "fetch models, SAEs and texts from the Hugging Face Hub",
    .usage = "usage: lethe pull REPO[:FILE | :FOLDER | :QUANT] [--revision REV] [--all]\n"
             "       lethe pull [REPO] --list",
    .about =
        "Fetches files into the cache that Hugging Face's tools use, and prints the path of what\n"
        "was asked for. Of a repository with GGUF files Q4_K_M is taken if nothing else is said.\n"
        "Every checksum is verified; stopped at any moment, the same command goes on. Gated\n"
        "repositories want a token in HF_TOKEN or the token file; HF_HOME, HF_HUB_CACHE,\n"
        "HF_ENDPOINT and HF_HUB_OFFLINE are obeyed.",
    .examples = "  lethe pull --list\n"
                "  lethe pull llama-2-7b-chat\n"
                "  lethe pull bartowski/gemma-2-2b-it-GGUF:Q8_0\n"
                "  lethe pull google/gemma-scope-2b-pt-res:layer_20/width_16k/average_l0_71\n"
                "  lethe pull datasets/roneneldan/TinyStories:TinyStories-valid.txt\n"
                "  lethe forget --model $(lethe pull llama-2-7b-chat:Q4_0) --layer 15 ..",
    .takes = LETHE_FOR_PULL,
    .word = "repo",
    .run = run,
};
