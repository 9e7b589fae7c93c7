"""The bench itself; `bench.py` starts it in an environment that has what it imports."""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import report
from peers import Adapter, Failed, Peer, Process, built, command, environment, peers
from tensors import load_file
from workloads import STEPS, WORKLOADS, Made, Workload, make

LOSS, TOGETHER, EACH = 1e-4, 0.01, 0.2
"""How far losses may be off, all weights together, and each tensor, in shares of the way that they have gone."""
WARM = 3
"""Batches before anything is measured, the checked one the last."""


def wrong_training(peer: Process, work: Made, folder: Path) -> str | None:
    """What is not as it must be in the first steps. Weights are compared by how far they went: in single precision Adam goes
    astray where gradients are near zero, so a tensor alone, which may be a single sum that cancels, has more room."""
    for i, want in enumerate(work.losses[1:], 2):
        loss = float(peer.ask("run"))
        if not abs(loss - want) <= LOSS:
            return f"wrong: loss of step {i} is {loss}, not {want}"
    found = tensors(peer, folder)
    if found.keys() != work.wanted.keys():
        return f"wrong: its weights are {sorted(found)}"
    offs, ways = [], []
    for name, after in work.wanted.items():
        ways.append((after - work.before[name].double()).norm().item())
        offs.append((found[name].double().reshape(after.shape) - after).norm().item())
        if not offs[-1] <= EACH * ways[-1]:
            return f"wrong: `{name}` is off by {offs[-1] / ways[-1]:.1e} of the way it has gone"
    if not math.hypot(*offs) <= TOGETHER * math.hypot(*ways):
        return f"wrong: weights are off by {math.hypot(*offs) / math.hypot(*ways):.1e} of the way they have gone"
    return None


def wrong_outputs(peer: Process, work: Made, tolerance: float, folder: Path) -> tuple[str | None, float]:
    """What is not as it must be in any output, and by how much the worst is off."""
    for _ in range(WARM - 1):
        peer.ask("run")
    found = tensors(peer, folder)
    worst = 0.0
    for name, want in work.wanted.items():
        if name not in found:
            return f"wrong: no output `{name}`", worst
        off = ((found[name].double().reshape(want.shape) - want).abs().max() / work.scales[name]).item()
        if not off <= tolerance:
            return f"wrong: `{name}` is off by {off:.1e} standard deviations", off
        worst = max(worst, off)
    return None, worst


def tensors(peer: Process, folder: Path) -> dict[str, torch.Tensor]:
    file = folder / "found.safetensors"
    peer.ask(f"tensors {file}")
    return load_file(file)


def open_peer(peer: Peer, work: Made, args: argparse.Namespace, threads: int, folder: Path) -> tuple[Process | None, dict]:
    """A peer ready to be measured, or why it is not."""
    said = {"peer": peer.name, "on": peer.on, "workload": work.workload.name, "threads": threads}
    if why := peer.why_not(work.workload):
        return None, said | {"inapplicable": why}
    process = None
    try:
        start = command(peer, work.workload, work.file, folder)
        caches = Path(tempfile.mkdtemp(dir=folder))
        process = Process(start, folder / "peer.log", environment(threads, caches), args.patience)
        said["device"] = process.device
        if peer.words not in process.device:
            error = f"it runs on {process.device}"
        else:
            loss = process.ask("run")
            said["first_seconds"] = time.perf_counter() - process.start
            said["first_cpu_seconds"] = process.processor()[1]
            if not work.workload.train:
                error, said["off"] = wrong_outputs(process, work, peer.tolerance, folder)
            elif not abs(float(loss) - work.losses[0]) <= LOSS:
                error = f"wrong: loss of step 1 is {loss}, not {work.losses[0]}"
            else:
                error = wrong_training(process, work, folder)
    except Failed as e:
        return None, said | {"refused": str(e)}
    if error:
        process.close()
        return None, said | {"refused": error}
    return process, said


def measure(work: Made, wanted: list[Peer], args: argparse.Namespace, threads: int, folder: Path) -> list[dict]:
    """All peers, in turn, round by round; one that has had its seconds waits for the others."""
    opened = []
    for peer in wanted:
        print(f"{work.workload.name}, {threads} threads: {peer.name}", file=sys.stderr, flush=True)
        opened.append(open_peer(peer, work, args, threads, folder))
    running = [(process, said) for process, said in opened if process]
    for _, said in running:
        said |= {"cpu": [], "wall": []}
    for i in range(args.rounds):
        for process, said in running if i % 2 == 0 else running[::-1]:
            late = sum(said["wall"]) > args.seconds * 1e3 and len(said["wall"]) >= 3
            if late or "refused" in said:
                continue
            try:
                cpu, wall = process.timed()
            except Failed as e:
                said["refused"] = str(e)
                continue
            said["cpu"].append(cpu)
            said["wall"].append(wall)
    for process, said in running:
        if "refused" in said:
            continue
        said["peak_mib"] = process.peak_mib()
        process.close()
        said |= {f"{clock}_ms": statistics.median(said[clock]) for clock in ("cpu", "wall")}
    return [said for _, said in opened]


def adapter(folder: Path) -> Adapter | None:
    """The adapter that this project takes for the best."""
    work = make(Workload("tower2-train", 8, 8, train=True), folder)
    try:
        process = Process([built("loopfm"), "tower2-train", str(work.file), "train", "gpu"], folder / "adapter.log", os.environ)
    except Failed as e:
        print(f"no adapter: {e}", file=sys.stderr)
        return None
    process.close()
    return Adapter(process.device.split("`")[1], "software" in process.device)


def words_of(*command: str) -> str | None:
    """What a command says, where there is such a one: programs may have been brought along."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return None


def release(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine(found: Adapter | None) -> dict:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "adapter": found and found.name,
        "software": bool(found and found.software),
        "cargo": words_of("cargo", "--version"),
        "torch": torch.__version__,
        "onnxruntime": release("onnxruntime"),
        "commit": words_of("git", "describe", "--always", "--dirty"),
        "date": time.strftime("%Y-%m-%d"),
    }


def keep(results: list[dict], about: dict, args: argparse.Namespace) -> None:
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")
    if args.picture:
        args.picture.write_text(report.picture(results, about))


def main() -> None:
    every = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description="This project beside other runtimes, in turn, in one run.")
    parser.add_argument("--workload", nargs="+", default=list(WORKLOADS), choices=WORKLOADS)
    parser.add_argument("--peer", nargs="+", default=[""], help="parts of names; the first loopfm of each device is always among them")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, every}))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20, help="of a peer, after which three rounds are enough")
    parser.add_argument("--patience", type=float, default=600, help="seconds after which a peer that does not answer is given up")
    parser.add_argument("--json", type=Path, help="every time, the machine, the versions")
    parser.add_argument("--picture", type=Path, help="an SVG of the medians")
    args = parser.parse_args()
    if not Path("/proc/self/task").exists():
        sys.exit("processor time of another process is read from /proc: Linux alone")
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as name:
        folder = Path(name)
        found = adapter(folder)
        about = machine(found)
        print(" | ".join(f"{k}: {v}" for k, v in about.items()) + "\n", flush=True)
        for threads in args.threads:
            everyone = peers(found, threads, torch.cuda.is_available())
            first = {next(p.name for p in everyone if p.on == on) for on in {p.on for p in everyone}}
            wanted = [p for p in everyone if p.name in first or any(part in p.name for part in args.peer)]
            for workload in (WORKLOADS[name] for name in args.workload):
                rows = measure(make(workload, folder), wanted, args, threads, folder)
                print(report.table(rows) + "\n", flush=True)
                results += rows
                keep(results, about, args)
                for path in folder.iterdir():
                    if path.suffix in (".safetensors", ".loopfm", ".onnx", ".data"):
                        path.unlink()


if __name__ == "__main__":
    main()
