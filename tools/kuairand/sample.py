"""Draws the sample of KuaiRand-Pure that ``loopfm demo`` runs on.

    pip install numpy pandas pyarrow
    python tools/kuairand/sample.py DATA OUT [--users N]

DATA is a folder with the impressions of 25 April to 8 May 2022 and the user and video features. The sample holds every impression
of the users with the N least hashes of their ids, in order of time, so that histories are whole; the features of these users, and of
the videos that they saw. Columns are the data set's own: what others derived from them (``watch_ratio``, ``finish`` and the like) is
left out, and so are user and video features that the demo does not read.
"""

import argparse
import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LOG = ["user_id", "video_id", "time_ms", "hourmin", "tab", "is_click", "is_like", "long_view", "play_time_ms", "duration_ms"]
USER = ["user_id", "user_active_degree", "register_days_range", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range",
        "is_video_author", "onehot_feat0", "onehot_feat1", "onehot_feat9"]  # fmt: skip
VIDEO = ["video_id", "author_id", "tag", "upload_type", "video_duration"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--users", type=int, default=8000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = [pd.read_parquet(args.data / f"impressions_{d}.parquet", columns=LOG) for d in ("0425_0430", "0501_0508")]
    x = pd.concat(parts)
    drawn = sorted(x.user_id.unique(), key=lambda u: hashlib.sha256(str(u).encode()).digest())[: args.users]
    x = x[x.user_id.isin(drawn)].sort_values("time_ms", kind="stable").reset_index(drop=True)
    table = pa.Table.from_pandas(x, preserve_index=False).replace_schema_metadata(None)
    small = [pa.field(f.name, pa.int64() if f.name == "time_ms" else pa.int32()) for f in table.schema]
    pq.write_table(table.cast(pa.schema(small)), args.out / "impressions.parquet", compression="zstd", compression_level=19)
    users = pd.read_csv(args.data / "user_features_pure.csv", dtype=str, keep_default_na=False)[USER]
    users[users.user_id.astype(int).isin(drawn)].to_csv(args.out / "users.csv", index=False)
    videos = pd.read_csv(args.data / "video_features_basic_pure.csv", dtype=str, keep_default_na=False)[VIDEO]
    videos[videos.video_id.astype(int).isin(x.video_id.unique())].to_csv(args.out / "videos.csv", index=False)
    print(f"{len(x)} impressions of {len(drawn)} users and {x.video_id.nunique()} videos, {x.long_view.mean():.4f} positive")


if __name__ == "__main__":
    main()
