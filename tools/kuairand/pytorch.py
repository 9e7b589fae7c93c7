"""Trains in PyTorch what ``compare/din.toml`` and ``compare/dcnv2.toml`` say, for three seeds; prints AUC and log loss of the test days.

    pip install torch safetensors scikit-learn
    python tools/kuairand/columns.py DATA columns
    python tools/kuairand/pytorch.py columns
    loopfm train tools/kuairand/compare/din.toml --train columns/train.safetensors --valid columns/test.safetensors --out run

The trainer's figure to compare is the last validation of ``run/metrics.jsonl``, after both passes; ``seed`` in the specification is 0,
1 and 2. Sizes, order of rows, batches, initial distributions and optimiser are the same, initial numbers are not.
"""

import argparse
import tomllib
from pathlib import Path

import torch
from safetensors.torch import load_file
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

HERE = Path(__file__).parent


def tower(widths: list[int]) -> list[nn.Module]:
    return [m for a, b in zip(widths, widths[1:]) for m in (nn.Linear(a, b), nn.ReLU())]


class Model(nn.Module):
    def __init__(self, spec: dict):
        super().__init__()
        self.spec, fields = spec, spec["fields"]
        self.tables = nn.ModuleDict({f["name"]: nn.Embedding(f["vocabulary"], f["width"]) for f in fields})
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=1e-4)
        width = sum(f["width"] for f in fields) + sum(d["width"] for d in spec["dense"])
        self.attention = self.cross = None
        if spec["architecture"] == "din":
            k = sum(f["width"] for f in fields if f["name"] in spec["history"]["of"])
            layers = spec["attention"]["layers"]
            self.attention, width = nn.Sequential(*tower([4 * k, *layers]), nn.Linear(layers[-1], 1)), width + k
        else:
            self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(spec["cross"]["layers"]))
        self.mlp = nn.Sequential(*tower([width, *spec["mlp"]]))
        self.out = nn.Linear(spec["mlp"][-1] + (width if self.cross else 0), 1)

    def past(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        items = self.spec["history"]["of"]
        k = torch.cat([self.tables[f](x[f"hist_{f}"]) for f in items], -1)
        q = torch.cat([self.tables[f](x[f]) for f in items], -1)[:, None].expand_as(k)
        score = self.attention(torch.cat([q, k, q - k, q * k], -1)).squeeze(-1) * x["hist_mask"].float()
        return (score[:, None] @ k).squeeze(1)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = [table(x[f]) for f, table in self.tables.items()]
        parts += [self.past(x)] if self.attention else []
        x0 = torch.cat([*parts, *(x[d["name"]] for d in self.spec["dense"])], -1)
        crossed = x0
        for layer in self.cross or []:
            crossed = x0 * layer(crossed) + crossed
        deep = self.mlp(x0)
        return self.out(torch.cat([crossed, deep], -1) if self.cross else deep).squeeze(1)


def rows(columns: dict[str, torch.Tensor], size: int):
    for i in range(0, len(columns["label"]), size):
        yield {k: v[i : i + size] for k, v in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("columns", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = (load_file(args.columns / f"{split}.safetensors") for split in ("train", "test"))
    for name in ("din", "dcnv2"):
        run = tomllib.loads((HERE / "compare" / f"{name}.toml").read_text())
        for seed in range(3):
            torch.manual_seed(seed)
            model = Model(run["model"])
            adam = torch.optim.Adam(model.parameters(), lr=run["schedule"]["lr"], eps=1e-8)
            for _ in range(run["data"]["epochs"]):
                for batch in rows(train, run["data"]["batch"]):
                    loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch["label"])
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
            with torch.no_grad():
                prob = torch.cat([model(batch) for batch in rows(test, 4096)]).sigmoid()
            print(f"{name} {seed}: AUC {roc_auc_score(test['label'], prob):.4f}, log loss {log_loss(test['label'], prob):.4f}", flush=True)


if __name__ == "__main__":
    main()
