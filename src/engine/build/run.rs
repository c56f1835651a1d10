//! Steps that run a command.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use serde_json::{Value, json};

use super::agent::{self, Agents};
use super::cache_mount::Held;
use super::source::Place;
use super::step::invalid;
use super::{Made, Site};
use crate::build::graph::{Cache, Mount as Wanted, Run, Ssh, Step};
use crate::build::key;
use crate::engine::api::{Event, Failure, FailureKind};
use crate::engine::containers::bench::{Bench, Ground, Secret};
use crate::engine::images::pressing::Press;
use crate::model::container::{ContainerRequest, Mount, MountSource, NetworkMode, PullPolicy};
use crate::model::digest::Digest;
use crate::monitor::protocol::PrivatePlace;
use crate::snapshot::worker::view::{Dress, MountPoint};

/// Where the host's certificates are seen, and what tells programs of it.
const AUTHORITIES: &str = "/run/pybox-ca.crt";
const TRUST: [&str; 6] =
    ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"];

impl Site<'_> {
    pub(super) fn run(
        &mut self,
        made: &mut Made,
        (index, step, run): (usize, &Step, &Run),
        events: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let mut environment = made.state.environment();
        for (name, value) in &run.environment {
            environment.push((name.clone(), made.state.expand(value).map_err(invalid)?));
        }
        let network = self.network(run)?;
        let mounts = self.expanded(made, run)?;
        let mut digests = Vec::new();
        for mount in &mounts {
            match mount {
                Wanted::Bind { from, source, .. } => {
                    self.bring(index, from.as_deref(), events)?;
                    digests.push(self.digest((index, from.as_deref()), source)?);
                }
                Wanted::Cache(Cache { from: Some(from), .. }) => {
                    self.bring(index, Some(from), events)?;
                    digests.extend(self.made((index, Some(from)))?.map(Made::parent));
                }
                _ => {}
            }
        }
        let words = made.state.words(&run.command);
        let recipe = self.recipe(made, (&words, &environment), &mounts, network);
        let parent = made.parent();
        let key = key::of(&parent, &recipe, &digests);
        let (config, layers) = (made.config(), made.layers.clone());
        let given = made.state.proxies();
        // Whoever names one himself means that.
        let own_agent =
            made.state.has_variable(agent::VARIABLE) || environment.iter().any(|(name, _)| name == agent::VARIABLE);
        let work = |site: &Self, press: &mut Press, events: &mut dyn FnMut(Event)| {
            let mut bench = site.engine.bench(site.store, Ground { layers: &layers, config: &config })?;
            environment.extend(site.build.proxies.iter().cloned());
            // Those of the command line come later, and count.
            environment.extend(given);
            if let Some(seconds) = site.build.epoch {
                environment.push(("SOURCE_DATE_EPOCH".to_owned(), seconds.to_string()));
            }
            let caches = site.caches((index, &bench), &mounts)?;
            let mut places = Places { caches, ..Places::default() };
            for mount in &mounts {
                site.prepare((index, &mut bench), mount, &mut places)?;
            }
            site.trust(&mut places);
            let stubs = bench.prepare(places.points)?;
            if !own_agent {
                environment.extend(places.agents.variable());
            }
            environment.append(&mut places.variables);
            let request = ContainerRequest {
                image: "a step of a build".to_owned(),
                command: words,
                entrypoint: Some(Vec::new()),
                hostname: Some("pybox-build".to_owned()),
                env: environment,
                mounts: places.mounts,
                network,
                add_hosts: site.build.hosts.clone(),
                network_named: site.build.network_named && network != NetworkMode::None,
                pull: PullPolicy::Never,
                limits: site.build.limits.clone(),
                cgroup: site.build.cgroup(),
                ..ContainerRequest::default()
            };
            let code = bench.run((request, &places.secrets), (site.output.as_fd(), site.ledger.halt()), events)?;
            if code != 0 {
                return Err(failed(code, site.build.quiet, bench.was_short_of_memory()));
            }
            let changed = bench.pack(site.build.epoch, stubs, press)?;
            // By what was mounted, which may have changed since the key was made.
            Ok((changed, key::of(&parent, &recipe, &places.read)))
        };
        self.cached_as(made, (&key, step), events, work).map(drop)
    }

    /// All that decides what comes of the command, but for what it reads.
    fn recipe(
        &self,
        made: &Made,
        (words, environment): (&[String], &[(String, String)]),
        mounts: &[Wanted],
        network: NetworkMode,
    ) -> Value {
        let config = &made.state.config;
        let mut recipe = json!({
            "run": words, "arguments": environment, "environment": config.get("Env"), "user": config.get("User"),
            "directory": made.state.directory(), "mounts": mounts, "offline": network == NetworkMode::None,
            "epoch": self.build.epoch, "platform": made.platform,
        });
        if let (false, Some(recipe)) = (self.build.hosts.is_empty(), recipe.as_object_mut()) {
            recipe.insert("hosts".to_owned(), json!(self.build.hosts));
        }
        recipe
    }

    /// The network of a step. Only the command line opens that of the host: a file may be anybody's.
    fn network(&self, run: &Run) -> Result<NetworkMode, Failure> {
        match run.network.as_deref() {
            None | Some("default") => Ok(self.build.network),
            Some("none") => Ok(NetworkMode::None),
            Some("host") if self.build.network == NetworkMode::Host => Ok(NetworkMode::Host),
            Some("host") => {
                let failure = Failure::say(FailureKind::Denied, "the step asks for the network of the host");
                Err(failure.hint("if you trust the file: pybox build --network host".to_owned()))
            }
            Some(other) => Err(invalid(format!("there is no network {other:?}"))),
        }
    }

    fn expanded(&self, made: &Made, run: &Run) -> Result<Vec<Wanted>, Failure> {
        let text = |text: &str| made.state.expand(text).map_err(invalid);
        let place = |path: &str| Ok::<_, Failure>(made.state.absolute(&text(path)?));
        let expand = |mount: &Wanted| {
            Ok(match mount {
                Wanted::Cache(cache) => Wanted::Cache(Cache {
                    id: text(&cache.id)?,
                    target: place(&cache.target)?,
                    source: text(&cache.source)?,
                    ..cache.clone()
                }),
                Wanted::Secret { id, target, variable, required, mode, owner } => Wanted::Secret {
                    id: text(id)?,
                    target: target.as_deref().map(place).transpose()?,
                    variable: variable.clone(),
                    required: *required,
                    mode: *mode,
                    owner: *owner,
                },
                Wanted::Ssh(ssh) => Wanted::Ssh(Ssh {
                    id: text(&ssh.id)?,
                    target: ssh.target.as_deref().map(place).transpose()?,
                    ..ssh.clone()
                }),
                Wanted::Bind { from, source, target, writable } => Wanted::Bind {
                    from: from.clone(),
                    source: text(source)?,
                    target: place(target)?,
                    writable: *writable,
                },
                Wanted::Tmpfs { target, size } => Wanted::Tmpfs { target: place(target)?, size: *size },
            })
        };
        run.mounts.iter().map(expand).collect()
    }

    /// Makes what a mount shows.
    fn prepare<'b>(
        &'b self,
        (index, bench): (usize, &mut Bench<'_>),
        mount: &Wanted,
        places: &mut Places<'b>,
    ) -> Result<(), Failure> {
        match mount {
            Wanted::Cache(cache) => {
                let name = self.cache_name(index, cache)?;
                let Some(path) = places.caches.get(&name).map(|held| held.path.clone()) else {
                    return Err(Failure::say(FailureKind::Internal, "the cache is not there"));
                };
                places.bind(&path, &cache.target, cache.read_only);
                places.read.extend(self.made((index, cache.from.as_deref()))?.map(Made::parent));
            }
            Wanted::Tmpfs { target, size } => places.tmpfs(target, *size),
            Wanted::Secret { id, target, variable, required, mode, owner } => {
                let Some(secret) = self.build.secrets.iter().find(|secret| secret.id == *id) else {
                    if !*required {
                        return Ok(());
                    }
                    let failure = Failure::say(FailureKind::Invalid, format!("the step needs the secret {id:?}"));
                    return Err(failure.hint(format!("pybox build --secret id={id},src=FILE")));
                };
                if let Some(variable) = variable {
                    let text = std::str::from_utf8(&secret.value).ok().filter(|text| !text.contains('\0'));
                    text.ok_or_else(|| invalid(format!("the secret {id:?} is no text for a variable")))?;
                    places.secret(PrivatePlace::Variable(variable.clone()), &secret.value);
                }
                if let Some(target) = target {
                    places.points.push(MountPoint { path: target.into(), directory: false });
                    places.secret(
                        PrivatePlace::File { target: target.clone(), mode: *mode, owner: *owner },
                        &secret.value,
                    );
                }
            }
            Wanted::Ssh(ssh) => self.show_agent(bench, ssh, places)?,
            Wanted::Bind { from, source, target, writable } => {
                let source = self.source((index, from.as_deref()), source)?;
                let dress = Dress { owner: source.is_of_context().then_some((0, 0)), mode: None, ..Dress::default() };
                let inner = if source.directory { "" } else { source.name.as_str() };
                let mut read = None;
                let made =
                    bench.input(|writer| self.pack(&source, inner, dress, writer).map(|digest| read = digest))?;
                let unchanging = |place: &Place<'_>| match place {
                    Place::Made(made, _) => Some(made.parent()),
                    Place::Context(_) => None,
                };
                places.read.extend(read.or_else(|| unchanging(&source.place)));
                places.bind(&made.join(inner), target, !*writable);
            }
        }
        Ok(())
    }

    /// Shows the command a socket behind which the caller's agent answers.
    fn show_agent(&self, bench: &mut Bench<'_>, ssh: &Ssh, places: &mut Places<'_>) -> Result<(), Failure> {
        let Some(agent) = self.build.agents.iter().find(|agent| agent.id == ssh.id) else {
            if !ssh.required {
                return Ok(());
            }
            let failure = Failure::say(FailureKind::Invalid, format!("the step needs the agent of ssh {:?}", ssh.id));
            return Err(failure.hint(format!("pybox build --ssh {}", ssh.id)));
        };
        let target = ssh.place(places.agents.len());
        let (listener, path) = bench.socket(ssh.owner, ssh.mode)?;
        places.agents.add(&target, listener, &agent.socket)?;
        places.bind(&path, &target, false);
        Ok(())
    }

    /// Has the command trust whom the host trusts.
    fn trust(&self, places: &mut Places<'_>) {
        let Some(path) = &self.build.authorities else { return };
        places.bind(path, AUTHORITIES, true);
        places.variables.extend(TRUST.map(|name| (name.to_owned(), AUTHORITIES.to_owned())));
    }

    fn digest(&self, from: (usize, Option<&str>), source: &str) -> Result<Digest, Failure> {
        match self.source(from, source)?.place {
            Place::Context(item) => self.context.digest(&item, &[]),
            Place::Made(made, _) => Ok(made.parent()),
        }
    }
}

/// What is mounted for a command.
#[derive(Default)]
struct Places<'s> {
    mounts: Vec<Mount>,
    /// What is seen like mounts, and is not to be on any disk.
    secrets: Vec<Secret<'s>>,
    /// Who answers for agents of ssh, for as long as the step lasts.
    agents: Agents,
    /// What they are mounted on.
    points: Vec<MountPoint>,
    variables: Vec<(String, String)>,
    /// The digests of what was read, in the order of the mounts.
    read: Vec<Digest>,
    /// The caches, for as long as the step lasts.
    caches: BTreeMap<String, Held>,
}

impl<'s> Places<'s> {
    fn secret(&mut self, place: PrivatePlace, value: &'s [u8]) {
        self.secrets.push(Secret { place, value });
    }

    fn bind(&mut self, path: &std::path::Path, target: &str, read_only: bool) {
        self.points.push(MountPoint { path: target.into(), directory: path.is_dir() });
        let path = path.to_string_lossy().into_owned();
        self.add(MountSource::Bind { path, create: false }, target, read_only, Vec::new());
    }

    fn tmpfs(&mut self, target: &str, size: Option<u64>) {
        self.points.push(MountPoint { path: target.into(), directory: true });
        let options = size.iter().map(|size| format!("size={size}")).collect();
        self.add(MountSource::Tmpfs, target, false, options);
    }

    fn add(&mut self, source: MountSource, target: &str, read_only: bool, options: Vec<String>) {
        self.mounts.push(Mount { source, target: target.to_owned(), read_only, options });
    }
}

fn failed(code: i32, quiet: bool, short_of_memory: bool) -> Failure {
    if short_of_memory {
        let sentence = format!("the command ended with exit code {code}, and the kernel killed for want of memory");
        return Failure::say(FailureKind::Invalid, sentence).hint("give it more: pybox build --memory SIZE".to_owned());
    }
    let failure = Failure::say(FailureKind::Invalid, format!("the command ended with exit code {code}"));
    failure.hint(if quiet {
        "to see what it says, leave --quiet out".to_owned()
    } else {
        "what it said stands above; the steps before it are kept for the next build".to_owned()
    })
}
