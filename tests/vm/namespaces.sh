#!/usr/bin/env bash
# namespaces.sh [-s SUITE] [-t SECONDS] [-o DIRECTORY] SHARE : the Debian of machine.sh without a machine: systemd as the first process
# of namespaces of this kernel, as quick as the host. Bus, units, generators, logins and journal are real; controllers of cgroups are
# those that the host's cgroup2 has left. Runs SHARE/run there as root; output and exit code are the script's. Needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pybox-tests/vm

# Inside: the tree, with what is written to it in memory, becomes the root.
if [ "${1:-}" = inside ]; then
  place=$2 tree=$3
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs "$place/memory"
  mkdir "$place"/memory/{upper,work,root}
  root=$place/memory/root
  mount -t overlay -o "lowerdir=$tree,upperdir=$place/memory/upper,workdir=$place/memory/work" overlay "$root"
  # Containers are kept on a file system that can be the upper one of an overlay, as on any machine.
  cp -a "$tree/home" "$place/memory/home"
  mount --bind "$place/memory/home" "$root/home"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
  mkdir "$root"/dev/{pts,shm,net}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for name in null zero full random urandom tty fuse net/tun; do
    [ -e "/dev/$name" ] || continue
    mknod -m 666 "$root/dev/$name" c $((0x$(stat -c %t "/dev/$name"))) $((0x$(stat -c %T "/dev/$name")))
  done
  mount --bind -o ro "$place/share" "$root/mnt/in"
  mount --bind "$place/left" "$root/mnt/out"
  hostname pybox-vm
  ip link set lo up
  # A network that leads nowhere, where this kernel has one: containers find an interface that is up.
  if ip link add eth0 type dummy 2>/dev/null; then
    ip address add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
  fi
  cd "$root"
  mkdir -p mnt/old
  pivot_root . mnt/old
  # The shell is of the tree now, the host's mounts go when it lets go of them.
  exec chroot . /bin/sh -c 'umount -l /mnt/old; exec env -i container=pybox-vm PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --show-status=no --log-target=journal' </dev/null >"/mnt/out/console" 2>&1
fi

suite=trixie limit=120 left=
while getopts s:t:o: option; do
  case $option in s) suite=$OPTARG ;; t) limit=$OPTARG ;; o) left=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
image=$("$here/image.sh" "$suite" | tail -n 1)
place=$(mktemp -d "$cache/run.XXXXXX")
group=
# A cgroup of its own, where this machine has a cgroup2 that is mounted and can be written.
if mounted=$(findmnt -n -t cgroup2 -o TARGET | head -n 1) && [ -n "$mounted" ]; then
  group=$mounted/pybox-vm-$$
  mkdir "$group" 2>/dev/null || group=
fi
# shellcheck disable=SC2317  # by the trap
finish() {
  if [ -n "$group" ]; then
    echo 1 >"$group/cgroup.kill" 2>/dev/null || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
  fi
  rm -rf "$place"
}
trap finish EXIT
trap 'exit 130' INT TERM
mkdir "$place"/{memory,left}
cp -aL "$1" "$place/share"
chown -R 0:0 "$place/share"
touch "$place/left/namespaces"
code=0
(
  if [ -n "$group" ]; then echo 0 >"$group/cgroup.procs"; fi
  exec timeout -k 5 "$limit" unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net "$here/namespaces.sh" inside "$place" "$image/root"
) </dev/null || code=$?
cat "$place/left/log" 2>/dev/null || true
if [ -e "$place/left/exit" ]; then code=$(cat "$place/left/exit"); elif [ $code -ne 124 ]; then cat "$place/left/console" >&2; code=125; fi
rm -f "$place"/left/{log,exit,console,namespaces}
if [ -n "$left" ]; then mkdir -p "$left" && cp -a "$place/left/." "$left/"; fi
exit "$code"
