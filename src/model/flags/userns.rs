//! `--userns`.

use crate::model::container::UserNamespace;

use super::InvalidFlag;

const FLAG: &str = "--userns";

/// Reads `keep-id`, `keep-id:uid=1000,gid=1000`, `host`; `private`, `auto` and the
/// empty word are the default.
///
/// # Errors
/// If it is another mode, or an id is not valid.
pub fn parse(text: &str) -> Result<UserNamespace, InvalidFlag> {
    let refuse = |reason: &str| InvalidFlag::new(FLAG, text, reason);
    match text {
        "" | "private" | "auto" => return Ok(UserNamespace::Default),
        "host" => return Ok(UserNamespace::Host),
        "keep-id" => return Ok(UserNamespace::KeepId { uid: None, gid: None }),
        _ => {}
    }
    let options =
        text.strip_prefix("keep-id:").ok_or_else(|| refuse("expected keep-id[:uid=N,gid=N], private or host"))?;
    let (mut uid, mut gid) = (None, None);
    for option in options.split(',') {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let id = value.parse::<u32>().ok().filter(|id| digits && *id != u32::MAX);
        let place = match key {
            "uid" => &mut uid,
            "gid" => &mut gid,
            _ => return Err(refuse("keep-id knows uid=N and gid=N")),
        };
        if place.is_some() {
            return Err(refuse("an option is given twice"));
        }
        *place = Some(id.ok_or_else(|| refuse("ids go from 0 to 4294967294"))?);
    }
    Ok(UserNamespace::KeepId { uid, gid })
}
