//! Named places where a test makes this process die, wait, or fail.
//!
//! Only with the cargo feature `failpoints`: without it the macros expand to nothing, so that not even the
//! names are in the program. What is to happen where is said once, by `arm`; a program that
//! this one starts hears of it by `hand_on`, in the variable `VARIABLE`.
//!
//! `NAME[@PASS]:ACTION`, several with commas between. Without PASS it happens each time, else at the
//! PASS-th time that this process comes by. Actions: `kill` (SIGKILL to ourselves), `stop` (SIGSTOP),
//! `sleep=MILLISECONDS`, `fail=ERRNO` (`ENOSPC`, or a number), and for clocks `shift=FILE`: seconds that are
//! added to what the clock says, read anew each time.

/// A place without a failure of its own: the process dies, or waits.
macro_rules! reach {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        {
            let _ = $crate::sys::failpoint::arrive($name);
        }
    };
}

/// The same in front of something that may fail: `Result<(), Errno>`.
macro_rules! fails {
    ($name:literal) => {{
        #[cfg(feature = "failpoints")]
        let outcome = $crate::sys::failpoint::arrive($name);
        #[cfg(not(feature = "failpoints"))]
        let outcome: Result<(), rustix::io::Errno> = Ok(());
        outcome
    }};
}

pub(crate) use {fails, reach};

#[cfg(feature = "failpoints")]
pub use armed::{VARIABLE, arm, arrive, environment, hand_on, shift};

#[cfg(feature = "failpoints")]
mod armed {
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::process::Signal;

    /// The environment variable that tells programs of ours what is armed.
    pub const VARIABLE: &str = "PYBOX_FAILPOINT";

    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        text: String,
        points: Vec<Point>,
    }

    struct Point {
        name: String,
        /// At which pass; none for each.
        pass: Option<u32>,
        passed: AtomicU32,
        action: Action,
    }

    enum Action {
        Signal(Signal),
        Sleep(Duration),
        Fail(Errno),
        Shift(String),
    }

    /// Says what is to happen, once and before there is a second thread.
    ///
    /// # Errors
    /// With the part that is not understood.
    pub fn arm(text: &str) -> Result<(), String> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let points = parts.map(|part| point(part).ok_or_else(|| part.to_owned())).collect::<Result<_, _>>()?;
        let _ = ARMED.set(Armed { text: text.to_owned(), points });
        Ok(())
    }

    fn point(part: &str) -> Option<Point> {
        let (place, action) = part.split_once(':')?;
        let (name, pass) = match place.split_once('@') {
            Some((name, pass)) => (name, Some(pass.parse().ok()?)),
            None => (place, None),
        };
        let action = match action.split_once('=') {
            None if action == "kill" => Action::Signal(Signal::KILL),
            None if action == "stop" => Action::Signal(Signal::STOP),
            Some(("sleep", milliseconds)) => Action::Sleep(Duration::from_millis(milliseconds.parse().ok()?)),
            Some(("fail", errno)) => Action::Fail(errno_of(errno)?),
            Some(("shift", file)) => Action::Shift(file.to_owned()),
            _ => return None,
        };
        Some(Point { name: name.to_owned(), pass, passed: AtomicU32::new(0), action })
    }

    fn errno_of(text: &str) -> Option<Errno> {
        let known = [
            ("EIO", Errno::IO),
            ("ENOSPC", Errno::NOSPC),
            ("EMFILE", Errno::MFILE),
            ("ENOMEM", Errno::NOMEM),
            ("EAGAIN", Errno::AGAIN),
            ("EACCES", Errno::ACCESS),
        ];
        let number = || text.parse().ok().map(Errno::from_raw_os_error);
        known.iter().find(|(name, _)| *name == text).map(|(_, errno)| *errno).or_else(number)
    }

    /// Comes by the place `name`.
    ///
    /// # Errors
    /// The one that is armed there.
    pub fn arrive(name: &str) -> Result<(), Errno> {
        let Some(armed) = ARMED.get() else { return Ok(()) };
        for point in armed.points.iter().filter(|point| point.name == name) {
            let pass = point.passed.fetch_add(1, Ordering::SeqCst) + 1;
            if point.pass.is_some_and(|wanted| wanted != pass) {
                continue;
            }
            match &point.action {
                Action::Signal(signal) => rustix::process::kill_process(rustix::process::getpid(), *signal)?,
                Action::Sleep(time) => std::thread::sleep(*time),
                Action::Fail(errno) => return Err(*errno),
                Action::Shift(_) => {}
            }
        }
        Ok(())
    }

    /// Tells a program of ours that is about to be started.
    pub fn hand_on(command: &mut Command) {
        if let Some(armed) = ARMED.get() {
            command.env(VARIABLE, &armed.text);
        }
    }

    /// The same as the environment of a program that is to have nothing else in it.
    pub fn environment() -> Vec<String> {
        ARMED.get().map(|armed| format!("{VARIABLE}={}", armed.text)).into_iter().collect()
    }

    /// The seconds by which the clock `name` is wrong.
    pub fn shift(name: &str) -> i64 {
        let points = ARMED.get().into_iter().flat_map(|armed| &armed.points);
        let file = points.filter(|point| point.name == name).find_map(|point| match &point.action {
            Action::Shift(file) => Some(file),
            _ => None,
        });
        file.and_then(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok()).unwrap_or(0)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_armed_is_understood_or_refused() {
            for good in ["a.b:kill", "a.b@3:sleep=20", "a:fail=ENOSPC", "a:fail=5", "c:shift=/x", "a:stop"] {
                assert!(point(good).is_some(), "{good}");
            }
            for bad in ["a", "a:die", "a@x:kill", "a:sleep=soon", "a:fail=EWHAT", ":", "a:kill=9"] {
                assert!(point(bad).is_none(), "{bad}");
            }
        }

        #[test]
        fn it_happens_at_the_pass_that_is_meant() {
            arm("only@2:fail=EIO,each:fail=ENOSPC").expect("understood");
            assert_eq!([arrive("only"), arrive("only"), arrive("only")], [Ok(()), Err(Errno::IO), Ok(())]);
            assert_eq!([arrive("each"), arrive("each")], [Err(Errno::NOSPC), Err(Errno::NOSPC)]);
            assert_eq!(arrive("other"), Ok(()));
            let mut command = Command::new("true");
            hand_on(&mut command);
            assert_eq!(command.get_envs().count(), 1);
        }
    }
}

#[cfg(not(feature = "failpoints"))]
/// Tells a program of ours that is about to be started: nothing, in this build.
pub fn hand_on(_command: &mut std::process::Command) {}

#[cfg(not(feature = "failpoints"))]
/// The same as the environment of a program that is to have nothing else in it.
pub fn environment() -> Vec<String> {
    Vec::new()
}
