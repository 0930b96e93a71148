//! Verdicts on the resolved images of a set: tag, digest, labels.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use super::{Check, Code, StageResult, Status, contents::OldPlatforms};
use crate::{
    base::{
        error::{Class, Error},
        text::{counted, few},
        untrusted::short,
    },
    config::{Config, Image},
    core::history::Promoted,
    git::ObjectId,
    oci::{
        Digest, Revision, Tag, TagPattern,
        registry::{
            NoTag,
            resolve::{ImageFacts, PlatformFacts, StatedRevision},
        },
    },
};

/// The maximum number of tags in a detail; further ones are counted.
const MAX_LISTED: usize = 20;

/// The tag to resolve for one image, and the expected digest.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The tag, or the pattern that exactly one tag must match.
    pub tag: TagPattern,
    /// The digest that the tag must resolve to, if it is known.
    pub expected: Option<Expected>,
    /// The distinct digests that are pinned now.
    pub pinned: Vec<Digest>,
    /// The distinct tags of the pins.
    pub pinned_tags: Vec<Tag>,
    /// Whether a rollback uses the recorded digest if the tag does not resolve to it.
    pub by_digest: bool,
}

impl Target {
    /// A target without an expected digest and without pins.
    pub(crate) fn new(tag: TagPattern) -> Self {
        Self {
            tag,
            expected: None,
            pinned: Vec::new(),
            pinned_tags: Vec::new(),
            by_digest: false,
        }
    }

    /// The digest that git records, in a rollback.
    pub(crate) fn recorded_digest(&self) -> Option<Digest> {
        match &self.expected {
            Some(Expected::Pinned(pinned)) => Some(pinned.digest),
            Some(Expected::HandedOver(_)) | None => None,
        }
    }

    /// The digest that the tag must resolve to, if it is known.
    pub(crate) fn expected_digest(&self) -> Option<Digest> {
        self.expected.as_ref().map(Expected::digest)
    }
}

/// A digest that a tag must resolve to, with its origin.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// The build reported it, by `--digest`.
    HandedOver(Digest),
    Pinned(PinnedDigest),
}

/// The digest with which a set was promoted.
#[derive(Debug, Clone)]
pub(crate) struct PinnedDigest {
    pub(super) digest: Digest,
    /// The short id of the commit that pinned it.
    pub(super) commit: String,
    /// The commits that introduced the digests of the image.
    pub(super) introduced: BTreeMap<Digest, ObjectId>,
}

impl Expected {
    fn digest(&self) -> Digest {
        match self {
            Self::HandedOver(digest) => *digest,
            Self::Pinned(pinned) => pinned.digest,
        }
    }

    /// The origin of the digest, as in "`origin` DIGEST".
    fn origin(&self) -> String {
        match self {
            Self::HandedOver(_) => "--digest expects".to_owned(),
            Self::Pinned(pinned) => format!("commit {} pinned", pinned.commit),
        }
    }

    /// The remedy if the digest is one platform of the index that the tag resolves to.
    fn part_help(&self, config: &Config, index: Digest) -> String {
        match self {
            Self::HandedOver(_) => format!("hand over the digest of the index: {index}"),
            Self::Pinned(_) => format!(
                "the tag was not moved, so leave it; to deploy every platform, promote the index: {}; to return to the \
                 one platform, add `--by-digest`",
                config.return_command("REV")
            ),
        }
    }
}

impl PinnedDigest {
    /// The digest of an image of a promoted set.
    pub(crate) fn of(image: &str, promoted: &Promoted) -> Option<Self> {
        Some(Self {
            digest: *promoted.images.get(image)?,
            commit: promoted.commit.short(),
            introduced: promoted.introduced.get(image).cloned().unwrap_or_default(),
        })
    }
}

/// One image of an approved set.
#[derive(Debug, Clone)]
pub(crate) struct ApprovedImage {
    /// The tag of the revision.
    pub tag: Tag,
    pub facts: ImageFacts,
}

/// The result of resolving one image's tag.
#[derive(Debug)]
pub(crate) struct Resolution {
    pub target: Target,
    /// The resolved image, or the reason that there is none.
    pub found: TaggedImage,
    /// The image with the recorded digest, if the tag of a rollback does not resolve to it.
    pub recorded: Option<RecordedImage>,
    /// The result of the tag, if the recorded image replaces it in `found`.
    pub bypassed: Option<TaggedImage>,
    /// The platforms of each pinned digest that would be replaced.
    pub old_platforms: Vec<(Digest, OldPlatforms)>,
}

/// The lookup of the digest that git records.
#[derive(Debug, Clone)]
pub(crate) struct RecordedImage {
    /// The image; `None` if the digest does not exist.
    pub facts: Result<Option<ImageFacts>, Error>,
    /// The name of the repository at its registry; `None` for an image layout.
    pub repository: Option<String>,
}

/// The image that a tag resolves to, or the reason that there is none.
pub(crate) type TaggedImage = Result<ApprovedImage, NoTag>;

/// Turns missing and wrong content into failures, because no later run succeeds without a change in the
/// registry. Other errors remain.
pub(crate) fn content_result(errors: Vec<Error>, image: &str) -> StageResult {
    let mut result = StageResult::default();
    for error in errors {
        let code = match error.class {
            Class::MissingContent => Code::CONTENT_MISSING,
            Class::WrongBytes => Code::CONTENT_MISMATCH,
            _ => {
                result.errors.push(error);
                continue;
            }
        };
        let check = Check::new(code, Status::Fail, error.evidence()).image(image);
        result.checks.push(check.with_help(error.help.as_deref()));
    }
    result
}

/// The resolved image, or the failure or error instead of it.
#[expect(
    clippy::result_large_err,
    reason = "the error is one of few values of a run"
)]
pub(crate) fn resolved_image<'r>(
    config: &Config,
    image: &Image,
    resolution: &'r Resolution,
) -> Result<&'r ApprovedImage, Result<Check, Error>> {
    tagged_image(config, image, &resolution.target, &resolution.found)
}

/// The image of a tag, or the failure or error instead of it.
#[expect(
    clippy::result_large_err,
    reason = "the error is one of few values of a run"
)]
pub(super) fn tagged_image<'r>(
    config: &Config,
    image: &Image,
    target: &Target,
    found: &'r TaggedImage,
) -> Result<&'r ApprovedImage, Result<Check, Error>> {
    match found {
        Ok(found) => Ok(found),
        Err(NoTag::Failed(error)) if error.class != Class::Ambiguous => Err(Err(error.clone())),
        Err(reason) => {
            let expected = match &target.expected {
                Some(expected) => format!("{} {}", expected.origin(), expected.digest()),
                None => String::new(),
            };
            let pinned = &target.pinned_tags;
            Err(Ok(no_tag(
                config,
                image,
                &target.tag,
                reason,
                &expected,
                pinned,
            )))
        }
    }
}

/// Compares the digest of a tag with the expected one.
pub(super) fn check_digest(
    config: &Config,
    image: &Image,
    tag: &Tag,
    expected: &Expected,
    facts: &ImageFacts,
) -> Check {
    let check =
        |status, detail| Check::new(Code::DIGEST_MISMATCH, status, detail).image(&image.name);
    let name = format!("{}:{tag}", image.repository);
    let found = facts.digest;
    let (origin, digest) = (expected.origin(), expected.digest());
    if digest == found {
        let detail = format!("{name} resolves to {digest}, which {origin}");
        return check(Status::Pass, detail);
    }
    if let Some(part) = facts.platform_of(digest) {
        let detail = format!(
            "{name} resolves to the index {found}, but {origin} {digest}, which is only its image for {part}"
        );
        return check(Status::Fail, detail)
            .cause(one_platform(tag))
            .help(expected.part_help(config, found));
    }
    let cause = digest_mismatch(tag);
    if let Expected::Pinned(pinned) = expected
        && let Some(other) = pinned.introduced.get(&found)
    {
        let (other, commit) = (other.short(), &pinned.commit);
        let detail = format!(
            "{name} resolves to {found}, which commit {other} introduced, but {origin} {digest}"
        );
        let help = format!(
            "compare commits {other} and {commit}: one of them may state the wrong revision; if \
             {commit} is right, find out who moved the tag; a rollback with `--by-digest` returns to the digests that \
             {commit} pinned"
        );
        return check(Status::Fail, detail).cause(cause).help(help);
    }
    let detail = format!("{name} resolves to {found}, but {origin} {digest}");
    check(Status::Fail, detail).cause(cause)
}

/// The failure of an image without a tag for the revision. `expected`: the known digest with its
/// origin; `pinned`: the tags of the pins.
pub(crate) fn no_tag(
    config: &Config,
    image: &Image,
    pattern: &TagPattern,
    reason: &NoTag,
    expected: &str,
    pinned: &[Tag],
) -> Check {
    let (code, tags, result) = match reason {
        NoTag::Missing => return tag_missing(config, image, pattern, pinned),
        NoTag::Several(tags) => (Code::TAG_AMBIGUOUS, tags, String::new()),
        NoTag::OtherDigests(tags) => {
            let result = format!(", but none resolves to the digest that {expected}");
            (Code::DIGEST_MISMATCH, tags, result)
        }
        NoTag::Failed(error) => {
            let check = Check::new(error.code, Status::Fail, error.evidence());
            return check.image(&image.name).cause(&error.message);
        }
    };
    let detail = format!(
        "{} tags of {} match `{pattern}`{result}: {}",
        tags.len(),
        image.repository,
        few(tags.iter().map(Tag::as_str), MAX_LISTED)
    );
    Check::new(code, Status::Fail, detail)
        .image(&image.name)
        .item(pattern.to_string())
        .cause(format!("several tags match `{pattern}`{result}"))
}

/// The failure of an image without the revision's tag. If the form of the pinned tags differs from
/// that of `revision.tag`, another build does not help. Plain words such as `latest` do not
/// count: they are names of moving tags.
fn tag_missing(config: &Config, image: &Image, tag: &TagPattern, pinned: &[Tag]) -> Check {
    let repository = &image.repository;
    let absence = repository.absence(match tag {
        TagPattern::Tag(tag) => format!("{repository}:{tag}"),
        TagPattern::Wildcard(_) => format!("a tag of {repository} that matches `{tag}`"),
    });
    let revision = &config.revision;
    let differing: Vec<_> = pinned
        .iter()
        .filter(|tag| !tag.as_str().bytes().all(|byte| byte.is_ascii_alphabetic()))
        .filter(|tag| revision.tag_form.revision_in(tag.as_str()).is_none())
        .map(|tag| format!("`{tag}`"))
        .collect();
    let missing = |detail| {
        Check::new(Code::TAG_MISSING, Status::Fail, detail)
            .image(&image.name)
            .item(tag.to_string())
            .cause(format!("tag `{tag}` does not exist"))
    };
    if differing.is_empty() {
        return missing(absence.detail).with_help(absence.help);
    }
    let template = revision.tag.as_str();
    let detail = format!(
        "{}; the image is pinned with {}, but `revision.tag` is `{template}`",
        absence.detail,
        few(differing.into_iter(), MAX_LISTED)
    );
    missing(detail).help(
        "set `revision.tag` to the form of the tags that the build pushes; docs/configuration.md, \
         \"Tags\", lists the usual forms",
    )
}

/// The cause that images pinned with one platform share.
pub(super) fn one_platform(tag: &Tag) -> String {
    format!("tag `{tag}` resolves to an index, and the expected digest is one of its platforms")
}

/// The cause that images with a moved tag share.
pub(super) fn digest_mismatch(tag: &Tag) -> String {
    format!("tag `{tag}` does not resolve to the expected digest")
}

pub(super) fn check_revision_label(
    config: &Config,
    image: &Image,
    revision: &Revision,
    facts: &PlatformFacts,
) -> Check {
    let label = &config.revision.label;
    let pattern = &config.revision.pattern;
    let stated = facts.stated_revision(config.revision.field());
    let (status, detail) = match stated.text() {
        Some(found) if pattern.revision_in_label(found).as_ref() == Ok(revision) => {
            (Status::Pass, format!("{label} is {}", excerpt(found)))
        }
        Some(found) => (
            Status::Fail,
            format!("{label} is `{}`, expected `{revision}`", excerpt(found)),
        ),
        None => (
            Status::Fail,
            format!("{}, expected `{revision}`", unstated(label, stated)),
        ),
    };
    Check::new(Code::REVISION_LABEL, status, detail)
        .image(&image.name)
        .platform(&facts.platform)
        .item(label.as_str())
        .with_help(annotation_help(stated))
}

/// The reason that a platform states no revision.
pub(super) fn unstated(label: &str, stated: StatedRevision<'_>) -> String {
    match stated {
        StatedRevision::OnlyAnnotation(annotation) => format!(
            "the label {label} is missing; an annotation with this name is `{}`",
            excerpt(annotation)
        ),
        StatedRevision::Contradiction {
            label: text,
            annotation,
        } => format!(
            "the label {label} is `{}`, but the annotation is `{}`",
            excerpt(text),
            excerpt(annotation)
        ),
        StatedRevision::Absent | StatedRevision::Text(_) => format!("{label} is missing"),
    }
}

/// The remedy if only an annotation states the revision.
pub(super) fn annotation_help(stated: StatedRevision<'_>) -> Option<&'static str> {
    match stated {
        StatedRevision::OnlyAnnotation(_) => Some(
            "set the label in the build, or set `revision.from: annotation` (or `either`) to read the annotation",
        ),
        StatedRevision::Absent | StatedRevision::Text(_) | StatedRevision::Contradiction { .. } => {
            None
        }
    }
}

/// Checks that required labels are present and not empty, on one platform of the image `image`.
pub(crate) fn check_required_labels(
    required: &[String],
    image: &str,
    facts: &PlatformFacts,
) -> Vec<Check> {
    let check = |status, detail: String| {
        Check::new(Code::LABEL_MISSING, status, detail)
            .image(image)
            .platform(&facts.platform)
    };
    let mut failures = Vec::new();
    for label in required {
        let value = facts.config.labels.get(label);
        if value.is_none_or(|value| value.trim().is_empty()) {
            let detail = format!("{label} is missing or empty");
            failures.push(check(Status::Fail, detail).item(label));
        }
    }
    if failures.is_empty() && !required.is_empty() {
        let are = if required.len() == 1 { "is" } else { "are" };
        let detail = format!(
            "{} {are} present",
            counted(required.len(), "required label")
        );
        return vec![check(Status::Pass, detail)];
    }
    failures
}

/// Checks that no two images of the set have the same digest: one of the two tags was moved, or one
/// image has two names. It is a failure with `verify`, unless `signed_as` of one image lists the
/// other's repository. An image with `pins: 0` is not deployed and may equal another one.
pub(crate) fn check_shared_digests(config: &Config, digests: &[(usize, Digest)]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut first_images: HashMap<Digest, &Image> = HashMap::new();
    for (image, digest) in digests {
        let later = &config.images[*image];
        if later.pins == 0 && config.fleet.is_none() {
            continue;
        }
        let earlier = match first_images.entry(*digest) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(later);
                continue;
            }
        };
        let is_declared = earlier.signed_as.contains(&later.repository)
            || later.signed_as.contains(&earlier.repository);
        let status = if config.verify.is_some() && !is_declared {
            Status::Fail
        } else {
            Status::Warn
        };
        let detail = format!(
            "`{}` and `{}` have one digest, {digest}",
            earlier.name, later.name
        );
        checks.push(Check::new(Code::DIGEST_SHARED, status, detail).image(&later.name));
    }
    checks
}

/// External text on one line, escaped and shortened.
pub(super) fn excerpt(text: &str) -> String {
    short(text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::checks::contents::tests::platform_facts;

    #[test]
    fn labels_are_counted_only_if_required() {
        let mut facts = platform_facts(&[]);
        let check = |required: &[String], facts: &PlatformFacts| {
            let checks = check_required_labels(required, "api", facts);
            let rows = checks.into_iter();
            rows.map(|check| (check.status, check.detail))
                .collect::<Vec<_>>()
        };
        assert_eq!(check(&[], &facts), []);
        let required = ["team".to_owned()];
        let missing = "team is missing or empty".to_owned();
        assert_eq!(check(&required, &facts), [(Status::Fail, missing)]);
        facts.config.labels.insert("team".into(), "blue".into());
        let present = "1 required label is present".to_owned();
        assert_eq!(check(&required, &facts), [(Status::Pass, present)]);
    }
}
