//! The revisions of tags, and those that are read if there are too many.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use super::{
    ListOrder,
    order::{self, Node},
};
use crate::{
    config::{RevisionLength, Revisions},
    git::{Git, GitError},
    oci::{Digest, Pattern, Revision, Tag},
};

/// The maximum number of revisions that are read.
pub(crate) const MAX_READ: usize = 500;

/// The tags of a set's repositories. There may be many, so a tag that several repositories have is kept
/// once.
#[derive(Debug)]
pub(crate) struct TagTable {
    /// For each tag, the images whose repositories have it.
    tags: BTreeMap<Tag, Box<[bool]>>,
    images: usize,
}

/// A revision with its tags.
#[derive(Debug)]
pub(crate) struct TaggedRevision {
    /// The revision as it is in the tags: in full, or abbreviated.
    pub text: String,
    /// The tags of each image; empty for a related revision without tags.
    pub tags: Vec<Vec<Tag>>,
    /// Whether the revision is listed.
    pub is_listed: bool,
}

/// The revisions that may be listed, and their order.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub all: Vec<TaggedRevision>,
    pub order: ListOrder,
    /// The number of revisions that are not read.
    pub left_out: usize,
    pub selection: Selection,
}

/// The rule that selects the revisions that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    HighestVersions,
    LastPushed,
    /// The newest commits of the clone, and other revisions.
    NewestCommits,
    LastNames,
}

impl Selection {
    /// The selected revisions, in messages.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::HighestVersions => "the highest versions",
            Self::LastPushed => "the last pushed",
            Self::NewestCommits => {
                "the newest commits of this clone, and of the others the last by name"
            }
            Self::LastNames => "the last by name",
        }
    }

    /// Whether a revision that is not read may be newer than the selected ones.
    pub(crate) fn may_omit_newest(self) -> bool {
        matches!(self, Self::NewestCommits | Self::LastNames)
    }
}

/// A version that a packages API lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push {
    pub digest: Digest,
    pub time: SystemTime,
}

/// The facts that determine the order of revisions without reading images.
pub(crate) struct SelectionFacts<'r> {
    pub revisions: &'r Revisions,
    pub git: Option<&'r Git>,
    /// The revisions of the current set and of open pull requests, which are compared with the others.
    pub related: &'r [&'r Revision],
    /// For each image, the known pushes of its tags.
    pub pushed: &'r [HashMap<Tag, Push>],
}

impl TagTable {
    pub(crate) fn new(images: usize) -> Self {
        Self {
            tags: BTreeMap::new(),
            images,
        }
    }

    /// Adds the tags of an image's repository.
    pub(crate) fn add(&mut self, image: usize, tags: impl IntoIterator<Item = Tag>) {
        for tag in tags {
            let images = self.tags.entry(tag);
            let images = images.or_insert_with(|| vec![false; self.images].into());
            images[image] = true;
        }
    }

    /// The revisions that begin with a text, if tags contain the full revision.
    pub(crate) fn revisions_beginning_with(
        &self,
        text: &str,
        revisions: &Revisions,
    ) -> Vec<String> {
        let mut found = BTreeSet::new();
        for tag in self.tags.keys() {
            if let Some(revision) = revision_in(revisions, tag)
                && revision.starts_with(text)
            {
                found.insert(revision.to_owned());
            }
        }
        found.into_iter().collect()
    }

    /// Groups the tags by revision, and selects at most [`MAX_READ`] revisions.
    pub(crate) fn candidates(&self, facts: &SelectionFacts<'_>) -> Result<Candidates, GitError> {
        let pattern = &facts.revisions.pattern;
        let mut groups: BTreeMap<&str, Vec<&Tag>> = BTreeMap::new();
        for tag in self.tags.keys() {
            if let Some(text) = revision_in(facts.revisions, tag) {
                groups.entry(text).or_default().push(tag);
            }
        }
        let total = groups.len();
        let mut related = BTreeSet::new();
        for revision in facts.related {
            related.insert(part_in_tag(facts.revisions, revision));
        }
        for text in &related {
            groups.entry(text).or_default();
        }
        let texts: Vec<&str> = groups.keys().copied().collect();
        let mut indices = HashMap::new();
        for (index, text) in texts.iter().enumerate() {
            indices.insert(*text, index);
        }
        let mut commits = indices.clone();
        if facts.revisions.tag.length() == RevisionLength::Full {
            commits.retain(|text, _| pattern.may_be_commit(text));
        }
        let related: BTreeSet<usize> = related.iter().map(|text| indices[text]).collect();
        let nodes = match facts.git {
            Some(git) if !pattern.is_semver() => order::read(git, &commits, MAX_READ, &related)?,
            _ => HashMap::new(),
        };
        let last_push = |index: usize| last_push(&groups[texts[index]], facts.pushed);
        let (preferred, selection) = if pattern.is_semver() {
            (by_precedence(&texts, pattern), Selection::HighestVersions)
        } else {
            by_evidence(&texts, last_push, &nodes)
        };

        let listed = |index: &usize| !groups[texts[*index]].is_empty();
        let mut selected: BTreeSet<usize> = related.iter().copied().filter(listed).collect();
        for index in preferred.into_iter().filter(listed) {
            if selected.len() == MAX_READ {
                break;
            }
            selected.insert(index);
        }
        let mut kept: BTreeSet<usize> = selected.union(&related).copied().collect();
        kept.extend(nodes.keys());
        let kept: Vec<usize> = kept.into_iter().collect();
        let order = if pattern.is_semver() {
            order_of_versions(&kept, &texts, pattern)
        } else {
            order_of_commits(&kept, &nodes, facts.git)
        };
        let mut all = Vec::new();
        for index in kept {
            let mut tags = vec![Vec::new(); self.images];
            for tag in &groups[texts[index]] {
                for (image, has_tag) in self.tags[*tag].iter().enumerate() {
                    if *has_tag {
                        tags[image].push((*tag).clone());
                    }
                }
            }
            all.push(TaggedRevision {
                text: texts[index].to_owned(),
                tags,
                is_listed: selected.contains(&index),
            });
        }
        Ok(Candidates {
            all,
            order,
            left_out: total - selected.len(),
            selection,
        })
    }
}

impl Candidates {
    /// The index of a revision, if it is listed or related.
    pub(crate) fn find(&self, revision: &Revision, revisions: &Revisions) -> Option<usize> {
        let text = part_in_tag(revisions, revision);
        self.all.iter().position(|candidate| candidate.text == text)
    }
}

/// Whether a tag has the form of `revision.tag`.
pub(crate) fn is_build(revisions: &Revisions, tag: &Tag) -> bool {
    revision_in(revisions, tag).is_some()
}

/// The revision in a tag, or its abbreviation, if the tag has the form of `revision.tag`.
fn revision_in<'t>(revisions: &Revisions, tag: &'t Tag) -> Option<&'t str> {
    revisions.tag_form.revision_in(tag.as_str())
}

/// The part of a revision that its tags contain.
fn part_in_tag<'r>(revisions: &Revisions, revision: &'r Revision) -> &'r str {
    let text = revision.as_str();
    match revisions.tag.length() {
        RevisionLength::Full => text,
        RevisionLength::Digits(digits) => text.get(..digits).unwrap_or(text),
    }
}

/// The last known push of one of the tags, of any image.
fn last_push(tags: &[&Tag], pushed: &[HashMap<Tag, Push>]) -> Option<SystemTime> {
    let of_image = |pushed: &HashMap<Tag, Push>| {
        let known = tags.iter().filter_map(|tag| pushed.get(*tag));
        known.map(|push| push.time).max()
    };
    pushed.iter().filter_map(of_image).max()
}

/// The versions, the highest first.
fn by_precedence(texts: &[&str], pattern: &Pattern) -> Vec<usize> {
    let mut versions = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if let Ok(version) = pattern.revision(text) {
            versions.push((version, index));
        }
    }
    versions.sort_by(|(one, _), (other, _)| {
        let order = pattern.cmp_precedence(other, one);
        order.unwrap_or(Ordering::Equal)
    });
    versions.into_iter().map(|(_, index)| index).collect()
}

/// The revisions in the order in which they are read, and the description of the first ones.
fn by_evidence(
    texts: &[&str],
    pushed: impl Fn(usize) -> Option<SystemTime>,
    nodes: &HashMap<usize, Node>,
) -> (Vec<usize>, Selection) {
    let (mut dated, mut commits, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..texts.len() {
        match (pushed(index), nodes.get(&index)) {
            (Some(time), _) => dated.push((Reverse(time), index)),
            (None, Some(node)) => commits.push((node.position, index)),
            (None, None) => others.push(index),
        }
    }
    dated.sort_unstable();
    commits.sort_unstable();
    others.sort_unstable_by(|one, other| by_numbers(texts[*other], texts[*one]));
    let dated = dated.into_iter().map(|(_, index)| index);
    let commits = commits.into_iter().map(|(_, index)| index);
    if dated.len() > 0 {
        let all = dated.chain(commits).chain(others);
        return (all.collect(), Selection::LastPushed);
    }
    let selection = match commits.len() {
        0 => Selection::LastNames,
        _ => Selection::NewestCommits,
    };
    // The newest builds may be of commits that the clone does not contain yet.
    let room = MAX_READ.saturating_sub(commits.len()).max(MAX_READ / 2);
    let further = others.split_off(room.min(others.len()));
    (
        others.into_iter().chain(commits).chain(further).collect(),
        selection,
    )
}

/// Compares names in which numbers are ordered by their values: `build-9` is before `build-10`.
fn by_numbers(one: &str, other: &str) -> Ordering {
    let is_digit = |b: &u8| b.is_ascii_digit();
    let (mut left, mut right) = (one.as_bytes(), other.as_bytes());
    while let ([a, ..], [b, ..]) = (left, right) {
        let order = if is_digit(a) && is_digit(b) {
            let [x, y] = [left, right].map(|text| {
                let end = text.iter().position(|b| !is_digit(b)).unwrap_or(text.len());
                text.split_at(end)
            });
            (left, right) = (x.1, y.1);
            let [x, y] = [x.0, y.0].map(|digits| {
                let zeros = digits.iter().take_while(|b| **b == b'0').count();
                &digits[zeros..]
            });
            x.len().cmp(&y.len()).then(x.cmp(y))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            a.cmp(b)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then(one.cmp(other))
}

/// The order of versions; `kept` are indices of `texts`.
fn order_of_versions(kept: &[usize], texts: &[&str], pattern: &Pattern) -> ListOrder {
    let kept: Vec<&str> = kept.iter().map(|index| texts[*index]).collect();
    let sorted = by_precedence(&kept, pattern);
    let mut order = ListOrder::new(kept.len(), true);
    let mut previous = None;
    for (position, index) in sorted.into_iter().enumerate() {
        order.place(index, position, None, previous.as_slice());
        previous = Some(index);
    }
    order
}

/// The order of the commits among revisions; `kept` contains all of them.
fn order_of_commits(kept: &[usize], nodes: &HashMap<usize, Node>, git: Option<&Git>) -> ListOrder {
    let mut order = ListOrder::new(kept.len(), !git.is_some_and(Git::is_shallow));
    let mut numbers = HashMap::new();
    for (number, index) in kept.iter().enumerate() {
        numbers.insert(*index, number);
    }
    for (index, node) in nodes {
        let descendants: Vec<usize> = node.descendants.iter().map(|node| numbers[node]).collect();
        order.place(numbers[index], node.position, Some(node.date), &descendants);
    }
    order
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config,
        git::tests::{commit_at, git, repository},
    };

    /// The revisions of a configuration with these keys of `revision`.
    fn revisions(keys: &str) -> Revisions {
        let text = format!(
            "version: 1\nfiles: [x]\nrevision: {{ {keys} }}\nimages:\n  a: {{ repository: r.example/a, pins: 1 }}\n"
        );
        config::example(&text).revision
    }

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| Tag::parse(name).unwrap()).collect()
    }

    /// The facts without a clone and related revisions.
    fn facts(revisions: &Revisions) -> SelectionFacts<'_> {
        SelectionFacts {
            revisions,
            git: None,
            related: &[],
            pushed: &[],
        }
    }

    fn push_at(second: u64) -> Push {
        Push {
            digest: Digest::of(b""),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        }
    }

    /// The candidates with the number of tags of each image.
    fn found(candidates: &Candidates) -> Vec<(&str, Vec<usize>, bool)> {
        let mut found = Vec::new();
        for candidate in &candidates.all {
            let counts = candidate.tags.iter().map(Vec::len).collect();
            found.push((candidate.text.as_str(), counts, candidate.is_listed));
        }
        found
    }

    fn listed(mut candidates: Candidates) -> Vec<String> {
        let mut listed = Vec::new();
        while let Some(index) = candidates.order.pop() {
            listed.push(candidates.all[index].text.clone());
        }
        listed
    }

    #[test]
    fn tags_are_grouped_by_revision() {
        let revisions = revisions("pattern: '[a-z]+[0-9]*', tag: 'v-{revision}-*'");
        let mut table = TagTable::new(2);
        table.add(0, tags(&["v-a1-x", "v-a1-y", "v-b-x", "latest"]));
        table.add(1, tags(&["v-a1-x", "v-c-x"]));
        assert!(is_build(&revisions, &tags(&["v-a1-x"])[0]));
        assert!(!is_build(&revisions, &tags(&["latest"])[0]));
        let current = revisions.pattern.revision("old").unwrap();
        let facts = SelectionFacts {
            related: &[&current],
            ..facts(&revisions)
        };
        let candidates = table.candidates(&facts).unwrap();
        assert_eq!(
            found(&candidates),
            [
                ("a1", vec![2, 1], true),
                ("b", vec![1, 0], true),
                ("c", vec![0, 1], true),
                ("old", vec![0, 0], false),
            ]
        );
        assert_eq!(
            (candidates.left_out, candidates.selection),
            (0, Selection::LastNames)
        );
        assert_eq!(candidates.find(&current, &revisions), Some(3));
        let other = revisions.pattern.revision("other").unwrap();
        assert_eq!(candidates.find(&other, &revisions), None);
    }

    #[test]
    fn latest_push_of_any_tag_and_image_counts() {
        let revisions = revisions("pattern: '[a-z0-9]+', tag: '{revision}-*'");
        let mut table = TagTable::new(2);
        let mut pushed = [HashMap::new(), HashMap::new()];
        let mut push = |image: usize, name: &str, second| {
            let tag = Tag::parse(name).unwrap();
            pushed[image].insert(tag.clone(), push_at(second));
            table.add(image, [tag]);
        };
        push(0, "first-1", 1);
        push(0, "again-1", 2);
        push(0, "again-2", 9_000);
        push(0, "later-1", 3);
        push(1, "later-1", 9_001);
        push(0, "sooner-1", 9_002);
        push(1, "sooner-1", 4);
        for number in 1..=MAX_READ {
            push(0, &format!("r{number}-1"), 100 + number as u64);
        }
        let facts = SelectionFacts {
            pushed: &pushed,
            ..facts(&revisions)
        };
        let candidates = table.candidates(&facts).unwrap();
        assert_eq!(
            (candidates.left_out, candidates.selection),
            (4, Selection::LastPushed)
        );
        assert!(!candidates.selection.may_omit_newest());
        let texts: BTreeSet<&str> = candidates.all.iter().map(|found| &*found.text).collect();
        for (text, is_selected) in [
            ("again", true),
            ("later", true),
            ("sooner", true),
            ("r4", true),
            ("r3", false),
            ("first", false),
        ] {
            assert_eq!(texts.contains(text), is_selected, "{text}: {texts:?}");
        }
    }

    #[test]
    fn more_revisions_than_the_limit_are_left_out() {
        let revisions = revisions("pattern: 'semver'");
        let mut table = TagTable::new(1);
        let names: Vec<String> = (0..MAX_READ + 3)
            .map(|number| format!("1.{number}.0"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        table.add(0, tags(&names));
        let (lowest, missing) = ("1.0.0", "0.9.0");
        let related = [lowest, missing].map(|text| revisions.pattern.revision(text).unwrap());
        let facts = |related| SelectionFacts {
            related,
            ..facts(&revisions)
        };
        let candidates = table.candidates(&facts(&[])).unwrap();
        assert_eq!((candidates.all.len(), candidates.left_out), (MAX_READ, 3));
        assert_eq!(candidates.selection, Selection::HighestVersions);
        let sorted = listed(candidates);
        assert_eq!((&*sorted[0], &*sorted[MAX_READ - 1]), ("1.502.0", "1.3.0"));
        // A related revision is read too: in place of another one if it has tags.
        let candidates = table
            .candidates(&facts(&[&related[0], &related[1]]))
            .unwrap();
        assert_eq!(
            (candidates.all.len(), candidates.left_out),
            (MAX_READ + 1, 3)
        );
        let sorted = listed(candidates);
        assert_eq!(sorted[MAX_READ - 2..], ["1.4.0", lowest, missing]);
    }

    /// The candidates of one image with these tags in a clone.
    fn in_clone(keys: &str, names: &[&str], clone: &Git) -> Candidates {
        let revisions = revisions(keys);
        let mut table = TagTable::new(1);
        table.add(0, tags(names));
        let facts = SelectionFacts {
            git: Some(clone),
            ..facts(&revisions)
        };
        table.candidates(&facts).unwrap()
    }

    #[test]
    fn commits_of_the_clone_have_positions() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        repository(root);
        let mut commits = vec![commit_at(root, 1, &[])];
        // The first digits of one commit are a number.
        while commits.last().unwrap()[..4].contains(|c: char| !c.is_ascii_digit()) {
            let (seconds, parent) = (commits.len() as u64 + 1, commits.last().unwrap().clone());
            commits.push(commit_at(root, seconds, &[&parent]));
        }
        let last = commits.last().unwrap().clone();
        let newest = commit_at(root, 1_000, &[&last]);
        git(root, &["update-ref", "HEAD", &newest]);
        let clone = Git::open(root).unwrap();

        let of_commits = |found: &Candidates| {
            let positions = (0..found.all.len()).map(|index| found.order.has_position(index));
            (positions.collect::<Vec<_>>(), found.selection)
        };
        let full = in_clone("", &[&last, &newest, &"0".repeat(40)], &clone);
        assert_eq!(full.all.len(), 3);
        assert_eq!(
            of_commits(&full).0.iter().filter(|placed| **placed).count(),
            2
        );
        assert_eq!(full.selection, Selection::NewestCommits);
        let digits = in_clone("tag: '{revision:7}'", &[&last[..7], &newest[..7]], &clone);
        assert_eq!(
            of_commits(&digits),
            (vec![true, true], Selection::NewestCommits)
        );
        assert_eq!(listed(digits), [&newest[..7], &last[..7]]);
        let number = in_clone("pattern: '[0-9]+'", &[&last[..4]], &clone);
        assert_eq!(of_commits(&number), (vec![false], Selection::LastNames));

        // A commit that is not selected, because the others have known times.
        let revisions = revisions("");
        let mut table = TagTable::new(1);
        let others: Vec<Tag> = (0..MAX_READ)
            .map(|number| Tag::parse(&format!("{number:040x}")).unwrap())
            .collect();
        table.add(0, others.clone());
        table.add(0, tags(&[&last]));
        let pushed = others.into_iter().map(|tag| (tag, push_at(0)));
        let facts = SelectionFacts {
            git: Some(&clone),
            pushed: &[pushed.collect()],
            ..facts(&revisions)
        };
        let candidates = table.candidates(&facts).unwrap();
        assert_eq!(
            (candidates.all.len(), candidates.left_out),
            (MAX_READ + 1, 1)
        );
        let unselected = candidates.all.iter().find(|found| !found.is_listed);
        assert_eq!(unselected.unwrap().text, last);

        // Versions are no commits, so they do not depend on the clone.
        std::fs::remove_dir_all(root.join(".git/objects")).unwrap();
        std::fs::create_dir(root.join(".git/objects")).unwrap();
        let versions = in_clone("pattern: 'semver'", &["1.0.0"], &clone);
        assert_eq!(versions.selection, Selection::HighestVersions);
    }

    #[test]
    fn abbreviated_revisions_are_found_by_their_digits() {
        let revisions = revisions("tag: '{revision:7}'");
        let mut table = TagTable::new(1);
        table.add(0, tags(&["1234567", "12345678"]));
        let full = revisions.pattern.revision(&"1234567890".repeat(4)).unwrap();
        let facts = SelectionFacts {
            related: &[&full],
            ..facts(&revisions)
        };
        let candidates = table.candidates(&facts).unwrap();
        assert_eq!(found(&candidates), [("1234567", vec![1], true)]);
        assert_eq!(candidates.find(&full, &revisions), Some(0));
        assert!(candidates.selection.may_omit_newest());
        assert_eq!(candidates.selection.phrase(), "the last by name");
    }

    #[test]
    fn numbers_in_names_are_ordered_by_value() {
        let sorted = ["a", "a-9", "a-10", "a-010x", "b1", "b1c", "b02", "b2"];
        for pair in sorted.windows(2) {
            assert_eq!(by_numbers(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(by_numbers(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(by_numbers("a1", "a1"), Ordering::Equal);
    }

    #[test]
    fn unknown_commits_have_half_of_the_room() {
        let texts: Vec<String> = (0..2_000).map(|number| format!("r{number}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let node = |position| Node {
            position,
            date: SystemTime::UNIX_EPOCH,
            descendants: Vec::new(),
        };
        // The newest commit has the highest index.
        let nodes = |count: usize| {
            (0..count)
                .map(|index| (index, node(count - index)))
                .collect()
        };
        let first = |count: usize| by_evidence(&texts, |_| None, &nodes(count)).0;
        let in_clone = |picked: &[usize], count: usize| {
            let picked = &picked[..MAX_READ];
            picked.iter().filter(|index| **index < count).count()
        };
        for (count, expected) in [(0, 0), (100, 100), (500, 250), (1_900, 400)] {
            let picked = first(count);
            assert_eq!(picked.len(), texts.len());
            assert_eq!(in_clone(&picked, count), expected, "{count}");
        }
        assert_eq!(first(0)[..2], [1_999, 1_998]);
        assert_eq!(first(500)[250..252], [499, 498]);
        // The last pushed ones precede all others.
        let pushed = |index: usize| {
            (index < 2)
                .then(|| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(index as u64))
        };
        let (picked, selection) = by_evidence(&texts, pushed, &nodes(3));
        assert_eq!(picked[..4], [1, 0, 2, 1_999]);
        assert_eq!(selection, Selection::LastPushed);
    }
}
