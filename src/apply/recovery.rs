//! The state of an interrupted run, file by file, and the result of its recovery.

use crate::{
    config::RelPath,
    text::{counted, words},
};

/// The result of a recovery or its preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The outcome.
    pub state: RecoveryState,
    /// The files of the journal, in their state before the recovery.
    pub files: Vec<FileState>,
}

words! {
    /// The outcome of a recovery.
    pub enum RecoveryState {
        /// There was no journal.
        Nothing = "nothing",
        /// Some files were new and some old; all are new now.
        Forward = "forward",
        /// All files were old, or all were new; the copies and the journal were deleted.
        Dropped = "dropped",
        /// Files or copies contain foreign content. Returned before any change.
        Conflict = "conflict",
        /// The journal was deleted; the files are unchanged.
        Discarded = "discarded",
    }
}

/// The state of a file in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// The path below the root.
    pub path: RelPath,
    /// The content; [`Content::Other`] if the file is missing or out of reach.
    pub content: Content,
    /// The copies next to it.
    pub copies: Vec<StagedCopy>,
}

/// A copy next to a file in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedCopy {
    /// The path below the root.
    pub path: RelPath,
    pub content: Content,
}

words! {
    /// A content, compared with the journal.
    pub enum Content {
        /// The content before the run.
        Old = "old",
        /// The content after the run.
        New = "new",
        /// A copy that the run had not finished writing.
        Partial = "partial",
        /// Foreign content.
        Other = "other",
    }
}

impl RecoveryState {
    /// The outcome in one sentence; with `is_preview`, the outcome that a recovery would have.
    pub fn describe(self, is_preview: bool) -> &'static str {
        match (self, is_preview) {
            (Self::Nothing, _) => "nothing to recover",
            (Self::Forward, false) => {
                "an interrupted run was finished; every file has its new content"
            }
            (Self::Forward, true) => {
                "an interrupted run would be finished; every file would get its new content"
            }
            (Self::Dropped, false) => {
                "an interrupted run was cleaned up; its files all have their old or all their new content"
            }
            (Self::Dropped, true) => {
                "an interrupted run would be cleaned up; its files all have their old or all their new content"
            }
            (Self::Discarded, _) => "the journal was deleted; its files were left unchanged",
            (Self::Conflict, _) => {
                "an interrupted run needs a decision; its files contain foreign content"
            }
        }
    }

    /// The effect of `repin recover` on a journal in this state.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Forward => "`repin recover` would finish it",
            Self::Dropped => "`repin recover` would clean it up",
            Self::Conflict => "`repin recover` lists the files with foreign content",
            Self::Nothing | Self::Discarded => "`repin recover` would change nothing",
        }
    }

    /// The recovery that files in this state require.
    pub(super) fn required_by(files: &[FileState]) -> Self {
        let (mut has_old, mut has_new) = (false, false);
        for file in files {
            match file.content {
                Content::Old => has_old = true,
                Content::New => has_new = true,
                Content::Partial => {}
                Content::Other => return Self::Conflict,
            }
            if file
                .copies
                .iter()
                .any(|copy| copy.content == Content::Other)
            {
                return Self::Conflict;
            }
        }
        if has_old && has_new {
            Self::Forward
        } else {
            Self::Dropped
        }
    }
}

impl Recovery {
    /// The journal of an interrupted run, before its recovery, in one sentence.
    pub fn notice(&self) -> String {
        let journal = match self.files.len() {
            0 => "an incomplete journal".to_owned(),
            count => format!("a journal of {}", counted(count, "file")),
        };
        let remedy = self.state.remedy();
        format!("an interrupted --apply left {journal}; {remedy}")
    }

    pub(super) fn without_files(state: RecoveryState) -> Self {
        Self {
            state,
            files: Vec::new(),
        }
    }
}
