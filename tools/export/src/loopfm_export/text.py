"""The text form of a graph, version 1: one node a line, written here and read back by the interpreter."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .shapes import Shape, Sym, show

HEADER = "loopfm 1"
LEAVES = ("input", "param", "const", "iota")


@dataclass(eq=False)
class Node:
    """One value of the graph. ``attrs`` of a leaf hold its ``name`` or ``value``."""

    op: str
    args: list["Node"]
    attrs: dict[str, Any]
    dtype: str
    shape: Shape
    scope: str | None = None
    id: int = -1


@dataclass
class Program:
    """Nodes in order of definition and the named results."""

    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, Node] = field(default_factory=dict)

    def leaves(self, op: str) -> list[Node]:
        return [n for n in self.nodes if n.op == op]


def float_text(value: float) -> str:
    """The shortest text that reads back as the same f32, spelled as Rust's ``{:?}`` spells it."""
    v = np.float32(value)
    if np.isinf(v):
        return "inf" if v > 0 else "-inf"
    sign = "-" if np.signbit(v) else ""
    if v == 0:
        return sign + "0.0"
    mantissa, exponent = np.format_float_scientific(abs(v), unique=True, trim="-").split("e")
    digits, e = mantissa.replace(".", ""), int(exponent)
    if abs(v) < np.float32(1e-4) or abs(v) >= np.float32(1e16):
        return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{e}"
    if e < 0:
        return f"{sign}0.{'0' * (-e - 1)}{digits}"
    whole, rest = digits[: e + 1].ljust(e + 1, "0"), digits[e + 1 :]
    return f"{sign}{whole}.{rest or '0'}"


def const_text(value: Any, dtype: str) -> str:
    return float_text(value) if dtype == "f32" else str(int(value)) if dtype == "i32" else "true" if value else "false"


def node_text(n: Node) -> str:
    if n.op in ("input", "param"):
        call = f"{n.op} {json.dumps(n.attrs['name'], ensure_ascii=False)}"
    elif n.op == "const":
        call = f"const {const_text(n.attrs['value'], n.dtype)}"
    elif n.op == "iota":
        call = "iota"
    else:
        call = f"{n.op}({', '.join(f'%{a.id}' for a in n.args)})"
        if n.attrs:
            call += " {" + ", ".join(f"{k}={json.dumps(v)}" for k, v in n.attrs.items()) + "}"
    scope = f" @ {json.dumps(n.scope, ensure_ascii=False)}" if n.scope else ""
    return f"%{n.id} = {call} : {n.dtype}{show(n.shape)}{scope}"


def render(program: Program) -> str:
    """Numbers the nodes from 0 and prints them."""
    for i, n in enumerate(program.nodes):
        n.id = i
    results = ", ".join(f"{json.dumps(k, ensure_ascii=False)} = %{n.id}" for k, n in program.outputs.items())
    return "\n".join([HEADER, *map(node_text, program.nodes), f"return {results}"]) + "\n"


_STRING = r'"(?:[^"\\]|\\.)*"'
_NODE = re.compile(
    rf"%(?P<id>\d+) = (?:(?P<leaf>input|param) (?P<name>{_STRING})|const (?P<value>\S+)|(?P<iota>iota)"
    r"|(?P<op>\w+)\((?P<args>[^)]*)\)(?: \{(?P<attrs>[^}]*)\})?)"
    rf" : (?P<dtype>f32|i32|bool)\[(?P<shape>[^\]]*)\](?: @ (?P<scope>{_STRING}))?"
)
_ATTR = re.compile(r"(\w+)=(\[[^\]]*\]|-?\d+)")
_RESULT = re.compile(rf"({_STRING}) = %(\d+)")


def _extent(text: str) -> int | Sym:
    if text.isdigit():
        return int(text)
    times, _, name = text.rpartition("*")
    if name not in ("rows", "requests"):
        raise ValueError(f"extent {text!r} is neither a number nor rows or requests")
    return Sym(name, int(times) if times else 1)


def _const(text: str, dtype: str) -> Any:
    if dtype == "bool":
        return {"true": True, "false": False}[text]
    return int(text) if dtype == "i32" else float(text)


def parse(text: str) -> Program:
    """Reads what ``render`` writes; raises ValueError with the line that is not of this form."""
    lines = text.split("\n")
    if lines[0] != HEADER or lines[-1] != "" or not lines[-2].startswith("return "):
        raise ValueError(f"not a graph: expected {HEADER!r}, nodes and a return line, each ended by a newline")
    program = Program()
    for line in lines[1:-2]:
        m = _NODE.fullmatch(line)
        if not m or int(m["id"]) != len(program.nodes):
            raise ValueError(f"not a node, or not the node %{len(program.nodes)}: {line}")
        op = m["leaf"] or m["iota"] or m["op"] or "const"
        args = [program.nodes[int(a[1:])] for a in (m["args"] or "").split(", ") if a]
        attrs = {k: json.loads(v) for k, v in _ATTR.findall(m["attrs"] or "")}
        if m["leaf"]:
            attrs = {"name": json.loads(m["name"])}
        elif op == "const":
            attrs = {"value": _const(m["value"], m["dtype"])}
        shape = tuple(_extent(d) for d in m["shape"].split(", ") if d)
        scope = json.loads(m["scope"]) if m["scope"] else None
        program.nodes.append(Node(op, args, attrs, m["dtype"], shape, scope, len(program.nodes)))
    for name, i in _RESULT.findall(lines[-2]):
        program.outputs[json.loads(name)] = program.nodes[int(i)]
    return program
