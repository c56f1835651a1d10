# What must hold on an older Debian too (12: kernel 6.1, systemd 252, passt of 2023).
. /mnt/in/lib.sh

login <<'USER'
step "a container, with a network"
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
is "words" "hello 0" "$(pybox run --rm busybox:latest sh -c 'echo hello $(id -u)')"
has "interfaces" "inet " "$(pybox run --rm busybox:latest ip -4 address show up)"
is "exit code" 9 "$(pybox run --rm --network none busybox:latest sh -c 'exit 9' || echo $?)"

step "one in the background, exec, logs in the journal"
pybox run -d --name back --network none --log-driver journald busybox:latest \
  sh -c 'echo from the back; trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
is "exec" "from exec" "$(pybox exec back echo from exec)"
awaits 20 eval 'journalctl --user -o cat CONTAINER_NAME=back | grep -qx "from the back"'
pybox stop back >/dev/null
is "its end" "exited 0" "$(pybox inspect --format '{{.State.Status}} {{.State.ExitCode}}' back)"
pybox rm back >/dev/null

step "a file as a service"
mkdir -p ~/.config/pybox/units
printf '[Container]\nImage=busybox:latest\nNetwork=none\nStopTimeout=1\nExec=sh -c "echo served; sleep 1000"\n' >~/.config/pybox/units/web.container
systemctl --user daemon-reload
systemctl --user start web
awaits 20 eval 'journalctl --user -u web -o cat | grep -qx served'
systemctl --user stop web
is "containers left" "" "$(pybox ps -a -q)"
USER
