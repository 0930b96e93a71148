//! `repin init --pin`: adds digests to images that have only a tag. Each tag is resolved once; if one cannot be
//! resolved, no file changes.
//!
//! Also the error of `init` without any pin, which lists these images.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use super::{PinnedTree, question, sparse_warning};
use crate::{
    app::{
        cli::{context::Context, format::Format, output::Exit, write_file::TargetFile},
        report::{
            diff,
            json::{PinDocument, PinnedFileRow, UnpinnedRow},
            layout::{Align, aligned},
        },
        workflow::{self, begin_at},
    },
    base::{
        error::{Code, Error, Errors, usage},
        files::{Glob, WorkTree, survey},
        text::{counted, few},
        untrusted::{plain, shell},
    },
    config,
    core::{
        apply::RunIdentity,
        pins::{
            Located,
            unpinned::{self, TaggedImage, Unpinned, UnpinnedImages, UnpinnedKind},
        },
        plan::{FileChange, pinning::pin_file},
    },
    git,
    oci::{
        Digest, TagOrDigest,
        registry::{Source, resolve},
    },
};

/// The maximum time for a tag.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of images in an error.
const LISTED: usize = 50;
/// The maximum number of files or images in a message.
const SHOWN: usize = 10;

/// The digests of tags now.
#[derive(Default)]
struct Digests {
    /// By the canonical repository and the tag.
    tags: BTreeMap<(String, String), Result<Digest, Error>>,
}

pub(super) fn run(globs: &[String], apply: bool, cx: &mut Context) -> Result<Exit, Errors> {
    let target = TargetFile::new(&cx.new_config(), cx.services.environment.directory())?;
    let root = target.directory().to_owned();
    // The lock precedes the search, so that no other run changes the files in between.
    let mut session = if apply {
        Some(begin_at(&root, "init --pin", &cx.services)?)
    } else {
        None
    };
    let tree = git::work_tree_at(&root);
    let mut found = unpinned::find(&tree, &survey(&root));
    select(&mut found, globs)?;
    cx.services.shorten_waits();
    let digests = Digests::look_up(&found.images, cx)?;
    let errors = digests.errors();
    let mut changes = Vec::new();
    if errors.is_empty() {
        changes = planned(&tree, &found.images, &digests)?;
    }
    let mut written = false;
    if let Some(session) = session.as_mut().filter(|_| !changes.is_empty()) {
        let set_path = config::set_path(target.file())
            .map_err(|error| Errors::io(format!("cannot determine the repository: {error}")))?;
        let run = RunIdentity {
            set_path,
            revision: None,
        };
        workflow::exchange(session, &changes, run, &cx.services).map_err(Errors::from)?;
        written = true;
    }
    report(&found, &root, &digests, &changes, written, cx);
    if errors.is_empty() {
        note_next_step(&changes, written, target.exists(), globs, cx);
        return Ok(Exit::Done);
    }
    Ok(cx.output.report_errors_separately(&Errors::from(errors)))
}

/// Keeps the images in repositories that match a glob.
fn select(found: &mut UnpinnedImages, globs: &[String]) -> Result<(), Errors> {
    if globs.is_empty() {
        return Ok(());
    }
    let mut parsed = Vec::new();
    for text in globs {
        let glob = Glob::parse(text);
        parsed.push(glob.map_err(|error| {
            usage(format!(
                "`--pin {text}`: expected a glob of repositories: {error}"
            ))
        })?);
    }
    let matches = |repository: &str| {
        parsed
            .iter()
            .any(|glob| glob.matches(Path::new(repository)))
    };
    let repositories: BTreeSet<_> = tagged(&found.images)
        .map(|image| image.repository.to_string())
        .collect();
    found.images.retain(|image| match &image.item.kind {
        UnpinnedKind::Pinnable(image) => {
            matches(image.repository.as_str()) || matches(&image.repository.canonical())
        }
        // Such as `ghcr.io/acme/app:$TAG`.
        UnpinnedKind::Refused(_) => {
            let text = image.item.text.split(['$', '{', '@']).next();
            matches(text.unwrap_or_default().trim_end_matches(':'))
        }
    });
    if found.images.is_empty() {
        let globs = globs.join(" ");
        let mut error = Error::input(
            Code::USAGE,
            format!("`--pin {globs}` matches no repository of an image with only a tag"),
        );
        if !repositories.is_empty() {
            let repositories = few(repositories.into_iter(), SHOWN);
            error = error.help(format!("the repositories are {repositories}"));
        }
        return Err(error.into());
    }
    Ok(())
}

impl Digests {
    fn look_up(images: &[Located<Unpinned>], cx: &Context) -> Result<Self, Errors> {
        let mut wanted: BTreeMap<_, &TaggedImage> = BTreeMap::new();
        for image in tagged(images) {
            wanted.entry(key(image)).or_insert(image);
        }
        let sources = cx.services.sources_without_config()?;
        let (mut names, mut work) = (Vec::new(), Vec::new());
        for image in wanted.values() {
            let source = sources.source(&image.repository);
            let source = source.map_err(|error| Error::input(Code::SOURCE, error.to_string()))?;
            names.push(image.repository.as_str());
            work.push(digest_now(source, image));
        }
        let digests = cx.services.wait_for_all("resolving tags", &names, work);
        Ok(Self {
            tags: wanted.into_keys().zip(digests).collect(),
        })
    }

    fn of(&self, image: &TaggedImage) -> Option<&Result<Digest, Error>> {
        self.tags.get(&key(image))
    }

    fn errors(&self) -> Vec<Error> {
        self.tags
            .values()
            .filter_map(|digest| digest.clone().err())
            .collect()
    }
}

fn tagged(images: &[Located<Unpinned>]) -> impl Iterator<Item = &TaggedImage> {
    images.iter().filter_map(|image| match &image.item.kind {
        UnpinnedKind::Pinnable(image) => Some(image),
        UnpinnedKind::Refused(_) => None,
    })
}

fn key(image: &TaggedImage) -> (String, String) {
    (image.repository.canonical(), image.tag.as_str().to_owned())
}

/// The digest of a tag: of the index, if the image has several platforms.
async fn digest_now(source: Source, image: &TaggedImage) -> Result<Digest, Error> {
    let tag = TagOrDigest::Tag(image.tag.clone());
    let subject = format!("{}:{}", image.repository, image.tag);
    // The timer must be created within the runtime.
    let manifest = tokio::time::timeout(TIMEOUT, resolve::known_manifest(&source, &tag, &[]));
    let error = match manifest.await {
        Ok(Ok(Some(manifest))) => return Ok(manifest.digest()),
        Ok(Ok(None)) => {
            let absence = image.repository.absence("the tag");
            let error = Error::failed(Code::TAG_MISSING, absence.detail);
            let help = absence.help.map(str::to_owned);
            let error = error.help(help.unwrap_or_else(|| or_select_others("correct the tag")));
            return Err(Error {
                subject: Some(subject),
                ..error
            });
        }
        Ok(Err(error)) => error,
        Err(_) => Error::unavailable(subject, "no response within 10 s"),
    };
    let remedy = error.remedy();
    Err(error.help(or_select_others(&remedy)))
}

fn or_select_others(remedy: &str) -> String {
    format!("{remedy}, or select other repositories with `repin init --pin GLOB`")
}

/// The changes of all files.
fn planned(
    tree: &WorkTree,
    images: &[Located<Unpinned>],
    digests: &Digests,
) -> Result<Vec<FileChange>, Errors> {
    let files: BTreeSet<_> = images.iter().map(|image| &image.file).collect();
    let mut changes = Vec::new();
    for file in files {
        let mut of_file = Vec::new();
        for image in images.iter().filter(|image| image.file == *file) {
            if let UnpinnedKind::Pinnable(tagged) = &image.item.kind
                && let Some(Ok(digest)) = digests.of(tagged)
            {
                of_file.push((&image.item, *digest));
            }
        }
        if !of_file.is_empty() {
            changes.push(pin_file(tree, file, &of_file)?);
        }
    }
    Ok(changes)
}

fn row(image: &Located<Unpinned>, digests: &Digests) -> UnpinnedRow {
    let item = &image.item;
    let mut row = UnpinnedRow {
        file: image.file.to_string(),
        line: item.line,
        column: item.column,
        text: item.text.clone(),
        repository: None,
        tag: None,
        digest: None,
        reason: None,
    };
    match &item.kind {
        UnpinnedKind::Refused(reason) => row.reason = Some(reason.clone()),
        UnpinnedKind::Pinnable(image) => {
            row.repository = Some(image.repository.clone());
            row.tag = Some(image.tag.to_string());
            match digests.of(image) {
                Some(Ok(digest)) => row.digest = Some(digest.to_string()),
                Some(Err(error)) => row.reason = Some(error.message.clone()),
                None => {}
            }
        }
    }
    row
}

/// The files that were not read, as warnings.
fn warnings(found: &UnpinnedImages, root: &Path) -> Vec<String> {
    let mut warnings = Vec::from_iter(sparse_warning(root));
    if !found.unread.is_empty() {
        let files = few(found.unread.iter().cloned(), SHOWN);
        warnings.push(format!(
            "images in files that cannot be read are unknown: {files}"
        ));
    }
    if found.templates > 0 {
        let templates = counted(found.templates, "template");
        warnings.push(format!(
            "{templates} of charts were not searched: only the values of a chart are"
        ));
    }
    warnings
}

fn report(
    found: &UnpinnedImages,
    root: &Path,
    digests: &Digests,
    changes: &[FileChange],
    written: bool,
    cx: &mut Context,
) {
    let rows: Vec<_> = found
        .images
        .iter()
        .map(|image| row(image, digests))
        .collect();
    let warnings = warnings(found, root);
    for warning in &warnings {
        cx.output.warn(&plain(warning));
    }
    let diff = diff::unified(changes);
    if cx.output.format == Format::Json {
        let files = changes.iter().map(|change| PinnedFileRow {
            path: change.path.to_string(),
            pins: change.pins,
        });
        return cx.output.print_json(&PinDocument {
            schema: "repin.pin/1",
            written,
            images: rows,
            files: files.collect(),
            warnings,
            diff: (!changes.is_empty()).then(|| String::from_utf8_lossy(&diff).into_owned()),
        });
    }
    if rows.is_empty() {
        return;
    }
    let mut lines = vec![["PLACE", "IMAGE", "DIGEST NOW"].map(str::to_owned).to_vec()];
    for row in &rows {
        let place = format!("{}:{}:{}", row.file, row.line, row.column);
        let digest = match (&row.digest, &row.reason) {
            (Some(digest), _) => digest.clone(),
            (None, Some(reason)) if row.tag.is_some() => format!("unknown: {reason}"),
            (None, reason) => format!("not pinned: {}", reason.as_deref().unwrap_or_default()),
        };
        lines.push(
            [place, row.text.clone(), digest]
                .map(|cell| plain(&cell))
                .to_vec(),
        );
    }
    cx.output.print(aligned(&[Align::Left; 3], &lines));
    if !changes.is_empty() {
        cx.output.print("\n");
        cx.output.print_diff(&diff, false);
    }
}

fn note_next_step(
    changes: &[FileChange],
    written: bool,
    is_configured: bool,
    globs: &[String],
    cx: &Context,
) {
    let pins: usize = changes.iter().map(|change| change.pins).sum();
    let summary = format!(
        "{} in {}",
        counted(pins, "digest"),
        counted(changes.len(), "file")
    );
    let init = if is_configured {
        "repin init --update"
    } else {
        "repin init"
    };
    cx.output.note(&if changes.is_empty() {
        "no image has only a tag that can get a digest; nothing was changed".to_owned()
    } else if written {
        format!("\nwrote {summary}; review the change and commit it, then run `{init}`")
    } else {
        let mut command = vec!["repin init --pin".to_owned()];
        command.extend(globs.iter().map(|glob| shell(glob)));
        let command = command.join(" ");
        format!("\ndry run: {summary} would be written; nothing was changed. `{command} --apply` writes them")
    });
}

/// The error of `init` if no image is pinned, with the images that have only a tag.
pub(super) fn only_tags(pinned: &PinnedTree, cx: &mut Context) -> Errors {
    let mut error = question::no_pins(&pinned.discovery);
    error.notes.extend(pinned.unsearched(cx));
    let found = unpinned::find(&pinned.tree, &survey(&pinned.root));
    for warning in warnings(&found, &pinned.root) {
        cx.output.warn(&plain(&warning));
    }
    if error.code != Code::INIT || found.images.is_empty() {
        return error.into();
    }
    cx.services.shorten_waits();
    // The error lists the images without their digests if these are unknown.
    let digests = Digests::look_up(&found.images, cx).unwrap_or_default();
    let images = counted(found.images.len(), "image");
    error.message = format!("{}; {images} with only a tag found", error.message);
    for image in found.images.iter().take(LISTED) {
        let row = row(image, &digests);
        let digest = match (&row.digest, &row.reason) {
            (Some(digest), _) => format!("is {digest} now"),
            (None, Some(reason)) if row.tag.is_none() => format!("cannot be pinned: {reason}"),
            (None, _) => "has an unknown digest".to_owned(),
        };
        let note = format!(
            "found: {}:{}:{}: {} {digest}",
            row.file, row.line, row.column, row.text
        );
        error.notes.push(note);
    }
    if found.images.len() > LISTED {
        let more = found.images.len() - LISTED;
        error.notes.push(format!(
            "found: {more} more (`repin init --pin` lists them)"
        ));
    }
    let mut causes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cause in digests.errors() {
        let images = causes.entry(cause.message).or_default();
        images.extend(cause.subject);
    }
    for (cause, images) in causes {
        let images = few(images.into_iter(), SHOWN);
        let note = format!("reason for unknown digests: {cause} ({images})");
        error.notes.push(note);
    }
    let help = "`repin init --pin` shows the change that adds these digests, and `repin init --pin --apply` makes it; then \
                run `repin init` again";
    error.help(help).into()
}
