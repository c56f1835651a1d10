//! Which containers a list shows: the meaning of `ps --filter`. Pure.

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::api::{ContainerFilter, ContainerScope, ContainerSummary, ListContainers};
use crate::model::lifecycle::Lifecycle;
use crate::model::reference::Reference;
use crate::model::supervision::Health;

impl ListContainers {
    /// The containers of `all` (the newest first) that this list shows.
    pub fn select(&self, mut all: Vec<ContainerSummary>) -> Vec<ContainerSummary> {
        // As docker: a filter by state looks at all containers.
        let by_state =
            self.filters.iter().any(|f| matches!(f, ContainerFilter::Status(_) | ContainerFilter::Exited(_)));
        let known = Known::of(&self.filters, &all);
        match self.scope {
            ContainerScope::Running if !by_state => all.retain(|container| container.lifecycle.is_alive()),
            ContainerScope::Running | ContainerScope::All => {}
            ContainerScope::Last(count) => all.truncate(usize::try_from(count).unwrap_or(usize::MAX)),
        }
        all.retain(|container| self.accepts(container, &known));
        all
    }

    /// Whether every kind of filter that was given lets `container` pass.
    fn accepts(&self, container: &ContainerSummary, known: &Known) -> bool {
        self.filters.iter().all(|filter| {
            matches(filter, container, known)
                || (!matches!(filter, ContainerFilter::Label { .. })
                    && self.filters.iter().any(|other| same_kind(filter, other) && matches(other, container, known)))
        })
    }
}

/// What is worked out once for all containers.
struct Known {
    /// When the containers were made that filters name.
    times: BTreeMap<String, i64>,
    /// The patterns of filters by name, as docker has them: regular expressions that match anywhere.
    /// What is none is looked for as it stands.
    patterns: BTreeMap<String, Regex>,
}

impl Known {
    fn of(filters: &[ContainerFilter], all: &[ContainerSummary]) -> Self {
        let times = filters.iter().filter_map(|filter| match filter {
            ContainerFilter::Before(text) | ContainerFilter::Since(text) => {
                let named = |one: &&ContainerSummary| one.name.as_str() == text.trim_start_matches('/');
                let by_id = |one: &&ContainerSummary| one.id.as_str().starts_with(text);
                let found = all.iter().find(named).or_else(|| all.iter().find(by_id))?;
                Some((text.clone(), found.created))
            }
            _ => None,
        });
        let patterns = filters.iter().filter_map(|filter| match filter {
            ContainerFilter::Name(text) => Some((text.clone(), Regex::new(text).ok()?)),
            _ => None,
        });
        Self { times: times.collect(), patterns: patterns.collect() }
    }

    /// Docker compares with `/name` and with `name`, so that `^/name$` and `^name$` both find it.
    fn names(&self, pattern: &str, name: &str) -> bool {
        let slashed = format!("/{name}");
        match self.patterns.get(pattern) {
            Some(regex) => regex.is_match(name) || regex.is_match(&slashed),
            None => slashed.contains(pattern),
        }
    }
}

fn same_kind(one: &ContainerFilter, other: &ContainerFilter) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn matches(filter: &ContainerFilter, container: &ContainerSummary, known: &Known) -> bool {
    match filter {
        ContainerFilter::Id(prefix) => container.id.as_str().starts_with(prefix),
        ContainerFilter::Name(part) => known.names(part, container.name.as_str()),
        ContainerFilter::Status(word) => container.lifecycle.word() == word,
        ContainerFilter::Label { key, value } => {
            container.labels.get(key).is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
        }
        ContainerFilter::Ancestor(image) => is_ancestor(image, container),
        ContainerFilter::Exited(code) => {
            matches!(container.lifecycle, Lifecycle::Stopped { exit_code, .. } if exit_code == *code)
        }
        ContainerFilter::Health(word) => container.health.map_or("none", Health::word) == word,
        ContainerFilter::Volume(name) => container.mounts.contains(name) || container.targets.contains(name),
        ContainerFilter::Network(name) => container.networks.contains(name),
        ContainerFilter::Before(text) => known.times.get(text).is_some_and(|time| container.created < *time),
        ContainerFilter::Since(text) => known.times.get(text).is_some_and(|time| container.created > *time),
    }
}

fn is_ancestor(image: &str, container: &ContainerSummary) -> bool {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id =
        hex.len() >= 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()) && container.image_id.hex().starts_with(hex);
    let same_name = || match (image.parse::<Reference>(), container.image.parse::<Reference>()) {
        (Ok(asked), Ok(has)) => asked == has,
        _ => false,
    };
    is_id || image == container.image || same_name()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::model::id::ContainerId;

    fn container(name: &str, lifecycle: Lifecycle) -> ContainerSummary {
        ContainerSummary {
            id: ContainerId::from_random(&[name.len() as u8; 32]),
            name: name.parse().expect("name"),
            image: "debian:12".into(),
            image_id: Digest::sha256(&[0xab; 32]),
            command: vec!["sh".into()],
            created: i64::try_from(name.len()).unwrap_or(0),
            lifecycle,
            labels: [("tier".to_owned(), name.to_owned()), ("app".to_owned(), "x".to_owned())].into(),
            mounts: if name == "web" { vec!["data".into()] } else { vec![] },
            targets: if name == "web" { vec!["/var/lib/data".into()] } else { vec![] },
            networks: vec![if name == "web" { "host".into() } else { "none".into() }],
            health: (name == "web").then_some(Health::Healthy),
            size: None,
            image_size: 0,
        }
    }

    fn names(scope: ContainerScope, filters: &[ContainerFilter]) -> String {
        let process = |pid| crate::model::lifecycle::ProcessIdentity { pid, started_ticks: 1, boot_id: String::new() };
        let all = vec![
            container("web", Lifecycle::Running { init: process(2), monitor: process(1), since: 0 }),
            container("cache", Lifecycle::Stopped { exit_code: 3, at: 0, reason: None, by_user: false }),
            container("new", Lifecycle::Created),
        ];
        let list = ListContainers { scope, filters: filters.to_vec(), sizes: false };
        list.select(all).iter().map(|c| c.name.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scopes() {
        assert_eq!(names(ContainerScope::Running, &[]), "web");
        assert_eq!(names(ContainerScope::All, &[]), "web cache new");
        assert_eq!(names(ContainerScope::Last(2), &[]), "web cache");
    }

    #[test]
    fn filters_of_one_kind_are_alternatives_and_kinds_add_up() {
        use ContainerFilter::{Ancestor, Before, Exited, Health, Id, Label, Name, Network, Since, Status, Volume};
        let label = |key: &str, value: Option<&str>| Label { key: key.to_owned(), value: value.map(ToOwned::to_owned) };
        let cases: [(&[ContainerFilter], &str); 25] = [
            (&[Name("e".into())], "web cache new"),
            (&[Name("/web".into()), Name("new".into())], "web new"),
            (&[Name("e".into()), Status("exited".into())], "cache"),
            (&[Status("created".into()), Status("running".into())], "web new"),
            (&[Exited(3)], "cache"),
            (&[label("tier", None), label("tier", Some("web"))], "web"),
            (&[label("none", None)], ""),
            (&[Id("0303".into())], "web new"),
            (&[Ancestor("docker.io/library/debian:12".into())], "web cache new"),
            (&[Ancestor("abab".into())], "web cache new"),
            (&[Ancestor("debian".into())], ""),
            (&[Health("healthy".into())], "web"),
            (&[Health("none".into())], "cache new"),
            (&[Name("^/web$".into())], "web"),
            (&[Name("^e".into())], ""),
            (&[Name("^(web|new)$".into())], "web new"),
            (&[Name("w.b".into())], "web"),
            (&[Name("[".into())], ""),
            (&[Volume("data".into())], "web"),
            (&[Volume("/var/lib/data".into())], "web"),
            (&[Network("none".into())], "cache new"),
            (&[Before("cache".into())], "web new"),
            (&[Since("/web".into())], "cache"),
            (&[Since("0303".into()), Before("cache".into())], ""),
            (&[Before("nobody".into())], ""),
        ];
        for (filters, shown) in cases {
            assert_eq!(names(ContainerScope::All, filters), shown, "{filters:?}");
        }
        assert_eq!(names(ContainerScope::Running, &[Status("exited".into())]), "cache", "as docker without -a");
    }
}
