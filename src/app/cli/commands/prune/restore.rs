//! `repin prune restore`: restores a deleted version, or the tags of pinned digests.

use clap::Args;
use serde::Serialize;

use crate::{
    app::{
        cli::{
            args::{ApplyOptions, IfUnconfigured, images, whole_number},
            context::Context,
            format::Format,
            output::Exit,
        },
        report::{json::ErrorRow, prune::RestoreDocument},
        workflow::{
            Access, check_image_name, no_token_error,
            prune_backend::prune_backend,
            untagged_pins::{self, PinnedDigest, UntaggedPin},
        },
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        text::counted,
        untrusted::plain,
    },
    config::Config,
    core::pins,
    oci::{Digest, Tag, registry::Source},
    prune::{
        Version,
        backends::{self, Backend},
    },
};

const HELP: &str = "\
Without --version, restore sets the tag of each pinned digest that has none, because registries delete such digests.

Examples:
  repin prune restore --apply                                   # tags of pinned digests
  repin prune restore --image review --version 123456 --apply   # ID from the log";

/// Set the tags of pinned digests again, or restore a deleted version (GitHub: for 30 days)
#[derive(Debug, Args)]
#[command(after_help = HELP, mut_arg("apply", |arg| arg.help("Restore the version, or set the tags")))]
pub(super) struct Arguments {
    /// Configured image; without --version, every image by default
    #[arg(short, long, value_name = "NAME", add = images())]
    image: Option<String>,
    /// ID of the deleted version
    #[arg(long, value_name = "ID", value_parser = whole_number::<u64>, requires = "image")]
    version: Option<u64>,
    /// Tag this digest instead of the pinned one
    #[arg(long, value_name = "DIGEST", requires_all = ["image", "tag"], conflicts_with = "version")]
    digest: Option<String>,
    /// Set this tag instead of that of the revision
    #[arg(
        long,
        value_name = "TAG",
        requires = "image",
        conflicts_with = "version"
    )]
    tag: Option<String>,
    #[command(flatten)]
    options: ApplyOptions,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let apply = cx.may_change(args.options.apply, args.options.dry_run)?;
    let config = cx.load()?;
    if let Some(name) = &args.image {
        check_image_name(&config, name, "--image: ")?;
    }
    let (Some(name), Some(version)) = (&args.image, args.version) else {
        return retag(args, apply, &config, cx);
    };
    super::prune_block(&config)?;
    let Some(image) = config.image(name) else {
        return Ok(Exit::Failed(Class::Input));
    };
    let backend = match prune_backend(&config, image, &cx.services)? {
        Access::Granted(backend) => backend,
        Access::NoToken(reason) if args.if_unconfigured.is_some() => {
            cx.output.note(&format!("skipped: {reason}"));
            report(name, version, apply, None, cx);
            return Ok(cx.note_skip("prune restore", &reason));
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let Backend::Ghcr(package) = backend else {
        let message = format!("the registry of {name} cannot restore deleted versions");
        let help = "push the image again from its build";
        return Err(Error::input(Code::USAGE, message).help(help).into());
    };
    let restored = if apply {
        cx.services.interruption.changes(format!(
            "version {version} may have been restored; run the command again"
        ));
        let work = package.restore(version);
        Some(cx.services.wait(work, "restoring")?)
    } else {
        None
    };
    report(name, version, apply, restored.as_ref(), cx);
    Ok(Exit::Done)
}

fn report(name: &str, version: u64, applied: bool, restored: Option<&Version>, cx: &mut Context) {
    let digest = restored.map(|version| version.digest);
    let tags = match restored {
        Some(version) => version.tags.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    let document = RestoreDocument {
        schema: "repin.restore/1",
        applied: digest.is_some(),
        image: name.to_owned(),
        version,
        digest,
        tags,
    };
    if cx.output.format == Format::Json {
        cx.output.print_json(&document);
        return;
    }
    let name = plain(name);
    let text = match document.digest {
        Some(digest) => {
            format!(
                "restored: version {} of {name}, {digest} ({})\n",
                version,
                document.tags.join(", ")
            )
        }
        None if applied => String::new(),
        None => format!("dry run: --apply would restore version {version} of {name}\n"),
    };
    cx.output.print_text(&text);
}

/// `repin.retag/1`: the tags of pinned digests that had none.
#[derive(Debug, Serialize)]
struct RetagDocument {
    schema: &'static str,
    applied: bool,
    tags: Vec<RetagRow>,
    errors: Vec<ErrorRow>,
}

#[derive(Debug, Serialize)]
struct RetagRow {
    image: String,
    repository: String,
    digest: Digest,
    tag: Option<Tag>,
    /// Whether this run set the tag.
    set: bool,
    /// Whether another digest has the tag.
    #[serde(skip)]
    is_taken: bool,
}

/// Sets the tag of each pinned digest that has none.
fn retag(args: &Arguments, apply: bool, config: &Config, cx: &mut Context) -> Result<Exit, Errors> {
    let sources = cx.services.sources_of_images(config)?;
    let mut rows = Vec::new();
    let (mut exit, mut errors) = (Exit::Done, Vec::new());
    for found in untagged_pins::untagged_pins(config, wanted(args, config, &sources)?, &cx.services)
    {
        let UntaggedPin {
            image,
            digest,
            tag,
            taken_by,
            ..
        } = match found {
            Ok(untagged) => untagged,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let name = &config.images[image].name;
        let mut row = RetagRow {
            image: name.clone(),
            repository: config.images[image].repository.to_string(),
            digest,
            tag,
            set: false,
            is_taken: taken_by.is_some(),
        };
        let select = || {
            format!(
                "select one: `repin prune restore --image {name} --digest {digest} --tag TAG --apply`"
            )
        };
        match (&row.tag, taken_by) {
            (Some(tag), Some(other)) => {
                let error = backends::taken_tag(&sources[image], tag, other);
                errors.push(error.help(select()));
            }
            (Some(tag), None) if apply => {
                let changed = format!("{name}:{tag} may have been set; run the command again");
                cx.services.interruption.changes(changed);
                let work = backends::set_tag(&sources[image], digest, tag);
                match cx.services.wait(work, "setting tags") {
                    Ok(()) => row.set = true,
                    Err(error) => errors.push(error),
                }
            }
            (Some(_), None) => {}
            (None, _) => {
                let message =
                    format!("{name}: neither a pin nor a label states the tag of {digest}");
                let error = Error::new(Class::Failed, Code::PIN_UNTAGGED, message);
                errors.push(error.help(select()));
            }
        }
        rows.push(row);
    }
    let is_selected = |name: &String| args.image.as_ref().is_none_or(|image| image == name);
    let mut images = config.images.iter();
    let is_unchecked = args.digest.is_none()
        && images.any(|image| is_selected(&image.name) && image.repository.is_on_hub());
    report_tags(rows, &errors, apply, is_unchecked, cx);
    if !errors.is_empty() {
        let errors = Errors::from(errors);
        exit = exit.worse(Exit::from(&errors));
        if cx.output.format != Format::Json {
            cx.output.report_errors(&errors);
        }
    }
    Ok(exit)
}

/// The digests to check: the given one, or those of the pins.
fn wanted<'s>(
    args: &Arguments,
    config: &Config,
    sources: &'s [Source],
) -> Result<Vec<PinnedDigest<'s>>, Errors> {
    let tag = args.tag.as_deref().map(Tag::parse).transpose();
    let tag = tag.map_err(|error| usage(format!("--tag: {error}")))?;
    if let (Some(name), Some(digest)) = (&args.image, &args.digest) {
        let digest = digest
            .parse()
            .map_err(|error| usage(format!("--digest: {error}")))?;
        let image = config.images.iter().position(|image| image.name == *name);
        let image = image.ok_or_else(|| usage(format!("--image: `{}` is unknown", plain(name))))?;
        return Ok(vec![PinnedDigest {
            image,
            digest,
            source: &sources[image],
            selected: tag,
            recorded: None,
            pins: Vec::new(),
        }]);
    }
    let found = pins::find(&config.work_tree(), config)?;
    let mut wanted = untagged_pins::pinned_digests(config, &found, sources, None);
    if let Some(name) = &args.image {
        wanted.retain(|pinned| config.images[pinned.image].name == *name);
    }
    for pinned in &mut wanted {
        pinned.selected.clone_from(&tag);
    }
    Ok(wanted)
}

/// `is_unchecked`: whether images on Docker Hub were skipped; `is_complete`: whether no error occurred.
fn report_tags(
    rows: Vec<RetagRow>,
    errors: &[Error],
    apply: bool,
    is_unchecked: bool,
    cx: &mut Context,
) {
    let is_complete = errors.is_empty();
    if is_unchecked {
        cx.output.note(
            "pinned digests on Docker Hub were not checked; name one with --digest and --tag",
        );
    }
    if cx.output.format == Format::Json {
        cx.output.print_json(&RetagDocument {
            schema: "repin.retag/1",
            applied: apply && is_complete,
            tags: rows,
            errors: errors.iter().map(ErrorRow::of).collect(),
        });
        return;
    }
    for row in &rows {
        let tag = row.tag.as_ref().map_or("?", Tag::as_str);
        let done = match (row.set, row.is_taken) {
            (true, _) => "set",
            (false, true) => "not moved from another digest",
            (false, false) => "missing",
        };
        let line = format!("{}:{tag} -> {}: {done}", row.repository, row.digest);
        cx.output.print(format!("{}\n", plain(&line)));
    }
    let set = rows.iter().filter(|row| row.set).count();
    let can_set = |row: &&RetagRow| row.tag.is_some() && !row.is_taken;
    let missing = rows.iter().filter(can_set).count();
    let note = match rows.len() {
        0 if is_unchecked || !is_complete => return,
        0 => "every pinned digest has a tag".to_owned(),
        _ if set > 0 => format!("{} set", counted(set, "tag")),
        _ if apply || missing == 0 => "nothing was changed".to_owned(),
        _ => format!(
            "nothing was changed; --apply would set {}",
            counted(missing, "tag")
        ),
    };
    cx.output.note(&note);
}
