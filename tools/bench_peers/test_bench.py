"""Who is wrong, elsewhere or dead is never timed: `python -m pytest tools/bench_peers`."""

import argparse
import sys
import textwrap

import pytest
import torch

import report
import run
from peers import Adapter, Peer, peers
from tensors import load_file, save_file
from workloads import Workload, make

PEER = """
    import sys
    import torch
    from tensors import load_file, save_file
    from workloads import ADAM, MODELS, step
    given = load_file(sys.argv[1])
    model = MODELS["tower2"][0]()
    model.load_state_dict({k: given[k] for k in model.state_dict()})
    adam = torch.optim.Adam(model.parameters(), **ADAM)
    print("CPU of a test", flush=True)
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        logit = model(given["in.x"])["logit"].detach()
        if command == "tensors":
            save_file(%s, path)
            print("done", flush=True)
        else:
            print(%s, flush=True)
"""
LOSS = 'step(model, adam, {"x": given["in.x"]}, given["label"])'


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The row of a peer that answers so."""

    def of(tensors: str = '{"logit": logit}', run_: str = '"done"', words: str = "CPU", train: bool = False, patience: float = 600) -> dict:
        program = tmp_path / "peer.py"
        program.write_text(textwrap.dedent(PEER % (tensors, run_)))
        monkeypatch.setenv("PYTHONPATH", str(run.Path(run.__file__).parent))
        monkeypatch.setattr(run, "command", lambda peer, work, file, folder: [sys.executable, str(program), str(file)])
        work = make(Workload("tower2-16", 16, 16, train), tmp_path)
        [row] = run.measure(work, [Peer("it", "torch", words=words)], argparse.Namespace(rounds=3, seconds=5, patience=patience), 1, tmp_path)
        return row

    return of


def test_the_right_is_timed(measured):
    row = measured()
    assert len(row["cpu"]) == 3 and row["cpu_ms"] > 0 and row["off"] < 1e-4 and row["first_seconds"] > 0


def test_one_wrong_value_is_seen(measured):
    row = measured('{"logit": logit + (torch.arange(16) == 7)[:, None] * 0.01}')
    assert row["refused"].startswith("wrong: `logit`") and "cpu_ms" not in row
    assert "not measured: wrong" in report.table([row])


def test_no_number_is_wrong(measured):
    assert measured('{"logit": logit * float("nan")}')["refused"].startswith("wrong")


def test_training_is_held_to_losses_and_weights(measured):
    weights = "model.state_dict()"
    assert measured(weights, LOSS, train=True)["cpu_ms"] > 0
    assert "loss of step 1" in measured(weights, f"{LOSS} + 1e-3", train=True)["refused"]
    # The losses of a step that was made, weights of one that was not.
    stuck = measured("{k: given[k] for k in model.state_dict()}", LOSS, train=True)
    assert "of the way it has gone" in stuck["refused"]


def test_another_device_is_seen(measured):
    assert measured(words="llvmpipe")["refused"] == "it runs on CPU of a test"


def test_the_dead_have_last_words(measured):
    assert "it is tired" in measured(run_='sys.exit("it is tired")')["refused"]


def test_nobody_waits_for_ever(measured):
    assert measured(run_="__import__('time').sleep(60)", patience=15)["refused"].startswith("no answer in 15 s")


def test_tensors_are_those_of_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    kept = {"odd": torch.tensor([True, False, True]), "x": torch.randn(3, 5), "none": torch.empty(0, 4), "i": torch.arange(7, dtype=torch.int32)}
    save_file(kept, tmp_path / "own")
    safetensors.save_file(kept, tmp_path / "theirs")
    for found in (safetensors.load_file(tmp_path / "own"), load_file(tmp_path / "theirs")):
        assert found.keys() == kept.keys() and all(torch.equal(found[k], kept[k]) for k in kept)
    (tmp_path / "own").write_bytes((tmp_path / "own").read_bytes()[:-4])
    with pytest.raises(ValueError, match="cut off"):
        load_file(tmp_path / "own")


def test_systems_that_keep_no_figures():
    row = {"workload": "w", "threads": 1, "peer": "loopfm a", "on": "gpu", "cpu_ms": 0.0, "wall_ms": 2.0, "peak_mib": None}
    shown = report.table([row | {"first_seconds": 1, "first_cpu_seconds": 0}])
    assert "| 0.00 | 2.00 |  | 1.00 |" in shown


def test_compared_on_their_own_device():
    rows = [
        {"workload": "w", "threads": 1, "peer": p, "on": on, "cpu_ms": ms, "wall_ms": ms, "peak_mib": 1, "first_seconds": 1, "first_cpu_seconds": 1}
        for p, on, ms in [("loopfm a", "gpu", 10), ("burn", "gpu", 50), ("loopfm cpu", "cpu", 2), ("torch", "cpu", 3)]
    ]
    assert [report.times(row, rows, "cpu_ms") for row in rows] == [1, 5, 1, 1.5]
    machine = {"adapter": "llvmpipe", "software": True, "cpu": "x", "date": "d"}
    assert report.picture(rows, machine).count("<circle") == 4


def test_software_variants_are_for_software():
    names = lambda software: [p.name for p in peers(Adapter("some GPU", software), 1, cuda=False)]
    assert "loopfm some software/packed" in names(True)
    assert "loopfm some software/packed" not in names(False)
    assert not any("some" in p.name for p in peers(None, 1, cuda=False))
