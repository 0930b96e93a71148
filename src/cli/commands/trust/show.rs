//! `repin trust show`: every signature and attestation of an image, and what the policy makes of it.
//!
//! Without a `verify` block nobody is trusted, and what verifies within the built-in roots is shown
//! as it would be configured. Nothing is verdict: the exit is 0 whatever is found.

use futures_util::future;

use crate::{
    cli::{args, context::Context, exit::Exit, format::Format},
    code::Code,
    config::{Config, SignedSubject, Verify, nearest},
    error::{Error, Errors},
    files::WorkTree,
    oci::{Digest, Platform, Reference, ReferenceError, Repository, TagOrDigest},
    pins,
    registry::{Source, resolve},
    report::json::{ErrorRow, TrustDocument, TrustImage},
    trust::SearchResult,
    workflow::trust::Trust,
};

pub(super) fn run(show: &args::TrustShow, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let unconfigured = Verify::without_signers();
    let verify = config.verify.as_ref().unwrap_or(&unconfigured);
    let files = WorkTree::new(&config.root);
    let trust = Trust::of(verify, &config, &files)?;
    let wanted = wanted(&config, &files, &show.subject, cx)?;
    let work = wanted
        .iter()
        .map(|wanted| examine(wanted, &config, &trust, cx));
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
        return Err(missing(&wanted, &show.subject));
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

/// What to look up: a tag or a digest in a repository.
struct Wanted {
    /// The configured image's name, or the repository.
    name: String,
    repository: Repository,
    /// The repositories that a statement may refer to.
    signed: Vec<Repository>,
    source: Source,
    want: TagOrDigest,
}

/// The pinned digests of a configured image, a digest in every configured repository, or a reference.
fn wanted(
    config: &Config,
    files: &WorkTree,
    subject: &str,
    cx: &Context,
) -> Result<Vec<Wanted>, Errors> {
    let sources = cx.services.sources_of_images(config)?;
    let of_image = |at: usize, want: TagOrDigest| Wanted {
        name: config.images[at].name.clone(),
        repository: config.images[at].repository.clone(),
        signed: config.images[at].signed_repositories(),
        source: sources[at].clone(),
        want,
    };
    if let Some(at) = config.images.iter().position(|image| image.name == subject) {
        let found = pins::find(files, config)?;
        let digests = found.digests_of(at).into_iter();
        let wanted: Vec<_> = digests
            .map(|digest| of_image(at, TagOrDigest::Digest(digest)))
            .collect();
        if wanted.is_empty() {
            let message = format!("`{subject}` is not pinned, so its digest is unknown");
            let error = Error::input(Code::USAGE, message);
            return Err(error
                .help("give a digest: repin resolve --revision REV")
                .into());
        }
        return Ok(wanted);
    }
    if let Ok(digest) = Digest::parse_input(subject) {
        let every = 0..config.images.len();
        return Ok(every
            .map(|at| of_image(at, TagOrDigest::Digest(digest)))
            .collect());
    }
    let reference =
        Reference::parse(subject).map_err(|error| not_a_subject(config, subject, &error))?;
    let digest = reference.digest.map(TagOrDigest::Digest);
    let Some(want) = digest.or_else(|| reference.tag.map(TagOrDigest::Tag)) else {
        return Ok(Vec::new());
    };
    let mut images = config.images.iter();
    if let Some(at) = images.position(|image| image.repository == reference.repository) {
        return Ok(vec![of_image(at, want)]);
    }
    let source = cx.services.sources(config)?.source(&reference.repository);
    let source =
        source.map_err(|error| Errors::from(Error::input(Code::SOURCE, error.to_string())))?;
    Ok(vec![Wanted {
        name: reference.repository.to_string(),
        signed: vec![reference.repository.clone()],
        repository: reference.repository,
        source,
        want,
    }])
}

fn not_a_subject(config: &Config, subject: &str, error: &ReferenceError) -> Errors {
    let names = config.images.iter().map(|image| image.name.as_str());
    let names: Vec<_> = names.collect();
    let help = match nearest(subject, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "give a configured image ({}), a digest, REPOSITORY:TAG or REPOSITORY@DIGEST",
            names.join(", ")
        ),
    };
    let message =
        format!("`{subject}` is neither a configured image, a digest nor a reference: {error}");
    Error::input(Code::USAGE, message).help(help).into()
}

/// The error that none of the repositories has the tag or digest.
fn missing(wanted: &[Wanted], subject: &str) -> Errors {
    let [one] = wanted else {
        let message = format!("no configured repository has {subject}");
        return Errors::from(Error::failed(Code::DIGEST_MISSING, message));
    };
    let code = match one.want {
        TagOrDigest::Tag(_) => Code::TAG_MISSING,
        TagOrDigest::Digest(_) => Code::DIGEST_MISSING,
    };
    let (repository, want) = (&one.repository, &one.want);
    let error = Error::failed(code, format!("{repository}{want} does not exist"));
    Errors::from(error)
}

/// What is attached to an image, or to each of its platforms; nothing if the repository lacks it.
async fn examine(
    wanted: &Wanted,
    config: &Config,
    trust: &Trust<'_>,
    cx: &Context,
) -> Result<Vec<(TrustImage, SearchResult)>, Error> {
    let Some(facts) = resolve::resolve(&wanted.source, &wanted.want).await? else {
        return Ok(Vec::new());
    };
    let revision = facts.label(&config.revision.label);
    let subjects: Vec<(Option<&Platform>, Digest)> = match trust.policy.verify.subject {
        SignedSubject::Pinned => vec![(None, facts.digest)],
        SignedSubject::Platforms => (facts.platforms.iter())
            .map(|platform| (Some(&platform.platform), platform.digest))
            .collect(),
    };
    let mut shown = Vec::new();
    for (platform, digest) in subjects {
        let everything = trust.examine_everything(
            &wanted.source,
            &wanted.name,
            &wanted.signed,
            digest,
            revision,
            &cx.services,
        );
        let found = everything.await;
        shown.push((
            TrustImage::of(&wanted.name, platform, digest, &found),
            found,
        ));
    }
    Ok(shown)
}
