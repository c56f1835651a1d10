//! User namespace maps, written by the setuid helpers of shadow-utils or by hand.
//!
//! newuidmap(1) and newgidmap(1) check the caller's ranges and write
//! `/proc/PID/{uid,gid}_map`; both run at the same time, by absolute path and
//! with an empty environment. What they wrote is read back and compared.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

/// A line of a map: first id inside, first id outside, how many.
pub type Line = (u32, u32, u32);

/// The helper programs, found once by the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helpers {
    /// Path of newuidmap.
    pub newuidmap: PathBuf,
    /// Path of newgidmap.
    pub newgidmap: PathBuf,
}

/// Why a map could not be written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// A helper could not be started.
    #[error("start {}", .0.display())]
    Start(PathBuf, #[source] std::io::Error),
    /// A helper refused.
    #[error("{} refused the id map: {}", .0.display(), .1)]
    Refused(PathBuf, String),
    /// A file in /proc could not be written or read.
    #[error("write {0}")]
    Proc(String, #[source] std::io::Error),
    /// The kernel shows another map than was asked for.
    #[error("{0} does not hold the map that was asked for")]
    Differs(String),
}

/// Directories that hold the helpers; `PATH` is the user's and is not asked.
const HELPER_DIRS: [&str; 6] =
    ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin", "/run/wrappers/bin", "/run/current-system/sw/bin"];

impl Helpers {
    /// Looks for both programs in the places where distributions put them; those without rights to lend are of no use.
    pub fn find() -> Option<Self> {
        let find = |name: &str| HELPER_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| lends_rights(path));
        Some(Self { newuidmap: find("newuidmap")?, newgidmap: find("newgidmap")? })
    }

    /// Gives the namespace of `pid` its maps. The process has to be held by the
    /// caller, so that the pid cannot come to mean another.
    ///
    /// # Errors
    /// With what a helper printed, or with the file that could not be read back.
    pub fn apply(&self, pid: u32, uids: &[Line], gids: &[Line]) -> Result<(), MapError> {
        let uid_helper = spawn(&self.newuidmap, pid, uids)?;
        let gid_helper = spawn(&self.newgidmap, pid, gids);
        // Both are awaited before either result is looked at: no child stays behind.
        let uid_done = finish(uid_helper, &self.newuidmap);
        let gid_done = gid_helper.and_then(|helper| finish(helper, &self.newgidmap));
        uid_done.and(gid_done)?;
        verify(pid, "uid_map", uids)?;
        verify(pid, "gid_map", gids)
    }
}

/// Whether who executes the file has rights that its caller has not: by its owner, or by capabilities.
fn lends_rights(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map(|facts| facts.permissions().mode()).unwrap_or_default();
    let capable = || rustix::fs::getxattr(path, "security.capability", &mut [0_u8; 32]).is_ok();
    mode & 0o111 != 0 && (mode & 0o4000 != 0 || capable())
}

/// Writes the maps by hand: for a privileged caller, or for one line that maps
/// the caller's own id (then `setgroups` is denied first, as the kernel demands).
///
/// # Errors
/// With the file that could not be written.
pub fn write_directly(pid: u32, uids: &[Line], gids: &[Line], deny_setgroups: bool) -> Result<(), MapError> {
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, text).map_err(|error| MapError::Proc(path, error))
    };
    if deny_setgroups {
        write("setgroups", "deny")?;
    }
    write("uid_map", &render(uids))?;
    write("gid_map", &render(gids))?;
    verify(pid, "uid_map", uids)?;
    verify(pid, "gid_map", gids)
}

/// Writes the maps by `helpers` where there are some, else by hand: for a privileged caller, or for one whose own id is
/// all that is mapped.
///
/// # Errors
/// As of either.
pub fn write(pid: u32, uids: &[Line], gids: &[Line], helpers: Option<&Helpers>) -> Result<(), MapError> {
    match helpers {
        Some(helpers) => helpers.apply(pid, uids, gids),
        None => write_directly(pid, uids, gids, !rustix::process::geteuid().is_root()),
    }
}

fn render(lines: &[Line]) -> String {
    lines.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect()
}

fn spawn(program: &Path, pid: u32, lines: &[Line]) -> Result<Child, MapError> {
    let numbers = lines.iter().flat_map(|(inside, outside, count)| [inside, outside, count]);
    Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(ToString::to_string))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| MapError::Start(program.into(), error))
}

fn finish(helper: Child, program: &Path) -> Result<(), MapError> {
    let output = helper.wait_with_output().map_err(|error| MapError::Start(program.into(), error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said
        .lines()
        .next()
        .filter(|line| !line.is_empty())
        .map_or_else(|| output.status.to_string(), |line| line.chars().take(300).collect());
    Err(MapError::Refused(program.into(), said))
}

fn verify(pid: u32, file: &str, lines: &[Line]) -> Result<(), MapError> {
    let path = format!("/proc/{pid}/{file}");
    let text = std::fs::read_to_string(&path).map_err(|error| MapError::Proc(path.clone(), error))?;
    if parse(&text) == Some(lines.to_vec()) { Ok(()) } else { Err(MapError::Differs(path)) }
}

/// Reads the text of a `uid_map` file.
pub fn parse(text: &str) -> Option<Vec<Line>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_back() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(parse(text), Some(vec![(0, 1000, 1), (1, 100_000, 65536)]));
        assert_eq!(parse("0 x 1"), None);
        assert_eq!(render(&[(0, 1000, 1)]), "0 1000 1\n");
    }
}
