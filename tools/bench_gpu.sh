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
  4. where a Python with PyTorch sees CUDA: its rate of products in half precision, and W1 and W2 beside it (tools/bench_peers)
  5. the batches of 2 by every variant, cooperative matrices where the adapter has them; before 4, what --tune makes of it

LOOPFM_BIN names a folder that has `loopfm` and `bench-peer`; without it they are built, which the nine minutes do not count.
LOOPFM_PYTHON names the Python (default python3). LOOPFM_SECONDS is how long it may take (default 520).
END
}

case "${1:-}" in -h | --help | help) usage; exit 0 ;; esac
report=${1:-target/bench-gpu.txt}
limit=${LOOPFM_SECONDS:-520}
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

# A step that fails or has no time left says so; the others go on.
failed=0
step() {
    local left=$((limit - SECONDS))
    echo "-- $*"
    if [ "$left" -lt 5 ]; then
        echo "skipped: $limit s are over"
        failed=1
    elif ! timeout "$left" "$@"; then
        if [ "$SECONDS" -ge "$limit" ]; then echo "cut off: $limit s are over"; else echo "failed"; fi
        failed=1
    fi
}

loopfm() { step "$LOOPFM_BIN/loopfm" "$@"; }

echo "$(date -u +%F) $(git describe --always --dirty 2>/dev/null || echo 'no git'), $(uname -sr)"
if command -v nvidia-smi >/dev/null; then nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true; fi
adapters=$("$LOOPFM_BIN/loopfm" adapters)
echo "$adapters"
# A software adapter alone has variants of its own, a fraction of the speed, and no time to spare for profiles.
variants="discrete/native discrete/packed portable/native portable/packed"
extraction=65536
profile=--profile
if ! grep -qE '\((discrete|integrated|virtual)' <<<"$adapters"; then
    variants="software/packed $variants"
    extraction=4096
    profile=
fi

matrices=
if grep -q 'matrices 16x16' <<<"$adapters"; then matrices=matrix/native; fi

echo "== self-tests and goldens"
for model in kuairand-din kuairand-dcnv2; do
    for precision in f16 f32; do
        "$LOOPFM_BIN/loopfm" compile "models/$model/model.safetensors" --precision "$precision" --output "$work/$model-$precision.loopfm" >"$work/compile.txt" ||
            cat "$work/compile.txt"
    done
    golden=models/$model/golden.io.safetensors
    for variant in $variants; do
        loopfm verify "$work/$model-f16.loopfm" --golden "$golden" --device gpu --variant "$variant"
    done
    loopfm verify "$work/$model-f32.loopfm" --golden "$golden" --device gpu --variant f32
done

echo "== batches"
"$LOOPFM_BIN/bench-peer" w1 - compile "$work/w1.loopfm" f16
"$LOOPFM_BIN/bench-peer" w2 - compile "$work/w2.loopfm" f16
batches() {
    loopfm bench "$work/w2.loopfm" --device gpu --rows 500 --duration 2 --iterations 3 $profile "$@"
    loopfm bench "$work/w1.loopfm" --device gpu --rows 4096 --duration 2 --iterations 3 --warmup 1 $profile "$@"
}
batches

echo "== extraction"
loopfm bench "$work/w1.loopfm" --device gpu --rows "$extraction" --duration 5 --iterations 3 --warmup 1

echo "== tuned: every variant's outputs compared with the CPU's, then timed"
if [ -n "$profile" ]; then
    for rows in 4096 "$extraction"; do
        loopfm bench "$work/w1.loopfm" --device gpu --rows "$rows" --duration 2 --iterations 3 --warmup 1 --tune
    done
    loopfm bench "$work/w2.loopfm" --device gpu --rows 500 --duration 2 --iterations 3 --tune
else
    echo "no: a software adapter alone"
fi

echo "== beside PyTorch on CUDA"
if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    step "$python" tools/bench_peers/cuda_rate.py
    LOOPFM_PEERS_BIN=$LOOPFM_BIN step "$python" tools/bench_peers/run.py --workload w2-shared w1-4096 --threads 1 --peer "torch cuda" --rounds 101 --seconds 10
else
    echo "no: \`$python\` has no PyTorch, or PyTorch no CUDA"
fi
echo "== batches, every variant"
for variant in $matrices; do loopfm bench "$work/w1.loopfm" --device gpu --rows 4096 --duration 2 --iterations 3 --warmup 1 $profile --variant "$variant"; done
for variant in $variants; do batches --variant "$variant"; done
echo "== took $SECONDS s"
exit "$failed"
