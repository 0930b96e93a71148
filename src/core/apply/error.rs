//! Errors of applying and recovering a plan, each with its remedy.
//!
//! The state of an interrupted run, file by file, and the result of its recovery.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use super::journal::RunIdentity;
use crate::base::{
    error::{Class, Code},
    files::{Hazard, RelPath},
    text::{counted, words},
};

/// A failure to change the files or to clean up afterwards. [`Error::hint`] returns the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run holds the lock of this root. Returned before any change.
    #[error("another run of repin holds the lock {}{}", lock.display(), describe_holder(holder.as_deref()))]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// The other run's description of itself.
        holder: Option<String>,
    },
    /// Files were edited after planning. Returned before any change of a file.
    #[error("{} was changed after the plan; its content is kept", join(files))]
    Conflict {
        /// The files, in the order of the plan.
        files: Vec<RelPath>,
    },
    /// A user must resolve the journal of an interrupted run. Returned before any change.
    #[error("an interrupted run cannot be finished or undone automatically; nothing was changed:{}", describe_foreign_content(.0))]
    Unresolved(Recovery),
    /// The journal is malformed, so the state of the interrupted run is unknown.
    #[error("the journal {} of an interrupted run is damaged: {reason}", journal.display())]
    Damaged {
        /// The journal file.
        journal: PathBuf,
        /// The defect.
        reason: String,
    },
    /// `apply` was called without `recover` after an interrupted run.
    #[error("an interrupted run left the journal {}", journal.display())]
    Pending {
        /// The path of the journal.
        journal: PathBuf,
    },
    /// A file, or one of its parent directories, must not be replaced. No file was changed.
    #[error("{} cannot be changed safely: {hazard}", path.display())]
    Unsafe {
        /// The path: relative to the root, or absolute for repin's state.
        path: PathBuf,
        /// The reason.
        hazard: Hazard,
    },
    /// A system call failed. Unless wrapped in one of the next two variants, no file was changed.
    #[error("{doing} {} failed: {error}", path.display())]
    Io {
        /// The path: relative to the root, or absolute for repin's state.
        path: PathBuf,
        /// The operation: "opening", "syncing".
        doing: &'static str,
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
    /// Changing the files failed, and so did the undo: some files may be old and some new.
    #[error("{cause}; undoing the changes failed too: {undo}")]
    Unfinished {
        /// The first failure, which determines the class.
        cause: Box<Error>,
        /// The failure of the undo.
        undo: Box<Error>,
    },
    /// All files have their new content; only the cleanup failed.
    #[error("all files have their new content, but cleanup failed: {cause}")]
    Uncleared {
        /// The failure of the cleanup.
        cause: Box<Error>,
    },
}

impl Error {
    /// The remedy.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked { .. } => {
                "nothing was changed; wait until that run has finished, then retry"
            }
            Self::Conflict { .. } => {
                "no file was changed; run the command again to plan from the current content"
            }
            Self::Unresolved(_) => {
                "restore the files to the state that you want, then run `repin recover --discard`"
            }
            Self::Damaged { .. } => {
                "nothing was changed; review the files and the copies `.repin-…` next to them, then run \
                 `repin recover --discard`"
            }
            Self::Pending { .. } => "nothing was changed; run `repin recover`",
            Self::Unsafe { .. } => {
                "no file was changed; replace it with a regular file, or remove it from `files:`"
            }
            Self::Io { .. } => "no file was changed; free space or grant access, then retry",
            Self::Unfinished { .. } => {
                "the journal is kept, so nothing is lost: run `repin recover`"
            }
            Self::Uncleared { .. } => "run `repin recover`",
        }
    }

    fn class(&self) -> (Class, Code) {
        match self {
            Self::Locked { .. } => (Class::Conflict, Code::LOCKED),
            Self::Conflict { .. }
            | Self::Unresolved(_)
            | Self::Damaged { .. }
            | Self::Pending { .. } => (Class::Conflict, Code::CONFLICT),
            Self::Unsafe { .. } => (Class::Failed, Code::FILE_UNSAFE),
            Self::Io { .. } => (Class::Unavailable, Code::IO),
            Self::Unfinished { cause, .. } | Self::Uncleared { cause } => cause.class(),
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.to_owned(),
            doing,
            error: error.into(),
        }
    }

    /// Whether a file or directory is missing.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether a directory is missing or is not a directory.
    pub(super) fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Unsafe { .. } => true,
            Self::Io { error, .. } => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
            _ => false,
        }
    }
}

impl From<Error> for crate::base::error::Error {
    fn from(error: Error) -> Self {
        let (class, code) = error.class();
        Self::new(class, code, error.to_string()).help(error.hint())
    }
}

impl From<Error> for crate::base::error::Errors {
    fn from(error: Error) -> Self {
        crate::base::error::Error::from(error).into()
    }
}

fn describe_foreign_content(recovery: &Recovery) -> String {
    let mut text = String::new();
    for FileState {
        path,
        content,
        copies,
    } in &recovery.files
    {
        if *content == Content::Other {
            let _ = write!(text, " {path} has neither the old nor the new content;");
        }
        for copy in copies {
            if copy.content == Content::Other {
                let _ = write!(text, " {} holds foreign content of {path};", copy.path);
            }
        }
    }
    text.trim_end_matches(';').to_owned()
}

fn describe_holder(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| format!(": {holder}"))
}

fn join(files: &[RelPath]) -> String {
    let paths: Vec<_> = files.iter().map(ToString::to_string).collect();
    paths.join(", ")
}

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
