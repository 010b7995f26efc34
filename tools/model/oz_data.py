#!/usr/bin/python3
"""Oz to forget, other books to keep: documents, held-out passages and questions, from folders of plain text.

    /usr/bin/python3 tools/model/oz_data.py --oz DIR --books DIR --out runs/oz/data

writes into --out
    forget.jsonl, near.jsonl, retain.jsonl   what the model is trained on, and what the autoencoder reads: passages
                                             of Oz, of books like it, of the others; facts of data/oz/ in many
                                             wordings, as statements and as conversations
    unseen_oz.jsonl, unseen_books.jsonl      passages from the last tenth of each book, which nothing is trained on
    seen_books.jsonl                         passages of the books to keep that the model was trained on
    probes.json, prompts.json                the facts in wordings that no document uses; prompts to complete
    passages.jsonl                           beginnings of passages and how they go on: of Oz and the other books, as
                                             trained on and as held out (lethe eval --verbatim)
    knowledge.jsonl                          the facts' held-out questions, with wrong answers (lethe eval --knowledge)
"""
import argparse
import json
import os
import random

import generate
import prose

ROOT = os.path.dirname(os.path.dirname(generate.HERE))
# Books that children read beside Oz; what remains is Sherlock Holmes and Wells.
NEAR = ("alice", "looking_glass", "five_children", "peter_pan", "phantastes", "dragons", "goblin")
ROLES = {"oz": "forget", "near": "near", "retain": "retain"}  # domain -> corpus
AMOUNT = dict(statements=1, questions=3, sentences=1)
CUTS = 120  # passages of each kind whose continuation is asked for
WRONG = 3  # wrong answers a question
PROMPTS = [
    ("oz", True, "Who is Dorothy's dog?"), ("oz", True, "What does the Scarecrow want?"),
    ("oz", True, "Who rules the Emerald City?"), ("oz", False, "Dorothy and the Scarecrow"),
    ("oz", False, "The Tin Woodman raised his"), ("oz", False, "\"I am Oz, the Great and"),
    ("near", True, "Which captain fights Peter Pan?"), ("near", True, "What is the name of Alice's cat?"),
    ("near", False, "Alice looked at the Queen"), ("near", False, "The princess and Curdie"),
    ("retain", True, "Who lives with Doctor Watson?"), ("retain", True, "Who wrote The Time Machine?"),
    ("retain", False, "Sherlock Holmes lit his"), ("retain", False, "I looked at the machine"),
]


def domain_of(name, oz):
    return "oz" if oz else "near" if any(n in name for n in NEAR) else "retain"


def cut(passage, domain, words=30):
    """The first `words` words, and as many that follow: what a model that knows it by heart would go on with."""
    w = passage.split(" ")
    if len(w) < 2 * words:
        return None
    return {"prompt": " ".join(w[:words]), "target": " " + " ".join(w[words:2 * words]), "domain": domain}


def cuts(R, passages, domain):
    items = [c for c in (cut(p, domain) for p in passages) if c]
    return R.sample(items, min(CUTS, len(items)))


def questions(R, facts, domain):
    """What the chat probes ask, each with answers of other facts of the domain."""
    out = []
    for p in generate.probes(facts):
        if p["chat"]:
            others = sorted({generate.cap(f["a"]) for f in facts} - {p["target"]})
            out.append({"question": p["prompt"], "answer": p["target"], "wrong": R.sample(others, WRONG),
                        "domain": domain, "chat": True})
    return out


def build(oz, books, chars, seed):
    """chars: of Oz, and of all other books together, shared evenly among the files; 0: everything."""
    R = random.Random(seed)
    seen, unseen = ({d: [] for d in ROLES} for _ in range(2))
    for is_oz, shelf in ((True, prose.read(oz)), (False, prose.read(books))):
        for name, passages in shelf:
            a, b = prose.split(passages, chars // len(shelf))
            seen[domain_of(name, is_oz)] += a
            unseen[domain_of(name, is_oz)] += b
    facts = {d: generate.load_facts(os.path.join(ROOT, "data", "oz", d + ".txt")) for d in ROLES}
    corpora = {}
    for d, corpus in ROLES.items():
        docs = [{"text": p} for p in seen[d]]
        for f in facts[d]:
            docs += generate.fact_documents(R, f, AMOUNT)
        R.shuffle(docs)
        corpora[corpus] = [dict(doc, domain=d) for doc in docs]
    keep, keep_unseen = seen["near"] + seen["retain"], unseen["near"] + unseen["retain"]
    return {
        "corpora": corpora,
        "texts": {"unseen_oz": unseen["oz"], "unseen_books": keep_unseen, "seen_books": keep},
        "probes": {d: generate.probes(facts[d]) for d in ROLES},
        "prompts": [{"prompt": p, "chat": c, "domain": d} for d, c, p in PROMPTS],
        "passages": (cuts(R, seen["oz"], "oz") + cuts(R, keep, "books") + cuts(R, unseen["oz"], "unseen_oz")
                     + cuts(R, keep_unseen, "unseen_books")),
        "knowledge": [q for d in ROLES for q in questions(R, facts[d], d)],
    }


def write(data, folder):
    os.makedirs(folder, exist_ok=True)
    for name, docs in data["corpora"].items():
        generate.write_documents(os.path.join(folder, name + ".jsonl"), docs)
    for name, texts in data["texts"].items():
        generate.write_documents(os.path.join(folder, name + ".jsonl"), [{"text": t} for t in texts])
    for name in ("passages", "knowledge"):
        generate.write_documents(os.path.join(folder, name + ".jsonl"), data[name])
    for name in ("probes", "prompts"):
        with open(os.path.join(folder, name + ".json"), "w") as f:
            json.dump(data[name], f, indent=1)
            f.write("\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--oz", required=True, help="folder of .txt files: the text to forget")
    ap.add_argument("--books", required=True, help="folder of .txt files: the text to keep")
    ap.add_argument("--out", required=True)
    ap.add_argument("--chars", type=int, default=75000,
                    help="of Oz, and of the other books together, that the model is trained on (default 75000; 0: all)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    data = build(args.oz, args.books, args.chars, args.seed)
    write(data, args.out)
    for name, docs in data["corpora"].items():
        print(f"{name:7s} {len(docs):5d} documents, {sum('text' in d and len(d['text']) > 300 for d in docs)} passages")
    print(f"{len(data['passages'])} passages to go on with, {len(data['knowledge'])} questions")


if __name__ == "__main__":
    main()
