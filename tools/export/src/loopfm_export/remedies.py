"""Rewrites made while a module is traced, for code whose shapes depend on data in form only.

They act in the trace only: ``save`` compares the written graph with the module as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


def constant_masks(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The places that each bool parameter or buffer of the module marks, in row-major order."""
    state = [*module.named_parameters(), *module.named_buffers()]
    return {k: t.detach().flatten().nonzero().squeeze(1) for k, t in state if t.dtype is torch.bool and t.dim()}


class ConstantMasks(TorchFunctionMode):
    """masked_select(x, mask) by a mask that the module stores picks the same places of each row: an index_select.

    Pairwise products (PNN, FwFM, DLRM) keep the upper triangle of [F, F] in this way. Tracing would see an unknown number.
    """

    def __init__(self, module: torch.nn.Module, places: dict[str, torch.Tensor]):
        super().__init__()
        self.module, self.places = module, places

    def __torch_function__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if f in (torch.masked_select, torch.Tensor.masked_select):
            x, mask = [*args, *kwargs.values()][:2]
            places, rank = self._places(mask), len([d for d in mask.shape if d != 1])
            if places is not None and x.shape[x.dim() - rank :] == tuple(d for d in mask.shape if d != 1):
                return x.flatten(x.dim() - rank).index_select(-1, places).reshape(-1)
        return f(*args, **kwargs)

    def _places(self, mask: torch.Tensor) -> torch.Tensor | None:
        for k in self.places:
            owner, _, name = k.rpartition(".")
            if getattr(self.module.get_submodule(owner), name) is mask:
                return self.places[k]
        return None
