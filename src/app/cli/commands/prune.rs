//! `repin prune`: deletes old pending versions of the images.
//!
//! `app::workflow::prune` runs it, and the room `prune` decides which versions may be deleted.

mod report;
mod restore;

use clap::{Args, Subcommand};

use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, images, strict_bool, whole_number},
            context::Context,
            format::Format,
            output::Exit,
            write_file::StepFiles,
        },
        report::prune::ImageOutcome,
        workflow::{
            Access, check_image_name, no_token_error,
            prune::{PruneRequest, prune},
            site,
        },
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, Prune, duration},
    prune::{Rules, apply::DeletionEvent},
};

const HELP: &str = "\
Without --apply, prune is a dry run, also in a scheduled job. Candidates are versions that are older than prune.older_than \
and whose tags all match prune.tags. repin protects every version whose digest occurs in a tracked file of the work tree or \
of any branch or tag of the remote, every version that was ever promoted, and every version that these require. If the \
protected versions cannot be determined completely, nothing is deleted.

Examples:
  repin prune                                  # show candidates and protected versions
  repin prune --image review --older-than 30d
  repin prune --apply --limit 200
  repin prune restore --image review --version 123456 --apply";

/// Delete old image versions that were never pinned
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Prune only this configured image; may be repeated
    #[arg(short, long, value_name = "NAME", add = images())]
    image: Vec<String>,
    /// Delete the candidates
    #[arg(long)]
    apply: bool,
    /// true forbids every change; false means --apply; an empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    dry_run: Option<bool>,
    /// Minimum age of a candidate, such as 14d or 36h [default: `prune.older_than`]
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Delete nothing if an image has more than N candidates [default: `prune.limit`]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    limit: Option<usize>,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

impl Arguments {
    /// Returns the first given option of `prune`.
    fn first_option(&self) -> Option<&'static str> {
        [
            ("--image", !self.image.is_empty()),
            ("--apply", self.apply),
            ("--dry-run", self.dry_run.is_some()),
            ("--older-than", self.older_than.is_some()),
            ("--limit", self.limit.is_some()),
            ("--if-unconfigured", self.if_unconfigured.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    Restore(restore::Arguments),
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    if let Some(Action::Restore(restore)) = &args.action {
        return match args.first_option() {
            None => restore::run(restore, cx),
            Some(option) => Err(usage(format!(
                "{option} belongs to `prune`; options of `restore` come after it"
            ))),
        };
    }
    let apply = cx.may_change(args.apply, args.dry_run)?;
    let config = cx.load()?;
    site::check_globs_of_work_tree(&config)?;
    let rules = rules(args, prune_block(&config)?)?;
    let selected = selected(&args.image, &config)?;
    let mut step = if cx.output.format == Format::Github {
        Some(StepFiles::open(&cx.services.environment)?)
    } else {
        None
    };
    let request = PruneRequest {
        images: &selected,
        rules,
        apply,
    };
    let output = &cx.output;
    let mut log = |event: &DeletionEvent<'_>, image: &ImageOutcome| {
        report::log(event, image, output);
    };
    let result = match prune(&config, &request, &cx.services, &mut log)? {
        Access::Granted(result) => result,
        Access::NoToken(reason) if args.if_unconfigured.is_some() => {
            let skipped = Error::new(Class::Denied, Code::SKIP, format!("skipped: {reason}"));
            let mut outcomes = Vec::new();
            for image in selected {
                outcomes.push(ImageOutcome {
                    refusal: Some(skipped.clone()),
                    ..ImageOutcome::new(&config.images[image])
                });
            }
            report::report(&outcomes, false, None, &mut step, cx)?;
            return Ok(cx.note_skip("prune", &reason));
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let (images, warning) = (&result.images, result.warning.as_ref());
    report::report(images, result.applied, warning, &mut step, cx)?;
    let refusals = images.iter().filter_map(|image| image.refusal.as_ref());
    Ok(refusals
        .map(|refusal| Exit::Failed(refusal.class))
        .fold(Exit::Done, Exit::worse))
}

fn prune_block(config: &Config) -> Result<&Prune, Errors> {
    config.prune.as_ref().ok_or_else(|| {
        let message = format!(
            "{} has no `prune` block, so nothing may be deleted",
            plain(&config.set_path.to_string())
        );
        let help =
            "add `prune: {}` for the defaults: tags that start with pending-, older than 14 days";
        Error::input(Code::CONFIG, message).help(help).into()
    })
}

fn rules<'c>(args: &Arguments, prune: &'c Prune) -> Result<Rules<'c>, Errors> {
    let mut older_than = prune.older_than;
    if let Some(text) = &args.older_than {
        older_than =
            duration::parse(text).map_err(|error| usage(format!("--older-than: {error}")))?;
    }
    Ok(Rules {
        prune,
        older_than,
        limit: args.limit.unwrap_or(prune.limit),
    })
}

/// The indices of the given images, or of all images.
fn selected(names: &[String], config: &Config) -> Result<Vec<usize>, Errors> {
    for name in names {
        check_image_name(config, name, "--image: ")?;
    }
    let mut selected = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        if names.is_empty() || names.contains(&image.name) {
            selected.push(index);
        }
    }
    Ok(selected)
}
