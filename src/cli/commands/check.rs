//! `repin check`: checks that counts are exact, that digests are well-formed, and that each image has one
//! digest; with `--remote`, also that the pinned set matches its tags, labels and history.

use crate::{
    checks::{self, Check, PinnedImage, TagDigest},
    cli::{
        check_output::{print_checks, print_skipped},
        context::Context,
        exit::Exit,
        format::Format,
        step_files::StepFiles,
    },
    config::{Config, number},
    error::{Class, Error, Errors},
    files::WorkTree,
    history::{Digests, Provenance},
    oci::{Digest, Revision, TagOrDigest},
    outside::{Scope, TrackedTree},
    pins::{self, Found},
    registry::resolve,
    report::{github, json::CheckDocument, sarif::Findings},
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
    let mut all_checks = checks::tree_checks(&config, &found, &outside);
    // A tree with failures is not compared with a registry.
    let remote_checks = if remote && !checks::any_failed(&all_checks) {
        check_remote(&config, trust.as_ref(), &found, cx)?
    } else {
        RemoteChecks::default()
    };
    all_checks.extend(checks::shared_digests(&config, &pinned(&config, &found)));
    all_checks.extend(remote_checks.checks);
    if remote {
        all_checks.extend(base_policy::warnings(&config, &files, &cx.services));
    }
    let verdict = Verdict {
        found,
        checks: all_checks,
        outages: remote_checks.outages,
        revision: remote_checks.revision,
    };
    let exit = report(&config, &verdict, cx);
    let Some(step) = &mut step else {
        return Ok(exit);
    };
    let text = github::summary(&config, &verdict.found, &verdict.checks, &verdict.outages);
    match step.summary(&text) {
        Ok(()) => Ok(exit),
        Err(errors) => Ok(exit.worse(cx.output.report_errors(&errors))),
    }
}

/// The checks that require a source and history.
#[derive(Default)]
struct RemoteChecks {
    checks: Vec<Check>,
    /// The errors that prevented checks.
    outages: Vec<Error>,
    /// The revision in the labels of all images.
    revision: Option<Revision>,
}

/// The manifests that the checks of the pinned digests request, for each image.
fn pulls(config: &Config, wanted: &[(usize, Digest)]) -> Vec<Vec<ManifestPull>> {
    let mut pulls: Vec<Vec<ManifestPull>> = config.images.iter().map(|_| Vec::new()).collect();
    for (image, digest) in wanted {
        pulls[*image].push(ManifestPull {
            reference: TagOrDigest::Digest(*digest),
            // One request by the digest, and one by the tag of the revision.
            requests: 2,
            with_platforms: true,
        });
    }
    pulls
}

/// The indices of the pinned images, with the digest of each.
fn pinned(config: &Config, found: &Found) -> Vec<(usize, Digest)> {
    (0..config.images.len())
        .filter_map(|image| Some((image, *found.digests_of(image).first()?)))
        .collect()
}

fn check_remote(
    config: &Config,
    trust: Option<&Trust<'_>>,
    found: &Found,
    cx: &Context,
) -> Result<RemoteChecks, Errors> {
    let sources = cx.services.sources_of_images(config)?;
    let wanted = pinned(config, found);
    check_pull_limit(config, &sources, &pulls(config, &wanted), &cx.services)?;
    let requests = wanted.iter().map(|(image, digest)| {
        let source = &sources[*image];
        async move {
            let found = resolve::resolve(source, &TagOrDigest::Digest(*digest)).await;
            PinnedImage {
                image: *image,
                digest: *digest,
                found,
            }
        }
    });
    let images: Vec<_> = wanted
        .iter()
        .map(|(image, _)| config.images[*image].name.as_str())
        .collect();
    let services = &cx.services;
    let pinned = services.wait_for_all("reading the pinned images", &images, requests)?;
    let (mut checks, mut outages, revision) = checks::pinned_images(config, &pinned, found);
    let known = revision.filter(|_| outages.is_empty());
    let tag = known
        .as_ref()
        .and_then(|revision| config.revision.tag.tag(revision).ok());
    let (Some(revision), Some(tag)) = (known, tag) else {
        return Ok(RemoteChecks {
            checks,
            outages,
            revision: None,
        });
    };
    let want = TagOrDigest::Tag(tag.clone());
    let requests = pinned.iter().map(|pinned| {
        let (source, want) = (&sources[pinned.image], &want);
        async move {
            let manifest = source.manifest(want, None).await?;
            Ok(manifest.map(|manifest| manifest.digest))
        }
    });
    let tagged: Vec<TagDigest> = services.wait_for_all("resolving tags", &images, requests)?;
    for (pinned, tagged) in pinned.iter().zip(&tagged) {
        let (check, outage) = pinned.check_tag(&config.images[pinned.image], &tag, tagged, found);
        checks.push(check);
        outages.extend(outage);
    }
    let history = SiteHistory::of_work_tree(config, &cx.services);
    let provenance = match history.promoted() {
        Ok(history) => Ok(history.provenance(&revision)),
        Err(error) => Err(error.to_string()),
    };
    checks.push(checks::provenance_warns(&revision, &provenance));
    if let Some(trust) = trust {
        let (signature_checks, errors) =
            check_signatures(trust, config, &pinned, &revision, &history, cx)?;
        checks.extend(signature_checks);
        outages.extend(errors);
    }
    Ok(RemoteChecks {
        checks,
        outages,
        revision: Some(revision),
    })
}

/// Checks the signatures and attestations of the pinned digests.
fn check_signatures(
    trust: &Trust<'_>,
    config: &Config,
    pinned: &[PinnedImage],
    revision: &Revision,
    history: &SiteHistory,
    cx: &Context,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let digests: Digests = pinned
        .iter()
        .map(|pinned| (config.images[pinned.image].name.clone(), pinned.digest))
        .collect();
    let provenance = history
        .promoted()
        .map(|history| match history.provenance(revision) {
            Provenance::ByContent => history.provenance_of(&digests),
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
    let images: Vec<_> = pinned
        .iter()
        .filter_map(|pinned| Some((pinned.image, pinned.found.as_ref().ok()?.clone()?)))
        .collect();
    signatures::verify_pinned(trust, config, &images, revision, enforcement, &cx.services)
}

struct Verdict {
    found: Found,
    checks: Vec<Check>,
    /// The errors that prevented checks.
    outages: Vec<Error>,
    revision: Option<Revision>,
}

fn report(config: &Config, verdict: &Verdict, cx: &mut Context) -> Exit {
    let (found, checks, outages) = (&verdict.found, &verdict.checks, &verdict.outages);
    let failed = if checks::any_failed(checks) {
        Exit::Failed(Class::Failed)
    } else {
        Exit::Done
    };
    let errors = (!outages.is_empty()).then(|| Errors::from(outages.clone()));
    let exit = failed.worse(errors.as_ref().map_or(Exit::Done, Exit::from));
    if cx.output.format == Format::Json {
        cx.output.print_json(&CheckDocument {
            clean: exit == Exit::Done,
            ..CheckDocument::new(checks.clone())
        });
        return exit;
    }
    if cx.output.format == Format::Sarif {
        let findings = Findings::of_checks(config, checks);
        cx.output.print_sarif(&findings, errors.as_ref(), exit);
        cx.output.print_causes(checks, config);
        print_skipped(checks, &mut cx.output);
        return exit;
    }
    if cx.output.format == Format::Github {
        let annotations = github::annotations(checks, config, &cx.output.directory);
        cx.output.annotate(&annotations);
    }
    print_checks(checks, config, &mut cx.output);
    print_skipped(checks, &mut cx.output);
    if let Some(errors) = &errors {
        cx.output.report_errors(errors);
    }
    if exit == Exit::Done {
        let suffix = match &verdict.revision {
            Some(revision) => format!(" at revision {revision}"),
            None => String::new(),
        };
        cx.output.print(format!(
            "OK: {} of {} in {}{suffix}\n",
            number(found.pins().len(), "pin"),
            number(config.images.len(), "image"),
            number(found.files.len(), "file")
        ));
    }
    exit
}
