//! The paths that the configuration of a set had.

use super::{History, Kind};
use crate::{
    config::{Config, FormerSet, SetPath, is_config_file_of},
    core::configurations::{NoConfig, config_of_set},
    git::{Git, GitError, Newer, ObjectId},
};
use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, path::Path, sync::Arc};

/// The maximum number of paths that a configuration had.
const MAX_RENAMES: usize = 16;
/// The maximum number of additions of a configuration at one path that are examined.
const MAX_ADDITIONS: usize = 64;

/// A path of the configuration.
#[derive(Debug)]
pub(super) struct ConfigPath {
    pub(super) set_path: SetPath,
    /// The path in the repository.
    pub(super) path: Vec<u8>,
    /// The path of the root, which ends with a slash.
    pub(super) prefix: Vec<u8>,
    /// The commit of the line that moved the configuration here, from the next path.
    pub(super) moved_by: Option<ObjectId>,
    /// The last configuration of the line at this path.
    pub(super) config: Option<Arc<Config>>,
}

impl ConfigPath {
    pub(super) fn new(set_path: SetPath) -> Self {
        let path = set_path.as_path().as_os_str().as_bytes().to_vec();
        let length = memchr::memrchr(b'/', &path).map_or(0, |slash| slash + 1);
        Self {
            set_path,
            prefix: path[..length].to_vec(),
            path,
            moved_by: None,
            config: None,
        }
    }

    pub(super) fn file_name(&self) -> &[u8] {
        &self.path[self.prefix.len()..]
    }
}

/// A commit that adds the configuration in place of other ones, so that the past of the set is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownPast {
    pub commit: ObjectId,
    /// The removed configuration files.
    pub removed: Vec<String>,
    /// The position of the commit in the line.
    pub(super) position: usize,
}

impl fmt::Display for UnknownPast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit.short();
        write!(
            f,
            "the past before commit {commit} is unknown: it adds the configuration and removes others, \
             and git detects no rename"
        )
    }
}

impl History {
    /// The set at former paths of its configuration, except paths at which another
    /// set has its configuration now.
    pub(crate) fn former_sets(&self) -> Vec<FormerSet> {
        let known_paths = self.facts.line().next_back().map_or(0, |tip| tip.paths);
        let mut former = Vec::new();
        for (index, path) in self.facts.paths.iter().enumerate().skip(1) {
            if known_paths >> index & 1 == 1
                && let Some(config) = &path.config
            {
                former.push(FormerSet {
                    set_path: path.set_path.clone(),
                    name: config.name.clone(),
                    promotion_branch: config.promote.branch.clone(),
                    rollback_branch: config.rollback.branch.clone(),
                });
                former.extend(config.former.iter().cloned());
            }
        }
        former
    }

    /// The commit before which the past of the set is unknown, until a later commit promotes a set.
    pub(crate) fn unknown_past(&self) -> Option<&UnknownPast> {
        let past = self.facts.unknown_past.as_ref()?;
        let mut later = self
            .line_events()
            .filter(|event| event.position > past.position);
        let is_known = later.any(|event| event.kind == Kind::Promote);
        (!is_known).then_some(past)
    }
}

/// The origin of a configuration.
pub(super) enum Origin {
    /// It was added at this position of the line, or exists from the first commit.
    Beginning(usize),
    /// A commit renamed it.
    Renamed {
        from: SetPath,
        by: ObjectId,
    },
    Unknown(UnknownPast),
}

/// A commit of the line.
pub(super) struct LineCommit {
    pub(super) id: ObjectId,
    /// The index of the path at which the commit adds the configuration file.
    pub(super) added: Option<usize>,
    /// The index of the path at which the file was before the commit.
    pub(super) previous: Option<usize>,
}

/// The origin of the configuration at the oldest of its known paths. `line`: oldest commit first.
pub(super) fn origin(
    git: &Git,
    paths: &[ConfigPath],
    line: &[LineCommit],
) -> Result<Origin, GitError> {
    let oldest = paths.len() - 1;
    let path = &paths[oldest];
    let Some(LineCommit { id: tip, .. }) = line.last() else {
        return Ok(Origin::Beginning(0));
    };
    let mut additions = 0;
    for position in (1..line.len()).rev() {
        let (parent, commit) = (&line[position - 1], &line[position]);
        if commit.added != Some(oldest) {
            continue;
        }
        let Replaced { source, removed } = replaced(
            git,
            &parent.id,
            Newer::Commit {
                id: &commit.id,
                tip,
            },
            path,
        )?;
        additions += 1;
        if let Some(old) = source
            && oldest + 1 < MAX_RENAMES
        {
            return Ok(Origin::Renamed {
                from: old,
                by: commit.id,
            });
        }
        if removed.is_empty() && has_moved_away(git, line, position, path)? {
            return Ok(Origin::Beginning(position));
        }
        if removed.is_empty() && additions < MAX_ADDITIONS {
            continue;
        }
        return Ok(Origin::Unknown(UnknownPast {
            commit: commit.id,
            removed,
            position,
        }));
    }
    Ok(Origin::Beginning(0))
}

/// The configurations that an added one may have replaced.
pub(crate) struct Replaced {
    /// The one that git pairs with the added configuration.
    pub(crate) source: Option<SetPath>,
    /// The removed configuration files.
    pub(crate) removed: Vec<String>,
}

/// Compares a commit with the index, which contains the configuration at `set_path` and the commit does
/// not.
pub(crate) fn replaced_in_index(
    git: &Git,
    commit: &ObjectId,
    set_path: &SetPath,
) -> Result<Replaced, GitError> {
    let path = ConfigPath::new(set_path.clone());
    replaced(git, commit, Newer::Index, &path)
}

/// Compares a commit with a newer state, which adds the configuration at `path`.
fn replaced(
    git: &Git,
    old: &ObjectId,
    new: Newer<'_>,
    path: &ConfigPath,
) -> Result<Replaced, GitError> {
    let changes = git.renames(old, new, &config_pathspecs(path))?;
    let source = changes.renamed.iter().find(|(_, new)| *new == path.path);
    let source = source.map(|(old, _)| old);
    let renamed = changes.renamed.iter().map(|(old, _)| old);
    let (mut removed, mut has_twin) = (Vec::new(), false);
    for old in changes.deleted.iter().chain(renamed) {
        let old_path = Path::new(OsStr::from_bytes(&old.path));
        let is_source = source.is_some_and(|source| source.path == old.path);
        if is_source || is_config_file_of(old_path, &path.set_path) {
            removed.push(old_path.display().to_string());
            // Git's choice among equal files is arbitrary.
            has_twin |= !is_source && source.is_some_and(|source| source.blob == old.blob);
        }
    }
    let source = match source {
        Some(source) if !has_twin => SetPath::new(Path::new(OsStr::from_bytes(&source.path))).ok(),
        _ if removed.is_empty() => renamed_from_any_name(git, old, new, path)?,
        _ => None,
    };
    Ok(Replaced { source, removed })
}

/// Whether the last configuration at the path before the commit at `position`, which adds one there, was
/// renamed, so that it belongs to another set.
fn has_moved_away(
    git: &Git,
    line: &[LineCommit],
    position: usize,
    path: &ConfigPath,
) -> Result<bool, GitError> {
    let (Some(LineCommit { id: tip, .. }), index) = (line.last(), line[position].added) else {
        return Ok(false);
    };
    // The configuration was last at the path before this commit, which removed or moved it.
    let mut pairs = line[..position].windows(2).rev();
    let Some([before, removal]) = pairs.find(|pair| pair[1].previous == index) else {
        return Ok(false);
    };
    let newer = Newer::Commit {
        id: &removal.id,
        tip,
    };
    let changes = git.renames(&before.id, newer, &config_pathspecs(path))?;
    let mut renamed = changes.renamed.iter();
    Ok(renamed.any(|(old, _)| old.path == path.path))
}

/// The configuration that git pairs with an added one, if only `--config` selects its name.
fn renamed_from_any_name(
    git: &Git,
    old: &ObjectId,
    new: Newer<'_>,
    path: &ConfigPath,
) -> Result<Option<SetPath>, GitError> {
    let pathspecs = ["yaml", "yml"].map(|extension| format!(":(top,glob)**/*.{extension}").into());
    let changes = git.renames(old, new, &pathspecs)?;
    let mut renamed = changes.renamed.iter();
    let Some((source, _)) = renamed.find(|(_, new)| *new == path.path) else {
        return Ok(None);
    };
    let Ok(set_path) = SetPath::new(Path::new(OsStr::from_bytes(&source.path))) else {
        return Ok(None);
    };
    let config = NoConfig::ignore(config_of_set(git, old, &set_path))?;
    Ok(config.map(|_| set_path))
}

/// The pathspecs of every configuration file, and of every file with the name of this one.
pub(super) fn config_pathspecs(path: &ConfigPath) -> Vec<Vec<u8>> {
    let mut name = Vec::new();
    for byte in path.file_name() {
        if b"*?[\\".contains(byte) {
            name.push(b'\\');
        }
        name.push(*byte);
    }
    let names: [&[u8]; 5] = [
        b"repin.yaml",
        b"repin.yml",
        b"repin.*.yaml",
        b"repin.*.yml",
        &name,
    ];
    names
        .map(|name| [b":(top,glob)**/", name].concat())
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::repo::{CONFIG, Repo};

    const DISSIMILAR: &str = "a: 1\nb: 2\nc: 3\n";

    fn commit(id: &str) -> LineCommit {
        LineCommit {
            id: ObjectId::parse(id.as_bytes()).unwrap(),
            added: None,
            previous: None,
        }
    }

    fn adding(id: &str, path: usize) -> LineCommit {
        LineCommit {
            added: Some(path),
            ..commit(id)
        }
    }

    fn removing(id: &str, path: usize) -> LineCommit {
        LineCommit {
            previous: Some(path),
            ..commit(id)
        }
    }

    /// The origin in words, with the position in the line and the removed files.
    fn origin_of(repo: &Repo, paths: &[&str], line: &[LineCommit]) -> String {
        let path = |path: &&str| ConfigPath::new(SetPath::new(Path::new(path)).unwrap());
        let paths: Vec<_> = paths.iter().map(path).collect();
        match origin(&Git::open(repo.path()).unwrap(), &paths, line).unwrap() {
            Origin::Beginning(position) => format!("starts at {position}"),
            Origin::Renamed { from, .. } => format!("renamed from {from}"),
            Origin::Unknown(past) => {
                format!("unknown at {} {}", past.position, past.removed.join(" "))
            }
        }
    }

    #[test]
    fn number_of_examined_additions_is_limited() {
        let repo = Repo::empty();
        let before = repo.write("x", "").commit("begin");
        let after = repo.write("repin.yaml", CONFIG).commit("add");
        let mut line = Vec::new();
        for _ in 0..=MAX_ADDITIONS {
            line.extend([commit(&before), adding(&after, 0)]);
        }
        assert_eq!(origin_of(&repo, &["repin.yaml"], &line), "unknown at 3 ");
    }

    #[test]
    fn number_of_former_paths_is_limited() {
        let repo = Repo::empty();
        // By its path, the old file is a workflow.
        let old = ".github/workflows/repin.yml";
        let before = repo.write(old, CONFIG).commit("begin");
        repo.remove(old);
        let after = repo.write("live/repin.yaml", CONFIG).commit("move");
        let origin_with = |count: usize| {
            let mut paths = vec!["later/repin.yaml"; count - 1];
            paths.push("live/repin.yaml");
            let line = [commit(&before), adding(&after, count - 1)];
            origin_of(&repo, &paths, &line)
        };
        assert_eq!(origin_with(MAX_RENAMES - 1), format!("renamed from {old}"));
        assert_eq!(origin_with(MAX_RENAMES), format!("unknown at 1 {old}"));
    }

    #[test]
    fn name_with_wildcards_is_followed() {
        let repo = Repo::empty();
        let before = repo.write("prod/images[1].conf", CONFIG).commit("begin");
        repo.remove("prod/images[1].conf");
        let after = repo.write("live/images[1].conf", CONFIG).commit("move");
        let line = [commit(&before), adding(&after, 0)];
        assert_eq!(
            origin_of(&repo, &["live/images[1].conf"], &line),
            "renamed from prod/images[1].conf"
        );
    }

    #[test]
    fn removal_next_to_another_rename_keeps_the_past() {
        let repo = Repo::empty();
        let begin = repo
            .write("prod/repin.yaml", CONFIG)
            .write("staging/repin.yaml", DISSIMILAR)
            .commit("begin");
        repo.remove("prod/repin.yaml").remove("staging/repin.yaml");
        let removal = repo.write("dev/repin.yaml", DISSIMILAR).commit("remove");
        let addition = repo.write("prod/repin.yaml", CONFIG).commit("add");
        let line = [commit(&begin), removing(&removal, 0), adding(&addition, 0)];
        assert_eq!(origin_of(&repo, &["prod/repin.yaml"], &line), "starts at 0");
    }

    #[test]
    fn new_set_at_a_former_path_starts_there() {
        let repo = Repo::empty();
        let begin = repo.write("prod/repin.yaml", CONFIG).commit("begin");
        repo.remove("prod/repin.yaml");
        let moved = repo.write("live/repin.yaml", CONFIG).commit("move");
        let other = repo.write("x", "").commit("another change");
        let addition = repo.write("prod/repin.yaml", CONFIG).commit("add");
        let line = [
            commit(&begin),
            removing(&moved, 0),
            commit(&other),
            adding(&addition, 0),
        ];
        assert_eq!(origin_of(&repo, &["prod/repin.yaml"], &line), "starts at 3");
    }

    #[test]
    fn new_set_may_replace_another_one() {
        let repo = Repo::empty();
        let begin = repo
            .write("prod/repin.yaml", CONFIG)
            .write("staging/repin.yaml", DISSIMILAR)
            .commit("begin");
        repo.remove("prod/repin.yaml");
        let moved = repo.write("live/repin.yaml", CONFIG).commit("move");
        repo.remove("staging/repin.yaml");
        let addition = repo.write("prod/repin.yaml", CONFIG).commit("replace");
        let line = [commit(&begin), removing(&moved, 0), adding(&addition, 0)];
        assert_eq!(
            origin_of(&repo, &["prod/repin.yaml"], &line),
            "unknown at 2 staging/repin.yaml"
        );
    }
}
