# What a service is to systemd: who tells that it is up, what its process is, what starts it again; and units that others write.
. /mnt/in/lib.sh

login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
mkdir -p ~/.config/pybox/units ~/.config/systemd/user ~/gate
of() { systemctl --user show -P "$1" "$2"; }
pid_of() { pybox inspect --format '{{.State.Pid}}' "$1"; }
ends_well() {
  systemctl --user stop $1
  is "the end of $1" "success inactive" "$(of Result $1) $(systemctl --user is-active $1 || true)"
  is "containers left by $1" "" "$(pybox ps -a -q)"
  awaits 10 eval '! pgrep -u tester pybox'
}
waits='trap \"exit 0\" TERM; while :; do sleep 0.2; done'

step "a container that says itself when it is up"
# By the Debian's own systemd-notify, which the image does not have.
loader=$(find /usr/lib64 /usr/lib -maxdepth 1 -name 'ld-linux*.so.*' 2>/dev/null | head -n 1 || true)
libraries=$(echo /usr/lib/*-linux-gnu | sed 's/^.usr/\/host/')
says="/host${loader#/usr} --library-path $libraries:$libraries/systemd /host/bin/systemd-notify --ready"
cat >~/.config/pybox/units/told.container <<FILE
[Container]
Image=busybox:latest
Network=none
Notify=yes
Volume=/usr:/host:ro
Volume=%h/gate:/gate
Exec=sh -c "until [ -e /gate/open ]; do sleep 0.1; done; $says; $waits"
[Service]
Restart=on-failure
RestartSec=0
FILE
systemctl --user daemon-reload
systemctl --user start --no-block told
awaits 20 pybox exec systemd-told true
is "before it has said so" activating "$(systemctl --user is-active told || true)"
touch ~/gate/open
awaits 20 systemctl --user is-active told

step "one tree"
shown=$(systemctl --user status told)
for part in "pybox run" "__monitor" "sh -c"; do has "what status shows" "$part" "${shown#*CGroup:}"; done
is "cgroup of the main process" "$(of ControlGroup told)" "$(sed -n 's|^0::||p' /proc/$(of MainPID told)/cgroup | sed 's|/supervisor$||')"

step "its process is killed: systemd starts the service again"
pid=$(pid_of systemd-told)
kill -9 $pid
made_again told systemd-told $pid
ends_well told

step "a unit that generate has written"
pybox create --name made --stop-timeout 2 --network none busybox:latest sh -c 'echo it is made; trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
pybox generate systemd --new --restart-policy on-failure --restart-sec 0 made >~/.config/systemd/user/made.service
pybox rm made >/dev/null
systemctl --user daemon-reload
systemctl --user start made
is "how it stands" "active running" "$(systemctl --user is-active made) $(pybox ps --format '{{.State}}')"
pid=$(pid_of made)
kill -9 $pid
made_again made made $pid
awaits 10 eval "[ \$(journalctl --user -u made -o cat | grep -c 'it is made') = 2 ]"
ends_well made

# unit NAME LINES : a unit as somebody else might write it, without Delegate=.
unit() { printf '[Service]\n%s\n' "$2" >~/.config/systemd/user/$1.service; systemctl --user daemon-reload; }
run="/usr/bin/pybox run --rm --network none"
step "without a cgroup of its own, a container stays in that of the service which it speaks for"
unit front "Type=notify
NotifyAccess=all
ExecStart=$run --name front --sdnotify=conmon busybox:latest sh -c \"$waits\""
systemctl --user start front
has "its cgroup" "$(of ControlGroup front)" "$(cat /proc/$(pid_of front)/cgroup)"
ends_well front

step "in the background, its monitor is the service's process"
unit back "Type=notify
NotifyAccess=all
ExecStart=$run -d --name back --sdnotify=conmon busybox:latest sh -c \"$waits\""
systemctl --user start back
is "the main process" pybox-monitor "$(cat /proc/$(of MainPID back)/comm)"
has "the container's cgroup" "$(of ControlGroup back)" "$(cat /proc/$(pid_of back)/cgroup)"
ends_well back

step "one that would be held to something says what is missing"
unit held "Type=notify
NotifyAccess=all
ExecStart=$run -d --name held --sdnotify=conmon -m 64m busybox:latest true"
systemctl --user start held 2>/dev/null && exit 1
journal_has held "cannot hold --memory: held.service keeps its cgroup to itself"
journal_has held "Delegate=yes in [Service] of held.service"

step "one that nobody speaks for says so"
unit mute "Type=notify
NotifyAccess=all
TimeoutStartSec=2
ExecStart=$run --name mute busybox:latest sh -c \"$waits\""
systemctl --user start mute 2>/dev/null && exit 1
journal_has mute "--sdnotify monitor"
is "containers left" "" "$(pybox ps -a -q)"

step "a service that only starts it and stops it: the container has a scope"
unit once "Type=oneshot
RemainAfterExit=yes
ExecStart=$run -d --name once busybox:latest sh -c \"$waits\"
ExecStop=/usr/bin/pybox stop once"
systemctl --user start once
has "its cgroup" /pybox-$(pybox ps -q --no-trunc).scope/ "$(cat /proc/$(pid_of once)/cgroup)"
ends_well once
awaits 10 eval '[ -z "$(systemctl --user list-units --all --no-legend --plain "pybox-*.scope")" ]'

step "all of it is killed: the scope goes, and the next command knows"
pybox run -d --name killed --network none busybox:latest sh -c 'while :; do sleep 0.2; done' >/dev/null
systemctl --user kill --signal KILL "pybox-$(pybox ps -q --no-trunc).scope"
awaits 10 eval '[ -z "$(systemctl --user list-units --all --no-legend --plain "pybox-*.scope")" ]'
is "what became of it" "exited 137" "$(pybox inspect --format '{{.State.Status}} {{.State.ExitCode}}' killed)"
pybox rm killed >/dev/null

step "below a cgroup of its own, too"
systemd-run --user --quiet --pipe --wait --collect -p Delegate=yes bash -e <<'INNER'
pybox run -d --name given --network none busybox:latest sleep 1000 >/dev/null
group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$(pybox inspect --format '{{.State.Pid}}' given)/cgroup)
[[ $group == */run-*.service/pybox-* ]]
kill -9 $(cat ${group%/*}/supervisor/cgroup.procs | grep -vx $$ | head -n 1)
for _ in $(seq 50); do
  state=$(pybox inspect --format '{{.State.Status}}' given)
  if [ $state = exited ]; then break; fi
  sleep 0.1
done
[ $state = exited ]
[ ! -e $group ]
pybox rm given >/dev/null
INNER
USER
