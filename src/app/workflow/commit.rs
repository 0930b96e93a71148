//! The commit of an applied plan: exactly its files, with the title and the trailer that identify
//! the set in history.

use std::{collections::BTreeMap, path::Path};

use super::{engine::Planned, site::MAX_LOCAL};
use crate::{
    app::report::json::PlanDocument,
    base::{
        code::Code,
        error::{Class, Error, Errors},
        files::{Files, RelPath},
        untrusted::{plain, shell},
    },
    config::Config,
    core::plan::{FileChange, Plan},
    forge::blob_id,
    git::{BeforeCommit, CommitObstacle, CommitPlan, Committed, Git, GitError, ObjectId},
};

/// The most files in a suggested command.
const FILES_SHOWN: usize = 20;

/// A commit that can be made.
pub(super) struct ReadyCommit<'p> {
    git: Git,
    root: &'p Path,
    /// The commit at `HEAD` before the files are changed.
    base: ObjectId,
    /// The files with their contents after the change.
    files: Vec<(&'p RelPath, &'p [u8])>,
    /// The number of pins that the commit changes.
    pub(super) pins: usize,
}

impl ReadyCommit<'_> {
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }
}

/// The reason that the plan is not committed.
pub(super) enum NotCommitted {
    /// No commit contains the files, which can be restored.
    Nothing(String),
    /// A commit may contain them.
    Doubtful(Errors),
}

/// Opens the repository, and checks that a commit with the plan's content of every planned file can be
/// made, and would contain no other change. Earlier changes of pins are a part of the plan, so that the
/// commit contains the whole set. `None`: `HEAD` already contains the plan.
pub(super) fn ready<'p>(
    planned: &'p Planned,
    config: &'p Config,
    files: &dyn Files,
) -> Result<Option<ReadyCommit<'p>>, Errors> {
    let outage = |error: GitError| Errors::from(Error::from(&error));
    let plan = &planned.plan;
    let changes: BTreeMap<&RelPath, &FileChange> = plan
        .changes()
        .iter()
        .chain(plan.unchanged())
        .map(|change| (&change.path, change))
        .collect();
    let git = Git::open(&config.root).map_err(outage)?;
    let paths: Vec<&RelPath> = changes.keys().copied().collect();
    let BeforeCommit { base, modified } = match git.before_commit(&paths).map_err(outage)? {
        Ok(before) => before,
        Err(obstacle) => return Err(obstructed(obstacle)),
    };
    let mut committed: BTreeMap<&RelPath, usize> = plan
        .changes()
        .iter()
        .map(|change| (&change.path, change.pins))
        .collect();
    let mut obstacles = Vec::new();
    for file in &modified {
        let change = changes[&file.path];
        let Some(head) = git.blob(file.head, MAX_LOCAL).map_err(outage)? else {
            obstacles.push(format!("{}: larger than 64 MiB at HEAD", file.path));
            continue;
        };
        let from_head = Plan::of_content(&planned.approved, config, files, &file.path, head);
        if from_head.old == from_head.new && change.old == change.new {
            // The commit does not contain this file.
            continue;
        }
        let id = file.head.to_string();
        let expected = blob_id(&from_head.new, &id);
        // git does not convert a file whose content at HEAD is not converted either.
        let is_expected = blob_id(&change.new, &id) == expected
            || git
                .stored_id(&file.path, &change.new)
                .map_err(outage)?
                .to_string()
                == expected;
        if !is_expected {
            obstacles.push(format!(
                "{}: more than its pins differs from HEAD",
                file.path
            ));
        } else if file.index != file.head && file.index.to_string() != expected {
            obstacles.push(format!("{}: another content is staged", file.path));
        } else if from_head.pins == 0 {
            committed.remove(&file.path);
        } else {
            committed.insert(&change.path, from_head.pins);
        }
    }
    if !obstacles.is_empty() {
        return Err(not_whole(obstacles));
    }
    if committed.is_empty() {
        return Ok(None);
    }
    if let Some(obstacle) = git.commit_obstacle().map_err(outage)? {
        return Err(obstructed(obstacle));
    }
    Ok(Some(ReadyCommit {
        git,
        root: &config.root,
        base,
        pins: committed.values().sum(),
        files: committed
            .keys()
            .map(|path| (*path, changes[path].new.as_slice()))
            .collect(),
    }))
}

pub(super) fn commit(
    ready: &ReadyCommit<'_>,
    document: &PlanDocument,
) -> Result<ObjectId, NotCommitted> {
    let trailers = document.trailers.join("\n");
    let plan = CommitPlan {
        base: &ready.base,
        files: &ready.files,
        title: &document.title,
        trailers: &trailers,
    };
    match ready.git.commit_only(&plan) {
        Ok(Committed::AsPlanned(id)) => Ok(id),
        Ok(Committed::Undone(difference)) => {
            let paths: Vec<_> = ready.files.iter().map(|(path, _)| *path).collect();
            let unstaged = ready.git.unstage(&paths);
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
            let notes = paths
                .iter()
                .map(|path| format!("{path}: not a regular file of HEAD with the same mode"));
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
fn not_whole(files: Vec<String>) -> Errors {
    let message = "--commit would not commit exactly the plan: files with pins have other changes";
    let mut error = Error::new(Class::Refused, Code::CONFLICT, message).help(
        "commit or stash the other changes of these files, or discard them (`git restore --staged \
         --worktree -- FILE`), then run the command again; or run it without --commit",
    );
    error.notes = files;
    Errors::from(error)
}

/// The error for changed files that could not be restored, without a commit.
pub(super) fn uncommitted(
    ready: &ReadyCommit<'_>,
    document: &PlanDocument,
    reason: &str,
) -> Errors {
    let paths: Vec<_> = ready.files.iter().map(|(path, _)| *path).collect();
    let trailers = document.trailers.join("\n");
    finish_by_hand(ready.root, &paths, &document.title, &trailers, reason)
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
