#!/bin/sh
# run.sh [BENCHMARK...] : prepares what the benchmarks need and runs those that are named, or all; PYBOX names the binary.
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
[ $# -gt 0 ] || set -- startup memory lists pull exec life scale logs storm netstart netflow nethost netroot netidle build commit push
case " $* " in
  *" pull "* | *" build "* | *" commit "* | *" push "*) python3 "$here/images.py" "$place" ;;
esac
single=''
living=''
networks=''
building=''
machine=''
for benchmark in "$@"; do
  case $benchmark in
    startup | memory | lists | pull) single="$single $benchmark" ;;
    exec | life | scale | logs | storm) living="$living $benchmark" ;;
    netstart | netflow | nethost | netroot | netidle) networks="$networks $benchmark" ;;
    build | commit | push) building="$building $benchmark" ;;
    vm) machine=yes ;;
    *) echo "run.sh: no benchmark is called '$benchmark'" >&2; exit 2 ;;
  esac
done
export PYTHONDONTWRITEBYTECODE=1
# shellcheck disable=SC2086  # lists of words
[ -z "$single" ] || python3 "$here/measure.py" "$place" $single
# shellcheck disable=SC2086
[ -z "$living" ] || python3 "$here/live.py" "$place" $living
# shellcheck disable=SC2086
[ -z "$networks" ] || python3 "$here/networks.py" "$place" $networks
# shellcheck disable=SC2086
[ -z "$building" ] || python3 "$here/builds.py" "$place" $building
[ -z "$machine" ] || "$here/vm.sh" "$place"
