//! The configured user, by ID or by a name in the image's `/etc/passwd`, and its permissions.
//!
//! Only permission bits are evaluated, as the kernel does for a process without capabilities. Access
//! control lists are ignored.

use crate::contents::layers::{FileType, Inode, Tree};

/// The permission to list a directory or to read a file.
const READ: u16 = 4;

/// The permission to access the entries of a directory.
const SEARCH: u16 = 1;

/// A user of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    /// The user ID; 0 has all permissions.
    pub(super) uid: u32,
    /// The only group of the user, if one is configured.
    pub(super) gid: Option<u32>,
}

/// The reason that the user cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserError {
    /// The text is malformed.
    #[error("`{0}` is not a user: write UID, UID:GID, or names that exist in the image")]
    Shape(String),
    /// The file of a name is missing or not readable.
    #[error("`{name}` cannot be resolved: the image has no readable /{file}")]
    NoFile {
        /// The user or group.
        name: String,
        /// The file of the name.
        file: &'static str,
    },
    /// The file does not contain the name.
    #[error("`{name}` is not in the image's /{file}")]
    Unknown {
        /// The user or group.
        name: String,
        /// The file of the name.
        file: &'static str,
    },
}

/// The files with users and groups. The content filter must select them.
pub(super) const NAME_FILES: [&str; 2] = ["passwd", "group"];

impl User {
    /// The user with all permissions.
    pub(super) const ROOT: Self = Self { uid: 0, gid: None };

    /// Parses `UID[:GID]`, and resolves users and groups in the image's files. Without `:GID`, the
    /// user has no group.
    pub(super) fn parse(text: &str, tree: &Tree) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(UserError::Shape(text.to_owned()));
        }
        Ok(Self {
            uid: resolve_id(user, tree, "etc/passwd")?,
            gid: match group {
                Some(group) => Some(resolve_id(group, tree, "etc/group")?),
                None => None,
            },
        })
    }

    /// Whether the user may read the file, or list and search the directory.
    pub(super) fn may_read(self, inode: &Inode) -> bool {
        let needed = if inode.kind == FileType::Directory {
            READ | SEARCH
        } else {
            READ
        };
        self.has(inode, needed)
    }

    /// Whether the user may access the entries of the directory.
    pub(super) fn may_search(self, directory: &Inode) -> bool {
        self.has(directory, SEARCH)
    }

    fn has(self, inode: &Inode, needed: u16) -> bool {
        // The first matching class decides, even if a later one has more permissions.
        let class = match self {
            Self { uid: 0, .. } => return true,
            Self { uid, .. } if uid == inode.uid => inode.mode >> 6,
            Self { gid: Some(gid), .. } if gid == inode.gid => inode.mode >> 3,
            _ => inode.mode,
        };
        class & needed == needed
    }
}

/// Parses an ID, or looks up a name in `file`. In both files, a line starts with a name, and its third
/// field is the ID.
fn resolve_id(name: &str, tree: &Tree, file: &'static str) -> Result<u32, UserError> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().map_err(|_| UserError::Shape(name.to_owned()));
    }
    let found = tree.find(file.as_bytes());
    let Some(FileType::File(Some(content))) = found.map(|found| &found.inode.kind) else {
        return Err(UserError::NoFile {
            name: name.to_owned(),
            file,
        });
    };
    for line in content.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        if fields.next() == Some(name.as_bytes())
            && let Some(id) = fields.nth(1)
            && let Ok(id) = std::str::from_utf8(id)
            && let Ok(id) = id.parse()
        {
            return Ok(id);
        }
    }
    Err(UserError::Unknown {
        name: name.to_owned(),
        file,
    })
}
