"""Writes PyTorch's gradients of models of the zoo to tests/data/gradients of the repository: ``python make_gradients.py [FOLDER]``.

Of each model in MODELS: the mean binary cross entropy of its probabilities, labels 0, 1, 0, 1 and so on, and its gradient by
every parameter. Weights and inputs are those of tests/data/graphs. ``augru`` is no model of the zoo but the recurrence of DIEN alone,
with its weights and inputs. Random weights only.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from loopfm_export.trace import Traced
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy
from zoo import ZOO

FOLDER = Path(__file__).resolve().parents[3] / "tests" / "data" / "gradients"
MODELS = ["dcnv2", "deepfm", "dien", "din_softmax", "dmin", "gru", "w2"]
LIMIT = 100_000


def of_model(name: str) -> dict[str, torch.Tensor]:
    module, inputs = ZOO[name].make()
    wrapper = Traced(module, inputs, {})
    prob = wrapper(*wrapper.tensors())[0].flatten()
    label = torch.arange(len(prob)).remainder(2).float()
    loss = binary_cross_entropy(prob, label)
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(named.values()))
    return {"loss": loss.detach()} | {f"grad.{n}": g for n, g in zip(named, gradients)}


def augru(x, a, w_ih, b_ih, w_hh, b_hh):
    """All states; the attention scales the update gate, which weighs the candidate. Gates in the order r, z, n."""
    h, states = torch.zeros(x.shape[0], w_hh.shape[1]), []
    for t in range(x.shape[1]):
        x_r, x_z, x_n = (x[:, t] @ w_ih.T + b_ih).chunk(3, 1)
        h_r, h_z, h_n = (h @ w_hh.T + b_hh).chunk(3, 1)
        update = a[:, t : t + 1] * torch.sigmoid(x_z + h_z)
        new = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        h = h + update * (new - h)
        states.append(h)
    return torch.stack(states, 1)


def of_augru() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    real = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    given = {"x": real(5, 4, 3), "a": real(5, 4).sigmoid(), "w_ih": real(12, 3), "b_ih": real(12)}
    given |= {"w_hh": real(12, 4), "b_hh": real(12)}
    weight = real(5, 4, 4)
    for t in given.values():
        t.requires_grad_()
    states = augru(**given)
    gradients = torch.autograd.grad((states * weight).sum(), list(given.values()))
    tensors = {f"in.{n}": t.detach() for n, t in given.items()} | {"weight": weight, "out": states.detach()}
    return tensors | {f"grad.{n}": d for n, d in zip(given, gradients)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in ["augru", *MODELS]:
        tensors = of_augru() if name == "augru" else of_model(name)
        path = folder / f"{name}.safetensors"
        save_file({k: t.contiguous() for k, t in tensors.items()}, path)
        total += path.stat().st_size
        print(f"{name:12s} {path.stat().st_size / 1000:6.1f} kB")
    assert total < LIMIT, total


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
