"""Ops that move, repeat, cut or make elements: views, slices, concatenation, constants."""

from __future__ import annotations

from math import prod

from ..errors import Refusal
from ..shapes import Sym, show
from ..text import Node
from .call import Call, RowIndex, rule, shape_of


@rule(
    "view.default", "reshape.default", "_unsafe_view.default", "unsqueeze.default", "squeeze.dim", "squeeze.dims",
    "squeeze.default", "flatten.using_ints", "view_copy.default", "_reshape_copy.default",
)  # fmt: skip
def _(c: Call) -> Node | RowIndex:
    x = c.env.get(c.raw("self"))
    if isinstance(x, RowIndex):
        return x
    return c.g.reshape(c.value("self"), c.shape)


@rule("expand.default")
def _(c: Call) -> Node:
    return c.g.broadcast(c.value("self"), c.shape)


@rule("permute.default")
def _(c: Call) -> Node:
    return c.g.permute(c.value("self"), [d % len(c.shape) for d in c.raw("dims")])


@rule("transpose.int")
def _(c: Call) -> Node:
    perm, r = list(range(len(c.shape))), len(c.shape)
    i, j = c.axis("dim0", r), c.axis("dim1", r)
    perm[i], perm[j] = perm[j], perm[i]
    return c.g.permute(c.value("self"), perm)


@rule("t.default")
def _(c: Call) -> Node:
    return c.g.permute(c.value("self"), list(range(len(c.shape)))[::-1])


@rule("repeat.default")
def _(c: Call) -> Node:
    """Tiles: unlike expand, an axis of any extent may be repeated."""
    g, x = c.g, c.value("self")
    shape = (1,) * (len(c.shape) - len(x.shape)) + x.shape
    times = [b if a == 1 else 1 if a == b else b // a for a, b in zip(shape, c.shape)]
    if all(t == 1 or d == 1 for t, d in zip(times, shape)):
        return g.broadcast(x, c.shape)
    apart = g.reshape(x, [e for d in shape for e in (1, d)])
    return g.reshape(g.broadcast(apart, [e for t, d in zip(times, shape) for e in (t, d)]), c.shape)


@rule("cat.default")
def _(c: Call) -> Node:
    parts = [c.resolve(x, c.dtype) for x in c.raw("tensors")]
    parts = [x for x in parts if x.shape != (0,)]  # an empty vector may stand in any concatenation
    return c.g.concat(parts, c.axis("dim", len(c.shape)))


@rule("stack.default")
def _(c: Call) -> Node:
    axis = c.axis("dim", len(c.shape))
    one = [1 if i == axis else d for i, d in enumerate(c.shape)]
    return c.g.concat([c.g.reshape(c.resolve(x, c.dtype), one) for x in c.raw("tensors")], axis)


def _bounds(c: Call, extent: int) -> tuple[int, int]:
    """start and end of a slice as indices from 0; end = 2^63 - 1 means the extent."""
    start, end = c.size("start", 0), c.size("end", extent)
    if isinstance(start, Sym) or isinstance(end, Sym):
        raise Refusal("a slice whose bounds depend on the batch size")
    clip = lambda i: max(0, min(i + extent if i < 0 else i, extent))  # noqa: E731
    return clip(start), max(clip(start), clip(end))


@rule("slice.Tensor")
def _(c: Call) -> Node:
    x = c.value("self")
    axis = c.axis("dim", len(x.shape))
    extent = x.shape[axis]
    if isinstance(extent, Sym):
        if c.shape == x.shape and c.raw("step") == 1:
            return x
        raise Refusal(f"a slice of the batch axis of {show(x.shape)} takes some rows and leaves others")
    return c.g.slice(x, axis, *_bounds(c, extent), c.raw("step"))


@rule("select.int")
def _(c: Call) -> Node:
    x = c.value("self")
    axis = c.axis("dim", len(x.shape))
    i = c.size("index")
    if isinstance(x.shape[axis], Sym) or isinstance(i, Sym):
        raise Refusal(f"indexing the batch axis of {show(x.shape)} reads one row in all rows")
    i = i + x.shape[axis] if i < 0 else i
    return c.g.reshape(c.g.slice(x, axis, i, i + 1), c.shape)


@rule("split_with_sizes.default", "split.Tensor", "unbind.int")
def _(c: Call) -> list[Node]:
    x = c.value("self")
    axis, parts, start = c.axis("dim", len(x.shape)), [], 0
    for meta in c.meta:
        shape = shape_of(meta)
        width = shape[axis] if len(shape) == len(x.shape) else 1
        if isinstance(width, Sym) or isinstance(x.shape[axis], Sym):
            raise Refusal(f"a split of the batch axis of {show(x.shape)}")
        parts.append(c.g.reshape(c.g.slice(x, axis, start, start + width), shape))
        start += width
    return parts


@rule("slice_scatter.default")
def _(c: Call) -> Node:
    """What x[:, a:b] = y leaves behind."""
    x, src = c.value("self"), c.value("src")
    axis = c.axis("dim", len(x.shape))
    extent = x.shape[axis]
    if isinstance(extent, Sym):
        if src.shape == x.shape:
            return src
        raise Refusal("assignment to a slice of the batch axis")
    start, end = _bounds(c, extent)
    if c.raw("step") != 1:
        raise Refusal("assignment to a slice with a step")
    return _replace(c, x, axis, start, end, src)


@rule("select_scatter.default")
def _(c: Call) -> Node:
    """What x[:, i] = y leaves behind."""
    x = c.value("self")
    axis = c.axis("dim", len(x.shape))
    if isinstance(x.shape[axis], Sym):
        raise Refusal("assignment to one row of the batch")
    i = c.raw("index") % x.shape[axis]
    src = c.g.reshape(c.value("src"), [1 if k == axis else d for k, d in enumerate(x.shape)])
    return _replace(c, x, axis, i, i + 1, src)


def _replace(c: Call, x: Node, axis: int, start: int, end: int, src: Node) -> Node:
    parts = [c.g.slice(x, axis, 0, start), src, c.g.slice(x, axis, end, x.shape[axis])]
    return c.g.concat([p for p in parts if p.shape[axis] != 0], axis)


@rule("constant_pad_nd.default")
def _(c: Call) -> Node:
    """Padding is given from the last axis backwards; negative padding cuts."""
    x, pad, value = c.value("self"), list(c.raw("pad")), c.g.const(c.raw("value"), c.dtype)
    for k in range(len(pad) // 2):
        axis, (low, high) = len(x.shape) - 1 - k, pad[2 * k : 2 * k + 2]
        if (low, high) == (0, 0):
            continue
        if isinstance(x.shape[axis], Sym):
            raise Refusal("padding of the batch axis")
        x = c.g.slice(x, axis, max(-low, 0), x.shape[axis] - max(-high, 0))
        fill = lambda n: c.g.broadcast(value, [n if i == axis else d for i, d in enumerate(x.shape)])  # noqa: E731
        parts = [fill(n) if n is not None else x for n in (max(low, 0), None, max(high, 0))]
        x = c.g.concat([p for p in parts if p.shape[axis] != 0], axis)
    return x


# ---- constants


@rule("full.default", "full_like.default", "new_full.default", "scalar_tensor.default")
def _(c: Call) -> Node:
    return c.g.broadcast(c.value("s" if c.has("s") else "fill_value", c.dtype), c.shape)


@rule(
    "zeros.default", "zeros_like.default", "new_zeros.default", "empty.memory_format", "empty_like.default",
    "new_empty.default", "new_empty_strided.default", "empty_strided.default", "empty_permuted.default",
)  # fmt: skip
def _(c: Call) -> Node:
    return c.g.broadcast(c.g.const(0, c.dtype), c.shape)


@rule("ones.default", "ones_like.default", "new_ones.default", "fill.Scalar", "fill.Tensor")
def _(c: Call) -> Node:
    one = c.value("value", c.dtype) if c.has("value") else c.g.const(1, c.dtype)
    return c.g.broadcast(one, c.shape)


@rule("arange.start_step", "arange.default", "arange.start")
def _(c: Call) -> Node | RowIndex:
    g, (n,) = c.g, c.shape
    start = c.raw("start") if c.has("start") else 0
    step = c.raw("step") if c.has("step") else 1
    if isinstance(n, Sym):
        return RowIndex(start, step)
    x = g.cast(g.iota(n), c.dtype)
    x = x if step == 1 else g.mul(x, step)
    return x if start == 0 else g.add(x, start)


@rule("eye.default", "eye.m")
def _(c: Call) -> Node:
    n, m = c.shape
    return c.g.cast(c.g.binary("eq", c.g.reshape(c.g.iota(n), (n, 1)), c.g.iota(m)), c.dtype)
