//! `repin prune`: deletes old pending versions of the images.
//!
//! `app::workflow::prune` runs it, and the room `prune` decides which versions may be deleted.

mod in_use;
mod report;
mod restore;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    app::{
        cli::{
            args::{ApplyOptions, IfUnconfigured, images, whole_number},
            context::Context,
            format::Format,
            output::Exit,
        },
        report::{protected::ProtectedDocument, prune::ImageOutcome},
        workflow::{
            Access, check_image_name, no_token_error,
            output_file::OutputFile,
            protection::prune_block,
            prune::{PruneRequest, prune},
            site,
        },
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, Prune, duration},
    oci::{Digest, Tag},
    prune::{Rules, apply::DeletionEvent},
};

const HELP: &str = "\
Without --apply, prune is a dry run, also in a scheduled job. Candidates are versions that are older than prune.older_than \
and whose tags all match prune.tags. repin protects every version whose digest occurs in a tracked file of a work tree or \
stash of the clone, or of any branch or tag of the remote, every version that was ever promoted, and every version that \
these require. If the protected versions cannot be determined completely, nothing is deleted.

Examples:
  repin prune                                  # show candidates and protected versions
  repin prune --image review --older-than 30d
  repin prune --apply --limit 200
  repin prune --protected protected.json       # what other policies must keep
  repin prune --tag-protected keep- --apply    # tags for lifecycle rules
  repin prune restore --image review --version 123456 --apply";

/// Delete old image versions that were never pinned
#[derive(Debug, Args)]
#[command(after_help = HELP, mut_arg("apply", |arg| arg.help("Delete the candidates")))]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Prune only this configured image; may be repeated
    #[arg(short, long, value_name = "NAME", add = images())]
    image: Vec<String>,
    #[command(flatten)]
    options: ApplyOptions,
    /// Minimum age of a candidate, such as 14d or 36h [default: `prune.older_than`]
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Delete nothing if an image has more than N candidates [default: `prune.limit`]
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    limit: Option<usize>,
    /// Protect the images that run according to FILE: one a line, or the output of `kubectl get pods -A -o json`,
    /// `docker ps --no-trunc` or `aws ecs describe-tasks`; - is standard input; may be repeated
    #[arg(long, value_name = "FILE")]
    in_use: Vec<PathBuf>,
    /// Refuse a file of --in-use that was changed earlier
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "24h",
        requires = "in_use"
    )]
    in_use_max_age: String,
    /// Write every protected digest and tag with its reason to FILE, for other policies (`repin.protected/1`, or with
    /// --format plain one reference a line); - is standard output
    #[arg(long, value_name = "FILE")]
    protected: Option<PathBuf>,
    /// Put the tag PREFIX and the digits of the digest on every protected digest, and delete nothing; shows the tags
    /// without --apply
    #[arg(long, value_name = "PREFIX")]
    tag_protected: Option<String>,
    /// Read every manifest from the registry, and none from the user's cache
    #[arg(long)]
    no_cache: bool,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

impl Arguments {
    /// Whether `--format plain` has a file to apply to.
    pub(in crate::app::cli) fn lists_protected(&self) -> bool {
        self.protected.is_some()
    }

    /// Returns the first given option of `prune`.
    fn first_option(&self) -> Option<&'static str> {
        [
            ("--image", !self.image.is_empty()),
            ("--apply", self.options.apply),
            ("--dry-run", self.options.dry_run.is_some()),
            ("--older-than", self.older_than.is_some()),
            ("--limit", self.limit.is_some()),
            ("--in-use", !self.in_use.is_empty()),
            ("--protected", self.protected.is_some()),
            ("--tag-protected", self.tag_protected.is_some()),
            ("--no-cache", self.no_cache),
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
    let apply = cx.may_change(args.options.apply, args.options.dry_run)?;
    let config = cx.load()?;
    site::check_globs_of_work_tree(&config)?;
    let rules = rules(args, prune_block(&config)?)?;
    check_tag_prefix(args.tag_protected.as_deref(), rules.prune)?;
    let selected = selected(&args.image, &config)?;
    let file = protected_file(args, &config, cx)?;
    let running = in_use::read(&args.in_use, &args.in_use_max_age, &cx.services.environment)?;
    let mut step = cx.step_files()?;
    let request = PruneRequest {
        images: &selected,
        rules,
        apply,
        lists_protected: file.is_some(),
        cache: if args.no_cache {
            None
        } else {
            cx.services.environment.cache_directory()
        },
        running: &running,
        tag_prefix: args.tag_protected.as_deref(),
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
            report::report(&outcomes, false, &[], false, &mut step, cx)?;
            return Ok(cx.note_skip("prune", &reason));
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let (images, unread) = (&result.images, &result.warnings);
    let tags = args.tag_protected.is_some();
    match &file {
        Some(file) if file.is_stdout() => report::report_errors(images, unread, cx),
        _ => report::report(images, result.applied, unread, tags, &mut step, cx)?,
    }
    if let Some(file) = &file {
        write_protected(file, images, cx)?;
    }
    let refusals = images.iter().filter_map(|image| image.refusal.as_ref());
    Ok(refusals
        .map(|refusal| Exit::Failed(refusal.class))
        .fold(Exit::Done, Exit::worse))
}

/// The file of `--protected`. Its path is checked before the first request.
fn protected_file(
    args: &Arguments,
    config: &Config,
    cx: &Context,
) -> Result<Option<OutputFile>, Errors> {
    let Some(file) = &args.protected else {
        return Ok(None);
    };
    let directory = cx.services.environment.directory();
    let file = OutputFile::new(file, directory, Some(config))?;
    if file.is_stdout() && cx.output.format != Format::Human {
        return Err(usage(
            "standard output cannot contain the protected versions in addition to a report: with --format, name a \
             file instead of `-`",
        ));
    }
    Ok(Some(file))
}

/// A tag of this prefix must not make its version a candidate, or attach it to another version.
fn check_tag_prefix(prefix: Option<&str>, prune: &Prune) -> Result<(), Errors> {
    let Some(prefix) = prefix else {
        return Ok(());
    };
    let example = format!("{prefix}{}", Digest::of(b"").hex());
    let reason = if prefix.is_empty() {
        "the prefix is empty".to_owned()
    } else if let Err(error) = Tag::parse(&example) {
        error.to_string()
    } else if prefix.starts_with("sha256-") {
        "a tag that starts with sha256- belongs to a signature".to_owned()
    } else if prune.tags.is_match(&example) {
        "prune.tags matches these tags, so they would not protect".to_owned()
    } else {
        return Ok(());
    };
    Err(usage(format!("--tag-protected: {reason}")))
}

/// Writes the protected versions, unless they are not known completely.
fn write_protected(
    file: &OutputFile,
    images: &[ImageOutcome],
    cx: &mut Context,
) -> Result<(), Errors> {
    let is_known = |image: &ImageOutcome| {
        let refusal = image.refusal.as_ref();
        refusal.is_none_or(|refusal| refusal.code == Code::LIMIT)
    };
    if !images.iter().all(is_known) {
        cx.output
            .note("the protected versions are not known completely; no file was written");
        return Ok(());
    }
    let document = ProtectedDocument::new(images);
    let bytes = if cx.is_plain {
        document.plain().into_bytes()
    } else {
        let mut bytes = serde_json::to_vec(&document)
            .map_err(|error| Errors::io(format!("cannot write the document: {error}")))?;
        bytes.push(b'\n');
        bytes
    };
    if file.is_stdout() {
        cx.output.print(&bytes);
        return Ok(());
    }
    file.write(&bytes)?;
    let name = plain(&file.typed().display().to_string());
    cx.output.note(&format!("wrote {name}"));
    Ok(())
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
        limit: match args.limit {
            Some(limit) => limit,
            // This run deletes nothing.
            None if args.tag_protected.is_some() => usize::MAX,
            None => prune.limit,
        },
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
