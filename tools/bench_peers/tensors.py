"""Tensors in safetensors files, with PyTorch alone: what has CUDA need not have more."""

import ctypes
import json
import math
from pathlib import Path

import torch

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}


def load_file(path: str | Path) -> dict[str, torch.Tensor]:
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    found = {}
    for name, about in header.items():
        first, last = (start + at for at in about["data_offsets"])
        dtype, shape = TYPES[about["dtype"]], about["shape"]
        if last - first != math.prod(shape) * dtype.itemsize or last > len(data):
            raise ValueError(f"{path}: `{name}` is cut off")
        # A copy of its own: tensors want to be aligned, and an empty one has no bytes to look at.
        own = bytearray(data[first:last])
        found[name] = torch.frombuffer(own, dtype=dtype).reshape(shape) if own else torch.empty(shape, dtype=dtype)
    return found


def save_file(tensors: dict[str, torch.Tensor], path: str | Path) -> None:
    header, at = {}, 0
    kept = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    for name, t in kept.items():
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for t in kept.values():
            file.write(ctypes.string_at(t.data_ptr(), t.nbytes))
