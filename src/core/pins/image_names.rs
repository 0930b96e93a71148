//! The words that mean an image in texts: the last components of its repository and of the repositories and
//! layouts that `sources` maps it to, and its names in configurations.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
};

use super::occurrences::mirrors;
use crate::{
    config::Config,
    oci::{
        Repository,
        registry::{Mapping, SourceLocation},
    },
};

/// The names of the images of a configuration. An image is its index in the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageNames {
    mappings: Vec<Mapping>,
    repositories: HashMap<Repository, BTreeSet<usize>>,
    words: HashMap<String, BTreeSet<usize>>,
}

impl ImageNames {
    /// For the images of `config`. `mappings` are all mappings of `sources`, and `locations` are
    /// the sources of the images: images with the same source have the same names. `others` are further
    /// configurations, which may call the images by other names.
    pub(crate) fn new<'c>(
        config: &Config,
        mappings: impl IntoIterator<Item = &'c Mapping>,
        locations: &[String],
        others: &[Config],
    ) -> Self {
        let mut names = Self {
            mappings: mappings.into_iter().cloned().collect(),
            ..Self::default()
        };
        for (number, image) in config.images.iter().enumerate() {
            let mut images = BTreeSet::new();
            for other in 0..config.images.len() {
                if locations.get(number) == locations.get(other) {
                    images.insert(other);
                }
            }
            // Another configuration may map the source of this one.
            let mut repositories = HashSet::new();
            for form in names.forms(&image.repository) {
                repositories.extend(names.forms(&form));
            }
            names.add(&image.name, &images);
            for repository in repositories {
                names.add(repository.path(), &images);
                for layout in names.layouts_of(&repository) {
                    names.add(&layout, &images);
                }
                let known = names.repositories.entry(repository);
                known.or_default().extend(&images);
            }
        }
        for number in 0..names.mappings.len() {
            let prefix = names.mappings[number].prefix.to_string();
            if let Ok(repository) = Repository::parse(&prefix) {
                names.add(&prefix, &names.images(&repository));
            }
        }
        for other in others {
            names.add_configuration(config, other);
        }
        names
    }

    /// Adds the names in another configuration, which may be a former one of the same set.
    fn add_configuration(&mut self, config: &Config, other: &Config) {
        for image in &other.images {
            let mut images = self.images(&image.repository);
            if other.set_path == config.set_path {
                let mut current = config.images.iter();
                images.extend(current.position(|current| current.name == image.name));
            }
            self.add(&image.name, &images);
            self.add(image.repository.path(), &images);
        }
    }

    /// Adds the last component of a path.
    fn add(&mut self, path: &str, images: &BTreeSet<usize>) {
        let path = path.trim_end_matches('/');
        let word = path.rsplit('/').next().unwrap_or(path);
        if !images.is_empty() {
            self.words
                .entry(word.to_owned())
                .or_default()
                .extend(images);
        }
    }

    /// The images that a word means.
    pub(super) fn of_word(&self, word: &str) -> Option<&BTreeSet<usize>> {
        self.words.get(word)
    }

    /// The images of a repository.
    fn images(&self, repository: &Repository) -> BTreeSet<usize> {
        let mut images = BTreeSet::new();
        for form in self.forms(repository) {
            images.extend(self.repositories.get(&form).into_iter().flatten());
        }
        images
    }

    /// The repository itself, and those that `sources` maps it to.
    fn forms(&self, repository: &Repository) -> Vec<Repository> {
        let mut forms = vec![repository.clone()];
        forms.extend(mirrors(&self.mappings, repository));
        forms
    }

    /// The directories of layouts that `sources` maps a repository to.
    fn layouts_of(&self, repository: &Repository) -> Vec<String> {
        let mut layouts = Vec::new();
        for mapping in &self.mappings {
            if let SourceLocation::Layouts(directory) = &mapping.location
                && let Some(rest) = mapping.prefix.rest_of(repository)
            {
                // An empty rest adds a slash, which is not a component.
                let layout: PathBuf = directory.path.join(rest).components().collect();
                layouts.push(layout.display().to_string());
            }
        }
        layouts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn image_has_the_names_of_all_its_sources_and_configurations() {
        let text = "version: 1
files: [a]
sources:
  quay.io/team/tool: oci:layouts/one
  mirror.example/x: https://ghcr.io/acme
  alias.example/second: https://ghcr.io/acme/app
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  tool: { repository: quay.io/team/tool, pins: 1 }
  same: { repository: mirror.example/x/app, pins: 1 }
";
        let config = config::example(text);
        let former = config::example(
            &text
                .replace("ghcr.io/acme/app, pins", "old.example/server, pins")
                .replace("  tool: {", "  instrument: {"),
        );
        let locations = ["a", "b", "a"].map(str::to_owned);
        let names = ImageNames::new(&config, &config.sources, &locations, &[former]);
        for (word, expected) in [
            ("app", &[0, 2][..]),
            ("same", &[0, 2]),
            ("second", &[0, 2]),
            ("server", &[0]),
            ("tool", &[1]),
            ("one", &[1]),
            ("instrument", &[1]),
            ("acme", &[]),
            ("web", &[]),
        ] {
            let found = names.of_word(word).cloned().unwrap_or_default();
            assert_eq!(found, expected.iter().copied().collect(), "{word}");
        }
    }
}
