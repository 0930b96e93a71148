//! `repin fleet list`: lists the repositories of an organization, or the results of a search.

use clap::{ArgGroup, Args};

use crate::{
    app::{
        cli::{context::Context, format::Format, output::Exit},
        report::json::TextDocument,
        workflow::fleet_reader,
    },
    base::{
        error::{Error, Errors},
        text::{counted, few},
        untrusted::plain,
    },
    forge::fleet::ListQuery,
    git::Git,
};

const HELP: &str = "\
Prints one owner/name per line, sorted. Archived repositories are omitted, with a note. Requests are sent to the configured \
forge (forge.kind and forge.url), with its token.

Examples:
  repin fleet list --org acme --has repin.yaml > list.txt
  repin fleet list --org acme --topic deployed
  repin fleet list --group acme/deploy > list.txt
  repin fleet list --search 'org:acme language:go'";

/// List the repositories of an organization, or the results of a search
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[command(group(ArgGroup::new("which").required(true).args(["org", "search"])))]
pub(super) struct Arguments {
    /// All repositories of this organization or user; on GitLab, the projects of this group and of the groups in it
    #[arg(long, visible_alias = "group", value_name = "ORG")]
    org: Option<String>,
    /// Only repositories with this topic
    #[arg(long, value_name = "TOPIC", conflicts_with = "search")]
    topic: Option<String>,
    /// Only repositories whose default branch contains a file at this path
    #[arg(long, value_name = "PATH", conflicts_with = "search")]
    has: Option<String>,
    /// Repositories that the forge's search finds
    #[arg(long, value_name = "QUERY")]
    search: Option<String>,
}

/// The number of archived repositories that are listed.
const LISTED: usize = 5;

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
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
        .wait(reader.list(&query), "listing repositories")?;
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
