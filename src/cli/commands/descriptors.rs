//! What a container's program inherits: sockets that systemd has opened (sd_listen_fds(3)), and `--preserve-fds`.

use crate::cli::session::with_environment;
use crate::model::supervision::Descriptors;

/// More than anybody hands on; a start has to be told of each.
pub(super) const MOST: u32 = 256;

/// What is there, with so many that are asked for behind the sockets.
pub(super) fn descriptors(more: Option<u32>) -> Descriptors {
    let variable = |name: &str| with_environment(|environment| environment.variable(name));
    let own = std::process::id();
    let (listening, names) = listening(own, variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    Descriptors { listening, names, more: more.unwrap_or(0) }
}

/// How many sockets are meant for the process `own`; the variables are inherited by others, too.
fn listening(own: u32, pid: Option<String>, count: Option<String>, names: Option<String>) -> (u32, Option<String>) {
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u32>().ok());
    match number(count).filter(|count| (1..=MOST).contains(count) && number(pid) == Some(own)) {
        Some(count) => (count, names.filter(|names| !names.is_empty())),
        None => (0, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_another_process_are_not_ours() {
        let some = |text: &str| Some(text.to_owned());
        let names = || some("web");
        assert_eq!(listening(7, some("7"), some("2"), names()), (2, names()));
        assert_eq!(listening(7, some("7"), some("1"), some("")), (1, None));
        for (pid, count) in [(some("8"), some("2")), (None, some("2")), (some("7"), None), (some("7"), some("0"))] {
            assert_eq!(listening(7, pid, count, names()), (0, None));
        }
        assert_eq!(listening(7, some("7"), some("100000"), names()), (0, None));
    }
}
