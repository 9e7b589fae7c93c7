"""Encodes KuaiRand-Pure as columns that ``loopfm train`` reads: ``train``, ``valid`` and ``test.safetensors``, one tensor a column.

    pip install numpy pandas pyarrow safetensors
    python tools/kuairand/columns.py DATA OUT

DATA is a folder with the impressions of 25 April to 8 May 2022, the sequences before, and the user and video features. Label
``long_view``; training days are 25 April to 4 May, validation is 5 May, test 6 to 8 May, rows in order of time. Outcomes of an
impression (clicks, times watched, everything derived from them) are no columns; histories hold the user's impressions strictly before
it, ties excluded. Also writes ``vocabulary.json``: the values of each column that is numbered, in order; a value's index is its place
plus 1, and 0 stands for what the training days lack.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

PAST = 20
SPLITS = {"train": (20220425, 20220504), "valid": (20220505, 20220505), "test": (20220506, 20220508)}
PROFILE = ["user_active_degree", "register_days_range", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range",
           "is_video_author", "onehot_feat0", "onehot_feat1", "onehot_feat9"]  # fmt: skip
NUMBERED = ["author", "tag", "upload_type", "tab", "hour", *PROFILE]


def load(folder: Path) -> tuple[pd.DataFrame, dict[int, list[int]]]:
    """Impressions in order of time with the features they may use, and what each user saw before them, oldest first."""
    columns = ["user_id", "video_id", "date", "hourmin", "time_ms", "tab", "long_view"]
    parts = [pd.read_parquet(folder / f"impressions_{d}.parquet", columns=columns) for d in ("0425_0430", "0501_0508")]
    x = pd.concat(parts).sort_values("time_ms", kind="stable").reset_index(drop=True)
    users = pd.read_csv(folder / "user_features_pure.csv")[["user_id", *PROFILE]]
    videos = pd.read_csv(folder / "video_features_basic_pure.csv", dtype={"tag": str})
    x = x.merge(users, on="user_id", how="left")
    x = x.merge(videos[["video_id", "author_id", "tag", "upload_type", "video_duration"]], on="video_id", how="left")
    # Ids of users and videos are dense in the data set and are used as they are, plus 1.
    x["user"], x["video"], x["author"] = x.user_id + 1, x.video_id + 1, x.author_id
    x["tag"], x["hour"] = x.tag.fillna("").str.split(",").str[0], x.hourmin // 100
    x["duration"] = np.log1p(x.video_duration.fillna(0).astype(float) / 1000) / 5
    before = pd.read_parquet(folder / "user_sequences_before_0425.parquet", columns=["user_id", "watch_seq"])
    return x, {u: list(map(int, s)) for u, s in zip(before.user_id, before.watch_seq)}


def vocabularies(x: pd.DataFrame) -> dict[str, list[str]]:
    """The values that the training days have, in order."""
    train = x[x.date.between(*SPLITS["train"])]
    return {k: sorted(train[k].dropna().astype(str).unique(), key=lambda v: (len(v), v)) for k in NUMBERED}


def histories(x: pd.DataFrame, before: dict[int, list[int]]) -> np.ndarray:
    """[rows, PAST] of video + 1, oldest first and padded with 0 behind. Impressions at the same millisecond see the same past."""
    out = np.zeros((len(x), PAST), np.int32)
    for user, group in x.groupby("user_id", sort=False):
        seen, waiting, now = before.get(user, [])[-PAST:], [], None
        for row, video, t in zip(group.index, group.video_id, group.time_ms):
            if t != now:
                seen, waiting, now = (seen + waiting)[-PAST:], [], t
            out[row, : len(seen)] = np.array(seen, np.int32) + 1
            waiting.append(video)
    return out


def encode(x: pd.DataFrame, before: dict[int, list[int]], vocabulary: dict[str, list[str]]) -> dict[str, np.ndarray]:
    columns = {k: x[k].to_numpy(np.int32) for k in ("user", "video")}
    for k, values in vocabulary.items():
        place = {v: i + 1 for i, v in enumerate(values)}
        columns[k] = x[k].astype(str).map(place).fillna(0).to_numpy(np.int32)
    columns["duration"] = x.duration.to_numpy(np.float32)[:, None]
    columns["hist_video"] = histories(x, before)
    author_of = np.zeros(columns["video"].max() + 1, np.int32)
    author_of[columns["video"]] = columns["author"]  # a fact of the video, known before any impression
    past = columns["hist_video"]
    columns["hist_author"] = np.where(past < len(author_of), author_of[np.minimum(past, len(author_of) - 1)], 0).astype(np.int32)
    columns["hist_mask"] = past != 0
    columns["label"] = x.long_view.to_numpy(np.float32)
    return columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    x, before = load(args.data)
    vocabulary = vocabularies(x)
    columns = encode(x, before, vocabulary)
    for split, days in SPLITS.items():
        rows = x.date.between(*days).to_numpy()
        save_file({k: np.ascontiguousarray(v[rows]) for k, v in columns.items()}, args.out / f"{split}.safetensors")
        print(f"{split}: {rows.sum()} rows, {columns['label'][rows].mean():.4f} positive")
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in vocabulary.items())
    (args.out / "vocabulary.json").write_text("{\n" + lines + "\n}\n")
    print({k: int(v.max()) + 1 for k, v in columns.items() if v.dtype == np.int32})


if __name__ == "__main__":
    main()
