//! `repin promote`: move every pin of the set to one verified revision.
//!
//! Gathers each stage's facts just before the chain judges them, makes a plan of an approved set,
//! and applies it if it was asked to. Does not know registries or files' bytes: those are behind
//! `facts` and `apply`.

use std::collections::BTreeMap;

use super::{
    past::History,
    set::{self, Contracts, Place, Reports, Run, Stop, Trial},
};
use crate::{
    checks::{Counted, Direction, Expected, Overruled, Target},
    cli::{
        args,
        context::{Context, configured},
        exit::{Exit, usage},
    },
    config::{Config, Image},
    error::Errors,
    oci::{Digest, Revision, Tag},
    pins,
    plan::Plan,
};

/// What was asked for, checked.
struct Request {
    revision: Revision,
    tag: Tag,
    digests: BTreeMap<String, Digest>,
    overruled: Overruled,
}

pub(in crate::cli) fn run(args: &args::Promote, cx: &mut Context) -> Result<Exit, Errors> {
    let intent = cx.intent(&args.change)?;
    let config = cx.load()?;
    // A mistake in an argument costs no request.
    Request::new(args, &config)?;
    set::at_place(config, intent, &args.change, cx, |place, last, cx| {
        attempt(args, place, last, cx)
    })
}

fn attempt(
    args: &args::Promote,
    place: &Place,
    last: bool,
    cx: &mut Context,
) -> Result<Option<Exit>, Errors> {
    let config = &place.config;
    let request = Request::new(args, config)?;
    let contracts = Contracts::read(config, place.files(), &cx.output.folder);
    contracts.well_formed(config)?;
    let reports = Reports::new(&args.change, place, cx)?;
    let mut run = Run::new("promote", config, &config.promote, &request.revision);
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
    let mut session = set::begin(config, place.intent, "promote", &cx.output)?;
    let (found, mut further) = place.look(Direction::Forward)?;
    run.counted(&found);
    further.extend(contracts.failures(config));
    let chain = Counted::new(config, &request.revision, &found, further)?;

    let history = History::at(place, cx);
    let past = match history.past(&request.revision, &found) {
        Ok(past) => past,
        Err(outage) => return Err(chain.stop(outage).into()),
    };
    run.goes_back_to(history.revision_now(&found));
    let chain = chain.ordered(&past, request.overruled)?;

    let resolutions = set::resolve(config, targets(request, config, &found), cx)?;
    run.resolved(&resolutions);
    let chain = chain.resolved(&resolutions, |digests| history.held_set(digests))?;
    let chain = set::inspected(chain, config, &contracts.standards(config), cx)?;
    let approved = trial.run(chain, config, cx)?;

    let plan = Plan::new(&approved, config, place.files(), &found)?;
    run.planned(&approved, plan, reports)?;
    reports.write(run)?;
    run.carry_out(place, session.as_mut(), cx)
}

/// What each image's tag is asked for, in the order of the configuration.
fn targets(request: &Request, config: &Config, found: &pins::Found) -> Vec<Target> {
    let target = |(at, image): (usize, &Image)| {
        let expected = request
            .digests
            .get(&image.name)
            .copied()
            .map(Expected::HandedOver);
        Target {
            tag: request.tag.clone(),
            expected,
            pinned: found.digests_of(at),
        }
    };
    config.images.iter().enumerate().map(target).collect()
}

impl Request {
    fn new(args: &args::Promote, config: &Config) -> Result<Self, Errors> {
        let (revision, tag) = set::revision(config, &args.revision)?;
        let mut digests = BTreeMap::new();
        for text in &args.digest {
            let (name, digest) = text
                .split_once('=')
                .ok_or_else(|| usage(format!("--digest {text}: it takes NAME=DIGEST")))?;
            configured(config, name, "--digest: ")?;
            let digest = Digest::parse_input(digest)
                .map_err(|error| usage(format!("--digest {name}: {error}")))?;
            if digests
                .insert(name.to_owned(), digest)
                .is_some_and(|other| other != digest)
            {
                return Err(usage(format!("--digest: two digests for `{name}`")));
            }
        }
        let overruled = Overruled {
            older: args.allow_older,
            rolled_back: args.force_after_rollback,
        };
        Ok(Self {
            revision,
            tag,
            digests,
            overruled,
        })
    }
}
