"""Byte-level BPE, as llama.cpp's "gpt2" tokenizer with the "gpt-2" pre-tokenizer runs it.

train() learns the merges; Tokenizer encodes. Texts of this project are plain ASCII (generate.py checks
it), for which the expression below cuts exactly as llama.cpp's does.
"""
import json
import re
from collections import Counter

BOS, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [BOS, IM_START, IM_END]
_SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
_SPECIAL = re.compile("(" + "|".join(re.escape(s) for s in SPECIALS) + ")")


def byte_table():
    """GPT-2's map from a byte to a printable character: printable bytes stand for themselves."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + n)
            n += 1
    return table


_BYTES = byte_table()


def _words(text):
    return ["".join(_BYTES[b] for b in w.encode()) for w in _SPLIT.findall(text)]


def train(texts, size):
    """Learn a vocabulary of `size` tokens: specials, 256 bytes, then merges by frequency."""
    count = Counter()
    for text in texts:
        for part in _SPECIAL.split(text):
            if part not in SPECIALS:
                count.update(_words(part))
    words = [[list(w), n] for w, n in sorted(count.items())]
    pairs, where = Counter(), {}
    for i, (w, n) in enumerate(words):
        for pair in zip(w, w[1:]):
            pairs[pair] += n
            where.setdefault(pair, set()).add(i)
    vocab = SPECIALS + [_BYTES[b] for b in range(256)]
    merges, known = [], set(vocab)
    while len(vocab) < size and pairs:
        best = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))[0]
        joined = best[0] + best[1]
        merges.append(best)
        if joined not in known:  # two different merges may spell the same token
            known.add(joined)
            vocab.append(joined)
        for i in where.pop(best):
            w, n = words[i]
            for pair in zip(w, w[1:]):
                pairs[pair] -= n
                if pairs[pair] <= 0:
                    del pairs[pair]
            j, out = 0, []
            while j < len(w):
                if j + 1 < len(w) and (w[j], w[j + 1]) == best:
                    out.append(joined)
                    j += 2
                else:
                    out.append(w[j])
                    j += 1
            words[i][0] = out
            for pair in zip(out, out[1:]):
                pairs[pair] += n
                where.setdefault(pair, set()).add(i)
    return {"vocab": vocab, "merges": [list(m) for m in merges]}


class Tokenizer:
    def __init__(self, spec):
        self.vocab, self.merges = spec["vocab"], spec["merges"]
        self.ids = {t: i for i, t in enumerate(self.vocab)}
        self.rank = {tuple(m): i for i, m in enumerate(self.merges)}
        self.cache = {}

    @classmethod
    def load(cls, path):
        with open(path) as f:
            return cls(json.load(f))

    def _word(self, word):
        if word in self.cache:
            return self.cache[word]
        w = list(word)
        while len(w) > 1:
            ranks = [self.rank.get(p, 1 << 30) for p in zip(w, w[1:])]
            low = min(ranks)
            if low == 1 << 30:
                break
            i = ranks.index(low)
            w[i:i + 2] = [w[i] + w[i + 1]]
        self.cache[word] = [self.ids[t] for t in w]
        return self.cache[word]

    def encode(self, text):
        """Token ids; special tokens written in the text become themselves. No BOS is added."""
        out = []
        for part in _SPECIAL.split(text):
            if part in SPECIALS:
                out.append(self.ids[part])
            else:
                for w in _words(part):
                    out += self._word(w)
        return out

    def decode(self, ids):
        back = {c: b for b, c in _BYTES.items()}
        out = bytearray()
        for i in ids:
            t = self.vocab[i]
            out += t.encode() if t in SPECIALS else bytes(back[c] for c in t)
        return out.decode("utf-8", "replace")
