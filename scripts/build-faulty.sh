#!/bin/sh
# build-faulty.sh : builds the program with failpoints (see CONTRIBUTING.md), for tests alone; prints its path as the last line.
# Built as a test's program, so that dependencies are those of all debug builds and only our own code is compiled once more.
set -eu
cd "$(dirname "$0")/.."
out=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --features failpoints --test faults >&2
mkdir -p "$out/faulty"
# Without debug information it is a third of the size, and each start copies it into memory.
strip -o "$out/faulty/pybox.new" "$out/debug/pybox"
mv "$out/faulty/pybox.new" "$out/faulty/pybox"
realpath "$out/faulty/pybox"
