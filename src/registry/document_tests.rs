//! Tables of manifests and indexes, good and bad.

use super::*;

fn digest(fill: char) -> String {
    format!("sha256:{}", fill.to_string().repeat(64))
}

fn manifest_json(layers: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":7}},"layers":[{layers}]}}"#,
        digest('c')
    )
}

fn layer_json(media_type: &str, extra: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":9{extra}}}"#, digest('a'))
}

fn parse(text: &str, content_type: Option<&str>) -> Result<Document, RegistryError> {
    Document::parse(text.as_bytes(), content_type, "r/x:1")
}

#[test]
fn reads_the_layer_kinds() {
    for (media_type, compression) in [
        ("application/vnd.oci.image.layer.v1.tar", Compression::None),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
    ] {
        let text = manifest_json(&layer_json(media_type, ""));
        let Ok(Document::Manifest(manifest)) = parse(&text, Some(OCI_MANIFEST)) else { panic!("{media_type}") };
        assert_eq!(manifest.config.size, 7);
        assert_eq!(manifest.config.digest.to_string(), digest('c'));
        let layer = LayerDescriptor {
            digest: digest('a').parse().unwrap(),
            size: 9,
            compression,
            media_type: media_type.to_owned(),
        };
        assert_eq!(manifest.layers, [layer]);
    }
}

#[test]
fn header_and_field_must_agree() {
    let manifest = manifest_json("");
    let docker =
        manifest.replace(OCI_MANIFEST, DOCKER_MANIFEST).replace("oci.image.config.v1", "docker.container.image.v1");
    let silent = manifest.replace(&format!(r#""mediaType":"{OCI_MANIFEST}","#), "");
    for (text, header, taken) in [
        (&manifest, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), true),
        (&manifest, Some("application/json"), true),
        (&manifest, Some("text/plain; charset=utf-8"), true),
        (&manifest, None, true),
        (&manifest, Some(OCI_INDEX), false),
        (&manifest, Some(DOCKER_MANIFEST), false),
        (&manifest, Some("text/html"), false),
        (&docker, Some(DOCKER_MANIFEST), true),
        (&docker, Some(OCI_MANIFEST), false),
        (&silent, Some(OCI_MANIFEST), true),
        (&silent, Some(OCI_INDEX), false),
        (&silent, Some("application/json"), false),
        (&silent, None, false),
    ] {
        assert_eq!(parse(text, header).is_ok(), taken, "{header:?} {text}");
    }
}

#[test]
fn refuses_documents_with_two_meanings_or_none() {
    let both = manifest_json("").replace(r#""layers":[]"#, r#""layers":[],"manifests":[]"#);
    let twice = manifest_json("").replace(r#""layers":[]"#, r#""layers":[],"layers":[]"#);
    let nested = |n: usize| format!(r#""layers":[],"x":{}{}"#, "[".repeat(n), "]".repeat(n));
    let deep = manifest_json("").replace(r#""layers":[]"#, &nested(80));
    let fat = manifest_json("")
        .replace(r#""layers":[]"#, &format!(r#""layers":[],"annotations":{{"a":"{}"}}"#, "x".repeat(300 << 10)));
    for (text, header, why) in [
        (both.clone(), OCI_MANIFEST, "at once"),
        (both.replace(OCI_MANIFEST, OCI_INDEX), OCI_INDEX, "at once"),
        (twice, OCI_MANIFEST, "twice"),
        (deep, OCI_MANIFEST, "deeper"),
        (fat, OCI_MANIFEST, "annotations"),
        (format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}"}}"#), OCI_MANIFEST, "neither config"),
        (format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}"}}"#), OCI_INDEX, "no manifests"),
        (r#"{"schemaVersion":1,"fsLayers":[],"name":"x"}"#.into(), "application/json", "schema 1"),
        (r#"{"schemaVersion":3}"#.into(), OCI_MANIFEST, "schemaVersion"),
        (
            manifest_json(&layer_json("application/vnd.oci.image.layer.v1.tar", ""))
                .replace(&digest('a'), "sha256:../../x"),
            OCI_MANIFEST,
            "invalid digest",
        ),
        (
            manifest_json(&layer_json("application/vnd.oci.image.layer.v1.tar", "")).replace(":9", ":-9"),
            OCI_MANIFEST,
            "-9",
        ),
        (manifest_json(&layer_json("application/x-rar", "")), OCI_MANIFEST, "application/x-rar"),
        ("[]".into(), OCI_MANIFEST, "invalid"),
        ("<html>".into(), OCI_MANIFEST, "expected"),
    ] {
        match parse(&text, Some(header)) {
            Err(RegistryError::InvalidManifest { why: found, .. }) => assert!(found.contains(why), "{found} / {why}"),
            other => panic!("{other:?} for {why}"),
        }
    }
    let long = vec![b' '; MAX_MANIFEST as usize + 1];
    assert!(matches!(Document::parse(&long, Some(OCI_MANIFEST), "x"), Err(RegistryError::TooLarge { .. })));
}

#[test]
fn layers_that_lie_elsewhere_are_named_not_fetched() {
    for layer in [
        layer_json("application/vnd.oci.image.layer.v1.tar+gzip", r#","urls":["http://evil.example/x"]"#),
        layer_json("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", ""),
        layer_json("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", ""),
    ] {
        let error = parse(&manifest_json(&layer), Some(OCI_MANIFEST)).expect_err(&layer);
        assert!(matches!(error, RegistryError::NonDistributable { .. }), "{error}");
    }
}

#[test]
fn other_artifacts_and_huge_configurations_are_no_images() {
    let chart = manifest_json("").replace("vnd.oci.image.config.v1+json", "vnd.cncf.helm.config.v1+json");
    assert!(matches!(parse(&chart, Some(OCI_MANIFEST)), Err(RegistryError::NotAnImage { media_type, .. })
        if media_type == "application/vnd.cncf.helm.config.v1+json"));
    let huge = manifest_json("").replace(r#""size":7"#, r#""size":99999999"#);
    assert!(matches!(parse(&huge, Some(OCI_MANIFEST)), Err(RegistryError::TooLarge { limit: MAX_CONFIG, .. })));
}

fn entry(fill: char, platform: &str) -> String {
    let mut words = platform.split('/');
    let [os, architecture] = [words.next().unwrap_or_default(), words.next().unwrap_or_default()];
    let variant = words.next().map_or(String::new(), |variant| format!(r#","variant":"{variant}""#));
    format!(
        r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"{variant}}}}}"#,
        digest(fill)
    )
}

fn entries(parts: &[String]) -> Vec<Entry> {
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, parts.join(","));
    match parse(&text, Some(OCI_INDEX)) {
        Ok(Document::Index(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn chooses_by_platform() {
    let index = entries(&[
        entry('0', "unknown/unknown"),
        entry('1', "linux/amd64/v3"),
        entry('2', "linux/amd64"),
        entry('3', "linux/arm/v6"),
        entry('4', "linux/arm/v7"),
        entry('5', "linux/arm64/v8"),
        entry('6', "windows/amd64"),
    ]);
    for (wanted, fill) in [
        ("linux/amd64", '2'),
        ("linux/amd64/v3", '1'),
        ("linux/arm/v7", '4'),
        ("linux/arm64", '5'),
        ("linux/arm64/v8", '5'),
        ("windows/amd64", '6'),
    ] {
        let chosen = choose(&index, &wanted.parse().unwrap(), "x").expect(wanted);
        assert_eq!(chosen.manifest.digest.to_string(), digest(fill), "{wanted}");
    }
    let missing = choose(&index, &"linux/s390x".parse().unwrap(), "r/x:1").expect_err("no such entry");
    let RegistryError::PlatformMissing { available, .. } = missing else { panic!("{missing}") };
    assert_eq!(
        available,
        ["linux/amd64", "linux/amd64/v3", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "windows/amd64"]
    );
}

#[test]
fn an_index_has_bounds_and_no_attestations() {
    let attestation = entry('7', "linux/amd64").replacen(
        '{',
        r#"{"annotations":{"vnd.docker.reference.type":"attestation-manifest"},"#,
        1,
    );
    assert_eq!(entries(&[attestation, entry('2', "linux/amd64")]).len(), 1);
    let many: Vec<String> = (0..=MAX_INDEX_ENTRIES).map(|_| entry('1', "linux/amd64")).collect();
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, many.join(","));
    assert!(matches!(parse(&text, None), Err(RegistryError::InvalidManifest { why, .. }) if why.contains("1001")));
}

#[test]
fn the_configuration_is_for_the_platform_or_refused() {
    let check = |text: &str, wanted: &str| check_config(text.as_bytes(), &wanted.parse().unwrap(), "x");
    assert!(check(r#"{"architecture":"amd64","os":"linux"}"#, "linux/amd64").is_ok());
    assert!(check(r#"{"architecture":"arm64","os":"linux"}"#, "linux/arm64/v8").is_ok());
    assert!(check(r#"{"architecture":"arm","os":"linux"}"#, "linux/arm/v7").is_ok());
    assert!(check(r#"{"architecture":"","os":""}"#, "linux/amd64").is_ok());
    assert!(check("{}", "linux/amd64").is_ok());
    let error = check(r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#, "linux/amd64").expect_err("other");
    assert!(matches!(error, RegistryError::PlatformMissing { available, .. } if available == ["linux/arm64/v8"]));
    assert!(check(r#"{"os":"linux","os":"windows"}"#, "linux/amd64").is_err());
}
