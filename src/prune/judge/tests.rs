use std::time::SystemTime;

use super::*;
use crate::{
    config::{ForkPolicy, PruneBackend},
    core::pins::{Mention, Mentions, TagMention},
    oci::{Tag, TagPattern, registry::Clock},
    prune::{Child, Dangling, DigestUse, Node, Place, ProtectionSet, TagUse},
};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn prune() -> Prune {
    let regex = |text| regex::Regex::new(text).unwrap();
    let protect = vec![regex("^[0-9a-f]{40}$")];
    Prune {
        backend: PruneBackend::Auto,
        tags: regex("^pending-"),
        older_than: DAY * 14,
        limit: 50,
        protect,
        untagged: false,
        also_pinned_in: vec![],
        forks: ForkPolicy::Warn,
    }
}

/// The use of a digest in promotion history.
fn in_history(name: &str) -> ((Digest, DigestUse, Option<usize>), Place) {
    let place = Place::Text("in promotion history".to_owned());
    ((digest(name), DigestUse::History, Some(0)), place)
}

/// A package with an unrelated version.
struct Package(Listing, ProtectionSet);

impl Package {
    fn new() -> Self {
        let clock = Clock {
            local: now(),
            server: Some(now()),
        };
        let listing = Listing::new(Vec::new(), clock);
        Self(listing, ProtectionSet::default()).version("other", &["other"], Some(99))
    }

    fn version(mut self, name: &str, tags: &[&str], days: Option<u32>) -> Self {
        let tags = tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
        self.0.versions.push(Version {
            id: None,
            digest: digest(name),
            tags,
        });
        self.0.nodes.insert(digest(name), Node::default());
        self.0
            .dates
            .extend(days.map(|days| (digest(name), now() - DAY * days)));
        self
    }

    fn index(mut self, name: &str, children: &[(&str, bool)]) -> Self {
        let child = |(name, attestation): &(&str, bool)| Child {
            digest: digest(name),
            is_index: self
                .0
                .nodes
                .get(&digest(name))
                .is_some_and(|node| !node.children.is_empty()),
            is_attestation: *attestation,
            is_manifest: true,
            platform: None,
        };
        let children = children.iter().map(child).collect();
        self.0.nodes.insert(
            digest(name),
            Node {
                children,
                subject: None,
                config: None,
            },
        );
        self
    }

    fn verdict(&self, prune: &Prune) -> PackageVerdict {
        judge(
            &self.0,
            self.1.of(0),
            &Rules {
                prune,
                older_than: prune.older_than,
                limit: prune.limit,
            },
        )
    }

    /// The deletable versions by name.
    fn deletable<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        let verdict = self.verdict(&prune());
        assert_eq!(verdict.refusal, None);
        let is_deletable = |name: &&&str| {
            verdict
                .candidates
                .iter()
                .any(|candidate| candidate.version.digest == digest(name))
        };
        names.iter().filter(is_deletable).copied().collect()
    }
}

#[test]
fn minimum_age_is_exclusive() {
    let package = Package::new()
        .version("a", &["pending-a"], Some(14))
        .version("b", &["pending-b"], Some(15));
    assert_eq!(package.deletable(&["a", "b"]), ["b"]);
    assert_eq!(package.verdict(&prune()).young, 1);
}

#[test]
fn reason_distinguishes_untagged_and_pending() {
    let package = Package::new()
        .version("a", &["pending-a"], Some(20))
        .version("b", &[], Some(30));
    let all = Prune {
        untagged: true,
        ..prune()
    };
    let verdict = package.verdict(&all);
    let reasons: Vec<_> = verdict
        .candidates
        .iter()
        .map(|candidate| candidate.reason.split(',').next().unwrap())
        .collect();
    assert_eq!(reasons, ["untagged", "every tag is pending"]);
}

#[test]
fn outer_index_is_deleted_before_nested_entries() {
    let package = Package::new()
        .version("leaf", &["pending-leaf"], Some(60))
        .index("inner", &[("leaf", false)])
        .version("outer", &["pending-outer"], Some(30))
        .index("outer", &[("inner", false)]);
    let verdict = package.verdict(&prune());
    let plan = verdict.approve(&package.0).unwrap();
    let order: Vec<_> = plan.order().iter().map(|one| one.version.digest).collect();
    assert_eq!(order, ["outer", "leaf"].map(digest));
}

#[test]
fn index_is_as_old_as_its_youngest_platform() {
    let package = || {
        let parts = Package::new()
            .version("old", &[], Some(30))
            .version("new", &[], Some(1))
            .version("none", &[], None);
        parts.version("i", &["pending-i"], Some(40))
    };
    let with = |children: &[(&str, bool)]| package().index("i", children).deletable(&["i"]);
    assert_eq!(with(&[("old", false)]), ["i"]);
    assert_eq!(with(&[("old", false), ("new", false)]), [] as [&str; 0]);
    assert_eq!(with(&[("old", false), ("none", false)]), [] as [&str; 0]);
    assert_eq!(with(&[("old", false), ("absent", false)]), [] as [&str; 0]);
    // The date of an attestation is irrelevant.
    assert_eq!(with(&[("old", false), ("none", true)]), ["i"]);
    // The index itself was pushed later.
    let later = Package::new()
        .version("old", &[], Some(30))
        .version("i", &["pending-i"], Some(1));
    assert_eq!(
        later.index("i", &[("old", false)]).deletable(&["i"]),
        [] as [&str; 0]
    );
}

#[test]
fn young_platform_suffices_without_the_lost_ones() {
    let verdict = |lost: &[&str], days: [u32; 2]| {
        let mut package = Package::new()
            .version("a", &[], Some(days[0]))
            .version("b", &[], Some(days[1]))
            .version("i", &["pending-i"], None)
            .index("i", &[("a", false), ("b", false)]);
        for name in lost {
            package.0.dates.remove(&digest(name));
            package.0.lost.insert(digest(name));
        }
        let verdict = package.verdict(&prune());
        let mut protected = verdict.protected.iter();
        let protected = protected.find(|one| one.version.digest == digest("i"));
        let is_broken = protected.is_some_and(|one| matches!(one.reason, KeepReason::Broken(_)));
        assert_eq!(
            package.deletable(&["i"]).len(),
            usize::from(lost.is_empty() && days == [30; 2])
        );
        (verdict.young, is_broken)
    };
    assert_eq!(verdict(&[], [1, 30]), (1, false));
    assert_eq!(verdict(&["b"], [1, 30]), (1, false));
    assert_eq!(verdict(&["a"], [1, 30]), (0, true));
    assert_eq!(verdict(&["a", "b"], [30, 30]), (1, false));
    assert_eq!(verdict(&[], [30, 30]), (0, false));
}

#[test]
fn entries_of_a_protected_index_are_protected() {
    let package = Package::new()
        .version("leaf", &["pending-leaf"], Some(30))
        .version("inner", &["pending-inner"], Some(30))
        .index("inner", &[("leaf", false)])
        .version("outer", &["v1"], Some(30))
        .index("outer", &[("inner", false)]);
    assert_eq!(package.deletable(&["leaf", "inner"]), [] as [&str; 0]);
    // The inner index need not be a version.
    let mut hidden = package;
    hidden
        .0
        .versions
        .retain(|version| version.digest != digest("inner"));
    assert_eq!(hidden.deletable(&["leaf"]), [] as [&str; 0]);
    hidden.0.nodes.remove(&digest("inner"));
    assert_eq!(
        hidden.verdict(&prune()).refusal.unwrap().code,
        Code::LISTING
    );
}

#[test]
fn index_that_lists_an_entry_twice_is_read_once() {
    let mut package = Package::new().version("level 0", &["pending-0"], Some(30));
    for level in 1..64 {
        let [entry, index] = [level - 1, level].map(|level| format!("level {level}"));
        package = package
            .version(&index, &[&format!("pending-{level}")], Some(30))
            .index(&index, &[(&entry, false), (&entry, true)]);
    }
    package.1.digests.extend([in_history("level 0")]);
    assert_eq!(package.deletable(&["level 0", "level 63"]), [] as [&str; 0]);
}

#[test]
fn referrers_of_protected_versions_are_protected() {
    let every = Prune {
        tags: regex::Regex::new("^(pending-|sha256-)").unwrap(),
        ..prune()
    };
    let hex = digest("other").hex();
    for (tag, stays) in [
        (format!("sha256-{hex}"), true),
        (format!("sha256-{hex}.sig"), true),
        (format!("sha256-{hex}.att"), true),
        (format!("sha256-{hex}.sbom"), true),
        (format!("sha256-{hex}x"), false),
        (format!("sha256-{}", digest("missing").hex()), false),
    ] {
        let package = Package::new().version("note", &[&tag], Some(30));
        let verdict = package.verdict(&every);
        assert_eq!(verdict.candidates.is_empty(), stays, "{tag}");
    }
    let mut package = Package::new()
        .version("note", &["pending-note"], Some(30))
        .version("more", &["pending-more"], Some(30));
    let subject = |of| Node {
        children: Vec::new(),
        subject: Some(digest(of)),
        config: None,
    };
    package.0.nodes.insert(digest("note"), subject("other"));
    package.0.nodes.insert(digest("more"), subject("note"));
    assert_eq!(package.deletable(&["note", "more"]), [] as [&str; 0]);
    package.0.nodes.insert(digest("note"), subject("missing"));
    assert_eq!(package.deletable(&["note", "more"]), ["note", "more"]);
}

#[test]
fn subject_of_a_pinned_artifact_stays() {
    let mut package = Package::new()
        .version("image", &["pending-image"], Some(30))
        .version("sbom", &[], Some(30))
        .version("leaf", &["pending-leaf"], Some(30))
        .index("image", &[("leaf", false)]);
    let sbom = Node {
        children: Vec::new(),
        subject: Some(digest("image")),
        config: None,
    };
    package.0.nodes.insert(digest("sbom"), sbom);
    assert_eq!(package.deletable(&["image", "leaf"]), ["image", "leaf"]);
    package.1.digests.extend([in_history("sbom")]);
    assert_eq!(package.deletable(&["image", "leaf"]), [] as [&str; 0]);
}

#[test]
fn pinned_digest_without_a_version_protects_its_parts() {
    let mut package = Package::new()
        .version("leaf", &["pending-leaf"], Some(30))
        .index("removed", &[("leaf", false)]);
    assert_eq!(package.deletable(&["leaf"]), ["leaf"]);
    package.1.digests.extend([in_history("removed")]);
    assert_eq!(package.deletable(&["leaf"]), [] as [&str; 0]);
}

#[test]
fn unlisted_index_in_text_protects_its_entries() {
    let names: Vec<String> = (0..20).map(|at| format!("leaf {at}")).collect();
    let leaves: Vec<_> = names.iter().map(|name| (name.as_str(), false)).collect();
    let package = |mentioned: &str| {
        let mut package = Package::new();
        for (at, (name, _)) in leaves.iter().enumerate() {
            package = package.version(name, &[&format!("pending-{at}")], Some(30));
        }
        let mut package = package.index("removed", &leaves);
        let mention = Mention {
            digest: digest(mentioned),
            algorithm: true,
            line: 4,
        };
        let mentions = Mentions {
            digests: vec![mention],
            tags: Vec::new(),
        };
        let set = &mut package.1;
        set.add_mentions(b"values.yaml", "in the work tree", &mentions);
        package
    };
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(package("nothing").deletable(&names[..3]), names[..3]);
    let with_text = package("removed");
    assert_eq!(with_text.deletable(&names), [] as [&str; 0]);
    // The protected versions are in the order of the listing.
    let verdict = with_text.verdict(&prune());
    let protected = verdict.protected.iter().map(|kept| kept.version.digest);
    let listed = with_text.0.versions[1..]
        .iter()
        .map(|version| version.digest);
    assert!(protected.eq(listed));
}

#[test]
fn few_equal_dates_are_not_suspicious() {
    let two = Package::new().version("a", &["pending-a"], Some(99));
    assert_eq!(two.deletable(&["a"]), ["a"]);
    let three = two.version("b", &["pending-b"], Some(99));
    assert_eq!(
        three.verdict(&prune()).refusal.unwrap().code,
        Code::TIMESTAMPS
    );
    assert_eq!(
        three
            .version("c", &["pending-c"], Some(98))
            .deletable(&["a"]),
        ["a"]
    );
}

#[test]
fn placeholder_is_no_different_date() {
    let mut package = Package::new()
        .version("a", &["pending-a"], Some(99))
        .version("b", &["pending-b"], Some(99))
        .version("epoch", &["pending-epoch"], None);
    for placeholder in ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"] {
        let at = date::parse(placeholder).unwrap();
        package.0.dates.insert(digest("epoch"), at);
        let verdict = package.verdict(&prune());
        assert_eq!(
            verdict.refusal.unwrap().code,
            Code::TIMESTAMPS,
            "{placeholder}"
        );
    }
    // Equal placeholders are not equal dates, so their versions are not deleted.
    let mut none = Package::new().version("a", &["pending-a"], Some(30));
    for name in ["x", "y", "z"] {
        none = none.version(name, &[&format!("pending-{name}")], None);
        none.0.dates.insert(digest(name), SystemTime::UNIX_EPOCH);
    }
    assert_eq!(none.deletable(&["a", "x", "y", "z"]), ["a"]);
}

#[test]
fn only_unprotected_pending_tags_may_dangle() {
    let dangling = |tag: &str| {
        let mut package = Package::new().version("a", &["pending-a"], Some(30));
        let tag = Tag::parse(tag).unwrap();
        package.0.dangling.push(Dangling { tag, id: None });
        package
    };
    let package = dangling("pending-x");
    assert_eq!(package.deletable(&["a"]), ["a"]);
    let warnings = package.verdict(&prune()).warnings;
    assert!(
        warnings.len() == 1 && warnings[0].code == Code::TAG_DANGLING,
        "{warnings:?}"
    );
    let refused = |package: &Package, prune: &Prune| package.verdict(prune).refusal.unwrap();
    let refusal = refused(&dangling("v1"), &prune());
    assert!(refusal.message.contains("does not match prune.tags"));
    assert_eq!(refusal.class, crate::base::error::Class::Unavailable);
    let protect = Prune {
        protect: vec![regex::Regex::new("^pending-x").unwrap()],
        ..prune()
    };
    let refusal = refused(&package, &protect);
    assert!(refusal.message.contains("matches prune.protect"));
    let mut used = dangling("pending-x");
    let mentions = Mentions {
        digests: Vec::new(),
        tags: vec![TagMention {
            tag: Tag::parse("pending-x").unwrap(),
            image: None,
            line: 4,
        }],
    };
    let set = &mut used.1;
    set.add_mentions(b"values.yaml", "in the work tree", &mentions);
    let refusal = refused(&used, &prune());
    assert!(
        refusal
            .message
            .contains("used in values.yaml:4 in the work tree")
    );
    let mut promoted = dangling("pending-x");
    let tag = TagPattern::parse("pending-x").unwrap();
    let evidence = Place::Text("that main promoted".to_owned());
    let usage = (tag, TagUse::Revision, None);
    promoted.1.tags.insert(usage, evidence);
    let refusal = refused(&promoted, &prune());
    assert!(refusal.message.contains("the tag of a revision that main"));
}

#[test]
fn ages_are_computed_from_the_earlier_clock() {
    let mut package = Package::new().version("a", &["pending-a"], Some(14));
    package.0.clock.server = Some(now() + Duration::from_secs(200));
    assert_eq!(package.deletable(&["a"]), [] as [&str; 0]);
    package.0.clock = Clock {
        local: now() + Duration::from_secs(200),
        server: Some(now()),
    };
    assert_eq!(package.deletable(&["a"]), [] as [&str; 0]);
    package.0.clock.server = None;
    assert_eq!(package.deletable(&["a"]), ["a"]);
    // The maximum difference is five minutes.
    package.0.clock.server = Some(now() + Duration::from_secs(500));
    assert_eq!(package.verdict(&prune()).refusal, None);
    package.0.clock.server = Some(now() + Duration::from_secs(501));
    assert_eq!(package.verdict(&prune()).refusal.unwrap().code, Code::CLOCK);
}

#[test]
fn date_may_be_five_minutes_ahead() {
    let mut package = Package::new().version("a", &["pending-a"], Some(20));
    let ahead = |seconds| now() + Duration::from_secs(seconds);
    package.0.dates.insert(digest("a"), ahead(300));
    assert_eq!(package.verdict(&prune()).refusal, None);
    package.0.dates.insert(digest("a"), ahead(301));
    let refusal = package.verdict(&prune()).refusal.unwrap();
    assert_eq!(refusal.code, Code::TIMESTAMPS);
    assert!(refusal.message.contains("in the future"), "{refusal}");
}

#[test]
fn cycle_of_tags_is_refused() {
    let every = Prune {
        tags: regex::Regex::new("^(pending-|sha256-)").unwrap(),
        ..prune()
    };
    let tag = |name: &str| format!("sha256-{}", digest(name).hex());
    let line = Package::new()
        .version("part", &["pending-part"], Some(50))
        .version("index", &["pending-index"], Some(30))
        .index("index", &[("part", false)])
        .version("note", &[&tag("index")], Some(60));
    let order: Vec<_> = line
        .verdict(&every)
        .approve(&line.0)
        .unwrap()
        .order()
        .iter()
        .map(|c| c.version.digest)
        .collect();
    assert_eq!(order, ["index", "note", "part"].map(digest));
    let circle =
        Package::new()
            .version("a", &[&tag("b")], Some(30))
            .version("b", &[&tag("a")], Some(31));
    assert_eq!(circle.verdict(&every).candidates.len(), 2);
    assert_eq!(
        circle.verdict(&every).approve(&circle.0).unwrap_err().code,
        Code::LISTING
    );
}

#[test]
fn versions_without_any_tag_are_reported() {
    let codes = |package: &Package| -> Vec<&str> {
        let warnings = package.verdict(&prune()).warnings;
        warnings
            .iter()
            .map(|warning| warning.code.as_str())
            .collect()
    };
    let mut package = Package::new();
    assert_eq!(codes(&package), [""; 0]);
    package.0.versions.clear();
    assert_eq!(codes(&package), [""; 0]);
    let package = package.version("pinned", &[], Some(99));
    assert_eq!(codes(&package), ["tags_missing"]);
    let package = package.version("tagged", &["main"], Some(9));
    assert_eq!(codes(&package), [""; 0]);
}
