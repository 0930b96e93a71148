//! The mappings from repositories to sources.

use super::{Layout, Mapping, Registries, Remote, Source, SourceLocation, memory::MemoryLimit};
use crate::oci::Repository;

/// The mappings of one run: the command line, then the environment, then the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Layers of mappings, the strongest first.
    layers: Vec<Vec<Mapping>>,
    registries: Registries,
    memory: MemoryLimit,
    keeps_manifests: bool,
}

/// The error for a repository without a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{repository}` cannot be read: {reason}")]
pub(crate) struct SourcesError {
    repository: String,
    reason: String,
}

impl Sources {
    /// `layers` starts with the strongest. An unmapped repository is read from its own registry.
    pub(crate) fn new(layers: Vec<Vec<Mapping>>, registries: Registries) -> Self {
        Self {
            layers,
            registries,
            memory: MemoryLimit::default(),
            keeps_manifests: false,
        }
    }

    /// The same sources, which request a manifest by its digest once in the run.
    pub(crate) fn keeping_manifests(self) -> Self {
        Self {
            keeps_manifests: true,
            ..self
        }
    }

    /// All mappings, the strongest layer first.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.layers.iter().flatten()
    }

    /// The source of `repository`.
    pub(crate) fn source(&self, repository: &Repository) -> Result<Source, SourcesError> {
        let remote = match self.mapping(repository) {
            Some((SourceLocation::Layouts(directory), rest)) => {
                let mut layout = Layout::new(directory.join(&rest));
                layout.memory = self.memory.clone();
                return Ok(Source::Layout(layout));
            }
            Some((SourceLocation::Registry(endpoint), rest)) => {
                self.registries.mapped(endpoint, &rest)
            }
            None => self.registries.repository(repository),
        };
        let failed = |reason| SourcesError {
            repository: repository.to_string(),
            reason,
        };
        let mut remote: Remote = remote.map_err(failed)?;
        let roots = self.registries.read_roots();
        roots.map_err(|error| failed(error.to_string()))?;
        remote.memory = self.memory.clone();
        remote.keeps_manifests = self.keeps_manifests;
        Ok(Source::Remote(remote))
    }

    /// The longest mapping of `repository` in the strongest layer that has one, and the remaining
    /// part of the repository.
    pub(crate) fn mapping(&self, repository: &Repository) -> Option<(&SourceLocation, String)> {
        let (mapping, rest) = self
            .layers
            .iter()
            .find_map(|layer| Mapping::longest(layer, repository))?;
        Some((&mapping.location, rest))
    }
}
