//! The verdict on a build whose commit the branch that counts does not contain.

use super::{Check, Code, StageResult, Status};
use crate::{
    base::{error::Error, untrusted::plain},
    config::Config,
    core::history::{Membership, UnknownMembership},
    git::FETCH_HISTORY,
    oci::Revision,
};

/// Checks that the branch contains the commit of a promotion. A merged commit needs no row.
pub(super) fn check_merged(
    config: &Config,
    revision: &Revision,
    membership: &Membership,
) -> StageResult {
    let is_required = config.promote.require_merged;
    let name = plain(revision.as_str());
    let check = |status, detail: String| Check::new(Code::REVISION_UNMERGED, status, detail);
    let unknown = match membership {
        Membership::Merged => return StageResult::default(),
        Membership::Unmerged { branch } => {
            let detail = format!("{} does not contain commit {name}", plain(branch));
            let status = if is_required {
                Status::Fail
            } else {
                Status::Warn
            };
            let check = check(status, detail);
            return vec![check.help(Code::REVISION_UNMERGED.help())].into();
        }
        Membership::Unknown(unknown) => unknown,
    };
    let detail = format!("cannot determine whether commit {name} was merged: {unknown}");
    match (unknown, is_required) {
        (UnknownMembership::NoCommit | UnknownMembership::NoSource, true) => {
            let help = "set `source` to the repository that the images are built from, or remove \
                        `promote.require_merged`";
            vec![check(Status::Fail, detail).help(help)].into()
        }
        (UnknownMembership::Shallow, true) => StageResult {
            checks: Vec::new(),
            outages: vec![Error::unavailable(detail, "the clone is shallow").help(FETCH_HISTORY)],
        },
        (UnknownMembership::SourceUnavailable(errors), true) => StageResult {
            checks: Vec::new(),
            outages: errors.iter().cloned().collect(),
        },
        (UnknownMembership::SourceUnavailable(errors), false) => {
            let detail = format!("{detail}: {}", errors.by_cause()[0].text());
            vec![check(Status::Warn, detail)].into()
        }
        // Such a run has no evidence of a branch, or another check refuses it.
        (
            UnknownMembership::NoCommit | UnknownMembership::NoSource | UnknownMembership::Shallow,
            false,
        ) => StageResult::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::error::Errors, config};

    #[test]
    fn only_an_unmerged_commit_is_reported() {
        let rows = |more: &str, membership: &Membership| {
            let config = config::example(&format!(
                "version: 1\nfiles: [x]\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n{more}"
            ));
            let revision = config.revision.pattern.revision(&"a".repeat(40)).unwrap();
            let (checks, outages) = check_merged(&config, &revision, membership).into_parts();
            let statuses: Vec<_> = checks.iter().map(|check| check.status).collect();
            (statuses, outages.len())
        };
        let required = "promote: { require_merged: true }\n";
        let unmerged = Membership::Unmerged {
            branch: "origin/main".to_owned(),
        };
        let errors = Errors::from(Error::unavailable("the source", "off"));
        for (membership, expected) in [
            (Membership::Merged, [(vec![], 0), (vec![], 0)]),
            (unmerged, [(vec![Status::Warn], 0), (vec![Status::Fail], 0)]),
            (
                Membership::Unknown(UnknownMembership::NoSource),
                [(vec![], 0), (vec![Status::Fail], 0)],
            ),
            (
                Membership::Unknown(UnknownMembership::Shallow),
                [(vec![], 0), (vec![], 1)],
            ),
            (
                Membership::Unknown(UnknownMembership::SourceUnavailable(errors)),
                [(vec![Status::Warn], 0), (vec![], 1)],
            ),
        ] {
            let found = ["", required].map(|more| rows(more, &membership));
            assert_eq!(found, expected, "{membership:?}");
        }
    }
}
