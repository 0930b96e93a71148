//! The settings of an image: its own, or else those of the set.

use super::{Config, Image, ImageInventory};
use crate::{contents::inventory::Inventory, oci::Platform};

impl Config {
    /// The inventory of an image.
    pub fn inventory_of<'c>(&'c self, image: &'c Image) -> Option<&'c Inventory> {
        match &image.inventory {
            ImageInventory::OfSet => self.inventory.as_ref(),
            ImageInventory::None => None,
            ImageInventory::Own(own) => Some(own),
        }
    }

    /// The platforms that a new image must have, if they are declared.
    pub fn required_platforms<'c>(&'c self, image: &'c Image) -> Option<&'c [Platform]> {
        image.platforms.as_deref().or(self.platforms.as_deref())
    }
}
