//! The top of the git repository that a directory is in, by the rules of git and without git.
//!
//! git ignores an entry `.git` that is no repository, and continues in the directory above. Otherwise such an
//! entry in a directory would hide the history of the repository.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

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
