"""Model files and golden files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from .errors import ExportError
from .text import Program, render

GRAPH, FORMAT, MODEL, SOURCE = "loopfm.graph", "loopfm.format", "loopfm.model", "loopfm.source"
STORAGE = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def stored(t: torch.Tensor, name: str, storage: str = "f32") -> torch.Tensor:
    """The tensor as a file holds it: floats in the storage type, integers in i32 after a range check."""
    t = t.detach().cpu()
    if t.is_floating_point():
        t = t.to(STORAGE[storage])
    elif t.dtype is not torch.bool:
        if t.numel() and (int(t.min()) < -(2**31) or int(t.max()) >= 2**31):
            raise ExportError(f"{name!r} holds {int(t.min())}..{int(t.max())}, which does not fit in i32")
        t = t.to(torch.int32)
    return t.contiguous().clone()


def write_model(path: Any, program: Program, weights: Mapping[str, torch.Tensor], *, storage: str = "f32",
                model: str | None = None, source: str | None = None) -> None:  # fmt: skip
    """Weights and graph in one file; only the parameters that the graph names."""
    names = [n.attrs["name"] for n in program.leaves("param")]
    metadata = {GRAPH: render(program), FORMAT: "1", MODEL: model, SOURCE: source}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: stored(weights[k], k, storage) for k in names}
    data = save(tensors, metadata={k: v for k, v in metadata.items() if v is not None})
    Path(path).write_bytes(_ordered(data))


def _ordered(data: bytes) -> bytes:
    """The file with its metadata in order of key, which safetensors leaves to chance: equal models, equal bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors start on a multiple of 8; their offsets count from there
    return len(text).to_bytes(8, "little") + text + data[start:]


def read_model(path: Any) -> tuple[str, dict[str, np.ndarray]]:
    """The graph's text and the weights, floats as float32."""
    with safe_open(str(path), "pt") as f:
        text = (f.metadata() or {}).get(GRAPH)
        if text is None:
            raise ExportError(f"{path} has no {GRAPH!r} in its metadata")
        tensors = {k: f.get_tensor(k) for k in f.keys()}
    return text, {k: (t.float() if t.is_floating_point() else t).numpy() for k, t in tensors.items()}


def write_golden(path: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any], label: Any = None) -> None:
    tensors = {f"in.{k}": v for k, v in inputs.items()} | {f"out.{k}": v for k, v in outputs.items()}
    if label is not None:
        tensors["label"] = label
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(save({k: stored(torch.as_tensor(v), k) for k, v in tensors.items()}))


def read_golden(path: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and outputs by name."""
    with safe_open(str(path), "np") as f:
        tensors = {k: f.get_tensor(k) for k in f.keys()}
    pick = lambda prefix: {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}  # noqa: E731
    return pick("in."), pick("out.")
