"""Reductions, softmax, norms of vectors, scans."""

from __future__ import annotations

import math

from ..errors import Refusal
from ..shapes import Sym, volume
from ..text import Node
from .call import Call, rule


def _fold(kind: str, *names: str) -> None:
    @rule(*names)
    def _(c: Call) -> Node:
        x = c.value("self", c.dtype)
        return c.g.reshape(c.g.reduce(kind, x, c.axes("dim", len(x.shape))), c.shape)


_fold("sum", "sum.dim_IntList", "sum.default")
_fold("max", "amax.default", "max.default")
_fold("min", "amin.default", "min.default")


@rule("mean.dim", "mean.default")
def _(c: Call) -> Node:
    x = c.value("self", c.dtype)
    return c.g.reshape(c.g.mean(x, c.axes("dim", len(x.shape))), c.shape)


@rule("any.dim", "any.dims", "any.default", "all.dim", "all.dims", "all.default")
def _(c: Call) -> Node:
    x = c.g.cast(c.value("self", "bool"), "i32")
    kind = "max" if ".any." in str(c.node.target) else "min"
    folded = c.g.reduce(kind, x, c.axes("dim", len(x.shape)))
    return c.g.reshape(c.g.binary("ne", folded, 0), c.shape)


@rule("prod.dim_int")
def _(c: Call) -> Node:
    x = c.value("self", c.dtype)
    axis = c.axis("dim", len(x.shape))
    n = x.shape[axis]
    if isinstance(n, Sym) or n > 64:
        raise Refusal("prod over the batch or over more than 64 elements")
    parts = [c.g.slice(x, axis, i, i + 1) for i in range(n)]
    while len(parts) > 1:
        pairs = [c.g.mul(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[len(parts) & ~1 :]
    return c.g.reshape(parts[0], c.shape)


def _extreme_place(c: Call, kind: str, x: Node, axis: int) -> tuple[Node, Node]:
    """The extreme value along an axis and the first place where it stands, both with the axis kept."""
    g, n = c.g, x.shape[axis]
    top = g.reduce(kind, x, [axis])
    places = g.reshape(g.iota(n), [n if i == axis else 1 for i in range(len(x.shape))])
    return top, g.reduce("min", g.select(g.binary("eq", x, top), places, n), [axis])


@rule("max.dim", "min.dim")
def _(c: Call) -> list[Node]:
    x = c.value("self")
    axis = c.axis("dim", len(x.shape))
    kind = "max" if ".max." in str(c.node.target) else "min"
    shape = [d for i, d in enumerate(x.shape) if i != axis or c.raw("keepdim")]
    return [c.g.reshape(y, [1 if i == axis and c.raw("keepdim") else d for i, d in enumerate(shape)])
            for y in _extreme_place(c, kind, x, axis)]  # fmt: skip


@rule("argmax.default", "argmin.default")
def _(c: Call) -> Node:
    x = c.value("self")
    if c.raw("dim") is None:
        raise Refusal("argmax over all axes, the batch among them")
    kind = "max" if ".argmax." in str(c.node.target) else "min"
    return c.g.reshape(_extreme_place(c, kind, x, c.axis("dim", len(x.shape)))[1], c.shape)


@rule("var.correction", "var.dim", "std.correction")
def _(c: Call) -> Node:
    g, x = c.g, c.value("self")
    axes = c.axes("dim", len(x.shape))
    centred = g.sub(x, g.mean(x, axes))
    n = volume([x.shape[i] for i in axes])
    correction = c.raw("correction") if c.has("correction") else int(c.raw("unbiased"))
    correction = 1 if correction is None else correction
    variance = g.mul(g.reduce("sum", g.mul(centred, centred), axes), 1 / (n - correction))
    return g.reshape(g.unary("sqrt", variance) if ".std." in str(c.node.target) else variance, c.shape)


@rule("_softmax.default", "_safe_softmax.default", "softmax.int", "_log_softmax.default")
def _(c: Call) -> Node:
    g, x, name = c.g, c.value("self", c.dtype), str(c.node.target)
    if not x.shape:
        return g.const(0.0 if "_log_" in name else 1.0, "f32")  # of a scalar
    axis = c.axis("dim", len(x.shape))
    top = g.reduce("max", x, [axis])
    shifted = g.sub(x, top)
    e = g.unary("exp", shifted)
    total = g.reduce("sum", e, [axis])
    if "_log_" in name:
        return g.sub(shifted, g.unary("log", total))
    y = g.div(e, total)
    return g.select(g.binary("eq", top, -math.inf), 0.0, y) if "_safe_" in name else y


@rule("logsumexp.default")
def _(c: Call) -> Node:
    g, x = c.g, c.value("self", c.dtype)
    axes = c.axes("dim", len(x.shape))
    top = g.reduce("max", x, axes)
    total = g.reduce("sum", g.unary("exp", g.sub(x, top)), axes)
    return g.reshape(g.add(top, g.unary("log", total)), c.shape)


@rule("linalg_vector_norm.default", "norm.ScalarOpt_dim", "norm.Scalar")
def _(c: Call) -> Node:
    g, x = c.g, c.value("self")
    order = c.raw("ord" if c.has("ord") else "p")
    axes = c.axes("dim", len(x.shape))
    if order == 2 or order is None:
        y = g.unary("sqrt", g.reduce("sum", g.mul(x, x), axes))
    elif order in (1, math.inf):
        y = g.reduce("sum" if order == 1 else "max", g.unary("abs", x), axes)
    else:
        raise Refusal(f"a vector norm of order {order}")
    return g.reshape(y, c.shape)


@rule("cumsum.default")
def _(c: Call) -> Node:
    return c.g.cumsum(c.value("self", c.dtype), c.axis("dim", len(c.shape)))
