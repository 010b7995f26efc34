/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"
#include "front/hub_open.h"
#include "front/prepare.h"
#include "stage/push.h"

static lethe_status show(const lethe_invocation *in, const lethe_hub_repo *repo,
                         const lethe_bundle *b, const char *at, const lethe_hub_pushed *p,
                         lethe_err *err) {
    json_t *o = json_object(), *list = json_array();
    bool ok = true, as_json = in->config.json;
    if (!as_json && !p) printf("to %s at %s, %.1f MB:\n\n", repo->name, at, (double)b->bytes / 1e6);
    for (size_t i = 0; i < b->n; i++) {
        const lethe_hub_upload *f = &b->file[i];
        json_t *e = json_object();
        if (!as_json && !p)
            printf("%12llu  %.16s..  %s\n", (unsigned long long)f->size, f->sha256, f->name);
        lethe_json_put(e, "name", json_string(f->name), &ok);
        lethe_json_put(e, "size", json_integer((json_int_t)f->size), &ok);
        lethe_json_put(e, "sha256", json_string(f->sha256), &ok);
        lethe_json_append(list, e, &ok);
    }
    lethe_json_put(o, "repo", json_string(repo->name), &ok);
    lethe_json_put(o, "endpoint", json_string(at), &ok);
    lethe_json_put(o, "files", list, &ok);
    lethe_json_put(o, "dry_run", json_boolean(!p), &ok);
    if (p) {
        lethe_json_put(o, "commit", p->commit[0] ? json_string(p->commit) : json_null(), &ok);
        lethe_json_put(o, "url", p->url[0] ? json_string(p->url) : json_null(), &ok);
        lethe_json_put(o, "sent", json_integer((json_int_t)p->sent), &ok);
        lethe_json_put(o, "there", json_integer((json_int_t)p->there), &ok);
        lethe_json_put(o, "ignored", json_integer((json_int_t)p->ignored), &ok);
    } else {
        lethe_json_put(o, "card", lethe_json_text(b->card, strlen(b->card)), &ok);
    }
    if (as_json && ok) return lethe_print_json(o, err);
    json_decref(o);
    if (!ok) return lethe_fail(err, LETHE_NOMEM, "out of memory: the result");
    if (!p)
        printf("\nREADME.md:\n\n%s", b->card);
    else if (p->url[0])
        puts(p->url);
    else
        printf("%s/%s%s\n", at, repo->dataset ? "datasets/" : "", repo->name);
    return LETHE_OK;
}

static lethe_status push(const lethe_invocation *in, const lethe_hub_repo *repo, lethe_hub_use *u,
                         lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_bundle b;
    lethe_hub_pushed pushed;
    LETHE_TRY(lethe_bundle_make(&b, c->out, repo->name, LETHE_VERSION, err));
    lethe_status st = LETHE_OK;
    if (!c->dry_run)
        st = lethe_hub_push(u->hub, repo, c->private, b.file, b.n,
                            c->message ? c->message : "Push a run of Lethe", &pushed, err);
    if (!st) st = show(in, repo, &b, u->places.endpoint, c->dry_run ? NULL : &pushed, err);
    lethe_bundle_free(&b);
    return st;
}

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    const lethe_config *c = &in->config;
    lethe_hub_use u = {0};
    lethe_hub_repo repo;
    char *what = NULL;
    if (!c->out || !c->repo)
        return lethe_fail(err, LETHE_USAGE,
                          "push what, and where to? lethe push RUN OWNER/NAME, as in: lethe push "
                          "runs/demo me/my-sae");
    if (!lethe_path_is_dir(c->out))
        return lethe_fail(err, LETHE_NOTFOUND, "%s: no run directory", c->out);
    LETHE_TRY(lethe_hub_parse(c->repo, c->revision, &repo, &what, err));
    lethe_status st = LETHE_OK;
    if (what)
        st = lethe_fail(err, LETHE_USAGE, "\"%s\": a run is pushed as it is, without \":%s\"",
                        c->repo, what);
    else
        st = lethe_hub_use_open(&u, in, err);
    if (!st && !u.hub && !c->dry_run)
        st = lethe_fail(err, LETHE_USAGE, "HF_HUB_OFFLINE is set: nothing can be pushed");
    if (!st) st = push(in, &repo, &u, err);
    lethe_hub_use_close(&u);
    lethe_free(what);
    return st;
}

const lethe_cmd lethe_cmd_push = {
    .name = "push",
    .brief = "publish a run's SAE, features and patch on the Hugging Face Hub",
    .usage = "usage: lethe push RUN OWNER/NAME [--private] [--dry-run]",
    .about =
        "Sends sae.safetensors, features.json and patch.safetensors of a run, the figures of its\n"
        "evaluation and a generated model card, in one commit; the repository is made if need be.\n"
        "Texts, questions, answers and paths of this machine stay here; --dry-run shows what "
        "would\n"
        "go. The token, of an account that may write there, comes from HF_TOKEN or the token file.",
    .examples =
        "  lethe push runs/demo me/lethe-demo-sae --dry-run\n"
        "  lethe push runs/llama me/llama-2-7b-chat-hp --private\n"
        "  lethe push runs/llama me/llama-2-7b-chat-hp --revision v2 --message \"Layer 15\"",
    .takes = LETHE_FOR_PUSH,
    .word = "out",
    .word2 = "repo",
    .run = run,
};
