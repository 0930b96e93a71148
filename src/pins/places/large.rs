//! Files that places look into and that are too large to be parsed, part by part.
//!
//! Whole pins and marked lines are found as in any other file; the places that read YAML refuse the
//! file if it names an image and holds a digest that is not counted.

use std::{
    collections::HashSet,
    io::{self, Read as _},
    ops::Range,
};

use memchr::memmem;

use super::{
    FileScanner, LARGEST, LocatedSight, Looking, PREFIX, Rules, Sight, What, locate, marked, merge,
};
use crate::{
    oci::Repository,
    pins::{
        chunk::{Lines, Overlap, Window, each_window},
        digests::{FORWARD, Width, runs_in},
        mentions::{self, Mention, Mentions, mentions},
        scan::{self, Scan},
    },
};

/// What the search has to see.
const OVERLAP: Overlap = Overlap {
    back: marked::OVERLAP.back,
    forward: if marked::OVERLAP.forward > FORWARD {
        marked::OVERLAP.forward
    } else {
        FORWARD
    },
};

/// A file as it is scanned.
pub(in crate::pins) struct Stream<'s> {
    scanner: &'s FileScanner,
    scan: Scan,
    large: Option<Large<'s>>,
}

/// What its places make of it.
struct Large<'s> {
    rules: &'s Rules,
    marked: Vec<usize>,
    sights: Vec<LocatedSight>,
    hunt: Option<Hunt>,
}

/// The search for a digest that is not counted, and for an image's name.
struct Hunt {
    /// The place that would have parsed the file.
    place: usize,
    /// The paths of the images' repositories that were not seen yet.
    unseen: Vec<(String, usize)>,
    named: Option<usize>,
    /// Digests that a comment may mark which has not been seen yet.
    unsure: Vec<LocatedSight>,
    counted: HashSet<usize>,
    uncounted: Option<LocatedSight>,
}

impl Looking {
    /// What scanning a file part by part has to see.
    pub(in crate::pins) fn overlap(&self) -> Overlap {
        if self.is_empty() {
            scan::OVERLAP
        } else {
            scan::OVERLAP.and(OVERLAP)
        }
    }
}

impl FileScanner {
    /// Begins to scan a file part by part.
    pub(in crate::pins) fn stream(&self, looking: &Looking) -> Stream<'_> {
        let large = self.rules.as_deref().map(|rules| {
            let places = looking.places.iter().copied();
            let (marked, parsed): (Vec<_>, Vec<_>) = places.partition(|at| rules.is_marked(*at));
            Large {
                rules,
                marked,
                sights: Vec::new(),
                hunt: parsed.first().map(|place| Hunt::new(rules, *place)),
            }
        });
        Stream {
            scanner: self,
            scan: Scan::default(),
            large,
        }
    }
}

impl Stream<'_> {
    /// Scans the next part.
    pub(in crate::pins) fn window(
        &mut self,
        window: &Window<'_>,
        range: Range<usize>,
        lines: Lines,
    ) {
        let finder = &self.scanner.finder;
        finder.window(window, range.clone(), &mut { lines }, &mut self.scan);
        let Some(large) = &mut self.large else {
            return;
        };
        let mut sights = Vec::new();
        for place in &large.marked {
            let found = marked::find(large.rules, finder, *place, window, range.clone());
            sights.extend(found);
        }
        if let Some(hunt) = &mut large.hunt {
            hunt.counted.extend(sights.iter().map(|sight| sight.at));
            hunt.settle();
            hunt.digests(window, range.clone(), lines, |at| {
                finder.image_before(window.bytes, at).is_some()
            });
            hunt.names(window, range);
        }
        large.sights.extend(locate(window, lines, sights));
    }

    /// What the whole file holds.
    pub(in crate::pins) fn finish(mut self) -> Scan {
        if let Some(mut large) = self.large {
            large.sights.extend(large.hunt.and_then(Hunt::refusal));
            merge(&mut self.scan, large.sights);
        }
        self.scan
    }
}

/// What several scanners find in one content.
#[derive(Debug)]
pub struct ContentScan {
    /// What each of them does, in their order.
    pub scans: Vec<Scan>,
    /// Every digest that the content names.
    pub mentions: Vec<Mention>,
}

/// Reads a content once, for several ways of looking into it; `buffer` can be used again.
pub fn read_in_ways(
    mut reader: impl io::Read,
    ways: &[(FileScanner, Looking)],
    buffer: &mut Vec<u8>,
) -> io::Result<ContentScan> {
    let mut begun = Vec::new();
    let most = LARGEST as u64 + 1;
    reader.by_ref().take(most).read_to_end(&mut begun)?;
    if begun.len() <= LARGEST {
        let scans = ways
            .iter()
            .map(|(scanner, looking)| scanner.scan(&begun, looking));
        return Ok(ContentScan {
            scans: scans.collect(),
            mentions: mentions(begun.as_slice(), buffer)?,
        });
    }
    let mut overlap = mentions::OVERLAP;
    for (_, looking) in ways {
        overlap = overlap.and(looking.overlap());
    }
    let ways = ways
        .iter()
        .map(|(scanner, looking)| scanner.stream(looking));
    let mut streams: Vec<_> = ways.collect();
    let mut named = Mentions::default();
    each_window(
        begun.as_slice().chain(reader),
        buffer,
        overlap,
        |window, range, lines| {
            for stream in &mut streams {
                stream.window(window, range.clone(), *lines);
            }
            named.window(window, range);
        },
    )?;
    Ok(ContentScan {
        scans: streams.into_iter().map(Stream::finish).collect(),
        mentions: named.finish(),
    })
}

impl Hunt {
    fn new(rules: &Rules, place: usize) -> Self {
        let images = rules.images.iter();
        let unseen = images.map(|(repository, image)| (Rules::path(repository).to_owned(), *image));
        Self {
            place,
            unseen: unseen.collect(),
            named: None,
            unsure: Vec::new(),
            counted: HashSet::new(),
            uncounted: None,
        }
    }

    /// The digests of the last part: whatever marks them has been seen now.
    fn settle(&mut self) {
        let unsure = std::mem::take(&mut self.unsure);
        if self.uncounted.is_none() {
            let mut unsure = unsure.into_iter();
            self.uncounted = unsure.find(|digest| !self.counted.contains(&digest.sight.at));
        }
    }

    fn digests(
        &mut self,
        window: &Window<'_>,
        range: Range<usize>,
        lines: Lines,
        is_whole: impl Fn(usize) -> bool,
    ) {
        if self.uncounted.is_some() {
            return;
        }
        let mut found = Vec::new();
        runs_in(window.bytes, range, |run| {
            let prefixed = window.bytes[..run.offset].ends_with(PREFIX);
            if run.width == Width::One && prefixed && !is_whole(run.offset - PREFIX.len()) {
                found.push(Sight {
                    place: self.place,
                    image: None,
                    at: window.base + run.offset - PREFIX.len(),
                    what: What::Refused(String::new()),
                });
            }
        });
        self.unsure = locate(window, lines, found);
    }

    fn names(&mut self, window: &Window<'_>, range: Range<usize>) {
        let begin = range.start.saturating_sub(Repository::MAX + 1);
        let end = window.bytes.len().min(range.end + Repository::MAX + 1);
        let part = &window.bytes[begin..end];
        let named = &mut self.named;
        self.unseen.retain(|(path, image)| {
            let seen = names(part, path);
            if seen {
                *named = Some(named.map_or(*image, |first| first.min(*image)));
            }
            !seen
        });
    }

    fn refusal(mut self) -> Option<LocatedSight> {
        self.settle();
        let mut refusal = self.uncounted?;
        refusal.sight.image = Some(self.named?);
        refusal.sight.what = What::Refused(
            "the file names the image and holds this digest, but is larger than 4 MiB, and is not read as YAML"
                .to_owned(),
        );
        Some(refusal)
    }
}

/// Whether a text names a repository with this path, whatever stands between host and path.
pub(super) fn names(content: &[u8], path: &str) -> bool {
    let part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    };
    memmem::find_iter(content, path).any(|at| {
        let before = at.checked_sub(1).and_then(|at| content.get(at));
        !part(before) && !part(content.get(at + path.len()))
    })
}
