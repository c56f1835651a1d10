//! Flags of others' builders: those that say what is so anyway are taken, the rest is refused with what to do instead.

use crate::cli::error::Problem;

/// What other builders are told, and this one does not show.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Foreign {
    #[arg(long, hide = true, value_name = "HOW")]
    progress: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    rm: Option<Option<String>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    force_rm: Option<Option<String>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    layers: Option<Option<String>>,
    #[arg(long, hide = true)]
    load: bool,
    #[arg(long, hide = true)]
    jobs: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    provenance: Option<String>,
    #[arg(long, hide = true)]
    sbom: Option<String>,
    #[arg(long, hide = true)]
    attest: Vec<String>,
    #[arg(long, hide = true)]
    push: bool,
    #[arg(long, hide = true)]
    squash: bool,
    #[arg(long, hide = true)]
    squash_all: bool,
    #[arg(long, hide = true)]
    cache_from: Vec<String>,
    #[arg(long, hide = true)]
    cache_to: Vec<String>,
    #[arg(long, hide = true)]
    no_cache_filter: Vec<String>,
    #[arg(long, hide = true)]
    build_context: Vec<String>,
    #[arg(long, hide = true)]
    metadata_file: Option<String>,
    #[arg(long, hide = true)]
    allow: Vec<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true)]
    check: bool,
    #[arg(long, hide = true)]
    call: Option<String>,
    #[arg(long, hide = true)]
    ignorefile: Option<String>,
    #[arg(long, hide = true)]
    timestamp: Option<String>,
    #[arg(long, hide = true)]
    env: Vec<String>,
    #[arg(short, long, hide = true)]
    volume: Vec<String>,
    #[arg(long, hide = true)]
    device: Vec<String>,
    #[arg(long, hide = true)]
    cap_add: Vec<String>,
    #[arg(long, hide = true)]
    cap_drop: Vec<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(long, hide = true)]
    userns: Option<String>,
    #[arg(long, hide = true)]
    from: Option<String>,
    #[arg(long, hide = true)]
    manifest: Option<String>,
}

impl Foreign {
    /// Whether nothing is to be shown.
    pub(super) fn is_quiet(&self) -> bool {
        self.progress.as_deref() == Some("quiet")
    }

    /// # Errors
    /// With what to do instead of what is asked for.
    pub(super) fn check(&self) -> Result<(), Problem> {
        self.check_values()?;
        for (given, flag, why, hint) in self.refused() {
            if given {
                return Err(Problem::user(format!("--{flag}: {why}")).hint(hint));
            }
        }
        Ok(())
    }

    /// Those that are taken if their value says what is so anyway.
    fn check_values(&self) -> Result<(), Problem> {
        let value = |flag: &Option<String>| flag.clone().unwrap_or_default();
        let (kept, made) = ("what steps have made is kept for the next build", "no such document is made");
        let cases = [
            (
                "progress",
                value(&self.progress),
                &["", "auto", "plain", "tty", "quiet"][..],
                "auto, plain, tty or quiet",
            ),
            ("format", value(&self.format), &["", "oci"], "images are made in OCI's format"),
            ("isolation", value(&self.isolation), &["", "default", "rootless"], "steps run as all containers do"),
            ("provenance", value(&self.provenance), &["", "false"], made),
            ("sbom", value(&self.sbom), &["", "false"], made),
        ];
        for (flag, value, taken, why) in cases {
            if !taken.contains(&value.as_str()) {
                return Err(Problem::user(format!("--{flag} {value}: {why}")).hint(format!("leave --{flag} out")));
            }
        }
        let is_off = |flag: &Option<Option<String>>| flag.as_ref().is_some_and(|word| word.as_deref() == Some("false"));
        if is_off(&self.layers) || is_off(&self.rm) {
            return Err(Problem::user(format!("--layers=false, --rm=false: {kept}")).hint("pybox builder prune"));
        }
        Ok(())
    }

    fn refused(&self) -> [(bool, &'static str, &'static str, &'static str); 24] {
        let rights = "steps have the rights of every container, and no file or flag gives them more";
        let (run, of_steps) =
            ("do it in a container: pybox run, then pybox commit", "steps mount what they name themselves");
        let mount = "as in RUN --mount=type=bind,source=data,target=/data";
        let kept = "steps are looked up among those that were made here";
        let prune = "leave it out; pybox builder prune removes what is kept";
        [
            (self.push, "push", "the image is made here", "pybox build -t NAME . && pybox push NAME"),
            (self.squash, "squash", "each step is a layer", "FROM scratch, then COPY --from=STAGE / / is one layer"),
            (self.squash_all, "squash-all", "each step is a layer", "FROM scratch, then COPY --from=STAGE / /"),
            (!self.cache_from.is_empty(), "cache-from", kept, prune),
            (!self.cache_to.is_empty(), "cache-to", kept, prune),
            (!self.no_cache_filter.is_empty(), "no-cache-filter", "all steps are done anew, or none", "--no-cache"),
            (
                !self.build_context.is_empty(),
                "build-context",
                "there is one context",
                "copy the directory into it, or have it in an image: COPY --from=IMAGE",
            ),
            (
                self.metadata_file.is_some(),
                "metadata-file",
                "the id is all there is",
                "--iidfile FILE; pybox inspect NAME",
            ),
            (!self.attest.is_empty(), "attest", "no such document is made", "leave it out"),
            (!self.allow.is_empty(), "allow", rights, "for the network of the host: --network host"),
            (self.builder.is_some(), "builder", "there is one builder, which is this program", "leave it out"),
            (self.check, "check", "files are checked when they are built", "leave it out"),
            (self.call.is_some(), "call", "files are checked when they are built", "leave it out"),
            (self.ignorefile.is_some(), "ignorefile", "it is beside the file", "call it FILE.dockerignore"),
            (self.timestamp.is_some(), "timestamp", "the environment says it", "SOURCE_DATE_EPOCH=SECONDS pybox build"),
            (!self.env.is_empty(), "env", "the file says it", "ENV NAME=VALUE, or ARG NAME and --build-arg NAME=VALUE"),
            (!self.volume.is_empty(), "volume", of_steps, mount),
            (!self.device.is_empty(), "device", rights, run),
            (!self.cap_add.is_empty(), "cap-add", rights, run),
            (!self.cap_drop.is_empty(), "cap-drop", "steps have the rights of every container", run),
            (!self.security_opt.is_empty(), "security-opt", rights, run),
            (self.userns.is_some(), "userns", "steps have the ids that layers are unpacked with", "leave it out"),
            (self.from.is_some(), "from", "the file says it", "ARG BASE=IMAGE, FROM $BASE and --build-arg BASE=IMAGE"),
            (self.manifest.is_some(), "manifest", "the image is made alone", "pybox manifest create NAME IMAGE..."),
        ]
    }
}
