"""Turns an exported program (core ATen) into a graph: walks its nodes through the table and names what cannot be turned."""

from __future__ import annotations

import operator
import re
from typing import Any, Iterable

import torch
from torch.fx import Node as FxNode

from .aten import TABLE, TRAIN_ONLY, Call, RowIndex, dtype_of, shape_of
from .errors import ExportError, Refusal
from .graph import Graph
from .interp import REQUEST_OF_ROW
from .shapes import REQUESTS, ROWS
from .text import Node, Program
from .trace import Trace

WRAPPED = "m."  # Traced holds the module under this name
# Moving float64 values leaves them exact, so it may precede their cast; computing with them is refused.
MOVES = set(
    "view reshape _unsafe_view unsqueeze squeeze expand permute transpose t slice select split_with_sizes split unbind "
    "cat clone alias detach copy lift_fresh_copy contiguous".split()
)


class Conversion:
    """The graph under construction, the weights it names, and the inputs that nothing reads."""

    def __init__(self, trace: Trace, per_request: Iterable[str]):
        self.trace, self.g = trace, Graph()
        self.weights: dict[str, torch.Tensor] = {}
        self.env: dict[FxNode, Any] = {}
        self._by_storage: dict[tuple, str] = {}
        self.per_request = set(per_request)
        unknown = self.per_request - set(trace.inputs)
        if unknown:
            raise ExportError(f"per_request names {sorted(unknown)}, but the inputs are {trace.inputs}")
        if REQUEST_OF_ROW in trace.inputs:
            raise ExportError(f"the input name {REQUEST_OF_ROW!r} is reserved")

    def run(self) -> Program:
        nodes = self.trace.program.graph.nodes
        try:
            self._inputs([n for n in nodes if n.op == "placeholder"])
        except Refusal as e:
            raise self._error(e, None) from e
        live = self._live(nodes)
        for n in nodes:
            if n not in live:
                continue
            if n.op == "get_attr":
                self.env[n] = self._param(str(n.target), getattr(self.trace.program.graph_module, n.target))
            elif n.op == "call_function":
                self._call(n)
            elif n.op == "output":
                self._outputs(n)
        try:
            return self.g.program()
        except Refusal as e:
            raise self._error(e, e.place) from e

    def _live(self, nodes: Iterable[FxNode]) -> set[FxNode]:
        """What the named outputs need: assertions and branches without a use may hold ops that the graph lacks."""
        (last,) = [n for n in nodes if n.op == "output"]
        kinds = [s.kind.name for s in self.trace.program.graph_signature.output_specs]
        names = iter(self.trace.outputs)
        wanted = [v for v, k in zip(last.args[0], kinds) if k != "USER_OUTPUT" or next(names) is not None]
        live, todo = {last}, [v for v in wanted if isinstance(v, FxNode)]
        while todo:
            n = todo.pop()
            if n not in live:
                live.add(n)
                todo += n.all_input_nodes
        return live

    @staticmethod
    def _error(e: Refusal, n: FxNode | None) -> ExportError:
        if n is None:
            return ExportError(str(e))
        return ExportError(str(e), op=str(n.target), module=module_path(n), source=source_line(n))

    # ---- leaves

    def _inputs(self, placeholders: list[FxNode]) -> None:
        """Inputs first, then request_of_row and one gather for each request input, then parameters."""
        specs = {s.arg.name: s for s in self.trace.program.graph_signature.input_specs}
        own = [n for n in placeholders if specs[n.name].kind.name == "USER_INPUT"]
        requests: list[tuple[FxNode, Node]] = []
        for n, name in zip(own, self.trace.inputs):
            meta = n.meta["val"]
            shape, dtype = shape_of(meta), dtype_of(meta.dtype)
            if name in self.per_request:
                requests.append((n, self.g.input(name, dtype, (REQUESTS, *shape[1:]))))
            else:
                self.env[n] = self.g.input(name, dtype, shape)
        if requests:
            row = self.g.input(REQUEST_OF_ROW, "i32", (ROWS,))
            for n, x in requests:
                self.env[n] = self.g.gather(x, row, 0, over_batch=True)
        state = {**self.trace.program.constants, **self.trace.program.state_dict}
        for n in placeholders:
            spec = specs[n.name]
            if spec.kind.name != "USER_INPUT" and isinstance(state.get(spec.target), torch.Tensor):
                self.env[n] = self._param(spec.target, state[spec.target])

    def _param(self, target: str, t: torch.Tensor) -> Node:
        """One parameter for each storage: a table shared under two names, or a tied weight, is written once."""
        name = target.removeprefix(WRAPPED)
        key = (t.data_ptr(), tuple(t.shape), t.stride(), t.dtype) if t.numel() else (name,)
        name = self._by_storage.setdefault(key, name)
        self.weights[name] = t.detach()
        return self.g.param(name, dtype_of(t.dtype), tuple(t.shape))

    # ---- nodes

    def _call(self, n: FxNode) -> None:
        meta, name = n.meta.get("val"), str(n.target)
        if n.target is operator.getitem:
            self.env[n] = self.env[n.args[0]][n.args[1]]
            return
        if isinstance(meta, (torch.SymInt, torch.SymBool, torch.SymFloat, int, float, bool)) or meta is None:
            if "wrap_with" not in name:
                return  # sizes live in shapes; assertions have no result
        self.g.scope, self.g.place = module_path(n), n
        try:
            self.env[n] = self._apply(n, name)
        except Refusal as e:
            raise self._error(e, n) from e

    def _apply(self, n: FxNode, name: str) -> Any:
        if name in TRAIN_ONLY:
            raise Refusal(f"{TRAIN_ONLY[name]}: call .eval() on the module")
        if name not in TABLE:
            raise Refusal("the graph has no such op")
        call = Call(self.g, n, self.env)
        kind = name.split(".")[1]
        if kind not in MOVES and getattr(call, "torch_dtype", None) is torch.float64:
            raise Refusal("computes in float64 (the graph computes in f32: cast the inputs first)")
        result = TABLE[name](call)
        if isinstance(result, Node) and hasattr(call, "shape") and (result.shape, result.dtype) != (call.shape, call.dtype):
            raise Refusal(f"bug in loopfm_export: {result.dtype}{list(map(str, result.shape))} for {call.meta}")
        return result

    def _outputs(self, n: FxNode) -> None:
        specs = self.trace.program.graph_signature.output_specs
        own = []
        for spec, value in zip(specs, n.args[0]):
            if spec.kind.name != "USER_OUTPUT":
                what = spec.kind.name.lower().replace("_", " ")
                target = (spec.target or "").removeprefix(WRAPPED)
                raise ExportError(f"{what} of {target!r}: a graph leaves its inputs and buffers as they are")
            own.append(value)
        for name, value in zip(self.trace.outputs, own):
            if name is None:
                continue
            result = self.env.get(value) if isinstance(value, FxNode) else None
            if isinstance(result, RowIndex) or not isinstance(result, Node):
                raise ExportError(f"output {name!r} is {value}, not a tensor of the graph")
            self.g.outputs[name] = result


def module_path(n: FxNode) -> str | None:
    """The dotted path of the module whose forward made the node."""
    stack = list((n.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return None
    path = stack[-1][0].replace("L['self']", "").lstrip(".")
    path = re.sub(r"@\d+$", "", path)  # torch marks repeated calls of one module
    return path.removeprefix(WRAPPED.rstrip(".")).lstrip(".") or None


def source_line(n: FxNode) -> str | None:
    """The innermost line of the stack that is neither torch's nor this package's."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)\n\s*([^\n]*)', n.meta.get("stack_trace") or "")
    inner = [f for f in frames if "/torch/" not in f[0] and "loopfm_export" not in f[0]]
    if not inner:
        return None
    file, line, function, text = inner[-1]
    return f"{file}:{line} in {function}: {text.strip()}"
