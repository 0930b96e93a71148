//! Verdicts on git history: a promote must not be older than the pinned set or rolled back, and the
//! set of a rollback must have been promoted.

use super::{Check, Code, Status, set::shown};
use crate::{
    config::Config,
    error::Error,
    git::GitError,
    history::{Digests, Gap, Hold, NoOrder, Order, Promoted, Provenance, Unreadable},
    oci::Revision,
    untrusted::plain,
};

/// The facts from history about the revision to promote.
#[derive(Debug)]
pub enum Past<'h> {
    /// No history is available, for this reason.
    NoGit(String),
    /// History is available.
    Known {
        /// The order of the revision and the currently pinned one.
        order: Order,
        /// Whether a rollback undid it.
        hold: Hold<'h>,
        /// A commit with unknown content that may have rolled the set back.
        blind_spot: Option<&'h Unreadable>,
    },
}

/// The verdicts of history that the caller overrules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overruled {
    /// An older build may be promoted.
    pub older: bool,
    /// A held set may be promoted.
    pub rolled_back: bool,
}

/// Judges order and hold of `revision`.
pub(super) fn order_and_hold(
    revision: &Revision,
    past: &Past<'_>,
    overruled: Overruled,
) -> (Vec<Check>, Vec<Error>) {
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
                judge_order(revision, order, overruled.older),
                judge_hold(revision, hold, overruled.rolled_back),
            ] {
                match judged {
                    Ok(check) => checks.push(check),
                    Err(outage) => outages.push(outage),
                }
            }
            if let Some(unreadable) = blind_spot {
                add_unread(&mut checks, unread(unreadable, overruled.rolled_back));
            }
            (checks, outages)
        }
    }
}

/// Adds the verdict on a commit with unknown content. It replaces a pass of the hold, which was
/// given without knowledge of that commit.
pub(super) fn add_unread(checks: &mut Vec<Check>, unread: Check) {
    checks.retain(|check| check.code != unread.code || check.status != Status::Pass);
    checks.push(unread);
}

/// The verdict on a commit with unknown content: it may have promoted the set and rolled it back.
pub(super) fn unread(unreadable: &Unreadable, allowed: bool) -> Check {
    let reason = unreadable.reason();
    let detail = format!(
        "cannot read commit {} of {}, which may have rolled this set back: {}",
        unreadable.commit,
        unreadable.date,
        shown(&reason)
    );
    if allowed {
        let detail = format!("{detail}; allowed by --force-after-rollback");
        return Check::new(Code::ROLLED_BACK, Status::Warn, detail);
    }
    let help = format!(
        "inspect the commit (git show {}); if it rolled nothing back, add --force-after-rollback",
        unreadable.commit.short()
    );
    Check::new(Code::ROLLED_BACK, Status::Fail, detail).help(help)
}

pub(super) fn judge_order(
    revision: &Revision,
    order: &Order,
    allowed: bool,
) -> Result<Check, Error> {
    let check = |status, detail: String| Ok(Check::new(Code::REVISION_ORDER, status, detail));
    match order {
        Order::Same => check(Status::Pass, "the revision is pinned now".to_owned()),
        Order::NotOlder { pinned } => check(
            Status::Pass,
            format!("the revision is not older than {pinned}, which is pinned now"),
        ),
        Order::Older { pinned } if allowed => check(
            Status::Warn,
            format!(
                "revision {revision} is older than {pinned}, which is pinned now; allowed by \
                 --allow-older"
            ),
        ),
        Order::Older { pinned } => check(
            Status::Fail,
            format!("revision {revision} is older than {pinned}, which is pinned now"),
        ),
        Order::Unknown(NoOrder::Shallow) if allowed => check(
            Status::Warn,
            "cannot determine whether this build is older: the clone is shallow; allowed by \
             --allow-older"
                .to_owned(),
        ),
        Order::Unknown(NoOrder::Shallow) => Err(shallow("whether this build is older")),
        Order::Unknown(why) => check(Status::Skip, why.to_string()),
    }
}

pub(super) fn judge_hold(
    revision: &Revision,
    hold: &Hold<'_>,
    forced: bool,
) -> Result<Check, Error> {
    let check = |status, detail: String| Ok(Check::new(Code::ROLLED_BACK, status, detail));
    match hold {
        Hold::Free => check(Status::Pass, "no rollback undid this set".to_owned()),
        Hold::Held { rollback, .. } => {
            let detail = format!(
                "set {revision} was rolled back by commit {} on {}",
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
            "cannot determine whether a rollback undid this set: the clone is shallow; forced by \
             --force-after-rollback"
                .to_owned(),
        ),
        Hold::Shallow => Err(shallow("whether a rollback undid this set")),
    }
}

/// Judges the hold of a set that history knows by its digests only.
pub(super) fn hold_by_content(revision: &Revision, hold: &Hold<'_>, forced: bool) -> Option<Check> {
    match hold {
        Hold::Held { .. } => judge_hold(revision, hold, forced).ok(),
        // The verdict by revision already reports that no rollback is known.
        Hold::Free | Hold::Shallow => None,
    }
}

fn shallow(what: &str) -> Error {
    // The same message for every question, so that one shallow clone is reported once.
    Error::unavailable(format!("cannot determine {what}"), "the clone is shallow")
        .help("fetch the history: git fetch --unshallow")
}

/// Judges whether a set was promoted; gives its digests where a title or trailer names the commit.
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
                title(Status::Pass, format!("{at} promoted the set")),
                content(
                    Status::Pass,
                    format!("{at} pins {} images of the set", promoted.images.len()),
                ),
            ];
            (checks, Vec::new(), Some(promoted.clone()))
        }
        Provenance::ByContent => (Vec::new(), Vec::new(), None),
        Provenance::Never if config.provenance.require_title => {
            let detail =
                format!("no commit on the promoted branch records a promotion of {revision}");
            let expected = config.promote.title.render(revision, &config.name);
            let help = format!(
                "expected a commit titled \"{expected}\" or with the trailer \"Repin-Set: \
                 {revision}\"; `repin history` lists the promoted sets"
            );
            (
                vec![title(Status::Fail, detail).help(help)],
                Vec::new(),
                None,
            )
        }
        Provenance::Never => {
            let detail = "no commit on the promoted branch pins a whole set";
            (
                vec![content(Status::Fail, detail.to_owned())],
                Vec::new(),
                None,
            )
        }
        Provenance::Lacks { commit, gaps } => {
            let at = commit.short();
            let mut checks = vec![title(Status::Pass, format!("commit {at} promoted the set"))];
            checks.extend(
                gaps.iter()
                    .map(|gap| content(Status::Fail, lacking(&at, gap)).about(&at, gap)),
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
            format!("commit {commit} does not pin `{image}`, which the current set contains")
        }
        Gap::Mixed(image, digests) => {
            let digests: Vec<_> = digests.iter().map(crate::oci::Digest::short).collect();
            format!(
                "commit {commit} pins `{image}` to several digests: {}",
                digests.join(", ")
            )
        }
        Gap::Unreadable(why) => format!(
            "cannot read the configuration of commit {commit}: {}",
            plain(why)
        ),
    }
}

impl Check {
    fn about(self, commit: &str, gap: &Gap) -> Self {
        match gap {
            Gap::NotPinned(image) | Gap::Mixed(image, _) => self
                .image(image)
                .cause(format!("commit {commit} does not pin the whole set")),
            Gap::Unreadable(_) => self,
        }
    }
}

/// Judges whether the digests that the tags name were pinned together, for sets without a title.
pub(super) fn provenance_by_content(found: &Provenance) -> (Check, Option<Error>) {
    let check = |status, detail: String| Check::new(Code::PROVENANCE_CONTENT, status, detail);
    match found {
        Provenance::Found(promoted) => {
            let at = format!("commit {} of {}", promoted.commit.short(), promoted.date);
            (
                check(
                    Status::Pass,
                    format!("{at} pins exactly the digests that the tags resolve to"),
                ),
                None,
            )
        }
        Provenance::Shallow => {
            let why = "the clone is shallow".to_owned();
            (
                check(Status::Skip, why),
                Some(shallow("whether this set was pinned before")),
            )
        }
        _ => {
            let detail =
                "no commit on the promoted branch pinned the digests that the tags resolve to now";
            (check(Status::Fail, detail.to_owned()), None)
        }
    }
}

/// The reason why no history is available, if the repository never had any, which is not a failure.
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
    fn pinned_now_omits_images_without_pins_or_with_different_pins() {
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
                split: None,
                comment: None,
            },
        };
        let pins = [(0, "x"), (0, "x"), (1, "x"), (1, "y"), (2, "x")];
        let found: Found = pins.map(pin).into_iter().collect();
        let expected = Digests::from([("a".to_owned(), Digest::of(b"x"))]);
        assert_eq!(pinned_now(&config, &found), expected);
    }

    #[test]
    fn a_set_without_promotion_lacks_a_title_only_if_titles_are_required() {
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
