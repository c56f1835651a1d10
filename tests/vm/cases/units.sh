# A file becomes a service: started, seen, spoken with, restarted and stopped by systemd.
. /mnt/in/lib.sh

login <<'USER'
step "files become units"
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
mkdir -p ~/.config/pybox/units
cat >~/.config/pybox/units/web.container <<'FILE'
[Unit]
Description=A web of words

[Container]
Image=busybox:latest
Volume=data.volume:/data
Environment="WHAT=two words"
Network=none
Exec=sh -c "trap 'echo bye; exit 0' TERM; echo $$WHAT from inside; echo up >/data/up; while :; do sleep 0.2; done"

[Service]
Restart=on-failure
RestartSec=1

[Install]
WantedBy=default.target
FILE
printf '[Volume]\n' >~/.config/pybox/units/data.volume
systemctl --user daemon-reload
is "the unit's source" generated "$(systemctl --user is-enabled web)"
is "what is wrong with the unit" "" "$(systemd-analyze --user --generators=yes verify web.service 2>&1 | grep web || true)"

step "a start returns when the container runs"
systemctl --user start web
if [ "$(systemctl --user show -P Type web)" != notify ]; then awaits 20 eval '[ -n "$(pybox ps -q)" ]'; fi
is active active "$(systemctl --user is-active web)"
is "name and state" "systemd-web running" "$(pybox ps --format '{{.Names}} {{.State}}')"
awaits 20 pybox exec systemd-web test -e /data/up
awaits 10 eval "journalctl --user -u web -o cat | grep -qx 'two words from inside'"

step "all its processes are in the unit's cgroup"
group=$(systemctl --user show -P ControlGroup web)
pid=$(pybox inspect --format '{{.State.Pid}}' systemd-web)
has "cgroup of the container" "$group" "$(grep ^0:: /proc/$pid/cgroup)"
has "cgroup of the monitor" "$group" "$(grep ^0:: /proc/$(awk '/^PPid/ { print $2 }' /proc/$pid/status)/cgroup)"

step "killed, it is made again"
pybox kill systemd-web >/dev/null
made_again web systemd-web $pid
is "how it stands" active "$(systemctl --user is-active web)"
is "restarts" 1 "$(systemctl --user show -P NRestarts web)"

step "a stop is the container's own end"
systemctl --user stop web
is "the unit's end" "success inactive" "$(systemctl --user show -P Result web) $(systemctl --user is-active web || true)"
is "containers left" "" "$(pybox ps -a -q)"
is "processes left" "" "$(pgrep -u tester -l pybox || true)"
journal_has web $'\nbye\n'

step "the volume's unit made the volume, and it stays"
is "volumes" systemd-data "$(pybox volume ls -q)"

step "a container that cannot start is a unit that failed, and says why"
printf '[Container]\nImage=localhost/absent:latest\nPull=never\n' >~/.config/pybox/units/broken.container
systemctl --user daemon-reload
systemctl --user start broken || true
awaits 10 systemctl --user is-failed broken
journal_has broken "localhost/absent:latest"

step "templates, and units of existing containers"
printf '[Container]\nImage=busybox:latest\nNetwork=none\nExec=echo I am %%i\n[Service]\nType=oneshot\n' >~/.config/pybox/units/say@.container
systemctl --user daemon-reload
systemctl --user start say@one
journal_has say@one "I am one"
pybox create --name old --stop-timeout 1 --network none busybox:latest sh -c 'echo once more; sleep 1000' >/dev/null
mkdir -p ~/.config/systemd/user
pybox generate systemd old >~/.config/systemd/user/old.service
systemctl --user daemon-reload
systemctl --user start old
awaits 20 eval "journalctl --user -u old -o cat | grep -qx 'once more'"
systemctl --user stop old
is "how it stands" exited "$(pybox inspect --format '{{.State.Status}}' old)"
USER
