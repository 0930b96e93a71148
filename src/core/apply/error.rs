//! Errors of applying and recovering a plan, each with its remedy.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use super::recovery::{Content, FileState, Recovery};
use crate::base::{
    code::Code,
    error::Class,
    files::{Hazard, RelPath},
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
