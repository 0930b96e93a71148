//! The images of a set: the block `images`.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::{
    keys::{KeyType, Named, NonEmpty, Shape, block},
    reader::{ErrorCollector, Fields},
    types::{is_name, name_schema},
    yaml::{Key, Node, Value},
};
use crate::{
    base::{error::Span, files::RelPath},
    contents::inventory::Inventory,
    oci::{Platform, Repository},
};

block! {
    /// An image of the set.
    pub struct Image {
        /// The repository, without tag and digest. The short forms of Docker Hub are accepted.
        repository: Repository,
        /// Other repositories that a signature of the image may refer to, such as the original of
        /// a copy.
        signed_as: Vec<Repository> = [],
        /// Exact number of pins; required unless `fleet` is set. 0: the image is verified and
        /// listed with the others, and a pin of it is a failure.
        pins: PinCount,
        /// The platforms that a new image must have, instead of the set's `platforms`.
        platforms: Option<NonEmpty<Platform>>,
        /// The contract: a file that lists the required contents of the image.
        contract: Option<RelPath>,
        /// For an image of another shape: `false` checks no content of it; a mapping with the keys
        /// of `inventory` replaces the set's block for this image as a whole.
        inventory: ImageInventory,
    }
    with |fields| {
        /// The name in messages, options and documents.
        name: String = fields.key.text.clone(),
        /// The place of the number of pins, or of the name.
        pins_at: Span = fields.node("pins").map_or(fields.key.span, |node| node.span),
    }
}

impl Image {
    /// The repositories that a signature of the image may refer to. `sources` does not matter.
    pub fn signed_repositories(&self) -> Vec<Repository> {
        let own = std::iter::once(&self.repository);
        own.chain(&self.signed_as).cloned().collect()
    }
}

impl Named for Image {
    fn name_schema() -> Json {
        name_schema()
    }

    fn name_problem(name: &str) -> Option<String> {
        (!is_name(name)).then(|| {
            format!("`{name}` is not a valid image name: letters, digits, `.`, `_` and `-`, not starting with `-`")
        })
    }
}

/// The number of pins. A fleet's configuration may leave it to the repositories, and has 0 then.
pub struct PinCount;

impl KeyType for PinCount {
    type Value = usize;

    fn shape() -> Shape {
        usize::shape()
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<usize> {
        usize::read(key, node, problems)
    }

    fn absent() -> Option<usize> {
        Some(0)
    }
}

/// The inventory of an image.
#[derive(Debug, Clone)]
pub enum ImageInventory {
    /// The set's block.
    OfSet,
    /// Contents are not checked.
    None,
    /// A block that replaces the set's.
    Own(Box<Inventory>),
}

impl KeyType for ImageInventory {
    type Value = Self;

    fn shape() -> Shape {
        Shape::new(
            "`false` or a mapping",
            json!({"anyOf": [{"enum": [false, null]}, Inventory::shape().schema]}),
        )
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self> {
        match &node.value {
            _ if node.is_null() => Some(Self::OfSet),
            Value::Scalar { text, plain: true } if text == "false" => Some(Self::None),
            Value::Map(_) => {
                let own = Inventory::read(key, node, problems)?;
                Some(Self::Own(Box::new(own)))
            }
            _ => problems.expected(
                node,
                "`false`, or a mapping that replaces the set's `inventory`",
            ),
        }
    }

    fn absent() -> Option<Self> {
        Some(Self::OfSet)
    }
}

/// Whether the set has an image.
pub(super) fn are_present(images: &[Image], node: &Node, problems: &ErrorCollector) -> bool {
    if images.is_empty() {
        problems.report(node.span, "`images` is empty");
    }
    !images.is_empty()
}

/// Reports images without `pins`, sets without a pin, and a repository of two images.
pub(super) fn check(images: Option<&[Image]>, is_fleet: bool, fields: &Fields<'_>) {
    let problems = fields.problems;
    let Some(Node {
        value: Value::Map(entries),
        ..
    }) = fields.node("images")
    else {
        return;
    };
    for (key, node) in entries {
        if !is_fleet
            && let Value::Map(_) = &node.value
            && let Some(image) = problems.fields(key, node)
            && !image.has("pins")
        {
            image.report_missing("pins");
        }
    }
    let Some(images) = images else { return };
    let mut by_repository: HashMap<&Repository, &Image> = HashMap::new();
    for (image, (key, _)) in images.iter().zip(entries) {
        let first = by_repository.entry(&image.repository).or_insert(image);
        if first.name != image.name {
            let (first, image, repository) = (&first.name, &image.name, &image.repository);
            problems.report(
                key.span,
                format!("`{first}` and `{image}` have the same repository, {repository}"),
            );
        }
    }
    let are_declared = entries
        .iter()
        .all(|(_, node)| node.pointer("/pins").is_some());
    if !is_fleet && are_declared && images.iter().all(|image| image.pins == 0) {
        problems.report_hint(
            images[0].pins_at,
            "every image has `pins: 0`: there is nothing to promote",
            "declare how often each image is pinned",
        );
    }
}
