//! `repin status`: shows the deployed set, its date and author, open pull requests, and problems. Only
//! a failure to read changes the exit code, a problem does not.

use std::collections::BTreeSet;

use clap::Args;

use super::set::{self, SetResults};
use crate::{
    app::{
        cli::{
            context::Context,
            format::{Format, Volume},
            output::Exit,
        },
        report::{
            json::{
                AdoptionRow, AnyDocument, BranchRow, HoldRow, MergedRow, NotRead, SetRow,
                StatusDocument, UnpushedRow, UnreadableRow, WorkTreeRow,
            },
            sets::SetSummary,
            status::{self, View},
        },
        workflow::{
            Access, ForgeOverview, SiteHistory, UnpushedAdoption, connection, forge_overview, site,
            stages::Stages, unpushed_adoption, unpushed_set, untagged_pins,
        },
    },
    base::error::{Class, Code, Error, Errors},
    config::Config,
    core::{
        apply,
        checks::{self, Check, Status},
        history::{self, HeldSet, HistoryEntry},
        outside::Scope,
        pins::{self, FoundPins},
    },
    forge::Words,
    git::{FETCH_HISTORY, Git},
    oci::Revision,
};

const HELP: &str = "\
The current set is read from git history. Open pull requests are read from the forge if a forge and a token are configured. \
Information that was not read is listed. Problems do not change the exit code, 0; it is not 0 if reading failed.

Examples:
  repin status
  repin status --all
  repin status --format json | jq -r .set.revision";

/// Show the deployed set, open pull requests, and problems
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Show every set below the current directory as one table: one set for each configuration file
    /// that git tracks
    #[arg(long)]
    all: bool,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    cx.services.shorten_waits();
    if args.all {
        return run_all(cx);
    }
    let mut config = cx.load_without_images()?;
    if config.images.is_empty() {
        return of_forge(&config, cx);
    }
    let site_history = SiteHistory::for_work_tree(&config, &cx.services);
    config.former.extend(site_history.former_sets());
    let report = gather(&config, &site_history, cx)?;
    Ok(report.print(site_history.promoted_or_local().ok(), &config.option, cx))
}

/// Shows the status of a configuration without images, of which only the forge is queried.
fn of_forge(config: &Config, cx: &mut Context) -> Result<Exit, Errors> {
    let mut report = Report::from_work_tree(config, &FoundPins::default(), &[]);
    report.document.not_queried.clear();
    let git = cx.services.discover_git(config).map_err(Error::from)?;
    report.add_forge(config, git.as_ref(), None, cx);
    Ok(report.print(None, &config.option, cx))
}

/// Shows every set below the current directory.
fn run_all(cx: &mut Context) -> Result<Exit, Errors> {
    let mut results = SetResults::default();
    for set in set::select(cx)? {
        let Some((path, mut config)) = results.start(set, cx) else {
            continue;
        };
        let report = cx.enter(&config).and_then(|()| {
            let site_history = SiteHistory::for_work_tree(&config, &cx.services);
            config.former.extend(site_history.former_sets());
            gather(&config, &site_history, cx)
        });
        match report {
            Ok(Report { document, exit, .. }) => {
                if cx.output.format != Format::Json {
                    for checks in [&document.pins, &document.outside, &document.unpinned] {
                        cx.output.print_causes(checks, &config);
                    }
                    let warnings = status::warnings(&document);
                    if !warnings.is_empty() {
                        cx.output.write_stderr(&cx.output.local(&warnings));
                    }
                }
                let row = SetSummary {
                    set_path: path,
                    ..status::set_summary(&document, &(cx.services.environment.zone)())
                };
                results.add(row, AnyDocument::Status(Box::new(document)), exit);
            }
            Err(errors) => results.fail(path, errors, cx),
        }
    }
    cx.leave();
    let mut documents: Vec<&StatusDocument> = Vec::new();
    for document in results.documents() {
        if let AnyDocument::Status(document) = document {
            documents.push(document);
        }
    }
    let unread = status::unread_pull_requests(&documents);
    if !unread.is_empty() && cx.output.format != Format::Json {
        cx.output.write_stderr(&unread);
    }
    Ok(results.print(cx))
}

/// Gathers the status of a set.
fn gather(config: &Config, site_history: &SiteHistory, cx: &Context) -> Result<Report, Errors> {
    let tree = cx.services.tracked_tree(config);
    let found = pins::find(tree.files(), config)?;
    site::check_places(config, &found)?;
    let outside = tree.search(config, &found, Scope::Counted);
    let mut checks = checks::check_unmatched_globs(config, &found);
    checks.extend(checks::tree_checks(config, &found, &outside));
    let claims = checks::claiming_tags(config, &found);
    // A history that cannot be read is reported once, below.
    let known = site_history.promoted_or_local().ok();
    checks.extend(checks::check_pin_tags(config, &claims, Ok(known)));
    let mut report = Report::from_work_tree(config, &found, &checks);
    let history = match site_history.promoted_or_local() {
        Ok(history) => {
            report.add_history(history, config, &found);
            Some(history)
        }
        Err(error) => {
            report.add_failure("history", &Errors::from(error));
            None
        }
    };
    report.add_adoption(config, site_history);
    report.add_unpushed(config, site_history);
    report.add_stages(config, site_history, cx);
    report.add_journal(config);
    let current = history.and_then(history::History::current);
    report.add_forge(config, site_history.git(), current, cx);
    report.add_untagged(config, &found, current, cx);
    Ok(report)
}

/// The document, and the exit code for the failures to read.
struct Report {
    document: StatusDocument,
    exit: Exit,
    /// The words of the configured forge.
    words: Words,
}

impl Report {
    fn from_work_tree(config: &Config, found: &FoundPins, checks: &[Check]) -> Self {
        let (mut pins, mut outside, mut unpinned) = (Vec::new(), Vec::new(), Vec::new());
        for check in checks {
            if check.status == Status::Pass {
                continue;
            }
            let problems = match check.code {
                Code::PIN_OUTSIDE | Code::DIGEST_OUTSIDE => &mut outside,
                Code::IMAGE_UNPINNED => &mut unpinned,
                _ => &mut pins,
            };
            problems.push(check.clone());
        }
        let images = config.images.iter().enumerate();
        let work_tree = images.map(|(index, image)| WorkTreeRow {
            image: image.name.clone(),
            repository: image.repository.to_string(),
            digests: found.digests_of(index),
            pins: found.pins_of(index).count(),
            expected: image.pins,
            current: None,
        });
        let document = StatusDocument {
            schema: "repin.status/1",
            set_path: config.set_path.clone(),
            name: config.name.clone(),
            set: None,
            author: None,
            pull_request: None,
            branch: None,
            work_tree: work_tree.collect(),
            holds: Vec::new(),
            waiting: Vec::new(),
            pull_requests: None,
            pins,
            outside,
            unpinned,
            interrupted: false,
            recovery: None,
            running: None,
            unreadable: Vec::new(),
            ignored_claims: Vec::new(),
            adoption: None,
            unpushed: None,
            not_queried: vec![status::REGISTRY],
            not_read: Vec::new(),
        };
        Self {
            document,
            exit: Exit::Done,
            words: Words::PULL_REQUEST,
        }
    }

    /// Warns about pinned digests without a tag. Only a configuration with `prune` needs the registry.
    fn add_untagged(
        &mut self,
        config: &Config,
        found: &FoundPins,
        current: Option<&HistoryEntry>,
        cx: &Context,
    ) {
        if config.prune.is_none() {
            return;
        }
        let revision = current.and_then(|entry| entry.revision.as_ref());
        let tag = revision.and_then(|revision| config.revision.exact_tag(revision));
        let sources = match cx.services.sources_of_images(config) {
            Ok(sources) => sources,
            Err(errors) => return self.add_unread_tags(&errors),
        };
        let pinned = untagged_pins::pinned_digests(config, found, &sources, tag.as_ref());
        self.document
            .not_queried
            .retain(|what| *what != status::REGISTRY);
        for untagged in untagged_pins::untagged_pins(config, pinned, &cx.services) {
            match untagged {
                Ok(untagged) => self.document.pins.push(untagged.check(config, found)),
                Err(error) if error.class == Class::Failed => {
                    let check = Check::new(error.code, Status::Fail, error.text());
                    self.document.pins.push(check.help(error.remedy()));
                }
                Err(error) => self.add_unread_tags(&error.into()),
            }
        }
    }

    /// Records that the tags of pinned digests are unknown, which does not change the exit code.
    fn add_unread_tags(&mut self, errors: &Errors) {
        for error in errors.by_cause() {
            self.add_missing(
                "tags of pinned digests",
                error.text(),
                Some(&error.remedy()),
            );
        }
    }

    /// Records missing information, for a reason that is not an error.
    fn add_missing(&mut self, what: &'static str, reason: impl Into<String>, hint: Option<&str>) {
        self.document.not_read.push(NotRead {
            what,
            reason: reason.into(),
            hint: hint.map(ToOwned::to_owned),
            words: self.words,
        });
    }

    /// Records information that could not be read.
    fn add_failure(&mut self, what: &'static str, errors: &Errors) {
        self.exit = self.exit.worse(Exit::from(errors));
        for error in errors.by_cause() {
            self.add_missing(what, error.text(), Some(&error.remedy()));
        }
    }

    fn add_history(&mut self, history: &history::History, config: &Config, found: &FoundPins) {
        let document = &mut self.document;
        document.branch = Some(BranchRow {
            name: history.branch.name.clone(),
            commit: history.branch.tip,
            head: None,
        });
        document.ignored_claims = history.ignored_claims();
        document.holds = history.held_sets().iter().map(hold_row).collect();
        for entry in history.all_entries() {
            if entry.current {
                break;
            }
            if let Some(reason) = entry.unreadable {
                document.unreadable.push(UnreadableRow {
                    commit: entry.commit,
                    date: entry.date,
                    reason,
                });
            }
        }
        if let Some(entry) = history.current() {
            document.set = Some(set_row(entry));
            document.author = Some(entry.author.clone()).filter(|name| !name.is_empty());
            document.pull_request = entry
                .pull_request
                .map(|number| MergedRow { number, url: None });
            let images = config.images.iter().enumerate();
            for (row, (index, image)) in document.work_tree.iter_mut().zip(images) {
                let pinned = found.digests_of(index);
                let deployed = entry.images.get(&image.name);
                // Without a digest of the set, only a single pinned digest is known to be another one.
                let is_comparable = image.pins > 0 && (deployed.is_some() || pinned.len() == 1);
                row.current = is_comparable.then(|| pinned.iter().eq(deployed));
            }
        }
        if let Some(past) = history.unknown_past() {
            self.add_missing("older_sets", past.to_string(), None);
        }
        if history.shallow {
            let reason = "this clone is shallow: older sets, and holds on them, may be missing";
            self.add_missing("older_sets", reason, Some(FETCH_HISTORY));
        }
    }

    /// Records a configuration that is only in this clone.
    fn add_adoption(&mut self, config: &Config, site_history: &SiteHistory) {
        match unpushed_adoption(config, site_history) {
            Ok(Some(UnpushedAdoption { commit })) => {
                let branch = self.document.branch.as_ref();
                self.document.adoption = branch.map(|branch| AdoptionRow {
                    branch: branch.name.clone(),
                    commit,
                });
            }
            Ok(None) => {}
            Err(error) => self.add_failure("adoption", &Errors::from(Error::from(&error))),
        }
    }

    /// Records a set that is only in this clone.
    fn add_unpushed(&mut self, config: &Config, site_history: &SiteHistory) {
        match unpushed_set(config, site_history) {
            Ok(Some(entry)) => {
                let branch = self.document.branch.as_ref();
                self.document.unpushed = branch.map(|branch| UnpushedRow {
                    branch: branch.name.clone(),
                    commit: entry.commit,
                    kind: entry.kind.as_str(),
                    revision: entry.revision.as_ref().map(ToString::to_string),
                });
            }
            Ok(None) => {}
            Err(error) => self.add_failure("unpushed", &Errors::from(Error::from(&error))),
        }
    }

    /// Records the stages for which the next set waits.
    fn add_stages(&mut self, config: &Config, site_history: &SiteHistory, cx: &Context) {
        let own = site_history.promoted().ok();
        let waiting = Stages::open(config, site_history, false, &cx.services)
            .map(|stages| stages.waiting(own, &cx.services));
        match waiting {
            Ok((waiting, unknown)) => {
                self.document.waiting = waiting;
                if !unknown.is_empty() {
                    self.add_failure("stages", &Errors::from(unknown));
                }
            }
            Err(errors) => self.add_failure("stages", &errors),
        }
    }

    /// Records an interrupted run, or the run that holds the lock.
    fn add_journal(&mut self, config: &Config) {
        let document = &mut self.document;
        match apply::find_running(&config.root) {
            // The journal belongs to the running process.
            Ok(Some(error)) => document.running = Some(error.to_string()),
            Ok(None) => match apply::preview_recovery(&config.root) {
                Ok(None) => {}
                Ok(Some(recovery)) => {
                    document.interrupted = true;
                    document.recovery = Some(recovery.state);
                }
                Err(error) => {
                    document.interrupted = matches!(error, apply::Error::Damaged { .. });
                    self.add_failure("journal", &Errors::from(error));
                }
            },
            Err(error) => self.add_failure("journal", &Errors::from(error)),
        }
    }

    fn add_forge(
        &mut self,
        config: &Config,
        git: Option<&Git>,
        current: Option<&HistoryEntry>,
        cx: &Context,
    ) {
        if config.forge.is_none() {
            self.document.not_queried.push(status::FORGE);
            return self.add_missing(
                status::PULL_REQUESTS,
                "the configuration has no `forge` block",
                None,
            );
        }
        self.words = connection::words(config, git);
        match forge_overview(config, git, current, &cx.services) {
            Ok(Access::NoToken(reason)) => {
                self.document.not_queried.push(status::FORGE);
                let name = self.words.pull_request;
                let hint = format!("set REPIN_FORGE_TOKEN to a token that may read {name}s");
                self.add_missing(status::PULL_REQUESTS, reason, Some(&hint));
            }
            Ok(Access::Granted(overview)) => self.add_pull_requests(overview),
            Err(errors) => self.add_failure(status::PULL_REQUESTS, &errors),
        }
    }

    fn add_pull_requests(&mut self, overview: ForgeOverview) {
        let document = &mut self.document;
        document.pull_requests = Some(overview.open);
        if let Some(branch) = &mut document.branch
            && branch.name.split_once('/').map(|(_, name)| name) == Some(overview.base.as_str())
        {
            branch.head = overview.head;
        }
        match overview.merged {
            // `None` if the forge did not merge the pull request in the commit's subject as this commit.
            Ok(pull) => {
                document.pull_request = pull.map(|pull| MergedRow {
                    number: pull.number,
                    url: Some(pull.url),
                });
            }
            Err(error) => self.add_failure("pull_request", &Errors::from(error)),
        }
    }

    fn print(
        self,
        history: Option<&history::History>,
        config_option: &str,
        cx: &mut Context,
    ) -> Exit {
        if cx.output.format == Format::Json {
            cx.output.print_json(&self.document);
            return self.exit;
        }
        let entries = history.map_or(&[][..], history::History::entries);
        let open = self.document.pull_requests.iter().flatten();
        let mut revisions: BTreeSet<&str> = open.map(|row| row.revision.as_str()).collect();
        for entry in entries {
            revisions.extend(entry.revision.as_ref().map(Revision::as_str));
        }
        let view = View {
            now: (cx.services.environment.clock)(),
            zone: &(cx.services.environment.zone)(),
            revisions: &revisions,
            verbose: cx.output.volume >= Volume::Verbose,
            palette: cx.output.palette(),
            config_option,
            words: self.words,
        };
        cx.output.print_text(&status::screen(&self.document, view));
        self.exit
    }
}

fn set_row(entry: &HistoryEntry) -> SetRow {
    SetRow {
        revision: entry.revision.as_ref().map(ToString::to_string),
        kind: entry.kind.as_str(),
        commit: entry.commit,
        date: entry.date.clone(),
        subject: entry.subject.clone(),
        images: entry.images.clone(),
    }
}

fn hold_row(hold: &HeldSet<'_>) -> HoldRow {
    HoldRow {
        revision: hold.revision.map(ToString::to_string),
        commit: hold.hold.commit,
        date: hold.hold.date.clone(),
        images: hold.images.clone(),
    }
}
