//! `repin builds`: lists the builds in the registry, newest first, with their states.

use std::{fmt::Write as _, num::NonZero};

use clap::Args;

use crate::{
    app::{
        cli::{
            args::whole_number,
            context::Context,
            format::{Format, Volume},
            output::Exit,
        },
        report::{
            builds::{omission, table},
            json::{BuildRow, BuildsDocument},
            prune::PruneWarning,
        },
        workflow::{
            SiteHistory,
            builds::{Build, BuildList, NextBuild, open_pull_requests},
            protection::SetProtection,
            site,
            stages::Stages,
        },
    },
    base::error::{Error, Errors},
    config::Config,
    core::{
        builds::{BuildImage, MAX_READ, ReadBuild, State},
        outside::TrackedTree,
        pins,
    },
    git::FETCH_HISTORY,
};

const HELP: &str = "\
Builds are the revisions of the tags that have the form of `revision.tag`. A build that is listed as available was not \
verified: promote runs every check. Open pull requests are read from the forge if a forge and a token are configured. At \
most 500 revisions are read; the last line counts the others.

Examples:
  repin builds --limit 10
  repin builds --protected                 # the builds that prune keeps, with the evidence
  repin builds --format json | jq -r '.builds[] | select(.state == \"available\") | .revision'
  repin promote --revision newest          # the first build that is available or proposed";

/// List the builds in the registry, newest first
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// List at most N builds
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<NonZero<usize>>)]
    limit: Option<NonZero<usize>>,
    /// Show whether `prune` keeps each build, and the evidence. Reads every branch and tag, like prune
    #[arg(long)]
    protected: bool,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let mut config = cx.load()?;
    cx.services.limit_registries();
    let protection = args.protected;
    let protection = protection.then(|| SetProtection::read(&config, &cx.services));
    let protection = protection.transpose()?;
    let history = SiteHistory::for_work_tree(&config, &cx.services);
    config.former.extend(history.former_sets());
    let found = pins::find(TrackedTree::open(&config).files(), &config)?;
    site::check_places(&config, &found)?;
    let pulls = open_pull_requests(&config, history.git(), &cx.services)?;
    // Like `status`, without the forge: by the dates of commits.
    let stages = Stages::open(&config, &history, false, &cx.services)?;
    let mut list = BuildList::open(&config, &found, &history, &pulls, &cx.services)?;

    let limit = args.limit.map_or(MAX_READ, NonZero::get);
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    while rows.len() < limit
        && let Some(listed) = list.next(limit - rows.len())?
    {
        if let NextBuild::Build(listed) = listed {
            errors.extend(listed.facts.errors().cloned());
            rows.push(row(
                *listed,
                &stages,
                &config,
                protection.as_ref(),
                &mut errors,
                cx,
            ));
        }
    }
    let (left_out, selection) = list.left_out();
    if history
        .known()
        .is_ok_and(|history| history.is_some_and(|history| history.shallow))
    {
        cx.output.warn(&format!(
            "this clone is shallow, so held builds may look available; {FETCH_HISTORY}"
        ));
    }
    if cx.output.format == Format::Json {
        cx.output.print_json(&BuildsDocument {
            schema: "repin.builds/1",
            set_path: config.set_path.clone(),
            builds: rows,
            left_out,
            warnings: protection
                .iter()
                .flat_map(SetProtection::warnings)
                .map(PruneWarning::new)
                .collect(),
        });
    } else if rows.is_empty() {
        let form = config.revision.tag.as_str();
        cx.output
            .note(&format!("no tag has the form of `revision.tag`: {form}"));
    } else {
        let in_full = cx.output.volume >= Volume::Verbose;
        let zone = (cx.services.environment.zone)();
        cx.output
            .print(table(&rows, in_full, cx.output.columns, &zone));
        if let Some(line) = omission(left_out, selection.phrase()) {
            cx.output.print_text(&(line + "\n"));
        }
    }
    errors.extend(list.source_error().into_iter().flatten());
    if errors.is_empty() {
        return Ok(Exit::Done);
    }
    Ok(cx.output.report_errors_separately(&errors.into()))
}

/// The row of a build. An available or proposed one shows the stages that it has not passed; a stage that cannot be
/// read is an error.
fn row(
    build: Build,
    stages: &Stages<'_>,
    config: &Config,
    protection: Option<&SetProtection>,
    errors: &mut Vec<Error>,
    cx: &Context,
) -> BuildRow {
    let mut row = BuildRow::new(&build.facts, build.state, build.detail, config);
    if let Some(protection) = protection {
        add_protection(&mut row, &build.facts, protection);
    }
    if !matches!(build.state, State::Available | State::Proposed) {
        return row;
    }
    let revision = build.facts.revision.as_ref();
    let waiting = stages.waiting_of(revision, &build.facts.digests(config), &cx.services);
    row.waiting = waiting.rows;
    let mut reasons = waiting.reasons;
    reasons.extend(waiting.unknown.iter().map(Error::text));
    if build.state == State::Available && !reasons.is_empty() {
        row.state = State::Waiting.as_str();
        row.detail = reasons.join("; ");
    } else if !reasons.is_empty() {
        let _ = write!(row.detail, "; {}", reasons.join("; "));
    }
    for error in waiting.unknown {
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    row
}

/// Adds the evidence that keeps each image that was read.
fn add_protection(row: &mut BuildRow, build: &ReadBuild, protection: &SetProtection) {
    let images = row.images.iter_mut().zip(&build.images);
    for (index, (row, image)) in images.enumerate() {
        if let BuildImage::Read(tag, read) = image {
            let reason = protection.reason(index, read.digest, tag);
            row.set_protection(reason.as_ref());
        }
    }
}
