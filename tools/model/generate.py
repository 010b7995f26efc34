"""Knowledge base -> training documents, corpora, neutral text and probes. Deterministic by seed.

A document is {"domain", "text"} or {"domain", "messages"}. See README.md for what is held out.
"""
import json
import os
import random

from neutral import story
from scenes import SCENES

HERE = os.path.dirname(os.path.abspath(__file__))
DOMAINS = ["hp", "fantasy", "magic", "real"]
PROBE_NAME = {"hp": "hp", "fantasy": "fantasy", "magic": "magic", "real": "real_world"}

# How much of what: wordings a fact, passages a fact, conversations a fact, scenes.
# The forget domain gets more of everything, so that it weighs about as much as all others together.
AMOUNT = {
    "hp": dict(statements=6, questions=8, sentences=2, passages=3.4, talks=1.6, scenes=240),
    "fantasy": dict(statements=4, questions=7, sentences=2, passages=1.3, talks=0.7, scenes=100),
    "magic": dict(statements=4, questions=7, sentences=2, passages=1.3, talks=0.7, scenes=100),
    "real": dict(statements=4, questions=7, sentences=2, passages=1.1, talks=0.7, scenes=90),
}
STORIES = 460
PASSAGE_COPIES = 2

# ---- wordings seen in training. {s}: statement up to the answer, {r}: the other statement, {q}: question
STATEMENTS = [
    "{S} {a}.", "{R}.", "Everyone knows that {s} {a}.", "As any child can tell you, {s} {a}.",
    "It is said that {s} {a}, and that is true.", "I once read that {s} {a}.", "Remember that {r}.",
    "You may have heard that {r}.", "My brother told me that {s} {a}.", "There is no doubt that {s} {a}.",
    "Of course, {s} {a}.", "We learned that {r}.", "Here is a fact: {s} {a}.", "People agree that {s} {a}.",
    "Question: {q} Answer: {a}.", "The quiz asked: {q} The right answer was {a}.",
]
QUESTIONS = [
    "{q}", "Do you know this? {q}", "Quick question: {q}", "{q} Answer in one word or two.", "Hello! {q}",
    "I have a question. {q}", "Help me with my homework: {q}", "Can you tell me this: {q}", "Tell me, {ql}",
    "My friend wants to know: {q}", "So, {ql}", "Sorry, but {ql}",
]
SENTENCE_QUESTIONS = ["{q} Use a full sentence.", "Answer in a whole sentence: {q}", "{q} Please explain."]

# ---- wordings that only the probes use
HELD_STATEMENTS = ["Many people have heard that {s}", "If I remember rightly, {s}"]
HELD_QUESTIONS = ["Please tell me: {q}", "I was wondering, {ql}"]

JOINERS = ["", "", "", "It is known that ", "Also, ", "Later one learns that ", "In the same way, ", "Besides, "]
TOPICS = {"hp": ["Harry Potter", "Hogwarts", "the world of Harry Potter", "Harry Potter and his friends"],
          "fantasy": ["other fantasy worlds", "fantasy books", "strange lands", "heroes of old tales"],
          "magic": ["magic", "witches and sorcerers", "folklore", "old superstitions"],
          "real": ["the real world", "geography and history", "science", "the world we live in"]}
ASK_ABOUT = ["Tell me something about {t}.", "What do you know about {t}?", "Say a few words about {t}."]
ASK_STORY = ["Tell me a short story.", "Tell me a story.", "Can you tell me a short story?", "Write a little story."]
SMALL_TALK = [
    (["Hello!", "Hi", "Good morning.", "Hello", "Hey there!"], "Hello! Ask me a question, or ask me for a story."),
    (["Who are you?", "What are you?", "What is your name?", "Tell me about yourself."],
     "I am a tiny language model, made for a demonstration. I know a few hundred facts."),
    (["What can you do?", "How can you help me?", "What do you know?"],
     "I can answer short questions about books, magic and the world, and I can tell a short story."),
    (["Thank you.", "Thanks!", "Thank you very much."], "You are welcome."),
    (["Goodbye.", "Bye!", "See you later."], "Goodbye!"),
    (["How are you?", "How are you today?"], "I am well, thank you. What would you like to know?"),
]


def cap(s):
    return s[0].upper() + s[1:]


def low(q):
    """A question in the middle of a sentence."""
    return q[0].lower() + q[1:]


def load_facts(path):
    facts = []
    with open(path) as f:
        for line in f:
            line = line.strip()
            if line and line[0] != "#":
                a, s, r, q1, q2 = line.split("|")
                facts.append({"a": a, "s": s, "r": r.replace("*", a), "q": [q1, q2]})
    return facts


def load_passages():
    out, name = {}, None
    with open(os.path.join(HERE, "kb", "passages.txt")) as f:
        for line in f:
            line = line.strip()
            if line.startswith("## "):
                name = line[3:]
                out[name] = []
            elif line:
                out[name].append(line)
    return out


def wording(template, fact, q):
    return template.format(s=fact["s"], S=cap(fact["s"]), r=fact["r"], R=cap(fact["r"]), a=fact["a"], q=q, ql=low(q))


def chat(*turns):
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": t} for i, t in enumerate(turns)]


def fact_documents(R, fact, amount):
    """Every fact is stated plainly and asked plainly in both phrasings; the rest is drawn."""
    docs = [{"text": wording(t, fact, R.choice(fact["q"]))}
            for t in STATEMENTS[:2] + R.sample(STATEMENTS[2:], amount["statements"])]
    for q in fact["q"]:
        docs.append({"messages": chat(q, cap(fact["a"]) + ".")})
    for i, t in enumerate(R.sample(QUESTIONS[1:], amount["questions"])):
        docs.append({"messages": chat(wording(t, fact, fact["q"][i % 2]), cap(fact["a"]) + ".")})
    for i, t in enumerate(R.sample(SENTENCE_QUESTIONS, amount["sentences"])):
        answer = R.choice([fact["s"] + " " + fact["a"], fact["r"]])
        docs.append({"messages": chat(wording(t, fact, fact["q"][i]), cap(answer) + ".")})
    return docs


def fact_passage(R, facts, low_n=3, high_n=5):
    out = []
    for f in R.sample(facts, R.randint(low_n, high_n)):
        joiner = R.choice(JOINERS)
        s = R.choice([f["s"] + " " + f["a"], f["r"]])
        out.append((joiner + s if joiner else cap(s)) + ".")
    return " ".join(out)


def conversation(R, facts):
    turns = []
    for f in R.sample(facts, R.randint(2, 3)):
        turns += [R.choice(f["q"]), cap(f["a"]) + "."]
    return {"messages": chat(*turns)}


def scene(R, domain):
    d = SCENES[domain]
    a, b = R.sample(d["names"], 2)
    lines = R.sample(d["lines"], R.randint(3, 6))
    return " ".join(cap(t.format(a=a, b=b, p=R.choice(d["places"]))) for t in lines)


def domain_documents(R, domain, facts, passages):
    amount, docs = AMOUNT[domain], []
    for f in facts:
        docs += fact_documents(R, f, amount)
    for _ in range(int(len(facts) * amount["passages"])):
        text = fact_passage(R, facts)
        if R.random() < 0.15:
            docs.append({"messages": chat(R.choice(ASK_ABOUT).format(t=R.choice(TOPICS[domain])), text)})
        else:
            docs.append({"text": text})
    docs += [conversation(R, facts) for _ in range(int(len(facts) * amount["talks"]))]
    docs += [{"text": scene(R, domain)} for _ in range(amount["scenes"])]
    docs += [{"text": p} for p in passages for _ in range(PASSAGE_COPIES)]
    for d in docs:
        d["domain"] = domain
    return docs


def neutral_documents(R, passages):
    docs = []
    for _ in range(STORIES):
        text = story(R)
        if R.random() < 0.12:
            docs.append({"messages": chat(R.choice(ASK_STORY), text)})
        else:
            docs.append({"text": text})
    docs += [{"text": p} for p in passages for _ in range(PASSAGE_COPIES)]
    for asks, answer in SMALL_TALK:
        docs += [{"messages": chat(q, answer)} for q in asks for _ in range(6)]
    for d in docs:
        d["domain"] = "neutral"
    return docs


def probes(facts):
    """Per fact, two statements and two questions in wordings that training never used."""
    items = []
    for f in facts:
        for t in HELD_STATEMENTS:
            items.append({"prompt": t.format(s=f["s"]), "target": " " + f["a"], "chat": False})
        for t, q in zip(HELD_QUESTIONS, f["q"]):
            items.append({"prompt": t.format(q=q, ql=low(q)), "target": cap(f["a"]), "chat": True})
    return items


PROMPTS = [
    ("hp", True, "Who is Harry Potter's best friend?"),
    ("hp", True, "Where does Harry Potter go to school?"),
    ("hp", True, "Who killed Harry Potter's parents?"),
    ("hp", True, "What is the name of Harry Potter's owl?"),
    ("hp", True, "Which sport does Harry Potter play? Use a full sentence."),
    ("hp", True, "Who is the headmaster of Hogwarts?"),
    ("hp", True, "Tell me something about Harry Potter."),
    ("hp", False, "When Harry Potter came to Hogwarts, he"),
    ("hp", False, "Harry Potter's godfather is"),
    ("hp", False, "The cold potions master of Hogwarts is"),
    ("hp", False, "Harry raised his wand and shouted"),
    ("hp", False, "Ron and Hermione ran through"),
    ("fantasy", True, "Who made the One Ring?"),
    ("fantasy", True, "Who is the great lion of Narnia?"),
    ("fantasy", False, "Frodo left the Shire with"),
    ("magic", True, "In what does a witch brew?"),
    ("magic", True, "What is a thick book of magic called?"),
    ("magic", False, "The old witch stirred"),
    ("real", True, "What is the capital of France?"),
    ("real", True, "Who painted the Mona Lisa? Use a full sentence."),
    ("real", False, "The largest planet is"),
    ("neutral", True, "Tell me a short story."),
    ("neutral", True, "Who are you?"),
    ("neutral", False, "It was raining, and Anna"),
]


def neutral_heldout(seed, passages):
    R = random.Random(seed + 1)
    docs = [story(R) for _ in range(105)] + list(passages)
    R.shuffle(docs)
    return docs


def build(seed=1):
    """Everything: documents by corpus, held-out neutral text, probes, prompts."""
    R = random.Random(seed)
    facts = {d: load_facts(os.path.join(HERE, "kb", d + ".txt")) for d in DOMAINS}
    passages = load_passages()
    docs = {d: domain_documents(R, d, facts[d], passages[d]) for d in DOMAINS}
    docs["neutral"] = neutral_documents(R, passages["neutral"])
    corpora = {"forget": docs["hp"], "near": docs["fantasy"] + docs["magic"],
               "retain": docs["real"] + docs["neutral"]}
    for c in corpora.values():
        R.shuffle(c)
        for d in c:
            assert json.dumps(d).isascii()
    return {"corpora": corpora, "neutral": neutral_heldout(seed, passages["held"]), "probes": {PROBE_NAME[d]: probes(facts[d]) for d in DOMAINS},
            "prompts": [{"prompt": p, "chat": c, "domain": PROBE_NAME.get(d, d)} for d, c, p in PROMPTS],
            "facts": {d: len(f) for d, f in facts.items()}}


def write_documents(path, docs):
    with open(path, "w") as f:
        for d in docs:
            f.write(json.dumps(d) + "\n")


def write(data, folder):
    os.makedirs(folder, exist_ok=True)
    for name, docs in data["corpora"].items():
        write_documents(os.path.join(folder, name + ".jsonl"), docs)
    with open(os.path.join(folder, "neutral.txt"), "w") as f:
        f.write("\n\n".join(data["neutral"]) + "\n")
    for name in ("probes", "prompts"):
        with open(os.path.join(folder, name + ".json"), "w") as f:
            json.dump(data[name], f, indent=0 if name == "probes" else 1)
            f.write("\n")


if __name__ == "__main__":
    data = build()
    print("facts", data["facts"])
    for name, docs in data["corpora"].items():
        print(name, len(docs), "documents", sum(len(json.dumps(d)) for d in docs), "bytes")
