//! `pybox generate systemd`.

use super::{DONE, SHOW_CONTAINERS, quadlet};
use crate::cli::error::Problem;
use crate::cli::session::Session;
use crate::engine::api::DescribeContainer;
use crate::model::flags::InvalidFlag;
use crate::units::existing::{Recipe, Restart, unit};

/// Write units for containers that are there
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Generate {
    Systemd(Systemd),
}

/// Print a unit that starts a container
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --new, the container of the unit is made at its start and removed at its end, as the one \
    named was made; without it, that very container is started and stopped. A .container file says the same in \
    fewer words: pybox quadlet --help.\n\nExamples:\n  \
    pybox generate systemd web > ~/.config/systemd/user/container-web.service\n  \
    pybox generate systemd --new --files web"
)]
pub(crate) struct Systemd {
    /// A name, or an id or its beginning
    container: String,

    /// Make a new container at each start
    #[arg(long)]
    new: bool,

    /// Write container-NAME.service here instead of printing it
    #[arg(short, long)]
    files: bool,

    /// When systemd starts it again: no, on-failure, always, on-success, on-abnormal, on-abort or on-watchdog
    #[arg(long, value_name = "POLICY", default_value = "on-failure")]
    restart_policy: String,

    /// Seconds from the stop signal to SIGKILL
    #[arg(short, long, visible_alias = "stop-timeout", value_name = "SECONDS")]
    time: Option<u64>,

    /// Seconds that systemd waits before it starts the container again
    #[arg(long, value_name = "SECONDS")]
    restart_sec: Option<u64>,

    /// The unit bears the name always; podman has an option for that
    #[arg(short, long, hide = true)]
    name: bool,
}

impl Generate {
    pub(super) fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        match self {
            Self::Systemd(args) => args.execute(session),
        }
    }
}

impl Systemd {
    fn execute(self, session: &mut Session) -> Result<u8, Problem> {
        let expected = format!("expected {}", Restart::WORDS.join(", "));
        let restart = Restart::parse(&self.restart_policy)
            .ok_or_else(|| InvalidFlag::new("--restart-policy", &self.restart_policy, expected))?;
        let asked = session.call(DescribeContainer { name: self.container.clone() });
        let asked = asked.map_err(|problem| problem.hint_if_missing(SHOW_CONTAINERS))?;
        let root = session.named_root()?.map(|root| root.display().to_string());
        let recipe = Recipe {
            program: &quadlet::program()?,
            root: root.as_deref(),
            user: !rustix::process::geteuid().is_root(),
            name: asked.name.as_str(),
            request: &asked.request,
            new: self.new,
            restart,
            restart_seconds: self.restart_sec,
            stop_seconds: self.time,
        };
        let text = unit(&recipe).map_err(|error| {
            Problem::user(format!("container {}: {error}", asked.name)).hint("pybox generate systemd, without --new")
        })?;
        if !self.files {
            write!(session.output(), "{text}")?;
            return Ok(DONE);
        }
        let path = super::absolute(std::path::Path::new(&format!("container-{}.service", asked.name)))?;
        std::fs::write(&path, text).map_err(|error| {
            Problem::user(format!("write {}: {error}", path.display())).hint("cd ~/.config/systemd/user")
        })?;
        writeln!(session.output(), "{}", path.display())?;
        Ok(DONE)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::super::run;
    use crate::model::container::ContainerRequest;
    use crate::units::existing::{Recipe, Restart, unit};
    use crate::units::quoting;
    use crate::units::words::{Untellable, words};

    fn request(line: &[String]) -> ContainerRequest {
        let tree = run::Wanted::augment_args(clap::Command::new("run").disable_help_flag(true));
        let matches =
            tree.try_get_matches_from(std::iter::once(&"run".to_owned()).chain(line)).expect("a command line");
        let wanted = run::Wanted::from_arg_matches(&matches).expect("flags");
        run::request(wanted).expect("a request")
    }

    /// The way from flags to a request and back ends at the same request.
    #[test]
    fn words_ask_for_the_same_container() {
        for line in [
            "debian:12",
            "-e A=1 -e B=\"two words\" -l a=b -w /src -u 1000:5 --group-add 7 web:1 sh -c \"echo --rm $X %h\"",
            "--entrypoint \"[\\\"sh\\\",\\\"-c\\\"]\" --init --stop-signal INT --stop-timeout -1 --ulimit nofile=1:unlimited x",
            "--entrypoint '' --pull newer --platform linux/arm64/v8 --timeout 5 -m 64m --cpus 0.5 --pids-limit -1 x",
            "-v /a:/b:ro,rslave,z -v named:/n:nocopy -v /anonymous --mount type=bind,src=/c,dst=/d,ro,bind-propagation=rshared x",
            "--mount type=bind,src=/c,dst=/d,bind-nonrecursive --mount dst=/e,volume-nocopy=true --tmpfs /t:size=64m,mode=1777 x",
            "--mount type=tmpfs,dst=/t,tmpfs-size=4096 --read-only --shm-size 1m --device /dev/null:/dev/n:r x",
            "--health-cmd \"curl x\" --health-interval 5s --health-timeout 1500ms --health-start-period 1m --health-retries 2 x",
            "--no-healthcheck --log-driver journald --log-opt max-size=4k --log-opt max-file=3 x",
            "--network none -p 8080:80 -p 127.0.0.1::53/udp -p [::1]:1-2:3-4 -p 9 -P -h host --dns 1.1.1.1 --dns-search . --dns-option ndots:2 x",
            "--network one:ip=10.0.0.9,alias=www,mac=02:00:00:00:00:01 --network two --add-host a:1.2.3.4 --add-host b:::1 --add-host c:host-gateway x",
            "--cap-add net_admin --cap-drop ALL --security-opt no-new-privileges --security-opt seccomp=unconfined --privileged x",
            "--security-opt apparmor=p --security-opt label=disable --security-opt mask=/a:/b --security-opt unmask=ALL x",
            "--userns keep-id:uid=1,gid=2 --sysctl net.ipv4.ip_forward=1 x -- -v --name",
            "--userns keep-id x",
            "--userns host x",
            "--network container:other x",
            "--network pasta --mac-address 02:00:00:00:00:02 x",
        ] {
            let wanted = request(&quoting::split(line));
            let again = request(&words(&wanted).expect("words"));
            assert_eq!(again, wanted, "{line}");
        }
    }

    #[test]
    fn units_of_containers_that_are_there() {
        let wanted = request(&["-e", "A=$x %h", "web:1", "serve"].map(str::to_owned));
        let recipe = |new| Recipe {
            program: "/usr/bin/pybox",
            root: None,
            user: true,
            name: "web",
            request: &wanted,
            new,
            restart: Restart::parse("on-failure").expect("a policy"),
            restart_seconds: Some(3),
            stop_seconds: Some(20),
        };
        let old = unit(&recipe(false)).expect("a unit");
        let head = "# Made by pybox generate systemd\n\n[Unit]\nDescription=Container web\n";
        assert!(old.starts_with(head), "{old}");
        for line in [
            "Restart=on-failure\nRestartSec=3\nTimeoutStopSec=35\nSuccessExitStatus=143\n",
            "\nExecStart=/usr/bin/pybox start --attach --sdnotify=conmon web\nExecStop=-/usr/bin/pybox stop --timeout 20 web\n",
            "\n[Install]\nWantedBy=default.target\n",
        ] {
            assert!(old.contains(line), "{old}");
        }
        let new = unit(&recipe(true)).expect("a unit");
        let start =
            "\nExecStart=/usr/bin/pybox run --rm --sdnotify=conmon --name web \"--env=A=$$x %%h\" web:1 serve\n";
        assert!(new.contains(start), "{new}");
        assert!(new.contains("\nExecStartPre=-/usr/bin/pybox rm --force --ignore --volumes web\n"), "{new}");
        let elsewhere = unit(&Recipe { root: Some("/a b"), ..recipe(false) }).expect("a unit");
        assert!(elsewhere.contains("\nRequiresMountsFor=\"/a b\"\n"), "{elsewhere}");
        assert!(
            elsewhere.contains("\nExecStart=/usr/bin/pybox --root \"/a b\" start --attach --sdnotify=conmon web\n"),
            "{elsewhere}"
        );
        let mut odd = wanted.clone();
        odd.security.seccomp = crate::model::container::Seccomp::Profile("{}".to_owned());
        assert_eq!(unit(&Recipe { request: &odd, ..recipe(true) }), Err(Untellable::Seccomp));
        assert_eq!(Restart::parse("sometimes"), None);
    }
}
