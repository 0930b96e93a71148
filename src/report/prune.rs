//! The findings and deletions of a prune, as a document, as text and as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::table::{Align, aligned};
use crate::{
    code::Code,
    config::number,
    error::Error,
    oci::Digest,
    prune::{Candidate, PackageVerdict, Version, Warning, apply::Applied, date},
    untrusted::{markdown, plain},
};

/// How many candidates or protected versions are listed before the rest is only counted.
const SHOWN: usize = 20;

/// One image of a run.
#[derive(Debug)]
pub struct Image {
    pub name: String,
    pub repository: String,
    /// Whether a deleted version can be restored by its number.
    pub restores: bool,
    pub judged: Option<PackageVerdict>,
    pub applied: Option<Applied>,
    /// The reason why nothing, or nothing more, is deleted.
    pub refusal: Option<Error>,
}

impl Image {
    /// An image without any findings yet.
    pub fn new(name: &str, repository: String) -> Self {
        Self {
            name: name.to_owned(),
            repository,
            restores: false,
            judged: None,
            applied: None,
            refusal: None,
        }
    }
}

/// `repin.prune/1`: the candidates, the protected versions, and the deletions.
#[derive(Debug, Serialize)]
pub struct PruneDocument {
    pub schema: &'static str,
    pub applied: bool,
    pub images: Vec<PruneImage>,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct PruneImage {
    pub name: String,
    pub repository: String,
    pub listed: usize,
    pub candidates: Vec<PruneRow>,
    pub protected: Vec<PruneKept>,
    pub mixed: usize,
    pub young: usize,
    pub deleted: Vec<PruneRow>,
    pub warnings: Vec<PruneWarning>,
    pub refused: Option<String>,
    pub code: Option<Code>,
    pub hint: Option<String>,
}

/// A version that may be deleted, or was.
#[derive(Debug, Serialize)]
pub struct PruneRow {
    pub digest: Digest,
    pub tags: Vec<String>,
    pub created: String,
    pub reason: String,
    pub version: Option<u64>,
}

/// A version that is protected.
#[derive(Debug, Serialize)]
pub struct PruneKept {
    pub digest: Digest,
    pub tags: Vec<String>,
    pub reason: String,
    pub version: Option<u64>,
}

/// A warning that refuses nothing.
#[derive(Debug, Serialize)]
pub struct PruneWarning {
    pub code: Code,
    pub detail: String,
}

/// `repin.restore/1`: the outcome of restoring a version.
#[derive(Debug, Serialize)]
pub struct RestoreDocument {
    pub schema: &'static str,
    pub applied: bool,
    pub image: String,
    pub version: u64,
    pub digest: Option<Digest>,
    pub tags: Vec<String>,
}

impl PruneDocument {
    /// The document of a run.
    pub fn new(images: &[Image], applied: bool) -> Self {
        Self {
            schema: "repin.prune/1",
            applied,
            images: images.iter().map(PruneImage::new).collect(),
        }
    }
}

impl PruneImage {
    fn new(image: &Image) -> Self {
        let judged = image.judged.as_ref();
        let kept = judged
            .into_iter()
            .flat_map(|judged| &judged.protected)
            .map(|protected| PruneKept {
                digest: protected.version.digest,
                tags: tags(&protected.version),
                reason: protected.reason.to_string(),
                version: protected.version.id,
            });
        let deleted = image
            .applied
            .as_ref()
            .into_iter()
            .flat_map(|applied| &applied.deleted);
        Self {
            name: image.name.clone(),
            repository: image.repository.clone(),
            listed: judged.map_or(0, |judged| judged.listed),
            candidates: shown(image).iter().map(PruneRow::new).collect(),
            protected: kept.collect(),
            mixed: judged.map_or(0, |judged| judged.mixed),
            young: judged.map_or(0, |judged| judged.young),
            deleted: deleted.map(PruneRow::new).collect(),
            warnings: warnings(image)
                .iter()
                .map(|warning| PruneWarning {
                    code: warning.code,
                    detail: warning.detail.clone(),
                })
                .collect(),
            refused: image.refusal.as_ref().map(Error::text),
            code: image.refusal.as_ref().map(|refusal| refusal.code),
            hint: image.refusal.as_ref().map(Error::remedy),
        }
    }
}

impl PruneRow {
    fn new(candidate: &Candidate) -> Self {
        Self {
            digest: candidate.version.digest,
            tags: tags(&candidate.version),
            created: date::format(candidate.created),
            reason: candidate.reason.clone(),
            version: candidate.version.id,
        }
    }
}

/// The warnings about an image.
pub fn warnings(image: &Image) -> &[Warning] {
    image
        .judged
        .as_ref()
        .map_or(&[][..], |judged| &judged.warnings)
}

fn tags(version: &Version) -> Vec<String> {
    version.tags.iter().map(ToString::to_string).collect()
}

/// The listed candidates: all of a plan, the first ones of a refusal.
fn shown(image: &Image) -> &[Candidate] {
    let all = image
        .judged
        .as_ref()
        .map_or(&[][..], |judged| &judged.candidates);
    let refused = image
        .judged
        .as_ref()
        .is_some_and(|judged| judged.refusal.is_some());
    if refused {
        &all[..all.len().min(SHOWN)]
    } else {
        all
    }
}

/// Everything needed to undo a deletion, on one line.
pub fn deletion(image: &Image, candidate: &Candidate) -> String {
    let Image {
        name,
        repository,
        restores,
        ..
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
    match version.id.filter(|_| *restores) {
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

/// An image for people; with `every`, nothing is cut.
pub fn text(image: &Image, every: bool) -> String {
    let mut out = format!(
        "prune: {} ({})",
        plain(&image.name),
        plain(&image.repository)
    );
    if let Some(judged) = &image.judged {
        let _ = writeln!(out, ": {}", counts(judged));
        let rows = shown(image).iter().map(|c| row(&c.version, &c.reason));
        table(
            &mut out,
            "CANDIDATE",
            rows.collect(),
            judged.candidates.len(),
        );
        let most = if every { usize::MAX } else { SHOWN };
        let rows = judged
            .protected
            .iter()
            .take(most)
            .map(|p| row(&p.version, &p.reason.to_string()));
        table(
            &mut out,
            "PROTECTED",
            rows.collect(),
            judged.protected.len(),
        );
        if judged.mixed > 0 {
            let _ = writeln!(out, "\n{}", mixed(judged.mixed));
        }
    } else {
        out.push('\n');
    }
    out
}

fn row(version: &Version, reason: &str) -> Vec<String> {
    let tags = if version.tags.is_empty() {
        "-".to_owned()
    } else {
        tags(version).join(",")
    };
    vec![version.digest.short(), plain(&tags), plain(reason)]
}

fn table(out: &mut String, heading: &str, mut rows: Vec<Vec<String>>, all: usize) {
    if rows.is_empty() {
        return;
    }
    let left = all - rows.len();
    rows.insert(0, [heading, "TAGS", "REASON"].map(str::to_owned).into());
    out.push('\n');
    out.push_str(&aligned(&[Align::Left; 3], &rows));
    if left > 0 {
        let _ = writeln!(
            out,
            "… and {left} more (--verbose and --format json list what is protected)"
        );
    }
}

fn counts(judged: &PackageVerdict) -> String {
    let (listed, candidates) = (
        number(judged.listed, "version"),
        number(judged.candidates.len(), "candidate"),
    );
    let mut text = format!(
        "{listed}, {candidates}, {} protected",
        judged.protected.len()
    );
    if judged.young > 0 {
        let _ = write!(text, ", {} pending but too young", judged.young);
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

/// The run as a step summary.
pub fn summary(images: &[Image], applied: bool) -> String {
    let mut out = format!("### prune{}\n", if applied { "" } else { " (dry run)" });
    for image in images {
        let _ = write!(
            out,
            "\n**{}** ({})",
            markdown::inline(&image.name),
            markdown::code(&image.repository)
        );
        if let Some(judged) = &image.judged {
            let _ = write!(out, ": {}", counts(judged));
        }
        let deleted = image
            .applied
            .as_ref()
            .map_or(&[][..], |applied| &applied.deleted);
        let _ = writeln!(out, ", {} deleted", deleted.len());
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
            let _ = writeln!(
                out,
                "\n> [!WARNING]\n> {}",
                markdown::inline(&warning.detail)
            );
        }
        summary_candidates(&mut out, image, applied);
        summary_protected(&mut out, image);
    }
    out
}

fn summary_candidates(out: &mut String, image: &Image, applied: bool) {
    let candidates = shown(image);
    if !candidates.is_empty() {
        let what = if applied {
            "candidate"
        } else {
            "would be deleted"
        };
        let _ = writeln!(
            out,
            "\n| {what} | tags | created | version |\n| --- | --- | --- | --- |"
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

fn summary_protected(out: &mut String, image: &Image) {
    let protected = image
        .judged
        .as_ref()
        .map_or(&[][..], |judged| &judged.protected);
    if !protected.is_empty() {
        let _ = writeln!(
            out,
            "\n<details><summary>{} protected</summary>\n\n| digest | tags | reason |\n| --- | --- | --- |",
            protected.len()
        );
        for kept in protected {
            let cells = [kept.version.digest.short(), tags(&kept.version).join(",")]
                .map(|cell| markdown::code(&cell));
            let _ = writeln!(
                out,
                "| {} | {} |",
                cells.join(" | "),
                markdown::inline(&kept.reason.to_string())
            );
        }
        out.push_str("\n</details>\n");
    }
}
