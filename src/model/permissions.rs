//! Permission bits as `chmod` takes them: `755`, or `u=rwX,go=rX`.

use serde::{Deserialize, Serialize};

/// What becomes of the permission bits of a file.
///
/// However many parts it is written in, together they keep some bits and set others; what `X` says depends on the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Of directories, and of files that somebody may execute.
    executable: Bits,
    /// Of other files.
    other: Bits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bits {
    kept: u32,
    set: u32,
}

const ALL: u32 = 0o7777;

impl Bits {
    const NOTHING: Self = Self { kept: ALL, set: 0 };

    fn then(self, operation: char, bits: u32, who: u32) -> Self {
        let cleared = match operation {
            '+' => 0,
            '-' => bits,
            _ => who,
        };
        let set = if operation == '-' { 0 } else { bits };
        Self { kept: self.kept & !cleared, set: (self.set & !cleared) | set }
    }
}

impl Permissions {
    /// These bits and no others.
    pub const fn of(mode: u32) -> Self {
        let bits = Bits { kept: 0, set: mode & ALL };
        Self { executable: bits, other: bits }
    }

    /// Reads them as they are typed; none for what makes no sense.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            return u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= ALL).map(Self::of);
        }
        let start = Self { executable: Bits::NOTHING, other: Bits::NOTHING };
        text.split(',').try_fold(start, Self::clause)
    }

    /// `go+rX`, also with several operations.
    fn clause(self, text: &str) -> Option<Self> {
        let first = text.find(['+', '-', '='])?;
        let (people, mut rest) = text.split_at(first);
        let mut who = if people.is_empty() { ALL } else { 0 };
        for person in people.chars() {
            who |= match person {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => ALL,
                _ => return None,
            };
        }
        let mut made = self;
        while let Some(operation) = rest.chars().next() {
            rest = rest.get(1..)?;
            let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let (letters, after) = rest.split_at(end);
            rest = after;
            let (mut bits, mut of_executables) = (0, 0);
            for letter in letters.chars() {
                match letter {
                    'r' => bits |= 0o444,
                    'w' => bits |= 0o222,
                    'x' => bits |= 0o111,
                    'X' => of_executables |= 0o111,
                    's' => bits |= 0o6000,
                    't' => bits |= 0o1000,
                    _ => return None,
                }
            }
            made.executable = made.executable.then(operation, (bits | of_executables) & who, who);
            made.other = made.other.then(operation, bits & who, who);
        }
        Some(made)
    }

    /// The bits of a file that had these before.
    pub fn of_file(&self, before: u32, is_directory: bool) -> u32 {
        let bits = if is_directory || before & 0o111 != 0 { self.executable } else { self.other };
        (before & bits.kept) | bits.set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_as_chmod_sets_them() {
        // Each seen with chmod(1), umask 0: what is typed, a file before and after, a directory of the same bits after.
        for (text, before, file, directory) in [
            ("755", 0o600, 0o755, 0o755),
            ("0o4711", 0o600, 0o4711, 0o4711),
            ("u+x", 0o644, 0o744, 0o744),
            ("+x", 0o644, 0o755, 0o755),
            ("a-w", 0o666, 0o444, 0o444),
            ("go=", 0o777, 0o700, 0o700),
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("u=rwX,go=rX", 0o700, 0o755, 0o755),
            ("u=rw,g=r,o=", 0o777, 0o640, 0o640),
            ("ug+s", 0o755, 0o6755, 0o6755),
            ("+t", 0o755, 0o1755, 0o1755),
            ("u+t", 0o755, 0o755, 0o755),
            ("u-x+w", 0o555, 0o655, 0o655),
            ("g=u", 0o700, 0, 0),
            ("", 0o700, 0, 0),
            ("u", 0o700, 0, 0),
            ("u+y", 0o700, 0, 0),
            ("z+r", 0o700, 0, 0),
            ("u+x,", 0o700, 0, 0),
            ("9", 0o700, 0, 0),
            ("77777", 0o700, 0, 0),
        ] {
            let parsed = Permissions::parse(text);
            assert_eq!(parsed.is_none(), file == 0, "{text}");
            let Some(parsed) = parsed else { continue };
            assert_eq!((parsed.of_file(before, false), parsed.of_file(before, true)), (file, directory), "{text}");
        }
    }
}
