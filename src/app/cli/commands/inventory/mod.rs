//! `repin inventory`: lists the contents of images, writes them as a contract, and compares them with one.
//!
//! The image of a command, specified by a configured name or a reference, and its platforms.

mod check;
mod enumerate;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use enumerate::OutputKind;

use crate::{
    app::{
        cli::{
            args::{IfUnconfigured, images, revisions},
            change::{print_checks, print_skipped, tally},
            context::Context,
            format::Format,
            output::Exit,
        },
        report::{
            github::{self, SetChecks},
            json::{InventoryDocument, InventoryImage},
            layout::{Align, aligned},
        },
        workflow::forge_overview::{ImagePulls, ManifestPull, check_pull_limit},
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::plain,
    },
    config::{Config, Image, nearest},
    contents::inventory::Inventory,
    core::pins::{self, FoundPins},
    oci::{
        Digest, Platform, Reference, Repository, TagOrDigest,
        registry::{
            Source,
            resolve::{ImageFacts, PlatformFacts},
        },
    },
};

const HELP: &str = "\
Layers are streamed from a registry or an image layout; no container engine is needed.

Example:
  repin inventory check --revision 4f2a…";

/// List the contents of images and check them against contracts
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the names of each kind in an image, as JSON
    #[command(after_help = "Example:\n  repin inventory enumerate review > enumeration.json")]
    Enumerate(ImageArguments),
    /// Compare a listing of an image with a contract
    #[command(
        after_help = "Example:\n  repin inventory match --enumeration enumeration.json --expected expected.yaml"
    )]
    Match {
        /// Output of `repin inventory enumerate`; - is standard input
        #[arg(long, value_name = "FILE")]
        enumeration: PathBuf,
        /// Contract to compare with
        #[arg(long, value_name = "FILE")]
        expected: PathBuf,
    },
    /// Check images against their contracts and the configured rules for their content
    #[command(
        after_help = "Example, before a promotion:\n  repin inventory check --revision 4f2a…\nExample, for the pinned images:\n  repin inventory check review fix"
    )]
    Check {
        /// Names of configured images [default: all]
        #[arg(value_name = "IMAGE", add = images())]
        images: Vec<String>,
        /// Check the images that this revision's tags resolve to instead of the pinned ones
        #[arg(
            short,
            long,
            value_name = "REV",
            allow_hyphen_values = true,
            add = revisions()
        )]
        revision: Option<String>,
        /// Skip instead of failing when a registry denies access
        #[arg(long, value_name = "ACTION")]
        if_unconfigured: Option<IfUnconfigured>,
    },
    /// Print a starting contract that lists everything in an image
    #[command(after_help = "Example:\n  repin inventory init review > images/review/expected.yaml")]
    Init(ImageArguments),
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    match &args.action {
        Action::Enumerate(args) => enumerate::run(args, OutputKind::Listing, cx),
        Action::Init(args) => enumerate::run(args, OutputKind::Contract, cx),
        Action::Match {
            enumeration,
            expected,
        } => check::match_files(enumeration, expected, cx),
        Action::Check {
            images,
            revision,
            if_unconfigured,
        } => check::run(images, revision.as_deref(), *if_unconfigured, cx),
    }
}

/// Prints the verdicts. `problems` in contracts and listings are printed with their places instead of as
/// checks.
fn report(
    document: InventoryDocument,
    problems: Vec<Error>,
    exit: Exit,
    config: &Config,
    cx: &mut Context,
) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.print_json(&document);
        return exit;
    }
    let images = document.images;
    let mut checks = Vec::new();
    for check in images.iter().flat_map(|image| &image.checks) {
        if problems.iter().all(|problem| problem.code != check.code) {
            checks.push(check.clone());
        }
    }
    let table = table(&images);
    if cx.output.format == Format::Github {
        let directory = cx.output.directory.clone();
        let set = SetChecks {
            checks: &checks,
            config,
            directory: &directory,
        };
        cx.output.annotate(&github::annotations(&[set]));
        // The table contains foreign text, which a runner must not interpret as a command.
        if let Err(errors) = cx.output.print_unparsed(table) {
            return exit.worse(cx.output.report_errors(&errors));
        }
        if !problems.is_empty() {
            cx.output.report_errors(&problems.into());
        }
        return exit;
    }
    if !problems.is_empty() {
        cx.output.report_errors(&problems.into());
    }
    print_checks(&checks, config, &mut cx.output);
    cx.output.print(table);
    print_skipped(&checks, None, &mut cx.output);
    exit
}

fn table(images: &[InventoryImage]) -> String {
    let heading = ["IMAGE", "PLATFORM", "DIGEST", "CHECKS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), plain);
    for image in images {
        rows.push(vec![
            or_dash(&image.image),
            or_dash(&image.platform),
            image
                .digest
                .map_or_else(|| "-".to_owned(), |digest| digest.short()),
            tally(image.checks.iter()),
        ]);
    }
    aligned(&[Align::Left; 4], &rows)
}

#[derive(Debug, Args)]
struct ImageArguments {
    /// Name of a configured image (its pinned digest is used), REPOSITORY:TAG or REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE", add = images())]
    image: String,
    /// Read only this platform; without it, all platforms must have the same content
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    platform: Option<Platform>,
}

struct Subject {
    /// The name for messages.
    name: String,
    source: Source,
    /// The digest of the image, or of the index that lists its platforms.
    digest: Digest,
    platforms: Vec<PlatformFacts>,
}

/// The inventory of an image, or of the set, which must declare kinds.
fn kinds<'c>(config: &'c Config, image: Option<&'c Image>) -> Result<&'c Inventory, Errors> {
    let inventory = match image {
        Some(image) => config.inventory_of(image),
        None => config.inventory.as_ref(),
    };
    if let Some(inventory) = inventory
        && !inventory.kinds.is_empty()
    {
        return Ok(inventory);
    }
    let suffix = match image {
        Some(image) => format!(" for `{}`", image.name),
        None => String::new(),
    };
    let message = format!(
        "{} has no `inventory.kinds`{suffix}, so nothing can be listed",
        config.source_text.name
    );
    let help = "declare `inventory.kinds`; `repin schema` describes it";
    Err(Error::input(Code::CONFIG, message).help(help).into())
}

/// Resolves the image and fetches its manifests and configs.
fn resolve(args: &ImageArguments, config: &Config, cx: &Context) -> Result<Subject, Errors> {
    let (repository, build) = interpret(&args.image, config)?;
    let source = cx
        .services
        .sources(config)?
        .source(&repository)
        .map_err(|error| Error::input(Code::SOURCE, error.to_string()))?;
    let pulls = ImagePulls {
        name: &args.image,
        repository: &repository,
        source: &source,
        manifests: vec![ManifestPull::resolution(build.clone())],
    };
    check_pull_limit(&[pulls], &cx.services)?;
    let work = crate::oci::registry::resolve::resolve(&source, &build, &[]);
    let facts = cx
        .services
        .wait(work, &format!("reading {repository}"))
        .map_err(|error| Errors::from(&error))?;
    let Some(facts) = facts else {
        return Err(missing(&repository, &build));
    };
    Ok(Subject {
        name: args.image.clone(),
        source,
        digest: facts.digest,
        platforms: selected_platforms(args, facts)?,
    })
}

fn missing(repository: &Repository, build: &TagOrDigest) -> Errors {
    let code = if matches!(build, TagOrDigest::Tag(_)) {
        Code::TAG_MISSING
    } else {
        Code::DIGEST_MISSING
    };
    let absence = repository.absence(format!("{repository}{build}"));
    let error = Error::new(Class::Failed, code, absence.detail);
    Errors::from(match absence.help {
        Some(help) => error.help(help),
        None => error,
    })
}

/// The configured image with the name or the reference `text`.
fn configured<'c>(text: &str, config: &'c Config) -> Option<&'c Image> {
    config.image(text).or_else(|| {
        let repository = Reference::parse(text).ok()?.repository;
        let mut images = config.images.iter();
        images.find(|image| image.repository == repository)
    })
}

/// Interprets `text` as the name of a configured image, or as a reference.
fn interpret(text: &str, config: &Config) -> Result<(Repository, TagOrDigest), Errors> {
    if let Some(index) = config.images.iter().position(|image| image.name == text) {
        let found = pins::find(&config.work_tree(), config)?;
        let digest = pinned_digest(&found, index, text)?;
        let repository = config.images[index].repository.clone();
        return Ok((repository, TagOrDigest::Digest(digest)));
    }
    let reference = Reference::parse(text).map_err(|error| {
        let names: Vec<_> = config
            .images
            .iter()
            .map(|image| image.name.as_str())
            .collect();
        let hint = match nearest(text, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "specify a configured image ({}), REPOSITORY:TAG or REPOSITORY@DIGEST",
                names.join(", ")
            ),
        };
        let message =
            format!("expected a configured image or a reference, found `{text}`: {error}");
        Errors::from(Error::input(Code::USAGE, message).help(hint))
    })?;
    let build = match (reference.digest, reference.tag) {
        (Some(digest), _) => TagOrDigest::Digest(digest),
        (None, Some(tag)) => TagOrDigest::Tag(tag),
        (None, None) => {
            return Err(usage(format!("`{text}` has neither a tag nor a digest")));
        }
    };
    Ok((reference.repository, build))
}

/// The pinned digest of a configured image.
fn pinned_digest(found: &FoundPins, image: usize, name: &str) -> Result<Digest, Errors> {
    match found.digests_of(image).as_slice() {
        [digest] => Ok(*digest),
        [] => {
            let message = format!("`{name}` is not pinned, so its build is unknown");
            let help = "specify the build as REPOSITORY:TAG or REPOSITORY@DIGEST";
            Err(Error::input(Code::USAGE, message).help(help).into())
        }
        several => {
            let digests: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("the pins of `{name}` disagree: {}", digests.join(", "));
            Err(Errors::from(Error::failed(Code::PIN_DISAGREE, message)))
        }
    }
}

/// All platforms, or the platform of `--platform`.
fn selected_platforms(
    args: &ImageArguments,
    facts: ImageFacts,
) -> Result<Vec<PlatformFacts>, Errors> {
    let mut platforms = facts.platforms;
    let Some(platform) = &args.platform else {
        return Ok(platforms);
    };
    let wanted = platform.normalized();
    let available: Vec<_> = platforms
        .iter()
        .map(|facts| facts.platform.to_string())
        .collect();
    platforms.retain(|facts| facts.platform.normalized() == wanted);
    if platforms.is_empty() {
        let message = format!(
            "{} has no platform `{platform}`; available: {}",
            args.image,
            available.join(", ")
        );
        let error = Error::failed(Code::ENUMERATION_FAILED, message);
        return Err(error.help("choose one of the available platforms").into());
    }
    Ok(platforms)
}

fn platform(text: &str) -> Result<Platform, &'static str> {
    Platform::parse(text).ok_or(Platform::EXPECTED)
}
