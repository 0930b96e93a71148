//! The tags of the revisions that commits claim, on every line and with or without a change of pins.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{BufRead, BufReader},
};

use super::{MAX_TIPS, claims::Titles};
use crate::{
    config::{Config, Trailer},
    git::{Git, GitError, ObjectId},
    oci::{Pattern, Revision, Tag},
};

const COMMAND: &str = "log";

const OPTIONS: [&str; 9] = [
    "-z",
    "--encoding=UTF-8",
    "--no-color",
    "--no-notes",
    "--no-mailmap",
    "--no-show-signature",
    "--no-decorate",
    "--no-patch",
    "--format=tformat:%s%n%n%b",
];

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
    titles: Titles,
    revisions: BTreeSet<Revision>,
}

impl ClaimedTags {
    /// Adds the titles and tags of a configuration; messages that were added before are not read again.
    pub(crate) fn add_config(&mut self, config: &Config) {
        let pattern = &config.revision.pattern;
        let claims = self.claims.entry(pattern.as_str().to_owned());
        let claims = claims.or_insert_with(|| Claims {
            pattern: pattern.clone(),
            titles: Titles::new(config),
            revisions: BTreeSet::new(),
        });
        claims.titles.add(config);
    }

    /// Adds the claims of a commit's message: the subject on one line, an empty line and the body.
    pub(crate) fn add_message(&mut self, message: &str) {
        let subject = message.lines().next().unwrap_or_default();
        let trailers: Vec<_> = Trailer::of_message(message).collect();
        for claims in self.claims.values_mut() {
            let in_title = claims.titles.claims(subject.as_bytes(), b"", &[]);
            claims.revisions.extend(in_title.revisions);
            for trailer in &trailers {
                let revision = claims.pattern.revision(trailer.revision);
                claims.revisions.extend(revision);
            }
        }
    }

    /// The tags of the claimed revisions.
    pub(crate) fn into_tags(self) -> BTreeMap<Tag, Revision> {
        let mut tags = BTreeMap::new();
        for claims in self.claims.into_values() {
            let templates = claims.titles.into_tags();
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
) -> Result<BTreeMap<Tag, Revision>, GitError> {
    let mut claimed = ClaimedTags::default();
    for config in configs {
        claimed.add_config(config);
    }
    for tips in tips.chunks(MAX_TIPS) {
        each_message(git, tips, |message| claimed.add_message(message))?;
    }
    Ok(claimed.into_tags())
}

/// Calls `each` with the message of every commit that `tips` reach: the subject on one line, an empty line
/// and the body.
fn each_message(git: &Git, tips: &[ObjectId], mut each: impl FnMut(&str)) -> Result<(), GitError> {
    let mut args: Vec<OsString> = OPTIONS.map(OsString::from).into();
    args.push("--end-of-options".into());
    for tip in tips {
        args.push(tip.to_string().into());
    }
    args.push("--".into());
    let io_error = |error| GitError::Io {
        command: COMMAND,
        error,
    };
    let mut stream = git.stream(COMMAND, &args)?;
    let mut output = BufReader::with_capacity(64 * 1024, stream.stdout()?);
    let mut bytes = Vec::new();
    while output.read_until(0, &mut bytes).map_err(io_error)? > 0 {
        let message = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
        each(&String::from_utf8_lossy(message));
        bytes.clear();
    }
    stream.finish()
}
