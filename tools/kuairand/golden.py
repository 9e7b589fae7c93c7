"""Writes a golden of a model trained on KuaiRand-Pure: 512 test rows with the outputs that NumPy computes in float64.

    pip install ./tools/export scikit-learn
    python tools/kuairand/golden.py MODEL.safetensors COLUMNS/test.safetensors GOLDEN.io.safetensors [--full ALL.io.safetensors]

Each row brings a request of its own. Prints AUC and log loss of all test rows; ``--full`` writes these, too.
"""

import argparse
from pathlib import Path

import numpy as np
from loopfm_export.files import read_model, write_golden
from loopfm_export.interp import run_file
from loopfm_export.text import parse
from safetensors.numpy import load_file
from sklearn.metrics import log_loss, roc_auc_score

ROWS = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("golden", type=Path)
    parser.add_argument("--full", type=Path)
    args = parser.parse_args()
    columns = load_file(args.test)
    names = [n.attrs["name"] for n in parse(read_model(args.model)[0]).nodes if n.op == "input"]
    inputs = {k: columns[k] for k in names if k != "request_of_row"}
    label = columns["label"]
    outputs = run_file(args.model, inputs, f64=True)
    prob = outputs["prob"]
    print(f"{len(label)} rows: AUC {roc_auc_score(label, prob):.4f}, log loss {log_loss(label, prob):.4f}")
    some = np.linspace(0, len(label) - 1, ROWS).astype(int)
    pick = lambda tensors, rows: {k: np.ascontiguousarray(np.asarray(v)[rows]) for k, v in tensors.items()}  # noqa: E731
    narrow = {k: v.astype(np.float32) for k, v in outputs.items()}
    write_golden(args.golden, pick(inputs, some), pick(narrow, some), label[some])
    if args.full:
        args.full.parent.mkdir(parents=True, exist_ok=True)
        write_golden(args.full, inputs, narrow, label)


if __name__ == "__main__":
    main()
