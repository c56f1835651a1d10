//! `pybox info`.

use std::fmt::Write as _;

use super::DONE;
use crate::cli::error::Problem;
use crate::cli::render::human;
use crate::cli::render::listing::{Format, write_object};
use crate::cli::session::Session;
use crate::engine::api::{Driver, DriverState, GetInfo, Info};

/// Show what this host can do for containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks at everything a container needs, and says what is missing and how to get it.\n\nExamples:\n  \
    pybox info\n  \
    pybox info --format '{{.PyboxRootDir}}'\n  \
    pybox info --format '{{json .Drivers}}'"
)]
pub(crate) struct Args {
    /// Print json, or a template as in '{{.Driver}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Args {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let format = Format::parse(self.format.as_deref())?;
        let info = session.call(GetInfo {})?;
        let object = serde_json::to_value(&info).map_err(|error| Problem::internal(error.to_string()))?;
        write_object(&object, &format, || text(&info), session.output())?;
        Ok(DONE)
    }
}

fn text(info: &Info) -> String {
    let mut text = String::new();
    for (name, value) in facts(info).into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name}: {value}");
    }
    text.push_str("Drivers:\n");
    let width = info.drivers.iter().map(|driver| driver.name.chars().count()).max().unwrap_or(0);
    for driver in &info.drivers {
        text.push_str(&line(driver, width));
    }
    text
}

fn facts(info: &Info) -> Vec<(&'static str, String)> {
    let yes = |value| if value { "yes" } else { "no" }.to_owned();
    let (running, paused, stopped) = (info.containers_running, info.containers_paused, info.containers_stopped);
    vec![
        ("Version", info.server_version.clone()),
        ("Containers", format!("{} ({running} running, {paused} paused, {stopped} stopped)", info.containers)),
        ("Images", info.images.to_string()),
        ("Root directory", info.root.display().to_string()),
        ("  File system", info.backing_filesystem.clone()),
        ("  Used", human::size(info.disk.used)),
        ("  Available", human::size(info.disk.available)),
        ("Storage driver", info.driver.clone()),
        ("Networks", info.networks.join(", ")),
        ("Rootless", yes(info.rootless)),
        ("User ids", info.uid_map.join(", ")),
        ("Group ids", info.gid_map.join(", ")),
        ("Security options", info.security_options.join(", ")),
        ("Cgroup version", info.cgroup_version.clone()),
        ("Cgroup driver", info.cgroup_driver.clone()),
        ("Kernel", info.kernel_version.clone()),
        ("Operating system", info.operating_system.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.cpus.to_string()),
        ("Memory", human::size(info.mem_total)),
        ("Name", info.name.clone()),
    ]
}

fn line(driver: &Driver, width: usize) -> String {
    let name = &driver.name;
    match &driver.state {
        DriverState::Ready { detail } => format!("  {name:<width$}  ready  {detail}\n"),
        DriverState::Unfit { why, hint: None } => format!("  {name:<width$}  unfit  {why}\n"),
        DriverState::Unfit { why, hint: Some(hint) } => {
            format!("  {name:<width$}  unfit  {why}\n  {:<width$}         hint: {hint}\n", "")
        }
    }
}
