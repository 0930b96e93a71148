//! Whose permissions count: a user by number, or by name from the image's own `/etc/passwd`.
//!
//! Permission bits only, as the kernel looks at them for a process without capabilities; no access
//! control lists.

use crate::layers::{FileType, Inode, Tree};

/// The permission to list a directory or to read a file.
const READ: u16 = 4;

/// The permission to reach what is in a directory.
const SEARCH: u16 = 1;

/// A user of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    /// The user's number; 0 may do everything.
    pub(super) uid: u32,
    /// The group's number, if one was given; the user is in no other.
    pub(super) gid: Option<u32>,
}

/// Why nobody is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Neither a number nor a name, or one of the two is missing.
    #[error("`{0}` is not a user: write UID, UID:GID, or names that exist in the image")]
    Shape(String),
    /// A name, but no file to look it up in.
    #[error("`{name}` cannot be resolved: the image has no readable /{file}")]
    NoFile {
        /// The user or group.
        name: String,
        /// Where it would stand.
        file: &'static str,
    },
    /// A name that the file does not have.
    #[error("`{name}` is not in the image's /{file}")]
    Unknown {
        /// The user or group.
        name: String,
        /// Where it would stand.
        file: &'static str,
    },
}

/// The files that names are looked up in: their contents must be kept when layers are read.
pub(super) const NAME_FILES: [&str; 2] = ["passwd", "group"];

impl User {
    /// The user that everything is open to.
    pub(super) const ROOT: Self = Self { uid: 0, gid: None };

    /// Parses `UID[:GID]`, where names are looked up in the image's files; without `:GID` the user
    /// has no group.
    pub(super) fn parse(text: &str, tree: &Tree) -> Result<Self, UserError> {
        let (user, group) = text
            .split_once(':')
            .map_or((text, None), |(user, group)| (user, Some(group)));
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(UserError::Shape(text.to_owned()));
        }
        let uid = number(user, tree, "etc/passwd")?;
        let gid = group
            .map(|group| number(group, tree, "etc/group"))
            .transpose()?;
        Ok(Self { uid, gid })
    }

    /// Whether the user may list the directory and reach what is in it, or read the file.
    pub(super) fn may_read(self, inode: &Inode) -> bool {
        let needed = if inode.kind == FileType::Directory {
            READ | SEARCH
        } else {
            READ
        };
        self.may(inode, needed)
    }

    /// Whether the user may reach what is in the directory.
    pub(super) fn may_search(self, directory: &Inode) -> bool {
        self.may(directory, SEARCH)
    }

    fn may(self, inode: &Inode, needed: u16) -> bool {
        // The first class that fits decides, even where a later one would allow more.
        let class = match self {
            Self { uid: 0, .. } => return true,
            Self { uid, .. } if uid == inode.uid => inode.mode >> 6,
            Self { gid: Some(gid), .. } if gid == inode.gid => inode.mode >> 3,
            _ => inode.mode,
        };
        class & needed == needed
    }
}

/// Digits, or the third field of the line in `file` whose first field is the name (the same in both
/// files).
fn number(name: &str, tree: &Tree, file: &'static str) -> Result<u32, UserError> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().map_err(|_| UserError::Shape(name.to_owned()));
    }
    let Some(FileType::File(Some(content))) =
        tree.find(file.as_bytes()).map(|found| &found.inode.kind)
    else {
        return Err(UserError::NoFile {
            name: name.to_owned(),
            file,
        });
    };
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let same = fields.next() == Some(name.as_bytes());
        let id = fields.nth(1).filter(|_| same)?;
        std::str::from_utf8(id).ok()?.parse().ok()
    };
    let found = content.split(|byte| *byte == b'\n').find_map(line);
    found.ok_or_else(|| UserError::Unknown {
        name: name.to_owned(),
        file,
    })
}
