//! What git history has to show: for a promote that it is no late build and was not rolled back,
//! for a rollback that its set really was promoted.

use super::{Approved, Check, Code, Status, set::shown};
use crate::{
    config::Config,
    error::Error,
    git::GitError,
    history::{Digests, Gap, Hold, NoOrder, Order, Promoted, Provenance, Unreadable},
    oci::Revision,
    untrusted::plain,
};

/// What history says about a revision that is to be promoted.
#[derive(Debug)]
pub enum Past<'h> {
    /// There is no history to ask, for this reason.
    NoGit(String),
    /// What it says.
    Known {
        /// How the revision stands to the one that is pinned now.
        order: Order,
        /// Whether a rollback undid it.
        hold: Hold<'h>,
        /// A commit that may have rolled it back unseen.
        blind_spot: Option<&'h Unreadable>,
    },
}

/// Which verdicts of history the caller has overruled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overruled {
    /// A late build may be promoted.
    pub older: bool,
    /// A set that a rollback undid may be promoted.
    pub rolled_back: bool,
}

/// Order and hold.
pub(super) fn order_and_hold(past: &Past<'_>, overruled: Overruled) -> (Vec<Check>, Vec<Error>) {
    match past {
        Past::NoGit(why) => {
            let warn = |code, what| {
                let detail = format!("cannot determine whether {what}: {why}");
                Check::new(code, Status::Warn, detail)
            };
            let checks = vec![
                warn(
                    Code::REVISION_ORDER,
                    "this build is older than the pinned one",
                ),
                warn(Code::ROLLED_BACK, "this set was rolled back"),
            ];
            (checks, Vec::new())
        }
        Past::Known {
            order,
            hold,
            blind_spot,
        } => {
            let (mut checks, mut outages) = (Vec::new(), Vec::new());
            for judged in [
                judge_order(order, overruled.older),
                judge_hold(hold, overruled.rolled_back),
            ] {
                match judged {
                    Ok(check) => checks.push(check),
                    Err(outage) => outages.push(outage),
                }
            }
            if let Some(unreadable) = blind_spot {
                // What would have let it pass was said without knowing that commit.
                checks.retain(|check| matches!(check.status, Status::Fail | Status::Warn));
                checks.extend(unread(unreadable, overruled));
            }
            (checks, outages)
        }
    }
}

/// A commit whose content is unknown may be a rollback, or have promoted a newer build.
fn unread(unreadable: &Unreadable, overruled: Overruled) -> [Check; 2] {
    let commit = format!("commit {} of {}", unreadable.commit, unreadable.date);
    let reason = unreadable.reason();
    let reason = shown(&reason);
    let check = |code, what, allowed, flag| {
        let detail = format!("cannot read {commit}, which may have {what}: {reason}");
        if allowed {
            let detail = format!("{detail}; allowed by {flag}");
            Check::new(code, Status::Warn, detail)
        } else {
            Check::new(code, Status::Fail, detail)
        }
    };
    [
        check(
            Code::REVISION_ORDER,
            "promoted a newer build",
            overruled.older,
            "--allow-older",
        ),
        check(
            Code::ROLLED_BACK,
            "rolled this set back",
            overruled.rolled_back,
            "--force-after-rollback",
        ),
    ]
}

fn judge_order(order: &Order, allowed: bool) -> Result<Check, Error> {
    let check = |status, detail: String| Ok(Check::new(Code::REVISION_ORDER, status, detail));
    match order {
        Order::Same => check(
            Status::Pass,
            "it is the revision that is pinned now".to_owned(),
        ),
        Order::NotOlder { pinned } => check(
            Status::Pass,
            format!("it is no ancestor of {pinned}, which is pinned now"),
        ),
        Order::Older { pinned } if allowed => check(
            Status::Warn,
            format!("it is an ancestor of {pinned}, which is pinned now; allowed by --allow-older"),
        ),
        Order::Older { pinned } => check(
            Status::Fail,
            format!("it is an ancestor of {pinned}, which is pinned now: a late build"),
        ),
        Order::Unknown(NoOrder::Shallow) if allowed => check(
            Status::Warn,
            format!("{}; allowed by --allow-older", NoOrder::Shallow),
        ),
        Order::Unknown(NoOrder::Shallow) => Err(shallow("whether this is a late build")),
        Order::Unknown(why) => check(Status::Skip, why.to_string()),
    }
}

fn judge_hold(hold: &Hold<'_>, forced: bool) -> Result<Check, Error> {
    let check = |status, detail: String| Ok(Check::new(Code::ROLLED_BACK, status, detail));
    match hold {
        Hold::Free => check(Status::Pass, "no rollback undid it".to_owned()),
        Hold::Held { rollback, .. } => {
            let detail = format!(
                "commit {} of {} rolled it back",
                rollback.commit.short(),
                rollback.date
            );
            if forced {
                check(Status::Warn, detail + "; forced by --force-after-rollback")
            } else {
                check(Status::Fail, detail)
            }
        }
        Hold::Shallow if forced => check(
            Status::Warn,
            "the clone is too shallow to tell; forced by --force-after-rollback".to_owned(),
        ),
        Hold::Shallow => Err(shallow("whether a rollback undid this set")),
    }
}

/// The hold of a set that history knows by its digests only.
pub(super) fn hold_by_content(hold: &Hold<'_>, forced: bool) -> Option<Check> {
    match hold {
        Hold::Held { .. } => judge_hold(hold, forced).ok(),
        // That no rollback is known was said already, by revision.
        Hold::Free | Hold::Shallow => None,
    }
}

fn shallow(what: &str) -> Error {
    Error {
        help: Some("fetch the history: git fetch --unshallow".to_owned()),
        ..Error::unavailable(
            "git history",
            format!("the clone is too shallow to tell {what}"),
        )
    }
}

/// That a set was promoted; with the digests that it had, where the title tells.
pub(super) fn provenance(
    config: &Config,
    revision: &Revision,
    found: &Provenance,
) -> (Vec<Check>, Vec<Error>, Option<Promoted>) {
    let title = |status, detail: String| Check::new(Code::PROVENANCE_TITLE, status, detail);
    let content = |status, detail: String| Check::new(Code::PROVENANCE_CONTENT, status, detail);
    match found {
        Provenance::Found(promoted) => {
            let at = format!("commit {} of {}", promoted.commit.short(), promoted.date);
            let checks = vec![
                title(Status::Pass, format!("{at} promoted it")),
                content(
                    Status::Pass,
                    format!("{at} pins {} images of the set", promoted.images.len()),
                ),
            ];
            (checks, Vec::new(), Some(promoted.clone()))
        }
        Provenance::ByContent => (Vec::new(), Vec::new(), None),
        Provenance::Never if config.provenance.require_title => {
            let detail = format!(
                "no commit of the promoted branch promoted {revision}, by title or trailer"
            );
            (vec![title(Status::Fail, detail)], Vec::new(), None)
        }
        Provenance::Never => {
            let detail = "no commit of the promoted branch pinned a whole set";
            (
                vec![content(Status::Fail, detail.to_owned())],
                Vec::new(),
                None,
            )
        }
        Provenance::Lacks { commit, gaps } => {
            let at = commit.short();
            let mut checks = vec![title(Status::Pass, format!("commit {at} promoted it"))];
            checks.extend(
                gaps.iter()
                    .map(|gap| content(Status::Fail, lacking(&at, gap)).about(gap)),
            );
            (checks, Vec::new(), None)
        }
        Provenance::Shallow => (
            Vec::new(),
            vec![shallow("whether this set was promoted")],
            None,
        ),
    }
}

fn lacking(commit: &str, gap: &Gap) -> String {
    match gap {
        Gap::NotPinned(image) => {
            format!("commit {commit} did not pin `{image}`, an image of today")
        }
        Gap::Mixed(image, digests) => {
            let digests: Vec<_> = digests.iter().map(crate::oci::Digest::short).collect();
            format!(
                "commit {commit} pinned `{image}` to several digests: {}",
                digests.join(", ")
            )
        }
        Gap::Unreadable(why) => format!(
            "the configuration of commit {commit} can't be read: {}",
            plain(why)
        ),
    }
}

impl Check {
    fn about(self, gap: &Gap) -> Self {
        match gap {
            Gap::NotPinned(image) | Gap::Mixed(image, _) => self.image(image),
            Gap::Unreadable(_) => self,
        }
    }
}

/// That the digests which the tags name were pinned together: for sets without a title.
pub(super) fn provenance_by_content(found: &Provenance) -> (Check, Option<Error>) {
    let check = |status, detail: String| Check::new(Code::PROVENANCE_CONTENT, status, detail);
    match found {
        Provenance::Found(promoted) => {
            let at = format!("commit {} of {}", promoted.commit.short(), promoted.date);
            (
                check(
                    Status::Pass,
                    format!("{at} pins exactly the digests that the tags name"),
                ),
                None,
            )
        }
        Provenance::Shallow => {
            let why = "the clone is too shallow to tell".to_owned();
            (
                check(Status::Skip, why),
                Some(shallow("whether this set was pinned before")),
            )
        }
        _ => {
            let detail =
                "no commit of the promoted branch pinned the digests that the tags name today";
            (check(Status::Fail, detail.to_owned()), None)
        }
    }
}

/// Why there is no history, where that is no failure: nothing was ever kept that could be asked.
pub fn without_history(error: &GitError) -> Option<String> {
    match error {
        // A report names no directory of the machine that made it.
        GitError::NotARepository(_) => Some("the root is not in a git repository".to_owned()),
        GitError::NoWorkTree(_) => {
            Some("the root is not in the work tree of a git repository".to_owned())
        }
        GitError::NoGit | GitError::Unborn => Some(error.to_string()),
        _ => None,
    }
}

/// A git error as what could not be judged.
pub fn outage(error: &GitError) -> Error {
    Error {
        help: Some(error.hint()),
        ..Error::unavailable("git history", error.to_string())
    }
}

/// The digests that an approved set gives the images which are pinned.
pub fn pinned_digests(config: &Config, approved: &Approved) -> Digests {
    let images = config
        .images
        .iter()
        .zip(approved.images())
        .filter(|(image, _)| image.pins > 0);
    images
        .filter_map(|(image, approved)| Some((image.name.clone(), approved.facts.as_ref()?.digest)))
        .collect()
}

/// The digests that are pinned now, of the images whose pins agree.
pub fn pinned_now(config: &Config, found: &crate::pins::Found) -> Digests {
    let images = config
        .images
        .iter()
        .enumerate()
        .filter(|(_, image)| image.pins > 0);
    let one = |(at, image): (usize, &crate::config::Image)| match found.digests_of(at).as_slice() {
        [digest] => Some((image.name.clone(), *digest)),
        _ => None,
    };
    images.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        config::{RelPath, parse},
        error::SourceText,
        oci::Digest,
        pins::{Found, Located, Pin},
    };

    #[test]
    fn what_is_pinned_now_is_of_images_that_are_pinned_and_agree() {
        let text = "version: 1\nfiles: [a]\nimages:\n  a: { repository: x.y/a, pins: 2 }\n  b: { repository: x.y/b, pins: 2 }\n  c: { repository: x.y/c, pins: 0 }\n";
        let source = SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        };
        let config = parse(&source, Path::new("/")).unwrap();
        let pin = |(image, build): (usize, &str)| Located {
            file: Arc::new(RelPath::parse("a").unwrap()),
            what: Pin {
                image,
                line: 1,
                column: 1,
                offset: 0,
                tag: None,
                digest: Digest::of(build.as_bytes()),
            },
        };
        let pins = [(0, "x"), (0, "x"), (1, "x"), (1, "y"), (2, "x")];
        let found = Found {
            pins: pins.map(pin).into(),
            ..Found::default()
        };
        let expected = Digests::from([("a".to_owned(), Digest::of(b"x"))]);
        assert_eq!(pinned_now(&config, &found), expected);
    }

    #[test]
    fn a_set_that_never_was_lacks_a_title_only_where_titles_are_required() {
        for (required, code) in [
            ("[title, content]", Code::PROVENANCE_TITLE),
            ("[content]", Code::PROVENANCE_CONTENT),
        ] {
            let text = format!(
                "version: 1\nfiles: [a]\nprovenance: {{ require: {required} }}\nimages:\n  a: {{ repository: x.y/a, pins: 1 }}\n"
            );
            let source = SourceText {
                name: "repin.yaml".into(),
                text: text.into(),
            };
            let config = parse(&source, Path::new("/")).unwrap();
            let revision = config.revision.pattern.revision(&"a".repeat(40)).unwrap();
            let (checks, errors, promoted) = provenance(&config, &revision, &Provenance::Never);
            let codes: Vec<_> = checks
                .iter()
                .map(|check| (check.code, check.status))
                .collect();
            assert_eq!(codes, [(code, Status::Fail)]);
            assert!(errors.is_empty() && promoted.is_none());
        }
    }
}
