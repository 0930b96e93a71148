//! The contents of images: read from their layers, and checked one image at a time.

use std::collections::HashSet;

use super::Services;
use crate::{
    base::error::{Class, Code, Error},
    contents::{
        ContentsByDigest, ImageContents,
        inventory::{
            self, Contents, Enumeration, ImageLayers, Inventory, LayerCache, ReadingProgress,
        },
        layers::{self, ContentFilter, MergeError},
    },
    core::checks::{self, Check, Standard, Status},
    oci::{
        Digest,
        registry::{Source, resolve::PlatformFacts},
    },
};

/// One platform of an image, and the source of its layers.
pub(crate) struct PlatformSource<'s> {
    /// The image's name in checks.
    pub image: &'s str,
    pub source: &'s Source,
    pub facts: &'s PlatformFacts,
}

/// A platform whose contents are read.
pub(crate) struct ExaminedPlatform<'s> {
    pub platform: PlatformSource<'s>,
    pub standards: &'s [Standard<'s>],
    /// The inventory with the kinds that are compared with those of another image; `None` if the contents are not
    /// compared.
    pub compared: Option<&'s Inventory>,
}

/// The verdict on the contents of one platform.
pub(crate) struct ContentVerdict {
    pub checks: Vec<Check>,
    /// The names by kind, if an inventory has kinds and the contents could be listed.
    pub kinds: Option<Enumeration>,
    /// `None` if the contents are not compared.
    pub contents: Option<ImageContents>,
}

/// Adds the contents for a comparison, or the reason that they were not read. Wrong bytes are an error.
pub(super) fn add_compared(
    compared: &mut ContentsByDigest,
    digest: Digest,
    verdict: Result<ContentVerdict, Error>,
) -> Result<(), Error> {
    let contents = match verdict {
        Ok(verdict) => verdict.contents.ok_or_else(|| "not read".to_owned()),
        Err(error) if error.class == Class::WrongBytes => return Err(error),
        Err(error) => Err(error.text()),
    };
    compared.insert(digest, contents);
    Ok(())
}

impl PlatformSource<'_> {
    fn describe(&self) -> String {
        format!("{} {}", self.image, self.facts.platform)
    }
}

/// Checks each platform against its standards. A layer that platforms share is fetched once; in a rehearsal, also
/// a layer of several sets.
pub(crate) fn check(
    platforms: &[ExaminedPlatform<'_>],
    services: &Services,
) -> Vec<Result<ContentVerdict, Error>> {
    let reading = ReadingProgress::default();
    let mut kept = services.kept_layers.borrow_mut();
    let work = verdicts(platforms, kept.as_mut(), &reading);
    services.wait_with(work, || reading.describe())
}

async fn verdicts(
    platforms: &[ExaminedPlatform<'_>],
    kept: Option<&mut LayerCache>,
    reading: &ReadingProgress,
) -> Vec<Result<ContentVerdict, Error>> {
    let standards = platforms.iter().flat_map(|examined| examined.standards);
    let mut filter = content_filter_of(standards);
    for inventory in platforms.iter().filter_map(|examined| examined.compared) {
        filter = filter.or(inventory::content_filter(inventory, &[]));
        filter.databases = true;
    }
    let facts = platforms.iter().map(|examined| examined.platform.facts);
    let mut own;
    let cache = if let Some(kept) = kept {
        kept.add_set(filter, facts);
        kept
    } else {
        own = LayerCache::new(filter, facts);
        &mut own
    };
    let mut verdicts = Vec::new();
    for (index, examined) in platforms.iter().enumerate() {
        let platform = &examined.platform;
        reading.begin(&platform.describe(), index, platforms.len());
        let layers = cache.read(platform.source, platform.facts, reading).await;
        verdicts.push(layers.and_then(|layers| verdict(examined, &layers)));
    }
    verdicts
}

/// Lists the contents of each platform and passes them to `convert` one at a time, so that they can
/// be dropped before the next are listed.
pub(crate) fn read<T>(
    platforms: &[PlatformSource<'_>],
    inventory: &Inventory,
    services: &Services,
    convert: impl Fn(Contents) -> T,
) -> Result<Vec<T>, Error> {
    let reading = ReadingProgress::default();
    let mut cache = LayerCache::new(
        inventory::content_filter(inventory, &[]),
        platforms.iter().map(|platform| platform.facts),
    );
    let work = async {
        let mut converted = Vec::new();
        for (index, platform) in platforms.iter().enumerate() {
            reading.begin(&platform.describe(), index, platforms.len());
            let layers = cache.read(platform.source, platform.facts, &reading);
            converted.push(convert(gather(platform, &layers.await?, inventory)?));
        }
        Ok(converted)
    };
    services.wait_with(work, || reading.describe())
}

/// Selects the contents that the standards need.
pub(crate) fn content_filter_of<'s>(
    standards: impl IntoIterator<Item = &'s Standard<'s>>,
) -> ContentFilter {
    let filters = standards.into_iter().map(content_filter);
    filters.reduce(ContentFilter::or).unwrap_or_default()
}

fn content_filter(standard: &Standard<'_>) -> ContentFilter {
    let length = standard.copy.map(|copy| copy.len() as u64);
    inventory::content_filter(standard.inventory, length.as_slice())
}

fn verdict(examined: &ExaminedPlatform<'_>, layers: &ImageLayers) -> Result<ContentVerdict, Error> {
    let platform = &examined.platform;
    let (mut checks, mut kinds) = (Vec::new(), None);
    for standard in examined.standards {
        let contents = gather(platform, layers, standard.inventory)?;
        if !standard.inventory.kinds.is_empty() {
            kinds = checks::hygiene::enumerate(standard.inventory, &contents).ok();
        }
        checks.extend(checks::check_contents(
            standard,
            platform.image,
            platform.facts,
            &contents,
        ));
    }
    // A finding of two standards is reported once. A check that one of them fails does not pass.
    let not_passed: HashSet<Code> = checks
        .iter()
        .filter(|check| check.status != Status::Pass)
        .map(|check| check.code)
        .collect();
    let mut known = HashSet::new();
    checks.retain(|check| {
        let is_new = known.insert((
            check.code,
            check.status.as_str(),
            check.item.clone(),
            check.detail.clone(),
        ));
        is_new && (check.status != Status::Pass || !not_passed.contains(&check.code))
    });
    let contents = examined
        .compared
        .map(|inventory| image_contents(platform, layers, inventory))
        .transpose()?;
    Ok(ContentVerdict {
        checks,
        kinds,
        contents,
    })
}

/// The contents that are compared with those of another image.
fn image_contents(
    platform: &PlatformSource<'_>,
    layers: &ImageLayers,
    inventory: &Inventory,
) -> Result<ImageContents, Error> {
    let kinds = if inventory.kinds.is_empty() {
        None
    } else {
        let contents = gather(platform, layers, inventory)?;
        checks::hygiene::enumerate(inventory, &contents).ok()
    };
    let databases = layers.iter().map(|layer| layer.database_bytes()).sum();
    let tree = layers::merge(layers.iter().map(AsRef::as_ref), |_| {})
        .map_err(|error| merge_error(platform, &error))?;
    Ok(ImageContents::read(&tree, databases, kinds))
}

fn merge_error(platform: &PlatformSource<'_>, error: &MergeError) -> Error {
    let image = format!("{}@{}", platform.source, platform.facts.digest);
    Error::unavailable(image, error.to_string())
}

fn gather(
    platform: &PlatformSource<'_>,
    layers: &ImageLayers,
    inventory: &Inventory,
) -> Result<Contents, Error> {
    let layers = layers.iter().map(AsRef::as_ref);
    inventory::gather(layers, inventory).map_err(|error| merge_error(platform, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        oci::{
            Tag, TagOrDigest,
            registry::{Layout, LayoutDirectory, resolve},
        },
        support::{archive::Archive, layout},
    };

    #[test]
    fn kept_layers_lacking_a_content_are_read_again() {
        let status = "Package: curl\nStatus: install ok installed\nVersion: 8\n\n";
        let layer = Archive::new().file("var/lib/dpkg/status", status).end();
        let platform = layout::Platform::new("linux/amd64", "a").layer(layer);
        let directory = tempfile::tempdir().unwrap();
        layout::Layout::at(&directory.path().join("app")).image("v1", &[platform]);
        let source = Source::Layout(Layout::new(LayoutDirectory::new("app", directory.path())));
        let tag = TagOrDigest::Tag(Tag::parse("v1").unwrap());
        let inventory = Inventory::default();
        let mut kept = LayerCache::for_sets(ContentFilter::default());
        let read = async {
            let facts = resolve::resolve(&source, &tag, &[]).await.unwrap().unwrap();
            let platform = PlatformSource {
                image: "app",
                source: &source,
                facts: &facts.platforms[0],
            };
            let examined = ExaminedPlatform {
                platform,
                standards: &[],
                compared: Some(&inventory),
            };
            verdicts(&[examined], Some(&mut kept), &ReadingProgress::default()).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let verdict = runtime.block_on(read).remove(0);
        let contents = verdict.unwrap().contents.unwrap();
        assert_eq!(contents.databases["deb"].as_ref().unwrap().len(), 1);
    }
}
