//! Networks as those see them who build them: bridges, addresses and names. Plain data, and what one says to another.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::idmap::{Helpers, Line};

/// A network of many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Segment {
    /// Its name, as people know it.
    pub name: String,
    /// The name of its bridge.
    pub bridge: String,
    /// Its gateways, each with the length of its subnet's prefix.
    pub gateways: Vec<(IpAddr, u8)>,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// Whether there is no name server on it.
    pub nameless: bool,
}

/// A container's place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    /// The network.
    pub segment: Segment,
    /// The interface inside.
    pub interface: String,
    /// Its other end, at the bridge.
    pub outside: String,
    /// The hardware address.
    pub mac: [u8; 6],
    /// The addresses, each with the length of its subnet's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether what is addressed to nobody here goes this way.
    pub leads_out: bool,
    /// What others on this network call the container.
    pub names: Vec<String>,
}

/// All that a monitor has to know to put its container on networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its places.
    pub plugs: Vec<Plug>,
    /// Who keeps the networks.
    pub keeper: Keeper,
}

/// The process that keeps a user's networks, and how it is started where it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// The directory that its socket is in.
    pub place: PathBuf,
    /// The program: pybox.
    pub program: PathBuf,
    /// Which ids there are in its user namespace; none if it is root's, whose networks are the host's own.
    pub ids: Option<Ids>,
    /// The name of its table of packet rules: another one for each store.
    pub table: String,
    /// What leads out of its network namespace, if it is installed.
    pub uplink: Option<(PathBuf, Vec<String>)>,
}

/// The map of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// User ids.
    pub uids: Vec<Line>,
    /// Group ids.
    pub gids: Vec<Line>,
    /// newuidmap and newgidmap, where it takes them.
    pub helpers: Option<Helpers>,
}

/// The lines of a map as its parent namespace has to be told them: outside ids become what they are called there.
/// None if one of them has no name there.
pub fn translate(lines: &[Line], parent: &[Line]) -> Option<Vec<Line>> {
    let mut translated = Vec::new();
    for &(inside, outside, count) in lines {
        let mut done = 0;
        while done < count {
            let next = outside.checked_add(done)?;
            let holds = |&&(_, first, count): &&Line| next.checked_sub(first).is_some_and(|offset| offset < count);
            let &(name, first, length) = parent.iter().find(holds)?;
            let offset = next - first;
            let run = (length - offset).min(count - done);
            translated.push((inside.checked_add(done)?, name.checked_add(offset)?, run));
            done += run;
        }
    }
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_called_what_the_parent_calls_them() {
        let parent = [(0, 1000, 1), (1, 100_000, 65536)];
        assert_eq!(translate(&parent, &parent), Some(vec![(0, 0, 1), (1, 1, 65536)]));
        let own_id = [(0, 100_000, 1000), (1000, 1000, 1), (1001, 101_000, 64536)];
        assert_eq!(translate(&own_id, &parent), Some(vec![(0, 1, 1000), (1000, 0, 1), (1001, 1001, 64536)]));
        assert_eq!(translate(&[(0, 7, 1)], &parent), None);
        assert_eq!(translate(&[(0, 100_000, 65537)], &parent), None);
        let joined = [(0, 10, 5), (5, 15, 5)];
        assert_eq!(translate(&[(0, 12, 6)], &joined), Some(vec![(0, 2, 3), (3, 5, 3)]));
    }
}
