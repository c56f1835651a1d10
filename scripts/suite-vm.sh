#!/bin/sh
# suite-vm.sh [DEBIAN] [WORDS FOR THE SUITE] : the tables of the overlay's suite on another kernel, in a machine of tests/vm; by
# default Debian 12's, Linux 6.1, in some six minutes. What differs there on ext4 too is the kernel's (before 6.10 an open file
# gets no name by its descriptor) or wants a program that the machine lacks (git, getfattr).
set -eu
cd "$(dirname "$0")/.."
debian=${1:-bookworm}
[ $# -eq 0 ] || shift
# The guest's C library may be older than ours.
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR="$PWD/target/suite-vm"
cargo test -p pybox-fuse-overlay --target "$triple" --test suite --no-run
cargo build -p pybox-fuse-overlay --target "$triple" --examples
built=$CARGO_TARGET_DIR/$triple/debug
share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$share/suite/deps" "$share/suite/examples"
newest=$(find "$built/deps" -name 'suite-*' -type f -perm -100 -printf '%T@ %p\n' | sort -n | tail -n 1)
strip -o "$share/suite/deps/suite" "${newest#* }"
strip -o "$share/suite/examples/overlay_run" "$built/examples/overlay_run"
cp scripts/test-user.sh "$share/"
[ $# -gt 0 ] || set -- families --skip on_hybrid --skip indexed
cat >"$share/run" <<RUN
#!/bin/sh
set -e
uname -r
cp -r /mnt/in/suite /var/
chmod -R a+rX /var/suite
sh /mnt/in/test-user.sh
cd /var/suite
deps/suite $* --skip on_fuser --skip on_fuse3 --test-threads 2
RUN
tests/vm/machine.sh run -s "$debian" -t 1200 "$share"
