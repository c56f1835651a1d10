#!/bin/sh
# bench.sh [BENCHMARK...] : builds the static binary and runs the paired benchmarks (`make bench`; see benches/README.md).
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build run bench
case " $* " in *" vm "*) scripts/install-packages.sh vm ;; esac
scripts/test-user.sh
binary=$(scripts/build-static.sh | tail -n 1)
PYBOX=$(realpath "$binary") exec benches/run.sh "$@"
