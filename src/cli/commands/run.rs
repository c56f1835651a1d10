//! `pybox run`.
//!
//! Two steps: [`Args`] mirrors the command line and touches nothing; `resolve`
//! reads files, the environment and the working directory, and makes the
//! request. The words from the image on are the container's own.

mod options;
mod resolve;

use std::io::IsTerminal as _;

use crate::cli::error::{OURS, Problem};
use crate::cli::linger;
use crate::cli::session::Session;
use crate::engine::api;
use crate::model::flags::detach_keys;
use crate::model::supervision::RestartPolicy;
pub(super) use options::Wanted;
pub(super) use resolve::{environment, request, workdir};

use super::notify::warn_of_silence;
use super::{DONE, absolute};

/// Run a command in a new container
#[derive(Debug, clap::Args)]
#[command(
    // As docker has it, -h is the host's name.
    disable_help_flag = true,
    override_usage = "pybox run [OPTIONS] IMAGE [COMMAND] [ARG]...\n       \
        pybox run [OPTIONS] --image IMAGE [--] [COMMAND] [ARG]...",
    after_help = "The container ends when its command does, and run returns the command's exit code; 125 says that \
        pybox failed, 126 that the command cannot be executed, 127 that it was not found, and 128 + n that signal n \
        ended it.\n\nLimits that few ask for have docker's names and meaning: memory-swap, memory-reservation, cpu-shares, cpu-period, \
        cpu-quota, cpuset-cpus, cpuset-mems, blkio-weight, device-read-bps, device-write-bps, device-read-iops and \
        device-write-iops. So have cgroup-parent, cgroupns and cgroups=disabled.\n\nExamples:\n  \
        pybox run --rm -it debian:12 bash\n  \
        pybox run --rm --image alpine -- cat /etc/os-release\n  \
        pybox run --rm -v \"$PWD:/src\" -w /src -u 1000 python:3.12 python build.py\n  \
        pybox run --name db --read-only --tmpfs /tmp -v data:/var/lib/db database:1\n  \
        pybox run -d --name web --restart unless-stopped web:1"
)]
pub(crate) struct Args {
    /// Leave it running, and print its id
    #[arg(short, long)]
    detach: bool,

    /// Keys that leave it running, as in ctrl-p,ctrl-q; none by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Write the id to this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    cidfile: Option<std::path::PathBuf>,

    /// Hand on so many of our descriptors, from 3 on; those of LISTEN_FDS come first and need no option
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(super::descriptors::MOST)))]
    preserve_fds: Option<u32>,

    #[command(flatten)]
    wanted: Wanted,
}

impl Args {
    pub(in crate::cli) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let Self { detach, detach_keys, cidfile, preserve_fds, wanted } = self;
        if wanted.tty && !detach && !std::io::stdin().is_terminal() {
            return Err(Problem::user("--tty needs a terminal, and standard input is none")
                .hint("leave out -t; -i alone hands standard input on")
                .code(OURS));
        }
        let detach_keys = detach_keys.as_deref().map(detach_keys::parse).transpose()?.unwrap_or_default();
        let manner = wanted.manner();
        let notify = wanted.notify()?.notify();
        if wanted.supervision.sdnotify.is_none() {
            warn_of_silence();
        }
        let descriptors = super::descriptors::descriptors(preserve_fds);
        let request = resolve::request(wanted)?;
        let runs_on = detach || request.restart != RestartPolicy::No;
        let id_file = cidfile.as_deref().map(absolute).transpose()?;
        let ran = session.call_with(api::Run { request, detach, detach_keys, id_file, notify, descriptors }, manner)?;
        if runs_on {
            linger::warn();
        }
        match ran.code {
            // A wait status has eight bits; anything else would be a fault of the engine.
            Some(code) => Ok(u8::try_from(code).unwrap_or(OURS)),
            None if detach => {
                writeln!(session.output(), "{}", ran.container)?;
                Ok(DONE)
            }
            None => Ok(DONE),
        }
    }
}
