//! `repin inventory check`: checks the contents of images, at their pins or at the tags of a revision.
//!
//! `repin inventory match`: compares an existing listing with a contract.

use std::{
    io::{self, Read},
    path::Path,
};

use super::report;
use crate::{
    app::{
        cli::{
            args::IfUnconfigured, commands::inventory, context::Context, job::take_denied,
            output::Exit,
        },
        report::json::{InventoryDocument, InventoryImage},
        workflow::{
            Contracts, RequestedRevision, check_image_name,
            forge_overview::{ImagePulls, ManifestPull, check_pull_limit},
            image_contents::{self, ExaminedPlatform, PlatformSource},
            select_tags,
        },
    },
    base::{
        error::{Class, Code, Error, Errors},
        files::WorkTree,
        input_file,
    },
    config::{Config, Image},
    contents::inventory::{Enumeration, Inventory},
    core::{
        checks::{
            Check, ContractFile, Standard, Status, any_failed, check_required_labels, contract,
            no_tag,
        },
        pins,
    },
    oci::{
        TagOrDigest,
        registry::{
            NoTag, Source,
            resolve::{self, ImageFacts},
        },
    },
};

/// One build of an image.
struct Build<'c> {
    /// The index of the image in the configuration.
    image: usize,
    name: &'c str,
    /// `None` if the image is not pinned.
    want: Option<TagOrDigest>,
    /// The failure if no single tag matches the pattern of the revision's tags.
    refused: Option<Check>,
    /// `None` if the build does not exist, or was not resolved.
    found: Result<Option<ImageFacts>, Error>,
}

impl<'c> Build<'c> {
    fn new(config: &'c Config, image: usize, want: Option<TagOrDigest>) -> Self {
        Self {
            image,
            name: &config.images[image].name,
            want,
            refused: None,
            found: Ok(None),
        }
    }

    fn facts(&self) -> Option<&ImageFacts> {
        self.found.as_ref().ok()?.as_ref()
    }
}

pub(super) fn run(
    images: &[String],
    revision: Option<&str>,
    if_unconfigured: Option<IfUnconfigured>,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let contracts = Contracts::read(&config, &WorkTree::new(&config.root), &cx.output.directory);
    let has_rules =
        |image: &Image| config.inventory_of(image).is_some() || image.contract.is_some();
    if !config.images.iter().any(has_rules) {
        let message = format!(
            "{} has neither `inventory` nor a contract, so nothing can be checked",
            config.source_text.name
        );
        return Err(Errors::from(
            Error::input(Code::CONFIG, message)
                .help("add an `inventory` block; `repin schema` describes it"),
        ));
    }
    contracts.well_formed(&config)?;
    let sources = cx.services.sources_of_images(&config)?;
    let mut builds = builds(&config, images, revision, &sources, cx)?;
    let mut pulls = Vec::new();
    for build in &builds {
        let wanted = build.want.iter().cloned();
        pulls.push(ImagePulls {
            name: build.name,
            repository: &config.images[build.image].repository,
            source: &sources[build.image],
            manifests: wanted.map(ManifestPull::resolution).collect(),
        });
    }
    check_pull_limit(&pulls, &cx.services)?;
    let names: Vec<_> = builds.iter().map(|build| build.name).collect();
    let requests = builds.iter_mut().map(|build| {
        let source = &sources[build.image];
        async move {
            if let Some(want) = &build.want {
                build.found = resolve::resolve(source, want, &[]).await;
            }
        }
    });
    cx.services
        .wait_for_all("reading manifests", &names, requests);
    let standards = contracts.standards(&config);
    let (images, mut errors) = verdicts(&config, &standards, &builds, &sources, cx);
    let is_complete = errors.is_empty();
    let skipped = match if_unconfigured {
        Some(IfUnconfigured::Skip) => take_denied(&mut errors),
        None => Vec::new(),
    };
    let failed = if images.iter().any(|image| any_failed(&image.checks)) {
        Exit::Failed(Class::Failed)
    } else {
        Exit::Done
    };
    let failure = (!errors.is_empty()).then(|| Errors::from(errors.clone()));
    let exit = failed.worse(failure.as_ref().map_or(Exit::Done, Exit::from));
    let document = InventoryDocument {
        schema: "repin.inventory/1",
        clean: exit == Exit::Done && is_complete,
        images,
    };
    let mut exit = report(document, errors, exit, &config, cx);
    for reason in skipped {
        exit = exit.worse(cx.note_skip("inventory check", &reason));
    }
    Ok(exit)
}

/// The builds to check.
fn builds<'c>(
    config: &'c Config,
    names: &[String],
    revision: Option<&str>,
    sources: &[Source],
    cx: &Context,
) -> Result<Vec<Build<'c>>, Errors> {
    for name in names {
        check_image_name(config, name, "")?;
    }
    let mut selected = Vec::new();
    for (index, image) in config.images.iter().enumerate() {
        if names.is_empty() || names.contains(&image.name) {
            selected.push(index);
        }
    }
    if let Some(revision) = revision {
        return tagged_builds(config, &selected, revision, sources, cx);
    }
    let mut builds = Vec::new();
    let found = pins::find(&config.work_tree(), config)?;
    for image in selected {
        let digests = found.digests_of(image);
        if digests.is_empty() && !names.is_empty() {
            let name = &config.images[image].name;
            let message = format!("`{name}` is not pinned, so its build is unknown");
            let help = "specify the build with --revision REV";
            return Err(Error::input(Code::USAGE, message).help(help).into());
        }
        if digests.is_empty() {
            builds.push(Build::new(config, image, None));
        }
        for digest in digests {
            builds.push(Build::new(config, image, Some(TagOrDigest::Digest(digest))));
        }
    }
    Ok(builds)
}

/// The build of each selected image at the tag of a revision.
fn tagged_builds<'c>(
    config: &'c Config,
    selected: &[usize],
    revision: &str,
    sources: &[Source],
    cx: &Context,
) -> Result<Vec<Build<'c>>, Errors> {
    let requested = RequestedRevision::parse(config, revision)?;
    let pattern = &requested.tag(config, &cx.services)?;
    let (mut names, mut wanted) = (Vec::new(), Vec::new());
    for image in selected {
        names.push(config.images[*image].name.as_str());
        wanted.push((&sources[*image], pattern.clone(), None));
    }
    let tags = select_tags(&names, &wanted, &cx.services);
    let mut builds = Vec::new();
    for (index, tag) in selected.iter().zip(tags) {
        let mut build = Build::new(config, *index, None);
        match tag {
            Ok(tag) => build.want = Some(TagOrDigest::Tag(tag)),
            Err(NoTag::Failed(error)) => build.found = Err(error),
            Err(reason) => {
                let image = &config.images[*index];
                build.refused = Some(no_tag(config, image, pattern, &reason, "", &[]));
            }
        }
        builds.push(build);
    }
    Ok(builds)
}

/// The verdict on each platform of each build, and the errors that prevented checks.
fn verdicts(
    config: &Config,
    standards: &[Vec<Standard<'_>>],
    builds: &[Build<'_>],
    sources: &[Source],
    cx: &Context,
) -> (Vec<InventoryImage>, Vec<Error>) {
    let mut subjects = Vec::new();
    for build in builds {
        for facts in build.facts().map_or(&[][..], |facts| &facts.platforms) {
            let subject = PlatformSource {
                image: build.name,
                source: &sources[build.image],
                facts,
            };
            subjects.push(ExaminedPlatform {
                platform: subject,
                standards: &standards[build.image],
                compared: None,
            });
        }
    }
    let mut verdicts = image_contents::check(&subjects, &cx.services).into_iter();
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for build in builds {
        let required = config
            .inventory_of(&config.images[build.image])
            .map_or(&[][..], |inventory| &inventory.required_labels);
        let digest = build.facts().map(|facts| facts.digest);
        let row = |platform, checks| InventoryImage {
            image: Some(build.name.to_owned()),
            digest,
            platform,
            checks,
        };
        let Some(facts) = build.facts() else {
            let (check, error) = unresolved(config, build);
            rows.push(row(None, vec![check]));
            errors.extend(error);
            continue;
        };
        for (platform, verdict) in facts.platforms.iter().zip(&mut verdicts) {
            let mut checks = check_required_labels(required, build.name, platform);
            match verdict {
                Ok(verdict) => checks.extend(verdict.checks),
                Err(error) => {
                    checks.push(unread(build.name, &error).platform(&platform.platform));
                    errors.push(error);
                }
            }
            rows.push(row(Some(platform.platform.to_string()), checks));
        }
    }
    (rows, errors)
}

/// The check of a build that was not resolved.
fn unresolved(config: &Config, build: &Build<'_>) -> (Check, Option<Error>) {
    if let Some(refused) = &build.refused {
        return (refused.clone(), None);
    }
    let repository = &config.images[build.image].repository;
    let check = |code, status, detail: String| Check::new(code, status, detail).image(build.name);
    match (&build.want, build.found.as_ref().err()) {
        (None, None) => {
            let declared = config.images[build.image].pins;
            if declared > 0 {
                let detail = format!(
                    "found no pins, but {} declares {declared}",
                    config.source_text.name
                );
                return (check(Code::PIN_COUNT, Status::Fail, detail), None);
            }
            let detail = "the image is not pinned; --revision REV examines a build".to_owned();
            (check(Code::DIGEST_MISSING, Status::Skip, detail), None)
        }
        (_, Some(error)) if error.class == Class::Ambiguous => {
            (check(error.code, Status::Fail, error.to_string()), None)
        }
        (_, Some(error)) => (unread(build.name, error), Some(error.clone())),
        (Some(want), None) => {
            let code = if matches!(want, TagOrDigest::Tag(_)) {
                Code::TAG_MISSING
            } else {
                Code::DIGEST_MISSING
            };
            let absence = repository.absence(format!("{repository}{want}"));
            let missing = check(code, Status::Fail, absence.detail);
            (missing.with_help(absence.help), None)
        }
    }
}

fn unread(image: &str, error: &Error) -> Check {
    Check::new(Code::ENUMERATION_FAILED, Status::Skip, error.to_string()).image(image)
}

/// The maximum size of a file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

pub(super) fn match_files(
    enumeration: &Path,
    expected: &Path,
    cx: &mut Context,
) -> Result<Exit, Errors> {
    let config = cx.load()?;
    let directory = cx.services.environment.directory();
    let listing = read_listing(directory, enumeration);
    let image_name = match &listing {
        Ok(bytes) => Enumeration::image_name(bytes),
        Err(_) => None,
    };
    let image = image_name.and_then(|name| inventory::configured(&name, &config));
    let inventory = inventory::kinds(&config, image)?;
    let held = read_contract(directory, expected, inventory);
    let name = enumeration.display().to_string();
    let found = listing.and_then(|bytes| Enumeration::from_json(&name, &bytes, &inventory.kinds));
    let mut problems: Vec<Error> = held.contract.as_ref().err().cloned().unwrap_or_default();
    problems.extend(found.as_ref().err().cloned().unwrap_or_default());
    let mut checks = held.warnings.clone();
    for problem in &problems {
        checks.push(Check::new(problem.code, Status::Fail, problem.to_string()));
    }
    if let (Ok(contract), Ok(found)) = (&held.contract, &found) {
        checks.extend(contract::check(contract, found));
        let listed = [
            (Code::INVENTORY_MUST_CONTAIN_MISSING, &contract.must_contain),
            (
                Code::INVENTORY_MUST_NOT_CONTAIN_PRESENT,
                &contract.must_not_contain,
            ),
        ];
        for (code, names) in listed {
            if names.iter().any(|(_, names)| !names.is_empty())
                && checks.iter().all(|check| check.code != code)
            {
                checks.push(Check::new(
                    code,
                    Status::Pass,
                    "every name of the contract was compared",
                ));
            }
        }
    }
    let exit = if found.is_err() || held.malformed().next().is_some() {
        Exit::Failed(Class::Input)
    } else if any_failed(&checks) {
        Exit::Failed(Class::Failed)
    } else {
        Exit::Done
    };
    let image = InventoryImage {
        image: None,
        digest: None,
        platform: None,
        checks,
    };
    let document = InventoryDocument {
        schema: "repin.inventory/1",
        clean: exit == Exit::Done,
        images: vec![image],
    };
    Ok(report(document, problems, exit, &config, cx))
}

fn read_contract(directory: &Path, path: &Path, inventory: &Inventory) -> ContractFile {
    let name = path.display().to_string();
    match read(directory, path) {
        Ok(bytes) => ContractFile::parse(&name, bytes, Some(inventory)),
        Err(error) => ContractFile::not_found(&name, &error.to_string()),
    }
}

fn read_listing(directory: &Path, path: &Path) -> Result<Vec<u8>, Vec<Error>> {
    let name = path.display().to_string();
    let bytes = if path == Path::new("-") {
        read_all(io::stdin().lock())
    } else {
        read(directory, path)
    };
    bytes.map_err(|error| vec![Enumeration::not_found(&name, &error.to_string())])
}

fn read(directory: &Path, path: &Path) -> io::Result<Vec<u8>> {
    input_file::read(&directory.join(path), MAX_FILE)
}

fn read_all(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        Err(io::Error::other("larger than 64 MiB"))
    } else {
        Ok(bytes)
    }
}
