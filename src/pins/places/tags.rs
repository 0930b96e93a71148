//! The tags of entries in texts: the tags of images for kustomize, Helm, and the places of
//! configurations, with or without a digest in the entry.
//!
//! Every place applies to every text, independent of its `files`: a superfluous tag keeps a version, a
//! missing tag deletes one.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use super::{
    File, Rules, contains_name,
    entry::{Entry, EntryImage},
    marked, standard_places,
    yaml::{self, Document},
};
use crate::{
    config::{Config, Owner, PlaceKind, Step, TextKind, YamlKind},
    oci::Tag,
    pins::ImageNames,
};

/// The places of entries with tags.
#[derive(Debug)]
pub(in crate::pins) struct TagPlaces {
    rules: Vec<Rules>,
    /// The sets of images that `rules` refer to by their numbers.
    images: Vec<BTreeSet<usize>>,
    /// The last keys of tags in entries without a repository.
    keys: Vec<String>,
    /// The last keys of the other tags, except those that contain `tag` in any case.
    repository_keys: Vec<String>,
    /// The kinds of places in text, each once.
    text_kinds: Vec<TextKind>,
}

impl TagPlaces {
    /// The places of kustomize and Helm, and those of `configs`.
    pub(in crate::pins) fn new<'c>(
        names: &ImageNames,
        configs: impl IntoIterator<Item = &'c Config>,
    ) -> Self {
        let standard = Rules {
            places: standard_places(),
            ..Rules::default()
        };
        let mut places = Self {
            rules: vec![standard],
            images: Vec::new(),
            keys: Vec::new(),
            repository_keys: Vec::new(),
            text_kinds: Vec::new(),
        };
        let mut seen = HashSet::new();
        for config in configs {
            let mut key = String::new();
            for place in &config.places {
                let _ = write!(key, "{:?}", place.kind);
            }
            for image in &config.images {
                let _ = write!(key, "{:?} {}", image.name, image.repository);
            }
            if !config.places.is_empty() && seen.insert(key) {
                places.add(names, config);
            }
        }
        places
    }

    fn add(&mut self, names: &ImageNames, config: &Config) {
        let mut numbers = HashMap::new();
        for image in &config.images {
            numbers.insert(image.name.clone(), self.images.len());
            self.images.push(names.images(&image.repository));
        }
        for place in &config.places {
            match &place.kind {
                PlaceKind::Text(kind) if self.text_kinds.contains(kind) => {}
                PlaceKind::Text(kind) => self.text_kinds.push(*kind),
                PlaceKind::Yaml(YamlKind::Keys(rule)) => {
                    let keys = match &rule.owner {
                        Owner::Image(_) => &mut self.keys,
                        Owner::Keys { .. } => &mut self.repository_keys,
                    };
                    let mut steps = rule.tag.iter().flatten().rev();
                    keys.extend(steps.find_map(|step| match step {
                        Step::Key(key) => Some(key.clone()),
                        _ => None,
                    }));
                }
                PlaceKind::Yaml(YamlKind::Kustomize | YamlKind::Helm { .. }) => {}
            }
        }
        self.rules.push(Rules {
            places: config.places.clone(),
            names: numbers,
            ..Rules::default()
        });
    }

    /// The tags of entries, with their images.
    pub(in crate::pins) fn tags(&self, names: &ImageNames, content: &[u8]) -> Vec<(usize, Tag)> {
        let mut tags = Vec::new();
        for kind in &self.text_kinds {
            for rules in &self.rules {
                match kind {
                    TextKind::Marked => {
                        for (image, line) in marked::lines(rules, content) {
                            self.add_words(image, line, &mut tags);
                        }
                    }
                }
            }
        }
        if self.may_contain_entry(names, content)
            && let Ok(text) = std::str::from_utf8(content)
        {
            self.add_entries(names, text, &mut tags);
        }
        tags
    }

    /// Whether a text contains the key of a tag and, if the entry contains the repository, the end of a
    /// repository. Only the few texts that do are parsed.
    fn may_contain_entry(&self, names: &ImageNames, content: &[u8]) -> bool {
        let contains = |name: &String| contains_name(content, name);
        if self.keys.iter().any(contains) {
            return true;
        }
        names.components().iter().any(contains)
            && (self.repository_keys.iter().any(contains) || contains_tag_key(content))
    }

    /// Adds every word of a marked line, because any of them may be the tag.
    fn add_words(&self, image: usize, line: &[u8], tags: &mut Vec<(usize, Tag)>) {
        for word in line.split(|byte| !is_tag_byte(*byte)) {
            if let Ok(text) = std::str::from_utf8(word)
                && let Ok(tag) = Tag::parse(text)
            {
                let images = self.images[image].iter();
                tags.extend(images.map(|image| (*image, tag.clone())));
            }
        }
    }

    fn add_entries(&self, names: &ImageNames, text: &str, tags: &mut Vec<(usize, Tag)>) {
        let images = RefCell::new(self.images.clone());
        let mut found: Vec<(usize, Tag)> = Vec::new();
        // The documents before a syntax error are searched; later text is not YAML.
        let _ = yaml::documents(text, |document| {
            let mut read = || {
                for rules in &self.rules {
                    let file = File {
                        content: text.as_bytes(),
                        rules,
                        kustomization: true,
                        image: &|repository| {
                            let mut images = images.borrow_mut();
                            images.push(names.images(&repository));
                            Some(images.len() - 1).filter(|number| !images[*number].is_empty())
                        },
                    };
                    for (_, kind) in rules.yaml_places() {
                        for entry in file.entries(document, kind) {
                            found.extend(entry_tags(document, &entry));
                        }
                    }
                }
            };
            read();
            if document.has_duplicates() {
                document.read_as(yaml::Reader::Last);
                read();
                document.read_as(yaml::Reader::First);
            }
        });
        let images = images.into_inner();
        for (number, tag) in found {
            tags.extend(images[number].iter().map(|image| (*image, tag.clone())));
        }
    }
}

/// The tags of an entry with the number of its image: without and with the suffix, which older releases of
/// kustomize ignore.
fn entry_tags(document: &Document<'_>, entry: &Entry) -> Vec<(usize, Tag)> {
    let (EntryImage::Image(image) | EntryImage::Global(image)) = entry.image else {
        return Vec::new();
    };
    let text = entry.tag.and_then(|tag| document.scalar(tag.node));
    let Some(text) = text else {
        return Vec::new();
    };
    let tag = text.split_once('@').map_or(text, |(tag, _)| tag);
    let mut texts = vec![tag.to_owned()];
    if let Some(field) = entry.tag_suffix
        && let Some(suffix) = document.scalar(field.node)
    {
        texts.push(format!("{tag}{suffix}"));
    }
    let mut tags = Vec::new();
    for text in texts {
        tags.extend(Tag::parse(&text).map(|tag| (image, tag)));
    }
    tags
}

/// Whether a text contains `tag` in any case, as in `newTag`.
fn contains_tag_key(content: &[u8]) -> bool {
    memchr::memchr2_iter(b't', b'T', content).any(|at| {
        let key = content[at..].first_chunk::<3>();
        key.is_some_and(|key| key.eq_ignore_ascii_case(b"tag"))
    })
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}
