//! Verifies the bytes of one layer before and after decompression, and lists its entries.

use std::io::{BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::{
    archive::Archive,
    layer::{LayerTree, LayerTreeBuilder},
    limits::{Budget, ContentFilter, LayerError, LayerErrorKind},
    stream::{BlobReader, StreamHasher, UncompressedStream},
};
use crate::oci::{Descriptor, Digest};

/// The number of bytes of the blob that are read at once.
const CHUNK: usize = 64 * 1024;

/// The largest window of a zstd frame, as a power of two: 32 MiB. Compressors use smaller windows up to
/// level 20.
const ZSTD_WINDOW: u32 = 25;

/// The limit of a layer's uncompressed size is this constant plus 200 times its stored size (text
/// compresses about 20 times), and at most [`MAX_UNCOMPRESSED`]. It bounds the time for a
/// decompression bomb; memory use does not depend on it.
const MIN_UNCOMPRESSED: u64 = 2 << 30;

const MAX_UNCOMPRESSED: u64 = 64 << 30;

/// The compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// An uncompressed archive.
    Plain,
    /// RFC 1952, with any number of members.
    Gzip,
    /// RFC 8878, with any number of frames.
    Zstd,
}

impl Encoding {
    /// The compression of a layer with this media type; `None` if the type is not a layer type.
    /// Layers that must not be pushed (OCI: `nondistributable`, Docker: `foreign`) are read like all
    /// others if the source provides them.
    pub(crate) fn from_media_type(media_type: &str) -> Option<Self> {
        if let Some(rest) = media_type.strip_prefix("application/vnd.oci.image.layer.") {
            return match rest.strip_prefix("nondistributable.").unwrap_or(rest) {
                "v1.tar" => Some(Self::Plain),
                "v1.tar+gzip" => Some(Self::Gzip),
                "v1.tar+zstd" => Some(Self::Zstd),
                _ => None,
            };
        }
        let rest = media_type.strip_prefix("application/vnd.docker.image.rootfs.")?;
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

/// The properties of a layer from the image's manifest and config.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LayerDescriptor {
    /// The digest of the stored bytes.
    pub digest: Digest,
    /// The number of stored bytes.
    pub size: u64,
    /// The compression of the stored bytes.
    pub encoding: Encoding,
    /// The digest of the uncompressed bytes.
    pub diff_id: Digest,
}

impl LayerDescriptor {
    /// Combines a manifest's descriptor with the config's `diff_ids` entry at the same index.
    pub(crate) fn new(descriptor: &Descriptor, diff_id: Digest) -> Result<Self, LayerError> {
        let digest = descriptor.digest;
        let Some(encoding) = Encoding::from_media_type(&descriptor.media_type) else {
            return Err(LayerError {
                digest,
                kind: LayerErrorKind::MediaType(descriptor.media_type.clone()),
            });
        };
        Ok(Self {
            digest,
            size: descriptor.size,
            encoding,
            diff_id,
        })
    }

    /// The limit of the uncompressed size.
    fn uncompressed_limit(&self) -> u64 {
        MIN_UNCOMPRESSED
            .saturating_add(self.size.saturating_mul(200))
            .min(MAX_UNCOMPRESSED)
    }
}

/// Consumes a whole layer and verifies it. After an error, the contents of the image are unknown.
pub(crate) fn read_layer(
    reader: impl Read,
    layer: &LayerDescriptor,
    filter: &ContentFilter,
    budget: &Budget,
) -> Result<LayerTree, LayerError> {
    let mut blob = BlobReader::new(reader, layer.size);
    let tree = read_stored(
        BufReader::with_capacity(CHUNK, &mut blob),
        layer,
        filter,
        budget,
    );
    // A blob that does not match its descriptor explains every error in the archive, so it is reported
    // first.
    blob.finish(layer.digest)
        .and(tree)
        .map_err(|kind| LayerError {
            digest: layer.digest,
            kind,
        })
}

fn read_stored(
    blob: BufReader<impl Read>,
    layer: &LayerDescriptor,
    filter: &ContentFilter,
    budget: &Budget,
) -> Result<LayerTree, LayerErrorKind> {
    match layer.encoding {
        Encoding::Plain => read_archive(blob, layer, filter, budget),
        Encoding::Gzip => read_archive(MultiGzDecoder::new(blob), layer, filter, budget),
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(blob).map_err(LayerErrorKind::Read)?;
            decoder
                .window_log_max(ZSTD_WINDOW)
                .map_err(LayerErrorKind::Read)?;
            read_archive(decoder, layer, filter, budget)
        }
    }
}

fn read_archive(
    decoder: impl Read,
    layer: &LayerDescriptor,
    filter: &ContentFilter,
    budget: &Budget,
) -> Result<LayerTree, LayerErrorKind> {
    let mut archive = Archive::new(UncompressedStream::new(
        decoder,
        layer.encoding.name(),
        layer.uncompressed_limit(),
        StreamHasher::for_size(layer.size),
    ));
    let mut builder = LayerTreeBuilder::new(budget);
    while let Some(member) = archive.next()? {
        let selected = builder
            .add(&member, filter)
            .map_err(|error| error.locate(&archive))?;
        if let Some(entry) = selected {
            builder.add_content(entry, archive.content()?);
        }
    }
    let actual = archive.finish()?;
    if actual != layer.diff_id {
        return Err(LayerErrorKind::DiffId {
            expected: layer.diff_id,
            actual,
        });
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_of_oci_and_docker_are_recognized() {
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
            assert_eq!(Encoding::from_media_type(text), encoding, "{text}");
        }
    }
}
