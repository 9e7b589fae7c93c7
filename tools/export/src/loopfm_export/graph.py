"""Builds a graph node by node.

Promises: every node is well typed by the contract (checked here, so that a mistake shows where it is made), no two nodes
are the same computation (common subexpressions are shared as they are emitted), nothing that no result needs is kept, and
every broadcast and cast is a node of its own. Operands may be Python numbers: they become rank-0 constants.

PyTorch code that works sequence first (nn.MultiheadAttention) views [L, B, E] as [L*B, E] for a matrix product and views it
back. Written down, such a view tears rows apart. So while values are torn, ops on them are emitted on the untorn view
[L, rows, E] instead; the torn reshapes are left without a use, and only one that an output needs is refused.
"""

from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np

from .errors import Refusal
from .shapes import Extent, Shape, Sym, apart, batch_axis, broadcast_shapes, keeps_rows, show, volume
from .text import Node, Program

UNARY = set(
    "neg abs sign floor ceil round trunc exp log log1p expm1 sqrt rsqrt recip sin cos tanh sigmoid erf not".split()
)
ARITHMETIC = set("add sub mul div pow max min rem".split())
COMPARE = set("eq ne lt le gt ge".split())
LOGIC = set("and or xor".split())
I32 = range(-(2**31), 2**31)


class Graph:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.outputs: dict[str, Node] = {}
        self.scope: str | None = None
        self.place: object = None  # what is being converted, for errors found later
        self._seen: dict[tuple, Node] = {}
        self._torn: dict[int, tuple[Node | None, object]] = {}  # id of a torn node -> its untorn view, its place

    def emit(self, op: str, args: Sequence[Node], dtype: str, shape: Sequence[Extent], **attrs: Any) -> Node:
        """The node for this computation: a new one, or the one emitted before."""
        shape = tuple(shape)
        batch_axis(shape)
        if any(id(a) in self._torn for a in args) and (whole := self._emit_apart(op, args, dtype, shape, attrs)):
            return whole
        plain = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in attrs.items())
        key = (op, tuple(map(id, args)), dtype, shape, repr(plain))
        if key not in self._seen:
            self._seen[key] = Node(op, list(args), attrs, dtype, shape, self.scope)
            self.nodes.append(self._seen[key])
        return self._seen[key]

    def program(self) -> Program:
        """The nodes that the outputs need, in the order of emission."""
        live, todo = set(), list(self.outputs.values())
        while todo:
            n = todo.pop()
            if id(n) not in live:
                live.add(id(n))
                todo += n.args
        for n in self.nodes:
            if id(n) in live and id(n) in self._torn:
                text = f"a view as {show(n.shape)} of {show(n.args[0].shape)} moves elements between rows"
                raise Refusal(text, self._torn[id(n)][1])
        return Program([n for n in self.nodes if id(n) in live], dict(self.outputs))

    # ---- torn views

    def _emit_apart(self, op: str, args: Sequence[Node], dtype: str, shape: Shape, attrs: dict[str, Any]) -> Node | None:
        """The op on untorn views of its operands, where each has one and the op leaves axis 0 alone."""
        if op in ("reshape", "gather", "take_along", "gru"):
            return None
        torn = [self._torn[id(a)][0] for a in args if id(a) in self._torn]
        if None in torn or len({t.shape[:2] for t in torn}) != 1:
            return None
        lead = torn[0].shape[:2]
        if shape[0] != Sym(lead[1].name, lead[0] * lead[1].times):
            return None
        views = []
        for a in args:
            if id(a) in self._torn:
                views.append(self._torn[id(a)][0])
            elif batch_axis(a.shape) is None:
                views.append(a)
            elif a.op == "broadcast" and batch_axis((source := a.args[0]).shape) is None:
                if len(source.shape) == len(a.shape):
                    source = self.reshape(source, source.shape[1:])  # axis 0 became rows: its extent was 1
                views.append(self.broadcast(source, (*lead, *a.shape[1:])))
            else:
                return None
        at = dict(attrs)
        if 0 in at.get("axes", []) or at.get("axis") == 0 or at.get("perm", [0])[0] != 0:
            return None
        if "axes" in at:
            at["axes"] = [i + 1 for i in at["axes"]]
        if "axis" in at:
            at["axis"] += 1
        if "perm" in at:
            at["perm"] = [0, *[i + 1 for i in at["perm"]]]
        return self.reshape(self.emit(op, views, dtype, (*lead, *shape[1:]), **at), shape)

    # ---- leaves

    def input(self, name: str, dtype: str, shape: Shape) -> Node:
        return self.emit("input", [], dtype, shape, name=name)

    def param(self, name: str, dtype: str, shape: Shape) -> Node:
        return self.emit("param", [], dtype, shape, name=name)

    def const(self, value: Any, dtype: str) -> Node:
        if dtype == "f32":
            value = float(np.float32(value))
            if math.isnan(value):
                raise Refusal("a NaN constant has no text form")
        elif dtype == "i32":
            value = int(value)
            if value not in I32:
                raise Refusal(f"the integer {value} does not fit in i32")
        else:
            value = bool(value)
        return self.emit("const", [], dtype, (), value=value)

    def iota(self, n: int) -> Node:
        if not isinstance(n, int):
            raise Refusal("counting over the batch: the value of an element would depend on its row's place")
        return self.emit("iota", [], "i32", (n,))

    # ---- pointwise

    def lift(self, x: Node | float | int | bool, dtype: str) -> Node:
        return x if isinstance(x, Node) else self.const(x, dtype)

    def unary(self, op: str, x: Node) -> Node:
        wanted = {"not": ("bool",), "neg": ("f32", "i32"), "abs": ("f32", "i32"), "sign": ("f32", "i32")}.get(op, ("f32",))
        if op not in UNARY or x.dtype not in wanted:
            raise Refusal(f"{op} of {x.dtype} (it takes {' or '.join(wanted)})")
        return self.emit(op, [x], x.dtype, x.shape)

    def _pair(self, a: Any, b: Any) -> tuple[Node, Node]:
        dtype = a.dtype if isinstance(a, Node) else b.dtype
        a, b = self.lift(a, dtype), self.lift(b, dtype)
        if a.dtype != b.dtype:
            raise Refusal(f"operands of types {a.dtype} and {b.dtype}")
        shape = broadcast_shapes(a.shape, b.shape)
        return self.broadcast(a, shape), self.broadcast(b, shape)

    def binary(self, op: str, a: Any, b: Any) -> Node:
        """Arithmetic, comparison or logic of two operands after broadcasting; either may be a Python number."""
        a, b = self._pair(a, b)
        if op in ARITHMETIC and a.dtype in ("f32", "i32") or op in LOGIC and a.dtype == "bool":
            return self.emit(op, [a, b], a.dtype, a.shape)
        if op in COMPARE:
            return self.emit(op, [a, b], "bool", a.shape)
        raise Refusal(f"{op} of {a.dtype}")

    def add(self, a: Any, b: Any) -> Node:
        return self.binary("add", a, b)

    def sub(self, a: Any, b: Any) -> Node:
        return self.binary("sub", a, b)

    def mul(self, a: Any, b: Any) -> Node:
        return self.binary("mul", a, b)

    def div(self, a: Any, b: Any) -> Node:
        return self.binary("div", a, b)

    def select(self, c: Node, a: Any, b: Any) -> Node:
        a, b = self._pair(a, b)
        shape = broadcast_shapes(c.shape, a.shape)
        return self.emit("select", [self.broadcast(x, shape) for x in (c, a, b)], a.dtype, shape)

    def cast(self, x: Node, dtype: str) -> Node:
        return x if x.dtype == dtype else self.emit("cast", [x], dtype, x.shape)

    # ---- movement

    def broadcast(self, x: Node, shape: Sequence[Extent]) -> Node:
        shape = tuple(shape)
        if x.shape == shape:
            return x
        if broadcast_shapes(x.shape, shape) != shape:
            raise Refusal(f"{show(x.shape)} does not broadcast to {show(shape)}")
        return self.emit("broadcast", [x], x.dtype, shape)

    def reshape(self, x: Node, shape: Sequence[Extent]) -> Node:
        shape = tuple(shape)
        if x.shape == shape:
            return x
        if id(x) in self._torn:
            x = self._torn[id(x)][0] or x
        elif x.op == "reshape":
            x = x.args[0]
        if x.shape == shape:
            return x
        keeps = keeps_rows(x.shape, shape)
        node = self.emit("reshape", [x], x.dtype, shape)
        if not keeps and id(node) not in self._torn:
            view = apart(x.shape, shape)
            self._torn[id(node)] = (self.reshape(x, view) if view else None, self.place)
        return node

    def permute(self, x: Node, perm: Sequence[int]) -> Node:
        perm = list(perm)
        if x.op == "permute":
            x, perm = x.args[0], [x.attrs["perm"][p] for p in perm]
        if perm == list(range(len(perm))):
            return x
        return self.emit("permute", [x], x.dtype, [x.shape[p] for p in perm], perm=perm)

    def swap_last(self, x: Node) -> Node:
        r = len(x.shape)
        return self.permute(x, [*range(r - 2), r - 1, r - 2])

    def slice(self, x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
        extent = x.shape[axis]
        if isinstance(extent, Sym):
            raise Refusal(f"a slice of the batch axis of {show(x.shape)} takes some rows and leaves others")
        if (start, stop, step) == (0, extent, 1):
            return x
        shape = list(x.shape)
        shape[axis] = max(0, -(-(stop - start) // step))
        return self.emit("slice", [x], x.dtype, shape, axis=axis, start=start, stop=stop, step=step)

    def concat(self, xs: Sequence[Node], axis: int) -> Node:
        if len(xs) == 1:
            return xs[0]
        if isinstance(xs[0].shape[axis], Sym):
            raise Refusal("concatenation along the batch axis")
        shape = list(xs[0].shape)
        for x in xs[1:]:
            if x.dtype != xs[0].dtype or any(d != e for i, (d, e) in enumerate(zip(x.shape, shape)) if i != axis):
                raise Refusal(f"concatenation of {xs[0].dtype}{show(xs[0].shape)} and {x.dtype}{show(x.shape)}")
        shape[axis] = sum(x.shape[axis] for x in xs)
        return self.emit("concat", xs, xs[0].dtype, shape, axis=axis)

    def gather(self, x: Node, index: Node, axis: int, *, over_batch: bool = False) -> Node:
        """numpy.take. ``over_batch`` is for request inputs, the only gather that may pick rows."""
        if isinstance(x.shape[axis], Sym) and not over_batch:
            raise Refusal("a gather along the batch axis reads other rows")
        shape = x.shape[:axis] + index.shape + x.shape[axis + 1 :]
        return self.emit("gather", [x, index], x.dtype, shape, axis=axis)

    def take_along(self, x: Node, index: Node, axis: int) -> Node:
        if isinstance(x.shape[axis], Sym):
            raise Refusal("a gather along the batch axis reads other rows")
        if len(x.shape) != len(index.shape) or any(
            d != e for i, (d, e) in enumerate(zip(x.shape, index.shape)) if i != axis
        ):
            raise Refusal(f"take_along of {show(x.shape)} by {show(index.shape)} on axis {axis}")
        return self.emit("take_along", [x, index], x.dtype, index.shape, axis=axis)

    # ---- contractions, folds, scans

    def matmul(self, a: Node, b: Node) -> Node:
        """``b`` of rank 2 is shared by all leading dims of ``a``; a matrix that was only repeated for them is used as it is."""
        if b.op == "broadcast" and len(b.shape) > 2 and volume(b.args[0].shape) == volume(b.shape[-2:]):
            b = self.reshape(b.args[0], b.shape[-2:])
        (*lead, m, k), (*lead_b, k_b, n) = a.shape, b.shape
        if k != k_b or (lead_b and lead_b != lead) or (not lead_b and len(b.shape) != 2):
            raise Refusal(f"matmul of {show(a.shape)} and {show(b.shape)}")
        if isinstance(k, Sym):
            raise Refusal("a matrix product over the batch axis mixes rows")
        return self.emit("matmul", [a, b], "f32", [*lead, m, n])

    def reduce(self, kind: str, x: Node, axes: Sequence[int]) -> Node:
        """Folded axes stay with extent 1."""
        if any(isinstance(x.shape[i], Sym) for i in axes):
            raise Refusal(f"reduce_{kind} over the batch axis of {show(x.shape)} mixes rows")
        if x.dtype == "bool":
            raise Refusal(f"reduce_{kind} of bool")
        if not axes:
            return x
        shape = [1 if i in axes else d for i, d in enumerate(x.shape)]
        return self.emit(f"reduce_{kind}", [x], x.dtype, shape, axes=sorted(axes))

    def mean(self, x: Node, axes: Sequence[int]) -> Node:
        folded = self.reduce("sum", x, axes)
        return self.mul(folded, 1.0 / volume([x.shape[i] for i in axes]))

    def cumsum(self, x: Node, axis: int) -> Node:
        if isinstance(x.shape[axis], Sym):
            raise Refusal("cumsum over the batch axis mixes rows")
        return self.emit("cumsum", [x], x.dtype, x.shape, axis=axis)

    def gru(self, x: Node, h0: Node, w: Node, b: Node) -> Node:
        *lead, steps, gates = x.shape
        hidden = h0.shape[-1]
        if isinstance(steps, Sym) or gates != 3 * hidden or list(h0.shape[:-1]) != lead:
            raise Refusal(f"gru of {show(x.shape)} from the state {show(h0.shape)}")
        return self.emit("gru", [x, h0, w, b], "f32", [*lead, steps, hidden])
