//! `repin prune restore`: restore a deleted version.

use crate::{
    cli::{args, context::Context, exit::Exit, format::Format},
    code::Code,
    error::{Class, Error, Errors},
    prune::{Version, backends::Backend},
    report::prune::RestoreDocument,
    untrusted::plain,
    workflow::{Access, no_token_error, prune_backend::prune_backend},
};

pub(super) fn run(args: &args::Restore, cx: &mut Context) -> Result<Exit, Errors> {
    let armed = cx.armed(args.apply, args.dry_run)?;
    let config = cx.load()?;
    super::block(&config)?;
    let at = super::chosen(std::slice::from_ref(&args.image), &config)?;
    let [at] = at.as_slice() else {
        return Ok(Exit::Because(Class::Input));
    };
    let backend = match prune_backend(&config, &config.images[*at], &cx.services)? {
        Access::Granted(backend) => backend,
        Access::NoToken(reason) if args.if_unconfigured.is_some() => {
            cx.output.note(&format!("skipped: {reason}"));
            report(args, armed, None, cx);
            return Ok(Exit::Done);
        }
        Access::NoToken(reason) => return Err(no_token_error(&reason)),
    };
    let Backend::Ghcr(package) = backend else {
        let problem = Error::input(
            Code::USAGE,
            format!(
                "the registry of {} cannot restore deleted versions",
                args.image
            ),
        );
        return Err(Errors::from(
            problem.help("push the image again from its build"),
        ));
    };
    let restored = if armed {
        cx.services.interruption.changes(format!(
            "version {} may have been restored; run the command again",
            args.version
        ));
        let work = package.restore(args.version);
        Some(cx.services.wait(work, "restoring")??)
    } else {
        None
    };
    report(args, armed, restored.as_ref(), cx);
    Ok(Exit::Done)
}

fn report(args: &args::Restore, applied: bool, restored: Option<&Version>, cx: &mut Context) {
    let tags = restored
        .iter()
        .flat_map(|version| &version.tags)
        .map(ToString::to_string)
        .collect();
    let (image, digest) = (
        args.image.clone(),
        restored.as_ref().map(|version| version.digest),
    );
    let document = RestoreDocument {
        schema: "repin.restore/1",
        applied: digest.is_some(),
        image,
        version: args.version,
        digest,
        tags,
    };
    if cx.output.format == Format::Json {
        cx.output.json(&document);
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
