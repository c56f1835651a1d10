//! The file of happenings: one JSON document a line, appended by whoever did it.
//!
//! A line is one write(2) to a file opened with O_APPEND, so lines of many
//! processes stand one after the other. A file that has grown is renamed; who
//! reads it reads the old one first.
//!
//! What happens to containers stands in systemd's journal too, where there is one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::logs::journal::entry::{Entry, Sender};
use crate::logs::journal::{EVENT, EVENT_ID, TIME};
use crate::model::event::{Happening, Kind};

/// All our entries of happenings have this `MESSAGE_ID`.
const MESSAGE_ID: &str = "2c85354fedb24a87ab6307117d59bcbb";

/// The size from which a new file is begun.
const LARGE: u64 = 4 << 20;

/// Where the file goes when a new one is begun.
pub fn older(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// Appends a line, and tells the journal.
///
/// # Errors
/// Those of the file system: what happened has happened all the same.
pub fn append(path: &Path, happening: &Happening) -> std::io::Result<()> {
    if happening.kind == Kind::Container {
        // The file is what counts. Nobody waits for a journal that has no room, and most machines of CI have none.
        let _ = Sender::new(None).and_then(|mut journal| journal.send(&entry(happening)));
    }
    let mut line = serde_json::to_vec(happening)?;
    line.push(b'\n');
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = std::fs::File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(&line)?;
    if file.metadata()?.len() > LARGE {
        // Two who do this at once lose the older file sooner, never the current one.
        std::fs::rename(path, older(path))?;
    }
    Ok(())
}

/// The entry of the journal for it.
fn entry(happening: &Happening) -> Entry {
    let attribute = |name: &str| happening.attributes.get(name).map_or("", String::as_str);
    let (name, code) = (attribute("name"), attribute("exitCode"));
    let more = if code.is_empty() { String::new() } else { format!(" (exit code {code})") };
    let mut entry = Entry::default()
        .with("MESSAGE", format!("container {name}: {}{more}", happening.action))
        .with("MESSAGE_ID", MESSAGE_ID)
        .with("PRIORITY", "6")
        .with("SYSLOG_IDENTIFIER", "pybox")
        .with(TIME, happening.time.saturating_mul(1_000_000).to_string())
        .with("PYBOX_TYPE", happening.kind.word())
        .with(EVENT, &happening.action)
        .with(EVENT_ID, &happening.id)
        .with("PYBOX_NAME", name)
        .with("PYBOX_IMAGE", attribute("image"));
    if !code.is_empty() {
        entry.add("PYBOX_EXIT_CODE", code);
    }
    if let Ok(all) = serde_json::to_vec(&happening.attributes) {
        entry.add("PYBOX_ATTRIBUTES", all);
    }
    entry
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::logs::journal::entry::fields;

    #[test]
    fn the_journal_hears_what_happens() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("socket");
        let listener = UnixDatagram::bind(&path).expect("bind");
        let attributes = [("name", "web"), ("image", "debian:12"), ("exitCode", "3"), ("tier", "front")];
        let happening = Happening {
            time: 5,
            kind: Kind::Container,
            action: "die".to_owned(),
            id: "c0ffee".to_owned(),
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        };
        Sender::to(&path, None).expect("a socket").send(&entry(&happening)).expect("sent");
        let mut buffer = [0; 4096];
        let count = listener.recv(&mut buffer).expect("an entry");
        let told = fields(&buffer[..count]);
        for field in [
            "MESSAGE=container web: die (exit code 3)",
            "PYBOX_EVENT=die",
            "PYBOX_ID=c0ffee",
            "PYBOX_TIME=5000000",
            "PYBOX_NAME=web",
            "PYBOX_EXIT_CODE=3",
            r#"PYBOX_ATTRIBUTES={"exitCode":"3","image":"debian:12","name":"web","tier":"front"}"#,
        ] {
            assert!(told.iter().any(|it| it == field), "{field} is missing: {told:?}");
        }
    }
}
