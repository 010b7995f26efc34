"""Writes the model as GGUF (version 3), the file format of ggml and llama.cpp."""
import struct

import numpy as np

from bpe import BOS, IM_END, IM_START, SPECIALS

CHAT_TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
                 "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}"
                 "{{ '<|im_start|>assistant\\n' }}{% endif %}")
ALIGN = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TYPE_F32, TYPE_F16 = 0, 1
NORMAL, CONTROL = 1, 3


def _string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def _value(kind, v):
    if kind == STRING:
        return _string(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


def _pair(key, kind, v):
    if isinstance(v, list):
        return (_string(key) + struct.pack("<IIQ", ARRAY, kind, len(v)) + b"".join(_value(kind, x) for x in v))
    return _string(key) + struct.pack("<I", kind) + _value(kind, v)


DEMO = ("lethe-demo", "A tiny demonstration model for Lethe: a few hundred facts, on purpose.")


def metadata(tok, cfg, file_type, about):
    head = cfg["d"] // cfg["heads"]
    return [
        ("general.architecture", STRING, "llama"), ("general.name", STRING, about[0]),
        ("general.description", STRING, about[1]),
        ("general.license", STRING, "mit"), ("general.file_type", U32, file_type),
        ("llama.vocab_size", U32, cfg["vocab"]), ("llama.context_length", U32, cfg["ctx"]),
        ("llama.embedding_length", U32, cfg["d"]), ("llama.block_count", U32, cfg["layers"]),
        ("llama.feed_forward_length", U32, cfg["ffn"]), ("llama.attention.head_count", U32, cfg["heads"]),
        ("llama.attention.head_count_kv", U32, cfg["heads"]),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5), ("llama.rope.freq_base", F32, 10000.0),
        ("llama.rope.dimension_count", U32, head),
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", STRING, tok.vocab),
        ("tokenizer.ggml.token_type", I32, [CONTROL if t in SPECIALS else NORMAL for t in tok.vocab]),
        ("tokenizer.ggml.merges", STRING, [" ".join(m) for m in tok.merges]),
        ("tokenizer.ggml.bos_token_id", U32, tok.ids[BOS]), ("tokenizer.ggml.eos_token_id", U32, tok.ids[IM_END]),
        ("tokenizer.ggml.add_bos_token", BOOL, True), ("tokenizer.ggml.add_eos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]


def tensors(model):
    sd = model.state_dict()
    yield "token_embd.weight", sd["emb.weight"]
    yield "output_norm.weight", sd["norm.w"]
    for i in range(model.cfg["layers"]):
        p, g = f"blocks.{i}.", f"blk.{i}."
        q, k, v = sd[p + "qkv.weight"].chunk(3, 0)
        gate, up = sd[p + "gate_up.weight"].chunk(2, 0)
        for name, t in [("attn_norm", sd[p + "attn_norm.w"]), ("attn_q", q), ("attn_k", k), ("attn_v", v),
                        ("attn_output", sd[p + "out.weight"]), ("ffn_norm", sd[p + "ffn_norm.w"]),
                        ("ffn_gate", gate), ("ffn_up", up), ("ffn_down", sd[p + "down.weight"])]:
            yield g + name + ".weight", t


def write_gguf(path, model, tok, half=True, about=DEMO):
    """Matrices in F16 (or F32 for exact comparison), norms in F32. about: name and description."""
    pairs = metadata(tok, model.cfg, 1 if half else 0, about)
    infos, blobs, offset = [], [], 0
    for name, t in tensors(model):
        f16 = half and t.dim() == 2
        data = np.ascontiguousarray(t.numpy(), dtype="<f2" if f16 else "<f4").tobytes()
        dims = list(reversed(t.shape))  # ggml: the contiguous dimension first
        infos.append(_string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
                     + struct.pack("<IQ", TYPE_F16 if f16 else TYPE_F32, offset))
        data += b"\0" * (-len(data) % ALIGN)
        blobs.append(data)
        offset += len(data)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs))
    head += b"".join(_pair(*p) for p in pairs) + b"".join(infos)
    head += b"\0" * (-len(head) % ALIGN)
    with open(path, "wb") as f:
        f.write(head)
        for b in blobs:
            f.write(b)
