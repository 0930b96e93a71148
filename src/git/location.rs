//! Finds the repository of a directory without git.
//!
//! git accepts any directory that contains `HEAD`, `objects` and `refs` as a bare repository and
//! runs the commands in its `config`. A pull request can add such a directory, so git must not
//! search for a repository: every process receives the repository that is found here.
//!
//! The top of the git repository that a directory is in, by the rules of git and without git.
//!
//! git ignores an entry `.git` that is no repository, and continues in the directory above. Otherwise such an
//! entry in a directory would hide the history of the repository.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::GitError;

/// A directory and the repository that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Location {
    /// The working directory of every git process.
    pub(super) root: PathBuf,
    /// `None` for a directory that becomes a repository (`git init`).
    pub(super) repository: Option<Repository>,
    /// The path of the root in the work tree: empty, or with a trailing `/`.
    pub(super) prefix: Vec<u8>,
}

/// The work tree of a repository, and its `.git` entry.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) work_tree: PathBuf,
    pub(super) git_dir: PathBuf,
    /// Whether the files belong to this user. If not, git's `safe.directory` decides.
    pub(super) owned: bool,
}

impl Location {
    /// The repository of the nearest ancestor directory with one.
    pub(super) fn find(root: &Path) -> Result<Self, GitError> {
        let io = |error| GitError::Unreadable {
            path: root.to_owned(),
            error,
        };
        let canonical = fs::canonicalize(root).map_err(io)?;
        if canonical
            .components()
            .any(|name| name.as_os_str() == ".git")
        {
            return Err(GitError::NoWorkTree(root.to_owned()));
        }
        refuse_bare_root(&canonical)?;
        let work_tree = match find_top(&canonical).map_err(io)? {
            Top::Found(work_tree) => work_tree,
            Top::Rejected(entry) => return Err(GitError::Rejected(entry)),
            Top::Missing => return Err(GitError::NotARepository(root.to_owned())),
        };
        let git_dir = work_tree.join(".git");
        let entry = fs::symlink_metadata(&git_dir).map_err(io)?;
        let user = rustix::process::geteuid().as_raw();
        let tree = fs::metadata(work_tree).map_err(io)?;
        let below = canonical.strip_prefix(work_tree).unwrap_or(Path::new(""));
        let mut prefix = below.as_os_str().as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        Ok(Self {
            root: root.to_owned(),
            repository: Some(Repository {
                work_tree: work_tree.to_owned(),
                owned: entry.is_dir() && entry.uid() == user && tree.uid() == user,
                git_dir,
            }),
            prefix,
        })
    }

    /// The `.git` directory if it contains all files of the repository; `None` for a linked work tree or
    /// a submodule, whose files only git finds (gitrepository-layout, "commondir"), and for a directory
    /// that git refuses.
    pub(super) fn plain_git_dir(&self) -> Option<&Path> {
        let directory = self.repository.as_ref()?.git_dir.as_path();
        let entry = |name: &str| fs::symlink_metadata(directory.join(name));
        let is_plain = entry("HEAD").is_ok() && entry("commondir").is_err();
        is_plain.then_some(directory)
    }

    /// Whether a place is in the same repository.
    pub(super) fn is_in_repository_of(&self, other: &Self) -> bool {
        let work_tree = |place: &Self| {
            let repository = place.repository.as_ref();
            repository.map(|repository| repository.work_tree.clone())
        };
        self.repository.is_some() && work_tree(self) == work_tree(other)
    }

    /// The top of a repository of repin's own, which may be inside a `.git`.
    pub(super) fn own(directory: &Path) -> Self {
        Self {
            root: directory.to_owned(),
            repository: Some(Repository {
                work_tree: directory.to_owned(),
                git_dir: directory.join(".git"),
                owned: true,
            }),
            prefix: Vec::new(),
        }
    }

    /// A directory without a repository.
    pub(super) fn outside(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            repository: None,
            prefix: Vec::new(),
        }
    }
}

/// Refuses a directory that git accepts as a bare repository (`is_git_directory` in git's setup.c;
/// `commondir` replaces `objects` and `refs`).
pub(crate) fn refuse_bare_root(root: &Path) -> Result<(), GitError> {
    let exists = |name: &str| fs::symlink_metadata(root.join(name)).is_ok();
    if exists("HEAD") && (exists("commondir") || exists("objects") && exists("refs")) {
        return Err(GitError::BareRoot(root.to_owned()));
    }
    Ok(())
}

/// The maximum size of `HEAD` that git reads, in bytes.
const MAX_HEAD: usize = 256;

/// The nearest repository upward from a directory.
pub(crate) enum Top<'d> {
    /// The directory with the entry `.git` of a repository.
    Found(&'d Path),
    /// An entry `.git` is no repository, and no other was found.
    Rejected(PathBuf),
    Missing,
}

/// The repository that contains a directory.
pub(crate) fn find_top(directory: &Path) -> io::Result<Top<'_>> {
    let mut rejected = None;
    for directory in directory.ancestors() {
        let entry = directory.join(".git");
        match fs::symlink_metadata(&entry) {
            Ok(_) if is_repository(&entry)? => return Ok(Top::Found(directory)),
            Ok(_) => rejected = rejected.or(Some(entry)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rejected.map_or(Top::Missing, Top::Rejected))
}

/// The nearest directory from `directory` upward with a repository. A directory that cannot be read counts as
/// one: git reports the error.
pub(crate) fn top_of_repository(directory: &Path) -> Option<&Path> {
    match find_top(directory) {
        Ok(Top::Found(top)) => Some(top),
        Ok(Top::Rejected(_) | Top::Missing) => None,
        Err(_) => Some(directory),
    }
}

/// Whether an entry is the directory of a repository (`is_git_directory` in git's setup.c), or a file with the
/// path of one, which git follows or refuses. A dangling link, an empty directory and a FIFO are
/// not repositories.
fn is_repository(entry: &Path) -> io::Result<bool> {
    let metadata = match fs::metadata(entry) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return Ok(metadata.is_file());
    }
    if !has_head(entry)? {
        return Ok(false);
    }
    // A linked work tree refers to the directory with the objects (gitrepository-layout, "commondir").
    let common = match fs::read(entry.join("commondir")) {
        Ok(path) => entry.join(OsStr::from_bytes(path.trim_ascii_end())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => entry.to_owned(),
        Err(error) => return Err(error),
    };
    Ok(common.join("objects").try_exists()? && common.join("refs").try_exists()?)
}

/// Whether `HEAD` of a repository is a link to a reference, or contains a reference or an object id
/// (`validate_headref` in git's path.c).
fn has_head(repository: &Path) -> io::Result<bool> {
    let head = repository.join("HEAD");
    match fs::symlink_metadata(&head) {
        Ok(metadata) if metadata.is_symlink() => {
            let target = fs::read_link(&head)?;
            return Ok(target.as_os_str().as_bytes().starts_with(b"refs/"));
        }
        Ok(metadata) if !metadata.is_file() => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut content = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(fs::File::open(&head)?, MAX_HEAD as u64),
        &mut content,
    )?;
    if let Some(target) = content.strip_prefix(b"ref:") {
        return Ok(target.trim_ascii_start().starts_with(b"refs/"));
    }
    let digits = content.iter().take_while(|byte| byte.is_ascii_hexdigit());
    Ok(digits.count() >= 40)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, path: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), "").unwrap();
    }

    fn write_repository(root: &Path) {
        for directory in ["objects", "refs"] {
            fs::create_dir_all(root.join(".git").join(directory)).unwrap();
        }
        fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    fn is_owned(root: &Path) -> bool {
        Location::find(root).unwrap().repository.unwrap().owned
    }

    #[test]
    fn root_with_the_files_of_a_bare_repository_is_refused() {
        let cases: [(&[&str], bool); 6] = [
            (&["HEAD", "objects/x", "refs/x"], true),
            (&["HEAD", "commondir"], true),
            (&["objects/x", "refs/x"], false),
            (&["HEAD", "refs/x"], false),
            (&["HEAD", "objects/x"], false),
            (&["commondir"], false),
        ];
        for (paths, is_bare) in cases {
            let root = tempfile::tempdir().unwrap();
            write_repository(root.path());
            for path in paths {
                write(root.path(), path);
            }
            let found = Location::find(root.path());
            let is_refused = matches!(found, Err(GitError::BareRoot(_)));
            assert_eq!(is_refused, is_bare, "{paths:?}");
        }
    }

    #[test]
    fn only_a_whole_repository_is_read_without_git() {
        let root = tempfile::tempdir().unwrap();
        let is_plain = || {
            let location = Location::find(root.path()).unwrap();
            location.plain_git_dir().is_some()
        };
        write_repository(root.path());
        assert!(is_plain());
        // A linked work tree, and a submodule.
        write(root.path(), ".git/commondir");
        assert!(!is_plain());
        fs::remove_dir_all(root.path().join(".git")).unwrap();
        write(root.path(), ".git");
        assert!(!is_plain());
    }

    #[test]
    fn repository_belongs_to_the_owner_of_all_its_parts() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), ".git");
        assert!(!is_owned(root.path()));
        fs::remove_file(root.path().join(".git")).unwrap();
        write_repository(root.path());
        assert!(is_owned(root.path()));
        // Only root may give a directory away.
        if rustix::process::geteuid().is_root() {
            for path in ["", ".git"] {
                let path = root.path().join(path);
                std::os::unix::fs::chown(&path, Some(1234), None).unwrap();
                assert!(!is_owned(root.path()), "{}", path.display());
                std::os::unix::fs::chown(&path, Some(0), None).unwrap();
            }
        }
    }

    #[test]
    fn unreadable_entry_does_not_mean_that_there_is_no_repository() {
        let directory = tempfile::tempdir().unwrap();
        // The path is as long as the system permits, and that of `.git` is longer.
        let mut root = fs::canonicalize(directory.path()).unwrap();
        while root.as_os_str().len() < 4_092 {
            let left = 4_092 - root.as_os_str().len() - 1;
            let length = if left <= 200 { left } else { 100 };
            root.push("x".repeat(length));
        }
        fs::create_dir_all(&root).unwrap();
        let found = Location::find(&root);
        assert!(
            matches!(found, Err(GitError::Unreadable { .. })),
            "{}",
            found.is_ok()
        );
    }

    #[test]
    fn entry_that_is_no_repository_is_skipped() {
        type Setup = fn(&Path);
        let plain: Setup = |git| {
            for name in ["objects", "refs"] {
                fs::create_dir_all(git.join(name)).unwrap();
            }
            fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        };
        let cases: [(&str, bool, Setup); 13] = [
            ("repository", true, plain),
            ("file", true, |git| fs::write(git, "gitdir: x\n").unwrap()),
            ("detached", true, |git| {
                fs::create_dir_all(git.join("refs")).unwrap();
                fs::create_dir_all(git.join("objects")).unwrap();
                fs::write(git.join("HEAD"), "a".repeat(40)).unwrap();
            }),
            ("link as HEAD", true, |git| {
                fs::create_dir_all(git.join("refs")).unwrap();
                fs::create_dir_all(git.join("objects")).unwrap();
                symlink("refs/heads/main", git.join("HEAD")).unwrap();
            }),
            ("work tree", true, |git| {
                fs::create_dir(git).unwrap();
                fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
                fs::write(git.join("commondir"), "common\n").unwrap();
                fs::create_dir_all(git.join("common/refs")).unwrap();
                fs::create_dir_all(git.join("common/objects")).unwrap();
            }),
            ("lost commondir", false, |git| {
                fs::create_dir(git).unwrap();
                fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
                fs::write(git.join("commondir"), "nowhere\n").unwrap();
            }),
            ("empty", false, |git| fs::create_dir(git).unwrap()),
            ("dangling", false, |git| symlink("nowhere", git).unwrap()),
            ("fifo", false, |git| {
                let mode = rustix::fs::Mode::RWXU;
                rustix::fs::mkfifoat(rustix::fs::CWD, git, mode).unwrap();
            }),
            ("only HEAD", false, |git| {
                fs::create_dir(git).unwrap();
                fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
            }),
            ("other HEAD", false, |git| {
                fs::create_dir_all(git.join("refs")).unwrap();
                fs::create_dir_all(git.join("objects")).unwrap();
                fs::write(git.join("HEAD"), "main\n").unwrap();
            }),
            ("directory as HEAD", false, |git| {
                for name in ["HEAD", "objects", "refs"] {
                    fs::create_dir_all(git.join(name)).unwrap();
                }
            }),
            ("no refs", false, |git| {
                fs::create_dir_all(git.join("objects")).unwrap();
                fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
            }),
        ];
        for (name, is_found, setup) in cases {
            let root = tempfile::tempdir().unwrap();
            let inner = root.path().join("inner");
            fs::create_dir(&inner).unwrap();
            setup(&inner.join(".git"));
            let alone = find_top(&inner).unwrap();
            assert_eq!(matches!(alone, Top::Found(_)), is_found, "{name}");
            assert_eq!(matches!(alone, Top::Rejected(_)), !is_found, "{name}");
            plain(&root.path().join(".git"));
            let expected = if is_found { &inner } else { root.path() };
            assert_eq!(top_of_repository(&inner), Some(expected), "{name}");
            // git agrees. It refuses the invalid file and work tree instead of using them.
            let mut git = std::process::Command::new("git");
            let ran = git.args([
                "-C",
                inner.to_str().unwrap(),
                "rev-parse",
                "--show-toplevel",
            ]);
            let ran = ran.env("LC_ALL", "C").output().unwrap();
            let top = String::from_utf8(ran.stdout).unwrap();
            let top = Path::new(top.trim_end());
            if ran.status.success() {
                assert_eq!(top, expected.canonicalize().unwrap(), "{name}");
            } else {
                assert!(is_found, "{name}");
            }
        }
    }
}
