//! `repin fleet list`: lists the repositories of an organization, or the results of a search.

use crate::{
    cli::{args, context::Context, exit::Exit, format::Format},
    error::{Error, Errors},
    forge::fleet::ListQuery,
    git::Git,
    report::json::TextDocument,
    text::{counted, few},
    untrusted::plain,
    workflow::fleet_reader,
};

/// The number of archived repositories that are listed.
const LISTED: usize = 5;

pub(super) fn run(args: &args::FleetList, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load_any()?;
    let git = Git::discover(&config.root).map_err(Error::from)?;
    let configured = config.forge_or_default();
    let reader = fleet_reader(&configured, git.as_ref(), None, &cx.services)?.granted()?;
    let query = match (&args.org, &args.search) {
        (Some(owner), _) => ListQuery::Owner {
            owner: owner.clone(),
            topic: args.topic.clone(),
            has: args.has.clone(),
        },
        (None, search) => ListQuery::Search(search.clone().unwrap_or_default()),
    };
    let list = cx
        .services
        .wait(reader.list(&query), "listing repositories")??;
    let lines: String = list
        .repositories
        .iter()
        .map(|name| plain(name) + "\n")
        .collect();
    if cx.output.format == Format::Json {
        cx.output.print_json(&TextDocument {
            schema: "repin.text/1",
            name: "fleet list",
            content: lines,
        });
    } else {
        cx.output.print(lines);
    }
    if !list.archived.is_empty() {
        let names = list.archived.iter().map(|name| plain(name));
        cx.output.note(&format!(
            "note: {} left out: {}",
            counted(list.archived.len(), "archived repository"),
            few(names, LISTED)
        ));
    }
    cx.output
        .note(&counted(list.repositories.len(), "repository"));
    Ok(Exit::Done)
}
