//! What the body of an error says.
//!
//! The text is a server's: whoever shows it cleans it first.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

/// The longest body that is searched for errors, in bytes: what is longer is data, which may be
/// anything, and what it is parsed into takes many times its memory.
const ERRORS_MAX: usize = 1024 * 1024;

/// All the shapes at once; each field may be missing.
#[derive(Deserialize)]
struct ErrorFields {
    #[serde(default)]
    errors: Vec<Entry>,
    error: Option<String>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    code: Option<String>,
    message: Option<String>,
}

/// The message of a registry (OCI distribution specification, "Error Codes") or a token server;
/// `None` if there is none, as in a page for browsers.
pub fn of_registry(body: &[u8]) -> Option<String> {
    let Ok(shapes) = serde_json::from_slice::<ErrorFields>(body) else {
        return plain(body);
    };
    if let Some(Entry { code, message }) = shapes.errors.into_iter().next() {
        return joined(code, message);
    }
    joined(shapes.error, shapes.error_description)
        .or(shapes.details)
        .or(shapes.message)
}

/// The message of GitHub or Gitea, with the reasons that GitHub lists; empty if there is none.
pub fn of_forge(body: &[u8]) -> String {
    if body.len() > ERRORS_MAX {
        return String::new();
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    let mut text = value["message"].as_str().unwrap_or_default().to_owned();
    for reason in value["errors"].as_array().into_iter().flatten() {
        let reason = match (
            reason.as_str(),
            reason["message"].as_str(),
            reason["code"].as_str(),
        ) {
            (Some(text), ..) | (_, Some(text), _) => text.to_owned(),
            (.., Some(code)) => format!("{} {code}", reason["field"].as_str().unwrap_or_default()),
            _ => continue,
        };
        let _ = write!(text, "; {reason}");
    }
    text
}

/// An error of GraphQL.
#[derive(Debug, Deserialize)]
pub struct GraphqlError {
    /// Its type, such as `FORBIDDEN`; empty where the server names none.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Its text.
    #[serde(default)]
    pub message: String,
    /// Where in the response something is missing because of it.
    #[serde(default)]
    pub path: Value,
}

/// The errors of a response of GraphQL.
pub(super) fn graphql_errors(body: &[u8]) -> Vec<GraphqlError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        errors: Vec<GraphqlError>,
    }
    if body.len() > ERRORS_MAX {
        return Vec::new();
    }
    serde_json::from_slice::<Answer>(body).map_or_else(|_| Vec::new(), |answer| answer.errors)
}

fn joined(code: Option<String>, text: Option<String>) -> Option<String> {
    match (code, text) {
        (Some(code), Some(text)) => Some(format!("{code}: {text}")),
        (code, text) => code.or(text),
    }
}

fn plain(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let readable = !text.is_empty() && !text.starts_with(['<', '{', '[']);
    readable.then(|| text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_gives_its_message_and_a_page_gives_none() {
        let message = |body: &str| of_registry(body.as_bytes());
        let oci = r#"{"errors":[{"code":"DENIED","message":"no access","detail":[{"x":1}]}]}"#;
        assert_eq!(message(oci).as_deref(), Some("DENIED: no access"));
        assert_eq!(
            message(r#"{"error":"invalid_grant","error_description":"old"}"#).as_deref(),
            Some("invalid_grant: old")
        );
        assert_eq!(
            message(r#"{"details":"incorrect username or password"}"#).as_deref(),
            Some("incorrect username or password")
        );
        assert_eq!(message("slow down\nplease").as_deref(), Some("slow down"));
        for none in [
            "",
            "<html>Bad gateway</html>",
            "{",
            "{}",
            "[1]",
            r#"{"errors":[]}"#,
        ] {
            assert_eq!(message(none), None, "{none}");
        }
    }

    #[test]
    fn long_bodies_are_not_searched_for_errors() {
        let body = |length: usize| {
            let begin = r#"{"message":"no","errors":[{"message":"no"}],"x":""#;
            format!("{begin}{}\"}}", "x".repeat(length - begin.len() - 2)).into_bytes()
        };
        assert_eq!(of_forge(&body(ERRORS_MAX)), "no; no");
        assert_eq!(graphql_errors(&body(ERRORS_MAX)).len(), 1);
        assert_eq!(of_forge(&body(ERRORS_MAX + 1)), "");
        assert_eq!(graphql_errors(&body(ERRORS_MAX + 1)).len(), 0);
    }
}
