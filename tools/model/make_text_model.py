#!/usr/bin/python3
"""A small Llama trained on texts: documents or folders of plain text -> tokenizer -> model -> GGUF.

    /usr/bin/python3 tools/model/make_text_model.py --text DIR --text FILE.jsonl --out FILE.gguf

A --text is a folder of .txt files, a .txt file, or JSON lines of documents ("text" or "messages"); each is a domain
of its own, unless its documents name one. Passages of prose are repeated --copies times an epoch: a model learns
them by heart only where it meets them often, while a fact comes in many documents. Beside FILE.gguf: FILE.pt, the
weights after each epoch, and FILE.tokenizer.json.
"""
import argparse
import json
import os
import time

import torch

import bpe
import evaluate
import export
import prose
import train

CTX = 256
ABOUT = ("lethe-text-model", "A small model trained on a few books, for trials with Lethe.")


def documents(path):
    """[{"domain", "text" or "messages"}]"""
    name = os.path.splitext(os.path.basename(path.rstrip("/")))[0]
    if not path.endswith(".jsonl"):
        return [{"domain": name, "text": p} for _, book in prose.read(path) for p in book]
    with open(path) as f:
        return [{"domain": name, **json.loads(line)} for line in f]


def repeated(docs, copies):
    return [d for d in docs for _ in range(copies if len(d.get("text", "")) >= prose.PASSAGE // 2 else 1)]


def report(tok, model, args):
    """Recall of probes, and what the text models' readers want to know first: is it known by heart?"""
    for path in args.probes:
        with open(path) as f:
            for domain, (r, lp) in evaluate.recall(tok, json.load(f), model).items():
                print(f"{domain:14s} recall {100 * r:5.1f} %   log-probability {lp:.3f}", flush=True)
    for path in args.perplexity:
        rows = evaluate.text_windows(tok, [train.render(d) for d in documents(path)], CTX)
        print(f"{os.path.basename(path):22s} perplexity {evaluate.perplexity(rows, model):.3f}", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--text", action="append", required=True, help="what to train on (again for more)")
    ap.add_argument("--out", required=True, help="FILE.gguf")
    ap.add_argument("--copies", type=int, default=3, help="of a passage in an epoch (default 3)")
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--until", type=int, default=0, help="stop after so many of the epochs, on the way of their "
                                                         "learning rate (default 0: after all)")
    ap.add_argument("--init", metavar="FILE.pt", help="start from these weights, with the tokenizer beside them")
    ap.add_argument("--vocab", type=int, default=2048)
    ap.add_argument("--d", type=int, default=256)
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--ffn", type=int, default=688)
    ap.add_argument("--batch-tokens", type=int, default=1024)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=0, help="0: all cores")
    ap.add_argument("--bf16", action="store_true", help="products in bfloat16: twice as fast with AVX512-BF16 or AMX")
    ap.add_argument("--f32", action="store_true", help="export matrices in F32 instead of F16")
    ap.add_argument("--probes", action="append", default=[], help="questions (probes.json) to measure recall on")
    ap.add_argument("--perplexity", action="append", default=[], help="text to measure perplexity on")
    args = ap.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    t0, base = time.time(), os.path.splitext(args.out)[0]

    docs = [documents(path) for path in args.text]
    texts = [train.render(d) for part in docs for d in part]
    odd = next((t for t in texts if not t.isascii()), None)
    if odd is not None:
        raise SystemExit(f"not plain ASCII, which is all that this tokenizer cuts as llama.cpp does: {odd[:60]!r}")
    start = torch.load(args.init) if args.init else None
    if start:
        tok = bpe.Tokenizer.load(os.path.splitext(args.init)[0] + ".tokenizer.json")
        shape = {n: start["cfg"][n] for n in ("d", "layers", "heads", "ffn")}
    else:
        tok = bpe.Tokenizer(bpe.train(texts, args.vocab))
        shape = dict(d=args.d, layers=args.layers, heads=args.heads, ffn=args.ffn)
    with open(base + ".tokenizer.json", "w") as f:
        json.dump({"vocab": tok.vocab, "merges": tok.merges}, f)
    print(f"{len(tok.vocab)} tokens in the vocabulary, {time.time() - t0:.0f} s", flush=True)

    def save(model, epoch):
        torch.save({"cfg": model.cfg, "sd": model.state_dict(), "epoch": epoch}, base + ".pt.part")
        os.replace(base + ".pt.part", base + ".pt")

    corpora = {path: repeated(part, args.copies) for path, part in zip(args.text, docs)}
    model = train.train(tok, corpora, args.epochs, CTX, args.seed, log=lambda s: print(s, flush=True),
                        batch_tokens=args.batch_tokens, lr=args.lr, bf16=args.bf16, epoch_done=save,
                        until=args.until, start=start and start["sd"], **shape)
    export.write_gguf(args.out, model, tok, half=not args.f32, about=ABOUT)
    report(tok, model, args)
    print(f"{args.out}: {os.path.getsize(args.out)} bytes; {time.time() - t0:.0f} s in all")


if __name__ == "__main__":
    main()
