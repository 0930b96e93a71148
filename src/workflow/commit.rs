//! The commit of an applied plan: exactly its files, with the title and the trailer that identify
//! the set in history.

use std::path::Path;

use crate::{
    code::Code,
    config::{Config, RelPath},
    error::{Class, Error, Errors},
    git::{CommitObstacle, CommitPlan, Committed, Git, GitError, ObjectId},
    plan::FileChange,
    report::json::PlanDocument,
    untrusted::{plain, shell},
};

/// The most files in a suggested command.
const FILES_SHOWN: usize = 20;

/// The repository of a commit, and the commit at `HEAD` before the files were changed.
pub(super) struct CommitBase {
    git: Git,
    base: ObjectId,
}

/// Opens the repository, and checks that the commit can be made and would contain only the plan.
pub(super) fn ready(config: &Config, changes: &[FileChange]) -> Result<CommitBase, Errors> {
    let outage = |error: GitError| Errors::from(Error::from(&error));
    let paths: Vec<&RelPath> = changes.iter().map(|change| &change.path).collect();
    let git = Git::open(&config.root).map_err(outage)?;
    match git.commit_base(&paths).map_err(outage)? {
        Ok(base) => Ok(CommitBase { git, base }),
        Err(obstacle) => Err(obstructed(obstacle)),
    }
}

/// The reason that the plan is not committed.
pub(super) enum NotCommitted {
    /// No commit contains the files, which can be restored.
    Nothing(String),
    /// A commit may contain them.
    Doubtful(Errors),
}

pub(super) fn commit(
    repository: &CommitBase,
    changes: &[FileChange],
    document: &PlanDocument,
) -> Result<ObjectId, NotCommitted> {
    let files: Vec<_> = changes
        .iter()
        .map(|change| (&change.path, change.new.as_slice()))
        .collect();
    let trailers = document.trailers.join("\n");
    let plan = CommitPlan {
        base: &repository.base,
        files: &files,
        title: &document.title,
        trailers: &trailers,
    };
    match repository.git.commit_only(&plan) {
        Ok(Committed::AsPlanned(id)) => Ok(id),
        Ok(Committed::Undone(difference)) => {
            let paths: Vec<_> = changes.iter().map(|change| &change.path).collect();
            let unstaged = repository.git.unstage(&paths);
            let index = unstaged.map_or_else(
                |error| format!("; the index still has the new contents: {error}"),
                |()| String::new(),
            );
            Err(NotCommitted::Nothing(format!(
                "a hook of this repository changed the commit: {difference}; HEAD was set back{index}"
            )))
        }
        Ok(Committed::Kept(id, difference)) => Err(doubtful(
            &format!("commit {id} differs from the plan: {difference}"),
            &format!("inspect the commit with `git show {id}`, then amend or revert it"),
        )),
        Ok(Committed::Unverified(error)) => Err(doubtful(
            &format!("the commit may have been made, but cannot be verified: {error}"),
            "inspect the latest commits with `git log --stat`, then amend or revert the commit",
        )),
        Err(error) => Err(NotCommitted::Nothing(error.to_string())),
    }
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

fn obstructed(obstacle: CommitObstacle) -> Errors {
    Errors::from(match obstacle {
        CommitObstacle::Differ(paths) => {
            let message = "files that --commit would commit differ from HEAD or the index";
            let mut error = Error::new(Class::Conflict, Code::CONFLICT, message)
                .help("commit, stash or revert these files first, or run without --commit");
            error.notes = paths.iter().map(ToString::to_string).collect();
            error
        }
        CommitObstacle::Hidden(paths) => {
            let message = "git ignores changes of files that --commit would commit";
            let mut error = Error::new(Class::Conflict, Code::CONFLICT, message).help(
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

/// The error for changed files that could not be restored, without a commit.
pub(super) fn uncommitted(
    root: &Path,
    changes: &[FileChange],
    document: &PlanDocument,
    reason: &str,
) -> Errors {
    let paths: Vec<_> = changes.iter().map(|change| &change.path).collect();
    let trailers = document.trailers.join("\n");
    finish_by_hand(root, &paths, &document.title, &trailers, reason)
}

fn finish_by_hand(
    root: &Path,
    paths: &[&RelPath],
    title: &str,
    trailers: &str,
    reason: &str,
) -> Errors {
    let message = format!(
        "the files were changed, but nothing was committed: {}",
        plain(reason)
    );
    let mut words = vec![
        format!("git -C {}", shell(&root.to_string_lossy())),
        "--literal-pathspecs commit --only".to_owned(),
        format!("-m {}", shell(title)),
        format!("-m {}", shell(trailers)),
        "--".to_owned(),
    ];
    let names = paths.iter().map(|path| shell(&path.to_string()));
    words.extend(names.take(FILES_SHOWN));
    let mut error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
        .help(format!("finish by hand: {}", words.join(" ")));
    if paths.len() > FILES_SHOWN {
        let rest = paths.len() - FILES_SHOWN;
        error.notes = vec![format!("name the other {rest} files of the diff, too")];
    }
    Errors::from(error)
}

/// The error for changed files and a commit that may differ from the plan.
fn doubtful(problem: &str, help: &str) -> NotCommitted {
    let message = format!("the files were changed; {}", plain(problem));
    let error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help);
    NotCommitted::Doubtful(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_names_the_first_files() {
        let paths: Vec<RelPath> = (0..=FILES_SHOWN)
            .map(|number| RelPath::parse(&format!("{number}.yml")).unwrap())
            .collect();
        let error = |count: usize| {
            let paths: Vec<_> = paths[..count].iter().collect();
            let errors = finish_by_hand(Path::new("/root"), &paths, "title", "trailer", "it");
            errors.into_iter().next().unwrap()
        };
        let all = error(FILES_SHOWN);
        assert!(all.help.unwrap().ends_with(" 19.yml"));
        assert!(all.notes.is_empty());
        let cut = error(FILES_SHOWN + 1);
        assert!(cut.help.unwrap().ends_with(" 19.yml"));
        assert_eq!(cut.notes, ["name the other 1 files of the diff, too"]);
    }
}
