//! Random packages, pins, histories, page boundaries, tags that move and faults: whatever happens,
//! nothing protected is ever deleted, and in quiet times exactly what may go.
//!
//! The oracle is written from the documentation (README, "Prune"): it asks of the outcome whether
//! it may be, and shares no code with what it judges.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use fastrand::Rng;
use proptest::prelude::*;
use repin::{
    config::{Prune, PruneBackend},
    forge::{Links, PackageVersion, VersionPages},
    image::{Digest, Tag},
    prune::{
        Child, Guards, Listing, Node, Refusal, Rules, Version,
        apply::{self, Applied, Now, Package},
        backends::Progress,
        judge,
    },
    source::{Clock, Deletion, NextPage, TagPages},
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
    /// The deletion is accepted, and nothing happens.
    Accepted,
    /// The deletion is answered with 404, and nothing happens.
    NotFound,
    /// The deletion happens, and its answer is lost.
    Lost,
}

impl Trouble {
    fn any(rng: &mut Rng) -> Self {
        [
            Self::Tagged,
            Self::Untagged,
            Self::Removed,
            Self::NotRead,
            Self::NotDeleted,
            Self::Refused,
            Self::Accepted,
            Self::NotFound,
            Self::Lost,
        ][rng.usize(..9)]
    }
}

/// What somebody else does to the package as a whole.
#[derive(Debug, Clone)]
enum Event {
    /// A tag goes to an object, wherever it was before.
    Move(String, usize),
    /// The late object is pushed.
    Push,
}

/// When an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// Before this page of the first listing.
    Page(usize),
    /// Between the first listing and the one before the first deletion.
    Between,
    /// Just before this deletion, after its version was read again.
    Deletion(usize),
}

/// How the server hands out a listing.
#[derive(Debug, Clone, Copy)]
enum Paging {
    /// Tags, in pages that link to the next one.
    Linked(usize),
    /// Tags, in pages without links.
    Unlinked(usize),
    /// All tags, whatever is asked for.
    Ignoring,
    /// Versions, the newest first, in pages that link to the next one.
    Versions(usize),
    /// Versions in pages without links.
    UnlinkedVersions(usize),
}

#[derive(Debug)]
struct Case {
    objects: Vec<Object>,
    /// The last object is only pushed by an event.
    late: bool,
    paging: Paging,
    event: Option<(Moment, Event)>,
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
                let tag = format!("sha256-{}{suffix}", digest(rng.usize(..count)).hex());
                // A tag names one version.
                if !objects
                    .iter()
                    .any(|object: &Object| object.tags.contains(&tag))
                {
                    tags.insert(tag);
                }
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
        let hit = some(&mut rng, if quiet { 0 } else { 40 });
        let troubles = hit
            .into_iter()
            .map(|at| (at, Trouble::any(&mut rng)))
            .collect();
        let paging = Self::paging(&mut rng);
        let event = (!quiet && rng.bool()).then(|| Self::event(&mut rng, count));
        let late = matches!(event, Some((_, Event::Push)));
        if late {
            objects.push(Object {
                tags: free.pop().map(str::to_owned).into_iter().collect(),
                age: Some(1),
                children: (0..rng.usize(1..3)).map(|_| rng.usize(..count)).collect(),
                subject: None,
            });
        }
        Self {
            late,
            paging,
            event,
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

    fn event(rng: &mut Rng, count: usize) -> (Moment, Event) {
        let moment = match rng.u8(..3) {
            0 => Moment::Page(rng.usize(1..4)),
            1 => Moment::Between,
            _ => Moment::Deletion(rng.usize(..3)),
        };
        let tag = TAGS[rng.usize(..TAGS.len())].to_owned();
        let event = if rng.bool() {
            Event::Push
        } else {
            Event::Move(tag, rng.usize(..count))
        };
        (moment, event)
    }

    /// Tags and versions in pages of one to three, or all tags at once.
    fn paging(rng: &mut Rng) -> Paging {
        let size = rng.usize(1..4);
        [
            Paging::Linked(size),
            Paging::Unlinked(size),
            Paging::Ignoring,
            Paging::Versions(size),
            Paging::UnlinkedVersions(size),
        ][rng.usize(..5)]
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

    /// How many objects there are before any event.
    fn count(&self) -> usize {
        self.objects.len() - usize::from(self.late)
    }

    /// What is there at first, with its tags.
    fn at_first(&self) -> There {
        let tags = |object: &Object| object.tags.clone();
        (0..self.count())
            .map(|at| (at, tags(&self.objects[at])))
            .collect()
    }

    /// What is there as a listing, each version with the tags that it was listed with.
    fn listing(&self, listed: &There) -> Listing {
        let server = self.server.map(|ahead| {
            let gap = Duration::from_secs(ahead.unsigned_abs());
            if ahead < 0 { now() - gap } else { now() + gap }
        });
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
        let version = |at: usize| Version {
            id: Some(at as u64),
            digest: digest(at),
            tags: parsed(&listed[&at]),
        };
        let twice = self.twice.filter(|at| listed.contains_key(at));
        Listing {
            versions: listed.keys().copied().chain(twice).map(version).collect(),
            nodes: (0..self.objects.len())
                .filter(|at| self.unread != Some(*at))
                .map(|at| (digest(at), node(&self.objects[at])))
                .collect(),
            dates: (0..self.objects.len())
                .filter_map(|at| Some((digest(at), self.made(at)?)))
                .collect::<HashMap<_, _>>(),
            clock: Clock {
                here: now(),
                server,
            },
            dangling: Vec::new(),
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
        Guards {
            pins,
            history: self.history.iter().map(|at| digest(*at)).collect(),
            tags: tags.collect(),
            ..Guards::default()
        }
    }

    fn prune(&self) -> Prune {
        Prune {
            backend: PruneBackend::Auto,
            tags: regex::Regex::new(self.patterns.0).unwrap(),
            older_than: Duration::from_secs(0),
            limit: 0,
            protect: if self.patterns.1 {
                vec![regex::Regex::new("^[0-9a-f]{40}$").unwrap()]
            } else {
                vec![]
            },
            untagged: self.untagged,
            also_pinned_in: Vec::new(),
        }
    }
}

/// Objects with their tags.
type There = BTreeMap<usize, BTreeSet<String>>;

fn parsed(tags: &BTreeSet<String>) -> Vec<Tag> {
    tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect()
}

/// The package while it is pruned.
struct Model<'c> {
    case: &'c Case,
    /// Tags of what is there.
    there: RefCell<There>,
    /// What we deleted, with the tags that it had.
    deleted: RefCell<Vec<(usize, BTreeSet<String>)>>,
    troubled: RefCell<BTreeSet<usize>>,
    /// The event happened, and then.
    happened: RefCell<Option<Moment>>,
    deletions: RefCell<usize>,
}

impl Model<'_> {
    fn at(version: &Version) -> usize {
        usize::try_from(version.id.unwrap()).unwrap()
    }

    /// The event, if this is its moment.
    fn moment(&self, now: Moment) {
        let Some((moment, event)) = &self.case.event else {
            return;
        };
        if *moment != now || self.happened.borrow().is_some() {
            return;
        }
        let mut there = self.there.borrow_mut();
        match event {
            // A tag that is put on a version in its last moment and was nowhere before is gone
            // without a trace.
            Event::Move(tag, _)
                if matches!(now, Moment::Deletion(_))
                    && !there.values().any(|tags| tags.contains(tag)) => {}
            Event::Move(tag, to) if there.contains_key(to) => {
                for tags in there.values_mut() {
                    tags.remove(tag);
                }
                there.get_mut(to).unwrap().insert(tag.clone());
            }
            Event::Move(..) => {}
            Event::Push => {
                let late = self.case.objects.len() - 1;
                // A registry takes no index whose parts it lacks.
                let parts = &self.case.objects[late].children;
                if parts.iter().all(|part| there.contains_key(part)) {
                    there.insert(late, self.case.objects[late].tags.clone());
                }
            }
        }
        *self.happened.borrow_mut() = Some(now);
    }

    /// Everything, page by page; an error where the pages show that the listing can't be relied on.
    fn read(&self, first: bool) -> Result<There, Refusal> {
        let turn = |page: usize| {
            if first {
                self.moment(Moment::Page(page));
            }
        };
        match self.case.paging {
            Paging::Versions(size) => self.versions(size, true, turn),
            Paging::UnlinkedVersions(size) => self.versions(size, false, turn),
            Paging::Linked(size) => Ok(self.tags(size, true, turn)),
            Paging::Unlinked(size) => Ok(self.tags(size, false, turn)),
            Paging::Ignoring => Ok(self.tags(usize::MAX, false, turn)),
        }
    }

    fn versions(&self, size: usize, linked: bool, turn: impl Fn(usize)) -> Result<There, Refusal> {
        let mut pages = VersionPages::new(size);
        for page in 0.. {
            turn(page);
            let there = self.there.borrow();
            let rows = there.iter().rev().skip(page * size).take(size);
            let rows = rows.map(|(at, tags)| PackageVersion {
                id: *at as u64,
                digest: digest(*at),
                tags: parsed(tags),
                created: String::new(),
            });
            let next = linked && (page + 1) * size < there.len();
            let links = Links { next, last: None };
            let more = pages.take(rows.collect(), links);
            if !more.map_err(|why| Refusal::later("listing", why))? {
                break;
            }
        }
        let row = |row: &PackageVersion| {
            let tags = row.tags.iter().map(ToString::to_string).collect();
            (usize::try_from(row.id).unwrap(), tags)
        };
        Ok(pages.all().iter().map(row).collect())
    }

    fn tags(&self, size: usize, linked: bool, turn: impl Fn(usize)) -> There {
        let mut pages = TagPages::default();
        let mut after = String::new();
        for page in 0.. {
            turn(page);
            let there = self.there.borrow();
            let all: BTreeSet<&String> = there.values().flatten().collect();
            let ignored = size == usize::MAX;
            let rest: Vec<_> = all.iter().filter(|tag| ignored || ***tag > after).collect();
            let some: Vec<_> = rest
                .iter()
                .take(size)
                .map(|tag| Tag::parse(tag).unwrap())
                .collect();
            let last = some.last().map(ToString::to_string);
            let link = (linked && rest.len() > size).then(|| last.unwrap());
            match pages.take(some, link).unwrap() {
                NextPage::Linked(tag) => after = tag,
                NextPage::After(tag) => after = tag.to_string(),
                NextPage::Complete => break,
            }
        }
        // What each of them names is asked for afterwards; what has no tag was asked for by digest.
        let there = self.there.borrow();
        let mut listed: There = there.keys().map(|at| (*at, BTreeSet::new())).collect();
        for tag in pages.tags().map(ToString::to_string) {
            let (at, _) = there.iter().find(|(_, tags)| tags.contains(&tag)).unwrap();
            listed.get_mut(at).unwrap().insert(tag);
        }
        listed
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
    async fn again(&self, _: &Listing, _: &Progress) -> Result<Listing, Refusal> {
        self.moment(Moment::Between);
        Ok(self.case.listing(&self.read(false)?))
    }

    async fn afterwards(
        &self,
        _: &Listing,
        _: &[Version],
        _: &Progress,
    ) -> Result<Listing, Refusal> {
        Ok(self.case.listing(&self.read(false)?))
    }

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
        let deletion = self.deletions.replace_with(|count| *count + 1);
        self.moment(Moment::Deletion(deletion));
        match self.case.troubles.get(&at) {
            Some(Trouble::NotDeleted) => return Err(Refusal::later("unavailable", "no answer")),
            Some(Trouble::Refused) => return Ok(Deletion::Refused("the last one".to_owned())),
            Some(Trouble::Accepted) => return Ok(Deletion::Deleted),
            Some(Trouble::NotFound) => return Ok(Deletion::Gone),
            _ => {}
        }
        let Some(tags) = self.there.borrow_mut().remove(&at) else {
            return Ok(Deletion::Gone);
        };
        self.deleted.borrow_mut().push((at, tags));
        if self.case.troubles.get(&at) == Some(&Trouble::Lost) {
            return Err(Refusal::later("unavailable", "no answer"));
        }
        Ok(Deletion::Deleted)
    }

    async fn is_gone(&self, version: &Version) -> Result<bool, Refusal> {
        Ok(!self.there.borrow().contains_key(&Self::at(version)))
    }

    fn grant(&self) -> &'static str {
        "the role Admin"
    }
}

/// What the documentation says, asked of the truth.
struct Oracle<'c>(&'c Case, Vec<Vec<usize>>);

impl<'c> Oracle<'c> {
    fn of(case: &'c Case) -> Self {
        let subjects = |object: &Object| {
            let by_tag = (0..case.count()).filter(|target| {
                let name = format!("sha256-{}", digest(*target).hex());
                object
                    .tags
                    .iter()
                    .any(|tag| *tag == name || tag.starts_with(&format!("{name}.")))
            });
            by_tag.chain(object.subject).collect()
        };
        Self(case, case.objects.iter().map(subjects).collect())
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

    /// Everything that may go, if nothing goes wrong: shrunk until nothing kept needs any of it.
    fn all(&self) -> BTreeSet<usize> {
        let count = self.0.count();
        let mut going: BTreeSet<usize> = (0..count)
            .filter(|at| self.may_go(*at, &self.0.objects[*at].tags))
            .collect();
        loop {
            let needed = |at: &usize| {
                let part = (0..count).any(|other| {
                    !going.contains(&other) && self.0.objects[other].children.contains(at)
                });
                part || self
                    .subjects(*at)
                    .iter()
                    .any(|subject| !going.contains(subject))
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
            let before = |at: usize, other: usize| {
                self.0.objects[other].children.contains(&at) || self.subjects(at).contains(&other)
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
        let ages: Vec<_> = (0..case.count())
            .chain(case.twice)
            .filter_map(|at| self.age(at))
            .collect();
        match () {
            () if case.missing_pin => Some("a pin that the listing lacks"),
            () if case.twice.is_some() => Some("an inconsistent listing"),
            () if case.unread.is_some() => Some("an incomplete listing"),
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

/// What came of a case.
struct Outcome {
    applied: Applied,
    /// What was deleted, with the tags that it had.
    deleted: Vec<(usize, BTreeSet<String>)>,
    there: There,
    /// When the event happened.
    happened: Option<Moment>,
}

fn carried_out(case: &Case, runtime: &tokio::runtime::Runtime) -> Outcome {
    let (guards, prune) = (case.guards(), case.prune());
    let rules = Rules {
        prune: &prune,
        older_than: Duration::from_secs(u64::try_from(case.older_than).unwrap() * DAY),
        limit: case.limit,
    };
    let model = Model {
        case,
        there: RefCell::new(case.at_first()),
        deleted: RefCell::default(),
        troubled: RefCell::default(),
        happened: RefCell::default(),
        deletions: RefCell::default(),
    };
    let mut applied = Applied::default();
    if let Ok(listed) = model.read(true) {
        let listing = case.listing(&listed);
        if let Ok(plan) = judge(&listing, &guards, &rules).approve(&listing) {
            let run = apply::Run {
                plan: &plan,
                listing: &listing,
                guards: &guards,
                rules: &rules,
                progress: &Progress::default(),
            };
            applied = runtime.block_on(apply::run(run, &model, &mut |_| ()));
        }
    }
    Outcome {
        applied,
        deleted: model.deleted.into_inner(),
        there: model.there.into_inner(),
        happened: model.happened.into_inner(),
    }
}

fn check(seed: u64, runtime: &tokio::runtime::Runtime) -> Result<usize, TestCaseError> {
    let case = Case::new(seed);
    let outcome = carried_out(&case, runtime);
    let Outcome {
        applied,
        deleted,
        there,
        happened,
    } = &outcome;
    let gone: BTreeSet<usize> = deleted.iter().map(|(at, _)| *at).collect();
    // The document lists what is gone, and all of it unless nobody could tell.
    let digests: BTreeSet<Digest> = applied
        .deleted
        .iter()
        .map(|candidate| candidate.version.digest)
        .collect();
    let truth: BTreeSet<Digest> = gone.iter().map(|at| digest(*at)).collect();
    prop_assert_eq!(&digests, &truth, "{:#?}", case);
    let oracle = Oracle::of(&case);
    // What is pushed while the first listing is read may change what is judged.
    let judged_another = matches!(happened, Some(Moment::Page(_)));
    let by_number = ["all dates alike", "too many", "a circle"];
    let forbidden = oracle
        .forbidden()
        .filter(|why| !(judged_another && by_number.contains(why)));
    if let Some(why) = forbidden {
        prop_assert!(
            deleted.is_empty(),
            "{why}: deleted {deleted:?} of {case:#?}"
        );
        return Ok(0);
    }
    // What happens within a deletion can't be prevented; then it is reported as a loss.
    let prevented = !matches!(happened, Some(Moment::Deletion(_)));
    let loud = !applied.missing.is_empty() || !applied.lost_tags.is_empty();
    let told = loud || applied.stopped.is_some();
    for (at, tags) in deleted {
        let may = oracle.may_go(*at, tags);
        // A tag that leaves a version during its deletion is not lost.
        let left =
            tags.is_subset(&case.objects[*at].tags) && oracle.may_go(*at, &case.objects[*at].tags);
        prop_assert!(
            may || !prevented && (told || left),
            "{at} with {tags:?} of {case:#?}"
        );
        let needs = |other: &usize| case.objects[*other].children.contains(at);
        prop_assert!(
            !there.keys().any(needs) || !prevented && loud,
            "{at} is part of what is there: {case:#?}"
        );
        let kept = oracle
            .subjects(*at)
            .iter()
            .find(|subject| there.contains_key(subject));
        prop_assert!(
            kept.is_none(),
            "{at} belongs to {kept:?}, which is there: {case:#?}"
        );
    }
    // Nothing is reported as lost that is not.
    if prevented && case.troubles.is_empty() {
        prop_assert!(!loud, "{applied:#?} of {case:#?}");
    }
    if case.troubles.is_empty() && case.event.is_none() {
        prop_assert_eq!(&gone, &oracle.all(), "{:#?}", case);
        prop_assert!(applied.stopped.is_none(), "{:#?} of {:#?}", applied, case);
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
    assert!(deleted.get() > 5_000, "{}", deleted.get());
}
