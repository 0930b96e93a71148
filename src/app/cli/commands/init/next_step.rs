//! The next step for the user: the commit that adopts the sets.
//!
//! Its message contains the revision of each pinned set, so that the first promotion can be rolled back.

use std::{collections::BTreeSet, path::Path};

use super::draft::Draft;
use crate::{
    app::cli::write_file::TargetFile,
    base::untrusted::{plain, shell},
    config::{self, Trailer},
    git::Git,
};

/// The text in place of an unknown revision.
const UNKNOWN: &str = "REVISION";

pub(super) fn of_one(target: &TargetFile, draft: &Draft) -> String {
    let (path, paths) = (target.display_name(), adopted_paths(&[(target, draft)]));
    let option = config::option_unless_default(path);
    let remark = if draft.revision.is_some() {
        String::new()
    } else {
        format!(
            "\nREVISION is the commit that the pinned images were built from: `repin check{option} --remote` shows it."
        )
    };
    format!(
        "next: review the file and run `repin check{option}`, then commit it with the currently pinned set, so that the first\n\
         promotion can be rolled back:\n\n    git add --{paths}\n    \
         git commit -m 'adopt repin' -m {} --{paths}\n{remark}",
        trailer(draft)
    )
}

/// The configurations with their paths; `path` is one without a known revision.
pub(super) fn of_several(drafts: &[(&TargetFile, &Draft)]) -> String {
    let paths = adopted_paths(drafts);
    let (mut trailers, mut remark) = (String::new(), String::new());
    for (target, draft) in drafts {
        trailers = format!("{trailers} -m {}", trailer(draft));
        if draft.revision.is_none() && remark.is_empty() {
            let path = shell(target.display_name());
            remark = format!(
                "\nREVISION is the commit that the pinned images of a set were built from: for example, \
                 `repin --config {path} check --remote` shows it."
            );
        }
    }
    format!(
        "next: review the files, then check them and commit them with the currently pinned sets, so that the first\n\
         promotion of each can be rolled back:\n\n    git add --{paths}\n    repin check --all\n    \
         git commit -m 'adopt repin'{trailers} --{paths}\n{remark}"
    )
}

/// The configurations, and the files with their pins that differ from `HEAD`: a commit records only the pins that it has.
/// Each is quoted, with a space before it.
fn adopted_paths(adopted: &[(&TargetFile, &Draft)]) -> String {
    let (mut paths, mut changed) = (String::new(), BTreeSet::new());
    for (target, draft) in adopted {
        let path = target.display_name();
        paths = format!("{paths} {}", shell(path));
        let directory = Path::new(path).parent().unwrap_or(Path::new(""));
        let files = &draft.files_with_pins;
        let uncommitted = Git::discover(target.directory()).and_then(|git| match git {
            Some(git) => git.uncommitted(files),
            None => Ok(Vec::new()),
        });
        // Adding a file without changes does no harm.
        let uncommitted = uncommitted.unwrap_or_else(|_| files.iter().collect());
        changed.extend(
            uncommitted
                .iter()
                .map(|file| directory.join(file.as_path())),
        );
    }
    for file in changed {
        paths = format!("{paths} {}", shell(&file.to_string_lossy()));
    }
    paths
}

/// The trailer of a set, quoted.
fn trailer(draft: &Draft) -> String {
    let revision = draft.revision.as_deref().map(plain);
    let revision = revision.as_deref().unwrap_or(UNKNOWN);
    shell(&Trailer::line(revision, &draft.set_path))
}
