//! `repin prune restore`: put back a version that was deleted.

use super::armed;
use crate::{
    cli::{
        args::{self, IfUnconfigured},
        context::Context,
        exit::Exit,
        forge::no_token,
        output::Format,
        packages, progress,
    },
    error::{Class, Error, Errors},
    prune::{Version, backends::Backend},
    report::prune::RestoreDocument,
    untrusted::plain,
};

pub(super) fn run(args: &args::Restore, cx: &mut Context) -> Result<Exit, Errors> {
    let armed = armed(args.apply, args.dry_run, cx)?;
    let config = cx.load()?;
    super::block(&config)?;
    let at = super::chosen(std::slice::from_ref(&args.image), &config)?;
    let [at] = at.as_slice() else {
        return Ok(Exit::Because(Class::Input));
    };
    let backend = match packages::backend(&config, &config.images[*at], cx)? {
        Ok(backend) => backend,
        Err(why) if args.if_unconfigured == Some(IfUnconfigured::Skip) => {
            cx.output.note(&format!("skipped: {why}"));
            report(args, armed, None, cx);
            return Ok(Exit::Done);
        }
        Err(why) => return Err(no_token(&why)),
    };
    let Backend::Ghcr(package) = backend else {
        let problem = Error::input(
            "usage",
            format!(
                "the registry of {} can't restore what was deleted",
                args.image
            ),
        );
        return Err(Errors::from(
            problem.help("push the image again from where it was built"),
        ));
    };
    let restored = if armed {
        let work = progress::while_waiting(
            cx.output.progress,
            "restoring",
            package.restore(args.version),
        );
        Some(cx.runtime()?.block_on(work)?)
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
