//! Where image bytes come from: registries, and OCI image layouts on disk.
//!
//! Both give raw bytes and what was claimed about them; whether the bytes are what was requested is
//! decided once, in [`document`] and [`Source::config`]. What images contain
//! is for `layers` and `inventory`.

mod layer;
mod layout;
mod map;
mod memory;
pub mod remote;
pub mod resolve;

use std::fmt;

use tokio::sync::SemaphorePermit;

use crate::{
    error::Error,
    oci::{
        DOCUMENT_MAX, Descriptor, Digest, ImageConfig, Manifest, Tag, TagOrDigest, Verified,
        document,
    },
};

pub use crate::http::{Clock, ServerTime};
pub use layer::Layer;
pub use layout::Layout;
pub use map::{Sources, SourcesError};
pub use remote::{
    Deletion, Environment, ManifestEstimate, NextPage, Registries, Remote, Settings, SettingsError,
    TagPages, Tags,
};

/// One repository at the place that it is read from.
#[derive(Debug, Clone)]
pub enum Source {
    /// An image layout on disk.
    Layout(Layout),
    /// A repository of a registry.
    Remote(Remote),
}

impl Source {
    /// The manifest or index, verified; `None` if the source has no such tag or digest.
    ///
    /// `expected` is the media type that a parent descriptor gave.
    pub async fn manifest(
        &self,
        want: &TagOrDigest,
        expected: Option<&str>,
    ) -> Result<Option<Verified<Manifest>>, Error> {
        let what = format!("{self}{want}");
        let _permit = self.permit().await;
        let raw = match self {
            Self::Layout(layout) => {
                let (layout, want) = (layout.clone(), want.clone());
                blocking(&what, move || layout.manifest(&want)).await?
            }
            Self::Remote(remote) => remote.manifest(want, &what).await?,
        };
        raw.map(|raw| document::manifest(&raw, want, expected, &what))
            .transpose()
    }

    /// The config that a manifest names, verified.
    pub async fn config(&self, descriptor: &Descriptor) -> Result<Verified<ImageConfig>, Error> {
        let what = format!("config {self}@{}", descriptor.digest);
        let bytes = self.document(descriptor, &what).await?;
        document::config(&bytes, descriptor, &what)
    }

    /// The bytes of a small blob that a manifest names, verified.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let what = format!("blob {self}@{}", descriptor.digest);
        let bytes = self.document(descriptor, &what).await?;
        document::blob(&bytes, descriptor, &what)?;
        Ok(bytes)
    }

    /// The manifests that are attached to a digest, as far as a listing says so (OCI distribution
    /// specification, "Listing Referrers"). What they are is for their own bytes to say.
    pub async fn referrers(&self, digest: Digest) -> Result<Vec<Descriptor>, Error> {
        let listed = match self {
            Self::Layout(layout) => {
                let (layout, what) = (layout.clone(), format!("{self}@{digest}"));
                blocking(&what, move || layout.referrers(digest)).await?
            }
            Self::Remote(remote) => remote.referrers(digest).await?,
        };
        if !listed.is_empty() {
            return Ok(listed);
        }
        let tag = TagOrDigest::Tag(attached_tag(digest, "")?);
        match self.manifest(&tag, None).await?.map(|found| found.value) {
            None => Ok(Vec::new()),
            Some(Manifest::Index(index)) => Ok(index.manifests),
            Some(Manifest::Image(_)) => Err(Error::unavailable(
                format!("{self}{tag}"),
                "it is not an index of what is attached to the image",
            )),
        }
    }

    /// A document that a descriptor points to, not verified.
    async fn document(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>, Error> {
        if descriptor.size > DOCUMENT_MAX {
            return Err(Error::unavailable(
                what,
                format!("it has {} bytes, more than 4 MiB", descriptor.size),
            ));
        }
        let _permit = self.permit().await;
        match self {
            Self::Layout(layout) => {
                let (layout, descriptor) = (layout.clone(), descriptor.clone());
                blocking(what, move || layout.blob(&descriptor)).await
            }
            Self::Remote(remote) => remote.blob(descriptor, what).await,
        }
    }

    /// Registries have places of their own for requests.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        match self {
            Self::Layout(layout) => layout.memory.permit().await,
            Self::Remote(_) => None,
        }
    }

    /// The memory that is shared with the other sources of the set.
    fn memory(&self) -> &memory::Memory {
        match self {
            Self::Layout(layout) => &layout.memory,
            Self::Remote(remote) => &remote.memory,
        }
    }

    /// The bytes of a layer, to be read in a blocking thread while the runtime continues; never
    /// more than the descriptor says. Whether there are as many, and what they hash to, is for the
    /// reader to check.
    ///
    /// An unread layer of a registry holds one of the places that its host has: read it to
    /// its end or drop it.
    pub async fn layer(&self, descriptor: &Descriptor) -> Result<Layer, Error> {
        let what = format!("layer {self}@{}", descriptor.digest);
        match self {
            Self::Layout(layout) => {
                let (layout, descriptor) = (layout.clone(), descriptor.clone());
                blocking(&what, move || layout.layer(&descriptor))
                    .await
                    .map(Layer::from)
            }
            Self::Remote(remote) => remote.layer(descriptor, &what).await.map(Layer::from),
        }
    }

    /// That the source has a layer's bytes, whose content is known from elsewhere; an error if it
    /// has not.
    pub async fn has(&self, descriptor: &Descriptor) -> Result<(), Error> {
        match self {
            Self::Layout(_) => self.layer(descriptor).await.map(drop),
            Self::Remote(remote) => {
                remote
                    .has(descriptor, &format!("layer {self}@{}", descriptor.digest))
                    .await
            }
        }
    }
}

/// The tag under which something is attached to a digest: `sha256-HEX` and an ending.
pub fn attached_tag(digest: Digest, ending: &str) -> Result<Tag, Error> {
    let tag = format!("sha256-{}{ending}", digest.hex());
    Tag::parse(&tag).map_err(|error| Error::unavailable(tag, error.to_string()))
}

/// Runs file work beside the event loop.
async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::unavailable(
            what,
            format!("reading was interrupted: {error}"),
        )),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(layout) => fmt::Display::fmt(layout, f),
            Self::Remote(remote) => fmt::Display::fmt(remote, f),
        }
    }
}
