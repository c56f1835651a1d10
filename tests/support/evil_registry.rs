//! A registry on loopback that does what a test tells it to, right or wrong,
//! and writes down every request with its headers.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Seen {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How much of a request's body is read before the connection is cut; all of it if none.
type Cut = dyn Fn(&Seen) -> Option<usize> + Send + Sync;

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// How the body is sent.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// With its length.
    Whole(Vec<u8>),
    /// With the length of `claimed`, but only so many bytes of it; then the connection is closed.
    Cut { claimed: usize, sent: Vec<u8> },
    /// In one chunk of chunked coding.
    Chunked(Vec<u8>),
    /// With the length of `claimed`; after these bytes nothing more, and the connection stays.
    Stalled { claimed: usize, sent: Vec<u8> },
    /// A byte at a time, with a pause after each.
    Dripping(Vec<u8>, Duration),
    /// No answer at all.
    Silence,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(Vec::new()) }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// The running server; it ends with the test process.
pub(crate) struct EvilRegistry {
    address: String,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl EvilRegistry {
    /// Starts a server that answers with `script`.
    pub(crate) fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_over(Some, script)
    }

    /// Starts a server that breaks connections in the middle of what is sent to it, where `cut`
    /// says; `script` hears of what came until then, and its answer is lost.
    pub(crate) fn start_cutting(
        cut: impl Fn(&Seen) -> Option<usize> + Send + Sync + 'static,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some, script, Box::new(cut))
    }

    /// Starts a server that speaks what `dress` makes of a connection, TLS for instance.
    pub(crate) fn start_over<S: Read + Write>(
        dress: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(dress, script, Box::new(|_| None))
    }

    fn start_with<S: Read + Write>(
        dress: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        cut: Box<Cut>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a loopback port");
        let address = listener.local_addr().expect("own address").to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (dressed, written) = (Arc::new((dress, script, cut)), Arc::clone(&log));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (dressed, log) = (Arc::clone(&dressed), Arc::clone(&written));
                std::thread::spawn(move || {
                    let connection = stream.try_clone().ok().and_then(&dressed.0);
                    if let Some(connection) = connection {
                        serve(connection, &dressed.1, &dressed.2, &log);
                    }
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self { address, log }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Seen> {
        self.log.lock().expect("log").clone()
    }

    /// The requests whose target contains `part`.
    pub(crate) fn seen(&self, part: &str) -> Vec<Seen> {
        self.log().into_iter().filter(|seen| seen.target.contains(part)).collect()
    }
}

fn serve(stream: impl Read + Write, script: &impl Fn(&Seen) -> Reply, cut: &Cut, log: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    while let Some(mut seen) = read_head(&mut reader) {
        let length = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let cut = cut(&seen);
        let limit = cut.unwrap_or(length).min(length);
        if reader.by_ref().take(limit as u64).read_to_end(&mut seen.bytes).is_err() {
            break;
        }
        seen.body = String::from_utf8_lossy(&seen.bytes).into_owned();
        log.lock().expect("log").push(seen.clone());
        let reply = script(&seen);
        if cut.is_some() || !answer(reader.get_mut(), &seen.method, &reply) {
            break;
        }
    }
}

fn read_head(reader: &mut BufReader<impl Read>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Seen { method, target, headers, body: String::new(), bytes: Vec::new() })
}

/// Sends a reply; false where the connection cannot be used any more.
fn answer(stream: &mut (impl Read + Write), method: &str, reply: &Reply) -> bool {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let whole = |length: usize| format!("{head}Content-Length: {length}\r\n\r\n");
    if let ("HEAD", Body::Whole(bytes)) = (method, &reply.body) {
        return send(stream, &whole(bytes.len()), b"");
    }
    let sent = match &reply.body {
        Body::Whole(bytes) => return send(stream, &whole(bytes.len()), bytes),
        Body::Cut { claimed, sent } => {
            send(stream, &whole(*claimed), sent);
            return false;
        }
        Body::Chunked(bytes) => {
            send(stream, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", bytes.len()), bytes)
                && send(stream, "\r\n0\r\n\r\n", b"")
        }
        Body::Stalled { claimed, sent } => send(stream, &whole(*claimed), sent),
        Body::Dripping(bytes, pause) => {
            send(stream, &whole(bytes.len()), b"")
                && bytes.iter().all(|byte| {
                    std::thread::sleep(*pause);
                    send(stream, "", &[*byte])
                })
        }
        Body::Silence => true,
    };
    if matches!(reply.body, Body::Stalled { .. } | Body::Silence) {
        // The client gives up first; its end of file ends the wait.
        let _ = stream.read(&mut [0; 1]);
        return false;
    }
    sent
}

fn send(stream: &mut impl Write, head: &str, body: &[u8]) -> bool {
    stream.write_all(head.as_bytes()).is_ok() && stream.write_all(body).is_ok() && stream.flush().is_ok()
}
