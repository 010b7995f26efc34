/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "format/jsonio.h"
#include "front/prepare.h"
#include "stage/encode.h"

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_config *c = &in->config;
    if (!c->sae || !c->activations || !c->out)
        return lethe_fail(err, LETHE_USAGE,
                          "encode needs --sae FILE, --activations FILE and --out FILE");
    if (c->k < 0)
        return lethe_fail(err, LETHE_USAGE, "--k: got %lld, want at least 1", (long long)c->k);
    lethe_sae sae = {0};
    lethe_source *source = NULL;
    lethe_encode_result r;
    LETHE_TRY(lethe_sae_load(&sae, NULL, c->sae, (size_t)c->k, err));
    lethe_status st = lethe_source_from_files(&source, c->activations, false, 0, err);
    if (!st) st = lethe_encode_rows(&sae, source, c->out, c->dense, in->env, &r, err);
    if (!st && c->json)
        st = lethe_print_json(json_pack("{s:I, s:o, s:o, s:s}", "rows", (json_int_t)r.rows, "fvu",
                                        lethe_json_real(r.fvu), "l0", lethe_json_real(r.l0), "out",
                                        c->out),
                              err);
    else if (!st)
        printf("%llu rows encoded: FVU %.4f, L0 %.1f\n%s\n", (unsigned long long)r.rows, r.fvu,
               r.l0, c->out);
    lethe_source_close(&source);
    lethe_sae_free(&sae);
    return st;
}

const lethe_cmd lethe_cmd_encode = {
    .name = "encode",
    .brief = "apply an SAE to recorded activations",
    .usage =
        "usage: lethe encode --sae SAE --activations FILE --out z.safetensors [--k K] [--dense]",
    .about = "Writes indices [N, k] and values [N, k] of the active latents (or z [N, m] with "
             "--dense) and\n"
             "the reconstruction x_hat [N, d].",
    .examples = "  lethe encode --sae runs/demo/sae.safetensors --activations acts.safetensors \\\n"
                "      --out z.safetensors",
    .takes = LETHE_FOR_ENCODE | LETHE_FOR_SAE,
    .run = run,
};
