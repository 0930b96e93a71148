//! The findings and deletions of a prune, as a document, as text and as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::layout::{Align, aligned};
use crate::{
    base::{
        error::{Code, Error},
        text::counted,
        untrusted::{markdown, plain},
    },
    config::Image,
    oci::{Digest, Tag, date},
    prune::{PackageVerdict, Protected, PrunableVersion, Version, Warning, apply::Applied},
};

/// The number of candidates or protected versions that are listed; the others are counted.
const LISTED: usize = 20;

/// The outcome of a run for one image.
#[derive(Debug)]
pub(crate) struct ImageOutcome {
    pub(crate) name: String,
    pub(crate) repository: String,
    pub(crate) verdict: Option<PackageVerdict>,
    pub(crate) applied: Option<Applied>,
    /// What evidence protects, if `--protected` or `--tag-protected` requires it.
    pub(crate) protected: Vec<Protected>,
    /// The tags of `--tag-protected`.
    pub(crate) protected_tags: Vec<KeepTag>,
    /// The error that prevented or stopped the deletions.
    pub(crate) refusal: Option<Error>,
}

impl ImageOutcome {
    pub(crate) fn new(image: &Image) -> Self {
        Self {
            name: image.name.clone(),
            repository: image.repository.to_string(),
            verdict: None,
            applied: None,
            protected: Vec::new(),
            protected_tags: Vec::new(),
            refusal: None,
        }
    }

    /// Whether `--apply` would delete a version.
    pub(crate) fn would_delete(&self) -> bool {
        let verdict = self.verdict.as_ref();
        self.refusal.is_none() && verdict.is_some_and(|verdict| !verdict.candidates.is_empty())
    }
}

/// A tag of `--tag-protected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeepTag {
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
    pub(crate) state: KeepTagState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeepTagState {
    /// The digest does not have it.
    Missing,
    /// This run set it.
    Set,
    /// The digest already had it.
    Present,
    /// Its digest is no longer protected. repin does not remove it.
    Stale,
}

/// `repin.prune/1`: the candidates, the protected versions, and the deletions.
#[derive(Debug, Serialize)]
pub(crate) struct PruneDocument {
    pub(crate) schema: &'static str,
    pub(crate) applied: bool,
    pub(crate) images: Vec<PruneImage>,
    /// Warnings about the whole run.
    pub(crate) warnings: Vec<PruneWarning>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PruneImage {
    pub(crate) name: String,
    pub(crate) repository: String,
    pub(crate) listed: usize,
    pub(crate) candidates: Vec<PruneRow>,
    pub(crate) protected: Vec<ProtectedRow>,
    pub(crate) mixed: usize,
    pub(crate) young: usize,
    pub(crate) deleted: Vec<PruneRow>,
    pub(crate) protected_tags: Vec<KeepTag>,
    pub(crate) warnings: Vec<PruneWarning>,
    pub(crate) refused: Option<String>,
    pub(crate) code: Option<Code>,
    pub(crate) hint: Option<String>,
}

/// A version that was deleted or may be deleted.
#[derive(Debug, Serialize)]
pub(crate) struct PruneRow {
    pub(crate) digest: Digest,
    pub(crate) tags: Vec<String>,
    pub(crate) created: String,
    pub(crate) reason: String,
    pub(crate) version: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ProtectedRow {
    pub(crate) digest: Digest,
    pub(crate) tags: Vec<String>,
    pub(crate) reason: String,
    pub(crate) version: Option<u64>,
}

/// A warning, which prevents no deletion.
#[derive(Debug, Serialize)]
pub(crate) struct PruneWarning {
    pub(crate) code: Code,
    pub(crate) detail: String,
}

/// `repin.restore/1`: the outcome of restoring a version.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreDocument {
    pub(crate) schema: &'static str,
    pub(crate) applied: bool,
    pub(crate) image: String,
    pub(crate) version: u64,
    pub(crate) digest: Option<Digest>,
    pub(crate) tags: Vec<String>,
}

impl PruneDocument {
    pub(crate) fn new(images: &[ImageOutcome], applied: bool, unread: &[Warning]) -> Self {
        Self {
            schema: "repin.prune/1",
            applied,
            images: images.iter().map(PruneImage::new).collect(),
            warnings: unread.iter().map(PruneWarning::new).collect(),
        }
    }
}

impl PruneImage {
    fn new(image: &ImageOutcome) -> Self {
        let verdict = image.verdict.as_ref();
        let protected = verdict.map_or(&[][..], |verdict| &verdict.protected);
        let protected = protected.iter().map(|protected| ProtectedRow {
            digest: protected.version.digest,
            tags: tags(&protected.version),
            reason: protected.reason.to_string(),
            version: protected.version.id,
        });
        Self {
            name: image.name.clone(),
            repository: image.repository.clone(),
            listed: verdict.map_or(0, |verdict| verdict.listed),
            candidates: listed_candidates(image).iter().map(PruneRow::new).collect(),
            protected: protected.collect(),
            mixed: verdict.map_or(0, |verdict| verdict.mixed),
            young: verdict.map_or(0, |verdict| verdict.young),
            deleted: deleted(image).iter().map(PruneRow::new).collect(),
            protected_tags: image.protected_tags.clone(),
            warnings: warnings(image).iter().map(PruneWarning::new).collect(),
            refused: image.refusal.as_ref().map(Error::text),
            code: image.refusal.as_ref().map(|refusal| refusal.code),
            hint: image.refusal.as_ref().map(Error::remedy),
        }
    }
}

impl PruneWarning {
    pub(crate) fn new(warning: &Warning) -> Self {
        Self {
            code: warning.code,
            detail: warning.detail.clone(),
        }
    }
}

impl PruneRow {
    fn new(candidate: &PrunableVersion) -> Self {
        Self {
            digest: candidate.version.digest,
            tags: tags(&candidate.version),
            created: date::format(candidate.created),
            reason: candidate.reason.clone(),
            version: candidate.version.id,
        }
    }
}

pub(crate) fn warnings(image: &ImageOutcome) -> &[Warning] {
    let verdict = image.verdict.as_ref();
    verdict.map_or(&[][..], |verdict| &verdict.warnings)
}

fn deleted(image: &ImageOutcome) -> &[PrunableVersion] {
    let applied = image.applied.as_ref();
    applied.map_or(&[][..], |applied| &applied.deleted)
}

fn tags(version: &Version) -> Vec<String> {
    version.tags.iter().map(ToString::to_string).collect()
}

/// The candidates to list: all of a plan, or the first ones of a refusal.
fn listed_candidates(image: &ImageOutcome) -> &[PrunableVersion] {
    let Some(verdict) = &image.verdict else {
        return &[];
    };
    let all = verdict.candidates.as_slice();
    if verdict.refusal.is_some() {
        &all[..all.len().min(LISTED)]
    } else {
        all
    }
}

/// The information that undoes a deletion, on one line.
pub(crate) fn deletion(image: &ImageOutcome, candidate: &PrunableVersion) -> String {
    let ImageOutcome {
        name, repository, ..
    } = image;
    let version = &candidate.version;
    let mut line = format!("{repository}@{}", version.digest);
    let tags = if version.tags.is_empty() {
        "none".to_owned()
    } else {
        tags(version).join(",")
    };
    let _ = write!(
        line,
        " tags={tags} created={}",
        date::format(candidate.created)
    );
    match version.id {
        Some(id) => {
            let _ = write!(
                line,
                " version={id}; undo: repin prune restore --image {name} --version {id} --apply"
            );
        }
        None => line.push_str("; undo: push the image again"),
    }
    line
}

/// The outcome for an image as text; `list_all` lists every protected version.
pub(crate) fn text(image: &ImageOutcome, list_all: bool) -> String {
    let mut out = format!(
        "prune: {} ({})",
        plain(&image.name),
        plain(&image.repository)
    );
    let Some(verdict) = &image.verdict else {
        return out + "\n";
    };
    let _ = writeln!(out, ": {}", counts(verdict));
    let candidates: Vec<_> = listed_candidates(image)
        .iter()
        .map(|candidate| row(&candidate.version, &candidate.reason))
        .collect();
    table(&mut out, "CANDIDATE", candidates, verdict.candidates.len());
    let protected: Vec<_> = verdict
        .protected
        .iter()
        .take(if list_all { usize::MAX } else { LISTED })
        .map(|protected| row(&protected.version, &protected.reason.to_string()))
        .collect();
    table(&mut out, "PROTECTED", protected, verdict.protected.len());
    if verdict.mixed > 0 {
        let _ = writeln!(out, "\n{}", mixed(verdict.mixed));
    }
    keep_tags(&mut out, &image.protected_tags);
    out
}

/// The tags of `--tag-protected` as a table; those that exist are only counted.
fn keep_tags(out: &mut String, tags: &[KeepTag]) {
    let mut rows = vec![
        ["PROTECTED DIGEST", "TAG", "STATE"]
            .map(str::to_owned)
            .into(),
    ];
    let mut present = 0;
    for KeepTag { tag, digest, state } in tags {
        let state = match state {
            KeepTagState::Missing => "missing",
            KeepTagState::Set => "set",
            KeepTagState::Present => {
                present += 1;
                continue;
            }
            KeepTagState::Stale => "stale: the digest is no longer protected",
        };
        rows.push(vec![digest.short(), tag.to_string(), state.to_owned()]);
    }
    if rows.len() > 1 {
        out.push('\n');
        out.push_str(&aligned(&[Align::Left; 3], &rows));
    }
    if present > 0 {
        let digests = counted(present, "protected digest");
        let _ = writeln!(out, "\n{digests} already tagged");
    }
}

fn row(version: &Version, reason: &str) -> Vec<String> {
    let tags = if version.tags.is_empty() {
        "-".to_owned()
    } else {
        tags(version).join(",")
    };
    vec![version.digest.short(), plain(&tags), plain(reason)]
}

fn table(out: &mut String, heading: &str, mut rows: Vec<Vec<String>>, total: usize) {
    if rows.is_empty() {
        return;
    }
    let omitted = total - rows.len();
    rows.insert(0, [heading, "TAGS", "REASON"].map(str::to_owned).into());
    out.push('\n');
    out.push_str(&aligned(&[Align::Left; 3], &rows));
    if omitted > 0 {
        let _ = writeln!(
            out,
            "… and {omitted} more (--verbose and --format json list what is protected)"
        );
    }
}

fn counts(verdict: &PackageVerdict) -> String {
    let mut text = format!(
        "{}, {}, {} protected",
        counted(verdict.listed, "version"),
        counted(verdict.candidates.len(), "candidate"),
        verdict.protected.len()
    );
    if verdict.young > 0 {
        let _ = write!(
            text,
            ", {} pending but too young or incomplete",
            verdict.young
        );
    }
    text
}

fn mixed(count: usize) -> String {
    let versions = if count == 1 {
        "1 pending version is"
    } else {
        &format!("{count} pending versions are")
    };
    format!(
        "{versions} kept because of another tag on the same digest: a build that tags `pending-X` and `X` keeps both \
         indefinitely; tag X only after X is promoted, and give pending-X a digest of its own"
    )
}

/// The step summary, in Markdown.
pub(crate) fn summary(images: &[ImageOutcome], applied: bool, unread: &[Warning]) -> String {
    let mut out = format!("### prune{}\n", if applied { "" } else { " (dry run)" });
    for warning in unread {
        summary_warning(&mut out, warning);
    }
    for image in images {
        let _ = write!(
            out,
            "\n**{}** ({})",
            markdown::inline(&image.name),
            markdown::code(&image.repository)
        );
        if let Some(verdict) = &image.verdict {
            let _ = write!(out, ": {}", counts(verdict));
        }
        let _ = writeln!(out, ", {} deleted", deleted(image).len());
        if let Some(refusal) = &image.refusal {
            let help = markdown::inline(&refusal.remedy());
            let sign = if refusal.code == Code::SKIP {
                "NOTE"
            } else {
                "CAUTION"
            };
            let _ = writeln!(
                out,
                "\n> [!{sign}]\n> {}\n> help: {help}",
                markdown::inline(&refusal.text())
            );
        }
        for warning in warnings(image) {
            summary_warning(&mut out, warning);
        }
        summary_candidates(&mut out, image, applied);
        summary_protected(&mut out, image);
    }
    out
}

fn summary_warning(out: &mut String, warning: &Warning) {
    let detail = markdown::inline(&warning.detail);
    let _ = writeln!(out, "\n> [!WARNING]\n> {detail}");
}

fn summary_candidates(out: &mut String, image: &ImageOutcome, applied: bool) {
    let candidates = listed_candidates(image);
    if !candidates.is_empty() {
        let heading = if applied {
            "candidate"
        } else {
            "would be deleted"
        };
        let _ = writeln!(
            out,
            "\n| {heading} | tags | created | version |\n| --- | --- | --- | --- |"
        );
    }
    for candidate in candidates {
        let (version, tags) = (&candidate.version, tags(&candidate.version).join(","));
        let id = version
            .id
            .map_or_else(|| "-".to_owned(), |id| id.to_string());
        let cells = [
            version.digest.to_string(),
            tags,
            date::format(candidate.created),
            id,
        ];
        let _ = writeln!(
            out,
            "| {} |",
            cells.map(|cell| markdown::code(&cell)).join(" | ")
        );
    }
}

fn summary_protected(out: &mut String, image: &ImageOutcome) {
    let verdict = image.verdict.as_ref();
    let protected = verdict.map_or(&[][..], |verdict| &verdict.protected);
    if protected.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n<details><summary>{} protected</summary>\n\n| digest | tags | reason |\n| --- | --- | --- |",
        protected.len()
    );
    for row in protected {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            markdown::code(&row.version.digest.short()),
            markdown::code(&tags(&row.version).join(",")),
            markdown::inline(&row.reason.to_string())
        );
    }
    out.push_str("\n</details>\n");
}
