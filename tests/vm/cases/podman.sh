# The podman of Debian 13 reads what we have saved and pushed: files, owners, rights, and what is to be run.
. /mnt/in/lib.sh

step "an image of our making, in each of our ways to write it down"
# Plain HTTP, on this machine's loopback alone.
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: /var/tmp/registry}}\nhttp: {addr: "127.0.0.1:5000"}\n' >/tmp/registry.yml
docker-registry serve /tmp/registry.yml >/tmp/registry.log 2>&1 &
registry=$!
awaits 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/5000'
login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
cat >Dockerfile <<'FILE'
FROM busybox:latest
RUN mkdir /d && echo mine >/d/f && chown 33:34 /d/f && chmod 4755 /d/f && ln /d/f /d/g && ln -s f /d/l
RUN rm /etc/group
ENV A=b
user 7:8
CMD ["cat", "/d/f"]
FILE
for compression in gzip zstd; do
  pybox build -q --network none --compression $compression -t localhost:5000/made:$compression . >/dev/null
  for format in docker-archive oci-archive; do
    pybox save --format $format -o /tmp/$compression-$format.tar localhost:5000/made:$compression
  done
  pybox push -q localhost:5000/made:$compression >/dev/null
done
USER

judge() { podman --root /var/tmp/judge --runroot /run/judge --storage-driver vfs --log-level error "$@"; }

# reads HOW NAME : podman has it now, and all of it.
reads() {
  local root
  is "$1: what it runs" '7:8 [cat /d/f]' "$(judge image inspect --format '{{.Config.User}} {{.Config.Cmd}}' "$2")"
  has "$1: its variables" A=b "$(judge image inspect --format '{{.Config.Env}}' "$2")"
  root=$(judge image mount "$2")
  is "$1: a file" "33:34 4755 2 mine" "$(stat -c '%u:%g %a %h' "$root/d/f") $(cat "$root/d/f")"
  is "$1: its names" "f $(stat -c %i "$root/d/f")" "$(readlink "$root/d/l") $(stat -c %i "$root/d/g")"
  is "$1: what a layer removes" gone "$([ -e "$root/etc/group" ] || echo gone)"
  judge rmi -f "$2" >/dev/null
}

step "it reads what was saved"
for file in /tmp/{gzip,zstd}-{docker,oci}-archive.tar; do
  judge load -q -i "$file" >/dev/null
  name=${file#/tmp/}
  reads "$name" "localhost:5000/made:${name%%-*}"
done

step "and what was pushed"
for compression in gzip zstd; do
  judge pull -q --tls-verify=false localhost:5000/made:$compression >/dev/null
  reads "$compression" localhost:5000/made:$compression
done
kill $registry
