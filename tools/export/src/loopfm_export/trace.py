"""Runs torch.export on a module and keeps the names: of inputs, of outputs, of extraction points.

Non-strict mode, one named batch dim with min=1, an example batch of at least 2: what was found to bring in most models
unmodified. Extraction points are forward hooks set inside the traced forward. They clone: libraries change activations in
place afterwards.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import torch
from torch.utils import _pytree as pytree

from .errors import ExportError
from .remedies import ConstantMasks, constant_masks

MAX_ROWS = 1 << 24  # torch asks for a bound where sizes are multiplied
Taps = dict[str, str]  # output name -> submodule, or "submodule:in" for its input


def _path(keys: Sequence[Any]) -> str:
    """A pytree key path in dots: ['a'][0] is a.0."""
    return ".".join(str(next(getattr(k, f) for f in ("key", "idx", "name") if hasattr(k, f))) for k in keys)


def call_arguments(module: torch.nn.Module, example: Any) -> tuple[tuple, dict[str, Any]]:
    """A tuple is the positional arguments; a dict is keywords if its keys are parameters of forward; else one argument."""
    if isinstance(example, tuple) and not hasattr(example, "_fields"):
        return example, {}
    if isinstance(example, dict):
        names = inspect.signature(module.forward).parameters
        if example and all(k in names for k in example):
            return (), dict(example)
    return (example,), {}


def _named_leaves(module: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[list[str], list[Any], Any]:
    """Leaves of the arguments with their names; a lone dict argument lends its keys without a prefix."""
    names, rest = [], "args"
    for p in inspect.signature(module.forward).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            rest = p.name
        elif p.kind is not p.VAR_KEYWORD:
            names.append(p.name)
    prefixes = [names[i] if i < len(names) else f"{rest}.{i - len(names)}" for i in range(len(args))]
    paths, leaves = [], []
    flat, spec = pytree.tree_flatten_with_path((args, kwargs))
    for (half, first, *inner), leaf in flat:
        prefix = prefixes[first.idx] if half.idx == 0 else first.key
        lone_dict = len(args) + len(kwargs) == 1 and isinstance((args + tuple(kwargs.values()))[0], dict)
        tail = _path(inner)
        paths.append(tail if lone_dict else f"{prefix}.{tail}" if tail else prefix)
        leaves.append(leaf)
    return paths, leaves, spec


class Traced(torch.nn.Module):
    """The module as a function of its tensor leaves, returning flat outputs: its own, then the taps'."""

    def __init__(self, module: torch.nn.Module, example: Any, taps: Taps):
        super().__init__()
        self.m, self.taps = module, taps
        args, kwargs = call_arguments(module, example)
        paths, self.leaves, self.spec = _named_leaves(module, args, kwargs)
        self.slots = [i for i, x in enumerate(self.leaves) if isinstance(x, torch.Tensor)]
        self.names = [paths[i] for i in self.slots]
        self.masks, self.tracing = constant_masks(module), False
        self.returned: list[str] = []  # key paths of the module's own outputs, known after a run
        for point in taps.values():
            path = point.removesuffix(":in")
            if path not in dict(module.named_modules()):
                raise ExportError(f"extraction point {point!r}: the module has no submodule {path!r}")

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(self.leaves[i] for i in self.slots)

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        leaves = list(self.leaves)
        for i, t in zip(self.slots, tensors):
            leaves[i] = t
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        seen: dict[str, torch.Tensor] = {}
        handles = [self._tap(name, point, seen) for name, point in self.taps.items()]
        try:
            with ConstantMasks(self.m, self.masks) if self.tracing else nullcontext():
                result = self.m(*args, **kwargs)
        finally:
            for h in handles:
                h.remove()
        flat = [(_path(k), t) for k, t in pytree.tree_flatten_with_path(result)[0] if isinstance(t, torch.Tensor)]
        self.returned = [k for k, _ in flat]
        missing = [point for name, point in self.taps.items() if name not in seen]
        if missing:
            raise ExportError(f"extraction points {missing} were not reached, or their values are not tensors")
        return [t for _, t in flat] + [seen[name] for name in self.taps]

    def _tap(self, name: str, point: str, seen: dict[str, torch.Tensor]) -> Any:
        module = self.m.get_submodule(point.removesuffix(":in"))

        def keep(value: Any) -> None:  # returns None: a hook's value would replace the module's
            first = value[0] if isinstance(value, (tuple, list)) and value else value
            if isinstance(first, torch.Tensor):
                seen[name] = first.clone()

        if point.endswith(":in"):
            return module.register_forward_pre_hook(lambda _, args: keep(args))
        return module.register_forward_hook(lambda _, args, value: keep(value))


@dataclass
class Trace:
    wrapper: Traced
    program: torch.export.ExportedProgram
    inputs: list[str]
    outputs: list[str | None]  # None: an output of the module that was not asked for


def output_names(returned: list[str], taps: Taps, wanted: Sequence[str] | Mapping[str, str] | None) -> list[str | None]:
    """Names of the flat outputs. ``wanted`` renames all of them in order, or picks and renames by key."""
    own: list[str | None]
    if wanted is None:
        own = [key or "out" for key in returned]
        own = [f"out.{key}" if key.isdigit() else key for key in own]
    elif isinstance(wanted, Mapping):
        unknown = [k for k in wanted if k not in returned]
        if unknown:
            raise ExportError(f"outputs {unknown} are not returned; the module returns {returned}")
        own = [wanted.get(key) for key in returned]
    else:
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        if len(wanted) != len(returned):
            raise ExportError(f"{len(wanted)} output names {wanted} for {len(returned)} outputs {returned}")
        own = list(wanted)
    names = own + list(taps)
    kept = [n for n in names if n is not None]
    if len(set(kept)) < len(kept):
        raise ExportError(f"output names repeat: {kept}")
    return names


def trace(module: torch.nn.Module, example: Any, taps: Taps, wanted: Any) -> Trace:
    wrapper = Traced(module, example, taps)
    tensors = wrapper.tensors()
    repeated = {n for n in wrapper.names if wrapper.names.count(n) > 1}
    if repeated:
        raise ExportError(f"input names repeat: {sorted(repeated)}")
    shapes = {n: list(t.shape) for n, t in zip(wrapper.names, tensors)}
    batches = {s[0] if s else None for s in shapes.values()}
    if len(batches) != 1 or None in batches:
        raise ExportError(f"inputs must share a leading batch axis, got {shapes}")
    if min(batches) < 2:
        raise ExportError(f"the example batch must have at least 2 rows (torch.export specialises 1), got {shapes}")
    rows = torch.export.Dim("rows", min=1, max=MAX_ROWS)
    with torch.no_grad():
        names = output_names(_own_keys(wrapper, tensors), taps, wanted)
        wrapper.tracing = True
        try:
            program = torch.export.export(
                wrapper, tensors, dynamic_shapes=(tuple({0: rows} for _ in tensors),), strict=False
            )
        except ExportError:
            raise
        except Exception as e:  # torch.export raises many types; its text names the user's line
            text = str(e).strip().split("\nThe error above occurred")[0].strip()
            raise ExportError(f"torch.export refused the module: {type(e).__name__}: {text}") from e
        finally:
            wrapper.tracing = False
        keep_whole = torch.export.default_decompositions()
        # linear and gru are ops of the graph; stack decomposes through a view that tears rows apart.
        for op in (torch.ops.aten.linear.default, torch.ops.aten.gru.input, torch.ops.aten.stack.default):
            keep_whole.pop(op, None)
        program = program.run_decompositions(keep_whole)
    return Trace(wrapper, program, wrapper.names, names)


def _own_keys(wrapper: Traced, tensors: tuple[torch.Tensor, ...]) -> list[str]:
    wrapper(*tensors)
    return wrapper.returned
