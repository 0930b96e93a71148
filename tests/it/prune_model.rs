//! Random packages, pins, texts, histories and faults: whatever happens, nothing protected is ever
//! deleted, and in quiet times exactly what may go.
//!
//! Text is drawn as files: split pins, files that no glob matches, UTF-16, and what only looks like
//! a digest. Other names of a repository pin versions too, and a registry may list tags alone: then
//! what has no tag is known only if something names it.
//!
//! The oracle is written from the documentation (README, "Prune"): it asks of the outcome whether
//! it may be, and shares no code with what it judges.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use fastrand::Rng;
use proptest::prelude::*;
use repin::{
    config::{Prune, PruneBackend},
    image::{Digest, Tag},
    pins::mentions,
    prune::{
        Child, Guards, Listing, Node, Refusal, Rules, Text, Version,
        apply::{self, Now, Package},
        judge,
    },
    source::{Clock, Deletion},
};

const DAY: u64 = 86_400;
const TAGS: [&str; 8] = [
    "pending-a",
    "pending-b",
    "pending-c",
    "pending-d",
    "latest",
    "v1",
    "edge",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// A manifest or index as it truly is.
#[derive(Debug, Clone)]
struct Object {
    tags: BTreeSet<String>,
    /// Days ago.
    age: Option<i64>,
    children: Vec<usize>,
    subject: Option<usize>,
}

/// What somebody else does to an object between listing and deletion, or what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    Tagged,
    Untagged,
    Removed,
    NotRead,
    NotDeleted,
    Refused,
}

/// How a file writes a digest.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// kustomize: the digest in a key of its own.
    Split,
    /// A whole reference in a file that no glob matches.
    Unmatched,
    /// 64 digits alone, as in a Dockerfile's argument.
    Bare,
    /// A split pin in UTF-16.
    Wide,
    /// A digit too many, a digit too few, upper case: no digest.
    Longer,
    Shorter,
    Upper,
}

const FORMS: [Form; 7] = [
    Form::Split,
    Form::Unmatched,
    Form::Bare,
    Form::Wide,
    Form::Longer,
    Form::Shorter,
    Form::Upper,
];

impl Form {
    fn is_digest(self) -> bool {
        !matches!(self, Self::Longer | Self::Shorter | Self::Upper)
    }

    /// Whether a registry that lists tags alone is asked for it.
    fn is_asked_for(self) -> bool {
        self.is_digest() && self != Self::Bare
    }

    fn write(self, digest: Digest) -> Vec<u8> {
        let hex = digest.hex();
        match self {
            Self::Split => format!("- name: app\n  digest: sha256:{hex}\n"),
            Self::Unmatched => format!("image: registry.example/app@sha256:{hex} # v1\n"),
            Self::Bare => format!("ARG SUM={hex}\n"),
            Self::Wide => {
                let text = format!("digest = \"sha256:{hex}\"\r\n");
                return text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            }
            Self::Longer => format!("sha256:{hex}0\n"),
            Self::Shorter => format!("sha256:{}\n", &hex[1..]),
            Self::Upper => format!("sha256:{}\n", hex.to_uppercase().replace(['0', '1'], "A")),
        }
        .into_bytes()
    }
}

#[derive(Debug)]
struct Case {
    objects: Vec<Object>,
    /// Files, each with a digest.
    text: Vec<(usize, Form)>,
    /// Pinned under another name of the repository.
    others: BTreeSet<usize>,
    /// Whether the registry lists tags alone.
    tags_only: bool,
    pins: BTreeSet<usize>,
    missing_pin: bool,
    history: BTreeSet<usize>,
    promoted_tag: Option<String>,
    patterns: (&'static str, bool),
    untagged: bool,
    older_than: i64,
    limit: usize,
    /// Seconds that the server's clock is ahead; `None`: it does not tell.
    server: Option<i64>,
    /// Of this one the listing does not say what it refers to.
    unread: Option<usize>,
    /// This one is listed twice.
    twice: Option<usize>,
    troubles: BTreeMap<usize, Trouble>,
}

fn digest(at: usize) -> Digest {
    static ALL: LazyLock<Vec<Digest>> = LazyLock::new(|| {
        (0..16)
            .map(|at| Digest::of(format!("object {at}").as_bytes()))
            .collect()
    });
    ALL[at]
}

/// Compiled once: that takes longer than a case.
fn pattern(text: &'static str) -> regex::Regex {
    thread_local! {
        static ALL: RefCell<HashMap<&'static str, regex::Regex>> = RefCell::default();
    }
    ALL.with_borrow_mut(|all| {
        let compiled = || regex::Regex::new(text).unwrap();
        all.entry(text).or_insert_with(compiled).clone()
    })
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..10);
        let quiet = rng.u8(..) < 110;
        let mut free: Vec<&str> = TAGS.to_vec();
        rng.shuffle(&mut free);
        let same_age = rng.u8(..) < 8;
        let mut objects: Vec<Object> = Vec::new();
        for at in 0..count {
            let earlier = |rng: &mut Rng| rng.usize(..at);
            let mut tags = BTreeSet::new();
            for _ in 0..[0, 0, 1, 1, 1, 2][rng.usize(..6)] {
                tags.extend(free.pop().map(str::to_owned));
            }
            if at > 0 && rng.u8(..) < 30 {
                let suffix = ["", ".sig", ".att", ".sbom"][rng.usize(..4)];
                tags.insert(format!(
                    "sha256-{}{suffix}",
                    digest(rng.usize(..count)).hex()
                ));
            }
            let children = if at > 0 && rng.u8(..) < 90 {
                (0..rng.usize(1..3)).map(|_| earlier(&mut rng)).collect()
            } else {
                vec![]
            };
            let subject = (rng.u8(..) < 40)
                .then(|| rng.usize(..count))
                .filter(|subject| *subject != at);
            let age = if same_age {
                Some(40)
            } else if rng.u8(..) < 20 {
                None
            } else {
                Some(rng.i64(1..60))
            };
            let age = if !quiet && rng.u8(..) < 6 {
                Some(-2)
            } else {
                age
            };
            objects.push(Object {
                tags,
                age,
                children,
                subject,
            });
        }
        let some = |rng: &mut Rng, share: u8| {
            (0..count)
                .filter(|_| rng.u8(..) < share)
                .collect::<BTreeSet<_>>()
        };
        let any =
            |rng: &mut Rng, share: u8| (!quiet && rng.u8(..) < share).then(|| rng.usize(..count));
        let all = [
            Trouble::Tagged,
            Trouble::Untagged,
            Trouble::Removed,
            Trouble::NotRead,
            Trouble::NotDeleted,
            Trouble::Refused,
        ];
        let troubles = some(&mut rng, if quiet { 0 } else { 40 })
            .into_iter()
            .map(|at| (at, all[rng.usize(..6)]))
            .collect();
        let text = some(&mut rng, 40)
            .into_iter()
            .map(|at| (at, FORMS[rng.usize(..FORMS.len())]))
            .collect();
        Self {
            text,
            others: some(&mut rng, 20),
            tags_only: rng.bool(),
            pins: some(&mut rng, 25),
            missing_pin: !quiet && rng.u8(..) < 10,
            history: some(&mut rng, 25),
            promoted_tag: (rng.u8(..) < 60).then(|| TAGS[rng.usize(..4)].to_owned()),
            patterns: (
                ["^pending-", "^(pending-|sha256-)", "."][rng.usize(..3)],
                rng.bool(),
            ),
            untagged: rng.bool(),
            older_than: rng.i64(1..40),
            limit: if quiet { 100 } else { rng.usize(..8) },
            server: if quiet {
                Some(0)
            } else {
                [None, Some(0), Some(200), Some(-200), Some(400), Some(-400)][rng.usize(..6)]
            },
            unread: any(&mut rng, 10),
            twice: any(&mut rng, 10),
            troubles,
            objects,
        }
    }

    fn made(&self, at: usize) -> Option<SystemTime> {
        let days = self.objects[at].age?;
        let seconds = Duration::from_secs(days.unsigned_abs() * DAY);
        Some(if days < 0 {
            now() + seconds
        } else {
            now() - seconds
        })
    }

    fn version(&self, at: usize) -> Version {
        let tags = self.objects[at]
            .tags
            .iter()
            .map(|tag| Tag::parse(tag).unwrap())
            .collect();
        Version {
            id: Some(at as u64),
            digest: digest(at),
            tags,
        }
    }

    /// Whether something that a listing asks for names it.
    fn is_asked_for(&self, at: usize) -> bool {
        let pinned = [&self.pins, &self.history, &self.others];
        let text = |(named, form): &(usize, Form)| *named == at && form.is_asked_for();
        pinned.iter().any(|set| set.contains(&at)) || self.text.iter().any(text)
    }

    fn is_listed(&self, at: usize) -> bool {
        !self.tags_only || !self.objects[at].tags.is_empty() || self.is_asked_for(at)
    }

    /// Whether a text names it.
    fn is_named(&self, at: usize) -> bool {
        let names = |(named, form): &(usize, Form)| *named == at && form.is_digest();
        self.text.iter().any(names)
    }

    /// What is listed, and the indexes below: of these it is known what they consist of.
    fn known(&self) -> BTreeSet<usize> {
        let mut known: BTreeSet<usize> = (0..self.objects.len())
            .filter(|at| self.is_listed(*at))
            .collect();
        let mut open: Vec<usize> = known.iter().copied().collect();
        while let Some(at) = open.pop() {
            for child in &self.objects[at].children {
                if !self.objects[*child].children.is_empty() && known.insert(*child) {
                    open.push(*child);
                }
            }
        }
        known
    }

    fn listing(&self) -> Listing {
        let server = self.server.map(|ahead| {
            let gap = Duration::from_secs(ahead.unsigned_abs());
            if ahead < 0 { now() - gap } else { now() + gap }
        });
        let all = 0..self.objects.len();
        let node = |object: &Object| {
            let child = |at: &usize| Child {
                digest: digest(*at),
                index: !self.objects[*at].children.is_empty(),
                attestation: false,
            };
            Node {
                children: object.children.iter().map(child).collect(),
                subject: object.subject.map(digest),
            }
        };
        Listing {
            versions: all
                .clone()
                .chain(self.twice)
                .filter(|at| self.is_listed(*at))
                .map(|at| self.version(at))
                .collect(),
            nodes: self
                .known()
                .into_iter()
                .filter(|at| self.unread != Some(*at))
                .map(|at| (digest(at), node(&self.objects[at])))
                .collect(),
            dates: all
                .filter_map(|at| Some((digest(at), self.made(at)?)))
                .collect::<HashMap<_, _>>(),
            clock: Clock {
                here: now(),
                server,
            },
        }
    }

    fn guards(&self) -> Guards {
        let mut pins: BTreeMap<_, _> = self
            .pins
            .iter()
            .map(|at| (digest(*at), "somewhere".to_owned()))
            .collect();
        if self.missing_pin {
            pins.insert(Digest::of(b"nowhere"), "somewhere".to_owned());
        }
        let tags = self
            .promoted_tag
            .iter()
            .map(|tag| (Tag::parse(tag).unwrap(), "then".to_owned()));
        let mut text = Text::default();
        for (at, form) in &self.text {
            let content = form.write(digest(*at));
            let found = mentions(content.as_slice(), &mut Vec::new()).unwrap();
            text.add(b"file", "somewhere", &found);
        }
        let others = self.others.iter();
        Guards {
            pins,
            history: self.history.iter().map(|at| digest(*at)).collect(),
            tags: tags.collect(),
            others: others
                .map(|at| (digest(*at), "as another".to_owned()))
                .collect(),
            text: Arc::new(text),
        }
    }

    fn prune(&self) -> Prune {
        Prune {
            backend: PruneBackend::Auto,
            tags: pattern(self.patterns.0),
            older_than: Duration::from_secs(0),
            limit: 0,
            protect: if self.patterns.1 {
                vec![pattern("^[0-9a-f]{40}$")]
            } else {
                vec![]
            },
            untagged: self.untagged,
            also_pinned_in: vec![],
        }
    }
}

/// The package while it is pruned.
struct Model<'c> {
    case: &'c Case,
    /// Tags of what is there.
    there: RefCell<BTreeMap<usize, BTreeSet<String>>>,
    /// What we deleted, with the tags that it had.
    deleted: RefCell<Vec<(usize, BTreeSet<String>)>>,
    troubled: RefCell<BTreeSet<usize>>,
}

impl Model<'_> {
    fn at(version: &Version) -> usize {
        usize::try_from(version.id.unwrap()).unwrap()
    }

    /// Somebody else is faster.
    fn interfere(&self, at: usize) {
        if !self.troubled.borrow_mut().insert(at) {
            return;
        }
        let mut there = self.there.borrow_mut();
        let Some(tags) = there.get_mut(&at) else {
            return;
        };
        match self.case.troubles.get(&at) {
            Some(Trouble::Tagged) => drop(tags.replace("released".to_owned())),
            Some(Trouble::Untagged) => tags.clear(),
            Some(Trouble::Removed) => drop(there.remove(&at)),
            _ => {}
        }
    }
}

impl Package for Model<'_> {
    async fn look(&self, version: &Version) -> Result<Now, Refusal> {
        let at = Self::at(version);
        self.interfere(at);
        if self.case.troubles.get(&at) == Some(&Trouble::NotRead) {
            return Err(Refusal::later("unavailable", "no answer"));
        }
        let tags: BTreeSet<_> = version.tags.iter().map(ToString::to_string).collect();
        Ok(match self.there.borrow().get(&at) {
            None => Now::Gone,
            Some(now) if *now == tags => Now::Same,
            Some(_) => Now::Changed("other tags".to_owned()),
        })
    }

    async fn delete(&self, version: &Version) -> Result<Deletion, Refusal> {
        let at = Self::at(version);
        match self.case.troubles.get(&at) {
            Some(Trouble::NotDeleted) => return Err(Refusal::later("unavailable", "no answer")),
            Some(Trouble::Refused) => return Ok(Deletion::Refused("the last one".to_owned())),
            _ => {}
        }
        let Some(tags) = self.there.borrow_mut().remove(&at) else {
            return Ok(Deletion::Gone);
        };
        self.deleted.borrow_mut().push((at, tags));
        Ok(Deletion::Deleted)
    }

    async fn lost_tags(&self, _: &[&Version]) -> Result<Vec<Tag>, Refusal> {
        Ok(Vec::new())
    }

    async fn has(&self, version: &Version) -> Result<bool, Refusal> {
        Ok(self.there.borrow().contains_key(&Self::at(version)))
    }
}

/// What the documentation says, asked of the truth.
struct Oracle<'c>(&'c Case, Vec<Vec<usize>>, BTreeSet<usize>);

impl<'c> Oracle<'c> {
    fn of(case: &'c Case) -> Self {
        let subjects = |object: &Object| {
            let by_tag = (0..case.objects.len()).filter(|target| {
                let name = format!("sha256-{}", digest(*target).hex());
                object
                    .tags
                    .iter()
                    .any(|tag| *tag == name || tag.starts_with(&format!("{name}.")))
            });
            by_tag.chain(object.subject).collect()
        };
        Self(
            case,
            case.objects.iter().map(subjects).collect(),
            case.known(),
        )
    }

    fn pending(&self, tag: &str) -> bool {
        match self.0.patterns.0 {
            "^pending-" => tag.starts_with("pending-"),
            "^(pending-|sha256-)" => tag.starts_with("pending-") || tag.starts_with("sha256-"),
            _ => true,
        }
    }

    /// By itself, whatever refers to it, and with these tags.
    fn may_go(&self, at: usize, tags: &BTreeSet<String>) -> bool {
        let case = self.0;
        let guarded = case.pins.contains(&at)
            || case.history.contains(&at)
            || case.others.contains(&at)
            || case.is_named(at)
            || !case.is_listed(at)
            || tags
                .iter()
                .any(|tag| case.promoted_tag.as_ref() == Some(tag))
            || tags.iter().any(|tag| case.patterns.1 && tag.len() == 40);
        let kind = if tags.is_empty() {
            case.untagged
        } else {
            tags.iter().all(|tag| self.pending(tag))
        };
        !guarded && kind && self.age(at).is_some_and(|age| age > case.older_than)
    }

    /// Of an index the youngest child's.
    fn age(&self, at: usize) -> Option<i64> {
        let object = &self.0.objects[at];
        if object.children.is_empty() {
            return object.age;
        }
        let mut youngest = object.age.unwrap_or(i64::MAX);
        for child in &object.children {
            youngest = youngest.min(self.age(*child)?);
        }
        Some(youngest)
    }

    /// What it belongs to.
    fn subjects(&self, at: usize) -> &[usize] {
        &self.1[at]
    }

    /// What is kept if these of the listing are: with everything that they consist of, as far as
    /// anybody knows.
    fn kept(&self, listed: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        let (case, known) = (self.0, &self.2);
        let all = 0..case.objects.len();
        let mut kept: BTreeSet<usize> = all
            .filter(|at| case.is_listed(*at) && listed(*at) || case.is_named(*at))
            .collect();
        let mut open: Vec<usize> = kept.iter().copied().collect();
        while let Some(at) = open.pop() {
            if !known.contains(&at) {
                continue;
            }
            for child in &case.objects[at].children {
                if kept.insert(*child) {
                    open.push(*child);
                }
            }
        }
        kept
    }

    /// What an index consists of, as far as anybody knows.
    fn parts(&self, at: usize) -> BTreeSet<usize> {
        let mut parts = BTreeSet::new();
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if self.2.contains(&at) {
                let children = self.0.objects[at].children.iter();
                open.extend(children.filter(|child| parts.insert(**child)));
            }
        }
        parts
    }

    /// Everything that may go, if nothing goes wrong: shrunk until nothing kept needs any of it.
    fn all(&self) -> BTreeSet<usize> {
        let count = self.0.objects.len();
        let mut going: BTreeSet<usize> = (0..count)
            .filter(|at| self.may_go(*at, &self.0.objects[*at].tags))
            .collect();
        loop {
            let kept = self.kept(|at| !going.contains(&at));
            let needed = |at: &usize| {
                kept.contains(at) || self.subjects(*at).iter().any(|at| kept.contains(at))
            };
            let stay: Vec<usize> = going.iter().copied().filter(needed).collect();
            if stay.is_empty() {
                return going;
            }
            going.retain(|at| !stay.contains(at));
        }
    }

    /// Whether no order lets every index go before its parts and everything before what belongs to
    /// it.
    fn circle(&self) -> bool {
        let mut left = self.all();
        loop {
            // Also what belongs to a part, which may be no version of its own.
            let before = |at: usize, other: usize| {
                let parts = self.parts(other);
                let belongs = |subject: &usize| *subject == other || parts.contains(subject);
                at != other && (parts.contains(&at) || self.subjects(at).iter().any(belongs))
            };
            let first = left
                .iter()
                .copied()
                .find(|at| !left.iter().any(|other| before(*at, *other)));
            match first {
                Some(at) => left.remove(&at),
                None => return !left.is_empty(),
            };
        }
    }

    /// Why nothing at all may be deleted.
    fn forbidden(&self) -> Option<&'static str> {
        let case = self.0;
        let ages: Vec<_> = (0..case.objects.len())
            .chain(case.twice)
            .filter(|at| case.is_listed(*at))
            .filter_map(|at| self.age(at))
            .collect();
        match () {
            () if case.missing_pin => Some("a pin that the listing lacks"),
            () if case.twice.is_some_and(|at| case.is_listed(at)) => {
                Some("an inconsistent listing")
            }
            () if case.unread.is_some_and(|at| self.2.contains(&at)) => {
                Some("an incomplete listing")
            }
            () if case.server.is_some_and(|ahead| ahead.abs() > 300) => Some("clocks"),
            () if ages.iter().any(|age| *age < 0) => Some("the future"),
            () if ages.len() >= 3 && ages.iter().all(|age| *age == ages[0]) => {
                Some("all dates alike")
            }
            () if self.all().len() > case.limit => Some("too many"),
            () if self.circle() => Some("a circle"),
            () => None,
        }
    }
}

fn check(seed: u64, runtime: &tokio::runtime::Runtime) -> Result<usize, TestCaseError> {
    let case = Case::new(seed);
    let (listing, guards, prune) = (case.listing(), case.guards(), case.prune());
    let older_than = Duration::from_secs(u64::try_from(case.older_than).unwrap() * DAY);
    let rules = Rules {
        prune: &prune,
        older_than,
        limit: case.limit,
    };
    let judged = judge(&listing, &guards, &rules);
    let there = case
        .objects
        .iter()
        .enumerate()
        .map(|(at, object)| (at, object.tags.clone()))
        .collect();
    let model = Model {
        case: &case,
        there: RefCell::new(there),
        deleted: RefCell::default(),
        troubled: RefCell::default(),
    };
    if let Ok(plan) = judged.approve(&listing) {
        runtime.block_on(apply::run(&plan, &model, &mut |_| ()));
    }
    let oracle = Oracle::of(&case);
    let (deleted, there) = (model.deleted.into_inner(), model.there.into_inner());
    if let Some(why) = oracle.forbidden() {
        prop_assert!(
            deleted.is_empty(),
            "{why}: deleted {deleted:?} of {case:#?}"
        );
        return Ok(0);
    }
    let gone: BTreeSet<usize> = deleted.iter().map(|(at, _)| *at).collect();
    let kept = oracle.kept(|at| there.contains_key(&at));
    for (at, tags) in &deleted {
        prop_assert!(oracle.may_go(*at, tags), "{at} with {tags:?} of {case:#?}");
        prop_assert!(
            !kept.contains(at),
            "{at} is part of what is there: {case:#?}"
        );
        let subject = oracle.subjects(*at).iter().find(|at| kept.contains(at));
        prop_assert!(
            subject.is_none(),
            "{at} belongs to {subject:?}, which is there: {case:#?}"
        );
    }
    if case.troubles.is_empty() {
        prop_assert_eq!(&gone, &oracle.all(), "{:#?}", case);
    }
    Ok(gone.len())
}

#[test]
fn nothing_protected_is_ever_deleted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let deleted = std::cell::Cell::new(0);
    let config = ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&any::<u64>(), |seed| {
        deleted.set(deleted.get() + check(seed, &runtime)?);
        Ok(())
    });
    outcome.unwrap();
    // Otherwise nothing was asked.
    assert!(deleted.get() > 3_000, "{}", deleted.get());
}
