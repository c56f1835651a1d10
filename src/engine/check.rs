//! `check`: the invariants of what is kept and of what runs.

use std::path::{Path, PathBuf};

use super::Engine;
use super::api::{Check, ContainerScope, Event, Failure, Finding, ListContainers};
use crate::model::id::ContainerId;
use crate::store::check::{Depth, Remedy};
use crate::store::{Access, Layout, Store, check};

/// The command that puts right what can be.
const REPAIR: &str = "pybox check --repair";

impl Engine {
    pub(super) fn check(&self, check: Check, events: &mut dyn FnMut(Event)) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        if let Some(what) = Store::damage(&self.settings.root)? {
            findings.push(self.check_database(&what, check)?);
            if !check.repair {
                return Ok(findings);
            }
        }
        // Whoever looks at containers folds in what their monitors have written; that is no finding.
        self.list_containers(&ListContainers { scope: ContainerScope::All, ..ListContainers::default() }, events)?;
        let store = self.store(if check.repair { Access::Write } else { Access::Read })?;
        let depth = if check.full { Depth::Full } else { Depth::Quick };
        for found in store.check(depth)? {
            let repaired = check.repair && self.repair(&store, &found, events);
            let remedy = match &found.remedy {
                Remedy::Command(command) => command.clone(),
                _ => REPAIR.to_owned(),
            };
            findings.push(Finding { subject: found.subject, what: found.what, repaired, remedy });
        }
        findings.extend(mounts(store.layout().root()));
        findings.extend(orphans(&store)?);
        Ok(findings)
    }

    /// A damaged database is made again from what lies beside it.
    fn check_database(&self, damage: &str, check: Check) -> Result<Finding, Failure> {
        let subject = Layout::new(&self.settings.root).database().display().to_string();
        let mut what = format!("is damaged ({})", damage.trim());
        if check.repair {
            let aside = Store::make_new_database(&self.settings.root)?;
            what = format!("{what} and now {}; names of images that no container has are lost", aside.display());
        }
        Ok(Finding { subject, what, repaired: check.repair, remedy: REPAIR.to_owned() })
    }

    /// Puts it right, if that can be done here.
    fn repair(&self, store: &Store, finding: &check::Finding, events: &mut dyn FnMut(Event)) -> bool {
        if matches!(finding.remedy, Remedy::Command(_)) {
            return false;
        }
        let done = store.remedy(finding).map_err(Failure::from).and_then(|left| self.remove_foreign(&left));
        if let Err(failure) = &done {
            events(Event::Warning(failure.to_string()));
        }
        done.is_ok()
    }
}

/// Mounts of ours belong into containers; none is seen from outside.
fn mounts(root: &Path) -> Vec<Finding> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let place = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    let below = text.lines().filter_map(place).filter(|place| place != root && place.starts_with(root));
    let finding = |place: PathBuf| Finding {
        remedy: format!("umount {}", place.display()),
        subject: place.display().to_string(),
        what: "is mounted outside of every container".to_owned(),
        repaired: false,
    };
    below.map(finding).collect()
}

/// Monitors of containers that do not exist.
fn orphans(store: &Store) -> Result<Vec<Finding>, Failure> {
    let containers = store.layout().containers();
    let mut findings = Vec::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(place) = std::fs::read_link(format!("/proc/{pid}/cwd")) else { continue };
        let Some(name) = place.strip_prefix(&containers).ok().and_then(|below| below.to_str()) else { continue };
        let name = name.trim_end_matches(" (deleted)");
        let exists = name.parse::<ContainerId>().is_ok_and(|id| store.find_container(id.as_str()).is_ok());
        // One that has just let go of its bundle is ending.
        if exists || std::fs::read_link(format!("/proc/{pid}/exe")).is_err() {
            continue;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        if std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|now| now == place) {
            findings.push(Finding {
                subject: format!("process {pid}"),
                what: "works for a container that does not exist".to_owned(),
                repaired: false,
                remedy: format!("kill {pid}"),
            });
        }
    }
    Ok(findings)
}
