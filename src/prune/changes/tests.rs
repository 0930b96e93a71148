//! Differences between listings that stop a run, or are reported after it.

use super::*;
use crate::{
    oci::registry::Clock,
    prune::{
        Child, Dangling, DigestUse, Node, Place, ProtectionSet,
        apply::tests::{ALL, add_nested_twice, digest, listing, prune},
        judge,
    },
};

fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

/// Checks a changed listing before the first deletion.
fn before(change: impl FnOnce(&mut Listing)) -> Result<(), String> {
    let prune = prune();
    let rules = Rules {
        prune: &prune,
        older_than: prune.older_than,
        limit: prune.limit,
    };
    let (first, set) = (listing(&ALL), ProtectionSet::default());
    let plan = judge(&first, set.of(0), &rules).approve(&first).unwrap();
    let mut now = first.clone();
    change(&mut now);
    check_unchanged(&plan, &first, &now, set.of(0), &rules).map_err(|refusal| refusal.message)
}

/// Compares a changed listing after the deletion of both pending versions.
fn after(change: impl FnOnce(&mut Listing)) -> Differences {
    let prune = prune();
    let rules = Rules {
        prune: &prune,
        older_than: prune.older_than,
        limit: prune.limit,
    };
    let (first, set) = (listing(&ALL), ProtectionSet::default());
    let plan = judge(&first, set.of(0), &rules).approve(&first).unwrap();
    let mut now = first.clone();
    now.versions
        .retain(|version| version.digest == digest("stable"));
    change(&mut now);
    compare(&plan, &first, &now, &rules, plan.order(), &[])
}

fn version<'l>(listing: &'l mut Listing, name: &str) -> &'l mut Version {
    let versions = &mut listing.versions;
    versions
        .iter_mut()
        .find(|version| version.digest == digest(name))
        .unwrap()
}

fn remove(listing: &mut Listing, name: &str) {
    listing
        .versions
        .retain(|version| version.digest != digest(name));
}

/// Adds an index with these entries and the current date.
fn index(listing: &mut Listing, name: &str, parts: &[(&str, bool)]) {
    let Clock { local: here, .. } = listing.clock;
    let child = |(part, attestation): &(&str, bool)| Child {
        digest: digest(part),
        is_index: false,
        is_attestation: *attestation,
        is_manifest: true,
        platform: None,
    };
    let node = Node {
        children: parts.iter().map(child).collect(),
        subject: None,
        config: None,
    };
    listing.nodes.insert(digest(name), node);
    listing.dates.insert(digest(name), here);
    listing.versions.push(Version {
        id: None,
        digest: digest(name),
        tags: vec![tag(name)],
    });
}

fn refused(result: Result<(), String>, expected: &str) {
    let message = result.unwrap_err();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn second_listing_has_the_same_rules() {
    let refused = before(|listing| {
        let Clock { local: here, .. } = listing.clock;
        let child = Child {
            digest: digest("unread"),
            is_index: true,
            is_attestation: false,
            is_manifest: true,
            platform: None,
        };
        let node = Node {
            children: vec![child],
            subject: None,
            config: None,
        };
        listing.nodes.insert(digest("new"), node);
        listing.dates.insert(digest("new"), here);
        listing.versions.push(Version {
            id: None,
            digest: digest("new"),
            tags: vec![tag("new")],
        });
    });
    let refused = refused.unwrap_err();
    assert!(refused.contains("the listing is incomplete"), "{refused}");
}

#[test]
fn only_missing_candidates_are_tolerated_before_deletion() {
    assert_eq!(before(|_| {}), Ok(()));
    assert_eq!(before(|now| remove(now, "pending-a")), Ok(()));
    let removed = before(|now| remove(now, "stable"));
    refused(removed, "the protected version");
    let retagged = before(|now| version(now, "stable").tags.push(tag("new")));
    refused(retagged, "the tags of the protected version");
    let retagged = before(|now| version(now, "pending-a").tags.clear());
    refused(retagged, "were pending-a and are none");
    let moved = before(|now| {
        remove(now, "pending-a");
        index(now, "other", &[]);
        version(now, "other").tags = vec![tag("pending-a")];
    });
    refused(moved, "pending-a now resolves to");
    let needed = before(|now| index(now, "new", &[("pending-a", false)]));
    refused(needed, "is protected now: part of the index");
}

#[test]
fn new_dangling_tag_stops_the_run() {
    let dangling = |tags: &'static [&str]| {
        before(|now| {
            let all = tags.iter().map(|name| Dangling {
                tag: tag(name),
                id: None,
            });
            now.dangling.extend(all);
        })
    };
    assert_eq!(dangling(&["pending-a"]), Ok(()));
    refused(
        dangling(&["pending-a", "pending-lost"]),
        "lists tag pending-lost",
    );
    // An old dangling tag does not excuse a new one.
    let lost = |name| Dangling {
        tag: tag(name),
        id: None,
    };
    let (mut first, set, prune) = (listing(&ALL), ProtectionSet::default(), prune());
    first.dangling.push(lost("pending-old"));
    let rules = Rules {
        prune: &prune,
        older_than: prune.older_than,
        limit: prune.limit,
    };
    let plan = judge(&first, set.of(0), &rules).approve(&first).unwrap();
    let mut now = first.clone();
    assert_eq!(check_dangling_tags(&plan, &first, &now).ok(), Some(()));
    now.dangling.push(lost("pending-new"));
    let refusal = check_dangling_tags(&plan, &first, &now).unwrap_err();
    assert!(refusal.message.contains("lists tag pending-new"));
}

#[test]
fn missing_protected_or_needed_versions_are_reported() {
    let fine = after(|_| {});
    assert!(fine.missing.is_empty() && fine.lost_tags.is_empty() && fine.remaining.is_empty());
    assert_eq!(fine.error, None);
    let removed = after(|now| remove(now, "stable"));
    assert_eq!(removed.missing[0].digest, digest("stable"));
    assert_eq!(removed.lost_tags, [tag("stable")]);
    let needed = after(|now| index(now, "new", &[("pending-a", false)]));
    assert_eq!(needed.missing[0].digest, digest("pending-a"));
    let back = after(|now| {
        index(now, "pending-a", &[]);
        index(now, "new", &[("pending-a", false)]);
    });
    assert!(back.missing.is_empty());
    let attestation = after(|now| index(now, "new", &[("pending-a", true)]));
    assert!(attestation.missing.is_empty());
    let retagged = after(|now| version(now, "stable").tags.push(tag("new")));
    assert!(retagged.error.is_some() && retagged.missing.is_empty());
}

#[test]
fn candidate_that_vanishes_without_deletion_is_an_error() {
    let prune = prune();
    let rules = Rules {
        prune: &prune,
        older_than: prune.older_than,
        limit: prune.limit,
    };
    let (first, set) = (listing(&ALL), ProtectionSet::default());
    let plan = judge(&first, set.of(0), &rules).approve(&first).unwrap();
    let (requested, rest) = plan.order().split_at(1);
    let mut now = first.clone();
    now.versions
        .retain(|version| version.digest == digest("stable"));
    let found = compare(&plan, &first, &now, &rules, requested, &[]);
    let message = found.error.unwrap().message;
    let expected = format!("of {} is gone", rest[0].version.digest);
    assert!(message.contains(&expected), "{message}");
    assert!(found.lost_tags.is_empty() && found.missing.is_empty());
}

#[test]
fn version_pushed_again_has_a_new_id() {
    let again = |id| {
        after(|now| {
            index(now, "pending-a", &[]);
            version(now, "pending-a").id = id;
        })
    };
    assert_eq!(again(None).remaining, HashSet::from([digest("pending-a")]));
    assert!(again(Some(7)).remaining.is_empty());
}

#[test]
fn missing_tag_of_protected_version_is_lost() {
    let first = |listing: &mut Listing| version(listing, "stable").tags = vec![tag("pending-too")];
    let prune = prune();
    let rules = Rules {
        prune: &prune,
        older_than: prune.older_than,
        limit: prune.limit,
    };
    let mut set = ProtectionSet::default();
    let place = Place::Text("a.yml:1".to_owned());
    set.digests
        .insert((digest("stable"), DigestUse::Pin, Some(0)), place);
    let mut before = listing(&ALL);
    first(&mut before);
    let plan = judge(&before, set.of(0), &rules).approve(&before).unwrap();
    let mut after = before.clone();
    after
        .versions
        .retain(|version| version.digest == digest("stable"));
    version(&mut after, "stable").tags.clear();
    let found = compare(&plan, &before, &after, &rules, plan.order(), &[]);
    assert_eq!(found.lost_tags, [tag("pending-too")]);
}

#[test]
fn shared_entries_are_visited_once() {
    let mut all = listing(&ALL);
    add_nested_twice(&mut all);
    assert_eq!(all.parts(digest("stable")).len(), 64);
    assert_eq!(entries(&all).len(), 64);
    let prune = prune();
    let rules = Rules {
        prune: &prune,
        older_than: prune.older_than,
        limit: prune.limit,
    };
    assert_eq!(
        judge(&all, ProtectionSet::default().of(0), &rules)
            .candidates
            .len(),
        2
    );
}
