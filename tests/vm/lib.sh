# What every case begins with: pybox installed as a package would, and words for checks. Read by bash, in the guest, as root and as the user.
# shellcheck shell=bash
set -Eeuo pipefail
# The first that fails says so, and what the journal knows.
trap 'failed "$LINENO ${BASH_LINENO[*]}"' ERR
failed() {
  trap - ERR
  echo "FAILED, in lines $1"
  [ "$(id -u)" = 0 ] || { echo "the journal's last words:"; journalctl -q -b -n 40 --no-pager -o short-monotonic; }
}
export LC_ALL=C.UTF-8 SYSTEMD_COLORS=0

# step WORDS : says what comes, with the time since the last one.
step() { echo "== $* ($((SECONDS - ${stepped:-0})) s)"; stepped=$SECONDS; }

# is WHAT EXPECTED ACTUAL
is() {
  [ "$2" = "$3" ] && return
  printf '%s\n  expected: %s\n  but it is: %s\n' "$1" "$2" "$3"
  return 1
}

# has WHAT PART TEXT
has() {
  [[ $3 == *"$2"* ]] && return
  printf '%s\n  lacks: %s\n  it is: %s\n' "$1" "$2" "$3"
  return 1
}

# journal_has UNIT PART : in what the journal has of a user's unit, which is a moment behind those who write to it.
journal_has() {
  local until=$((SECONDS + 20)) text
  until text=$(journalctl -q --user -u "$1" -o cat) && [[ $text == *"$2"* ]]; do
    [ $SECONDS -lt $until ] || has "the journal of $1" "$2" "$text"
    sleep 0.2
  done
}

# awaits SECONDS COMMAND... : until the command succeeds.
awaits() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { echo "did not come to be: $*"; return 1; }
    sleep 0.2
  done
}

# made_again UNIT CONTAINER PID : of a user's unit whose process PID was killed, the next container comes up.
made_again() {
  local new
  # The count is systemd's word that it has noticed: until then the unit counts as active.
  awaits 20 eval "[ \$(systemctl --user show -P NRestarts $1) = 1 ] && systemctl --user is-active $1"
  new=$(pybox inspect --format '{{.State.Pid}}' "$2")
  [ "$new" != 0 ]
  [ "$new" != "$3" ]
}

# login : runs the script of standard input as the user, in a session of its own; variables are the script's own.
login() {
  local script
  # By a file: words of its own command systemd-run would read variables in.
  script=$(mktemp /tmp/login.XXXXXX)
  { echo '. /mnt/in/lib.sh'; cat; } >"$script"
  chmod 644 "$script"
  systemd-run --quiet --pipe --wait --collect -p User=tester -p PAMName=login -p 'WorkingDirectory=~' -E XDG_SESSION_CLASS=user \
    -E XDG_SESSION_TYPE=tty -E BOOT="$BOOT" /bin/bash -l "$script" </dev/null
}

# reboot_by COMMAND : the case is started again in the next boot, with BOOT one higher. Never returns.
reboot_by() {
  echo "$*" >/run/pybox-vm.reboot
  exit 0
}

if [ "$(id -u)" -eq 0 ] && [ ! -e /usr/bin/pybox ]; then
  install -m 755 /mnt/in/pybox /usr/bin/pybox
  for kind in user system; do
    mkdir -p /usr/lib/systemd/$kind-generators
    install -m 755 /mnt/in/pybox-generator /usr/lib/systemd/$kind-generators/pybox-generator
  done
  install -m 644 /mnt/in/units/* /usr/lib/systemd/user/
  install -m 644 /mnt/in/tmpfiles.d/* /usr/lib/tmpfiles.d/
  systemd-tmpfiles --create pybox.conf
fi
