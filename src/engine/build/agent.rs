//! The caller's agent of ssh, for one command.
//!
//! What the command is shown is a socket of our own: it can belong to whomever the file names, which the agent's
//! cannot, and an agent answers nobody but its own user. Whoever connects is answered by the agent, as far as he
//! asks for keys and signatures. All else an agent can do (take keys, lose them, lock itself) is the caller's own
//! business, and a build file may be anybody's.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::engine::api::{Failure, FailureKind};

/// As long as a message of OpenSSH's agent may be.
const LONGEST: usize = 256 << 10;
/// As many talk to an agent at once, for one command.
const MOST: usize = 64;
/// How long an agent may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(5);

// Numbers of the protocol (draft-ietf-sshm-ssh-agent, section 6.1).
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const EXTENSION: u8 = 27;
/// What tells programs where an agent listens.
pub(super) const VARIABLE: &str = "SSH_AUTH_SOCK";
/// Tells the agent which host a connection leads to; some keys are for some hosts only.
const SESSION_BIND: &[u8] = b"session-bind@openssh.com";

/// Answers on a socket for as long as it lives.
pub(super) struct Forwarder {
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
}

/// One who talks to the agent.
struct Talk {
    client: UnixStream,
    agent: UnixStream,
}

impl Forwarder {
    /// Answers whoever connects to `listener` as the agent at `path` does.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub(super) fn start(listener: UnixListener, path: &Path) -> Result<Self, Failure> {
        connect(path).map_err(|error| {
            let failure = Failure::say(FailureKind::Invalid, format!("ask the agent at {}: {error}", path.display()));
            failure.hint(format!("does it run? SSH_AUTH_SOCK={} ssh-add -l", path.display()))
        })?;
        let listener = Arc::new(listener);
        let (heard, path) = (Arc::clone(&listener), path.to_owned());
        let thread = std::thread::Builder::new().name("ssh".to_owned()).spawn(move || serve(&heard, &path));
        let failed = |error| Failure::say(FailureKind::Host, format!("start a thread: {error}"));
        Ok(Self { listener, thread: Some(thread.map_err(failed)?) })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Whoever waits in accept(2) then hears that there is nothing to wait for.
        let _ = rustix::net::shutdown(self.listener.as_fd(), rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Lets in whoever comes, until the listener is shut down; returns when all have gone.
fn serve(listener: &UnixListener, path: &Path) {
    let talks: Mutex<Vec<Arc<Talk>>> = Mutex::default();
    std::thread::scope(|scope| {
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Too many descriptors are open, for now.
                Err(error) if is_passing(&error) => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Err(_) => break,
            };
            let mut known = talks.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|talk| Arc::strong_count(talk) > 1);
            if known.len() >= MOST {
                continue;
            }
            // Whom the agent does not let in finds nobody there.
            let Ok(agent) = connect(path) else { continue };
            let talk = Arc::new(Talk { client, agent });
            known.push(Arc::clone(&talk));
            // Without a thread, the talk is over when it is dropped here.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || talk.go());
        }
        // The command has ended; what it left waiting ends, too.
        for talk in talks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            talk.end();
        }
    });
}

fn is_passing(error: &io::Error) -> bool {
    let passing = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::CONNABORTED];
    error.raw_os_error().is_some_and(|code| passing.iter().any(|errno| errno.raw_os_error() == code))
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let address = SocketAddrUnix::new(path)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(UnixStream::from(socket))
}

impl Talk {
    fn go(&self) {
        // It ends when either side does; there is nobody to tell.
        let _ = talk(&mut &self.client, &mut &self.agent);
        self.end();
    }

    fn end(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.agent.shutdown(Shutdown::Both);
    }
}

/// Questions and answers in turn, until one side ends.
fn talk(client: &mut (impl Read + Write), agent: &mut (impl Read + Write)) -> io::Result<()> {
    while let Some(question) = read(client)? {
        if !is_allowed(&question) {
            write(client, &[FAILURE])?;
            continue;
        }
        write(agent, &question)?;
        let Some(answer) = read(agent)? else { break };
        write(client, &answer)?;
    }
    Ok(())
}

/// Whether a build may ask this.
fn is_allowed(question: &[u8]) -> bool {
    match question {
        [REQUEST_IDENTITIES | SIGN_REQUEST, ..] => true,
        [EXTENSION, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            usize::try_from(length).ok().and_then(|length| rest.get(..length)) == Some(SESSION_BIND)
        }
        _ => false,
    }
}

/// One message: its length in four bytes, then itself. None at the end of the stream.
fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = Vec::new();
    from.take(length as u64).read_to_end(&mut message)?;
    if message.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(message)) }
}

fn write(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    to.write_all(&[&length.to_be_bytes(), message].concat())
}

/// The agents of a command: where each is, and who answers there.
#[derive(Default)]
pub(super) struct Agents {
    forwarders: Vec<Forwarder>,
    /// Where the command finds the first one.
    first: Option<String>,
}

impl Agents {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.forwarders.len()
    }

    /// Another one, which the command finds at `target`.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) fn add(&mut self, target: &str, listener: UnixListener, agent: &Path) -> Result<(), Failure> {
        self.forwarders.push(Forwarder::start(listener, agent)?);
        self.first.get_or_insert_with(|| target.to_owned());
        Ok(())
    }

    /// The variable that tells programs of the first one.
    pub(super) fn variable(&self) -> Option<(String, String)> {
        self.first.clone().map(|first| (VARIABLE.to_owned(), first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        write(&mut framed, bytes).expect("memory");
        framed
    }

    fn extension(name: &str) -> Vec<u8> {
        let length = u32::try_from(name.len()).expect("short").to_be_bytes();
        [&[EXTENSION], length.as_slice(), name.as_bytes(), b"more"].concat()
    }

    #[test]
    fn keys_and_signatures_are_all_that_is_passed_on() {
        for (question, allowed) in [
            (vec![REQUEST_IDENTITIES], true),
            (vec![SIGN_REQUEST, 1, 2], true),
            (extension("session-bind@openssh.com"), true),
            (extension("session-bind@openssh.com2"), false),
            (extension("query"), false),
            (vec![EXTENSION, 0, 0], false),
            (vec![EXTENSION, 255, 255, 255, 255, 1], false),
            // Add, remove, remove all, lock, and a number that nobody has.
            (vec![17, 0], false),
            (vec![18, 0], false),
            (vec![19], false),
            (vec![22, 0], false),
            (vec![200], false),
            (vec![], false),
        ] {
            assert_eq!(is_allowed(&question), allowed, "{question:?}");
        }
    }

    #[test]
    fn messages_have_limits() {
        assert_eq!(read(&mut [].as_slice()).expect("the end"), None);
        assert_eq!(read(&mut message(b"ab").as_slice()).expect("one"), Some(b"ab".to_vec()));
        assert!(read(&mut [0, 0, 0, 0].as_slice()).is_err(), "of no length");
        assert!(read(&mut [0, 0, 0, 9, 1].as_slice()).is_err(), "cut off");
        assert!(read(&mut [255, 255, 255, 255, 1].as_slice()).is_err(), "too long");
    }

    /// The agent is a thread that answers each question with itself, and says what it was asked.
    #[test]
    fn whoever_connects_is_answered_until_the_command_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let (theirs, ours) = (dir.path().join("agent"), dir.path().join("ours"));
        let agent = UnixListener::bind(&theirs).expect("bind");
        std::thread::spawn(move || {
            for stream in agent.incoming().flatten() {
                std::thread::spawn(move || {
                    while let Ok(Some(question)) = read(&mut &stream) {
                        write(&mut &stream, &question).expect("answer");
                    }
                });
            }
        });
        let mut agents = Agents::default();
        assert_eq!(agents.variable(), None);
        agents.add("/run/x", UnixListener::bind(&ours).expect("bind"), &theirs).expect("an agent");
        let asks = |stream: &UnixStream, question: &[u8]| {
            write(&mut &*stream, question).expect("ask");
            read(&mut &*stream).expect("an answer").expect("an answer")
        };
        let (one, two) = (UnixStream::connect(&ours).expect("connect"), UnixStream::connect(&ours).expect("connect"));
        assert_eq!(asks(&one, &[REQUEST_IDENTITIES]), [REQUEST_IDENTITIES]);
        assert_eq!(asks(&two, &[SIGN_REQUEST, 7]), [SIGN_REQUEST, 7]);
        assert_eq!(asks(&one, &[19]), [FAILURE]);
        assert_eq!(asks(&one, &[SIGN_REQUEST]), [SIGN_REQUEST]);
        assert_eq!(agents.variable(), Some((VARIABLE.to_owned(), "/run/x".to_owned())));
        drop(agents);
        assert_eq!(read(&mut &one).expect("the end"), None);
        assert!(UnixStream::connect(&ours).is_err(), "nobody answers any more");
    }

    #[test]
    fn an_agent_that_is_not_there_is_told_of() {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("ours")).expect("bind");
        let failure = Agents::default().add("/x", listener, Path::new("/nowhere/agent")).expect_err("nobody");
        assert!(failure.message.starts_with("ask the agent at /nowhere/agent: "), "{failure:?}");
    }
}
