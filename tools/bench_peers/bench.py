"""Training steps of this project beside those of other runtimes, in turn, in one run.

    python tools/bench_peers/bench.py [--workload tower w2] [--peer NAME ...] [--rounds N] [--json OUT.json]

Needs Python 3.10, cargo and network on first use: it makes an environment of its own under ``target/`` and builds each peer there.
``LOOPFM_PYTHON`` names a Python that has ``requirements.txt`` already. README.md says what is measured and how.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment() -> Path:
    """A Python that has what `run.py` imports."""
    if python := os.environ.get("LOOPFM_PYTHON"):
        return Path(python)
    folder = ROOT / "target" / "bench-peers-env"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    stamp = folder / "requirements.txt"
    wanted = (HERE / "requirements.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"]
        subprocess.run(pip, check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(subprocess.run([environment(), HERE / "run.py", *sys.argv[1:]]).returncode)
