/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "front/tui/plain.h"
#include "front/tui/screen_chat.h"

static lethe_status run(lethe_invocation *in, lethe_err *err) {
    lethe_session s;
    bool plain = in->config.plain || in->config.json;
    lethe_session_init(&s, in);
    if (plain) return lethe_plain_run(&s, err);
    LETHE_TRY(lethe_screen_chat_run(&s, &plain, err));
    if (!plain) return LETHE_OK;
    if (!in->config.quiet)
        fprintf(stderr, "lethe: no terminal for a screen here: in lines, as with --plain\n");
    return lethe_plain_run(&s, err);
}

const lethe_cmd lethe_cmd_chat = {
    .name = "chat",
    .brief = "talk with the model, and switch forgetting on and off meanwhile",
    .usage = "usage: lethe chat [--patch FILE.. --model FILE] [--plain] [options]\n"
             "       lethe chat --out DIR   with the SAE and features of a run\n"
             "       lethe chat --sae FILE --features FILE --model FILE --layer N",
    .about = "Without arguments: the embedded demonstration, which knows Harry Potter until Ctrl+A "
             "makes\n"
             "it forget. Both states keep what they have computed, so flipping the switch costs "
             "only what\n"
             "the other has not read yet. F1 shows the keys, /help the commands. With --plain, or "
             "without\n"
             "a terminal, prompts are read a line each and answers printed; --json prints an "
             "object each.",
    .examples = "  lethe chat\n"
                "  lethe chat --side-by-side --temperature 0.7 --top-p 0.9\n"
                "  lethe chat --out runs/llama\n"
                "  lethe chat --model llama-2-7b-chat.Q4_0.gguf --patch potter.safetensors\n"
                "  echo \"Who is Harry Potter's best friend?\" | lethe chat --forgetting --json",
    .takes = LETHE_FOR_MODEL | LETHE_FOR_SAE | LETHE_FOR_REMOVAL | LETHE_FOR_USE | LETHE_FOR_CHAT,
    .run = run,
};
