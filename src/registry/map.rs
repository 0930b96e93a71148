//! Which source a repository is read from.

use super::{Layout, Registries, Remote, Source, memory::Memory};
use crate::{
    config::{Mapping, Where},
    oci::Repository,
};

/// The mappings of one run: command line over environment over configuration.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Layers of mappings, the strongest first.
    layers: Vec<Vec<Mapping>>,
    registries: Registries,
    memory: Memory,
}

/// Why a repository cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// Its name and its mapping give no address.
    #[error("`{repository}` cannot be read: {reason}")]
    Address {
        /// The repository.
        repository: String,
        /// What is wrong.
        reason: String,
    },
}

impl Sources {
    /// `layers`: the strongest first. What no layer maps is read from its own registry.
    pub fn new(layers: Vec<Vec<Mapping>>, registries: Registries) -> Self {
        Self {
            layers,
            registries,
            memory: Memory::default(),
        }
    }

    /// Where `repository` is read from: the longest prefix of the strongest layer that has one.
    pub fn of(&self, repository: &Repository) -> Result<Source, SourcesError> {
        let remote = match self.mapping(repository) {
            Some((Where::Layouts(directory), rest)) => {
                let mut layout = Layout::new(directory.join(rest));
                layout.memory = self.memory.clone();
                return Ok(Source::Layout(layout));
            }
            Some((Where::Registry(endpoint), rest)) => self.registries.mapped(endpoint, &rest),
            None => self.registries.repository(repository),
        };
        let address = |reason| SourcesError::Address {
            repository: repository.to_string(),
            reason,
        };
        let mut remote: Remote = remote.map_err(address)?;
        remote.memory = self.memory.clone();
        Ok(Source::Remote(remote))
    }

    /// Where a mapping puts `repository`, with the rest of its name there; for whoever reads the
    /// image by other means.
    pub fn mapping(&self, repository: &Repository) -> Option<(&Where, String)> {
        let (mapping, rest) = self
            .layers
            .iter()
            .find_map(|layer| Mapping::longest(layer, repository))?;
        Some((&mapping.place, rest))
    }
}
