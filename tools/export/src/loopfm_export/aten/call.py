"""One ATen call, seen by a rule of the table: its arguments as graph values or plain Python, its result's shape and type.

Result shapes come from the traced metadata, so view(-1), sym_size arithmetic and the like need no interpretation. ATen's
implicit promotion is made explicit here: a rule asks for an argument in the type that the computation has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import torch
from torch.fx import Node as FxNode

from ..errors import Refusal
from ..graph import Graph
from ..shapes import ROWS, Extent, Shape, Sym
from ..text import Node

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

Rule = Callable[["Call"], Any]
TABLE: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers the rule under ATen names; ``add.Tensor`` stands for ``aten.add.Tensor``."""

    def register(f: Rule) -> Rule:
        for name in names:
            key = f"aten.{name}"
            assert key not in TABLE, key
            TABLE[key] = f
        return f

    return register


def dtype_of(t: torch.dtype) -> str:
    if t in (torch.float32, torch.float64):
        return "f32"  # float64 is let through for data movement only: see Call.check_precision
    if t in INTEGERS:
        return "i32"
    if t is torch.bool:
        return "bool"
    raise Refusal(f"values of type {t} (the graph computes in f32, i32 and bool: call .float() on the module)")


def extent_of(d: Any) -> Extent:
    """A number, or K*rows for what torch calls K*B."""
    if isinstance(d, int):
        return d
    expression = d.node.expr if isinstance(d, torch.SymInt) else d
    if expression.is_number:
        return int(expression)
    times, symbol = expression.as_coeff_Mul()
    if str(symbol).startswith("u"):
        raise Refusal(f"an extent depends on data ({expression})")
    if not symbol.is_Symbol or not times.is_Integer or times < 1:
        raise Refusal(f"the extent {expression} is not a multiple of the batch size")
    return Sym(ROWS.name, int(times))


def shape_of(t: torch.Tensor) -> Shape:
    return tuple(map(extent_of, t.shape))


@dataclass(frozen=True)
class RowIndex:
    """arange over the batch, possibly viewed with extra unit axes: it has a meaning only as an index of rows."""

    start: int | torch.fx.Node
    step: int | torch.fx.Node


class Call:
    def __init__(self, graph: Graph, node: FxNode, env: dict[FxNode, Any]):
        self.g, self.node, self.env = graph, node, env
        self.meta = node.meta.get("val")
        if isinstance(self.meta, torch.Tensor):
            self.shape, self.torch_dtype = shape_of(self.meta), self.meta.dtype
            self.dtype = dtype_of(self.meta.dtype)
        schema = node.target._schema
        self.parameters = [a.name for a in schema.arguments]
        self.defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}

    def has(self, name: str) -> bool:
        return name in self.parameters

    def raw(self, name: str) -> Any:
        """The argument as it stands in the traced program, or its default."""
        i = self.parameters.index(name)
        if i < len(self.node.args):
            return self.node.args[i]
        return self.node.kwargs.get(name, self.defaults.get(name))

    def resolve(self, x: Any, dtype: str | None = None) -> Any:
        """A graph value for a traced tensor, a constant for a Python number, None for None."""
        if x is None:
            return None
        if not isinstance(x, FxNode):
            return self.g.const(x, dtype or self.dtype)
        if not isinstance(x.meta.get("val"), torch.Tensor):
            raise Refusal("a size is used as a value of the computation")
        value = self.env[x]
        if isinstance(value, RowIndex):
            raise Refusal("counting over the batch: the value of an element would depend on its row's place")
        return self.g.cast(value, dtype) if dtype else value

    def value(self, name: str, dtype: str | None = None) -> Any:
        return self.resolve(self.raw(name), dtype)

    def size(self, name: str, default: Extent | None = None) -> Extent | None:
        """An int argument that may be a traced size."""
        x = self.raw(name)
        if isinstance(x, FxNode):
            return extent_of(x.meta["val"])
        return default if x is None else extent_of(x)

    def axis(self, name: str, rank: int) -> int:
        return self.raw(name) % max(rank, 1)

    def axes(self, name: str, rank: int) -> list[int]:
        """A list of axes; none given means all."""
        x = self.raw(name) if self.has(name) else None
        x = [x] if isinstance(x, int) else list(x or [])
        return sorted({i % max(rank, 1) for i in x}) if x else list(range(rank))

    def promoted(self, *names: str) -> str:
        """The type in which ATen compares these two arguments."""
        values = [x.meta["val"] if isinstance(x, FxNode) else x for x in map(self.raw, names)]
        return dtype_of(torch.result_type(*values))
