"""NumPy interpreter of the text form: the meaning of every op in executable form.

It favours plainness over speed, checks each node's shape and type, and reports ids that are out of range. ``f64=True``
computes f32 values in float64, as a reference for rounding errors.
"""

from __future__ import annotations

import math
from typing import Any, Mapping

import numpy as np

from .shapes import Sym, show
from .text import Node, Program, parse

REQUEST_OF_ROW = "request_of_row"

_erf = np.frompyfunc(math.erf, 1, 1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "round": np.round,  # halves go to the even neighbour
    "exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "recip": lambda x: 1 / x, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sigmoid": _sigmoid,
    "erf": lambda x: _erf(x).astype(x.dtype), "not": np.logical_not,
}  # fmt: skip
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "pow": np.power, "max": np.maximum, "min": np.minimum,
    "rem": np.remainder, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip


def _div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    q = np.abs(a) // np.abs(b)  # integers truncate toward zero
    return np.where((a < 0) != (b < 0), -q, q)


def _gather(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    _check_index(index, x.shape[axis])
    return np.take(x, index, axis=axis)


def _take_along(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    _check_index(index, x.shape[axis])
    return np.take_along_axis(x, index.astype(np.int64), axis=axis)


def _check_index(index: np.ndarray, extent: int) -> None:
    bad = index[(index < 0) | (index >= extent)]
    if bad.size:
        raise IndexError(f"id {bad.flat[0]} is outside [0, {extent})")


def _gru(x: np.ndarray, h: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    n, states = h.shape[-1], []
    for t in range(x.shape[-2]):
        g, xt = h @ w + b, x[..., t, :]
        r = _sigmoid(xt[..., :n] + g[..., :n])
        z = _sigmoid(xt[..., n : 2 * n] + g[..., n : 2 * n])
        candidate = np.tanh(xt[..., 2 * n :] + r * g[..., 2 * n :])
        h = (1 - z) * candidate + z * h
        states.append(h)
    return np.stack(states, axis=-2)


def _apply(n: Node, a: list[np.ndarray], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    at = n.attrs
    if n.op in UNARY:
        return UNARY[n.op](*a)
    if n.op in BINARY or n.op in ("div", "select"):
        if any(x.shape != a[0].shape for x in a):
            raise ValueError(f"operands differ in shape: {[x.shape for x in a]}")
        return BINARY[n.op](*a) if n.op in BINARY else _div(*a) if n.op == "div" else np.where(*a)
    match n.op:
        case "const":
            return np.array(at["value"], dtype)
        case "iota":
            return np.arange(shape[0])
        case "cast":
            return a[0] != 0 if n.dtype == "bool" else np.trunc(a[0]) if n.dtype == "i32" and a[0].dtype.kind == "f" else a[0]
        case "broadcast":
            return np.broadcast_to(a[0], shape)
        case "reshape":
            return a[0].reshape(shape)
        case "permute":
            return a[0].transpose(at["perm"])
        case "slice":
            return a[0][(slice(None),) * at["axis"] + (slice(at["start"], at["stop"], at["step"]),)]
        case "concat":
            return np.concatenate(a, axis=at["axis"])
        case "gather":
            return _gather(a[0], a[1], at["axis"])
        case "take_along":
            return _take_along(a[0], a[1], at["axis"])
        case "matmul":
            return np.matmul(a[0], a[1])
        case "reduce_sum":
            return np.sum(a[0], axis=tuple(at["axes"]), keepdims=True)
        case "reduce_max":
            return np.max(a[0], axis=tuple(at["axes"]), keepdims=True)
        case "reduce_min":
            return np.min(a[0], axis=tuple(at["axes"]), keepdims=True)
        case "cumsum":
            return np.cumsum(a[0], axis=at["axis"])
        case "gru":
            return _gru(*a)
    raise ValueError(f"unknown op {n.op}")


def _bind(program: Program, inputs: dict[str, np.ndarray]) -> dict[str, int]:
    """The values of rows and requests; supplies request_of_row where the caller did not."""
    symbols: dict[str, int] = {}
    for n in program.leaves("input"):
        name = n.attrs["name"]
        if name == REQUEST_OF_ROW and name not in inputs:
            continue
        if name not in inputs:
            raise ValueError(f"input {name!r} is missing")
        seen, values = inputs[name].shape, inputs[name]
        if n.dtype == "i32" and values.size and not -(2**31) <= int(values.min()) <= int(values.max()) < 2**31:
            raise ValueError(f"input {name!r} holds {values.min()}..{values.max()}, which does not fit in i32")
        if len(seen) != len(n.shape):
            raise ValueError(f"input {name!r} has shape {list(seen)}, expected {show(n.shape)}")
        for d, size in zip(n.shape, seen):
            expected = symbols.setdefault(d.name, size) if isinstance(d, Sym) else d
            if expected != size:
                raise ValueError(f"input {name!r} has shape {list(seen)}, expected {show(n.shape)} with {symbols}")
    if "requests" in symbols and REQUEST_OF_ROW not in inputs:
        rows = symbols.setdefault("rows", symbols["requests"])
        if symbols["requests"] not in (1, rows):
            raise ValueError(f"{rows} rows of {symbols['requests']} requests need the input {REQUEST_OF_ROW!r}")
        inputs[REQUEST_OF_ROW] = np.arange(rows) if symbols["requests"] == rows else np.zeros(rows, np.int32)
    return symbols


def run(
    graph: str | Program, params: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray], *, f64: bool = False
) -> dict[str, np.ndarray]:
    """Evaluates the graph; returns its outputs by name."""
    program = parse(graph) if isinstance(graph, str) else graph
    dtypes = {"f32": np.float64 if f64 else np.float32, "i32": np.int32, "bool": np.bool_}
    given = {k: np.asarray(v) for k, v in inputs.items()}
    symbols = _bind(program, given)
    values: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for n in program.nodes:
            dtype = dtypes[n.dtype]
            shape = tuple(d.times * symbols[d.name] if isinstance(d, Sym) else d for d in n.shape)
            if n.op in ("input", "param"):
                result = np.asarray((given if n.op == "input" else params)[n.attrs["name"]])
            else:
                try:
                    result = _apply(n, [values[id(x)] for x in n.args], shape, dtype)
                except (ValueError, IndexError) as e:
                    raise type(e)(f"%{n.id} = {n.op} : {n.dtype}{show(n.shape)} @ {n.scope}: {e}") from e
            values[id(n)] = result = np.asarray(result).astype(dtype, copy=False)
            if result.shape != shape:
                raise ValueError(f"%{n.id} = {n.op}: shape {list(result.shape)}, declared {list(shape)}")
    return {name: values[id(n)] for name, n in program.outputs.items()}


def run_file(path: Any, inputs: Mapping[str, np.ndarray], *, f64: bool = False) -> dict[str, np.ndarray]:
    """Evaluates the graph of a safetensors file with its own weights."""
    from .files import read_model

    text, params = read_model(path)
    return run(text, params, inputs, f64=f64)
