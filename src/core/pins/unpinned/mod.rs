//! Images that files name without a digest, for `init --pin`.
//!
//! Dockerfiles and YAML are read by their structure, because a word that looks like a reference may be the name of
//! a build stage, of a built image, or of a placeholder that kustomize replaces. The result lists the place of each
//! digest; `plan::pinning` adds the digests.

mod dockerfile;
pub(crate) mod reference;

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use reference::Origin;
pub(crate) use reference::{TaggedImage, Unpinned, UnpinnedKind};

use super::{
    discover,
    find::Located,
    lines::Lines,
    places::{
        StandardPlaces, same_events,
        unpinned::{UnpinnedInYaml, is_template, is_yaml},
    },
};
use crate::base::files::{CHART, Files as _, RelPath, Survey, WorkTree};

/// The images without a digest in a work tree.
#[derive(Default)]
pub(crate) struct UnpinnedImages {
    /// In the order of the paths, then of each file.
    pub(crate) images: Vec<Located<Unpinned>>,
    /// The files that could not be read, each with the reason.
    pub(crate) unread: Vec<String>,
    /// The templates of charts, which were not read.
    pub(crate) templates: usize,
}

/// Searches the files of a survey.
pub(crate) fn find(tree: &WorkTree, survey: &Survey) -> UnpinnedImages {
    let mut found = UnpinnedImages::default();
    found
        .unread
        .extend(survey.unread.iter().map(ToString::to_string));
    let (mut replaced, mut built) = (HashSet::new(), HashSet::new());
    let mut charts = Charts {
        tree,
        files: &survey.files,
        known: BTreeMap::new(),
    };
    for path in &survey.files {
        let is_chart = |chart: &Path| tree.has_chart(chart);
        if is_template(path.as_path(), &is_chart) {
            found.templates += 1;
            continue;
        }
        if !is_read(path) {
            continue;
        }
        let read = match discover::text(tree, path) {
            Ok(Some(content)) => in_content(tree, path, &content),
            Ok(None) => Err("it is binary or too large".to_owned()),
            Err(error) => Err(error.error.to_string()),
        };
        let mut in_file = match read {
            Ok(in_file) => in_file,
            Err(reason) => {
                found.unread.push(format!("{path}: {reason}"));
                continue;
            }
        };
        charts.refuse(path, &mut in_file.images);
        replaced.extend(in_file.replaced);
        let file = Arc::new(path.clone());
        let names = in_file.built.into_iter();
        built.extend(names.map(|name| (path.as_path().parent(), name)));
        found
            .images
            .extend(in_file.images.into_iter().map(|item| Located {
                file: Arc::clone(&file),
                item,
            }));
    }
    for Located { file, item } in &mut found.images {
        let UnpinnedKind::Pinnable(image) = &item.kind else {
            continue;
        };
        let is_built = || built.contains(&(file.as_path().parent(), image.name()));
        // The name may be that of no image, or of an image without a digest in a registry.
        let reason = match item.origin {
            Origin::Manifest if replaced.contains(image.repository.as_str()) => {
                "kustomize replaces this name"
            }
            Origin::Compose if is_built() => "a compose file of the directory builds it",
            Origin::Compose | Origin::Manifest | Origin::Helm | Origin::Other => continue,
        };
        item.kind = UnpinnedKind::Refused(reason.to_owned());
    }
    found
}

/// Whether two contents of a file differ only in the scalars that contain an offset of `moved` in the old one, and
/// in the keys within `added` of the new one.
pub(crate) fn reads_alike(
    path: &RelPath,
    old: &[u8],
    new: &[u8],
    moved: &[usize],
    added: &[Range<usize>],
) -> bool {
    !is_yaml(path.as_path()) || same_events(old, new, moved, added)
}

/// The images without a digest in a content of one file, or the reason why it cannot be read.
pub(crate) fn of_content(
    tree: &WorkTree,
    path: &RelPath,
    content: &[u8],
) -> Result<Vec<Unpinned>, String> {
    in_content(tree, path, content).map(|found| found.images)
}

fn is_read(path: &RelPath) -> bool {
    is_yaml(path.as_path()) || dockerfile::is_dockerfile(path.as_path())
}

fn in_content(tree: &WorkTree, path: &RelPath, content: &[u8]) -> Result<UnpinnedInYaml, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut found = UnpinnedInYaml::default();
    if dockerfile::is_dockerfile(path.as_path()) {
        found.images = dockerfile::find(text)?;
        found.images.sort_by_key(|image| image.at);
    } else if ["image", "docker", "container", "repository", "services"]
        .iter()
        .any(|word| text.contains(word))
    {
        let exists = |chart: &Path| tree.has_chart(chart);
        found = StandardPlaces::new().unpinned(path.as_path(), text, &exists)?;
    }
    let mut lines = Lines::new(content);
    for image in &mut found.images {
        (image.line, image.column) = lines.place(content, image.at);
    }
    Ok(found)
}

/// The charts of a work tree, and whether their templates use a digest.
struct Charts<'c> {
    tree: &'c WorkTree,
    files: &'c [RelPath],
    known: BTreeMap<PathBuf, bool>,
}

impl Charts<'_> {
    /// Refuses the entries in the values of a chart whose templates ignore a digest.
    fn refuse(&mut self, path: &RelPath, images: &mut [Unpinned]) {
        let mut entries: Vec<_> = images.iter_mut().collect();
        entries.retain(|image| image.origin == Origin::Helm);
        if entries.is_empty() {
            return;
        }
        let mut above = path.as_path().ancestors().skip(1);
        let Some(chart) = above.find(|directory| self.tree.has_chart(&directory.join(CHART)))
        else {
            return;
        };
        if self.uses_digest(chart) {
            return;
        }
        for image in entries {
            let reason =
                "the templates of the chart do not use `digest`, so that it would have no effect";
            image.kind = UnpinnedKind::Refused(reason.to_owned());
        }
    }

    /// Whether the templates of a chart contain the word, or other charts may.
    fn uses_digest(&mut self, chart: &Path) -> bool {
        if let Some(known) = self.known.get(chart) {
            return *known;
        }
        let contains = |path: &RelPath, word: &[u8]| match discover::text(self.tree, path) {
            Ok(content) => {
                content.is_some_and(|content| memchr::memmem::find(&content, word).is_some())
            }
            // An unknown template may use it.
            Err(_) => true,
        };
        let templates = chart.join("templates");
        let used = self.files.iter().any(|path| {
            path.as_path().starts_with(&templates) && contains(path, b"digest")
                || path.as_path() == chart.join(CHART) && contains(path, b"dependencies:")
        });
        self.known.insert(chart.to_owned(), used);
        used
    }
}

#[cfg(test)]
mod tests;
