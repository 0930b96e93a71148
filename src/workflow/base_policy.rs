//! The policy of a work tree, compared with that of the base branch as the clone knows it.
//!
//! Whoever opens a pull request can change the policy that its own images must meet, so a reviewer
//! must see it. Nothing is requested from a server.

use std::io::Read as _;

use super::{Services, base_forge::bases, trust::MATERIAL_MAX};
use crate::{
    checks::{self, Check},
    config::{self, Config, FILE_NAME, RelPath},
    error::SourceText,
    files::Files,
    git::{Branch, BranchSources, Git, GitError, TreeFile},
};

/// The largest configuration that is read, in bytes.
const CONFIG_MAX: u64 = 1024 * 1024;

/// The configuration of a branch.
enum OfBranch {
    Found(Box<Config>),
    /// The branch does not have it: it is new.
    Absent,
}

/// The warnings about keys that require less than on the base branch, or the reason why they could
/// not be compared.
pub fn compared(config: &Config, files: &dyn Files, services: &Services) -> Vec<Check> {
    let git = match Git::discover(&config.root) {
        Ok(Some(git)) => git,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![checks::policy_unknown(&error.to_string())],
    };
    let branches = match branches(config, &git, services) {
        Ok(branches) => branches,
        // Without a remote, no branch is the base of another.
        Err(GitError::NoRemote | GitError::Unborn) => return Vec::new(),
        Err(error) => return vec![checks::policy_unknown(&error.to_string())],
    };
    let mut found = Vec::new();
    for branch in &branches {
        match of_branch(config, &git, branch) {
            Ok(OfBranch::Found(base)) => {
                let replaced = replaced(config, &base, files, &git, branch);
                found.extend(checks::policy_weakened(
                    &branch.name,
                    &base,
                    config,
                    &replaced,
                ));
            }
            Ok(OfBranch::Absent) => {}
            Err(reason) => found.push(checks::policy_unknown(&format!(
                "{}: {reason}",
                branch.name
            ))),
        }
    }
    found
}

/// The base branch. The configuration of the change names it, so the default branch counts too,
/// unless its own configuration names the same base.
fn branches(config: &Config, git: &Git, services: &Services) -> Result<Vec<Branch>, GitError> {
    let base = |config: &Config| config.forge.as_ref().and_then(|forge| forge.base.clone());
    let named = base(config);
    let known = bases(config, git, services).into_iter();
    let mut known = known.map(|(name, tip)| Branch { name, tip });
    let Some(named) = named else {
        return match known.next() {
            Some(default) => Ok(vec![default]),
            // The remote is queried for its default branch.
            None => Ok(vec![git.promoted_branch(&BranchSources::default())?]),
        };
    };
    let sources = BranchSources {
        base: Some(&named),
        ..BranchSources::default()
    };
    let mut branches = vec![git.promoted_branch(&sources)?];
    for branch in known {
        let same_base = match of_branch(config, git, &branch) {
            Ok(OfBranch::Found(of_default)) => base(&of_default).as_deref() == Some(&*named),
            Ok(OfBranch::Absent) | Err(_) => false,
        };
        if !same_base && !branches.contains(&branch) {
            branches.push(branch);
        }
    }
    Ok(branches)
}

/// The configuration of a branch. A change may also rename the file.
fn of_branch(config: &Config, git: &Git, branch: &Branch) -> Result<OfBranch, String> {
    let mut names = vec![config.file_name()];
    let is_gone = |name: &&str| !config.root.join(name).exists();
    names.extend([FILE_NAME].into_iter().filter(is_gone));
    for name in names {
        let path = RelPath::parse(name).map_err(|error| error.to_string())?;
        let file = git.file(&branch.tip, &path, CONFIG_MAX);
        let bytes = match file.map_err(|error| error.to_string())? {
            TreeFile::Content(bytes) => bytes,
            TreeFile::Absent => continue,
            TreeFile::TooLarge => return Err(format!("{name} has more than 1 MiB")),
        };
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
        let source = SourceText {
            name: name.to_owned(),
            text: text.into(),
        };
        let parsed = config::parse_past(&source, &config.root);
        let parsed = parsed.map_err(|_| format!("{name} is invalid"))?;
        return Ok(OfBranch::Found(Box::new(parsed)));
    }
    Ok(OfBranch::Absent)
}

/// The keys and roots of both policies whose files differ.
fn replaced(
    config: &Config,
    base: &Config,
    files: &dyn Files,
    git: &Git,
    branch: &Branch,
) -> Vec<String> {
    let (Some(old), Some(new)) = (&base.verify, &config.verify) else {
        return Vec::new();
    };
    let both = new
        .files()
        .filter(|path| old.files().any(|then| then == *path));
    let differs = |path: &&RelPath| {
        let then = git.file(&branch.tip, path, MATERIAL_MAX);
        let mut now = Vec::new();
        let opened = files.open(path).map_err(|error| error.error);
        let read = opened.and_then(|file| file.take(MATERIAL_MAX + 1).read_to_end(&mut now));
        let Ok(TreeFile::Content(then)) = then else {
            return true;
        };
        read.is_err() || then != now
    };
    let mut paths: Vec<_> = both.filter(differs).map(ToString::to_string).collect();
    paths.sort();
    paths.dedup();
    paths
}
