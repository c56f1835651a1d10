//! Questions for the outside: one socket for each, so that an answer has to
//! come from the server that was asked, to a port and with a number that
//! nobody else knows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a server is waited for before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many servers are asked; who asks us gives up after some seconds too.
const MOST_SERVERS: usize = 3;

/// The longest message there is.
const LONGEST: usize = 65_535;

/// How a question came, which is how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The answer of the first server that has one; else what the last of them said in its place, if any said something.
pub(super) async fn ask(query: &[u8], servers: &[SocketAddr], transport: Transport) -> Option<Vec<u8>> {
    let mut excuse = None;
    for server in servers.iter().take(MOST_SERVERS) {
        let asked = async {
            match transport {
                Transport::Udp => over_udp(query, *server).await,
                Transport::Tcp => over_tcp(query, *server).await,
            }
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(reply)) if is_excuse(&reply) => excuse = Some(reply),
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    excuse
}

async fn over_udp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // The kernel hands a connected socket nothing that another address has sent.
    socket.connect(server).await?;
    let own = Question::new(query)?;
    socket.send(&own.bytes).await?;
    loop {
        socket.readable().await?;
        // The room is taken when something is there, not for each question that waits.
        let mut room = vec![0; LONGEST];
        match socket.try_recv(&mut room) {
            Ok(length) => {
                room.truncate(length);
                if let Some(reply) = own.answered(room) {
                    return Ok(reply);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn over_tcp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let own = Question::new(query)?;
    write_message(&mut stream, &own.bytes).await?;
    loop {
        let reply = read_message(&mut stream).await?;
        if let Some(reply) = own.answered(reply) {
            return Ok(reply);
        }
    }
}

/// Reads a message that has its length before it.
pub(super) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length before it, both at once: some servers take a length that comes alone for all.
pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await
}

/// A query under a number of our own.
struct Question {
    bytes: Vec<u8>,
    /// The number that it came with.
    id: [u8; 2],
}

impl Question {
    fn new(query: &[u8]) -> io::Result<Self> {
        let mut number = [0; 2];
        rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty())?;
        let mut bytes = query.to_vec();
        let place = bytes.first_chunk_mut().ok_or(io::ErrorKind::InvalidInput)?;
        let id = std::mem::replace(place, number);
        Ok(Self { bytes, id })
    }

    /// A reply under the number of the query, if it is one to this question.
    fn answered(&self, mut reply: Vec<u8>) -> Option<Vec<u8>> {
        let same_number = reply.first_chunk::<2>() == self.bytes.first_chunk::<2>();
        let is_reply = reply.get(2)? & 0x80 != 0;
        if !same_number || !is_reply || !same_question(question(&reply)?, question(&self.bytes)?) {
            return None;
        }
        *reply.first_chunk_mut()? = self.id;
        Some(reply)
    }
}

/// The only question of a message as it stands there: name, type and class.
fn question(message: &[u8]) -> Option<(&[u8], &[u8])> {
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let rest = message.get(12..)?;
    let mut end = 0;
    loop {
        match usize::from(*rest.get(end)?) {
            0 => break,
            label @ 1..=63 => end += 1 + label,
            // A first name has nothing before it that it could point to.
            _ => return None,
        }
    }
    Some((rest.get(..=end)?, rest.get(end + 1..end + 5)?))
}

fn same_question(one: (&[u8], &[u8]), other: (&[u8], &[u8])) -> bool {
    one.0.eq_ignore_ascii_case(other.0) && one.1 == other.1
}

/// Whether a server says that it cannot answer, so that another is worth a try.
fn is_excuse(reply: &[u8]) -> bool {
    const SERVER_FAILURE: u8 = 2;
    const NOT_IMPLEMENTED: u8 = 4;
    const REFUSED: u8 = 5;
    reply.get(3).is_some_and(|flags| [SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED].contains(&(flags & 0x0f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with one question for `name`, of type A.
    fn message(id: [u8; 2], flags: u8, name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![id[0], id[1], flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(name);
        bytes.extend([0, 1, 0, 1]);
        bytes
    }

    #[test]
    fn an_answer_is_to_the_question_that_was_asked() {
        let own = Question::new(&message([7, 8], 1, b"\x03web\x00")).unwrap();
        let id = *own.bytes.first_chunk().unwrap();
        let other = [id[0] ^ 1, id[1]];
        let back = own.answered(message(id, 0x81, b"\x03WEB\x00")).unwrap();
        assert_eq!(back, message([7, 8], 0x81, b"\x03WEB\x00"));
        let mut another_type = message(id, 0x81, b"\x03web\x00");
        another_type[18] = 28;
        let strangers = [
            message(other, 0x81, b"\x03web\x00"),
            message(id, 0x01, b"\x03web\x00"),
            message(id, 0x81, b"\x03wob\x00"),
            message(id, 0x81, b"\xc0\x0c"),
            message(id, 0x81, b"\x03we"),
            another_type,
            Vec::new(),
            vec![id[0], id[1]],
        ];
        for stranger in strangers {
            assert_eq!(own.answered(stranger.clone()), None, "{stranger:?}");
        }
    }

    #[test]
    fn some_answers_are_excuses() {
        for (code, excuse) in [(0, false), (1, false), (2, true), (3, false), (4, true), (5, true)] {
            assert_eq!(is_excuse(&[0, 0, 0x81, 0x80 | code]), excuse, "{code}");
        }
    }
}
