#!/bin/sh
# run.sh : from a fresh Debian with Rust to a container run by an unprivileged user (`make run`).
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build run
binary=$(scripts/build-static.sh | tail -n 1)
scripts/test-user.sh

# The checkout may lie where another user cannot look: binary and image go to a place of their own.
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
cp "$binary" "$place/pybox"
scripts/busybox-rootfs.sh "$place/busybox.tar"
chmod 644 "$place/busybox.tar"

as_user=
if [ "$(id -u)" -eq 0 ]; then
  as_user="setpriv --reuid pyboxtest --regid pyboxtest --init-groups --reset-env --"
fi
# shellcheck disable=SC2086  # a prefix of words
pybox() { $as_user "$place/pybox" "$@"; }

cd /
pybox import "$place/busybox.tar" busybox:latest
echo "+ pybox run --rm busybox:latest sh -c 'id; cat /etc/os-release'"
pybox run --rm busybox:latest sh -c 'id; cat /etc/os-release'
