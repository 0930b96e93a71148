//! What the body of an error says (OCI distribution specification, "Error Codes", and what token
//! servers send).
//!
//! The text is a server's: whoever shows it cleans it first.

use serde::Deserialize;

/// All the shapes at once; each field may be missing.
#[derive(Deserialize)]
struct Shapes {
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

/// The message in `body`; `None` if there is none, as in a page for browsers.
pub fn message(body: &[u8]) -> Option<String> {
    let Ok(shapes) = serde_json::from_slice::<Shapes>(body) else {
        return plain(body);
    };
    if let Some(Entry { code, message }) = shapes.errors.into_iter().next() {
        return joined(code, message);
    }
    joined(shapes.error, shapes.error_description)
        .or(shapes.details)
        .or(shapes.message)
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
        let said = |body: &str| message(body.as_bytes());
        let oci = r#"{"errors":[{"code":"DENIED","message":"no access","detail":[{"x":1}]}]}"#;
        assert_eq!(said(oci).as_deref(), Some("DENIED: no access"));
        assert_eq!(
            said(r#"{"error":"invalid_grant","error_description":"old"}"#).as_deref(),
            Some("invalid_grant: old")
        );
        assert_eq!(
            said(r#"{"details":"incorrect username or password"}"#).as_deref(),
            Some("incorrect username or password")
        );
        assert_eq!(said("slow down\nplease").as_deref(), Some("slow down"));
        for none in [
            "",
            "<html>Bad gateway</html>",
            "{",
            "{}",
            "[1]",
            r#"{"errors":[]}"#,
        ] {
            assert_eq!(said(none), None, "{none}");
        }
    }
}
