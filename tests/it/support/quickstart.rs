//! Writes the image layouts of the examples: two or three revisions of each image, a few kB each.
//!
//! Equal input results in equal bytes; `runtime-review` has two platforms.

use std::{fs, path::Path};

use super::layout::{Layout, Platform};

/// Revisions and versions. Only the quick start has the last one, which fixes the previous one.
const REVISIONS: [(&str, &str); 3] = [
    ("4b1d7f0e92c35a68d1f4073be6a98c25170f3d6e", "2.0.31"),
    ("c93f5a17e08b64d2ab7013f9485ce6d20917b3fa", "2.1.4"),
    ("e28b0c7d5a914f63b0e9d2781c46fa35d90b7e14", "2.1.5"),
];

/// Writes the layouts of the quick start below `root`; replaces existing ones.
pub(crate) fn write(root: &Path) {
    let images = [
        "runtime-review",
        "runtime-fix",
        "runtime-triage",
        "runtime-base",
    ];
    write_all(root, &images, &REVISIONS);
}

/// The same for the example of split pins.
pub(crate) fn write_gitops(root: &Path) {
    write_all(root, &["shop-api", "shop-web"], &REVISIONS[..2]);
}

fn write_all(root: &Path, images: &[&str], revisions: &[(&str, &'static str)]) {
    for image in images {
        let directory = root.join(image);
        let _ = fs::remove_dir_all(&directory);
        let layout = Layout::at(&directory);
        for &(revision, version) in revisions {
            let platform = |name| {
                let agent = format!("# {image}\n");
                let files = [
                    ("opt/agent/agents/ops.md", agent.as_str()),
                    ("opt/agent/version", version),
                ];
                Platform::new(name, revision)
                    .label("dev.acme.cli_version", version)
                    .files(&files)
            };
            let platforms: Vec<_> = match *image {
                "runtime-review" => vec![platform("linux/amd64"), platform("linux/arm64")],
                _ => vec![platform("linux/amd64")],
            };
            layout.image(revision, &platforms);
        }
    }
}
