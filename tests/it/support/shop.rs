//! The world's images with contents, an inventory, and contracts for two of them.

use super::{
    archive::Archive,
    layout::Platform,
    world::{CONFIG, REV_A, REV_B, World, world},
};

pub const INVENTORY: &str = r#"
inventory:
  root: /opt/agent
  user: "1001"
  kinds:
    agents: { paths: ['^agents/([^/]+)\.md$'] }
    skills: { paths: ['^skills/([^/]+)/'], must_not_contain: unsupported }
    plugins: { paths: ['^plugins/([^/]+)/'], non_empty: true }
  required_files: [agents/ops.md, "skills/git/**"]
  forbidden_files: [.netrc, "*.token"]
  modes: { directories: "0755", files: "0644" }
  required_labels: [dev.acme.version]
  embedded_contract: /opt/expected.yaml
"#;

pub const CONTRACT: &str = "must_contain:
  agents: [ops, review]
  skills: [git]
must_not_contain:
  agents: [draft]
";

/// A world in which `review` and `fix` have contracts, which they meet at A and B.
pub fn shop() -> World {
    let mut world = world();
    let contract = "pins: 3, contract: contracts/review.yaml }";
    let config = CONFIG
        .replace("pins: 3 }", contract)
        .replace("pins: 2 }", &contract.replace("pins: 3", "pins: 2"));
    world.write("repin.yaml", config + INVENTORY);
    world.write("contracts/review.yaml", CONTRACT);
    for revision in [REV_A, REV_B] {
        for image in ["review", "fix", "base"] {
            world.rebuild(image, revision, &platforms(image, revision));
        }
    }
    world.pin(REV_A);
    world
}

/// An image's platforms with correct contents.
pub fn platforms(image: &str, revision: &str) -> Vec<Platform> {
    let names: &[&'static str] = if image == "review" {
        &["linux/amd64", "linux/arm64"]
    } else {
        &["linux/amd64"]
    };
    names
        .iter()
        .map(|name| platform(name, revision).label("dev.acme.image", image))
        .collect()
}

/// One platform: a base layer that all images share, and a layer with agents.
pub fn platform(name: &'static str, revision: &str) -> Platform {
    Platform::new(name, revision)
        .label("dev.acme.version", "1")
        .gzipped(base())
        .layer(agents(CONTRACT).end())
}

/// The layer that all images share.
pub fn base() -> Vec<u8> {
    Archive::new()
        .directory("usr")
        .file("usr/noise", noise(40_000))
        .directory("opt")
        .end()
}

/// Bytes that do not compress, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    std::iter::repeat_n((), length)
        .scan(7, |state, ()| next(state))
        .collect()
}

/// A layer with everything that an image must contain, to which files can be added.
pub fn agents(contract: &str) -> Archive {
    let directories = [
        "",
        "/agents",
        "/skills",
        "/skills/git",
        "/plugins",
        "/plugins/lint",
    ];
    let archive = directories
        .iter()
        .fold(Archive::new(), |archive, directory| {
            archive.directory(format!("opt/agent{directory}"))
        });
    archive
        .file("opt/agent/agents/ops.md", "ops")
        .file("opt/agent/agents/review.md", "review")
        .file("opt/agent/skills/git/SKILL.md", "git")
        .file("opt/agent/plugins/lint/plugin.json", "{}")
        .file("opt/expected.yaml", contract)
}
