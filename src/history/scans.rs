//! What contents pin, as kept between runs.
//!
//! A content is read once by a program: what it pins depends on its bytes, which its name is the hash
//! of, on the images, and on the program. Contents that a place searches depend on more and are read in
//! every run.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    time::UNIX_EPOCH,
};

use super::{
    kept::{Keep, Keeping, Kept},
    readings::Scanned,
};
use crate::{config::Config, git::ObjectId, oci::Digest};

/// What was found by earlier runs, and where it is kept.
pub(super) struct Scans {
    keep: Keep,
    question: Digest,
    kept: Option<Kept>,
    images: usize,
}

impl Scans {
    /// Those of these images; `None` where the program cannot be told from another one, as where there is no
    /// `/proc`.
    pub(super) fn of(keep: &Keep, config: &Config) -> Option<Self> {
        let program = fs::metadata("/proc/self/exe").ok()?;
        let built = program.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let version = concat!(env!("CARGO_PKG_VERSION"), " ", env!("REPIN_BUILD_COMMIT"));
        let mut text = format!("{version} {} {}", program.len(), built.as_nanos());
        for image in &config.images {
            text = format!("{text}\0{}", image.repository);
        }
        let question = Digest::of(text.as_bytes());
        let kept = keep.load(&question);
        Some(Self {
            keep: keep.clone(),
            question,
            kept,
            images: config.images.len(),
        })
    }

    /// What each content pins.
    pub(super) fn read(&self) -> HashMap<ObjectId, Scanned> {
        let Some(kept) = &self.kept else {
            return HashMap::new();
        };
        decoded(kept, self.images).unwrap_or_else(|_| {
            self.keep.forget(&self.question);
            HashMap::new()
        })
    }

    /// Adds what was read in this run.
    pub(super) fn add(self, found: &[(ObjectId, Scanned)]) {
        let (Ok(mut keeping), mut entry) = (Keeping::new(), Vec::new()) else {
            return;
        };
        for (id, pins) in found {
            entry.clear();
            encode(id, pins, &mut entry);
            // Bytes are added to memory alone.
            let _ = keeping.add(&entry);
        }
        self.keep
            .store(&self.question, None, self.kept.as_ref(), keeping);
    }
}

/// The length of a name and the name, the number of pins, and for each the image and the digest.
fn encode(id: &ObjectId, pins: &Scanned, bytes: &mut Vec<u8>) {
    bytes.push(u8::try_from(id.bytes().len()).unwrap_or_default());
    bytes.extend_from_slice(id.bytes());
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(&number(pins.len()));
    for (image, digest) in pins {
        bytes.extend_from_slice(&number(*image));
        bytes.extend_from_slice(&digest.bytes());
    }
}

fn decoded(kept: &Kept, images: usize) -> io::Result<HashMap<ObjectId, Scanned>> {
    let mut bytes = Vec::new();
    kept.bytes()?.read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut found = HashMap::new();
    while !rest.is_empty() {
        let entry = entry(&mut rest).filter(|(_, pins)| pins.iter().all(|(at, _)| *at < images));
        let (id, pins) = entry.ok_or_else(|| io::Error::other("malformed"))?;
        found.insert(id, pins);
    }
    Ok(found)
}

fn entry(rest: &mut &[u8]) -> Option<(ObjectId, Scanned)> {
    let length = *rest.split_off_first()?;
    let id = ObjectId::from_bytes(rest.split_off(..usize::from(length))?)?;
    let number = |rest: &mut &[u8]| {
        let bytes = rest.split_off(..4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let pins = (0..number(rest)?).map(|_| {
        let image = number(rest)?;
        let digest: [u8; 32] = rest.split_off(..32)?.try_into().ok()?;
        Some((image, Digest::from_bytes(digest)))
    });
    Some((id, pins.collect::<Option<_>>()?))
}
