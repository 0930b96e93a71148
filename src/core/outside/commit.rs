//! The search in a commit's tree, with the objects of the clone.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::Path,
    sync::Arc,
};

use super::{
    Outside, TrackedFile, Unreadable, add_other_sets, from_top, is_outside, is_searched, layouts,
    read_blob,
};
use crate::{
    base::files::{RelPath, is_config_file},
    config::{Config, OutsidePolicy},
    core::{
        configurations::{Contents, OtherConfigurations},
        pins::{Found, Located, Occurrence, OccurrenceFinder},
    },
    git::{Git, GitError, ObjectId},
    oci::Digest,
};

/// One file of a tree.
struct Entry {
    path: RelPath,
    blob: ObjectId,
}

/// Searches the tree of a commit; `found` are the pins of the same tree. Missing objects are fetched
/// from `branch` of the remote.
pub(crate) fn commit(config: &Config, commit: &str, branch: &str, found: &Found) -> Outside {
    let mut outside = Outside::default();
    let Some(id) = ObjectId::parse(commit.as_bytes()) else {
        let reason = format!(
            "`{}` is not the name of a commit",
            crate::base::untrusted::plain(commit)
        );
        let unread = Unreadable {
            file: None,
            reason,
            hint: None,
        };
        outside.unread_configurations.push(unread.clone());
        outside.unread.push(unread);
        return outside;
    };
    let searched = Git::open(&config.root)
        .and_then(|git| search(config, &git, &id, branch, found, &mut outside));
    if let Err(error) = searched {
        let reason = format!("cannot read the files of commit {}: {error}", id.short());
        let unread = Unreadable::tree(reason, error.hint());
        outside.unread_configurations.push(unread.clone());
        outside.unread.push(unread);
    }
    outside
}

fn search(
    config: &Config,
    git: &Git,
    commit: &ObjectId,
    branch: &str,
    found: &Found,
    outside: &mut Outside,
) -> Result<(), GitError> {
    if !git.has_commit(commit)? {
        git.fetch_objects(&git.only_remote()?, &[branch])?;
        if !git.has_commit(commit)? {
            return Err(GitError::Missing(*commit));
        }
    }
    let (mut entries, mut blobs) = (Vec::new(), HashMap::new());
    let root = config.set_path.directory();
    git.regular_files(commit, |path, blob| {
        let below = path.as_path().strip_prefix(root);
        if let Ok(Ok(below)) = below.map(RelPath::new) {
            entries.push(Entry { path: below, blob });
        }
        blobs.insert(path, blob);
    })?;
    let configurations = blobs.keys().filter(|path| is_config_file(path.as_path()));
    let configurations = Arc::new(configurations.cloned().collect());
    let others = OtherConfigurations::new(config, configurations);
    let mut contents = CommitContents { git, blobs };
    if config.outside != OutsidePolicy::Ignore {
        let paths: Vec<_> = entries.iter().map(|entry| &entry.path).collect();
        let layouts = layouts::find(&paths, &mut |path, most| {
            contents.read(&from_top(config, path), most).ok()
        });
        entries.retain(|entry| is_searched(&layouts, config, &entry.path));
        let blobs: Vec<ObjectId> = entries.iter().map(|entry| entry.blob).collect();
        let missing = git.missing(&blobs)?;
        if !missing.is_empty() {
            git.fetch_blobs(&git.only_remote()?, &missing)?;
        }
        search_blobs(config, git, found, entries, outside)?;
    }
    add_other_sets(&others, found, &mut contents, outside);
    Ok(())
}

/// The files of a commit, by their paths from the top of the repository.
struct CommitContents<'g> {
    git: &'g Git,
    blobs: HashMap<RelPath, ObjectId>,
}

impl Contents for CommitContents<'_> {
    fn read(&mut self, path: &RelPath, most: u64) -> Result<Vec<u8>, String> {
        let Some(blob) = self.blobs.get(path) else {
            return Err("the file does not exist".to_owned());
        };
        self.fetch(*blob).map_err(|error| error.to_string())?;
        read_blob(self.git, *blob, most)
    }

    fn has_chart(&self, path: &Path) -> bool {
        RelPath::new(path).is_ok_and(|path| self.blobs.contains_key(&path))
    }

    /// A commit contains no ignored file.
    fn is_ignored(&self, _: &RelPath) -> Result<bool, String> {
        Ok(false)
    }
}

impl CommitContents<'_> {
    /// Fetches an object that a partial clone lacks.
    fn fetch(&self, blob: ObjectId) -> Result<(), GitError> {
        if self.git.missing(&[blob])?.is_empty() {
            return Ok(());
        }
        let remote = self.git.only_remote()?;
        self.git.fetch_blobs(&remote, &[blob])
    }
}

/// Searches files outside of a sparse checkout.
pub(super) fn sparse(
    config: &Config,
    found: &Found,
    files: Vec<TrackedFile>,
    outside: &mut Outside,
) {
    let entries = files.into_iter().filter_map(|file| {
        Some(Entry {
            path: file.path,
            blob: file.sparse?,
        })
    });
    let entries = entries.collect();
    let searched =
        Git::open(&config.root).and_then(|git| search_blobs(config, &git, found, entries, outside));
    if let Err(error) = searched {
        let reason = format!("cannot read the files outside of the sparse checkout: {error}");
        outside.unread.push(Unreadable::tree(reason, error.hint()));
    }
    outside.sort();
}

/// Searches each content once, however many files have it.
fn search_blobs(
    config: &Config,
    git: &Git,
    found: &Found,
    entries: Vec<Entry>,
    outside: &mut Outside,
) -> Result<(), GitError> {
    let finder = OccurrenceFinder::new(config);
    let pinned: HashSet<Digest> = found.pins().iter().map(|pin| pin.item.digest).collect();
    let mut buffer = Vec::new();
    let mut objects = git.objects(move |content: &mut dyn Read| {
        let found = finder.digests(content, &mut buffer, |kind, digest| {
            is_outside(kind, digest, &pinned)
        })?;
        Ok(Some(found.occurrences).filter(|occurrences| !occurrences.is_empty()))
    });
    let mut requested = HashSet::new();
    for entry in &entries {
        if requested.insert(entry.blob) {
            objects.request(entry.blob)?;
        }
    }
    let contents: HashMap<ObjectId, Vec<Occurrence>> = objects.finish()?;
    outside.files += entries.len();
    let pins: HashSet<_> = found
        .pins()
        .iter()
        .map(|pin| (&*pin.file, pin.item.offset, pin.item.digest))
        .collect();
    for entry in entries {
        let Some(occurrences) = contents.get(&entry.blob) else {
            continue;
        };
        let file = Arc::new(entry.path);
        for occurrence in occurrences {
            // Files that are not counted, or not in the work tree, have no pins in `found`.
            if !pins.contains(&(&*file, occurrence.offset, occurrence.digest)) {
                outside.occurrences.push(Located {
                    file: Arc::clone(&file),
                    item: occurrence.clone(),
                });
            }
        }
    }
    Ok(())
}
