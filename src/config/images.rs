//! The images of a set: `images`.

use super::{
    blocks::{self, Inventory},
    path::RelPath,
    raw::ErrorCollector,
    yaml::{Key, Node, Value},
};
use crate::{error::Span, oci::Repository};

/// One image of the set.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name in messages, options and documents.
    pub name: String,
    /// Its repository.
    pub repository: Repository,
    /// Other repositories that a signature of it may refer to.
    pub signed_as: Vec<Repository>,
    /// How often it is pinned, exactly; 0: it is verified, and a pin of it is a failure.
    pub pins: usize,
    /// Where the number of pins is declared.
    pub pins_at: Span,
    /// The contract that its content must meet.
    pub contract: Option<RelPath>,
    /// What it must contain.
    pub inventory: ImageInventory,
}

impl Image {
    /// The repositories that a signature of it may refer to. Where its bytes are read from
    /// (`sources`) does not matter.
    pub fn signed_repositories(&self) -> Vec<Repository> {
        let own = std::iter::once(&self.repository);
        own.chain(&self.signed_as).cloned().collect()
    }
}

/// What an image must contain, if its shape differs from that of the set.
#[derive(Debug, Clone, Default)]
pub enum ImageInventory {
    /// What the set's block says.
    #[default]
    OfSet,
    /// Nothing is looked at.
    None,
    /// What its own block says, instead of the set's.
    Own(Box<Inventory>),
}

/// Whether each image must declare its number of pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// It must.
    Required,
    /// It may leave that to the repositories of a fleet.
    Optional,
}

pub(super) fn images(g: &ErrorCollector, node: &Node, counts: Counts) -> Option<Vec<Image>> {
    let fields = g.map(node)?;
    let images: Vec<_> = fields
        .entries()
        .iter()
        .map(|(key, value)| image(g, key, value, counts))
        .collect();
    let images: Option<Vec<Image>> = images.into_iter().collect();
    let images = images?;
    for (at, image) in images.iter().enumerate() {
        if let Some(twin) = images[..at]
            .iter()
            .find(|other| other.repository == image.repository)
        {
            let span = fields.entries()[at].0.span;
            g.report(
                span,
                format!(
                    "`{}` and `{}` have the same repository, {}",
                    twin.name, image.name, image.repository
                ),
            );
        }
    }
    if images.is_empty() {
        g.report(node.span, "`images` is empty");
    } else if counts == Counts::Required && images.iter().all(|image| image.pins == 0) {
        g.report_hint(
            images[0].pins_at,
            "every image has `pins: 0`: there is nothing to promote",
            "declare how often each image is pinned",
        );
    }
    Some(images)
}

fn image(g: &ErrorCollector, key: &Key, node: &Node, counts: Counts) -> Option<Image> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if key.text.is_empty() || !key.text.chars().all(plain) || key.text.starts_with('-') {
        g.report(
            key.span,
            format!("`{}` is not a valid image name: letters, digits, `.`, `_` and `-`, not starting with `-`", key.text),
        );
    }
    let fields = g.map(node)?;
    let repository = fields.required("repository", |node| g.parsed(node, Repository::parse));
    let signed_as = fields.or("signed_as", Vec::new(), |node| {
        g.each(node, Repository::parse)
    });
    let count = |node: &Node| g.number(node).map(|pins| (pins, node.span));
    let pins = match counts {
        Counts::Required => fields.required("pins", count),
        Counts::Optional => fields.or("pins", (0, key.span), count),
    };
    let contract = fields.optional("contract", |node| g.parsed(node, RelPath::parse));
    let inventory = fields.or("inventory", ImageInventory::OfSet, |node| {
        image_inventory(g, node)
    });
    fields.done();
    let (pins, pins_at) = pins?;
    Some(Image {
        name: key.text.clone(),
        repository: repository?,
        signed_as: signed_as?,
        pins,
        pins_at,
        contract: contract?,
        inventory: inventory?,
    })
}

/// `false`, a block that replaces the set's, or nothing.
fn image_inventory(g: &ErrorCollector, node: &Node) -> Option<ImageInventory> {
    if node.is_null() {
        return Some(ImageInventory::OfSet);
    }
    match &node.value {
        Value::Scalar { text, plain: true } if text == "false" => Some(ImageInventory::None),
        Value::Map(_) => blocks::inventory(g, node).map(|own| ImageInventory::Own(Box::new(own))),
        _ => g.expected(
            node,
            "`false`, or a mapping that replaces the set's `inventory`",
        ),
    }
}
