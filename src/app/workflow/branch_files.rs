//! The files of a set on a branch of the clone.

use crate::{
    base::{
        error::{Code, Error, Errors},
        files::{RelPath, Snapshot},
    },
    config::Config,
    core::{
        checks,
        history::Digests,
        pins::{self, MAX_PINNED_FILE},
    },
    git::{Branch, Git, TreeFile},
    trust::Verify,
};

/// The files that the configuration lists one by one.
pub(super) fn listed_files(config: &Config) -> Vec<RelPath> {
    let mut files = Vec::new();
    for image in &config.images {
        files.extend(image.contract.clone());
    }
    files.extend(config.report.template.clone());
    if let Some(verify) = &config.verify {
        files.extend(Verify::files(verify).cloned());
    }
    files
}

/// The files with pins on the branch, and those that the configuration lists one by one.
pub(super) fn files_of(config: &Config, git: &Git, branch: &Branch) -> Result<Snapshot, Errors> {
    let most = MAX_PINNED_FILE as u64;
    let found = git
        .files_at(&branch.tip, &config.scanned, most)
        .map_err(Error::from)?;
    if let Some(path) = found.too_large {
        let message = format!("{path} on {} has more than 16 MiB", branch.name);
        return Err(Error::input(Code::CONFIG, message).into());
    }
    let mut files = found.files;
    for path in listed_files(config) {
        let file = git.file(&branch.tip, &path, most).map_err(Error::from)?;
        if let TreeFile::Content(content) = file {
            files.insert(path, content);
        }
    }
    Ok(files)
}

/// The digests that these files pin by the configuration.
pub(super) fn digests_of(config: &Config, git: &Git, branch: &Branch) -> Result<Digests, Errors> {
    let files = files_of(config, git, branch)?;
    let found = pins::find(&files, config)?;
    Ok(checks::current_digests(config, &found))
}
