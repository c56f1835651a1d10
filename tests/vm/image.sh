#!/usr/bin/env bash
# image.sh [SUITE] : makes the Debian of the virtual machine, or finds it in the cache; prints its directory as the last line.
# In it: `root/` (the tree, for namespaces.sh), `root.img` (the same as a disk), `vmlinuz`, `initrd.img`. Two stages: the packages
# (minutes, kept by the list of them) and what guest/ says (seconds, kept by content). PYBOX_VM_PACKAGES adds packages,
# PYBOX_VM_MIRROR names a mirror other than the one that apt uses here. No rights are needed but a range of ids.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
suite=${1:-trixie}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pybox-tests/vm
user=tester

packages=systemd,systemd-sysv,udev,libpam-systemd,dbus,dbus-user-session,uidmap,passt,iproute2,kmod,login,passwd
packages+=,mount,procps,util-linux,busybox-static${PYBOX_VM_PACKAGES:+,${PYBOX_VM_PACKAGES// /,}}
# Homes by NFS are tried on one of them, and whether its podman reads what we write.
[ "$suite" != trixie ] || packages+=,nfs-kernel-server,podman,docker-registry

# A user makes trees of many owners in a user namespace, whose root is the user.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else unshare --map-root-user --map-auto --mount -- "$@"; fi
}

# The first archive of Debian among those that apt uses here; mmdebstrap's own where apt has no lists of any.
mirror() {
  if [ -n "${PYBOX_VM_MIRROR:-}" ]; then echo "$PYBOX_VM_MIRROR"; return; fi
  local first
  # shellcheck disable=SC2016  # apt's variables
  first=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  echo "${first:-http://deb.debian.org/debian}"
}

# Stage 1: Debian's packages and a kernel, as one archive. The kernel is unpacked only: nothing here boots by its hooks.
packages_to() {
  local partial=${1%.tar}.new.tar
  # shellcheck disable=SC2016  # variables of mmdebstrap's shell
  mmdebstrap --quiet --variant=essential --include="$packages" --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='set -e; cd "$1/tmp"; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
      kernel=$(apt-cache depends "linux-image-cloud-$(dpkg --print-architecture)" | sed -n "s/.*Depends: //p" | head -n 1)
      apt-get download "$kernel"; mkdir ../kernel; dpkg-deb -x "$kernel"_*.deb ../kernel; rm "$kernel"_*.deb' \
    "$suite" "$partial" "$(mirror)" >&2
  mv "$partial" "$1"
}

# Stage 2, as root: the tree, with users, units and settings of guest/.
furnish() {
  local root=$1/root kernel unit
  mkdir -p "$root"
  tar -C "$root" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' -xf "$2"
  # Compressed modules take long to load under emulation.
  cp -a "$root"/kernel/{usr/,}lib/modules "$root/usr/lib/" 2>/dev/null || true
  find "$root/usr/lib/modules" -name '*.ko.xz' -print0 | xargs -0r -n 64 -P "$(nproc)" xz -d
  kernel=$(ls "$root/usr/lib/modules")
  chroot "$root" /sbin/depmod "$kernel"
  cp "$root"/kernel/boot/vmlinuz-* "$1/vmlinuz"
  rm -rf "$root/kernel"

  chroot "$root" /sbin/useradd --create-home --uid 1000 --shell /bin/bash $user
  grep -q "^$user:" "$root/etc/subuid" || echo "$user:100000:65536" | tee -a "$root/etc/subuid" >>"$root/etc/subgid"
  echo pybox-vm >"$root/etc/hostname"
  printf '127.0.0.1 localhost pybox-vm\n::1 localhost\n' >"$root/etc/hosts"
  echo nameserver 10.0.2.3 >"$root/etc/resolv.conf"
  # Neither a first boot nor one after an update.
  echo 70796b6f782d766d70796b6f782d766d >"$root/etc/machine-id"
  touch "$root/etc/.updated" "$root/var/.updated"
  : >"$root/etc/fstab"
  mkdir -p "$root/mnt/in" "$root/mnt/out"
  # Modes are ours: those of a checkout are what the umask of whoever made it has left.
  cp -R --no-preserve=all "$here/guest/files/." "$root/"
  chmod 755 "$root/usr/local/lib/pybox-vm/agent"
  # What packaging/ ships for a machine, a machine gets.
  cp -R --no-preserve=all "$here/../../packaging/user@.service.d" "$root/etc/systemd/system/"
  while read -r unit; do
    case $unit in '' | '#'*) ;; *) ln -sfn /dev/null "$root/etc/systemd/system/$unit" ;; esac
  done <"$here/guest/masked"
  mkdir -p "$root/etc/systemd/system-generators" "$root/etc/systemd/system/multi-user.target.wants"
  for unit in "$root"/usr/lib/systemd/system-generators/*; do
    ln -sfn /dev/null "$root/etc/systemd/system-generators/${unit##*/}"
  done
  for unit in agent network session; do
    ln -sfn "../pybox-vm-$unit.service" "$root/etc/systemd/system/multi-user.target.wants/"
  done
  ln -sfn /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

  # The way from the kernel to the disk: busybox and the modules between.
  local initrd=$1/initrd
  mkdir -p "$initrd"/{bin,dev,new}
  cp "$root/bin/busybox" "$initrd/bin/busybox"
  ln -s busybox "$initrd/bin/sh"
  for unit in virtio_pci virtio_blk ext4; do
    chroot "$root" /sbin/modprobe -S "$kernel" --show-depends "$unit"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$initrd/modules"
  while read -r unit; do cp "$root$unit" "$initrd/"; done <"$initrd/modules"
  install -m 755 "$here/guest/init" "$initrd/init"
  (cd "$initrd" && find . | cpio -o -H newc --quiet --owner=0:0) >"$1/initrd.img"
  rm -rf "$initrd"

  truncate -s 6G "$1/root.img"
  mke2fs -q -t ext4 -O ^metadata_csum -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -m 0 -d "$root" "$1/root.img"
}

if [ "${2:-}" = furnish ]; then furnish "$3" "$4"; exit; fi

mkdir -p "$cache"
exec 9>"$cache/$suite.lock"
flock 9
base=$suite-$({ echo "$packages"; declare -f packages_to; } | sha256sum | cut -c1-12)
key=$base-$({ declare -f furnish; cd "$here"; find guest ../../packaging/user@.service.d -type f -exec sha256sum {} + | sort; } | sha256sum | cut -c1-12)
image=$cache/image-$key
if [ ! -e "$image/complete" ]; then
  started=$SECONDS
  [ -e "$cache/$base.tar" ] || packages_to "$cache/$base.tar"
  # One that was broken off, and those that no checkout has asked for in a week.
  find "$cache" -maxdepth 1 \( -path "$image" -o -name 'image-*' -mtime +7 \) -print0 | while IFS= read -rd '' old; do
    as_root rm -rf "$old"
  done
  mkdir "$image"
  as_root "$here/image.sh" "$suite" furnish "$image" "$cache/$base.tar"
  touch "$image/complete"
  echo "image.sh: $suite made in $((SECONDS - started)) s" >&2
fi
touch "$image"
echo "$image"
