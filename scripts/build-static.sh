#!/bin/sh
# build-static.sh [CARGO ARGUMENTS] : builds the static release binary; prints its path as the last line.
# An explicit --target keeps the flags off build scripts and proc macros, which cannot be static.
set -eu
cd "$(dirname "$0")/.."
triple=$(rustc -vV | sed -n 's/^host: //p')
library=/usr/lib/$(gcc -print-multiarch)
[ -e "$library/libseccomp.a" ] || { echo "no $library/libseccomp.a: install libseccomp-dev" >&2; exit 1; }

out=${CARGO_TARGET_DIR:-$PWD/target}/$triple/release
build() {
  RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static ${RUSTFLAGS:-}" \
    LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH=$library \
    cargo build --release --target "$triple" --bin "$@" >&2
}
# The monitor goes into pybox (src/monitor/program.rs), so it comes first. The copy is
# written only where it differs: a second build with nothing changed builds nothing.
export PYBOX_MONITOR_PROGRAM="$out/pybox-monitor.embedded"
build pybox-monitor "$@"
cmp -s "$out/pybox-monitor" "$PYBOX_MONITOR_PROGRAM" || cp "$out/pybox-monitor" "$PYBOX_MONITOR_PROGRAM"
build pybox "$@"
build pybox-generator "$@"

binary=$out/pybox
# ldd says "statically linked" for static-pie, and fails with "not a dynamic executable" else.
if ldd "$binary" 2>&1 | grep -q '=>'; then echo "$binary is not static" >&2; exit 1; fi
echo "$binary"
