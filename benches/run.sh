#!/bin/sh
# run.sh [startup|memory|pull|lists...] : prepares what the benchmarks need and runs them; PYBOX names the binary.
# Everything is kept under ${PYBOX_BENCH_DIR:-/var/tmp/pybox-bench-own}; README.md says what is measured.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${PYBOX:?the binary to measure}"
place=${PYBOX_BENCH_DIR:-/var/tmp/pybox-bench-own}
mkdir -p "$place"
chmod 755 "$place"

cp "$PYBOX" "$place/pybox.new"
mv "$place/pybox.new" "$place/pybox"
gcc -O2 -static -Wall -o "$place/bare" "$here/bare.c"
if [ ! -d "$place/rootfs" ]; then
  "$here/../scripts/busybox-rootfs.sh" "$place/busybox.tar"
  mkdir -p "$place/rootfs.new/proc" "$place/rootfs.new/dev"
  tar xf "$place/busybox.tar" -C "$place/rootfs.new"
  # Owned by who mounts it: a directory of an unmapped id cannot be mounted upon.
  if [ "$(id -u)" -eq 0 ]; then chown -Rh pyboxtest: "$place/rootfs.new"; fi
  mv "$place/rootfs.new" "$place/rootfs"
fi
case " ${*:-all} " in
  *" pull "* | *" all "*) python3 "$here/images.py" "$place" ;;
esac
exec python3 "$here/measure.py" "$place" "$@"
