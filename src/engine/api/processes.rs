//! `top` and `stats`: processes and what they use.

use serde::{Deserialize, Serialize};

use crate::model::id::{ContainerId, ContainerName};

/// Lists the processes of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListProcesses {
    /// A name, an id or a prefix of one.
    pub name: String,
}

/// The processes of a container at one moment, by their pid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    /// The processes.
    pub list: Vec<Process>,
    /// When that was.
    pub at: i64,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid on the host.
    pub host_pid: u32,
    /// Its parent's pid on the host.
    pub host_parent: u32,
    /// Its pid in the container.
    pub pid: u32,
    /// Its parent's pid in the container; 0 for the first process and those of `exec`.
    pub parent: u32,
    /// Its process group on the host.
    pub group: u32,
    /// The effective user id in the container; none if it has none there.
    pub uid: Option<u32>,
    /// The effective group id in the container.
    pub gid: Option<u32>,
    /// The effective user id on the host.
    pub host_uid: u32,
    /// The effective group id on the host.
    pub host_gid: u32,
    /// As in `S`, `R`, `Z`.
    pub state: char,
    /// When it started.
    pub started: i64,
    /// Milliseconds that it has run.
    pub ran: u64,
    /// How nice it is.
    pub nice: i64,
    /// Threads.
    pub threads: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Bytes in memory.
    pub resident: u64,
    /// Its terminal, as in `pts/0`; none for none.
    pub terminal: Option<String>,
    /// The program's short name.
    pub command: String,
    /// Its arguments; none for a zombie.
    pub arguments: Vec<String>,
}

/// Counts what containers use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadUsage {
    /// These ones, by name, id or prefix of an id; all that run, if none is given.
    pub names: Vec<String>,
    /// Those that do not run too.
    pub all: bool,
}

/// What a container has used up to now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Which container.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// As in `running`.
    pub state: String,
    /// Nanoseconds of processor time, of all processes that there are and of those they have waited for.
    pub processor: u64,
    /// Bytes in memory; what several processes share is counted for each.
    pub memory: u64,
    /// Bytes that there are.
    pub memory_limit: u64,
    /// Processes and threads.
    pub threads: u64,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// Bytes received, loopback left out.
    pub received: u64,
    /// Bytes sent, loopback left out.
    pub sent: u64,
    /// When, in nanoseconds of a clock that only runs forward.
    pub at: u64,
}
