//! Finds the digests and tags in the tracked files of the work tree and in the files of commits.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use super::checkouts::{Checkout, is_gone};
use crate::{
    base::{
        error::Error,
        files::{Globs, OpenDirectory, ReadError, RelPath, WorkTree},
    },
    core::pins::{MentionFinder, Mentions, TagMention},
    git::{Git, ObjectId, Sweep},
    prune::ProtectionSet,
};

/// Returns a function that finds the mentions in a blob of any size. Each tag is returned once: with a
/// pattern that many words match, all tags of all blobs would not fit into memory.
fn reader(
    finder: &Arc<MentionFinder>,
) -> impl FnMut(&mut dyn Read) -> io::Result<Option<Mentions>> + Send + 'static {
    let finder = Arc::clone(finder);
    let mut buffer = Vec::new();
    let mut known = HashSet::new();
    move |content| {
        let mut found = finder.read(content, &mut buffer)?;
        let is_new = |found: &TagMention| known.insert((found.tag.clone(), found.image));
        found.tags.retain(is_new);
        Ok(Some(found).filter(|found| !found.is_empty()))
    }
}

/// Adds the mentions in the files of the index in the work tree, and in the files that the `files` of a set match,
/// tracked or not. `sets` are the globs, each with the path of the set's root from the top of the work tree.
pub(super) fn search_work_tree(
    checkout: &Checkout,
    sets: &[(Vec<u8>, &Globs)],
    finder: &MentionFinder,
    found: &mut ProtectionSet,
) -> Result<(), Error> {
    let top = checkout.git.top();
    let mut paths: BTreeSet<Vec<u8>> = checkout.index.keys().cloned().collect();
    for (prefix, globs) in sets {
        let root = top.join(OsStr::from_bytes(prefix));
        // Another branch may not have the directory.
        if fs::symlink_metadata(&root).is_err_and(|error| is_gone(&error)) {
            continue;
        }
        let matched = WorkTree::new(&root).list(globs)?.files.into_iter();
        paths.extend(matched.map(|path| [prefix, path.as_bytes()].concat()));
    }
    let mut tree = WorkTree::new(top).beneath()?;
    let mut buffer = Vec::new();
    for path in paths {
        let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(&path))) else {
            continue;
        };
        if let Some(mentions) = search_file(&mut tree, &path, finder, &mut buffer)? {
            found.add_mentions(path.as_bytes(), &checkout.location(), &mentions);
        }
    }
    Ok(())
}

/// The mentions in a file; `None` if it is no longer a regular file. A symbolic link is not followed: its
/// target is read itself if git tracks it.
fn search_file(
    tree: &mut OpenDirectory,
    path: &RelPath,
    finder: &MentionFinder,
    buffer: &mut Vec<u8>,
) -> Result<Option<Mentions>, ReadError> {
    let read_error = |error| ReadError {
        path: path.to_string(),
        error,
    };
    let Some((file, _)) = tree.open_listed(path).map_err(read_error)? else {
        return Ok(None);
    };
    finder.read(file, buffer).map(Some).map_err(read_error)
}

/// Adds the mentions in the files of commits and in the messages of annotated tags, and in the contents of
/// indexes. Each content is searched once. `tips` are the commits with their locations, such as `on main of
/// origin`.
pub(super) fn search_commits(
    git: &Git,
    tips: &[(ObjectId, String)],
    checkouts: &[Checkout],
    finder: &Arc<MentionFinder>,
    found: &mut ProtectionSet,
) -> Result<(), Error> {
    let mut sweep = Sweep::new(git, reader(finder));
    for (number, (id, _)) in tips.iter().enumerate() {
        sweep.add(number, *id)?;
    }
    let mut locations: Vec<String> = tips.iter().map(|(_, location)| location.clone()).collect();
    for checkout in checkouts {
        for (path, contents) in &checkout.index {
            for content in contents {
                sweep.add_blob(locations.len(), *content, path)?;
            }
        }
        locations.push(checkout.index_location());
    }
    for swept in sweep.finish()? {
        found.add_mentions(&swept.path, &locations[swept.tip], &swept.value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pins::ImageNames;

    #[test]
    fn content_without_a_new_mention_is_not_kept() {
        let config = crate::config::example(
            "version: 1\nfiles: [a]\nimages: { a: { repository: x.example/a, pins: 1 } }\n",
        );
        let names = ImageNames::new(&config, [], &["x".to_owned()], &[]);
        let finder = MentionFinder::new(&regex::Regex::new("^v").unwrap(), names);
        let mut read = reader(&Arc::new(finder));
        let mut read = |text: &str| read(&mut text.as_bytes()).unwrap();
        assert!(read("x.example/a:w1234").is_none());
        assert_eq!(read("x.example/a:v1234").unwrap().tags.len(), 1);
        assert!(read("x.example/b:v1234").is_none());
        assert_eq!(read("v1234 v1235").unwrap().tags.len(), 1);
    }
}
