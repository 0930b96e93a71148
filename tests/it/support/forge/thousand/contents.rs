//! The contents of the repositories: three files with pins and four hundred in all, by a seed.

use std::fmt::Write as _;

use super::super::{Kind, Store};

/// The parameters of the contents.
#[derive(Clone)]
pub struct Seeded {
    pub seed: u64,
    /// The images that are pinned, and the digest that they are pinned at.
    pub images: Vec<(String, String)>,
    /// All files of a repository.
    pub files: usize,
    /// Whether the first commit also contains the pins.
    pub squashed: bool,
}

/// The files with pins.
pub const PINNED: [&str; 3] = [
    ".github/workflows/build.yml",
    ".github/workflows/deploy.yml",
    ".github/workflows/lint.yml",
];

impl Default for Seeded {
    fn default() -> Self {
        let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
        Self {
            seed: 1,
            images: vec![
                ("ghcr.io/acme/api".to_owned(), digest('a')),
                ("ghcr.io/acme/web".to_owned(), digest('b')),
            ],
            files: 400,
            squashed: false,
        }
    }
}

/// A number that follows from the seed (splitmix64).
fn random(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Seeded {
    /// The text of a file with pins: each image once.
    pub fn pinned(&self, number: usize, path: &str) -> String {
        let number = number as u64;
        let noise = random(self.seed ^ number << 20 ^ path.len() as u64);
        let mut text = format!("# {noise:016x}\njobs:\n");
        for (at, (image, digest)) in self.images.iter().enumerate() {
            let _ = write!(text, "  job{at}:\n    container: {image}@{digest}\n");
        }
        text
    }

    /// The configuration of a repository.
    pub fn config(&self) -> String {
        let mut text = String::from("version: 1\nfiles: ['.github/workflows/*.yml']\nimages:\n");
        for (image, _) in &self.images {
            let name = image.rsplit('/').next().unwrap();
            let _ = writeln!(
                text,
                "  {name}: {{ repository: {image}, pins: {} }}",
                PINNED.len()
            );
        }
        text
    }
}

/// A repository's store: one commit with everything but the pins, one that brings them.
pub fn store(kind: Kind, seeded: &Seeded, number: usize) -> Store {
    let mut store = Store::new(kind);
    let others = seeded.files.saturating_sub(PINNED.len() + 1);
    let mut files: Vec<(String, String)> = (0..others)
        .map(|at| {
            // The same in every repository, as much that is generated is.
            let text = format!("{:016x}\n", random(seeded.seed ^ at as u64));
            (format!("src/part{}/file{at}.txt", at % 7), text)
        })
        .collect();
    files.push(("repin.yaml".to_owned(), seeded.config()));
    let pins = PINNED
        .iter()
        .map(|path| ((*path).to_owned(), seeded.pinned(number, path)));
    if seeded.squashed {
        files.extend(pins);
        push(&mut store, "begin with the pins", &files);
    } else {
        push(&mut store, "begin", &files);
        push(&mut store, "pin the images", &pins.collect::<Vec<_>>());
    }
    store
}

fn push(store: &mut Store, message: &str, files: &[(String, String)]) {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    store.push("main", message, &files);
}
