"""Layers kept whole by the trace: matrix products, convolution, normalisation, GRU."""

from __future__ import annotations

from ..errors import Refusal
from ..graph import Graph
from ..shapes import volume
from ..text import Node
from .call import Call, rule


@rule("mm.default", "bmm.default")
def _(c: Call) -> Node:
    return c.g.matmul(c.value("self"), c.value("mat2"))


@rule("mv.default")
def _(c: Call) -> Node:
    v = c.value("vec")
    return c.g.reshape(c.g.matmul(c.value("self"), c.g.reshape(v, (*v.shape, 1))), c.shape)


@rule("addmm.default", "baddbmm.default")
def _(c: Call) -> Node:
    names = ("mat1", "mat2") if c.has("mat1") else ("batch1", "batch2")
    y, b = c.g.matmul(*map(c.value, names)), c.value("self")
    y = y if c.raw("alpha") == 1 else c.g.mul(y, c.raw("alpha"))
    if c.raw("beta") == 0:
        return y
    return c.g.add(y, b if c.raw("beta") == 1 else c.g.mul(b, c.raw("beta")))


def linear(g: Graph, x: Node, weight: Node, bias: Node | None) -> Node:
    """x W^T + b over the last axis, whatever stands before it."""
    shape = x.shape[:-1] + (weight.shape[0],)
    if len(x.shape) == 1:
        x = g.reshape(x, (1, *x.shape))
    y = g.matmul(x, g.swap_last(weight))
    return g.reshape(y if bias is None else g.add(y, bias), shape)


@rule("linear.default")
def _(c: Call) -> Node:
    return linear(c.g, c.value("input"), c.value("weight"), c.value("bias"))


@rule("convolution.default")
def _(c: Call) -> Node:
    """A sum over kernel taps is a matrix product over (channel, tap): the taps are slices of the padded input."""
    g, x, w, bias = c.g, c.value("input"), c.value("weight"), c.value("bias")
    out, channels, *kernel = w.shape
    if c.raw("groups") != 1 or c.raw("transposed"):
        raise Refusal("convolution with groups, or transposed")
    stride, padding, dilation = ([*c.raw(k)] * (len(kernel) if len(c.raw(k)) == 1 else 1)
                                 for k in ("stride", "padding", "dilation"))  # fmt: skip
    for i, p in enumerate(padding):
        if p:
            zero = g.broadcast(g.const(0.0, "f32"), [p if k == i + 2 else d for k, d in enumerate(x.shape)])
            x = g.concat([zero, x, zero], i + 2)
    taps = [x]
    for i, k in enumerate(kernel):
        span = (c.shape[i + 2] - 1) * stride[i] + 1
        starts = [t * dilation[i] for t in range(k)]
        taps = [g.slice(t, i + 2, s, s + span, stride[i]) for t in taps for s in starts]
    places = volume(c.shape[2:])
    columns = g.concat([g.reshape(t, (t.shape[0], channels, places)) for t in taps], 1)  # [rows, taps * C, places]
    order = g.permute(w, [*range(2, len(w.shape)), 1, 0])  # [taps.., C, out]
    y = g.matmul(g.swap_last(columns), g.reshape(order, (len(taps) * channels, out)))
    y = y if bias is None else g.add(y, bias)
    return g.reshape(g.swap_last(y), c.shape)


@rule("native_layer_norm.default")
def _(c: Call) -> list[Node | None]:
    g, x = c.g, c.value("input")
    rank = len(x.shape)
    axes = list(range(rank - len(c.raw("normalized_shape")), rank))
    centred = g.sub(x, g.mean(x, axes))
    variance = g.mean(g.mul(centred, centred), axes)
    y = g.mul(centred, g.unary("rsqrt", g.add(variance, c.raw("eps"))))
    y = y if c.raw("weight") is None else g.mul(y, c.value("weight"))
    return [y if c.raw("bias") is None else g.add(y, c.value("bias")), None, None]


@rule("_native_batch_norm_legit_no_training.default")
def _(c: Call) -> list[Node | None]:
    """Channels are axis 1; weight and bias may be absent."""
    g, x = c.g, c.value("input")
    column = lambda t: g.reshape(t, (x.shape[1], *[1] * (len(x.shape) - 2)))  # noqa: E731
    scale = g.unary("rsqrt", g.add(c.value("running_var"), c.raw("eps")))
    y = g.mul(g.sub(x, column(c.value("running_mean"))), column(scale))
    y = y if c.raw("weight") is None else g.mul(y, column(c.value("weight")))
    return [y if c.raw("bias") is None else g.add(y, column(c.value("bias"))), None, None]


def _gru_layer(g: Graph, x: Node, h0: Node, p: list[Node | None], backward: bool) -> tuple[Node, Node]:
    """All states [.., T, H] and the last one, of one layer in one direction."""
    w_in, w_hidden, b_in, b_hidden = p
    hidden, axis = w_hidden.shape[1], len(x.shape) - 2
    steps = x.shape[axis]
    flip = lambda t: g.gather(t, g.sub(steps - 1, g.iota(steps)), axis) if backward else t  # noqa: E731
    if b_hidden is None:
        b_hidden = g.broadcast(g.const(0.0, "f32"), (3 * hidden,))
    states = g.gru(linear(g, flip(x), w_in, b_in), h0, g.swap_last(w_hidden), b_hidden)
    last = g.slice(states, axis, steps - 1, steps)
    return flip(states), g.reshape(last, states.shape[:axis] + (hidden,))


@rule("gru.input")
def _(c: Call) -> list[Node]:
    g, x, h0 = c.g, c.value("input"), c.value("hx")
    if c.raw("train") and c.raw("dropout") > 0:
        raise Refusal("dropout between layers in train mode: call .eval() on the module")
    params = [c.resolve(p) for p in c.raw("params")]
    width = 4 if c.raw("has_biases") else 2
    params = [[*params[i : i + width], None, None][:4] for i in range(0, len(params), width)]
    x = x if c.raw("batch_first") else g.permute(x, [1, 0, 2])
    directions, lasts = 2 if c.raw("bidirectional") else 1, []
    for layer in range(c.raw("num_layers")):
        parts = []
        for d in range(directions):
            k = layer * directions + d
            state = g.reshape(g.slice(h0, 0, k, k + 1), h0.shape[1:])
            states, last = _gru_layer(g, x, state, params[k], d == 1)
            parts.append(states)
            lasts.append(g.reshape(last, (1, *last.shape)))
        x = g.concat(parts, 2)
    return [x if c.raw("batch_first") else g.permute(x, [1, 0, 2]), g.concat(lasts, 0)]
