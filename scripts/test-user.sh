#!/bin/sh
# test-user.sh : makes the unprivileged users `pyboxtest`, with id ranges, and `pyboxplain`, without (root; may be run again).
# Without root the caller is the user who runs containers, and only the ranges are checked.
set -eu
user=pyboxtest

if [ "$(id -u)" -ne 0 ]; then
  user=$(id -un)
  for kind in subuid subgid; do
    grep -qs "^$user:" "/etc/$kind" || {
      echo "no range for $user in /etc/$kind; as root: usermod --add-${kind}s 100000-165535 $user" >&2
      exit 1
    }
  done
  exit 0
fi

id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/sh "$user"
for kind in uid gid; do
  file=/etc/sub$kind
  touch "$file"
  grep -q "^$user:" "$file" && continue
  # The first id after every range that somebody has.
  first=$(awk -F: 'BEGIN { next_free = 100000 } $2 + $3 > next_free { next_free = $2 + $3 } END { print next_free }' "$file")
  usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$user"
done

# A user without ranges, for what pybox does there.
id pyboxplain >/dev/null 2>&1 || useradd --create-home --shell /bin/sh pyboxplain
for kind in uid gid; do
  sed -i '/^pyboxplain:/d' "/etc/sub$kind"
done

# Devices that a desktop or server opens to everybody, and a container-like machine may not.
for device in /dev/fuse /dev/net/tun; do
  if [ -e "$device" ]; then chmod 666 "$device" 2>/dev/null || true; fi
done
