//! Questions at the terminal, past whatever standard input and output are.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::error::Problem;

/// Longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Whether the answer is seen while it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// It is.
    On,
    /// It is not: a password.
    Off,
}

/// Asks `question`; none if there is no terminal.
///
/// # Errors
/// If it is interrupted, or the terminal cannot be read.
pub(crate) fn ask(question: &str, echo: Echo) -> Result<Option<String>, Problem> {
    let Ok(mut terminal) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let failed = |error: io::Error| Problem::config(format!("read the terminal: {error}"));
    let quiet = Quiet::new(terminal.try_clone().map_err(failed)?).map_err(failed)?;
    terminal.write_all(question.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    loop {
        let mut byte = [0];
        if terminal.read(&mut byte).map_err(failed)? == 0 {
            break;
        }
        let step = typed(&mut answer, byte);
        let shown = match step {
            Step::More => (echo == Echo::On).then(|| byte.to_vec()),
            Step::Less(count) => (echo == Echo::On).then(|| b"\x08 \x08".repeat(count)),
            Step::End | Step::Interrupted => Some(b"\n".to_vec()),
            Step::Nothing => None,
        };
        terminal.write_all(&shown.unwrap_or_default()).map_err(failed)?;
        match step {
            Step::End => break,
            Step::Interrupted => return Err(Problem::user("interrupted").code(130)),
            Step::More | Step::Less(_) | Step::Nothing => {}
        }
    }
    drop(quiet);
    String::from_utf8(answer).map(Some).map_err(|_| Problem::user("what was typed is no UTF-8 text"))
}

/// What a byte does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    More,
    /// So many characters are gone.
    Less(usize),
    Nothing,
    End,
    Interrupted,
}

/// Adds a byte that was typed. The keys are those of a terminal's own line discipline.
fn typed(answer: &mut Vec<u8>, [byte]: [u8; 1]) -> Step {
    match byte {
        b'\r' | b'\n' => Step::End,
        0x03 | 0x1c => Step::Interrupted,
        0x04 if answer.is_empty() => Step::Interrupted,
        0x7f | 0x08 => Step::Less(usize::from(shorten(answer))),
        0x15 => {
            let mut count = 0;
            while shorten(answer) {
                count += 1;
            }
            Step::Less(count)
        }
        0..=0x1f => Step::Nothing,
        _ if answer.len() >= MAX_ANSWER => Step::Nothing,
        _ => {
            answer.push(byte);
            Step::More
        }
    }
}

/// Takes one character away, however many bytes it has.
fn shorten(answer: &mut Vec<u8>) -> bool {
    while let Some(byte) = answer.pop() {
        if byte & 0xc0 != 0x80 {
            return true;
        }
    }
    false
}

/// A terminal that shows nothing by itself and sends no signals, until this is dropped: Ctrl-C
/// comes as a byte, so that nothing can end us while it is so.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        // What was typed ahead is not for us.
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &[u8]) -> (String, Step) {
        let mut answer = Vec::new();
        let steps: Vec<Step> = keys.iter().map(|byte| typed(&mut answer, [*byte])).collect();
        (String::from_utf8(answer).expect("text"), *steps.last().expect("a key"))
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, text, last) in [
            (&b"ab\n"[..], "ab", Step::End),
            (b"ab\x7fc\r", "ac", Step::End),
            ("ä\u{7f}".as_bytes(), "", Step::Less(1)),
            (b"abc\x15", "", Step::Less(3)),
            (b"\x7f", "", Step::Less(0)),
            (b"a\x1bb", "ab", Step::More),
            (b"ab\x03", "ab", Step::Interrupted),
            (b"\x04", "", Step::Interrupted),
            (b"a\x04", "a", Step::Nothing),
        ] {
            assert_eq!(line(keys), (text.to_owned(), last), "{keys:?}");
        }
    }
}
