//! `repin check`: exact counts, well-formed digests, one digest for each image; with `--remote`,
//! the pinned set must also match its tags, labels and history.

use crate::{
    checks::{self, Check, PinnedImage, TagDigest},
    cli::{context::Context, exit::Exit, format::Format, github::StepFiles, render},
    config::{Config, number},
    error::{Class, Error, Errors},
    files::WorkTree,
    history::{Digests, Provenance},
    oci::{Digest, Revision, TagOrDigest},
    outside::{Scope, TrackedTree},
    pins::{self, Found},
    registry::resolve,
    report::{annotations, json::CheckDocument, sarif::Findings, summary},
    workflow::{
        SiteHistory, base_policy, pin_rules,
        pull_limit::{ManifestPull, check_pull_limit},
        signatures,
        trust::Trust,
        warn_if_interrupted,
    },
};

pub(in crate::cli) fn run(remote: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let mut step = match cx.output.format {
        Format::Github => Some(StepFiles::open(&cx.services.environment)?),
        _ => None,
    };
    warn_if_interrupted(&config, &*cx.services.console);
    let files = WorkTree::new(&config.root);
    let trust = Trust::read(&config, &files)?;
    signatures::check_since(&config)?;
    if let Some(trust) = trust.as_ref().filter(|_| remote) {
        trust.warn_of_old_roots(&cx.services);
    }
    let tree = TrackedTree::open(&config);
    let found = pins::find(tree.files(), &config)?;
    pin_rules::check_globs(&config, &found)?;
    pin_rules::check_places(&config, &found)?;
    let outside = tree.search(&config, &found, Scope::Counted);
    let mut verdict = checks::tree_checks(&config, &found, &outside);
    // A tree that fails by itself is not compared with a registry.
    let asked = if remote && !checks::any_failed(&verdict) {
        ask(&config, trust.as_ref(), &found, cx)?
    } else {
        Asked::default()
    };
    verdict.extend(checks::shared_digests(&config, &pinned(&config, &found)));
    verdict.extend(asked.checks);
    if remote {
        verdict.extend(base_policy::warnings(&config, &files, &cx.services));
    }
    let verdict = Verdict {
        found,
        checks: verdict,
        outages: asked.outages,
        revision: asked.revision,
    };
    let exit = report(&config, &verdict, cx);
    let Some(step) = &mut step else {
        return Ok(exit);
    };
    let text = summary::check(&config, &verdict.found, &verdict.checks, &verdict.outages);
    match step.summary(&text) {
        Ok(()) => Ok(exit),
        Err(errors) => Ok(exit.worse(cx.output.fault(&errors))),
    }
}

/// What a source and history answered.
#[derive(Default)]
struct Asked {
    checks: Vec<Check>,
    /// The errors that left something unjudged.
    outages: Vec<Error>,
    /// The revision that the labels of all images name.
    revision: Option<Revision>,
}

/// The manifests that the checks of the pinned digests request, for each image.
fn pulls(config: &Config, wanted: &[(usize, Digest)]) -> Vec<Vec<ManifestPull>> {
    let mut pulls: Vec<Vec<ManifestPull>> = config.images.iter().map(|_| Vec::new()).collect();
    for (at, digest) in wanted {
        pulls[*at].push(ManifestPull {
            reference: TagOrDigest::Digest(*digest),
            // Once by its digest, and once by the revision's tag.
            requests: 2,
            with_platforms: true,
        });
    }
    pulls
}

/// The pinned images, by their index, with the digest of each.
fn pinned(config: &Config, found: &Found) -> Vec<(usize, Digest)> {
    let one = |at: usize| found.digests_of(at).first().map(|digest| (at, *digest));
    (0..config.images.len()).filter_map(one).collect()
}

/// The checks that need a source and history.
fn ask(
    config: &Config,
    trust: Option<&Trust<'_>>,
    found: &Found,
    cx: &Context,
) -> Result<Asked, Errors> {
    let sources = cx.services.sources_of_images(config)?;
    let wanted = pinned(config, found);
    check_pull_limit(config, &sources, &pulls(config, &wanted), &cx.services)?;
    let asked = wanted.iter().map(|(at, digest)| {
        let source = &sources[*at];
        async move {
            let found = resolve::resolve(source, &TagOrDigest::Digest(*digest)).await;
            PinnedImage {
                image: *at,
                digest: *digest,
                found,
            }
        }
    });
    let images: Vec<_> = wanted
        .iter()
        .map(|(at, _)| config.images[*at].name.as_str())
        .collect();
    let services = &cx.services;
    let pinned = services.wait_for_all("reading the pinned images", &images, asked)?;
    let (mut verdict, mut outages, revision) = checks::pinned_images(config, &pinned, found);
    let known = revision.filter(|_| outages.is_empty());
    let tag = known.and_then(|revision| {
        let tag = config.revision.tag.tag(&revision).ok()?;
        Some((revision, tag))
    });
    let Some((revision, tag)) = tag else {
        return Ok(Asked {
            checks: verdict,
            outages,
            revision: None,
        });
    };
    let want = TagOrDigest::Tag(tag.clone());
    let tags = pinned.iter().map(|pinned| {
        let (source, want) = (&sources[pinned.image], &want);
        async move {
            source
                .manifest(want, None)
                .await
                .map(|found| found.map(|found| found.digest))
        }
    });
    let named: Vec<TagDigest> = services.wait_for_all("resolving tags", &images, tags)?;
    for (pinned, named) in pinned.iter().zip(&named) {
        let (check, outage) = pinned.check_tag(&config.images[pinned.image], &tag, named, found);
        verdict.push(check);
        outages.extend(outage);
    }
    let history = SiteHistory::of_work_tree(config, &cx.services);
    let known = history.promoted().map(|known| known.provenance(&revision));
    let shown = known.as_ref().map_err(ToString::to_string);
    verdict.push(checks::provenance_warns(&revision, &shown.cloned()));
    if let Some(trust) = trust {
        let (further, unjudged) = signed(trust, config, &pinned, &revision, &history, cx)?;
        verdict.extend(further);
        outages.extend(unjudged);
    }
    Ok(Asked {
        checks: verdict,
        outages,
        revision: Some(revision),
    })
}

/// The checks of signatures and attestations of the pinned digests.
fn signed(
    trust: &Trust<'_>,
    config: &Config,
    pinned: &[PinnedImage],
    revision: &Revision,
    history: &SiteHistory,
    cx: &Context,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let digests = pinned.iter();
    let digests = digests.map(|one| (config.images[one.image].name.clone(), one.digest));
    let digests: Digests = digests.collect();
    let provenance = history
        .promoted()
        .map(|known| match known.provenance(revision) {
            Provenance::ByContent => known.provenance_of(&digests),
            found => found,
        });
    let promoted = match &provenance {
        Ok(Provenance::Found(promoted)) => Some(promoted),
        _ => None,
    };
    let enforcement =
        match signatures::signature_enforcement(config, promoted, &digests, history.git()) {
            Ok(enforcement) => enforcement,
            Err(outage) => return Ok((Vec::new(), vec![outage])),
        };
    let facts = |one: &'_ PinnedImage| Some((one.image, one.found.as_ref().ok()?.clone()?));
    let images: Vec<_> = pinned.iter().filter_map(facts).collect();
    signatures::verify_pinned(trust, config, &images, revision, enforcement, &cx.services)
}

/// What was checked, and the errors that left something unjudged.
struct Verdict {
    found: Found,
    checks: Vec<Check>,
    outages: Vec<Error>,
    revision: Option<Revision>,
}

fn report(config: &Config, verdict: &Verdict, cx: &mut Context) -> Exit {
    let (found, checks, outages) = (&verdict.found, &verdict.checks, &verdict.outages);
    let failed = if checks::any_failed(checks) {
        Exit::Because(Class::Failed)
    } else {
        Exit::Done
    };
    let errors = (!outages.is_empty()).then(|| Errors::from(outages.clone()));
    let exit = failed.worse(errors.as_ref().map_or(Exit::Done, Exit::from));
    if cx.output.format == Format::Json {
        cx.output.json(&CheckDocument {
            clean: exit == Exit::Done,
            ..CheckDocument::new(checks.clone())
        });
        return exit;
    }
    if cx.output.format == Format::Sarif {
        let findings = Findings::of_checks(config, checks);
        cx.output.sarif(&findings, errors.as_ref(), exit);
        cx.output.causes(checks, config);
        render::print_skipped(checks, &mut cx.output);
        return exit;
    }
    if cx.output.format == Format::Github {
        let annotations = annotations::checks(checks, config, &cx.output.directory);
        cx.output.annotate(&annotations);
    }
    render::print_checks(checks, config, &mut cx.output);
    render::print_skipped(checks, &mut cx.output);
    if let Some(errors) = &errors {
        cx.output.fault(errors);
    }
    if exit == Exit::Done {
        let revision = verdict.revision.as_ref();
        let at = revision.map_or_else(String::new, |revision| format!(" at revision {revision}"));
        cx.output.print(format!(
            "OK: {} of {} in {}{at}\n",
            number(found.pins().len(), "pin"),
            number(config.images.len(), "image"),
            number(found.files.len(), "file")
        ));
    }
    exit
}
