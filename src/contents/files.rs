//! Package databases as files of a tree.

use super::layers::{FileType, ResolvedPath, Tree};

/// The content of a file.
pub(super) fn content<'t>(found: &ResolvedPath<'t>) -> Result<&'t [u8], String> {
    match &found.inode.kind {
        FileType::File(Some(content)) => Ok(content.as_ref()),
        FileType::File(None) => Err(format!(
            "{} is larger than 128 MiB, sparse, or linked to from a path with another name",
            display(found)
        )),
        _ => Err(format!("{} is not a file", display(found))),
    }
}

/// The path in messages.
pub(super) fn display(found: &ResolvedPath<'_>) -> String {
    format!("`/{}`", String::from_utf8_lossy(&found.path))
}

/// The only one of the files that exist at the paths. Paths may be links to the same file.
pub(super) fn only_file<'t>(
    tree: &'t Tree,
    paths: &[String],
) -> Result<Option<ResolvedPath<'t>>, String> {
    let mut only: Option<ResolvedPath<'_>> = None;
    for path in paths {
        let Some(found) = tree.find(path.as_bytes()) else {
            continue;
        };
        match &only {
            Some(first) if !std::ptr::eq(first.inode, found.inode) => {
                let (first, second) = (display(first), display(&found));
                return Err(format!("the image has two: {first} and {second}"));
            }
            Some(_) => {}
            None => only = Some(found),
        }
    }
    Ok(only)
}
