//! `repin prune restore`: restores a deleted version, or the tags of pinned digests.

mod retag;

use clap::Args;

use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, images, strict_bool, whole_number},
            context::Context,
            format::Format,
            output::Exit,
        },
        report::prune::RestoreDocument,
        workflow::{Access, check_image_name, no_token_error, prune_backend::prune_backend},
    },
    base::{
        error::{Class, Code, Error, Errors},
        untrusted::plain,
    },
    prune::{Version, backends::Backend},
};

const HELP: &str = "\
Without --version, restore sets the tag of each pinned digest that has none, because registries delete such digests.

Examples:
  repin prune restore --apply                                   # tags of pinned digests
  repin prune restore --image review --version 123456 --apply   # ID from the log";

/// Set the tags of pinned digests again, or restore a deleted version (GitHub: for 30 days)
#[derive(Debug, Args)]
#[command(after_help = HELP)]
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
    /// Restore the version, or set the tags
    #[arg(long)]
    apply: bool,
    /// true forbids every change; false means --apply; an empty BOOL means true
    #[arg(long, value_name = "BOOL", value_parser = strict_bool, allow_hyphen_values = true)]
    dry_run: Option<bool>,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let apply = cx.may_change(args.apply, args.dry_run)?;
    let config = cx.load()?;
    if let Some(name) = &args.image {
        check_image_name(&config, name, "--image: ")?;
    }
    let (Some(name), Some(version)) = (&args.image, args.version) else {
        return retag::run(args, apply, &config, cx);
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
