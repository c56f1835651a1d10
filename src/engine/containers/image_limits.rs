//! What an image's author found enough for it: `[limits]` of its boxfile, kept as labels.
//!
//! They are defaults: what the command line says counts, and where this host cannot hold them the container runs
//! without, and that is said. Nobody is kept from an image by its author's opinion. Pure.

use oci_spec::image::ImageConfiguration;

use crate::build::boxfile::LIMIT_LABEL;
use crate::engine::api::Failure;
use crate::model::flags::{limits, size};
use crate::model::limits::Limits;

/// `asked`, and what `image` has for what was not asked, as far as `check` lets it; and what is to be told.
pub(super) fn with_defaults(
    asked: &Limits,
    image: &ImageConfiguration,
    check: impl Fn(&Limits) -> Result<(), Failure>,
) -> (Limits, Vec<String>) {
    let (found, mut warnings) = of_image(image);
    let mut names = Vec::new();
    let mut wanted = asked.clone();
    if wanted.memory.is_none() && found.memory.is_some() {
        wanted.memory = found.memory;
        names.push("memory");
    }
    if wanted.cpus.is_none() && found.cpus.is_some() {
        wanted.cpus = found.cpus;
        names.push("cpu");
    }
    if wanted.pids.is_none() && found.pids.is_some() {
        wanted.pids = found.pids;
        names.push("pids");
    }
    if names.is_empty() {
        return (wanted, warnings);
    }
    match check(&wanted) {
        Ok(()) => (wanted, warnings),
        Err(failure) => {
            let (names, why) = (names.join(", "), failure.message);
            warnings.push(format!("the image's own limits ({names}) are left out: {why}"));
            (asked.clone(), warnings)
        }
    }
}

/// What the labels say; one that makes no sense is nothing.
fn of_image(image: &ImageConfiguration) -> (Limits, Vec<String>) {
    let labels = image.config().as_ref().and_then(|config| config.labels().as_ref());
    let text = |key: &str| labels.and_then(|labels| labels.get(&format!("{LIMIT_LABEL}{key}")));
    let mut warnings = Vec::new();
    let mut wrong = |key: &str, text: &str| {
        warnings.push(format!("the image's label {LIMIT_LABEL}{key} is {text:?}, which is no limit and has no effect"));
    };
    let mut found = Limits::default();
    if let Some(text) = text("memory") {
        found.memory = size::memory(text).inspect_err(|_| wrong("memory", text)).ok();
    }
    if let Some(text) = text("cpu") {
        found.cpus = limits::cpus(text).inspect_err(|_| wrong("cpu", text)).ok();
    }
    if let Some(text) = text("pids") {
        found.pids = limits::pids(text).inspect_err(|_| wrong("pids", text)).ok();
    }
    (found, warnings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::api::FailureKind;

    fn image(labels: &[(&str, &str)]) -> ImageConfiguration {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(key, value)| (format!("{LIMIT_LABEL}{key}"), json!(value))).collect();
        let document = json!({
            "architecture": "amd64", "os": "linux", "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": [] }, "history": [],
        });
        serde_json::from_value(document).expect("a configuration")
    }

    #[test]
    fn what_is_not_asked_for_is_the_images() {
        let image = image(&[("memory", "256m"), ("cpu", "0.5"), ("pids", "100")]);
        let asked = Limits { memory: Some(1 << 20), ..Limits::default() };
        let (limits, warnings) = with_defaults(&asked, &image, |_| Ok(()));
        assert_eq!(limits, Limits { memory: Some(1 << 20), cpus: Some(0.5), pids: Some(100), ..Limits::default() });
        assert_eq!(warnings, Vec::<String>::new());
        let unlimited = Limits { pids: Some(-1), ..Limits::default() };
        assert_eq!(with_defaults(&unlimited, &image, |_| Ok(())).0.pids, Some(-1));
    }

    #[test]
    fn what_cannot_be_held_is_said_once_and_left_out() {
        let image = image(&[("memory", "256m"), ("pids", "100")]);
        let refuse = |_: &Limits| Err(Failure::say(FailureKind::Host, "cannot hold --memory: no cgroups"));
        let (limits, warnings) = with_defaults(&Limits::default(), &image, refuse);
        assert_eq!(limits, Limits::default());
        let expected = "the image's own limits (memory, pids) are left out: cannot hold --memory: no cgroups";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        let image = image(&[("memory", "much"), ("cpu", "-1"), ("pids", "ten")]);
        let (limits, warnings) = with_defaults(&Limits::default(), &image, |_| Ok(()));
        assert_eq!((limits, warnings.len()), (Limits::default(), 3));
        assert!(warnings.iter().all(|warning| warning.contains("which is no limit")), "{warnings:?}");
    }
}
