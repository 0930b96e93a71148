//! Reading the digests that files name: those that git tracks in the work tree, and those of
//! commits.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use crate::{
    config::{Config, OpenDirectory, RelPath},
    error::Error,
    files::{ReadError, WorkTree},
    git::{Git, ObjectId, Sweep},
    pins::{Mention, mentions},
    prune::Text,
};

/// The location of files of the work tree.
const HERE: &str = "in the work tree";

/// Makes mentions of a content of any size, if it names a digest.
pub(super) fn reader()
-> impl FnMut(&mut dyn Read) -> io::Result<Option<Vec<Mention>>> + Send + 'static {
    let mut buffer = Vec::new();
    move |content| {
        let found = mentions(content, &mut buffer)?;
        Ok(Some(found).filter(|found| !found.is_empty()))
    }
}

/// What the files name that git tracks anywhere in the work tree, and those that `files` matches,
/// tracked or not.
pub(super) fn work_tree(git: &Git, config: &Config, text: &mut Text) -> Result<(), Error> {
    let mut paths: BTreeSet<Vec<u8>> = git.tracked()?.into_iter().collect();
    let matched = WorkTree::new(&config.root).list(&config.scanned)?.files;
    let whole = |path: RelPath| [git.prefix(), path.as_bytes()].concat();
    paths.extend(matched.into_iter().map(whole));
    let mut top = WorkTree::new(git.top()).beneath()?;
    let mut buffer = Vec::new();
    for path in paths {
        let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(&path))) else {
            continue;
        };
        if let Some(found) = file(&mut top, &path, &mut buffer)? {
            text.add(path.as_bytes(), HERE, &found);
        }
    }
    Ok(())
}

/// The digests that a file names; `None` if it is no longer a regular file. A symbolic link is not
/// followed: what it leads to counts by itself, if git tracks it.
fn file(
    tree: &mut OpenDirectory,
    path: &RelPath,
    buffer: &mut Vec<u8>,
) -> Result<Option<Vec<Mention>>, ReadError> {
    let opened = tree.open_listed(path);
    let found =
        opened.and_then(|opened| opened.map(|(file, _)| mentions(file, buffer)).transpose());
    found.map_err(|error| ReadError {
        path: path.to_string(),
        error,
    })
}

/// What the files of commits name, each content read once. `tips` are the commits, and where each
/// is (`on main of origin`).
pub(super) fn commits(
    git: &Git,
    tips: &[(ObjectId, String)],
    text: &mut Text,
) -> Result<(), Error> {
    let mut sweep = Sweep::new(git, reader())?;
    for (number, (id, _)) in tips.iter().enumerate() {
        sweep.add(number, *id)?;
    }
    for swept in sweep.finish()? {
        let (_, at) = &tips[swept.tip];
        text.add(&swept.path, at, &swept.value);
    }
    Ok(())
}
