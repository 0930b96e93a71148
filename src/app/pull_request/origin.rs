//! Decides whether a branch contains a foreign commit. repin does not update, supersede or close such a
//! branch.
//!
//! A commit is foreign if it changes anything but pins of the set, unless it is the clean merge of
//! the branch and the base. Author, date and message are not compared: anyone can write them.
//! Contents are fetched only where their hashes do not decide. `head` decides about merges.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    base::{
        error::{Class, Error},
        untrusted::{plain, short},
    },
    git::{AheadCommit, AheadCommits, Tree, TreeEntry},
};

use super::content::Content;

/// Decides whether two contents of the file at a path differ in pins of the set and in nothing else.
pub(crate) type OnlyPins<'a> = &'a dyn Fn(&str, &[u8], &[u8]) -> bool;

/// A commit that changes more than pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Its name.
    pub id: String,
    /// The first line of its message, printable.
    pub subject: String,
    /// The foreign change.
    pub reason: String,
}

impl Foreign {
    fn new(commit: &AheadCommit, reason: impl Into<String>) -> Self {
        let subject = commit.message.lines().next().unwrap_or_default();
        Self {
            id: commit.id.clone(),
            subject: short(subject, 100),
            reason: reason.into(),
        }
    }

    /// Describes the commit and the reason.
    pub(crate) fn describe(&self) -> String {
        format!(
            "commit {} (`{}`) is a foreign commit: {}",
            self.id, self.subject, self.reason
        )
    }

    /// The error of a branch that repin does not change.
    pub(super) fn error(&self, what: impl Into<String>) -> Error {
        Error::about(Class::Conflict, what, self.describe()).help(
            "merge or delete the branch, or remove the commit from it; repin does not change a branch with foreign commits",
        )
    }
}

/// The error of a branch that has no commit in common with its base.
pub(super) fn unrelated(what: impl Into<String>, head: &str, base: &str) -> Error {
    let reason =
        format!("commit {head} is a foreign commit: it has no commit in common with {base}");
    Error::about(Class::Conflict, what, reason)
        .help("delete or rename the branch; repin does not change a branch with foreign commits")
}

/// The first foreign commit of a branch. `expected`: whether a blob has the planned content, so that it
/// need not be read.
pub(super) async fn foreign(
    content: &Content,
    ahead: &AheadCommits,
    expected: &dyn Fn(&str, &str) -> bool,
    only_pins: OnlyPins<'_>,
) -> Result<Option<Foreign>, Error> {
    let listed: BTreeSet<&str> = ahead.commits.iter().map(|commit| &*commit.id).collect();
    // Without parents in the listing, each commit follows the previous one.
    let mut previous = ahead.merge_base.as_str();
    let mut steps = Vec::new();
    for commit in &ahead.commits {
        let parents: Vec<&str> = match commit.parents.as_slice() {
            [] => vec![previous],
            parents => parents.iter().map(String::as_str).collect(),
        };
        let ours = |parent: &&str| listed.contains(*parent);
        if parents.len() > 2
            || parents.len() == 2 && parents.iter().filter(|p| ours(p)).count() != 1
        {
            return Ok(Some(Foreign::new(commit, "it merges other branches")));
        }
        previous = &commit.id;
        steps.push((commit, parents));
    }
    let before = content.tree(&ahead.merge_base)?;
    let named = |(path, entry): (&String, &Option<TreeEntry>)| {
        let (Some(entry), Some(before)) = (entry, before.entries.get(path)) else {
            return false;
        };
        entry.mode == before.mode && expected(path, &entry.id)
    };
    // A single commit with expected contents need not be read.
    if ahead.commits.len() <= 1 && ahead.changed.iter().all(named) {
        return Ok(None);
    }
    let mut reader = CommitReader {
        content,
        only_pins,
        blobs: HashMap::new(),
    };
    for (commit, parents) in steps {
        let tree = content.tree(&commit.id)?;
        let reason = if let [first, second] = parents.as_slice() {
            let (ours, base) = if listed.contains(first) {
                (first, second)
            } else {
                (second, first)
            };
            let origin = content.tree(&origin(ahead, ours))?;
            let (ours, base) = (content.tree(ours)?, content.tree(base)?);
            reader.merge(&origin, &ours, &base, &tree).await?
        } else {
            let parent = content.tree(parents[0])?;
            reader.change(&parent, &tree).await?
        };
        if let Some(reason) = reason {
            return Ok(Some(Foreign::new(commit, reason)));
        }
    }
    Ok(None)
}

/// The commit of the base from which a commit of the branch descends.
fn origin(ahead: &AheadCommits, from: &str) -> String {
    let mut at = from;
    // The number of steps is limited, because a hostile forge may list a cycle.
    for _ in 0..=ahead.commits.len() {
        let Some(commit) = ahead.commits.iter().find(|commit| commit.id == at) else {
            return at.to_owned();
        };
        match commit
            .parents
            .iter()
            .find(|parent| !ahead.commits.iter().any(|c| c.id == **parent))
        {
            Some(parent) => return parent.clone(),
            None => match commit.parents.first() {
                Some(parent) => at = parent,
                None => break,
            },
        }
    }
    ahead.merge_base.clone()
}

/// The contents of commits.
struct CommitReader<'a> {
    content: &'a Content,
    only_pins: OnlyPins<'a>,
    blobs: HashMap<String, Vec<u8>>,
}

impl CommitReader<'_> {
    /// The change of a commit that is not a pin.
    async fn change(&mut self, parent: &Tree, tree: &Tree) -> Result<Option<String>, Error> {
        for path in paths(&[parent, tree]) {
            let (old, new) = (parent.entries.get(path), tree.entries.get(path));
            if old != new && !self.differ_in_pins(path, old, new).await? {
                return Ok(Some(format!(
                    "it changes more than pins in {}",
                    plain(path)
                )));
            }
        }
        Ok(None)
    }

    /// The difference between a merge commit and the clean merge of both sides.
    async fn merge(
        &mut self,
        origin: &Tree,
        ours: &Tree,
        base: &Tree,
        tree: &Tree,
    ) -> Result<Option<String>, Error> {
        for path in paths(&[origin, ours, base, tree]) {
            let of = |tree: &'_ Tree| tree.entries.get(path).cloned();
            let sides @ [origin, ours, base, merged] = &[origin, ours, base, tree].map(of);
            let clean = if ours == origin || ours == base {
                merged == base
            } else if base == origin {
                merged == ours
            } else {
                // Both sides changed the file: the merge has the text of the base with the new pins.
                self.differ_in_pins(path, base.as_ref(), merged.as_ref())
                    .await?
                    && self.same_change(sides).await?
            };
            if !clean {
                return Ok(Some(format!(
                    "it merges the base, and also changes {}",
                    plain(path)
                )));
            }
        }
        Ok(None)
    }

    /// Whether the merge changes the same lines of the base as ours of its origin, in the same way.
    async fn same_change(&mut self, sides: &[Option<TreeEntry>; 4]) -> Result<bool, Error> {
        let ids: Vec<String> = sides
            .iter()
            .flatten()
            .map(|entry| entry.id.clone())
            .collect();
        self.read(&ids).await?;
        let texts: Vec<&[u8]> = ids.iter().map(|id| self.text(id)).collect();
        Ok(match texts[..] {
            [origin, ours, base, merged] => {
                let ours = changed_lines(origin, ours);
                ours.is_some() && ours == changed_lines(base, merged)
            }
            _ => false,
        })
    }

    /// Fetches unknown contents.
    async fn read(&mut self, ids: &[String]) -> Result<(), Error> {
        let missing: BTreeSet<String> = ids
            .iter()
            .filter(|id| !self.blobs.contains_key(*id))
            .cloned()
            .collect();
        let missing: Vec<String> = missing.into_iter().collect();
        let contents = self.content.blobs(&missing).await?;
        self.blobs.extend(missing.into_iter().zip(contents));
        Ok(())
    }

    fn text(&self, id: &str) -> &[u8] {
        self.blobs.get(id).map_or(&[], Vec::as_slice)
    }

    async fn differ_in_pins(
        &mut self,
        path: &str,
        old: Option<&TreeEntry>,
        new: Option<&TreeEntry>,
    ) -> Result<bool, Error> {
        let (Some(old), Some(new)) = (old, new) else {
            return Ok(false);
        };
        if old.mode != new.mode || !old.is_file() {
            return Ok(false);
        }
        let wanted = [old, new].map(|entry| entry.id.clone());
        self.read(&wanted).await?;
        let [old, new] = &wanted;
        Ok((self.only_pins)(path, self.text(old), self.text(new)))
    }
}

/// The differing lines of two texts, sorted; `None` if the numbers of lines differ.
fn changed_lines<'t>(old: &'t [u8], new: &'t [u8]) -> Option<Vec<(&'t [u8], &'t [u8])>> {
    let lines = |text: &'t [u8]| text.split(|byte| *byte == b'\n');
    if lines(old).count() != lines(new).count() {
        return None;
    }
    let pairs = lines(old).zip(lines(new));
    let mut changed: Vec<_> = pairs.filter(|(old, new)| old != new).collect();
    changed.sort_unstable();
    Some(changed)
}

fn paths<'t>(trees: &[&'t Tree]) -> BTreeSet<&'t String> {
    let entries = trees.iter().map(|tree| &tree.entries);
    entries.flat_map(BTreeMap::keys).collect()
}

#[cfg(test)]
mod tests;
