//! The differences of two images, by platform.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::{NotRead, Part};
use crate::{
    base::untrusted::{masked_label, masked_words},
    contents::{self, ContentsByDigest, ContentsDifference, UnreadPart},
    oci::{
        Platform, RuntimeConfig,
        registry::resolve::{ImageFacts, PlatformFacts},
    },
};

/// The labels of the base image (OCI image specification, "Annotations").
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Standard labels that differ between any two builds.
const VOLATILE_LABELS: [&str; 3] = [
    "org.opencontainers.image.created",
    "org.opencontainers.image.revision",
    "org.opencontainers.image.version",
];

/// The differences of one image.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ImageChanges {
    pub name: String,
    /// The digests; `None` if the set does not contain the image.
    pub from: Option<String>,
    pub to: Option<String>,
    pub platforms: NameChanges,
    pub media_type: Option<TextChange>,
    /// The differences of the platforms that both images have; none for equal digests.
    pub differences: Vec<Difference>,
}

/// Names that were added and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NameChanges {
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TextChange {
    pub from: String,
    pub to: String,
}

/// The differences of platforms that differ in the same way.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Difference {
    pub platforms: Vec<String>,
    pub size: Size,
    #[serde(flatten)]
    pub content: PlatformDifference,
}

/// The sums of the layers in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Size {
    pub from: u64,
    pub to: u64,
}

/// The differences of a platform except for the size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlatformDifference {
    pub layers: Layers,
    pub configuration: Vec<FieldChange>,
    pub environment: Environment,
    pub labels: Vec<LabelChange>,
    pub base: Option<BaseChange>,
    /// `None` if the contents of a platform were not read.
    pub contents: Option<ContentsDifference>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Layers {
    pub from: usize,
    pub to: usize,
    /// The number of the new layers that the old image has.
    pub shared: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldChange {
    pub field: &'static str,
    pub from: FieldValue,
    pub to: FieldValue,
}

/// The value of a field; a list is serialized as an array, and an empty value as `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Text(String),
    List(Vec<String>),
}

/// Names of variables; values may be secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Environment {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

/// A changed label. The values of labels that are not reported are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LabelChange {
    pub name: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub change: DifferenceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DifferenceKind {
    Added,
    Removed,
    Changed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BaseChange {
    pub from: Option<BaseImage>,
    pub to: Option<BaseImage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BaseImage {
    pub name: String,
    pub digest: String,
}

impl FieldValue {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
        }
    }

    /// The value on one line.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(list) => list.join(" "),
        }
    }
}

impl Serialize for FieldValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            _ if self.is_empty() => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => list.serialize(serializer),
        }
    }
}

/// A platform that two images have with different digests.
pub(crate) struct ChangedPlatform<'f> {
    name: String,
    pub old: &'f PlatformFacts,
    pub new: &'f PlatformFacts,
}

/// The platforms that two images have with different digests. The error is the reason that the images cannot be
/// compared.
pub(crate) fn changed_platforms<'f>(
    from: &'f ImageFacts,
    to: &'f ImageFacts,
) -> Result<Vec<ChangedPlatform<'f>>, String> {
    let (old, new) = (platforms(Some(from))?, platforms(Some(to))?);
    let mut changed = Vec::new();
    for (platform, new) in new {
        if let Some(old) = old.get(&platform)
            && old.digest != new.digest
        {
            let name = new.platform.to_string();
            changed.push(ChangedPlatform { name, old, new });
        }
    }
    Ok(changed)
}

/// Compares two images; `None` if a set does not contain the image. `reported`: the labels with values.
/// `contents`: those of the platforms that were read. The error is the reason that the images cannot be compared.
pub(crate) fn compare(
    name: &str,
    from: Option<&ImageFacts>,
    to: Option<&ImageFacts>,
    reported: &[String],
    contents: &ContentsByDigest,
    not_read: &mut Vec<NotRead>,
) -> Result<ImageChanges, String> {
    let (old, new) = (platforms(from)?, platforms(to)?);
    let mut changes = ImageChanges {
        name: name.to_owned(),
        from: from.map(|facts| facts.digest.to_string()),
        to: to.map(|facts| facts.digest.to_string()),
        platforms: NameChanges {
            added: missing_platforms(&old, &new),
            removed: missing_platforms(&new, &old),
        },
        media_type: None,
        differences: Vec::new(),
    };
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(changes);
    };
    if from.media_type != to.media_type {
        changes.media_type = Some(TextChange {
            from: from.media_type.clone(),
            to: to.media_type.clone(),
        });
    }
    for platform in changed_platforms(from, to)? {
        let mut reasons = Vec::new();
        let configuration = fields(&platform, &mut reasons);
        let contents = contents_difference(&platform, contents, &mut reasons);
        for (part, reason) in reasons {
            not_read.push(NotRead {
                part,
                platform: Some(platform.name.clone()),
                ..NotRead::image(name, reason)
            });
        }
        changes.add(platform, configuration, contents, reported);
    }
    Ok(changes)
}

/// The differences of the contents; `None` if they were not read. `reasons`: those for which a part was not
/// read.
fn contents_difference(
    platform: &ChangedPlatform<'_>,
    contents: &ContentsByDigest,
    reasons: &mut Vec<(Part, String)>,
) -> Option<ContentsDifference> {
    let [old, new] = [platform.old, platform.new].map(|facts| contents.get(&facts.digest));
    for read in [old, new].into_iter().flatten() {
        if let Err(reason) = read {
            reasons.push((Part::Contents, reason.clone()));
        }
    }
    let comparison = contents::difference(old?.as_ref().ok()?, new?.as_ref().ok()?);
    for unread in comparison.not_read {
        let part = match unread.part {
            UnreadPart::Contents => Part::Contents,
            UnreadPart::Packages => Part::Packages,
            UnreadPart::Sbom => Part::Sbom,
        };
        reasons.push((part, unread.reason));
    }
    Some(comparison.difference)
}

/// The platforms of an image in the form that engines compare: `linux/arm64/v8` is `linux/arm64`.
type PlatformsOfImage<'f> = BTreeMap<Platform, &'f PlatformFacts>;

fn platforms(facts: Option<&ImageFacts>) -> Result<PlatformsOfImage<'_>, String> {
    let mut platforms = BTreeMap::new();
    for facts in facts.into_iter().flat_map(|facts| &facts.platforms) {
        let platform = &facts.platform;
        if let Some(other) = platforms.insert(platform.normalized(), facts)
            && other.digest != facts.digest
        {
            return Err(format!("the index lists {platform} twice"));
        }
    }
    Ok(platforms)
}

/// The platforms of `new` that `old` lacks, as written.
fn missing_platforms(old: &PlatformsOfImage<'_>, new: &PlatformsOfImage<'_>) -> Vec<String> {
    let missing = new
        .iter()
        .filter(|(platform, _)| !old.contains_key(platform));
    missing
        .map(|(_, facts)| facts.platform.to_string())
        .collect()
}

impl ImageChanges {
    fn add(
        &mut self,
        platform: ChangedPlatform<'_>,
        configuration: Vec<FieldChange>,
        contents: Option<ContentsDifference>,
        reported: &[String],
    ) {
        let ChangedPlatform { name, old, new } = platform;
        let size = Size {
            from: size(old),
            to: size(new),
        };
        let base = base_change(old, new);
        let content = PlatformDifference {
            layers: layers(old, new),
            configuration,
            environment: environment(&old.config.env, &new.config.env),
            labels: labels(old, new, reported, base.as_ref()),
            base,
            contents,
        };
        let mut known = self.differences.iter_mut();
        match known.find(|known| known.size == size && known.content == content) {
            Some(known) => known.platforms.push(name),
            None => self.differences.push(Difference {
                platforms: vec![name],
                size,
                content,
            }),
        }
    }
}

fn size(image: &PlatformFacts) -> u64 {
    let layers = image.manifest.layers.iter();
    layers.fold(0, |sum, layer| layer.size.saturating_add(sum))
}

fn layers(old: &PlatformFacts, new: &PlatformFacts) -> Layers {
    let (old, new) = (&old.manifest.layers, &new.manifest.layers);
    let known: BTreeSet<_> = old.iter().map(|layer| layer.digest).collect();
    let shared = new.iter().filter(|layer| known.contains(&layer.digest));
    Layers {
        from: old.len(),
        to: new.len(),
        shared: shared.count(),
    }
}

/// The fields with different values. They are compared before secrets are masked: two secrets may differ.
fn fields(platform: &ChangedPlatform<'_>, reasons: &mut Vec<(Part, String)>) -> Vec<FieldChange> {
    let ChangedPlatform { old, new, .. } = platform;
    for (owner, image) in [("old", old), ("new", new)] {
        if let Err(reason) = &image.config.runtime {
            reasons.push((Part::Configuration, format!("the {owner} image: {reason}")));
        }
    }
    let mut values = vec![("user", [old, new].map(|image| user(image)))];
    if let (Ok(old), Ok(new)) = (&old.config.runtime, &new.config.runtime) {
        let pairs = runtime_values(old).into_iter().zip(runtime_values(new));
        values.extend(pairs.map(|((field, from), (_, to))| (field, [from, to])));
    }
    let mut changes = Vec::new();
    for (field, [from, to]) in values {
        if from != to {
            let (from, to) = (masked(from), masked(to));
            changes.push(FieldChange { field, from, to });
        }
    }
    changes
}

fn user(image: &PlatformFacts) -> FieldValue {
    FieldValue::Text(image.config.user.clone())
}

fn runtime_values(runtime: &RuntimeConfig) -> [(&'static str, FieldValue); 7] {
    let text = |text: &String| FieldValue::Text(text.clone());
    let list = |list: &[String]| FieldValue::List(list.to_vec());
    let set = |set: &BTreeSet<String>| FieldValue::List(set.iter().cloned().collect());
    [
        ("working_dir", text(&runtime.working_dir)),
        ("entrypoint", list(&runtime.entrypoint)),
        ("command", list(&runtime.command)),
        ("exposed_ports", set(&runtime.exposed_ports)),
        ("volumes", set(&runtime.volumes)),
        ("stop_signal", text(&runtime.stop_signal)),
        ("health_check", list(&runtime.health_check.words())),
    ]
}

fn masked(value: FieldValue) -> FieldValue {
    match value {
        FieldValue::List(words) => FieldValue::List(masked_words(&words)),
        FieldValue::Text(text) => FieldValue::Text(masked_words(&[text]).concat()),
    }
}

fn environment(old: &[String], new: &[String]) -> Environment {
    let (old, new) = (variables(old), variables(new));
    let names = names_between(old.keys().copied(), new.keys().copied());
    let changed = new
        .iter()
        .filter(|(name, value)| old.get(*name).is_some_and(|old| old != *value));
    Environment {
        added: names.added,
        removed: names.removed,
        changed: changed.map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// The values by name; the last entry of a name is effective.
fn variables(entries: &[String]) -> BTreeMap<&str, &str> {
    let entries = entries.iter();
    entries
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .collect()
}

fn labels(
    old: &PlatformFacts,
    new: &PlatformFacts,
    reported: &[String],
    base: Option<&BaseChange>,
) -> Vec<LabelChange> {
    let (old, new) = (&old.config.labels, &new.config.labels);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let is_reported = reported.contains(name);
        if !is_reported && VOLATILE_LABELS.contains(&name.as_str()) {
            continue;
        }
        if [BASE_NAME, BASE_DIGEST].contains(&name.as_str())
            && let Some(BaseChange { from, to }) = base
        {
            let stated = |base: &'_ Option<BaseImage>| base.as_ref()?.label(name).cloned();
            // The row of the base image shows both values.
            if stated(from).as_ref() == old.get(name) && stated(to).as_ref() == new.get(name) {
                continue;
            }
        }
        let change = match (old.get(name), new.get(name)) {
            (None, _) => DifferenceKind::Added,
            (_, None) => DifferenceKind::Removed,
            (old, new) if old != new => DifferenceKind::Changed,
            _ => continue,
        };
        let value = |labels: &BTreeMap<String, String>| {
            let value = labels.get(name).filter(|_| is_reported)?;
            Some(masked_label(name, value))
        };
        changes.push(LabelChange {
            name: name.clone(),
            from: value(old),
            to: value(new),
            change,
        });
    }
    changes
}

impl BaseImage {
    /// The part of the base image that a label states.
    fn label(&self, name: &str) -> Option<&String> {
        match name {
            BASE_NAME => Some(&self.name),
            BASE_DIGEST => Some(&self.digest),
            _ => None,
        }
    }
}

fn base_change(old: &PlatformFacts, new: &PlatformFacts) -> Option<BaseChange> {
    let (from, to) = (base(old), base(new));
    (from != to).then_some(BaseChange { from, to })
}

/// The base image in the annotations of the manifest, otherwise in the labels.
fn base(image: &PlatformFacts) -> Option<BaseImage> {
    let of = |texts: &BTreeMap<String, String>| {
        Some(BaseImage {
            name: texts.get(BASE_NAME)?.clone(),
            digest: texts.get(BASE_DIGEST)?.clone(),
        })
    };
    of(&image.manifest.annotations).or_else(|| of(&image.config.labels))
}

/// The names that only one of two ordered lists contains.
fn names_between<N: AsRef<str> + Ord>(
    old: impl Iterator<Item = N>,
    new: impl Iterator<Item = N>,
) -> NameChanges {
    let (old, new): (BTreeSet<N>, BTreeSet<N>) = (old.collect(), new.collect());
    let names = |some: &BTreeSet<N>, others: &BTreeSet<N>| {
        let only = some.difference(others);
        only.map(|name| name.as_ref().to_owned()).collect()
    };
    NameChanges {
        added: names(&new, &old),
        removed: names(&old, &new),
    }
}

#[cfg(test)]
mod tests;
