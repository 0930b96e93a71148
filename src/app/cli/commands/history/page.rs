//! The HTML page of `repin history --html`, and the file that it is written to.

use std::{collections::HashMap, num::NonZero, path::Path};

use reqwest::Url;

use super::Arguments;
use crate::{
    app::{
        cli::{context::Context, format::Format},
        report::history_page,
        workflow::{
            SiteHistory,
            changes::{ComparedSet, Comparison, compare, contents::set_diffs},
            connection,
            output_file::OutputFile,
            site::set_files,
        },
    },
    base::{
        error::{Error, Errors, usage},
        untrusted::plain,
    },
    config::{ChangeParts, Config},
    core::{
        changes::Changes,
        history::{self, HistoryEntry, Kind},
    },
    forge::Target,
    git::{Git, ObjectId},
};

/// The destination of the sets.
pub(super) enum Destination {
    /// The list or the document on standard output.
    List,
    /// The page on standard output.
    Stdout,
    /// The page in a file.
    File(OutputFile),
}

impl Destination {
    pub(super) fn new(
        html: Option<&Path>,
        config: Option<&Config>,
        cx: &Context,
    ) -> Result<Self, Errors> {
        let Some(file) = html else {
            return Ok(Self::List);
        };
        let file = OutputFile::new(file, cx.services.environment.directory(), config)?;
        if file.is_stdout() {
            if cx.output.format == Format::Json {
                return Err(usage(
                    "standard output cannot contain a page in addition to --format json: name a file instead of `-`",
                ));
            }
            return Ok(Self::Stdout);
        }
        Ok(Self::File(file))
    }

    pub(super) fn write(&self, page: &str, cx: &mut Context) -> Result<(), Errors> {
        match self {
            Self::List => {}
            Self::Stdout if cx.output.format == Format::Github => cx.output.print_unparsed(page)?,
            Self::Stdout => cx.output.print(page),
            Self::File(file) => {
                let name = plain(&file.typed().display().to_string());
                let step = cx
                    .services
                    .interruption
                    .step(format!("{name} may have been written"));
                file.write(page.as_bytes())?;
                step.done(format!("{name} was written"));
            }
        }
        Ok(())
    }

    /// Reports a written file.
    pub(super) fn note(&self, cx: &mut Context) {
        if let Self::File(file) = self {
            let name = plain(&file.typed().display().to_string());
            cx.output.note(&format!("wrote {name}"));
        }
    }
}

pub(super) fn page(
    args: &Arguments,
    config: &Config,
    site_history: &SiteHistory,
    cx: &Context,
) -> Result<String, Errors> {
    let history = site_history
        .promoted()
        .map_err(|error| Errors::from(&error))?;
    let mut listed = history.all_entries();
    let total = listed.len();
    listed.truncate(args.limit.map_or(usize::MAX, NonZero::get));
    let git = site_history.git();
    let changes = if args.changes {
        Some(changes_of(&listed, history, config, git, cx)?)
    } else {
        None
    };
    let diffs = match git {
        Some(git) => set_diffs(git, history, &listed)
            .map_err(|error| Errors::from(Error::from(git.explain(error))))?,
        None => HashMap::new(),
    };
    let files = match git {
        Some(git) => set_files(git, history, &listed, config)
            .map_err(|error| Errors::from(Error::from(git.explain(error))))?,
        None => HashMap::new(),
    };
    let forge = config.forge.as_ref();
    let target = forge.and_then(|forge| connection::target(forge, git).ok());
    let target = target.as_ref();
    let pull_requests = target.and_then(Target::pull_request_pages);
    let commits = target.and_then(Target::commit_pages);
    let facts = history_page::Facts {
        config,
        history,
        listed: &listed,
        total,
        diffs: &diffs,
        files: &files,
        changes: changes.as_ref(),
        pull_requests: pull_requests.as_ref().map(Url::as_str),
        commits: commits.as_ref().map(Url::as_str),
    };
    history_page::html(facts).map_err(|error| page_error(&error))
}

/// The changes of each set since the one before it.
fn changes_of(
    listed: &[HistoryEntry],
    history: &history::History,
    config: &Config,
    git: Option<&Git>,
    cx: &Context,
) -> Result<HashMap<ObjectId, Changes>, Errors> {
    let mut changes = HashMap::new();
    for pair in history.entries().windows(2) {
        let [entry, previous] = pair else { continue };
        if !listed.iter().any(|listed| listed.commit == entry.commit) {
            continue;
        }
        let comparison = Comparison {
            from: ComparedSet::recorded(config, previous, history),
            to: ComparedSet::recorded(config, entry, history),
            images: &[],
            parts: ChangeParts::Images,
            is_rollback: entry.kind == Kind::Rollback,
            proven_sources: Vec::new(),
            git,
            trust: None,
            contents: Vec::new(),
            only_read_contents: false,
        };
        changes.insert(entry.commit, compare(comparison, config, &cx.services)?);
    }
    Ok(changes)
}

pub(super) fn page_error(error: &minijinja::Error) -> Errors {
    Errors::io(format!("cannot make the page: {error}"))
}
