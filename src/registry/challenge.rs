//! `WWW-Authenticate` (RFC 9110, section 11.6.1), as far as registries use it.

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// With user name and password.
    Basic,
    /// With a token that `realm` gives out.
    Bearer {
        /// Where to ask, as the registry wrote it: nothing is sent there
        /// before [`super::realm::check`] has agreed.
        realm: String,
        /// The name of the registry at the token server.
        service: Option<String>,
        /// Why the token that was sent did not do.
        error: Option<String>,
    },
}

/// Longest header that is looked at.
const MAX_HEADER: usize = 16 << 10;

/// The first challenge in `headers` that we can answer, Bearer before Basic.
/// Headers that break the grammar are passed over from the break on.
pub fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let challenges: Vec<Challenge> =
        headers.into_iter().filter(|text| text.len() <= MAX_HEADER).flat_map(all).collect();
    let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(challenges.first()).cloned()
}

fn all(header: &str) -> Vec<Challenge> {
    http_auth::parser::ChallengeParser::new(header)
        .map_while(Result::ok)
        .filter_map(|challenge| {
            let value = |name: &str| {
                let mut found = challenge.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                found.next().map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                return Some(Challenge::Basic);
            }
            if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            Some(Challenge::Bearer { realm: value("realm")?, service: value("service"), error: value("error") })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), error: None })
    }

    #[test]
    fn reads_what_registries_send() {
        for (headers, expected) in [
            (
                vec![
                    r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#,
                ],
                bearer("https://auth.example/token", Some("registry.example")),
            ),
            (vec!["bearer REALM=\"https://a/t\""], bearer("https://a/t", None)),
            (vec!["Basic realm=\"x\""], Some(Challenge::Basic)),
            (vec!["Basic realm=\"x\", Bearer realm=\"https://a/t\""], bearer("https://a/t", None)),
            (vec!["Basic realm=\"x\"", "Bearer realm=\"https://a/t\",service=\"s\""], bearer("https://a/t", Some("s"))),
            (vec!["Negotiate", "Basic realm=x"], Some(Challenge::Basic)),
            (vec![r#"Bearer realm="https://a/\"t""#], bearer("https://a/\"t", None)),
            (vec!["Bearer service=\"no-realm\""], None),
            (vec!["Digest realm=\"x\", nonce=\"y\""], None),
            (vec!["Bearer realm=\"unfinished"], None),
            (vec!["", ",,,"], None),
            (vec![], None),
        ] {
            assert_eq!(choose(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_huge_header_is_not_read() {
        let huge = format!("Bearer realm=\"https://a/{}\"", "x".repeat(MAX_HEADER));
        assert_eq!(choose([huge.as_str()]), None);
    }

    #[test]
    fn the_reason_of_a_refused_token_is_kept() {
        let found = choose([r#"Bearer realm="https://a/t",error="insufficient_scope""#]);
        assert!(matches!(found, Some(Challenge::Bearer { error: Some(error), .. }) if error == "insufficient_scope"));
    }
}
