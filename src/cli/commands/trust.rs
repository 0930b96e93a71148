//! `repin trust show`: every signature and attestation of an image, and what the policy makes of it.
//!
//! Without a `verify` block nobody is trusted, and what verifies within the built-in roots is shown
//! as it would be configured. Nothing is judged: the exit is 0 whatever is found.

use futures_util::future;

use crate::{
    cli::{args, context::Context, exit::Exit, format::Format},
    config::{Config, SignedSubject, Verify},
    error::{Error, Errors},
    files::WorkTree,
    oci::{Digest, Platform, TagOrDigest},
    pins,
    registry::{Source, resolve},
    report::json::{ErrorRow, TrustDocument, TrustImage},
    trust::Examination,
    workflow::trust::Trust,
};

pub(in crate::cli) fn run(args: &args::Trust, cx: &mut Context) -> Result<Exit, Errors> {
    let args::Trust::Show(show) = args;
    let config = cx.load()?;
    let nobody = Verify::nobody();
    let verify = config.verify.as_ref().unwrap_or(&nobody);
    let files = WorkTree::new(&config.root);
    let trust = Trust::of(verify, &config, &files)?;
    let wanted = wanted(&config, &files, &show.subject)?;
    let sources = cx.services.sources_of_images(&config)?;
    let work = wanted.iter().map(|(at, digest)| {
        let (config, trust, source) = (&config, &trust, &sources[*at]);
        examine(*at, *digest, source, config, trust, cx)
    });
    let work = future::join_all(work);
    let found = cx.services.wait(work, "reading signatures")?;
    let (mut images, mut faults) = (Vec::new(), Vec::new());
    for found in found {
        match found {
            Ok(shown) => {
                for (image, examination) in shown {
                    faults.extend(examination.faults);
                    images.push(image);
                }
            }
            Err(error) => faults.push(error),
        }
    }
    if images.is_empty() && faults.is_empty() {
        let message = format!("no configured repository has {}", show.subject);
        return Err(Errors::from(Error::failed("digest_missing", message)));
    }
    let document = TrustDocument {
        schema: "repin.trust/1",
        images,
        errors: faults.iter().map(ErrorRow::of).collect(),
    };
    match cx.output.format {
        Format::Json => cx.output.json(&document),
        Format::Human | Format::Github | Format::Sarif => cx.output.print(document.lines()),
    }
    if faults.is_empty() {
        return Ok(Exit::Done);
    }
    let faults = Errors::from(faults);
    if cx.output.format == Format::Json {
        return Ok(Exit::from(&faults));
    }
    Ok(cx.output.fault(&faults))
}

/// The images to look up, by index, with the digest: the pinned one of a named image, or the given
/// one in every repository.
fn wanted(
    config: &Config,
    files: &WorkTree,
    subject: &str,
) -> Result<Vec<(usize, Digest)>, Errors> {
    let found = config.images.iter().position(|image| image.name == subject);
    let Some(at) = found else {
        let digest = Digest::parse_input(subject).map_err(|error| {
            let names: Vec<_> = config
                .images
                .iter()
                .map(|image| image.name.as_str())
                .collect();
            let message = format!("`{subject}` is neither an image nor a digest: {error}");
            Error::input("usage", message).help(format!("known images: {}", names.join(", ")))
        })?;
        return Ok((0..config.images.len()).map(|at| (at, digest)).collect());
    };
    let found = pins::find(files, config)?;
    let digests: Vec<_> = found
        .digests_of(at)
        .iter()
        .map(|digest| (at, *digest))
        .collect();
    if digests.is_empty() {
        let message = format!("`{subject}` is not pinned, so its digest is unknown");
        let error = Error::input("usage", message);
        return Err(error
            .help("name a digest: repin resolve --revision REV")
            .into());
    }
    Ok(digests)
}

/// What is attached to a digest, or to each of its platforms; nothing if the repository lacks it.
async fn examine(
    at: usize,
    digest: Digest,
    source: &Source,
    config: &Config,
    trust: &Trust<'_>,
    cx: &Context,
) -> Result<Vec<(TrustImage, Examination)>, Error> {
    let want = TagOrDigest::Digest(digest);
    let Some(facts) = resolve::resolve(source, &want).await? else {
        return Ok(Vec::new());
    };
    let revision = facts.label(&config.revision.label);
    let name = &config.images[at].name;
    let subjects: Vec<(Option<&Platform>, Digest)> = match trust.policy.verify.subject {
        SignedSubject::Pinned => vec![(None, digest)],
        SignedSubject::Platforms => (facts.platforms.iter())
            .map(|platform| (Some(&platform.platform), platform.digest))
            .collect(),
    };
    let mut shown = Vec::new();
    for (platform, digest) in subjects {
        let everything = trust.everything(source, name, digest, revision, &cx.services);
        let found = everything.await;
        shown.push((TrustImage::of(name, platform, digest, &found), found));
    }
    Ok(shown)
}
