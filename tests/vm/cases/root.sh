# The machine's own containers: units of the system manager, and cgroups of root's pybox.
. /mnt/in/lib.sh

step "a file of the administrator is a service of the machine"
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
mkdir -p /etc/pybox/units
cat >/etc/pybox/units/web.container <<'FILE'
[Container]
Image=busybox:latest
Network=none
Exec=sh -c "trap 'exit 0' TERM; echo of the machine; while :; do sleep 0.2; done"
FILE
systemctl daemon-reload
systemctl start web
awaits 30 eval '[ "$(pybox ps --format "{{.Names}}")" = systemd-web ]'
awaits 10 eval 'journalctl -u web -o cat | grep -qx "of the machine"'
pid=$(pybox inspect --format '{{.State.Pid}}' systemd-web)
has "its cgroup" /system.slice/web.service "$(grep ^0:: "/proc/$pid/cgroup")"
systemctl stop web
is "the unit's end" "success inactive" "$(systemctl show -P Result web) $(systemctl is-active web || true)"
is "containers left" "" "$(pybox ps -a -q)"

step "a user's file of the administrator is the user's service"
mkdir -p /etc/pybox/units/users/1000
printf '[Container]\nImage=busybox:latest\nNetwork=none\nExec=echo given\n[Service]\nType=oneshot\n' >/etc/pybox/units/users/1000/given.container
login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
systemctl --user daemon-reload
systemctl --user start given
journal_has given given
USER

step "what a monitor that was killed has left, the next command removes; what is nobody's, a prune"
export PYBOX_CGROUP_ROOT=/boxes
id=$(pybox run -d --name lost --network none busybox:latest sleep 1000)
group=/sys/fs/cgroup/boxes/$id
has "its cgroup" "/boxes/$id" "$(cat "/proc/$(pybox inspect --format '{{.State.Pid}}' lost)/cgroup")"
kill -9 "$(awk '/^PPid/ { print $2 }' "/proc/$(pybox inspect --format '{{.State.Pid}}' lost)/status")"
# Who is killed is gone a moment later.
awaits 10 eval '[ "$(pybox inspect --format "{{.State.Status}}" lost)" = exited ]'
is "what became of it" 137 "$(pybox inspect --format '{{.State.ExitCode}}' lost)"
test ! -e "$group"
pybox start lost >/dev/null
left=/sys/fs/cgroup/boxes/$(printf '%064d' 7)
mkdir "$left"
pybox system prune --force >/dev/null
test ! -e "$left"
is "one that runs" "running 1" "$(pybox inspect --format '{{.State.Status}}' lost) $(wc -l <"$group/cgroup.procs")"
pybox rm --force lost >/dev/null
test ! -e "$group"
