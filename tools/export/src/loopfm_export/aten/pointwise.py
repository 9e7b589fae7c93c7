"""Elementwise ops: arithmetic, comparison, activation functions, casts."""

from __future__ import annotations

import math

from ..errors import Refusal
from ..graph import Graph
from ..text import Node
from .call import Call, rule

for _name in "neg abs sign floor ceil trunc exp log log1p expm1 sqrt rsqrt sin cos tanh sigmoid erf".split():

    def _unary(c: Call, op: str = _name) -> Node:
        return c.g.unary(op, c.value("self", c.dtype))

    rule(f"{_name}.default")(_unary)

rule("reciprocal.default")(lambda c: c.g.unary("recip", c.value("self", c.dtype)))
rule("round.default")(lambda c: c.g.unary("round", c.value("self", c.dtype)))
rule("relu.default")(lambda c: c.g.binary("max", c.value("self"), 0))
rule("logical_not.default")(lambda c: c.g.unary("not", c.value("self", "bool")))
rule("isnan.default")(lambda c: c.g.binary("ne", c.value("self"), c.value("self")))
rule("isinf.default")(lambda c: c.g.binary("eq", c.g.unary("abs", c.value("self")), math.inf))
rule("square.default")(lambda c: c.g.mul(c.value("self"), c.value("self")))
rule("log2.default")(lambda c: c.g.mul(c.g.unary("log", c.value("self", "f32")), 1 / math.log(2)))
rule("log10.default")(lambda c: c.g.mul(c.g.unary("log", c.value("self", "f32")), 1 / math.log(10)))
rule("exp2.default")(lambda c: c.g.unary("exp", c.g.mul(c.value("self", "f32"), math.log(2))))


# What arithmetic of two bools means.
BOOL = {"add": "or", "max": "or", "mul": "and", "min": "and"}


def _binary(op: str, *names: str) -> None:
    @rule(*names)
    def _(c: Call) -> Node:
        a, b = c.value("self", c.dtype), c.value("other", c.dtype)
        if c.dtype == "bool":
            return c.g.binary(BOOL.get(op, op), a, b)
        alpha = c.raw("alpha") if c.has("alpha") else 1
        return c.g.binary(op, a, b if alpha == 1 else c.g.mul(b, alpha))


_binary("add", "add.Tensor", "add.Scalar")
_binary("sub", "sub.Tensor", "sub.Scalar")
_binary("mul", "mul.Tensor", "mul.Scalar")
_binary("div", "div.Tensor", "div.Scalar", "true_divide.Tensor")
_binary("max", "maximum.default")
_binary("min", "minimum.default")
_binary("rem", "remainder.Tensor", "remainder.Scalar")


@rule("rsub.Scalar", "rsub.Tensor")
def _(c: Call) -> Node:
    if c.raw("alpha") != 1:
        raise Refusal("rsub with alpha")
    return c.g.sub(c.value("other", c.dtype), c.value("self", c.dtype))


def floor_div(g: Graph, a: Node, b: Node) -> Node:
    if a.dtype == "f32":
        return g.unary("floor", g.div(a, b))
    return g.div(g.sub(a, g.binary("rem", a, b)), b)  # rem has the divisor's sign, so this division is exact


@rule("div.Tensor_mode", "div.Scalar_mode")
def _(c: Call) -> Node:
    a, b, mode = c.value("self", c.dtype), c.value("other", c.dtype), c.raw("rounding_mode")
    if mode == "floor":
        return floor_div(c.g, a, b)
    return c.g.unary("trunc", c.g.div(a, b)) if mode == "trunc" and c.dtype == "f32" else c.g.div(a, b)


@rule("floor_divide.default", "floor_divide.Scalar")
def _(c: Call) -> Node:
    return floor_div(c.g, c.value("self", c.dtype), c.value("other", c.dtype))


@rule("fmod.Tensor", "fmod.Scalar")
def _(c: Call) -> Node:
    """The remainder with the sign of the dividend."""
    g, a, b = c.g, c.value("self", c.dtype), c.value("other", c.dtype)
    return g.mul(g.unary("sign", a), g.binary("rem", g.unary("abs", a), g.unary("abs", b)))


@rule("pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar")
def _(c: Call) -> Node:
    g, x, n = c.g, c.value("self", c.dtype), c.raw("exponent")
    if isinstance(n, (int, float)):
        if n in (1, 2, 3, 4):
            square = g.mul(x, x)
            return {1: x, 2: square, 3: g.mul(square, x), 4: g.mul(square, square)}[int(n)]
        plain = {0.5: "sqrt", -0.5: "rsqrt", -1: "recip"}.get(n)
        if plain and c.dtype == "f32":
            return g.unary(plain, x)
    return g.binary("pow", x, c.value("exponent", c.dtype))


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):

    @rule(f"{_name}.Tensor", f"{_name}.Scalar")
    def _compare(c: Call, op: str = _name) -> Node:
        dtype = c.promoted("self", "other")
        return c.g.binary(op, c.value("self", dtype), c.value("other", dtype))


for _name in ("and", "or", "xor"):

    @rule(f"logical_{_name}.default")
    def _logical(c: Call, op: str = _name) -> Node:
        return c.g.binary(op, c.value("self", "bool"), c.value("other", "bool"))

    @rule(f"bitwise_{_name}.Tensor", f"bitwise_{_name}.Scalar")
    def _bitwise(c: Call, op: str = _name) -> Node:
        if c.dtype != "bool":
            raise Refusal("bitwise arithmetic of integers")
        return c.g.binary(op, c.value("self"), c.value("other"))


@rule("bitwise_not.default")
def _(c: Call) -> Node:
    if c.dtype != "bool":
        raise Refusal("bitwise arithmetic of integers")
    return c.g.unary("not", c.value("self"))


@rule("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def _(c: Call) -> Node:
    return c.g.select(c.value("condition", "bool"), c.value("self", c.dtype), c.value("other", c.dtype))


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def _(c: Call) -> Node:
    return c.g.select(c.value("mask"), c.value("value", c.dtype), c.value("self", c.dtype))


@rule("clamp.default", "clamp.Tensor", "clamp_min.default", "clamp_max.default", "hardtanh.default")
def _(c: Call) -> Node:
    x = c.value("self", c.dtype)
    for name, op in (("min", "max"), ("min_val", "max"), ("max", "min"), ("max_val", "min")):
        if c.has(name) and c.raw(name) is not None:
            x = c.g.binary(op, x, c.value(name, c.dtype))
    return x


@rule("leaky_relu.default")
def _(c: Call) -> Node:
    x = c.value("self")
    return c.g.select(c.g.binary("gt", x, 0), x, c.g.mul(x, c.raw("negative_slope")))


@rule("prelu.default", "_prelu_kernel.default")
def _(c: Call) -> Node:
    """One slope, or one for each channel (axis 1)."""
    x, slope = c.value("self"), c.value("weight")
    if len(slope.shape) == 1 and len(x.shape) > 1:
        slope = c.g.reshape(slope, (1, slope.shape[0], *[1] * (len(x.shape) - 2)))
    return c.g.select(c.g.binary("gt", x, 0), x, c.g.mul(slope, x))


@rule("elu.default")
def _(c: Call) -> Node:
    g, x = c.g, c.value("self")
    below = g.mul(g.unary("expm1", g.mul(x, c.raw("input_scale"))), c.raw("alpha") * c.raw("scale"))
    return g.select(g.binary("gt", x, 0), g.mul(x, c.raw("scale")), below)


@rule("silu.default")
def _(c: Call) -> Node:
    x = c.value("self")
    return c.g.mul(x, c.g.unary("sigmoid", x))


@rule("softplus.default")
def _(c: Call) -> Node:
    """log(1 + exp(beta x)) / beta, written so that large x do not overflow; x itself above the threshold."""
    g, x, beta = c.g, c.value("self"), c.raw("beta")
    t = g.mul(x, beta)
    soft = g.add(g.binary("max", t, 0), g.unary("log1p", g.unary("exp", g.unary("neg", g.unary("abs", t)))))
    return g.select(g.binary("gt", t, c.raw("threshold")), x, g.mul(soft, 1 / beta))


@rule("gelu.default")
def _(c: Call) -> Node:
    g, x = c.g, c.value("self")
    if c.raw("approximate") == "tanh":
        cubic = g.add(x, g.mul(g.mul(g.mul(x, x), x), 0.044715))
        gate = g.unary("tanh", g.mul(cubic, math.sqrt(2 / math.pi)))
    else:
        gate = g.unary("erf", g.mul(x, math.sqrt(0.5)))
    return g.mul(g.mul(x, 0.5), g.add(gate, 1))


@rule(
    "_to_copy.default", "to.dtype", "clone.default", "alias.default", "detach.default", "lift_fresh_copy.default",
    "contiguous.default", "dropout.default", "copy.default",
)  # fmt: skip
def _(c: Call) -> Node:
    x = c.value("src" if c.has("src") else c.parameters[0])
    return c.g.broadcast(c.g.cast(x, c.dtype), c.shape)
