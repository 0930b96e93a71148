//! The digests whose tags a run deleted and whose manifests remain. The next run continues with them, although
//! the registry no longer lists them.
//!
//! Each is an empty file in repin's directory of the clone, so that concurrent runs need no lock.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    base::error::{Class, Code, Error},
    oci::Digest,
};

/// The number of digits of the repository's hash in a name.
const REPOSITORY_DIGITS: usize = 16;

/// The unfinished deletions of one repository.
#[derive(Debug)]
pub(crate) struct Unfinished {
    directory: PathBuf,
    /// The hash of the repository, and `-`.
    prefix: String,
}

impl Unfinished {
    /// `directory`: that of repin in the clone; `repository`: as the source shows it.
    pub(crate) fn new(directory: &Path, repository: &str) -> Self {
        let hash = Digest::of(repository.as_bytes()).hex();
        Self {
            directory: directory.join("prune"),
            prefix: format!("{}-", &hash[..REPOSITORY_DIGITS]),
        }
    }

    /// All digests, in order.
    pub(super) fn digests(&self) -> Result<Vec<Digest>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.error("read", &error)),
        };
        let mut digests = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(|error| self.error("read", &error))?
                .file_name();
            let digits = name
                .to_str()
                .and_then(|name| name.strip_prefix(&self.prefix));
            digests.extend(digits.and_then(|digits| Digest::from_hex(digits).ok()));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// Records a digest before its first tag is deleted.
    pub(super) fn add(&self, digest: Digest) -> Result<(), Error> {
        fs::create_dir_all(&self.directory)
            .and_then(|()| fs::File::create(self.path(digest)))
            .and_then(|file| file.sync_all())
            .map_err(|error| self.error("write", &error))
    }

    /// Forgets a digest that no longer exists.
    pub(super) fn remove(&self, digest: Digest) {
        // An entry that remains costs one request in the next run.
        let _ = fs::remove_file(self.path(digest));
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory
            .join(format!("{}{}", self.prefix, digest.hex()))
    }

    fn error(&self, action: &str, error: &io::Error) -> Error {
        let directory = self.directory.display();
        let message = format!("cannot {action} {directory}: {error}");
        Error::new(Class::Unavailable, Code::IO, message).help(
            "let this user write to the git directory: it records which deletions are not finished",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repository_has_its_own_digests() {
        let directory = tempfile::tempdir().unwrap();
        let of = |repository| Unfinished::new(&directory.path().join("repin"), repository);
        let (one, other) = (of("r.example/one"), of("r.example/other"));
        let mut digests = [Digest::of(b"a"), Digest::of(b"b")];
        digests.sort_unstable();
        assert_eq!(one.digests().unwrap(), []);
        digests
            .iter()
            .rev()
            .for_each(|digest| one.add(*digest).unwrap());
        one.add(digests[0]).unwrap();
        assert_eq!(one.digests().unwrap(), digests);
        assert_eq!(other.digests().unwrap(), []);
        one.remove(digests[0]);
        one.remove(digests[0]);
        assert_eq!(one.digests().unwrap(), [digests[1]]);
    }
}
