//! The tags of entries in texts: the tags of images for kustomize, Helm, and the places of
//! configurations, with or without a digest in the entry.
//!
//! Every place applies to every text, independent of its `files`: a superfluous tag keeps a version, a
//! missing tag deletes one. For the same reason every word counts as a tag where an entry cannot be
//! parsed: in a text that is not completely YAML or JSON in UTF-8, such as a template, and in a scalar
//! with an entry, such as inline Helm values.

use std::{
    borrow::Cow,
    cell::{LazyCell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use memchr::memmem;

use super::{
    File, Rules, contains_name,
    entry::{Entry, EntryImage},
    standard_places, text_reader,
    yaml::{self, Document},
};
use crate::{
    config::{Config, Owner, PlaceKind, TextKind},
    oci::Tag,
    pins::ImageNames,
};

/// The places of entries with tags.
#[derive(Debug)]
pub(in crate::pins) struct TagPlaces {
    rules: Vec<Rules>,
    /// The sets of images that `rules` refer to by their numbers.
    images: Vec<BTreeSet<usize>>,
    /// The last keys of tags in entries without a repository, with the numbers of their `images`.
    keys: Vec<(String, usize)>,
    /// The last keys of the other tags, except those that contain `tag` in any case.
    repository_keys: Vec<String>,
    /// The kinds of places in text.
    text_kinds: HashSet<TextKind>,
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
            text_kinds: HashSet::new(),
        };
        // Most past configurations have equal places and images.
        let mut distinct = BTreeMap::new();
        for config in configs
            .into_iter()
            .filter(|config| !config.places.is_empty())
        {
            let mut key = String::new();
            for place in &config.places {
                let _ = write!(key, "{:?}", place.kind);
            }
            for image in &config.images {
                let _ = write!(key, "{:?} {}", image.name, image.repository);
            }
            distinct.insert(key, config);
        }
        for config in distinct.values() {
            places.add(names, config);
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
                PlaceKind::Text(kind) => {
                    self.text_kinds.insert(*kind);
                }
                PlaceKind::Yaml(kind) => match kind.tag_key() {
                    None => {}
                    Some((key, Owner::Image(name))) => {
                        let number = numbers.get(name);
                        self.keys
                            .extend(number.map(|number| (key.to_owned(), *number)));
                    }
                    Some((key, Owner::Keys { .. })) => self.repository_keys.push(key.to_owned()),
                },
            }
        }
        self.rules.push(Rules {
            places: config.places.clone(),
            names: numbers,
            ..Rules::default()
        });
    }

    /// The tags of entries in a whole text, with their images.
    pub(in crate::pins) fn tags(&self, names: &ImageNames, content: &[u8]) -> Vec<(usize, Tag)> {
        // The parser takes a zero byte for the end of the text.
        if content.contains(&0) {
            return self.words(names, content);
        }
        let mut tags = Vec::new();
        self.add_text_places(content, &mut tags);
        if self.may_contain_entry(names, content) {
            let text = std::str::from_utf8(content);
            if !text.is_ok_and(|text| self.add_entries(names, text, &mut tags)) {
                self.add_words(names, content, &mut tags);
            }
        }
        tags
    }

    /// Every word of a text that contains an entry, with the images that the entry may be of. The text may
    /// be a part of a larger one.
    pub(in crate::pins) fn words(&self, names: &ImageNames, content: &[u8]) -> Vec<(usize, Tag)> {
        let mut texts = vec![Cow::Borrowed(content)];
        if content.contains(&0) {
            // In UTF-16 of either byte order, the other byte of an ASCII character is zero.
            let narrow = content.iter().copied().filter(|byte| *byte != 0);
            texts.push(narrow.collect());
        }
        let mut tags = Vec::new();
        for text in texts {
            self.add_text_places(&text, &mut tags);
            self.add_words(names, &text, &mut tags);
        }
        tags
    }

    fn add_text_places(&self, content: &[u8], tags: &mut Vec<(usize, Tag)>) {
        for kind in &self.text_kinds {
            for rules in &self.rules {
                for (image, line) in (text_reader(*kind).lines)(rules, content) {
                    add_tags(&self.images[image], &content[line], tags);
                }
            }
        }
    }

    /// Whether a text contains the key of a tag and, if the entry contains the repository, the end of a
    /// repository. Only the few texts that do are parsed.
    fn may_contain_entry(&self, names: &ImageNames, content: &[u8]) -> bool {
        let contains = |name: &String| contains_name(content, name);
        if self.keys.iter().any(|(key, _)| contains(key)) {
            return true;
        }
        names.components().any(contains)
            && (self.repository_keys.iter().any(contains) || contains_tag(content, |_| true))
    }

    fn add_words(&self, names: &ImageNames, content: &[u8], tags: &mut Vec<(usize, Tag)>) {
        add_tags(&self.images_of_entries(names, content), content, tags);
    }

    /// The images that an entry in a text may be of: the text contains the key of a tag and, if the entry
    /// contains the repository, its last component. The registry may be elsewhere.
    fn images_of_entries(&self, names: &ImageNames, content: &[u8]) -> BTreeSet<usize> {
        let mut images = BTreeSet::new();
        for (key, number) in &self.keys {
            if contains_key(content, key) {
                images.extend(&self.images[*number]);
            }
        }
        let mut keys = self.repository_keys.iter();
        if contains_tag(content, is_end_of_key) || keys.any(|key| contains_key(content, key)) {
            for component in names.components() {
                if contains_name(content, component) {
                    images.extend(names.images_with(component));
                }
            }
        }
        images
    }

    /// Adds the tags of entries. Returns false if the text is not YAML to its end.
    fn add_entries(&self, names: &ImageNames, text: &str, tags: &mut Vec<(usize, Tag)>) -> bool {
        let images = RefCell::new(self.images.clone());
        let mut found: Vec<(usize, Tag)> = Vec::new();
        let parsed = yaml::documents(text, |document| {
            for reader in document.readers() {
                document.read_as(*reader);
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
            }
            for scalar in document.scalars() {
                self.add_words(names, scalar.as_bytes(), tags);
            }
        });
        let images = images.into_inner();
        for (number, tag) in found {
            tags.extend(images[number].iter().map(|image| (*image, tag.clone())));
        }
        parsed.is_ok()
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

/// Adds every word of a text, because any of them may be the tag. Punctuation before a word may belong to
/// the text, as in `${TAG:-v1}`; after a word, a comparison of tags considers it.
fn add_tags(images: &BTreeSet<usize>, text: &[u8], tags: &mut Vec<(usize, Tag)>) {
    let words = LazyCell::new(|| {
        let mut words = HashSet::new();
        for word in text.split(|byte| !is_tag_byte(*byte)) {
            for punctuation in [&b".-"[..], b".-_"] {
                let start = word.iter().position(|byte| !punctuation.contains(byte));
                let word = std::str::from_utf8(&word[start.unwrap_or(word.len())..]);
                words.extend(word.ok().and_then(|word| Tag::parse(word).ok()));
            }
        }
        words
    });
    for image in images {
        tags.extend(words.iter().map(|tag| (*image, tag.clone())));
    }
}

/// Whether a text contains `tag` in any case, as in `newTag`, before a text for which `is_before` holds.
fn contains_tag(content: &[u8], is_before: impl Fn(&[u8]) -> bool) -> bool {
    memchr::memchr2_iter(b't', b'T', content).any(|at| {
        let key = content[at..].first_chunk::<3>();
        key.is_some_and(|key| key.eq_ignore_ascii_case(b"tag")) && is_before(&content[at + 3..])
    })
}

/// Whether a text contains a key of a mapping or an assignment.
fn contains_key(content: &[u8], key: &str) -> bool {
    contains_name(content, key)
        && memmem::find_iter(content, key).any(|at| is_end_of_key(&content[at + key.len()..]))
}

/// Whether a text follows a key: `tag: v1`, `"tag": "v1"`, `image.tag=v1`.
fn is_end_of_key(after: &[u8]) -> bool {
    let mut after = after.iter().copied();
    let sign = after.find(|byte| !b"\"'\\ \t\r\n".contains(byte));
    matches!(sign, Some(b':' | b'='))
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// Passes the places of an image of which an alias is `alias.example/one`, with two of the kind `keys`.
    fn places<T>(of: impl FnOnce(&ImageNames, &TagPlaces) -> T) -> T {
        let config = config::example(
            "version: 1
files: [a]
sources: { alias.example/one: 'https://host.example/team/app' }
places:
  keys: { files: [a], entry: /settings, tag: build, digest: sum, image: app }
  named: { kind: keys, files: [a], entry: /named, repository: from, tag: release, digest: sum }
  marked: { files: [a] }
images: { app: { repository: host.example/team/app, pins: 1 } }
",
        );
        let names = ImageNames::new(&config, &config.sources, &["place".to_owned()]);
        let places = TagPlaces::new(&names, [&config]);
        of(&names, &places)
    }

    /// The tags in a text.
    fn tags(content: &[u8]) -> Vec<String> {
        let tags = places(|names, places| places.tags(names, content));
        let tags = tags.into_iter().map(|(image, tag)| {
            assert_eq!(image, 0);
            tag.to_string()
        });
        tags.collect()
    }

    /// Whether a text protects the tag `x1`, and no text of another image does.
    fn protects(text: &str) -> bool {
        let encodings: [fn(&str) -> Vec<u8>; 6] = [
            |text| text.as_bytes().to_vec(),
            |text| format!("\u{feff}{text}").into_bytes(),
            |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            |text| {
                let text = format!("\u{feff}{text}# \u{4e0a}\n");
                text.encode_utf16().flat_map(u16::to_le_bytes).collect()
            },
            |text| {
                let text = format!("\u{feff}{text}# \u{4e0a}\n");
                text.encode_utf16().flat_map(u16::to_be_bytes).collect()
            },
        ];
        let other = text.replace("team/app", "team/web").replace("one", "two");
        let found = encodings.map(|encode| {
            let is_other = text != other && tags(&encode(&other)).contains(&"x1".to_owned());
            assert!(!is_other, "{other}");
            tags(&encode(text)).contains(&"x1".to_owned())
        });
        assert_eq!(found, [found[0]; 6], "{text}");
        found[0]
    }

    const VALUES: &str = "repository: host.example/team/app\n  tag: x1\n";

    #[test]
    fn entry_that_is_not_parsed_is_found() {
        let nested = format!("{}{}", "[".repeat(70), "]".repeat(70));
        for text in [
            format!("image:\n  {VALUES}"),
            // Templates, with the error after and before the entry.
            format!("image:\n  {VALUES}{{{{- if eq 1 1 }}}}\nreplicas: 3\n{{{{- end }}}}\n"),
            format!("{{{{- if eq 1 1 }}}}\nimage:\n  {VALUES}{{{{- end }}}}\n"),
            "image:\n  registry: host.example/team\n  repository: team/app\n  tag: ${TAG:-x1}\n  }\n"
                .to_owned(),
            format!("image:\n  {VALUES}deep: {nested}\n"),
            format!("a: 1\n---\nimage:\n  {VALUES}  x: 'open\n"),
            format!("image:\n  {}}}\n", VALUES.replace("host.example/team/app", "alias.example/one")),
            // Without the word `tag`.
            "named: { from: host.example/team/app, release: x1 }\n".to_owned(),
            "named: { from: host.example/team/app, release: x1 }\n{{ if }}\n".to_owned(),
            // A registry for all images, and duplicate keys, also merged ones.
            "global: { imageRegistry: host.example }\nimage: { repository: team/app, tag: x1 }\n".to_owned(),
            "image: { repository: host.example/team/app, tag: x1, tag: x2 }\n".to_owned(),
            "image: { repository: host.example/team/app, tag: x2, tag: x1 }\n".to_owned(),
            "b: &b { tag: x2, tag: x1 }\nimage: { <<: *b, repository: host.example/team/app }\n".to_owned(),
            // Other languages.
            "image {\n  repository = \"host.example/team/app\"\n  tag = \"x1\"\n}\n".to_owned(),
            "REPOSITORY=host.example/team/app\nTAG=x1\n".to_owned(),
            "helm upgrade --set image.repository=host.example/team/app,image.tag=x1\n".to_owned(),
        ] {
            assert!(protects(&text), "{text}");
        }
        let suffix = b"images: [{ name: host.example/team/app, newTag: x, tagSuffix: '1' }]\n";
        assert_eq!(tags(suffix), ["x", "x1"]);
        let values = format!("image:\n  {VALUES}").into_bytes();
        for byte in [0xe9, 0] {
            let content = [&values, &b"# caf"[..], &[byte], b"\n"].concat();
            assert!(tags(&content).contains(&"x1".to_owned()), "{byte}");
        }
        let large = format!("image:\n  {VALUES}x: [{}]\n", "1,".repeat(500_000));
        assert!(tags(large.as_bytes()).contains(&"x1".to_owned()));
    }

    #[test]
    fn entry_in_a_scalar_is_found() {
        for text in [
            format!("data:\n  values.yaml: |\n    image:\n      {}", VALUES.replace('\n', "\n    ")),
            format!("data: >-\n    image:\n\n      {}", VALUES.replace('\n', "\n\n    ")),
            format!("helm:\n  valuesObject:\n    image: {{ {} }}\n", VALUES.trim_end().replace('\n', ", ")),
            format!("values: '{{ {} }}'\n", VALUES.trim_end().replace('\n', ", ")),
            format!("{{\"values\": \"image:\\n  {}\"}}\n", VALUES.replace('\n', "\\n")),
            "{\"a\": \"{\\\"repository\\\": \\\"host.example\\\\/team/app\\\", \\\"tag\\\": \\\"x1\\\"}\"}\n".to_owned(),
            "{\"repository\": \"host.example\\/team/app\", \"tag\": \"x1\"}\n".to_owned(),
            "run: |\n  helm upgrade --set image.repository=host.example/team/app \\\n    --set image.tag=x1\n".to_owned(),
        ] {
            assert!(protects(&text), "{text}");
        }
    }

    #[test]
    fn words_near_a_name_are_no_tags() {
        for text in [
            // No key of a tag.
            "Build team/app at x1 {{ . }}\n",
            "{{ . }}\nstage: team/app\ntags: [x1]\n",
            "{{ . }}\nthe: team/app x1\n",
            "{{ . }}\nto build x1\n",
            "{{ . }}\nrebuild: x1\n",
            "Tag team/app as x1 {{ . }}\n",
            "run: |\n  docker tag team/app $REGISTRY x1\n",
            // The entry is parsed.
            "image: { repository: host.example/team/app, tag: x2 }\nother: { repository: y, tag: x1 }\n",
            "image: { repository: host.example/team/app, tag: x2 }\nabout: |\n  team/app x1\n",
        ] {
            let found = tags(text.as_bytes());
            assert!(!found.contains(&"x1".to_owned()), "{text}: {found:?}");
        }
    }

    #[test]
    fn place_in_a_text_that_is_not_parsed_is_found() {
        for text in [
            "settings:\n  build: x1\n",
            "settings:\n  build: x1\n{{ if }}\n",
            "a: |\n  settings:\n    build: x1\n",
            "version = \"x1\" # repin: app\n",
            "{{ if }}\nversion = \"x1\" # repin: app\n",
        ] {
            assert!(protects(text), "{text}");
        }
        assert!(!protects("{{ if }} rebuild: x1\n"));
    }

    #[test]
    fn only_texts_that_may_contain_an_entry_are_parsed() {
        for (text, is_parsed) in [
            ("repository: host.example/team/app\ntag: x1\n", true),
            ("name: host.example/team/app\nnewTag: x1\n", true),
            ("from: host.example/team/app\nrelease: x1\n", true),
            ("build: x1\n", true),
            ("image: host.example/team/app\n", false),
            ("tag: x1\nrelease: x2\n", false),
            ("rebuild: team/app-web\n", false),
        ] {
            let parsed = places(|names, places| places.may_contain_entry(names, text.as_bytes()));
            assert_eq!(parsed, is_parsed, "{text}");
        }
    }

    #[test]
    fn equal_places_are_read_once() {
        let config = |name: &str, more: &str| {
            let text =
                "version: 1\nfiles: [a]\nimages: { app: { repository: x.example/a, pins: 1 } }\n";
            config::example(&format!("{text}name: {name}\n{more}"))
        };
        let marked = "places: { marked: { files: [a] } }\n";
        let configs = [config("a", ""), config("b", marked), config("c", marked)];
        let names = ImageNames::new(&configs[0], [], &["place".to_owned()]);
        let places = TagPlaces::new(&names, &configs);
        // With the standard places.
        assert_eq!(places.rules.len(), 2);
    }

    #[test]
    fn each_word_is_listed_once() {
        let text = b"tag: x1 # of team/app, x1\n{{ if }}\n";
        let words = places(|names, places| places.words(names, text));
        let listed = words.iter().filter(|(_, tag)| tag.to_string() == "x1");
        assert_eq!(listed.count(), 1);
    }
}
