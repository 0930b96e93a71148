//! `repin check`: counts exact, digests well-formed, all pins of an image alike; with `--remote`
//! also whether the pinned set is what it claims to be.

use futures_util::future;

use super::{globs, past::History, set};
use crate::{
    checks::{self, Check, Direction, Pinned, Status, Tagged},
    cli::{context::Context, exit::Exit, output::Format},
    config::Config,
    error::{Class, Error, Errors},
    oci::Revision,
    outside::{self, Scope},
    pins::Found,
    registry::{Want, resolve},
    report::{annotations, json::CheckDocument},
};

pub(in crate::cli) fn run(remote: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    super::recover::mention(&config, &cx.output);
    let (found, outside) = outside::look(&config, Scope::Counted, true)?;
    globs::all_match(&config, &found)?;
    let mut verdict = checks::counts(&config, &found);
    verdict.extend(checks::agreement(&config, &found, Status::Fail));
    let outside_of_pins = checks::outside(&config, &found, &outside, Direction::Forward);
    verdict.extend(outside_of_pins);
    verdict.extend(checks::loose(&config, &outside, &found));
    let mut outages = Vec::new();
    // What does not hold in the tree itself is not asked about elsewhere.
    if remote && !checks::any_failed(&verdict) {
        let (further, unjudged) = ask(&config, &found, cx)?;
        verdict.extend(further);
        outages = unjudged;
    }
    Ok(report(&config, &found, verdict, outages, cx))
}

/// The checks that need a source and history, and what could not be judged.
fn ask(config: &Config, found: &Found, cx: &Context) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let sources = set::sources_of(config, cx)?;
    let one = |at: usize| found.digests_of(at).first().map(|digest| (at, *digest));
    let wanted: Vec<_> = (0..config.images.len()).filter_map(one).collect();
    let asked = wanted.iter().map(|(at, digest)| {
        let source = &sources[*at];
        async move {
            let found = resolve::resolve(source, &Want::Digest(*digest)).await;
            Pinned {
                image: *at,
                digest: *digest,
                found,
            }
        }
    });
    let pinned = set::wait(future::join_all(asked), "reading what is pinned", cx)?;
    let (mut verdict, mut outages, revision) = checks::claims(config, &pinned, found);
    let Some(revision) = revision.filter(|_| outages.is_empty()) else {
        return Ok((verdict, outages));
    };
    let Ok(tag) = config.revision.tag.tag(&revision) else {
        return Ok((verdict, outages));
    };
    let want = Want::Tag(tag.clone());
    let tags = pinned.iter().map(|pinned| {
        let (source, want) = (&sources[pinned.image], &want);
        async move {
            source
                .manifest(want, None)
                .await
                .map(|found| found.map(|found| found.digest))
        }
    });
    let named: Vec<Tagged> = set::wait(future::join_all(tags), "resolving tags", cx)?;
    for (pinned, named) in pinned.iter().zip(&named) {
        let (check, outage) = pinned.tagged(&config.images[pinned.image], &tag, named, found);
        verdict.push(check);
        outages.extend(outage);
    }
    verdict.push(provenance(config, &revision, cx));
    Ok((verdict, outages))
}

fn provenance(config: &Config, revision: &Revision, cx: &Context) -> Check {
    let history = History::read(config, cx);
    let known = history
        .known()
        .map(|history| history.provenance(revision))
        .map_err(|error| error.to_string());
    checks::provenance_warns(revision, &known)
}

fn report(
    config: &Config,
    found: &Found,
    verdict: Vec<Check>,
    outages: Vec<Error>,
    cx: &mut Context,
) -> Exit {
    let failed = if checks::any_failed(&verdict) {
        Exit::Because(Class::Failed)
    } else {
        Exit::Done
    };
    let errors = (!outages.is_empty()).then(|| Errors::from(outages));
    let exit = failed.worse(errors.as_ref().map_or(Exit::Done, Exit::from));
    if cx.output.format == Format::Json {
        cx.output.json(&CheckDocument {
            clean: exit == Exit::Done,
            ..CheckDocument::new(verdict)
        });
        return exit;
    }
    if cx.output.format == Format::Github {
        let annotations = annotations::checks(&verdict, &cx.output.folder);
        cx.output.annotate(&annotations);
    }
    set::print_checks(&verdict, config, &mut cx.output);
    if let Some(errors) = &errors {
        cx.output.fault(errors);
    }
    if exit == Exit::Done {
        cx.output.print(format!(
            "clean: {} pins in {} files\n",
            found.pins.len(),
            found.files
        ));
    }
    exit
}
