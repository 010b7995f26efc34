#!/usr/bin/env python3
"""Writes what tests read of PyTorch's and NumPy's own hand: tests/data/containers_pN.pt (one object in each
protocol of pickle) and the corpora of the fuzz targets that open files of tensors (tests/fuzz/pickle, npz,
bundle). Needs torch and numpy; made with torch 2.14.1, numpy 2.4.6. Usage: make_containers.py"""
import argparse
import collections
import io
import pathlib
import struct
import zipfile

import numpy as np
import torch

here = pathlib.Path(__file__).resolve().parent
fuzz = here.parent / "fuzz"
W = torch.arange(24.0).reshape(4, 6)


def everything():
    """All that bundle.h reads, views of one storage among them."""
    state = collections.OrderedDict(
        W=W, turned=W.t(), part=W[1:3, 2:5], steps=W[::2, ::3], turned3=W.reshape(2, 3, 4).permute(2, 0, 1),
        scalar=torch.tensor(7), empty=torch.zeros(0, 3), parameter=torch.nn.Parameter(W),
        i8=torch.tensor([1, -2], dtype=torch.int8), i16=torch.tensor([1, -2], dtype=torch.int16),
        i32=torch.tensor([1, -2], dtype=torch.int32), u8=torch.tensor([1, 200], dtype=torch.uint8),
        b=torch.tensor([True, False]), bf16=W.bfloat16().t(), f16=W.half(), f64=W.double())
    linear = torch.nn.Linear(3, 2)
    with torch.no_grad():
        for p in linear.parameters():
            p.fill_(0.5)
    optimizer = torch.optim.Adam(linear.parameters())
    linear(torch.ones(3)).sum().backward()
    optimizer.step()
    return {
        "state": state,
        "linear": linear.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(
            layer=3, path=pathlib.PurePosixPath("/a/b"), big=2**70, least=-(2**63), nan=float("nan"), t=(1, 2, [3]),
            s={1}, none=None, device=torch.device("cuda:1"), dtype=torch.bfloat16, shape=W.shape),
        "numpy": {"f4": np.float32(1.5), "i8": np.int64(-3), "b1": np.bool_(True)},
        "list": [W, 1, {"x": W}],
    }


def saved(value, protocol=2):
    out = io.BytesIO()
    torch.save(value, out, pickle_protocol=protocol)
    return out.getvalue()


def pickle_of(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as z:
        return z.read(next(n for n in z.namelist() if n.endswith("/data.pkl")))


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(save, **arrays):
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def safetensors(header, data):
    return struct.pack("<Q", len(header)) + header + data


def put(folder, name, data):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def main():
    torch.manual_seed(0)
    a = W.numpy()
    small = {"a": W.t(), "k": 3, "s": "x"}
    for protocol in (2, 4):
        put(here, f"containers_p{protocol}.pt", saved(everything(), protocol))
    for protocol in (2, 3, 4, 5):
        put(fuzz / "pickle", f"everything_p{protocol}", pickle_of(saved(everything(), protocol)))
    put(fuzz / "pickle", "small", pickle_of(saved(small)))
    put(fuzz / "pickle", "untyped", pickle_of(saved({"x": torch.ones(2).to(torch.uint16)})))
    # Behind the mark PK 3 4, which the target puts before.
    put(fuzz / "npz", "checkpoint", saved(small)[4:])
    put(fuzz / "npz", "everything", saved(everything())[4:])
    put(fuzz / "npz", "stored", npz(np.savez, W=a, F=np.asfortranarray(a))[4:])
    put(fuzz / "npz", "packed", npz(np.savez_compressed, W=a, B=a.astype(">f8"))[4:])
    put(fuzz / "bundle", "array.npy", npy(a))
    put(fuzz / "bundle", "turned.npy", npy(np.asfortranarray(a.astype(">i2"))))
    put(fuzz / "bundle", "scalar.npy", npy(np.float32(1)))
    put(fuzz / "bundle", "two.safetensors", safetensors(
        b'{"__metadata__":{"k":"3"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
        b'"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}}', bytes(22)))
    put(fuzz / "bundle", "empty.safetensors", safetensors(b"{}", b""))


main()
