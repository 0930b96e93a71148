//! Writes the configuration, complete or not at all, and never over an existing file without
//! `--force`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::{
    cli::github::token,
    code::Code,
    config::{self, RelPath},
    error::{Class, Error, Errors, usage},
};

/// The path of the configuration to write.
pub(in crate::cli) struct Target {
    file: PathBuf,
    root: PathBuf,
    name: Option<RelPath>,
    shown: String,
}

impl Target {
    /// The path `file`, whose directory must exist; messages show it relative to `directory`.
    pub(in crate::cli) fn new(file: &Path, directory: &Path) -> Result<Self, Errors> {
        let shown = file
            .strip_prefix(directory)
            .unwrap_or(file)
            .display()
            .to_string();
        let named = file
            .file_name()
            .and_then(|name| Some((file.parent()?, RelPath::new(Path::new(name)).ok()?)));
        let (root, name) =
            named.ok_or_else(|| usage(format!("`{shown}` is not the path of a file")))?;
        if !root.is_dir() {
            return Err(usage(format!(
                "cannot write {shown}: its directory does not exist"
            )));
        }
        let (file, root, name) = (file.to_owned(), root.to_owned(), Some(name));
        Ok(Self {
            file,
            root,
            name,
            shown,
        })
    }

    /// The root of the configuration.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file's name in the root.
    pub(super) fn name(&self) -> Option<&RelPath> {
        self.name.as_ref()
    }

    /// The path for messages.
    pub(in crate::cli) fn shown(&self) -> &str {
        &self.shown
    }

    /// The warning about a configuration above, which no longer applies here.
    pub(super) fn hidden(&self) -> Option<String> {
        let above = config::find(self.root.parent()?)?;
        Some(format!(
            "{} no longer applies in this directory",
            above.display()
        ))
    }

    /// Fails if anything exists at the path.
    pub(super) fn refuse_existing(&self) -> Result<(), Errors> {
        match fs::symlink_metadata(&self.file) {
            Ok(_) => Err(self.exists()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.io("inspect", &error)),
        }
    }

    fn exists(&self) -> Errors {
        let hint = "`--force` replaces it, `--dry-run true` prints what would be written";
        Errors::from(Error::input(Code::INIT, format!("{} already exists", self.shown)).help(hint))
    }

    fn io(&self, doing: &str, error: &io::Error) -> Errors {
        Errors::io(format!("cannot {doing} {}: {error}", self.shown))
    }
}

/// Writes a temporary file and renames it once it is complete and on the disk; `force` replaces an
/// existing file (a symlink itself, not its target) and keeps its mode.
pub(in crate::cli) fn put(target: &Target, text: &str, force: bool) -> Result<(), Errors> {
    let fail = |error: io::Error| target.io("write", &error);
    let mode = match fs::symlink_metadata(&target.file) {
        Ok(standing) if standing.is_dir() => {
            return Err(usage(format!(
                "{} is a directory, not a file",
                target.shown
            )));
        }
        Ok(standing) if standing.is_file() && force => Some(standing.permissions()),
        _ => None,
    };
    let copy = target.root.join(format!(".{}", token()?));
    let written = fill(&copy, text, mode).and_then(|()| {
        if force {
            fs::rename(&copy, &target.file)
        } else {
            rename_new(&copy, &target.file)
        }
    });
    if let Err(error) = written {
        // Its name is random and never scanned: if it cannot be removed, it does no harm.
        let _ = fs::remove_file(&copy);
        return Err(if error.kind() == io::ErrorKind::AlreadyExists {
            target.exists()
        } else {
            fail(error)
        });
    }
    File::open(&target.root)
        .and_then(|directory| directory.sync_all())
        .map_err(fail)
}

/// Replaces a file that holds `old`, and keeps its mode; a symlink is refused, and so is a file that
/// was changed in the meantime.
pub(super) fn exchange(target: &Target, old: &str, new: &str) -> Result<(), Errors> {
    let fail = |error: io::Error| target.io("read", &error);
    let standing = fs::symlink_metadata(&target.file).map_err(fail)?;
    if !standing.is_file() {
        let message = format!("{} is not a regular file", target.shown);
        let hint = "run the command on the file that it leads to, with --config";
        return Err(Errors::from(Error::input(Code::INIT, message).help(hint)));
    }
    if fs::read(&target.file).map_err(fail)? != old.as_bytes() {
        let message = format!("{} was changed during the run", target.shown);
        return Err(Errors::from(
            Error::new(Class::Conflict, Code::CONFLICT, message).help("run the command again"),
        ));
    }
    put(target, new, true)
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
        // File systems without that have links, which never replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn target(dir: &Path) -> Target {
        Target::new(&dir.join("repin.yaml"), dir).unwrap()
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
        for stands in ["file", "symlink", "directory"] {
            let path = dir.path().join("repin.yaml");
            match stands {
                "file" => fs::write(&path, "mine").unwrap(),
                "symlink" => symlink("nowhere", &path).unwrap(),
                _ => fs::create_dir(&path).unwrap(),
            }
            assert_eq!(
                put(&target(dir.path()), "new", false)
                    .unwrap_err()
                    .class()
                    .exit_code(),
                2,
                "{stands}"
            );
            assert!(target(dir.path()).refuse_existing().is_err());
            assert_eq!(names(dir.path()), ["repin.yaml"]);
            if stands == "directory" {
                fs::remove_dir(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
        put(&target(dir.path()), "new", false).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("repin.yaml")).unwrap(),
            "new"
        );
    }

    #[test]
    fn force_replaces_a_file_with_its_mode_and_a_link_but_not_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repin.yaml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        put(&target(dir.path()), "new", true).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        fs::rename(&path, dir.path().join("other")).unwrap();
        symlink("other", &path).unwrap();
        put(&target(dir.path()), "newer", true).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("other")).unwrap(), "new");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(names(dir.path()), ["other", "repin.yaml"]);
    }
}
