#!/bin/sh
# test.sh [ARGUMENTS OF THE RUNNER] : installs what the tests need, then runs them (`make test`).
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build test
scripts/test-user.sh
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --no-fail-fast "$@"
else
  cargo test --workspace --no-fail-fast "$@"
fi
