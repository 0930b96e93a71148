//! The contents of images, gathered from their layers and judged one image at a time.

use std::collections::HashSet;

use crate::{
    checks::{self, Check, Standard, Status},
    code::Code,
    config::Inventory,
    error::Error,
    inventory::{self, Contents, Enumeration, ImageLayers, LayerCache, ReadingProgress},
    layers::ContentFilter,
    registry::{Source, resolve::PlatformFacts},
};

/// One platform of an image, and where its layers are.
pub struct Subject<'s> {
    /// The image's name in checks.
    pub name: &'s str,
    /// Where its layers are read from.
    pub source: &'s Source,
    /// The platform's manifest and configuration.
    pub facts: &'s PlatformFacts,
}

/// What the contents of one platform showed.
pub struct Verdict {
    /// Every check.
    pub checks: Vec<Check>,
    /// The names by kind, where an inventory has kinds and the contents could be listed.
    pub kinds: Option<Enumeration>,
}

impl Subject<'_> {
    /// The image and its platform.
    fn described(&self) -> String {
        format!("{} {}", self.name, self.facts.platform)
    }
}

/// Checks each of `subjects` against its standards; a layer that several share is read once.
pub async fn verdicts(
    subjects: &[(Subject<'_>, &[Standard<'_>])],
    reading: &ReadingProgress,
) -> Vec<Result<Verdict, Error>> {
    let wants = subjects
        .iter()
        .flat_map(|(_, standards)| standards.iter())
        .map(want);
    let want = wants.reduce(ContentFilter::or).unwrap_or_default();
    let mut stacks = LayerCache::new(want, subjects.iter().map(|(subject, _)| subject.facts));
    let mut verdicts = Vec::new();
    for (at, (subject, standards)) in subjects.iter().enumerate() {
        reading.begin(&subject.described(), at, subjects.len());
        let stack = stacks.read(subject.source, subject.facts, reading).await;
        verdicts.push(stack.and_then(|stack| verdict(subject, standards, &stack)));
    }
    verdicts
}

/// Reads the contents of each of `subjects` and passes them to `use_of` one at a time, so that each
/// can be dropped before the next is read.
pub async fn contents<T>(
    subjects: &[Subject<'_>],
    inventory: &Inventory,
    reading: &ReadingProgress,
    use_of: impl Fn(Contents) -> T,
) -> Result<Vec<T>, Error> {
    let mut stacks = LayerCache::new(
        inventory::content_filter(inventory, &[]),
        subjects.iter().map(|subject| subject.facts),
    );
    let mut all = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        reading.begin(&subject.described(), at, subjects.len());
        let stack = stacks.read(subject.source, subject.facts, reading).await?;
        all.push(use_of(gather(subject, &stack, inventory)?));
    }
    Ok(all)
}

fn want(standard: &Standard<'_>) -> ContentFilter {
    let length = standard.copy.map(|copy| copy.len() as u64);
    inventory::content_filter(standard.inventory, length.as_slice())
}

fn verdict(
    subject: &Subject<'_>,
    standards: &[Standard<'_>],
    stack: &ImageLayers,
) -> Result<Verdict, Error> {
    let (mut checks, mut kinds) = (Vec::new(), None);
    for standard in standards {
        let contents = gather(subject, stack, standard.inventory)?;
        if kinds.is_none() && !standard.inventory.kinds.is_empty() {
            kinds = checks::hygiene::enumerate(standard.inventory, &contents).ok();
        }
        checks.extend(checks::contents(
            standard,
            subject.name,
            subject.facts,
            &contents,
        ));
    }
    // A finding of two standards is reported once; a failure of one is not a pass of the other.
    let wrong: HashSet<Code> = checks
        .iter()
        .filter(|check| check.status != Status::Pass)
        .map(|check| check.code)
        .collect();
    let mut told = HashSet::new();
    checks.retain(|check| {
        let new = told.insert((
            check.code,
            check.status.as_str(),
            check.item.clone(),
            check.detail.clone(),
        ));
        new && (check.status != Status::Pass || !wrong.contains(&check.code))
    });
    Ok(Verdict { checks, kinds })
}

fn gather(
    Subject { source, facts, .. }: &Subject<'_>,
    stack: &ImageLayers,
    inventory: &Inventory,
) -> Result<Contents, Error> {
    let layers = stack.iter().map(std::convert::AsRef::as_ref);
    let what = || format!("{source}@{}", facts.digest);
    inventory::gather(layers, inventory)
        .map_err(|error| Error::unavailable(what(), error.to_string()))
}
