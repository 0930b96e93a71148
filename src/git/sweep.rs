//! Searches the contents of many trees: each tree and each content once, although commits share
//! them.
//!
//! One process serves all commits: a hundred branches that differ in one file take almost the same
//! time as one.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
};

use super::{
    Git, GitError, Object, ObjectId, Objects,
    objects::{TreeEntry, target},
};

/// The maximum depth of tags of tags.
const MAX_NESTING: usize = 16;
/// The path of the message of an annotated tag.
const MESSAGE: &[u8] = b"the message";

/// The search of commits; `T` is the result for a blob.
pub(crate) struct Sweep<T> {
    git: Git,
    contents: Objects<T>,
    seen: HashSet<ObjectId>,
    /// The first occurrence of each blob: the number of the tip, and the path.
    places: HashMap<ObjectId, (usize, Box<[u8]>)>,
    #[cfg(test)]
    reads: usize,
}

/// The result for a blob, and its first occurrence.
#[derive(Debug)]
pub(crate) struct Swept<T> {
    /// The number of the tip.
    pub(crate) tip: usize,
    /// The path from the top of its tree.
    pub(crate) path: Box<[u8]>,
    pub(crate) value: T,
}

impl<T> Sweep<T> {
    /// `digest` computes the result for a blob, or `None`.
    pub(crate) fn new(
        git: &Git,
        digest: impl FnMut(&mut dyn Read) -> io::Result<Option<T>> + 'static,
    ) -> Self {
        Self {
            git: git.clone(),
            contents: git.objects(digest),
            seen: HashSet::new(),
            places: HashMap::new(),
            #[cfg(test)]
            reads: 0,
        }
    }

    /// Reads the contents of a commit, tree or blob, or of the target of a tag, without those of earlier
    /// tips. The message of an annotated tag counts as a blob, and so does the target of a symbolic link. Submodules
    /// are skipped: their commits are in other repositories.
    pub(crate) fn add(&mut self, tip: usize, id: ObjectId) -> Result<(), GitError> {
        let mut next = id;
        for _ in 0..MAX_NESTING {
            if self.seen.contains(&next) {
                return Ok(());
            }
            match self.read(next)? {
                Object::Commit(text) => next = target(&text)?,
                Object::Tag(text) => {
                    self.add_blob(tip, next, MESSAGE)?;
                    next = target(&text)?;
                }
                Object::Tree(entries) => return self.read_tree(tip, entries),
                Object::Blob => return self.add_blob(tip, next, &[]),
            }
        }
        Err(malformed("an endless chain of tags"))
    }

    fn read(&mut self, id: ObjectId) -> Result<Object, GitError> {
        self.seen.insert(id);
        #[cfg(test)]
        {
            self.reads += 1;
        }
        self.git.object(id)?.ok_or(GitError::Missing(id))
    }

    fn read_tree(&mut self, tip: usize, entries: Vec<u8>) -> Result<(), GitError> {
        let mut open = vec![(Vec::new(), entries)];
        while let Some((directory, entries)) = open.pop() {
            let mut rest = entries.as_slice();
            // All ids of a repository have the same length.
            let length = self.seen.iter().next().map_or(20, ObjectId::length);
            while !rest.is_empty() {
                let entry = TreeEntry::split(&mut rest, length)?;
                let path = || [directory.as_slice(), entry.name].concat();
                match entry.mode {
                    b"160000" => {}
                    b"40000" if self.seen.contains(&entry.id) => {}
                    b"40000" => match self.read(entry.id)? {
                        Object::Tree(entries) => open.push(([&path()[..], b"/"].concat(), entries)),
                        _ => return Err(malformed("a directory that is not a tree")),
                    },
                    _ if self.places.contains_key(&entry.id) => {}
                    _ => self.add_blob(tip, entry.id, &path())?,
                }
            }
        }
        Ok(())
    }

    /// Reads a blob at a path, unless an earlier tip contains it.
    pub(crate) fn add_blob(
        &mut self,
        tip: usize,
        id: ObjectId,
        path: &[u8],
    ) -> Result<(), GitError> {
        if self.places.contains_key(&id) {
            return Ok(());
        }
        self.places.insert(id, (tip, path.into()));
        self.contents.request(id)
    }

    /// The digests of the contents, in the order of their tips and paths.
    pub(crate) fn finish(mut self) -> Result<Vec<Swept<T>>, GitError> {
        let mut swept: Vec<_> = self
            .contents
            .finish()?
            .into_iter()
            .filter_map(|(id, value)| {
                let (tip, path) = self.places.remove(&id)?;
                Some(Swept { tip, path, value })
            })
            .collect();
        swept.sort_by(|a, b| (a.tip, &a.path).cmp(&(b.tip, &b.path)));
        Ok(swept)
    }
}

fn malformed(what: &'static str) -> GitError {
    GitError::Malformed {
        command: "cat-file",
        what,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;
    use crate::git::tests::{git, id};

    #[test]
    fn shared_objects_are_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "-q"]);
        std::fs::create_dir_all(path.join("deep/er")).unwrap();
        let mut tips = Vec::new();
        for n in 0..20 {
            for name in ["a", "deep/b", "deep/er/c", "deep/er/same as a"] {
                let text = name.replace("deep/er/same as a", "a");
                std::fs::write(path.join(name), text).unwrap();
            }
            std::fs::write(path.join("own"), n.to_string()).unwrap();
            git(path, &["add", "-A"]);
            git(path, &["commit", "-q", "-m", "x"]);
            let object = ["HEAD", "HEAD^{tree}"][n % 2];
            tips.push(id(path, object));
        }
        git(path, &["tag", "-a", "-m", "x", "inner"]);
        git(path, &["tag", "-a", "-m", "x", "outer", "inner"]);
        tips.push(id(path, "outer"));
        tips.push(id(path, "HEAD:own"));
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let repository = Git::open_with(OsStr::new("git"), path).unwrap();
        let mut sweep = Sweep::new(&repository, move |content| {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            Ok(Some(text))
        });
        for (number, tip) in tips.iter().enumerate() {
            sweep.add(number, *tip).unwrap();
        }
        // 20 roots, the commits among the tips and below the tags, two directories, two tags, a file.
        assert_eq!(sweep.reads, 20 + 11 + 2 + 2 + 1);
        let swept = sweep.finish().unwrap();
        assert_eq!(read.load(Ordering::Relaxed), 3 + 20 + 2);
        let own = swept.iter().filter(|one| &*one.path == b"own").count();
        assert_eq!((swept.len(), own), (25, 20));
        let deep = swept.iter().find(|one| &*one.path == b"deep/er/c").unwrap();
        assert_eq!((deep.tip, deep.value.as_str()), (0, "deep/er/c"));
    }
}
