//! `COPY` and `ADD`: what is copied, and from where.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::build::{build, context, says};
use crate::harness::Live;

/// The key of a copy has what its file is called, whatever the link leads to.
#[test]
fn a_link_is_copied_under_its_own_name() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let dockerfile = |target: &str| {
        format!(
            "FROM {base} AS make\nRUN mkdir /o && echo x > /o/a && echo x > /o/b && ln -s {target} /o/link\n\
             FROM {base}\nCOPY --from=make /o/link /d/\n"
        )
    };
    let context = context(&live, "context", &[]);
    for target in ["a", "b"] {
        live.file("context/Dockerfile", dockerfile(target));
        build(&live, &context, &["-t", "l"]).ok();
        assert_eq!(says(&live, "l", "ls /d; cat /d/link"), "link\nx", "{target}");
    }
    // A file in place of a directory of the same name is another step.
    let kind = |make: &str| {
        live.file(
            "context/Dockerfile",
            format!("FROM {base} AS make\nRUN {make}\nFROM {base}\nCOPY --from=make /o/x /d\n"),
        );
        build(&live, &context, &["-t", "k"]).ok();
        says(&live, "k", "ls -F /d")
    };
    assert_eq!(kind("mkdir -p /o/x && touch /o/x/f"), "f");
    assert_eq!(kind("mkdir -p /o && touch /o/x"), "/d");
}

#[test]
fn patterns_parents_and_what_is_left_out() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let canary = live.file("canary.txt", "of the host\n");
    let dockerfile = format!(
        "FROM {base} AS make\nRUN mkdir -p /s/deep/er /s/other && cd /s && touch one.txt two.txt three.log deep/er/a.txt \
         other/b.txt && ln -s {0} away.txt && ln -s /s/one.txt here.txt && ln -s / root\n\
         FROM {base}\n\
         COPY --from=make /s/t*.txt /one\n\
         COPY --from=make /s/*.txt /many/\n\
         COPY --from=make --parents /s/./**/*.txt /tree/\n\
         COPY --from=make --exclude=*.log --exclude=**/a.txt /s/deep /s/t* /left/\n\
         COPY --from=make /s/?t[a-z]er /class/\n\
         COPY --parents --chown=7:8 src/./**/*.py /py/\n\
         COPY --exclude=**/*.py --exclude=b src /rest/\n\
         COPY src/s*/d.py src/a.py /flat/\n",
        canary.display()
    );
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        ("src/a.py", "a"),
        ("src/sub/d.py", "d"),
        ("src/sub/e", "e"),
        ("src/b", "b"),
    ];
    let context = context(&live, "context", &files);
    build(&live, &context, &["-t", "p"]).ok();
    let list = |directory: &str| says(&live, "p", &format!("cd {directory} && find . ! -type d | sort | xargs"));
    assert_eq!(says(&live, "p", "test -f /one && echo one"), "one", "one match is one file");
    assert_eq!(list("/many"), "./here.txt ./one.txt ./two.txt");
    assert_eq!(list("/tree"), "./deep/er/a.txt ./here.txt ./one.txt ./other/b.txt ./two.txt");
    assert_eq!(list("/left"), "./two.txt");
    assert_eq!(says(&live, "p", "ls -d /left/er /class/*"), "/class/b.txt\n/left/er");
    let owned = says(&live, "p", "cd /py && find . | sort | xargs stat -c '%n %u:%g'");
    assert_eq!(owned, ". 7:8\n./a.py 7:8\n./sub 7:8\n./sub/d.py 7:8");
    assert_eq!(list("/rest"), "./sub/e");
    assert_eq!(list("/flat"), "./a.py ./d.py");
    let again = build(&live, &context, &["-t", "p"]).run().exits(0);
    assert_eq!(again.stderr.matches("(cached)").count(), 9, "{again}");
    live.file("context/Dockerfile", format!("FROM {base} AS make\nFROM {base}\nCOPY --from=make /s/*.txt /x/\n"));
    build(&live, &context, &["-t", "x"]).run().refuses(1, "\"/s/*.txt\" is not in make");
}

/// What a request has to say, and what it gets.
type Files = Arc<Mutex<BTreeMap<String, (String, String)>>>;

/// Serves files by path: content and ETag. A path `/away` leads to a file of this machine. Tells what was asked.
fn server() -> (String, Files, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let (files, asked) = (Files::default(), Arc::<Mutex<Vec<String>>>::default());
    let (served, told) = (Arc::clone(&files), Arc::clone(&asked));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_owned();
            let known = head
                .iter()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("if-none-match: ").map(str::to_owned));
            let file = served.lock().expect("files").get(&path).cloned();
            let answer = match (path.as_str(), file) {
                ("/away", _) => "302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n".to_owned(),
                (_, None) => "404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                (_, Some((_, tag))) if known.as_deref() == Some(&tag) => {
                    format!("304 Not Modified\r\nETag: {tag}\r\n\r\n")
                }
                (_, Some((content, tag))) => format!(
                    "200 OK\r\nETag: {tag}\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: {}\r\n\r\n{content}",
                    content.len()
                ),
            };
            let status: String = answer.chars().take(3).collect();
            told.lock().expect("the list").push(format!("{path} {status}"));
            let _ = (&stream)
                .write_all(format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)).as_bytes());
        }
    });
    (address, files, asked)
}

#[test]
fn addresses_are_downloaded_once_a_version() {
    let Some(live) = Live::new() else { return };
    let base = live.image("busybox");
    let (address, files, asked) = server();
    let put = |content: &str, tag: &str| {
        files.lock().expect("files").insert("/f/a.txt".into(), (content.to_owned(), tag.to_owned()));
    };
    let asked = || std::mem::take(&mut *asked.lock().expect("the list")).join(", ");
    put("one\n", "\"1\"");
    let dockerfile =
        format!("FROM {base}\nARG AT={address}\nADD --chown=7:8 $AT/f/a.txt?x=y /d/\nADD $AT/f/a.txt /to\n");
    let context = context(&live, "context", &[("Dockerfile", &dockerfile.replace("?x=y", ""))]);
    let built = |flags: &[&str]| {
        let flags: Vec<&str> = ["--network=host", "-t", "a"].into_iter().chain(flags.iter().copied()).collect();
        build(&live, &context, &flags)
    };
    // Who serves it is this machine, and the file does not open that.
    build(&live, &context, &["-t", "a"]).run().refuses(1, "which is a loopback address").says("--network host");
    assert_eq!(asked(), "");
    built(&[]).ok();
    assert_eq!(asked(), "/f/a.txt 200, /f/a.txt 304, /f/a.txt 200");
    let seen = says(&live, "a", "stat -c '%n %u:%g %a %Y' /d/a.txt /to; cat /d/a.txt");
    assert_eq!(seen, "/d/a.txt 7:8 600 784111777\n/to 0:0 600 784111777\none");
    let again = built(&[]).run().exits(0);
    assert_eq!((again.stderr.matches("(cached)").count(), asked().as_str()), (2, "/f/a.txt 304, /f/a.txt 304"));
    put("two\n", "\"2\"");
    built(&[]).ok();
    assert_eq!(says(&live, "a", "cat /d/a.txt"), "two");
    // The same bytes under another version are the same step.
    put("two\n", "\"3\"");
    let same = built(&[]).run().exits(0);
    assert_eq!(same.stderr.matches("(cached)").count(), 2, "{same}");
    asked();
    // With a digest nobody is asked.
    let digest = "sha256:27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a";
    live.file(
        "context/boxfile.toml",
        format!(
            "[box]\nbase = \"{base}\"\n[[steps]]\ncopy = {{ src = \"{address}/f/a.txt\", dst = \"/d/\", checksum = \"{digest}\" }}\n"
        ),
    );
    let boxfile = context.join("boxfile.toml").to_string_lossy().into_owned();
    built(&["-f", &boxfile]).ok();
    built(&["-f", &boxfile]).ok();
    assert_eq!(asked(), "/f/a.txt 200");
    put("other\n", "\"4\"");
    built(&["-f", &boxfile, "--no-cache"]).run().refuses(1, "its digest is sha256:").says(digest);
    for (line, code, why) in [
        ("ADD $AT/away /d/", 1, "it leads from http to file"),
        ("ADD $AT/none /d/", 1, "it answers 404"),
        ("ADD $AT/ /d/", 1, "it answers 404"),
        ("ADD file:///etc/passwd /d/", 1, "is not in the context"),
        ("ADD https://h.example/r.git /d/", 1, "is a git repository"),
        ("ADD git@h.example:r /d/", 1, "is a git repository"),
        ("ADD http://u:p@h.example/x /d/", 1, "has a user name in it"),
        ("ADD --checksum=sha256:12 $AT/f/a.txt /d/", 1, "invalid digest"),
    ] {
        live.file("context/Dockerfile", format!("FROM {base}\nARG AT={address}\n{line}\n"));
        let file = context.join("Dockerfile").to_string_lossy().into_owned();
        built(&["-f", &file]).run().refuses(code, why);
    }
    assert_eq!(live.leftovers(), Vec::<String>::new());
}
