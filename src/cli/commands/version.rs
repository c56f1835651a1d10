//! `pybox version`.

use serde_json::json;

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::listing::{Format, write_object};
use crate::cli::session::Session;
use crate::model::platform::Platform;

/// Show the version
#[derive(Debug, clap::Args)]
#[command(after_help = "Fields of a template: .Version .Os .Arch .Client .Server")]
pub(crate) struct Args {
    /// Print json, or a template as in '{{.Version}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let host = Platform::host();
        let version = env!("CARGO_PKG_VERSION");
        let part = json!({ "Version": version, "Os": host.os, "Arch": host.architecture });
        let own = || format!("Version:  {version}\nOS/Arch:  {}/{}\n", host.os, host.architecture);
        // One program is client and server; scripts ask docker for either.
        let object = json!({
            "Version": version, "Os": host.os, "Arch": host.architecture, "Client": part, "Server": part,
        });
        write_object(&object, &format, own, session.output())?;
        Ok(DONE)
    }
}
