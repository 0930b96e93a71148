//! What a registry asks for: `WWW-Authenticate` (RFC 9110, section 11.6.1) and where its token
//! server may be.
//!
//! Pure: nothing is sent from here.

use http_auth::{ChallengeRef, parser::ChallengeParser};
use reqwest::{
    Url,
    header::{HeaderMap, WWW_AUTHENTICATE},
};

use super::{
    address::{check_url, host_of, shown},
    request_error::RequestError,
};

/// The challenge that is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request (RFC 7617).
    Basic,
    /// A token from a token server (distribution specification, "Token Authentication").
    Bearer(Bearer),
}

/// Where tokens come from, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// Token servers that registries document as theirs although they are other hosts; GHCR's is on its
/// own.
const DOCUMENTED: [(&str, &str); 2] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// The challenge in a response: a token if it offers one, else a password.
pub(super) fn parse(headers: &HeaderMap) -> Result<Challenge, RequestError> {
    let (mut basic, mut bearer, mut broken) = (false, None, false);
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else {
            broken = true;
            continue;
        };
        // A header is accepted as a whole or not at all: the part before an error may have another
        // meaning.
        let Ok(challenges) = ChallengeParser::new(text).collect::<Result<Vec<_>, _>>() else {
            broken = true;
            continue;
        };
        for challenge in challenges {
            basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            if challenge.scheme.eq_ignore_ascii_case("bearer") && bearer.is_none() {
                bearer = Some(bearer_of(&challenge)?);
            }
        }
    }
    match (bearer, basic) {
        (Some(bearer), _) => Ok(Challenge::Bearer(bearer)),
        (None, true) => Ok(Challenge::Basic),
        (None, false) if broken => Err(RequestError::denied(
            "the registry requires credentials, but its challenge cannot be parsed (WWW-Authenticate)",
        )),
        (None, false) => Err(RequestError::denied(
            "the registry requires credentials, but offers neither Basic nor Bearer",
        )),
    }
}

fn bearer_of(challenge: &ChallengeRef<'_>) -> Result<Bearer, RequestError> {
    let get = |name: &str| {
        let mut found = challenge
            .params
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.to_unescaped());
        if found.next().is_some() {
            return Err(RequestError::denied(format!(
                "the challenge contains a duplicate `{name}`"
            )));
        }
        Ok(value)
    };
    let realm = get("realm")?
        .ok_or_else(|| RequestError::denied("the challenge names no token server (realm)"))?;
    Ok(Bearer {
        realm,
        service: get("service")?,
        scope: get("scope")?,
    })
}

/// Whether a token server gets the registry's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is the registry, its documented token server, or a configured one.
    Own,
    /// It is anyone else, and asked without credentials.
    Foreign,
}

/// The token server's URL and whether it is the registry's; `named`: the one that the configuration
/// names for it.
pub(super) fn realm(
    bearer: &Bearer,
    registry: &Url,
    named: Option<&str>,
) -> Result<(Url, Trust), RequestError> {
    let mut url = Url::parse(&bearer.realm)
        .map_err(|_| RequestError::denied("the token server (realm) is not a URL"))?;
    url.set_fragment(None);
    check_url(&url).map_err(|reason| {
        RequestError::denied(format!("the token server is {}, {reason}", shown(&url)))
    })?;
    if registry.scheme() == "https" && url.scheme() != "https" {
        let reason = format!(
            "the token server {} does not use TLS, but the registry does",
            shown(&url)
        );
        return Err(RequestError::denied(reason));
    }
    let (here, there) = (host_of(registry), host_of(&url));
    let documented =
        registry.scheme() == "https" && DOCUMENTED.contains(&(here.as_str(), there.as_str()));
    let own = url.origin() == registry.origin() || documented || named == Some(there.as_str());
    Ok((url, if own { Trust::Own } else { Trust::Foreign }))
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
    fn challenges_are_lists_with_quoted_strings() {
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
    fn unanswerable_challenge_reports_the_reason() {
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
    fn credentials_are_for_the_registrys_own_token_server() {
        let trust = |text: &str, registry: &str| {
            realm(&bearer(text), &registry.parse().unwrap(), Some("named:1")).map(|r| r.1)
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
