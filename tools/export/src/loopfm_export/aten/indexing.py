"""Lookups: embedding, advanced indexing, gather, bags, one-hot, buckets."""

from __future__ import annotations

import torch

from ..errors import Refusal
from ..shapes import Sym, broadcast_shapes, show, volume
from ..text import Node
from .call import Call, RowIndex, rule


@rule("embedding.default")
def _(c: Call) -> Node:
    return c.g.gather(c.value("weight"), c.value("indices"), 0)  # padding_idx matters for gradients only


@rule("index_select.default")
def _(c: Call) -> Node:
    x = c.value("self")
    return c.g.gather(x, c.value("index"), c.axis("dim", len(x.shape)))


def _from_start(c: Call, index: Node, extent: int) -> Node:
    """Counts negative indices from the end, as Python does."""
    if index.op == "iota":
        return index
    return c.g.select(c.g.binary("lt", index, 0), c.g.add(index, extent), index)


@rule("index.Tensor")
def _(c: Call) -> Node:
    """x[:, i, j]: adjacent index tensors become one gather over the merged axes. x[arange(B), i]: take_along."""
    g, x = c.g, c.value("self")
    given = [(axis, i) for axis, i in enumerate(c.raw("indices")) if i is not None]
    if any(i.meta["val"].dtype in (torch.bool, torch.uint8) for _, i in given):
        raise Refusal("a boolean index: the result's shape depends on data (write it with where)")
    axes = [axis for axis, _ in given]
    first, stop = axes[0], axes[-1] + 1
    if axes != list(range(first, stop)):
        raise Refusal("advanced indices on axes that are not adjacent")
    if isinstance(rows := c.env[given[0][1]], RowIndex):
        if rows != RowIndex(0, 1) or first != 0 or x.shape[0] != Sym("rows") or len(given) < 2:
            raise Refusal("an index that counts over the batch but does not pick each row's own elements")
        return _own_elements(c, x, given[1:])
    flat = _linear(c, x, given)
    merged = x.shape[:first] + (volume(x.shape[first:stop]),) + x.shape[stop:]
    return g.gather(g.reshape(x, merged), flat, first)


def _linear(c: Call, x: Node, given: list[tuple[int, torch.fx.Node]]) -> Node:
    """One index into the merged axes."""
    flat = None
    for axis, i in given:
        extent = x.shape[axis]
        if isinstance(extent, Sym):
            raise Refusal("an index into the batch axis reads other rows")
        index = _from_start(c, c.resolve(i, "i32"), extent)
        flat = index if flat is None else c.g.add(c.g.mul(flat, extent), index)
    return flat


def _own_elements(c: Call, x: Node, given: list[tuple[int, torch.fx.Node]]) -> Node:
    """x[arange(B), i] and x[arange(B)[:, None], i]: every row picks from its own elements."""
    g, count = c.g, len(given)
    index = _linear(c, x, given)
    merged = g.reshape(x, (x.shape[0], volume(x.shape[1 : 1 + count]), *x.shape[1 + count :]))
    picked = c.shape[: len(c.shape) - (len(merged.shape) - 2)]  # the index's own shape, [rows, ...]
    index = g.broadcast(index, picked)
    k, rest = volume(picked[1:]), merged.shape[2:]
    index = g.broadcast(g.reshape(index, (picked[0], k, *[1] * len(rest))), (picked[0], k, *rest))
    return g.reshape(g.take_along(merged, index, 1), c.shape)


@rule("gather.default")
def _(c: Call) -> Node:
    """The index may be smaller than the operand on the other axes: the operand is cut to it."""
    x, index = c.value("self"), c.value("index", "i32")
    axis = c.axis("dim", len(x.shape))
    for i, (d, e) in enumerate(zip(x.shape, index.shape)):
        if i != axis and d != e:
            if isinstance(d, Sym) or isinstance(e, Sym):
                raise Refusal(f"gather of {show(x.shape)} by {show(index.shape)}: batch sizes differ")
            x = c.g.slice(x, i, 0, e)
    return c.g.take_along(x, index, axis)


@rule("one_hot.default")
def _(c: Call) -> Node:
    index, n = c.value("self"), c.shape[-1]
    hot = c.g.binary("eq", c.g.reshape(index, (*index.shape, 1)), c.g.iota(n))
    return c.g.cast(hot, c.dtype)


@rule("bucketize.Tensor")
def _(c: Call) -> Node:
    """The number of boundaries below the value (``right``: below or equal)."""
    g, bounds = c.g, c.value("boundaries", "f32")
    x = c.value("self", "f32")
    below = g.binary("le" if c.raw("right") else "lt", bounds, g.reshape(x, (*x.shape, 1)))
    return g.reshape(g.reduce("sum", g.cast(below, "i32"), [len(x.shape)]), c.shape)


@rule("flip.default")
def _(c: Call) -> Node:
    x = c.value("self")
    for axis in c.axes("dims", len(c.shape)):
        n = c.shape[axis]
        if isinstance(n, Sym):
            raise Refusal("a flip of the batch axis")
        x = c.g.gather(x, c.g.sub(n - 1, c.g.iota(n)), axis)
    return x


@rule("_embedding_bag.default", "_embedding_bag_forward_only.default")
def _(c: Call) -> list[Node | None]:
    """Bags of one length, [B, L] ids: torch flattens the ids and counts offsets 0, L, 2L..., which the driver undoes."""
    g, table, ids = c.g, c.value("weight"), c.value("indices")
    rows = c.meta[0].shape[0]
    if ids.op != "reshape" or len(ids.args[0].shape) != 2 or not _regular(c, ids.args[0]):
        raise Refusal("embedding_bag with offsets: pass ids as [B, L], padded, with padding_idx")
    ids = ids.args[0]
    assert not isinstance(rows, int)
    values = g.gather(table, ids, 0)  # [rows, L, D]
    keep, padding, mode = None, c.raw("padding_idx"), c.raw("mode")
    if padding is not None and padding >= 0:
        keep = g.binary("ne", ids, padding)
        keep = g.reshape(keep, (*keep.shape, 1))
    if mode == 2:
        return [_bag_max(c, values, keep), None, None, None]
    if (scale := c.value("per_sample_weights")) is not None:
        values = g.mul(values, g.reshape(scale, (*ids.shape, 1)))
    if keep is not None:
        values = g.mul(values, g.cast(keep, "f32"))
    total = g.reduce("sum", values, [1])
    if mode == 1:
        if keep is None:
            total = g.mul(total, 1 / ids.shape[1])
        else:
            total = g.div(total, g.binary("max", g.reduce("sum", g.cast(keep, "f32"), [1]), 1))
    return [g.reshape(total, (total.shape[0], total.shape[2])), None, None, None]


def _bag_max(c: Call, values: Node, keep: Node | None) -> Node:
    g = c.g
    if keep is None:
        top = g.reduce("max", values, [1])
    else:
        top = g.reduce("max", g.select(keep, values, float("-inf")), [1])
        some = g.reduce("max", g.cast(keep, "i32"), [1])
        top = g.select(g.binary("ne", some, 0), top, 0.0)  # an empty bag is zero
    return g.reshape(top, (top.shape[0], top.shape[2]))


def _regular(c: Call, ids: Node) -> bool:
    """Whether the offsets are arange(0, B * L, L), that is: the bags are the rows of ``ids``."""
    return c.env[c.raw("offsets")] == RowIndex(0, ids.shape[1])
