//! What an interrupted run left, file by file, and what became of it.

use crate::config::RelPath;

/// What was done about an interrupted run, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The outcome.
    pub state: State,
    /// The journal's files as they were found, before anything was done about them.
    pub files: Vec<FileState>,
}

/// The outcome of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There was no journal.
    Nothing,
    /// Some files were new, some old: now all are new.
    Forward,
    /// All files were old, or all new: what else was left has been dropped.
    Dropped,
    /// Contents are there that are neither: nothing was touched.
    Conflict,
    /// The journal was dropped, the files stay as they were.
    Discarded,
}

/// A file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// The file under the root.
    pub path: RelPath,
    /// What it holds; a file that is gone or out of reach holds something other.
    pub content: Content,
    /// The copies next to it.
    pub copies: Vec<StagedCopy>,
}

/// A copy beside a file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedCopy {
    /// The copy under the root.
    pub path: RelPath,
    /// What it holds.
    pub content: Content,
}

/// A content, compared with what the journal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// From before the run.
    Old,
    /// What the run was to bring.
    New,
    /// A copy that the run had not finished writing.
    Partial,
    /// Foreign content.
    Other,
}

impl State {
    /// The word in `repin.recover/1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Forward => "forward",
            Self::Dropped => "dropped",
            Self::Conflict => "conflict",
            Self::Discarded => "discarded",
        }
    }

    /// What contents call for.
    pub(super) fn called_for(files: &[FileState]) -> Self {
        let any = |content| files.iter().any(|file| file.content == content);
        let foreign_copy = files
            .iter()
            .flat_map(|file| &file.copies)
            .any(|copy| copy.content == Content::Other);
        match (any(Content::Old), any(Content::New)) {
            _ if any(Content::Other) || foreign_copy => Self::Conflict,
            (true, true) => Self::Forward,
            _ => Self::Dropped,
        }
    }
}

impl Content {
    /// The word in documents and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Partial => "partial",
            Self::Other => "other",
        }
    }
}

impl Recovery {
    pub(super) fn without_files(state: State) -> Self {
        Self {
            state,
            files: Vec::new(),
        }
    }
}
