//! The tracked and the ignored files of several sets, listed once for the directory that contains them.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    GitError, TrackedFile,
    location::Location,
    ls_files::{self, Listing, Tracking},
    path_set::PathSet,
};
use crate::base::files::{Ignored, RelPath};

/// The maximum number of paths on the command line.
const MAX_PATHS: usize = 64;

/// The files of a directory, from which those of the sets below it are selected.
#[derive(Debug)]
pub(crate) struct SharedTracking {
    place: Location,
    /// Sorted by the bytes of the path.
    tracked: Vec<TrackedFile>,
    /// The paths below which ignored files are listed, from the top of the work tree.
    searched: PathSet,
    /// The ignored files and directories, sorted by the bytes of the path.
    ignored: Vec<RelPath>,
}

impl SharedTracking {
    /// Lists the files of a directory for sets with these paths below which files are searched. Also returns the configuration
    /// files of the repository, as in [`Tracking`].
    pub(crate) fn read(
        directory: &Path,
        searched: &[Vec<u8>],
    ) -> Result<(Self, Vec<TrackedFile>), GitError> {
        let place = Location::find(directory)?;
        let below = |path: &[u8]| {
            let path = [path, b"/"].concat();
            let below = path.strip_prefix(&*place.prefix)?;
            Some(below.strip_suffix(b"/").unwrap_or(below).to_vec())
        };
        let relative: PathSet = searched.iter().filter_map(|path| below(path)).collect();
        let searched = searched.iter().filter(|path| below(path).is_some());
        let searched = searched.cloned().collect();
        let mut directories = Vec::new();
        for path in relative.outermost(MAX_PATHS) {
            directories.push(PathBuf::from(OsStr::from_bytes(&path)));
        }
        let Listing { tracking, ignored } = ls_files::list(&place, &directories)?;
        let mut ignored = ignored.ok_or(GitError::NotARepository(directory.to_owned()))?;
        ignored.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let shared = Self {
            place,
            tracked: tracking.tracked,
            searched,
            ignored,
        };
        Ok((shared, tracking.configurations))
    }

    /// The files of a set without the configurations, as [`ls_files::tracking`] lists them; `None` if they
    /// must be listed for this set only.
    pub(crate) fn of(
        &self,
        root: &Path,
        directories: &[PathBuf],
    ) -> Result<Option<Tracking>, GitError> {
        let place = Location::find(root)?;
        let Some(root) = place.prefix.strip_prefix(&*self.place.prefix) else {
            return Ok(None);
        };
        let mut paths = directories
            .iter()
            .map(|directory| [&place.prefix, directory.as_os_str().as_bytes()].concat());
        if !place.is_in_repository_of(&self.place)
            || !paths.all(|path| self.searched.contains(&path))
        {
            return Ok(None);
        }
        let mut tracked = Vec::new();
        let first = (self.tracked).partition_point(|file| file.path.as_bytes() < root);
        for file in &self.tracked[first..] {
            let Some(below) = file.path.as_bytes().strip_prefix(root) else {
                break;
            };
            if let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(below))) {
                let sparse = file.sparse;
                tracked.push(TrackedFile { path, sparse });
            }
        }
        // git may ignore the root itself.
        if tracked.is_empty() {
            return Ok(None);
        }
        // In an ignored root, git lists no ignored files, and a directory may be listed in place of its files.
        let ignored = if self.has_ignored(root) {
            ls_files::ignored_at(&place, directories)?
        } else {
            Ignored::default()
        };
        Ok(Some(Tracking {
            tracked,
            configurations: Vec::new(),
            ignored,
        }))
    }

    /// Whether a file or a directory below a root is ignored, or the root itself.
    fn has_ignored(&self, root: &[u8]) -> bool {
        let position = |path: &[u8]| {
            self.ignored
                .binary_search_by(|other| other.as_bytes().cmp(path))
        };
        let mut slashes = memchr::memchr_iter(b'/', root);
        let (Ok(next) | Err(next)) = position(root);
        let has_below =
            (self.ignored.get(next)).is_some_and(|path| path.as_bytes().starts_with(root));
        has_below || slashes.any(|slash| position(&root[..slash]).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::{
        base::files::{Files, WorkTree},
        config::{self, Config, SetPath},
        git::tests::git,
    };

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The set of `directory/repin.yaml` in a repository.
    fn set(top: &Path, directory: &str, files: &str) -> Config {
        let text = format!(
            "version: 1\nfiles: [{files}]\nimages: {{ a: {{ repository: r.example/a, pins: 1 }} }}\n"
        );
        let path = Path::new(directory).join("repin.yaml");
        write(top, path.to_str().unwrap(), &text);
        let set_path = SetPath::new(&path).unwrap();
        let root = top.join(directory);
        config::parse_bytes(text.into_bytes(), "x", &root, &set_path, config::parse).unwrap()
    }

    /// The listed files, and the files that the set searches.
    fn summary(config: &Config, tracking: Tracking) -> (Vec<TrackedFile>, Vec<String>) {
        let tree = WorkTree::new(&config.root).without(tracking.ignored);
        let listed = tree.list_unopened(&config.scanned).unwrap().files;
        let listed = listed.iter().map(ToString::to_string).collect();
        (tracking.tracked, listed)
    }

    /// Compares the shared listing of each set with its own; returns the directories of the sets that are
    /// listed separately.
    fn compare(top: &Path, directory: &str, sets: &[Config]) -> BTreeSet<String> {
        let searched: Vec<_> = sets.iter().flat_map(Config::searched_paths).collect();
        let (shared, configurations) =
            SharedTracking::read(&top.join(directory), &searched).unwrap();
        let mut separate = BTreeSet::new();
        for config in sets {
            let own = ls_files::tracking(&config.root, &config.searched_directories()).unwrap();
            assert_eq!(configurations, own.configurations);
            match shared
                .of(&config.root, &config.searched_directories())
                .unwrap()
            {
                Some(tracking) => assert_eq!(
                    summary(config, tracking),
                    summary(config, own),
                    "{}",
                    config.set_path
                ),
                None => drop(separate.insert(config.set_path.directory().display().to_string())),
            }
        }
        separate
    }

    /// Sets with names that begin alike, nested ones, and ignored files, directories and roots.
    fn sets(top: &Path) -> Vec<Config> {
        git(top, &["init", "-q"]);
        let sets = [
            ("", "'*.yml', 'out/*.yml'"),
            ("a", "'**/*.yml'"),
            ("ab", "'x/*.yml'"),
            ("a-b", "'*.yml', '!skip.yml'"),
            ("a/deep", "'*.yml'"),
            ("excluded", "'*.yml', 'build/*.yml'"),
            ("excluded/below", "'*.yml'"),
        ]
        .map(|(directory, files)| set(top, directory, files));
        let directories = [
            "",
            "a/",
            "ab/x/",
            "ab/",
            "a-b/",
            "a/deep/",
            "excluded/",
            "excluded/below/",
            "out/",
        ];
        for directory in directories {
            write(top, &format!("{directory}app.yml"), "");
            write(top, &format!("{directory}new-file.yml"), "");
        }
        for path in [
            "excluded/build/app.yml",
            "out/ignored.yml",
            "a/deep/ignored.yml",
        ] {
            write(top, path, "");
        }
        write(top, ".gitignore", "ignored.yml\nbuild/\ngone/\n");
        git(
            top,
            &[
                "add",
                "-f",
                "*repin.yaml",
                "*app.yml",
                ".gitignore",
                ":!excluded/build",
            ],
        );
        sets.into()
    }

    #[test]
    fn shared_listing_equals_that_of_each_set() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let sets = sets(top);
        assert!(compare(top, "", &sets).is_empty());
        // The others are not below this directory.
        let separate = compare(top, "a", &sets);
        let separate: Vec<_> = separate.iter().map(String::as_str).collect();
        assert_eq!(separate, ["", "a-b", "ab", "excluded", "excluded/below"]);
    }

    #[test]
    fn many_sets_are_listed_by_few_paths() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        git(top, &["init", "-q"]);
        let mut sets = Vec::new();
        for number in 0..MAX_PATHS + 2 {
            sets.push(set(top, &format!("e/{number}"), "'*.yml'"));
            write(top, &format!("e/{number}/app.yml"), "");
        }
        for path in ["e/1/ignored.yml", "e/10/ignored.yml", "e/2/new.yml"] {
            write(top, path, "");
        }
        write(top, ".gitignore", "ignored.yml\n");
        git(top, &["add", "--all", ":!e/2/new.yml"]);
        assert!(compare(top, "", &sets).is_empty());
    }

    #[test]
    fn sparse_files_are_shared() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let sets = sets(top);
        git(top, &["commit", "-q", "-m", "x"]);
        git(
            top,
            &[
                "sparse-checkout",
                "set",
                "--no-cone",
                "/*",
                "!/ab/x/",
                "!/a/deep/app.yml",
            ],
        );
        assert!(!top.join("ab/x/app.yml").exists());
        assert!(compare(top, "", &sets).is_empty());
    }

    #[test]
    fn set_without_tracked_file_is_listed_separately() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let mut sets = sets(top);
        sets.push(set(top, "untracked", "'*.yml'"));
        git(&top.join("ab"), &["init", "-q"]);
        let searched: Vec<_> = sets.iter().flat_map(Config::searched_paths).collect();
        let (shared, _) = SharedTracking::read(top, &searched).unwrap();
        for config in &sets {
            let directory = config.set_path.directory();
            let is_separate = ["untracked", "ab"]
                .iter()
                .any(|separate| directory == Path::new(separate));
            let found = shared
                .of(&config.root, &config.searched_directories())
                .unwrap();
            assert_eq!(found.is_none(), is_separate, "{}", directory.display());
        }
        // A directory that no set searches.
        sets[2] = set(top, "a-b", "'other/*.yml'");
        let found = SharedTracking::read(top, &[b"a-b/x".to_vec()]).unwrap().0;
        assert!(
            found
                .of(&sets[2].root, &sets[2].searched_directories())
                .unwrap()
                .is_none()
        );
    }
}
