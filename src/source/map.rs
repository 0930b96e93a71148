//! Which source a repository is read from.

use super::{Layout, Source};
use crate::{
    config::{Mapping, Where},
    image::Repository,
};

/// The mappings of one run: command line over environment over configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Layers of mappings, the strongest first.
    layers: Vec<Vec<Mapping>>,
}

/// Why a repository can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// No mapping, and this release reads layouts only.
    #[error("`{0}` is not mapped to an image layout, and this release reads nothing else")]
    NotMapped(String),
}

impl Sources {
    /// `layers`: the strongest first.
    pub fn new(layers: Vec<Vec<Mapping>>) -> Self {
        Self { layers }
    }

    /// Where `repository` is read from: the longest prefix of the strongest layer that has one.
    pub fn of(&self, repository: &Repository) -> Result<Source, SourcesError> {
        let found = self.layers.iter().find_map(|layer| Mapping::longest(layer, repository));
        match found {
            Some((Mapping { place: Where::Layouts(folder), .. }, rest)) => {
                Ok(Source::Layout(Layout::new(folder.join(rest))))
            }
            _ => Err(SourcesError::NotMapped(repository.to_string())),
        }
    }
}
