#!/bin/sh
# test-vm.sh [ARGUMENTS OF THE RUNNER] : the tests on a real systemd alone (`make test-vm`).
set -eu
cd "$(dirname "$0")/.."
PYBOX_VM_BINARY=$(scripts/prepare-vm.sh | tail -n 1)
export PYBOX_VM_BINARY
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --test vm --no-fail-fast "$@"
else
  cargo test --test vm --no-fail-fast "$@"
fi
