"""Models of other libraries: trained checkpoints with stored outputs, and random ones. Skipped aloud where they are absent."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch

NEEDS = {"fuxictr": "fuxictr", "torchrechub": "torch_rechub", "rechub": "torch_rechub", "deepctrtorch": "deepctr_torch",
         "deepctr": "deepctr_torch"}  # fmt: skip
UNSEEN = """fuxictr_deepfm fuxictr_fmfm fuxictr_xdeepfm fuxictr_autoint fuxictr_finalmlp fuxictr_dmin fuxictr_dmr fuxictr_bst fuxictr_pnn
    rechub_autoint rechub_bst rechub_fibinet rechub_edcn deepctr_din deepctr_autoint deepctr_fibinet torch_encoder torch_gru2""".split()


def require(name: str, *variables: str) -> None:
    library = NEEDS.get(name.split("_")[0])
    if library and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    if library == "fuxictr":
        variables += ("LOOPFM_FUXICTR",)
    for v in variables:
        if v not in os.environ:
            pytest.skip(f"{v} is unset: the check against {name} does not run")


@pytest.mark.parametrize("name", "fuxictr_din fuxictr_dcnv2 torchrechub_din torchrechub_dcnv2_mix deepctrtorch_dcnmix w1 w2".split())
def test_checkpoints(name: str, tmp_path: Path) -> None:
    require(name, "LOOPFM_SHARED")
    import peers

    torch.set_num_threads(1)
    report = peers.export(name, tmp_path)
    assert report.differences and all(v < 1e-5 for v in report.differences.values()), report.differences
    if name == "w2":
        assert peers.export_w2_shared(tmp_path) < 1e-6


@pytest.mark.parametrize("name", UNSEEN)
def test_unseen(name: str, tmp_path: Path) -> None:
    require(name)
    import unseen

    torch.set_num_threads(1)
    unseen.export(name, tmp_path)


def test_architectures(tmp_path: Path) -> None:
    """FuxiCTR's models still give what tests/data/zoo of the repository holds."""
    require("fuxictr")
    import make_architectures
    from safetensors.numpy import load_file

    torch.set_num_threads(1)
    for case in make_architectures.CASES:
        make_architectures.make(case, tmp_path)
        for file in ("model.safetensors", "golden.io.safetensors"):
            made, committed = load_file(tmp_path / case / file), load_file(make_architectures.OUT / case / file)
            assert made.keys() == committed.keys()
            assert all(abs(made[k].astype("f8") - committed[k].astype("f8")).max() < 1e-6 for k in made), case
