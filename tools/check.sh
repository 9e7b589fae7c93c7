#!/usr/bin/env bash
# Everything a change must pass. Without arguments: all of it but `export`; with arguments: the parts named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'END'
usage: tools/check.sh [PART...]

  all        fmt clippy test doc features (the default)
  fmt        formatting
  clippy     lints of every target
  test       unit tests, tests/ and the examples in documentation
  doc        documentation of public and private items
  features   lints of every target with no features, and with gpu, cli, data and train alone
  export     tests of the Python exporter and of tools/bench_peers, in an environment under target/ that it makes and installs PyTorch into

LOOPFM_REQUIRE_GPU=1 makes a missing GPU (or software Vulkan driver) a failure instead of tests skipped aloud.
LOOPFM_PYTHON names a Python with PyTorch and pytest for `export`, which then installs nothing.
tests/README.md lists the other variables.
END
}

check_fmt() { cargo fmt --check; }

check_clippy() { cargo clippy --locked --all-targets -- -D warnings; }

# Not --all-targets: that would leave out the documentation's examples and run the benchmarks.
check_test() { cargo test --locked; }

# Private items too: a link to something renamed is a fault wherever it stands.
check_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items; }

check_features() {
    local set
    for set in "" gpu cli data train; do
        echo "-- features: ${set:-none}"
        cargo clippy --locked --all-targets --no-default-features --features "$set" -- -D warnings
    done
}

check_export() {
    if [ -n "${LOOPFM_PYTHON:-}" ]; then
        PYTHONPATH="$PWD/tools/export/src" "$LOOPFM_PYTHON" -m pytest tools/export tools/bench_peers
        return
    fi
    local env=target/export-env
    [ -x "$env/bin/python" ] || python3 -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check --editable "./tools/export[test]"
    "$env/bin/python" -m pytest tools/export tools/bench_peers
}

run() {
    local start=$SECONDS
    echo "== $1"
    "check_$1"
    echo "== $1: passed in $((SECONDS - start)) s"
}

parts=()
for part in "${@:-all}"; do
    case "$part" in
        all) parts+=(fmt clippy test doc features) ;;
        fmt | clippy | test | doc | features | export) parts+=("$part") ;;
        -h | --help | help) usage; exit 0 ;;
        *) echo "unknown part \`$part\`" >&2; usage >&2; exit 2 ;;
    esac
done
for part in "${parts[@]}"; do run "$part"; done
