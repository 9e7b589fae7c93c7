"""Trains the two models that the repository ships on KuaiRand-Pure and exports them.

    python train_kuairand.py DATA models/ [--full OUT]

DATA is a folder with the impressions of 25 April to 8 May 2022, the sequences before, and the user and video features
(SOURCE.md there says what each column is). Label ``long_view``; trained on 25 April to 4 May, stopped by the AUC of 5 May,
tested on 6 to 8 May. Outcomes of an impression (clicks, times watched, everything derived from them) are never its inputs;
histories hold the user's impressions strictly before it, ties excluded. ``--full`` also writes goldens of all test rows.
Needs pandas, pyarrow and scikit-learn (the extra ``train``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import loopfm_export as le
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

PAST, DIM, HIDDEN, GOLDEN_ROWS = 20, 8, 64, 512
TRAIN, VALID, TEST = (20220425, 20220504), (20220505, 20220505), (20220506, 20220508)
# Index 0 of every table stands for unknown; user and video ids are dense in the data set and are used as they are, plus 1.
DENSE = {"user": 27285, "video": 7583}
COUNTS = [f"{k}_user_num_range" for k in ("follow", "fans", "friend")]
PROFILE = ["user_active_degree", "register_days_range", *COUNTS, "is_video_author", "onehot_feat0", "onehot_feat1", "onehot_feat9"]
MAPPED = ["author", "tag", "upload_type", "tab", "hour", *PROFILE]


# ---- data


def load(folder: Path) -> tuple[pd.DataFrame, dict[int, list[int]]]:
    """Impressions in order of time with the features they may use, and what each user saw before them, oldest first."""
    columns = ["user_id", "video_id", "date", "hourmin", "time_ms", "tab", "long_view"]
    parts = [pd.read_parquet(folder / f"impressions_{d}.parquet", columns=columns) for d in ("0425_0430", "0501_0508")]
    x = pd.concat(parts).sort_values("time_ms", kind="stable").reset_index(drop=True)
    users = pd.read_csv(folder / "user_features_pure.csv")[["user_id", *PROFILE]]
    videos = pd.read_csv(folder / "video_features_basic_pure.csv", dtype={"tag": str})
    videos = videos[["video_id", "author_id", "tag", "upload_type", "video_duration"]]
    x = x.merge(users, on="user_id", how="left").merge(videos, on="video_id", how="left")
    x["user"], x["video"], x["author"] = x.user_id + 1, x.video_id + 1, x.author_id
    x["tag"], x["hour"] = x.tag.fillna("").str.split(",").str[0], x.hourmin // 100
    x["duration"] = np.log1p(x.video_duration.fillna(0).astype(float) / 1000) / 5
    before = pd.read_parquet(folder / "user_sequences_before_0425.parquet", columns=["user_id", "watch_seq"])
    return x, {u: list(map(int, s)) for u, s in zip(before.user_id, before.watch_seq)}


def vocabularies(x: pd.DataFrame) -> dict[str, list[str]]:
    """The values seen in training, in order; a value's index is its place plus 1."""
    train = x[x.date.between(*TRAIN)]
    text = lambda k: train[k].dropna().astype(str)  # noqa: E731
    return {k: sorted(text(k).unique(), key=lambda v: (len(v), v)) for k in MAPPED}


def histories(x: pd.DataFrame, before: dict[int, list[int]]) -> np.ndarray:
    """[rows, PAST] of video + 1, oldest first and padded with 0 behind. Impressions at the same millisecond see the same past."""
    out = np.zeros((len(x), PAST), np.int64)
    for user, group in x.groupby("user_id", sort=False):
        seen, waiting, now = before.get(user, [])[-PAST:], [], None
        for row, video, t in zip(group.index, group.video_id, group.time_ms):
            if t != now:
                seen, waiting, now = (seen + waiting)[-PAST:], [], t
            out[row, : len(seen)] = np.array(seen, np.int64) + 1
            waiting.append(video)
    return out


def encode(x: pd.DataFrame, before: dict[int, list[int]], vocabulary: dict[str, list[str]]) -> dict[str, torch.Tensor]:
    columns = {k: x[k].to_numpy(np.int64) for k in DENSE}
    for k, values in vocabulary.items():
        place = {v: i + 1 for i, v in enumerate(values)}
        columns[k] = x[k].astype(str).map(place).fillna(0).to_numpy(np.int64)
    columns["duration"] = x.duration.to_numpy(np.float32)
    columns["hist_video"] = histories(x, before)
    author_of = np.zeros(DENSE["video"] + 1, np.int64)
    author_of[columns["video"]] = columns["author"]  # a fact of the video, known before any impression
    columns["hist_author"] = author_of[columns["hist_video"]]
    columns["hist_mask"] = (columns["hist_video"] != 0).astype(np.float32)
    columns["label"] = x.long_view.to_numpy(np.float32)
    return {k: torch.from_numpy(v) for k, v in columns.items()}


# ---- models


class Tables(nn.Module):
    """One table for each field, concatenated."""

    def __init__(self, sizes: dict[str, int], fields: list[str]):
        super().__init__()
        self.fields = fields
        self.tables = nn.ModuleDict({k: nn.Embedding(sizes[k], DIM) for k in fields})
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([self.tables[k](x[k]) for k in self.fields], -1)


class Dcnv2(nn.Module):
    """The foundation model: user id, item and profile; full-rank crosses beside an MLP; ``hidden`` is what it teaches."""

    inputs = ["user", "video", *MAPPED, "duration"]

    def __init__(self, sizes: dict[str, int]):
        super().__init__()
        self.embedding = Tables(sizes, ["user", "video", *MAPPED])
        n = DIM * (2 + len(MAPPED)) + 1
        self.cross = nn.ModuleList(nn.Linear(n, n) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(n, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.1))
        self.hidden, self.head = nn.Linear(n + 64, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x0 = torch.cat([self.embedding(x), x["duration"].unsqueeze(-1)], -1)
        y = x0
        for layer in self.cross:
            y = x0 * layer(y) + y
        logit = self.head(self.hidden(torch.cat([y, self.mlp(x0)], -1)))
        return {"prob": torch.sigmoid(logit), "logit": logit}


class Din(nn.Module):
    """The vertical model: target attention over the user's past videos; score times mask, no softmax, as in the paper."""

    inputs = ["user", "user_active_degree", "register_days_range", "hist_video", "hist_author", "hist_mask",
              "video", "author", "tag", "upload_type", "tab", "hour", "duration"]  # fmt: skip
    per_request = inputs[:6]

    def __init__(self, sizes: dict[str, int]):
        super().__init__()
        fields = ["user", "user_active_degree", "register_days_range", "video", "author", "tag", "upload_type", "tab", "hour"]
        self.embedding = Tables(sizes, fields)
        e = 2 * DIM
        self.attention = nn.Sequential(nn.Linear(4 * e, 32), nn.PReLU(), nn.Linear(32, 16), nn.PReLU(), nn.Linear(16, 1))
        self.mlp = nn.Sequential(nn.Linear(DIM * len(fields) + e + 1, 128), nn.ReLU(), nn.Dropout(0.1),
                                 nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.1))  # fmt: skip
        self.head = nn.Linear(64, 1)

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        look = self.embedding.tables
        k = torch.cat([look["video"](x["hist_video"]), look["author"](x["hist_author"])], -1)
        q = torch.cat([look["video"](x["video"]), look["author"](x["author"])], -1).unsqueeze(1).expand_as(k)
        score = self.attention(torch.cat([q, k, q - k, q * k], -1)).squeeze(-1) * x["hist_mask"]
        past = (score.unsqueeze(1) @ k).squeeze(1)
        logit = self.head(self.mlp(torch.cat([self.embedding(x), past, x["duration"].unsqueeze(-1)], -1)))
        return {"prob": torch.sigmoid(logit), "logit": logit}


# ---- training


def predict(module: nn.Module, x: dict[str, torch.Tensor], rows: torch.Tensor) -> np.ndarray:
    module.eval()
    with torch.no_grad():
        return torch.cat([module({k: x[k][i] for k in module.inputs})["prob"] for i in rows.split(4096)]).squeeze(1).numpy()


def forget(x: dict[str, torch.Tensor], g: torch.Generator, share: float) -> dict[str, torch.Tensor]:
    """Some ids become unknown, so that index 0 is trained for those that the training days lack."""
    x = dict(x)
    for k in ("user", "video", "author"):
        x[k] = x[k] * (torch.rand(x[k].shape, generator=g) >= share)
    return x


def train(module: nn.Module, x: dict[str, torch.Tensor], split: dict[str, torch.Tensor], epochs: int, rate: float, seed: int) -> dict:
    """Keeps the epoch with the best AUC on the validation day."""
    g = torch.Generator().manual_seed(seed)
    tables = [p for k, p in module.named_parameters() if ".tables." in k]
    rest = [p for k, p in module.named_parameters() if ".tables." not in k]
    step = torch.optim.AdamW([{"params": tables, "weight_decay": 0.1}, {"params": rest, "weight_decay": 1e-3}], lr=rate)
    best, kept, chosen, label = 0.0, {}, 0, x["label"]
    for epoch in range(epochs):
        module.train()
        for i in split["train"][torch.randperm(len(split["train"]), generator=g)].split(1024):
            out = module(forget({k: x[k][i] for k in module.inputs}, g, 0.1))
            loss = nn.functional.binary_cross_entropy_with_logits(out["logit"].squeeze(1), label[i])
            step.zero_grad()
            loss.backward()
            step.step()
        auc = roc_auc_score(label[split["valid"]], predict(module, x, split["valid"]))
        print(f"  epoch {epoch + 1}: validation AUC {auc:.4f}", flush=True)
        if auc > best:
            best, chosen, kept = auc, epoch + 1, {k: v.clone() for k, v in module.state_dict().items()}
    module.load_state_dict(kept)
    with torch.no_grad():  # what training never saw is as unknown as index 0
        for k in ("user", "video"):
            table, seen = module.embedding.tables[k].weight, torch.zeros(len(module.embedding.tables[k].weight), dtype=torch.bool)
            seen[x[k][split["train"]]] = True
            if f"hist_{k}" in module.inputs:
                seen[x[f"hist_{k}"][split["train"]].flatten()] = True
            table[~seen] = table[0].clone()
    test = predict(module, x, split["test"])
    return {"epoch": chosen, "validation_auc": best, "test_auc": float(roc_auc_score(label[split["test"]], test)),
            "test_log_loss": float(log_loss(label[split["test"]], test))}  # fmt: skip


# ---- files


def export(name: str, module: nn.Module, x: dict[str, torch.Tensor], test: torch.Tensor, folder: Path, full: Path | None) -> None:
    per_request, extract = getattr(module, "per_request", ()), {"hidden": "hidden"} if hasattr(module, "hidden") else {}
    some = test[torch.linspace(0, len(test) - 1, GOLDEN_ROWS).long()]
    pick = lambda rows: {k: x[k][rows] for k in module.inputs}  # noqa: E731
    done = le.save(module, pick(some), folder / "model.safetensors", extract=extract, per_request=per_request, model=name,
                   source="KuaiRand-Pure, CC BY-SA 4.0; loopfm-export")  # fmt: skip
    print(f"  {len(done.program.nodes)} nodes; largest differences {done.errors}")
    le.save_golden(folder / "golden.io.safetensors", module, pick(some), extract=extract, label=x["label"][some])
    if full:
        le.save_golden(full / name / "test20k.io.safetensors", module, pick(test), extract=extract, label=x["label"][test])
        for f in ("model.safetensors", "golden.io.safetensors"):
            shutil.copy(folder / f, full / name / f)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--full", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    frame, before = load(args.data)
    vocabulary = vocabularies(frame)
    x = encode(frame, before, vocabulary)
    sizes = {k: n + 1 for k, n in DENSE.items()} | {k: len(v) + 1 for k, v in vocabulary.items()}
    split = {k: torch.from_numpy(np.flatnonzero(frame.date.between(*days)))
             for k, days in (("train", TRAIN), ("valid", VALID), ("test", TEST))}  # fmt: skip
    print({k: len(v) for k, v in split.items()}, sizes)
    for name, cls, epochs in (("kuairand-dcnv2", Dcnv2, 4), ("kuairand-din", Din, 4)):
        start = time.time()
        torch.manual_seed(0)
        module = cls(sizes)
        print(name, sum(p.numel() for p in module.parameters()), "parameters")
        figures = train(module, x, split, epochs, 1e-3, 0)
        print(f"  {figures}, {time.time() - start:.0f} s", flush=True)
        folder = args.models / name
        export(name, module, x, split["test"], folder, args.full)
        used = {k: vocabulary[k] for k in module.inputs if k in vocabulary}
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in used.items())
        (folder / "vocabulary.json").write_text("{\n" + lines + "\n}\n")
        shutil.copy(args.data / "LICENSE", folder / "LICENSE")
        (folder / "LICENSE").chmod(0o644)


if __name__ == "__main__":
    main()
