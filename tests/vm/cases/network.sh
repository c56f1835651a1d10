# Units on one network: it is there when the first wants it, and goes on when the one that happened to begin it stops.
. /mnt/in/lib.sh

login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
mkdir -p ~/.config/pybox/units
printf '[Network]\nNetworkName=inner\n' >~/.config/pybox/units/inner.network
for name in first second third; do
  cat >~/.config/pybox/units/$name.container <<FILE
[Container]
ContainerName=$name
Image=busybox:latest
Network=inner.network
StopTimeout=1
Exec=nc -ll -p 80 -e echo I am $name
FILE
done
printf 'PublishPort=127.0.0.1:8080:80\n' >>~/.config/pybox/units/first.container
systemctl --user daemon-reload
step "two units, and a name for each"
systemctl --user start first second
tells() { [ "$(pybox exec "$1" sh -c "nc -w 3 $2 80 </dev/null 2>/dev/null")" = "I am $2" ]; }
awaits 30 tells first second
tells first second
tells second first
is "the published port" "I am first" "$(busybox nc -w 3 127.0.0.1 8080 </dev/null)"
is "the network's unit" active "$(systemctl --user is-active inner-network)"

step "the one that happened to begin it stops, and with it all of its cgroup"
systemctl --user start third
awaits 30 tells third second
keeper=$(pgrep -u tester -f '__networks$')
unit=$(sed -n 's|^0::.*/\([a-z]*\)\.service.*$|\1|p' /proc/$keeper/cgroup)
has "the unit that the keeper is part of" " $unit " " first second third "
systemctl --user stop $unit
set -- $(printf '%s\n' first second third | grep -vx $unit)
awaits 30 tells $1 $2
tells $2 $1

step "and comes back"
systemctl --user start $unit
awaits 10 tells $1 $unit
tells $unit $2
tells $2 $unit
systemctl --user stop first second third
is "containers left" "" "$(pybox ps -a -q)"
awaits 10 eval '! pgrep -u tester pybox'
USER
