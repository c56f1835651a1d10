//! Uploads: nothing is sent twice that need not be, breaks are mended, and what a registry
//! says is believed within limits.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pybox::model::digest::Digest;
use pybox::registry::target::Manifest;
use pybox::registry::{Client, Delivered, Options, Outgoing, RegistryError, Sending, Target};

use super::evil_registry::{EvilRegistry, Reply, Seen};
use super::shelf::{Shelf, error};
use super::{options, reference};

const CHUNK: u64 = 10_000;

fn client() -> Client {
    Client::new(Options { chunk: Some(CHUNK), ..options() }).unwrap()
}

fn target(client: &Client, registry: &EvilRegistry) -> Target {
    client.target(&reference(&format!("{}/x/y:1", registry.address()))).unwrap()
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn blob(bytes: &[u8]) -> Outgoing {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Outgoing { digest: Digest::of(bytes), size: bytes.len() as u64, file: Arc::new(file), elsewhere: None }
}

async fn send(client: &Client, registry: &EvilRegistry, blob: &Outgoing) -> Result<Delivered, RegistryError> {
    client.send_blob(&target(client, registry), blob, &|_| {}).await
}

/// Methods and what is after the repository, without queries.
fn lines(registry: &EvilRegistry) -> Vec<String> {
    let line = |seen: Seen| {
        let path = seen.target.split('?').next().unwrap().trim_start_matches("/v2/x/y/").to_owned();
        let path = if path.starts_with("blobs/sha256") { "blob".to_owned() } else { path };
        format!("{} {path}", seen.method)
    };
    registry.log().into_iter().map(line).collect()
}

/// All bytes of bodies that came.
fn received(registry: &EvilRegistry) -> usize {
    registry.log().iter().map(|seen| seen.bytes.len()).sum()
}

#[tokio::test]
async fn a_small_blob_goes_in_one_request_and_once() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| shelf.serve(seen))
    };
    let (client, small) = (client(), bytes(3000));
    assert_eq!(send(&client, &registry, &blob(&small)).await.unwrap(), Delivered::Sent);
    assert!(shelf.has("x/y", &small));
    assert_eq!(lines(&registry), ["HEAD blob", "POST blobs/uploads/", "PUT blobs/uploads/u1"]);
    assert_eq!(send(&client, &registry, &blob(&small)).await.unwrap(), Delivered::Present);
    assert_eq!(lines(&registry).last().unwrap(), "HEAD blob");
    assert_eq!(send(&client, &registry, &blob(b"")).await.unwrap(), Delivered::Sent);
    assert!(shelf.has("x/y", b""));
}

#[tokio::test]
async fn a_large_blob_goes_in_chunks_and_tells_how_far_it_is() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| shelf.serve(seen))
    };
    let (client, large) = (client(), bytes(25_000));
    let told = RefCell::new(Vec::new());
    let tell = |sending| {
        if let Sending::Bytes(bytes) = sending {
            told.borrow_mut().push(bytes);
        }
    };
    client.send_blob(&target(&client, &registry), &blob(&large), &tell).await.unwrap();
    assert!(shelf.has("x/y", &large));
    let ranges: Vec<_> =
        registry.seen("uploads").iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-9999", "10000-19999", "20000-24999"]);
    // The state that the registry hands out goes back to it.
    assert_eq!(registry.seen("state=20000").len(), 1);
    assert!(told.borrow().is_sorted() && told.borrow().last() == Some(&25_000), "{told:?}");
}

/// Cuts the connection within the second chunk, once.
fn amid_second_chunk() -> impl Fn(&Seen) -> Option<usize> + Send + Sync + 'static {
    let broken = AtomicBool::new(false);
    move |seen| {
        let second = seen.header("content-range") == Some("10000-19999");
        (second && !broken.swap(true, Ordering::SeqCst)).then_some(4000)
    }
}

#[tokio::test]
async fn a_broken_connection_goes_on_where_it_broke() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start_cutting(amid_second_chunk(), move |seen| shelf.serve(seen))
    };
    let large = bytes(35_000);
    let retries = AtomicUsize::new(0);
    let client = client();
    let tell = |sending| {
        if let Sending::Retrying { .. } = sending {
            retries.fetch_add(1, Ordering::SeqCst);
        }
    };
    client.send_blob(&target(&client, &registry), &blob(&large), &tell).await.unwrap();
    assert!(shelf.has("x/y", &large));
    assert_eq!((received(&registry), shelf.begun(), retries.into_inner()), (35_000, 1, 1));
    assert!(lines(&registry).contains(&"GET blobs/uploads/u1".to_owned()));
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_begins_anew() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start_cutting(amid_second_chunk(), move |seen| {
            if seen.bytes.len() == 4000 {
                shelf.forget();
            }
            shelf.serve(seen)
        })
    };
    let large = bytes(25_000);
    assert_eq!(send(&client(), &registry, &blob(&large)).await.unwrap(), Delivered::Sent);
    assert!(shelf.has("x/y", &large));
    assert_eq!(shelf.begun(), 2);
}

#[tokio::test]
async fn an_answer_that_is_lost_does_no_harm() {
    let shelf = Shelf::default();
    let lost = AtomicBool::new(false);
    let cut = move |seen: &Seen| (seen.method == "PUT" && !lost.swap(true, Ordering::SeqCst)).then_some(usize::MAX);
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start_cutting(cut, move |seen| shelf.serve(seen))
    };
    let small = bytes(500);
    assert_eq!(send(&client(), &registry, &blob(&small)).await.unwrap(), Delivered::Sent);
    assert_eq!(received(&registry), 500);
}

#[tokio::test]
async fn a_registry_without_chunks_is_sent_the_whole() {
    for status in [400, 404, 405, 413, 416, 501] {
        let shelf = Shelf::default();
        let registry = {
            let shelf = shelf.clone();
            EvilRegistry::start(
                move |seen| {
                    if seen.method == "PATCH" { Reply::status(status) } else { shelf.serve(seen) }
                },
            )
        };
        let large = bytes(25_000);
        assert_eq!(send(&client(), &registry, &blob(&large)).await.unwrap(), Delivered::Sent, "{status}");
        assert!(shelf.has("x/y", &large), "{status}");
    }
}

#[tokio::test]
async fn a_registry_that_takes_one_chunk_and_no_more_is_sent_the_whole() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| match seen.header("content-range") {
            Some(range) if !range.starts_with("0-") => error(416, "BLOB_UPLOAD_INVALID"),
            _ => shelf.serve(seen),
        })
    };
    let large = bytes(25_000);
    assert_eq!(send(&client(), &registry, &blob(&large)).await.unwrap(), Delivered::Sent);
    assert!(shelf.has("x/y", &large));
    assert_eq!(shelf.begun(), 3);
}

/// A connection of which little is read at a time.
struct Slow(std::net::TcpStream);

impl std::io::Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let most = buffer.len().min(64 << 10);
        self.0.read(&mut buffer[..most])
    }
}

impl std::io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[tokio::test]
async fn slow_is_not_stalled() {
    let shelf = Shelf::default();
    let started = std::time::Instant::now();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start_over(
            |stream| Some(Slow(stream)),
            move |seen| {
                // Longer than anybody waits who has nothing to hash.
                if seen.method == "PUT" {
                    std::thread::sleep(std::time::Duration::from_millis(900));
                }
                shelf.serve(seen)
            },
        )
    };
    let client = Client::new(options()).unwrap();
    let large = bytes(12 << 20);
    let retries = AtomicUsize::new(0);
    let tell = |sending| {
        if let Sending::Retrying { .. } = sending {
            retries.fetch_add(1, Ordering::SeqCst);
        }
    };
    client.send_blob(&target(&client, &registry), &blob(&large), &tell).await.unwrap();
    assert!(shelf.has("x/y", &large));
    assert_eq!(retries.into_inner(), 0);
    assert!(started.elapsed() > 4 * options().timing.stall, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_registry_that_stops_reading_is_tried_again() {
    let shelf = Shelf::default();
    let slept = AtomicBool::new(false);
    let cut = move |seen: &Seen| {
        if seen.method == "PUT" && !slept.swap(true, Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            return Some(0);
        }
        None
    };
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start_cutting(cut, move |seen| shelf.serve(seen))
    };
    // More than the buffers of a connection hold.
    let large = bytes(15 << 20);
    let client = Client::new(options()).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(send(&client, &registry, &blob(&large)).await.unwrap(), Delivered::Sent);
    assert!(shelf.has("x/y", &large));
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_registry_may_want_larger_chunks() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| shelf.serve(seen).with("OCI-Chunk-Min-Length", "20000"))
    };
    let large = bytes(45_000);
    send(&client(), &registry, &blob(&large)).await.unwrap();
    let sizes: Vec<_> =
        registry.log().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.bytes.len()).collect();
    assert_eq!(sizes, [20_000, 20_000, 5000]);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| shelf.serve(seen))
    };
    let (client, small) = (client(), bytes(700));
    shelf.put_blob("a/base", &small);
    let from = |name: &str| Outgoing { elsewhere: Some(name.to_owned()), ..blob(&small) };
    assert_eq!(send(&client, &registry, &from("a/base")).await.unwrap(), Delivered::Mounted("a/base".into()));
    assert_eq!(received(&registry), 0);
    // Where it is not: the upload that the registry begins instead is used.
    let other = bytes(800);
    let outgoing = Outgoing { elsewhere: Some("a/base".into()), ..blob(&other) };
    assert_eq!(send(&client, &registry, &outgoing).await.unwrap(), Delivered::Sent);
    assert_eq!(shelf.begun(), 1);
}

#[tokio::test]
async fn tokens_are_for_pushing_and_mounts_for_reading_too() {
    let tokens = EvilRegistry::start(|_| Reply::ok(r#"{"token":"t","expires_in":300}"#));
    let realm = format!("http://{}/token", tokens.address());
    let shelf = Shelf::default();
    let registry = EvilRegistry::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => shelf.serve(seen),
        _ => Reply::status(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"s\"")),
    });
    let outgoing = Outgoing { elsewhere: Some("a/base".into()), ..blob(&bytes(700)) };
    assert_eq!(send(&client(), &registry, &outgoing).await.unwrap(), Delivered::Sent);
    let asked: Vec<_> = tokens
        .log()
        .into_iter()
        .map(|seen| seen.target.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
        .collect();
    assert_eq!(
        asked,
        [
            "/token?service=s&scope=repository:x/y:pull,push",
            "/token?service=s&scope=repository:x/y:pull,push&scope=repository:a/base:pull",
        ]
    );
}

#[tokio::test]
async fn a_token_that_is_refused_in_the_middle_is_renewed() {
    let given = AtomicUsize::new(0);
    let tokens =
        EvilRegistry::start(move |_| Reply::ok(format!(r#"{{"token":"t{}"}}"#, given.fetch_add(1, Ordering::SeqCst))));
    let realm = format!("http://{}/token", tokens.address());
    let (shelf, asked) = (Shelf::default(), AtomicUsize::new(0));
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| {
            // HEAD twice, POST, the first chunk; then the first token is worth nothing any more.
            let good = if asked.fetch_add(1, Ordering::SeqCst) < 4 { "Bearer t0" } else { "Bearer t1" };
            if seen.header("authorization") == Some(good) {
                return shelf.serve(seen);
            }
            Reply::status(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        })
    };
    let large = bytes(25_000);
    assert_eq!(send(&client(), &registry, &blob(&large)).await.unwrap(), Delivered::Sent);
    assert!(shelf.has("x/y", &large));
    assert_eq!((tokens.log().len(), shelf.begun()), (2, 1));
}

#[tokio::test]
async fn moments_of_weakness_are_waited_for() {
    for status in [429, 500, 502, 503] {
        let shelf = Shelf::default();
        let count = AtomicUsize::new(0);
        let registry = {
            let shelf = shelf.clone();
            EvilRegistry::start(move |seen| {
                if seen.method != "HEAD" && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                    return Reply::status(status).with("Retry-After", "0");
                }
                shelf.serve(seen)
            })
        };
        let large = bytes(25_000);
        assert_eq!(send(&client(), &registry, &blob(&large)).await.unwrap(), Delivered::Sent, "{status}");
        assert!(shelf.has("x/y", &large), "{status}");
    }
}

#[tokio::test]
async fn refusals_are_told_at_once_and_with_advice() {
    let cases: [(Reply, &str, &str); 7] = [
        (Reply::status(429).with("Retry-After", "100"), "limits requests: it asks to wait 100 s", "pybox login"),
        (error(401, "UNAUTHORIZED"), "refuses access to x/y: it asks for a login of a kind", "pybox login"),
        (error(403, "DENIED"), "refuses access to x/y: words of DENIED", "pybox login"),
        (error(404, "NAME_UNKNOWN"), "it answers 404: words of NAME_UNKNOWN", "has such a repository"),
        (Reply::status(410), "it answers 410", "has such a repository"),
        (error(405, "UNSUPPORTED"), "it answers 405: words of UNSUPPORTED", "read-only"),
        (Reply::status(413), "it answers 413", "higher limit"),
    ];
    for (reply, words, advice) in cases {
        let registry = EvilRegistry::start(move |seen| match seen.method.as_str() {
            "HEAD" => Reply::status(404),
            _ => reply.clone(),
        });
        let error = send(&client(), &registry, &blob(&bytes(100))).await.expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains(advice)), "{error}: {:?}", error.hint());
        assert_eq!(registry.log().len(), 2, "{error}");
    }
}

#[tokio::test]
async fn damaged_bytes_are_refused_once() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| shelf.serve(seen))
    };
    for size in [100, 25_000] {
        let mut outgoing = blob(&bytes(size));
        outgoing.digest = Digest::of(b"something else");
        let error = send(&client(), &registry, &outgoing).await.expect_err("other bytes");
        assert!(matches!(&error, RegistryError::Rejected { code, .. } if code == "DIGEST_INVALID"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("pybox check")));
    }
    assert_eq!(shelf.begun(), 2);
}

#[tokio::test]
async fn a_registry_that_makes_no_progress_is_given_up() {
    let registry = EvilRegistry::start(|seen| match seen.method.as_str() {
        "HEAD" => Reply::status(404),
        "POST" => Reply::status(202).with("Location", "/v2/x/y/blobs/uploads/u"),
        "GET" => Reply::status(204).with("Range", "0-0"),
        _ => Reply::status(202).with("Location", "/v2/x/y/blobs/uploads/u").with("Range", "0-0"),
    });
    let error = send(&client(), &registry, &blob(&bytes(25_000))).await.expect_err("nothing is kept");
    assert!(error.to_string().contains("it has 0 bytes after 10000 were sent"), "{error}");
}

#[tokio::test]
async fn credentials_stay_with_the_registry() {
    let shelf = Shelf::default();
    let thief = EvilRegistry::start(|_| Reply::status(201));
    let place = format!("http://{}/take", thief.address());
    let registry = EvilRegistry::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        if seen.method == "POST" { Reply::status(202).with("Location", place.clone()) } else { shelf.serve(seen) }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.address())).unwrap();
    let client = Client::new(Options { auth_files: vec![path], ..options() }).unwrap();
    assert_eq!(send(&client, &registry, &blob(&bytes(100))).await.unwrap(), Delivered::Sent);
    let stolen = thief.log();
    assert_eq!(stolen.len(), 1);
    assert!(stolen[0].header("authorization").is_none());
}

#[tokio::test]
async fn places_that_no_registry_may_name_are_refused() {
    for place in
        ["https://169.254.169.254/latest", "http://elsewhere.example/u", "file:///etc/passwd", "https://u:p@x/"]
    {
        let registry = EvilRegistry::start(move |seen| match seen.method.as_str() {
            "HEAD" => Reply::status(404),
            _ => Reply::status(202).with("Location", place),
        });
        let error = send(&client(), &registry, &blob(&bytes(100))).await.expect_err(place);
        assert!(matches!(error, RegistryError::RedirectRefused { .. }), "{place}: {error}");
    }
}

#[tokio::test]
async fn redirects_of_what_is_sent_keep_its_bytes() {
    for (status, taken) in [(307, true), (308, true), (301, false), (302, false), (303, false)] {
        let shelf = Shelf::default();
        let registry = {
            let shelf = shelf.clone();
            EvilRegistry::start(move |seen| {
                if seen.method == "PUT" && !seen.target.contains("moved") {
                    return Reply::status(status).with("Location", format!("{}&moved=1", seen.target));
                }
                shelf.serve(seen)
            })
        };
        let small = bytes(100);
        let outcome = send(&client(), &registry, &blob(&small)).await;
        assert_eq!((outcome.is_ok(), shelf.has("x/y", &small)), (taken, taken), "{status}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_manifest_arrives_byte_for_byte() {
    let shelf = Shelf::default();
    let registry = {
        let shelf = shelf.clone();
        EvilRegistry::start(move |seen| shelf.serve(seen))
    };
    let client = client();
    let (target, text) = (target(&client, &registry), b"{ \"odd\":   \"spacing\" }\n");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = Manifest { media_type, bytes: text.to_vec().into() };
    client.send_manifest(&target, "v1", &manifest).await.unwrap();
    assert_eq!(shelf.manifest("x/y/manifests/v1").as_deref(), Some(text.as_slice()));
    assert_eq!(registry.log()[0].header("content-type"), Some(media_type));
    assert_eq!(registry.log()[0].header("transfer-encoding"), None);
}
