//! The claims for which commits are evidence.
//!
//! The tags of the revisions that commits claim, on every line and with or without a change of pins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    MAX_TIPS,
    claims::{ClaimTemplates, Claims},
    graph::Graph,
    provenance::Point,
    pulls::is_pull,
    sets::{Set, Sets},
    walk::{Commit, ConfigState},
};
use crate::{
    config::{Config, Trailer},
    git::{Git, GitError, ObjectId, commits},
    oci::{Pattern, Revision, TagPattern},
};

/// Combines sets and claims.
///
/// A message is evidence only if its commit changes pins or adds the configuration. That of a merged
/// commit is evidence for the merge only if the merge pins its set. `branch`: its short name.
pub(super) fn points(
    graph: &Graph,
    commits: &[Commit],
    branch: &str,
    found: &mut Sets,
) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::with_capacity(commits.len());
    let is_evidence: Vec<bool> = (commits.iter().zip(&found.has_changed))
        .map(|(commit, has_changed)| *has_changed || commit.added.is_some())
        .collect();
    for (index, commit) in commits.iter().enumerate() {
        let set = found.by_commit[index];
        let others = graph.other_parents(index);
        let is_pull = is_pull(commit.info.subject(), branch);
        points.push(Point {
            set,
            slots: found.slots_by_commit[index].take(),
            images: Arc::clone(&commit.images),
            partial_pins: found.partial_pins.remove(&index).unwrap_or_default(),
            has_changed_files: found.has_changed_files[index],
            config: commit.config,
            has_merged_override: false,
            claims: if is_evidence[index] {
                commit.claims.clone()
            } else {
                Claims::default()
            },
            is_taken: (others.iter()).any(|other| found.by_commit[*other] == set),
            pulled: others.first().filter(|_| is_pull).copied(),
        });
    }
    for (merge, merged) in graph.line.iter().zip(&graph.merged) {
        if !is_evidence[*merge] {
            continue;
        }
        let mut claims = points[*merge].claims.clone();
        for commit in merged {
            if is_pinned(found.at(*commit), found.at(*merge)) {
                claims.extend(&points[*commit].claims);
            }
        }
        points[*merge].claims = claims;
    }
    find_merged_overrides(graph, &is_evidence, &mut points);
    record_by_correction(graph, commits, found, &mut points);
    points
}

/// Finds the merges that bring in an override for digests that they pin. It counts for images that have another name and
/// repository now.
fn find_merged_overrides(graph: &Graph, is_evidence: &[bool], points: &mut [Point]) {
    for commit in 0..points.len() {
        if !points[commit].claims.is_override {
            continue;
        }
        for merge in graph.merges_of(commit) {
            let (own, merged) = (&points[merge].slots, &points[commit].slots);
            if is_evidence[merge] && is_pinned(merged.as_ref(), own.as_ref()) {
                points[merge].has_merged_override = true;
            }
        }
    }
}

/// Before the set is recorded, a correction of its configuration may record it. That of a merged commit counts for the
/// merge only if the merge pins its set.
fn record_by_correction(graph: &Graph, commits: &[Commit], found: &Sets, points: &mut [Point]) {
    for (line_commit, merged) in graph.line.iter().zip(&graph.merged) {
        let mut is_recorded = false;
        for commit in [line_commit].into_iter().chain(merged) {
            is_recorded |= points[*commit].claims.is_record();
            let Commit { config, claims, .. } = &commits[*commit];
            if *config != (ConfigState::Present { is_changed: true }) || !claims.is_record() {
                continue;
            }
            is_recorded = true;
            let own = &mut points[*commit].claims;
            own.extend(claims);
            own.rolled_back.clone_from(&claims.rolled_back);
            if is_pinned(found.at(*commit), found.at(*line_commit)) {
                points[*line_commit].claims.extend(claims);
            }
        }
        if is_recorded {
            return;
        }
    }
}

/// Whether a merge pins the digests of a merged set, or its content is unknown. It may pin further images, which its other
/// parent added.
fn is_pinned(merged: Option<&Set>, merge: Option<&Set>) -> bool {
    let (Some(merged), Some(merge)) = (merged, merge) else {
        return merge.is_none();
    };
    let mut images = merged.0.iter().enumerate();
    !merged.is_empty()
        && images.all(|(image, digests)| digests.is_empty() || merge.0.get(image) == Some(digests))
}

/// The tags of the revisions that titles and trailers claim, by the titles and tags of configurations.
///
/// Claims for other sets and claims without a change count as well, because these tags are only protected.
#[derive(Debug, Default)]
pub(crate) struct ClaimedTags {
    /// The claims by the patterns of revisions.
    claims: BTreeMap<String, ClaimingCommits>,
}

/// The titles of the configurations with one pattern, and the claimed revisions.
#[derive(Debug)]
struct ClaimingCommits {
    pattern: Pattern,
    titles: ClaimTemplates,
    revisions: BTreeSet<Revision>,
}

impl ClaimedTags {
    /// Adds the titles and tags of a configuration; messages that were added before are not read again.
    pub(crate) fn add_config(&mut self, config: &Config) {
        let pattern = &config.revision.pattern;
        let claims = self.claims.entry(pattern.as_str().to_owned());
        let claims = claims.or_insert_with(|| ClaimingCommits {
            pattern: pattern.clone(),
            titles: ClaimTemplates::new(config),
            revisions: BTreeSet::new(),
        });
        claims.titles.add(config);
    }

    /// Adds the claims of a commit's message: the subject on one line, an empty line and the body.
    #[cfg(test)]
    pub(crate) fn add_message(&mut self, message: &str) {
        let subject = message.lines().next().unwrap_or_default();
        self.add_commit(subject.as_bytes(), &Trailer::message_lines(message));
    }

    /// Adds the claims of a commit with this subject and these trailer lines.
    fn add_commit(&mut self, subject: &[u8], trailers: &[u8]) {
        for claims in self.claims.values_mut() {
            let in_title = claims.titles.claims(subject, b"", &[]);
            claims.revisions.extend(in_title.revisions);
            for line in trailers.split(|byte| *byte == b'\n') {
                let line = std::str::from_utf8(line).ok();
                if let Some(trailer) = line.and_then(Trailer::parse) {
                    let revision = claims.pattern.revision(trailer.revision);
                    claims.revisions.extend(revision);
                }
            }
        }
    }

    /// The tags of the claimed revisions.
    pub(crate) fn into_tags(self) -> BTreeMap<TagPattern, Revision> {
        let mut tags = BTreeMap::new();
        for claims in self.claims.into_values() {
            let templates = claims.titles.into_tag_templates();
            for revision in claims.revisions {
                for template in &templates {
                    // An invalid tag cannot exist, so it needs no protection.
                    if let Ok(tag) = template.tag(&revision) {
                        tags.insert(tag, revision.clone());
                    }
                }
            }
        }
        tags
    }
}

/// The tags of the revisions that commits claim, by the titles and tags of any of `configs`. The commits
/// are those that `tips` reach.
pub(crate) fn claimed_tags(
    git: &Git,
    tips: &[ObjectId],
    configs: &[Config],
) -> Result<BTreeMap<TagPattern, Revision>, GitError> {
    let mut claimed = ClaimedTags::default();
    for config in configs {
        claimed.add_config(config);
    }
    for tips in tips.chunks(MAX_TIPS) {
        commits::messages(git, tips)?.each(|commit| {
            claimed.add_commit(commit.info.subject(), &commit.trailers);
            Ok(())
        })?;
    }
    Ok(claimed.into_tags())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::history::{tests::examples::id, walk::Content},
        git::commits::{CommitInfo, Parents},
        oci::{Digest, Pattern},
    };

    /// The points of commits with their parents: `a@A` has the set `a` and claims A, `a@A!` on purpose, `a@A~` as a
    /// rollback, `-` has no pins, `+a` adds the configuration, and `*a` corrects it.
    fn points(commits: &[(&str, &[usize])]) -> Vec<Point> {
        let pattern = Pattern::parse(".").unwrap();
        let (mut all_parents, mut read) = (Vec::new(), Vec::new());
        let mut found = Sets::default();
        for (text, parents) in commits {
            let (content, claim) = text.split_once('@').unwrap_or((text, ""));
            let pinned = content.trim_start_matches(['+', '-', '*']).as_bytes();
            let digest = (!pinned.is_empty()).then(|| Digest::of(pinned));
            let set = Set::new(vec![digest.into_iter().collect()]);
            let known = found.distinct.iter().position(|other| *other == set);
            let number = known.unwrap_or(found.distinct.len());
            if known.is_none() {
                found.distinct.push(set);
            }
            let old = parents.first().and_then(|parent| found.by_commit[*parent]);
            found.has_changed.push(old != Some(number));
            found.by_commit.push(Some(number));
            found.has_changed_files.push(true);
            found
                .slots_by_commit
                .push(Some(found.distinct[number].clone()));
            all_parents.push(Parents {
                first: parents.first().map(|parent| id(*parent)),
                others: parents.iter().skip(1).map(|parent| id(*parent)).collect(),
            });
            let revision = pattern.revision(claim.trim_end_matches(['!', '~']));
            let (rolled_back, revisions) = revision.into_iter().partition(|_| claim.ends_with('~'));
            let claims = Claims {
                revisions,
                rolled_back,
                is_override: claim.ends_with('!'),
                ..Claims::default()
            };
            read.push(Commit {
                id: id(read.len()),
                info: CommitInfo::new("", "", b""),
                trailers: Vec::new(),
                claims,
                paths: 1,
                added: content.starts_with('+').then_some(0),
                previous: None,
                config: if content.starts_with('*') {
                    ConfigState::Present { is_changed: true }
                } else {
                    ConfigState::NotAdded
                },
                images: Arc::default(),
                content: Content::Changed(Vec::new()),
            });
        }
        let ids = read.iter().map(|commit| &commit.id);
        let graph = Graph::new(ids.zip(&all_parents), &id(commits.len() - 1));
        super::points(&graph, &read, "main", &mut found)
    }

    /// The claims of the last commit.
    fn last_claims(commits: &[(&str, &[usize])]) -> Vec<String> {
        let points = points(commits);
        let revisions = &points[points.len() - 1].claims.revisions;
        revisions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn correction_records_the_set_of_its_commit() {
        for (correction, merge, recorded) in [
            ("*a@A", "a", [true, true]),
            // The merge pins another set, and the message is not for it.
            ("*a@A", "b", [true, false]),
            ("*a@A~", "a", [true, false]),
            ("a@A", "a", [false, false]),
        ] {
            let merged: [(&str, &[usize]); 4] = [
                ("a", &[]),
                (correction, &[0]),
                ("b", &[0]),
                (merge, &[2, 1]),
            ];
            let points = points(&merged);
            let is_record = [1, 3].map(|commit| points[commit].claims.is_record());
            assert_eq!(is_record, recorded, "{correction} {merge}");
        }
        // Only until the set is recorded.
        for first in ["c@C", "*c@C~"] {
            let line: [(&str, &[usize]); 3] = [("a", &[]), (first, &[0]), ("*c@A", &[1])];
            assert!(last_claims(&line).is_empty(), "{first}");
        }
    }

    #[test]
    fn merge_without_a_change_claims_nothing() {
        let commits: [(&str, &[usize]); 4] =
            [("a@A", &[]), ("b@B", &[0]), ("b@C", &[0]), ("b", &[1, 2])];
        assert!(last_claims(&commits).is_empty());
    }

    #[test]
    fn merge_that_adds_the_configuration_claims() {
        let commits: [(&str, &[usize]); 3] = [("b", &[]), ("+b@B", &[0]), ("+b", &[0, 1])];
        assert_eq!(last_claims(&commits), ["B"]);
    }

    #[test]
    fn merged_removal_of_all_pins_claims_nothing() {
        let commits: [(&str, &[usize]); 4] =
            [("a@A", &[]), ("-@C", &[0]), ("b@B", &[1]), ("b", &[0, 2])];
        assert_eq!(last_claims(&commits), ["B"]);
    }

    #[test]
    fn merge_brings_in_an_override_for_its_digests() {
        for (merge, first, brings) in [("b", "c", true), ("c", "c", false), ("b", "b", false)] {
            let own: [(&str, &[usize]); 4] = [
                ("a@A", &[]),
                ("b@B!", &[0]),
                (first, &[0]),
                (merge, &[2, 1]),
            ];
            let on_line = points(&own);
            // On a side line, too, and only in the first merge.
            let further: [(&str, &[usize]); 2] = [("d", &[0]), ("b", &[4, 3])];
            let beside = points(&[&own[..], &further].concat());
            for points in [&on_line, &beside] {
                assert_eq!(points[3].has_merged_override, brings, "{merge} {first}");
            }
            assert!(beside[5].has_merged_override);
            assert!(!points(&own[..3])[2].has_merged_override);
        }
    }

    #[test]
    fn merge_takes_the_set_of_another_parent() {
        for (merge, is_taken) in [("a", true), ("b", false)] {
            let points = points(&[("a", &[]), ("b", &[0]), ("a", &[1]), (merge, &[1, 2])]);
            assert_eq!(points[3].is_taken, is_taken, "{merge}");
        }
    }
}
