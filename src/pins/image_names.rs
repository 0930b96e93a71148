//! The references to images in texts: their repositories, the repositories and layouts that
//! `sources` maps them to, and repositories with the same mapping.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    iter,
    path::{Path, PathBuf},
};

use super::{occurrences::mirrors, reference::reference_text};
use crate::{
    config::{Config, Mapping, SourceLocation},
    oci::Repository,
};

/// The references to the images of a configuration. An image is its index in the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageNames {
    mappings: Vec<Mapping>,
    /// The source of each image.
    locations: Vec<String>,
    repositories: HashMap<Repository, BTreeSet<usize>>,
    /// Paths without a registry, as after `$REGISTRY/`.
    paths: HashMap<String, BTreeSet<usize>>,
    layouts: HashMap<String, BTreeSet<usize>>,
    /// The first components of all references.
    first_components: BTreeSet<String>,
    /// The last components of all references, with their images.
    components: BTreeMap<String, BTreeSet<usize>>,
}

/// The schemes before the directory of a layout.
const LAYOUT_SCHEMES: [&str; 2] = ["oci://", "oci:"];
/// The maximum number of separators before which a text may contain another word, as in
/// `docker-daemon:acme/app`.
const MAX_SEPARATORS: usize = 2;

impl ImageNames {
    /// For the images of `config`. `mappings` are all mappings of `sources`, and `locations` are
    /// the sources of the images: images with the same source have the same references.
    pub(crate) fn new<'m>(
        config: &Config,
        mappings: impl IntoIterator<Item = &'m Mapping>,
        locations: &[String],
    ) -> Self {
        let mut names = Self {
            mappings: mappings.into_iter().cloned().collect(),
            locations: locations.to_vec(),
            ..Self::default()
        };
        for mapping in &names.mappings {
            let prefix = mapping.prefix.to_string();
            let first = prefix.split('/').next().unwrap_or(&prefix).to_owned();
            names.first_components.insert(first);
        }
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
            for repository in repositories {
                let path = repository.path();
                let path = path.strip_prefix("library/").unwrap_or(path).to_owned();
                names.add_component(&path, &images);
                // A name on Docker Hub may start with its path, with or without `library`.
                for start in [repository.host(), repository.path(), &path] {
                    let first = start.split('/').next().unwrap_or(start);
                    names.first_components.insert(first.to_owned());
                }
                names.paths.entry(path).or_default().extend(&images);
                let known = names.repositories.entry(repository);
                known.or_default().extend(&images);
            }
            for layout in names.layouts_of(&image.repository, &config.root) {
                names.add_component(&layout, &images);
                names.layouts.entry(layout).or_default().extend(&images);
            }
        }
        for number in 0..names.mappings.len() {
            let prefix = names.mappings[number].prefix.to_string();
            let repository = Repository::parse(&prefix);
            let images = repository.map(|repository| names.images(&repository));
            names.add_component(&prefix, &images.unwrap_or_default());
        }
        names
    }

    fn add_component(&mut self, name: &str, images: &BTreeSet<usize>) {
        let component = last_component(name).to_owned();
        self.components.entry(component).or_default().extend(images);
    }

    /// The references to the images of `config` with the mappings of other configurations in addition.
    pub(crate) fn with_mappings(&self, config: &Config, mappings: &BTreeSet<Mapping>) -> Self {
        let mappings = self.mappings.iter().chain(mappings);
        Self::new(config, mappings, &self.locations)
    }

    /// The images of a repository.
    pub(super) fn images(&self, repository: &Repository) -> BTreeSet<usize> {
        let mut images = BTreeSet::new();
        for form in self.forms(repository) {
            images.extend(self.repositories.get(&form).into_iter().flatten());
        }
        images
    }

    /// The images that the name at the end of a text refers to.
    pub(super) fn images_before(&self, text: &[u8]) -> BTreeSet<usize> {
        let mut images = BTreeSet::new();
        let Some(name) = reference_text(text) else {
            return images;
        };
        images.extend(self.images_of_name(name));
        for (at, _) in name.rmatch_indices(':').take(MAX_SEPARATORS) {
            images.extend(self.images_of_name(&name[at + 1..]));
        }
        // A variable, a template or another text may contain the registry, with or without a slash at
        // its end.
        let before = text[..text.len() - name.len()].last();
        if name.starts_with('/') || matches!(before, Some(b'$' | b'}' | b')' | b'>' | b'%')) {
            let after_slash = name.split_once('/').map(|(_, path)| path);
            for path in [Some(name), after_slash].into_iter().flatten() {
                images.extend(self.paths.get(path).into_iter().flatten());
            }
        }
        let mut schemes = LAYOUT_SCHEMES.iter();
        let directory = schemes
            .find_map(|scheme| name.strip_prefix(scheme))
            .unwrap_or(name);
        let directory = directory.strip_prefix("./").unwrap_or(directory);
        images.extend(self.layouts.get(directory).into_iter().flatten());
        images
    }

    /// The images of the repository at the end of a text. Characters of a name may precede it that belong to
    /// other text: `_` in Markdown, `--` in HTML, the `n` of an escaped line break. An image too many is
    /// harmless, because its tags are only protected.
    fn images_of_name(&self, text: &str) -> BTreeSet<usize> {
        let text = text.trim_start_matches(['/', '.', '_', '-']);
        let first = text.split('/').next().unwrap_or(text);
        let path = &text[first.len()..];
        let first = first.to_ascii_lowercase();
        let known = self.first_components.iter();
        let known = known.filter(|known| first.ends_with(known.as_str()));
        let after_other_text = known.map(|known| format!("{known}{path}"));
        let mut images = BTreeSet::new();
        for name in iter::once(text.to_owned()).chain(after_other_text) {
            if let Ok(repository) = Repository::parse(&name) {
                images.extend(self.images(&repository));
            }
        }
        images
    }

    /// The last components of all references.
    pub(super) fn components(&self) -> impl Iterator<Item = &String> {
        self.components.keys()
    }

    /// The images that references with this last component refer to.
    pub(super) fn images_with(&self, component: &str) -> BTreeSet<usize> {
        self.components.get(component).cloned().unwrap_or_default()
    }

    /// The repository itself, and those that `sources` maps it to.
    fn forms(&self, repository: &Repository) -> Vec<Repository> {
        let mut forms = vec![repository.clone()];
        forms.extend(mirrors(&self.mappings, repository));
        forms
    }

    /// The directories of layouts that `sources` maps a repository to: absolute, and from `root`.
    fn layouts_of(&self, repository: &Repository, root: &Path) -> Vec<String> {
        let mut layouts = Vec::new();
        for mapping in &self.mappings {
            if let SourceLocation::Layouts(directory) = &mapping.location
                && let Some(rest) = mapping.prefix.rest_of(repository)
            {
                let joined = directory.path.join(rest).display().to_string();
                // An empty rest adds a slash.
                let written = Path::new(joined.trim_end_matches('/'));
                let normalized: PathBuf = written.components().collect();
                for layout in [written, &normalized] {
                    layouts.push(layout.display().to_string());
                    if let Ok(relative) = layout.strip_prefix(root) {
                        layouts.push(relative.display().to_string());
                    }
                }
            }
        }
        layouts
    }
}

fn last_component(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn name_after_other_text_is_found() {
        let config = config::example(
            "version: 1
files: [a]
sources:
  quay.io/team/tool: oci:layouts/one
  mirror.example/x: https://ghcr.io/acme
images:
  app: { repository: ghcr.io/acme/app, pins: 1 }
  hub: { repository: acme/hub, pins: 1 }
  web: { repository: nginx, pins: 1 }
  tool: { repository: quay.io/team/tool, pins: 1 }
",
        );
        let locations = ["a", "b", "c", "d"].map(str::to_owned);
        let names = ImageNames::new(&config, &config.sources, &locations);
        for (text, expected) in [
            ("ghcr.io/acme/app", Some(0)),
            // The line break of a JSON string.
            (r"\nghcr.io/acme/app", Some(0)),
            (r"\nmirror.example/x/app", Some(0)),
            (r"\nacme/hub", Some(1)),
            (r"\nnginx", Some(2)),
            (r"\nlibrary/nginx", Some(2)),
            ("oci:layouts/one", Some(3)),
            ("oci:/root/layouts/one", Some(3)),
            ("nacme/app", None),
            ("nquay.io/acme/app", None),
        ] {
            let images = names.images_before(text.as_bytes());
            assert_eq!(images, expected.into_iter().collect(), "{text}");
        }
        assert_eq!(names.images_with("one"), BTreeSet::from([3]));
    }
}
