//! Subordinate ids: the ranges of subuid(5) and subgid(5), and the maps made of them.
//!
//! Pure: the text comes from the caller, whoever read it (the files, or getsubids(1)).

use super::host::IdRange;

/// How many subordinate ids a user should have: enough for every id below 65536
/// that an image's files may bear.
pub const ENOUGH: u32 = 65536;

/// The first id that distributions hand out (`SUB_UID_MIN` of login.defs(5)).
const FIRST: u64 = 100_000;

/// A run of ids outside of the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subids {
    /// The first one.
    pub start: u32,
    /// How many follow one another; at least 1.
    pub count: u32,
}

/// A line of `/etc/subuid` or `/etc/subgid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A login name, or a user id in decimal.
    pub owner: String,
    /// What the owner may map.
    pub ids: Subids,
}

/// Why ranges cannot be mapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubids {
    /// The kernel refuses to map an id twice.
    #[error("the range {}:{} holds the own id {}", .0.start, .0.count, .1)]
    HoldsOwnId(Subids, u32),
    /// The same.
    #[error("the ranges {}:{} and {}:{} overlap", .0.start, .0.count, .1.start, .1.count)]
    Overlap(Subids, Subids),
}

impl Subids {
    /// One past the last id.
    fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.count)
    }

    /// Whether an id is in both.
    fn overlaps(self, other: Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }

    /// As `usermod --add-subuids` takes it: first and last id.
    pub fn as_span(self) -> String {
        format!("{}-{}", self.start, self.end().saturating_sub(1))
    }
}

/// Reads a whole file; lines that are none are passed over, as shadow does.
pub fn parse(text: &str) -> Vec<Line> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let mut fields = line.trim().split(':');
    let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
    let ids = valid(start.trim(), count.trim())?;
    (!owner.is_empty() && !owner.starts_with('#')).then(|| Line { owner: owner.to_owned(), ids })
}

fn valid(start: &str, count: &str) -> Option<Subids> {
    let ids = Subids { start: start.parse().ok()?, count: count.parse().ok()? };
    // The very last id, (uid_t) -1, means "no id".
    (ids.count > 0 && ids.end() <= u64::from(u32::MAX)).then_some(ids)
}

/// Reads what `getsubids` prints: `0: name 100000 65536`.
pub fn parse_getsubids(text: &str) -> Vec<Subids> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().rev();
        let (count, start) = (words.next()?, words.next()?);
        valid(start, count)
    };
    text.lines().filter_map(line).collect()
}

/// The ranges in `lines` of the user called `name` with the id `uid`.
pub fn owned_by(lines: &[Line], name: Option<&str>, uid: u32) -> Vec<Subids> {
    let uid = uid.to_string();
    lines.iter().filter(|line| line.owner == uid || Some(line.owner.as_str()) == name).map(|line| line.ids).collect()
}

/// Owners of ranges in `lines` that overlap with `mine`, apart from the owner
/// with this name and id: their containers and ours can touch each other's files.
pub fn shared_with<'l>(lines: &'l [Line], mine: &[Subids], name: Option<&str>, uid: u32) -> Vec<&'l str> {
    let uid = uid.to_string();
    let others = lines.iter().filter(|line| line.owner != uid && Some(line.owner.as_str()) != name);
    others.filter(|line| mine.iter().any(|range| range.overlaps(line.ids))).map(|line| line.owner.as_str()).collect()
}

/// Checks that the kernel would take a map of `own` and `ranges`.
///
/// # Errors
/// With the ranges that stand in each other's way.
pub fn check(own: u32, ranges: &[Subids]) -> Result<(), InvalidSubids> {
    for (index, range) in ranges.iter().enumerate() {
        if range.overlaps(Subids { start: own, count: 1 }) {
            return Err(InvalidSubids::HoldsOwnId(*range, own));
        }
        if let Some(other) = ranges.iter().skip(index + 1).find(|other| range.overlaps(**other)) {
            return Err(InvalidSubids::Overlap(*range, *other));
        }
    }
    Ok(())
}

/// The first [`ENOUGH`] ids in a row that no line of `taken` holds.
pub fn first_free(taken: &[Line]) -> Subids {
    let mut ranges: Vec<Subids> = taken.iter().map(|line| line.ids).collect();
    ranges.sort_by_key(|range| range.start);
    let start = ranges.iter().fold(FIRST, |start, range| {
        let fits = start + u64::from(ENOUGH) <= u64::from(range.start);
        if fits { start } else { start.max(range.end()) }
    });
    Subids { start: u32::try_from(start).unwrap_or(u32::MAX - ENOUGH), count: ENOUGH }
}

/// The map of a container whose id `inside` is `own` outside: all other ids,
/// from 0 on, are taken from `ranges` in their order. With `inside` = 0 this is
/// the map of a rootless container, with `inside` = `own` that of keep-id.
pub fn map(inside: u32, own: u32, ranges: &[Subids]) -> Vec<IdRange> {
    let mut lines = Vec::with_capacity(ranges.len() + 2);
    let mut next = 0;
    let mut placed = false;
    for range in ranges {
        let mut rest = *range;
        // How many ids of this range come before the own one.
        let before = inside.saturating_sub(next).min(rest.count);
        if !placed && before < rest.count {
            push(&mut lines, next, rest.start, before);
            push(&mut lines, inside, own, 1);
            rest = Subids { start: rest.start.saturating_add(before), count: rest.count - before };
            next = inside.saturating_add(1);
            placed = true;
        }
        push(&mut lines, next, rest.start, rest.count);
        next = next.saturating_add(rest.count);
    }
    if !placed {
        push(&mut lines, inside, own, 1);
    }
    lines
}

fn push(lines: &mut Vec<IdRange>, inside: u32, outside: u32, count: u32) {
    if count > 0 {
        lines.push(IdRange { inside, outside, count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
alice:100000:65536
# a comment
bob:165536:65536

1001:300000:10
alice:400000:1000
broken
zero:5:0
big:4294967295:2
spaced: 500000 : 7
";

    fn ids(start: u32, count: u32) -> Subids {
        Subids { start, count }
    }

    fn triples(lines: &[IdRange]) -> Vec<(u32, u32, u32)> {
        lines.iter().map(|line| (line.inside, line.outside, line.count)).collect()
    }

    #[test]
    fn finds_ranges_by_name_and_by_number() {
        let lines = parse(FILE);
        assert_eq!(lines.len(), 5);
        assert_eq!(owned_by(&lines, Some("alice"), 1000), [ids(100_000, 65536), ids(400_000, 1000)]);
        assert_eq!(owned_by(&lines, Some("carol"), 1001), [ids(300_000, 10)]);
        assert_eq!(owned_by(&lines, None, 1001), [ids(300_000, 10)]);
        assert_eq!(owned_by(&lines, Some("spaced"), 1), [ids(500_000, 7)]);
        assert_eq!(owned_by(&lines, Some("nobody"), 65534), []);
    }

    #[test]
    fn reads_getsubids() {
        let text = "0: alice 100000 65536\n1: alice 400000 1000\n";
        assert_eq!(parse_getsubids(text), [ids(100_000, 65536), ids(400_000, 1000)]);
        assert_eq!(parse_getsubids("Error fetching ranges\n"), []);
    }

    #[test]
    fn overlaps_are_seen() {
        assert_eq!(check(1000, &[ids(100_000, 65536), ids(165_536, 1)]), Ok(()));
        assert_eq!(check(1000, &[ids(1000, 5)]), Err(InvalidSubids::HoldsOwnId(ids(1000, 5), 1000)));
        assert_eq!(check(1, &[ids(10, 5), ids(14, 2)]), Err(InvalidSubids::Overlap(ids(10, 5), ids(14, 2))));
        let lines = parse("a:100000:65536\nb:165535:10\nc:165536:10\n1000:100000:1\n");
        assert_eq!(shared_with(&lines, &[ids(100_000, 65536)], Some("a"), 1000), ["b"]);
    }

    #[test]
    fn a_free_range_is_offered() {
        for (file, start) in [
            ("", 100_000),
            ("a:100000:65536", 165_536),
            ("b:300000:65536\na:100000:65536", 165_536),
            ("b:165536:1\na:100000:65536", 165_537),
            ("a:500:65536", 100_000),
            ("a:99999:2", 100_001),
        ] {
            assert_eq!(first_free(&parse(file)).start, start, "{file}");
        }
        assert_eq!(first_free(&[]).as_span(), "100000-165535");
    }

    #[test]
    fn root_inside_is_the_user_outside() {
        assert_eq!(triples(&map(0, 1000, &[ids(100_000, 65536)])), [(0, 1000, 1), (1, 100_000, 65536)]);
        assert_eq!(triples(&map(0, 1000, &[])), [(0, 1000, 1)]);
        let two = [ids(100_000, 10), ids(200_000, 5)];
        assert_eq!(triples(&map(0, 1000, &two)), [(0, 1000, 1), (1, 100_000, 10), (11, 200_000, 5)]);
    }

    #[test]
    fn keep_id_puts_the_user_at_its_own_id() {
        let ranges = [ids(100_000, 65536)];
        assert_eq!(triples(&map(5, 1000, &ranges)), [(0, 100_000, 5), (5, 1000, 1), (6, 100_005, 65531)]);
        let two = [ids(100_000, 5), ids(200_000, 5)];
        assert_eq!(triples(&map(5, 9, &two)), [(0, 100_000, 5), (5, 9, 1), (6, 200_000, 5)]);
        assert_eq!(triples(&map(7, 9, &two)), [(0, 100_000, 5), (5, 200_000, 2), (7, 9, 1), (8, 200_002, 3)]);
        assert_eq!(triples(&map(900, 9, &two)), [(0, 100_000, 5), (5, 200_000, 5), (900, 9, 1)], "beyond all ranges");
    }
}
