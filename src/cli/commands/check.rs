//! `repin check`: checks that counts are exact, that digests are well-formed, and that each image has one
//! digest; with `--remote`, also that the pinned set matches its tags, labels and history; with `--all`,
//! for every set below the current directory.

use std::collections::HashSet;

use crate::{
    checks::{self, Check, PinnedImage, Status, TagResolution},
    cli::{
        check_output::{print_checks, print_skipped, tally},
        commands::sets::{self, SetResults},
        context::Context,
        exit::Exit,
        format::{Format, Volume},
        step_files::StepFiles,
    },
    config::{Config, Operation, SetPath},
    error::{Class, Error, Errors},
    files::WorkTree,
    history::{Digests, History, Provenance},
    oci::{Digest, Revision, TagOrDigest, TagPattern},
    outside::{Scope, TrackedTree, Union},
    pins::{self, Found},
    registry::{NoTag, Source, resolve, select_tag},
    report::{
        color::Color,
        github::{self, SetChecks},
        json::{AnyDocument, CheckDocument},
        sarif::Findings,
        sets::{SetSummary, markdown_table},
    },
    text::counted,
    untrusted::plain,
    workflow::{
        SiteHistory, base_policy, known_history, pin_rules,
        pull_limit::{ImagePulls, ManifestPull, check_pull_limit, signature_pulls},
        signatures,
        stages::{self, Stages},
        trust::Trust,
        warn_if_interrupted,
    },
};

pub(in crate::cli) fn run(remote: bool, all: bool, cx: &mut Context) -> Result<Exit, Errors> {
    if all {
        return run_all(remote, cx);
    }
    let config = cx.load()?;
    cx.warn_of_file_name(&config);
    let step = step_files(cx)?;
    let verdict = verify(&config, remote, cx)?;
    let exit = report(&config, &verdict, cx);
    let summary = verdict.summary(&config.name, &config);
    Ok(write_summary(step, &summary, exit, cx))
}

/// Checks every set below the current directory.
fn run_all(remote: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let step = step_files(cx)?;
    let mut results = SetResults::default();
    let mut checked = Vec::new();
    for set in sets::select(cx)? {
        let Some((path, config)) = results.start(set, cx) else {
            continue;
        };
        let verdict = cx.enter(&config).and_then(|()| verify(&config, remote, cx));
        match verdict {
            Ok(verdict) => {
                let set = CheckedSet {
                    path,
                    config,
                    verdict,
                };
                set.print_problems(cx);
                let document = AnyDocument::Check(set.verdict.document());
                results.add(set.row(cx), document, set.verdict.exit());
                checked.push(set);
            }
            Err(errors) => results.fail(path, errors, cx),
        }
    }
    cx.leave();
    let between = check_between(&checked, cx)?;
    if let Some((config, checks)) = &between
        && matches!(cx.output.format, Format::Human | Format::Github)
    {
        print_checks(checks, config, &mut cx.output);
    }
    let exit = report_all(results, &checked, between.as_ref(), step, cx);
    Ok(exit)
}

/// Warnings about pins of the sets' images in files that no set with the image searches.
fn check_between(
    checked: &[CheckedSet],
    cx: &Context,
) -> Result<Option<(Config, Vec<Check>)>, Errors> {
    let sets = checked.iter().map(|set| (&set.config, &set.verdict.found));
    let directory = cx.services.environment.directory();
    let union = Union::new(directory, &sets.collect::<Vec<_>>());
    let union = union.map_err(|error| Error::unavailable("the repository", error.to_string()))?;
    let Some(union) = union else {
        return Ok(None);
    };
    let outside = union.search();
    let Union { config, found, .. } = union;
    let mut checks = checks::check_digests_outside(&config, &found, &outside, Operation::Promotion);
    checks.retain(|check| check.status != Status::Pass);
    Ok(Some((config, checks)))
}

/// Checks the files of a set, and with `remote` also its images and history.
fn verify(config: &Config, remote: bool, cx: &Context) -> Result<Verdict, Errors> {
    warn_if_interrupted(config, &*cx.services.console);
    let files = WorkTree::new(&config.root);
    let trust = Trust::read(config, &files)?;
    signatures::check_since(config)?;
    stages::check_work_tree(config)?;
    if let Some(trust) = trust.as_ref().filter(|_| remote) {
        trust.warn_of_old_roots(&cx.services);
    }
    let tree = TrackedTree::open(config);
    let found = pins::find(tree.files(), config)?;
    pin_rules::check_globs(config, &found)?;
    pin_rules::check_places(config, &found)?;
    let outside = tree.search(config, &found, Scope::Counted);
    let mut all_checks = checks::tree_checks(config, &found, &outside);
    // Wrong pins must be corrected first; a comparison with a registry would only cost requests.
    let remote_checks = if remote && !checks::any_failed(&all_checks) {
        check_remote(config, trust.as_ref(), &found, cx)?
    } else {
        RemoteChecks::default()
    };
    all_checks.extend(checks::check_shared_digests(
        config,
        &pinned(config, &found),
    ));
    all_checks.extend(remote_checks.checks);
    if remote {
        all_checks.extend(base_policy::warnings(config, &files, &cx.services));
    }
    Ok(Verdict {
        found,
        checks: all_checks,
        outages: remote_checks.outages,
        revision: remote_checks.revision,
    })
}

/// Opens the files of a step of GitHub Actions.
fn step_files(cx: &Context) -> Result<Option<StepFiles>, Errors> {
    match cx.output.format {
        Format::Github => StepFiles::open(&cx.services.environment).map(Some),
        _ => Ok(None),
    }
}

fn write_summary(step: Option<StepFiles>, text: &str, exit: Exit, cx: &mut Context) -> Exit {
    let Some(mut step) = step else {
        return exit;
    };
    match step.summary(text) {
        Ok(()) => exit,
        Err(errors) => exit.worse(cx.output.report_errors(&errors)),
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

/// The manifests that the checks of the pinned digests request.
fn pulls<'p>(
    config: &'p Config,
    sources: &'p [Source],
    wanted: &[(usize, Digest)],
) -> Vec<ImagePulls<'p>> {
    let mut pulls = Vec::new();
    for (image, digest) in wanted {
        let manifest = ManifestPull {
            // One request by the digest, and one by the tag of the revision.
            requests: 2,
            further: signature_pulls(config.verify.as_ref()),
            ..ManifestPull::resolution(TagOrDigest::Digest(*digest))
        };
        pulls.push(ImagePulls {
            name: &config.images[*image].name,
            repository: &config.images[*image].repository,
            source: &sources[*image],
            manifests: vec![manifest],
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

/// Checks the pinned images, their tags, their history and their signatures. Without a common revision
/// of the pinned images, there is no tag to compare.
fn check_remote(
    config: &Config,
    trust: Option<&Trust<'_>>,
    found: &Found,
    cx: &Context,
) -> Result<RemoteChecks, Errors> {
    let history = SiteHistory::of_work_tree(config, &cx.services);
    let (stages, unknown_stages) = check_stages(config, found, &history, cx)?;
    let sources = cx.services.sources_of_images(config)?;
    let pinned = read_pinned(config, &sources, found, cx)?;
    let (mut checks, mut outages, revision) = checks::check_pinned_images(config, &pinned, found);
    let is_readable = outages.is_empty();
    checks.extend(stages);
    outages.extend(unknown_stages);
    let Some(revision) = revision.filter(|_| is_readable) else {
        return Ok(RemoteChecks {
            checks,
            outages,
            revision: None,
        });
    };
    let tag = match config.revision.tag.tag(&revision) {
        Ok(tag) => tag,
        Err(error) => {
            checks.push(checks::revision_without_tag(&revision, &error));
            return Ok(RemoteChecks {
                checks,
                outages,
                revision: Some(revision),
            });
        }
    };
    let tagged = resolve_tag(config, &sources, &pinned, &tag, cx)?;
    for (pinned, tagged) in pinned.iter().zip(&tagged) {
        let (check, outage) = pinned.check_tag(config, &tag, tagged, found);
        checks.push(check);
        outages.extend(outage);
    }
    let provenance = match history.promoted() {
        Ok(history) => Ok(history.provenance(&revision)),
        Err(error) => Err(error.to_string()),
    };
    checks.push(checks::check_pinned_provenance(&revision, &provenance));
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

/// Checks the stages of the pinned set, unless it is current on every branch that may be the base.
fn check_stages(
    config: &Config,
    found: &Found,
    history: &SiteHistory,
    cx: &Context,
) -> Result<(Vec<Check>, Vec<Error>), Errors> {
    let stages = Stages::open(config, history, true, &cx.services)?;
    let digests = checks::current_digests(config, found);
    if config.promote.after.is_empty()
        || base_policy::is_current_on_bases(config, &digests, history, &cx.services)
    {
        return Ok((Vec::new(), Vec::new()));
    }
    let verdicts = stages.judge(&digests, &cx.services)?;
    let (mut checks, outages) = checks::check_stages(&verdicts.judged, false).into_parts();
    for outage in &outages {
        checks.push(Check::new(outage.code, Status::Skip, outage.text()));
    }
    Ok((checks, outages))
}

/// Reads the manifest and the configs of each pinned digest.
fn read_pinned(
    config: &Config,
    sources: &[Source],
    found: &Found,
    cx: &Context,
) -> Result<Vec<PinnedImage>, Errors> {
    let wanted = pinned(config, found);
    check_pull_limit(&pulls(config, sources, &wanted), &cx.services)?;
    let mut names = Vec::new();
    let mut requests = Vec::new();
    for (image, digest) in wanted {
        names.push(config.images[image].name.as_str());
        let source = &sources[image];
        requests.push(async move {
            let facts = resolve::resolve(source, &TagOrDigest::Digest(digest), &[]).await;
            PinnedImage {
                image,
                digest,
                facts,
            }
        });
    }
    cx.services
        .wait_for_all("reading the pinned images", &names, requests)
}

/// Resolves the tag of the revision for each pinned image.
fn resolve_tag(
    config: &Config,
    sources: &[Source],
    pinned: &[PinnedImage],
    pattern: &TagPattern,
    cx: &Context,
) -> Result<Vec<TagResolution>, Errors> {
    let mut names = Vec::new();
    let mut requests = Vec::new();
    for pinned in pinned {
        names.push(config.images[pinned.image].name.as_str());
        let source = &sources[pinned.image];
        requests.push(async move {
            let tag = match select_tag(source, pattern, Some(pinned.digest)).await? {
                Ok(tag) => tag,
                Err(reason) => return Ok(Err(reason)),
            };
            let manifest = source
                .manifest(&TagOrDigest::Tag(tag.clone()), None)
                .await?;
            let tagged = manifest.map(|manifest| (tag, manifest.digest));
            Ok(tagged.ok_or(NoTag::Missing))
        });
    }
    cx.services.wait_for_all("resolving tags", &names, requests)
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
        .filter_map(|pinned| Some((pinned.image, pinned.facts.as_ref().ok()?.clone()?)))
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

impl Verdict {
    fn errors(&self) -> Option<Errors> {
        (!self.outages.is_empty()).then(|| Errors::from(self.outages.clone()))
    }

    fn exit(&self) -> Exit {
        let failed = if checks::any_failed(&self.checks) {
            Exit::Failed(Class::Failed)
        } else {
            Exit::Done
        };
        failed.worse(self.errors().as_ref().map_or(Exit::Done, Exit::from))
    }

    fn document(&self) -> CheckDocument {
        CheckDocument::new(self.checks.clone(), self.exit() == Exit::Done)
    }

    /// The step summary; `title` identifies the set.
    fn summary(&self, title: &str, config: &Config) -> String {
        github::summary(title, config, &self.found, &self.checks, &self.outages)
    }

    /// The result in a few words.
    fn state(&self) -> String {
        let problems = self.checks.iter();
        let mut parts = vec![tally(problems.filter(|check| check.status != Status::Pass))];
        if self.exit() == Exit::Done {
            parts.insert(0, "OK".to_owned());
        }
        for error in &self.outages {
            parts.push(format!("error: {}", error.code));
        }
        let mut seen = HashSet::new();
        parts.retain(|part| !part.is_empty() && seen.insert(part.clone()));
        parts.join(", ")
    }
}

fn report(config: &Config, verdict: &Verdict, cx: &mut Context) -> Exit {
    let (found, checks) = (&verdict.found, &verdict.checks);
    let (errors, exit) = (verdict.errors(), verdict.exit());
    if cx.output.format == Format::Json {
        cx.output.print_json(&verdict.document());
        return exit;
    }
    if cx.output.format == Format::Sarif {
        let findings = Findings::of_checks(config, checks);
        cx.output.print_sarif(&findings, errors.as_ref(), exit);
        cx.output.print_causes(checks, config);
        print_skipped(checks, errors.as_ref(), &mut cx.output);
        return exit;
    }
    if cx.output.format == Format::Github {
        let directory = cx.output.directory.clone();
        let set = SetChecks {
            checks,
            config,
            directory: &directory,
        };
        cx.output.annotate(&github::annotations(&[set]));
    }
    print_checks(checks, config, &mut cx.output);
    print_skipped(checks, errors.as_ref(), &mut cx.output);
    if let Some(errors) = &errors {
        cx.output.report_errors(errors);
    }
    if exit == Exit::Done {
        let suffix = match &verdict.revision {
            Some(revision) => format!(" at revision {revision}"),
            None => String::new(),
        };
        let line = format!(
            "OK: {} of {} in {}{suffix}\n",
            counted(found.pins().len(), "pin"),
            counted(config.images.len(), "image"),
            counted(found.files_with_pins(), "file")
        );
        let line = cx.output.palette().paint(Color::Green, &line);
        cx.output.print(line);
    }
    exit
}

struct CheckedSet {
    path: SetPath,
    config: Config,
    verdict: Verdict,
}

impl CheckedSet {
    /// Whether something is reported in addition to the row.
    fn has_problems(&self) -> bool {
        let Verdict {
            checks, outages, ..
        } = &self.verdict;
        !outages.is_empty() || checks.iter().any(|check| check.status != Status::Pass)
    }

    /// Prints what the row of the table omits: failures, warnings, skips and errors.
    fn print_problems(&self, cx: &mut Context) {
        let (checks, errors) = (&self.verdict.checks, self.verdict.errors());
        if cx.output.format == Format::Json {
            return;
        }
        if cx.output.format == Format::Sarif {
            cx.output.print_causes(checks, &self.config);
        } else {
            let is_verbose = cx.output.volume >= Volume::Verbose;
            if is_verbose {
                let path = plain(&self.path.to_string());
                cx.output.print(format!("{path}:\n"));
            }
            print_checks(checks, &self.config, &mut cx.output);
            if is_verbose {
                cx.output.print("\n");
            }
            if let Some(errors) = &errors {
                cx.output.report_errors(errors);
            }
        }
        print_skipped(checks, errors.as_ref(), &mut cx.output);
    }

    /// The row of the table, with the current set in the history that the clone contains.
    fn row(&self, cx: &Context) -> SetSummary {
        let history = match cx.output.format {
            Format::Human | Format::Github => known_history(&self.config, &cx.services),
            Format::Json | Format::Sarif => Ok(None),
        };
        let history = history.unwrap_or_else(|error| {
            cx.output
                .warn(&format!("history not read: {}", plain(&error.to_string())));
            None
        });
        let current = history.as_ref().and_then(History::current);
        let declared = self.config.images.iter().map(|image| image.pins).sum();
        SetSummary {
            set_path: self.path.clone(),
            revision: current.and_then(|entry| Some(entry.revision.as_ref()?.to_string())),
            since: current.map(|entry| entry.date.clone()),
            pins: Some([self.verdict.found.pins().len(), declared]),
            state: self.verdict.state(),
        }
    }
}

/// Prints the result of all sets.
fn report_all(
    mut results: SetResults,
    checked: &[CheckedSet],
    between: Option<&(Config, Vec<Check>)>,
    step: Option<StepFiles>,
    cx: &mut Context,
) -> Exit {
    let exit = results.exit();
    let directories: Vec<String> = checked
        .iter()
        .map(|set| cx.services.environment.path_to(&set.config.root))
        .collect();
    if cx.output.format == Format::Sarif {
        let mut findings = Findings::default();
        let mut errors = results.errors;
        for (set, directory) in checked.iter().zip(&directories) {
            let of_set = Findings::of_checks(&set.config, &set.verdict.checks);
            findings.add(of_set, directory);
            errors.extend(set.verdict.outages.iter().cloned());
        }
        if let Some((config, checks)) = between {
            findings.add(Findings::of_checks(config, checks), "");
        }
        let errors = (!errors.is_empty()).then(|| Errors::from(errors));
        cx.output.print_sarif(&findings, errors.as_ref(), exit);
        return exit;
    }
    let mut summary = format!("## check --all\n\n{}", markdown_table(&results.rows));
    let mut annotated = Vec::new();
    for (set, directory) in checked.iter().zip(&directories) {
        annotated.push(SetChecks {
            checks: &set.verdict.checks,
            config: &set.config,
            directory,
        });
        if set.has_problems() {
            let of_set = set.verdict.summary(&set.path.to_string(), &set.config);
            summary = summary + "\n" + &of_set;
        }
    }
    if let Some((config, checks)) = between {
        annotated.push(SetChecks {
            checks,
            config,
            directory: "",
        });
        results.checks.clone_from(checks);
    }
    if cx.output.format == Format::Github {
        cx.output.annotate(&github::annotations(&annotated));
    }
    let exit = results.print(cx);
    write_summary(step, &summary, exit, cx)
}
