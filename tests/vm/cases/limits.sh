# What a user's containers may use: written into the kernel, and kept by it.
. /mnt/in/lib.sh

login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
of() { pybox inspect --format "{{.State.$1}}" "$2"; }
# The cgroup of a container's first process.
group() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$(of Pid $1)/cgroup)"; }
field() { sed -n "s/^$2 //p" $1; }
idle='trap "exit 0" TERM; while :; do sleep 0.5; done'

step "each limit is in the cgroup"
pybox run -d --name idle --network none -m 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 40 \
  --blkio-weight 200 busybox:latest sh -c "$idle" >/dev/null
idle_group=$(group idle)
has "its cgroup" .scope/ $idle_group
for pair in "memory.max 67108864" "memory.low 33554432" "cpu.max 50000 100000" "cpuset.cpus 0" "pids.max 40"; do
  is "${pair%% *}" "${pair#* }" "$(cat $idle_group/${pair%% *})"
done
# What it competes with others by is the scope's, beside theirs.
scope=${idle_group%/*}
is "share of processors" 59 "$(cat $scope/cpu.weight)"
is "as systemd has it" 59 "$(systemctl --user show -P CPUWeight ${scope##*/})"
# Which file it is depends on the scheduler of the disk; systemd keeps it for either.
is "share of disks" 1920 "$(systemctl --user show -P IOWeight ${scope##*/})"

step "memory: the one that takes too much is killed, no other"
pybox run -d --name eats --network none -m 32m busybox:latest \
  sh -c 'awk "BEGIN { s = \"0123456789\"; while (1) s = s s }"; echo "it ended with $?"; exit 5' >/dev/null
is "exit code" 5 "$(pybox wait eats)"
is "what its parent saw" "it ended with 137" "$(pybox logs eats)"
is "whether something of it was killed for memory" true "$(of OOMKilled eats)"
code=0
pybox run --name starved --network none -m 32m busybox:latest awk 'BEGIN { s = "0123456789"; while (1) s = s s }' || code=$?
is "exit code" 137 $code
is "what inspect says" "true 137" "$(of OOMKilled starved) $(of ExitCode starved)"
is "the neighbour" running "$(of Status idle)"

step "exec is under the same limits"
code=0
pybox exec idle awk 'BEGIN { s = "0123456789"; while (1) s = s s }' || code=$?
is "exit code" 137 $code
is "the container that it was in" running "$(of Status idle)"
is "its cgroup as it sees it" 0::/ "$(pybox exec idle cat /proc/self/cgroup)"

step "processors: half of one is half of one"
before=$(field $idle_group/cpu.stat usage_usec)
pybox exec idle timeout 6 sh -c 'while :; do :; done' || true
used=$((($(field $idle_group/cpu.stat usage_usec) - before) / 1000))
echo "$used ms in 6 s"
[ $used -gt 500 ] && [ $used -lt 3600 ]
[ $(field $idle_group/cpu.stat nr_throttled) -gt 0 ]

step "processes: no more than that"
said=$(pybox exec idle sh -c 'n=0; while [ $n -lt 60 ]; do sleep 3 & n=$((n + 1)); done' 2>&1 || true)
has "what the shell says" "fork" "$said"
[ $(field $idle_group/pids.events max) -gt 0 ]

step "update, stats"
pybox update --memory 96m --pids-limit 50 idle >/dev/null
is "memory and processes" "100663296 50" "$(cat $idle_group/memory.max $idle_group/pids.max | xargs)"
has "stats" "96MiB" "$(pybox stats --no-stream idle | sed 's/ MiB/MiB/g; s/\.00*MiB/MiB/g')"

step "pause is the kernel's"
pybox pause idle >/dev/null
is "frozen" 1 "$(field $idle_group/cgroup.events frozen)"
is "status" paused "$(of Status idle)"
before=$(field $idle_group/cpu.stat usage_usec)
sleep 2
is "processor time meanwhile" $before $(field $idle_group/cpu.stat usage_usec)
pybox unpause idle >/dev/null
is "frozen" 0 "$(field $idle_group/cgroup.events frozen)"

step "steps of a build are held, too"
mkdir -p ~/context
printf 'FROM busybox:latest\nRUN cd /sys/fs/cgroup && cat memory.max cpu.max pids.max cpuset.cpus && cat /proc/self/cgroup\n' >~/context/Dockerfile
said=$(pybox build -t held --memory 48m --cpus 0.5 --pids-limit 30 --cpuset-cpus 1 ~/context 2>&1)
for part in 50331648 "50000 100000" $'\n30\n' $'\n1\n' 0::/; do has "what a step sees" "$part" "$said"; done
printf 'FROM busybox:latest\nRUN awk "BEGIN { s = \\"0123456789\\"; while (1) s = s s }"\n' >~/context/Dockerfile
code=0
said=$(pybox build --memory 32m ~/context 2>&1) || code=$?
[ $code != 0 ]
has "how it ends" "exit code 137, and the kernel killed for want of memory" "$said"

step "nothing of it stays"
pybox stop idle >/dev/null
awaits 10 test ! -e $idle_group
awaits 10 eval '[ -z "$(systemctl --user list-units --all --no-legend --plain "pybox-*.scope")" ]'
pybox rm idle eats starved >/dev/null
USER

step "root's are below a directory of their own"
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
id=$(pybox run -d --network none -m 48m busybox:latest sleep 1000)
is "memory.max" 50331648 "$(cat /sys/fs/cgroup/pybox/"$id"*/memory.max)"
pybox rm -f "$id" >/dev/null
awaits 10 test ! -e "/sys/fs/cgroup/pybox/$id"
