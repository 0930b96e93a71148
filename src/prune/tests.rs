//! Random packages, pins, texts, histories, page boundaries, moving tags and faults: a protected
//! version is never deleted, and without concurrent changes exactly the deletable versions are.
//!
//! Four tests of [`CASES`] cases check 20,000 cases in all, with fixed seeds. Each case is
//! generated from one number; a failure prints the case with its number.
//!
//! - Digests appear in split pins, in files that no glob matches, in UTF-16, and in text that only
//!   resembles a digest.
//! - Tags appear as words in any format, with and without the name of the image, and as parts of longer
//!   words.
//! - Text comes from the work tree, branches, messages of tags, pull requests of forks and other
//!   repositories.
//! - Versions are pinned with other names of the repository, on other branches and by other
//!   configurations.
//! - Revisions are promoted by titles and trailers of this set or another one, and by messages that
//!   only resemble them.
//! - A registry lists only tags, so an untagged version is listed only if its digest is requested.
//!   GitHub lists every version. Both list in pages.
//! - Other processes push, tag and delete at any time; responses are lost or wrong.
//!
//! The oracle is written from the documentation (docs/guides/prune.md): it checks whether the outcome is
//! allowed, and shares no code with the program.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use fastrand::Rng;

use super::{
    Child, DigestUse, Listing, Node, Place, Progress, ProtectionSet, Rules, TagUse, Version,
    apply::{self, Applied, CurrentState, Deleting, Package},
    judge,
};
use crate::{
    base::error::{Error, SourceText},
    config::{self, Config, ForkPolicy, Prune, PruneBackend, SetPath},
    core::{
        history::ClaimedTags,
        pins::{ImageNames, MentionFinder},
    },
    forge::{Links, PackageVersion, VersionPages},
    oci::{
        Digest, Tag,
        registry::{Clock, Deletion, NextPage, TagPages},
    },
};

/// The number of cases of each test.
const CASES: usize = 5_000;

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

/// The actual state of a manifest or index.
#[derive(Debug, Clone)]
struct Object {
    tags: BTreeSet<String>,
    /// Days ago.
    age: Option<i64>,
    children: Vec<usize>,
    subject: Option<usize>,
}

/// Declares an enum and `any`, which selects one of all its variants.
macro_rules! listed {
    ($(#[$doc:meta])* enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            fn any(rng: &mut Rng) -> Self {
                let all = [$(Self::$variant),+];
                all[rng.usize(..all.len())]
            }
        }
    };
}

listed! {
    /// A concurrent change of one object between listing and deletion, or a fault of the server.
    enum Fault {
        Tagged,
        Untagged,
        Removed,
        NotRead,
        NotDeleted,
        Refused,
        /// The server accepts the deletion and does not delete.
        Accepted,
        /// The server responds 404 and does not delete.
        NotFound,
        /// The server deletes, and the response is lost.
        Lost,
    }
}

/// A concurrent change of the package.
#[derive(Debug, Clone)]
enum Event {
    /// A tag moves to an object.
    Move(String, usize),
    /// The late object is pushed.
    Push,
}

/// The time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// Before this page of the first listing.
    Page(usize),
    /// Between the first listing and the listing before the first deletion.
    Between,
    /// Immediately before this deletion, after the version was checked.
    Deletion(usize),
}

/// The pagination of a listing.
#[derive(Debug, Clone, Copy)]
enum Paging {
    /// Tags, in pages that link to the next one.
    Linked(usize),
    /// Tags, in pages without links.
    Unlinked(usize),
    /// All tags, regardless of the request.
    Ignoring,
    /// Versions, the newest first, in pages that link to the next one.
    Versions(usize),
    /// Versions in pages without links.
    UnlinkedVersions(usize),
}

impl Paging {
    /// Whether the server lists only tags, like the OCI distribution API.
    fn is_of_tags(self) -> bool {
        !matches!(self, Self::Versions(_) | Self::UnlinkedVersions(_))
    }
}

listed! {
    /// The notation of a digest in a file.
    enum Form {
        /// A digest in a separate key, as in kustomize.
        Split,
        /// A whole reference in a file that no glob matches.
        Unmatched,
        /// 64 digits without an algorithm, as in a Dockerfile's argument.
        Bare,
        /// A split pin in UTF-16.
        Wide,
        /// One digit too many, one too few, or upper case: not a digest.
        Longer,
        Shorter,
        Upper,
    }
}

impl Form {
    fn is_digest(self) -> bool {
        !matches!(self, Self::Longer | Self::Shorter | Self::Upper)
    }

    /// Whether a registry that lists only tags receives a request for the digest.
    fn is_requested(self) -> bool {
        self.is_digest() && self != Self::Bare
    }

    fn write(self, digest: Digest) -> Vec<u8> {
        let hex = digest.hex();
        match self {
            Self::Split => format!("- name: app\n  digest: sha256:{hex}\n"),
            Self::Unmatched => format!("image: registry.example/app@sha256:{hex} # x\n"),
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

listed! {
    /// The notation of a tag in a file.
    enum TagForm {
        /// A whole reference.
        Whole,
        /// A whole reference in UTF-16.
        Wide,
        /// The reference at the end of a sentence.
        Sentence,
        /// The repository's name according to `sources`.
        Mirror,
        /// The image layout in `sources`.
        Layout,
        Kustomize,
        /// Helm: registry and repository in separate keys.
        Helm,
        /// A marked line.
        Marked,
        /// With a digest in addition.
        WithDigest,
        /// A whole reference in JSON with escaped characters.
        Escaped,
        /// In a string of JSON in a string of JSON.
        Json,
        TemplateAfter,
        WideLittle,
        WideBig,
        /// A word in a text that names no image.
        Word,
        OtherRepository,
        EscapedWord,
        WideWord,
        /// With the name of another image, and with a longer one.
        OtherName,
        LongerName,
        /// A longer word: not the tag.
        LongerTag,
        Prefixed,
    }
}

/// The configuration of the images, with the names that [`TagForm`] uses.
const CONFIG: &str = "version: 1
files: [a]
revision: { pattern: '[a-d]', tag: 'pending-{revision}' }
sources:
  registry.example/acme: https://mirror.example/copies
  alias.example: https://mirror.example/copies
  registry.example: oci:layouts
places:
  keys: { files: [a], entry: /settings, tag: build, digest: sum, image: app }
  marked: { files: [a] }
images:
  app: { repository: registry.example/acme/app, pins: 1 }
";

/// Another configuration of the repository.
const OTHER_CONFIG: &str = "version: 1
files: [b]
revision: { pattern: '[a-d]', tag: 'pending-{revision}' }
images:
  web: { repository: registry.example/acme/web, pins: 1 }
";
const OTHER_PATH: &str = "envs/eu/repin.yaml";

/// The revisions of the first tags.
const REVISIONS: [&str; 4] = ["a", "b", "c", "d"];

listed! {
    /// The message of a commit.
    enum ClaimForm {
        /// The title of the configuration.
        Title,
        /// The title of the other configuration, the only link between it and the revision.
        OtherTitle,
        /// The title of a squash merge.
        SquashTitle,
        /// A trailer without a path.
        Trailer,
        /// A trailer with the path of the other configuration, in the middle of the body.
        OtherTrailer,
        /// The title of an unknown set.
        UnknownTitle,
        /// A title in the body.
        TitleInBody,
        /// A revision that does not match the pattern.
        OtherRevision,
    }
}

impl ClaimForm {
    fn is_claim(self) -> bool {
        !matches!(
            self,
            Self::UnknownTitle | Self::TitleInBody | Self::OtherRevision
        )
    }

    fn write(self, revision: &str) -> String {
        match self {
            Self::Title => format!("promote: images @{revision}"),
            Self::OtherTitle => format!("promote: envs-eu @{revision}"),
            Self::SquashTitle => format!("promote: envs-eu @{revision} (#12)"),
            Self::Trailer => format!("deploy\n\nRepin-Set: {revision}\n"),
            Self::OtherTrailer => {
                format!("deploy\n\nmore\n\nRepin-Set: {revision} ({OTHER_PATH})\n\nend\n")
            }
            Self::UnknownTitle => format!("promote: envs-us @{revision}"),
            Self::TitleInBody => format!("deploy\n\npromote: envs-eu @{revision}\n"),
            Self::OtherRevision => format!("promote: envs-eu @{revision}{revision}"),
        }
    }
}

/// The tags that only protect in a text that names the image.
const COMMON: [&str; 3] = ["latest", "v1", "edge"];

impl TagForm {
    fn is_reference(self, tag: &str) -> bool {
        match self {
            Self::LongerTag | Self::Prefixed => false,
            Self::Word
            | Self::EscapedWord
            | Self::WideWord
            | Self::OtherName
            | Self::LongerName => !COMMON.contains(&tag),
            _ => true,
        }
    }

    fn write(self, tag: &str) -> Vec<u8> {
        let reference = format!("registry.example/acme/app:{tag}");
        let values = format!("repository: registry.example/acme/app\n  tag: {tag}\n");
        let little = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let escaped = |text: &str| -> String {
            let escape = |byte: u8| format!("\\u{byte:04x}");
            text.bytes().map(escape).collect()
        };
        match self {
            Self::Whole => format!("image: {reference}\n"),
            Self::Wide => return big(&format!("image = {reference}\r\n")),
            Self::Sentence => format!("Run {reference}.\n"),
            Self::Mirror => format!("FROM mirror.example/copies/app:{tag} AS build\n"),
            Self::Layout => format!("skopeo copy oci:layouts/acme/app:{tag} dir:x\n"),
            Self::Kustomize => {
                format!(
                    "images:\n- name: x\n  newName: registry.example/acme/app\n  newTag: '{tag}'\n"
                )
            }
            Self::Helm => {
                format!("x: {{ registry: registry.example, repository: acme/app, tag: {tag} }}\n")
            }
            Self::Marked => format!("version = \"{tag}\" # repin: app\n"),
            Self::WithDigest => format!("image: {reference}@{}\n", Digest::of(b"nowhere")),
            Self::Escaped => format!("{{\"image\": \"{}\"}}\n", escaped(&reference)),
            Self::Json => format!(
                "{{\"a\": \"{{\\\"b\\\": \\\"{}\\\"}}\"}}\n",
                values.replace('\n', "\\\\n")
            ),
            Self::TemplateAfter => format!("x:\n  {values}{{{{- end }}}}\ny: 1\n"),
            Self::WideLittle => return little(&format!("\u{feff}x:\n  {values}")),
            Self::WideBig => return big(&values),
            Self::OtherRepository => format!("image: other.example/acme/app:{tag}\n"),
            Self::Word => format!("tag: {tag}\n"),
            Self::EscapedWord => format!("tag: \"{}\"\n", escaped(tag)),
            Self::WideWord => return little(&format!("\u{feff}tag: {tag}\u{4e0a}\n")),
            Self::OtherName => format!("image: registry.example/acme/web:{tag}\n"),
            Self::LongerName => format!("image: registry.example/acme/apps:{tag}\n"),
            Self::LongerTag => format!("image: {reference}0\n"),
            Self::Prefixed => format!("app: x{tag}\n"),
        }
        .into_bytes()
    }
}

/// The origin of a text.
const TREES: [&str; 5] = [
    "in the work tree",
    "on release of origin",
    "at the tag v1 of origin",
    "in pull request #7 of origin",
    "on main of other.git",
];

fn configs() -> &'static [Config; 2] {
    static CONFIGS: LazyLock<[Config; 2]> = LazyLock::new(|| {
        let parse = |text: &str, path: SetPath| {
            let source = SourceText {
                name: path.to_string(),
                text: text.into(),
            };
            config::parse(&source, Path::new("/"), &path).unwrap()
        };
        let other = SetPath::new(Path::new(OTHER_PATH)).unwrap();
        [parse(CONFIG, SetPath::top()), parse(OTHER_CONFIG, other)]
    });
    &CONFIGS
}

/// The search for the tags that a pattern matches.
fn finder(pattern: &'static str) -> Arc<MentionFinder> {
    thread_local! {
        static FINDERS: RefCell<HashMap<&'static str, Arc<MentionFinder>>> = RefCell::default();
    }
    FINDERS.with_borrow_mut(|finders| {
        let finder = finders.entry(pattern).or_insert_with(|| {
            let config = &configs()[0];
            let locations = ["place".to_owned()];
            let names = ImageNames::new(config, &config.sources, &locations, configs());
            Arc::new(MentionFinder::new(&self::pattern(pattern), names))
        });
        Arc::clone(finder)
    })
}

#[derive(Debug)]
struct Case {
    #[expect(dead_code, reason = "`Debug` prints the seed of a failed case")]
    seed: u64,
    objects: Vec<Object>,
    /// Only an event pushes the last object.
    late: bool,
    paging: Paging,
    event: Option<(Moment, Event)>,
    /// Files, each with a digest.
    text: Vec<(usize, Form)>,
    /// Files, each with a tag, and their tree.
    references: Vec<(String, TagForm, &'static str)>,
    /// Pinned with another name of the repository.
    others: BTreeSet<usize>,
    /// Pinned on another branch, or by another configuration.
    past: BTreeSet<usize>,
    pins: BTreeSet<usize>,
    missing_pin: bool,
    history: BTreeSet<usize>,
    /// Messages of commits, each with a revision.
    claims: Vec<(&'static str, ClaimForm)>,
    patterns: (&'static str, bool),
    untagged: bool,
    older_than: i64,
    limit: usize,
    /// The number of seconds that the server's clock is ahead; `None` if the server reports no
    /// time.
    server: Option<i64>,
    /// The listing lacks the manifest of this object.
    unread: Option<usize>,
    /// The listing contains this object twice.
    twice: Option<usize>,
    faults: BTreeMap<usize, Fault>,
}

fn digest(at: usize) -> Digest {
    static ALL: LazyLock<Vec<Digest>> = LazyLock::new(|| {
        (0..16)
            .map(|at| Digest::of(format!("object {at}").as_bytes()))
            .collect()
    });
    ALL[at]
}

/// Cached: a compilation takes longer than a case.
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
        let mut objects = Self::objects(&mut rng, count, quiet, &mut free);
        let event = (!quiet && rng.bool()).then(|| Self::event(&mut rng, count));
        let late = matches!(event, Some((_, Event::Push)));
        if late {
            let tag = free.pop().filter(|_| rng.u8(..) < 200);
            objects.push(Object {
                tags: tag.map(str::to_owned).into_iter().collect(),
                age: Some(rng.i64(1..60)),
                children: (0..rng.usize(1..3)).map(|_| rng.usize(..count)).collect(),
                subject: None,
            });
        }
        let all = objects.len();
        let some = |rng: &mut Rng, count: usize, share: u8| {
            (0..count)
                .filter(|_| rng.u8(..) < share)
                .collect::<BTreeSet<_>>()
        };
        let any =
            |rng: &mut Rng, share: u8| (!quiet && rng.u8(..) < share).then(|| rng.usize(..count));
        let text = some(&mut rng, all, 30).into_iter();
        Self {
            seed,
            late,
            paging: Self::paging(&mut rng),
            event,
            text: text.map(|at| (at, Form::any(&mut rng))).collect(),
            references: (0..rng.usize(..4).saturating_sub(1))
                .map(|_| Self::reference(&mut rng))
                .collect(),
            others: some(&mut rng, all, 15),
            past: some(&mut rng, all, 10),
            pins: some(&mut rng, count, 20),
            missing_pin: !quiet && rng.u8(..) < 10,
            history: some(&mut rng, all, 20),
            claims: (0..rng.usize(..5).saturating_sub(2))
                .map(|_| Self::claim(&mut rng))
                .collect(),
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
            faults: some(&mut rng, count, if quiet { 0 } else { 40 })
                .into_iter()
                .map(|at| (at, Fault::any(&mut rng)))
                .collect(),
            objects,
        }
    }

    fn objects(rng: &mut Rng, count: usize, quiet: bool, free: &mut Vec<&str>) -> Vec<Object> {
        let same_age = rng.u8(..) < 8;
        let mut objects: Vec<Object> = Vec::new();
        for at in 0..count {
            let mut tags = BTreeSet::new();
            for _ in 0..[0, 0, 1, 1, 1, 2][rng.usize(..6)] {
                tags.extend(free.pop().map(str::to_owned));
            }
            if at > 0 && rng.u8(..) < 30 {
                let suffix = ["", ".sig", ".att", ".sbom"][rng.usize(..4)];
                let tag = format!("sha256-{}{suffix}", digest(rng.usize(..count)).hex());
                // A tag refers to one version.
                if !objects.iter().any(|object| object.tags.contains(&tag)) {
                    tags.insert(tag);
                }
            }
            let children = if at > 0 && rng.u8(..) < 90 {
                (0..rng.usize(1..3)).map(|_| rng.usize(..at)).collect()
            } else {
                vec![]
            };
            let subject = (rng.u8(..) < 40)
                .then(|| rng.usize(..count))
                .filter(|subject| *subject != at);
            let age = match rng.u8(..) {
                _ if same_age => Some(40),
                ..20 => None,
                20..26 if !quiet => Some(-2),
                _ => Some(rng.i64(1..60)),
            };
            objects.push(Object {
                tags,
                age,
                children,
                subject,
            });
        }
        objects
    }

    fn reference(rng: &mut Rng) -> (String, TagForm, &'static str) {
        let tag = TAGS[rng.usize(..TAGS.len())].to_owned();
        let form = TagForm::any(rng);
        (tag, form, TREES[rng.usize(..TREES.len())])
    }

    fn claim(rng: &mut Rng) -> (&'static str, ClaimForm) {
        let revision = REVISIONS[rng.usize(..REVISIONS.len())];
        (revision, ClaimForm::any(rng))
    }

    fn event(rng: &mut Rng, count: usize) -> (Moment, Event) {
        let trigger = match rng.u8(..3) {
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
        (trigger, event)
    }

    /// Tags or versions in small pages, or all tags at once. Pages of versions without links have
    /// at least two entries: a page that repeats after exactly one page of pushes would be taken
    /// for that of a server that ignores the page number.
    fn paging(rng: &mut Rng) -> Paging {
        let size = rng.usize(1..4);
        [
            Paging::Linked(size),
            Paging::Unlinked(size),
            Paging::Ignoring,
            Paging::Versions(size),
            Paging::UnlinkedVersions(size + 1),
        ][rng.usize(..5)]
    }

    fn created(&self, at: usize) -> Option<SystemTime> {
        let days = self.objects[at].age?;
        let seconds = Duration::from_secs(days.unsigned_abs() * DAY);
        Some(if days < 0 {
            now() + seconds
        } else {
            now() - seconds
        })
    }

    /// The number of objects before any event.
    fn count(&self) -> usize {
        self.objects.len() - usize::from(self.late)
    }

    /// The objects before any event, with their tags.
    fn at_first(&self) -> Objects {
        let tags = |object: &Object| object.tags.clone();
        (0..self.count())
            .map(|at| (at, tags(&self.objects[at])))
            .collect()
    }

    /// Whether the first listing of a registry that lists only tags requests the digest.
    fn is_requested(&self, at: usize) -> bool {
        let pinned = [&self.pins, &self.history, &self.others, &self.past];
        let text = |(named, form): &(usize, Form)| *named == at && form.is_requested();
        pinned.iter().any(|set| set.contains(&at)) || self.text.iter().any(text)
    }

    /// Whether a file contains the digest.
    fn is_in_text(&self, at: usize) -> bool {
        let names = |(named, form): &(usize, Form)| *named == at && form.is_digest();
        self.text.iter().any(names)
    }

    /// Whether a file refers to the tag.
    fn is_used(&self, tag: &str) -> bool {
        let uses =
            |(used, form, _): &(String, TagForm, &str)| used == tag && form.is_reference(tag);
        self.references.iter().any(uses)
    }

    /// Whether a commit claims the revision with the tag.
    fn is_promoted(&self, tag: &str) -> bool {
        let mut claims = self.claims.iter();
        claims.any(|(revision, form)| form.is_claim() && tag == format!("pending-{revision}"))
    }

    fn is_index(&self, at: usize) -> bool {
        !self.objects[at].children.is_empty()
    }

    /// `these` and their parts at any depth, by the indexes in `known`, or by every index if it is
    /// `None`.
    fn below(&self, these: BTreeSet<usize>, known: Option<&BTreeSet<usize>>) -> BTreeSet<usize> {
        let mut open: Vec<usize> = these.iter().copied().collect();
        let mut all = these;
        while let Some(at) = open.pop() {
            if known.is_none_or(|known| known.contains(&at)) {
                let children = self.objects[at].children.iter();
                open.extend(children.filter(|child| all.insert(**child)));
            }
        }
        all
    }

    /// The listed objects and the indexes below them: the objects of which a listing fetches the
    /// manifest.
    fn known(&self, listed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut known = self.below(listed.clone(), None);
        known.retain(|at| listed.contains(at) || self.is_index(*at));
        known
    }

    /// A listing of `listed`. Like the program's backends, it reuses the manifests of `before` and
    /// fetches no other date.
    fn listing(&self, listed: &Objects, before: Option<&Listing>) -> Listing {
        let server = self.server.map(|ahead| {
            let gap = Duration::from_secs(ahead.unsigned_abs());
            if ahead < 0 { now() - gap } else { now() + gap }
        });
        let node = |object: &Object| {
            let child = |at: &usize| Child {
                digest: digest(*at),
                is_index: self.is_index(*at),
                is_attestation: false,
                is_manifest: true,
                platform: None,
            };
            Node {
                children: object.children.iter().map(child).collect(),
                subject: object.subject.map(digest),
                config: None,
            }
        };
        let version = |at: usize| Version {
            id: Some(at as u64),
            digest: digest(at),
            tags: parsed(&listed[&at]),
        };
        let twice = self.twice.filter(|at| listed.contains_key(at));
        let all: BTreeSet<usize> = listed.keys().copied().collect();
        let known = self.known(&all).into_iter();
        let dates = || {
            let created = |at: &usize| Some((digest(*at), self.created(*at)?));
            self.below(all, None).iter().filter_map(created).collect()
        };
        let mut nodes = before.map_or_else(HashMap::new, |before| before.nodes.clone());
        nodes.extend(
            known
                .filter(|at| self.unread != Some(*at))
                .map(|at| (digest(at), node(&self.objects[at]))),
        );
        let versions = listed.keys().copied().chain(twice).map(version).collect();
        let clock = Clock {
            local: now(),
            server,
        };
        Listing {
            nodes,
            dates: before.map_or_else(dates, |before| before.dates.clone()),
            ..Listing::new(versions, clock)
        }
    }

    fn protection(&self) -> ProtectionSet {
        let mut set = ProtectionSet::default();
        let mut add = |digest, usage, place: &str| {
            let place = Place::Text(place.to_owned());
            set.digests.insert((digest, usage, None), place);
        };
        for (objects, usage, place) in [
            (&self.pins, DigestUse::Pin, "somewhere"),
            (&self.history, DigestUse::History, "in promotion history"),
            (&self.others, DigestUse::OtherPin, "as another"),
            (&self.past, DigestUse::PastPin, "on release"),
        ] {
            for at in objects {
                add(digest(*at), usage, place);
            }
        }
        if self.missing_pin {
            add(Digest::of(b"nowhere"), DigestUse::Pin, "somewhere");
        }
        let mut claimed = ClaimedTags::default();
        for config in configs() {
            claimed.add_config(config);
        }
        for (revision, form) in &self.claims {
            claimed.add_message(&form.write(revision));
        }
        for tag in claimed.into_tags().into_keys() {
            let place = Place::Text("then".to_owned());
            set.tags.insert((tag, TagUse::Revision, None), place);
        }
        let finder = finder(self.patterns.0);
        for (at, form) in &self.text {
            let content = form.write(digest(*at));
            let found = finder.read(content.as_slice(), &mut Vec::new()).unwrap();
            set.add_mentions(b"file", "somewhere", &found);
        }
        for (tag, form, tree) in &self.references {
            let content = form.write(tag);
            let found = finder.read(content.as_slice(), &mut Vec::new()).unwrap();
            // Each tree may have been searched separately.
            let mut more = ProtectionSet::default();
            more.add_mentions(b"file", tree, &found);
            set.merge(more);
        }
        set
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
            also_pinned_in: Vec::new(),
            forks: ForkPolicy::Warn,
        }
    }
}

/// Objects with their tags.
type Objects = BTreeMap<usize, BTreeSet<String>>;

fn parsed(tags: &BTreeSet<String>) -> Vec<Tag> {
    tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect()
}

/// The package while it is pruned.
struct Model<'c> {
    case: &'c Case,
    /// The existing objects.
    present: RefCell<Objects>,
    /// Every tag that was ever listed.
    listed: RefCell<BTreeSet<String>>,
    /// The deleted objects, with their tags at the last check and at the deletion.
    deleted: RefCell<Vec<(usize, BTreeSet<String>)>>,
    faulted: RefCell<BTreeSet<usize>>,
    /// The time of the event, if it happened.
    event_time: RefCell<Option<Moment>>,
    deletions: RefCell<usize>,
}

impl Model<'_> {
    fn at(version: &Version) -> usize {
        usize::try_from(version.id.unwrap()).unwrap()
    }

    /// Performs the event, if this is its time.
    fn trigger(&self, now: Moment) {
        let Some((trigger, event)) = &self.case.event else {
            return;
        };
        if *trigger != now || self.event_time.borrow().is_some() {
            return;
        }
        let mut present = self.present.borrow_mut();
        match event {
            // A tag that is added immediately before the deletion and was on no other version
            // disappears without a trace.
            Event::Move(tag, _)
                if matches!(now, Moment::Deletion(_))
                    && !present.values().any(|tags| tags.contains(tag)) => {}
            Event::Move(tag, to) if present.contains_key(to) => {
                for tags in present.values_mut() {
                    tags.remove(tag);
                }
                present.get_mut(to).unwrap().insert(tag.clone());
            }
            Event::Move(..) => {}
            Event::Push => {
                let late = self.case.objects.len() - 1;
                // A registry rejects an index with missing parts.
                let parts = &self.case.objects[late].children;
                if parts.iter().all(|part| present.contains_key(part)) {
                    present.insert(late, self.case.objects[late].tags.clone());
                }
            }
        }
        *self.event_time.borrow_mut() = Some(now);
    }

    /// The first listing.
    fn first(&self) -> Result<Listing, Error> {
        let listed = self.read(true, &|at| self.case.is_requested(at))?;
        Ok(self.case.listing(&listed, None))
    }

    /// A later listing. A registry that lists only tags receives requests for the digests of `keep`
    /// and of the versions that had no tag in `before`.
    fn further(&self, before: &Listing, keep: &[Version]) -> Result<Listing, Error> {
        let untagged = before.versions.iter().filter(|known| known.tags.is_empty());
        let requested: BTreeSet<usize> = untagged.chain(keep).map(Self::at).collect();
        let listed = self.read(false, &|at| requested.contains(&at))?;
        Ok(self.case.listing(&listed, Some(before)))
    }

    /// Reads all pages; fails if they contradict one another. A registry that lists only tags
    /// receives requests for the digests in `requested`.
    fn read(&self, first: bool, requested: &dyn Fn(usize) -> bool) -> Result<Objects, Error> {
        let turn = |page: usize| {
            if first {
                self.trigger(Moment::Page(page));
            }
        };
        match self.case.paging {
            Paging::Versions(size) => self.versions(size, true, turn),
            Paging::UnlinkedVersions(size) => self.versions(size, false, turn),
            Paging::Linked(size) => Ok(self.tags(size, true, turn, requested)),
            Paging::Unlinked(size) => Ok(self.tags(size, false, turn, requested)),
            Paging::Ignoring => Ok(self.tags(usize::MAX, false, turn, requested)),
        }
    }

    fn versions(&self, size: usize, linked: bool, turn: impl Fn(usize)) -> Result<Objects, Error> {
        let mut pages = VersionPages::new(size);
        for page in 0.. {
            turn(page);
            let present = self.present.borrow();
            let rows = present.iter().rev().skip(page * size).take(size);
            let rows = rows.map(|(at, tags)| PackageVersion {
                id: *at as u64,
                digest: digest(*at),
                tags: parsed(tags),
                created: String::new(),
            });
            let next = linked && (page + 1) * size < present.len();
            let links = Links { next, last: None };
            let more = pages.add_page(rows.collect(), links);
            if !more.map_err(|why| Error::unavailable("listing", why))? {
                break;
            }
        }
        let row = |row: &PackageVersion| {
            let tags = row.tags.iter().map(ToString::to_string).collect();
            (usize::try_from(row.id).unwrap(), tags)
        };
        Ok(pages.all().iter().map(row).collect())
    }

    fn tags(
        &self,
        size: usize,
        linked: bool,
        turn: impl Fn(usize),
        requested: &dyn Fn(usize) -> bool,
    ) -> Objects {
        let mut pages = TagPages::default();
        let mut after = String::new();
        for page in 0.. {
            turn(page);
            let present = self.present.borrow();
            let all: BTreeSet<&String> = present.values().flatten().collect();
            let ignored = size == usize::MAX;
            let rest: Vec<_> = all.iter().filter(|tag| ignored || ***tag > after).collect();
            let some: Vec<_> = rest
                .iter()
                .take(size)
                .map(|tag| Tag::parse(tag).unwrap())
                .collect();
            let last = some.last().map(ToString::to_string);
            let link = (linked && rest.len() > size).then(|| last.unwrap());
            match pages.add(some, link).unwrap() {
                NextPage::Linked(tag) => after = tag,
                NextPage::After(tag) => after = tag.to_string(),
                NextPage::Complete => break,
            }
        }
        // The tags are resolved after the last page, before the digests are requested.
        let present = self.present.borrow();
        let mut listed = Objects::new();
        for tag in pages.tags().map(ToString::to_string) {
            let (at, _) = present
                .iter()
                .find(|(_, tags)| tags.contains(&tag))
                .unwrap();
            self.listed.borrow_mut().insert(tag.clone());
            listed.entry(*at).or_default().insert(tag);
        }
        for at in present.keys().filter(|at| requested(**at)) {
            listed.entry(*at).or_default();
        }
        listed
    }

    /// Performs the concurrent change of the object.
    fn interfere(&self, at: usize) {
        if !self.faulted.borrow_mut().insert(at) {
            return;
        }
        let mut present = self.present.borrow_mut();
        let Some(tags) = present.get_mut(&at) else {
            return;
        };
        match self.case.faults.get(&at) {
            Some(Fault::Tagged) => drop(tags.replace("released".to_owned())),
            Some(Fault::Untagged) => tags.clear(),
            Some(Fault::Removed) => drop(present.remove(&at)),
            _ => {}
        }
    }

    /// Resolves the version's own tags and new tags, like the registry backend, which does not see
    /// a tag that moved to this version from another one.
    fn check_tags(&self, at: usize, own: &BTreeSet<String>) -> CurrentState {
        let present = self.present.borrow();
        let here = present.get(&at).cloned().unwrap_or_default();
        let elsewhere = |tag: &String| {
            let mut others = present.iter().filter(|(other, _)| **other != at);
            others.any(|(_, tags)| tags.contains(tag))
        };
        let new = here.iter().any(|tag| !self.listed.borrow().contains(tag));
        match own.intersection(&here).count() {
            _ if new || own.iter().any(elsewhere) => CurrentState::Changed("other tags".to_owned()),
            0 => CurrentState::Missing,
            all if all == own.len() => CurrentState::Unchanged,
            _ => CurrentState::Changed("some of its tags are missing".to_owned()),
        }
    }
}

impl Package for Model<'_> {
    async fn relist(&self, first: &Listing, _: &Rules<'_>, _: &Progress) -> Result<Listing, Error> {
        self.trigger(Moment::Between);
        self.further(first, &[])
    }

    async fn list_after_deletion(
        &self,
        before: &Listing,
        keep: &[Version],
        _: &Progress,
    ) -> Result<Listing, Error> {
        self.further(before, keep)
    }

    async fn current_state(&self, version: &Version) -> Result<CurrentState, Error> {
        let at = Self::at(version);
        self.interfere(at);
        if self.case.faults.get(&at) == Some(&Fault::NotRead) {
            return Err(Error::unavailable("registry", "timeout"));
        }
        let tags: BTreeSet<_> = version.tags.iter().map(ToString::to_string).collect();
        if self.case.paging.is_of_tags() {
            return Ok(self.check_tags(at, &tags));
        }
        Ok(match self.present.borrow().get(&at) {
            None => CurrentState::Missing,
            Some(now) if *now == tags => CurrentState::Unchanged,
            Some(_) => CurrentState::Changed("other tags".to_owned()),
        })
    }

    async fn delete(&self, version: &Version, _: &Deleting<'_>) -> Result<Deletion, Error> {
        let at = Self::at(version);
        let deletion = self.deletions.replace_with(|count| *count + 1);
        self.trigger(Moment::Deletion(deletion));
        match self.case.faults.get(&at) {
            Some(Fault::NotDeleted) => {
                return Err(Error::unavailable("registry", "timeout"));
            }
            Some(Fault::Refused) => {
                return Ok(Deletion::Refused("the last one".to_owned()));
            }
            Some(Fault::Accepted) => return Ok(Deletion::Deleted),
            Some(Fault::NotFound) => return Ok(Deletion::Missing),
            _ => {}
        }
        let Some(mut tags) = self.present.borrow_mut().remove(&at) else {
            return Ok(Deletion::Missing);
        };
        tags.extend(version.tags.iter().map(ToString::to_string));
        self.deleted.borrow_mut().push((at, tags));
        if self.case.faults.get(&at) == Some(&Fault::Lost) {
            return Err(Error::unavailable("registry", "timeout"));
        }
        Ok(Deletion::Deleted)
    }

    async fn is_deleted(&self, version: &Version) -> Result<bool, Error> {
        Ok(!self.present.borrow().contains_key(&Self::at(version)))
    }

    fn missing_permission(&self) -> &'static str {
        "the role Admin"
    }
}

/// The rules of the documentation, applied to the actual state.
struct Oracle<'c> {
    case: &'c Case,
    /// The objects at the end of the first listing.
    first: Objects,
    /// The subjects of each object.
    subjects: Vec<Vec<usize>>,
    /// The objects of which the first listing fetched the manifest.
    known: BTreeSet<usize>,
}

impl<'c> Oracle<'c> {
    fn new(case: &'c Case, first: Objects) -> Self {
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
        let mut oracle = Self {
            case,
            first,
            subjects: case.objects.iter().map(subjects).collect(),
            known: BTreeSet::new(),
        };
        oracle.known = case.known(&oracle.seen(&oracle.first));
        oracle
    }

    /// Whether a listing contains the object. A registry that lists only tags receives requests for
    /// untagged digests in the first listing only: an untagged push during the run is not noticed.
    fn is_seen(&self, at: usize, tags: &BTreeSet<String>) -> bool {
        let requested = || self.first.contains_key(&at) && self.case.is_requested(at);
        !self.case.paging.is_of_tags() || !tags.is_empty() || requested()
    }

    /// The objects of `present` that a listing contains.
    fn seen(&self, present: &Objects) -> BTreeSet<usize> {
        let seen = present.iter().filter(|(at, tags)| self.is_seen(**at, tags));
        seen.map(|(at, _)| *at).collect()
    }

    fn pending(&self, tag: &str) -> bool {
        match self.case.patterns.0 {
            "^pending-" => tag.starts_with("pending-"),
            "^(pending-|sha256-)" => tag.starts_with("pending-") || tag.starts_with("sha256-"),
            _ => true,
        }
    }

    /// Whether the object with these tags may be deleted, apart from objects that refer to it.
    fn may_go(&self, at: usize, tags: &BTreeSet<String>) -> bool {
        let case = self.case;
        let guarded = case.pins.contains(&at)
            || case.history.contains(&at)
            || case.others.contains(&at)
            || case.past.contains(&at)
            || case.is_in_text(at)
            || tags.iter().any(|tag| case.is_used(tag))
            || !self.is_seen(at, tags)
            || tags.iter().any(|tag| case.is_promoted(tag))
            || tags.iter().any(|tag| case.patterns.1 && tag.len() == 40);
        let kind = if tags.is_empty() {
            case.untagged
        } else {
            tags.iter().all(|tag| self.pending(tag))
        };
        !guarded && kind && self.age(at).is_some_and(|age| age > case.older_than)
    }

    /// The age of the youngest child if the object is an index.
    fn age(&self, at: usize) -> Option<i64> {
        let object = &self.case.objects[at];
        if object.children.is_empty() {
            return object.age;
        }
        let mut youngest = object.age.unwrap_or(i64::MAX);
        for child in &object.children {
            youngest = youngest.min(self.age(*child)?);
        }
        Some(youngest)
    }

    /// The protected objects if `stay` are: in addition, objects in files, the known indexes that
    /// contain objects in use, the objects to which these are attached, and the known parts of all of these.
    fn protected(&self, mut stay: BTreeSet<usize>, known: &BTreeSet<usize>) -> BTreeSet<usize> {
        let case = self.case;
        stay.extend((0..case.objects.len()).filter(|at| case.is_in_text(*at)));
        let seen = self.seen(&self.first);
        // An index is protected if an object in it, at any depth, is in use by its digest.
        let mut used: BTreeSet<usize> = (0..case.objects.len())
            .filter(|at| {
                let pinned = [&case.pins, &case.history, &case.others, &case.past];
                case.is_in_text(*at) || pinned.iter().any(|set| set.contains(at))
            })
            .collect();
        loop {
            let contains = |at: &usize| {
                case.objects[*at]
                    .children
                    .iter()
                    .any(|at| used.contains(at))
            };
            let mut parents: Vec<_> = known.iter().copied().filter(contains).collect();
            let attached = used.intersection(&seen);
            parents.extend(attached.flat_map(|at| &self.subjects[*at]));
            let before = used.len();
            used.extend(&parents);
            stay.extend(parents);
            if used.len() == before {
                return case.below(stay, Some(known));
            }
        }
    }

    /// The deletable objects without faults: shrunk until no protected object needs any of them.
    fn all(&self) -> BTreeSet<usize> {
        let seen = self.seen(&self.first);
        let mut going = seen.clone();
        going.retain(|at| self.may_go(*at, &self.first[at]));
        loop {
            let protected = self.protected(&seen - &going, &self.known);
            let needed = |at: &usize| {
                protected.contains(at) || self.subjects[*at].iter().any(|at| protected.contains(at))
            };
            let stay: Vec<usize> = going.iter().copied().filter(needed).collect();
            if stay.is_empty() {
                return going;
            }
            going.retain(|at| !stay.contains(at));
        }
    }

    /// Whether no order deletes every index before its parts and every object before its referrers.
    fn has_cycle(&self) -> bool {
        let mut left = self.all();
        loop {
            // A part may be absent from the listing; its referrers are deleted after the index
            // nevertheless.
            let before = |at: usize, other: usize| {
                let parts = self.case.below([other].into(), Some(&self.known));
                let belongs = |subject: &usize| parts.contains(subject);
                at != other && (parts.contains(&at) || self.subjects[at].iter().any(belongs))
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

    /// The reason that forbids every deletion.
    fn refusal(&self) -> Option<&'static str> {
        let case = self.case;
        let seen = self.seen(&self.first);
        let ages: Vec<_> = seen.iter().filter_map(|at| self.age(*at)).collect();
        match () {
            () if case.missing_pin => Some("a pin missing from the listing"),
            () if case.twice.is_some_and(|at| seen.contains(&at)) => {
                Some("an inconsistent listing")
            }
            () if case.unread.is_some_and(|at| self.known.contains(&at)) => {
                Some("an incomplete listing")
            }
            () if case.server.is_some_and(|ahead| ahead.abs() > 300) => Some("clocks"),
            () if ages.iter().any(|age| *age < 0) => Some("the future"),
            () if ages.len() >= 3 && ages.iter().all(|age| *age == ages[0]) => {
                Some("all dates alike")
            }
            () if self.all().len() > case.limit => Some("too many"),
            () if self.has_cycle() => Some("a cycle"),
            () => None,
        }
    }
}

/// The result of a case.
struct Outcome {
    applied: Applied,
    /// The objects at the end of the first listing.
    first: Objects,
    /// The deleted objects, with their tags at that time.
    deleted: Vec<(usize, BTreeSet<String>)>,
    present: Objects,
    /// The time of the event.
    event_time: Option<Moment>,
}

fn run(case: &Case, runtime: &tokio::runtime::Runtime) -> Outcome {
    let (set, prune) = (case.protection(), case.prune());
    let rules = Rules {
        prune: &prune,
        older_than: Duration::from_secs(u64::try_from(case.older_than).unwrap() * DAY),
        limit: case.limit,
    };
    let model = Model {
        case,
        present: RefCell::new(case.at_first()),
        listed: RefCell::default(),
        deleted: RefCell::default(),
        faulted: RefCell::default(),
        event_time: RefCell::default(),
        deletions: RefCell::default(),
    };
    let mut applied = Applied::default();
    let listing = model.first();
    let first = model.present.borrow().clone();
    if let Ok(listing) = listing
        && let Ok(plan) = judge(&listing, set.of(0), &rules).approve(&listing)
    {
        let run = apply::Run {
            plan: &plan,
            listing: &listing,
            protection: set.of(0),
            rules: &rules,
            progress: &Progress::default(),
        };
        applied = runtime.block_on(apply::run(run, &model, &mut |_| ()));
    }
    Outcome {
        applied,
        first,
        deleted: model.deleted.into_inner(),
        present: model.present.into_inner(),
        event_time: model.event_time.into_inner(),
    }
}

/// Checks that the report is true.
fn check_report(case: &Case, outcome: &Outcome) {
    let (applied, present) = (&outcome.applied, &outcome.present);
    // `deleted` lists exactly the deleted versions.
    let digests: BTreeSet<Digest> = applied
        .deleted
        .iter()
        .map(|candidate| candidate.version.digest)
        .collect();
    let truth = outcome.deleted.iter().map(|(at, _)| digest(*at)).collect();
    assert_eq!(digests, truth, "{applied:#?} of {case:#?}");
    // A version that is reported as lost is lost.
    for at in applied.missing.iter().map(Model::at) {
        assert!(!present.contains_key(&at), "{at} is not missing: {case:#?}");
    }
    for tag in applied.lost_tags.iter().map(ToString::to_string) {
        let present = present.values().any(|tags| tags.contains(&tag));
        assert!(!present, "{tag} is not lost: {case:#?}");
    }
}

fn check(case: &Case, outcome: Outcome) -> usize {
    check_report(case, &outcome);
    let Outcome {
        applied,
        first,
        deleted,
        present,
        event_time,
    } = outcome;
    let oracle = Oracle::new(case, first);
    // A change between two pages of the first listing may change the verdicts.
    let listing_changed = matches!(event_time, Some(Moment::Page(_)));
    let by_listing = ["the future", "all dates alike", "too many", "a cycle"];
    let refusal = oracle
        .refusal()
        .filter(|why| !(listing_changed && by_listing.contains(why)));
    if let Some(why) = refusal {
        assert!(
            deleted.is_empty(),
            "{why}: deleted {deleted:?} of {case:#?}"
        );
        return 0;
    }
    // A change during a deletion cannot be prevented; the report must contain the loss.
    let prevented = !matches!(event_time, Some(Moment::Deletion(_)));
    let loss_reported = !applied.missing.is_empty() || !applied.lost_tags.is_empty();
    let reported = loss_reported || applied.error.is_some();
    // A change during a deletion was in no listing before the first deletion.
    let last = oracle.seen(&present);
    let known = &oracle.known | &case.known(&last);
    let revealed = &last - &oracle.seen(&oracle.first);
    let protected = oracle.protected(&last - &revealed, &oracle.known);
    let needed = oracle.protected(last, &known);
    for (at, tags) in &deleted {
        let may = oracle.may_go(*at, tags);
        assert!(
            may || !prevented && reported,
            "{at} with {tags:?} of {case:#?}"
        );
        assert!(
            !protected.contains(at) && (!needed.contains(at) || !prevented && loss_reported),
            "{at} is part of an existing object: {case:#?}"
        );
        let protected = if prevented { &needed } else { &protected };
        let mut subjects = oracle.subjects[*at].iter();
        let subject = subjects.find(|at| protected.contains(at) && present.contains_key(at));
        assert!(
            subject.is_none(),
            "{at} belongs to {subject:?}, which exists: {case:#?}"
        );
    }
    let gone: BTreeSet<usize> = deleted.iter().map(|(at, _)| *at).collect();
    if prevented && case.faults.is_empty() {
        assert!(!loss_reported, "{applied:#?} of {case:#?}");
    }
    if case.faults.is_empty() && case.event.is_none() {
        assert_eq!(gone, oracle.all(), "{case:#?}");
        assert!(applied.error.is_none(), "{applied:#?} of {case:#?}");
    }
    gone.len()
}

fn protected_versions_are_never_deleted(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut seeds = Rng::with_seed(seed);
    let mut deleted = 0;
    for _ in 0..CASES {
        let case = Case::new(seeds.u64(..));
        deleted += check(&case, run(&case, &runtime));
    }
    // Otherwise the test checks nothing.
    assert!(deleted > 1_000, "{deleted}");
}

#[test]
fn protected_versions_are_never_deleted_first_quarter() {
    protected_versions_are_never_deleted(1);
}

#[test]
fn protected_versions_are_never_deleted_second_quarter() {
    protected_versions_are_never_deleted(2);
}

#[test]
fn protected_versions_are_never_deleted_third_quarter() {
    protected_versions_are_never_deleted(3);
}

#[test]
fn protected_versions_are_never_deleted_last_quarter() {
    protected_versions_are_never_deleted(4);
}
