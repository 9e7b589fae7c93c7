"""Writes the zoo's small random models to tests/data/graphs of the repository: ``python make_goldens.py [FOLDER]``.

Deterministic: a second run with the same torch leaves the same bytes.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import loopfm_export as le
import torch
from zoo import ROWS, ZOO

GRAPHS = Path(__file__).resolve().parents[3] / "tests" / "data" / "graphs"
FOLDER_LIMIT, TOTAL_LIMIT = 60_000, 1_000_000


def make(name: str, folder: Path) -> le.Exported:
    entry = ZOO[name]
    module, inputs = entry.make()
    done = le.save(module, inputs, folder / "model.safetensors", model=name, source="random weights", **entry.options)
    options = {k: v for k, v in entry.options.items() if k in ("outputs", "extract")}
    le.save_golden(folder / "golden.io.safetensors", module, inputs, only=done.inputs, **options)
    if per_request := entry.options.get("per_request"):
        shared(name, folder, module, inputs, done, per_request, options)
    return done


def shared(name, folder, module, inputs, done, per_request, options) -> None:
    """The same rows as three requests of unequal size: rows 0..4, 5..5 and 6.. ."""
    row = torch.tensor([0] * 5 + [1] + [2] * (ROWS - 6))
    as_dict = isinstance(inputs, dict)
    named = inputs if as_dict else dict(zip([n for n in done.inputs if n != "request_of_row"], inputs))
    spread = {k: t[:3][row] if k in per_request else t for k, t in named.items()}
    requests = {k: named[k][:3] for k in per_request} | {"request_of_row": row}
    given = spread if as_dict else tuple(spread.values())
    le.save_golden(folder / "requests3.io.safetensors", module, given, requests=requests, only=done.inputs, **options)


def main(root: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    total, used = 0, set()
    for name in ZOO:
        done = make(name, root / name)
        size = sum(f.stat().st_size for f in (root / name).iterdir())
        total += size
        used |= {n.op for n in done.program.nodes}
        worst = max(done.errors.values())
        print(f"{name:16s} {len(done.program.nodes):4d} nodes {size / 1000:6.1f} kB  largest difference {worst:.2g}", flush=True)
        assert size < FOLDER_LIMIT, f"{name} takes {size} bytes"
    print(f"{total / 1000:.0f} kB in all; ops used: {' '.join(sorted(used))}")
    assert total < TOTAL_LIMIT, total


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else GRAPHS)
