//! The flags of `run` and `create`, as typed.

use clap::Args;

use super::super::notify::Mode;
use crate::cli::commands::limit_flags::LimitFlags;
use crate::cli::error::Problem;
use crate::cli::render::progress::Manner;
use crate::cli::session::progress_manner;

/// The container that is wanted.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// The image, unless it is the first word
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,

    /// Image and command: everything after the image belongs to the command
    #[arg(trailing_var_arg = true, value_name = "IMAGE|COMMAND", hide = true)]
    pub(super) words: Vec<String>,

    /// Name the container
    #[arg(long)]
    pub(super) name: Option<String>,

    /// Remove the container when it has ended
    #[arg(long)]
    pub(super) rm: bool,

    /// Keep standard input open
    #[arg(short, long)]
    pub(super) interactive: bool,

    /// Give the container a terminal
    #[arg(short, long)]
    pub(super) tty: bool,

    /// Pull the image always, if it is missing, never, or if the registry has a newer one
    #[arg(long, value_name = "POLICY", default_value = "missing")]
    pub(super) pull: String,

    /// Take the image for this platform, as in linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<String>,

    /// Set a label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    pub(super) labels: Vec<String>,

    /// Show no progress of a pull
    #[arg(short, long)]
    quiet: bool,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    #[command(flatten)]
    pub(super) process: Process,

    #[command(flatten)]
    pub(super) supervision: Supervision,

    #[command(flatten)]
    pub(super) files: Files,

    #[command(flatten)]
    pub(super) network: Network,

    #[command(flatten)]
    pub(super) limits: LimitFlags,

    #[command(flatten)]
    pub(super) group: Group,

    #[command(flatten)]
    pub(super) security: Security,
}

impl Wanted {
    /// Who tells systemd that it is up.
    ///
    /// # Errors
    /// If nobody has that name.
    pub(in crate::cli::commands) fn notify(&self) -> Result<Mode, Problem> {
        self.supervision.sdnotify.as_deref().map_or(Ok(Mode::Ignore), Mode::parse)
    }

    /// How a pull shows itself.
    pub(in crate::cli::commands) fn manner(&self) -> Manner {
        if self.quiet { Manner::Quiet } else { progress_manner() }
    }
}

/// Who looks after it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Supervision")]
pub(super) struct Supervision {
    /// The restart policy.
    #[arg(
        long,
        value_name = "POLICY",
        help = "Start it again when it ends: no, on-failure[:N], always or unless-stopped"
    )]
    pub(super) restart: Option<String>,

    /// Kill it after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,

    /// Keep its output in a file or the journal, or nowhere: file, journald or none
    #[arg(long, value_name = "DRIVER")]
    pub(super) log_driver: Option<String>,

    /// max-size=SIZE to begin a new log file from that size on, max-file=N to keep so many; for the journal tag=TEXT,
    /// labels=KEY,… and env=NAME,…
    #[arg(long = "log-opt", value_name = "NAME=VALUE")]
    pub(super) log_opts: Vec<String>,

    /// Who tells systemd when it is up: monitor, healthy (the monitor, once its check is good), container or ignore
    #[arg(long, value_name = "WHO")]
    pub(super) sdnotify: Option<String>,

    /// The command that tells whether it is healthy; none for no check
    #[arg(long, value_name = "COMMAND")]
    pub(super) health_cmd: Option<String>,

    /// Time between two checks, as in 30s
    #[arg(long, value_name = "TIME")]
    pub(super) health_interval: Option<String>,

    /// Time that a check may take
    #[arg(long, value_name = "TIME")]
    pub(super) health_timeout: Option<String>,

    /// So many failures in a row make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub(super) health_retries: Option<String>,

    /// Time after the start in which failures do not count
    #[arg(long, value_name = "TIME")]
    pub(super) health_start_period: Option<String>,

    /// Make no health check, whatever the image says
    #[arg(long)]
    pub(super) no_healthcheck: bool,
}

/// What runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(super) struct Process {
    /// Set a variable, or hand on your own
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub(super) env: Vec<String>,

    /// Set the variables that a file has, one a line
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<std::path::PathBuf>,

    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    pub(super) workdir: Option<String>,

    /// Run as this user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]", allow_negative_numbers = true)]
    pub(super) user: Option<String>,

    /// Be in this group too
    #[arg(long, value_name = "GROUP")]
    pub(super) group_add: Vec<String>,

    /// Run this program instead of the image's; '' for none
    #[arg(long, value_name = "PROGRAM")]
    pub(super) entrypoint: Option<String>,

    /// Run a small init that reaps processes and hands on signals
    #[arg(long)]
    pub(super) init: bool,

    /// The signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    pub(super) stop_signal: Option<String>,

    /// Seconds from that signal to SIGKILL; 10 by default, -1 for ever
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(super) stop_timeout: Option<i64>,

    /// Set a resource limit, as in nofile=1024:4096
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub(super) ulimits: Vec<String>,
}

/// What it sees.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(super) struct Files {
    /// Mount a directory, a file or a named volume
    #[arg(short, long = "volume", value_name = "[SRC:]DST[:OPTIONS]")]
    pub(super) volumes: Vec<String>,

    /// Mount, as in type=bind,src=/data,dst=/data,ro
    #[arg(long = "mount", value_name = "KEY=VALUE,...")]
    pub(super) mounts: Vec<String>,

    /// Mount an empty file system in memory
    #[arg(long, value_name = "DST[:OPTIONS]")]
    pub(super) tmpfs: Vec<String>,

    /// Make the root file system read-only
    #[arg(long)]
    pub(super) read_only: bool,

    /// Size of /dev/shm, as in 64m
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<String>,

    /// Show a device of the host
    #[arg(long = "device", value_name = "SRC[:DST[:rwm]]")]
    pub(super) devices: Vec<String>,
}

/// Whom it speaks to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct Network {
    /// Use this network: pasta (the default, if it is installed), none, host, container:NAME, or some of
    /// `pybox network ls`, as in web:alias=db [env: PYBOX_NETWORK]
    #[arg(long, alias = "net", value_name = "NETWORK", allow_hyphen_values = true)]
    pub(super) network: Vec<String>,

    /// Have this address on the network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<String>,

    /// Have this address of IPv6 on the network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip6: Option<String>,

    /// Be called this, too, by others on the network
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(super) network_alias: Vec<String>,

    /// Have this hardware address
    #[arg(long, value_name = "ADDRESS")]
    pub(super) mac_address: Option<String>,

    /// Answer on a port of the host for one of the container
    #[arg(short, long, value_name = "[HOST:]PORT")]
    pub(super) publish: Vec<String>,

    /// Publish all ports that the image exposes, on ports that are free
    #[arg(short = 'P', long)]
    pub(super) publish_all: bool,

    /// Name the host
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(super) hostname: Option<String>,

    /// Add a line to /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    pub(super) add_hosts: Vec<String>,

    /// Ask this name server
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dns: Vec<String>,

    /// Complete short names with this domain; a dot for none
    #[arg(long, value_name = "DOMAIN")]
    pub(super) dns_search: Vec<String>,

    /// Set an option of resolv.conf(5), as in ndots:2
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub(super) dns_option: Vec<String>,
}

/// Where its processes are among all others.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Group {
    /// How gladly the kernel kills it when the host has no memory left, from -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) oom_score_adj: Option<String>,

    /// Make its cgroup below this slice, or directory
    #[arg(long, hide = true, value_name = "SLICE|PATH")]
    pub(super) cgroup_parent: Option<String>,

    /// See the own cgroup only, or the host's: private or host
    #[arg(long, hide = true, value_name = "MODE")]
    pub(super) cgroupns: Option<String>,

    /// Make a cgroup for it, or leave it where we are: enabled or disabled
    #[arg(long, hide = true, value_name = "MODE")]
    pub(super) cgroups: Option<String>,
}

/// What it may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub(super) struct Security {
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_add: Vec<String>,

    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_drop: Vec<String>,

    /// no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, mask=PATH, unmask=PATH|ALL
    #[arg(long, value_name = "OPTION")]
    pub(super) security_opt: Vec<String>,

    /// Lift all that pybox can lift: capabilities, seccomp, masked paths
    #[arg(long)]
    pub(super) privileged: bool,

    /// keep-id[:uid=UID,gid=GID] to have your own id inside, or host
    #[arg(long, value_name = "MODE")]
    pub(super) userns: Option<String>,

    /// Set a kernel parameter of the container, as in net.ipv4.ip_forward=1
    #[arg(long = "sysctl", value_name = "NAME=VALUE")]
    pub(super) sysctls: Vec<String>,
}
