"""Writes tests/data/zoo of the repository: FuxiCTR's models with random weights under the names of src/model, and their answers.

``python make_architectures.py [FOLDER]``, with ``LOOPFM_FUXICTR`` as in peers.py. Each folder gets ``config.json``, ``model.safetensors``
and ``golden.io.safetensors``: answers at inference (``out.``) and in training (``train.``), there with the new statistics. Padding is id 0, behind the events; its rows in tables are zero, as FuxiCTR has them. Answers
are computed in float64. The one change to a model: DMIN's refiner hides what its mask hides, where FuxiCTR adds 1 to the score.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from peers import fuxictr_class
from safetensors.torch import save_file
from torch import nn
from unseen import stir

OUT = Path(__file__).resolve().parents[3] / "tests" / "data" / "zoo"
ROWS, T, D = 8, 5, 4
SIZES = {"user": 12, "item": 10, "cate": 6}
HISTORY = {"hist_item": "item", "hist_cate": "cate"}
Tensors = dict[str, torch.Tensor]


# ---- the models


def feature_map(pooled: bool) -> Any:
    from fuxictr.features import FeatureMap

    features = FeatureMap("zoo", ".")
    specs: dict[str, dict] = {k: {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": n} for k, n in SIZES.items()}
    for k, table in HISTORY.items():
        encoder = "layers.MaskedAveragePooling()" if pooled else None
        specs[k] = {"source": "", "type": "sequence", "padding_idx": 0, "max_len": T, "vocab_size": SIZES[table],
                    "share_embedding": table, "feature_encoder": encoder}  # fmt: skip
    specs["price"] = {"source": "", "type": "numeric"}
    features.features, features.labels = OrderedDict(specs), ["label"]
    features.num_fields = features.get_num_fields()
    features.input_length, features.total_features = len(specs), sum(SIZES.values())
    features.default_emb_dim = D
    features.set_column_index()
    return features


def build(name: str, pooled: bool, options: dict) -> nn.Module:
    fixed = {"optimizer": "adam", "loss": "binary_crossentropy", "verbose": 0, "model_root": ".", "metrics": ["AUC"],
             "task": "binary_classification", "embedding_dim": D, "gpu": -1}  # fmt: skip
    torch.manual_seed(0)
    module = stir(fuxictr_class(name)(feature_map(pooled), **fixed | options))
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            part.weight.data[0] = 0
        for layer in getattr(part, "behavior_refiner", None) or []:
            layer.attention = Hiding(layer.attention)
    for name, p in module.named_parameters():
        if name.endswith("pos_emb"):
            p.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(3))
    return module


class Hiding(nn.Module):
    """Attention that takes FuxiCTR's mask, 1 where nothing may be seen, as truth values."""

    def __init__(self, inner: nn.MultiheadAttention):
        super().__init__()
        self.inner = inner

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn_mask: torch.Tensor) -> Any:
        return self.inner(q, k, v, attn_mask=attn_mask == 1)


def batch(empty: bool) -> Tensors:
    g = torch.Generator().manual_seed(1)
    x = {k: torch.randint(1, n, (ROWS,), generator=g) for k, n in SIZES.items()}
    n = torch.randint(1, T + 1, (ROWS, 1), generator=g)
    n[0], n[1] = 0 if empty else 1, T
    for k, table in HISTORY.items():
        x[k] = torch.randint(1, SIZES[table], (ROWS, T), generator=g) * (torch.arange(T) < n)
    return x | {"price": torch.randn(ROWS, generator=g)}


# ---- their tensors under our names


def linear(prefix: str, m: nn.Linear) -> Tensors:
    return {f"{prefix}.weight": m.weight} | ({f"{prefix}.bias": m.bias} if m.bias is not None else {})


def tower(prefix: str, block: nn.Module, out: str | None) -> Tensors:
    """A MLP_Block; its last linear layer is ``out``, if that is given."""
    tensors: Tensors = {}
    layers = list(block.mlp)
    linears = [m for m in layers if isinstance(m, nn.Linear)]
    hidden = len(linears) - (out is not None)
    i = -1
    for m in layers:
        if isinstance(m, nn.Linear):
            i += 1
            tensors |= linear(f"{prefix}.{i}" if i < hidden else out, m)
        elif isinstance(m, nn.BatchNorm1d):
            norm = f"{prefix}.norm" if i < 0 else f"{prefix}.{i}.norm"
            tensors |= {f"{norm}.{k}": getattr(m, k) for k in ("weight", "bias", "running_mean", "running_var")}
        elif type(m).__name__ == "Dice":
            dice = f"{prefix}.{i}.dice"
            tensors |= {f"{dice}.alpha": m.alpha, f"{dice}.running_mean": m.bn.running_mean, f"{dice}.running_var": m.bn.running_var}
    return tensors


def tables(m: nn.Module, prefix: str, names: Any) -> Tensors:
    layers = getattr(m.embedding_layer, "embedding_layer", m.embedding_layer).embedding_layers
    return {f"{prefix}.{k}.weight": layers[k].weight for k in names}


def embeddings(m: nn.Module) -> Tensors:
    return tables(m, "embedding", [*SIZES, "price"])


def first_columns(tensors: Tensors, name: str, behind: int) -> Tensors:
    """FuxiCTR's tower reads histories (``behind`` columns) and then fields; ours the other way round, prices last."""
    w, fields = tensors[name], len(SIZES) * D
    return tensors | {name: torch.cat([w[:, behind : behind + fields], w[:, :behind], w[:, behind + fields :]], 1)}


def machine(m: nn.Module, lr: nn.Module) -> Tensors:
    return embeddings(m) | tables(lr, "linear", [*SIZES, *HISTORY, "price"]) | {"linear.bias": lr.bias}


def fm(m: nn.Module) -> Tensors:
    return machine(m, m.fm.lr_layer)


def fmfm(m: nn.Module) -> Tensors:
    return machine(m, m.lr_layer) | {"interaction.weight": m.interaction_weight}


def deepfm(m: nn.Module) -> Tensors:
    return fm(m) | tower("mlp", m.mlp, "out")


def dcnv2(m: nn.Module) -> Tensors:
    crosses = [linear(f"cross.{i}", c) for i, c in enumerate(m.crossnet.cross_layers)]
    return embeddings(m) | {k: v for c in crosses for k, v in c.items()} | tower("mlp", m.parallel_dnn, None) | linear("out", m.fc)


def din(m: nn.Module) -> Tensors:
    return embeddings(m) | tower("attention", m.attention_layers[0].attention_layer, "attention.out") | tower("mlp", m.dnn, "out")


def gates(w: torch.Tensor, order: str, sign: float) -> torch.Tensor:
    """Gates as r, z, n; ``sign`` of those of z."""
    part = dict(zip(order, w.chunk(3, 0)))
    return torch.cat([part["r"], sign * part["z"], part["n"]], 0)


def dien(m: nn.Module) -> Tensors:
    gru, cell, attention = m.extraction_modules[0], m.evolving_modules[0].gru_cell, m.attention_modules[0]
    tensors = embeddings(m) | tower("mlp", m.dnn, "out")
    for name, kind in (("input", "ih"), ("hidden", "hh")):
        tensors[f"gru.{name}.weight"] = gates(getattr(gru, f"weight_{kind}_l0"), "rzn", -1)
        tensors[f"gru.{name}.bias"] = gates(getattr(gru, f"bias_{kind}_l0"), "rzn", -1)
    for name, part in (("input", cell.x2h), ("hidden", cell.h2h)):
        tensors |= {f"augru.{name}.{k}": gates(v, "zrn", 1) for k, v in (("weight", part.weight), ("bias", part.bias))}
    if attention.attention_type == "bilinear_attention":
        tensors["attention.weight"] = attention.W_kernel
    else:
        tensors |= tower("attention", attention.attn_mlp, "attention.out")
    first = next(k for k in ("mlp.norm.weight", "mlp.0.weight") if k in tensors)
    return first_columns(tensors, first, 2 * D)


def positioned(prefix: str, net: nn.Module, query: nn.Linear) -> Tensors:
    return {f"{prefix}.position": net.pos_emb} | linear(f"{prefix}.query", query)


def dmr(m: nn.Module) -> Tensors:
    i2i, u2i = m.i2i_net[0], m.u2i_net[0]
    tensors = embeddings(m) | tower("mlp", m.dnn, "out")
    tensors |= positioned("attention", i2i, i2i.W_q[0]) | tower("attention", i2i.attn_mlp, "attention.out")
    tensors |= positioned("relevance", u2i, u2i.W_q[0]) | tower("relevance", u2i.attn_mlp, "relevance.out")
    tensors |= linear("relevance.project", u2i.W_o[0])
    tensors |= {f"relevance.embedding.{k}.weight": m.output_emb_layer[k].weight for k in HISTORY.values()}
    return first_columns(tensors, "mlp.0.weight", 2 * D + 2)


def feed(prefix: str, norm: nn.Module | None, ffn: nn.Sequential) -> Tensors:
    tensors = {f"{prefix}.norm.weight": norm.weight, f"{prefix}.norm.bias": norm.bias} if norm is not None else {}
    return tensors | linear(f"{prefix}.feed.0", ffn[0]) | linear(f"{prefix}.feed.1", ffn[2])


def dmin(m: nn.Module) -> Tensors:
    tensors = embeddings(m) | tower("mlp", m.dnn, "out")
    refiner, extractor = m.behavior_refiner[0], m.multi_interest_extractor[0]
    inner = refiner.attention.inner
    tensors |= {"refiner.qkv.weight": inner.in_proj_weight, "refiner.qkv.bias": inner.in_proj_bias}
    tensors |= linear("refiner.project", inner.out_proj) | feed("refiner", refiner.layer_norm, refiner.ffn)
    tensors |= linear("interests.qkv", extractor.W_qkv)
    for h, attention in enumerate(extractor.target_attention):
        prefix = f"interests.{h}"
        tensors |= linear(f"{prefix}.project", extractor.W_o[h]) | feed(prefix, extractor.layer_norm[h], extractor.ffn[h])
        tensors |= positioned(prefix, attention, attention.W_proj)
        tensors |= tower(f"{prefix}.attention", attention.attn_mlp, f"{prefix}.attention.out")
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"mlp.norm.{name}"] = first_columns({"x": tensors[f"mlp.norm.{name}"][None]}, "x", 4 * D)["x"][0]
    return first_columns(tensors, "mlp.0.weight", 4 * D)


# ---- cases

TARGET = {"target_field": [("item", "cate")], "sequence_field": [("hist_item", "hist_cate")], "neg_seq_field": None}
CASES: dict[str, tuple[str, Any, dict, dict]] = {
    "fm": ("FM", fm, {}, {}),
    "fmfm": ("FmFM", fmfm, {"field_interaction_type": "vectorized"}, {}),
    "fmfm_matrixed": ("FmFM", fmfm, {"field_interaction_type": "matrixed"}, {"interaction": "matrixed"}),
    "deepfm": ("DeepFM", deepfm, {"hidden_units": [12, 8], "batch_norm": True}, {"mlp": [12, 8], "batch_norm": "each"}),
    "dcnv2": ("DCNv2", dcnv2, {"num_cross_layers": 2, "parallel_dnn_hidden_units": [12, 8]}, {"cross": {"layers": 2}, "mlp": [12, 8]}),
    "din": ("DIN", din,
            {"din_target_field": TARGET["target_field"], "din_sequence_field": TARGET["sequence_field"],
             "attention_hidden_units": [8, 6], "dnn_hidden_units": [12, 8], "dnn_activations": "Dice"},
            {"attention": {"layers": [8, 6], "activation": "dice"}, "mlp": [12, 8], "activation": "dice"}),
    "dien": ("DIEN", dien,
             {"dien_target_field": TARGET["target_field"], "dien_sequence_field": TARGET["sequence_field"], "dien_neg_seq_field": [],
              "attention_type": "din_attention", "attention_hidden_units": [8, 6], "attention_activation": "Dice",
              "dnn_hidden_units": [12, 8], "batch_norm": False},
             {"attention": {"layers": [8, 6]}, "mlp": [12, 8]}),
    "dien_bilinear": ("DIEN", dien,
                      {"dien_target_field": TARGET["target_field"], "dien_sequence_field": TARGET["sequence_field"],
                       "dien_neg_seq_field": [], "use_attention_softmax": False, "dnn_hidden_units": [8], "batch_norm": False},
                      {"attention": {"score": "bilinear", "softmax": False}, "mlp": [8]}),
    "dmr": ("DMR", dmr,
            TARGET | {"context_field": None, "enable_i2i_rel": True, "attention_hidden_units": [8, 6], "pos_emb_dim": 3,
                      "dnn_hidden_units": [12, 8], "batch_norm": True},
            {"attention": {"layers": [8, 6], "position": 3}, "relevance": {"item_to_item": True}, "mlp": [12, 8],
             "batch_norm": "each"}),
    "dmin": ("DMIN", dmin,
             TARGET | {"num_heads": 2, "attention_hidden_units": [8, 6], "pos_emb_dim": 3, "dnn_hidden_units": [12, 8],
                       "dnn_activations": "ReLU", "batch_norm": True, "bn_only_once": True},
             {"attention": {"layers": [8, 6], "position": 3}, "interests": {"heads": 2, "refiner": True}, "mlp": [12, 8],
              "batch_norm": "once"}),
}  # fmt: skip


def exactly(module: nn.Module, inputs: Tensors) -> torch.Tensor:
    """Probabilities in float64, also where FuxiCTR asks for float."""
    as_float = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            return module.double()(inputs)["y_pred"].view(-1)
    finally:
        torch.Tensor.float = as_float
        torch.set_default_dtype(torch.float32)


def make(case: str, root: Path) -> None:
    name, rename, options, spec = CASES[case]
    pooled = name in ("FM", "FmFM", "DeepFM", "DCNv2")
    # FuxiCTR's attention over an empty history is an even one over padding, which is zero in all models but DMIN; DIEN takes
    # such rows out of the statistics of its attention.
    inputs = batch(empty=case not in ("dmin", "dien"))
    module = build(name, pooled, options)
    tensors = {k: v.detach().float().contiguous().clone() for k, v in rename(module).items()}
    prob = exactly(module, inputs)
    trained = exactly(module.train(), inputs)
    statistics = {f"next.{k}": v.detach().float() for k, v in rename(module).items() if "running" in k}
    config = {"architecture": case.split("_")[0], "fields": [{"name": k, "vocabulary": n, "width": D} for k, n in SIZES.items()],
              "dense": [{"name": "price", "width": 1, "embedding": D}],
              "history": {"length": T, "of": list(HISTORY.values())}}  # fmt: skip
    folder = root / case
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | spec) + "\n")
    save_file(tensors, folder / "model.safetensors")
    given = {f"in.{k}": v.to(torch.int32) for k, v in inputs.items() if k != "price"}
    given |= {"in.price": inputs["price"].view(-1, 1), "in.hist_mask": inputs["hist_item"] > 0}
    answers = {"out.prob": prob.float(), "out.logit": (prob / (1 - prob)).log().float()}
    trained = {"train.logit": (trained / (1 - trained)).log().float()} | {f"train.{k}": v for k, v in statistics.items()}
    save_file({k: v.contiguous().clone() for k, v in (given | answers | trained).items()}, folder / "golden.io.safetensors")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{case:14s} {sum(t.numel() for t in tensors.values()):6d} values {size / 1000:5.1f} kB  prob {prob.min():.3f}..{prob.max():.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES:
        make(case, Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
