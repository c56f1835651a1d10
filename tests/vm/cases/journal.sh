# Output of containers in the journal, with the fields that others know it by, and who may read it.
. /mnt/in/lib.sh

login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
step "a container in the background writes to the journal"
id=$(pybox run -d --name loud --network none --log-driver journald busybox:latest \
  sh -c 'echo to out; echo to err >&2; head -c 70000 /dev/zero | tr "\0" x; echo; trap "exit 0" TERM; while :; do sleep 0.2; done')
of() { journalctl --user -o cat CONTAINER_NAME=loud "$@"; }
awaits 20 eval '[ $(journalctl --user -o cat CONTAINER_NAME=loud | wc -c) -gt 70000 ]'
is "standard output" "to out" "$(of PRIORITY=6 | sed -n 1p)"
awaits 20 eval '[ "$(of PRIORITY=3)" = "to err" ]'
fields=$(journalctl --user -o export CONTAINER_ID_FULL="$id" PRIORITY=3)
for field in "CONTAINER_NAME=loud" "CONTAINER_ID=${id:0:12}" "CONTAINER_TAG=" "SYSLOG_IDENTIFIER="; do has "fields" "$field" "$fields"; done
has "parts of a long line" "CONTAINER_PARTIAL_MESSAGE=true" "$(journalctl --user -o export CONTAINER_NAME=loud | grep -a ^CONTAINER_PARTIAL | sort -u)"

step "exec, while it runs"
is "exec" "from exec" "$(pybox exec loud echo from exec)"
is "exit code of exec" 7 "$(pybox exec loud sh -c 'exit 7' || echo $?)"

step "pybox logs"
has "logs" "to out" "$(pybox logs loud 2>&1)"
pybox stop loud >/dev/null
is "its end" "exited 0" "$(pybox inspect --format '{{.State.Status}} {{.State.ExitCode}}' loud)"
has "logs of one that has ended" "to out" "$(pybox logs loud 2>&1)"
pybox rm loud >/dev/null
USER

step "the journal is restarted while a container writes"
login <<'USER'
pybox run -d --name chatty --network none --log-driver journald busybox:latest sh -c '
  n=0; line() { n=$((n + 1)); echo line $n; }
  until [ -e /quiet ]; do line; sleep 0.01; done
  echo quiet; until [ -e /away ]; do sleep 0.01; done
  for _ in $(seq 20); do line; done
  echo away; until [ -e /back ]; do sleep 0.01; done
  for _ in $(seq 20); do line; done
  echo last $n' >/dev/null
awaits 10 eval '[ $(journalctl --user -o cat CONTAINER_NAME=chatty | wc -l) -gt 20 ]'
USER
for _ in 1 2 3; do
  systemctl restart systemd-journald
  sleep 0.3
done
login <<'USER'
is "what became of the container" running "$(pybox inspect --format '{{.State.Status}}' chatty)"
before=$(journalctl --user -o cat CONTAINER_NAME=chatty | wc -l)
awaits 20 eval "[ \$(journalctl --user -o cat CONTAINER_NAME=chatty | wc -l) -gt $((before + 20)) ]"
pybox exec chatty touch /quiet
# What the kernel has taken and nobody has read would go with the socket.
awaits 10 eval '[ "$(journalctl --user -o cat -n 1 CONTAINER_NAME=chatty)" = quiet ]'
USER
step "and then there is none for a while"
journal="systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service"
systemctl stop $journal
login <<'USER'
pybox exec chatty touch /away
awaits 10 eval 'pybox logs chatty | grep -qx away'
USER
systemctl start $journal
login <<'USER'
pybox exec chatty touch /back
is "its end" 0 "$(pybox wait chatty)"
said=$(pybox logs chatty)
last=$(sed -n 's/^last //p' <<<"$said")
is "whether a line is missing, or there twice" "" "$(diff <(seq -f 'line %g' $last) <(grep ^line <<<"$said") | head -n 5)"
has "what the journal has of it" "last $last" "$(journalctl --user -o cat CONTAINER_NAME=chatty)"
pybox rm chatty >/dev/null
USER

step "another user sees nothing of it"
useradd --create-home other
is "what another user reads" "" "$(runuser -u other -- journalctl -q -o cat CONTAINER_NAME=loud 2>/dev/null || true)"
