//! Pins that another configuration beneath the root counts.
//!
//! The presence of a configuration excludes nothing from the search: otherwise, everyone who may add a
//! file to a directory could hide every digest in it. Each configuration is applied to the files with
//! occurrences, and the occurrences that are its pins are left out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::Contents;
use crate::{
    config::{self, Config, FILE_NAME, RelPath},
    error::SourceText,
    files::Snapshot,
    pins::{FileScanner, LARGEST, Located, Occurrence},
};

/// The maximum size of a configuration, in bytes.
const CONFIG_MAX: u64 = 1024 * 1024;

/// The configurations beneath the root, among the files of a tree.
pub(super) fn configurations(files: &[&RelPath]) -> Vec<RelPath> {
    let is_nested = |path: &&&RelPath| {
        let path = path.as_path();
        path.file_name().is_some_and(|name| name == FILE_NAME)
            && path.parent().is_some_and(|above| above != Path::new(""))
    };
    files
        .iter()
        .filter(is_nested)
        .map(|path| (*path).clone())
        .collect()
}

/// A configuration beneath the root, and the scanner of its pins.
struct Nested {
    config: Config,
    scanner: FileScanner,
}

impl Nested {
    fn parse(path: &RelPath, outer: &Config, contents: &mut dyn Contents) -> Option<Self> {
        let text = String::from_utf8(contents.read(path, CONFIG_MAX)?).ok()?;
        let source = SourceText {
            name: path.to_string(),
            text: text.into(),
        };
        let root = outer.root.join(path.as_path().parent()?);
        let set = outer.set_path.sibling(path).ok()?;
        let config = config::parse(&source, &root, &set).ok()?;
        let scanner = FileScanner::new(&config);
        Some(Self { config, scanner })
    }

    /// The offsets of the digests that it counts in a file; `path` begins at its own root.
    fn counted(
        &self,
        path: &RelPath,
        content: &[u8],
        has_chart: &dyn Fn(&Path) -> bool,
    ) -> Vec<usize> {
        if !Snapshot::lists(&self.config.scanned, path) {
            return Vec::new();
        }
        let places = self.scanner.places_of(path, has_chart);
        let pins = self.scanner.scan(content, &places).pins;
        pins.into_iter().map(|pin| pin.offset).collect()
    }
}

/// Removes the occurrences that are pins of other configurations.
pub(super) fn leave_out(
    configs: &[RelPath],
    outer: &Config,
    contents: &mut dyn Contents,
    occurrences: &mut Vec<Located<Occurrence>>,
) {
    let by_directory: BTreeMap<PathBuf, &RelPath> = configs
        .iter()
        .filter_map(|path| Some((path.as_path().parent()?.to_owned(), path)))
        .collect();
    if by_directory.is_empty() {
        return;
    }
    let mut parsed: HashMap<&RelPath, Option<Nested>> = HashMap::new();
    let files: HashSet<RelPath> = occurrences
        .iter()
        .map(|occurrence| (*occurrence.file).clone())
        .collect();
    let mut counted: HashMap<RelPath, HashSet<usize>> = HashMap::new();
    for file in files {
        let above: Vec<_> = file
            .as_path()
            .ancestors()
            .skip(1)
            .filter_map(|directory| by_directory.get_key_value(directory))
            .collect();
        if above.is_empty() {
            continue;
        }
        // A larger file has no pins, and its occurrences are reported.
        let Some(content) = contents.read(&file, LARGEST as u64) else {
            continue;
        };
        let offsets = counted.entry(file.clone()).or_default();
        for (directory, config) in above {
            let nested = parsed
                .entry(config)
                .or_insert_with(|| Nested::parse(config, outer, contents));
            let inner = file.as_path().strip_prefix(directory).ok();
            let inner = inner.and_then(|inner| RelPath::new(inner).ok());
            if let (Some(nested), Some(inner)) = (nested, inner) {
                let has_chart = |path: &Path| contents.has_chart(&directory.join(path));
                offsets.extend(nested.counted(&inner, &content, &has_chart));
            }
        }
    }
    occurrences.retain(|occurrence| {
        let offsets = counted.get(&*occurrence.file);
        !offsets.is_some_and(|offsets| offsets.contains(&occurrence.what.offset))
    });
}
