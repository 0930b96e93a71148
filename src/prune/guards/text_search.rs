//! Finds the digests and tags in the tracked files of the work tree and in the files of commits.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use crate::{
    config::{Config, OpenDirectory, RelPath},
    error::Error,
    files::{ReadError, WorkTree},
    git::{Git, ObjectId, Sweep},
    pins::{MentionFinder, Mentions},
    prune::Text,
};

/// The location of files in the work tree.
const IN_WORK_TREE: &str = "in the work tree";

/// Returns a function that finds the mentions in a blob of any size.
fn reader(
    finder: &Arc<MentionFinder>,
) -> impl FnMut(&mut dyn Read) -> io::Result<Option<Mentions>> + Send + 'static {
    let finder = Arc::clone(finder);
    let mut buffer = Vec::new();
    move |content| {
        let found = finder.read(content, &mut buffer)?;
        Ok(Some(found).filter(|found| !found.is_empty()))
    }
}

/// Adds the mentions in the tracked files of the work tree, and in the files that `files` matches,
/// tracked or not.
pub(super) fn search_work_tree(
    git: &Git,
    config: &Config,
    finder: &MentionFinder,
    text: &mut Text,
) -> Result<(), Error> {
    let mut paths: BTreeSet<Vec<u8>> = git.tracked()?.into_iter().collect();
    let matched = WorkTree::new(&config.root).list(&config.scanned)?.files;
    paths.extend(
        matched
            .into_iter()
            .map(|path| [git.prefix(), path.as_bytes()].concat()),
    );
    let mut top = WorkTree::new(git.top()).beneath()?;
    let mut buffer = Vec::new();
    for path in paths {
        let Ok(path) = RelPath::new(Path::new(OsStr::from_bytes(&path))) else {
            continue;
        };
        if let Some(found) = search_file(&mut top, &path, finder, &mut buffer)? {
            text.add(path.as_bytes(), IN_WORK_TREE, &found);
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

/// Adds the mentions in the files of commits and in the messages of annotated tags. Each content is
/// searched once. `tips` are the commits with their locations, such as `on main of origin`.
pub(super) fn search_commits(
    git: &Git,
    tips: &[(ObjectId, String)],
    finder: &Arc<MentionFinder>,
    text: &mut Text,
) -> Result<(), Error> {
    let mut sweep = Sweep::new(git, reader(finder));
    for (number, (id, _)) in tips.iter().enumerate() {
        sweep.add(number, *id)?;
    }
    for swept in sweep.finish()? {
        let (_, at) = &tips[swept.tip];
        text.add(&swept.path, at, &swept.value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::ImageNames;

    #[test]
    fn content_without_a_mention_is_not_kept() {
        let config = crate::config::example(
            "version: 1\nfiles: [a]\nimages: { a: { repository: x.example/a, pins: 1 } }\n",
        );
        let names = ImageNames::new(&config, [], &["x".to_owned()]);
        let mut read = reader(&Arc::new(MentionFinder::new(Arc::new(names), [&config])));
        assert!(read(&mut &b"x.example/b:v1"[..]).unwrap().is_none());
        assert!(read(&mut &b"x.example/a:v1"[..]).unwrap().is_some());
    }
}
