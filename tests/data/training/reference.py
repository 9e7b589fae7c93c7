"""Training runs of PyTorch that the trainer is compared with.

    python reference.py                  # optimisers.safetensors
    python reference.py FIXTURES OUT     # w2_adam100.safetensors of the workload W2 in FIXTURES, final weights and labels to OUT

A small model, a table of 20 rows and two layers, takes 25 steps of each optimiser: batches of 16 rows, the last one of 7.
"""
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

STEPS, ROWS, LAST = 25, 16, 7


class Small(nn.Module):
    def __init__(self, sparse=False):
        super().__init__()
        self.emb = nn.Embedding(20, 4, sparse=sparse)
        self.fc1 = nn.Linear(12, 8)
        self.fc2 = nn.Linear(8, 1)

    def forward(self, ids):
        return self.fc2(torch.relu(self.fc1(self.emb(ids).flatten(1))))


class RowwiseAdagrad(torch.optim.Optimizer):
    """One sum a row of a table, of the mean of squared gradients."""

    def __init__(self, params, lr, eps=1e-8):
        super().__init__(params, dict(lr=lr, eps=eps))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                s = self.state[p].setdefault("s", torch.zeros_like(p if p.dim() == 1 else p[:, :1]))
                s += p.grad**2 if p.dim() == 1 else (p.grad**2).mean(1, keepdim=True)
                p -= group["lr"] * p.grad / (s.sqrt() + group["eps"])


RUNS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, eps=1e-8),
    "rowwise": lambda p: RowwiseAdagrad(p, lr=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam_l2": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.02),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "clipped": lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-3),
    "warm": lambda p: torch.optim.Adam(p, lr=0.02),
    "lazy": lambda p: torch.optim.SparseAdam(p[:1], lr=0.01),
}


def small():
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (STEPS * ROWS, 3))
    label = (torch.rand(STEPS * ROWS) < 0.3).float()
    start = Small().state_dict()
    out = {"ids": ids.int(), "label": label}
    out |= {f"start/{k}": v.clone() for k, v in start.items()}
    for name, make in RUNS.items():
        model = Small(sparse=name == "lazy")
        model.load_state_dict(start)
        params = list(model.parameters())
        optimisers = [make(params)]
        if name == "lazy":
            optimisers.append(torch.optim.Adam(params[1:], lr=0.01))
        warm = torch.optim.lr_scheduler.LambdaLR(optimisers[0], lambda t: min(1, (t + 1) / 10) if name == "warm" else 1)
        losses = []
        for t in range(STEPS):
            rows = slice(t * ROWS, t * ROWS + (LAST if t == STEPS - 1 else ROWS))
            loss = bce(model(ids[rows])[:, 0], label[rows])
            for o in optimisers:
                o.zero_grad()
            loss.backward()
            if name == "clipped":
                nn.utils.clip_grad_norm_(params, 0.1)
            for o in optimisers:
                o.step()
            if name == "warm":
                warm.step()
            losses.append(loss.item())
        out[f"{name}/loss"] = torch.tensor(losses)
        out |= {f"{name}/{k}": v.clone() for k, v in model.state_dict().items()}
    save_file(out, "optimisers.safetensors")


def w2(fixtures, final):
    """Besides the losses, how far apart PyTorch's own weights end, at most, in float64 and with rows in other orders: Adam
    divides gradients by their size, so those that are but rounding move weights as far as any other."""
    sys.path.insert(0, fixtures)
    from reference import W2

    io = load_file(f"{fixtures}/w2_batch512.io.safetensors")

    def run(order, dtype=torch.float32):
        model = W2(V=1000, logits=True)
        model.load_state_dict(load_file(f"{fixtures}/w2.safetensors"), strict=False)
        model = model.to(dtype)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
        ids = io["ids"][order].long()
        cand, hist, mask, label = (io[k][order].to(dtype) for k in ("cand", "hist", "mask", "label"))
        losses = []
        for _ in range(100):
            loss = bce(model(ids, cand, hist, mask), label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses, model.state_dict()

    torch.manual_seed(0)
    losses, weights = run(torch.arange(512))
    others = [run(torch.randperm(512))[1] for _ in range(3)] + [run(torch.arange(512), torch.float64)[1]]
    runs = [weights, *others]
    spread = {k: max((a[k] - b[k]).norm() / w.norm() for a in runs for b in runs) for k, w in weights.items()}
    out = {f"spread/{k}": x.float().reshape(1) for k, x in spread.items()}
    save_file({"loss": torch.tensor(losses)} | out, "w2_adam100.safetensors")
    save_file(weights | {"label": io["label"][:, 0].contiguous()}, final)


w2(*sys.argv[1:]) if sys.argv[1:] else small()
