# A home on a server by NFS, which knows the user's number and none of the user's range: all works there, with true owners.
. /mnt/in/lib.sh

step "a server, and the user's home on it"
modprobe -a nfsd nfs
mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /srv/tester
chown tester:tester /srv/tester
chmod 700 /srv/tester
exportfs -o rw,sync,no_subtree_check,fsid=1 127.0.0.1:/srv/tester
rpc.mountd -N 3
rpc.nfsd -N 3 2
# Nobody has locks from before, for which it would wait.
echo Y >/proc/fs/nfsd/v4_end_grace
mount -t nfs4 127.0.0.1:/srv/tester /home/tester

login <<'USER'
is "the home" nfs "$(stat -f -c %T .)"
step "a container whose files have owners"
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
is "owners" "0 33:34 4755" "$(pybox run --name owner --network none busybox:latest sh -c \
  'touch /a; chown 33:34 /a; chmod 4755 /a; echo $(stat -c %u /bin/busybox) $(stat -c "%u:%g %a" /a)')"
is "what it changed" "A /a" "$(pybox diff owner)"
pybox commit owner owned:latest >/dev/null
is "owners of the image" "33:34 4755" "$(pybox run --rm --network none owned:latest stat -c '%u:%g %a' /a)"

step "several at once, a volume, a command in one that runs"
pybox volume create data >/dev/null
for number in 1 2 3; do
  pybox run -d --name n$number --network none -v data:/data busybox:latest \
    sh -c "echo $number >/data/$number; trap 'exit $number' TERM; while :; do sleep 0.2; done" >/dev/null &
done
wait
is "what runs" "n1 n2 n3" "$(echo $(pybox ps --format '{{.Names}}' | sort))"
awaits 20 pybox exec n1 test -e /data/3
is "the volume" "1 2 3" "$(pybox exec n2 cat /data/1 /data/2 /data/3 | tr '\n' ' ' | sed 's/ $//')"
pybox stop n1 n2 n3 >/dev/null
is "ends" "1 2 3" "$(echo $(pybox inspect --format '{{.State.ExitCode}}' n1 n2 n3))"
has "the driver" "storage fuse     ready" "$(pybox info)"
pybox rm owner n1 n2 n3 >/dev/null

step "a build"
printf 'FROM busybox:latest\nRUN echo mine >/app && chown 7:8 /app && chmod 600 /app\nUSER 7:8\nCMD cat /app\n' >Dockerfile
pybox build -q -t built . >/dev/null
is "who reads a file of its own" mine "$(pybox run --rm --network none built)"
is "who does not" 1 "$(pybox run --rm --network none --user 9:9 built 2>/dev/null || echo $?)"

step "nothing is left"
is "the store" 0 "$(pybox check >/dev/null 2>&1; echo $?)"
pybox system prune -af --volumes >/dev/null
is "names that NFS keeps of removed files" "" "$(find .local/share/pybox -name '.nfs*')"
USER
