//! The pins of the blobs of past commits.
//!
//! The pins of a file to which places apply depend on the configuration of its commit, so one blob may
//! have a reading for each configuration. git sends the blobs while the walk continues, and the thread
//! that receives them looks up the readings of each in [`Readings`].

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    io::{self, Read},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::periods::Rules;
use crate::{
    base::files::TooLargeForPins,
    core::pins::{FilePlaces, FileScanner, Finder, Scan, WholeFile, mentions, read_whole},
    git::ObjectId,
    oci::Digest,
};

/// The distinct pins of one blob: the number of the repository and the digest, sorted.
pub(super) type PinList = Vec<(usize, Digest)>;

/// A blob with its reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    pub(super) id: ObjectId,
    /// The number of the reading; `None` if only the repositories of the current configuration are searched.
    pub(super) reading: Option<usize>,
}

/// The pins of a blob, and the reason if they are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BlobPins {
    pub(super) pins: PinList,
    /// The location and the reason of a refused entry (`LINE:COLUMN: reason`), or the reason for which the
    /// blob cannot be read.
    pub(super) refused: Option<Arc<str>>,
}

/// The pins of all blobs.
#[derive(Debug, Default)]
pub(super) struct ScannedBlobs {
    /// The pins of each blob, except blobs without pins.
    pub(super) pins: HashMap<Blob, BlobPins>,
    /// Every digest in a blob to which a place applies, or that is too large.
    pub(super) place_digests: BTreeSet<Digest>,
}

/// The readings of a walk, shared with the thread that receives the blobs.
#[derive(Clone, Default)]
pub(super) struct Readings {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// The readings of the requested blobs.
    requested: HashMap<ObjectId, Vec<Option<usize>>>,
    numbers: HashMap<(String, FilePlaces), usize>,
    readings: Vec<(FileScanner, FilePlaces)>,
    blobs: ScannedBlobs,
}

impl Readings {
    /// The number of the reading by these rules; `None` if the repositories of the current configuration
    /// and no places are searched.
    pub(super) fn number(&self, rules: &Rules, places: FilePlaces) -> Option<usize> {
        if places.is_empty() && !rules.has_other_repositories {
            return None;
        }
        let shared = &mut *self.lock();
        let number = match shared
            .numbers
            .entry((rules.reading.clone(), places.clone()))
        {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                shared.readings.push((rules.scanner.clone(), places));
                *unknown.insert(shared.readings.len() - 1)
            }
        };
        Some(number)
    }

    /// Adds a reading for a blob that is about to be requested.
    pub(super) fn request(&self, blob: Blob) {
        let mut shared = self.lock();
        let readings = shared.requested.entry(blob.id).or_default();
        readings.push(blob.reading);
    }

    /// Returns the function that reads the received blobs.
    pub(super) fn reader(
        &self,
        finder: Finder,
    ) -> impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<PinList>> + Send + 'static {
        let readings = self.clone();
        let mut buffer = Vec::new();
        move |id, content| {
            let requested = readings.take_requested(id);
            let text = match read_whole(content, &mut buffer)? {
                WholeFile::Complete(text) => text,
                // The pins are unknown, so every digest may be one.
                WholeFile::TooLarge(content) => {
                    readings.add_place_digests(content)?;
                    for reading in requested {
                        readings.add_too_large(Blob { id: *id, reading });
                    }
                    return Ok(None);
                }
            };
            let numbers: Vec<_> = requested.iter().copied().flatten().collect();
            let mut has_places = false;
            for (number, (scanner, places)) in numbers.iter().zip(readings.scanners(&numbers)) {
                let reading = Some(*number);
                has_places |= !places.is_empty();
                readings.add(Blob { id: *id, reading }, &scanner.scan(text, &places));
            }
            if has_places {
                readings.add_place_digests(text)?;
            }
            if !requested.contains(&None) {
                return Ok(None);
            }
            let pins = pin_list(&finder.scan(text));
            Ok((!pins.is_empty()).then_some(pins))
        }
    }

    /// The pins of all blobs; `plain` are those of blobs to which no place applies.
    pub(super) fn into_blobs(self, plain: HashMap<ObjectId, PinList>) -> ScannedBlobs {
        let mut blobs = mem::take(&mut self.lock().blobs);
        for (id, pins) in plain {
            let refused = None;
            let blob = Blob { id, reading: None };
            blobs.pins.insert(blob, BlobPins { pins, refused });
        }
        blobs
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_requested(&self, id: &ObjectId) -> Vec<Option<usize>> {
        self.lock().requested.remove(id).unwrap_or_default()
    }

    fn scanners(&self, numbers: &[usize]) -> Vec<(FileScanner, FilePlaces)> {
        let shared = self.lock();
        numbers
            .iter()
            .map(|number| shared.readings[*number].clone())
            .collect()
    }

    fn add(&self, blob: Blob, scan: &Scan) {
        let refused = scan.refused.first().map(|refused| {
            let (line, column, reason) = (refused.line, refused.column, &refused.reason);
            format!("{line}:{column}: {reason}").into()
        });
        let pins = pin_list(scan);
        if !pins.is_empty() || refused.is_some() {
            let mut shared = self.lock();
            shared.blobs.pins.insert(blob, BlobPins { pins, refused });
        }
    }

    fn add_too_large(&self, blob: Blob) {
        let (pins, refused) = (PinList::new(), Some(format!(" {TooLargeForPins}").into()));
        let pins = BlobPins { pins, refused };
        self.lock().blobs.pins.insert(blob, pins);
    }

    fn add_place_digests(&self, content: impl Read) -> io::Result<()> {
        let mentions = mentions(content, &mut Vec::new())?;
        let digests = mentions.iter().map(|mention| mention.digest);
        self.lock().blobs.place_digests.extend(digests);
        Ok(())
    }
}

fn pin_list(scan: &Scan) -> PinList {
    let pins = scan.pins.iter().map(|pin| (pin.image, pin.digest));
    let distinct: BTreeSet<_> = pins.collect();
    distinct.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::files::RelPath,
        config,
        core::history::{periods::Slots, tests::examples::id},
    };

    const CONFIG: &str = "version: 1
files: [values.yaml]
images:
  fix: { repository: r.example/fix, pins: 2 }
places:
  keys: { files: [values.yaml], entry: /fix, digest: digest, image: fix }
";

    fn digest(digit: char) -> Digest {
        Digest::from_hex(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn blob_that_git_cannot_send_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let readings = Readings::default();
        let (id, reading) = (id(1), None);
        readings.request(Blob { id, reading });
        let error = readings.reader(Finder::for_images(&[]))(&id, &mut Broken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(readings.into_blobs(HashMap::new()).pins.is_empty());
    }

    #[test]
    fn blob_is_read_once_for_each_reading() {
        let config = config::example(CONFIG);
        let mut rules = Rules::new(&config, &mut Slots::new(&config));
        let places = (rules.scanner).places_of(&RelPath::parse("values.yaml").unwrap(), &|_| false);
        let readings = Readings::default();
        let mut number = |reading: &str| {
            rules.reading = reading.to_owned();
            readings.number(&rules, places.clone())
        };
        assert_eq!(
            [number("a"), number("b"), number("a")],
            [Some(0), Some(1), Some(0)]
        );
        assert_eq!(readings.number(&rules, FilePlaces::default()), None);

        let mut reader = readings.reader(Finder::for_images(&config.images));
        let mut read = |number: usize, requested: &[Option<usize>], text: &str| {
            for reading in requested {
                let (id, reading) = (id(number), *reading);
                readings.request(Blob { id, reading });
            }
            reader(&id(number), &mut text.as_bytes()).unwrap()
        };
        let (a, b, c) = (digest('a'), digest('b'), digest('c'));
        let text = format!("a: r.example/fix@{b}\nfix: {{ digest: '{a}' }}\n");
        let twice = format!("fix:\n  digest: '{b}'\n  digest: '{b}'\n");
        assert_eq!(
            read(1, &[Some(0), None, Some(1)], &text),
            Some(vec![(0, b)])
        );
        // The requests of a blob are served once.
        assert_eq!(read(1, &[], &text), None);
        assert_eq!(read(2, &[Some(1)], &text), None);
        let whole = format!("r.example/fix@{a} {c}");
        assert_eq!(read(3, &[None], &whole), Some(vec![(0, a)]));
        assert_eq!(read(4, &[Some(0)], &twice), None);
        assert_eq!(read(5, &[Some(0), None], "fix: {}"), None);

        let blobs = readings.clone().into_blobs(HashMap::new());
        let pins = |number, reading| {
            let id = id(number);
            let found = blobs.pins.get(&Blob { id, reading });
            found.map(|found| (found.pins.clone(), found.refused.is_some()))
        };
        let both = Some((vec![(0, a), (0, b)], false));
        assert_eq!(
            [pins(1, Some(0)), pins(1, Some(1)), pins(2, Some(1))],
            [(); 3].map(|()| both.clone())
        );
        assert_eq!(pins(4, Some(0)), Some((Vec::new(), true)));
        assert_eq!(blobs.pins.len(), 4);
        assert_eq!(blobs.place_digests, BTreeSet::from([a, b]));
    }
}
