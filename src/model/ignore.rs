//! `.containerignore`, `.dockerignore` and `--exclude`: what of a tree does not exist for a build.

use super::pattern::matches;

/// Rules, the last one that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: String,
    /// `!`: what fits is there after all.
    kept: bool,
}

/// What is to be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Kept,
    /// It is not, and nothing below it is.
    Gone,
    /// It is not, but something below it may be.
    Below,
}

impl Ignore {
    /// Reads such a file.
    pub fn parse(text: &str) -> Self {
        let rule = |line: &str| {
            let line = line.trim();
            let (kept, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
            let pattern = clean(pattern);
            let comment = line.starts_with('#') || pattern.is_empty();
            (!comment).then_some(Rule { pattern, kept })
        };
        Self { rules: text.trim_start_matches('\u{feff}').lines().filter_map(rule).collect() }
    }

    /// The same from patterns, one each.
    pub fn of(patterns: &[String]) -> Self {
        Self::parse(&patterns.join("\n"))
    }

    /// Whether everything is there.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is to be done with `path`, by what it is called below `start`, which is kept itself.
    pub fn fate_below(&self, start: &[u8], path: &[u8]) -> Fate {
        let below = path.strip_prefix(start).unwrap_or(path);
        let below = below.strip_prefix(b"/").unwrap_or(below);
        if below.is_empty() { Fate::Kept } else { self.fate(&String::from_utf8_lossy(below)) }
    }

    /// What is to be done with `path`, which is relative to the context and without dots.
    pub fn fate(&self, path: &str) -> Fate {
        let mut gone = false;
        for rule in &self.rules {
            if rule.kept == gone && rule.fits(path) {
                gone = !rule.kept;
            }
        }
        match gone {
            false => Fate::Kept,
            true if self.rules.iter().any(|rule| rule.kept && may_be_below(&rule.pattern, path)) => Fate::Below,
            true => Fate::Gone,
        }
    }
}

impl Rule {
    /// A pattern fits what is below, too.
    fn fits(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.into_iter().any(|end| path.get(..end).is_some_and(|above| matches(&self.pattern, above)))
    }
}

/// Whether what fits `pattern` may be below the directory `path`.
fn may_be_below(pattern: &str, path: &str) -> bool {
    if pattern.starts_with("**") {
        return true;
    }
    let mut above = pattern.split('/');
    for name in path.split('/') {
        match above.next() {
            Some("**") => return true,
            Some(part) if matches(part, name) => {}
            _ => return false,
        }
    }
    above.next().is_some()
}

/// Without dots, slashes at the ends and doubled slashes.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_decides() {
        let ignore =
            Ignore::parse("# comment\n\n/target/\n*.log\n!keep.log\n**/__pycache__\ndocs\n!docs/README.md\n./a//b\n");
        for (path, fate) in [
            ("src", Fate::Kept),
            ("target", Fate::Gone),
            ("target/debug/x", Fate::Gone),
            ("x.log", Fate::Gone),
            ("keep.log", Fate::Kept),
            ("sub/x.log", Fate::Kept),
            ("a/__pycache__/x.pyc", Fate::Gone),
            ("docs", Fate::Below),
            ("docs/README.md", Fate::Kept),
            ("docs/other", Fate::Gone),
            ("a/b/c", Fate::Gone),
            ("a", Fate::Kept),
        ] {
            assert_eq!(ignore.fate(path), fate, "{path}");
        }
    }

    #[test]
    fn all_but_some() {
        let ignore = Ignore::parse("*\n!src\n!a/**/b\n");
        for (path, fate) in [
            ("src", Fate::Kept),
            ("src/x", Fate::Kept),
            ("other", Fate::Gone),
            ("a", Fate::Below),
            ("a/x", Fate::Below),
            ("a/x/b", Fate::Kept),
        ] {
            assert_eq!(ignore.fate(path), fate, "{path}");
        }
        assert_eq!(Ignore::default().fate("x"), Fate::Kept);
        assert_eq!(Ignore::parse("**\n!x/y").fate("x"), Fate::Below);
    }
}
