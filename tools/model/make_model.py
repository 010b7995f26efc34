#!/usr/bin/python3
"""The whole chain: knowledge base -> documents -> tokenizer -> model -> GGUF, and the data files.

    /usr/bin/python3 tools/model/make_model.py            # models/lethe-demo.gguf and data/demo/
    /usr/bin/python3 tools/model/make_model.py --seed 2 --out /tmp/other   # another model, nothing committed
"""
import argparse
import json
import os
import sys
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import bpe  # noqa: E402
import evaluate  # noqa: E402
import export  # noqa: E402
import generate  # noqa: E402
import questions  # noqa: E402
import train  # noqa: E402

VOCAB, CTX, EPOCHS = 2048, 256, 5
SHAPE = dict(d=192, layers=4, heads=6, ffn=512)


def main():
    root = os.path.dirname(os.path.dirname(HERE))
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seed", type=int, default=1, help="of the weights and the order of training (default 1)")
    ap.add_argument("--epochs", type=int, default=EPOCHS)
    ap.add_argument("--threads", type=int, default=0, help="0: all cores")
    ap.add_argument("--out", help="put everything here instead of models/ and data/demo/; also an F32 GGUF, "
                                  "the weights (model.pt) and the tokenizer (tokenizer.json)")
    ap.add_argument("--data-only", action="store_true", help="write the data files and stop")
    args = ap.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    t0 = time.time()

    data = generate.build()
    generate.write(data, args.out or os.path.join(root, "data", "demo"))
    questions.write(args.out or os.path.join(root, "data", "demo"))
    print("facts", data["facts"], {n: len(d) for n, d in data["corpora"].items()}, flush=True)
    if args.data_only:
        return
    texts = [train.render(d) for docs in data["corpora"].values() for d in docs]
    tok = bpe.Tokenizer(bpe.train(texts, VOCAB))
    for name, docs in data["corpora"].items():
        print(name, sum(len(tok.encode(train.render(d))) + 1 for d in docs), "tokens")
    print("neutral", sum(len(tok.encode(t)) for t in data["neutral"]), "tokens", flush=True)

    model = train.train(tok, data["corpora"], args.epochs, CTX, args.seed,
                        log=lambda s: print(s, flush=True), **SHAPE)

    for domain, (r, lp) in evaluate.recall(tok, data["probes"], model).items():
        print(f"{domain:12s} recall {100 * r:5.1f} %   log-probability {lp:.3f}")
    print(f"neutral perplexity {evaluate.perplexity(evaluate.text_windows(tok, data['neutral'], CTX), model):.3f}")
    if args.out:
        export.write_gguf(os.path.join(args.out, "lethe-demo-f32.gguf"), model, tok, half=False)
        torch.save({"cfg": model.cfg, "sd": model.state_dict()}, os.path.join(args.out, "model.pt"))
        with open(os.path.join(args.out, "tokenizer.json"), "w") as f:
            json.dump({"vocab": tok.vocab, "merges": tok.merges}, f)
    path = os.path.join(args.out or os.path.join(root, "models"), "lethe-demo.gguf")
    export.write_gguf(path, model, tok)
    print(f"{path}: {os.path.getsize(path)} bytes; {time.time() - t0:.0f} s in all")


if __name__ == "__main__":
    main()
