//! Where text files come from: the work tree, or the tree of a commit.
//!
//! Listing and reading only; nothing here knows what a pin is, and nothing is written.

mod snapshot;
mod survey;
mod worktree;

use std::{io::Read, path::Path};

pub use snapshot::Snapshot;
pub use survey::survey_all;
pub use survey::{Survey, survey};
pub use worktree::{Hazard, Ignored, Listing, ReadError, WorkTree};
pub(crate) use worktree::{hard_link, is_reserved};

use crate::config::{Globs, RelPath};

/// A place that text files come from.
pub trait Files {
    /// Lists what `globs` match; what must not be touched apart.
    fn list(&self, globs: &Globs) -> Result<Listing, ReadError>;

    /// Whether there is a file with the name of a chart at a path.
    fn has_chart(&self, path: &Path) -> bool;

    /// Opens a file for reading.
    fn open(&self, path: &RelPath) -> Result<Box<dyn Read + '_>, ReadError>;

    /// The whole content of a file.
    fn read(&self, path: &RelPath) -> Result<Vec<u8>, ReadError> {
        let mut content = Vec::new();
        let read = self.open(path)?.read_to_end(&mut content);
        read.map_err(|error| ReadError {
            path: path.to_string(),
            error,
        })?;
        Ok(content)
    }
}

impl Files for WorkTree {
    fn list(&self, globs: &Globs) -> Result<Listing, ReadError> {
        Self::list(self, globs)
    }

    fn has_chart(&self, path: &Path) -> bool {
        self.has_file(path)
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn Read + '_>, ReadError> {
        Ok(Box::new(Self::open(self, path)?))
    }
}
