//! Committing an applied plan: exactly its files, with the title and the trailer that history reads.

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

/// The most files that a command to finish names.
const FILES_SHOWN: usize = 20;

/// The repository to commit in, if the commit could be made and would hold the plan alone.
pub(super) fn ready(config: &Config, changes: &[FileChange]) -> Result<Git, Errors> {
    let unread = |error: GitError| Errors::from(Error::from(&error));
    let paths: Vec<&RelPath> = changes.iter().map(|change| &change.path).collect();
    let git = Git::open(&config.root).map_err(unread)?;
    match git.commit_obstacle(&paths).map_err(unread)? {
        None => Ok(git),
        Some(obstacle) => Err(obstructed(obstacle)),
    }
}

/// Commits the files that were changed.
pub(super) fn commit(
    git: &Git,
    root: &Path,
    changes: &[FileChange],
    document: &PlanDocument,
) -> Result<ObjectId, Errors> {
    let files: Vec<_> = changes
        .iter()
        .map(|change| (&change.path, change.new.as_slice()))
        .collect();
    let trailer = format!("Repin-Set: {}", document.revision);
    let plan = CommitPlan {
        files: &files,
        title: &document.title,
        trailer: &trailer,
    };
    match git.commit_only(&plan) {
        Ok(Committed::AsPlanned(id)) => Ok(id),
        Ok(Committed::Undone(difference)) => Err(uncommitted(
            root,
            &plan,
            &format!(
                "a hook of this repository changed the commit: {difference}; HEAD was set back"
            ),
        )),
        Ok(Committed::Kept(id, difference)) => {
            let what = format!("a hook of this repository changed commit {id}: {difference}");
            Err(doubtful(&what))
        }
        Ok(Committed::Unverified(error)) => {
            let what = format!("the commit may have been made, but cannot be verified: {error}");
            Err(doubtful(&what))
        }
        Err(error) => Err(uncommitted(root, &plan, &error.to_string())),
    }
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
        CommitObstacle::Unfinished(name) => {
            let message = format!("cannot commit during an unfinished operation ({name} exists)");
            Error::new(Class::Conflict, Code::CONFLICT, message)
                .help("finish or abort the merge, cherry-pick or revert first: git status")
        }
        CommitObstacle::Nobody(reason) => {
            let message = format!("git cannot determine who commits: {}", plain(&reason));
            Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
                .help("set them: git config user.name NAME; git config user.email ADDRESS")
        }
    })
}

/// The files were changed, and nothing was committed.
fn uncommitted(root: &Path, plan: &CommitPlan<'_>, reason: &str) -> Errors {
    let message = format!(
        "the files were changed, but nothing was committed: {}",
        plain(reason)
    );
    let mut words = vec![
        format!("git -C {}", shell(&root.to_string_lossy())),
        "--literal-pathspecs commit --only".to_owned(),
        format!("-m {}", shell(plan.title)),
        format!("-m {}", shell(plan.trailer)),
        "--".to_owned(),
    ];
    let names = plan.files.iter().map(|(path, _)| shell(&path.to_string()));
    words.extend(names.take(FILES_SHOWN));
    let mut error = Error::new(Class::Unavailable, Code::UNAVAILABLE, message)
        .help(format!("finish by hand: {}", words.join(" ")));
    if plan.files.len() > FILES_SHOWN {
        let rest = plan.files.len() - FILES_SHOWN;
        error.notes = vec![format!("name the other {rest} files of the diff, too")];
    }
    Errors::from(error)
}

/// The files were changed, and `HEAD` may name a commit that differs from the plan.
fn doubtful(what: &str) -> Errors {
    let message = format!("the files were changed; {}", plain(what));
    let help =
        "inspect the commit with `git show`, then amend it or undo it: git reset --soft HEAD~1";
    Errors::from(Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(help))
}
