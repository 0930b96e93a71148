//! What contents pin, as kept between runs.
//!
//! A content is read once by a program: what it pins depends on its bytes, which its name is the hash
//! of, on the images, and on the program. Contents that a place searches depend on more and are read in
//! every run.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    ops::Range,
    time::UNIX_EPOCH,
};

use super::kept::{Keep, Keeping, Kept};
use crate::{config::Config, git::ObjectId, oci::Digest};

/// The pins of one content: which image, which digest.
pub(super) type Scanned = Vec<(usize, Digest)>;

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

    /// What each content pins. What cannot be read is replaced by what this run reads.
    pub(super) fn read(&mut self) -> Recalled {
        let recalled = self.kept.as_ref();
        let recalled = recalled.and_then(|kept| Recalled::of(kept, self.images).ok());
        if recalled.is_none() {
            self.kept = None;
        }
        recalled.unwrap_or_default()
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

/// The length of a pin as it is kept: the image and the digest.
const PIN: usize = 4 + 32;

/// What contents pin, as it was kept.
#[derive(Default)]
pub(super) struct Recalled {
    bytes: Vec<u8>,
    /// Where the pins of each content stand.
    places: HashMap<ObjectId, Range<usize>>,
}

impl Recalled {
    fn of(kept: &Kept, images: usize) -> io::Result<Self> {
        let mut bytes = Vec::new();
        kept.bytes()?.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let mut places = HashMap::new();
        while !rest.is_empty() {
            let malformed = || io::Error::other("malformed");
            let (id, pins) = entry(&mut rest).ok_or_else(malformed)?;
            if !self::pins(pins).all(|(image, _)| image < images) {
                return Err(malformed());
            }
            let end = bytes.len() - rest.len();
            places.insert(id, end - pins.len()..end);
        }
        Ok(Self { bytes, places })
    }

    /// What a content pins, if that was kept.
    pub(super) fn pins(&self, id: &ObjectId) -> Option<Scanned> {
        let place = self.places.get(id)?;
        Some(pins(&self.bytes[place.clone()]).collect())
    }
}

/// The next content, and its pins as they are kept.
fn entry<'b>(rest: &mut &'b [u8]) -> Option<(ObjectId, &'b [u8])> {
    let length = *rest.split_off_first()?;
    let id = ObjectId::from_bytes(rest.split_off(..usize::from(length))?)?;
    let pins = usize::try_from(number(rest.split_off(..4)?)).ok()?;
    let length = pins.checked_mul(PIN)?;
    Some((id, rest.split_off(..length)?))
}

fn pins(bytes: &[u8]) -> impl Iterator<Item = (usize, Digest)> {
    bytes.chunks_exact(PIN).map(|pin| {
        let (image, digest) = pin.split_at(4);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest);
        (number(image) as usize, Digest::from_bytes(hash))
    })
}

/// The least significant byte first.
fn number(bytes: &[u8]) -> u32 {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, byte| number << 8 | u32::from(*byte))
}
