//! The second kind of plan: one more process in a container that runs.

use super::identity::{self, Groups};
use super::{Extras, Plan, PlanError, last, namespaces, target, terminal};
use crate::launch::document::{Document, Process};
use crate::launch::step::Step;
use crate::sys::clone::Namespaces;

/// What a container was made with, as far as who joins it has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinFacts {
    /// Its own namespaces; the others are shared with the host.
    pub(crate) namespaces: Namespaces,
    groups: Groups,
}

impl JoinFacts {
    /// The facts of the container that `spec` describes.
    ///
    /// # Errors
    /// With what no container could be launched from.
    pub fn of(spec: &Document) -> Result<Self, PlanError> {
        let linux = spec.linux.as_ref().ok_or(PlanError::Missing("linux section"))?;
        Ok(Self { namespaces: namespaces(linux)?, groups: Groups::within(&linux.gid_mappings) })
    }
}

impl Plan {
    /// Compiles `process`, to be run in the container of `facts`.
    ///
    /// # Errors
    /// With the field that is missing or invalid.
    pub fn compile_exec(process: &Process, facts: &JoinFacts, extras: Extras) -> Result<Self, PlanError> {
        // The host's procfs, while it is still the one we see (rule R2).
        let mut steps = identity::own_files(process)?;
        // Nobody inside sees who joins, but the new process is born with what it has.
        steps.push(Step::HideFromTracers);
        steps.push(Step::Join(facts.namespaces));
        if facts.namespaces.contains(Namespaces::USER) {
            // A change of credentials undoes the hiding where the administrator wants dumps.
            steps.extend([Step::BecomeRoot, Step::HideFromTracers]);
        }
        steps.extend([Step::Rebirth, Step::NewSession, Step::OpenRoot]);
        steps.push(Step::FindWorkdir(target(&process.cwd, "process.cwd")?));
        if process.terminal {
            // /dev/console is the first process's.
            steps.push(terminal((process, facts.groups), None));
        }
        steps.extend([Step::EnterWorkdir, Step::TakeStdio, Step::AwaitGo]);
        steps.extend(last(process, facts.groups, &extras)?);
        Self::of((process, facts.groups), steps, extras)
    }
}
