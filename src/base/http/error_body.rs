//! Error messages in response bodies.
//!
//! The messages are a server's text: callers clean them before they show them.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

/// The longest body that is searched for errors, in bytes. A longer one is data, and parsing it
/// would take many times its memory.
const MAX_ERRORS: usize = 1024 * 1024;

/// The fields of all error formats; each may be missing.
#[derive(Deserialize)]
struct ErrorFields {
    #[serde(default)]
    errors: Vec<RegistryError>,
    error: Option<String>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct RegistryError {
    code: Option<String>,
    message: Option<String>,
}

/// The message of a registry (OCI distribution specification, "Error Codes") or a token server;
/// `None` for a body without one, such as an HTML page.
pub(crate) fn registry_message(body: &[u8]) -> Option<String> {
    let Ok(fields) = serde_json::from_slice::<ErrorFields>(body) else {
        return first_line(body);
    };
    if let Some(RegistryError { code, message }) = fields.errors.into_iter().next() {
        return join(code, message);
    }
    join(fields.error, fields.error_description)
        .or(fields.details)
        .or(fields.message)
}

/// The error codes of a registry (OCI distribution specification, "Error Codes").
pub(crate) fn registry_codes(body: &[u8]) -> Vec<String> {
    let fields = serde_json::from_slice::<ErrorFields>(body);
    let errors = fields.map(|fields| fields.errors).unwrap_or_default();
    errors.into_iter().filter_map(|error| error.code).collect()
}

/// The message of a forge, with the reasons that GitHub and GitLab list; empty if the body has none.
pub(crate) fn forge_message(body: &[u8]) -> String {
    if body.len() > MAX_ERRORS {
        return String::new();
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    let mut text = match &value["message"] {
        Value::String(message) => message.clone(),
        // GitLab lists messages, also by the field.
        Value::Array(messages) => joined(messages),
        Value::Object(fields) => {
            let field = |(name, messages): (&String, &Value)| {
                let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
                format!("{name}: {}", joined(messages))
            };
            fields.iter().map(field).collect::<Vec<_>>().join("; ")
        }
        _ => {
            let fields = [&value["error"], &value["error_description"]];
            let fields = fields.into_iter().filter_map(Value::as_str);
            fields.collect::<Vec<_>>().join(": ")
        }
    };
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

/// The texts of a list.
fn joined(messages: &[Value]) -> String {
    let texts = messages.iter().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join("; ")
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphqlError {
    /// Its type, such as `FORBIDDEN`; empty if the server reports none.
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: String,
    /// The part of the response that is missing because of the error.
    #[serde(default)]
    pub(crate) path: Value,
}

/// The errors in a GraphQL response.
pub(super) fn graphql_errors(body: &[u8]) -> Vec<GraphqlError> {
    #[derive(Deserialize)]
    struct Response {
        #[serde(default)]
        errors: Vec<GraphqlError>,
    }
    if body.len() > MAX_ERRORS {
        return Vec::new();
    }
    match serde_json::from_slice::<Response>(body) {
        Ok(response) => response.errors,
        Err(_) => Vec::new(),
    }
}

fn join(code: Option<String>, text: Option<String>) -> Option<String> {
    match (code, text) {
        (Some(code), Some(text)) => Some(format!("{code}: {text}")),
        (code, text) => code.or(text),
    }
}

/// The first line of a plain text body; `None` for HTML and JSON.
fn first_line(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    if text.starts_with(['<', '{', '[']) {
        return None;
    }
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_format_has_a_message() {
        let message = |body: &str| registry_message(body.as_bytes());
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
        for body in [
            "",
            "<html>Bad gateway</html>",
            "{",
            "{}",
            "[1]",
            r#"{"errors":[]}"#,
        ] {
            assert_eq!(message(body), None, "{body}");
        }
    }

    #[test]
    fn long_bodies_are_not_searched_for_errors() {
        let body = |length: usize| {
            let start = r#"{"message":"no","errors":[{"message":"no"}],"x":""#;
            format!("{start}{}\"}}", "x".repeat(length - start.len() - 2)).into_bytes()
        };
        assert_eq!(forge_message(&body(MAX_ERRORS)), "no; no");
        assert_eq!(graphql_errors(&body(MAX_ERRORS)).len(), 1);
        assert_eq!(forge_message(&body(MAX_ERRORS + 1)), "");
        assert_eq!(graphql_errors(&body(MAX_ERRORS + 1)).len(), 0);
    }
}
