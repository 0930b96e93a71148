//! One pass over a work tree: pins in the files that count, and what names an image anywhere else.
//!
//! Every file is read once, by as many threads as there are processors. Only at the end it is known
//! which digests are pinned: until then digits that stand by themselves are kept, up to a number. Files
//! with more of them are read again.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::{self, Read},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    chunk::{CHUNK, Lines, Window, each_window},
    find::{Found, Located, located},
    outside::{self, Lookout, Sight, Sighting, Unpinned},
    places::{FileScanner, LARGEST, Looking, large::Stream},
    scan::Scan,
};
use crate::{
    config::{Config, OpenDirectory, RelPath},
    files::{Files as _, Hazard, ReadError, WorkTree, hard_link},
    oci::Digest,
};

/// The most threads that read at the same time.
const THREADS: usize = 8;
/// Files that a thread takes at once: enough that neighbours are read by one.
const BATCH: usize = 64;

/// Digits that stand by themselves and are kept, of all files together.
const KEPT: usize = 20_000;

/// What is looked for beside counted pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Searches {
    /// Digests outside of pins.
    pub outside: bool,
    /// In the files that count: references by tag alone, and images that are not declared.
    pub loose: bool,
}

/// What stands beside the counted pins, in the order of the paths' bytes and then of each file.
#[derive(Debug, Default)]
pub struct Beside {
    /// Digests that no pin accounts for.
    pub outside: Vec<Located<Sighting>>,
    /// Pins of repositories of the same owner that no image declares.
    pub undeclared: Vec<Located<Sighting>>,
    /// References by tag alone.
    pub unpinned: Vec<Located<Unpinned>>,
    /// Files that could not be read.
    pub unread: Vec<ReadError>,
    /// How many files were looked into.
    pub files: usize,
}

/// The rest of a tree.
#[derive(Debug, Default)]
pub struct Rest {
    /// Files to be looked into for digests outside of pins.
    pub files: Vec<RelPath>,
    /// Whether files that count are looked into although they are not among these.
    pub counted: bool,
    /// Image layouts, whose files are looked into only if they count, and only for pins.
    pub layouts: Layouts,
}

/// OCI image layouts: directories with an `oci-layout` file, an index and blobs (image specification,
/// "Image Layout").
#[derive(Debug, Default)]
pub struct Layouts {
    /// Each with a `/` at its end, unless it is the root.
    directories: BTreeSet<Vec<u8>>,
}

impl Layouts {
    /// The file that marks a layout.
    pub const MARKER: &[u8] = b"oci-layout";
    /// The file with the manifests of a layout.
    pub const INDEX: &[u8] = b"index.json";
    /// The directory with the blobs of a layout.
    pub const BLOBS: &[u8] = b"blobs/";

    /// Adds a layout by its directory: empty, or with a `/` at its end.
    pub fn add(&mut self, directory: &[u8]) {
        self.directories.insert(directory.to_vec());
    }

    /// Whether a file belongs to a layout: its marker, its index, or a blob that is called by its
    /// digest. Any other file next to them belongs to the repository.
    pub fn holds(&self, path: &RelPath) -> bool {
        if self.directories.is_empty() {
            return false;
        }
        let path = path.as_bytes();
        let name = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        if [Self::MARKER, Self::INDEX].contains(&&path[name..]) {
            return self.directories.contains(&path[..name]);
        }
        let mut parts = path.rsplitn(3, |byte| *byte == b'/');
        let (encoded, algorithm, above) = (parts.next(), parts.next(), parts.next());
        let digits = match algorithm {
            Some(b"sha256") => 64,
            Some(b"sha512") => 128,
            _ => return false,
        };
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_digest =
            encoded.is_some_and(|encoded| encoded.len() == digits && encoded.iter().all(is_hex));
        let directory = above.and_then(|above| above.strip_suffix(b"blobs"));
        is_digest && directory.is_some_and(|directory| self.directories.contains(directory))
    }
}

/// One file, and what it is to the run.
#[derive(Clone)]
struct Task {
    path: Arc<RelPath>,
    counts: bool,
    /// The places that look into it.
    looking: Looking,
    /// Whether digests outside of pins matter in it.
    outside: bool,
    /// Offsets of the split pins in it, once they are known.
    split: Arc<[usize]>,
}

/// What one file holds.
#[derive(Default)]
struct Looked {
    scan: Scan,
    /// Offsets of its split pins.
    split: Arc<[usize]>,
    sightings: Vec<Sighting>,
    unpinned: Vec<Unpinned>,
    /// Whether more digits stand in it than are kept.
    digits: bool,
    /// Why it cannot be changed safely.
    hazard: Option<Hazard>,
    failed: Option<io::Error>,
}

/// Looks into every file of `tree` that counts, for pins alone.
pub fn find_in(tree: &WorkTree, config: &Config) -> Result<Found, ReadError> {
    let searches = Searches {
        outside: false,
        loose: false,
    };
    sweep(tree, config, Rest::default(), searches).map(|(found, _)| found)
}

/// Looks into every file of `tree` that counts, and into those of `rest`.
pub fn sweep(
    tree: &WorkTree,
    config: &Config,
    rest: Rest,
    searches: Searches,
) -> Result<(Found, Beside), ReadError> {
    let mut listing = tree.list_unopened(&config.scanned)?;
    let mut found = Found::of(&mut listing, config);
    let scanner = FileScanner::new(config);
    let looking = |path: &RelPath| scanner.looking(path, &|chart| tree.has_chart(chart));
    let tasks = tasks(listing.files, rest, config, searches, looking);
    let sweep = Sweep {
        tree,
        scanner,
        lookout: Lookout::new(config),
        searches,
        kept: AtomicUsize::new(0),
        large: Mutex::new(()),
        pinned: None,
    };
    let looked = sweep.all(&tasks)?;
    let mut beside = Beside {
        files: tasks.iter().filter(|task| task.outside).count(),
        ..Beside::default()
    };
    let FirstLook { first, again } = first_look(looked, &tasks, &mut found, &mut beside)?;
    found.sort_hazards();
    let mut sightings = Vec::new();
    let pinned: HashSet<Digest> = found.pins().iter().map(|pin| pin.what.digest).collect();
    for (at, mut kept) in first {
        let task = &tasks[at];
        kept.retain(|kept| {
            searches.keeps(task, &kept.sight, &kept.digest, Some(&pinned)) == Keep::Yes
        });
        sightings.extend(located(&task.path, kept));
    }
    let sweep = Sweep {
        pinned: Some(pinned),
        ..sweep
    };
    for (at, looked) in sweep.all(&again)? {
        let path = &again[at].path;
        beside.unread.extend(looked.failed.map(|error| ReadError {
            path: path.to_string(),
            error,
        }));
        sightings.extend(located(path, looked.sightings));
    }
    sightings.sort_by(|a, b| a.file.as_bytes().cmp(b.file.as_bytes()));
    let pinned = sweep.pinned.unwrap_or_default();
    let elsewhere: HashSet<&RelPath> = tasks
        .iter()
        .filter(|task| task.counts && !task.outside)
        .map(|task| &*task.path)
        .collect();
    for sighting in sightings {
        // What stands outside of pins is reported as that and as nothing else.
        let undeclared = matches!(sighting.what.sight, Sight::SameOwner(_))
            && (elsewhere.contains(&*sighting.file) || !pinned.contains(&sighting.what.digest));
        if undeclared {
            beside.undeclared.push(sighting);
        } else {
            beside.outside.push(sighting);
        }
    }
    Ok((found, beside))
}

/// What the first look at every file leaves to do.
#[derive(Default)]
struct FirstLook {
    /// What was seen in files of which everything was kept, by the file's task.
    first: Vec<(usize, Vec<Sighting>)>,
    /// Files with more digits than were kept: they are searched again for the pinned digests.
    again: Vec<Task>,
}

/// Sorts what was seen: pins and unpinned references are complete, sightings are not.
fn first_look(
    looked: Vec<(usize, Looked)>,
    tasks: &[Task],
    found: &mut Found,
    beside: &mut Beside,
) -> Result<FirstLook, ReadError> {
    let mut left = FirstLook::default();
    for (at, looked) in looked {
        let task = &tasks[at];
        let hazard = looked.hazard.filter(|_| task.counts);
        found
            .hazards
            .extend(hazard.map(|hazard| ((*task.path).clone(), hazard)));
        if let Some(error) = looked.failed {
            let path = task.path.to_string();
            if task.counts {
                return Err(ReadError { path, error });
            }
            beside.unread.push(ReadError { path, error });
            continue;
        }
        if !looked.scan.is_empty() {
            found.add(&task.path, looked.scan);
        }
        beside.unpinned.extend(located(&task.path, looked.unpinned));
        if looked.digits {
            left.again.push(Task {
                split: looked.split,
                ..task.clone()
            });
        } else {
            left.first.push((at, looked.sightings));
        }
    }
    Ok(left)
}

/// Every file once, in the order of the paths' bytes.
fn tasks(
    counted: Vec<RelPath>,
    rest: Rest,
    config: &Config,
    searches: Searches,
    looking: impl Fn(&RelPath) -> Looking,
) -> Vec<Task> {
    let task = |path: RelPath, counts, listed| {
        let outside = searches.outside
            && (listed || rest.counted)
            && !rest.layouts.holds(&path)
            && !config.outside.ignore.matches(path.as_path());
        (counts || outside).then(|| Task {
            looking: if counts {
                looking(&path)
            } else {
                Looking::default()
            },
            path: Arc::new(path),
            split: Arc::default(),
            counts,
            outside,
        })
    };
    let mut counted = counted.into_iter().peekable();
    let mut tasks = Vec::new();
    for path in rest.files {
        while let Some(one) = counted.next_if(|one| one.as_bytes() < path.as_bytes()) {
            tasks.extend(task(one, true, false));
        }
        let counts = counted.next_if_eq(&path).is_some();
        tasks.extend(task(path, counts, true));
    }
    tasks.extend(counted.filter_map(|one| task(one, true, false)));
    tasks
}

struct Sweep<'t> {
    tree: &'t WorkTree,
    scanner: FileScanner,
    lookout: Lookout,
    searches: Searches,
    /// How many digits are kept.
    kept: AtomicUsize,
    /// Held while a file of more than a chunk is in memory as a whole, so that only one is.
    large: Mutex<()>,
    /// The digests that are pinned, once they are known.
    pinned: Option<HashSet<Digest>>,
}

/// Whether a digest in a file matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
    /// If it is pinned, which is not known yet.
    Perhaps,
}

impl Searches {
    fn keeps(
        self,
        task: &Task,
        sight: &Sight,
        digest: &Digest,
        pinned: Option<&HashSet<Digest>>,
    ) -> Keep {
        let undeclared = task.counts && self.loose && matches!(sight, Sight::SameOwner(_));
        let keep = match (sight, pinned) {
            (Sight::Image(_), _) => task.outside && !task.counts,
            (Sight::Wide(_) | Sight::Mirror(..), _) => task.outside,
            (Sight::SameOwner(_) | Sight::Nothing, None) if task.outside || undeclared => {
                return Keep::Perhaps;
            }
            (Sight::SameOwner(_) | Sight::Nothing, None) => false,
            (Sight::SameOwner(_) | Sight::Nothing, Some(pinned)) => {
                undeclared || task.outside && pinned.contains(digest)
            }
        };
        if keep { Keep::Yes } else { Keep::No }
    }
}

/// Reads a file that had `size` bytes when it was opened, up to a chunk of it.
fn read_chunk(file: &mut File, size: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    let expected = usize::try_from(size).unwrap_or(CHUNK).min(CHUNK);
    buffer.clear();
    buffer.resize(CHUNK.min(expected + 1), 0);
    let read = match file.read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        read => read?,
    };
    buffer.truncate(read);
    // Of a regular file, less than requested is all of it; one that has another size than it had is
    // read on.
    if read == expected {
        return Ok(());
    }
    let rest = (CHUNK - read) as u64;
    file.by_ref().take(rest).read_to_end(buffer)?;
    Ok(())
}

impl Sweep<'_> {
    /// What each file holds, by its place in `tasks` and in that order; most hold nothing, and are
    /// left out.
    fn all(&self, tasks: &[Task]) -> Result<Vec<(usize, Looked)>, ReadError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(THREADS).min(tasks.len().div_ceil(BATCH));
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Looked)>, ReadError> {
            let mut beneath = self.tree.beneath()?;
            let (mut buffer, mut done) = (Vec::new(), Vec::new());
            loop {
                let begin = next.fetch_add(BATCH, Ordering::Relaxed);
                if begin >= tasks.len() {
                    return Ok(done);
                }
                let end = tasks.len().min(begin + BATCH);
                for (at, task) in tasks.iter().enumerate().take(end).skip(begin) {
                    let looked = self.one(task, &mut beneath, &mut buffer);
                    done.extend(looked.map(|looked| (at, looked)));
                }
            }
        };
        let done = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = vec![work()];
            done.extend(others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| {
                    Err(ReadError {
                        path: self.tree.root().display().to_string(),
                        error: io::Error::other("a reading thread stopped unexpectedly"),
                    })
                })
            }));
            done
        });
        let mut all = Vec::new();
        for part in done {
            all.extend(part?);
        }
        all.sort_by_key(|(at, _)| *at);
        Ok(all)
    }

    /// What a file holds, if anything.
    fn one(
        &self,
        task: &Task,
        beneath: &mut OpenDirectory,
        buffer: &mut Vec<u8>,
    ) -> Option<Looked> {
        let mut looked = Looked::default();
        let read = beneath
            .open_listed(&task.path)
            .and_then(|opened| match opened {
                Some((mut file, metadata)) => {
                    looked.hazard = hard_link(&metadata);
                    self.look(task, &mut file, metadata.len(), buffer, &mut looked)
                }
                // It was listed a moment ago.
                None if task.counts => Err(io::ErrorKind::NotFound.into()),
                None => Ok(()),
            });
        looked.failed = read.err();
        let Looked {
            scan,
            sightings,
            unpinned,
            digits,
            hazard,
            failed,
            ..
        } = &looked;
        let something = *digits
            || failed.is_some()
            || hazard.is_some()
            || !(scan.is_empty() && sightings.is_empty() && unpinned.is_empty());
        something.then_some(looked)
    }

    fn look(
        &self,
        task: &Task,
        file: &mut File,
        size: u64,
        buffer: &mut Vec<u8>,
        looked: &mut Looked,
    ) -> io::Result<()> {
        read_chunk(file, size, buffer)?;
        if buffer.len() < CHUNK {
            self.look_at(task, buffer, looked);
            return Ok(());
        }
        let mut held = None;
        // What a place searches is in memory as a whole, up to the size that is parsed.
        if self.scans(task) && !task.looking.is_empty() && size <= LARGEST as u64 {
            held = Some(self.large.lock().unwrap_or_else(PoisonError::into_inner));
            let rest = (LARGEST + 1 - CHUNK) as u64;
            file.by_ref().take(rest).read_to_end(buffer)?;
        }
        if held.is_some() && buffer.len() <= LARGEST {
            self.look_at(task, buffer, looked);
        } else {
            let begun = std::mem::take(buffer);
            self.look_through(task, begun.chain(file), buffer, looked)?;
        }
        buffer.clear();
        buffer.shrink_to(2 * CHUNK);
        Ok(())
    }

    /// Whether pins are looked for in a file, and not only what is left of it.
    fn scans(&self, task: &Task) -> bool {
        task.counts && self.pinned.is_none()
    }

    /// What a file that is in memory holds.
    fn look_at(&self, task: &Task, content: &[u8], looked: &mut Looked) {
        let window = Window {
            bytes: content,
            base: 0,
        };
        let lines = Lines::of(content);
        if self.scans(task) {
            looked.scan = self.scanner.scan(content, &task.looking);
        }
        self.look_beside(task, &window, 0..content.len(), lines, looked);
        self.settle(task, looked);
    }

    /// The same for a file that is read part by part.
    fn look_through(
        &self,
        task: &Task,
        file: impl Read,
        buffer: &mut Vec<u8>,
        looked: &mut Looked,
    ) -> io::Result<()> {
        let mut stream = self.scans(task).then(|| self.scanner.stream(&task.looking));
        let overlap = task.looking.overlap().and(outside::OVERLAP);
        each_window(file, buffer, overlap, |window, range, lines| {
            if let Some(stream) = &mut stream {
                stream.window(window, range.clone(), *lines);
            }
            self.look_beside(task, window, range, *lines, looked);
        })?;
        looked.scan = stream.map(Stream::finish).unwrap_or_default();
        self.settle(task, looked);
        Ok(())
    }

    /// What stands beside the pins of a part of a file.
    fn look_beside(
        &self,
        task: &Task,
        window: &Window<'_>,
        range: Range<usize>,
        lines: Lines,
        looked: &mut Looked,
    ) {
        if !task.outside && !self.searches.loose {
            return;
        }
        if self.scans(task) && self.searches.loose {
            let found = &mut looked.unpinned;
            self.lookout
                .unpinned(window, range.clone(), &mut { lines }, found);
        }
        let digits = &mut looked.digits;
        let mut keep = |sight: &Sight, digest: &Digest| {
            let keep = self
                .searches
                .keeps(task, sight, digest, self.pinned.as_ref());
            if keep == Keep::Perhaps && !*digits {
                *digits = self.kept.fetch_add(1, Ordering::Relaxed) >= KEPT;
            }
            keep != Keep::No && !*digits
        };
        let kept = &mut looked.sightings;
        self.lookout
            .look(window, range, &mut { lines }, &mut keep, kept);
    }

    /// Takes out what split pins account for: those found just now, or the first time.
    fn settle(&self, task: &Task, looked: &mut Looked) {
        let pins = looked.scan.pins.iter();
        let split = pins.filter(|pin| pin.split.is_some());
        let split: Arc<[usize]> = match self.pinned {
            None => split.map(|pin| pin.offset).collect(),
            Some(_) => Arc::clone(&task.split),
        };
        let mut gone = 0;
        looked.sightings.retain(|sighting| {
            let counted = split.binary_search(&sighting.offset).is_ok();
            let was_kept = matches!(sighting.sight, Sight::SameOwner(_) | Sight::Nothing);
            gone += usize::from(counted && was_kept);
            !counted
        });
        self.kept.fetch_sub(gone, Ordering::Relaxed);
        looked.split = split;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{config, error::SourceText, pins};

    /// One entry of a tree.
    #[derive(Debug, Clone)]
    enum Node {
        /// A file with these lines and so many bytes of filling before them.
        File {
            filling: usize,
            lines: Vec<usize>,
        },
        Link,
        /// Another name of the first file.
        HardLink,
    }

    const LINES: [&str; 6] = [
        "image: ghcr.io/acme/fix@sha256:HEX",
        "image: ghcr.io/acme/fix:v1@sha256:HEX # v1",
        "image: ghcr.io/acme/review@sha256:HEX",
        "image: ghcr.io/acme/fix@sha256:CUT",
        "image: ghcr.io/acme/other@sha256:HEX",
        "nothing",
    ];

    fn node() -> impl Strategy<Value = Node> {
        // Around the size that is read at once, too.
        let filling = prop_oneof![8 => 0..200usize, 1 => CHUNK - 90..CHUNK + 90, 1 => 2 * CHUNK - 9..2 * CHUNK + 9];
        prop_oneof![
            12 => (filling, vec(0..LINES.len(), 0..4)).prop_map(|(filling, lines)| Node::File { filling, lines }),
            1 => Just(Node::Link),
            1 => Just(Node::HardLink),
        ]
    }

    fn write(path: &Path, first: Option<&PathBuf>, node: &Node) {
        match (node, first) {
            (Node::File { filling, lines }, _) => {
                let mut text = ".\n".repeat(filling / 2);
                for line in lines {
                    let hex = "0123456789abcdef".repeat(4);
                    text += &LINES[*line].replace("HEX", &hex).replace("CUT", &hex[1..]);
                    text.push('\n');
                }
                fs::write(path, text).unwrap();
            }
            (Node::HardLink, Some(first)) => fs::hard_link(first, path).unwrap(),
            (Node::Link | Node::HardLink, _) => symlink("nowhere", path).unwrap(),
        }
    }

    #[test]
    fn file_of_another_size_than_stated_is_read_to_its_end() {
        let mut buffer = Vec::new();
        let mut read = |path: &Path, size| {
            read_chunk(&mut File::open(path).unwrap(), size, &mut buffer).unwrap();
            buffer.clone()
        };
        // Its size is 0 to the system.
        let long = Path::new("/proc/self/mountinfo");
        assert_eq!(read(long, 0), fs::read(long).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "grown").unwrap();
        for size in [0, 3, 4, 5, 6, 1 << 40] {
            assert_eq!(read(&path, size), b"grown", "{size}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// Many threads that open every file find what one finds that lists and opens by paths.
        #[test]
        fn tree_holds_the_same_for_many_threads_and_for_one(nodes in vec((0..5usize, 0..40usize, node()), 0..90)) {
            let dir = tempfile::tempdir().unwrap();
            let mut first = None;
            for (directory, name, node) in &nodes {
                let directory = dir.path().join(["", "a", "a/b", "c-d", ".e"][*directory]);
                fs::create_dir_all(&directory).unwrap();
                let path = directory.join(format!("f{name}.yml"));
                if fs::symlink_metadata(&path).is_err() {
                    write(&path, first.as_ref(), node);
                    if let Node::File { .. } = node {
                        first.get_or_insert(path);
                    }
                }
            }
            let source = SourceText {
                name: "repin.yaml".to_owned(),
                text: "version: 1\nname: x\nfiles: ['**/*.yml', '!c-d/f1*']\nimages:\n  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n  review: { repository: ghcr.io/acme/review, pins: 1 }\n".into(),
            };
            let config = config::parse(&source, dir.path()).unwrap();
            let tree = WorkTree::new(dir.path());
            let (one, many) = (pins::find(&tree, &config).unwrap(), find_in(&tree, &config).unwrap());
            prop_assert_eq!(one.pins(), many.pins());
            prop_assert_eq!(one.malformed, many.malformed);
            prop_assert_eq!(one.hazards, many.hazards);
            prop_assert_eq!(one.files, many.files);
        }
    }
}
