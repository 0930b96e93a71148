//! The set that `rollback --to` selects in the history of the branch that counts: a revision, `previous`, a commit that
//! recorded a set, or the pull request that did.

use super::{
    ApplyMode, Goal, Intent, RequestedRevision, Services, SiteHistory, Stop,
    request::PREVIOUS,
    site::{Site, unpushed_set},
};
use crate::{
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::{plain, to_minute},
    },
    config::{self, Config},
    core::{
        checks::{Status, Stopped},
        history::{
            Digests, EntryState, History, HistoryEntry, Kind, Provenance, ReplacedSet, SetAtCommit,
        },
    },
    forge::Words,
    git::{self, MIN_PREFIX, ObjectId},
    oci::Revision,
};

/// The number of similar sets that a refusal lists.
const MAX_NEAREST: usize = 3;

/// The facts that the target of a run depends on. They remain if the run follows a branch that another process moved, and
/// plans again.
#[derive(Default)]
pub(super) struct Selection {
    /// The commit of an expression; with `previous` and `--push`, that of `HEAD` before the run.
    commit: Option<ObjectId>,
    /// The current set when `previous` was planned first.
    current: Option<Digests>,
}

impl Selection {
    pub(super) fn begin(
        goal: &Goal,
        intent: Intent,
        config: &Config,
        services: &Services,
    ) -> Result<Self, Errors> {
        let expression = match goal {
            Goal::Rollback { revision, .. } if is_expression(revision) => revision.as_str(),
            Goal::Rollback { revision, .. }
                if revision == PREVIOUS && intent == Intent::Apply(ApplyMode::Push) =>
            {
                "HEAD"
            }
            _ => return Ok(Self::default()),
        };
        let Some(git) = services.discover_git(config).map_err(Error::from)? else {
            return Ok(Self::default());
        };
        let commit = git.commit_of_expression(expression);
        Ok(Self {
            commit: commit.map_err(Error::from)?,
            current: None,
        })
    }

    /// Refuses `previous` if another process changed the current set since the first plan, or if the branch contains a
    /// rollback that `HEAD` did not contain: it may be the requested one.
    fn check_current(&mut self, history: &History, config: &Config) -> Result<(), Errors> {
        let Some(current) = history.current() else {
            return Ok(());
        };
        let is_changed = match (&self.current, &self.commit) {
            (Some(first), _) => *first != current.images,
            (None, Some(head)) if current.kind == Kind::Rollback => {
                matches!(history.set_at(head), SetAtCommit::Entry(seen) if seen.images != current.images)
            }
            (None, _) => false,
        };
        if is_changed {
            return Err(changed(current, history, config));
        }
        self.current = Some(current.images.clone());
        Ok(())
    }
}

/// The refusal of `previous` after another process changed the current set.
fn changed(current: &HistoryEntry, history: &History, config: &Config) -> Errors {
    let message = format!(
        "another process changed the current set on {}, which `{PREVIOUS}` depends on; current is {}",
        plain(&history.branch.name),
        described(current)
    );
    let error = Error::new(Class::Conflict, Code::CONFLICT, message);
    let help = format!(
        "check the current set with `repin history{}`; if it is not the right one, run the command again",
        config.option
    );
    error.help(help).into()
}

/// The revision of the set that `text` selects at a site, which is reported. A text that selects no set but may be the
/// revision of a build is returned unchanged: the stage of history refuses it.
pub(super) fn revision(
    text: &str,
    selection: &mut Selection,
    site: &dyn Site,
    services: &Services,
) -> Result<String, Errors> {
    let config = site.config();
    let site_history = site.history(services);
    let history = match site_history.promoted() {
        Ok(history) => history,
        // The stage of history reports the missing history.
        Err(_) if RequestedRevision::parse(config, text).is_ok() => return Ok(text.to_owned()),
        Err(error) => return Err(error.into()),
    };
    let selected = if text == PREVIOUS {
        selection.check_current(history, config)?;
        let (selected, skipped) = previous(&site_history, config)?;
        refuse_replaced(selected, history, config)?;
        refuse_unread(selected, history, config)?;
        services.warn_of_held(skipped.into_iter().map(described).collect());
        if let Some(current) = history.current()
            && current.kind == Kind::Rollback
        {
            services.console.warn(&format!(
                "the current set is the result of a rollback, so `{PREVIOUS}` goes back further; current is {}",
                described(current)
            ));
        }
        if let Some(local) = unpushed_set(config, &site_history).map_err(Error::from)? {
            services.console.warn(&format!(
                "the current set of HEAD is not pushed, so `{PREVIOUS}` does not count it: {}",
                described(&local)
            ));
        }
        selected
    } else if let Some((words, number)) = pull_request(text) {
        of_pull_request(words, number, history, config)?
    } else if is_expression(text) {
        at_commit(text, selection.commit.as_ref(), history, config)?
    } else {
        let expanded = site_history.expand(text, config)?;
        if expanded != text {
            return Ok(expanded);
        }
        return unrecorded(text, &site_history, config);
    };
    let revision = recorded_revision(text, selected, history, config)?;
    let current = (history.current())
        .map(|current| format!("; current is {}", described(current)))
        .unwrap_or_default();
    services.console.note(&format!(
        "{} is the set {}, which commit {} made current on {} ({}){current}",
        plain(text),
        plain(revision.as_str()),
        selected.commit.short(),
        to_minute(&selected.date),
        plain(&selected.author)
    ));
    Ok(revision.to_string())
}

/// The revision of a selected set, which must be that of these images: a run plans the images that were promoted last as
/// this revision.
fn recorded_revision<'h>(
    text: &str,
    selected: &'h HistoryEntry,
    history: &History,
    config: &Config,
) -> Result<&'h Revision, Errors> {
    let (commit, date) = (selected.commit.short(), to_minute(&selected.date));
    let Some(revision) = &selected.revision else {
        let message = format!(
            "`{}` is the set of commit {commit} ({date}), which has no recorded revision",
            plain(text)
        );
        let help = format!(
            "choose a set with a revision: `repin rollback{}` lists them; `{}` returns to a build",
            config.option,
            config.return_command("REVISION")
        );
        return Err(Error::input(Code::REVISION_SHAPE, message)
            .help(help)
            .into());
    };
    if let Provenance::Found(promoted) = history.provenance(revision)
        && promoted.images != selected.images
    {
        let message = format!(
            "`{}` is the set of commit {commit} ({date}), but commit {} ({}) recorded other images for the revision {}",
            plain(text),
            promoted.commit.short(),
            to_minute(&promoted.date),
            plain(revision.as_str())
        );
        let option = &config.option;
        let help = format!("choose another set: `repin rollback{option}` lists them");
        return Err(Error::input(Code::REVISION_SHAPE, message)
            .help(help)
            .into());
    }
    Ok(revision)
}

/// The number in `#N`, or `!N` as on GitLab.
fn pull_request(text: &str) -> Option<(Words, u64)> {
    let (words, digits) = Words::split_sign(text)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number)?;
    Some((words, number))
}

/// Whether `text` selects a commit by its distance from another one, such as `HEAD~1` or `main^`. A plain name is none:
/// it may be the tag of a build.
fn is_expression(text: &str) -> bool {
    let Some(end) = text.find(['~', '^']) else {
        return false;
    };
    let (name, steps) = text.split_at(end);
    let is_name = |c: char| c.is_alphanumeric() || "/._@-".contains(c);
    let is_step = |c: char| c.is_ascii_digit() || "~^".contains(c);
    !name.is_empty()
        && !name.starts_with('-')
        && !name.contains("..")
        && name.chars().all(is_name)
        && steps.chars().all(is_step)
}

/// The set before the current one, and newer sets that a rollback undid. A newer set without a recorded revision is
/// selected, so that it is refused: an older one would be a surprise.
fn previous<'h>(
    site_history: &'h SiteHistory,
    config: &Config,
) -> Result<(&'h HistoryEntry, Vec<&'h HistoryEntry>), Errors> {
    let history = site_history.promoted()?;
    let unheld = site_history.unheld()?;
    let Some(current) = history.current() else {
        let message = format!("{} has no current set", plain(&history.branch.name));
        return Err(no_set(message, config));
    };
    if let Some(first) = unheld.first() {
        let mut skipped: Vec<&HistoryEntry> = Vec::new();
        let entries = history.entries().iter();
        let newer = entries.take_while(|entry| entry.images != first.images);
        for entry in newer.filter(|entry| entry.images != current.images) {
            if history.state(entry) != EntryState::Held {
                return Ok((entry, skipped));
            }
            if skipped.iter().all(|known| known.images != entry.images) {
                skipped.push(entry);
            }
        }
        return Ok((first, skipped));
    }
    let mut error = Error::input(
        Code::REVISION_SHAPE,
        format!(
            "no set before the current one on {} is available for rollback and not held",
            plain(&history.branch.name)
        ),
    )
    .help(every_set(config));
    if let Some(held) = site_history.available()?.first() {
        let note = "the last one, which a rollback undid, is selected only by its revision";
        error.notes.push(format!("{note}: {}", described(held)));
    }
    Err(error.into())
}

/// Refuses a previous set if a merge by `git pull` replaced newer ones: whether one of them was current is unknown.
fn refuse_replaced(
    selected: &HistoryEntry,
    history: &History,
    config: &Config,
) -> Result<(), Errors> {
    let replaced = history.replaced_since(selected);
    if replaced.is_empty() {
        return Ok(());
    }
    let branch = plain(&history.branch.name);
    let message = format!(
        "the set before the current one is unknown: newer sets than {} are not on the first-parent line of {branch}",
        described(selected)
    );
    let mut error = Error::input(Code::REVISION_SHAPE, message).help(by_revision(config));
    error.notes.extend(replaced.iter().map(described_replaced));
    Err(error.into())
}

/// Refuses a previous set that a commit with unknown content may have rolled back.
fn refuse_unread(
    selected: &HistoryEntry,
    history: &History,
    config: &Config,
) -> Result<(), Errors> {
    let Some(unreadable) = history.blind_spot_since(selected) else {
        return Ok(());
    };
    let message = format!(
        "the set before the current one is unknown: cannot read commit {} ({}), which may have rolled back {}: {}",
        unreadable.commit.short(),
        to_minute(&unreadable.date),
        described(selected),
        plain(&unreadable.reason())
    );
    Err(Error::input(Code::REVISION_SHAPE, message)
        .help(by_revision(config))
        .into())
}

fn by_revision(config: &Config) -> String {
    format!(
        "choose a set by its revision: `repin rollback{}` lists those of the line, and `{}` returns to another one",
        config.option,
        config.return_command("REVISION")
    )
}

/// A set that a merge by `git pull` replaced.
fn described_replaced(set: &ReplacedSet) -> String {
    format!(
        "merge {} (`git pull`) took this set off the line: {}",
        set.merge.short(),
        described(&set.entry)
    )
}

fn no_set(message: String, config: &Config) -> Errors {
    Errors::from(Error::input(Code::REVISION_SHAPE, message).help(every_set(config)))
}

/// The remedy that lists the sets.
fn every_set(config: &Config) -> String {
    format!(
        "`repin history{}` lists every set, with the held ones",
        config.option
    )
}

fn of_pull_request<'h>(
    words: Words,
    number: u64,
    history: &'h History,
    config: &Config,
) -> Result<&'h HistoryEntry, Errors> {
    let name = words.name(number);
    let entries = history.entries().iter();
    let mut of_request = entries.filter(|entry| entry.pull_request == Some(number));
    let branch = plain(&history.branch.name);
    let Some(first) = of_request.next() else {
        let message = format!("no commit on {branch} records that {name} changed this set");
        return Err(no_set(message, config));
    };
    let mut error = Error::input(
        Code::REVISION_SHAPE,
        format!("several commits on {branch} record {name}, with different sets"),
    )
    .help("choose one by its revision");
    error.notes.push(described(first));
    for other in of_request.filter(|other| other.images != first.images) {
        error.notes.push(described(other));
    }
    if error.notes.len() > 1 {
        return Err(error.into());
    }
    Ok(first)
}

/// The set that was current at the commit of an expression.
fn at_commit<'h>(
    text: &str,
    commit: Option<&ObjectId>,
    history: &'h History,
    config: &Config,
) -> Result<&'h HistoryEntry, Errors> {
    let branch = plain(&history.branch.name);
    let Some(commit) = commit else {
        let message = format!("this clone has no commit `{}`", plain(text));
        if history.shallow {
            return Err(needs_history(message).into());
        }
        return Err(no_set(message, config));
    };
    let id = commit.short();
    match history.set_at(commit) {
        SetAtCommit::Entry(entry) => Ok(entry),
        SetAtCommit::None => Err(no_set(format!("commit {id} pins no whole set"), config)),
        SetAtCommit::OtherLine => {
            let message = format!("commit {id} is not on the first-parent line of {branch}");
            Err(no_set(message, config))
        }
    }
}

/// The error of a text that may refer to a part of the history that the clone lacks.
fn needs_history(message: String) -> Error {
    Error::new(Class::Unavailable, Code::UNAVAILABLE, message).help(git::FETCH_HISTORY)
}

/// A text that matches no set: the revision of a build, which was never promoted, or a mistake.
fn unrecorded(text: &str, site_history: &SiteHistory, config: &Config) -> Result<String, Errors> {
    let requested = RequestedRevision::parse(config, text);
    let is_revision = requested.is_ok();
    match requested {
        Ok(RequestedRevision::OfBuild { .. }) => {}
        // The registry would complete it, and the set would then be refused.
        Ok(RequestedRevision::Abbreviated(..))
            if config.provenance.requires_title() && !may_record(site_history, text)? => {}
        Ok(_) => return Ok(text.to_owned()),
        Err(errors) if errors.iter().all(|one| one.code == Code::REVISION_SHAPE) => {}
        Err(errors) => return Err(errors),
    }
    let history = site_history.promoted()?;
    let (branch, text) = (plain(&history.branch.name), plain(text));
    let message = if text.len() < MIN_PREFIX {
        format!("malformed revision `{text}`: expected at least {MIN_PREFIX} characters")
    } else {
        format!("no set on {branch} has the revision `{text}`")
    };
    let similar = Similar::find(&text, history);
    let notes = similar.lines();
    // It may be a set that the clone does not contain.
    if history.shallow && similar.nearest.is_empty() && is_revision {
        let message = format!("{message}, but the clone is shallow: older sets are missing");
        let mut error = needs_history(message);
        error.notes = notes;
        return Err(error.into());
    }
    let mut error = Error::input(Code::REVISION_SHAPE, message);
    error.notes = notes;
    let help = if config::nearest_words(&text, &[PREVIOUS], 1).is_empty() {
        similar.help(config)
    } else {
        format!("did you mean `{PREVIOUS}`?")
    };
    Err(error.help(help).into())
}

/// Whether a commit claims a revision that begins with `text`, or may be missing.
fn may_record(site_history: &SiteHistory, text: &str) -> Result<bool, Errors> {
    let history = site_history.promoted()?;
    Ok(history.shallow || history.claims_beginning(text))
}

/// The sets that a user may mean by an unknown revision.
struct Similar<'h> {
    nearest: Vec<&'h HistoryEntry>,
    /// The newest set that is available and not held.
    last: Option<&'h HistoryEntry>,
}

impl<'h> Similar<'h> {
    fn find(text: &str, history: &'h History) -> Self {
        let mut available: Vec<&HistoryEntry> = Vec::new();
        for entry in history.entries() {
            let is_known = |known: &&HistoryEntry| known.revision == entry.revision;
            if entry.can_roll_back && entry.revision.is_some() && !available.iter().any(is_known) {
                available.push(entry);
            }
        }
        let mut unheld = available.iter();
        let last = unheld.find(|entry| history.state(entry) == EntryState::Available);
        // An abbreviation is compared with the digits that it has.
        let beginnings: Vec<&str> = available
            .iter()
            .map(|entry| beginning(entry, text))
            .collect();
        let words = config::nearest_words(text, &beginnings, MAX_NEAREST);
        let mut nearest: Vec<&HistoryEntry> = Vec::new();
        for word in words {
            for entry in available
                .iter()
                .filter(|entry| beginning(entry, text) == word)
            {
                if !nearest.iter().any(|known| known.commit == entry.commit) {
                    nearest.push(entry);
                }
            }
        }
        nearest.truncate(MAX_NEAREST);
        Self {
            nearest,
            last: last.copied(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for entry in &self.nearest {
            lines.push(format!("similar: {}", described(entry)));
        }
        if let Some(last) = self.last {
            lines.push(format!("the last one: {}", described(last)));
        }
        lines
    }

    fn help(&self, config: &Config) -> String {
        let option = &config.option;
        let first = self.nearest.first().copied().or(self.last);
        match first.and_then(|entry| entry.revision.as_ref()) {
            Some(revision) => format!(
                "run `repin rollback{option} --to {}`, or choose another one of `repin rollback{option}`",
                plain(revision.as_str())
            ),
            None => {
                format!("no set is available for rollback; `repin history{option}` lists every set")
            }
        }
    }
}

/// As many characters of the revision as `text` has.
fn beginning<'e>(entry: &'e HistoryEntry, text: &str) -> &'e str {
    let revision = entry.revision.as_ref().map_or("", Revision::as_str);
    revision.get(..text.len()).unwrap_or(revision)
}

fn described(entry: &HistoryEntry) -> String {
    let revision = entry.revision.as_ref().map_or("-", Revision::as_str);
    format!(
        "{} ({}, commit {}, {}, {})",
        plain(revision),
        entry.kind_name(),
        entry.commit.short(),
        to_minute(&entry.date),
        plain(&entry.author)
    )
}

/// Adds similar sets to the refusal of a set that was never promoted.
pub(super) fn with_similar_sets(
    mut stopped: Stopped,
    provenance: &Provenance,
    revision: &Revision,
    history: &History,
    config: &Config,
) -> Stop {
    if *provenance == Provenance::Never {
        let similar = Similar::find(revision.as_str(), history);
        let mut lines = similar.lines();
        // A commit of the list is not the revision of its set.
        let mut entries = history.entries().iter();
        let recorded = entries.find(|entry| entry.commit.to_string() == revision.as_str());
        if let Some(entry) = recorded {
            lines.insert(
                0,
                format!("this commit recorded the set {}", described(entry)),
            );
        }
        let replaced = history.replaced_sets().into_iter();
        let mut replaced = replaced.filter(|set| set.entry.revision.as_ref() == Some(revision));
        if let Some(set) = replaced.next() {
            let set = described_replaced(&set);
            let command = config.return_command(revision.as_str());
            let line = format!("{set}; `{command}` returns to it");
            lines.insert(0, line);
        }
        let failed = stopped.checks.iter_mut();
        let mut failed = failed
            .filter(|check| check.code == Code::PROVENANCE_TITLE && check.status == Status::Fail);
        if let Some(check) = failed.next().filter(|_| !lines.is_empty()) {
            let before = check.help.take().unwrap_or_default();
            let lines = lines.join("; ");
            check.help = Some(format!("{lines}: {}; {before}", similar.help(config)));
        }
    }
    stopped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_from_a_name_are_expressions() {
        for text in [
            "HEAD~1",
            "HEAD^",
            "origin/main~2",
            "main^^",
            "v1.2~10",
            "@~",
        ] {
            assert!(is_expression(text), "{text}");
        }
        for text in [
            "HEAD",
            "main",
            "@{u}",
            "--all",
            "-n1",
            "-x~1",
            "~1",
            "HEAD~x",
            "HEAD^{/text}",
            "a..b~1",
            ":/text~1",
            "deadbeef",
            "previous",
            "#12",
            "",
        ] {
            assert!(!is_expression(text), "{text}");
        }
    }

    #[test]
    fn pull_requests_are_numbers_after_a_sharp() {
        assert_eq!(pull_request("#12"), Some((Words::PULL_REQUEST, 12)));
        assert_eq!(pull_request("!7"), Some((Words::MERGE_REQUEST, 7)));
        for text in [
            "12",
            "#",
            "#x",
            "#+1",
            "#-1",
            "#1 ",
            "#99999999999999999999",
        ] {
            assert_eq!(pull_request(text), None, "{text}");
        }
    }
}
