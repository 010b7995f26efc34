#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Worked examples for the scores: writes scores.json beside itself. Python's standard library only, and
other algorithms than the program's wherever there is a choice: tokens by regular expressions on str.lower(),
common subsequences by recursion, kappa in fractions, orders of options by itertools, xoshiro256** from its
published description.

    /usr/bin/python3 tests/data/make_scores.py          # write
    /usr/bin/python3 tests/data/make_scores.py --check  # compare ROUGE-L with the package rouge_score first (not in Debian)
"""
import functools
import itertools
import json
import math
import pathlib
import random
import re
import sys
from fractions import Fraction

MASK = (1 << 64) - 1


# ---- ROUGE-L

def tokens(text):
    return [t for t in re.split(r"\s+", re.sub(r"[^a-z0-9]+", " ", text.lower())) if re.fullmatch(r"[a-z0-9]+", t)]


def rouge_l(target, prediction):
    a, b = tokens(target), tokens(prediction)

    @functools.lru_cache(maxsize=None)
    def common(i, j):
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + common(i + 1, j + 1)
        return max(common(i + 1, j), common(i, j + 1))

    length = common(0, 0)
    p = length / len(b) if length else 0.0
    r = length / len(a) if length else 0.0
    return {"target": target, "prediction": prediction, "common": length, "target_tokens": len(a),
            "prediction_tokens": len(b), "precision": p, "recall": r, "f1": 2 * p * r / (p + r) if length else 0.0}


def rouge_cases(rng):
    cases = [
        ("police killed the gunman", "police kill the gunman"),
        ("police killed the gunman", "the gunman kill police"),
        ("the cat sat on the mat", "the cat sat on the mat"),
        ("The CAT, sat; on-the mat!", "the cat sat on the mat"),
        ("", "something"), ("something", ""), ("", ""), ("...!?", "---"),
        ("Mr. and Mrs. Dursley, of number four, Privet Drive", "Mr Dursley of number 4 Privet Drive"),
        ("Hermione's wand", "hermione s wand"), ("don't", "dont"), ("under_score", "under score"),
        ("caf\u00e9 na\u00efve", "caf na ve"), ("\u65e5\u672c\u8a9e", "\u65e5\u672c\u8a9e"),
        ("\u212a 273", "k 273"), ("\u0130stanbul", "i stanbul"), ("\u017f", "s"), ("x\u00b2", "x"),
        ("tab\tnew\nline\u00a0wide\u3000space", "tab new line wide space"),
        ("a b a b a b", "b a b a"), ("1 2 3 4 5 6 7 8 9", "9 8 7 6 5 4 3 2 1"),
        ("running runs ran", "run running"), ("\U0001f9d9 wizard \U0001f9d9", "wizard"),
    ]
    words = ["the", "boy", "who", "lived", "Harry", "had", "a", "wand,", "of", "holly."]
    for _ in range(20):
        cases.append((" ".join(rng.choices(words, k=rng.randint(1, 40))),
                      " ".join(rng.choices(words, k=rng.randint(1, 40)))))
    return [rouge_l(*c) for c in cases]


# ---- Cohen's kappa

def kappa(a, b, classes):
    pairs = [(x, y) for x, y in zip(a, b) if x >= 0 and y >= 0]
    n = len(pairs)
    out = {"a": a, "b": b, "classes": classes, "n": n, "observed": None, "expected": None, "kappa": None}
    if n:
        observed = Fraction(sum(x == y for x, y in pairs), n)
        expected = sum(Fraction(sum(x == c for x, _ in pairs), n) * Fraction(sum(y == c for _, y in pairs), n)
                       for c in range(classes))
        out.update(observed=float(observed), expected=float(expected))
        if expected != 1:
            out["kappa"] = float((observed - expected) / (1 - expected))
    return out


def kappa_cases(rng):
    # Two readers of 50 proposals: both yes 20, first alone 5, second alone 10, both no 15. Kappa is 0.4.
    textbook = ([0] * 25 + [1] * 25, [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15)
    cases = [kappa(*textbook, 2), kappa([], [], 4), kappa([0, 0, 0], [0, 0, 0], 4), kappa([0, 1], [1, 0], 2),
             kappa([0, 0], [1, 1], 2), kappa([-1, 2], [2, -1], 4), kappa([-1, 2, 3], [2, 2, 0], 4),
             kappa([0, 1, 2, 3], [0, 1, 2, 3], 4), kappa([2, 2, 2], [2, 2, 1], 3)]
    for _ in range(10):
        n = rng.randint(1, 200)
        a = [rng.randint(-1, 3) for _ in range(n)]
        b = [x if rng.random() < 0.6 else rng.randint(-1, 3) for x in a]
        cases.append(kappa(a, b, 4))
    return cases


# ---- bootstrap

def splitmix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    z = x
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return x, z ^ (z >> 31)


class Xoshiro:
    """xoshiro256** seeded by splitmix64, streams as base/rng.h has them."""

    def __init__(self, seed, stream):
        _, y = splitmix(seed)
        y ^= (stream * 0xD1342543DE82EF95) & MASK
        self.s = []
        for _ in range(4):
            y, z = splitmix(y)
            self.s.append(z)

    def next(self):
        def rotl(v, k):
            return ((v << k) | (v >> (64 - k))) & MASK
        s = self.s
        out = (rotl((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        return out

    def below(self, n):
        most = (1 << 64) // n * n
        while True:
            x = self.next()
            if x < most:
                return x % n


def bootstrap(x, weight, resamples, level, seed, group=None):
    n = len(x)
    w = weight or [1.0] * n
    groups = [[i for i in range(n) if group[i] == g] for g in range(max(group) + 1)] if group else [[i] for i in range(n)]

    def mean(items):
        # Exact sums, rounded once: the program's may differ by the rounding of its additions.
        return float(sum(Fraction(w[i]) * Fraction(x[i]) for i in items) / sum(Fraction(w[i]) for i in items))

    means = []
    for r in range(resamples):
        rng = Xoshiro(seed, 0x626F6F7400000000 + r)
        drawn = [groups[rng.below(len(groups))] for _ in groups]
        means.append(mean([i for g in drawn for i in g]))
    means.sort()

    def quantile(p):
        h = p * (resamples - 1)
        lo = min(math.floor(h), resamples - 1)
        hi = min(lo + 1, resamples - 1)
        return (1 - (h - lo)) * means[lo] + (h - lo) * means[hi]

    return {"mean": mean(range(n)), "low": quantile((1 - level) / 2), "high": quantile(1 - (1 - level) / 2)}


def bootstrap_cases(rng):
    cases = []
    for n, resamples, level, seed, weighted in [(5, 400, 0.95, 0, False), (2, 100, 0.9, 7, False), (40, 300, 0.95, 1, True),
                                                (30, 1, 0.5, 3, False), (17, 250, 0.99, 2**63 + 5, True)]:
        a = [round(rng.gauss(0, 1), 3) for _ in range(n)]
        b = [round(x + rng.gauss(0.5, 0.2), 3) for x in a]
        w = [float(rng.randint(1, 500)) for _ in range(n)] if weighted else None
        case = {"a": a, "b": b, "weight": w, "resamples": resamples, "level": level, "seed": str(seed)}
        case["mean_a"] = bootstrap(a, w, resamples, level, seed)
        # Pairs stay together: the difference item by item, then its mean.
        case["difference"] = bootstrap([y - x for x, y in zip(a, b)], w, resamples, level, seed)
        cases.append(case)
    # Groups are drawn whole. Numbers of their own, so that the cases after these stay as they are.
    rng = random.Random(7)
    for group, weighted in [([0, 0, 1, 2, 1, 0, 3, 3], False), ([i * 7 % 5 for i in range(30)], True)]:
        n = len(group)
        a = [round(rng.gauss(0, 1), 3) for _ in range(n)]
        b = [round(x + rng.gauss(0.5, 0.2), 3) for x in a]
        w = [float(rng.randint(1, 500)) for _ in range(n)] if weighted else None
        case = {"a": a, "b": b, "weight": w, "group": group, "resamples": 200, "level": 0.9, "seed": "4"}
        case["mean_a"] = bootstrap(a, w, 200, 0.9, 4, group)
        case["difference"] = bootstrap([y - x for x, y in zip(a, b)], w, 200, 0.9, 4, group)
        cases.append(case)
    return cases


# ---- multiple choice

def choice(logprob, answer):
    options = len(logprob[0])
    orders = list(itertools.permutations(range(options)))
    if len(logprob) == 1:
        orders = orders[:1]
    right, probability = [], []
    for order, l in zip(orders, logprob):
        best = max(l)
        chosen = order[l.index(best)]
        right.append(chosen == answer)
        e = [math.exp(v) for v in l]
        probability.append(e[order.index(answer)] / sum(e))
    return {"logprob": logprob, "answer": answer, "orders": [list(o) for o in orders], "right": right[0],
            "strict": all(right), "mean": float(Fraction(sum(right), len(right))),
            "probability": sum(probability) / len(probability)}


def choice_cases(rng):
    cases = []
    letter = [-0.2, -1.8, -2.5, -3.1]  # likes A whatever stands there
    cases.append(choice([letter] * 24, 2))
    knows = [[-0.1 if o == 3 else -3.0 - 0.1 * j for j, o in enumerate(p)] for p in itertools.permutations(range(4))]
    cases.append(choice(knows, 3))
    cases.append(choice(knows, 0))
    cases.append(choice([[-1.0, -1.0]], 0))  # a tie goes to the earlier position
    cases.append(choice([[-1.0, -1.0]], 1))
    cases.append(choice([[-0.5]], 0))
    for options in (2, 3, 4, 5):
        for _ in range(4):
            answer = rng.randrange(options)
            cases.append(choice([[round(rng.gauss(-2, 0.6) + (1.2 if o == answer else 0), 4) for o in p]
                                 for p in itertools.permutations(range(options))], answer))
    return cases


def main():
    rng = random.Random(20240607)
    out = {"rouge_l": rouge_cases(rng), "kappa": kappa_cases(rng), "bootstrap": bootstrap_cases(rng), "choice": choice_cases(rng)}
    if "--check" in sys.argv:
        from rouge_score import rouge_scorer
        scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
        for c in out["rouge_l"]:
            s = scorer.score(c["target"], c["prediction"])["rougeL"]
            assert all(abs(x - y) < 1e-12 for x, y in zip(s, (c["precision"], c["recall"], c["f1"]))), c
        print(len(out["rouge_l"]), "scores agree with rouge_score")
    lines = ",\n".join(
        json.dumps(k) + ": [\n" + ",\n".join(json.dumps(v) for v in vs) + "\n]" for k, vs in out.items())
    pathlib.Path(__file__).with_name("scores.json").write_text("{" + lines + "}\n")


main()
