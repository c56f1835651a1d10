#!/bin/sh
# install-packages.sh SET... : installs the Debian packages of each set that are missing.
# Sets: build (compile), run (containers), test (fixtures and judges), vm (virtual machines), fuzz, lint, bench.
set -eu

packages() {
  case $1 in
    build) echo "gcc libc6-dev make libseccomp-dev" ;;
    run) echo "uidmap passt busybox-static tar" ;;
    test) echo "openssh-client podman uidmap passt slirp4netns iproute2 busybox-static skopeo umoci crun mmdebstrap zstd tar curl attr libcap2-bin bubblewrap util-linux procps perl-base stress-ng fio bindfs fuse3 e2fsprogs" ;;
    vm) echo "qemu-system-x86 mmdebstrap uidmap cpio e2fsprogs xz-utils iproute2 busybox-static util-linux" ;;
    fuzz) echo "g++" ;;
    lint) echo "shellcheck" ;;
    bench) echo "iperf3 iproute2 passt uidmap busybox-static skopeo mmdebstrap curl tar zstd python3 gcc libc6-dev bubblewrap crun" ;;
    *) echo "install-packages.sh: no set is called '$1'" >&2; exit 2 ;;
  esac
}

missing=
for set in "$@"; do
  for package in $(packages "$set"); do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
  done
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install as root:$missing" >&2; exit 1; }
  as_root=sudo
fi
echo "installing:$missing"
install() {
  # shellcheck disable=SC2086  # a list of words
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}
# The lists of a long-lived machine may be there and stale, those of a fresh one absent.
install >/dev/null 2>&1 || { $as_root apt-get update -q && install; }
