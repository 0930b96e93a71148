//! `repin trust`: shows the signatures and attestations of images (`show`), and updates the trusted roots
//! (`update`).
//!
//! `show` also prints the verdict of the policy on each signature. Without a `verify` block, no signer is
//! trusted, and signatures that verify within the built-in roots are printed in the form of the configuration.
//! Verdicts do not change the exit code.

mod update;

use clap::{Args, Subcommand};
use futures_util::future;

use crate::{
    app::{
        cli::{args::images, context::Context, format::Format, output::Exit},
        report::json::{ErrorRow, TrustDocument, TrustImage},
        workflow::{
            forge_overview::{ImagePulls, ManifestPull, check_pull_limit, signature_pulls},
            trust::Trust,
        },
    },
    base::{
        error::{Code, Error, Errors},
        files::WorkTree,
    },
    config::{Config, nearest},
    core::pins,
    oci::{
        Digest, Platform, Reference, ReferenceError, Repository, TagOrDigest,
        registry::{Source, resolve},
    },
    trust::{SearchResult, SignedSubject, Verify},
};

const EXAMPLES: &str = "\
Examples:
  repin trust show review
  repin trust show ghcr.io/acme/review:1.4
  repin trust show sha256:4f2a… --format json | jq '.images[].candidates[].signer'";

/// Show the signatures of images, and update the trusted roots
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every signature and attestation of an image, and whether the policy accepts it
    #[command(after_help = EXAMPLES)]
    Show(Show),
    Update(update::Arguments),
}

#[derive(Debug, Args)]
struct Show {
    /// Name of a configured image (its pinned digest is used), a digest in any configured
    /// repository, or any REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE|DIGEST|REFERENCE", add = images())]
    subject: String,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    match &args.action {
        Action::Show(args) => show(args, cx),
        Action::Update(args) => update::run(args, cx),
    }
}

fn show(args: &Show, cx: &mut Context) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let no_policy = Verify::without_signers();
    let verify = config.verify.as_ref().unwrap_or(&no_policy);
    let files = WorkTree::new(&config.root);
    let trust = Trust::of(verify, &config, &files)?;
    let lookups = lookups(&config, &files, &args.subject, cx)?;
    let mut pulls = Vec::new();
    for lookup in &lookups {
        let manifest = ManifestPull {
            further: signature_pulls(Some(verify)),
            ..ManifestPull::resolution(lookup.want.clone())
        };
        pulls.push(ImagePulls {
            name: &lookup.name,
            repository: &lookup.repository,
            source: &lookup.source,
            manifests: vec![manifest],
        });
    }
    check_pull_limit(&pulls, &cx.services)?;
    let requests = lookups
        .iter()
        .map(|lookup| examine(lookup, &config, &trust, cx));
    let work = future::join_all(requests);
    let (mut images, mut errors) = (Vec::new(), Vec::new());
    for result in cx.services.wait(work, "reading signatures") {
        match result {
            Ok(examined) => {
                for (image, examination) in examined {
                    errors.extend(examination.faults);
                    images.push(image);
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if images.is_empty() && errors.is_empty() {
        return Err(missing(&lookups, &args.subject));
    }
    let document = TrustDocument {
        schema: "repin.trust/1",
        images,
        errors: errors.iter().map(ErrorRow::of).collect(),
    };
    match cx.output.format {
        Format::Json => cx.output.print_json(&document),
        Format::Human | Format::Github | Format::Sarif | Format::Gitlab => {
            cx.output.print_text(&document.text());
        }
    }
    if errors.is_empty() {
        return Ok(Exit::Done);
    }
    let errors = Errors::from(errors);
    if cx.output.format == Format::Json {
        return Ok(Exit::from(&errors));
    }
    Ok(cx.output.report_errors(&errors))
}

/// A tag or a digest in a repository.
struct Lookup {
    /// The configured image's name, or the repository.
    name: String,
    repository: Repository,
    /// The repositories that a signed statement may contain.
    signed: Vec<Repository>,
    source: Source,
    want: TagOrDigest,
}

/// The pinned digests of a configured image, a digest in every configured repository, or a reference.
fn lookups(
    config: &Config,
    files: &WorkTree,
    subject: &str,
    cx: &Context,
) -> Result<Vec<Lookup>, Errors> {
    let sources = cx.services.sources_of_images(config)?;
    let of_image = |index: usize, want: TagOrDigest| Lookup {
        name: config.images[index].name.clone(),
        repository: config.images[index].repository.clone(),
        signed: config.images[index].signed_repositories(),
        source: sources[index].clone(),
        want,
    };
    let mut lookups = Vec::new();
    if let Some(index) = config.images.iter().position(|image| image.name == subject) {
        let found = pins::find(files, config)?;
        for digest in found.digests_of(index) {
            lookups.push(of_image(index, TagOrDigest::Digest(digest)));
        }
        if lookups.is_empty() {
            let message = format!("`{subject}` is not pinned, so its digest is unknown");
            let help = "give a digest: repin resolve --revision REV";
            return Err(Error::input(Code::USAGE, message).help(help).into());
        }
        return Ok(lookups);
    }
    match Digest::parse_input(subject) {
        Ok(digest) => {
            for index in 0..config.images.len() {
                lookups.push(of_image(index, TagOrDigest::Digest(digest)));
            }
            return Ok(lookups);
        }
        // Otherwise this would be a tag of the repository `sha256`.
        Err(error) if subject.starts_with("sha256:") => {
            let message = format!("malformed digest `{subject}`: {error}");
            let help = "write all 64 digits: `repin status -v` shows them";
            return Err(Error::input(Code::USAGE, message).help(help).into());
        }
        Err(_) => {}
    }
    let reference =
        Reference::parse(subject).map_err(|error| not_a_subject(config, subject, &error))?;
    let want = match (reference.digest, reference.tag) {
        (Some(digest), _) => TagOrDigest::Digest(digest),
        (None, Some(tag)) => TagOrDigest::Tag(tag),
        (None, None) => return Ok(lookups),
    };
    let mut images = config.images.iter();
    if let Some(index) = images.position(|image| image.repository == reference.repository) {
        return Ok(vec![of_image(index, want)]);
    }
    let source = cx
        .services
        .sources(config)?
        .source(&reference.repository)
        .map_err(|error| Error::input(Code::SOURCE, error.to_string()))?;
    Ok(vec![Lookup {
        name: reference.repository.to_string(),
        signed: vec![reference.repository.clone()],
        repository: reference.repository,
        source,
        want,
    }])
}

fn not_a_subject(config: &Config, subject: &str, error: &ReferenceError) -> Errors {
    let images = config.images.iter();
    let names: Vec<_> = images.map(|image| image.name.as_str()).collect();
    let help = match nearest(subject, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "give a configured image ({}), a digest, REPOSITORY:TAG or REPOSITORY@DIGEST",
            names.join(", ")
        ),
    };
    let message =
        format!("expected a configured image, a digest or a reference, found `{subject}`: {error}");
    Error::input(Code::USAGE, message).help(help).into()
}

/// The error if no repository contains the tag or digest.
fn missing(lookups: &[Lookup], subject: &str) -> Errors {
    let [lookup] = lookups else {
        let message = format!("no configured repository has {subject}");
        return Errors::from(Error::failed(Code::DIGEST_MISSING, message));
    };
    let code = match lookup.want {
        TagOrDigest::Tag(_) => Code::TAG_MISSING,
        TagOrDigest::Digest(_) => Code::DIGEST_MISSING,
    };
    let Lookup {
        repository, want, ..
    } = lookup;
    Error::failed(code, format!("{repository}{want} does not exist")).into()
}

/// The signatures and attestations of an image or of its platforms; empty if the image does not exist.
async fn examine(
    lookup: &Lookup,
    config: &Config,
    trust: &Trust<'_>,
    cx: &Context,
) -> Result<Vec<(TrustImage, SearchResult)>, Error> {
    let Some(facts) = resolve::resolve(&lookup.source, &lookup.want, &[]).await? else {
        return Ok(Vec::new());
    };
    let revision = facts.first_revision(config.revision.field());
    let subjects: Vec<(Option<&Platform>, Digest)> = match trust.policy.verify.subject {
        SignedSubject::Pinned => vec![(None, facts.digest)],
        SignedSubject::Platforms => (facts.platforms.iter())
            .map(|platform| (Some(&platform.platform), platform.digest))
            .collect(),
    };
    let mut images = Vec::new();
    for (platform, digest) in subjects {
        let Lookup {
            name,
            source,
            signed,
            ..
        } = lookup;
        let found = trust
            .examine_everything(source, name, signed, digest, revision, &cx.services)
            .await;
        images.push((TrustImage::of(name, platform, digest, &found), found));
    }
    Ok(images)
}
