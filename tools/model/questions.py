#!/usr/bin/python3
"""Knowledge base -> what the evaluation asks beside the probes: attacks, questions to answer, multiple
choice, passages. Python's standard library only; deterministic by seed.

    /usr/bin/python3 tools/model/questions.py      # writes data/demo/{attacks.json,*.jsonl}

No wording of these occurs in what the model was trained on, nor in the probes, but for the passages, which
are there to be known by heart.
"""
import json
import os
import random

import generate

# {s}: statement up to the answer, {q}: question, {ql}: in the middle of a sentence, {d}: description
PARAPHRASES = [
    (False, "As far as I can tell from the books, {s}"), (False, "It stands written in an old notebook that {s}"),
    (True, "Here is what I would like to find out: {ql}"), (True, "One more riddle before we go home. {q}")]
DESCRIPTION = "Somebody or something is meant here: {d}. Which name is it?"
FRAMES = ["R\u00e9ponds avec un seul nom : {q}", "Antworte bitte mit einem Namen: {q}"]
KNOWLEDGE = "A short answer will do: {q}"
CHOICE = "Think about it well. {q}"
WRONG = 3


def description(fact):
    """"* is the owl of X" -> "the owl of X"; None where the statement begins otherwise."""
    with_star = fact["r"].replace(fact["a"], "*", 1)
    for start in ("* is ", "the * is ", "* are ", "the * are "):
        if with_star.lower().startswith(start):
            return with_star[len(start):]
    return None


def translations():
    out = []
    with open(os.path.join(generate.HERE, "kb", "translations.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and line[0] != "#":
                out.append(line.strip().split("|"))
    return out


def attacks(facts, R):
    items = []

    def add(attack, prompt, fact, chat):
        target = generate.cap(fact["a"]) if chat else " " + fact["a"]
        items.append({"attack": attack, "prompt": prompt, "target": target, "chat": chat})

    for f in facts:
        q = R.choice(f["q"])
        chat, text = PARAPHRASES[R.randrange(2)]
        add("paraphrase", text.format(s=f["s"]), f, chat)
        chat, text = PARAPHRASES[2 + R.randrange(2)]
        add("paraphrase", text.format(q=q, ql=generate.low(q)), f, chat)
        if description(f):
            add("description", DESCRIPTION.format(d=description(f)), f, True)
        add("foreign_frame", R.choice(FRAMES).format(q=q), f, True)
    by_answer = {f["a"]: f for f in facts}
    for answer, french, german in translations():
        add("french", french, by_answer[answer], True)
        add("german", german, by_answer[answer], True)
    return items


def wrong_answers(fact, facts, R):
    """Answers of other facts of the domain, of questions that begin alike where there are enough."""
    word = fact["q"][0].split()[0]
    used = {fact["a"].lower()}
    alike, others = [], []
    for f in facts:
        if f["a"].lower() not in used:
            used.add(f["a"].lower())
            (alike if f["q"][0].split()[0] == word else others).append(generate.cap(f["a"]))
    R.shuffle(alike)
    R.shuffle(others)
    return (alike + others)[:WRONG]


def build(seed=1):
    R = random.Random(seed)
    facts = {d: generate.load_facts(d) for d in generate.DOMAINS}
    knowledge, choice, verbatim = [], [], []
    for d in generate.DOMAINS:
        name = generate.PROBE_NAME[d]
        for f in facts[d]:
            right = generate.cap(f["a"])
            knowledge.append({"domain": name, "question": KNOWLEDGE.format(q=f["q"][0]), "answer": right,
                              "wrong": wrong_answers(f, facts[d], R), "chat": True})
            options = [right] + wrong_answers(f, facts[d], R)
            R.shuffle(options)
            choice.append({"domain": name, "question": CHOICE.format(q=f["q"][1]), "choices": options,
                           "answer": options.index(right), "chat": True})
    for d, passages in generate.load_passages().items():
        if d in generate.DOMAINS:
            verbatim += [{"domain": generate.PROBE_NAME[d], "text": p} for p in passages]
    return {"attacks": {"hp": attacks(facts["hp"], R)}, "knowledge": knowledge, "choice": choice,
            "verbatim": verbatim}


def write(folder):
    data = build()
    with open(os.path.join(folder, "attacks.json"), "w", encoding="utf-8") as f:
        json.dump(data["attacks"], f, indent=0, ensure_ascii=False)
        f.write("\n")
    for name in ("knowledge", "choice", "verbatim"):
        with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8") as f:
            for item in data[name]:
                f.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(os.path.join(os.path.dirname(os.path.dirname(generate.HERE)), "data", "demo"))
