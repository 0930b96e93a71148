//! The state of an interrupted run, file by file, and the result of its recovery.

use std::fmt::Write as _;

use super::journal::RunIdentity;
use crate::base::{
    files::RelPath,
    text::{counted, words},
};

/// The maximum number of files that a warning lists.
const MAX_LISTED: usize = 20;

/// The result of a recovery or its preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The outcome.
    pub state: RecoveryState,
    /// The interrupted run; `None` without a journal, or if the journal does not identify it.
    pub(crate) run: Option<RunIdentity>,
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
    /// The effect of `repin recover` on a journal in this state.
    pub(crate) fn effect(self) -> &'static str {
        match self {
            Self::Forward => "would finish it",
            Self::Dropped => "would clean it up",
            Self::Conflict => "lists the files with foreign content",
            Self::Nothing | Self::Discarded => "would change nothing",
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
    /// The outcome in one sentence; with `is_preview`, the outcome that a recovery would have.
    pub fn describe(&self, is_preview: bool) -> String {
        let run = self.of_run();
        match (self.state, is_preview) {
            (RecoveryState::Nothing, _) => "nothing to recover".to_owned(),
            (RecoveryState::Forward, false) => {
                format!("an interrupted run{run} was finished; every file has its new content")
            }
            (RecoveryState::Forward, true) => format!(
                "an interrupted run{run} would be finished; every file would get its new content"
            ),
            (RecoveryState::Dropped, false) => {
                format!(
                    "an interrupted run{run} was cleaned up; {}",
                    self.contents()
                )
            }
            (RecoveryState::Dropped, true) => {
                format!(
                    "an interrupted run{run} would be cleaned up; {}",
                    self.contents()
                )
            }
            (RecoveryState::Discarded, _) => {
                format!("the journal{run} was deleted; its files were left unchanged")
            }
            (RecoveryState::Conflict, _) => {
                format!(
                    "an interrupted run{run} needs a decision; its files contain foreign content"
                )
            }
        }
    }

    /// The warning of a run that recovered from the interruption of another one; `None` if none was
    /// interrupted.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.state == RecoveryState::Nothing {
            return None;
        }
        let mut text = self.describe(false);
        let mut separator = ": ";
        for file in self.files.iter().take(MAX_LISTED) {
            text.push_str(separator);
            text.push_str(&file.path.to_string());
            separator = ", ";
        }
        if self.files.len() > MAX_LISTED {
            let more = self.files.len() - MAX_LISTED;
            let _ = write!(text, " and {}", counted(more, "more file"));
        }
        Some(text)
    }

    /// The journal of an interrupted run, before its recovery, in one sentence. `config_option` selects
    /// the set.
    pub fn notice(&self, config_option: &str) -> String {
        let journal = match self.files.len() {
            0 => "an incomplete journal".to_owned(),
            count => format!("a journal of {}", counted(count, "file")),
        };
        let (run, effect) = (self.of_run(), self.state.effect());
        format!(
            "an interrupted --apply{run} left {journal}; `repin recover{config_option}` {effect}"
        )
    }

    /// The set and the revision after a noun; empty if they are unknown.
    fn of_run(&self) -> String {
        match &self.run {
            Some(RunIdentity {
                set_path,
                revision: Some(revision),
            }) => format!(" of {set_path} at revision {revision}"),
            Some(RunIdentity { set_path, .. }) => format!(" of {set_path}"),
            None => String::new(),
        }
    }

    /// The contents of the files of a run that needs no change of a file.
    fn contents(&self) -> &'static str {
        match self.files.first().map(|file| file.content) {
            None => "it had changed no file",
            Some(Content::New) => "its files have their new content",
            Some(_) => "its files have their old content",
        }
    }

    pub(super) fn without_files(state: RecoveryState) -> Self {
        Self {
            state,
            run: None,
            files: Vec::new(),
        }
    }
}
