//! The errors of a commit that cannot be made, or is not published.

use crate::{
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::plain,
    },
    git::{CommitObstacle, ObjectId},
};

/// The error for a commit that remains although the branch moved.
pub(super) fn not_undone(commit: &ObjectId, branch: &str, reason: &str) -> Errors {
    let message = format!(
        "{} moved before the push, and commit {} could not be undone completely: {}",
        plain(branch),
        commit.short(),
        plain(reason)
    );
    let help =
        "inspect the work tree with `git status` and `git log`, then rebase or remove the commit";
    Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help))
}

/// The error for restored files without a commit.
pub(super) fn restored(reason: &str) -> Errors {
    let message = format!(
        "nothing was committed, and the files were restored: {}",
        plain(reason)
    );
    let help = "correct the cause and run the command again, or run it without --commit and commit the files \
                by hand";
    Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help))
}

/// The refusal of a commit that cannot be made.
pub(super) fn obstructed(obstacle: CommitObstacle) -> Errors {
    Errors::from(match obstacle {
        CommitObstacle::Differ(paths) => {
            let notes = paths.iter().map(|path| {
                format!("{path}: unmerged, or not a regular file of HEAD with the same mode")
            });
            return not_whole(notes.collect());
        }
        CommitObstacle::Hidden(paths) => {
            let message = "git ignores changes of files that --commit would commit";
            let mut error = Error::new(Class::Refused, Code::CONFLICT, message).help(
                "run `git update-index --no-skip-worktree --no-assume-unchanged FILE` for each, or run \
                 without --commit",
            );
            error.notes = paths.iter().map(ToString::to_string).collect();
            error
        }
        CommitObstacle::Unfinished(name) => {
            let message = format!("cannot commit during an unfinished operation ({name} exists)");
            Error::new(Class::Conflict, Code::CONFLICT, message)
                .help(
                    "finish or abort the merge, rebase, cherry-pick, revert or bisection first (see `git status`), or run \
                     without --commit",
                )
        }
        CommitObstacle::NoIdentity(reason) => {
            let message = format!("git cannot determine who commits: {}", plain(&reason));
            Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
                .help("set them: git config user.name NAME; git config user.email ADDRESS")
        }
    })
}

/// The refusal of a commit that would not contain exactly the plan. `files`: each with the difference.
pub(super) fn not_whole(files: Vec<String>) -> Errors {
    let message = "--commit would not commit exactly the plan: files with pins have other changes";
    let mut error = Error::new(Class::Refused, Code::CONFLICT, message).help(
        "commit or stash the other changes of these files, or discard them (`git restore --staged \
         --worktree -- FILE`), then run the command again; or run it without --commit",
    );
    error.notes = files;
    Errors::from(error)
}
