"""Who is measured, and how: a process each, driven line by line, its time taken from outside."""

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from workloads import Workload

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TICK = 1 / os.sysconf("SC_CLK_TCK")

F32, F16 = 1e-3, 5e-2
"""How far outputs may be off, in standard deviations of them: arithmetic in single precision, and weights or more in half."""


class Failed(Exception):
    """A peer that has stopped, does not answer or cannot be built."""


@dataclass
class Peer:
    name: str
    """What it runs, in `program`'s words."""
    kind: str
    args: list[str] = field(default_factory=list)
    """`gpu` or `cpu`: what it is compared on."""
    on: str = "cpu"
    """What its own words about where it runs must contain, or another device does the work."""
    words: str = ""
    tolerance: float = F32

    def why_not(self, workload: Workload) -> str | None:
        """Why a workload is not for it."""
        if self.kind == "meganeura" and not workload.model.startswith("tower"):
            return "cannot express it: no batched attention, no mask, no cross over fields"
        if workload.train and (self.kind == "onnxruntime" or "cuda" in self.args):
            return "runs no training steps here"
        if "split" in self.args and workload.model != "w2":
            return "there is nothing to split by hand"
        if workload.train and self.on == "gpu" and self.kind == "loopfm" and len(self.args) > 2:
            return "training steps have one plan"
        if workload.train and "f32" in self.args:
            return "training steps are in f32 already"
        return None


@dataclass
class Adapter:
    name: str
    software: bool


def peers(adapter: Adapter | None, threads: int, cuda: bool) -> list[Peer]:
    """All of them; the first of a kind of device is what others there are compared with."""
    count = str(threads)
    found = []
    if adapter:
        short = adapter.name.split(" ")[0]
        gpu = dict(on="gpu", words=adapter.name)
        found.append(Peer(f"loopfm {short}", "loopfm", ["f16", "gpu"], tolerance=F16, **gpu))
        profiles = ["software/packed", "discrete/native", "discrete/packed", "integrated/native", "portable/native", "portable/packed"]
        for variant in profiles[not adapter.software :]:
            args = ["f16", "gpu", *variant.split("/")]
            found.append(Peer(f"loopfm {short} {variant}", "loopfm", args, tolerance=F16, **gpu))
        found.append(Peer(f"loopfm {short} f32", "loopfm", ["f32", "gpu"], **gpu))
        found.append(Peer(f"meganeura {short}", "meganeura", **gpu))
        found.append(Peer(f"burn-wgpu {short}", "burn", **gpu))
    if cuda:
        for mode in ("eager", "compiled"):
            found.append(Peer(f"torch cuda fp16 {mode}", "torch", [count, mode, "cuda"], on="gpu", tolerance=F16))
    cpu = dict(words="CPU")
    found += [
        Peer("loopfm cpu", "loopfm", ["f16", "cpu"], tolerance=F16, **cpu),
        Peer("loopfm cpu f32", "loopfm", ["f32", "cpu"], **cpu),
        Peer("onnxruntime", "onnxruntime", [count], **cpu),
        Peer("onnxruntime split", "onnxruntime", [count, "split"], **cpu),
        Peer("torch eager", "torch", [count, "eager"], **cpu),
        Peer("torch compiled", "torch", [count, "compiled"], **cpu),
    ]
    return found


@cache
def built(package: str) -> str:
    """The program of a package here, built if need be, or brought along."""
    if folder := os.environ.get("LOOPFM_PEERS_BIN"):
        program = Path(folder) / ("bench-peer" if package == "loopfm" else f"peer-{package}")
        if not program.exists():
            raise Failed(f"there is no `{program.name}` in LOOPFM_PEERS_BIN")
        return str(program)
    cargo = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics"]
    if package == "loopfm":
        cargo += ["--example", "bench-peer"]
        folder = ROOT
    else:
        folder = HERE / package
        cargo += ["--target-dir", os.environ.get("LOOPFM_PEERS_TARGET", str(ROOT / "target" / "bench-peers"))]
    print(f"building {package}", file=sys.stderr, flush=True)
    done = subprocess.run(cargo, cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"`cargo build` of {package} failed")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return next(m["executable"] for m in reversed(messages) if m.get("executable"))


def command(peer: Peer, work: Workload, file: Path, folder: Path) -> list[str]:
    """What starts a peer; files that it needs are made."""
    purpose = "train" if work.train else "infer"
    if peer.kind == "torch":
        return [sys.executable, str(HERE / "torch_peer.py"), work.name, str(file), purpose, *peer.args]
    if peer.kind == "onnxruntime":
        model = "w2split" if "split" in peer.args else work.model
        onnx = folder / f"{work.name}-{model}.onnx"
        if not onnx.exists():
            prepare([sys.executable, str(HERE / "ort_export.py"), model, str(file), str(onnx)], onnx.with_suffix(".log"))
        return [sys.executable, str(HERE / "ort_peer.py"), work.name, str(file), purpose, peer.args[0], str(onnx)]
    if peer.kind == "loopfm":
        precision, *device = peer.args
        if work.train:
            return [built("loopfm"), work.name, str(file), purpose, *device]
        bundle = folder / f"{work.name}-{precision}.loopfm"
        if not bundle.exists():
            prepare([built("loopfm"), work.name, str(file), "compile", str(bundle), precision], bundle.with_suffix(".log"))
        return [built("loopfm"), work.name, str(file), purpose, str(bundle), *device]
    return [built(peer.kind), work.name, str(file), purpose, *peer.args]


def prepare(command: list[str], log: Path) -> None:
    with open(log, "w") as out:
        if subprocess.run(command, stdout=out, stderr=out).returncode:
            raise Failed(last_words(log))


def last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    # A note on how to see more says nothing.
    lines = [line for line in lines if "RUST_BACKTRACE" not in line]
    return lines[-1][:300] if lines else "it says nothing"


def environment(threads: int, folder: Path) -> dict[str, str]:
    """Threads for those who take them from it; caches that nothing has filled."""
    count = str(threads)
    return os.environ | {
        "RAYON_NUM_THREADS": count,
        "OMP_NUM_THREADS": count,
        "LP_NUM_THREADS": count,
        "MESA_SHADER_CACHE_DISABLE": "true",
        "XDG_CACHE_HOME": str(folder),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }


class Process:
    """A running peer, and how many seconds it may take to answer."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str], patience: float = 600):
        self.log = log
        self.patience = patience
        self.error = open(log, "w")
        self.start = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.error, bufsize=0, env=environment
        )
        self.rest = b""
        self.device = self.answer()

    def answer(self) -> str:
        end = time.perf_counter() + self.patience
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.perf_counter()))
            part = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not part:
                late = f"no answer in {self.patience:.0f} s" if not ready else "it ended"
                self.close(kill=not ready)
                raise Failed(f"{late}: {last_words(self.log)}")
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def ask(self, line: str) -> str:
        try:
            self.process.stdin.write(f"{line}\n".encode())
        except BrokenPipeError:
            self.close()
            raise Failed(f"it ended: {last_words(self.log)}") from None
        return self.answer()

    def processor(self) -> tuple[dict[str, int], float]:
        """Nanoseconds that each living thread has run, and seconds of all threads, ended ones too, in ticks."""
        pid = self.process.pid
        threads = {}
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                threads[task] = int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            except OSError:
                pass
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # Compilers that it has started, too.
        return threads, sum(map(int, stat[11:15])) * TICK

    def timed(self) -> tuple[float, float]:
        """What a run took in milliseconds of processor time and on the wall."""
        threads, ticks = self.processor()
        start = time.perf_counter()
        self.ask("run")
        wall = time.perf_counter() - start
        now, later = self.processor()
        if threads and threads.keys() <= now.keys():
            processor = sum(ns - threads.get(task, 0) for task, ns in now.items()) / 1e6
        else:
            # A thread has ended, and its exact time with it, or the system keeps none.
            processor = (later - ticks) * 1e3
        return processor, wall * 1e3

    def peak_mib(self) -> float | None:
        """Where the system keeps it."""
        _, _, kept = Path(f"/proc/{self.process.pid}/status").read_text().partition("VmHWM:")
        return int(kept.split()[0]) / 1024 if kept else None

    def close(self, kill: bool = False) -> None:
        self.process.stdin.close()
        try:
            if kill:
                self.process.kill()
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.error.close()
