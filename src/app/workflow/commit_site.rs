//! The head of the base branch in the clone, as a site that is only read.

use super::{
    Services, ci,
    site::{Site, checks_of_files, listed_files},
};
use crate::{
    base::{
        code::Code,
        error::{Error, Errors, SourceText},
        files::{Files, MAX_CONFIG_SIZE, RelPath, Snapshot},
    },
    config::{self, Config, Operation},
    core::{
        checks::{self, Check},
        outside,
        pins::{self, Found, MAX_PINNED_FILE},
    },
    git::{Branch, BranchSources, Git, TreeFile},
};

/// The head of the base branch in the clone around the root.
pub(super) struct CommitSite {
    config: Config,
    files: Snapshot,
    branch: Branch,
}

impl CommitSite {
    /// Reads the configuration and the files of the base branch. The configuration of the work tree
    /// selects the branch.
    pub(super) fn open(local: &Config, services: &Services) -> Result<Self, Errors> {
        let git = Git::open(&local.root).map_err(Error::from)?;
        let stated = ci::default_branch(&services.environment, Some(&git));
        let sources = BranchSources {
            base: local.forge.as_ref().and_then(|forge| forge.base.as_deref()),
            ci: stated.as_deref(),
            remote_of: local.provenance.branch.as_deref(),
            ..BranchSources::default()
        };
        let branch = git.promoted_branch(&sources).map_err(Error::from)?;
        let config = config_of(local, &git, &branch)?;
        let files = files_of(&config, &git, &branch)?;
        Ok(Self {
            config,
            files,
            branch,
        })
    }
}

impl Site for CommitSite {
    fn config(&self) -> &Config {
        &self.config
    }

    fn files(&self) -> &dyn Files {
        &self.files
    }

    fn pins(&self, operation: Operation) -> Result<(Found, Vec<Check>), Errors> {
        let config = &self.config;
        let found = pins::find(&self.files, config)?;
        let commit = self.branch.tip.to_string();
        let outside = outside::commit(config, &commit, &self.branch.name, &found);
        let outside = checks::check_outside(config, &found, &outside, operation);
        let checks = checks_of_files(config, &found, outside, operation);
        Ok((found, checks))
    }
}

/// The configuration on the branch. It passes variables to the smoke command, so it is restricted like
/// that of the work tree.
fn config_of(local: &Config, git: &Git, branch: &Branch) -> Result<Config, Errors> {
    let name = format!("{} ({})", branch.name, local.file_name());
    let unusable = |reason: &str| {
        let message = format!("the base branch has no usable configuration: {name} {reason}");
        let help = format!("merge {} into the base branch, and fetch it", local.file);
        Errors::from(Error::input(Code::CONFIG, message).help(help))
    };
    let path = RelPath::parse(local.file_name())
        .map_err(|error| unusable(&format!("has an unusable path: {error}")))?;
    let file = git.file(&branch.tip, &path, MAX_CONFIG_SIZE);
    let bytes = match file.map_err(Error::from)? {
        TreeFile::Content(bytes) => bytes,
        TreeFile::Absent => return Err(unusable("does not exist")),
        TreeFile::TooLarge => return Err(unusable("has more than 1 MiB")),
    };
    let text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8"))?;
    let source = SourceText {
        text: text.into(),
        name,
    };
    let config = Config {
        file: local.file.clone(),
        option: local.option.clone(),
        ..config::parse(&source, &local.root, &local.set_path)?
    };
    config.counts_pins()?;
    Ok(config)
}

/// The files with pins on the branch, and those that the configuration lists one by one.
fn files_of(config: &Config, git: &Git, branch: &Branch) -> Result<Snapshot, Errors> {
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
