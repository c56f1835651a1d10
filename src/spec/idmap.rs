//! The maps of a user namespace, from the ids that a user owns (user_namespaces(7)).

use crate::model::host::{IdMap, IdRange};

/// Ranges of subordinate ids, as `/etc/subuid` and `/etc/subgid` give them: first
/// id outside and how many. In the order in which they are to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubordinateIds {
    /// User ids.
    pub uids: Vec<(u32, u32)>,
    /// Group ids.
    pub gids: Vec<(u32, u32)>,
}

/// The kernel takes 340 lines; newuidmap checks each one against a file. More
/// than these few say that something is wrong, so the rest is left out.
const MOST_RANGES: usize = 32;

/// Root inside is the user outside; 1 and up are the subordinate ids. Without
/// ranges, one id is all there is.
pub fn default_map(uid: u32, gid: u32, ranges: &SubordinateIds) -> IdMap {
    IdMap { uids: around(0, uid, &ranges.uids), gids: around(0, gid, &ranges.gids) }
}

/// The user keeps an id inside (`inside_uid`, `inside_gid`); all others, root
/// among them, are subordinate ids.
///
/// Where there are fewer subordinate ids than the kept one asks for, the ids
/// between are left unmapped.
pub fn keep_id_map((uid, gid): (u32, u32), (inside_uid, inside_gid): (u32, u32), ranges: &SubordinateIds) -> IdMap {
    IdMap { uids: around(inside_uid, uid, &ranges.uids), gids: around(inside_gid, gid, &ranges.gids) }
}

/// Maps `kept` inside to `own` outside, and every other id inside, from 0 on, to
/// the ranges in their order.
fn around(kept: u32, own: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    let mut lines = vec![IdRange { inside: kept, outside: own, count: 1 }];
    let mut next = 0u32;
    for (mut outside, mut left) in without(own, ranges) {
        while left > 0 && next < u32::MAX {
            if next == kept {
                next += 1;
                continue;
            }
            let until = if next < kept { kept } else { u32::MAX };
            let count = left.min(until - next);
            lines.push(IdRange { inside: next, outside, count });
            (next, outside, left) = (next + count, outside.saturating_add(count), left - count);
        }
    }
    lines.sort_by_key(|line| line.inside);
    lines
}

/// The ranges without the caller's own id and without overlaps: the kernel
/// refuses a map in which an id outside stands twice.
fn without(own: u32, ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut free: Vec<(u64, u64)> = Vec::new();
    let mut taken = vec![(u64::from(own), u64::from(own) + 1)];
    for (start, count) in ranges.iter().take(MOST_RANGES) {
        // The last id of all is (uid_t)-1 and never mapped.
        let mut pieces = vec![(u64::from(*start), (u64::from(*start) + u64::from(*count)).min(u64::from(u32::MAX)))];
        for (from, to) in &taken {
            pieces = pieces
                .iter()
                .flat_map(|(a, b)| [(*a, *b.min(from)), (*a.max(to), *b)])
                .filter(|(a, b)| a < b)
                .collect();
        }
        taken.extend(&pieces);
        free.extend(pieces);
    }
    free.into_iter().filter_map(|(a, b)| Some((u32::try_from(a).ok()?, u32::try_from(b - a).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(map: &[IdRange]) -> Vec<(u32, u32, u32)> {
        map.iter().map(|line| (line.inside, line.outside, line.count)).collect()
    }

    fn ranges(uids: &[(u32, u32)]) -> SubordinateIds {
        SubordinateIds { uids: uids.to_vec(), gids: uids.to_vec() }
    }

    #[test]
    fn default_maps() {
        type Row<'a> = (u32, &'a [(u32, u32)], &'a [(u32, u32, u32)]);
        let table: [Row<'_>; 5] = [
            (1001, &[(100_000, 65_536)], &[(0, 1001, 1), (1, 100_000, 65_536)]),
            (1001, &[], &[(0, 1001, 1)]),
            (1001, &[(100_000, 10), (200_000, 5)], &[(0, 1001, 1), (1, 100_000, 10), (11, 200_000, 5)]),
            // The own id inside a range, and a range that overlaps another.
            (5, &[(0, 10), (8, 4)], &[(0, 5, 1), (1, 0, 5), (6, 6, 4), (10, 10, 2)]),
            (1, &[(u32::MAX - 2, 100)], &[(0, 1, 1), (1, u32::MAX - 2, 2)]),
        ];
        for (own, subordinate, expected) in table {
            let map = default_map(own, own, &ranges(subordinate));
            assert_eq!(lines(&map.uids), expected, "{own} {subordinate:?}");
            assert_eq!(map.uids, map.gids);
        }
    }

    #[test]
    fn keep_id_maps() {
        type Row<'a> = (u32, &'a [(u32, u32)], &'a [(u32, u32, u32)]);
        let table: [Row<'_>; 4] = [
            (1001, &[(100_000, 65_536)], &[(0, 100_000, 1001), (1001, 1001, 1), (1002, 101_001, 64_535)]),
            (0, &[(100_000, 3)], &[(0, 1001, 1), (1, 100_000, 3)]),
            (50, &[(100_000, 10)], &[(0, 100_000, 10), (50, 1001, 1)]),
            (5, &[(10, 3), (20, 9)], &[(0, 10, 3), (3, 20, 2), (5, 1001, 1), (6, 22, 7)]),
        ];
        for (inside, subordinate, expected) in table {
            let map = keep_id_map((1001, 1001), (inside, inside), &ranges(subordinate));
            assert_eq!(lines(&map.uids), expected, "{inside} {subordinate:?}");
        }
    }
}
