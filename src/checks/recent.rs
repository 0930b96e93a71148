//! Verdicts on history where there is no clone: recent commits stand for it, and what they do not
//! show is reported and refused, unless the fleet says that they are enough.

use super::{
    Check, Code, Status,
    past::{add_unread, judge_hold, judge_order, unread},
};
use crate::{
    history::{Hold, NoOrder, Order, Unreadable},
    oci::Revision,
};

/// What to do about history that only a clone has.
const IN_A_CLONE: &str = "promote this repository in a clone, or set `fleet.history: recent`";

/// The facts from recent commits about the revision to promote.
#[derive(Debug)]
pub struct RecentPast<'h> {
    /// The order of the revision and the currently pinned one.
    pub order: RecentOrder,
    /// Whether a rollback undid it.
    pub hold: Hold<'h>,
    /// A commit with unknown content that may have rolled the set back.
    pub blind_spot: Option<&'h Unreadable>,
    /// Whether the commits show when the current set began.
    pub shows_beginning: bool,
    /// Whether recent commits are enough in any case.
    pub enough: bool,
}

/// The order of a revision and the pinned one, as a forge knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecentOrder {
    /// As known, or as history does not record it.
    Judged(Order),
    /// The fleet names no repository whose history orders builds.
    NoSource {
        /// The revision pinned now.
        pinned: Revision,
    },
    /// One of both is not a commit of the source repository.
    NoCommit {
        /// The revision pinned now.
        pinned: Revision,
        /// The source repository.
        source: String,
    },
}

/// Judges order and hold of `revision`.
pub(super) fn recent_order_and_hold(revision: &Revision, past: &RecentPast<'_>) -> Vec<Check> {
    let mut checks = vec![order(revision, past), hold(revision, past)];
    if let Some(unreadable) = past.blind_spot {
        let help = "inspect the commit; if it rolled nothing back, promote in a clone with \
                    --force-after-rollback";
        add_unread(&mut checks, unread(unreadable, false).help(help));
    }
    checks
}

fn order(revision: &Revision, past: &RecentPast<'_>) -> Check {
    let unknown = |reason: String| gap(Code::REVISION_ORDER, reason, past);
    match &past.order {
        RecentOrder::NoSource { pinned } => {
            let detail = format!(
                "cannot determine whether this build is older than {pinned}, which is pinned now: \
                 `fleet.source` is not configured"
            );
            let help = "set `fleet.source` to the repository that the images are built from";
            Check::new(Code::REVISION_ORDER, Status::Fail, detail).help(help)
        }
        RecentOrder::NoCommit { pinned, source } => unknown(format!(
            "cannot determine whether this build is older than {pinned}, which is pinned now: one \
             of both is not a commit of {source}"
        )),
        RecentOrder::Judged(Order::Unknown(NoOrder::Shallow)) => {
            unknown("the recent commits do not record the revision of the pinned set".to_owned())
        }
        RecentOrder::Judged(order) => match judge_order(revision, order, false) {
            Ok(check) if check.status == Status::Fail => {
                check.help("promote a newer build, or promote in a clone with --allow-older")
            }
            Ok(check) => check,
            Err(outage) => unknown(outage.text()),
        },
    }
}

fn hold(revision: &Revision, past: &RecentPast<'_>) -> Check {
    let check = |status, detail: &str| Check::new(Code::ROLLED_BACK, status, detail);
    match &past.hold {
        Hold::Shallow if past.shows_beginning => check(
            Status::Pass,
            "the recent commits show how the current set began, and no rollback of this set",
        ),
        Hold::Shallow => gap(
            Code::ROLLED_BACK,
            "the recent commits do not show when the current set began, so an older rollback of \
             this set may be among those before"
                .to_owned(),
            past,
        ),
        known => match judge_hold(revision, known, false) {
            Ok(check) if check.status == Status::Fail => check
                .help("promote a newer build, or promote in a clone with --force-after-rollback"),
            Ok(check) => check,
            Err(outage) => gap(Code::ROLLED_BACK, outage.text(), past),
        },
    }
}

/// What recent commits do not show: skipped where they are enough, else refused.
fn gap(code: Code, reason: String, past: &RecentPast<'_>) -> Check {
    if past.enough {
        Check::new(code, Status::Skip, reason)
    } else {
        Check::new(code, Status::Fail, reason).help(IN_A_CLONE)
    }
}

/// Judges a set that none of the recent commits promoted.
pub(super) fn recent_provenance(revision: &Revision) -> Check {
    let detail = format!("the recent commits do not record a promotion of {revision}");
    Check::new(Code::PROVENANCE_TITLE, Status::Fail, detail).help(format!(
        "roll back in a clone: repin rollback --to {revision}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{git::ObjectId, oci::Pattern};

    fn revision(text: &str) -> Revision {
        Pattern::parse("[a-z]+").unwrap().revision(text).unwrap()
    }

    /// The statuses of order and hold.
    fn judged(
        order: RecentOrder,
        hold: Hold<'_>,
        shows_beginning: bool,
        enough: bool,
    ) -> [Status; 2] {
        let past = RecentPast {
            order,
            hold,
            blind_spot: None,
            shows_beginning,
            enough,
        };
        let checks = recent_order_and_hold(&revision("new"), &past);
        let codes: Vec<_> = checks.iter().map(|check| check.code).collect();
        assert_eq!(codes, [Code::REVISION_ORDER, Code::ROLLED_BACK]);
        for check in checks.iter().filter(|check| check.status == Status::Fail) {
            let help = check.help.as_deref().unwrap();
            assert!(
                !help.starts_with("add --"),
                "a fleet has no such flag: {help}"
            );
        }
        [checks[0].status, checks[1].status]
    }

    #[test]
    fn what_recent_commits_do_not_show_is_refused_unless_they_are_enough() {
        use Status::{Fail, Pass, Skip};
        let pinned = || revision("old");
        let unknown = || RecentOrder::Judged(Order::Unknown(NoOrder::Shallow));
        let elsewhere = || RecentOrder::NoCommit {
            pinned: pinned(),
            source: "acme/runtime".to_owned(),
        };
        let same = || RecentOrder::Judged(Order::Same);
        let no_source = || RecentOrder::NoSource { pinned: pinned() };
        let older = || RecentOrder::Judged(Order::Older { pinned: pinned() });
        let recorded_nowhere = || RecentOrder::Judged(Order::Unknown(NoOrder::NotInHistory));
        for (enough, gap) in [(false, Fail), (true, Skip)] {
            assert_eq!(judged(same(), Hold::Free, true, enough), [Pass, Pass]);
            assert_eq!(judged(unknown(), Hold::Shallow, true, enough), [gap, Pass]);
            assert_eq!(judged(elsewhere(), Hold::Free, true, enough), [gap, Pass]);
            assert_eq!(judged(same(), Hold::Shallow, false, enough), [Pass, gap]);
            // These are known, or the fleet must say more.
            assert_eq!(judged(no_source(), Hold::Free, true, enough), [Fail, Pass]);
            assert_eq!(judged(older(), Hold::Free, true, enough), [Fail, Pass]);
            assert_eq!(
                judged(recorded_nowhere(), Hold::Free, true, enough),
                [Skip, Pass]
            );
        }
    }

    #[test]
    fn unreadable_commit_replaces_the_pass_of_the_hold() {
        let unreadable = Unreadable::example(ObjectId::parse("a".repeat(40).as_bytes()).unwrap());
        let judged = |order: RecentOrder, blind_spot| {
            let past = RecentPast {
                order,
                hold: Hold::Free,
                blind_spot,
                shows_beginning: true,
                enough: true,
            };
            let checks = recent_order_and_hold(&revision("new"), &past);
            let checks = checks.into_iter();
            let checks: Vec<_> = checks.map(|one| (one.code, one.status, one.help)).collect();
            checks
        };
        let same = || RecentOrder::Judged(Order::Same);
        let pinned = revision("old");
        let late = || {
            RecentOrder::Judged(Order::Older {
                pinned: pinned.clone(),
            })
        };
        let pass = |code| (code, Status::Pass, None);
        let order = (
            Code::REVISION_ORDER,
            Status::Fail,
            Some("promote a newer build, or promote in a clone with --allow-older".to_owned()),
        );
        let help = "inspect the commit; if it rolled nothing back, promote in a clone with \
                    --force-after-rollback";
        let unread = || (Code::ROLLED_BACK, Status::Fail, Some(help.to_owned()));
        let free = || pass(Code::ROLLED_BACK);
        assert_eq!(judged(same(), None), [pass(Code::REVISION_ORDER), free()]);
        assert_eq!(judged(late(), None), [order.clone(), free()]);
        let blind = Some(&unreadable);
        assert_eq!(
            judged(same(), blind),
            [pass(Code::REVISION_ORDER), unread()]
        );
        assert_eq!(judged(late(), blind), [order, unread()]);
        assert_eq!(recent_provenance(&revision("new")).status, Status::Fail);
    }
}
