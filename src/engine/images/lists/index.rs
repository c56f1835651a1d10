//! The document of a list: an OCI index (image-spec 1.1, image-index.md). Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::engine::api::MemberFacts;
use crate::engine::images::archive::media;
use crate::model::digest::Digest;
use crate::model::platform::Platform;

/// A list: its entries, and all else that its document says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List {
    entries: Vec<Value>,
    rest: Map<String, Value>,
}

/// An image to be put into a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) platform: Platform,
}

impl List {
    /// One without images.
    pub(super) fn empty() -> Self {
        let said = [("schemaVersion", json!(2)), ("mediaType", json!(media::OCI_INDEX))];
        let rest = said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { entries: Vec::new(), rest }
    }

    /// Reads a list that was written down.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut rest: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match rest.remove("manifests") {
            Some(Value::Array(entries)) => Ok(Self { entries, rest }),
            _ => Err("it has no manifests".to_owned()),
        }
    }

    /// The document.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut document = self.rest.clone();
        document.insert("manifests".to_owned(), json!(self.entries));
        Value::Object(document).to_string().into_bytes()
    }

    /// The images by their digests, and what they are made for.
    pub(super) fn members(&self) -> Vec<(Digest, Option<Platform>)> {
        let member = |entry: &Value| {
            let word =
                |key: &str| entry.pointer(&format!("/platform/{key}")).and_then(Value::as_str).map(str::to_owned);
            let platform = word("os").zip(word("architecture")).map(|(os, architecture)| Platform {
                os,
                architecture,
                variant: word("variant"),
            });
            Some((entry.get("digest")?.as_str()?.parse().ok()?, platform))
        };
        self.entries.iter().filter_map(member).collect()
    }

    /// Adds an image, or says anew what it is.
    pub(super) fn add(&mut self, member: &Member, facts: &MemberFacts) {
        let mut platform = json!({ "os": member.platform.os, "architecture": member.platform.architecture });
        if let (Some(variant), Some(platform)) = (&member.platform.variant, platform.as_object_mut()) {
            platform.insert("variant".to_owned(), json!(variant));
        }
        let entry = json!({
            "mediaType": member.media_type, "digest": member.digest, "size": member.size, "platform": platform,
        });
        let digest = json!(member.digest);
        match self.entries.iter_mut().find(|entry| entry.get("digest") == Some(&digest)) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
        self.annotate(&member.digest, facts);
    }

    /// Says more of an image; whether it is in the list.
    pub(super) fn annotate(&mut self, digest: &Digest, facts: &MemberFacts) -> bool {
        let digest = json!(digest);
        let found = self.entries.iter_mut().find(|entry| entry.get("digest") == Some(&digest));
        let Some(entry) = found.and_then(Value::as_object_mut) else { return false };
        let words = [
            ("os", &facts.os),
            ("architecture", &facts.architecture),
            ("variant", &facts.variant),
            ("os.version", &facts.os_version),
        ];
        let lists = [("os.features", &facts.os_features), ("features", &facts.features)];
        let words = words.into_iter().filter_map(|(key, word)| Some((key, json!(word.as_ref()?))));
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(key, list)| (key, json!(list)));
        merge(entry, "platform", words.chain(lists).map(|(key, value)| (key.to_owned(), value)));
        let annotations: &BTreeMap<String, String> = &facts.annotations;
        merge(entry, "annotations", annotations.iter().map(|(key, value)| (key.clone(), json!(value))));
        true
    }

    /// Takes an image out; whether it was in the list.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let digest = json!(digest);
        let before = self.entries.len();
        self.entries.retain(|entry| entry.get("digest") != Some(&digest));
        self.entries.len() != before
    }
}

fn merge(entry: &mut Map<String, Value>, key: &str, members: impl Iterator<Item = (String, Value)>) {
    let mut members = members.peekable();
    if members.peek().is_none() {
        return;
    }
    if let Value::Object(object) = entry.entry(key).or_insert_with(|| json!({})) {
        object.extend(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str, platform: &str) -> Member {
        let (digest, platform) = (Digest::of(text.as_bytes()), platform.parse().expect("a platform"));
        Member { media_type: media::OCI_MANIFEST.to_owned(), digest, size: text.len() as u64, platform }
    }

    #[test]
    fn images_come_change_and_go() {
        let (one, two) = (member("one", "linux/amd64"), member("two", "linux/arm/v7"));
        let mut list = List::empty();
        list.add(&one, &MemberFacts::default());
        list.add(&two, &MemberFacts::default());
        // The same image again is no second one.
        list.add(&one, &MemberFacts { variant: Some("v2".to_owned()), ..MemberFacts::default() });
        let platforms = |list: &List| -> Vec<String> {
            list.members().into_iter().map(|(_, platform)| platform.expect("a platform").to_string()).collect()
        };
        assert_eq!(platforms(&list), ["linux/amd64/v2", "linux/arm/v7"]);
        let facts = MemberFacts {
            architecture: Some("arm64".to_owned()),
            os_features: vec!["win32k".to_owned()],
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..MemberFacts::default()
        };
        assert!(list.annotate(&two.digest, &facts));
        assert!(!list.annotate(&Digest::of(b"three"), &facts));
        let document: Value = serde_json::from_slice(&list.bytes()).expect("JSON");
        assert_eq!(
            document["manifests"][1],
            json!({
                "mediaType": media::OCI_MANIFEST, "digest": two.digest, "size": 3,
                "platform": { "os": "linux", "architecture": "arm64", "variant": "v7", "os.features": ["win32k"] },
                "annotations": { "a": "b" },
            })
        );
        assert_eq!(List::parse(&list.bytes()), Ok(list.clone()));
        assert!(list.remove(&one.digest) && !list.remove(&one.digest));
        assert_eq!(list.members().len(), 1);
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = br#"{"schemaVersion":2,"annotations":{"x":"y"},"manifests":[{"digest":"nonsense"}],"subject":null}"#;
        let mut list = List::parse(text).expect("a list");
        assert_eq!(list.members(), []);
        list.add(&member("one", "linux/amd64"), &MemberFacts::default());
        let document: Value = serde_json::from_slice(&list.bytes()).expect("JSON");
        assert_eq!(
            (&document["annotations"]["x"], &document["manifests"][0]["digest"]),
            (&json!("y"), &json!("nonsense"))
        );
        for bad in ["", "[]", "{}", r#"{"manifests":{}}"#] {
            assert!(List::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
