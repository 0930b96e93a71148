//! Signatures of requests to AWS (AWS Signature Version 4, "Create a signed AWS API request").

use std::{fmt::Write as _, time::SystemTime};

use reqwest::Url;
use ring::hmac;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::base::untrusted::Secret;

/// The credentials of an account or a role.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
    /// The time after which they are refused.
    pub(super) expires: Option<SystemTime>,
    /// The variable or file that provided them.
    pub(super) origin: String,
}

/// A request to sign.
pub(super) struct Request<'r> {
    pub(super) method: &'r str,
    pub(super) url: &'r Url,
    /// The signed headers in addition to `host` and `x-amz-date`: names in lower case, with their values.
    pub(super) headers: &'r [(&'r str, &'r str)],
    pub(super) body: &'r [u8],
    pub(super) region: &'r str,
    pub(super) service: &'r str,
    pub(super) time: SystemTime,
}

/// The headers `x-amz-date` and `authorization`.
pub(super) struct Signature {
    pub(super) date: String,
    pub(super) authorization: String,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

pub(super) fn sign(request: &Request<'_>, credentials: &Credentials) -> Signature {
    let date = timestamp(request.time);
    let day = &date[..8];
    let host = match (request.url.host_str(), request.url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let mut headers = vec![("host", host.as_str()), ("x-amz-date", date.as_str())];
    headers.extend(request.headers);
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut lines = String::new();
    for (name, value) in headers {
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        let _ = writeln!(lines, "{name}:{}", words.join(" "));
    }
    let mut query: Vec<&str> = request.url.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let canonical = [
        request.method,
        request.url.path(),
        &query.join("&"),
        &lines,
        &names,
        &hash(request.body),
    ]
    .join("\n");
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = [ALGORITHM, &date, &scope, &hash(canonical.as_bytes())].join("\n");
    let mut key = format!("AWS4{}", credentials.secret_key.expose()).into_bytes();
    for part in [day, request.region, request.service, "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let signature = hex::encode(mac(&key, text.as_bytes()));
    let access_key = &credentials.access_key;
    Signature {
        authorization: format!(
            "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
        date,
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}

/// The time as `YYYYMMDDTHHMMSSZ`.
fn timestamp(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The signature of a request of AWS's test suite for Signature Version 4 (`aws-sig-v4-test-suite`).
    fn signature(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> String {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
            expires: None,
            origin: String::new(),
        };
        let signature = sign(
            &Request {
                method,
                url: &url.parse().unwrap(),
                headers,
                body: body.as_bytes(),
                region: "us-east-1",
                service: "service",
                time: UNIX_EPOCH + Duration::from_secs(1_440_938_160),
            },
            &credentials,
        );
        assert_eq!(signature.date, "20150830T123600Z");
        let scope = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ";
        assert!(signature.authorization.contains(scope));
        signature
            .authorization
            .rsplit('=')
            .next()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn published_requests_have_their_signatures() {
        let url = "https://example.amazonaws.com/";
        let form = [("content-type", "application/x-www-form-urlencoded")];
        for (name, method, url, headers, body, expected) in [
            (
                "get-vanilla",
                "GET",
                url,
                &[][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                "POST",
                url,
                &[],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-header-value-trim",
                "GET",
                url,
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                url,
                &form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature(method, url, headers, body), expected, "{name}");
        }
    }
}
