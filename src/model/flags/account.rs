//! `--user` and `--group-add`: the one grammar of ids, for run, exec and build.
//!
//! A word made of digits is a number and nothing else: it is never looked up as a
//! name, so a number too large cannot fall through to an account that an image
//! made up.

use super::InvalidFlag;

/// An account as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A number, 0 to 4294967294.
    Id(u32),
    /// A name to look up in the image's files.
    Name(String),
}

/// `user[:group]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// The user.
    pub user: Account,
    /// The group, if one was given.
    pub group: Option<Account>,
}

/// Reads `user`, `user:group`, `1000`, `1000:1000`.
///
/// # Errors
/// If a part is empty, a number is out of range or a name has odd characters.
pub fn parse_user(text: &str) -> Result<UserSpec, InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new("--user", text, reason);
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let group = group.map(account).transpose().map_err(refuse)?;
    Ok(UserSpec { user: account(user).map_err(refuse)?, group })
}

/// Reads a group of `--group-add`.
///
/// # Errors
/// As [`parse_user`].
pub fn parse_group(text: &str) -> Result<Account, InvalidFlag> {
    if text == "keep-groups" {
        return Err(InvalidFlag::new("--group-add", text, "the host's groups are never kept in a container"));
    }
    account(text).map_err(|reason| InvalidFlag::new("--group-add", text, reason))
}

fn account(word: &str) -> Result<Account, &'static str> {
    if word.is_empty() {
        return Err("expected user[:group], by name or number");
    }
    if word.bytes().all(|b| b.is_ascii_digit()) {
        // 4294967295 is (uid_t)-1, "leave it as it is" to the kernel.
        return match word.parse::<u32>() {
            Ok(id) if id != u32::MAX => Ok(Account::Id(id)),
            _ => Err("ids go from 0 to 4294967294"),
        };
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'$' | b'@' | b'+') || b >= 0x80;
    let starts_well = word.bytes().next().is_some_and(|b| !matches!(b, b'-' | b'+' | b'.' | b'@' | b'$'));
    if !starts_well || word.len() > 255 || !word.bytes().all(name) {
        return Err("expected user[:group], by name or number from 0 to 4294967294");
    }
    Ok(Account::Name(word.into()))
}
