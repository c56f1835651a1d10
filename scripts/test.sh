#!/bin/sh
# test.sh [ARGUMENTS OF THE RUNNER] : installs what the tests need, then runs them (`make test`).
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build test
scripts/test-user.sh
# A run of chosen tests makes no machines for them, and skips those that are in one: `make test-vm` is for these.
if [ $# -eq 0 ] && [ "${PYBOX_TEST_VM:-yes}" != no ]; then
  PYBOX_VM_BINARY=$(scripts/prepare-vm.sh | tail -n 1)
  export PYBOX_VM_BINARY
fi
# Some tests run the program, or themselves, as another user: what is built has to be
# where that user can reach it, wherever this checkout is.
if [ "$(id -u)" -eq 0 ] &&
  ! setpriv --reuid pyboxtest --regid pyboxtest --clear-groups test -r "$PWD/Cargo.toml"; then
  export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-/var/tmp/pybox-target}"
fi
# The shipped program has no failpoints: tests/faults needs one that has.
PYBOX_FAULTY_BINARY=${PYBOX_FAULTY_BINARY:-$(scripts/build-faulty.sh | tail -n 1)}
export PYBOX_FAULTY_BINARY
has_nextest() { cargo nextest --version >/dev/null 2>&1; }
if has_nextest; then
  cargo nextest run --workspace --no-fail-fast "$@"
else
  cargo test --workspace --no-fail-fast "$@"
fi
# What works on the kernel's overlay works on ours. Left out: what hardly touches a container's files, or has no choice.
if [ $# -eq 0 ]; then
  set -- build_python pull push login network networks pasta odd_places one_id storms build_races
  if has_nextest; then
    PYBOX_STORAGE_DRIVER=fuse cargo nextest run --test live --no-fail-fast -E "not test(/^($(echo "$*" | tr ' ' '|'))::/)"
  else
    for module; do set -- "$@" --skip "$module::"; shift; done
    PYBOX_STORAGE_DRIVER=fuse cargo test --test live --no-fail-fast -- "$@"
  fi
  set --
fi
# The front ends that are not shipped go through the same suite; a run of chosen tests is asked for those only.
if [ $# -eq 0 ]; then
  set -- -p pybox-fuse-overlay --features fuser,fuse3 --no-fail-fast
  cargo build -p pybox-fuse-overlay --features fuser,fuse3 --example overlay_run
  if has_nextest; then
    cargo nextest run "$@" -E 'binary(live) + test(on_fuser) + test(on_fuse3)'
  else
    cargo test "$@" --test live
    cargo test "$@" --test suite -- on_fuser on_fuse3
  fi
fi
