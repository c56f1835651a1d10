//! The closed list of mount options, and how they exclude one another.

use super::{InvalidFlag, size};

/// Propagation of a bind mount, mount_namespaces(7).
const PROPAGATION: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Options of which a mount has at most one each.
const PAIRS: [(&str, &str); 4] = [("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), ("bind", "rbind")];

/// Gathers the options of one mount.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `ro` or `rw` as typed.
    pub(super) read_only: Option<bool>,
    /// The others, in order.
    pub(super) words: Vec<String>,
}

/// Which options a kind of mount knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Directories and files of the host.
    Bind,
    /// Volumes, named or not.
    Volume,
    /// File systems in memory.
    Tmpfs,
}

impl Options {
    /// Takes one option in.
    pub(super) fn take(&mut self, kind: Kind, word: &str) -> Result<(), String> {
        match word {
            "ro" | "readonly" => return self.access(true),
            "rw" => return self.access(false),
            "z" | "Z" if kind != Kind::Tmpfs => {}
            "nocopy" if kind == Kind::Volume => {}
            "U" => return Err("changing the owner of a source (U) is not supported".into()),
            "bind" | "rbind" if kind == Kind::Bind => {}
            _ if PROPAGATION.contains(&word) && kind == Kind::Bind => {
                return self.only_one(word, &PROPAGATION, "one propagation");
            }
            _ if PAIRS.iter().take(3).any(|(yes, no)| word == *yes || word == *no) => {}
            _ if kind == Kind::Tmpfs => return self.tmpfs(word),
            _ => return Err(format!("unknown option {word:?}; known are {}", known(kind))),
        }
        if let Some((yes, no)) = PAIRS.iter().find(|(yes, no)| word == *yes || word == *no) {
            return self.only_one(word, &[yes, no], "one of the two");
        }
        if matches!(word, "z" | "Z") {
            return self.only_one(word, &["z", "Z"], "one of the two");
        }
        self.words.push(word.to_owned());
        Ok(())
    }

    fn access(&mut self, read_only: bool) -> Result<(), String> {
        if self.read_only.is_some_and(|before| before != read_only) {
            return Err("both ro and rw are given".into());
        }
        self.read_only = Some(read_only);
        Ok(())
    }

    fn only_one(&mut self, word: &str, group: &[&str], wanted: &str) -> Result<(), String> {
        match self.words.iter().find(|before| group.contains(&before.as_str())) {
            Some(before) if before == word => Ok(()),
            Some(before) => Err(format!("{before} and {word} are both given; expected {wanted}")),
            None => {
                self.words.push(word.to_owned());
                Ok(())
            }
        }
    }

    /// `size=`, `mode=`, `uid=`, `gid=`, `nr_inodes=` of tmpfs(5), in the kernel's own form.
    fn tmpfs(&mut self, word: &str) -> Result<(), String> {
        let (name, value) =
            word.split_once('=').ok_or_else(|| format!("unknown option {word:?}; known are {}", known(Kind::Tmpfs)))?;
        let digits =
            |most: usize| !value.is_empty() && value.len() <= most && value.bytes().all(|b| b.is_ascii_digit());
        let value = match name {
            "size"
                if value.strip_suffix('%').is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=100).contains(&n))) =>
            {
                value.to_owned()
            }
            "size" => {
                size::parse("size", value).map_err(|error| format!("size={value}: {}", error.reason))?.to_string()
            }
            "mode" if (1..=5).contains(&value.len()) && u32::from_str_radix(value, 8).is_ok_and(|m| m <= 0o7777) => {
                format!("{:04o}", u32::from_str_radix(value, 8).unwrap_or_default())
            }
            "mode" => return Err(format!("mode={value}: expected octal digits, as in 1777")),
            "uid" | "gid" if digits(10) && value.parse::<u32>().is_ok_and(|id| id != u32::MAX) => value.to_owned(),
            "nr_inodes" if digits(12) => value.to_owned(),
            "uid" | "gid" | "nr_inodes" => return Err(format!("{name}={value}: expected a number")),
            _ => return Err(format!("unknown option {name:?}; known are {}", known(Kind::Tmpfs))),
        };
        let prefix = format!("{name}=");
        self.words.retain(|before| !before.starts_with(&prefix));
        self.words.push(format!("{prefix}{value}"));
        Ok(())
    }
}

fn known(kind: Kind) -> &'static str {
    match kind {
        Kind::Bind => "ro, rw, z, Z, bind, rbind, [r]private, [r]shared, [r]slave, [no]exec, [no]suid, [no]dev",
        Kind::Volume => "ro, rw, z, Z, nocopy, [no]exec, [no]suid, [no]dev",
        Kind::Tmpfs => "ro, rw, size=, mode=, uid=, gid=, nr_inodes=, [no]exec, [no]suid, [no]dev",
    }
}

/// The error of flag `flag` for `text`.
pub(super) fn refuse(flag: &'static str, text: &str) -> impl Fn(String) -> InvalidFlag {
    move |reason| InvalidFlag::new(flag, text, reason)
}
