#!/usr/bin/env bash
# What a GPU makes of this project, in under nine minutes: every variant checked, then measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'END'
usage: tools/bench_gpu.sh [REPORT]

Writes REPORT (default target/bench-gpu.txt) as it goes:
  1. adapters; each variant opened, which runs its self-test, and compared with the goldens of models/
  2. W1 with 4,096 rows and W2 with 500 candidates of one user, each kernel where a GPU tells
  3. extraction by a foundation model, ids in and embeddings out on the host: W1 with 65,536 rows, examples a second
  4. what --tune makes of these batches
  5. where a Python with PyTorch sees CUDA: its rate of products in half precision, and W1 and W2 beside it (tools/bench_peers)
  6. the batches of 2 by every variant, cooperative matrices where the adapter has them

LOOPFM_BIN names a folder that has `loopfm` and `bench-peer`; without it they are built, which the nine minutes do not count and which
needs cargo and, once, network: `cargo build --release --locked --bin loopfm --example bench-peer` elsewhere makes both.
LOOPFM_PYTHON names the Python (default python3), which needs nothing besides PyTorch. LOOPFM_SECONDS is how long it may take
(default 520), LOOPFM_STEP_SECONDS how long one step of it (default 100; five minutes for PyTorch, which compiles).
LOOPFM_QUICK=1 takes small batches and leaves nothing out: to see on a software adapter that all of it works.
END
}

case "${1:-}" in -h | --help | help) usage; exit 0 ;; esac
report=${1:-target/bench-gpu.txt}
limit=${LOOPFM_SECONDS:-520}
most=${LOOPFM_STEP_SECONDS:-100}
quick=${LOOPFM_QUICK:-}
python=${LOOPFM_PYTHON:-python3}
if [ -z "${LOOPFM_BIN:-}" ]; then
    cargo build --release --locked --bin loopfm --example bench-peer
    LOOPFM_BIN=$(mktemp -d)
    built=${CARGO_TARGET_DIR:-target}/release
    cp "$built/loopfm" "$built/examples/bench-peer" "$LOOPFM_BIN"
fi
LOOPFM_BIN=$(realpath "$LOOPFM_BIN")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$report")"
exec > >(tee "$report") 2>&1
SECONDS=0

# A step that fails, takes too long or has no time left says so; the others go on.
failed=0
step() {
    local left=$((limit - SECONDS))
    local may=$((left < most ? left : most))
    echo "-- $*"
    if [ "$left" -lt 5 ]; then
        echo "skipped: $limit s are over"
        failed=1
        return
    fi
    local code=0
    timeout --kill-after=5 "$may" "$@" || code=$?
    case $code in
        0) ;;
        124 | 137) echo "cut off after $may s"; failed=1 ;;
        *) echo "failed: $code"; failed=1 ;;
    esac
}

loopfm() { step "$LOOPFM_BIN/loopfm" "$@"; }

adapters() { "$LOOPFM_BIN/loopfm" adapters || true; }

gpu='\((discrete|integrated|virtual)'

# Where a driver is there of which the Vulkan loader has not been told, tells it.
find_driver() {
    local file library
    for file in {/usr/share,/etc,/usr/local/share,/usr/local/nvidia/share}/vulkan/icd.d/nvidia_icd*.json; do
        if [ -e "$file" ]; then export VK_DRIVER_FILES=$file VK_ICD_FILENAMES=$file; return; fi
    done
    for library in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
        # Not `grep -q`, which leaves the pipe before all is said.
        if PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep "$library" >/dev/null; then
            file=$work/nvidia_icd.json
            printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}\n' "$library" >"$file"
            export VK_DRIVER_FILES=$file VK_ICD_FILENAMES=$file
            return
        fi
    done
}

echo "$(date -u +%F) $(git describe --always --dirty 2>/dev/null || echo 'no git'), $(uname -sr)"
found=$(adapters)
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true
    if ! grep -qE "$gpu" <<<"$found"; then
        find_driver
        found=$(adapters)
        if ! grep -qE "$gpu" <<<"$found"; then
            echo "nvidia-smi sees a GPU that Vulkan does not: the loader (libvulkan.so.1) or the driver's libGLX_nvidia.so.0 or" \
                "libEGL_nvidia.so.0 is missing; containers need NVIDIA_DRIVER_CAPABILITIES=all"
        fi
    fi
fi
echo "$found"
if ! grep -qE '^0:' <<<"$found"; then
    echo "there is nothing to measure"
    exit 1
fi

variants="discrete/native discrete/packed integrated/native portable/native portable/packed"
rows=4096 candidates=500 extraction=65536 rounds=101 profile=--profile software=
if ! grep -qE "$gpu" <<<"$found"; then
    # A software adapter alone has a variant of its own, a fraction of the speed, and no time to spare for profiles.
    variants="software/packed $variants"
    extraction=4096 software=1 profile=
fi
duration=2
if [ -n "$quick" ]; then rows=64 candidates=64 extraction=256 rounds=3 duration=0 profile=--profile; fi
matrices=
if grep -q 'matrices 16x16' <<<"$found"; then matrices=matrix/native; fi

echo "== self-tests and goldens"
for model in kuairand-din kuairand-dcnv2; do
    golden=models/$model/golden.io.safetensors
    for precision in f16 f32; do
        bundle=$work/$model-$precision.loopfm
        step "$LOOPFM_BIN/loopfm" compile "models/$model/model.safetensors" --precision "$precision" --output "$bundle" >"$work/compile.txt" 2>&1
        if [ ! -e "$bundle" ]; then cat "$work/compile.txt"; fi
    done
    for variant in $variants $matrices; do
        loopfm verify "$work/$model-f16.loopfm" --golden "$golden" --device gpu --variant "$variant"
    done
    loopfm verify "$work/$model-f32.loopfm" --golden "$golden" --device gpu --variant f32
done

echo "== batches"
for model in w1 w2; do step "$LOOPFM_BIN/bench-peer" "$model" - compile "$work/$model.loopfm" f16; done
w1() { loopfm bench "$work/w1.loopfm" --device gpu --duration "$duration" --iterations 3 --warmup 1 "$@"; }
w2() { loopfm bench "$work/w2.loopfm" --device gpu --rows "$candidates" --duration "$duration" --iterations 3 "$@"; }
w2 $profile
w1 --rows "$rows" $profile

echo "== extraction"
duration=$((duration * 2)) w1 --rows "$extraction"

echo "== tuned: every variant's outputs compared with the CPU's, then timed"
if [ -z "$software" ] || [ -n "$quick" ]; then
    w1 --rows "$rows" --tune
    w1 --rows "$extraction" --tune
    w2 --tune
else
    echo "no: a software adapter alone"
fi

echo "== beside PyTorch on CUDA"
if why=$("$python" -c 'import torch, sys; sys.exit("its PyTorch sees no CUDA" if not torch.cuda.is_available() else 0)' 2>&1); then
    step "$python" tools/bench_peers/cuda_rate.py
    # What PyTorch compiles, Triton does, with a C compiler; the slow ones are given up before the step is.
    most=300 LOOPFM_PEERS_BIN=$LOOPFM_BIN step "$python" tools/bench_peers/run.py --workload w2-shared w1-4096 --threads 1 \
        --peer "torch cuda" --rounds "$rounds" --seconds 10 --patience 140
else
    echo "no: $python: ${why##*$'\n'}"
fi

echo "== batches, every variant"
for variant in $matrices; do w1 --rows "$rows" $profile --variant "$variant"; done
for variant in $variants; do
    w2 $profile --variant "$variant"
    w1 --rows "$rows" $profile --variant "$variant"
done
echo "== took $SECONDS s"
exit "$failed"
