//! Mounted, as an unprivileged user, through the example `overlay_run`.
//!
//! Each test is a shell script that runs with the overlay at `m`. As root the
//! tests become the user `pyboxtest`. Where no mount can be had they say so.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const USER: &str = "pyboxtest";

/// The front ends that were built in.
const FRONTS: &[&str] = &[
    "raw",
    #[cfg(feature = "fuser")]
    "fuser",
    #[cfg(feature = "fuse3")]
    "fuse3",
    #[cfg(feature = "fuse3")]
    "fuse3-fusermount",
];

struct Live {
    dir: tempfile::TempDir,
    user: Option<String>,
}

impl Live {
    /// Layers `l0` (topmost) and `l1`, filled by the script `layers`.
    fn new(layers: &str) -> Option<Self> {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let user = rustix::process::geteuid().is_root().then(|| USER.to_owned());
        if let Some(user) = &user {
            let Ok(Some(account)) = nix::unistd::User::from_name(user) else {
                eprintln!("SKIPPED: no user {user}");
                return None;
            };
            chown(dir.path(), Some(account.uid.as_raw()), Some(account.gid.as_raw())).expect("chown");
        }
        let program = dir.path().join("overlay_run");
        std::fs::copy(overlay_run(), &program).expect("overlay_run");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let live = Self { dir, user };
        live.sh(&format!("umask 022; mkdir l0 l1 upper work m; {layers}"));
        let tried = live.run(&["--lower", "l0"], "true");
        if !tried.status.success() {
            let why = String::from_utf8_lossy(&tried.stderr).into_owned();
            assert!(std::env::var_os("CI").is_none(), "no mount: {why}");
            eprintln!("SKIPPED: no mount: {why}");
            return None;
        }
        Some(live)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match &self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--init-groups", "--reset-env", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.dir.path());
        command
    }

    fn sh(&self, script: &str) {
        let done = self.command(Path::new("sh")).args(["-ec", script]).output().expect("sh");
        assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    }

    fn run(&self, options: &[&str], script: &str) -> Output {
        let program = self.dir.path().join("overlay_run");
        self.command(&program).args(options).args(["m", "--", "sh", "-ec", script]).output().expect("overlay_run")
    }

    /// Runs `script` with a writable overlay of both layers; its output.
    fn writable(&self, options: &[&str], script: &str) -> String {
        let mut all = vec!["--lower", "l0", "--lower", "l1", "--upper", "upper", "--work", "work"];
        all.extend(options);
        let done = self.run(&all, &format!("umask 022; cd m; {script}"));
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{script}\n{out}\n{err}");
        out.into_owned()
    }

    /// Empties the upper directory.
    fn reset(&self) {
        self.sh("unshare -rm rm -rf upper work; mkdir upper work");
    }
}

/// Beside the test's own program, where cargo puts examples.
fn overlay_run() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    own.parent().and_then(Path::parent).expect("the target directory").join("examples/overlay_run")
}

/// Runs the same script with each front end.
fn on_all(layers: &str, script: &str, expected: &str) {
    let Some(live) = Live::new(layers) else { return };
    for front in FRONTS {
        live.reset();
        assert_eq!(live.writable(&["--front", front], script), expected, "{front}");
    }
}

#[test]
fn reads_merge_and_exit_codes_come_back() {
    let Some(live) = Live::new("mkdir l1/d; echo low > l1/d/x; echo top > l0/y; ln -s d/x l1/link") else { return };
    let done = live.run(&["--lower", "l0", "--lower", "l1"], "cd m; cat link y; ls; touch z 2>/dev/null || exit 7");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "low\ntop\nd\nlink\ny\n");
    assert_eq!(done.status.code(), Some(7));
}

#[test]
fn the_shell_day() {
    let layers = "mkdir -p l1/d/e; echo 1 > l1/d/e/f; echo 2 > l1/g; ln l1/g l1/h; chmod 4755 l1/g";
    let script = "echo x >> d/e/f; cat d/e/f; mv d dd; ls dd/e; rm -r dd; test ! -e d; mkdir d; ls d; \
        echo y >> h; stat -c %h:%s g; cp -a g i; ln i j; mv j k; stat -c %h i; mkfifo p; test -p p; \
        ln -s g s; readlink s; rm g; cat h; chmod 600 h; stat -c %a h; truncate -s 100 h; stat -c %s h; \
        touch -d @1000000 h; stat -c %Y h; rm -rf ./*; ls -A";
    on_all(layers, script, "1\nx\nf\n2:4\n2\ng\n2\ny\n600\n100\n1000000\n");
}

#[test]
fn programs_run_and_map_files() {
    let script = "cp sh sh2; ./sh2 -c 'echo ran'; ./sh -c 'echo too'; rm sh2; test ! -e sh2";
    on_all("cp /bin/sh l1/sh", script, "ran\ntoo\n");
    let python = "import mmap,os\n\
        f=os.open('data',os.O_RDWR); m=mmap.mmap(f,4096); m[0:5]=b'hello'; m.flush(); m.close()\n\
        print(os.pread(f,5,0)); os.unlink('data'); print(os.pread(f,2,0)); os.pwrite(f,b'J',0); print(os.pread(f,5,0))";
    let script = format!("truncate -s 4096 data; python3 -c \"{python}\"");
    on_all("true", &script, "b'hello'\nb'he'\nb'Jello'\n");
}

#[test]
fn masks_set_group_id_and_access_lists() {
    let script = "umask 027; touch a; mkdir b; stat -c %a a b; chmod g+s b; mkdir b/c; stat -c %a b/c; \
        if setfacl -d -m u::rwx,g::rwx,o::rx b 2>/dev/null; then umask 077; touch b/d; stat -c %a b/d; else echo 664; fi";
    on_all("true", script, "640\n750\n2750\n664\n");
}

#[test]
fn nameless_files_holes_and_exchanges() {
    let Some(live) = Live::new("echo low > l1/a; mkdir l1/d; echo x > l1/d/x") else { return };
    let python = "import os,ctypes; libc=ctypes.CDLL(None,use_errno=True)\n\
        f=os.open('.',os.O_TMPFILE|os.O_RDWR,0o600); os.write(f,b'hi'); libc.linkat(-100,b'/proc/self/fd/%d'%f,-100,b'named',0x400); print(open('named').read())\n\
        f=os.open('sparse',os.O_CREAT|os.O_RDWR); os.pwrite(f,b'x',1<<20); print(os.lseek(f,0,os.SEEK_DATA), os.lseek(f,0,os.SEEK_HOLE))\n\
        os.posix_fallocate(f,0,4096); print(os.lseek(f,0,os.SEEK_DATA)); os.fsync(f); os.sync()\n\
        print(libc.renameat2(-100,b'a',-100,b'd',2)); print(open('d').read().strip(), os.listdir('a'))\n\
        print(libc.renameat2(-100,b'd',-100,b'named',1), ctypes.get_errno())";
    let shown = live.writable(&[], &format!("python3 -c \"{python}\""));
    assert_eq!(shown, "hi\n1048576 0\n1048576\n0\nlow ['x']\n-1 17\n");
}

#[test]
fn what_is_written_is_a_layer_that_the_kernel_understands() {
    let Some(live) = Live::new("mkdir l1/d l1/e; echo 1 > l1/d/x; echo 2 > l1/e/y; echo 3 > l1/f; echo 4 > l1/g")
    else {
        return;
    };
    let script = "rm f; rm -r e; mkdir e; echo new > e/z; mv d dd; echo more >> g";
    let look = "ls -R; cat dd/x e/z g";
    let ours = live.writable(&[], &format!("{script}; {look}"));
    let mount = "mount -t overlay o -o userxattr,lowerdir=l0:l1,upperdir=upper,workdir=work m";
    let kernel = live
        .command(Path::new("unshare"))
        .args(["-rm", "sh", "-ec", &format!("rm -rf work/*; {mount}; cd m; {look}")])
        .output();
    let kernel = kernel.expect("unshare");
    if !kernel.status.success() {
        eprintln!("SKIPPED: no overlay of the kernel: {}", String::from_utf8_lossy(&kernel.stderr));
        return;
    }
    assert_eq!(String::from_utf8_lossy(&kernel.stdout), ours);
    assert_eq!(live.writable(&[], look), ours);
}

#[test]
fn recorded_owners_show_one_user() {
    let Some(live) = Live::new("echo 1 > l1/a") else { return };
    let shown = live.writable(&["--ids", "recorded"], "touch b; mkfifo p; ln -s b l; stat -c %u:%g:%F a b p l");
    assert_eq!(shown, "0:0:regular file\n0:0:regular empty file\n0:0:fifo\n0:0:symbolic link\n");
    let again = live.writable(&["--ids", "recorded"], "stat -c %F p; echo x >> a; cat a");
    assert_eq!(again, "fifo\n1\nx\n");
}

#[test]
fn ids_of_ranges_are_given_for_real() {
    let Some(live) = Live::new("echo 1 > l1/a") else { return };
    if !live.run(&["--map-auto", "--lower", "l0"], "true").status.success() {
        eprintln!("SKIPPED: no ranges in /etc/subuid");
        return;
    }
    let script = "chown 33:44 a; stat -c %u:%g a; mkdir d; chown 33:44 d; chmod 2777 d; touch d/f; stat -c %u:%g d/f; \
        setpriv --reuid 12 --regid 13 --clear-groups sh -c 'touch d/g; cat a >/dev/null; touch a 2>/dev/null || echo refused'; \
        stat -c %u:%g d/g; cp /bin/true cap; PATH=$PATH:/usr/sbin; setcap cap_net_raw+ep cap && getcap cap; echo >> cap; getcap cap";
    let shown = live.writable(&["--map-auto"], script);
    assert_eq!(shown, "33:44\n0:44\nrefused\n12:44\ncap cap_net_raw=ep\n");
}

#[test]
fn when_the_server_is_killed_nothing_hangs() {
    let Some(live) = Live::new("echo 1 > l1/a") else { return };
    // Within the namespaces the server is another user's process, so it is
    // ended from outside: by its number, which the script writes down.
    let script = "echo $OVERLAY_SERVER_PID > ../pid; while [ ! -e ../killed ]; do sleep 0.05; done; \
        cat a 2>/dev/null && exit 1; exit 9";
    let options = ["--lower", "l1", "--upper", "upper", "--work", "work"];
    let program = live.dir.path().join("overlay_run");
    let mut running = live.command(&program);
    running.args(options).args(["m", "--", "sh", "-c", &format!("cd m; {script}")]);
    let mut running = running.spawn().expect("overlay_run");
    let started = std::time::Instant::now();
    let pid = loop {
        let text = std::fs::read_to_string(live.dir.path().join("pid")).unwrap_or_default();
        if let Ok(pid) = text.trim().parse::<i32>() {
            break pid;
        }
        assert!(started.elapsed().as_secs() < 20, "no server");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("kill");
    std::thread::sleep(std::time::Duration::from_millis(50));
    std::fs::write(live.dir.path().join("killed"), "").expect("write");
    assert_eq!(running.wait().expect("wait").code(), Some(9));
}
