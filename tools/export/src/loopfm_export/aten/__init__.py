"""The table from ATen ops to graph ops. An op that has no rule here has no place in the graph."""

from . import folding, indexing, layers, movement, pointwise  # noqa: F401  (each registers its rules)
from .call import TABLE, Call, RowIndex, dtype_of, extent_of, shape_of

# Ops that exist in train mode only.
TRAIN_ONLY = {
    "aten.native_dropout.default": "dropout in train mode",
    "aten.bernoulli.p": "dropout in train mode",
    "aten._native_batch_norm_legit_functional.default": "batch normalisation in train mode",
    "aten._native_batch_norm_legit.default": "batch normalisation in train mode",
    "aten.native_batch_norm.default": "batch normalisation in train mode",
    "aten._native_batch_norm_legit.no_stats": "batch normalisation with the batch's own statistics",
}

__all__ = ["TABLE", "TRAIN_ONLY", "Call", "RowIndex", "dtype_of", "extent_of", "shape_of"]
