//! Writes a file, completely or not at all, and replaces an existing file only on request.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::{
    app::workflow::output_file,
    base::{
        error::{Class, Code, Error, Errors, usage},
        files::RelPath,
    },
    config,
};

/// The path of a file to write.
pub(in crate::app::cli) struct TargetFile {
    file: PathBuf,
    directory: PathBuf,
    name: RelPath,
    /// The path for messages.
    display_name: String,
}

impl TargetFile {
    /// The directory of `file` must exist. Messages show the path relative to `current_directory`.
    pub(in crate::app::cli) fn new(file: &Path, current_directory: &Path) -> Result<Self, Errors> {
        let path = file.strip_prefix(current_directory).unwrap_or(file);
        let display_name = path.display().to_string();
        let parts = file
            .file_name()
            .and_then(|name| Some((file.parent()?, RelPath::new(Path::new(name)).ok()?)));
        let Some((directory, name)) = parts else {
            return Err(usage(format!("`{display_name}` is not the path of a file")));
        };
        output_file::resolved(path, current_directory, current_directory)?;
        Ok(Self {
            file: file.to_owned(),
            directory: directory.to_owned(),
            name,
            display_name,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn name(&self) -> &RelPath {
        &self.name
    }

    /// The path for messages.
    pub(in crate::app::cli) fn display_name(&self) -> &str {
        &self.display_name
    }

    /// A warning if a new configuration hides one in a directory above.
    pub(super) fn shadowing_warning(&self) -> Option<String> {
        let above = config::find(self.directory.parent()?)?;
        Some(format!(
            "{} no longer applies in this directory",
            above.display()
        ))
    }

    /// Whether anything exists there.
    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.file).is_ok()
    }

    /// Refuses the path if anything exists there.
    pub(super) fn refuse_existing(&self, help: &str) -> Result<(), Error> {
        match fs::symlink_metadata(&self.file) {
            Ok(_) => Err(self.existing(help)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.io("inspect", &error)),
        }
    }

    fn existing(&self, help: &str) -> Error {
        let message = format!("{} already exists", self.display_name);
        Error::input(Code::INIT, message).help(help)
    }

    /// The path of a temporary file in the same directory.
    fn copy(&self) -> Result<PathBuf, Errors> {
        Ok(self.directory.join(format!(".{}", random_id()?)))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn io(&self, action: &str, error: &io::Error) -> Error {
        Error::io(format!("cannot {action} {}: {error}", self.display_name))
    }
}

/// The help if a single file exists.
pub(super) const REPLACE: &str = "`--update` counts its pins again, `--force` replaces it, `--dry-run true` prints what would be written";

/// Writes and syncs a temporary file, and renames it. `force` replaces an existing file and keeps its mode;
/// a symlink is replaced, not its target.
pub(in crate::app::cli) fn write(
    target: &TargetFile,
    text: &str,
    force: bool,
) -> Result<(), Errors> {
    if !force {
        return write_new(&[(target, text)], REPLACE);
    }
    let mode = match fs::symlink_metadata(&target.file) {
        Ok(existing) if existing.is_dir() => {
            return Err(usage(format!(
                "{} is a directory, not a file",
                target.display_name
            )));
        }
        Ok(existing) if existing.is_file() => Some(existing.permissions()),
        Ok(existing) if !existing.is_symlink() => {
            return Err(usage(format!(
                "{} is not a regular file",
                target.display_name
            )));
        }
        _ => None,
    };
    let copy = target.copy()?;
    let written = fill(&copy, text, mode)
        .and_then(|()| fs::rename(&copy, &target.file))
        .and_then(|()| target.sync_directory());
    written.map_err(|error| {
        // A remaining copy is harmless: its name is random, and it is never scanned.
        let _ = fs::remove_file(&copy);
        target.io("write", &error).into()
    })
}

/// Writes new files, all of them or none. An existing file is an error with the help `exists`.
pub(in crate::app::cli) fn write_new(
    files: &[(&TargetFile, &str)],
    exists: &str,
) -> Result<(), Errors> {
    let mut new = NewFiles::default();
    new.write(files, exists).map_err(|mut errors| {
        errors.extend(new.remove());
        errors
    })
}

/// New files that are deleted if one of them cannot be written.
#[derive(Default)]
struct NewFiles<'f> {
    copies: Vec<PathBuf>,
    /// The renamed copies, with their contents.
    written: Vec<(&'f TargetFile, &'f str)>,
}

impl<'f> NewFiles<'f> {
    fn write(&mut self, files: &[(&'f TargetFile, &'f str)], exists: &str) -> Result<(), Errors> {
        for (target, text) in files {
            let copy = target.copy()?;
            self.copies.push(copy.clone());
            fill(&copy, text, None).map_err(|error| target.io("write", &error))?;
        }
        for ((target, text), copy) in files.iter().zip(&self.copies) {
            rename_new(copy, &target.file).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => target.existing(exists),
                _ => target.io("write", &error),
            })?;
            self.written.push((target, text));
        }
        for (target, _) in files {
            let synced = target.sync_directory();
            synced.map_err(|error| target.io("write", &error))?;
        }
        Ok(())
    }

    /// Removes the files, and returns an error for each that remains.
    fn remove(self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (target, text) in self.written {
            // Another process may have changed the file since.
            let is_own = fs::read(&target.file).is_ok_and(|content| content == text.as_bytes());
            let removed = if is_own {
                fs::remove_file(&target.file)
            } else {
                Err(io::Error::other("its content has changed"))
            };
            if let Err(error) = removed {
                errors.push(target.io("remove", &error));
            }
        }
        for copy in self.copies {
            // A remaining copy is harmless: its name is random, and it is never scanned.
            let _ = fs::remove_file(copy);
        }
        errors
    }
}

/// Replaces a file and preserves its mode. Refuses a symlink, and a file with another content than
/// `old`.
pub(super) fn replace(target: &TargetFile, old: &str, new: &str) -> Result<(), Errors> {
    let fail = |error: io::Error| target.io("read", &error);
    let existing = fs::symlink_metadata(&target.file).map_err(fail)?;
    if !existing.is_file() {
        let message = format!("{} is not a regular file", target.display_name);
        let hint = "run the command on the file that it leads to, with --config";
        return Err(Errors::from(Error::input(Code::INIT, message).help(hint)));
    }
    if fs::read(&target.file).map_err(fail)? != old.as_bytes() {
        let message = format!("{} was changed during the run", target.display_name);
        return Err(Errors::from(
            Error::new(Class::Conflict, Code::CONFLICT, message).help("run the command again"),
        ));
    }
    write(target, new, true)
}

fn fill(copy: &Path, text: &str, mode: Option<fs::Permissions>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(copy)?;
    file.write_all(text.as_bytes())?;
    if let Some(mode) = mode {
        file.set_permissions(mode)?;
    }
    file.sync_all()
}

/// Renames, unless the target exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without this operation has hard links, which never replace a file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

/// An unpredictable identifier.
pub(super) fn random_id() -> Result<String, Errors> {
    Ok(format!("repin-{:032x}", random_number()?))
}

/// An unpredictable number.
pub(super) fn random_number() -> Result<u128, Errors> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Errors::io(format!("cannot read random bytes: {error}")))?;
    Ok(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn target(dir: &Path) -> TargetFile {
        TargetFile::new(&dir.join("repin.yaml"), dir).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn file_created_during_the_run_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["file", "symlink", "directory"] {
            let path = dir.path().join("repin.yaml");
            match kind {
                "file" => fs::write(&path, "mine").unwrap(),
                "symlink" => symlink("nowhere", &path).unwrap(),
                _ => fs::create_dir(&path).unwrap(),
            }
            let errors = write(&target(dir.path()), "new", false).unwrap_err();
            assert_eq!(errors.class().exit_code(), 2, "{kind}");
            assert!(target(dir.path()).refuse_existing(REPLACE).is_err());
            assert_eq!(names(dir.path()), ["repin.yaml"]);
            if kind == "directory" {
                fs::remove_dir(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
        write(&target(dir.path()), "new", false).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("repin.yaml")).unwrap(),
            "new"
        );
    }

    #[test]
    fn existing_file_prevents_all_new_files() {
        let dir = tempfile::tempdir().unwrap();
        let targets = ["a.yaml", "b.yaml", "c.yaml"]
            .map(|name| TargetFile::new(&dir.path().join(name), dir.path()).unwrap());
        let files: Vec<_> = targets.iter().map(|target| (target, "new")).collect();
        fs::write(dir.path().join("b.yaml"), "mine").unwrap();
        let errors = write_new(&files, "remove it").unwrap_err();
        assert_eq!(errors.class().exit_code(), 2);
        assert_eq!(names(dir.path()), ["b.yaml"]);
        assert_eq!(fs::read(dir.path().join("b.yaml")).unwrap(), b"mine");
        fs::remove_file(dir.path().join("b.yaml")).unwrap();
        write_new(&files, "remove it").unwrap();
        assert_eq!(names(dir.path()), ["a.yaml", "b.yaml", "c.yaml"]);
    }

    #[test]
    fn changed_file_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path());
        let new = NewFiles {
            copies: Vec::new(),
            written: vec![(&target, "new")],
        };
        fs::write(dir.path().join("repin.yaml"), "edited since").unwrap();
        let errors = new.remove();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].message.contains("cannot remove repin.yaml"));
        assert_eq!(names(dir.path()), ["repin.yaml"]);
    }

    #[test]
    fn force_replaces_a_file_or_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repin.yaml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&target(dir.path()), "new", true).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        fs::rename(&path, dir.path().join("other")).unwrap();
        symlink("other", &path).unwrap();
        write(&target(dir.path()), "newer", true).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("other")).unwrap(), "new");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(names(dir.path()), ["other", "repin.yaml"]);
    }
}
