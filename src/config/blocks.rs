//! The optional blocks of the configuration: inventory, smoke, prune, freshness, forge.

mod contents;
mod forge;
mod upkeep;

pub use contents::{Engine, Inventory, Kind, Smoke};
pub(super) use contents::{inventory, smoke};
pub(super) use forge::forge;
pub use forge::{Forge, ForgeKind};
pub use upkeep::{Freshness, Issue, PathsFrom, Prune, PruneBackend};
pub(super) use upkeep::{freshness, prune};

use super::{raw::Gather, template::check_branch, yaml::Node};

fn text(g: &Gather, node: &Node) -> Option<String> {
    g.nonempty(node).map(str::to_owned)
}

/// The name of an environment variable.
fn variable(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.bytes().all(good) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not the name of an environment variable (its value has no place here)"
        ))
    }
}

fn branch(text: &str) -> Result<String, String> {
    check_branch(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}
