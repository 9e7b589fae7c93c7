"""Models of public libraries with random weights, to see how far the exporter goes beyond what it was written for.

``python unseen.py OUT [name...]`` exports each to OUT/<name>/ with a golden, and prints the largest differences or the
refusal. Needs the libraries, and ``LOOPFM_FUXICTR`` for FuxiCTR's model_zoo (see peers.py).
"""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, Callable

import torch
from peers import fuxictr_class
from torch import nn

B, L, DIM = 32, 12, 8
SIZES = {"user_id": 60, "item_id": 50, "cate_id": 20, "tab": 7, "hour": 25}
MODELS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {}


def stir(module: nn.Module, seed: int = 0) -> nn.Module:
    """Seeded weights that are neither tiny nor constant; BatchNorm statistics as after training."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.Embedding):
                m.weight.normal_(0, 0.4, generator=g)
            elif isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_var is not None:
                m.running_mean.normal_(0, 0.2, generator=g)
                m.running_var.uniform_(0.5, 1.5, generator=g)
        for p in module.parameters():
            if p.dim() == 1 and p.numel() > 1:
                p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return module.eval()


def columns(seed: int = 1, hist: bool = True, post: bool = False) -> dict[str, torch.Tensor]:
    """Ids, a number, and padded histories; at least one history is empty and one is full."""
    g = torch.Generator().manual_seed(seed)
    x = {k: torch.randint(1, n, (B,), generator=g) for k, n in SIZES.items()}
    x["price"] = torch.rand(B, generator=g)
    if hist:
        n = torch.randint(1, L + 1, (B,), generator=g)
        n[0], n[1] = 1, L
        place = torch.arange(L)[None]
        here = place < n[:, None] if post else place >= L - n[:, None]
        for k, table in (("click_history", "item_id"), ("cate_history", "cate_id")):
            x[k] = torch.randint(1, SIZES[table], (B, L), generator=g) * here
    return x


# ---- FuxiCTR


def fuxictr(name: str, hist: bool = False, post: bool = False, **options: Any) -> Callable[[], tuple[nn.Module, Any]]:
    def build() -> tuple[nn.Module, Any]:
        from collections import OrderedDict

        from fuxictr.features import FeatureMap

        features = FeatureMap("unseen", ".")
        specs = {k: {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": n} for k, n in SIZES.items()}
        specs["price"] = {"source": "", "type": "numeric"}
        if hist:
            for k, table in (("click_history", "item_id"), ("cate_history", "cate_id")):
                specs[k] = {"source": "", "type": "sequence", "padding_idx": 0, "max_len": L, "vocab_size": SIZES[table],
                            "share_embedding": table, "feature_encoder": None}  # fmt: skip
        features.features, features.labels = OrderedDict(specs), ["label"]
        features.num_fields = features.get_num_fields()
        features.input_length, features.total_features = len(specs), sum(SIZES.values())
        features.default_emb_dim = DIM
        features.set_column_index()
        fixed = {"optimizer": "adam", "loss": "binary_crossentropy", "verbose": 0, "model_root": ".", "metrics": ["AUC"],
                 "task": "binary_classification", "embedding_dim": DIM, "gpu": -1}  # fmt: skip
        torch.manual_seed(0)
        inputs = columns(hist=hist, post=post)
        if name == "DLRM":  # it concatenates its numbers as they come
            inputs["price"] = inputs["price"].view(-1, 1)
        return stir(fuxictr_class(name)(features, **fixed | options)), inputs

    return build


SMALL = {"hidden_units": [32, 16], "dnn_hidden_units": [32, 16], "parallel_dnn_hidden_units": [32, 16], "batch_norm": True,
         "stacked_dnn_hidden_units": [32, 16], "mlp1_hidden_units": [32, 16], "mlp2_hidden_units": [32, 16],
         "bottom_mlp_units": [32], "top_mlp_units": [32, 16]}  # fmt: skip
for _name in """DeepFM FmFM xDeepFM AutoInt FinalMLP DCNv2 DCN WideDeep DNN FM FwFM LR NFM AFM AFN PNN DLRM MaskNet FiBiNET GDCN
        WuKong FinalNet EDCN AOANet SAM EulerNet DESTINE InterHAt FiGNN CCPM FGCNN HOFM LorentzFM DeepCrossing FFM ONN HFM
        DualMLP DeepIM""".split():
    MODELS[f"fuxictr_{_name.lower()}"] = fuxictr(_name, **SMALL)
MODELS["fuxictr_dcnv2_mix"] = fuxictr("DCNv2", **SMALL, use_low_rank_mixture=True, low_rank=8)
for _name, _options in {
    "DMIN": dict(neg_seq_field=None, num_heads=2, enable_sum_pooling=True),
    "DMR": dict(neg_seq_field=None, context_field=None, enable_i2i_rel=True),
    "BST": dict(bst_target_field=[("item_id", "cate_id")], bst_sequence_field=[("click_history", "cate_history")]),
    "DIN": dict(din_target_field=[("item_id", "cate_id")], din_sequence_field=[("click_history", "cate_history")]),
    "DIEN": dict(gru_type="GRU", dien_neg_seq_field=[]),
    "TransAct": dict(dim_feedforward=32, dcn_hidden_units=[32, 16], first_k_cols=2),
}.items():
    MODELS[f"fuxictr_{_name.lower()}"] = fuxictr(_name, True, _name in ("DIEN",), **SMALL | _options)


# ---- torch-rechub


def rechub(name: str, **options: Any) -> Callable[[], tuple[nn.Module, Any]]:
    def build() -> tuple[nn.Module, Any]:
        import torch_rechub.models.ranking as ranking
        from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature

        sparse = [SparseFeature(k, vocab_size=n, embed_dim=DIM) for k, n in SIZES.items()]
        history = [SequenceFeature(k, vocab_size=SIZES[t], embed_dim=DIM, pooling="concat", shared_with=t)
                   for k, t in (("click_history", "item_id"), ("cate_history", "cate_id"))]  # fmt: skip
        lists = {"sparse": sparse, "dense": [DenseFeature("price")], "history": history, "target": sparse[1:3],
                 "rest": [sparse[0], *sparse[3:]]}  # fmt: skip
        chosen = {k: lists[v] if isinstance(v, str) and v in lists else v for k, v in options.items()}
        torch.manual_seed(0)
        return stir(getattr(ranking, name)(**chosen)), columns()

    return build


MLP = {"dims": [32, 16], "activation": "relu", "dropout": 0.1}
ATTENTION = {"features": "rest", "history_features": "history", "target_features": "target"}
MODELS |= {
    "rechub_afm": rechub("AFM", fm_features="sparse", embed_dim=DIM),
    "rechub_autoint": rechub("AutoInt", sparse_features="sparse", dense_features="dense", mlp_params=MLP),
    "rechub_bst": rechub("BST", **ATTENTION, mlp_params=MLP, nhead=2),
    "rechub_dcn": rechub("DCN", features="sparse", n_cross_layers=3, mlp_params=MLP),
    "rechub_dcnv2": rechub("DCNv2", features="sparse", n_cross_layers=3, mlp_params=MLP, use_low_rank_mixture=False),
    "rechub_deepffm": rechub("DeepFFM", linear_features="sparse", cross_features="sparse", embed_dim=DIM, mlp_params=MLP),
    "rechub_fatdeepffm": rechub("FatDeepFFM", linear_features="sparse", cross_features="sparse", embed_dim=DIM,
                                reduction_ratio=2, mlp_params=MLP),
    "rechub_deepfm": rechub("DeepFM", deep_features="sparse", fm_features="sparse", mlp_params=MLP),
    "rechub_edcn": rechub("EDCN", features="sparse", n_cross_layers=3, mlp_params=MLP),
    "rechub_fibinet": rechub("FiBiNet", features="sparse", mlp_params=MLP),
    "rechub_widedeep": rechub("WideDeep", wide_features="sparse", deep_features="sparse", mlp_params=MLP),
    "rechub_din_softmax": rechub("DIN", **ATTENTION, mlp_params={k: v for k, v in MLP.items() if k != "activation"},
                                 attention_mlp_params={"dims": [16], "activation": "dice", "use_softmax": True}),
}  # fmt: skip


# ---- deepctr-torch


def deepctr(name: str, history: bool = False, **options: Any) -> Callable[[], tuple[nn.Module, Any]]:
    def build() -> tuple[nn.Module, Any]:
        import deepctr_torch.models as zoo
        from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat, get_feature_names

        x = columns(post=True)
        feats = [SparseFeat(k, n, embedding_dim=DIM) for k, n in SIZES.items()]
        feats += [DenseFeat("price", 1)] if options.pop("dense", True) else []
        if history:
            x["length"] = (x["click_history"] != 0).sum(1)
            feats += [VarLenSparseFeat(SparseFeat(f"hist_{k}", SIZES[k], embedding_dim=DIM, embedding_name=k), maxlen=L,
                                       length_name="length") for k in ("item_id", "cate_id")]  # fmt: skip
            x |= {"hist_item_id": x["click_history"], "hist_cate_id": x["cate_history"]}
        torch.manual_seed(0)
        args = (feats, ["item_id", "cate_id"]) if history else (feats,) if options.pop("deep_only", False) else (feats, feats)
        module = getattr(zoo, name)(*args, device="cpu", **options)
        matrix = torch.cat([x[k].reshape(B, -1).float() for k in get_feature_names(feats)], 1)
        return stir(module), (matrix,)

    return build


DEEPCTR_OPTIONS = {"PNN": {"deep_only": True}, "AFM": {"dense": False}, "CCPM": {"dense": False}}
for _name in "DeepFM xDeepFM AutoInt DCN DCNMix NFM PNN WDL FiBiNET AFM AFN IFM DIFM ONN CCPM".split():
    MODELS[f"deepctr_{_name.lower()}"] = deepctr(_name, **DEEPCTR_OPTIONS.get(_name, {}))
MODELS["deepctr_din"] = deepctr("DIN", history=True, dnn_use_bn=True)
MODELS["deepctr_dien"] = deepctr("DIEN", history=True)


# ---- plain torch


class Encoder(nn.Module):
    def __init__(self, **options: Any):
        super().__init__()
        self.items = nn.Embedding(50, 16, padding_idx=0)
        self.place = nn.Parameter(torch.zeros(L, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, **options)
        self.causal = options.get("activation") == "gelu"
        self.out = nn.Linear(16, 1)

    def forward(self, item_id: torch.Tensor, click_history: torch.Tensor) -> torch.Tensor:
        x = self.items(torch.cat([click_history[:, 1:], item_id[:, None]], 1)) + self.place
        pad = torch.cat([click_history[:, 1:], item_id[:, None]], 1) == 0
        mask = nn.Transformer.generate_square_subsequent_mask(L) if self.causal else None
        pad = torch.zeros_like(pad, dtype=torch.float32).masked_fill(pad, -1e9)
        return torch.sigmoid(self.out(self.layer(x, src_mask=mask, src_key_padding_mask=pad)[:, -1]))


class Recurrent(nn.Module):
    def __init__(self, kind: type = nn.GRU, **options: Any):
        super().__init__()
        self.items = nn.Embedding(50, 8)
        self.rnn = kind(8, 12, batch_first=True, **options)
        self.out = nn.Linear(12 * (1 + options.get("bidirectional", False)), 1)

    def forward(self, click_history: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(self.items(click_history))
        return torch.sigmoid(self.out(states[:, -1]))


def _encoder(**options: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return stir(Encoder(**options)), {k: v for k, v in columns().items() if k in ("item_id", "click_history")}


def _recurrent(*kind: type, **options: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return stir(Recurrent(*kind, **options)), (columns()["click_history"],)


MODELS |= {
    "torch_encoder": lambda: _encoder(),
    "torch_encoder_masked": lambda: _encoder(activation="gelu", norm_first=True),
    "torch_gru": lambda: _recurrent(),
    "torch_gru2": lambda: _recurrent(num_layers=2, bidirectional=True),
    "torch_lstm": lambda: _recurrent(nn.LSTM),
}


def export(name: str, out: Path) -> str:
    import loopfm_export as le

    module, inputs = MODELS[name]()
    folder = out / name
    names = {"y_pred": "prob"} if name.startswith("fuxictr_") else None
    done = le.save(module, inputs, folder / "model.safetensors", outputs=names, model=name)
    le.save_golden(folder / "golden.io.safetensors", module, inputs, outputs=names, only=done.inputs)
    ops = {n.op for n in done.program.nodes}
    return f"{len(done.program.nodes)} nodes, {len(ops)} kinds; " + ", ".join(f"{k} {v:.2g}" for k, v in done.errors.items())


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in sys.argv[2:] or MODELS:
        try:
            print(f"{name}: {export(name, Path(sys.argv[1]))}", flush=True)
        except Exception as e:  # every model is tried
            where = traceback.extract_tb(e.__traceback__)[-1]
            print(f"{name}: REFUSED {type(e).__name__}: {str(e)[:600]} ({Path(where.filename).name}:{where.lineno})", flush=True)
