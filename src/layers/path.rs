//! Paths in archives: bytes between slashes, relative to the image's root.

/// The longest path that is taken from an archive, in bytes (Linux's `PATH_MAX`).
pub(super) const MAX: usize = 4096;

/// Names of `path` from the root down, without `.` and empty ones, each `..` taken back; `None` if
/// it climbs out.
///
/// This is lexical, as the engines clean an entry's name; `..` in the target of a symlink is
/// another matter.
pub(super) fn clean(path: &[u8]) -> Option<Vec<&[u8]>> {
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

/// A path for messages.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// `name` in `directory`, where the empty path is the root.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || name.is_empty() {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}
