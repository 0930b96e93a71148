//! The builds of a set: the revisions for which its registries have tags, in order, with their states.
//!
//! Pure, except for one pass over the commits of the clone: tags and facts about images in, builds out.
//! `workflow` lists the tags and reads the images.
//!
//! The states of builds, compared with the current set, the history and the open pull requests.

mod candidates;
mod order;

use std::{collections::HashMap, time::SystemTime};

use order::ListOrder;

use super::history::{HeldDigest, History};
use crate::{
    base::{
        error::Error,
        text::words,
        untrusted::{plain, to_minute},
    },
    config::{Config, RevisionLength},
    core::history::{self, Digests},
    oci::{Digest, Revision, Tag},
};

pub(crate) use candidates::{
    Candidates, MAX_READ, Push, Selection, SelectionFacts, TagTable, is_build,
};

/// The facts about a build from its registries.
#[derive(Debug)]
pub(crate) struct ReadBuild {
    /// The revision, or its abbreviation if the images do not state the same revision.
    pub text: String,
    /// `None` if the images do not state the same revision.
    pub revision: Option<Revision>,
    /// In the order of the configuration.
    pub images: Vec<BuildImage>,
}

/// An image of a build.
#[derive(Debug)]
pub(crate) enum BuildImage {
    /// No tag of the repository belongs to the revision.
    Missing,
    /// The number of tags that belong to the revision, which is not 1.
    Ambiguous(usize),
    Unreadable(Tag, Error),
    Read(Tag, ReadImage),
}

/// The facts about an image that its registry has.
#[derive(Debug, Clone)]
pub(crate) struct ReadImage {
    pub digest: Digest,
    pub time: Option<ImageTime>,
    /// The revision label, if the image was read and all platforms have the same.
    pub label: Option<String>,
}

/// The time of an image, with its origin: only times of one origin can be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageTime {
    /// The creation time in the configuration of the image.
    Created(SystemTime),
    /// The time of the push.
    Pushed(SystemTime),
}

impl ImageTime {
    pub(crate) fn time(self) -> SystemTime {
        match self {
            Self::Created(time) | Self::Pushed(time) => time,
        }
    }
}

impl BuildImage {
    pub(crate) fn read(&self) -> Option<&ReadImage> {
        match self {
            Self::Read(_, image) => Some(image),
            _ => None,
        }
    }

    pub(crate) fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Read(tag, _) | Self::Unreadable(tag, _) => Some(tag),
            Self::Missing | Self::Ambiguous(_) => None,
        }
    }
}

impl ReadBuild {
    /// Combines the images of a candidate. An abbreviation is completed by the revision label, which must
    /// be the same for all images.
    pub(crate) fn new(text: &str, images: Vec<BuildImage>, config: &Config) -> Self {
        let pattern = &config.revision.pattern;
        let revision = if is_abbreviated(config) {
            let read = images.iter().filter_map(BuildImage::read);
            let mut revisions = read.map(|image| pattern.complete(text, image.label.as_deref()?));
            let first = revisions.next().flatten();
            let agrees = revisions.all(|revision| revision == first);
            first.filter(|_| agrees)
        } else {
            pattern.revision(text).ok()
        };
        Self {
            text: revision
                .as_ref()
                .map_or(text, |revision| revision.as_str())
                .to_owned(),
            revision,
            images,
        }
    }

    /// The time of the latest image.
    pub(crate) fn created(&self) -> Option<SystemTime> {
        let images = self.images.iter().filter_map(BuildImage::read);
        images.filter_map(|image| Some(image.time?.time())).max()
    }

    /// The time of the latest image, unless it is a placeholder.
    pub(crate) fn build_time(&self) -> Option<SystemTime> {
        self.created()
            .filter(|time| !history::is_placeholder(*time))
    }

    /// The digests of the images that must be pinned.
    pub(crate) fn digests(&self, config: &Config) -> Digests {
        let mut digests = Digests::new();
        for (image, read) in config.images.iter().zip(&self.images) {
            if let Some(read) = read.read()
                && image.pins > 0
            {
                digests.insert(image.name.clone(), read.digest);
            }
        }
        digests
    }

    /// The errors of the images that could not be read.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Error> {
        self.images.iter().filter_map(|image| match image {
            BuildImage::Unreadable(_, error) => Some(error),
            _ => None,
        })
    }
}

/// The tag of a revision as text.
pub(crate) fn expected_tag(config: &Config, text: &str) -> String {
    let tag = config.revision.tag.tag_of(text);
    tag.map_or_else(|_| text.to_owned(), |tag| tag.to_string())
}

/// Whether tags contain only the first digits of a revision.
pub(crate) fn is_abbreviated(config: &Config) -> bool {
    config.revision.tag.length() != RevisionLength::Full
}

words! {
    /// The state of a build: the first that applies.
    pub(crate) enum State {
        /// The set is pinned now.
        Current = "current",
        /// A rollback undid the set.
        Held = "held",
        /// The branch that counts does not contain the commit of the build.
        Unmerged = "unmerged",
        /// An image is missing or cannot be read.
        Incomplete = "incomplete",
        /// An open pull request promotes the set.
        Proposed = "proposed",
        /// The build is older than the current set.
        Older = "older",
        /// A stage of `promote.after` does not let the set pass yet.
        Waiting = "waiting",
        /// Every image has a tag. Nothing was verified.
        Available = "available",
    }
}

/// An open pull request that promotes a set.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    /// `#5`, or on GitLab `!5`.
    pub mark: String,
    /// `pull request #5`, or on GitLab `merge request !5`.
    pub name: String,
    pub revision: Revision,
}

/// The facts about the set with which builds are compared.
pub(crate) struct SetFacts<'f> {
    pub config: &'f Config,
    /// The revision of the current set, if it is recorded or in the labels of its images.
    pub current: Option<&'f Revision>,
    /// The pinned digest of each image.
    pub pinned: &'f Digests,
    /// `None` if there is no history.
    pub history: Option<&'f History>,
    pub proposals: &'f [Proposal],
}

/// The state of a build, with its detail, without a comparison of its age.
pub(crate) fn state(build: &ReadBuild, facts: &SetFacts<'_>) -> (State, String) {
    let digests = build.digests(facts.config);
    if is_current(build, facts) {
        return (State::Current, String::new());
    }
    let hold = facts
        .history
        .and_then(|history| history.hold_for_jobs(build.revision.as_ref(), &digests, facts.pinned));
    if let Some(hold) = hold {
        return held(&hold);
    }
    if let Some(detail) = obstacle(build, facts.config) {
        return (State::Incomplete, detail);
    }
    if let Some(proposal) = proposal(build, facts) {
        return (State::Proposed, proposal.mark.clone());
    }
    (State::Available, String::new())
}

/// The state of a build that a rollback undid.
fn held(hold: &HeldDigest) -> (State, String) {
    let (commit, date) = (hold.commit.short(), to_minute(&hold.date));
    let detail = format!("rolled back by commit {commit} on {date}");
    (State::Held, detail)
}

/// The state of a build whose commit `branch` does not contain.
pub(crate) fn unmerged(build: &ReadBuild, facts: &SetFacts<'_>, branch: &str) -> (State, String) {
    let mut detail = format!("not in {}", plain(branch));
    if let Some(proposal) = proposal(build, facts) {
        detail += "; proposed in ";
        detail += &proposal.mark;
    }
    (State::Unmerged, detail)
}

/// The open pull request that promotes a build.
pub(crate) fn proposal<'f>(build: &ReadBuild, facts: &SetFacts<'f>) -> Option<&'f Proposal> {
    let revision = build.revision.as_ref()?;
    let mut proposals = facts.proposals.iter();
    proposals.find(|proposal| proposal.revision == *revision)
}

/// Whether the set of a build is pinned now.
pub(crate) fn is_current(build: &ReadBuild, facts: &SetFacts<'_>) -> bool {
    let digests = build.digests(facts.config);
    if facts.current.is_some() && facts.current == build.revision.as_ref() {
        return true;
    }
    let pinned = facts.config.images.iter().filter(|image| image.pins > 0);
    digests.len() == pinned.count() && !digests.is_empty() && digests == *facts.pinned
}

/// The reason that a build cannot be promoted.
fn obstacle(build: &ReadBuild, config: &Config) -> Option<String> {
    let (mut missing, mut others) = (Vec::new(), Vec::new());
    for (image, read) in config.images.iter().zip(&build.images) {
        let name = format!("`{}`", image.name);
        match read {
            BuildImage::Missing => missing.push(name),
            BuildImage::Ambiguous(count) => {
                others.push(format!("{count} tags of {name} have this revision"));
            }
            BuildImage::Unreadable(..) => others.push(format!("{name} cannot be read")),
            BuildImage::Read(..) => {}
        }
    }
    let mut obstacles = Vec::new();
    match missing.as_slice() {
        [] => {}
        [name] => obstacles.push(format!("{name} is missing")),
        names => obstacles.push(format!("{} are missing", names.join(", "))),
    }
    obstacles.extend(others);
    if obstacles.is_empty() && build.revision.is_none() {
        obstacles.push(format!(
            "the label {} does not contain one revision for all images",
            plain(&config.revision.label)
        ));
    }
    (!obstacles.is_empty()).then(|| obstacles.join("; "))
}

/// Whether every changed image was created, or pushed, before the pinned one. `times`: those of the
/// pinned images, by name.
pub(crate) fn is_created_before(
    build: &ReadBuild,
    facts: &SetFacts<'_>,
    times: &HashMap<String, ImageTime>,
) -> Option<bool> {
    let mut compared = Vec::new();
    for (image, read) in facts.config.images.iter().zip(&build.images) {
        let new = read.read()?;
        if image.pins == 0 || facts.pinned.get(&image.name) == Some(&new.digest) {
            continue;
        }
        compared.push(match (new.time?, *times.get(&image.name)?) {
            (ImageTime::Created(new), ImageTime::Created(old))
            | (ImageTime::Pushed(new), ImageTime::Pushed(old)) => [Some(new), Some(old)],
            _ => return None,
        });
    }
    history::is_created_before(compared)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        base::error::{Class, Code, Error},
        config,
        core::history::ExampleCommit,
        oci::{Digest, Tag},
    };

    #[test]
    fn placeholder_is_no_time_of_a_build() {
        let read = |seconds| {
            let image = ReadImage {
                digest: Digest::from_hex(&"a".repeat(64)).unwrap(),
                time: Some(ImageTime::Created(
                    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
                )),
                label: None,
            };
            BuildImage::Read(Tag::parse("t").unwrap(), image)
        };
        let build = |images| ReadBuild {
            text: "a".to_owned(),
            revision: None,
            images,
        };
        let reproducible = build(vec![read(0), BuildImage::Missing]);
        assert_eq!(reproducible.created(), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(reproducible.build_time(), None);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(
            build(vec![read(1_700_000_000), read(0)]).build_time(),
            Some(time)
        );
    }

    const CONFIG: &str = "version: 1
files: [x]
revision: { pattern: '[a-z]' }
images:
  a: { repository: r.example/a, pins: 1 }
  b: { repository: r.example/b, pins: 1 }
  base: { repository: r.example/base, pins: 0 }
";

    fn revision(letter: char) -> Revision {
        let pattern = &config::example(CONFIG).revision.pattern;
        pattern.revision(&letter.to_string()).unwrap()
    }

    fn second(second: u64) -> SystemTime {
        // Not a placeholder.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second)
    }

    fn tag() -> Tag {
        Tag::parse("t").unwrap()
    }

    fn read(digest: Digest, time: Option<ImageTime>) -> BuildImage {
        let label = None;
        BuildImage::Read(
            tag(),
            ReadImage {
                digest,
                time,
                label,
            },
        )
    }

    /// A build of `a` and `b` with the digests of an example set, and of `base`.
    fn build(letter: char, set: [char; 2]) -> ReadBuild {
        let digests = History::example_digests(set);
        let base = History::example_digests(['x', 'x'])["a"];
        let images = [digests["a"], digests["b"], base];
        ReadBuild {
            text: letter.to_string(),
            revision: Some(revision(letter)),
            images: images.map(|digest| read(digest, None)).into(),
        }
    }

    fn facts<'f>(config: &'f Config, pinned: &'f Digests) -> SetFacts<'f> {
        SetFacts {
            config,
            current: None,
            pinned,
            history: None,
            proposals: &[],
        }
    }

    #[test]
    fn set_is_current_by_revision_or_by_its_pinned_digests() {
        let config = config::example(CONFIG);
        let pinned = History::example_digests(['p', 'q']);
        let facts = facts(&config, &pinned);
        assert!(is_current(&build('z', ['p', 'q']), &facts));
        assert!(!is_current(&build('z', ['p', 'p']), &facts));
        // A build without a revision is not that of a set without a recorded revision.
        let mut unknown = build('z', ['p', 'p']);
        unknown.revision = None;
        assert!(!is_current(&unknown, &facts));
        let current = revision('z');
        let facts = SetFacts {
            current: Some(&current),
            ..facts
        };
        assert!(is_current(&build('z', ['p', 'p']), &facts));
        assert!(!is_current(&build('y', ['p', 'p']), &facts));
        assert_eq!(
            state(&build('z', ['p', 'p']), &facts),
            (State::Current, String::new())
        );
        // One image of two, or none, is not the set.
        let mut part = build('y', ['p', 'q']);
        part.images[1] = BuildImage::Missing;
        let pinned: Digests = pinned.clone().into_iter().take(1).collect();
        assert!(!is_current(
            &part,
            &SetFacts {
                pinned: &pinned,
                ..facts
            }
        ));
        part.images[0] = BuildImage::Missing;
        let none = Digests::new();
        let mut unpinned = config.clone();
        unpinned.images.iter_mut().for_each(|image| image.pins = 0);
        let facts = SetFacts {
            config: &unpinned,
            pinned: &none,
            ..facts
        };
        assert!(!is_current(&part, &facts));
    }

    #[test]
    fn rolled_back_set_is_held_by_digests() {
        let config = config::example(CONFIG);
        let commit = |parents: &[usize], set, promotes| ExampleCommit {
            parents: parents.to_vec(),
            set: Some(set),
            promotes,
            date: second(0),
        };
        let commits = [
            commit(&[], ['p', 'p'], Some('p')),
            commit(&[0], ['q', 'q'], Some('q')),
            commit(&[1], ['p', 'p'], None),
        ];
        let history = History::example(&commits, 2, false);
        let pinned = History::example_digests(['p', 'p']);
        let proposals = [Proposal {
            mark: "#7".to_owned(),
            name: "pull request #7".to_owned(),
            revision: revision('q'),
        }];
        let facts = SetFacts {
            history: Some(&history),
            proposals: &proposals,
            ..facts(&config, &pinned)
        };
        let held = "rolled back by commit 0000000000 on 2023-11-14 22:13Z".to_owned();
        // By its digests, also without an image or a revision.
        let mut incomplete = build('q', ['q', 'q']);
        incomplete.images[0] = BuildImage::Missing;
        let mut unnamed = build('q', ['q', 'q']);
        unnamed.revision = None;
        for build in [incomplete, unnamed, build('z', ['q', 'q'])] {
            assert_eq!(
                state(&build, &facts),
                (State::Held, held.clone()),
                "{build:?}"
            );
        }
        for other in [build('z', ['z', 'z']), build('z', ['q', 'z'])] {
            assert_eq!(state(&other, &facts), (State::Available, String::new()));
        }
        let facts = SetFacts {
            history: None,
            ..facts
        };
        let proposed = build('q', ['q', 'q']);
        assert_eq!(state(&proposed, &facts), (State::Proposed, "#7".to_owned()));
        assert_eq!(
            proposal(&build('z', ['z', 'z']), &facts).map(|found| &found.mark),
            None
        );
    }

    #[test]
    fn every_obstacle_is_reported() {
        let config = config::example(CONFIG);
        let none = Digests::new();
        let facts = facts(&config, &none);
        let unreadable =
            || BuildImage::Unreadable(tag(), Error::new(Class::Unavailable, Code::REGISTRY, "off"));
        let detail = |images: [BuildImage; 3], is_named: bool| {
            let build = ReadBuild {
                text: "z".to_owned(),
                revision: is_named.then(|| revision('z')),
                images: images.into(),
            };
            state(&build, &facts)
        };
        let digest = History::example_digests(['p', 'q'])["a"];
        let some = || read(digest, None);
        let incomplete = |text: &str| (State::Incomplete, text.to_owned());
        assert_eq!(
            detail([BuildImage::Missing, some(), some()], true),
            incomplete("`a` is missing")
        );
        assert_eq!(
            detail(
                [BuildImage::Missing, BuildImage::Missing, unreadable()],
                false
            ),
            incomplete("`a`, `b` are missing; `base` cannot be read")
        );
        assert_eq!(
            detail([some(), BuildImage::Ambiguous(2), some()], true),
            incomplete("2 tags of `b` have this revision")
        );
        assert_eq!(
            detail([some(), some(), some()], false),
            incomplete(
                "the label org.opencontainers.image.revision does not contain one revision for all images"
            )
        );
    }

    #[test]
    fn only_changed_and_pinned_images_are_compared_by_time() {
        let config = config::example(CONFIG);
        let pinned = History::example_digests(['p', 'q']);
        let facts = facts(&config, &pinned);
        let created = |at| Some(ImageTime::Created(second(at)));
        let pushed = |at| Some(ImageTime::Pushed(second(at)));
        let new = History::example_digests(['x', 'y']);
        let order = |[a, b]: [BuildImage; 2], base| {
            let build = ReadBuild {
                text: "z".to_owned(),
                revision: None,
                images: vec![a, b, base],
            };
            let times = [
                ("a", ImageTime::Created(second(5))),
                ("b", ImageTime::Pushed(second(5))),
            ];
            let times = times.map(|(name, time)| (name.to_owned(), time));
            is_created_before(&build, &facts, &times.into())
        };
        let changed = |a, b| [read(new["a"], a), read(new["b"], b)];
        let base = || read(new["a"], None);
        assert_eq!(order(changed(created(4), pushed(4)), base()), Some(true));
        assert_eq!(order(changed(created(6), pushed(6)), base()), Some(false));
        assert_eq!(order(changed(created(4), pushed(6)), base()), None);
        // Times of different origins, and an unknown time.
        assert_eq!(order(changed(pushed(4), pushed(4)), base()), None);
        assert_eq!(order(changed(created(4), created(4)), base()), None);
        assert_eq!(order(changed(created(4), None), base()), None);
        let unchanged = || read(pinned["b"], pushed(9));
        let one = || read(new["a"], created(4));
        assert_eq!(order([one(), unchanged()], base()), Some(true));
        assert_eq!(order([one(), unchanged()], BuildImage::Missing), None);
    }
}
