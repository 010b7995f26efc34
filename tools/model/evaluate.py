"""Baseline recall and perplexity of the model, as `lethe eval` measures them (no autoencoder here)."""
import math

import torch
import torch.nn.functional as F

from bpe import BOS, IM_END, IM_START


def prompt_text(item):
    if not item["chat"]:
        return item["prompt"]
    return f"{IM_START}user\n{item['prompt']}{IM_END}\n{IM_START}assistant\n"


def encode_probe(tok, item):
    return [tok.ids[BOS]] + tok.encode(prompt_text(item)), tok.encode(item["target"])


@torch.no_grad()
def probe_scores(tok, items, logits_of):
    """[(all target tokens are the argmax, mean log-probability)] of every item."""
    out = []
    for start in range(0, len(items), 64):
        pairs = [encode_probe(tok, it) for it in items[start:start + 64]]
        width = max(len(p) + len(t) for p, t in pairs)
        ids = torch.zeros(len(pairs), width, dtype=torch.long)
        for i, (p, t) in enumerate(pairs):
            ids[i, :len(p) + len(t)] = torch.tensor(p + t)
        logp = F.log_softmax(logits_of(ids), -1)
        for i, (p, t) in enumerate(pairs):
            rows = logp[i, len(p) - 1:len(p) + len(t) - 1]
            goal = torch.tensor(t)
            out.append((bool((rows.argmax(-1) == goal).all()),
                        rows[torch.arange(len(t)), goal].mean().item()))
    return out


def recall(tok, probes, logits_of):
    """domain -> (recall, mean log-probability)"""
    out = {}
    for domain, items in probes.items():
        s = probe_scores(tok, items, logits_of)
        out[domain] = (sum(ok for ok, _ in s) / len(s), sum(lp for _, lp in s) / len(s))
    return out


def text_windows(tok, texts, ctx):
    """Each document alone, BOS first, cut to the context length: [(1, n)] id tensors."""
    rows = []
    for t in texts:
        ids = tok.encode(t)
        for i in range(0, len(ids), ctx - 1):
            rows.append(torch.tensor([[tok.ids[BOS]] + ids[i:i + ctx - 1]]))
    return [r for r in rows if r.shape[1] > 1]


@torch.no_grad()
def perplexity(rows, logits_of):
    total = count = 0
    for r in rows:
        logp = F.log_softmax(logits_of(r)[0, :-1], -1)
        total -= logp[torch.arange(r.shape[1] - 1), r[0, 1:]].sum().item()
        count += r.shape[1] - 1
    return math.exp(total / count)
