//! The repository that the images are built from: the key `source`.

use serde_json::{Value as Json, json};

use super::{
    forge::is_owner_name,
    types::{remote, text_type},
};

/// A repository: on the configured forge, or a URL or path for git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceRepository {
    /// `OWNER/NAME` on the configured forge.
    OnForge(String),
    /// A URL, or a path relative to the root.
    Location(String),
}

impl SourceRepository {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::OnForge(text) | Self::Location(text) => text,
        }
    }
}

text_type!(
    SourceRepository => SourceRepository,
    "text",
    (schema()),
    parse
);

fn schema() -> Json {
    json!({"type": "string", "minLength": 1, "pattern": r"^(/|\.\.?/|[^/]+:|[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$)"})
}

fn parse(text: &str) -> Result<SourceRepository, String> {
    let is_path = ["/", "./", "../"]
        .iter()
        .any(|start| text.starts_with(start));
    // A colon before the first slash separates a scheme or a host (git-clone, "GIT URLS").
    let is_url = text
        .split('/')
        .next()
        .is_some_and(|first| first.contains(':'));
    if is_path || is_url {
        return Ok(SourceRepository::Location(remote(text)?));
    }
    if is_owner_name(text) {
        return Ok(SourceRepository::OnForge(text.to_owned()));
    }
    Err(format!(
        "expected OWNER/NAME, a URL, or a path that begins with `/`, `./` or `../`, found `{text}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_source_are_distinguished() {
        let on_forge = |text: &str| Ok(SourceRepository::OnForge(text.to_owned()));
        let location = |text: &str| Ok(SourceRepository::Location(text.to_owned()));
        assert_eq!(parse("acme/app"), on_forge("acme/app"));
        for text in [
            "https://git.example.com/acme/app.git",
            "git@git.example.com:acme/app.git",
            "file:///srv/app.git",
            "/srv/app",
            "./app",
            "../app",
        ] {
            assert_eq!(parse(text), location(text));
        }
        for malformed in [
            "app",
            "acme/team/app",
            "acme/..",
            "--upload-pack=x",
            "ext::sh -c x",
            "https://user:secret@git.example.com/acme/app",
        ] {
            assert!(parse(malformed).is_err(), "{malformed}");
        }
    }
}
