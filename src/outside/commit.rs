//! The same of a commit's tree, from the objects of the clone.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    path::Path,
    sync::Arc,
};

use super::{Contents, Outside, TrackedFile, Unreadable, layouts, leaves_in, nested};
use crate::{
    config::{Config, OutsidePolicy, RelPath},
    files::Snapshot,
    git::{Git, GitError, ObjectId},
    oci::Digest,
    pins::{Found, Located, Lookout, Sight, Sighting},
};

/// One file of a tree.
struct Entry {
    path: RelPath,
    blob: ObjectId,
    /// Whether its pins are counted.
    counts: bool,
}

/// Searches the tree of a commit; what is missing in the clone is fetched from `branch` of its
/// remote. `found` is what the files that count pin.
pub fn commit(config: &Config, commit: &str, branch: &str, found: &Found) -> Outside {
    let mut outside = Outside::default();
    if config.outside.policy == OutsidePolicy::Ignore {
        return outside;
    }
    let Some(id) = ObjectId::parse(commit.as_bytes()) else {
        let reason = format!(
            "`{}` is not the name of a commit",
            crate::untrusted::plain(commit)
        );
        outside.unseen.push(Unreadable {
            file: None,
            reason,
            hint: None,
        });
        return outside;
    };
    let read = Git::open(&config.root)
        .and_then(|git| read(config, &git, &id, branch, found, &mut outside));
    if let Err(error) = read {
        outside.unseen.push(unread(&id, &error));
    }
    outside
}

fn unread(commit: &ObjectId, error: &GitError) -> Unreadable {
    let reason = format!(
        "cannot read the files of commit {}: {error}",
        commit.short()
    );
    Unreadable::tree(reason, error.hint())
}

fn read(
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
    let mut entries = Vec::new();
    git.regular_files(commit, |path, blob| {
        let counts = Snapshot::lists(&config.scanned, &path);
        entries.push(Entry { path, blob, counts });
    })?;
    let paths: Vec<_> = entries.iter().map(|entry| &entry.path).collect();
    let blobs = entries.iter().map(|entry| (entry.path.clone(), entry.blob));
    let mut contents = CommitContents {
        git,
        blobs: blobs.collect(),
    };
    let configs = nested::configurations(&paths);
    let layouts = layouts::find(&paths, &mut contents);
    entries.retain(|entry| leaves_in(&layouts, config, &entry.path));
    let blobs: Vec<ObjectId> = entries.iter().map(|entry| entry.blob).collect();
    let missing = git.missing(&blobs)?;
    if !missing.is_empty() {
        git.fetch_blobs(&git.only_remote()?, &missing)?;
    }
    look(config, git, found, entries, outside)?;
    nested::leave_out(
        &configs,
        &config.root,
        &mut contents,
        &mut outside.sightings,
    );
    Ok(())
}

/// The files of a commit.
struct CommitContents<'g> {
    git: &'g Git,
    blobs: HashMap<RelPath, ObjectId>,
}

impl Contents for CommitContents<'_> {
    fn read(&mut self, path: &RelPath, most: u64) -> Option<Vec<u8>> {
        let blob = *self.blobs.get(path)?;
        // A partial clone may lack it.
        if !self.git.missing(&[blob]).ok()?.is_empty() {
            self.git
                .fetch_blobs(&self.git.only_remote().ok()?, &[blob])
                .ok()?;
        }
        self.git
            .objects(|_| Ok(None::<()>))
            .ok()?
            .blob(blob, most)
            .ok()?
    }

    fn has_chart(&self, path: &Path) -> bool {
        RelPath::new(path).is_ok_and(|path| self.blobs.contains_key(&path))
    }
}

/// Searches files that a sparse checkout leaves out of the work tree.
pub(super) fn sparse(
    config: &Config,
    found: &Found,
    files: Vec<TrackedFile>,
    outside: &mut Outside,
) {
    let entry = |file: TrackedFile| {
        Some(Entry {
            path: file.path,
            blob: file.sparse?,
            // What is not in the work tree is not counted, whatever `files` matches.
            counts: false,
        })
    };
    let entries = files.into_iter().filter_map(entry).collect();
    let looked =
        Git::open(&config.root).and_then(|git| look(config, &git, found, entries, outside));
    if let Err(error) = looked {
        let reason = format!("cannot read the files that a sparse checkout leaves out: {error}");
        outside.unseen.push(Unreadable::tree(reason, error.hint()));
    }
    let sightings = &mut outside.sightings;
    sightings.sort_by(|a, b| a.file.as_bytes().cmp(b.file.as_bytes()));
}

/// Reads each content once, however many files have it.
fn look(
    config: &Config,
    git: &Git,
    found: &Found,
    entries: Vec<Entry>,
    outside: &mut Outside,
) -> Result<(), GitError> {
    let pinned: HashSet<Digest> = found.pins().iter().map(|pin| pin.what.digest).collect();
    let lookout = Lookout::new(config);
    let mut buffer = Vec::new();
    let digest = move |content: &mut dyn Read| {
        let keep = |sight: &Sight, digest: &Digest| {
            !matches!(sight, Sight::Nothing | Sight::SameOwner(_)) || pinned.contains(digest)
        };
        let sightings = lookout.look_through(content, &mut buffer, keep)?;
        Ok(Some(sightings).filter(|sightings| !sightings.is_empty()))
    };
    let mut objects = git.objects(digest)?;
    let mut asked = HashSet::new();
    for entry in &entries {
        if asked.insert(entry.blob) {
            objects.ask(entry.blob)?;
        }
    }
    let contents: HashMap<ObjectId, Vec<Sighting>> = objects.finish()?;
    outside.files += entries.len();
    let split: HashSet<_> = found
        .pins()
        .iter()
        .filter(|pin| pin.what.split.is_some())
        .map(|pin| (&*pin.file, pin.what.line, pin.what.column))
        .collect();
    for entry in entries {
        let Some(sightings) = contents.get(&entry.blob) else {
            continue;
        };
        let file = Arc::new(entry.path);
        let seen = sightings
            .iter()
            .filter(|one| !(entry.counts && matches!(one.sight, Sight::Image(_))))
            .filter(|one| !split.contains(&(&*file, one.line, one.digest_column)));
        outside.sightings.extend(seen.map(|what| Located {
            file: Arc::clone(&file),
            what: what.clone(),
        }));
    }
    Ok(())
}
