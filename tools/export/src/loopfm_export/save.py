"""``save`` and ``save_golden``: from a module to files that are known to reproduce it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import torch

from . import interp
from .convert import Conversion
from .errors import ExportError
from .files import read_model, write_golden, write_model
from .text import Program
from .trace import Taps, Traced, output_names, trace

TOLERANCE = 1e-4  # of the largest magnitude of an output


@dataclass
class Exported:
    """What ``save`` wrote."""

    path: Path
    program: Program
    inputs: list[str]
    outputs: list[str]
    dropped_inputs: list[str]
    errors: dict[str, float] = field(default_factory=dict)  # output -> largest difference from eager, over all checks


def _taps(extract: Sequence[str] | Mapping[str, str]) -> Taps:
    if isinstance(extract, str):
        return {extract: extract}
    return dict(extract) if isinstance(extract, Mapping) else {p: p for p in extract}


def save(
    module: torch.nn.Module,
    example_inputs: Any,
    path: Any,
    *,
    outputs: Sequence[str] | Mapping[str, str] | None = None,
    extract: Sequence[str] | Mapping[str, str] = (),
    per_request: Sequence[str] = (),
    model: str | None = None,
    source: str | None = None,
    storage: str = "f32",
    verify: bool = True,
) -> Exported:
    """Writes ``module`` as one safetensors file: its weights and the graph of its forward.

    ``example_inputs``: a tuple of positional arguments, or a dict or list that forward takes as its one argument (a dict
    whose keys are parameters of forward is keywords). Every tensor leads with a batch axis of at least 2 rows.
    ``outputs``: names of the returned tensors in order, or {returned key: name} to pick and rename.
    ``extract``: submodules whose output, or with ``:in`` whose first input, becomes a further output; or {name: submodule}.
    ``per_request``: inputs that belong to a request, shared by its rows.
    ``storage``: f32, f16 or bf16 for floating weights; the module is compared as it is, so round it first.
    ``verify``: runs the written file in the NumPy interpreter and compares it with the module.

    Raises ExportError.
    """
    module_training = [n or "the module" for n, m in module.named_modules() if m.training]
    traced = trace(module, example_inputs, _taps(extract), outputs)
    conversion = Conversion(traced, per_request)
    try:
        program = conversion.run()
    except ExportError as e:
        if module_training and e.op and "train mode" in e.reason:
            raise ExportError(f"{e.reason} (in train mode: {', '.join(module_training[:5])})", op=e.op, module=e.module,
                              source=e.source) from e  # fmt: skip
        raise
    write_model(path, program, conversion.weights, storage=storage, model=model,
                source=source or f"loopfm-export, torch {torch.__version__}")  # fmt: skip
    kept = [n.attrs["name"] for n in program.leaves("input")]
    dropped = [n for n in traced.inputs if n not in kept]
    if dropped:
        warnings.warn(f"loopfm_export: no output depends on the inputs {dropped}; they were left out", stacklevel=2)
    done = Exported(Path(path), program, kept, list(program.outputs), dropped)
    if verify:
        try:
            done.errors = _verify(path, traced.wrapper, traced.outputs, set(per_request))
        except Exception:
            Path(path).unlink()  # no file is left that does not reproduce its module
            raise
    return done


def eager(wrapper: Traced, names: Sequence[str | None], tensors: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        # Copies: a module that changes its inputs in place must not change ours.
        results = wrapper(*(t.clone() for t in tensors))
    return {n: t.detach().cpu().numpy() for n, t in zip(names, results) if n is not None}


def _verify(path: Any, wrapper: Traced, names: Sequence[str | None], per_request: set[str]) -> dict[str, float]:
    """Full batch, one row, and (with request inputs) all rows under the first row's request."""
    text, params = read_model(path)
    tensors = wrapper.tensors()
    cases = [("the full batch", tensors, set())]
    if per_request:
        one = tuple(t[:1].expand_as(t).contiguous() if n in per_request else t for n, t in zip(wrapper.names, tensors))
        cases.append(("one request", one, per_request))
    cases.append(("one row", tuple(t[:1] for t in tensors), set()))
    errors: dict[str, float] = {}
    for case, given, shared in cases:
        try:
            expected = eager(wrapper, names, given)
        except Exception:
            if case != "one row":
                raise
            continue  # several libraries squeeze the batch axis away at B = 1 and crash; the graph does not
        feed = {n: (t[:1] if n in shared else t).cpu().numpy() for n, t in zip(wrapper.names, given)}
        for name, got in interp.run(text, params, feed).items():
            errors[name] = max(errors.get(name, 0.0), compare(name, got, expected[name], case))
    return errors


def compare(name: str, got: np.ndarray, expected: np.ndarray, case: str) -> float:
    """The largest difference; raises if it is out of tolerance."""
    if got.size != expected.size:
        raise ExportError(f"output {name!r} on {case}: the graph gives {got.shape}, the module {expected.shape}")
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    off = np.where(same, 0.0, np.abs(a - b))
    finite = b[np.isfinite(b)]
    scale = max(float(np.abs(finite).max(initial=0.0)), 1e-6)
    worst = float(off.max(initial=0.0))
    if not worst <= TOLERANCE * scale:
        raise ExportError(f"output {name!r} on {case} differs by {worst:.3g} from the module (magnitude {scale:.3g})")
    return worst


def save_golden(
    path: Any,
    module: torch.nn.Module,
    inputs: Any,
    *,
    outputs: Sequence[str] | Mapping[str, str] | None = None,
    extract: Sequence[str] | Mapping[str, str] = (),
    only: Sequence[str] | None = None,
    requests: Mapping[str, Any] | None = None,
    label: Any = None,
) -> dict[str, np.ndarray]:
    """Writes the module's own results on ``inputs`` as ``in.*`` and ``out.*``; returns the outputs.

    ``outputs`` and ``extract`` as in ``save``. ``only`` keeps these inputs (those the graph reads: ``Exported.inputs``).
    ``requests`` replaces stored request inputs, and may add ``request_of_row``: the module runs on one copy of a request for
    each row, while the file holds each request once.
    """
    wrapper = Traced(module, inputs, _taps(extract))
    tensors = wrapper.tensors()
    with torch.no_grad():
        wrapper(*(t.clone() for t in tensors))
    results = eager(wrapper, output_names(wrapper.returned, wrapper.taps, outputs), tensors)
    given = dict(zip(wrapper.names, tensors)) | dict(requests or {})
    kept = {k: v for k, v in given.items() if only is None or k in only}
    write_golden(path, kept, results, label)
    return results
