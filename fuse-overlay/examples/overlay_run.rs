//! Runs a command with an overlay mounted, as any user.
//!
//! ```text
//! overlay_run [--front NAME] [--ids real|recorded] [--map-auto] [--volatile] [--threads N] [--unconfined]
//!             --lower DIR [--lower DIR]… [--upper DIR --work DIR] [--index FILE]
//!             MOUNTPOINT -- COMMAND [ARGUMENT]…
//! overlay_run --build-index FILE [--map-auto] --lower DIR [--lower DIR]…
//! ```
//!
//! The command gets a user and a mount namespace of its own, in which it is
//! root, and the overlay stands at MOUNTPOINT there and nowhere else; it is not
//! chrooted. The topmost lower directory comes first. Without `--upper` the
//! mount is read-only. Without `--map-auto` only the caller's own id is mapped
//! (to root); with it the ranges of /etc/subuid and /etc/subgid too (1 and up).
//! The exit code is the command's; 128 and the number of a signal that ended
//! it; 125 if the overlay could not be had.
//!
//! `OVERLAY_SERVER_PID` in the command's environment is the server's process id
//! on the host, e.g. to look at its memory or to kill it.
//!
//! How it works: this process starts itself twice. The *child* makes the
//! namespaces, waits for its id maps, mounts, and hands the device to us over a
//! socket. The *server* gets that device and the directories, joins the child's
//! user namespace only, and serves. Then the child executes the command.
//!
//! The front ends `fuse3` (which calls `mount(2)`) and `fuse3-fusermount` mount
//! by themselves: the server gets the child's mount namespace instead of a
//! device, and says when it has mounted there. It is not confined.

#![allow(unsafe_code, reason = "descriptors are handed from process to process by number")]

use std::error::Error;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};

use nix::sched::CloneFlags;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use pybox_fuse_overlay::front::raw;
use pybox_fuse_overlay::mount::{self, Access};
use pybox_fuse_overlay::{Config, Durability, Ids, Overlay, Upper, index};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Clone, Debug, Default)]
struct Arguments {
    front: Option<String>,
    recorded: bool,
    map_auto: bool,
    volatile: bool,
    unconfined: bool,
    threads: Option<usize>,
    lower: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    index: Option<PathBuf>,
    build_index: Option<PathBuf>,
    mountpoint: PathBuf,
    command: Vec<String>,
}

impl Arguments {
    fn access(&self) -> Access {
        if self.upper.is_some() { Access::ReadWrite } else { Access::ReadOnly }
    }

    /// Whether the front end mounts, in the server.
    fn mounts_itself(&self) -> bool {
        self.front.as_deref().is_some_and(|front| front.starts_with("fuse3"))
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (stage, rest) = match words.split_first() {
        Some((stage, rest)) if stage.starts_with("__") => (stage.as_str(), rest),
        _ => ("", words.as_slice()),
    };
    let result = parse(rest).and_then(|arguments| match stage {
        "__child" => child(&arguments),
        "__server" => serve(&arguments).map(|()| ExitCode::SUCCESS),
        _ if arguments.build_index.is_some() => build_index(&arguments).map(|()| ExitCode::SUCCESS),
        _ => parent(&arguments, rest),
    });
    result.unwrap_or_else(|error| {
        // Whoever started it may be gone together with the standard error.
        let _ = writeln!(std::io::stderr(), "overlay_run{stage}: {error}");
        ExitCode::from(125)
    })
}

fn parse(words: &[String]) -> Outcome<Arguments> {
    let mut arguments = Arguments::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--front" => arguments.front = Some(value()?),
            "--ids" => arguments.recorded = value()? == "recorded",
            "--map-auto" => arguments.map_auto = true,
            "--unconfined" => arguments.unconfined = true,
            "--volatile" => arguments.volatile = true,
            "--threads" => arguments.threads = Some(value()?.parse()?),
            "--lower" => arguments.lower.push(value()?.into()),
            "--upper" => arguments.upper = Some(value()?.into()),
            "--work" => arguments.work = Some(value()?.into()),
            "--index" => arguments.index = Some(value()?.into()),
            "--build-index" => arguments.build_index = Some(value()?.into()),
            "--" => {
                arguments.command = words.cloned().collect();
                return Ok(arguments);
            }
            other if other.starts_with("--") => return Err(format!("unknown option {other}").into()),
            _ => arguments.mountpoint = word.into(),
        }
    }
    if arguments.build_index.is_some() { Ok(arguments) } else { Err("no `-- COMMAND`".into()) }
}

fn build_index(arguments: &Arguments) -> Outcome<()> {
    let lower = open_all(&arguments.lower)?;
    let layers: Vec<_> = lower.iter().map(|layer| index::Layer { directory: layer.as_fd(), owners: None }).collect();
    let path = arguments.build_index.as_ref().ok_or("no index file")?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    let uid = reverse(arguments, "/etc/subuid", rustix::process::getuid().as_raw())?;
    let gid = reverse(arguments, "/etc/subgid", rustix::process::getgid().as_raw())?;
    index::build(&layers, &|owner, group| (uid(owner), gid(group)), &file)?;
    Ok(())
}

/// The id inside for one outside, by the same maps as a run has.
fn reverse(arguments: &Arguments, file: &str, own: u32) -> Outcome<impl Fn(u32) -> u32 + use<>> {
    let (start, count) = match arguments.map_auto {
        true => range(file, rustix::process::getuid().as_raw())?,
        false => ("0".into(), "0".into()),
    };
    let (start, count): (u32, u32) = (start.parse()?, count.parse()?);
    Ok(move |id: u32| match id.checked_sub(start) {
        _ if id == own => 0,
        Some(beyond) if beyond < count => beyond + 1,
        _ => 65534,
    })
}

/// Starts ourselves as `stage`, with descriptors whose numbers stand in `OVERLAY_FDS`.
fn again(stage: &str, words: &[String], pass: &[&OwnedFd]) -> Outcome<Child> {
    // A duplicate without the close-on-exec flag lives until the child has it.
    let copies = pass.iter().map(rustix::io::dup).collect::<Result<Vec<OwnedFd>, _>>()?;
    let numbers: Vec<String> = copies.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.arg(stage).args(words).env("OVERLAY_FDS", numbers.join(",")).spawn()?)
}

/// The descriptors that [`again`] has passed.
fn passed() -> Outcome<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    for number in std::env::var("OVERLAY_FDS")?.split(',') {
        // SAFETY: our parent left this descriptor open for us, and nothing else
        // in this process has taken it: this runs first and once.
        let fd = unsafe { OwnedFd::from_raw_fd(number.parse()?) };
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        fds.push(fd);
    }
    Ok(fds)
}

fn parent(arguments: &Arguments, words: &[String]) -> Outcome<ExitCode> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let mut child = again("__child", words, &[&theirs])?;
    drop(theirs);
    let server = start_server(arguments, words, (&ours, child.id()));
    let mut server = match server {
        Ok(server) => server,
        Err(error) => {
            drop(ours);
            child.wait()?;
            return Err(error);
        }
    };
    (&ours).write_all(&server.id().to_le_bytes())?;
    let status = child.wait()?;
    server.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code)?))
}

fn start_server(arguments: &Arguments, words: &[String], (socket, child): (&UnixStream, u32)) -> Outcome<Child> {
    let mut byte = [0];
    (&*socket).read_exact(&mut byte)?;
    write_maps(arguments, child)?;
    (&*socket).write_all(&byte)?;
    let namespace = OwnedFd::from(File::open(format!("/proc/{child}/ns/user"))?);
    if !arguments.mounts_itself() {
        let device = receive_descriptor(socket)?;
        return again("__server", words, &[&namespace, &device]);
    }
    let mounts = OwnedFd::from(File::open(format!("/proc/{child}/ns/mnt"))?);
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let mut server = again("__server", words, &[&namespace, &mounts, &theirs])?;
    drop(theirs);
    if (&ours).read_exact(&mut byte).is_err() {
        server.wait()?;
        return Err("the server could not mount".into());
    }
    Ok(server)
}

fn write_maps(arguments: &Arguments, child: u32) -> Outcome<()> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    if !arguments.map_auto {
        std::fs::write(format!("/proc/{child}/setgroups"), "deny")?;
        std::fs::write(format!("/proc/{child}/gid_map"), format!("0 {gid} 1"))?;
        std::fs::write(format!("/proc/{child}/uid_map"), format!("0 {uid} 1"))?;
        return Ok(());
    }
    for (tool, file, own) in [("newuidmap", "/etc/subuid", uid), ("newgidmap", "/etc/subgid", gid)] {
        let (start, count) = range(file, rustix::process::getuid().as_raw())?;
        let words = [child.to_string(), "0".into(), own.to_string(), "1".into(), "1".into(), start, count];
        if !Command::new(tool).args(words).status()?.success() {
            return Err(format!("{tool} refused").into());
        }
    }
    Ok(())
}

/// The first range of a user in /etc/subuid or /etc/subgid.
fn range(file: &str, uid: u32) -> Outcome<(String, String)> {
    let name = nix::unistd::User::from_uid(uid.into())?.map(|user| user.name).unwrap_or_default();
    for line in std::fs::read_to_string(file)?.lines() {
        if let [user, start, count] = line.split(':').collect::<Vec<_>>()[..]
            && (user == name || user == uid.to_string())
        {
            return Ok((start.into(), count.into()));
        }
    }
    Err(format!("no range of {name} in {file}").into())
}

fn receive_descriptor(socket: &UnixStream) -> Outcome<OwnedFd> {
    let mut byte = [0];
    let mut space = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us.
            return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    Err("the child could not mount".into())
}

fn child(arguments: &Arguments) -> Outcome<ExitCode> {
    let fds = passed()?;
    let socket = fds.into_iter().next().map(UnixStream::from).ok_or("no socket")?;
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    (&socket).write_all(b"u")?;
    (&socket).read_exact(&mut [0])?;
    become_root()?;
    if !arguments.mounts_itself() {
        let (device, mount) = mount::detached(c"overlay", arguments.access())?;
        mount::attach(&mount, File::open(&arguments.mountpoint)?)?;
        let numbers = [device.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&numbers)];
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"d")], &rights, MsgFlags::empty(), None)?;
        // As long as anybody but the server holds it, a dead server is not noticed.
    }
    let mut pid = [0; 4];
    (&socket).read_exact(&mut pid)?;
    let (program, rest) = arguments.command.split_first().ok_or("no command")?;
    let server = u32::from_le_bytes(pid).to_string();
    Err(Command::new(program).args(rest).env_remove("OVERLAY_FDS").env("OVERLAY_SERVER_PID", server).exec().into())
}

fn become_root() -> Outcome<()> {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    Ok(())
}

fn open_all(directories: &[PathBuf]) -> Outcome<Vec<OwnedFd>> {
    let open = |path: &PathBuf| match File::open(path) {
        Ok(file) => Ok(OwnedFd::from(file)),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    };
    directories.iter().map(open).collect()
}

fn serve(arguments: &Arguments) -> Outcome<()> {
    let mut passed = passed()?.into_iter();
    let namespace = passed.next().ok_or("no user namespace")?;
    let lower = open_all(&arguments.lower)?;
    let index = arguments.index.as_ref().map(File::open).transpose()?;
    let upper = match (&arguments.upper, &arguments.work) {
        (Some(upper), Some(work)) => {
            Some(Upper { directory: File::open(upper)?.into(), work: File::open(work)?.into() })
        }
        _ => None,
    };
    raise_descriptor_limit();
    nix::sched::setns(&namespace, CloneFlags::CLONE_NEWUSER)?;
    drop(namespace);
    become_root()?;
    let ids = if arguments.recorded { Ids::Hidden } else { Ids::Real };
    let durability = if arguments.volatile { Durability::Volatile } else { Durability::Synced };
    let config = Config { lower, index, upper, ids, durability };
    if !arguments.unconfined && !arguments.mounts_itself() {
        pybox_fuse_overlay::confine(&config)?;
    }
    let overlay = Overlay::open(config)?;
    let mut device = || passed.next().ok_or("no device");
    let mut options = raw::Options::default();
    options.threads = arguments.threads.unwrap_or(options.threads);
    match arguments.front.as_deref() {
        None | Some("raw") => raw::serve(device()?, &overlay, &options)?,
        #[cfg(feature = "fuser")]
        Some("fuser") => {
            pybox_fuse_overlay::front::fuser::serve(device()?, &std::sync::Arc::new(overlay), options.threads)?;
        }
        #[cfg(feature = "fuse3")]
        Some("fuse3" | "fuse3-fusermount") => {
            serve_by_fuse3(arguments, overlay, options.threads, (device()?, device()?))?;
        }
        Some(other) => return Err(format!("no front end {other}").into()),
    }
    Ok(())
}

/// Mounts in the namespace `mounts`, says so to `ready`, and serves.
#[cfg(feature = "fuse3")]
fn serve_by_fuse3(
    arguments: &Arguments,
    overlay: Overlay,
    threads: usize,
    (mounts, ready): (OwnedFd, OwnedFd),
) -> Outcome<()> {
    use pybox_fuse_overlay::front::fuse3::{self, Mounter};
    let by_itself = arguments.front.as_deref() == Some("fuse3");
    let mounter = if by_itself { Mounter::Itself } else { Mounter::Fusermount };
    let options = fuse3::Options { threads, mounter, access: arguments.access() };
    let mountpoint = arguments.mountpoint.canonicalize()?;
    let mounted = fuse3::mount(&std::sync::Arc::new(overlay), &mountpoint, options, move || {
        nix::sched::unshare(CloneFlags::CLONE_FS)?;
        nix::sched::setns(&mounts, CloneFlags::CLONE_NEWNS)?;
        Ok(())
    })?;
    File::from(ready).write_all(b"m")?;
    Ok(mounted.serve()?)
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit};
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // With the lower limit fewer files are kept open, no more.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
