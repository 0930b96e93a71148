//! Verdicts on the age of pinned references.
//!
//! The verdict on a build whose commit the branch that counts does not contain.
//!
//! The verdict on the rehearsal of a rollback.

use std::time::Duration;

use super::{Check, Code, StageResult, Status, any_failed};
use crate::{
    base::{
        error::{Class, Error},
        text::words,
        untrusted::plain,
    },
    config::Config,
    core::{
        freshness::Distance,
        history::{Membership, UnknownMembership},
    },
    git::FETCH_HISTORY,
    oci::Revision,
};

words! {
    /// The state of a pinned reference.
    pub(crate) enum State {
        /// No relevant commit, or only recent ones.
        Fresh = "fresh",
        /// A relevant commit is older than allowed.
        Stale = "stale",
        /// The branch's head is older than the pinned commit.
        Ahead = "ahead",
    }
}

/// The state, with the reason unless it is fresh.
pub(crate) fn judge(distance: &Distance, max_gap: Duration) -> (State, Option<String>) {
    let (Some(commits), Some(gap)) = (distance.commits, distance.gap) else {
        let reason = "the repository does not contain this commit: its history was rewritten, or the pinned name is wrong";
        return (State::Stale, Some(reason.to_owned()));
    };
    if gap < 0 {
        let days = days(-gap);
        let reason = format!("the branch's head is {days} older than the pinned commit");
        return (State::Ahead, Some(reason));
    }
    if commits == 0 || gap.unsigned_abs() <= max_gap.as_secs() {
        return (State::Fresh, None);
    }
    let plural = if commits == 1 { "" } else { "s" };
    let most = days(i64::try_from(max_gap.as_secs()).unwrap_or(i64::MAX));
    let reason = format!(
        "{commits} commit{plural} in {}, at most {most} allowed",
        days(gap)
    );
    (State::Stale, Some(reason))
}

/// Whole days of a gap in seconds, rounded down.
pub(crate) fn whole_days(gap: i64) -> i64 {
    gap.div_euclid(86_400)
}

fn days(seconds: i64) -> String {
    match (seconds / 86_400, seconds / 3600) {
        (1, _) => "1 day".to_owned(),
        (0, 1) => "1 hour".to_owned(),
        (0, hours) => format!("{hours} hours"),
        (days, _) => format!("{days} days"),
    }
}

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
            errors: vec![Error::unavailable(detail, "the clone is shallow").help(FETCH_HISTORY)],
        },
        (UnknownMembership::SourceUnavailable(errors), true) => StageResult {
            checks: Vec::new(),
            errors: errors.iter().cloned().collect(),
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

words! {
    /// Whether a rollback to a set would succeed.
    pub(crate) enum RehearsalVerdict {
        Ready = "ready",
        /// A check failed.
        Fails = "fails",
        /// A registry was unavailable or refused access, so that checks are missing.
        Unknown = "unknown",
    }
}

/// Judges the chain of a set: its checks, and the errors that prevented further checks.
pub(crate) fn judge_rehearsal(checks: &[Check], errors: &[Error]) -> RehearsalVerdict {
    let is_refused = |error: &Error| {
        !matches!(
            error.class,
            Class::Unavailable
                | Class::WrongBytes
                | Class::MissingContent
                | Class::Limited
                | Class::Denied
        )
    };
    if any_failed(checks) || errors.iter().any(is_refused) {
        RehearsalVerdict::Fails
    } else if errors.is_empty() {
        RehearsalVerdict::Ready
    } else {
        RehearsalVerdict::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::freshness::Evidence;
    use crate::{
        base::error::{Code, Errors},
        config,
        core::checks::Status,
        git::ObjectId,
    };

    const DAY: i64 = 86_400;

    fn state(commits: u64, gap: i64) -> State {
        let head = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
        let distance = Distance {
            pinned: Some(head),
            head,
            commits: Some(commits),
            gap: Some(gap),
            evidence: Evidence::default(),
        };
        judge(&distance, Duration::from_secs(14 * 86_400)).0
    }

    #[test]
    fn stale_needs_both_commits_and_time() {
        assert_eq!(state(0, 0), State::Fresh);
        assert_eq!(state(9, 14 * DAY), State::Fresh, "exactly the maximum");
        assert_eq!(state(0, 900 * DAY), State::Fresh, "no relevant commit");
        assert_eq!(state(1, 14 * DAY + 1), State::Stale);
        assert_eq!(state(0, -1), State::Ahead);
        assert_eq!(state(5, -90 * DAY), State::Ahead);
    }

    #[test]
    fn missing_commit_is_stale() {
        let head = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
        let (state, reason) = judge(
            &Distance {
                pinned: None,
                head,
                commits: None,
                gap: None,
                evidence: Evidence::default(),
            },
            Duration::from_secs(1),
        );
        assert!(state == State::Stale && reason.unwrap().contains("rewritten"));
    }

    #[test]
    fn days_are_rounded_down() {
        for (gap, days) in [
            (0, 0),
            (DAY - 1, 0),
            (DAY, 1),
            (-1, -1),
            (-DAY, -1),
            (-DAY - 1, -2),
        ] {
            assert_eq!(whole_days(gap), days, "{gap}");
        }
    }

    #[test]
    fn only_an_unmerged_commit_is_reported() {
        let rows = |more: &str, membership: &Membership| {
            let config = config::example(&format!(
                "version: 1\nfiles: [x]\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n{more}"
            ));
            let revision = config.revision.pattern.revision(&"a".repeat(40)).unwrap();
            let (checks, errors) = check_merged(&config, &revision, membership).into_parts();
            let statuses: Vec<_> = checks.iter().map(|check| check.status).collect();
            (statuses, errors.len())
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

    #[test]
    fn failed_check_outranks_an_outage() {
        let check = |status| Check::new(Code::TAG_MISSING, status, "detail");
        let error = |class| Error::about(class, "registry", "reason");
        for (checks, errors, verdict) in [
            (vec![], vec![], RehearsalVerdict::Ready),
            (
                vec![check(Status::Warn), check(Status::Skip)],
                vec![],
                RehearsalVerdict::Ready,
            ),
            (
                vec![check(Status::Pass)],
                vec![error(Class::Unavailable)],
                RehearsalVerdict::Unknown,
            ),
            (
                vec![],
                vec![error(Class::Denied)],
                RehearsalVerdict::Unknown,
            ),
            (
                vec![],
                vec![error(Class::Limited), error(Class::Input)],
                RehearsalVerdict::Fails,
            ),
            (
                vec![check(Status::Fail)],
                vec![error(Class::Denied)],
                RehearsalVerdict::Fails,
            ),
        ] {
            assert_eq!(judge_rehearsal(&checks, &errors), verdict, "{errors:?}");
        }
    }
}
