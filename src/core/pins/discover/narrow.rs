//! Globs for files with pins that also match new files next to them, but no other file with pins.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    base::files::{Globs, Listing, RelPath, WorkTree, is_workflow_directory},
    core::pins::{Finder, WholeFile, read_whole},
};

/// More globs than this are merged by directory.
const MANY: usize = 8;
/// The minimum number of similar globs to merge.
const ALIKE: usize = 3;
/// The minimum number of sibling directories to match with one glob.
const SIBLINGS: usize = 2;

/// A glob and its files.
struct GlobFiles {
    glob: String,
    files: Vec<RelPath>,
}

impl GlobFiles {
    fn merged(glob: String, parts: &[Self]) -> Self {
        let files = parts.iter().flat_map(|part| part.files.iter().cloned());
        Self {
            glob,
            files: files.collect(),
        }
    }
}

/// Globs that match all of `files`, but no other file in which `finder` finds a pin and no file that
/// cannot be changed.
///
/// Paths that are not UTF-8 are omitted. A file next to unreadable ones has its path as its glob.
pub(crate) fn narrow(tree: &WorkTree, files: &BTreeSet<RelPath>, finder: &Finder) -> Vec<String> {
    let narrow = Narrow { tree, finder };
    let mut chosen = Vec::new();
    for ((directory, tail), files) in grouped(
        files
            .iter()
            .filter_map(|path| Some((split(path)?, path.clone()))),
    ) {
        let wide = format!("{directory}{tail}");
        let is_likely = files.len() > 1 || is_workflow_directory(Path::new(&directory));
        if (is_likely && narrow.fits(&wide, &files))
            || (!directory.is_empty() && narrow.matches_only(&wide, &files))
        {
            chosen.push(GlobFiles { glob: wide, files });
        } else {
            let each = files
                .into_iter()
                .filter_map(|path| Some((escaped(path.as_path().to_str()?), path)));
            chosen.extend(each.map(|(glob, path)| GlobFiles {
                glob,
                files: vec![path],
            }));
        }
    }
    chosen = narrow.with_siblings(chosen);
    if chosen.len() > MANY {
        chosen = narrow.merged(chosen, |directory| {
            directory
                .split_inclusive('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        });
    }
    if chosen.len() > MANY {
        chosen = narrow.merged(chosen, |_| String::new());
    }
    let mut globs: Vec<_> = chosen.into_iter().map(|chosen| chosen.glob).collect();
    globs.sort();
    globs
}

/// The glob that matches only this file; `None` if its path is not UTF-8.
pub(crate) fn exactly(path: &RelPath) -> Option<String> {
    path.as_path().to_str().map(escaped)
}

struct Narrow<'t> {
    tree: &'t WorkTree,
    finder: &'t Finder,
}

impl Narrow<'_> {
    /// Merges similar globs if their directories have the same `beginning` and the merged glob
    /// matches no other pin.
    fn merged(&self, chosen: Vec<GlobFiles>, beginning: fn(&str) -> String) -> Vec<GlobFiles> {
        let key = |one: GlobFiles| {
            let (directory, tail) = one.files.first().and_then(split)?;
            Some(((beginning(&directory), tail), one))
        };
        let mut out = Vec::new();
        for ((directory, tail), alike) in grouped(chosen.into_iter().filter_map(key)) {
            let merged = GlobFiles::merged(format!("{directory}**/{tail}"), &alike);
            if alike.len() >= ALIKE && self.fits(&merged.glob, &merged.files) {
                out.push(merged);
            } else {
                out.extend(alike);
            }
        }
        out
    }

    /// Merges the globs of sibling directories if each file that the merged glob matches has pins, so that it matches
    /// a new directory.
    fn with_siblings(&self, chosen: Vec<GlobFiles>) -> Vec<GlobFiles> {
        let key = |one: GlobFiles| {
            let (directory, name) = one.glob.rsplit_once('/')?;
            let parent = directory
                .rfind('/')
                .map_or("", |slash| &directory[..=slash]);
            Some(((parent.to_owned(), name.to_owned()), one))
        };
        let (at_top, below): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|one| !one.glob.contains('/'));
        let mut out = at_top;
        for ((parent, name), siblings) in grouped(below.into_iter().filter_map(key)) {
            let merged = GlobFiles::merged(format!("{parent}*/{name}"), &siblings);
            // The directories at the top have different purposes.
            if !parent.is_empty()
                && siblings.len() >= SIBLINGS
                && self.matches_only(&merged.glob, &merged.files)
            {
                out.push(merged);
            } else {
                out.extend(siblings);
            }
        }
        out
    }

    /// Whether a glob matches `files` and no other file.
    fn matches_only(&self, glob: &str, files: &[RelPath]) -> bool {
        let wanted: BTreeSet<_> = files.iter().collect();
        self.list(glob).is_some_and(|listing| {
            listing.files.iter().collect::<BTreeSet<_>>() == wanted && listing.hazards.is_empty()
        })
    }

    fn list(&self, glob: &str) -> Option<Listing> {
        let globs = Globs::parse([glob]).ok()?;
        self.tree.list(&globs).ok()
    }

    /// Whether a glob matches `files`, and otherwise only files without pins that can be changed safely.
    fn fits(&self, glob: &str, files: &[RelPath]) -> bool {
        let Some(listing) = self.list(glob) else {
            return false;
        };
        let wanted: BTreeSet<_> = files.iter().collect();
        let listed: BTreeSet<_> = listing.files.iter().collect();
        let mut buffer = Vec::new();
        let mut has_no_pins = |path: &RelPath| {
            let Ok(file) = self.tree.open(path) else {
                return false;
            };
            let Ok(WholeFile::Complete(text)) = read_whole(file, &mut buffer) else {
                return false;
            };
            let scan = self.finder.scan(text);
            scan.pins.is_empty() && scan.malformed.is_empty()
        };
        wanted.is_subset(&listed)
            && listing
                .hazards
                .iter()
                .all(|(path, _)| wanted.contains(path))
            && listed.difference(&wanted).all(|path| has_no_pins(path))
    }
}

fn grouped<T>(
    items: impl Iterator<Item = ((String, String), T)>,
) -> BTreeMap<(String, String), Vec<T>> {
    let mut groups: BTreeMap<_, Vec<T>> = BTreeMap::new();
    for (key, item) in items {
        groups.entry(key).or_default().push(item);
    }
    groups
}

/// The directory as a glob that ends with `/` (empty for the root), and a glob for the name: `*.tf`,
/// `*.{yml,yaml}`, or the name itself without an extension.
fn split(path: &RelPath) -> Option<(String, String)> {
    let text = path.as_path().to_str()?;
    let (directory, name) = text.rsplit_once('/').map_or(("", text), |(directory, _)| {
        text.split_at(directory.len() + 1)
    });
    let tail = match path
        .as_path()
        .extension()
        .and_then(|extension| extension.to_str())
    {
        // Two extensions of one format.
        Some("yml" | "yaml") => "*.{yml,yaml}".to_owned(),
        Some(extension) if !extension.is_empty() => format!("*.{}", escaped(extension)),
        _ => escaped(name),
    };
    Some((escaped(directory), tail))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]{}\\!".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::oci::Repository;

    const PIN: &str =
        "a.b/c@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A tree with a pin in each file of `holders`, and with `others`.
    fn tree(holders: &[&str], others: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in holders
            .iter()
            .map(|file| (file, PIN))
            .chain(others.iter().map(|(f, t)| (f, *t)))
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if text == "link" {
                symlink("nowhere", path).unwrap();
            } else {
                fs::write(path, text).unwrap();
            }
        }
        dir
    }

    fn globs_in(directory: &Path, files: &[&str]) -> Vec<String> {
        let files = files.iter().map(|file| RelPath::parse(file).unwrap());
        let finder = Finder::for_repositories([&Repository::parse("a.b/c").unwrap()]);
        narrow(&WorkTree::new(directory), &files.collect(), &finder)
    }

    /// Globs for the files of `holders`, with `others` in the same tree; they match all of `holders`.
    fn globs(holders: &[&str], others: &[(&str, &str)]) -> Vec<String> {
        let dir = tree(holders, others);
        let globs = globs_in(dir.path(), holders);
        let parsed = Globs::parse(globs.iter().map(String::as_str)).unwrap();
        let listed = WorkTree::new(dir.path()).list(&parsed).unwrap().files;
        let listed: BTreeSet<_> = listed.iter().map(RelPath::as_path).collect();
        let is_listed = |file: &&str| listed.contains(Path::new(file));
        assert!(holders.iter().all(is_listed), "{globs:?}");
        globs
    }

    #[test]
    fn workflow_directory_is_matched_completely() {
        assert_eq!(
            globs(
                &[".github/workflows/a.yml"],
                &[(".github/workflows/b.yml", "")]
            ),
            [".github/workflows/*.{yml,yaml}"]
        );
        assert_eq!(
            globs(&["a/x.yml", "a/y.yml", "a/z.yaml", "Dockerfile"], &[]),
            ["Dockerfile", "a/*.{yml,yaml}"]
        );
    }

    #[test]
    fn directory_with_pins_in_each_file_is_matched_completely() {
        assert_eq!(globs(&["a/x.yml"], &[("b/z.yml", "")]), ["a/*.{yml,yaml}"]);
        assert_eq!(globs(&["a/x.yml"], &[("a/z.yml", "")]), ["a/x.yml"]);
        assert_eq!(globs(&["a/x.yml"], &[("a/z.yml", "link")]), ["a/x.yml"]);
        assert_eq!(globs(&["x.yml"], &[]), ["x.yml"]);
    }

    #[test]
    fn sibling_directories_share_a_glob() {
        let overlays = ["o/dev/k.yaml", "o/prod/k.yaml"];
        assert_eq!(
            globs(&overlays, &[("o/README.md", "")]),
            ["o/*/*.{yml,yaml}"]
        );
        let named = [("o/dev/p.yaml", ""), ("o/prod/p.yaml", "")];
        assert_eq!(globs(&overlays, &named), ["o/*/k.yaml"]);
        let other = [
            ("o/dev/p.yaml", ""),
            ("o/prod/p.yaml", ""),
            ("o/qa/k.yaml", ""),
        ];
        assert_eq!(globs(&overlays, &other), overlays);
        let top = ["eu/Dockerfile", "us/Dockerfile"];
        assert_eq!(globs(&top, &[]), top);
    }

    #[test]
    fn glob_with_additional_matches_is_rejected() {
        let exact = ["a/x.yml", "a/y.yml"];
        assert_eq!(globs(&exact, &[("a/other.yml", PIN)]), exact);
        assert_eq!(globs(&exact, &[("a/other.yml", "a.b/c@sha256:abc")]), exact);
        assert_eq!(globs(&exact, &[("a/link.yml", "link")]), exact);
        assert_eq!(globs(&exact, &[("a/other.yml", "x")]), ["a/*.{yml,yaml}"]);
    }

    #[test]
    fn many_files_share_a_glob() {
        let many: Vec<_> = (0..9).map(|n| format!("k8s/{n}/app.yaml")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(globs(&many, &[("README.md", "")]), ["k8s/*/*.{yml,yaml}"]);
        assert_eq!(globs(&many, &[("k8s/0/other.yaml", PIN)]).len(), 9);
        let wide: Vec<_> = (0..9).map(|n| format!("{n}/Dockerfile")).collect();
        assert_eq!(
            globs(&wide.iter().map(String::as_str).collect::<Vec<_>>(), &[]),
            ["**/Dockerfile"]
        );
    }

    #[test]
    fn more_than_eight_globs_are_merged_by_directory() {
        let app = |directory: &str| format!("{directory}/app.yaml");
        let merged = |directories: &[&str], others: &[&str]| {
            let files: Vec<_> = directories.iter().map(|one| app(one)).collect();
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            let others: Vec<_> = others.iter().map(|one| app(one)).collect();
            // A file without a pin keeps sibling directories separate.
            let others: Vec<_> = others.iter().map(|one| (one.as_str(), "")).collect();
            globs(&files, &others)
        };
        let nine = [
            "a/0", "a/1", "a/2", "b/0", "b/1", "b/2", "c/0", "c/1", "c/2",
        ];
        assert_eq!(merged(&nine[..8], &["a/x", "b/x", "c/x"]).len(), 8);
        let eleven = [&nine[..], &["d/0", "d/1"]].concat();
        let expected = ["a/**", "b/**", "c/**", "d/0", "d/1"];
        assert_eq!(
            merged(&eleven, &["a/x", "b/x", "c/x", "d/x"]),
            expected.map(|directory| format!("{directory}/*.{{yml,yaml}}"))
        );
    }

    #[test]
    fn extension_decides_the_glob() {
        assert_eq!(globs(&["a/x.tf", "a/y.tf"], &[]), ["a/*.tf"]);
        assert_eq!(globs(&["a/x."], &[]), ["a/x."]);
    }

    #[test]
    fn hard_links_with_pins_share_a_glob() {
        let dir = tree(&["a/x.yml"], &[("a/z.yml", "")]);
        let path = |file: &str| dir.path().join(file);
        fs::hard_link(path("a/x.yml"), path("a/y.yml")).unwrap();
        let found = globs_in(dir.path(), &["a/x.yml", "a/y.yml"]);
        assert_eq!(found, ["a/*.{yml,yaml}"]);
    }

    #[test]
    fn deleted_file_keeps_its_path() {
        let dir = tree(&["a/x.yml"], &[]);
        let files = ["a/deleted.yml", "a/x.yml"];
        assert_eq!(globs_in(dir.path(), &files), files);
    }

    #[test]
    fn special_characters_are_matched_literally() {
        let odd = ["[a]/{x}*.y?l", "b\\c/d.yml", "e!/,.yml", " f/-.yml", ".env"];
        assert_eq!(globs(&odd, &[("a/xx.yml", PIN)]).len(), odd.len());
    }
}
