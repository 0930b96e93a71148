//! The layers of images as lists of files, each read once however many images of a set share it.
//!
//! Images come one after the other, so that only one's lists are in memory, and those that a later
//! one shares; the layers of one image are fetched and read together, in as many blocking threads
//! as there are places. Nothing is merged here.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future;
use tokio::{sync::Semaphore, task};

use super::ReadingProgress;
use crate::{
    error::Error,
    layers::{
        Budget, ContentFilter, Encoding, LayerDescriptor, LayerError, LayerErrorKind, LayerTree,
        read_layer,
    },
    oci::Descriptor,
    registry::{Source, resolve::PlatformFacts},
};

/// How many layers are read at a time. A zstd layer takes two places, for its window may need 32
/// MiB.
const PLACES: u32 = 4;

/// What lists that wait for a later image may take in memory together, by our own count; over that
/// a layer is read again.
const SHARED: usize = 32 << 20;

/// The lists of one image's layers, the lowest first.
pub type Stack = Vec<Arc<LayerTree>>;

/// The layers of a run.
pub struct LayerCache {
    want: Arc<ContentFilter>,
    places: Semaphore,
    /// In how many of the platforms to come each layer is.
    uses: HashMap<LayerDescriptor, usize>,
    shared: HashMap<LayerDescriptor, Shared>,
}

struct Shared {
    tree: Arc<LayerTree>,
    /// The repository that it was read from.
    place: String,
}

/// A layer of an image, as its manifest and its config describe it: the stored blob and its content.
struct Layer<'m> {
    descriptor: &'m Descriptor,
    content: LayerDescriptor,
}

impl LayerCache {
    /// Prepares to read the layers of these platforms, for each of which [`Self::of`] is then
    /// called once. `want` selects the contents to keep.
    pub fn new<'p>(
        want: ContentFilter,
        platforms: impl IntoIterator<Item = &'p PlatformFacts>,
    ) -> Self {
        let mut uses = HashMap::new();
        for facts in platforms {
            for layer in distinct(&layers(facts).unwrap_or_default()) {
                *uses.entry(layer).or_default() += 1;
            }
        }
        Self {
            want: Arc::new(want),
            places: Semaphore::new(PLACES as usize),
            uses,
            shared: HashMap::new(),
        }
    }

    /// The layers of a platform of the image in `source`. Every error means that nothing is known
    /// about the image.
    pub async fn of(
        &mut self,
        source: &Source,
        facts: &PlatformFacts,
        reading: &ReadingProgress,
    ) -> Result<Stack, Error> {
        let layers = layers(facts)
            .map_err(|reason| no_verdict(format!("{source}@{}", facts.digest), reason))?;
        let budget = Arc::new(Budget::new(Budget::IMAGE));
        let mut seen = HashSet::new();
        let mut unread: Vec<&Layer<'_>> = layers
            .iter()
            .filter(|layer| seen.insert(&layer.content))
            .collect();
        unread.retain(|layer| !self.shared.contains_key(&layer.content));
        reading.expect(unread.iter().map(|layer| layer.descriptor.size).sum());
        // The largest first: whatever is left at the end is small.
        unread.sort_by_key(|layer| Reverse(layer.content.size));
        let known = layers
            .iter()
            .filter_map(|layer| Some((layer, self.shared.get(&layer.content)?)));
        let known = known.map(|(layer, shared)| again(source, layer.descriptor, shared, &budget));
        let read = unread
            .iter()
            .map(|layer| self.read(source, layer, &budget, reading));
        let (known, read) = future::join(future::join_all(known), future::join_all(read)).await;
        known.into_iter().collect::<Result<(), _>>()?;
        let mut fresh = HashMap::new();
        for (layer, tree) in unread.into_iter().zip(read) {
            fresh.insert(layer.content.clone(), Arc::new(tree?));
        }
        let tree = |layer: &Layer<'_>| {
            let content = &layer.content;
            let found = fresh
                .get(content)
                .or_else(|| self.shared.get(content).map(|shared| &shared.tree));
            found.map(Arc::clone)
        };
        let stack = layers.iter().filter_map(tree).collect();
        let place = source.to_string();
        self.shared.extend(fresh.into_iter().map(|(layer, tree)| {
            (
                layer,
                Shared {
                    tree,
                    place: place.clone(),
                },
            )
        }));
        self.forget(&layers);
        Ok(stack)
    }

    /// Forgets what no later image shares, and what would take too much memory.
    fn forget(&mut self, used: &[Layer<'_>]) {
        for layer in distinct(used) {
            self.uses.entry(layer).and_modify(|left| *left -= 1);
        }
        let mut free = SHARED;
        self.shared.retain(|layer, shared| {
            let wanted = self.uses.get(layer).is_some_and(|left| *left > 0);
            let kept = wanted && shared.tree.cost() <= free;
            free -= if kept { shared.tree.cost() } else { 0 };
            kept
        });
    }

    async fn read(
        &self,
        source: &Source,
        layer: &Layer<'_>,
        budget: &Arc<Budget>,
        reading: &ReadingProgress,
    ) -> Result<LayerTree, Error> {
        let Layer {
            descriptor,
            content: layer,
        } = layer;
        let what = || format!("layer {source}@{}", layer.digest);
        let places = if layer.encoding == Encoding::Zstd {
            2
        } else {
            1
        };
        let _places = self
            .places
            .acquire_many(places)
            .await
            .map_err(|error| no_verdict(what(), error.to_string()))?;
        let bytes = reading.counted(source.layer(descriptor).await?);
        let (layer, want, budget) = (layer.clone(), Arc::clone(&self.want), Arc::clone(budget));
        match task::spawn_blocking(move || read_layer(bytes, &layer, &want, &budget)).await {
            Ok(Ok(tree)) => Ok(tree),
            Ok(Err(error)) => Err(unread(what(), error)),
            Err(error) => Err(no_verdict(
                what(),
                format!("reading was interrupted: {error}"),
            )),
        }
    }
}

/// A layer that another image of the set has as well: it must be in this one's repository too.
async fn again(
    source: &Source,
    descriptor: &Descriptor,
    shared: &Shared,
    budget: &Budget,
) -> Result<(), Error> {
    budget
        .charge(shared.tree.cost())
        .map_err(|error| no_verdict(source.to_string(), error.to_string()))?;
    if shared.place == source.to_string() {
        Ok(())
    } else {
        source.check_layer(descriptor).await
    }
}

/// Each layer with the digest of its uncompressed bytes.
fn layers(facts: &PlatformFacts) -> Result<Vec<Layer<'_>>, String> {
    let (descriptors, diff_ids) = (&facts.manifest.layers, &facts.config.diff_ids);
    if descriptors.len() != diff_ids.len() {
        let (manifest, config) = (descriptors.len(), diff_ids.len());
        return Err(format!(
            "its manifest lists {manifest} layers, its config {config} (rootfs.diff_ids)"
        ));
    }
    let layer = |(descriptor, diff_id): (_, &_)| {
        LayerDescriptor::new(descriptor, *diff_id)
            .map(|content| Layer {
                descriptor,
                content,
            })
            .map_err(|error| error.to_string())
    };
    descriptors.iter().zip(diff_ids).map(layer).collect()
}

fn distinct(layers: &[Layer<'_>]) -> HashSet<LayerDescriptor> {
    layers.iter().map(|layer| layer.content.clone()).collect()
}

/// Errors of a source while a layer is read are reported unchanged.
fn unread(what: String, error: LayerError) -> Error {
    match error.fault {
        LayerErrorKind::Read(io) => match io.downcast::<Error>() {
            Ok(error) => error,
            Err(io) => no_verdict(what, io.to_string()),
        },
        fault => no_verdict(what, fault.to_string()),
    }
}

fn no_verdict(what: String, reason: String) -> Error {
    Error::unavailable(what, reason)
}
