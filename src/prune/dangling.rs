//! Dangling tags: the registry lists the tag, but its manifest is missing.
//!
//! A deletion or garbage collection that does not remove the tag causes this. Such a tag cannot be
//! pulled. A dangling pending tag is reported and skipped; any other refuses the run.

use super::{Dangling, Guards, Listing, Warning};
use crate::{
    base::{
        code::Code,
        error::{Class, Error},
    },
    config::Prune,
    oci::Tag,
};

/// The warnings about skipped dangling tags.
pub(super) fn warnings(listing: &Listing) -> Vec<Warning> {
    let warning = |dangling: &Dangling| Warning {
        code: Code::TAG_DANGLING,
        detail: format!(
            "tag {} is dangling: the registry lists it, but its manifest is missing; it protects \
             nothing",
            dangling.tag
        ),
    };
    listing.dangling.iter().map(warning).collect()
}

/// Refuses the run for a dangling tag that is protected or not pending.
pub(super) fn refusal(listing: &Listing, guards: &Guards, prune: &Prune) -> Option<Error> {
    let reason = |tag: &Tag| {
        let matches = |pattern: &regex::Regex| pattern.is_match(tag.as_str());
        if let Some(place) = guards.revision_evidence(tag) {
            Some(format!("it is the tag of a revision {place}"))
        } else if let Some(location) = guards.tag_location(tag) {
            Some(format!("it is used {location}"))
        } else if prune.protect.iter().any(matches) {
            Some("it matches prune.protect".to_owned())
        } else if !matches(&prune.tags) {
            Some("it does not match prune.tags".to_owned())
        } else {
            None
        }
    };
    let (tag, reason) = listing
        .dangling
        .iter()
        .find_map(|dangling| Some((&dangling.tag, reason(&dangling.tag)?)))?;
    let message = format!(
        "tag {tag} is dangling: the registry lists it, but its manifest is missing, and {reason}"
    );
    let hint = format!("push {tag} again from where it was built, or remove the tag");
    Some(Error::new(Class::Unavailable, Code::TAG_DANGLING, message).help(hint))
}
