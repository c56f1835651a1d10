#!/bin/sh
# busybox-rootfs.sh FILE.tar : a root file system of busybox alone, as a tar archive.
set -eu
output=$1
busybox=$(command -v busybox)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/bin" "$tree/etc" "$tree/root" "$tree/tmp"
chmod 1777 "$tree/tmp"
cp "$busybox" "$tree/bin/busybox"
"$busybox" --list | while read -r applet; do [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
echo 'root:x:0:' >"$tree/etc/group"
printf 'NAME=busybox\nPRETTY_NAME="busybox, and nothing else"\n' >"$tree/etc/os-release"
tar --create --file "$output" --directory "$tree" --owner 0 --group 0 --numeric-owner --sort name .
