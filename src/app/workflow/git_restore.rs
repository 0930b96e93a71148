//! The commands of git that return to a promoted set while its images cannot be verified.
//!
//! Commands are suggested only if they restore exactly the pins of the set, in files without uncommitted
//! changes. Otherwise, there is no suggestion: a wrong one would return to another set, or destroy work.

use super::{Services, SiteHistory};
use crate::{
    base::{
        files::{CHART, Files, RelPath, Snapshot, WorkTree},
        untrusted::{plain, shell},
    },
    config::{Config, Operation, Trailer},
    core::{
        history::{Promoted, Provenance},
        pins::{self, Found},
    },
    git::{Git, ObjectId, TreeFile},
    oci::Revision,
};

/// The maximum size of a restored file, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// The commands that return to the set of a revision; `None` if git cannot return exactly to it.
pub(crate) fn git_restore(
    revision: &Revision,
    config: &Config,
    services: &Services,
) -> Option<String> {
    let site = SiteHistory::of_work_tree(config, services);
    let Provenance::Found(promoted) = site.promoted().ok()?.provenance(revision) else {
        return None;
    };
    let git = site.git()?;
    let head = git.head().ok()?.tip;
    let tree = WorkTree::new(&config.root);
    let found = pins::find(&tree, config).ok()?;
    let mut restored = Snapshot::default();
    let mut files = Vec::new();
    for path in files_with_pins(&found) {
        let current = tree.read(path).ok()?;
        let former = content(git, &promoted.commit, path)?;
        if former != current {
            // The restoration would destroy uncommitted changes.
            if content(git, &head, path)? != current {
                return None;
            }
            files.push(path.clone());
        }
        let chart = path.as_path().with_file_name(CHART);
        if tree.has_chart(&chart) {
            restored.note_chart(&RelPath::parse(chart.to_str()?).ok()?);
        }
        restored.insert(path.clone(), former);
    }
    let found = pins::find(&restored, config).ok()?;
    let is_exact = !files.is_empty() && is_whole(&found, &promoted, config);
    is_exact.then(|| commands(&files, &promoted.commit, revision, config, services))
}

fn content(git: &Git, commit: &ObjectId, path: &RelPath) -> Option<Vec<u8>> {
    match git.file(commit, path, MAX_FILE).ok()? {
        TreeFile::Content(content) => Some(content),
        TreeFile::Absent | TreeFile::TooLarge => None,
    }
}

/// The files with pins, each once.
fn files_with_pins(found: &Found) -> Vec<&RelPath> {
    let mut files: Vec<&RelPath> = found.pins().iter().map(|pin| &*pin.file).collect();
    files.dedup();
    files
}

/// Whether every image is pinned as often as declared, with its digest of the set only.
fn is_whole(found: &Found, promoted: &Promoted, config: &Config) -> bool {
    let has_problems = !(found.malformed.is_empty() && found.refused.is_empty());
    let mut images = config.images.iter().enumerate();
    !has_problems
        && images.all(|(index, image)| {
            let digest = promoted.images.get(&image.name).copied();
            found.pins_of(index).count() == image.pins
                && found.digests_of(index) == Vec::from_iter(digest)
        })
}

fn commands(
    files: &[RelPath],
    commit: &ObjectId,
    revision: &Revision,
    config: &Config,
    services: &Services,
) -> String {
    let mut git = "git".to_owned();
    if services.environment.directory() != config.root {
        git = format!("git -C {}", shell(&config.root.to_string_lossy()));
    }
    let names: Vec<_> = files.iter().map(|file| shell(&file.to_string())).collect();
    let names = names.join(" ");
    let title = config.templates(Operation::Rollback).title;
    let title = shell(&title.render(revision.as_str(), &config.name));
    let trailer = shell(&Trailer::line(revision.as_str(), &config.set_path));
    format!(
        "without a check of the images, git returns to the set {}, which commit {} made current; this also undoes \
         other changes of these files since then:\n  \
         {git} --literal-pathspecs restore --source={commit} -- {names}\n  \
         {git} --literal-pathspecs commit --only -m {title} -m {trailer} -- {names}",
        plain(revision.as_str()),
        commit.short()
    )
}
