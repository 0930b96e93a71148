//! Commits whose content is unknown: which they are, and until when they may hide a rollback.

use super::{
    History, Known,
    line::Event,
    walk::{Content, Unknown},
};
use crate::{git::ObjectId, oci::Revision};

/// A commit whose content is unknown, since its own configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The first commit of the line that has this configuration.
    pub commit: ObjectId,
    /// When it was committed (ISO 8601).
    pub date: String,
    /// The configuration's path beneath the root.
    pub file: String,
    /// What is wrong with the configuration.
    pub why: String,
    /// Its place in the line.
    pub(super) at: usize,
}

impl Unreadable {
    /// A commit with a configuration that is not UTF-8.
    #[cfg(test)]
    pub(crate) fn example(commit: ObjectId) -> Self {
        Self {
            commit,
            date: String::new(),
            file: "repin.yaml".to_owned(),
            why: "it is not UTF-8".to_owned(),
            at: 0,
        }
    }

    /// The file, and what is wrong with it.
    pub fn reason(&self) -> String {
        // A problem with a place names its file itself.
        let placed = self.why.strip_prefix(&self.file);
        if placed.is_some_and(|rest| rest.starts_with(':')) {
            self.why.clone()
        } else {
            format!("{}: {}", self.file, self.why)
        }
    }
}

impl History {
    /// The latest commit that may have rolled a set back unseen: its content is unknown, and no
    /// later set is current.
    pub fn blind_spot(&self) -> Option<&Unreadable> {
        let last = self.unreadable.last()?;
        (!self.is_replaced_since(last.at)).then_some(last)
    }

    /// The commit that may have rolled back the set of `revision` unseen: the blind spot, or a
    /// commit with unknown content that claims to promote this revision.
    pub fn blind_spot_of(&self, revision: &Revision) -> Option<&Unreadable> {
        self.blind_spot()
            .or_else(|| self.unread_promotion(revision))
    }

    /// Whether another set became current after the commit at `at`, which cannot be read. The set of
    /// the first commit that can be read again counts only if it is a newer set: otherwise it may
    /// have become current unseen.
    fn is_replaced_since(&self, at: usize) -> bool {
        let later = self.events.all.iter().rev();
        let mut later = later.take_while(|event| event.at > at);
        let is_set = |event: &Event| {
            let set = &self.known.sets[event.set];
            !set.is_empty() && !set.is_mixed()
        };
        self.has_newer_set_since(at)
            || later.any(|event| self.known.line[event.at - 1].set.is_some() && is_set(event))
    }

    fn has_newer_set_since(&self, at: usize) -> bool {
        self.events.newest.is_some_and(|newest| newest > at)
    }

    /// The commit with unknown content that claims to promote `revision`, unless a newer set or this
    /// revision itself is known to have become current later.
    fn unread_promotion(&self, revision: &Revision) -> Option<&Unreadable> {
        let mut claiming = self.claimed.get(revision)?.iter().rev().copied();
        let at = claiming.find(|at| self.known.line[*at].set.is_none())?;
        let promoted_later = self
            .events
            .all
            .iter()
            .any(|event| event.at > at && event.revision.as_ref() == Some(revision));
        if promoted_later || self.has_newer_set_since(at) {
            return None;
        }
        self.unreadable.iter().rev().find(|unread| unread.at <= at)
    }
}

/// The first commit of each stretch that cannot be read.
pub(super) fn all(known: &Known, file: &str) -> Vec<Unreadable> {
    let mut found: Vec<Unreadable> = Vec::new();
    let mut before: Option<&Unknown> = None;
    for (at, commit) in known.commits.iter().enumerate() {
        let why = match &commit.content {
            Content::Unreadable(why, _) => Some(&**why),
            Content::Changed(_) | Content::All(..) => None,
        };
        if let Some(why) = why
            && before != Some(why)
        {
            found.push(Unreadable {
                commit: commit.id,
                date: commit.said.date(),
                file: why.file.clone().unwrap_or_else(|| file.to_owned()),
                why: why.why.to_string(),
                at,
            });
        }
        before = why;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_unreadable_commit_names_its_file_once() {
        let reason = |why: &str| {
            let commit = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
            let unreadable = Unreadable::example(commit);
            let why = why.to_owned();
            Unreadable { why, ..unreadable }.reason()
        };
        assert_eq!(reason("it is not UTF-8"), "repin.yaml: it is not UTF-8");
        assert_eq!(reason("repin.yaml:3:1: no"), "repin.yaml:3:1: no");
        assert_eq!(reason("repin.yaml is odd"), "repin.yaml: repin.yaml is odd");
    }
}
