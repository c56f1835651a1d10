#!/bin/sh
# prepare-vm.sh : makes what tests/vm needs and keeps it in the cache; prints the program for it, a static one, as the last line.
# The first time it takes minutes: two Debians are made and booted. Tests have a limit on their time, so it is not left to them.
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build vm >&2
if [ "$(uname -m)" = x86_64 ]; then
  # Side by side: half of it is one process that unpacks packages.
  tests/vm/machine.sh warm bookworm >&2 & other=$!
  tests/vm/machine.sh warm trixie >&2 || { kill "$other"; exit 1; }
  wait "$other"
fi
# The tier in namespaces is root's, whose files in the cache have other owners.
if [ "$(id -u)" -eq 0 ]; then tests/vm/image.sh >&2; elif sudo -n true 2>/dev/null; then sudo -n tests/vm/image.sh >&2; fi
realpath "${PYBOX_TEST_BINARY:-$(scripts/build-static.sh | tail -n 1)}"
