//! The settings of git that repin reads: those of the repository, of the user and of the system.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::{Git, GitError};

/// The sections that are read.
const SECTIONS: [&str; 7] = [
    "author",
    "branch",
    "committer",
    "extensions",
    "gpg",
    "remote",
    "user",
];

/// A setting of git.
pub(super) struct Setting {
    /// `section.name` or `section.subsection.name`; the section and the name are in lower case.
    pub(super) key: String,
    /// `None`: the file has only the key, which means `true`.
    pub(super) value: Option<Vec<u8>>,
}

impl Setting {
    pub(super) fn text(&self) -> Option<String> {
        let value = self.value.as_deref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// A URL may contain a password.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// The settings of a repository, read once for all of its handles.
pub(super) type Settings = Arc<OnceLock<Vec<Setting>>>;

impl Git {
    /// The settings in the order of git: for a key with one value, the last one counts.
    pub(super) fn settings(&self) -> Result<&[Setting], GitError> {
        if let Some(known) = self.settings.get() {
            return Ok(known);
        }
        let listed = self.output("config", &["--list", "--null"])?;
        let settings = listed.split(|byte| *byte == 0).filter_map(setting);
        Ok(self.settings.get_or_init(|| settings.collect()))
    }
}

/// An entry of the list: the key, and after a line feed its value (git-config, `--null`).
fn setting(entry: &[u8]) -> Option<Setting> {
    let mut parts = entry.splitn(2, |byte| *byte == b'\n');
    let key = String::from_utf8_lossy(parts.next()?).into_owned();
    let section = key.split('.').next()?;
    let value = parts.next().map(<[u8]>::to_vec);
    SECTIONS
        .contains(&section)
        .then_some(Setting { key, value })
}
