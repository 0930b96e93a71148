//! The ids of git's objects (SHA-1), computed without the program.

use std::collections::BTreeMap;

use sha1::{Digest as _, Sha1};

use super::store::Files;

/// The id of a blob (git-hash-object).
pub fn blob_id(content: &[u8]) -> String {
    object_id("blob", content)
}

/// The id of a tree (git-mktree); `None` without files, and if the id of a file is malformed.
pub fn tree_id(files: &Files) -> Option<String> {
    let files: Vec<_> = files.iter().map(|(path, file)| (&**path, file)).collect();
    (!files.is_empty()).then(|| directory_id(&files))?
}

fn directory_id(files: &[(&str, &(String, String))]) -> Option<String> {
    // Git compares the name of a directory with a trailing slash.
    let mut rows = BTreeMap::new();
    let mut directories = BTreeMap::<&str, Vec<_>>::new();
    for (path, file) in files {
        if let Some((name, below)) = path.split_once('/') {
            directories.entry(name).or_default().push((below, *file));
        } else {
            let mode = file.0.trim_start_matches('0');
            rows.insert((*path).to_owned(), row(mode, path, &file.1)?);
        }
    }
    for (name, files) in directories {
        rows.insert(
            format!("{name}/"),
            row("40000", name, &directory_id(&files)?)?,
        );
    }
    Some(object_id(
        "tree",
        &rows.into_values().flatten().collect::<Vec<_>>(),
    ))
}

fn row(mode: &str, name: &str, id: &str) -> Option<Vec<u8>> {
    let id = hex::decode(id).ok().filter(|id| id.len() == 20)?;
    let mut row = format!("{mode} {name}\0").into_bytes();
    row.extend(id);
    Some(row)
}

fn object_id(kind: &str, content: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("{kind} {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}
