//! Text files of a work tree or of a commit's tree.
//!
//! This module lists and opens files for other modules.

mod config_name;
mod open_directory;
mod path;
mod snapshot;
mod survey;
mod worktree;

use std::{
    io::{self, Read},
    path::Path,
};

pub(crate) use config_name::{is_config_file, is_workflow_directory};
pub(crate) use open_directory::{FILE_FLAGS, OpenDirectory, Unopened};
pub(crate) use path::{Glob, Globs, PathError, RelPath, glob_regex};
pub(crate) use snapshot::Snapshot;
pub(crate) use survey::survey_all;
pub(crate) use survey::{Survey, survey};
pub(crate) use worktree::is_reserved;
pub(crate) use worktree::{Hazard, Ignored, Listing, ReadError, TooLargeForPins, WorkTree};

/// The name of the description of a Helm chart.
pub(crate) const CHART: &str = "Chart.yaml";

/// The maximum size of a configuration, in bytes.
pub(crate) const MAX_CONFIG_SIZE: u64 = 1024 * 1024;

/// A source of text files.
pub(crate) trait Files: Sync {
    /// Lists the files that `globs` match, and the matches that must not be touched. Hard links are
    /// reported by [`Files::visit`].
    fn list_unopened(&self, globs: &Globs) -> Result<Listing, ReadError>;

    /// Whether a file with the name of a chart exists at a path, not through a symlink.
    fn has_chart(&self, path: &Path) -> bool;

    /// Opens a file for reading.
    fn open(&self, path: &RelPath) -> Result<Box<dyn Read + '_>, ReadError>;

    /// The whole content of a file.
    fn read(&self, path: &RelPath) -> Result<Vec<u8>, ReadError>;

    /// Opens each of these files once, in any order, on one or more threads.
    fn visit(&self, paths: &[RelPath], visitor: &Visitor<'_>) -> Result<(), ReadError> {
        let mut buffer = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            match self.open(path) {
                Ok(mut content) => {
                    let content = &mut *content;
                    let hazard = None;
                    visitor(number, Ok(OpenFile { content, hazard }), &mut buffer);
                }
                Err(error) => visitor(number, Err(error.error), &mut buffer),
            }
        }
        Ok(())
    }
}

/// Receives the number of a file in the list, the opened file, and a buffer that the next files
/// reuse.
pub(crate) type Visitor<'v> = dyn Fn(usize, io::Result<OpenFile<'_>>, &mut Vec<u8>) + Sync + 'v;

/// A file that was opened for reading.
pub(crate) struct OpenFile<'f> {
    /// The remaining content.
    pub content: &'f mut dyn Read,
    /// The reason why the file cannot be changed safely.
    pub hazard: Option<Hazard>,
}
