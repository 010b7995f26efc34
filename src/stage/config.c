/* SPDX-License-Identifier: MIT */
#include "stage/config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "format/jsonio.h"

#define ALL LETHE_FOR_ALL
#define MODEL LETHE_FOR_MODEL
#define TEXT LETHE_FOR_TEXT
#define HARVEST LETHE_FOR_HARVEST
#define TRAIN LETHE_FOR_TRAIN
#define FEATURES LETHE_FOR_FEATURES
#define EVAL LETHE_FOR_EVAL
#define ENCODE LETHE_FOR_ENCODE
#define RUN LETHE_FOR_RUN
#define SAE LETHE_FOR_SAE
#define BENCH LETHE_FOR_BENCH
#define PATCH LETHE_FOR_PATCH
#define REMOVAL LETHE_FOR_REMOVAL
#define REPORT LETHE_FOR_REPORT
#define INSPECT LETHE_FOR_INSPECT
#define JUDGE LETHE_FOR_JUDGE
#define TUNE LETHE_FOR_TUNE
#define USE LETHE_FOR_USE
#define CHAT LETHE_FOR_CHAT
#define SERVE LETHE_FOR_SERVE
#define PULL LETHE_FOR_PULL
#define PUSH LETHE_FOR_PUSH
#define CONVERT LETHE_FOR_CONVERT
#define KEEP true
#define ONCE false
#define AT(field) offsetof(lethe_config, field)

const lethe_setting lethe_settings[] = {
    /* Model */
    {"model", "m", LETHE_KIND_PATH, AT(model), MODEL | BENCH, KEEP, NULL, "FILE",
     "GGUF file of the language model; in a run not given: the embedded demonstration model"},
    {"layer", "L", LETHE_KIND_INT, AT(layer), MODEL | BENCH | CONVERT, KEEP, "-1", "N",
     "layer whose residual stream is used, from 0; -1: the middle one"},
    {"hook", NULL, LETHE_KIND_STR, AT(hook), MODEL | CONVERT, KEEP, "post", "pre|post",
     "take the stream before or after the layer"},
    {"ctx-len", NULL, LETHE_KIND_INT, AT(ctx_len), MODEL | BENCH, KEEP, "0", "N",
     "tokens of a window; 0: 512, or what the model was trained with if that is less"},
    {"gpu-layers", "ngl", LETHE_KIND_INT, AT(gpu_layers), MODEL | BENCH, ONCE, "0", "N",
     "layers of the model to put on a device; -1: all"},
    {"cpu", NULL, LETHE_KIND_STR, AT(cpu), ALL, ONCE, "auto", "NAME",
     "instruction set of Lethe's own loops: ref, avx2, avx512, avx512vnni, neon, neondot; the same "
     "bytes with each (environment: LETHE_CPU)"},
    {"threads", "t", LETHE_KIND_INT, AT(threads), ALL, ONCE, "0", "N", "threads; 0: all cores"},
    {"seed", NULL, LETHE_KIND_INT, AT(seed), ALL, KEEP, "0", "N",
     "seed of everything random; the same seed gives the same bytes"},

    /* Text */
    {"forget", NULL, LETHE_KIND_PATHS, AT(forget), TEXT, KEEP, NULL, "FILE..",
     "text to forget: text or JSON lines, plain, .gz, .zst or in a .zip; folders, quoted patterns, "
     "- "
     "(docs/data.md)"},
    {"retain", NULL, LETHE_KIND_PATHS, AT(retain), TEXT, KEEP, NULL, "FILE..",
     "text to keep, ordinary text of many kinds: as --forget"},
    {"near", NULL, LETHE_KIND_PATHS, AT(near), TEXT, KEEP, NULL, "FILE..",
     "text close to the forget text that must be kept (other novels, say), as --forget; optional"},
    {"text", NULL, LETHE_KIND_PATHS, AT(text), HARVEST, ONCE, NULL, "FILE..",
     "text to run through the model: text or JSON lines, plain, .gz, .zst or in a .zip; folders, "
     "quoted patterns, - for standard input (docs/data.md)"},
    {"text-field", NULL, LETHE_KIND_STR, AT(text_field), TEXT | HARVEST | EVAL, KEEP, "text",
     "NAMES",
     "field of JSON lines that has the text; of several names with commas the first that is there; "
     "a.b "
     "is b in a"},
    {"token-ids", NULL, LETHE_KIND_PATH, AT(token_ids), HARVEST, ONCE, NULL, "FILE",
     "token numbers instead of text: a safetensors tensor \"tokens\", JSON, or plain numbers"},
    {"separate-documents", NULL, LETHE_KIND_FLAG, AT(separate_documents), TEXT | HARVEST, KEEP,
     NULL, NULL,
     "read each document on its own instead of packing documents end to end into windows"},
    {"forget-share", NULL, LETHE_KIND_NUM, AT(forget_share), TEXT, KEEP, "0", "X",
     "share of the forget text in training; 0: as the texts are"},
    {"max-tokens", "token-limit", LETHE_KIND_INT, AT(max_tokens), TEXT | HARVEST, KEEP, "0", "N",
     "limit on the tokens taken from the texts; 0: all"},
    {"keep-bos", NULL, LETHE_KIND_FLAG, AT(keep_bos), HARVEST, ONCE, NULL, NULL,
     "keep BOS and other special positions"},
    {"keep-outliers", NULL, LETHE_KIND_FLAG, AT(keep_outliers), HARVEST | TEXT, KEEP, NULL, NULL,
     "keep positions whose norm is more than 10 times the median"},

    /* Training */
    {"recipe", NULL, LETHE_KIND_STR, AT(recipe), TRAIN | BENCH, KEEP, "default", "NAME",
     "default, or reference (the original experiment, exactly)"},
    {"expansion", "expansion-factor", LETHE_KIND_NUM, AT(expansion), TRAIN | BENCH, KEEP, "16", "X",
     "latents per dimension of the stream"},
    {"latents", NULL, LETHE_KIND_INT, AT(latents), TRAIN | BENCH, KEEP, "0", "M",
     "number of latents, instead of --expansion"},
    {"k", NULL, LETHE_KIND_INT, AT(k), TRAIN | SAE | BENCH | CONVERT, KEEP, "0", "K",
     "active latents a token; 0: 32, or what the SAE file says"},
    {"epochs", NULL, LETHE_KIND_INT, AT(epochs), TRAIN, KEEP, "3", "N",
     "passes over the activations"},
    {"batch-size", NULL, LETHE_KIND_INT, AT(batch_size), TRAIN | BENCH, KEEP, "1024", "N",
     "tokens a step"},
    {"lr", NULL, LETHE_KIND_NUM, AT(lr), TRAIN, KEEP, "0", "X", "learning rate; 0: the recipe's"},
    {"warmup", NULL, LETHE_KIND_NUM, AT(warmup), TRAIN, KEEP, "-1", "N",
     "steps of linear warm-up; -1: the recipe's"},
    {"decay", NULL, LETHE_KIND_NUM, AT(decay), TRAIN, KEEP, "-1", "X",
     "share of the steps over which the rate falls to 0; -1: the recipe's"},
    {"clip", "max-grad-norm", LETHE_KIND_NUM, AT(clip), TRAIN, KEEP, "-1", "X",
     "clip the gradient's global norm; 0: no; -1: the recipe's"},
    {"aux", NULL, LETHE_KIND_STR, AT(aux), TRAIN, KEEP, NULL, "KIND",
     "loss that revives dead latents: none, normalised, reference"},
    {"aux-coef", NULL, LETHE_KIND_NUM, AT(aux_coef), TRAIN, KEEP, "-1", "X",
     "its weight; -1: the recipe's"},
    {"aux-k", NULL, LETHE_KIND_INT, AT(aux_k), TRAIN, KEEP, "0", "N",
     "dead latents a token in it; 0: the recipe's"},
    {"dead-after", NULL, LETHE_KIND_NUM, AT(dead_after), TRAIN, KEEP, "-1", "N",
     "a latent is dead after so many tokens (recipe reference: steps); -1: the recipe's"},
    {"b-dec-init", NULL, LETHE_KIND_STR, AT(b_dec_init), TRAIN, KEEP, NULL, "KIND",
     "first value of b_dec: zero, mean, median (geometric)"},
    {"max-steps", NULL, LETHE_KIND_INT, AT(max_steps), TRAIN, KEEP, "0", "N",
     "stop after so many steps; 0: no limit"},
    {"save-every", NULL, LETHE_KIND_INT, AT(save_every), TRAIN, KEEP, "1000", "N",
     "steps between checkpoints"},
    {"store", NULL, LETHE_KIND_STR, AT(store), TRAIN | HARVEST, KEEP, "auto", "KIND",
     "activations on disk while training: bf16, f32, off (run the model every epoch); auto: bf16 "
     "for "
     "more than one epoch"},
    {"buffer-tokens", NULL, LETHE_KIND_INT, AT(buffer_tokens), TRAIN, KEEP, "131072", "N",
     "rows of the shuffle buffer when there is no store"},
    {"no-shuffle", NULL, LETHE_KIND_FLAG, AT(no_shuffle), TRAIN, KEEP, NULL, NULL,
     "take the rows in order"},
    {"no-forget", NULL, LETHE_KIND_FLAG, AT(no_forget), TRAIN, KEEP, NULL, NULL,
     "train the SAE without the forget text"},
    {"init", NULL, LETHE_KIND_PATH, AT(init), TRAIN, KEEP, NULL, "SAE", "start from these weights"},
    {"activations", NULL, LETHE_KIND_PATH, AT(activations), TRAIN | ENCODE, ONCE, NULL, "FILE|DIR",
     "rows from a safetensors file or a folder of them, instead of a model and text"},
    {"resume", NULL, LETHE_KIND_FLAG, AT(resume), TRAIN, ONCE, NULL, NULL,
     "go on from the last checkpoint"},

    /* Features */
    {"num-features", "n", LETHE_KIND_INT, AT(num_features), FEATURES | BENCH, KEEP, "100", "N",
     "features to choose, at most"},
    {"select", NULL, LETHE_KIND_STR, AT(select), FEATURES, KEEP, "diff-means", "NAME",
     "how features are chosen: diff-means (thresholds, then --sort-by), act-squared (squared mean "
     "activations and percentiles), effect (what ablating each alone does to the model)"},
    {"forget-percentile", NULL, LETHE_KIND_NUM, AT(forget_percentile), FEATURES, KEEP, "5", "X",
     "act-squared: percentile of activation on the forget text that a feature must reach"},
    {"ratio-percentile", NULL, LETHE_KIND_NUM, AT(ratio_percentile), FEATURES, KEEP, "95", "X",
     "act-squared: percentile of the ratio, forget to retain, that a feature must reach"},
    {"effect-candidates", NULL, LETHE_KIND_INT, AT(effect_candidates), FEATURES, KEEP, "0", "N",
     "effect: best features of diff-means that are tried; 0: twice --num-features"},
    {"effect-windows", NULL, LETHE_KIND_INT, AT(effect_windows), FEATURES, KEEP, "2", "N",
     "effect: windows of each text that a feature is tried on"},
    {"sort-by", NULL, LETHE_KIND_STR, AT(sort_by), FEATURES, KEEP, "score", "KEY",
     "score, ratio, diff or act-ratio; or random, the control"},
    {"min-freq", NULL, LETHE_KIND_NUM, AT(min_freq), FEATURES, KEEP, "0.001", "X",
     "fires on more than this share of forget tokens"},
    {"min-forget-fires", "min-target-fires", LETHE_KIND_INT, AT(min_forget_fires), FEATURES, KEEP,
     "64", "N", "fires at least so often on the forget text"},
    {"max-retain-freq", "max-neutral-freq", LETHE_KIND_NUM, AT(max_retain_freq), FEATURES, KEEP,
     "0.005", "X", "fires on less than this share of retain tokens"},
    {"max-freq", NULL, LETHE_KIND_NUM, AT(max_freq), FEATURES, KEEP, "0.2", "X",
     "fires on less than this share of forget tokens"},
    {"min-ratio", NULL, LETHE_KIND_NUM, AT(min_ratio), FEATURES, KEEP, "2", "X",
     "smoothed ratio of firing, forget to retain"},
    {"ratio-smoothing", NULL, LETHE_KIND_NUM, AT(ratio_smoothing), FEATURES, KEEP, "16", "X",
     "added to both counts of the ratio"},
    {"activation-eps", NULL, LETHE_KIND_NUM, AT(activation_eps), FEATURES, KEEP, "0.0001", "X",
     "added to the retain mean in the activation ratio"},
    {"weigh-by", NULL, LETHE_KIND_STR, AT(weigh_by), FEATURES, KEEP, "fires", "KEY",
     "compare the texts by how often a feature fires (fires) or by how strongly as well "
     "(activation)"},
    {"retain-weight", NULL, LETHE_KIND_NUM, AT(retain_weight), FEATURES, KEEP, "1", "X",
     "how much firing on the --retain text counts against a feature"},
    {"near-weight", NULL, LETHE_KIND_NUM, AT(near_weight), FEATURES, KEEP, "3", "X",
     "how much firing on the --near text counts against a feature"},
    {"near-in-retain", NULL, LETHE_KIND_FLAG, AT(near_in_retain), FEATURES, KEEP, NULL, NULL,
     "count the --near text as retain text in every threshold and ratio, too"},
    {"equalise", NULL, LETHE_KIND_FLAG, AT(equalise), FEATURES, KEEP, NULL, NULL,
     "in the ratio, scale the retain counts to as many tokens as the forget text has"},

    /* Intervention and evaluation */
    {"scale", "ablation-scale", LETHE_KIND_NUM, AT(scale), EVAL | PATCH | BENCH | USE, KEEP, "-3",
     "X", "method scale: factor on a chosen feature's activation: 0 erases, negative pushes back"},
    {"method", NULL, LETHE_KIND_STR, AT(method), EVAL | PATCH | USE, KEEP, "scale", "NAME",
     "what is done to a feature that fired: scale it, clamp it to a negative value, or take its "
     "direction out of the stream"},
    {"strength", NULL, LETHE_KIND_NUM, AT(strength), EVAL | PATCH | USE, KEEP, "1", "X",
     "of clamp: the activation becomes -X units; of direction: X of what points along it goes"},
    {"clamp-unit", NULL, LETHE_KIND_STR, AT(clamp_unit), EVAL | PATCH | USE, KEEP, "activation",
     "activation|norm",
     "unit of clamp: the feature's mean activation on the forget text, or the length of the row"},
    {"direction-gated", NULL, LETHE_KIND_FLAG, AT(direction_gated), EVAL | PATCH | USE, KEEP, NULL,
     NULL, "direction: only at positions where a chosen feature fires"},
    {"guard", NULL, LETHE_KIND_STR, AT(guard), EVAL | PATCH | USE, KEEP, "off", "off|auto|X",
     "act only in sequences whose statistic (--guard-by) passes X; auto: what 95 % of the retain "
     "and of the near windows do not pass"},
    {"guard-by", NULL, LETHE_KIND_STR, AT(guard_by), EVAL | PATCH | USE, KEEP, "share",
     "share|evidence",
     "share of the last positions at which a chosen feature fires, 0 to 1; or the evidence for the "
     "forget text that the features give, in nats: it opens at the first telling words"},
    {"guard-window", NULL, LETHE_KIND_INT, AT(guard_window), EVAL | PATCH | USE, KEEP, "16", "N",
     "--guard-by share: of the last N positions; 0: of all so far"},
    {"special-too", NULL, LETHE_KIND_FLAG, AT(special_too), EVAL | PATCH | USE, KEEP, NULL, NULL,
     "intervene at BOS and other special positions as well"},
    {"probes", NULL, LETHE_KIND_PATH, AT(probes), EVAL, KEEP, NULL, "FILE",
     "JSON: domain -> list of {prompt, target}"},
    {"prompts", NULL, LETHE_KIND_PATH, AT(prompts), EVAL, KEEP, NULL, "FILE",
     "prompts to complete side by side: JSON list, or one a line"},
    {"perplexity", NULL, LETHE_KIND_PATH, AT(perplexity), EVAL, KEEP, NULL, "FILE",
     "held-out ordinary text for perplexity and KL divergence"},
    {"eval-tokens", NULL, LETHE_KIND_INT, AT(eval_tokens), EVAL, KEEP, "20000", "N",
     "limit on the tokens of --perplexity; 0: all"},
    {"max-new-tokens", NULL, LETHE_KIND_INT, AT(max_new_tokens), EVAL | BENCH | CHAT, KEEP, "48",
     "N", "tokens of a completion; of an answer in a chat 512 if not given, 0: as many as fit"},
    {"temperature", NULL, LETHE_KIND_NUM, AT(temperature), EVAL | CHAT, KEEP, "0", "X",
     "sampling temperature; 0: greedy"},
    {"top-p", NULL, LETHE_KIND_NUM, AT(top_p), EVAL | CHAT, KEEP, "1", "X",
     "nucleus sampling; 1: off"},
    {"top-k", NULL, LETHE_KIND_INT, AT(top_k), EVAL | CHAT, KEEP, "0", "N",
     "sample from the N likeliest; 0: off"},
    {"repeat-penalty", "repetition-penalty", LETHE_KIND_NUM, AT(repeat_penalty), EVAL | CHAT, KEEP,
     "1", "X", "repetition penalty; 1: off"},
    {"frequency-penalty", NULL, LETHE_KIND_NUM, AT(frequency_penalty), EVAL | CHAT, KEEP, "0", "X",
     "frequency penalty; 0: off"},
    {"no-repeat-ngram", "no-repeat-ngram-size", LETHE_KIND_INT, AT(no_repeat_ngram), EVAL | CHAT,
     KEEP, "0", "N", "never repeat an n-gram of this length; 0: off"},
    {"forget-domain", NULL, LETHE_KIND_STR, AT(forget_domain), EVAL, KEEP, NULL, "NAME",
     "domain of --probes that is to be forgotten; not given: the first"},
    {"split", NULL, LETHE_KIND_STR, AT(split), EVAL, KEEP, "all", "HALF",
     "of facts and windows of text: all, tune (to choose settings by) or report"},
    {"items", NULL, LETHE_KIND_INT, AT(items), EVAL, KEEP, "100", "N",
     "limit on the items of each domain of --verbatim, --knowledge, --choice, and of each attack; "
     "0: all"},
    {"measures", NULL, LETHE_KIND_STR, AT(measures), EVAL, KEEP, "all", "LIST",
     "all, none, or some of verbatim, extraction, knowledge, truth, choice, familiarity with "
     "commas "
     "between; each where its file is given"},
    {"verbatim", NULL, LETHE_KIND_PATHS, AT(verbatim), EVAL, KEEP, NULL, "FILE..",
     "passages the model may know by heart: JSON lines of {prompt, target} or {text}"},
    {"knowledge", NULL, LETHE_KIND_PATHS, AT(knowledge), EVAL, KEEP, NULL, "FILE..",
     "questions to answer: JSON lines of {question, answer, wrong}"},
    {"shots", NULL, LETHE_KIND_INT, AT(shots), EVAL, KEEP, "0", "N",
     "other questions with answers before each of --knowledge"},
    {"choice", NULL, LETHE_KIND_PATHS, AT(choice), EVAL, KEEP, NULL, "FILE..",
     "multiple choice: JSON lines of {question, choices, answer} (WMDP, MMLU)"},
    {"choice-by", NULL, LETHE_KIND_STR, AT(choice_by), EVAL, KEEP, "letters", "KIND",
     "letters: the model names one behind a list; text: the option that is likeliest a token"},
    {"choice-orders", NULL, LETHE_KIND_INT, AT(choice_orders), EVAL, KEEP, "4", "N",
     "orders the options are listed in; 0: all"},
    {"attacks", NULL, LETHE_KIND_STR, AT(attacks), EVAL, KEEP, "all", "LIST",
     "other ways to ask for what was forgotten: all, none, or some of padding, role_play, typos, "
     "few_shot, turns, sampling and those of --attack-file"},
    {"attack-file", NULL, LETHE_KIND_PATH, AT(attack_file), EVAL, KEEP, NULL, "FILE",
     "JSON: domain -> list of {attack, prompt, target, chat}: paraphrases, other languages"},
    {"samples", NULL, LETHE_KIND_INT, AT(samples), EVAL, KEEP, "8", "N",
     "answers to a question in the attack sampling"},

    /* Judge */
    {"judge", NULL, LETHE_KIND_STR, AT(judge), JUDGE, ONCE, "lexicon", "KIND",
     "lexicon (offline), api (a language model; so with --endpoint or --judge-model), or manual "
     "(you)"},
    {"lexicon", NULL, LETHE_KIND_PATH, AT(lexicon), JUDGE | EVAL, KEEP, NULL, "FILE",
     "JSON for the offline judge: topic, and lists of terms: explicit, thematic, accidental"},
    {"topic", NULL, LETHE_KIND_STR, AT(topic), JUDGE, KEEP, NULL, "TEXT",
     "what was to be forgotten, for a judge that reads; not given: the lexicon's topic"},
    {"endpoint", NULL, LETHE_KIND_STR, AT(endpoint), JUDGE | PULL | PUSH, ONCE, NULL, "URL",
     "judge: OpenAI-compatible API, https://api.openai.com/v1 if not given; the key is taken from "
     "LETHE_API_KEY or OPENAI_API_KEY. pull, push: the Hub; not given: HF_ENDPOINT, or "
     "https://huggingface.co"},
    {"judge-model", NULL, LETHE_KIND_STR, AT(judge_model), JUDGE, ONCE, NULL, "NAME",
     "the model to ask there"},
    {"judge-name", NULL, LETHE_KIND_STR, AT(judge_name), JUDGE, ONCE, NULL, "NAME",
     "what judge.json calls this judge; not given: lexicon, manual, or the model's name"},
    {"concurrency", NULL, LETHE_KIND_INT, AT(concurrency), JUDGE | PULL, ONCE, "4", "N",
     "requests under way at a time"},
    {"retries", NULL, LETHE_KIND_INT, AT(retries), JUDGE | PULL | PUSH, ONCE, "5", "N",
     "further tries after an error or an answer that makes no sense"},
    {"timeout", NULL, LETHE_KIND_NUM, AT(timeout), JUDGE | PULL | PUSH, ONCE, "60", "S",
     "seconds for a request; of a file: in which nothing comes"},

    /* Hub */
    {"repo", NULL, LETHE_KIND_STR, AT(repo), PULL | PUSH, ONCE, NULL, "REPO",
     "OWNER/NAME of a model or an SAE, datasets/OWNER/NAME; pull: a short name as well, and behind "
     "a colon a file, a folder or a quantisation"},
    {"revision", NULL, LETHE_KIND_STR, AT(revision), PULL | PUSH, ONCE, "main", "REV",
     "branch, tag or commit"},
    {"list", NULL, LETHE_KIND_FLAG, AT(list), PULL, ONCE, NULL, NULL,
     "fetch nothing: show the files of the repository; without one, the short names"},
    {"all", NULL, LETHE_KIND_FLAG, AT(all), PULL, ONCE, NULL, NULL, "every file of the repository"},
    {"private", NULL, LETHE_KIND_FLAG, AT(private), PUSH, ONCE, NULL, NULL,
     "make a new repository private"},
    {"message", NULL, LETHE_KIND_STR, AT(message), PUSH, ONCE, NULL, "TEXT",
     "of the commit; not given: a general one"},
    {"dry-run", NULL, LETHE_KIND_FLAG, AT(dry_run), PUSH, ONCE, NULL, NULL,
     "send nothing: show what would be sent, the card included"},

    /* Encode */
    {"dense", NULL, LETHE_KIND_FLAG, AT(dense), ENCODE, ONCE, NULL, NULL,
     "write z [N, m] instead of indices and values [N, k]"},

    /* Inspect and report */
    {"feature", NULL, LETHE_KIND_INT, AT(feature), INSPECT, ONCE, "-1", "N",
     "this feature alone, by its number in the SAE; -1: all that are chosen"},
    {"contexts", NULL, LETHE_KIND_INT, AT(contexts), INSPECT, ONCE, "6", "N",
     "passages of the forget text to keep for a feature, and half as many of each other text"},
    {"format", NULL, LETHE_KIND_STR, AT(format), REPORT, ONCE, "all", "LIST",
     "what to write: all that can be made, or some of html, plots, latex, csv, text with commas "
     "between"},
    {"from", NULL, LETHE_KIND_STR, AT(from), REPORT | INSPECT | CONVERT, ONCE, NULL, "PATH",
     "what to look at. report: run directory or file of results, not given: the run of --out; "
     "inspect: a run, or any file or folder to describe; convert: an SAE or a list of features"},

    /* Search */
    {"minutes", NULL, LETHE_KIND_NUM, AT(minutes), TUNE, ONCE, "0", "X",
     "stop after so many minutes, training and report included; 0: no limit"},
    {"trials", NULL, LETHE_KIND_INT, AT(trials), TUNE, ONCE, "150", "N",
     "removals to try, at most; 0: no limit"},
    {"layers", NULL, LETHE_KIND_STR, AT(layers), TUNE, ONCE, "auto", "LIST",
     "layers to search, with commas between; auto: that of --layer and up to three around it"},
    {"damage-weight", NULL, LETHE_KIND_NUM, AT(damage_weight), TUNE, ONCE, "4", "X",
     "chosen is the least share that is left + X x damage"},
    {"compare", NULL, LETHE_KIND_FLAG, AT(compare), TUNE, ONCE, NULL, NULL,
     "report the best removal of every method and ranking, too"},

    /* Chat */
    {"plain", NULL, LETHE_KIND_FLAG, AT(plain), CHAT, ONCE, NULL, NULL,
     "lines instead of a screen: for pipes and screen readers; so without a terminal, too"},
    {"forgetting", NULL, LETHE_KIND_FLAG, AT(forgetting), CHAT, ONCE, NULL, NULL,
     "begin with forgetting switched on"},
    {"side-by-side", NULL, LETHE_KIND_FLAG, AT(side_by_side), CHAT, ONCE, NULL, NULL,
     "answer every prompt both ways"},
    {"no-marks", NULL, LETHE_KIND_FLAG, AT(no_marks), CHAT, ONCE, NULL, NULL,
     "do not underline where a removed feature fired"},
    {"no-retry", NULL, LETHE_KIND_FLAG, AT(no_retry), CHAT, ONCE, NULL, NULL,
     "leave an answer that repeats itself as it is, instead of writing it again"},
    {"system", NULL, LETHE_KIND_STR, AT(system), CHAT, ONCE, NULL, "TEXT",
     "system message, before everything that is said"},

    /* Bench */
    {"what", NULL, LETHE_KIND_STR, AT(what), BENCH, ONCE, "all", "PART",
     "what to measure: all, or some of train, encode, gate, harvest, decode with commas between"},
    {"d", NULL, LETHE_KIND_INT, AT(d), BENCH, ONCE, "0", "N",
     "width of the random rows for train, encode and gate; 0: the model's with --model, else 768"},
    {"steps", NULL, LETHE_KIND_INT, AT(steps), BENCH, ONCE, "7", "N",
     "rounds that count, after one that does not; each runs all sides"},
    {"dead", NULL, LETHE_KIND_NUM, AT(dead), BENCH, ONCE, "0", "X",
     "share of the latents that is held dead before every training step"},
    {"no-reference", NULL, LETHE_KIND_FLAG, AT(no_reference), BENCH, ONCE, NULL, NULL,
     "train: without the dense reference, which is slow at large widths"},
    {"scaling", NULL, LETHE_KIND_FLAG, AT(scaling), BENCH, ONCE, NULL, NULL,
     "train: the step on a single thread as well"},

    /* Server */
    {"host", NULL, LETHE_KIND_STR, AT(host), SERVE, ONCE, "127.0.0.1", "ADDRESS",
     "where to listen; 0.0.0.0: on every address of this machine, so that others reach it"},
    {"port", "p", LETHE_KIND_INT, AT(port), SERVE, ONCE, "8080", "N", "0: any that is free"},
    {"api-key", NULL, LETHE_KIND_STR, AT(api_key), SERVE, ONCE, NULL, "KEY",
     "what clients must send as \"Authorization: Bearer KEY\" (environment: LETHE_SERVE_KEY, which "
     "others on this machine cannot read)"},
    {"cors", NULL, LETHE_KIND_STR, AT(cors), SERVE, ONCE, NULL, "ORIGIN",
     "web pages of this origin may ask, too; *: of any"},
    {"slots", NULL, LETHE_KIND_INT, AT(slots), SERVE, ONCE, "8", "N",
     "answers written at once, side by side; each takes memory for a context"},
    {"queue", NULL, LETHE_KIND_INT, AT(queue), SERVE, ONCE, "64", "N",
     "requests that may wait for a slot; beyond that 429"},
    {"time-limit", NULL, LETHE_KIND_NUM, AT(time_limit), SERVE, ONCE, "120", "SECONDS",
     "for a request, waiting included"},
    {"max-body", NULL, LETHE_KIND_INT, AT(max_body), SERVE, ONCE, "1048576", "BYTES",
     "size of a request's body"},
    {"max-header", NULL, LETHE_KIND_INT, AT(max_header), SERVE, ONCE, "16384", "BYTES",
     "size of a request's line and headers"},

    /* Files and output */
    {"sae", NULL, LETHE_KIND_PATH, AT(sae), SAE | BENCH | TUNE, ONCE, NULL, "FILE",
     "the SAE, a file or folder of any project (docs/formats.md); in a run not given: its "
     "sae.safetensors"},
    {"features", NULL, LETHE_KIND_PATH, AT(features), EVAL | PATCH | BENCH | INSPECT | USE, ONCE,
     NULL, "FILE",
     "chosen features, or the reference experiment's layer_L_features.pt; in a run not given: its "
     "features.json"},
    {"patch", NULL, LETHE_KIND_PATHS, AT(patch), REMOVAL | BENCH, ONCE, NULL, "FILE..",
     "removals that \"lethe patch\" wrote, instead of SAE and features; each brings layer, hook "
     "and "
     "method along"},
    {"to", NULL, LETHE_KIND_STR, AT(to), PATCH | CONVERT, ONCE, NULL, "FILE|FORMAT",
     "patch: the file to write, not given: patch.safetensors of the run; convert: lethe, plain, "
     "saelens or sparsify, of features json or csv"},
    {"out", "o", LETHE_KIND_STR, AT(out), PUSH | RUN | HARVEST | ENCODE | REPORT | USE | CONVERT,
     ONCE, NULL, "PATH",
     "where results go; of a run: its directory, runs/demo or runs/MODEL if not given"},
    {"config", "c", LETHE_KIND_STR, AT(config), RUN | USE, ONCE, NULL, "FILE",
     "settings from a JSON file; options on the command line win"},
    {"fresh", NULL, LETHE_KIND_FLAG, AT(fresh), RUN, ONCE, NULL, NULL,
     "do every stage again, also those that are done"},
    {"json", NULL, LETHE_KIND_FLAG, AT(json), ALL, ONCE, NULL, NULL,
     "one JSON object on standard output instead of a table"},
    {"quiet", "q", LETHE_KIND_FLAG, AT(quiet), ALL, ONCE, NULL, NULL, "no progress, only warnings"},
    {"verbose", "v", LETHE_KIND_FLAG, AT(verbose), ALL, ONCE, NULL, NULL,
     "diagnostics, libllama's too"},
};
const size_t lethe_settings_count = sizeof lethe_settings / sizeof *lethe_settings;

static void *field(lethe_config *c, const lethe_setting *s) {
    return (char *)c + s->offset;
}
static const void *cfield(const lethe_config *c, const lethe_setting *s) {
    return (const char *)c + s->offset;
}

static void list_clear(lethe_list *l) {
    for (size_t i = 0; i < l->n; i++) lethe_free(l->item[i]);
    lethe_free(l->item);
    *l = (lethe_list){0};
}

static lethe_status list_add(lethe_list *l, const char *text, lethe_err *err) {
    char **bigger, *copy = lethe_strdup(text);
    if (!copy || lethe_alloc(&bigger, l->n + 1, sizeof *bigger, "a list", NULL)) {
        lethe_free(copy);
        return lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
    }
    if (l->n) memcpy(bigger, l->item, l->n * sizeof *bigger);
    bigger[l->n] = copy;
    lethe_free(l->item);
    l->item = bigger;
    l->n++;
    return LETHE_OK;
}

/* '_' reads as '-'. */
static bool same_name(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char x = a[i] == '_' ? '-' : a[i];
        if (x != b[i]) return false;
    }
    return true;
}

const lethe_setting *lethe_setting_find(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < lethe_settings_count; i++) {
        const lethe_setting *s = &lethe_settings[i];
        if (strlen(s->name) == n && same_name(name, s->name, n)) return s;
        for (const char *a = s->aliases; a && *a;) {
            size_t len = strcspn(a, " ");
            if (len == n && same_name(name, a, n)) return s;
            a += len + strspn(a + len, " ");
        }
    }
    return NULL;
}

lethe_status lethe_config_set(lethe_config *c, const lethe_setting *s, const char *text, bool first,
                              lethe_err *err) {
    void *at = field(c, s);
    char *end;
    switch (s->kind) {
    case LETHE_KIND_STR:
    case LETHE_KIND_PATH: {
        char *copy = lethe_strdup(text);
        if (!copy) return lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
        lethe_free(*(char **)at);
        *(char **)at = copy;
        return LETHE_OK;
    }
    case LETHE_KIND_PATHS:
        if (first) list_clear(at);
        return list_add(at, text, err);
    case LETHE_KIND_INT: {
        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (errno || end == text || *end)
            return lethe_fail(err, LETHE_USAGE, "--%s: got \"%s\", want a whole number", s->name,
                              text);
        *(int64_t *)at = v;
        return LETHE_OK;
    }
    case LETHE_KIND_NUM: {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v))
            return lethe_fail(err, LETHE_USAGE, "--%s: got \"%s\", want a number", s->name, text);
        *(double *)at = v;
        return LETHE_OK;
    }
    case LETHE_KIND_FLAG:
        if (strcmp(text, "true") && strcmp(text, "false"))
            return lethe_fail(err, LETHE_USAGE, "--%s takes no value", s->name);
        *(bool *)at = !strcmp(text, "true");
        return LETHE_OK;
    }
    return LETHE_OK;
}

lethe_status lethe_config_init(lethe_config *c, lethe_err *err) {
    for (size_t i = 0; i < lethe_settings_count; i++)
        if (lethe_settings[i].fallback)
            LETHE_TRY(
                lethe_config_set(c, &lethe_settings[i], lethe_settings[i].fallback, true, err));
    return LETHE_OK;
}

void lethe_config_free(lethe_config *c) {
    for (size_t i = 0; i < lethe_settings_count; i++) {
        const lethe_setting *s = &lethe_settings[i];
        if (s->kind == LETHE_KIND_STR || s->kind == LETHE_KIND_PATH)
            lethe_free(*(char **)field(c, s));
        if (s->kind == LETHE_KIND_PATHS) list_clear(field(c, s));
    }
    *c = (lethe_config){0};
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *value_to_json(const lethe_config *c, const lethe_setting *s) {
    const void *at = cfield(c, s);
    switch (s->kind) {
    case LETHE_KIND_STR:
    case LETHE_KIND_PATH: return *(char *const *)at ? json_string(*(char *const *)at) : json_null();
    case LETHE_KIND_PATHS: {
        const lethe_list *l = at;
        json_t *a = json_array();
        for (size_t i = 0; i < l->n; i++) json_array_append_new(a, json_string(l->item[i]));
        return a;
    }
    case LETHE_KIND_INT: return json_integer(*(const int64_t *)at);
    case LETHE_KIND_NUM: return json_real(*(const double *)at);
    case LETHE_KIND_FLAG: return json_boolean(*(const bool *)at);
    }
    return NULL;
}

json_t *lethe_config_to_json(const lethe_config *c) {
    json_t *o = json_object();
    for (size_t i = 0; i < lethe_settings_count; i++) {
        const lethe_setting *s = &lethe_settings[i];
        if (!s->keep) continue;
        char key[64];
        snprintf(key, sizeof key, "%s", s->name);
        for (char *p = key; *p; p++)
            if (*p == '-') *p = '_';
        if (json_object_set_new(o, key, value_to_json(c, s))) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static lethe_status set_path(lethe_config *c, const lethe_setting *s, const char *text,
                             const char *dir, bool first, lethe_err *err) {
    bool is_path = s->kind == LETHE_KIND_PATH || s->kind == LETHE_KIND_PATHS;
    if (!dir || !is_path || text[0] == '/' || !strcmp(text, "-")) /* "-": standard input */
        return lethe_config_set(c, s, text, first, err);
    char *joined = lethe_path_join(dir, text);
    if (!joined) return lethe_fail(err, LETHE_NOMEM, "out of memory for settings");
    lethe_status st = lethe_config_set(c, s, joined, first, err);
    lethe_free(joined);
    return st;
}

static lethe_status value_from_json(lethe_config *c, const lethe_setting *s, const json_t *v,
                                    const char *dir, const char *file, lethe_err *err) {
    void *at = field(c, s);
    switch (s->kind) {
    case LETHE_KIND_STR:
    case LETHE_KIND_PATH:
        if (json_is_string(v)) return set_path(c, s, json_string_value(v), dir, true, err);
        if (!json_is_null(v)) break;
        lethe_free(*(char **)at);
        *(char **)at = NULL;
        return LETHE_OK;
    case LETHE_KIND_PATHS: {
        if (!json_is_array(v)) break;
        list_clear(at);
        for (size_t i = 0; i < json_array_size(v); i++) {
            const char *text = json_string_value(json_array_get(v, i));
            if (!text)
                return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": item %zu is not a string", file,
                                  s->name, i);
            LETHE_TRY(set_path(c, s, text, dir, false, err));
        }
        return LETHE_OK;
    }
    case LETHE_KIND_INT:
        if (!json_is_integer(v)) break;
        *(int64_t *)at = json_integer_value(v);
        return LETHE_OK;
    case LETHE_KIND_NUM:
        if (!json_is_number(v)) break;
        *(double *)at = json_number_value(v);
        return LETHE_OK;
    case LETHE_KIND_FLAG:
        if (!json_is_boolean(v)) break;
        *(bool *)at = json_is_true(v);
        return LETHE_OK;
    }
    static const char *const wants[] = {"a string",       "a path",   "a list of paths",
                                        "a whole number", "a number", "true or false"};
    return lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": want %s", file, s->name, wants[s->kind]);
}

lethe_status lethe_config_from_json(lethe_config *c, const json_t *object, const char *dir,
                                    const char *file, const bool *set, lethe_err *err) {
    const char *key;
    json_t *v;
    if (!json_is_object(object))
        return lethe_fail(err, LETHE_FORMAT, "%s: the configuration must be an object", file);
    json_object_foreach((json_t *)(uintptr_t)object, key, v) {
        const lethe_setting *s = lethe_setting_find(key);
        if (!s || !s->keep)
            return lethe_fail(err, LETHE_FORMAT, "%s: unknown setting \"%s\"", file, key);
        if (set && set[s - lethe_settings]) continue;
        LETHE_TRY(value_from_json(c, s, v, dir, file, err));
    }
    /* Files of before there was a choice mean a share, whatever they are laid over. */
    const lethe_setting *by = lethe_setting_find("guard-by");
    if (json_object_get(object, "guard") && !json_object_get(object, "guard_by") &&
        !(set && set[by - lethe_settings]))
        LETHE_TRY(lethe_config_set(c, by, "share", true, err));
    return LETHE_OK;
}

lethe_status lethe_config_load(lethe_config *c, const char *path, const bool *set, lethe_err *err) {
    json_t *o;
    LETHE_TRY(lethe_json_load(&o, path, err));
    char *dir = lethe_strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
    if (slash) slash[slash == dir] = '\0';
    lethe_status st = lethe_config_from_json(c, o, slash ? dir : NULL, path, set, err);
    lethe_free(dir);
    json_decref(o);
    return st;
}

lethe_status lethe_config_check_stdin(const lethe_config *c, lethe_err *err) {
    const char *first = NULL;
    for (size_t i = 0; i < lethe_settings_count; i++) {
        const lethe_setting *s = &lethe_settings[i];
        if (s->kind != LETHE_KIND_PATH && s->kind != LETHE_KIND_PATHS) continue;
        const char *const *at = (const char *const *)((const char *)c + s->offset);
        const lethe_list one = {(char **)(uintptr_t)at, *at != NULL};
        const lethe_list *l =
            s->kind == LETHE_KIND_PATH ? &one : (const lethe_list *)(const void *)at;
        for (size_t j = 0; j < l->n; j++) {
            if (strcmp(l->item[j], "-") != 0) continue;
            if (first)
                return lethe_fail(
                    err, LETHE_USAGE,
                    "standard input (-) can be one text only; it is named by --%s and "
                    "by --%s",
                    first, s->name);
            first = s->name;
        }
    }
    return LETHE_OK;
}
