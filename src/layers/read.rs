//! One layer from its bytes: verified twice while it streams, its list of files kept, its contents
//! dropped.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::{
    archive::Archive,
    error::{LayerError, LayerErrorKind},
    layer::{Builder, LayerTree},
    limits::{Budget, ContentFilter},
    stream::{Announced, Plain},
    sum::Sum,
};
use crate::oci::{Descriptor, Digest};

/// Bytes of the blob that are read together.
const CHUNK: usize = 64 * 1024;

/// The largest window that a zstd frame may ask for, as a power of two: 32 MiB. Compressors stay
/// below it up to level 20.
const ZSTD_WINDOW: u32 = 25;

/// A layer of any size may inflate to this much, and 200 times its size on top (text reaches 20),
/// but never to more than [`INFLATED_MAX`]. Memory does not depend on it; it bounds the time that a
/// bomb costs.
const INFLATED_BASE: u64 = 2 << 30;

/// What no layer may inflate to.
const INFLATED_MAX: u64 = 64 << 30;

/// How a layer's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Plain,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

impl Encoding {
    /// What a layer's media type says; `None` for what is not a layer. Layers that are not to be
    /// pushed (OCI: `nondistributable`, Docker: `foreign`) are layers like all others: their bytes
    /// count if the source has them.
    pub fn of(media_type: &str) -> Option<Self> {
        let oci = "application/vnd.oci.image.layer.";
        let docker = "application/vnd.docker.image.rootfs.";
        if let Some(rest) = media_type.strip_prefix(oci) {
            return match rest.strip_prefix("nondistributable.").unwrap_or(rest) {
                "v1.tar" => Some(Self::Plain),
                "v1.tar+gzip" => Some(Self::Gzip),
                "v1.tar+zstd" => Some(Self::Zstd),
                _ => None,
            };
        }
        let rest = media_type.strip_prefix(docker)?;
        match rest.strip_prefix("foreign.").unwrap_or(rest) {
            "diff.tar" => Some(Self::Plain),
            "diff.tar.gzip" => Some(Self::Gzip),
            "diff.tar.zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What is known about a layer before its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerDescriptor {
    /// Of the bytes as they are stored.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// How they are compressed.
    pub encoding: Encoding,
    /// Of the uncompressed bytes, by the image's config.
    pub diff_id: Digest,
}

impl LayerDescriptor {
    /// A manifest's descriptor together with the config's `diff_ids` entry at the same position.
    pub fn new(descriptor: &Descriptor, diff_id: Digest) -> Result<Self, LayerError> {
        let digest = descriptor.digest;
        match Encoding::of(&descriptor.media_type) {
            Some(encoding) => Ok(Self {
                digest,
                size: descriptor.size,
                encoding,
                diff_id,
            }),
            None => Err(LayerError {
                digest,
                fault: LayerErrorKind::MediaType(descriptor.media_type.clone()),
            }),
        }
    }

    /// What the uncompressed bytes may amount to.
    fn limit(&self) -> u64 {
        INFLATED_BASE
            .saturating_add(self.size.saturating_mul(200))
            .min(INFLATED_MAX)
    }
}

/// Reads one layer to its end. Every error means that nothing is known about the image.
pub fn read_layer(
    reader: impl Read,
    layer: &LayerDescriptor,
    want: &ContentFilter,
    budget: &Budget,
) -> Result<LayerTree, LayerError> {
    let mut blob = Announced::new(reader, layer.size);
    let listed = decoded(
        BufReader::with_capacity(CHUNK, &mut blob),
        layer,
        want,
        budget,
    );
    // A blob that does not match its descriptor explains any error in it, and is reported first.
    let fault = |fault| LayerError {
        digest: layer.digest,
        fault,
    };
    blob.finish(layer.digest).map_err(fault)?;
    listed.map_err(fault)
}

fn decoded(
    blob: BufReader<impl Read>,
    layer: &LayerDescriptor,
    want: &ContentFilter,
    budget: &Budget,
) -> Result<LayerTree, LayerErrorKind> {
    match layer.encoding {
        Encoding::Plain => list(blob, layer, want, budget),
        Encoding::Gzip => list(MultiGzDecoder::new(blob), layer, want, budget),
        Encoding::Zstd => list(
            zstd_decoder(blob).map_err(LayerErrorKind::Read)?,
            layer,
            want,
            budget,
        ),
    }
}

fn zstd_decoder<R: Read>(blob: BufReader<R>) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(blob)?;
    decoder.window_log_max(ZSTD_WINDOW)?;
    Ok(decoder)
}

fn list(
    decoder: impl Read,
    layer: &LayerDescriptor,
    want: &ContentFilter,
    budget: &Budget,
) -> Result<LayerTree, LayerErrorKind> {
    let (name, sum) = (layer.encoding.name(), Sum::of(layer.size));
    let mut archive = Archive::new(Plain::new(decoder, name, layer.limit(), sum));
    let mut builder = Builder::new(layer.diff_id, budget);
    while let Some(member) = archive.next()? {
        let content = builder
            .add(&member, want)
            .map_err(|error| error.at(&archive))?;
        if let Some(entry) = content {
            builder.keep(entry, archive.content()?)?;
        }
    }
    let got = archive.finish()?;
    match layer.diff_id {
        announced if announced == got => Ok(builder.done()),
        announced => Err(LayerErrorKind::DiffId { announced, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_of_both_families_are_layers() {
        for (text, encoding) in [
            (
                "application/vnd.oci.image.layer.v1.tar",
                Some(Encoding::Plain),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                Some(Encoding::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                Some(Encoding::Zstd),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Some(Encoding::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Some(Encoding::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar",
                Some(Encoding::Plain),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                None,
            ),
            ("application/vnd.in-toto+json", None),
            ("", None),
        ] {
            assert_eq!(Encoding::of(text), encoding, "{text}");
        }
    }
}
