//! Hands the monitor's program to `src/monitor/program.rs`: the file that
//! `PYBOX_MONITOR_PROGRAM` names, or an empty one where there is none (yet).
//! `scripts/build-static.sh` builds that program first.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=PYBOX_MONITOR_PROGRAM");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    let target = out.join("pybox-monitor");
    let program = env::var_os("PYBOX_MONITOR_PROGRAM").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(program) = &program {
        println!("cargo::rerun-if-changed={}", program.display());
    }
    match program.filter(|path| path.exists()) {
        Some(program) => fs::copy(program, target).map(drop),
        None => fs::write(target, []),
    }
}
