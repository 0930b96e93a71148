//! `repin check`: checks that counts are exact, that digests are well-formed, and that each image has one
//! digest; with `--remote`, also that the pinned set matches its tags, labels and history; with `--all`,
//! for every set below the current directory.

mod remote;

use std::collections::HashSet;

use clap::Args;
use remote::{RemoteChecks, check_remote, pinned};

use super::set::{self, SetResults};
use crate::{
    app::{
        cli::{
            args::IfUnconfigured,
            change::{print_checks, print_skipped, tally},
            context::Context,
            format::{Format, Volume},
            job::{StepFiles, take_denied},
            output::Exit,
        },
        report::{
            github::{self, SetChecks},
            json::{AnyDocument, CheckDocument, ErrorRow},
            layout::Color,
            sarif::Findings,
            sets::{SetSummary, markdown_table},
        },
        workflow::{
            base_policy, known_history, site, stages,
            trust::{self, Trust},
            warn_if_interrupted,
        },
    },
    base::{
        error::{Class, Code, Error, Errors},
        files::WorkTree,
        text::counted,
        untrusted::plain,
    },
    config::{Config, Operation, SetPath},
    core::{
        checks::{self, Check, Status},
        history::History,
        outside::{Scope, Union},
        pins::{self, FoundPins},
    },
    oci::Revision,
};

const HELP: &str = "\
With --all, the last lines are a table of the sets, and the run fails if one check of one set fails. The configuration of a \
fleet is listed and skipped.

Examples:
  repin check --remote --format github    # as a pre-merge job
  repin check --all                       # every set of a repository";

/// Check that each image has its number of pins, and one digest
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Also verify the pinned set against the registry and git history: digests, labels, tags,
    /// provenance
    #[arg(long)]
    remote: bool,
    /// Check every set below the current directory: one set for each configuration file that git
    /// tracks
    #[arg(long)]
    all: bool,
    /// Skip the checks of --remote instead of failing when access is denied
    #[arg(long, value_name = "ACTION", requires = "remote")]
    if_unconfigured: Option<IfUnconfigured>,
}

/// The checks that require a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    NotRequested,
    Required,
    /// They are skipped if access is denied.
    IfPermitted,
}

impl Remote {
    fn of(args: &Arguments) -> Self {
        match (args.remote, args.if_unconfigured) {
            (false, _) => Self::NotRequested,
            (true, None) => Self::Required,
            (true, Some(IfUnconfigured::Skip)) => Self::IfPermitted,
        }
    }
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    if args.all {
        return run_all(Remote::of(args), cx);
    }
    let config = cx.load()?;
    cx.warn_of_file_name(&config);
    let step = cx.step_files()?;
    let verdict = verify(&config, Remote::of(args), cx)?;
    let exit = report(&config, &verdict, cx);
    let summary = verdict.summary(&config.name, &config);
    Ok(write_summary(step, &summary, exit, cx))
}

/// Checks every set below the current directory.
fn run_all(remote: Remote, cx: &mut Context) -> Result<Exit, Errors> {
    let step = cx.step_files()?;
    let mut results = SetResults::default();
    let mut checked = Vec::new();
    for set in set::select(cx)? {
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
fn verify(config: &Config, remote: Remote, cx: &Context) -> Result<Verdict, Errors> {
    let is_remote = remote != Remote::NotRequested;
    warn_if_interrupted(config, &*cx.services.console);
    let files = WorkTree::new(&config.root);
    let trust = Trust::read(config, &files)?;
    trust::check_since(config)?;
    stages::check_work_tree(config)?;
    if let Some(trust) = trust.as_ref().filter(|_| is_remote) {
        trust.warn_of_old_roots(&cx.services);
    }
    let tree = cx.services.tracked_tree(config);
    let found = pins::find(tree.files(), config)?;
    site::check_globs(config, &found)?;
    site::check_places(config, &found)?;
    site::check_met(config, &found)?;
    let outside = tree.search(config, &found, Scope::Counted);
    let mut all_checks = checks::tree_checks(config, &found, &outside);
    all_checks.extend(check_pin_tags(config, &found, cx));
    let bases = is_remote.then(|| base_policy::bases(config, &cx.services));
    let remote_checks = match &bases {
        // Wrong pins must be corrected first; a comparison with a registry would only cost requests.
        Some(bases) if !checks::any_failed(&all_checks) => {
            let result = check_remote(config, trust.as_ref(), &found, bases, cx);
            permitted(result, remote)?
        }
        _ => RemoteChecks::default(),
    };
    all_checks.extend(checks::check_shared_digests(
        config,
        &pinned(config, &found),
    ));
    all_checks.extend(remote_checks.checks);
    if let Some(bases) = &bases {
        all_checks.extend(base_policy::warnings(config, &files, bases));
    }
    Ok(Verdict {
        found,
        checks: all_checks,
        errors: remote_checks.errors,
        revision: remote_checks.revision,
    })
}

/// The checks of `--remote`, without the refusals of access if they are accepted: these are skipped checks.
fn permitted(result: Result<RemoteChecks, Errors>, remote: Remote) -> Result<RemoteChecks, Errors> {
    if remote != Remote::IfPermitted {
        return result;
    }
    let mut permitted = match result {
        Ok(result) => result,
        Err(errors) if errors.class() == Class::Denied => RemoteChecks {
            errors: errors.into_iter().collect(),
            ..RemoteChecks::default()
        },
        Err(errors) => return Err(errors),
    };
    for reason in take_denied(&mut permitted.errors) {
        let check = Check::new(Code::UNCONFIGURED, Status::Skip, reason);
        permitted.checks.push(check);
    }
    Ok(permitted)
}

/// Compares the tags of the pins with each other, and with the history that the clone contains.
fn check_pin_tags(config: &Config, found: &FoundPins, cx: &Context) -> Vec<Check> {
    let claims = checks::claiming_tags(config, found);
    if claims.is_empty() {
        return Vec::new();
    }
    let history = known_history(config, &cx.services).map_err(|error| error.to_string());
    let history = history.as_ref().map(Option::as_ref);
    checks::check_pin_tags(config, &claims, history.map_err(Clone::clone))
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

struct Verdict {
    found: FoundPins,
    checks: Vec<Check>,
    /// The errors that prevented checks.
    errors: Vec<Error>,
    revision: Option<Revision>,
}

impl Verdict {
    fn failure(&self) -> Option<Errors> {
        (!self.errors.is_empty()).then(|| Errors::from(self.errors.clone()))
    }

    fn exit(&self) -> Exit {
        let failed = if checks::any_failed(&self.checks) {
            Exit::Failed(Class::Failed)
        } else {
            Exit::Done
        };
        failed.worse(self.failure().as_ref().map_or(Exit::Done, Exit::from))
    }

    fn document(&self) -> CheckDocument {
        CheckDocument {
            schema: "repin.check/1",
            clean: self.exit() == Exit::Done,
            checks: self.checks.clone(),
            errors: self.errors.iter().map(ErrorRow::of).collect(),
        }
    }

    /// The step summary; `title` identifies the set.
    fn summary(&self, title: &str, config: &Config) -> String {
        github::summary(title, config, &self.found, &self.checks, &self.errors)
    }

    /// The result in a few words.
    fn state(&self) -> String {
        let problems = self.checks.iter();
        let mut parts = vec![tally(problems.filter(|check| check.status != Status::Pass))];
        if self.exit() == Exit::Done {
            parts.insert(0, "OK".to_owned());
        }
        for error in &self.errors {
            parts.push(format!("error: {}", error.code));
        }
        let mut seen = HashSet::new();
        parts.retain(|part| !part.is_empty() && seen.insert(part.clone()));
        parts.join(", ")
    }
}

fn report(config: &Config, verdict: &Verdict, cx: &mut Context) -> Exit {
    let (found, checks) = (&verdict.found, &verdict.checks);
    let (errors, exit) = (verdict.failure(), verdict.exit());
    if cx.output.format == Format::Json {
        cx.output.print_json(&verdict.document());
        return exit;
    }
    if cx.output.format.lists_findings() {
        let findings = Findings::from_checks(config, checks);
        cx.output.print_findings(&findings, errors.as_ref(), exit);
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
        let Verdict { checks, errors, .. } = &self.verdict;
        !errors.is_empty() || checks.iter().any(|check| check.status != Status::Pass)
    }

    /// Prints what the row of the table omits: failures, warnings, skips and errors.
    fn print_problems(&self, cx: &mut Context) {
        let (checks, errors) = (&self.verdict.checks, self.verdict.failure());
        if cx.output.format == Format::Json {
            return;
        }
        if cx.output.format.lists_findings() {
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

    /// The row of the table: the set that the files pin, with the date from the history that the clone
    /// contains if that set is current.
    fn row(&self, cx: &Context) -> SetSummary {
        let history = match cx.output.format {
            Format::Human | Format::Github => known_history(&self.config, &cx.services),
            Format::Json | Format::Sarif | Format::Gitlab => Ok(None),
        };
        let history = history.unwrap_or_else(|error| {
            cx.output
                .warn(&format!("history not read: {}", plain(&error.to_string())));
            None
        });
        let digests = checks::current_digests(&self.config, &self.verdict.found);
        let current = history.as_ref().and_then(History::current);
        let current = current.filter(|entry| entry.images == digests);
        let recorded = history
            .as_ref()
            .and_then(|known| known.revision_of(&digests));
        let revision = self.verdict.revision.as_ref().or(recorded);
        let declared = self.config.images.iter().map(|image| image.pins).sum();
        SetSummary {
            set_path: self.path.clone(),
            revision: revision.map(ToString::to_string),
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
    if cx.output.format.lists_findings() {
        let mut findings = Findings::default();
        let mut errors = results.errors;
        for (set, directory) in checked.iter().zip(&directories) {
            let of_set = Findings::from_checks(&set.config, &set.verdict.checks);
            findings.add(of_set, directory);
            errors.extend(set.verdict.errors.iter().cloned());
        }
        if let Some((config, checks)) = between {
            findings.add(Findings::from_checks(config, checks), "");
        }
        let errors = (!errors.is_empty()).then(|| Errors::from(errors));
        cx.output.print_findings(&findings, errors.as_ref(), exit);
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
