"""Training: documents -> windows -> a small Llama.

Documents of one domain are laid out in groups of GROUP, one after another. A window then mostly stays
in one world, and the model learns to keep track of which one it is in: that signal in the residual
stream is what a sparse autoencoder can later separate. Single documents, as the probes ask for them,
occur at the start of windows and after every change of group.
"""
import math
import random
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from bpe import BOS, IM_END, IM_START
from model import Llama

GROUP = 8
LR, WEIGHT_DECAY, WARMUP, BATCH_TOKENS = 1.5e-3, 0.05, 200, 512
# An assistant's answer is two or three tokens in a document of thirty; without more weight the gradient is
# mostly about how questions are worded, and answers are learned last.
ANSWER_WEIGHT = 4.0


def render(doc):
    """A document as text. Conversations in ChatML, exactly as llama.cpp's chatml template writes them."""
    if "text" in doc:
        return doc["text"]
    return "".join(f"{IM_START}{m['role']}\n{m['content']}{IM_END}\n" for m in doc["messages"])


def encode_documents(tok, corpora):
    """[(domain, [(id, is answer), ...])], each document starting with the BOS token."""
    out = []
    for docs in corpora.values():
        for d in docs:
            ids = [tok.ids[BOS]] + tok.encode(render(d))
            out.append((d["domain"], list(zip(ids, answer_mask(tok, ids)))))
    return out


def answer_mask(tok, ids):
    """True for the tokens that an assistant writes, the closing token included."""
    start, end = [tok.ids[IM_START]] + tok.encode("assistant\n"), tok.ids[IM_END]
    mask, inside = [], False
    for i, t in enumerate(ids):
        mask.append(inside)
        if inside:
            inside = t != end
        elif t == start[-1]:
            inside = ids[max(0, i - len(start) + 1):i + 1] == start
    return mask


def windows(docs, rng, ctx):
    """One epoch: groups of one domain, in random order, cut into rows of ctx + 1 (token, is answer)."""
    by = {}
    for domain, pairs in docs:
        by.setdefault(domain, []).append(pairs)
    groups = []
    for items in by.values():
        rng.shuffle(items)
        groups += [items[i:i + GROUP] for i in range(0, len(items), GROUP)]
    rng.shuffle(groups)
    stream = [p for g in groups for pairs in g for p in pairs]
    start = rng.randrange(ctx)  # another cut every epoch
    n = (len(stream) - start - 1) // ctx
    return torch.tensor([stream[start + i * ctx: start + (i + 1) * ctx + 1] for i in range(n)])


def train(tok, corpora, epochs, ctx, seed, log=print, batch_tokens=BATCH_TOKENS, lr=LR, bf16=False, epoch_done=None,
          until=0, start=None, **shape):
    """bf16: products in bfloat16, twice as fast where the processor has it. epoch_done(model, epoch) is called
    after each epoch, for checkpoints. until: stop after so many of the epochs (0: all of them). start: weights."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    docs = encode_documents(tok, corpora)
    model = Llama(len(tok.vocab), ctx=ctx, **shape)
    if start:
        model.load_state_dict(start)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY},
                             {"params": vectors, "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.98))
    tokens = sum(len(ids) for _, ids in docs)
    total = epochs * (tokens // batch_tokens)
    short = ctx // 2  # cheaper; only the last epoch needs to see the far positions
    log(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {tokens} tokens, {total} steps")
    step, n, loss_sum, t0 = 0, 0, 0.0, time.time()
    for epoch in range(until or epochs):
        width = ctx if epoch + 1 == epochs else short
        batch = batch_tokens // width
        rows = windows(docs, rng, width)
        rows = rows[torch.randperm(len(rows))]
        for i in range(0, len(rows) - batch + 1, batch):
            # linear warm-up, then a cosine to 3 percent
            rate = min(1.0, (step + 1) / WARMUP) * (
                0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))))
            for g in opt.param_groups:
                g["lr"] = lr * rate
            x = rows[i:i + batch]
            ids, goal = x[:, :-1, 0], x[:, 1:, 0].flatten()
            weight = 1.0 + (ANSWER_WEIGHT - 1.0) * x[:, 1:, 1].flatten()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = model(ids)
            each = F.cross_entropy(logits.float().flatten(0, 1), goal, reduction="none")
            loss = (each * weight).sum() / weight.sum()
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            step, n, loss_sum = step + 1, n + 1, loss_sum + each.detach().mean().item()
            if step % 200 == 0:
                used = time.time() - t0
                log(f"step {step}/{total} epoch {epoch + 1} loss {loss_sum / n:.3f} "
                    f"{used:.0f} s, {step * batch_tokens / used:.0f} tokens/s")
                n, loss_sum = 0, 0.0
        if epoch_done:
            epoch_done(model, epoch + 1)
    return model.eval().requires_grad_(False)
