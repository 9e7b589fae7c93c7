"""Shapes: tuples of extents, each a number or ``K`` times one symbol (``rows`` or ``requests``).

At most one extent of a shape is symbolic, and it marks the batch axis: programs are row-local, so no op may fold, cut or
reorder it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Sequence, Union

from .errors import Refusal


@dataclass(frozen=True)
class Sym:
    """``times * name``; prints as the text form does."""

    name: str
    times: int = 1

    def __str__(self) -> str:
        return self.name if self.times == 1 else f"{self.times}*{self.name}"


Extent = Union[int, Sym]
Shape = tuple  # of Extent
ROWS, REQUESTS = Sym("rows"), Sym("requests")


def show(shape: Sequence[Extent]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def batch_axis(shape: Sequence[Extent]) -> int | None:
    """The axis with the symbolic extent; more than one is refused."""
    axes = [i for i, d in enumerate(shape) if isinstance(d, Sym)]
    if len(axes) > 1:
        raise Refusal(f"shape {show(shape)} carries the batch axis more than once: rows would meet rows")
    return axes[0] if axes else None


def volume(extents: Sequence[Extent]) -> Extent:
    """The product of extents, of which one at most is symbolic."""
    number = prod(d if isinstance(d, int) else d.times for d in extents)
    names = [d.name for d in extents if isinstance(d, Sym)]
    if len(names) > 1:
        raise Refusal(f"extents {show(extents)} multiply the batch size by itself")
    return Sym(names[0], number) if names else number


def broadcast_shapes(a: Shape, b: Shape) -> Shape:
    """The right-aligned NumPy rule."""
    n = max(len(a), len(b))
    wide = [(1,) * (n - len(s)) + tuple(s) for s in (a, b)]
    for x, y in zip(*wide):
        if x != y and 1 not in (x, y):
            raise Refusal(f"shapes {show(a)} and {show(b)} do not broadcast")
    return tuple(y if x == 1 else x for x, y in zip(*wide))


def keeps_rows(old: Shape, new: Shape) -> bool:
    """Whether a reshape leaves every row its own elements: what lies before the batch axis is as large as it was."""
    if volume(old) != volume(new):
        raise Refusal(f"reshape of {show(old)} to {show(new)} changes the number of elements")
    a, b = batch_axis(old), batch_axis(new)
    return a is None or prod(old[:a]) == prod(new[:b])


def apart(old: Shape, new: Shape) -> Shape | None:
    """``new`` with its leading K*rows as two axes, where ``old`` has L places before the rows: [L, (K/L)*rows, ..]."""
    outer, first = prod(old[: batch_axis(old)]), new[0]
    if not isinstance(first, Sym) or first.times % outer:
        return None
    return (outer, Sym(first.name, first.times // outer), *new[1:])
