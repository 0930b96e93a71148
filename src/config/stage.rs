//! The stages that a set passes through before a promotion: the key `promote.after`.
//!
//! The repository that the images are built from: the key `source`.
//!
//! The two commands that move the pins of a set.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde_json::{Value as Json, json};

use super::{
    forge::is_owner_name,
    keys::{KeyType, Shape, block},
    reader::ErrorCollector,
    set_path::SetPath,
    types::{Branch, remote, text_type},
    yaml::{Key, Node, Value},
};
use crate::base::{error::Span, files::RelPath, text::words};

block! {
    /// A stage in which a set must have been current.
    pub struct Stage {
        /// The set of the stage: the path of its configuration, relative to this file and within
        /// the repository; or a mapping with `repository` (OWNER/NAME on the configured forge, a
        /// URL, or a path that starts with `/`, `./` or `../`), `config` (the path of its
        /// configuration in that repository) and `branch` (absent: the default branch).
        set: StageSet,
        /// The time for which the set must have been current there.
        r#for: Duration = "0s",
        /// Whether the set of the stage must have all images of this set; otherwise `stage_partial` warns.
        complete: bool = false,
    }
    with |fields| {
        /// The place of the key `set`.
        span: Span = fields.node("set").map_or(fields.span, |node| node.span),
    }
}

impl Stage {
    /// The set path, with the repository before it if that is another one.
    pub fn item(&self) -> String {
        match &self.set {
            StageSet::SameRepository(set) => set.to_string(),
            StageSet::OtherRepository(set) => {
                format!("{}:{}", set.repository.as_str(), set.set_path)
            }
        }
    }
}

/// The set of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageSet {
    /// In the same repository.
    SameRepository(SetPath),
    OtherRepository(OtherRepositorySet),
}

/// A set in another repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherRepositorySet {
    pub repository: SourceRepository,
    pub set_path: SetPath,
    /// `None`: the default branch.
    pub branch: Option<String>,
}

block! {
    /// The keys of a set in another repository.
    struct ElsewhereKeys {
        /// The repository.
        repository: SourceRepository,
        /// The path of the configuration.
        config: RelPath,
        /// The branch.
        branch: Option<Branch>,
    }
}

impl KeyType for StageSet {
    type Value = Self;

    fn shape() -> Shape {
        let path = json!({"type": "string", "minLength": 1, "not": {"pattern": "^/"}});
        Shape::new(
            "path or mapping",
            json!({"anyOf": [path, ElsewhereKeys::shape().schema]}),
        )
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self> {
        if let Value::Map(_) = node.value {
            let keys = ElsewhereKeys::read(key, node, problems)?;
            return Some(Self::OtherRepository(OtherRepositorySet {
                repository: keys.repository,
                set_path: SetPath::from(keys.config),
                branch: keys.branch,
            }));
        }
        let own = problems.set_path();
        let set = problems.parsed(node, |text| relative_set(text, own))?;
        if set == *own {
            problems.report(node.span, "a set cannot be a stage of itself");
            return None;
        }
        Some(Self::SameRepository(set))
    }
}

/// The set at a path relative to the configuration file of `own`.
fn relative_set(text: &str, own: &SetPath) -> Result<SetPath, String> {
    let outside = || format!("`{text}` is outside the repository");
    let mut path = PathBuf::from(own.directory());
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return Err(outside());
                }
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(format!(
                    "`{text}` is absolute: write a path relative to this file"
                ));
            }
        }
    }
    SetPath::new(&path).map_err(|error| error.to_string())
}

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

words! {
    /// A way in which a set becomes current.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Operation {
        /// The set was built and never promoted.
        Promotion = "promote",
        /// The set was current before.
        Rollback = "rollback",
    }
}

impl Operation {
    /// The operation with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_stage_is_relative_to_the_file() {
        let own = SetPath::new(Path::new("envs/prod/repin.yaml")).unwrap();
        let set = |text: &str| relative_set(text, &own).map(|set| set.to_string());
        assert_eq!(
            set("../staging/repin.yaml").unwrap(),
            "envs/staging/repin.yaml"
        );
        assert_eq!(
            set("repin.canary.yaml").unwrap(),
            "envs/prod/repin.canary.yaml"
        );
        assert_eq!(set("./../../repin.yaml").unwrap(), "repin.yaml");
        for (text, reason) in [
            ("../../../repin.yaml", "outside the repository"),
            ("/etc/repin.yaml", "is absolute"),
        ] {
            assert!(set(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn forms_of_a_source_are_distinguished() {
        let on_forge = |text: &str| Ok(SourceRepository::OnForge(text.to_owned()));
        let location = |text: &str| Ok(SourceRepository::Location(text.to_owned()));
        assert_eq!(parse("acme/app"), on_forge("acme/app"));
        // A project of GitLab in a group of a group.
        assert_eq!(parse("acme/team/app"), on_forge("acme/team/app"));
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
            "acme//app",
            "acme/..",
            "--upload-pack=x",
            "ext::sh -c x",
            "https://user:secret@git.example.com/acme/app",
        ] {
            assert!(parse(malformed).is_err(), "{malformed}");
        }
    }
}
