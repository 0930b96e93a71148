//! The next step for the user: the commit that adopts the sets.
//!
//! Its message contains the revision of each pinned set, so that the first promotion can be rolled back.

use super::draft::Draft;
use crate::{
    base::untrusted::{plain, shell},
    config::{self, Trailer},
};

/// The text in place of an unknown revision.
const UNKNOWN: &str = "REVISION";

pub(super) fn of_one(path: &str, draft: &Draft) -> String {
    let quoted = shell(path);
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
         promotion can be rolled back:\n\n    git add -- {quoted}\n    \
         git commit -m 'adopt repin' -m {} -- {quoted}\n{remark}",
        trailer(draft)
    )
}

/// The configurations with their paths; `path` is one without a known revision.
pub(super) fn of_several(drafts: &[(&str, &Draft)]) -> String {
    let (mut paths, mut trailers, mut remark) = (String::new(), String::new(), String::new());
    for (path, draft) in drafts {
        let path = shell(path);
        paths = format!("{paths} {path}");
        trailers = format!("{trailers} -m {}", trailer(draft));
        if draft.revision.is_none() && remark.is_empty() {
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

/// The trailer of a set, quoted.
fn trailer(draft: &Draft) -> String {
    let revision = draft.revision.as_deref().map(plain);
    let revision = revision.as_deref().unwrap_or(UNKNOWN);
    shell(&Trailer::line(revision, &draft.set_path))
}
