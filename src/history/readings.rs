//! The pins of the blobs of past commits.
//!
//! The pins of a file to which places apply depend on the configuration of its commit, so one blob may
//! be read several times, once for each configuration. git sends the blobs while the walk continues, and
//! the thread that receives them takes the readings of each from here.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Read},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    git::ObjectId,
    oci::Digest,
    pins::{FilePlaces, FileScanner, Finder, Scan, mentions, read_whole},
};

/// The pins of one blob: the index of the image and the digest, sorted, each once.
pub(super) type Scanned = Vec<(usize, Digest)>;

/// A blob with its reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    pub(super) id: ObjectId,
    /// The number of the reading; `None` if no place applies.
    pub(super) reading: Option<usize>,
}

/// The pins of a blob, or the reason why they are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BlobPins {
    pub(super) pins: Scanned,
    /// The location and the reason of a refused entry (`LINE:COLUMN: reason`), or the reason why the blob
    /// cannot be read.
    pub(super) refused: Option<Arc<str>>,
}

/// The pins of all blobs.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Blobs without pins are left out.
    pub(super) pins: HashMap<Blob, BlobPins>,
    /// Every digest in a blob to which a place applies, or that is too large.
    pub(super) in_places: BTreeSet<Digest>,
}

/// The readings of a walk, shared with the thread that receives the blobs.
#[derive(Clone, Default)]
pub(super) struct Readings {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// The readings of the requested blobs.
    wanted: HashMap<ObjectId, Vec<Option<usize>>>,
    numbers: HashMap<(String, FilePlaces), usize>,
    readings: Vec<(FileScanner, FilePlaces)>,
    contents: Contents,
}

impl Readings {
    /// The number of the reading with these places; `None` if there are none. `rules` identifies the
    /// scanner.
    pub(super) fn number(
        &self,
        rules: &str,
        scanner: &FileScanner,
        places: FilePlaces,
    ) -> Option<usize> {
        if places.is_empty() {
            return None;
        }
        let shared = &mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let next = shared.readings.len();
        let number = shared
            .numbers
            .entry((rules.to_owned(), places.clone()))
            .or_insert(next);
        if *number == next {
            shared.readings.push((scanner.clone(), places));
        }
        Some(*number)
    }

    /// Adds a reading for a blob that is about to be requested.
    pub(super) fn want(&self, blob: Blob) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.wanted.entry(blob.id).or_default().push(blob.reading);
    }

    /// Returns the function that reads the received blobs.
    pub(super) fn reader(
        &self,
        finder: Finder,
    ) -> impl FnMut(&ObjectId, &mut dyn Read) -> io::Result<Option<Scanned>> + Send + 'static {
        let readings = self.clone();
        let mut buffer = Vec::new();
        move |id, content| {
            let wanted = readings.take(id);
            if wanted.is_empty() {
                return Ok(None);
            }
            let places: Vec<_> = wanted.iter().copied().flatten().collect();
            match read_whole(&mut *content, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    // The pins are unknown, so every digest may be one.
                    let whole = buffer.as_slice().chain(content);
                    readings.add_mentions(whole)?;
                    for reading in wanted {
                        readings.refuse(Blob { id: *id, reading }, &error);
                    }
                    return Ok(None);
                }
                read => read?,
            }
            for (number, (scanner, places)) in places.iter().zip(readings.scanners(&places)) {
                let reading = Some(*number);
                readings.add(Blob { id: *id, reading }, &scanner.scan(&buffer, &places));
            }
            if !places.is_empty() {
                readings.add_mentions(buffer.as_slice())?;
            }
            let plain = wanted
                .contains(&None)
                .then(|| scanned(&finder.scan(&buffer)));
            Ok(plain.filter(|found| !found.is_empty()))
        }
    }

    /// The pins of all blobs; `plain` are those of blobs to which no place applies.
    pub(super) fn into_contents(self, plain: HashMap<ObjectId, Scanned>) -> Contents {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = mem::take(&mut shared.contents);
        contents.pins.extend(plain.into_iter().map(|(id, pins)| {
            let refused = None;
            (Blob { id, reading: None }, BlobPins { pins, refused })
        }));
        contents
    }

    fn take(&self, id: &ObjectId) -> Vec<Option<usize>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.wanted.remove(id).unwrap_or_default()
    }

    fn scanners(&self, numbers: &[usize]) -> Vec<(FileScanner, FilePlaces)> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        numbers
            .iter()
            .map(|number| shared.readings[*number].clone())
            .collect()
    }

    fn add(&self, blob: Blob, scan: &Scan) {
        let refused = scan.refused.first().map(|refused| {
            let (line, column, why) = (refused.line, refused.column, &refused.why);
            format!("{line}:{column}: {why}").into()
        });
        let pins = scanned(scan);
        if pins.is_empty() && refused.is_none() {
            return;
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared
            .contents
            .pins
            .insert(blob, BlobPins { pins, refused });
    }

    /// Adds a blob that is too large.
    fn refuse(&self, blob: Blob, error: &io::Error) {
        let refused = BlobPins {
            pins: Scanned::new(),
            refused: Some(format!(" {error}").into()),
        };
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.contents.pins.insert(blob, refused);
    }

    fn add_mentions(&self, content: impl Read) -> io::Result<()> {
        let mentions = mentions(content, &mut Vec::new())?;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let digests = mentions.iter().map(|mention| mention.digest);
        shared.contents.in_places.extend(digests);
        Ok(())
    }
}

fn scanned(scan: &Scan) -> Scanned {
    let mut found: Scanned = scan
        .pins
        .iter()
        .map(|pin| (pin.image, pin.digest))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        config::{self, RelPath},
        error::SourceText,
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

    fn id(at: usize) -> ObjectId {
        ObjectId::parse(format!("{at:040x}").as_bytes()).unwrap()
    }

    #[test]
    fn blob_is_read_once_for_each_reading() {
        let source = SourceText {
            name: "repin.yaml".into(),
            text: CONFIG.into(),
        };
        let config = config::parse(&source, Path::new("/")).unwrap();
        let scanner = FileScanner::of(&config, &[config.images[0].repository.clone()]);
        let places = scanner.places_of(&RelPath::parse("values.yaml").unwrap(), &|_| false);
        let readings = Readings::default();
        let number = |rules: &str| readings.number(rules, &scanner, places.clone());
        assert_eq!(
            [number("a"), number("b"), number("a")],
            [Some(0), Some(1), Some(0)]
        );
        assert_eq!(readings.number("a", &scanner, FilePlaces::default()), None);

        let mut reader = readings.reader(Finder::new(&config.images));
        let mut read = |at: usize, wanted: &[Option<usize>], text: &str| {
            for reading in wanted {
                let (id, reading) = (id(at), *reading);
                readings.want(Blob { id, reading });
            }
            reader(&id(at), &mut text.as_bytes()).unwrap()
        };
        let (a, b, c) = (digest('a'), digest('b'), digest('c'));
        let text = format!("a: r.example/fix@{b}\nfix: {{ digest: '{a}' }}\n");
        let twice = format!("fix:\n  digest: '{b}'\n  digest: '{b}'\n");
        assert_eq!(
            read(1, &[Some(0), None, Some(1)], &text),
            Some(vec![(0, b)])
        );
        // The second request found nothing left to read.
        assert_eq!(read(1, &[], &text), None);
        assert_eq!(read(2, &[Some(1)], &text), None);
        let whole = format!("r.example/fix@{a} {c}");
        assert_eq!(read(3, &[None], &whole), Some(vec![(0, a)]));
        assert_eq!(read(4, &[Some(0)], &twice), None);
        assert_eq!(read(5, &[Some(0), None], "fix: {}"), None);

        let contents = readings.clone().into_contents(HashMap::new());
        let pins = |at, reading| {
            let found = contents.pins.get(&Blob {
                id: id(at),
                reading,
            });
            found.map(|found| (found.pins.clone(), found.refused.is_some()))
        };
        let both = Some((vec![(0, a), (0, b)], false));
        assert_eq!(
            [pins(1, Some(0)), pins(1, Some(1)), pins(2, Some(1))],
            [(); 3].map(|()| both.clone())
        );
        assert_eq!(pins(4, Some(0)), Some((Vec::new(), true)));
        assert_eq!(contents.pins.len(), 4);
        assert_eq!(contents.in_places, BTreeSet::from([a, b]));
    }
}
