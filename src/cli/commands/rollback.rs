//! `repin rollback`: move every pin back to a set that was in production before.
//!
//! As a promote, but the set has to be in git history, and every tag has to name what was pinned
//! then. Without `--to` it shows what one can go back to.

use std::io::BufRead;

use super::{
    history::{Shown, table},
    past::History,
    set::{self, Contracts, Place, Reports, Run, Stop, Then, Trial},
};
use crate::{
    checks::{Counted, Direction, Expected, Target},
    cli::{args, context::Context, exit::Exit, output::Format},
    config::{Config, Image},
    error::{Class, Error, Errors},
    git::Git,
    history::{Entry, Promoted},
    oci::{Revision, Tag},
    pins,
    plan::Plan,
};

/// What was asked for, checked.
struct Request {
    revision: Revision,
    tag: Tag,
}

pub(in crate::cli) fn run(args: &args::Rollback, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    let to = match &args.to {
        Some(to) => to.clone(),
        None => choose(&config, cx)?,
    };
    set::revision(&config, &to)?;
    set::at_place(config, intent, &args.change, cx, |place, last, cx| {
        attempt(args, &to, place, last, cx)
    })
}

fn attempt(
    args: &args::Rollback,
    to: &str,
    place: &Place,
    last: bool,
    cx: &mut Context,
) -> Result<Option<Exit>, Errors> {
    let config = &place.config;
    let (revision, tag) = set::revision(config, to)?;
    let request = Request { revision, tag };
    let contracts = Contracts::read(config, place.files(), &cx.output.folder);
    let reports = Reports::new(&args.change, place, cx)?;
    let mut run = Run::new("rollback", config, &config.rollback, &request.revision);
    let outcome = steps(
        &request,
        &contracts,
        &args.change,
        &reports,
        &mut run,
        place,
        cx,
    );
    Ok(run.finish(outcome, &reports, last, cx))
}

fn steps(
    request: &Request,
    contracts: &Contracts,
    change: &args::Change,
    reports: &Reports,
    run: &mut Run<'_>,
    place: &Place,
    cx: &Context,
) -> Result<(), Stop> {
    let config = run.config;
    place.configured()?;
    let trial = Trial::prepare(config, change, cx)?;
    let mut session = set::begin(config, place.intent, "rollback", &cx.output)?;
    let (found, further) = place.look(Direction::Back)?;
    run.counted(&found);
    let chain = Counted::new(config, &request.revision, &found, further)?;

    let gathered = History::at(place, cx);
    let history = match gathered.known() {
        Ok(history) => history,
        Err(outage) => return Err(chain.stop(outage).into()),
    };
    run.goes_back_to(gathered.revision_now(&found));
    let chain = chain.proven(&history.provenance(&request.revision))?;

    let targets = targets(request, config, &found, chain.promoted());
    let resolutions = set::resolve(config, targets, cx)?;
    run.resolved(&resolutions);
    let chain = chain.resolved(&resolutions, |digests| history.provenance_of(digests))?;
    let then = match Then::read(&gathered, config, chain.promoted()) {
        Ok(then) => then,
        Err(outage) => return Err(chain.stop(outage).into()),
    };
    let chain = set::inspected(chain, config, &contracts.standards_then(config, &then), cx)?;
    let approved = trial.run(chain, config, cx)?;

    let digests = crate::checks::pinned_digests(config, &approved);
    run.undoes(history.since(&digests).unwrap_or_default());
    run.labelled_before(set::labels_now(config, &found, cx)?);
    let plan = Plan::new(&approved, config, place.files(), &found)?;
    run.planned(&approved, plan, reports)?;
    reports.write(run)?;
    run.carry_out(place, session.as_mut(), cx)
}

/// What each image's tag is asked for: the digest that was pinned then.
fn targets(
    request: &Request,
    config: &Config,
    found: &pins::Found,
    promoted: Option<&Promoted>,
) -> Vec<Target> {
    let target = |(at, image): (usize, &Image)| {
        let then = promoted.filter(|_| image.pins > 0);
        let then = then.and_then(|promoted| Some((promoted, *promoted.images.get(&image.name)?)));
        let expected =
            then.map(|(promoted, digest)| Expected::PinnedBy(promoted.commit.short(), digest));
        Target {
            tag: request.tag.clone(),
            expected,
            pinned: found.digests_of(at),
        }
    };
    config.images.iter().enumerate().map(target).collect()
}

/// Offers the sets that one can go back to; only a person at a terminal can choose.
fn choose(config: &Config, cx: &mut Context) -> Result<String, Errors> {
    let gathered = History::read(config, cx);
    let history = gathered.known().map_err(|error| Errors::from(&error))?;
    let sets: Vec<&Entry> = history
        .entries
        .iter()
        .filter(|entry| entry.can_roll_back)
        .collect();
    if sets.is_empty() && gathered.git().is_some_and(Git::is_shallow) {
        let problem = Error::new(
            Class::Unavailable,
            "unavailable",
            "this clone is shallow, so which sets one can go back to can't be told",
        );
        let problem = problem.help(
            "fetch the rest: git fetch --unshallow (in CI: fetch-depth: 0 for actions/checkout)",
        );
        return Err(Errors::from(problem));
    }
    if sets.is_empty() {
        let message = "`--to` is missing, and history has no set that one could go back to";
        return Err(Errors::from(
            Error::input("usage", message).help("see `repin history`"),
        ));
    }
    let missing = || {
        Error::input(
            "usage",
            "`--to` is missing: name one of these sets by its revision",
        )
    };
    if cx.output.format != Format::Human {
        let mut error = missing();
        error.notes = sets
            .iter()
            .filter_map(|entry| entry.revision.as_ref())
            .map(ToString::to_string)
            .collect();
        return Err(error.into());
    }
    cx.output.print(table(&sets, Shown::Numbered));
    if !cx.environment.can_ask() {
        return Err(missing().into());
    }
    cx.output
        .ask(&format!("go back to which set? [1-{}] ", sets.len()));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let chosen = read
        .ok()
        .and_then(|_| line.trim().parse::<usize>().ok())
        .and_then(|number| number.checked_sub(1));
    let revision = chosen.and_then(|at| sets.get(at)?.revision.as_ref());
    revision
        .map(ToString::to_string)
        .ok_or_else(|| missing().into())
}
