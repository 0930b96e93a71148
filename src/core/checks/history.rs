//! Verdicts on history: the set of a promotion must not be older than the pinned one or rolled back, and
//! the set of a rollback must have been promoted. History may be complete, partial or absent.

use super::{Check, Code, StageResult, Status, set::excerpt};
use crate::{
    base::{
        error::{Error, Errors},
        text::counted,
        untrusted::{plain, shell, to_minute},
    },
    config::{Config, OrderPolicy, SetPath, Trailer},
    core::{
        history::{
            Digests, Gap, HeldDigest, HeldImage, Hold, KnownOrder, Order, OrderEvidence,
            Provenance, UnknownOrder, Unreadable,
        },
        pins::FoundPins,
    },
    git::{self, GitError},
    oci::{Digest, Revision},
};

/// The facts from history about a revision to promote.
#[derive(Debug)]
pub(crate) enum HistoryFacts<'h> {
    /// No history is available, for this reason.
    Absent(String),
    Known {
        /// The order of the revision and the currently pinned one, before the images are read.
        order: Order,
        /// The hold of the set that history records for the revision.
        recorded_hold: Hold,
        /// A commit with unknown content that may have rolled the set back.
        blind_spot: Option<&'h Unreadable>,
        extent: Extent,
    },
}

impl HistoryFacts<'_> {
    /// The extent, unless history is absent.
    pub(super) fn extent(&self) -> Option<Extent> {
        match self {
            Self::Absent(_) => None,
            Self::Known { extent, .. } => Some(*extent),
        }
    }
}

/// The commits that a history covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The commits of a clone, which can be completed if it is shallow.
    Clone,
    /// The commits of a repository of a fleet. A fact that they do not show is refused.
    Fleet {
        /// Whether the fleet accepts facts that they do not show.
        accept_unknown: bool,
    },
}

/// Refusals that the user overrides.
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// An older build may be promoted.
    pub older: bool,
    /// A held set may be promoted.
    pub rolled_back: bool,
    /// A set without the time in its stages may be promoted.
    pub unstaged: bool,
    /// An image without a required platform may be promoted.
    pub lost_platform: bool,
    /// A rollback may use the recorded digests without their tags.
    pub by_digest: bool,
}

/// The remedy for facts that the history of a repository of a fleet does not show.
const IN_A_CLONE: &str = "promote this repository in a clone, or set `fleet.history: recent`";

/// A fact that the available history does not contain.
struct UnknownFact<'f> {
    code: Code,
    /// The fact, for a clone.
    fact: &'f str,
    /// The reason, for a fleet.
    reason: &'f str,
    /// The flag that overrides the refusal, if it was given.
    overridden_by: Option<&'f str>,
}

impl UnknownFact<'_> {
    /// The check of a fleet, or the error of a shallow clone.
    fn check(&self, extent: Extent) -> Result<Check, Error> {
        let check = |status, detail| Check::new(self.code, status, detail);
        match (extent, self.overridden_by) {
            (Extent::Clone, None) => Err(shallow_error(self.fact)),
            (Extent::Clone, Some(flag)) => {
                let fact = self.fact;
                let detail = format!("cannot determine {fact}: the clone is shallow; {flag}");
                Ok(check(Status::Warn, detail))
            }
            (
                Extent::Fleet {
                    accept_unknown: true,
                },
                _,
            ) => Ok(check(Status::Skip, self.reason.to_owned())),
            (
                Extent::Fleet {
                    accept_unknown: false,
                },
                _,
            ) => Ok(check(Status::Fail, self.reason.to_owned()).help(IN_A_CLONE)),
        }
    }
}

/// Checks that history is available and complete enough to show the holds of digests.
pub(super) fn check_history_of_holds(facts: &HistoryFacts<'_>, overrides: Overrides) -> Vec<Check> {
    match facts {
        HistoryFacts::Absent(reason) => vec![unknown_hold(reason)],
        HistoryFacts::Known {
            blind_spot: Some(unreadable),
            extent,
            ..
        } => vec![check_unreadable(unreadable, overrides.rolled_back, *extent)],
        HistoryFacts::Known { .. } => Vec::new(),
    }
}

/// The check of a set without a history, for this reason.
pub(crate) fn unknown_hold(reason: &str) -> Check {
    let detail = format!("cannot determine whether this set was rolled back: {reason}");
    Check::new(Code::ROLLED_BACK, Status::Warn, detail)
}

/// Checks a commit with unknown content: it may have promoted the set and rolled it back.
fn check_unreadable(unreadable: &Unreadable, is_forced: bool, extent: Extent) -> Check {
    let reason = unreadable.reason();
    let detail = format!(
        "cannot read commit {} of {}, which may have rolled this set back: {}",
        unreadable.commit,
        to_minute(&unreadable.date),
        excerpt(&reason)
    );
    if is_forced {
        let detail = format!("{detail}; forced by --force-after-rollback");
        return Check::new(Code::ROLLED_BACK, Status::Warn, detail);
    }
    let help = match extent {
        Extent::Clone => inspect(unreadable, "add --force-after-rollback"),
        Extent::Fleet { .. } => {
            "inspect the commit; if it rolled nothing back, promote in a clone with --force-after-rollback"
                .to_owned()
        }
    };
    Check::new(Code::ROLLED_BACK, Status::Fail, detail).help(help)
}

/// The remedy for a commit with unknown content in a clone.
fn inspect(unreadable: &Unreadable, remedy: &str) -> String {
    let commit = unreadable.commit.short();
    format!("inspect the commit (git show {commit}); if it rolled nothing back, {remedy}")
}

/// Checks the order of `revision` and the pinned set. Returns an error if the run could determine an unknown
/// order after a correction.
pub(super) fn check_order(
    config: &Config,
    revision: &Revision,
    order: &Order,
    is_allowed: bool,
    extent: Extent,
) -> Result<Check, Errors> {
    let check = |status, detail: String| Check::new(Code::REVISION_ORDER, status, detail);
    match order {
        Order::Same => Ok(check(Status::Pass, "the revision is pinned now".to_owned())),
        Order::Known(known) => Ok(check_known_order(
            config, revision, known, is_allowed, extent,
        )),
        Order::Unknown(UnknownOrder::Shallow) => {
            let unknown = UnknownFact {
                code: Code::REVISION_ORDER,
                fact: "whether this build is older",
                reason: "the history does not record the revision of the pinned set",
                overridden_by: is_allowed.then_some("allowed by --allow-older"),
            };
            Ok(unknown.check(extent)?)
        }
        Order::Unknown(UnknownOrder::SourceUnavailable(errors)) if !is_allowed => {
            Err(errors.clone())
        }
        Order::Unknown(unknown) => Ok(check_unknown_order(config, unknown, is_allowed, extent)),
    }
}

fn check_known_order(
    config: &Config,
    revision: &Revision,
    known: &KnownOrder,
    is_allowed: bool,
    extent: Extent,
) -> Check {
    let pinned = match &known.pinned {
        Some(pinned) => format!("{pinned}, which is pinned now"),
        None => "the pinned set".to_owned(),
    };
    let evidence = known.evidence.phrase();
    let older = format!("revision {revision} is older than {pinned} ({evidence})");
    let (status, detail) = match (known.is_older, is_allowed) {
        (false, _) => {
            let detail = format!("the revision is not older than {pinned} ({evidence})");
            (Status::Pass, detail)
        }
        (true, true) => (Status::Warn, older + "; allowed by --allow-older"),
        (true, false) => (Status::Fail, older),
    };
    let check = Check::new(Code::REVISION_ORDER, status, detail).item(known.evidence.as_str());
    if status != Status::Fail {
        return check;
    }
    match (&known.evidence, extent) {
        (_, Extent::Fleet { .. }) => {
            check.help("promote a newer build, or promote in a clone with --allow-older")
        }
        (OrderEvidence::History, Extent::Clone) => check.help(format!(
            "to return to this set: repin rollback{} --to {revision}",
            config.option
        )),
        _ => check,
    }
}

fn check_unknown_order(
    config: &Config,
    unknown: &UnknownOrder,
    is_allowed: bool,
    extent: Extent,
) -> Check {
    let is_required = config.revision.order == OrderPolicy::Require;
    let has_source = config.source.is_some();
    let pinned = unknown.pinned();
    let than = pinned.map_or_else(String::new, |pinned| {
        format!(" than {pinned}, which is pinned now")
    });
    let detail = format!("cannot determine whether this build is older{than}: {unknown}");
    let is_refused = match (extent, unknown) {
        (Extent::Clone, _) | (_, UnknownOrder::NotInHistory | UnknownOrder::NoHistory(_)) => {
            is_required
        }
        (Extent::Fleet { .. }, UnknownOrder::NoSource { .. }) => true,
        (Extent::Fleet { accept_unknown }, _) => is_required || !accept_unknown,
    };
    let check = |status, detail| Check::new(Code::REVISION_ORDER, status, detail);
    if is_allowed {
        return check(Status::Warn, detail + "; allowed by --allow-older");
    }
    let status = if is_refused {
        Status::Fail
    } else {
        Status::Warn
    };
    let check = check(status, detail);
    match extent {
        _ if !has_source => {
            check.help("set `source` to the repository that the images are built from")
        }
        _ if !is_refused => check,
        Extent::Clone => check.help("promote a build of the source, or add --allow-older"),
        Extent::Fleet { .. } => check.help(IN_A_CLONE),
    }
}

/// Checks whether a promotion changes pins to digests that a rollback undid.
pub(super) fn check_hold(set: &HeldBy<'_>, hold: &Hold, is_forced: bool, extent: Extent) -> Check {
    let check = |status, detail: String| Check::new(Code::ROLLED_BACK, status, detail);
    if !hold.is_held() {
        return if hold.latest().is_some() {
            check(Status::Warn, set.describe(hold))
        } else {
            check(Status::Pass, "no rollback undid these digests".to_owned())
        };
    }
    let detail = set.describe(hold);
    match (is_forced, extent) {
        (true, _) => check(Status::Warn, detail + "; forced by --force-after-rollback"),
        (false, Extent::Clone) => check(Status::Fail, detail),
        (false, Extent::Fleet { .. }) => check(Status::Fail, detail)
            .help("promote a newer build, or promote in a clone with --force-after-rollback"),
    }
}

/// Checks the holds in a history that lacks commits.
pub(super) fn check_shallow_hold(is_forced: bool, extent: Extent) -> Result<Check, Error> {
    let unknown = UnknownFact {
        code: Code::ROLLED_BACK,
        fact: "whether a rollback undid this set",
        reason: "the history does not show when the current set began, so an older rollback of this \
                 set may be unknown",
        overridden_by: is_forced.then_some("forced by --force-after-rollback"),
    };
    unknown.check(extent)
}

/// Checks that the files do not replace the pins of the promoted branch by held digests.
pub(crate) fn check_pinned_hold(
    config: &Config,
    revision: Option<&Revision>,
    hold: &Hold,
) -> Result<Check, Error> {
    let set = HeldBy {
        revision,
        path: &config.set_path,
    };
    let publication = match config.forge {
        Some(_) => "--pr ready",
        None => "--apply --commit --push",
    };
    let option = &config.option;
    let revision = revision.map_or_else(|| "REVISION".to_owned(), |one| shell(one.as_str()));
    let forced = format!(
        "`repin promote{option} --revision {revision} {publication} --force-after-rollback`"
    );
    // Without a change, a missing commit hides nothing.
    let is_changed = hold.free + hold.held.len() + hold.held_elsewhere.len() > 0;
    let may_be_held = is_changed && !hold.is_held();
    if hold.is_shallow && may_be_held {
        return check_shallow_hold(false, Extent::Clone);
    }
    if let Some(unreadable) = &hold.blind_spot
        && may_be_held
    {
        let help = inspect(unreadable, &format!("use {forced}"));
        return Ok(check_unreadable(unreadable, false, Extent::Clone).help(help));
    }
    let check = check_hold(&set, hold, false, Extent::Clone);
    Ok(if check.status == Status::Fail {
        check.help(format!(
            "to return to this set on purpose, use `repin rollback{option} --to {revision} {publication}` or {forced}"
        ))
    } else {
        check
    })
}

/// Warns of a rollback to held digests, and to digests that may be held.
pub(super) fn check_return(set: &HeldBy<'_>, hold: &Hold) -> Option<Check> {
    let warning = |detail| Check::new(Code::ROLLED_BACK, Status::Warn, detail);
    if hold.latest().is_some() {
        let detail = format!("{}: this returns to it", set.describe(hold));
        return Some(warning(detail));
    }
    if let Some(unreadable) = hold.blind_spot.as_ref().filter(|_| hold.free > 0) {
        let check = check_unreadable(unreadable, false, Extent::Clone);
        return Some(warning(check.detail));
    }
    hold.is_shallow.then(|| {
        let detail = "the clone is shallow, so a rollback may have undone this set";
        warning(detail.to_owned()).help(git::FETCH_HISTORY)
    })
}

/// A set in messages about its hold.
pub(super) struct HeldBy<'s> {
    /// `None` if the images have no common revision.
    pub(super) revision: Option<&'s Revision>,
    pub(super) path: &'s SetPath,
}

impl HeldBy<'_> {
    fn describe(&self, hold: &Hold) -> String {
        let mut sentences = Vec::new();
        if hold.is_held()
            && let Some(latest) = hold.latest()
        {
            let name = self.revision.map_or_else(
                || "this set".to_owned(),
                |revision| format!("set {revision}"),
            );
            sentences.push(format!("{name} was {}", self.event(latest)));
        } else {
            let images = hold.held.iter().chain(&hold.held_elsewhere);
            sentences.extend(self.events(images, ""));
        }
        sentences.extend(self.events(hold.pinned.iter(), " (pinned now)"));
        sentences.extend(self.events(hold.released.iter(), " (pinned again on purpose)"));
        sentences.join("; ")
    }

    /// A sentence for each commit that undid digests of these images.
    fn events<'h>(&self, images: impl Iterator<Item = &'h HeldImage>, remark: &str) -> Vec<String> {
        let mut commits: Vec<(&HeldDigest, Vec<String>)> = Vec::new();
        for image in images {
            let name = format!("`{}`", plain(&image.name));
            let mut known = commits.iter_mut();
            match known
                .find(|(hold, _)| (hold.commit, &hold.set) == (image.hold.commit, &image.hold.set))
            {
                Some((_, names)) => names.push(name),
                None => commits.push((&image.hold, vec![name])),
            }
        }
        let sentence = |(hold, names): (&HeldDigest, Vec<String>)| {
            let (subject, verb) = match names.len() {
                1 => ("the digest of", "was"),
                _ => ("the digests of", "were"),
            };
            let (names, event) = (names.join(" and "), self.event(hold));
            format!("{subject} {names}{remark} {verb} {event}")
        };
        commits.into_iter().map(sentence).collect()
    }

    fn event(&self, hold: &HeldDigest) -> String {
        let place = if hold.set == *self.path {
            String::new()
        } else {
            format!(" in the set {}", plain(&hold.set.to_string()))
        };
        let (commit, date) = (hold.commit.short(), to_minute(&hold.date));
        format!("rolled back{place} by commit {commit} on {date}")
    }
}

/// The error of a question that a shallow clone cannot answer.
pub(crate) fn shallow_error(fact: &str) -> Error {
    // All facts share the message, so that one shallow clone is reported once.
    Error::unavailable(format!("cannot determine {fact}"), "the clone is shallow")
        .help(git::FETCH_HISTORY)
}

/// Checks that a set was promoted. The stage of tags looks up a set without a recorded revision by
/// its digests.
pub(super) fn check_provenance(
    config: &Config,
    revision: &Revision,
    found: &Provenance,
    extent: Extent,
) -> StageResult {
    let title = |status, detail: String| Check::new(Code::PROVENANCE_TITLE, status, detail);
    let content = |status, detail: String| Check::new(Code::PROVENANCE_CONTENT, status, detail);
    let checks = match (found, extent) {
        (Provenance::Found(promoted), _) => {
            let at = format!(
                "commit {} of {}",
                promoted.commit.short(),
                to_minute(&promoted.date)
            );
            vec![
                title(Status::Pass, format!("{at} promoted the set")),
                content(
                    Status::Pass,
                    format!("{at} pins {} images of the set", promoted.images.len()),
                ),
            ]
        }
        (Provenance::ByContent, _) => Vec::new(),
        (Provenance::Never, _) if config.provenance.requires_title() => {
            let detail =
                format!("no commit on the promoted branch records a promotion of {revision}");
            let expected = config.promote.title.render(revision, &config.name);
            let help = format!(
                "expected a commit titled \"{expected}\" or with the trailer \"{}\"; `repin history{}` \
                 lists the promoted sets, and a promotion counts once it is pushed or merged",
                Trailer::line(revision.as_str(), &config.set_path),
                config.option
            );
            vec![title(Status::Fail, detail).help(help)]
        }
        (Provenance::Never, _) => {
            let detail = "no commit on the promoted branch pins a whole set";
            vec![content(Status::Fail, detail.to_owned())]
        }
        (
            Provenance::OtherRevision {
                commit,
                revision: other,
                introduced,
            },
            _,
        ) => {
            let detail = format!(
                "commit {} claims {revision}, but its digests belong to {other}, since commit {} \
                 introduced them",
                commit.short(),
                introduced.short()
            );
            let help = format!("compare both commits, or roll back to {other}");
            vec![title(Status::Fail, detail).help(help)]
        }
        (Provenance::Incomplete { commit, gaps }, _) => {
            let commit = commit.short();
            let detail = format!("commit {commit} promoted the set");
            let mut checks = vec![title(Status::Pass, detail)];
            let gaps = gaps.iter();
            checks.extend(gaps.map(|gap| check_gap(&commit, gap, revision, config)));
            checks
        }
        (Provenance::Shallow, Extent::Clone) => {
            return vec![shallow_error("whether this set was promoted")].into();
        }
        (Provenance::Shallow, Extent::Fleet { .. }) => {
            let detail = format!("the history does not record a promotion of {revision}");
            vec![title(Status::Fail, detail).help(format!(
                "roll back in a clone: repin rollback --to {revision}"
            ))]
        }
    };
    checks.into()
}

/// The failure that the commit of a promotion does not pin a whole set.
fn check_gap(commit: &str, gap: &Gap, revision: &Revision, config: &Config) -> Check {
    let fail = |detail| Check::new(Code::PROVENANCE_CONTENT, Status::Fail, detail);
    let cause = format!("commit {commit} does not pin the whole set");
    match gap {
        Gap::NotPinned(image) => {
            let detail =
                format!("commit {commit} does not pin `{image}`, which the current set contains");
            // The image was added later, and may have a build of that revision.
            let help = format!(
                "roll back to a set that pins every image of the current configuration; `{}` returns to the build of this \
                 revision, if every image has one",
                config.return_command(revision.as_str())
            );
            fail(detail).image(image).cause(cause).help(help)
        }
        Gap::Mixed(image, digests) => {
            let list: Vec<_> = digests.iter().map(Digest::short).collect();
            let detail = format!(
                "commit {commit} pins `{image}` to {}: {}",
                counted(digests.len(), "digest"),
                list.join(", ")
            );
            fail(detail).image(image).cause(cause)
        }
        Gap::Unreadable(reason) => fail(format!(
            "cannot read the configuration of commit {commit}: {}",
            plain(reason)
        )),
    }
}

/// Checks that a commit pinned the digests of the tags together, for a set without a recorded
/// revision.
pub(super) fn check_provenance_by_digests(found: &Provenance) -> StageResult {
    let check = |status, detail: String| Check::new(Code::PROVENANCE_CONTENT, status, detail);
    match found {
        Provenance::Found(promoted) => {
            let detail = format!(
                "commit {} of {} pins exactly the digests that the tags resolve to",
                promoted.commit.short(),
                to_minute(&promoted.date)
            );
            vec![check(Status::Pass, detail)].into()
        }
        Provenance::Shallow => StageResult {
            checks: vec![check(Status::Skip, "the clone is shallow".to_owned())],
            errors: vec![shallow_error("whether this set was pinned before")],
        },
        _ => {
            let detail =
                "no commit on the promoted branch pinned the digests that the tags resolve to now";
            vec![check(Status::Fail, detail.to_owned())].into()
        }
    }
}

/// The reason for missing history, unless `error` is a failure to read existing history.
pub(crate) fn no_history_reason(error: &GitError) -> Option<String> {
    match error {
        // A report contains no directory of the machine.
        GitError::NotARepository(_) => Some("the root is not in a git repository".to_owned()),
        GitError::NoWorkTree(_) => {
            Some("the root is not in the work tree of a git repository".to_owned())
        }
        GitError::Unborn => Some(error.to_string()),
        _ => None,
    }
}

/// The current digests of the images with agreeing pins.
pub(crate) fn current_digests(config: &Config, found: &FoundPins) -> Digests {
    let mut digests = Digests::new();
    for (index, image) in config.images.iter().enumerate() {
        if image.pins > 0
            && let [digest] = found.digests_of(index).as_slice()
        {
            digests.insert(image.name.clone(), *digest);
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        base::files::RelPath,
        config,
        core::pins::{Located, Pin},
        git::ObjectId,
        oci::Pattern,
    };

    #[test]
    fn current_digests_omit_images_without_agreeing_pins() {
        let text = "version: 1\nfiles: [a]\nimages:\n  a: { repository: x.y/a, pins: 2 }\n  b: { repository: x.y/b, pins: 2 }\n  c: { repository: x.y/c, pins: 0 }\n";
        let config = config::example(text);
        let pin = |(image, build): (usize, &str)| Located {
            file: Arc::new(RelPath::parse("a").unwrap()),
            item: Pin {
                tag_at: 0,
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
        let found: FoundPins = pins.map(pin).into_iter().collect();
        let expected = Digests::from([("a".to_owned(), Digest::of(b"x"))]);
        assert_eq!(current_digests(&config, &found), expected);
    }

    #[test]
    fn set_without_promotion_fails_by_the_required_provenance() {
        for (required, code) in [
            ("[title, content]", Code::PROVENANCE_TITLE),
            ("[content]", Code::PROVENANCE_CONTENT),
        ] {
            let text = format!(
                "version: 1\nfiles: [a]\nprovenance: {{ require: {required} }}\nimages:\n  a: {{ repository: x.y/a, pins: 1 }}\n"
            );
            let config = config::example(&text);
            let revision = config.revision.pattern.revision(&"a".repeat(40)).unwrap();
            let result = check_provenance(&config, &revision, &Provenance::Never, Extent::Clone);
            let codes: Vec<_> = result
                .checks
                .iter()
                .map(|check| (check.code, check.status))
                .collect();
            assert_eq!(codes, [(code, Status::Fail)]);
            assert!(result.errors.is_empty());
        }
    }

    fn word(text: &str) -> Revision {
        Pattern::parse("[a-z]+").unwrap().revision(text).unwrap()
    }

    fn config(further: &str) -> Config {
        let text = format!(
            "version: 1\nfiles: [a]\n{further}\nimages: {{ a: {{ repository: x.y/a, pins: 1 }} }}\n"
        );
        config::example(&text)
    }

    fn order_check(config: &Config, order: &Order, extent: Extent) -> Check {
        check_order(config, &word("new"), order, false, extent).unwrap()
    }

    fn known(is_older: bool, evidence: OrderEvidence) -> Order {
        Order::Known(KnownOrder {
            is_older,
            evidence,
            pinned: Some(word("old")),
        })
    }

    fn in_fleet(accept_unknown: bool) -> Extent {
        Extent::Fleet { accept_unknown }
    }

    fn not_in_source() -> Order {
        Order::Unknown(UnknownOrder::NotInSource {
            pinned: word("old"),
            repository: "acme/runtime".to_owned(),
        })
    }

    #[test]
    fn fleet_refuses_unknown_facts_unless_it_accepts_them() {
        use Status::{Fail, Pass, Skip, Warn};
        let config = config("source: acme/runtime");
        let no_source = Order::Unknown(UnknownOrder::NoSource {
            pinned: word("old"),
        });
        for (accept_unknown, shallow, unknown) in [(false, Fail, Fail), (true, Skip, Warn)] {
            let status = |order: &Order| {
                let check = order_check(&config, order, in_fleet(accept_unknown));
                assert!(
                    check.help.is_none_or(|help| !help.starts_with("add --")),
                    "a fleet has no such flag"
                );
                check.status
            };
            assert_eq!(status(&Order::Same), Pass);
            assert_eq!(status(&known(true, OrderEvidence::History)), Fail);
            assert_eq!(status(&Order::Unknown(UnknownOrder::Shallow)), shallow);
            assert_eq!(status(&not_in_source()), unknown);
            // The configuration of the fleet is incomplete, or the history of the repository begins manually.
            assert_eq!(status(&no_source), Fail);
            assert_eq!(status(&Order::Unknown(UnknownOrder::NotInHistory)), Warn);
            let hold = check_shallow_hold(false, in_fleet(accept_unknown));
            assert_eq!(hold.unwrap().status, shallow);
        }
    }

    #[test]
    fn unknown_order_has_a_remedy_where_it_is_refused() {
        let help = |policy: &str| {
            let config = config(&format!("source: acme/runtime\n{policy}"));
            order_check(&config, &not_in_source(), Extent::Clone).help
        };
        assert_eq!(help(""), None);
        let required = help("revision: { order: require }").unwrap();
        assert!(required.contains("--allow-older"), "{required}");
    }

    #[test]
    fn older_build_is_refused_with_its_evidence() {
        let mut config = config("");
        config.option = config::option("prod/repin.yaml");
        for (evidence, item, help) in [
            (OrderEvidence::Clone, "clone", None),
            (OrderEvidence::Source("acme/app".to_owned()), "source", None),
            (
                OrderEvidence::History,
                "history",
                Some("to return to this set: repin rollback --config prod/repin.yaml --to new"),
            ),
            (OrderEvidence::Created, "created", None),
        ] {
            let older = known(true, evidence.clone());
            let check = order_check(&config, &older, Extent::Clone);
            assert_eq!(check.status, Status::Fail);
            assert_eq!(check.item.as_deref(), Some(item));
            assert!(check.detail.contains(item), "{}", check.detail);
            if let Some(help) = help {
                assert_eq!(check.help.as_deref(), Some(help));
            }
            let allowed = check_order(&config, &word("new"), &older, true, Extent::Clone);
            assert_eq!(allowed.unwrap().status, Status::Warn);
            let newer = order_check(&config, &known(false, evidence), Extent::Clone);
            assert_eq!((newer.status, newer.help), (Status::Pass, None));
        }
    }

    #[test]
    fn unknown_order_fails_only_if_order_is_required() {
        let unavailable = Order::Unknown(UnknownOrder::SourceUnavailable(
            Error::unavailable("the source", "HTTP 500").into(),
        ));
        for (further, status) in [
            ("", Status::Warn),
            ("revision: { order: require }", Status::Fail),
        ] {
            let config = config(further);
            let order = |order: &Order, is_allowed| {
                check_order(&config, &word("new"), order, is_allowed, Extent::Clone)
            };
            let not_in_source = not_in_source();
            let check = order(&not_in_source, false).unwrap();
            assert_eq!(check.status, status);
            assert_eq!(check.item, None);
            for unknown in [&not_in_source, &unavailable] {
                let allowed = order(unknown, true).unwrap();
                assert_eq!(allowed.status, Status::Warn);
                assert!(allowed.detail.ends_with("; allowed by --allow-older"));
            }
            let errors = order(&unavailable, false).unwrap_err();
            assert_eq!(errors.class(), crate::base::error::Class::Unavailable);
        }
    }

    #[test]
    fn refused_unknown_order_suggests_a_remedy() {
        let required = "revision: { order: require }\n";
        let with_source = format!("source: acme/runtime\n{required}");
        for (further, extent, start) in [
            (required, Extent::Clone, "set `source` to"),
            (with_source.as_str(), Extent::Clone, "promote a build of"),
            (with_source.as_str(), in_fleet(true), IN_A_CLONE),
        ] {
            let check = order_check(&config(further), &not_in_source(), extent);
            assert_eq!(check.status, Status::Fail);
            let help = check.help.unwrap();
            assert!(help.starts_with(start), "{help}");
        }
    }

    #[test]
    fn missing_repository_is_no_failure() {
        let root = std::path::PathBuf::from("x");
        for error in [
            GitError::NotARepository(root.clone()),
            GitError::NoWorkTree(root),
        ] {
            assert!(no_history_reason(&error).is_some());
        }
    }

    #[test]
    fn unreadable_commit_may_be_a_rollback() {
        let unreadable = Unreadable::example(ObjectId::parse(&[b'a'; 40]).unwrap());
        let checks = |blind_spot| {
            let facts = HistoryFacts::Known {
                order: Order::Same,
                recorded_hold: Hold::default(),
                blind_spot,
                extent: in_fleet(true),
            };
            let rows = check_history_of_holds(&facts, Overrides::default()).into_iter();
            rows.map(|check| (check.code, check.status, check.help))
                .collect::<Vec<_>>()
        };
        assert_eq!(checks(None), []);
        let help = "inspect the commit; if it rolled nothing back, promote in a clone with --force-after-rollback";
        let refused = (Code::ROLLED_BACK, Status::Fail, Some(help.to_owned()));
        assert_eq!(checks(Some(&unreadable)), [refused]);
    }

    #[test]
    fn promotion_beyond_the_available_commits_does_not_pass() {
        let config = config::example(
            "version: 1\nfiles: [a]\nimages: { a: { repository: x.y/a, pins: 1 } }\n",
        );
        let result = |extent| check_provenance(&config, &word("new"), &Provenance::Shallow, extent);
        let StageResult { checks, errors } = result(in_fleet(true));
        assert_eq!(checks[0].status, Status::Fail);
        assert!(errors.is_empty());
        let StageResult { checks, errors } = result(Extent::Clone);
        assert!(checks.is_empty());
        assert_eq!(errors.len(), 1);
    }
}
