//! JSON that two readers cannot read in two ways.
//!
//! A manifest is judged by us and, later, by other tools: a key that stands
//! twice would mean one thing here and another there (CVE-2021-41190 and its
//! kin), and a document nested a million deep is only sent to hurt. Both are
//! refused before anything is read out of the document.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep a document may be nested.
pub const MAX_DEPTH: u32 = 64;

/// Checks that `bytes` is one JSON document, at most [`MAX_DEPTH`] deep, and
/// without an object that has a key twice.
///
/// # Errors
/// A sentence that says which rule is broken and where.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { depth_left: MAX_DEPTH }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| super::error::excerpt(&error.to_string()))
}

/// Walks one value and keeps nothing of it but the keys of the objects on the way.
struct Strict {
    depth_left: u32,
}

impl Strict {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!("it is nested deeper than {MAX_DEPTH}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value_seed(self.deeper()?)?;
            if let Some(twice) = keys.replace(key) {
                return Err(A::Error::custom(format_args!("the key {twice:?} stands twice in one object")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_documents_pass() {
        for good in [r#"{"a":{"b":[1,-2,3.5,true,null,"x"]},"c":{"b":1}}"#, "[]", "1", r#"{"\u0061":1,"b":1}"#] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn ambiguous_and_hostile_documents_are_refused() {
        let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(deep(64).as_bytes()), Ok(()));
        for (bad, why) in [
            (r#"{"a":1,"a":2}"#.to_owned(), "twice"),
            (r#"{"a":1,"\u0061":2}"#.to_owned(), "twice"),
            (r#"[{"x":{"layers":[],"layers":[]}}]"#.to_owned(), "twice"),
            (deep(65), "deeper than 64"),
            (deep(1_000_000), "deeper than 64"),
            (r#"{"a":1} {"b":2}"#.to_owned(), "trailing"),
            (String::new(), "EOF"),
            ("{\"a\":".to_owned(), "EOF"),
        ] {
            let error = check(bad.as_bytes()).expect_err(&bad[..bad.len().min(40)]);
            assert!(error.contains(why), "{error}");
        }
        assert!(check(b"\"\xff\"").is_err());
    }
}
