//! `repin prune restore`: restores a deleted version.

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
Example:
  repin prune restore --image review --version 123456 --apply   # ID from the log";

/// Restore a deleted version, if the registry supports it (GitHub: for 30 days)
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Configured image
    #[arg(short, long, value_name = "NAME", add = images())]
    image: String,
    /// ID of the version
    #[arg(long, value_name = "ID", value_parser = whole_number::<u64>)]
    version: u64,
    /// Restore the version
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
    super::prune_block(&config)?;
    check_image_name(&config, &args.image, "--image: ")?;
    let Some(image) = config.image(&args.image) else {
        return Ok(Exit::Failed(Class::Input));
    };
    let backend = match prune_backend(&config, image, &cx.services)? {
        Access::Granted(backend) => backend,
        Access::NoToken(reason) if args.if_unconfigured.is_some() => {
            cx.output.note(&format!("skipped: {reason}"));
            report(args, apply, None, cx);
            return Ok(cx.note_skip("prune restore", &reason));
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let Backend::Ghcr(package) = backend else {
        let message = format!(
            "the registry of {} cannot restore deleted versions",
            args.image
        );
        let help = "push the image again from its build";
        return Err(Error::input(Code::USAGE, message).help(help).into());
    };
    let restored = if apply {
        cx.services.interruption.changes(format!(
            "version {} may have been restored; run the command again",
            args.version
        ));
        let work = package.restore(args.version);
        Some(cx.services.wait(work, "restoring")?)
    } else {
        None
    };
    report(args, apply, restored.as_ref(), cx);
    Ok(Exit::Done)
}

fn report(args: &Arguments, applied: bool, restored: Option<&Version>, cx: &mut Context) {
    let digest = restored.map(|version| version.digest);
    let tags = match restored {
        Some(version) => version.tags.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    let document = RestoreDocument {
        schema: "repin.restore/1",
        applied: digest.is_some(),
        image: args.image.clone(),
        version: args.version,
        digest,
        tags,
    };
    if cx.output.format == Format::Json {
        cx.output.print_json(&document);
        return;
    }
    let name = plain(&args.image);
    let text = match document.digest {
        Some(digest) => {
            format!(
                "restored: version {} of {name}, {digest} ({})\n",
                args.version,
                document.tags.join(", ")
            )
        }
        None if applied => String::new(),
        None => format!(
            "dry run: --apply would restore version {} of {name}\n",
            args.version
        ),
    };
    cx.output.print(text);
}
