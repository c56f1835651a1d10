#!/usr/bin/env bash
# machine.sh : a Debian in a virtual machine, which is thrown away after each use.
#
#   machine.sh warm [SUITE]             boots once, up to a user who is logged in, and keeps that state (made anew if anything changed)
#   machine.sh run [-s SUITE] [-t SECONDS] [-o DIRECTORY] [-r] SHARE
#                                       starts from the state and runs SHARE/run there as root; output and exit code are the script's.
#                                       -o: what it leaves in /mnt/out. -r: it reboots. 124: it took too long; 125: the machine failed.
#
# SHARE is /mnt/in of the guest, a copy. Needs QEMU and e2fsprogs, neither rights nor KVM. PYBOX_VM_ACCEL, PYBOX_VM_MEMORY (MiB) and
# PYBOX_VM_APPEND (words for the kernel, such as `systemd.log_level=debug`) are for whoever looks for a fault.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pybox-tests/vm
memory=${PYBOX_VM_MEMORY:-2048}
# no_timer_check: on a busy host the test of a timer that is not there in time ends a boot.
kernel_words="console=ttyS0 quiet panic=0 no_timer_check mitigations=off lsm=landlock audit=0 net.ifnames=0 systemd.show_status=0"
kernel_words+=" systemd.log_level=warning tsc=reliable ${PYBOX_VM_APPEND:-}"
share_size=1G # of the second disk; sparse, and the same in the warm state

fail() { echo "machine.sh: $*" >&2; exit 125; }

# kvm where a guest of this image comes up with it, else tcg. That /dev/kvm is there says little: in a machine that is virtual
# itself it may open and then not run anything.
accelerator() {
  local known
  if [ -n "${PYBOX_VM_ACCEL:-}" ]; then echo "$PYBOX_VM_ACCEL"; return; fi
  known=$image/accelerator-$(uname -r)
  if [ ! -e "$known" ]; then
    echo tcg >"$known"
    if [ -w /dev/kvm ] && timeout -k 1 20 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -accel kvm -cpu host \
      -m 512 -kernel "$image/vmlinuz" -append "console=ttyS0 panic=-1" -serial stdio </dev/null 2>/dev/null |
      grep -q 'Unable to mount root fs'; then
      echo kvm >"$known"
    fi
  fi
  cat "$known"
}

# start DISK KEPT [ARGUMENTS OF QEMU]: the machine, as $machine; with `off` what it writes to DISK stays there.
start() {
  local disk=$1 thrown=$2 cpu=host accel=kvm
  shift 2
  if [ "$(accelerator)" != kvm ]; then
    # With erms and fsrm, copies are a loop of single bytes under emulation; the others only cost time there.
    cpu=max,-erms,-fsrm,-la57,-smap,-smep accel=tcg,thread=multi
  fi
  rm -f "$place"/{control,monitor}.{in,out}
  mkfifo "$place"/{control,monitor}.{in,out}
  exec 5<>"$place/control.in" 6<>"$place/control.out" 7<>"$place/monitor.out"
  TMPDIR=$place qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -machine q35,hpet=off -accel $accel -cpu $cpu -smp 2 \
    -m "$memory" -kernel "$image/vmlinuz" -initrd "$image/initrd.img" -append "$kernel_words" \
    -drive "file=$disk,format=raw,if=none,id=root,snapshot=$thrown,cache=unsafe" -device virtio-blk-pci,drive=root \
    -drive "file=$place/share.img,format=raw,if=none,id=share,snapshot=on" -device virtio-blk-pci,drive=share \
    -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
    -chardev "file,id=console,path=$place/console" -serial chardev:console -device virtio-serial-pci \
    -chardev "file,id=log,path=/proc/self/fd/4,append=on" -device virtserialport,chardev=log,nr=1 \
    -chardev "pipe,id=control,path=$place/control" -device virtserialport,chardev=control,nr=2 \
    -chardev "file,id=left,path=$place/left.tar" -device virtserialport,chardev=left,nr=3 \
    -chardev "pipe,id=monitor,path=$place/monitor" -mon chardev=monitor -global migration.store-global-state=off \
    "$@" </dev/null >"$place/qemu.log" 2>&1 5<&- 6<&- 7<&- &
  machine=$!
}

# hears WORD... : the next word of the agent, as $heard, with what follows it as $rest; it must be one of these. 1 at the end of time.
hears() {
  until read -r -t 1 heard rest <&6; do
    kill -0 "$machine" 2>/dev/null || { cat "$place/qemu.log" "$place/console" >&2; fail "the machine has gone"; }
    if grep -qsE "(kernel BUG|Kernel panic)" "$place/console"; then cat "$place/console" >&2; fail "the kernel of the machine has failed"; fi
    [ $SECONDS -lt "$deadline" ] || return 1
  done
  case " $* " in *" $heard "*) ;; *) tail -n 30 "$place/console" >&2; fail "the machine said '$heard' instead of: $*" ;; esac
}

finish() {
  if [ -n "${machine:-}" ]; then { kill -KILL "$machine" && wait "$machine"; } 2>/dev/null || true; fi
  rm -rf "$place"
}

prepare() {
  image=$("$here/image.sh" "$suite" | tail -n 1)
  local key
  key=$({ accelerator; echo "$memory $kernel_words $share_size"; declare -f start; qemu-system-x86_64 --version; } | sha256sum | cut -c1-12)
  warm=$image/warm-$key
  place=$(mktemp -d "$cache/run.XXXXXX")
  trap finish EXIT
  trap 'exit 130' INT TERM
}

# Boots up to the agent who waits, and saves memory and disk.
warm() {
  exec 8>"$image/warm.lock"
  flock 8
  [ ! -e "$warm/complete" ] || return 0
  local started=$SECONDS line
  rm -rf "$image"/warm-*
  mkdir "$warm"
  truncate -s $share_size "$place/share.img"
  cp --sparse=always --reflink=auto "$image/root.img" "$warm/root.img"
  exec 4>/dev/null
  deadline=$((SECONDS + 900))
  start "$warm/root.img" off
  hears ready || { cat "$place/console" >&2; fail "nothing has come up within 900 s"; }
  sleep 3 # what starts beside it ends
  # Stopped first: what an emulated processor writes to memory while it is being saved may be lost. That it was stopped is
  # no part of the state (`store-global-state`).
  echo stop >"$place/monitor.in"
  echo "migrate \"exec:cat >'$warm/state'\"" >"$place/monitor.in"
  until echo "info migrate" >"$place/monitor.in" && read -r -t 1 line <&7 && [[ $line == *"status: completed"* ]]; do
    [[ ${line:-} != *"status: failed"* ]] || fail "$line"
    [ $SECONDS -lt $deadline ] || fail "saving the state takes too long"
  done
  echo quit >"$place/monitor.in"
  wait "$machine" || true
  machine=
  touch "$warm/complete"
  echo "machine.sh: $suite booted with $(accelerator), state saved ($(du -sh "$warm" | cut -f 1)) in $((SECONDS - started)) s" >&2
  flock -u 8
}

run() {
  local share=$1 code=124
  rm -f "$place/share.img"
  truncate -s $share_size "$place/share.img"
  mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E lazy_itable_init=1,nodiscard,root_owner=0:0 -m 0 -d "$share" "$place/share.img"
  exec 4> >(cat)
  local relay=$!
  deadline=$((SECONDS + limit))
  local disk=$warm/root.img thrown=on
  if [ -n "$reboots" ]; then
    disk=$place/root.img thrown=off
    cp --sparse=always --reflink=auto "$warm/root.img" "$disk"
  fi
  # The agent's first `ready` was said before the state was saved.
  start "$disk" $thrown -incoming "exec:cat '$warm/state'"
  while date +%s.%N >&5; do
    hears exit reboot || { tail -n 30 "$place/console" >&2; echo "machine.sh: the limit of $limit s is over" >&2; break; }
    if [ "$heard" = exit ]; then code=$rest; break; fi
    [ -n "$reboots" ] || fail "only with -r is there something to boot from again"
    # Another machine with the same disk: one that was restored does not always come up from a reset.
    while kill -0 "$machine" 2>/dev/null && [ $SECONDS -lt $deadline ]; do sleep 0.2; done
    { kill -KILL "$machine" && wait "$machine"; } 2>/dev/null || true
    start "$disk" off
    hears ready || { tail -n 30 "$place/console" >&2; echo "machine.sh: not up again when the limit of $limit s was over" >&2; break; }
  done
  { kill -KILL "$machine" && wait "$machine"; } 2>/dev/null || true
  machine=
  exec 4>&-
  wait $relay
  if [ -n "$left" ] && [ -s "$place/left.tar" ]; then mkdir -p "$left" && tar -C "$left" --no-same-owner -xf "$place/left.tar"; fi
  exit "$code"
}

verb=${1:-}
shift || true
suite=trixie limit=500 left='' reboots=''
case $verb in
  warm) suite=${1:-trixie}; prepare; warm ;;
  run)
    while getopts s:t:o:r option; do
      case $option in s) suite=$OPTARG ;; t) limit=$OPTARG ;; o) left=$OPTARG ;; r) reboots=1 ;; *) exit 2 ;; esac
    done
    shift $((OPTIND - 1))
    prepare; warm; run "${1:?the directory to share}"
    ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
