"""The committed graphs and models still mean what their goldens say, and the exporter still writes the same graphs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from loopfm_export import interp, read_golden, read_model
from make_goldens import GRAPHS, make
from zoo import ZOO

MODELS = GRAPHS.parents[2] / "models"
FILES = sorted(GRAPHS.glob("*/*.io.safetensors")) + sorted(MODELS.glob("*/*.io.safetensors"))


def close(got: np.ndarray, expected: np.ndarray) -> None:
    scale = max(float(np.abs(expected).max(initial=0)), 1e-6)
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("golden", FILES, ids=lambda p: f"{p.parent.name}-{p.name.split('.')[0]}")
def test_committed_goldens(golden: Path) -> None:
    given, expected = read_golden(golden)
    got = interp.run_file(golden.parent / "model.safetensors", given)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        close(got[name], value)


def test_every_entry_is_committed() -> None:
    assert {p.name for p in GRAPHS.iterdir()} == set(ZOO)


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str, tmp_path: Path) -> None:
    """save() itself compares with eager: full batch, one row, one request."""
    torch.set_num_threads(1)
    make(name, tmp_path / name)
    text, weights = read_model(tmp_path / name / "model.safetensors")
    committed, committed_weights = read_model(GRAPHS / name / "model.safetensors")
    if torch.__version__.split("+")[0] == "2.15.0":  # other versions may trace other ops
        assert text == committed
    assert {k: w.shape for k, w in weights.items()} == {k: w.shape for k, w in committed_weights.items()}


def test_all_ops_are_used() -> None:
    """Every op of the contract stands in some committed graph."""
    ops = set()
    for f in GRAPHS.glob("*/model.safetensors"):
        ops |= {line.split(" = ")[1].split("(")[0].split(" ")[0] for line in read_model(f)[0].split("\n")[1:-2]}
    wanted = set(
        "input param const iota neg abs sign floor ceil round trunc exp log log1p expm1 sqrt rsqrt recip sin cos tanh sigmoid erf not "
        "add sub mul div pow max min rem eq ne lt le gt ge and or xor select cast broadcast reshape permute slice concat gather "
        "take_along matmul reduce_sum reduce_max reduce_min cumsum gru".split()
    )
    assert wanted - ops <= {"le"} and ops <= wanted, (wanted - ops, ops - wanted)
