"""Checkpoints of other libraries, built with the libraries' own classes from their own configuration.

``LOOPFM_SHARED`` names the folder with ``peer-models/`` and ``fixtures/``; ``LOOPFM_FUXICTR`` a checkout of
reczoo/FuxiCTR, whose model_zoo is not in its package. As a script: ``python peers.py OUT`` exports every one of them to
OUT/<name>/ with a golden of the stored inputs, after comparing with the stored outputs.
"""

from __future__ import annotations

import json
import os
import sys
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import torch
from safetensors.torch import load_file


@dataclass
class Peer:
    """A module with the inputs and outputs that its folder stores."""

    module: torch.nn.Module
    inputs: Any
    expected: dict[str, np.ndarray]
    outputs: Any = ("prob",)
    extract: Mapping[str, str] = field(default_factory=dict)


def shared() -> Path:
    return Path(os.environ["LOOPFM_SHARED"])


def _folder(name: str) -> tuple[Path, dict[str, np.ndarray], dict[str, torch.Tensor]]:
    folder = shared() / "peer-models" / name
    return folder, dict(np.load(folder / "io.npz")), load_file(folder / "model.safetensors")


def _expected(io: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix("out."): v for k, v in io.items() if k.startswith("out.")}


def _inputs(io: dict[str, np.ndarray], names: Any = None) -> dict[str, torch.Tensor]:
    given = {k.removeprefix("in."): torch.from_numpy(v) for k, v in io.items() if k.startswith("in.")}
    return given if names is None else {n: given[n] for n in names}


def fuxictr_class(name: str) -> type:
    """A model class of FuxiCTR's model_zoo, loaded from its file (the packages there import all of each other)."""
    import importlib.util

    root = Path(os.environ["LOOPFM_FUXICTR"]) / "model_zoo"
    files = sorted((f for f in root.rglob(f"{name}.py") if "_tf" not in str(f)), key=lambda f: len(str(f)))
    spec = importlib.util.spec_from_file_location(f"zoo_{name}", files[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def _fuxictr(name: str, model: str, logit: str) -> Peer:
    import yaml
    from fuxictr.features import FeatureMap

    folder, io, state = _folder(name)
    config = next(iter(yaml.safe_load((folder / "model_config.yaml").read_text()).values()))
    tuples = lambda v: [tuple(x) if isinstance(x, list) else x for x in v]  # noqa: E731  (yaml has no tuples)
    config |= {k: tuples(v) for k, v in config.items() if k.startswith("din_") and isinstance(v, list)}
    features = FeatureMap("kuairand_pure", str(folder))
    features.load(str(folder / "feature_map.json"), config)
    module = fuxictr_class(model)(features, **config).eval()
    module.load_state_dict(state)
    return Peer(module, _inputs(io), _expected(io), {"y_pred": "prob"}, {"logit": logit, "last_hidden": f"{logit}:in"})


def fuxictr_din() -> Peer:
    return _fuxictr("fuxictr_din", "DIN", "dnn.mlp.8")


def fuxictr_dcnv2() -> Peer:
    return _fuxictr("fuxictr_dcnv2", "DCNv2", "fc")


def _rechub(name: str) -> tuple[dict, Peer, dict]:
    from torch_rechub.basic.features import SequenceFeature, SparseFeature

    folder, io, state = _folder(name)
    config = json.loads((folder / "config.json").read_text())
    sizes, dim = config["vocab_sizes"], config["embed_dim"]
    sparse = {f: SparseFeature(f, vocab_size=sizes[f], embed_dim=dim) for f in sizes}
    for f, table in config.get("history_features", {}).items():
        sparse[f] = SequenceFeature(f, vocab_size=sizes[table], embed_dim=dim, pooling="concat", shared_with=table)
    return config, Peer(torch.nn.Identity(), _inputs(io), _expected(io)), {"features": sparse, "state": state}


def torchrechub_din() -> Peer:
    from torch_rechub.models.ranking import DIN

    c, peer, parts = _rechub("torchrechub_din")
    pick = lambda key: [parts["features"][f] for f in c[key]]  # noqa: E731
    peer.module = DIN(pick("features"), pick("history_features"), pick("target_features"), mlp_params=c["mlp_params"],
                      attention_mlp_params=c["attention_mlp_params"]).eval()  # fmt: skip
    peer.module.load_state_dict(parts["state"])
    peer.extract = {"logit": "mlp.mlp.8", "last_hidden": "mlp.mlp.8:in"}
    return peer


def torchrechub_dcnv2_mix() -> Peer:
    from torch_rechub.models.ranking import DCNv2

    c, peer, parts = _rechub("torchrechub_dcnv2_mix")
    keys = ("n_cross_layers", "mlp_params", "model_structure", "use_low_rank_mixture", "low_rank", "num_experts")
    peer.module = DCNv2([parts["features"][f] for f in c["features"]], **{k: c[k] for k in keys}).eval()
    peer.module.load_state_dict(parts["state"])
    peer.extract = {"logit": "linear.fc", "last_hidden": "linear.fc:in"}
    return peer


def deepctrtorch_dcnmix() -> Peer:
    """All features arrive in one float matrix, ids among them."""
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DCNMix

    folder, io, state = _folder("deepctrtorch_dcnmix")
    c = json.loads((folder / "config.json").read_text())
    columns = [SparseFeat(f, vocabulary_size=c["vocab_sizes"][f], embedding_dim=c["embedding_dim"]) for f in c["sparse"]]
    columns += [DenseFeat(f, 1) for f in c["dense"]]
    keys = ("cross_num", "dnn_hidden_units", "low_rank", "num_experts", "dnn_use_bn")
    module = DCNMix(columns, columns, **{k: c[k] for k in keys}).eval()
    module.load_state_dict(state)
    extract = {"deep_logit": "dnn_linear", "last_hidden": "dnn_linear:in"}
    return Peer(module, (torch.from_numpy(io["in_matrix"]),), _expected(io), ("prob",), extract)


def _fixture(name: str, golden: str) -> tuple[Any, dict[str, torch.Tensor]]:
    sys.path.insert(0, str(shared() / "fixtures"))
    import reference

    state = load_file(shared() / "fixtures" / f"{name}.safetensors")
    module = getattr(reference, name.upper())(V=1000).eval()
    module.load_state_dict(state)
    return module, load_file(shared() / "fixtures" / f"{golden}.io.safetensors")


def w1() -> Peer:
    module, io = _fixture("w1", "w1_b256")
    return Peer(module, (io["ids"],), {k: io[k].numpy() for k in ("emb", "logit")}, ("emb", "logit"))


def w2() -> Peer:
    module, io = _fixture("w2", "w2_batch512")
    return Peer(module, tuple(io[k] for k in ("ids", "cand", "hist", "mask")), {"prob": io["prob"].numpy()})


PEERS = {f.__name__: f for f in (fuxictr_din, fuxictr_dcnv2, torchrechub_din, torchrechub_dcnv2_mix, deepctrtorch_dcnmix)}
FIXTURES = {"w1": w1, "w2": w2}
PER_REQUEST = {"w2": ("hist", "mask")}
Report = namedtuple("Report", "exported differences")


def export(name: str, folder: Path) -> Report:
    """Exports one, compares the written graph with the stored outputs, writes the golden."""
    import loopfm_export as le

    peer = (PEERS | FIXTURES)[name]()
    path = folder / "model.safetensors"
    done = le.save(peer.module, peer.inputs, path, outputs=peer.outputs, extract=peer.extract,
                   per_request=PER_REQUEST.get(name, ()), model=name)  # fmt: skip
    le.save_golden(folder / "golden.io.safetensors", peer.module, peer.inputs, outputs=peer.outputs, extract=peer.extract,
                   only=done.inputs)  # fmt: skip
    given, _ = le.read_golden(folder / "golden.io.safetensors")
    got = le.interp.run_file(path, given)
    differences = {k: float(np.abs(got[k].reshape(v.shape) - v).max()) for k, v in peer.expected.items()}
    return Report(done, differences)


def export_w2_shared(folder: Path) -> float:
    """The same graph under one request of 500 candidates."""
    import loopfm_export as le

    module, io = _fixture("w2", "w2_shared500")
    rows = io["ids"].shape[0]
    one = {k: io[k] for k in ("hist", "mask")}
    spread = {k: t.expand(rows, *t.shape[1:]).contiguous() for k, t in one.items()}
    inputs = (io["ids"], io["cand"], spread["hist"], spread["mask"])
    path = folder / "shared500.io.safetensors"
    le.save_golden(path, module, inputs, outputs=("prob",), requests=one)
    got = le.interp.run_file(folder / "model.safetensors", le.read_golden(path)[0])
    return float(np.abs(got["prob"] - io["prob"].numpy()).max())


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    for name in {**FIXTURES, **PEERS}:
        report = export(name, out / name)
        worst = ", ".join(f"{k} {v:.2g}" for k, v in report.differences.items())
        print(f"{name}: {len(report.exported.program.nodes)} nodes; against the stored outputs: {worst}", flush=True)
    print(f"w2, one request: prob {export_w2_shared(out / 'w2'):.2g}")
