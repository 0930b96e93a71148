//! Fetches the layers of a run's images, each layer once for all images that share it.
//!
//! The images are processed in sequence, so that only the entries of one image and of shared layers
//! are in memory. The layers of one image are fetched and parsed concurrently on a bounded number
//! of blocking threads. `layers` merges them.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future;
use tokio::{sync::Semaphore, task};

use super::ReadingProgress;
use crate::{
    base::error::{Class, Error},
    contents::layers::{
        Budget, ContentFilter, Encoding, LayerDescriptor, LayerError, LayerErrorKind, LayerTree,
        read_layer,
    },
    oci::{
        Descriptor,
        registry::{Source, resolve::PlatformFacts},
    },
};

/// The number of layers that are read concurrently. A zstd layer counts twice, because its window may
/// need 32 MiB.
const MAX_READERS: usize = 4;

/// The memory for the entries of layers that a later image shares. Other layers are fetched for
/// each image.
const MAX_SHARED: usize = 32 << 20;

/// The memory for the entries of layers that a run keeps for later sets, because they are likely to
/// contain the same layers.
const MAX_KEPT: usize = 128 << 20;

/// The layers of an image, the lowest first.
pub(crate) type ImageLayers = Vec<Arc<LayerTree>>;

/// The layers of a run.
pub(crate) struct LayerCache {
    filter: Arc<ContentFilter>,
    readers: Semaphore,
    /// The number of unread platforms that contain each layer.
    uses: HashMap<LayerDescriptor, usize>,
    shared: HashMap<LayerDescriptor, SharedLayer>,
    retention: Retention,
}

/// The layers that remain after an image was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retention {
    /// Those that a later image of the set contains.
    OfSet,
    /// All, because another set follows.
    All,
}

struct SharedLayer {
    tree: Arc<LayerTree>,
    /// The repositories that contain the layer.
    repositories: HashSet<String>,
}

/// A layer of an image: its descriptor in the manifest, combined with its entry in the config.
struct Layer<'m> {
    blob: &'m Descriptor,
    descriptor: LayerDescriptor,
}

impl LayerCache {
    /// Creates a cache for these platforms. The caller calls [`Self::read`] once for each of them.
    pub(crate) fn new<'p>(
        filter: ContentFilter,
        platforms: impl IntoIterator<Item = &'p PlatformFacts>,
    ) -> Self {
        let mut cache = Self::from_filter(filter, Retention::OfSet);
        cache.expect(platforms);
        cache
    }

    /// Creates a cache for several sets. `filter`: the filter of all of them.
    pub(crate) fn for_sets(filter: ContentFilter) -> Self {
        Self::from_filter(filter, Retention::All)
    }

    fn from_filter(filter: ContentFilter, retention: Retention) -> Self {
        Self {
            filter: Arc::new(filter),
            readers: Semaphore::new(MAX_READERS),
            uses: HashMap::new(),
            shared: HashMap::new(),
            retention,
        }
    }

    /// Prepares the cache for the platforms of another set. Layers that lack a content that `filter`
    /// selects are read again.
    pub(crate) fn add_set<'p>(
        &mut self,
        filter: ContentFilter,
        platforms: impl IntoIterator<Item = &'p PlatformFacts>,
    ) {
        if !self.filter.covers(&filter) {
            self.filter = Arc::new((*self.filter).clone().or(filter));
            self.shared.clear();
        }
        self.expect(platforms);
    }

    fn expect<'p>(&mut self, platforms: impl IntoIterator<Item = &'p PlatformFacts>) {
        for facts in platforms {
            for layer in distinct(&layers(facts).unwrap_or_default()) {
                *self.uses.entry(layer).or_default() += 1;
            }
        }
    }

    /// Fetches the layers of a platform of the image in `source`. After an error, the contents of
    /// the image are unknown.
    pub(crate) async fn read(
        &mut self,
        source: &Source,
        facts: &PlatformFacts,
        progress: &ReadingProgress,
    ) -> Result<ImageLayers, Error> {
        let layers = layers(facts)
            .map_err(|reason| Error::unavailable(format!("{source}@{}", facts.digest), reason))?;
        let budget = Arc::new(Budget::new(Budget::IMAGE));
        let mut shared_layers = Vec::new();
        let mut unread = Vec::new();
        let mut seen = HashSet::new();
        for layer in &layers {
            match self.shared.get(&layer.descriptor) {
                Some(shared) => shared_layers.push((layer, shared)),
                None if seen.insert(&layer.descriptor) => unread.push(layer),
                None => {}
            }
        }
        progress.expect(unread.iter().map(|layer| layer.blob.size).sum());
        // The largest first, so that the last one to finish is small.
        unread.sort_by_key(|layer| Reverse(layer.descriptor.size));
        let checks = shared_layers
            .into_iter()
            .map(|(layer, shared)| check_shared(source, layer.blob, shared, &budget));
        let reads = unread
            .iter()
            .map(|layer| self.read_layer(source, layer, &budget, progress));
        let (checked, read) = future::join(future::join_all(checks), future::join_all(reads)).await;
        checked.into_iter().collect::<Result<(), _>>()?;
        let trees = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        let repository = source.to_string();
        for (layer, tree) in unread.iter().zip(trees) {
            let shared = SharedLayer {
                tree: Arc::new(tree),
                repositories: HashSet::new(),
            };
            self.shared.insert(layer.descriptor.clone(), shared);
        }
        for layer in &layers {
            if let Some(shared) = self.shared.get_mut(&layer.descriptor) {
                shared.repositories.insert(repository.clone());
            }
        }
        let trees = layers
            .iter()
            .filter_map(|layer| Some(Arc::clone(&self.shared.get(&layer.descriptor)?.tree)))
            .collect();
        self.evict(&layers);
        Ok(trees)
    }

    /// Drops the layers that no later image contains, and those beyond the memory limit.
    fn evict(&mut self, read: &[Layer<'_>]) {
        for layer in distinct(read) {
            self.uses.entry(layer).and_modify(|uses| *uses -= 1);
        }
        let keeps_all = self.retention == Retention::All;
        let mut free = if keeps_all { MAX_KEPT } else { MAX_SHARED };
        self.shared.retain(|layer, shared| {
            let databases = usize::try_from(shared.tree.database_bytes()).unwrap_or(usize::MAX);
            let cost = shared.tree.cost().saturating_add(databases);
            let is_used = keeps_all || self.uses.get(layer).is_some_and(|uses| *uses > 0);
            if !is_used || cost > free || shared.tree.is_incomplete() {
                return false;
            }
            free -= cost;
            true
        });
    }

    async fn read_layer(
        &self,
        source: &Source,
        layer: &Layer<'_>,
        budget: &Arc<Budget>,
        progress: &ReadingProgress,
    ) -> Result<LayerTree, Error> {
        let descriptor = layer.descriptor.clone();
        let subject = format!("layer {source}@{}", descriptor.digest);
        let readers = if descriptor.encoding == Encoding::Zstd {
            2
        } else {
            1
        };
        let _permit = match self.readers.acquire_many(readers).await {
            Ok(permit) => permit,
            Err(error) => return Err(Error::unavailable(subject, error.to_string())),
        };
        let blob = progress.count(source.layer(layer.blob).await?);
        let (filter, budget) = (Arc::clone(&self.filter), Arc::clone(budget));
        match task::spawn_blocking(move || read_layer(blob, &descriptor, &filter, &budget)).await {
            Ok(Ok(tree)) => Ok(tree),
            Ok(Err(error)) => Err(layer_error(subject, error)),
            Err(error) => Err(Error::unavailable(
                subject,
                format!("reading was interrupted: {error}"),
            )),
        }
    }
}

/// Charges a cached layer to the image, and checks that the image's own repository contains it.
async fn check_shared(
    source: &Source,
    blob: &Descriptor,
    shared: &SharedLayer,
    budget: &Budget,
) -> Result<(), Error> {
    budget
        .charge(shared.tree.cost())
        .map_err(|error| Error::unavailable(source.to_string(), error.to_string()))?;
    budget.charge_database(shared.tree.database_bytes());
    if shared.repositories.contains(&source.to_string()) {
        return Ok(());
    }
    source.check_layer(blob).await
}

/// The layers of a platform, each with the digest of its uncompressed bytes.
fn layers(facts: &PlatformFacts) -> Result<Vec<Layer<'_>>, String> {
    let (blobs, diff_ids) = (&facts.manifest.layers, &facts.config.diff_ids);
    if blobs.len() != diff_ids.len() {
        let (manifest, config) = (blobs.len(), diff_ids.len());
        return Err(format!(
            "its manifest lists {manifest} layers, its config {config} (rootfs.diff_ids)"
        ));
    }
    let mut layers = Vec::new();
    for (blob, diff_id) in blobs.iter().zip(diff_ids) {
        let descriptor = LayerDescriptor::new(blob, *diff_id).map_err(|error| error.to_string())?;
        layers.push(Layer { blob, descriptor });
    }
    Ok(layers)
}

fn distinct(layers: &[Layer<'_>]) -> HashSet<LayerDescriptor> {
    layers
        .iter()
        .map(|layer| layer.descriptor.clone())
        .collect()
}

/// Converts an error of `read_layer`. An error of the source is returned unchanged.
fn layer_error(subject: String, error: LayerError) -> Error {
    match error.kind {
        LayerErrorKind::Read(io) => match io.downcast::<Error>() {
            Ok(error) => error,
            Err(io) => Error::unavailable(subject, io.to_string()),
        },
        kind @ (LayerErrorKind::Truncated { .. }
        | LayerErrorKind::TooLong { .. }
        | LayerErrorKind::Digest { .. }
        | LayerErrorKind::DiffId { .. }) => {
            Error::about(Class::WrongBytes, subject, kind.to_string())
        }
        kind => Error::unavailable(subject, kind.to_string()),
    }
}
