//! The output files of options such as `--body-file`.
//!
//! The place is checked before the first request, and its directory remains open: no link leads out of the
//! repository, and no file is replaced that git tracks or that repin reads. A file is written completely or
//! not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fchmod, openat, renameat, statat, unlinkat},
    io::Errno,
};

use crate::{
    base::{
        error::{Error, Errors, usage},
        files::{RelPath, is_config_file, is_reserved},
        untrusted::plain,
    },
    config::{Config, IgnoredFiles},
    git::{self, top_of_repository},
};

/// The paths of standard output, in addition to `-`.
const STANDARD_OUTPUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
/// The mode of a new file, before the umask.
const NEW: Mode = Mode::from_raw_mode(0o666);

/// A file that an option names for output.
#[derive(Debug, Clone)]
pub(crate) struct OutputFile {
    /// The path as typed.
    typed: PathBuf,
    /// `None` for standard output.
    place: Option<Arc<OutputPlace>>,
}

/// The checked place of a file.
#[derive(Debug)]
struct OutputPlace {
    directory: OwnedFd,
    /// The path without links.
    path: PathBuf,
    name: OsString,
}

impl OutputFile {
    /// Checks the place of `file`, relative to `current_directory`. `config`: the configuration of the run,
    /// whose pinned files are refused as well.
    pub(crate) fn new(
        file: &Path,
        current_directory: &Path,
        config: Option<&Config>,
    ) -> Result<Self, Errors> {
        let typed = file.to_owned();
        if STANDARD_OUTPUT.iter().any(|path| file == Path::new(path)) {
            return Ok(Self { typed, place: None });
        }
        let display_name = plain(&file.display().to_string());
        let root = config.map_or(current_directory, |config| &config.root);
        let path = resolved(file, current_directory, root)?;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(usage(format!("`{display_name}` is not the path of a file")));
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| unwritable(&display_name, &error.into()))?;
        refuse_kind(&opened, name, &display_name)?;
        refuse_used(&path, config, &display_name)?;
        let place = OutputPlace {
            directory: opened,
            name: name.to_owned(),
            path,
        };
        Ok(Self {
            typed,
            place: Some(Arc::new(place)),
        })
    }

    /// The path as typed.
    pub(crate) fn typed(&self) -> &Path {
        &self.typed
    }

    pub(crate) fn is_stdout(&self) -> bool {
        self.place.is_none()
    }

    /// Refuses a path that another option or argument of the command names as well.
    pub(crate) fn refuse_same(
        &self,
        option: &str,
        others: &[(&str, &Path)],
        current_directory: &Path,
    ) -> Result<(), Errors> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let own = identity(&place.path);
        for (other, file) in others {
            let path = current_directory.join(file);
            let is_same = match identity(&path) {
                Some(identity) => Some(identity) == own,
                None => resolved(file, current_directory, current_directory)
                    .is_ok_and(|path| path == place.path),
            };
            if is_same {
                let name = plain(&self.typed.display().to_string());
                let message = format!("{option} and {other} name the same file: {name}");
                return Err(usage(message));
            }
        }
        Ok(())
    }

    /// Writes the file completely or not at all; an existing file keeps its mode. Standard output is the
    /// task of the caller.
    pub(crate) fn write(&self, content: &[u8]) -> Result<(), Errors> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        let written = place.replace(content);
        written.map_err(|error| unwritable(&self.typed.display().to_string(), &error))
    }

    /// Opens the file for reading and appending, and creates it if it is missing; `None` for standard
    /// output.
    pub(crate) fn open_for_append(&self) -> Result<Option<File>, Errors> {
        let Some(place) = &self.place else {
            return Ok(None);
        };
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let opened = openat(&place.directory, &place.name, flags, NEW);
        let opened = opened.map_err(io::Error::from).and_then(|file| {
            let file = File::from(file);
            if file.metadata()?.is_file() {
                Ok(file)
            } else {
                Err(io::Error::other("it is not a regular file"))
            }
        });
        let name = || self.typed.display().to_string();
        opened
            .map(Some)
            .map_err(|error| unwritable(&name(), &error))
    }
}

impl OutputPlace {
    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let (copy, mut file) = self.create_copy()?;
        let written = self.fill(&mut file, content).and_then(|()| {
            renameat(&self.directory, &copy, &self.directory, &self.name)?;
            rustix::fs::fsync(&self.directory)?;
            Ok(())
        });
        if written.is_err() {
            // A remaining copy is harmless: its name is random, and it is never scanned.
            let _ = unlinkat(&self.directory, &copy, AtFlags::empty());
        }
        written
    }

    /// Creates a file with a random name.
    fn create_copy(&self) -> io::Result<(OsString, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let random = RandomState::new().build_hasher().finish();
            let name = OsString::from(format!(".repin-{random:016x}"));
            match openat(&self.directory, &name, flags, NEW) {
                Ok(file) => return Ok((name, file.into())),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn fill(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        file.write_all(content)?;
        if let Ok(existing) = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(existing.st_mode).is_file()
        {
            // The type of a mode is not the same on every system.
            fchmod(&file, Mode::from_raw_mode(existing.st_mode & 0o777))?;
        }
        file.sync_all()
    }
}

/// The path of a new file without links: no link of a repository or of `root` leads out of it, and the file
/// is in no git directory.
pub(crate) fn resolved(
    file: &Path,
    current_directory: &Path,
    root: &Path,
) -> Result<PathBuf, Errors> {
    let display_name = plain(&file.display().to_string());
    let has_name = !file.as_os_str().as_bytes().ends_with(b"/");
    let Some(name) = file.file_name().filter(|_| has_name) else {
        return Err(usage(format!("`{display_name}` is not the path of a file")));
    };
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => usage(format!(
            "cannot write {display_name}: its directory does not exist"
        )),
        _ => unwritable(&display_name, &error),
    };
    let root = root.canonicalize().map_err(missing)?;
    let mut directory = current_directory.canonicalize().map_err(missing)?;
    for component in file.parent().unwrap_or(Path::new("")).components() {
        match component {
            Component::RootDir => directory = PathBuf::from("/"),
            Component::ParentDir => {
                directory.pop();
            }
            Component::Normal(name) => {
                let entry = directory.join(name);
                let is_link = entry.symlink_metadata().map_err(missing)?.is_symlink();
                let entered = entry.canonicalize().map_err(missing)?;
                let top = top_of_repository(&directory);
                let leaves = |top: &Path| directory.starts_with(top) && !entered.starts_with(top);
                if is_link && (leaves(&root) || top.is_some_and(leaves)) {
                    let link = plain(&entry.display().to_string());
                    return Err(usage(format!(
                        "cannot write {display_name}: the link {link} leads out of the repository"
                    )));
                }
                directory = entered;
            }
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let path = directory.join(name);
    refuse_git_directory(&path, &display_name)?;
    Ok(path)
}

/// Refuses the files of git and of repin's state.
fn refuse_git_directory(path: &Path, display_name: &str) -> Result<(), Errors> {
    let is_git = |name: &OsStr| name.eq_ignore_ascii_case(".git");
    let mut directories = path.ancestors().skip(1);
    let is_state = path
        .iter()
        .rev()
        .take(2)
        .any(|name| is_reserved(name.as_bytes()));
    if path.iter().any(is_git)
        || is_state
        || directories.any(|directory| git::refuse_bare_root(directory).is_err())
    {
        return Err(usage(format!(
            "cannot write {display_name}: the directory belongs to git or to repin's state"
        )));
    }
    Ok(())
}

/// Refuses an existing file that is not regular: a link, a pipe, a device, a directory.
fn refuse_kind(directory: &OwnedFd, name: &OsStr, display_name: &str) -> Result<(), Errors> {
    let mode = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(existing) => existing.st_mode,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(unwritable(display_name, &error.into())),
    };
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(usage(format!("{display_name} is a directory, not a file"))),
        _ => Err(usage(format!(
            "{display_name} is not a regular file: name another file, or `-` for standard output"
        ))),
    }
}

/// Refuses a tracked file, a configuration, and a file whose pins count.
fn refuse_used(path: &Path, config: Option<&Config>, display_name: &str) -> Result<(), Errors> {
    let refuse = |reason: &str| {
        Err(usage(format!(
            "cannot write {display_name}: {reason}; name another file"
        )))
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    if is_config_file(path) {
        return refuse("its name is that of a configuration");
    }
    if git::is_tracked(directory, name).map_err(|error| Errors::from(Error::from(&error)))? {
        return refuse("git tracks it");
    }
    let Some(config) = config else {
        return Ok(());
    };
    let Ok(root) = config.root.canonicalize() else {
        return Ok(());
    };
    if path == root.join(config.file_name()) {
        return refuse("it is the configuration");
    }
    let relative = path.strip_prefix(&root).ok();
    let Some(relative) = relative.and_then(|path| RelPath::new(path).ok()) else {
        return Ok(());
    };
    if !config.scanned.matches(relative.as_path()) {
        return Ok(());
    }
    let may_be_ignored =
        config.files_ignored != IgnoredFiles::Include && git::is_in_repository(&root);
    if may_be_ignored
        && git::is_ignored(&root, &relative).map_err(|error| Errors::from(Error::from(&error)))?
    {
        return Ok(());
    }
    refuse("`files` or `places` matches it, so its pins count")
}

fn unwritable(display_name: &str, error: &io::Error) -> Errors {
    Errors::io(format!("cannot write {}: {error}", plain(display_name)))
}
