//! `repin builds`: lists the builds in the registry, newest first, with their states.

use std::num::NonZero;

use crate::{
    builds::MAX_READ,
    cli::{
        args,
        context::Context,
        exit::Exit,
        format::{Format, Volume},
    },
    error::Errors,
    git::FETCH_HISTORY,
    outside::TrackedTree,
    pins,
    report::{
        builds::{omission, table},
        json::{BuildRow, BuildsDocument},
    },
    workflow::{
        SiteHistory,
        builds::{BuildList, Listed, open_pull_requests},
        pin_rules,
    },
};

pub(in crate::cli) fn run(args: &args::Builds, cx: &mut Context) -> Result<Exit, Errors> {
    let mut config = cx.load()?;
    let history = SiteHistory::of_work_tree(&config, &cx.services);
    config.former.extend(history.former_sets());
    let found = pins::find(TrackedTree::open(&config).files(), &config)?;
    pin_rules::check_places(&config, &found)?;
    let pulls = open_pull_requests(&config, history.git(), &cx.services)?;
    let mut list = BuildList::open(&config, &found, &history, &pulls, &cx.services)?;

    let limit = args.limit.map_or(MAX_READ, NonZero::get);
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    while rows.len() < limit
        && let Some(listed) = list.next(limit - rows.len())?
    {
        if let Listed::Build(listed) = listed {
            errors.extend(listed.facts.errors().cloned());
            rows.push(BuildRow::new(
                &listed.facts,
                listed.state,
                listed.detail,
                &config,
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
        });
    } else if rows.is_empty() {
        let form = config.revision.tag.as_str();
        cx.output
            .note(&format!("no tag has the form of `revision.tag`: {form}"));
    } else {
        let in_full = cx.output.volume >= Volume::Verbose;
        cx.output.print(table(&rows, in_full, cx.output.columns));
        if let Some(line) = omission(left_out, selection.phrase()) {
            cx.output.print(line + "\n");
        }
    }
    errors.extend(list.source_error().into_iter().flatten());
    if errors.is_empty() {
        return Ok(Exit::Done);
    }
    Ok(cx.output.report_errors_separately(&errors.into()))
}
