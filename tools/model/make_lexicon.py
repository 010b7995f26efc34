#!/usr/bin/env python3
"""Makes data/demo/lexicon.json, the offline judge's lists, from the knowledge base. No library needed:

    /usr/bin/python3 tools/model/make_lexicon.py

Names are the words with a capital in the statements of kb/hp.txt, which begin small unless a name comes
first, alone and in a row ("Sirius Black"), and the answers. A name that the texts to be kept have, too, is
no sign of the topic, nor is an ordinary word out of a longer name: those are accidental. First names stay
explicit, for in these texts nobody else bears them; a lexicon for other texts should look at each.
"""
import json
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "data", "demo")

# The topic's world without its names. Written by hand.
THEMATIC = ("wizard witch wizardry witchcraft wand spell potion broom broomstick cauldron charm curse hex jinx "
            "sorcerer magic magical enchanted owl phoenix werewolf hippogriff goblin dragon headmaster gamekeeper "
            "herbology divination transfiguration prophecy spellbook robes castle dungeon").split() + [
            "school of magic", "dark lord", "flying broom", "invisibility cloak", "common room", "potions master",
            "house of the brave", "lightning bolt", "cupboard under the stairs", "three-headed dog"]
# Words with a capital only inside a longer name, which are ordinary alone. Written by hand.
ORDINARY = set("Alley Chamber Drive Eater Eaters Forbidden Forest Hat Madam Magic Map Minister Mirror Moaning Nine "
               "Philosopher Platform Secrets Sorting Stone Willow".split())
COINED = {"butterbeer", "dementors", "dementor"}  # answers without a capital that are the topic's alone
WORD = r"[A-Za-z][A-Za-z'-]*"


def kept_text():
    text = open(os.path.join(DEMO, "neutral.txt"), encoding="utf-8").read()
    for name in ("near.jsonl", "retain.jsonl"):
        with open(os.path.join(DEMO, name), encoding="utf-8") as f:
            for line in f:
                o = json.loads(line)
                text += "\n" + o.get("text", "") + "\n".join(m["content"] for m in o.get("messages", []))
    return text


def bare(word):
    return re.sub(r"('s|')$", "", word)


def names(statement):
    """Capitalised words, and rows of them."""
    row, out = [], set()
    for token in re.findall(WORD + r"|[.,;:?!]|\*", statement) + ["."]:
        if token[0].isupper() and len(bare(token)) > 1:
            row.append(bare(token))
            out.add(bare(token))
            if token == bare(token):
                continue
        if len(row) > 1:
            out.add(" ".join(row))
        row = []
    return out


def main():
    kept = kept_text()

    def is_kept(term):
        return re.search(r"(?<![A-Za-z])" + re.escape(term) + r"(?:e?s)?(?![A-Za-z])", kept,
                         0 if any(c.isupper() for c in term) else re.I) is not None

    found, common = set(), set()
    with open(os.path.join(HERE, "kb", "hp.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if not line or line[0] == "#":
                continue
            answer, before, around = line.split("|")[:3]
            found |= names(before) | names(around.replace("*", answer))
            if answer[0].isupper():
                found |= {answer} | names(answer)
            else:
                common.add(answer)
    # The judge knows the ending s of a term, not its absence.
    found |= {"Death Eater", "Muggle", "Horcrux"}
    common |= {"dementor"}
    accidental = sorted(t for t in found if is_kept(t) or t in ORDINARY)
    explicit = sorted(found - set(accidental)) + sorted(common & COINED)
    thematic = sorted(set(THEMATIC) | common - COINED - {"cupboard"})
    with open(os.path.join(DEMO, "lexicon.json"), "w", encoding="utf-8") as f:
        json.dump({"topic": "the world of Harry Potter", "explicit": explicit, "thematic": thematic,
                   "accidental": accidental}, f, indent=1)
        f.write("\n")


main()
