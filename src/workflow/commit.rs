//! Committing an applied plan: exactly its files, with the title and the trailer that history reads.

use super::publish::{self, CarriedPull, Done};
use crate::{
    apply::Session,
    checks,
    config::RelPath,
    error::{Class, Error, Errors},
    git::{CommitObstacle, CommitPlan, Committed, Git, GitError},
    plan::FileChange,
    report::json::PlanDocument,
    untrusted::plain,
};

/// The most files that a command to finish names.
const FILES_SHOWN: usize = 20;

/// Applies the plan and commits it. Nothing is written where the commit could not be made, or would
/// hold more than the plan.
pub(super) fn apply(
    session: &mut Session,
    changes: &[FileChange],
    document: &PlanDocument,
    git: Result<Git, GitError>,
) -> CarriedPull {
    let refused = |errors: Errors| CarriedPull::stopped(Done::Nothing, errors.into());
    let paths: Vec<&RelPath> = changes.iter().map(|change| &change.path).collect();
    let git = match git {
        Ok(git) => git,
        Err(error) => return refused(checks::outage(&error).into()),
    };
    match git.commit_obstacle(&paths) {
        Ok(None) => {}
        Ok(Some(obstacle)) => return refused(obstructed(obstacle)),
        Err(error) => return refused(checks::outage(&error).into()),
    }
    let applied = publish::applied(session.apply(changes));
    if applied.stop.is_some() {
        return applied;
    }
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
    let failed = match git.commit_only(&plan) {
        Ok(Committed::AsPlanned(id)) => return CarriedPull::complete(Done::Committed(id)),
        Ok(Committed::Undone(difference)) => {
            format!("a hook of this repository changed the commit: {difference}; HEAD was set back")
        }
        Ok(Committed::Kept(id, difference)) => {
            return CarriedPull::stopped(Done::Applied, kept(&id.to_string(), &difference).into());
        }
        Err(error) => error.to_string(),
    };
    CarriedPull::stopped(Done::Applied, uncommitted(&plan, &failed).into())
}

fn obstructed(obstacle: CommitObstacle) -> Errors {
    Errors::from(match obstacle {
        CommitObstacle::Differ(paths) => {
            let message = "files that --commit would commit differ from HEAD or the index";
            let mut error = Error::new(Class::Conflict, "conflict", message)
                .help("commit, stash or revert these files first, or run without --commit");
            error.notes = paths.iter().map(ToString::to_string).collect();
            error
        }
        CommitObstacle::Unfinished(name) => {
            let message = format!("cannot commit during an unfinished operation ({name} exists)");
            Error::new(Class::Conflict, "conflict", message)
                .help("finish or abort the merge, cherry-pick or revert first: git status")
        }
        CommitObstacle::Nobody(reason) => {
            let message = format!("git cannot determine who commits: {}", plain(&reason));
            Error::new(Class::Unavailable, "unavailable", message)
                .help("set them: git config user.name NAME; git config user.email ADDRESS")
        }
    })
}

/// The files were changed, and nothing was committed.
fn uncommitted(plan: &CommitPlan<'_>, reason: &str) -> Errors {
    let message = format!(
        "the files were changed, but nothing was committed: {}",
        plain(reason)
    );
    let quoted = |text: &str| format!("'{}'", plain(text).replace('\'', r"'\''"));
    let mut words = vec![
        "git commit --only".to_owned(),
        format!("-m {}", quoted(plan.title)),
        format!("-m {}", quoted(plan.trailer)),
        "--".to_owned(),
    ];
    let names = plan.files.iter().map(|(path, _)| quoted(&path.to_string()));
    words.extend(names.take(FILES_SHOWN));
    let mut error = Error::new(Class::Unavailable, "unavailable", message)
        .help(format!("finish by hand: {}", words.join(" ")));
    if plan.files.len() > FILES_SHOWN {
        let rest = plan.files.len() - FILES_SHOWN;
        error.notes = vec![format!("name the other {rest} files of the diff, too")];
    }
    Errors::from(error)
}

fn kept(id: &str, difference: &str) -> Errors {
    let message = format!(
        "a hook of this repository changed commit {id}: {}",
        plain(difference)
    );
    let help = "inspect the commit, then amend it or undo it: git reset --soft HEAD~1";
    Errors::from(Error::new(Class::Unavailable, "unavailable", message).help(help))
}
