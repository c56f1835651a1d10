#!/bin/sh
# fuzz.sh [TARGET [SECONDS | FILE...]] : fuzzes a target of fuse-overlay/fuzz, or all in turn, a minute each;
# with files, runs the target on each of them once (`make fuzz`; see CONTRIBUTING.md).
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
fuzz=fuse-overlay/fuzz
out=target/fuzz

# What cargo-fuzz asks of a compiler without sanitizers; a stable one takes all of it.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
  cargo build --quiet --profile fuzz -p pybox-fuse-overlay-fuzz --features runtime --target "$host" --target-dir "$out" >&2
programs=$out/$host/fuzz

# Where a target works: in memory where that has attributes (Linux 6.6), since the disk is not what is fuzzed.
# Only operations are on a disk: a tmpfs may list a name twice.
room() {
  where=/var/tmp
  if [ "$1" != operations ] && [ -w /dev/shm ] &&
    [ "$(printf '6.6\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.6 ]; then
    where=/dev/shm
  fi
  room=$(mktemp -d -p "${given:-$where}" pybox-fuzz.XXXXXX)
  export PYBOX_FUZZ_DIR="$room"
}
given=${PYBOX_FUZZ_DIR:-}
room=
trap '[ -z "$room" ] || rm -rf "$room"' EXIT
trap 'exit 130' INT TERM

fuzz() {
  room "$1"
  mkdir -p "$out/corpus/$1" "$out/findings"
  "$programs/$1" "$out/corpus/$1" "$fuzz/corpus/$1" -max_total_time="$2" -max_len=512 -timeout=20 \
    -print_final_stats=1 -artifact_prefix="$out/findings/$1-" >"$out/$1.log" 2>&1 || {
    cat "$out/$1.log"
    found=$(sed -n 's/.*Test unit written to //p' "$out/$1.log" | tail -n 1)
    printf '\n%s: a finding. Again: scripts/fuzz.sh %s %s\n' "$1" "$1" "${found:-?}"
    return 1
  }
  rm -rf "$room"
  printf '%s: %s\n' "$1" "$(grep -E '^#[0-9]+.*DONE' "$out/$1.log")"
}

target=${1:-all}
[ $# -eq 0 ] || shift
if [ "$target" = all ]; then
  for each in operations requests index journal; do fuzz "$each" "${1:-60}"; done
elif [ -f "${1:-}" ]; then
  room "$target"
  "$programs/$target" "$@"
else
  fuzz "$target" "${1:-60}"
fi
