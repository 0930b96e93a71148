//! Contents as the places of configurations read them.
//!
//! A file that a place searches is read by the rules of its commit's configuration, so one content
//! may be read in several ways: once for each. The contents come from git in passing, on a thread
//! of their own; what they are to be read with is left here for it.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Read},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use super::scans::{Recalled, Scanned};
use crate::{
    git::ObjectId,
    oci::Digest,
    pins::{FilePlaces, FileScanner, Finder, Scan, mentions, read_whole},
};

/// A content, and the way it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    pub(super) id: ObjectId,
    /// The number of the reading; `None`: no place searches it.
    pub(super) reading: Option<usize>,
}

/// What a content holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) pins: Scanned,
    /// Where and why an entry of a place is refused (`LINE:COLUMN: why`), or why the content cannot be
    /// read.
    pub(super) refused: Option<Arc<str>>,
}

/// What was read of all contents.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) seen: HashMap<Blob, Seen>,
    /// Every digest in a file that a place searches, or that is too large.
    pub(super) in_places: BTreeSet<Digest>,
}

/// The readings of a walk, shared with the thread that reads.
#[derive(Clone, Default)]
pub(super) struct Readings {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// How a content that is on its way is to be read.
    wanted: HashMap<ObjectId, Vec<Option<usize>>>,
    numbers: HashMap<(String, FilePlaces), usize>,
    readings: Vec<(FileScanner, FilePlaces)>,
    /// What contents pin that no place searches, as earlier runs found.
    recalled: Recalled,
    /// Those that are read for the first time.
    fresh: Vec<ObjectId>,
    contents: Contents,
}

impl Readings {
    /// Readings that continue those of earlier runs.
    pub(super) fn recalling(recalled: Recalled) -> Self {
        let shared = Shared {
            recalled,
            ..Shared::default()
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Whether an earlier run read this content, which then counts as seen.
    pub(super) fn recalls(&self, blob: Blob) -> bool {
        if blob.reading.is_some() {
            return false;
        }
        let shared = &mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.recalled.pins(&blob.id) {
            None => {
                shared.fresh.push(blob.id);
                false
            }
            Some(pins) => {
                if !pins.is_empty() {
                    let refused = None;
                    shared.contents.seen.insert(blob, Seen { pins, refused });
                }
                true
            }
        }
    }

    /// The number of the reading by `scanner`, which `rules` tells from others, for a file that is
    /// searched that way; `None` where no place does.
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

    /// Says how a content that is about to be requested is to be read.
    pub(super) fn want(&self, blob: Blob) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.wanted.entry(blob.id).or_default().push(blob.reading);
    }

    /// Reads contents as they come.
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
                    // Its pins are unknown, so every digest may be one.
                    let whole = buffer.as_slice().chain(content);
                    readings.add_mentions(whole)?;
                    for reading in wanted {
                        readings.refuse(Blob { id: *id, reading }, &error);
                    }
                    return Ok(None);
                }
                read => read?,
            }
            for (number, (scanner, places)) in places.iter().zip(readings.ways(&places)) {
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

    /// What was read for the first time, of contents that no place searches; `plain` is what they pin.
    pub(super) fn fresh(&self, plain: &HashMap<ObjectId, Scanned>) -> Vec<(ObjectId, Scanned)> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let pins = |id: &ObjectId| plain.get(id).cloned().unwrap_or_default();
        let refused = |id: ObjectId| {
            shared
                .contents
                .seen
                .contains_key(&Blob { id, reading: None })
        };
        let known = shared.fresh.iter().filter(|id| !refused(**id));
        known.map(|id| (*id, pins(id))).collect()
    }

    /// Everything that was read; `plain` is what no place searched.
    pub(super) fn into_contents(self, plain: HashMap<ObjectId, Scanned>) -> Contents {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = mem::take(&mut shared.contents);
        contents.seen.extend(plain.into_iter().map(|(id, pins)| {
            let refused = None;
            (Blob { id, reading: None }, Seen { pins, refused })
        }));
        contents
    }

    fn take(&self, id: &ObjectId) -> Vec<Option<usize>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.wanted.remove(id).unwrap_or_default()
    }

    fn ways(&self, numbers: &[usize]) -> Vec<(FileScanner, FilePlaces)> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let way = |number: &usize| shared.readings[*number].clone();
        numbers.iter().map(way).collect()
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
        shared.contents.seen.insert(blob, Seen { pins, refused });
    }

    /// Adds a content that is too large to be read.
    fn refuse(&self, blob: Blob, error: &io::Error) {
        let seen = Seen {
            pins: Scanned::new(),
            refused: Some(format!(" {error}").into()),
        };
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.contents.seen.insert(blob, seen);
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
    fn content_is_read_in_every_way_that_is_wanted_and_in_no_other() {
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
        // It was requested twice, and was read at once.
        assert_eq!(read(1, &[], &text), None);
        assert_eq!(read(2, &[Some(1)], &text), None);
        let whole = format!("r.example/fix@{a} {c}");
        assert_eq!(read(3, &[None], &whole), Some(vec![(0, a)]));
        assert_eq!(read(4, &[Some(0)], &twice), None);
        assert_eq!(read(5, &[Some(0), None], "fix: {}"), None);

        let contents = readings.clone().into_contents(HashMap::new());
        let pins = |at, reading| {
            let seen = contents.seen.get(&Blob {
                id: id(at),
                reading,
            });
            seen.map(|seen| (seen.pins.clone(), seen.refused.is_some()))
        };
        let both = Some((vec![(0, a), (0, b)], false));
        assert_eq!(
            [pins(1, Some(0)), pins(1, Some(1)), pins(2, Some(1))],
            [(); 3].map(|()| both.clone())
        );
        assert_eq!(pins(4, Some(0)), Some((Vec::new(), true)));
        assert_eq!(contents.seen.len(), 4);
        assert_eq!(contents.in_places, BTreeSet::from([a, b]));
    }
}
