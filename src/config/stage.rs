//! The stages that a set passes through before a promotion: the key `promote.after`.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{
    keys::{KeyType, Shape, block},
    reader::ErrorCollector,
    set_path::SetPath,
    source_repository::SourceRepository,
    types::Branch,
    yaml::{Key, Node, Value},
};
use crate::base::{error::Span, files::RelPath};

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
            StageSet::Here(set) => set.to_string(),
            StageSet::Elsewhere(set) => {
                format!("{}:{}", set.repository.as_str(), set.set_path)
            }
        }
    }
}

/// The set of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageSet {
    /// In the same repository.
    Here(SetPath),
    Elsewhere(ElsewhereSet),
}

/// A set in another repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElsewhereSet {
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
            return Some(Self::Elsewhere(ElsewhereSet {
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
        Some(Self::Here(set))
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
}
