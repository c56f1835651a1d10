#!/usr/bin/env bash
# vm.sh PLACE : what needs a real systemd, in the virtual machine of tests/vm, paired with podman in the same machine: `run --rm` with a
# limit of memory, so with a scope of the user's manager. Where the machine is emulated, a process takes forty times as long to start
# as here: ratios are what counts. N sets the number of turns.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
place=$1
share=$(mktemp -d "$place/vm.XXXXXX")
trap 'rm -rf "$share"' EXIT
cp "$place/pybox" "$share/pybox"
cp "$(dirname "${PYBOX:?the binary to measure}")/pybox-generator" "$share/pybox-generator"
cp -R "$here/../tests/vm/lib.sh" "$here/../systemd/units" "$here/../packaging/tmpfiles.d" "$share/"
"$here/../scripts/busybox-rootfs.sh" "$share/busybox.tar"
echo "${N:-10}" >"$share/turns"
cat >"$share/run" <<'RUN'
. /mnt/in/lib.sh
login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
podman import -q /mnt/in/busybox.tar busybox:latest >/dev/null
# took COMMAND... : microseconds.
took() { local begun=${EPOCHREALTIME/./}; "$@" >/dev/null; echo $((${EPOCHREALTIME/./} - begun)); }
measure() {
  local title=$1 turn ours theirs; shift
  for turn in $(seq 0 $(cat /mnt/in/turns)); do
    ours=$(took pybox run --rm --network none "$@" busybox:latest true)
    theirs=$(took podman run --rm --network none "$@" localhost/busybox:latest true)
    [ $turn = 0 ] || echo "$ours $theirs"   # turn 0 warms up
  done | awk -v title="$title" '
    function median(list, n,  i, j, t) {
      for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (list[j] < list[i]) { t = list[i]; list[i] = list[j]; list[j] = t }
      return (list[int((n + 1) / 2)] + list[int(n / 2) + 1]) / 2
    }
    { ours[NR] = $1 / 1000; theirs[NR] = $2 / 1000; ratio[NR] = $1 / $2 }
    END { printf "%-28s pybox %.0f ms, podman %.0f ms, ratio %.2f (n=%d)\n", title, median(ours, NR), median(theirs, NR), median(ratio, NR), NR }'
}
measure "run --rm"
measure "run --rm --memory 64m" --memory 64m
# What is left to be waited for of the scope when all else of a start is done.
for _ in $(seq $(cat /mnt/in/turns)); do
  pybox --log-level debug run --rm --network none --memory 64m busybox:latest true 2>&1 | sed -n 's/.*waited \([0-9]*\) µs for systemd.*/\1/p'
done | sort -n | awk '{ all[NR] = $1 } END { printf "waited for the scope: median %.1f ms (n=%d)\n", all[int((NR + 1) / 2)] / 1000, NR }'
USER
RUN
PYBOX_VM_PACKAGES="podman crun netavark aardvark-dns fuse-overlayfs ca-certificates" "$here/../tests/vm/machine.sh" run -t 3000 "$share"
