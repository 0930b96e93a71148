//! What can go wrong while a plan is applied or recovered, and what to do next.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use super::recovery::{Content, Recovery};
use crate::{code::Code, config::RelPath, error::Class, files::Hazard};

/// Why files were not changed, or not cleared away after. [`Error::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run is at work in this root. Nothing was changed.
    #[error("another run of repin holds the lock {}{}", lock.display(), by(holder.as_deref()))]
    Locked {
        /// The lock's file.
        lock: PathBuf,
        /// What that run says about itself.
        holder: Option<String>,
    },
    /// Someone wrote to files after the plan was made from them. Their content was kept, no file
    /// was changed.
    #[error(
        "{} was changed after the plan was made; its content is kept",
        list(files)
    )]
    Conflict {
        /// The files, in the order of the plan.
        files: Vec<RelPath>,
    },
    /// The journal of an interrupted run cannot be resolved without a person. Nothing was touched.
    #[error("an interrupted run cannot be finished or undone automatically; nothing was changed:{}", foreign(.0))]
    Unresolved(Recovery),
    /// The journal cannot be read as one, so what its run did is not known. Nothing was touched.
    #[error("the journal {} of an interrupted run is damaged: {reason}", journal.display())]
    Damaged {
        /// The journal's file.
        journal: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `apply` without `recover` before it. Nothing was changed.
    #[error("an interrupted run left the journal {}", journal.display())]
    Pending {
        /// The journal's file, or where it would be.
        journal: PathBuf,
    },
    /// A file, or a directory above it, that must not be replaced. No file was changed.
    #[error("{} cannot be changed safely: {hazard}", path.display())]
    Unsafe {
        /// Where, beneath the root; or in full for what is repin's own.
        path: PathBuf,
        /// Why.
        hazard: Hazard,
    },
    /// A system call failed. Unless wrapped in one of the next two variants, no file was changed.
    #[error("{doing} {} failed: {error}", path.display())]
    Io {
        /// Where, beneath the root; or in full for what is repin's own.
        path: PathBuf,
        /// What was being done: "opening", "syncing".
        doing: &'static str,
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
    /// Changing the files failed, and so did undoing it: some may be old and some new.
    #[error("{cause}; undoing the changes failed too: {undo}")]
    Unfinished {
        /// Why it stopped: decides what kind of failure this is.
        cause: Box<Error>,
        /// Why it could not be undone.
        undo: Box<Error>,
    },
    /// All files have their new content; only clearing away failed.
    #[error("all files have their new content, but cleanup failed: {cause}")]
    Uncleared {
        /// Why.
        cause: Box<Error>,
    },
}

impl Error {
    /// What to do next.
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

    /// An [`Error::Io`].
    pub(super) fn io(doing: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.to_owned(),
            doing,
            error: error.into(),
        }
    }

    /// Whether the error means that something is missing.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the error means that a directory is missing or is not a directory.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let no_directory =
            matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotADirectory);
        no_directory || self.is_absence() || matches!(self, Self::Unsafe { .. })
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        let (class, code) = error.class();
        Self::new(class, code, error.to_string()).help(error.hint())
    }
}

impl From<Error> for crate::error::Errors {
    fn from(error: Error) -> Self {
        crate::error::Error::from(error).into()
    }
}

/// Names what is neither old nor new.
fn foreign(recovery: &Recovery) -> String {
    let mut text = String::new();
    for file in &recovery.files {
        if file.content == Content::Other {
            let _ = write!(
                text,
                " {} has neither the old nor the new content;",
                file.path
            );
        }
        for copy in file
            .copies
            .iter()
            .filter(|copy| copy.content == Content::Other)
        {
            let _ = write!(
                text,
                " {} holds foreign content of {};",
                copy.path, file.path
            );
        }
    }
    text.trim_end_matches(';').to_owned()
}

fn by(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| format!(": {holder}"))
}

fn list(files: &[RelPath]) -> String {
    files
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
