//! The tags of the revisions that commits claim, on every line and with or without a change of pins.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_TIPS, claims::ClaimTemplates};
use crate::{
    config::{Config, Trailer},
    git::{Git, GitError, ObjectId, log},
    oci::{Pattern, Revision, TagPattern},
};

/// The tags of the revisions that titles and trailers claim, by the titles and tags of configurations.
///
/// Claims for other sets and claims without a change count as well, because these tags are only protected.
#[derive(Debug, Default)]
pub(crate) struct ClaimedTags {
    /// The claims by the patterns of revisions.
    claims: BTreeMap<String, Claims>,
}

/// The titles of the configurations with one pattern, and the claimed revisions.
#[derive(Debug)]
struct Claims {
    pattern: Pattern,
    titles: ClaimTemplates,
    revisions: BTreeSet<Revision>,
}

impl ClaimedTags {
    /// Adds the titles and tags of a configuration; messages that were added before are not read again.
    pub(crate) fn add_config(&mut self, config: &Config) {
        let pattern = &config.revision.pattern;
        let claims = self.claims.entry(pattern.as_str().to_owned());
        let claims = claims.or_insert_with(|| Claims {
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
        log::messages(git, tips)?.each(|commit| {
            claimed.add_commit(commit.info.subject(), &commit.trailers);
            Ok(())
        })?;
    }
    Ok(claimed.into_tags())
}
