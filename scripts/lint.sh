#!/bin/sh
# lint.sh : everything that CI refuses noise for (`make lint`).
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh build lint
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy --test vm -- -D warnings
cargo clippy -p pybox-fuse-overlay --all-targets --features fuser,fuse3 -- -D warnings
cargo clippy -p pybox-fuse-overlay-fuzz --bins --features fuzzer -- -D warnings
cargo clippy --workspace --lib --bins --test faults --features failpoints -- -D warnings
RUSTDOCFLAGS="-D rustdoc::broken_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --quiet
shellcheck scripts/*.sh benches/*.sh .ci/run tests/vm/*.sh tests/vm/guest/init tests/vm/guest/files/usr/local/lib/pybox-vm/agent
# A word of a user is in single quotes, to be read there; a case knows lib.sh, which is not here.
shellcheck -s bash -e SC1091,SC2016,SC2046,SC2086,SC2116,SC2119,SC2120 tests/vm/cases/*.sh
