//! Every key of our sections, and what becomes of it: the one list that says what is supported, and
//! why the rest is not.

use super::kind::Kind;

/// What a key becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A flag with the last value.
    Flag(&'static str),
    /// The flag once for each line.
    Lines(&'static str),
    /// The flag once for each word.
    Words(&'static str),
    /// The flag once for each word, which has to be `NAME=VALUE`.
    Pairs(&'static str),
    /// The flag alone, if the value is yes.
    Switch(&'static str),
    /// `--security-opt` with this before the value.
    Security(&'static str),
    /// Something of its own, made where the command line is.
    Own,
    /// Nothing, for this reason.
    Refused(&'static str),
}

use Meaning::{Flag, Lines, Own, Pairs, Refused, Security, Switch, Words};

const IDS: Meaning = Refused("ids are mapped by UserNS=keep-id, or as the user's ranges are");
const NO_PODS: Meaning = Refused("there are no pods; put the containers on one .network");
const NO_MODULES: Meaning = Refused("pybox reads no containers.conf");
const RETRY: Meaning = Refused("a pull tries again by itself; Restart= does the rest");
const TLS: Meaning = Refused("registries.conf says which registries are insecure");
const STARTUP: Meaning = Refused("there is one health check; HealthStartPeriod= gives it time");
const HEALTH_LOG: Meaning = Refused("`pybox inspect` shows the last checks");
const VOLUME_DEVICE: Meaning = Refused("a volume is a directory; Volume=/path:/path of the .container mounts another");
const BUILD_NET: Meaning = Refused("the steps of a build have the name servers of the host");

const CONTAINER: &[(&str, Meaning)] = &[
    ("AddCapability", Words("--cap-add")),
    ("AddDevice", Own),
    ("AddHost", Lines("--add-host")),
    ("Annotation", Refused("annotations are for the runtime's own use; Label= is for yours")),
    ("AutoUpdate", Refused("nothing pulls behind your back; Pull=newer asks at each start")),
    ("CgroupsMode", Refused("the container stays in the cgroup of its unit")),
    ("ContainerName", Own),
    ("ContainersConfModule", NO_MODULES),
    ("DNS", Lines("--dns")),
    ("DNSOption", Lines("--dns-option")),
    ("DNSSearch", Lines("--dns-search")),
    ("DropCapability", Words("--cap-drop")),
    ("Entrypoint", Flag("--entrypoint")),
    ("Environment", Pairs("--env")),
    ("EnvironmentFile", Own),
    ("EnvironmentHost", Refused("PyboxArgs=--env NAME hands on a variable of the unit")),
    ("Exec", Own),
    ("ExposeHostPort", Refused("PublishPort= publishes a port; the others on a network reach all")),
    ("GIDMap", IDS),
    ("GlobalArgs", Own),
    ("Group", Own),
    ("GroupAdd", Lines("--group-add")),
    ("HealthCmd", Flag("--health-cmd")),
    ("HealthInterval", Flag("--health-interval")),
    ("HealthLogDestination", HEALTH_LOG),
    ("HealthMaxLogCount", HEALTH_LOG),
    ("HealthMaxLogSize", HEALTH_LOG),
    ("HealthOnFailure", Refused("`pybox events` tells of an unhealthy container")),
    ("HealthRetries", Flag("--health-retries")),
    ("HealthStartPeriod", Flag("--health-start-period")),
    ("HealthStartupCmd", STARTUP),
    ("HealthStartupInterval", STARTUP),
    ("HealthStartupRetries", STARTUP),
    ("HealthStartupSuccess", STARTUP),
    ("HealthStartupTimeout", STARTUP),
    ("HealthTimeout", Flag("--health-timeout")),
    ("HostName", Flag("--hostname")),
    ("HttpProxy", Refused("proxies are for pulls; Environment= sets variables of the container")),
    ("IP", Flag("--ip")),
    ("IP6", Flag("--ip6")),
    ("Image", Own),
    ("Label", Pairs("--label")),
    ("LogDriver", Own),
    ("LogOpt", Lines("--log-opt")),
    ("Mask", Security("mask=")),
    ("Memory", Flag("--memory")),
    ("Mount", Own),
    ("Network", Own),
    ("NetworkAlias", Lines("--network-alias")),
    ("NoNewPrivileges", Own),
    ("Notify", Own),
    ("PidsLimit", Flag("--pids-limit")),
    ("Pod", NO_PODS),
    ("PodmanArgs", Own),
    ("PublishPort", Lines("--publish")),
    ("Pull", Flag("--pull")),
    ("PyboxArgs", Own),
    ("ReadOnly", Switch("--read-only")),
    ("ReadOnlyTmpfs", Refused("Tmpfs=/tmp and the like name what can be written")),
    ("ReloadCmd", Own),
    ("ReloadSignal", Own),
    ("RemapGid", IDS),
    ("RemapUid", IDS),
    ("RemapUidSize", IDS),
    ("RemapUsers", IDS),
    ("Retry", RETRY),
    ("RetryDelay", RETRY),
    ("Rootfs", Refused("`pybox import DIRECTORY NAME` makes an image of it")),
    ("RunInit", Switch("--init")),
    ("SeccompProfile", Security("seccomp=")),
    ("Secret", Refused("LoadCredential= of [Service] and a Volume=%d:/run/secrets:ro give it files")),
    ("SecurityLabelDisable", Own),
    ("SecurityLabelFileType", Security("label=filetype:")),
    ("SecurityLabelLevel", Security("label=level:")),
    ("SecurityLabelNested", Own),
    ("SecurityLabelType", Security("label=type:")),
    ("ServiceName", Own),
    ("ShmSize", Flag("--shm-size")),
    ("StartWithPod", NO_PODS),
    ("StopSignal", Flag("--stop-signal")),
    ("StopTimeout", Flag("--stop-timeout")),
    ("SubGIDMap", IDS),
    ("SubUIDMap", IDS),
    ("Sysctl", Words("--sysctl")),
    ("Timezone", Own),
    ("Tmpfs", Lines("--tmpfs")),
    ("UIDMap", IDS),
    ("Ulimit", Lines("--ulimit")),
    ("Unmask", Security("unmask=")),
    ("User", Own),
    ("UserNS", Flag("--userns")),
    ("VolatileTmp", Own),
    ("Volume", Own),
    ("WorkingDir", Flag("--workdir")),
];

const VOLUME: &[(&str, Meaning)] = &[
    ("ContainersConfModule", NO_MODULES),
    ("Copy", Refused("an empty volume takes the files of the image, unless it is mounted with nocopy")),
    ("Device", VOLUME_DEVICE),
    ("Driver", Flag("--driver")),
    ("GlobalArgs", Own),
    ("Group", Refused("a new volume belongs to whom the image's directory belongs to")),
    ("Image", VOLUME_DEVICE),
    ("Label", Pairs("--label")),
    ("Options", VOLUME_DEVICE),
    ("PodmanArgs", Own),
    ("PyboxArgs", Own),
    ("ServiceName", Own),
    ("Type", VOLUME_DEVICE),
    ("User", Refused("a new volume belongs to whom the image's directory belongs to")),
    ("VolumeName", Own),
];

const NETWORK: &[(&str, Meaning)] = &[
    ("ContainersConfModule", NO_MODULES),
    ("DNS", Refused("the network's name server asks those of the host; DNS= of the .container names others")),
    ("DisableDNS", Switch("--disable-dns")),
    ("Driver", Flag("--driver")),
    ("Gateway", Lines("--gateway")),
    ("GlobalArgs", Own),
    ("IPAMDriver", Refused("pybox gives the addresses")),
    ("IPRange", Refused("addresses are those of the whole Subnet=; IP= of the .container takes one of them")),
    ("IPv6", Switch("--ipv6")),
    ("InterfaceName", Refused("the bridge has a name of its own")),
    ("Internal", Switch("--internal")),
    ("Label", Pairs("--label")),
    ("NetworkDeleteOnStop", Own),
    ("NetworkName", Own),
    ("Options", Refused("a bridge has no options")),
    ("PodmanArgs", Own),
    ("PyboxArgs", Own),
    ("ServiceName", Own),
    ("Subnet", Lines("--subnet")),
];

const IMAGE: &[(&str, Meaning)] = &[
    ("AllTags", Refused("one image a file")),
    ("Arch", Own),
    ("AuthFile", Own),
    (
        "CertDir",
        Refused("certificates are read from certs.d/REGISTRY of the user's and the host's containers directory"),
    ),
    ("ContainersConfModule", NO_MODULES),
    ("Creds", Refused("a password does not belong into a unit; AuthFile= names a file")),
    ("DecryptionKey", Refused("encrypted images are not read")),
    ("GlobalArgs", Own),
    ("Image", Own),
    ("ImageTag", Own),
    ("OS", Own),
    ("PodmanArgs", Own),
    ("Policy", Refused("`pybox pull` asks the registry each time, and downloads what is new")),
    ("PyboxArgs", Own),
    ("Retry", RETRY),
    ("RetryDelay", RETRY),
    ("ServiceName", Own),
    ("TLSVerify", TLS),
    ("Variant", Own),
];

const BUILD: &[(&str, Meaning)] = &[
    ("Annotation", Refused("Label= is kept in the image")),
    ("Arch", Own),
    ("AuthFile", Own),
    ("BuildArg", Pairs("--build-arg")),
    ("ContainersConfModule", NO_MODULES),
    ("DNS", BUILD_NET),
    ("DNSOption", BUILD_NET),
    ("DNSSearch", BUILD_NET),
    ("Environment", Refused("ENV of the file sets variables; BuildArg= sets arguments")),
    ("File", Own),
    ("ForceRM", Refused("nothing of a step stays but its layer")),
    ("GlobalArgs", Own),
    ("GroupAdd", Refused("USER of the file says who a step is")),
    ("IgnoreFile", Refused(".containerignore and .dockerignore of the context are read")),
    ("ImageTag", Lines("--tag")),
    ("Label", Pairs("--label")),
    ("Network", Own),
    ("PodmanArgs", Own),
    ("Pull", Own),
    ("PyboxArgs", Own),
    ("Retry", RETRY),
    ("RetryDelay", RETRY),
    ("Secret", Lines("--secret")),
    ("ServiceName", Own),
    ("SetWorkingDirectory", Own),
    ("TLSVerify", TLS),
    ("Target", Flag("--target")),
    ("Variant", Own),
    ("Volume", Refused("RUN --mount of the file gives a step what it needs")),
];

const QUADLET: &[(&str, Meaning)] = &[("DefaultDependencies", Own)];

/// The keys of a kind's section.
pub(super) fn of(kind: Kind) -> &'static [(&'static str, Meaning)] {
    match kind {
        Kind::Container => CONTAINER,
        Kind::Volume => VOLUME,
        Kind::Network => NETWORK,
        Kind::Image => IMAGE,
        Kind::Build => BUILD,
    }
}

/// What a key of a section means: none if nobody knows it.
pub(super) fn meaning(kind: Kind, section: &str, key: &str) -> Option<Meaning> {
    let keys = if section == "Quadlet" { QUADLET } else { of(kind) };
    keys.iter().find(|(name, _)| *name == key).map(|(_, meaning)| *meaning)
}

/// A known key of the section that looks like `key`: another case, or a letter off.
pub(super) fn similar(kind: Kind, section: &str, key: &str) -> Option<&'static str> {
    let keys = if section == "Quadlet" { QUADLET } else { of(kind) };
    let close = |name: &str| name.eq_ignore_ascii_case(key) || is_a_letter_off(name, key);
    keys.iter().map(|(name, _)| *name).find(|name| close(name))
}

fn is_a_letter_off(one: &str, other: &str) -> bool {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let (short, long) = if one.len() <= other.len() { (&one, &other) } else { (&other, &one) };
    let same = short.iter().zip(long.iter()).take_while(|(a, b)| a == b).count();
    let rest = |text: &[char], from: usize| text.get(from..).unwrap_or_default().to_vec();
    match long.len() - short.len() {
        0 => rest(short, same + 1) == rest(long, same + 1),
        1 => rest(short, same) == rest(long, same + 1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_once_and_in_order() {
        for kind in Kind::ALL {
            let names: Vec<_> = of(kind).iter().map(|(name, _)| *name).collect();
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(names, sorted, "{kind:?}");
        }
    }

    #[test]
    fn slips_are_seen() {
        let similar = |key| similar(Kind::Container, "Container", key);
        assert_eq!(similar("image"), Some("Image"));
        assert_eq!(similar("Volumes"), Some("Volume"));
        assert_eq!(similar("PublshPort"), Some("PublishPort"));
        assert_eq!(similar("Nothing"), None);
        assert_eq!(similar(""), None);
    }
}
