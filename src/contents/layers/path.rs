//! Paths in archives: components separated by slashes, relative to the root of the image.

/// The maximum length of a path, in bytes (Linux's `PATH_MAX`).
pub(super) const MAX_LENGTH: usize = 4096;

/// Splits a path into its components, without `.` and empty ones, and resolves `..` lexically, as
/// the engines do for the path of an entry. Returns `None` if the path is not inside the root. A
/// symlink target is different: its `..` is resolved in the tree.
pub(super) fn normalize(path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    Some(names)
}

/// The path in messages.
pub(super) fn display(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The path of `name` in `directory`; the empty path is the root.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || name.is_empty() {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}
