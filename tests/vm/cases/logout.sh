# What becomes of containers when their user logs out: with lingering nothing, without it they end, and pybox says so.
. /mnt/in/lib.sh

login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
step "a container each: one that may end, those that shall run at each login, one that was stopped"
systemctl --user enable pybox-restart.service 2>/dev/null
pybox run -d --name once --network none busybox:latest sh -c 'trap "exit 3" TERM; while :; do sleep 0.2; done' >/dev/null
pybox run -d --name always --restart always --network none busybox:latest sh -c 'trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
pybox run -d --name unless --restart unless-stopped --network none busybox:latest sh -c 'trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
pybox run -d --name stopped --restart unless-stopped --network none busybox:latest sh -c 'trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
pybox stop stopped >/dev/null
is "what runs" "always once unless" "$(echo $(pybox ps --format '{{.Names}}' | sort))"
USER

step "with lingering, a logout is no end"
loginctl enable-linger tester
systemctl stop pybox-vm-session
awaits 30 eval '! loginctl list-sessions --no-legend | grep -w user | grep -qw active'
login <<'USER'
for name in once always unless; do
  is "$name" running "$(pybox inspect --format '{{.State.Status}}' $name)"
  pybox exec $name true
done
USER

step "what is kept in memory for the user is wiped"
find /run/user/1000 -xdev -mindepth 1 -delete
login <<'USER'
is "what runs" "always once unless" "$(echo $(pybox ps --format '{{.Names}}' | sort))"
pybox exec once true
is "a start without a bus" 7 "$(pybox run --rm --network none busybox:latest sh -c 'exit 7' || echo $?)"
pybox run --rm --network none --memory 64m busybox:latest true >~/said 2>&1 && exit 1
has "a limit that nothing keeps" "no bus of systemd was found" "$(cat ~/said)"
USER

step "without it, all ends with the user's last session"
loginctl disable-linger tester
loginctl terminate-user tester
awaits 30 eval '! systemctl is-active --quiet user@1000.service'
awaits 10 eval '! pgrep -u tester'
awaits 30 test ! -e /run/user/1000

step "at the next login, it is as was asked"
login <<'USER'
awaits 60 systemctl --user is-active pybox-restart.service
is "the one without a policy" exited "$(pybox inspect --format '{{.State.Status}}' once)"
is "the one that is always to run" running "$(pybox inspect --format '{{.State.Status}}' always)"
is "the one that nobody has stopped" running "$(pybox inspect --format '{{.State.Status}}' unless)"
is "the one that was stopped" exited "$(pybox inspect --format '{{.State.Status}}' stopped)"
test -d /proc/$(pybox inspect --format '{{.State.Pid}}' always)
pybox exec always true
pybox rm -f once always unless stopped >/dev/null
is "processes left" "" "$(pgrep -u tester -l pybox || true)"
USER
