"""Small random models that together use every op of the graph: the architectures recommenders have, in the sizes of tests.

``ZOO`` maps a name to an Entry; make_goldens.py exports each to tests/data/graphs of the repository. The modules are this
project's own and written as users write them, not as the exporter would like them. Random weights only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

import torch
from torch import nn

ROWS, STEPS = 12, 6


@dataclass
class Entry:
    """A module, the inputs of its golden, and the options of ``save``."""

    build: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Any]
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        module = stir(self.build(), 0)
        return module, self.inputs(torch.Generator().manual_seed(1))


ZOO: dict[str, Entry] = {}


def zoo(name: str, inputs: Callable[[torch.Generator], Any], **options: Any) -> Callable[[type], type]:
    def register(cls: type) -> type:
        ZOO[name] = Entry(cls, inputs, options)
        return cls

    return register


def stir(module: nn.Module, seed: int) -> nn.Module:
    """Weights that are neither tiny nor constant, and BatchNorm statistics as after training."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, (nn.Embedding, nn.EmbeddingBag)):
                m.weight.normal_(0, 0.5, generator=g)
            elif isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.running_mean.normal_(0, 0.2, generator=g)
                m.running_var.uniform_(0.5, 1.5, generator=g)
        for p in module.parameters():
            if p.dim() <= 1:
                p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return module.eval()


def ids(g: torch.Generator, high: int, *shape: int, low: int = 0) -> torch.Tensor:
    return torch.randint(low, high, (ROWS, *shape), generator=g)


def reals(g: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(ROWS, *shape, generator=g)


def history(g: torch.Generator, high: int, steps: int = STEPS) -> torch.Tensor:
    """Ids padded with 0 behind; one history is empty, one is full."""
    n = torch.randint(1, steps + 1, (ROWS, 1), generator=g)
    n[0], n[1] = 0, steps
    return ids(g, high, steps, low=1) * (torch.arange(steps) < n)


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), act(), nn.Dropout(0.1)]
    return nn.Sequential(*layers)


from zoo_interaction import *  # noqa: E402,F401,F403  (they register themselves)
from zoo_ops import *  # noqa: E402,F401,F403
from zoo_sequence import *  # noqa: E402,F401,F403
