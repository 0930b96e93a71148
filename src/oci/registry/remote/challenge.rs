//! The challenge of a registry, `WWW-Authenticate` (RFC 9110, section 11.6.1), and the trust in its
//! token server.
//!
//! This module sends no requests.

use http_auth::{ChallengeRef, parser::ChallengeParser};
use reqwest::{
    Url,
    header::{HeaderMap, WWW_AUTHENTICATE},
};

use super::{
    address::{check_url, host_of, redacted},
    request_error::RequestError,
};

/// The authentication that a registry requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request (RFC 7617).
    Basic,
    /// A token from a token server (distribution specification, "Token Authentication").
    Bearer(Bearer),
}

/// The parameters of a token request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// The documented token servers of registries on another host; GHCR's token server is on its own
/// host.
const DOCUMENTED: [(&str, &str); 2] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// The challenge in a response; Bearer is preferred to Basic.
pub(super) fn parse(headers: &HeaderMap) -> Result<Challenge, RequestError> {
    let (mut has_basic, mut bearer, mut has_malformed) = (false, None, false);
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else {
            has_malformed = true;
            continue;
        };
        // A malformed header is ignored completely: the part before the error may have another
        // meaning.
        let Ok(challenges) = ChallengeParser::new(text).collect::<Result<Vec<_>, _>>() else {
            has_malformed = true;
            continue;
        };
        for challenge in challenges {
            has_basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            if challenge.scheme.eq_ignore_ascii_case("bearer") && bearer.is_none() {
                bearer = Some(parse_bearer(&challenge)?);
            }
        }
    }
    match (bearer, has_basic) {
        (Some(bearer), _) => Ok(Challenge::Bearer(bearer)),
        (None, true) => Ok(Challenge::Basic),
        (None, false) if has_malformed => Err(RequestError::denied(
            "the registry requires credentials, but its challenge cannot be parsed (WWW-Authenticate)",
        )),
        (None, false) => Err(RequestError::denied(
            "the registry requires credentials, but offers neither Basic nor Bearer",
        )),
    }
}

fn parse_bearer(challenge: &ChallengeRef<'_>) -> Result<Bearer, RequestError> {
    let realm = parameter(challenge, "realm")?
        .ok_or_else(|| RequestError::denied("the challenge names no token server (realm)"))?;
    Ok(Bearer {
        realm,
        service: parameter(challenge, "service")?,
        scope: parameter(challenge, "scope")?,
    })
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Result<Option<String>, RequestError> {
    let mut found = None;
    for (key, value) in &challenge.params {
        if !key.eq_ignore_ascii_case(name) {
            continue;
        }
        if found.replace(value.to_unescaped()).is_some() {
            return Err(RequestError::denied(format!(
                "the challenge contains a duplicate `{name}`"
            )));
        }
    }
    Ok(found)
}

/// Whether a token server receives the registry's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The registry itself, its documented token server, or a configured one.
    Own,
    /// Any other host, which receives no credentials.
    Foreign,
}

/// The token server's URL, and the trust in it. `configured` is the registry's token server in the
/// configuration.
pub(super) fn token_server(
    bearer: &Bearer,
    registry: &Url,
    configured: Option<&str>,
) -> Result<(Url, Trust), RequestError> {
    let mut url = Url::parse(&bearer.realm)
        .map_err(|_| RequestError::denied("the token server (realm) is not a URL"))?;
    url.set_fragment(None);
    check_url(&url).map_err(|reason| {
        RequestError::denied(format!("the token server is {}, {reason}", redacted(&url)))
    })?;
    if registry.scheme() == "https" && url.scheme() != "https" {
        let reason = format!(
            "the token server {} does not use TLS, but the registry does",
            redacted(&url)
        );
        return Err(RequestError::denied(reason));
    }
    let (registry_host, server) = (host_of(registry), host_of(&url));
    let is_documented = registry.scheme() == "https"
        && DOCUMENTED.contains(&(registry_host.as_str(), server.as_str()));
    let is_own =
        url.origin() == registry.origin() || is_documented || configured == Some(server.as_str());
    Ok((url, if is_own { Trust::Own } else { Trust::Foreign }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        parse(&headers).map_err(|error| error.reason)
    }

    fn bearer(realm: &str) -> Bearer {
        Bearer {
            realm: realm.to_owned(),
            service: None,
            scope: None,
        }
    }

    #[test]
    fn challenge_with_quoted_strings_is_parsed() {
        let expected = Challenge::Bearer(Bearer {
            realm: "https://r/to\"ken".to_owned(),
            service: Some("a, b".to_owned()),
            scope: Some("repository:x:pull".to_owned()),
        });
        let text = r#"Negotiate, bearer Realm="https://r/to\"ken", service="a, b",scope="repository:x:pull", Basic realm="x""#;
        assert_eq!(parsed(&[text]), Ok(expected));
        assert_eq!(
            parsed(&["Digest realm=\"d\", nonce=x", "BASIC realm=\"x\""]),
            Ok(Challenge::Basic)
        );
        assert_eq!(
            parsed(&["Bearer realm=\"", "Basic realm=x"]),
            Ok(Challenge::Basic)
        );
    }

    #[test]
    fn unsupported_challenge_is_refused_with_its_reason() {
        for (value, reason) in [
            ("Negotiate", "neither"),
            ("Bearer service=\"x\"", "names no token server"),
            ("Bearer realm=\"a\", realm=\"b\"", "duplicate `realm`"),
            ("Bearer realm=\"a", "cannot be parsed"),
            ("", "cannot be parsed"),
        ] {
            let error = parsed(&[value]).unwrap_err();
            assert!(error.contains(reason), "{value}: {error}");
        }
    }

    #[test]
    fn only_known_token_servers_are_trusted() {
        let trust = |realm: &str, registry: &str| {
            let registry = registry.parse().unwrap();
            token_server(&bearer(realm), &registry, Some("named:1")).map(|(_, trust)| trust)
        };
        assert_eq!(
            trust("https://ghcr.io/token", "https://ghcr.io/").unwrap(),
            Trust::Own
        );
        assert_eq!(
            trust(
                "https://auth.docker.io/token",
                "https://registry-1.docker.io/"
            )
            .unwrap(),
            Trust::Own
        );
        assert_eq!(
            trust("https://named:1/token", "https://ghcr.io/").unwrap(),
            Trust::Own
        );
        for foreign in [
            "https://auth.docker.io/token",
            "https://ghcr.io:444/token",
            "https://ghcr.io.evil.example/",
            "https://named/",
        ] {
            assert_eq!(
                trust(foreign, "https://ghcr.io/").unwrap(),
                Trust::Foreign,
                "{foreign}"
            );
        }
        assert_eq!(
            trust("http://127.0.0.1:2/", "http://127.0.0.1:1/").unwrap(),
            Trust::Foreign
        );
        assert_eq!(
            trust("https://127.0.0.1:1/", "http://127.0.0.1:1/").unwrap(),
            Trust::Foreign
        );
        for refused in [
            "http://ghcr.io/token",
            "file:///etc/passwd",
            "token",
            "https://u:p@ghcr.io/token",
            "https://u@ghcr.io/",
        ] {
            assert!(trust(refused, "https://ghcr.io/").is_err(), "{refused}");
        }
    }
}
