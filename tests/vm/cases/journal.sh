# Output of containers in the journal, with the fields that others know it by, and who may read it.
. /mnt/in/lib.sh

login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
step "a container in the background writes to the journal"
id=$(pybox run -d --name loud --network none --log-driver journald busybox:latest \
  sh -c 'echo to out; echo to err >&2; head -c 70000 /dev/zero | tr "\0" x; echo; trap "exit 0" TERM; while :; do sleep 0.2; done')
of() { journalctl --user -o cat CONTAINER_NAME=loud "$@"; }
awaits 20 eval '[ $(journalctl --user -o cat CONTAINER_NAME=loud | wc -c) -gt 70000 ]'
is "standard output" "to out" "$(of PRIORITY=6 | head -n 1)"
is "standard error" "to err" "$(of PRIORITY=3)"
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

step "another user sees nothing of it"
useradd --create-home other
is "what another user reads" "" "$(runuser -u other -- journalctl -q -o cat CONTAINER_NAME=loud 2>/dev/null || true)"
