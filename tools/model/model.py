"""A small Llama in PyTorch: RMSNorm, rotary positions on interleaved pairs, SwiGLU, tied head.

Rotary pairs are (0,1), (2,3), ... as llama.cpp's "llama" architecture expects them, so that weights
are exported without permutation.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.w = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.w


def rotate(x, cos, sin):
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.heads = heads
        self.attn_norm, self.ffn_norm = RMSNorm(d), RMSNorm(d)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, d, bias=False)

    def forward(self, x, cos, sin, mask):
        b, t, d = x.shape
        q, k, v = self.qkv(self.attn_norm(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        score = torch.matmul(q * (1 / math.sqrt(q.shape[-1])), k.transpose(-1, -2)) + mask
        y = torch.matmul(torch.softmax(score, -1), v)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        g, u = self.gate_up(self.ffn_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(g) * u)


class Llama(nn.Module):
    def __init__(self, vocab, d=192, layers=4, heads=6, ffn=512, ctx=256):
        super().__init__()
        self.cfg = dict(vocab=vocab, d=d, layers=layers, heads=heads, ffn=ffn, ctx=ctx)
        self.emb = nn.Embedding(vocab, d)
        self.blocks = nn.ModuleList([Block(d, heads, ffn) for _ in range(layers)])
        self.norm = RMSNorm(d)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0, 0.02 if name == "emb.weight" else 1 / math.sqrt(p.shape[1]))
            if name.endswith(("out.weight", "down.weight")):
                p.data.mul_(1 / math.sqrt(2 * layers))
        freq = 1.0 / 10000.0 ** (torch.arange(0, d // heads, 2).float() / (d // heads))
        angle = torch.outer(torch.arange(ctx).float(), freq)
        self.register_buffer("cos", angle.cos(), False)
        self.register_buffer("sin", angle.sin(), False)
        self.register_buffer("mask", torch.full((ctx, ctx), -1e9).triu(1), False)

    def run(self, x, first, last):
        """Layers first..last-1 on a residual stream."""
        t = x.shape[1]
        for block in self.blocks[first:last]:
            x = block(x, self.cos[:t], self.sin[:t], self.mask[:t, :t])
        return x

    def residual(self, ids, layer):
        """The stream after `layer` (llama.cpp: l_out-layer)."""
        return self.run(self.emb(ids), 0, layer + 1)

    def head(self, x):
        return F.linear(self.norm(x), self.emb.weight)

    def forward(self, ids):
        return self.head(self.run(self.emb(ids), 0, len(self.blocks)))
