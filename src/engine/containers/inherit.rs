//! What a container has of its image, as docker shows it: kept with the request once the
//! document is composed, so that `ps`, `inspect` and `commit` need not look into the image. Pure.

use oci_spec::image::ImageConfiguration;

use crate::model::container::{ContainerRequest, UserNamespace};
use crate::model::flags::signal;

/// Fills in of `image` what the request left to it. The rules are those of `spec::process`.
pub(super) fn complete(request: &mut ContainerRequest, image: &ImageConfiguration) {
    let Some(config) = image.config() else { return };
    if request.entrypoint.is_none() {
        if request.command.is_empty() {
            request.command = config.cmd().clone().unwrap_or_default();
        }
        request.entrypoint = config.entrypoint().clone().filter(|words| !words.is_empty());
    }
    for (key, value) in config.labels().iter().flatten() {
        request.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // Under keep-id the user of the image is not the container's.
    if request.user.is_none() && !matches!(request.userns, UserNamespace::KeepId { .. }) {
        request.user = config.user().clone().filter(|user| !user.is_empty());
    }
    if request.stop_signal.is_none() {
        request.stop_signal = config.stop_signal().as_deref().and_then(signal::number);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image() -> ImageConfiguration {
        let config = json!({
            "Entrypoint": ["/entry"], "Cmd": ["serve"], "User": "app", "StopSignal": "SIGINT",
            "Labels": { "kind": "image", "tier": "image" },
        });
        let document = json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": [] }, "history": [],
        });
        serde_json::from_value(document).expect("a configuration")
    }

    #[test]
    fn the_request_comes_first_and_the_image_fills_the_rest() {
        let mut request = ContainerRequest::default();
        request.labels.insert("tier".into(), "mine".into());
        complete(&mut request, &image());
        assert_eq!(request.entrypoint, Some(vec!["/entry".to_owned()]));
        assert_eq!(request.command, ["serve"]);
        assert_eq!(request.user.as_deref(), Some("app"));
        assert_eq!(request.stop_signal, Some(2));
        let labels: Vec<_> = request.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["kind=image", "tier=mine"]);
    }

    #[test]
    fn an_entrypoint_takes_the_images_command_away() {
        let mut request = ContainerRequest { entrypoint: Some(vec![]), ..ContainerRequest::default() };
        request.command = vec!["sh".into()];
        complete(&mut request, &image());
        assert_eq!((request.entrypoint, request.command), (Some(vec![]), vec!["sh".to_owned()]));
        let mut request = ContainerRequest { command: vec!["x".into()], ..ContainerRequest::default() };
        complete(&mut request, &image());
        assert_eq!((request.entrypoint, request.command), (Some(vec!["/entry".into()]), vec!["x".to_owned()]));
    }

    #[test]
    fn under_keep_id_the_user_stays_the_callers() {
        let userns = UserNamespace::KeepId { uid: None, gid: None };
        let mut request = ContainerRequest { userns, ..ContainerRequest::default() };
        complete(&mut request, &image());
        assert_eq!(request.user, None);
    }
}
