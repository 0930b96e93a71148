//! Random histories of a repository with several sets, and an oracle that knows only their contents.
//!
//! A history is data: [`generator`] makes it from a seed, [`import`] writes it to git, and [`oracle`] answers which
//! digests are held, needed and available. The oracle follows `docs/checks.md` and `docs/history.md` and shares no
//! code with the program.

pub mod generator;
pub mod oracle;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::Digest as Hash;

/// The bytes of an image in a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes {
    pub image: usize,
    pub build: usize,
}

/// An image of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    pub repository: String,
    /// The image that the generator pins; the oracle knows it only by its pins.
    pub number: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    /// The names of files in the directory of the configuration.
    pub files: Vec<String>,
    pub images: Vec<Image>,
}

/// A pin: the repository and the bytes.
pub type Pin = (String, Bytes);

/// The files of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    pub configs: BTreeMap<String, Config>,
    pub files: BTreeMap<String, Vec<Pin>>,
    /// The number in a file without pins.
    pub note: usize,
}

#[derive(Debug, Clone)]
pub struct Commit {
    /// The indices of earlier commits.
    pub parents: Vec<usize>,
    pub tree: Tree,
    pub message: String,
}

#[derive(Debug, Clone)]
pub struct History {
    pub seed: u64,
    pub commits: Vec<Commit>,
    /// The tip of the promoted branch.
    pub tip: usize,
    /// The heads of pull requests and other branches.
    pub heads: Vec<usize>,
    /// The number of builds; the images of the last ones were never pinned.
    pub builds: usize,
    /// The build that each image of a build was last changed in.
    pub changed: Vec<Vec<usize>>,
    /// Whether the configurations require only `content` as the provenance of rollbacks.
    pub is_by_content: bool,
    /// Whether each configuration can be used: it states the number of pins in its files, instead of one, and the
    /// versions that may be pruned.
    pub is_usable: bool,
}

/// The seeds of a run: `REPIN_HISTORIES` of them, or 500.
pub fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("REPIN_HISTORIES");
    0..count.map_or(500, |count| count.parse().unwrap())
}

/// Whether a run asks every question about each history; a normal one asks about one set.
pub fn asks_everything() -> bool {
    std::env::var_os("REPIN_HISTORIES").is_some()
}

/// The number of images.
pub const IMAGES: usize = 3;

impl Bytes {
    /// The digest in the history with this seed.
    pub fn digest(self, seed: u64) -> Hash {
        Hash::of(format!("{seed} {} {}", self.image, self.build).as_bytes())
    }
}

/// The revision of a build.
pub fn revision(build: usize) -> String {
    format!("{build:08x}")
}

/// The directory of a configuration file, with a slash at the end unless it is the top.
pub fn directory(path: &str) -> &str {
    &path[..path.rfind('/').map_or(0, |slash| slash + 1)]
}

impl Tree {
    /// The number of pins of a repository in the files of a configuration.
    fn count(&self, path: &str, config: &Config, repository: &str) -> usize {
        let files = config.files.iter();
        let pins = files.filter_map(|file| self.files.get(&format!("{}{file}", directory(path))));
        pins.flatten()
            .filter(|(pinned, _)| pinned == repository)
            .count()
    }

    /// The text of a configuration file.
    fn config_text(&self, path: &str, config: &Config, history: &History) -> String {
        let mut text = format!("version: 1\nname: {}\nfiles:\n", config.name);
        for file in &config.files {
            let _ = writeln!(text, "  - {file}");
        }
        text.push_str("revision:\n  pattern: '[0-9a-f]{8}'\n");
        if history.is_by_content {
            text.push_str("provenance:\n  require: [content]\n");
        }
        if history.is_usable {
            text.push_str("prune: { tags: '^[0-9a-f]{8}$', protect: [], older_than: 1d }\n");
        }
        text.push_str("images:\n");
        for Image {
            name, repository, ..
        } in &config.images
        {
            let pins = if history.is_usable {
                self.count(path, config, repository)
            } else {
                1
            };
            let _ = writeln!(
                text,
                "  {name}:\n    repository: {repository}\n    pins: {pins}"
            );
        }
        text
    }
}

impl History {
    /// The bytes of an image in a build.
    pub fn bytes(&self, image: usize, build: usize) -> Bytes {
        let build = self.changed[build][image];
        Bytes { image, build }
    }

    /// The text of each file of a commit, by path.
    pub fn texts(
        &self,
        commit: usize,
        digest: &dyn Fn(Bytes) -> String,
    ) -> BTreeMap<String, String> {
        let tree = &self.commits[commit].tree;
        let mut texts = BTreeMap::new();
        for (path, config) in &tree.configs {
            texts.insert(path.clone(), tree.config_text(path, config, self));
        }
        for (path, pins) in &tree.files {
            let mut text = "jobs:\n".to_owned();
            for (repository, bytes) in pins {
                let _ = writeln!(text, "  - image: {repository}@{}", digest(*bytes));
            }
            texts.insert(path.clone(), text);
        }
        texts.insert("NOTES.md".to_owned(), format!("{}\n", tree.note));
        texts
    }

    /// The commands of `git fast-import` for all commits, with marks from `first` on.
    fn stream(&self, first: usize, digest: &dyn Fn(Bytes) -> String) -> String {
        let reference = "refs/import/next";
        let mut stream = format!("reset {reference}\n");
        for (index, commit) in self.commits.iter().enumerate() {
            let date = 1_700_000_000 + 60 * index;
            let (mark, message) = (first + index, &commit.message);
            let _ = write!(
                stream,
                "commit {reference}\nmark :{mark}\ncommitter A <a@b> {date} +0000\ndata {}\n{message}\n",
                message.len()
            );
            for (number, parent) in commit.parents.iter().enumerate() {
                let word = if number == 0 { "from" } else { "merge" };
                let _ = writeln!(stream, "{word} :{}", first + parent);
            }
            stream.push_str("deleteall\n");
            for (path, text) in self.texts(index, digest) {
                let _ = write!(
                    stream,
                    "M 100644 inline {path}\ndata {}\n{text}\n",
                    text.len()
                );
            }
        }
        let _ = write!(stream, "reset {reference}\nfrom {}\n\n", "0".repeat(40));
        stream
    }
}

/// The digest of each image of the history with its seed.
pub fn digests_of(history: &History) -> impl Fn(Bytes) -> String {
    let seed = history.seed;
    move |bytes| bytes.digest(seed).to_string()
}

/// Writes histories to the git repository at `root`, with the promoted branch and each other head as branches
/// `SEED` and `SEED-N` below `refs/heads/h/`. Returns the ids of the commits of each history.
pub fn import<'h>(
    root: &Path,
    histories: impl IntoIterator<Item = &'h History>,
    digest: &dyn Fn(&History, Bytes) -> String,
) -> Vec<Vec<String>> {
    let mut stream = String::new();
    let mut sizes = Vec::new();
    let mut first = 1;
    for history in histories {
        stream.push_str(&history.stream(first, &|bytes| digest(history, bytes)));
        let heads = history.heads.iter().enumerate();
        let mut branches = vec![(format!("h/{}", history.seed), history.tip)];
        branches
            .extend(heads.map(|(number, head)| (format!("h/{}-{number}", history.seed), *head)));
        for (branch, commit) in branches {
            let _ = write!(
                stream,
                "reset refs/heads/{branch}\nfrom :{}\n\n",
                first + commit
            );
        }
        sizes.push(history.commits.len());
        first += history.commits.len();
    }
    let (input, marks) = (root.join(".git/stream"), root.join(".git/marks"));
    fs::write(&input, stream).unwrap();
    let status = Command::new("git")
        .args(["fast-import", "--quiet", "--export-marks=.git/marks"])
        .current_dir(root)
        .stdin(Stdio::from(fs::File::open(&input).unwrap()))
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(marks).unwrap();
    let mut ids = BTreeMap::new();
    for line in text.lines() {
        let (mark, id) = line.split_once(' ').unwrap();
        ids.insert(mark[1..].parse::<usize>().unwrap(), id.to_owned());
    }
    let mut ids = ids.into_values();
    let of = |size: usize| ids.by_ref().take(size).collect();
    sizes.into_iter().map(of).collect()
}
