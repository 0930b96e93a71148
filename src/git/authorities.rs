//! The certificates that git trusts in addition to the system's.
//!
//! git trusts the certificates of one file, so the roots of the system are written to it, too.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use super::{Git, GitError};
use crate::base::http::roots_with;

/// Creates a directory for this run.
type NewDirectory = Box<dyn Fn() -> io::Result<TempDir> + Send + Sync>;

/// A file of certificates, which is read for the first connection of git.
pub(crate) struct Authorities {
    file: PathBuf,
    new_directory: NewDirectory,
    /// The directory with the file for git, or the reason why it cannot be made.
    bundle: OnceLock<Result<TempDir, String>>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl Authorities {
    /// The certificates in `file`. Reads nothing.
    pub(crate) fn new(file: PathBuf, new_directory: NewDirectory) -> Self {
        Self {
            file,
            new_directory,
            bundle: OnceLock::new(),
        }
    }

    /// The file for git.
    fn bundle(&self) -> Result<PathBuf, GitError> {
        let made = self.bundle.get_or_init(|| {
            let roots = roots_with(&self.file).map_err(|error| error.to_string())?;
            let directory = (self.new_directory)().map_err(|error| error.to_string())?;
            let written = fs::write(bundle_in(directory.path()), roots);
            written.map_err(|error| error.to_string())?;
            Ok(directory)
        });
        match made {
            Ok(directory) => Ok(bundle_in(directory.path())),
            Err(reason) => Err(GitError::Unreadable {
                path: self.file.clone(),
                error: io::Error::other(reason.clone()),
            }),
        }
    }
}

fn bundle_in(directory: &Path) -> PathBuf {
    directory.join("roots.pem")
}

impl Git {
    /// Makes git trust the additional certificates, unless its configuration selects a file.
    pub(super) fn trust_authorities(&self, git: &mut Command) -> Result<(), GitError> {
        let Some(authorities) = &self.connections.authorities else {
            return Ok(());
        };
        let args = ["--name-only", "--get-regexp", r"^http\.(.*\.)?sslcainfo$"];
        if self.run("config", &args, None)?.code == Some(0) {
            return Ok(());
        }
        let mut setting = std::ffi::OsString::from("http.sslCAInfo=");
        setting.push(authorities.bundle()?);
        git.arg("-c").arg(setting);
        Ok(())
    }
}
