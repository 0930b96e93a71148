//! `repin status`: one screen that shows what is deployed, since when, by whom, and whether anything
//! is off. Judges nothing: what is off is shown, and only what could not be read changes the exit
//! code.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    apply,
    checks::{self, Check, Status},
    cli::{
        context::Context,
        exit::Exit,
        format::{Format, Volume},
    },
    code::Code,
    config::Config,
    error::Errors,
    history::{self, Digests, HeldSet, HistoryEntry},
    oci::Revision,
    outside::{Scope, TrackedTree},
    pins::{self, Found},
    pull_request::of_set::PullRequestOfSet,
    report::{
        json::{
            BranchRow, HoldRow, MergedRow, NotRead, OpenRow, SetRow, StatusDocument, UnreadableRow,
            WorkTreeRow,
        },
        status::{self, View},
    },
    workflow::{Access, ForgeOverview, SiteHistory, forge_overview, pin_rules},
};

pub(in crate::cli) fn run(cx: &mut Context) -> Result<Exit, Errors> {
    cx.services.shorten_waits();
    let config = cx.load()?;
    let tree = TrackedTree::open(&config);
    let found = pins::find(tree.files(), &config)?;
    pin_rules::check_places(&config, &found)?;
    let outside = tree.search(&config, &found, Scope::Counted);
    let mut checks = checks::unmatched_globs(&config, &found);
    checks.extend(checks::tree_checks(&config, &found, &outside));
    let gathered = SiteHistory::of_work_tree(&config, &cx.services);
    let mut read = Reading::of_tree(&config, &found, &checks);
    let history = match gathered.promoted_or_local() {
        Ok(history) => Some(history),
        Err(error) => {
            read.failed("history", &Errors::from(error));
            None
        }
    };
    if let Some(history) = history {
        read.history(history, &config, &found);
    }
    read.journal(&config);
    let current = history.and_then(current);
    read.forge(&config, &gathered, current, cx);
    Ok(read.show(history, cx))
}

/// What was read so far, and how the run ends because of what could not be.
struct Reading {
    document: StatusDocument,
    exit: Exit,
}

impl Reading {
    fn of_tree(config: &Config, found: &Found, checks: &[Check]) -> Self {
        let of = |codes: &[Code]| {
            let off = checks.iter().filter(|check| check.status != Status::Pass);
            off.filter(|check| codes.contains(&check.code))
                .cloned()
                .collect::<Vec<_>>()
        };
        let (outside, unpinned) = (
            of(&[Code::PIN_OUTSIDE, Code::DIGEST_OUTSIDE]),
            of(&[Code::IMAGE_UNPINNED]),
        );
        let listed = |check: &Check| outside.contains(check) || unpinned.contains(check);
        let off = |check: &&Check| check.status != Status::Pass && !listed(check);
        let pins = checks.iter().filter(off).cloned().collect();
        let images = config.images.iter().enumerate();
        let work_tree = images.map(|(at, image)| WorkTreeRow {
            image: image.name.clone(),
            repository: image.repository.to_string(),
            digests: found
                .digests_of(at)
                .iter()
                .map(ToString::to_string)
                .collect(),
            pins: found.pins_of(at).count(),
            expected: image.pins,
            current: None,
        });
        let document = StatusDocument {
            schema: "repin.status/1",
            name: config.name.clone(),
            set: None,
            author: None,
            pull_request: None,
            branch: None,
            work_tree: work_tree.collect(),
            holds: Vec::new(),
            pull_requests: None,
            pins,
            outside,
            unpinned,
            interrupted: false,
            recovery: None,
            running: None,
            unreadable: Vec::new(),
            not_read: Vec::new(),
        };
        Self {
            document,
            exit: Exit::Done,
        }
    }

    /// Records that something was not read, for a reason that is not an error.
    fn without(&mut self, what: &'static str, reason: impl Into<String>, hint: Option<&str>) {
        self.document.not_read.push(NotRead {
            what,
            reason: reason.into(),
            hint: hint.map(ToOwned::to_owned),
        });
    }

    /// Records that something could not be read.
    fn failed(&mut self, what: &'static str, errors: &Errors) {
        self.exit = self.exit.worse(Exit::from(errors));
        for error in errors.by_cause() {
            self.without(what, error.text(), Some(&error.remedy()));
        }
    }

    fn history(&mut self, history: &history::History, config: &Config, found: &Found) {
        let document = &mut self.document;
        document.branch = Some(BranchRow {
            name: history.branch.name.clone(),
            commit: history.branch.tip.to_string(),
            head: None,
        });
        document.holds = history.holds().iter().map(hold_row).collect();
        let listed = history.all_entries();
        let since = listed.iter().take_while(|entry| !entry.current);
        let unreadable = since.filter_map(|entry| {
            Some(UnreadableRow {
                commit: entry.commit.to_string(),
                date: entry.date.clone(),
                reason: entry.unreadable.clone()?,
            })
        });
        document.unreadable = unreadable.collect();
        if let Some(entry) = current(history) {
            document.set = Some(set_row(entry));
            document.author = Some(entry.author.clone()).filter(|name| !name.is_empty());
            document.pull_request = entry
                .pull_request
                .map(|number| MergedRow { number, url: None });
            let images = config.images.iter().enumerate();
            for (row, (at, image)) in document.work_tree.iter_mut().zip(images) {
                let here = found.digests_of(at);
                let deployed = entry.images.get(&image.name);
                // Pins that disagree in both are not compared.
                let comparable = image.pins > 0 && (deployed.is_some() || here.len() < 2);
                row.current = comparable.then(|| here.iter().eq(deployed));
            }
        }
        if history.shallow {
            let reason = "this clone is shallow: older sets, and holds on them, may be missing";
            self.without(
                "older_sets",
                reason,
                Some("fetch them: git fetch --unshallow"),
            );
        }
    }

    /// An interrupted run, or one that is at work.
    fn journal(&mut self, config: &Config) {
        let document = &mut self.document;
        match apply::find_running(&config.root) {
            // Its journal is that of a run that goes on.
            Ok(Some(error)) => document.running = Some(error.to_string()),
            Ok(None) => match apply::preview_recovery(&config.root) {
                Ok(None) => {}
                Ok(Some(recovery)) => {
                    document.interrupted = true;
                    document.recovery = Some(recovery.state.as_str());
                }
                Err(error) => {
                    document.interrupted = matches!(error, apply::Error::Damaged { .. });
                    self.failed("journal", &Errors::from(error));
                }
            },
            Err(error) => self.failed("journal", &Errors::from(error)),
        }
    }

    fn forge(
        &mut self,
        config: &Config,
        gathered: &SiteHistory,
        current: Option<&HistoryEntry>,
        cx: &Context,
    ) {
        const WHAT: &str = "pull_requests";
        if config.forge.is_none() {
            return self.without(WHAT, "the configuration has no `forge` block", None);
        }
        match forge_overview(config, gathered.git(), current, &cx.services) {
            Ok(Access::NoToken(reason)) => {
                let hint = "set REPIN_FORGE_TOKEN to a token that may read pull requests";
                self.without(WHAT, reason, Some(hint));
            }
            Ok(Access::Granted(seen)) => self.seen(seen),
            Err(errors) => self.failed(WHAT, &errors),
        }
    }

    fn seen(&mut self, seen: ForgeOverview) {
        let document = &mut self.document;
        document.pull_requests = Some(seen.open.iter().map(open_row).collect());
        if let Some(branch) = &mut document.branch
            && branch.name.split_once('/').map(|(_, name)| name) == Some(seen.base.as_str())
        {
            branch.head = seen.head;
        }
        match seen.merged {
            // What the commit's subject names is no pull request that the forge merged as it.
            Ok(pull) => {
                document.pull_request = pull.map(|pull| MergedRow {
                    number: pull.number,
                    url: Some(pull.url),
                });
            }
            Err(error) => self.failed("pull_request", &Errors::from(error)),
        }
    }

    fn show(self, history: Option<&history::History>, cx: &mut Context) -> Exit {
        if cx.output.format == Format::Json {
            cx.output.json(&self.document);
            return self.exit;
        }
        let known = history.map_or(&[][..], history::History::entries);
        let known = known.iter().filter_map(|entry| entry.revision.as_ref());
        let mut revisions: BTreeSet<&str> = known.map(Revision::as_str).collect();
        let open = self.document.pull_requests.iter().flatten();
        revisions.extend(open.map(|row| row.revision.as_str()));
        let view = View {
            now: (cx.services.environment.clock)(),
            revisions: &revisions,
            verbose: cx.output.volume >= Volume::Verbose,
        };
        cx.output.print(status::screen(&self.document, view));
        self.exit
    }
}

/// The entry of the current set.
fn current(history: &history::History) -> Option<&HistoryEntry> {
    history.entries().first().filter(|entry| entry.current)
}

fn set_row(entry: &HistoryEntry) -> SetRow {
    SetRow {
        revision: entry.revision.as_ref().map(ToString::to_string),
        kind: entry.kind.as_str(),
        commit: entry.commit.to_string(),
        date: entry.date.clone(),
        subject: entry.subject.clone(),
        images: images(&entry.images),
    }
}

fn images(digests: &Digests) -> BTreeMap<String, String> {
    let named = digests.iter();
    named
        .map(|(name, digest)| (name.clone(), digest.to_string()))
        .collect()
}

fn hold_row(hold: &HeldSet<'_>) -> HoldRow {
    HoldRow {
        revision: hold.revision.map(ToString::to_string),
        commit: hold.rollback.commit.to_string(),
        date: hold.rollback.date.clone(),
        images: hold
            .undone
            .map(|undone| images(&undone.images))
            .unwrap_or_default(),
    }
}

fn open_row(found: &PullRequestOfSet) -> OpenRow {
    OpenRow {
        number: found.pull.number,
        url: found.pull.url.clone(),
        kind: found.operation.as_str(),
        revision: found.revision.to_string(),
        title: found.pull.title.clone(),
        draft: found.pull.draft == crate::forge::State::Draft,
    }
}
