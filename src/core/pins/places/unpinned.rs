//! The images of a YAML document that have no digest: references in scalars, and entries of kustomize and Helm.
//!
//! Nothing is changed here: an [`Unpinned`] is the place of a digest, and the reason if there is none.

use std::{cell::RefCell, ops::Range, path::Path};

use granit_parser::ScalarStyle;

use super::{
    File, StandardPlaces,
    entry::{Entry, EntryImage, SIGNED, duplicate_key, written_otherwise},
    helm, kustomize,
    strings::{Field, Via, global_registry, is_null, is_signed},
    yaml::{self, Document, Id, Kind},
};
use crate::{
    config::{DefaultFiles, YamlKind},
    core::pins::unpinned::reference::{Insertion, Origin, TaggedImage, Unpinned, UnpinnedKind},
    oci::{Repository, Tag},
};

/// The images of a file.
#[derive(Default)]
pub(in crate::core::pins) struct UnpinnedInYaml {
    pub(in crate::core::pins) images: Vec<Unpinned>,
    /// The names that kustomize replaces in manifests.
    pub(in crate::core::pins) replaced: Vec<String>,
    /// The names of the images that services of compose build.
    pub(in crate::core::pins) built: Vec<String>,
}

/// The purpose of a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Compose,
    Workflow,
    GitLab,
    Kubernetes,
    Other,
}

/// The lists of containers in Kubernetes.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

impl StandardPlaces {
    /// The images of a YAML file, or the reason why it cannot be read. `exists` checks whether a file exists at a
    /// path.
    pub(in crate::core::pins) fn unpinned(
        &self,
        path: &Path,
        content: &str,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Result<UnpinnedInYaml, String> {
        let mut found = UnpinnedInYaml::default();
        let mut places = self.rules.yaml_places();
        places.retain(|(number, _)| {
            let files = self.rules.places[*number].default_files;
            files.matches(path, exists)
        });
        let parsed = yaml::documents(content, |document| {
            let mut reader = DocumentReader::read(document, path);
            found.built.append(&mut reader.built);
            for (_, kind) in &places {
                let is_helm = matches!(kind, YamlKind::Helm { .. });
                if is_helm && matches!(reader.purpose, Purpose::Compose | Purpose::Workflow) {
                    continue;
                }
                let mut entries = self.entries_without_digest(document, kind, &mut found.replaced);
                if is_helm {
                    for entry in &mut entries {
                        entry.origin = Origin::Helm;
                    }
                }
                reader.images.append(&mut entries);
            }
            found.images.append(&mut reader.images);
        });
        parsed.map_err(|fault| fault.reason)?;
        found.images.sort_by_key(|image| image.at);
        found.images.dedup_by_key(|image| image.at);
        Ok(found)
    }

    /// The entries of a place with a tag and no digest. `replaced` receives the names that kustomize replaces.
    fn entries_without_digest(
        &self,
        document: &Document<'_>,
        kind: &YamlKind,
        replaced: &mut Vec<String>,
    ) -> Vec<Unpinned> {
        let repositories = RefCell::new(Vec::new());
        let file = File {
            content: document.text.as_bytes(),
            rules: &self.rules,
            kustomization: true,
            image: &|repository| {
                let mut repositories = repositories.borrow_mut();
                repositories.push(repository);
                Some(repositories.len() - 1)
            },
            met: RefCell::default(),
            tags: RefCell::default(),
            without_kind: RefCell::default(),
        };
        let (entries, [tag, digest]) = match kind {
            YamlKind::Kustomize => {
                let entries = kustomize::entries(document, &file, 0);
                for name in entries.iter().filter_map(|entry| entry.names.last()) {
                    replaced.extend(document.scalar(name.node).map(str::to_owned));
                }
                (entries, ["newTag", "digest"])
            }
            YamlKind::Helm { registry } => {
                let entries = helm::entries(document, &file, registry.as_deref());
                (entries, ["tag", "digest"])
            }
            YamlKind::Keys(_) => return Vec::new(),
        };
        let mut found = Vec::new();
        for entry in entries {
            if let EntryImage::Image(image) | EntryImage::Global(image) = entry.image {
                let repository = repositories.borrow()[image].clone();
                let keys = Keys { tag, digest };
                found.extend(keys.unpinned(document, &entry, repository));
            }
        }
        found
    }
}

/// The keys of an entry.
struct Keys {
    tag: &'static str,
    digest: &'static str,
}

impl Keys {
    fn unpinned(
        &self,
        document: &Document<'_>,
        entry: &Entry,
        repository: Repository,
    ) -> Option<Unpinned> {
        let tag = entry.tag?;
        let text = document
            .scalar(tag.node)
            .filter(|text| !text.contains('@'))?;
        let digest = entry.digest.and_then(|digest| document.scalar(digest.node));
        // A name of git is no image.
        if digest.is_some_and(|digest| !is_null(digest))
            || repository.path().strip_suffix(".git").is_some()
        {
            return None;
        }
        let at = document.span(tag.via.node().unwrap_or(tag.node)).start;
        let whole = format!("{repository}:{text}");
        let kind = match self.insertion(document, entry, text) {
            Ok((tag, insertion)) => UnpinnedKind::Pinnable(TaggedImage {
                repository,
                tag,
                insertion,
            }),
            Err(reason) => UnpinnedKind::Refused(reason),
        };
        Some(Unpinned::new(at, &whole, kind))
    }

    fn insertion(
        &self,
        document: &Document<'_>,
        entry: &Entry,
        tag: &str,
    ) -> Result<(Tag, Insertion), String> {
        if let Some(refusal) = &entry.refused {
            return Err(refusal.reason.clone());
        }
        let fields = entry.names.iter().chain(&entry.tag).chain(&entry.digest);
        if fields
            .into_iter()
            .any(|field| !matches!(field.via, Via::Own))
        {
            return Err("an alias or a merge supplies a part of the entry".to_owned());
        }
        let is_shared = |field: &Field| !document.aliases_of(field.node).is_empty();
        if entry.tag.as_ref().is_some_and(is_shared) || document.is_merged(entry.node) {
            return Err("an alias or a merge uses a part of the entry elsewhere".to_owned());
        }
        if entry.global && global_registry(document, entry.node).is_some() {
            return Err("the global registry of the chart may replace its registry".to_owned());
        }
        let may_be_joined = entry.global && !has_registry(document, entry);
        if let Some(key) = registry_above(document, entry.node).filter(|_| may_be_joined) {
            return Err(format!("`{key}` above the entry may be its registry"));
        }
        if tag.is_empty() {
            return Err("the tag is empty: another file supplies it".to_owned());
        }
        let tag = Tag::parse(tag)
            .map_err(|_| "the tag is no tag: a template may supply it".to_owned())?;
        let [(key, value)] = document.named(entry.node, self.tag)[..] else {
            return Err(format!("the key `{}` is not written once", self.tag));
        };
        check_bytes(document, value)?;
        let insertion = match document.named(entry.node, self.digest)[..] {
            [] if entry.digest.is_some() => {
                return Err("the key of its empty digest is not `digest`".to_owned());
            }
            [] => self.new_key(
                document,
                entry.node,
                &document.span(key),
                &document.span(value),
            )?,
            [(_, digest)] => replacement(document, digest)?,
            _ => return Err(format!("the key `{}` is not written once", self.digest)),
        };
        Ok((tag, insertion))
    }

    /// A new key after that of the tag.
    fn new_key(
        &self,
        document: &Document<'_>,
        map: Id,
        key: &Range<usize>,
        value: &Range<usize>,
    ) -> Result<Insertion, String> {
        let text = document.text;
        let name = self.digest;
        if text[document.span(map).start..].starts_with('{') {
            return Ok(Insertion {
                at: value.end..value.end,
                before: format!(", {name}: \""),
                after: "\"".to_owned(),
            });
        }
        let line = text[..key.start].rfind('\n').map_or(0, |end| end + 1);
        let indentation = &text[line..key.start];
        if !indentation.bytes().all(|byte| b" -".contains(&byte)) {
            return Err("other text precedes its tag on the line".to_owned());
        }
        let rest = &text[value.end..];
        let length = rest.find('\n').unwrap_or(rest.len());
        let length = rest[..length].trim_end_matches('\r').len();
        // The last line may have no line break.
        let line_break = match &rest[length..] {
            "" => &text[..line],
            line_break => &line_break[..line_break.len().min(2)],
        };
        let line_end = if line_break.ends_with("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        let end = value.end + length;
        let blanks = " ".repeat(indentation.len());
        Ok(Insertion {
            at: end..end,
            before: format!("{line_end}{blanks}{name}: "),
            after: String::new(),
        })
    }
}

/// Whether an entry has its own registry.
fn has_registry(document: &Document<'_>, entry: &Entry) -> bool {
    let text = |field: &Field| document.scalar(field.node).unwrap_or_default();
    match entry.names.as_slice() {
        [registry, _] if !is_null(text(registry)) => true,
        [.., repository] => {
            Repository::begins_with_host(Repository::without_scheme(text(repository)))
        }
        [] => false,
    }
}

/// The key of a registry in the mappings above an entry, which the templates of a chart may put before its repository.
fn registry_above<'d>(document: &'d Document<'_>, entry: Id) -> Option<&'d str> {
    let mut keys = document.ancestors(entry).flat_map(|map| document.map(map));
    keys.find_map(|(key, value)| {
        let key = document.key(key)?;
        let value = document
            .resolved(value)
            .and_then(|id| document.scalar(id))?;
        let is_registry = key.to_ascii_lowercase().ends_with("registry") && !is_null(value);
        is_registry.then_some(key)
    })
}

/// The replacement of an empty digest.
fn replacement(document: &Document<'_>, digest: Id) -> Result<Insertion, String> {
    let span = document.span(digest);
    let is_quoted = matches!(
        document.node(digest).kind,
        Kind::Scalar(ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted)
    );
    if span.is_empty() || document.node(digest).tagged {
        return Err("its `digest` has no value: write `digest: \"\"`".to_owned());
    }
    Ok(Insertion {
        at: if is_quoted {
            document.within_quotes(digest)
        } else {
            span
        },
        before: String::new(),
        after: String::new(),
    })
}

/// Refuses a scalar whose bytes are not its text, and one that another program writes.
fn check_bytes(document: &Document<'_>, scalar: Id) -> Result<(), String> {
    if let Some(reason) = written_otherwise(document, scalar, "it") {
        return Err(reason);
    }
    if let Some(key) = document.duplicate_above(scalar) {
        return Err(duplicate_key(document, key));
    }
    if is_signed(document, None) {
        return Err(SIGNED.to_owned());
    }
    let comment = document.comment_after(scalar);
    // https://fluxcd.io/flux/guides/image-update/#configure-image-update-for-custom-resources
    if comment.is_some_and(|comment| document.text[comment].contains("$imagepolicy")) {
        return Err("Flux writes it (`$imagepolicy`)".to_owned());
    }
    Ok(())
}

fn purpose(document: &Document<'_>, path: &Path) -> Purpose {
    let has = |key| document.root.and_then(|root| document.get(root, key));
    let name = path.file_name().and_then(|name| name.to_str());
    if name.is_some_and(|name| name.starts_with(".gitlab-ci")) {
        Purpose::GitLab
    } else if has("apiVersion").is_some() && has("kind").is_some() {
        Purpose::Kubernetes
    } else if has("jobs").is_some() {
        Purpose::Workflow
    } else if has("services").is_some_and(|services| document.node(services).kind == Kind::Map) {
        Purpose::Compose
    } else {
        Purpose::Other
    }
}

struct DocumentReader<'d, 't> {
    document: &'d Document<'t>,
    purpose: Purpose,
    images: Vec<Unpinned>,
    /// The names of the images that services of compose build.
    built: Vec<String>,
}

/// A node with the keys above it: its own, and that of its parent. Items of a list have the key of the list.
struct Nested<'d> {
    node: Id,
    depth: usize,
    key: &'d str,
    above: &'d str,
}

impl<'d, 't> DocumentReader<'d, 't> {
    fn read(document: &'d Document<'t>, path: &Path) -> Self {
        let mut reader = Self {
            document,
            purpose: purpose(document, path),
            images: Vec::new(),
            built: Vec::new(),
        };
        reader.add_all();
        let origin = match reader.purpose {
            Purpose::Kubernetes => Origin::Manifest,
            Purpose::Compose => Origin::Compose,
            Purpose::Workflow | Purpose::GitLab | Purpose::Other => Origin::Other,
        };
        for image in &mut reader.images {
            image.origin = origin;
        }
        reader
    }

    fn add_all(&mut self) {
        let document = self.document;
        let mut pending = Vec::new();
        pending.extend(document.root.map(|node| Nested {
            node,
            depth: 0,
            key: "",
            above: "",
        }));
        while let Some(at) = pending.pop() {
            for item in document.list(at.node) {
                pending.push(Nested { node: *item, ..at });
                if self.purpose == Purpose::GitLab && at.key == "services" {
                    self.add(*item, true);
                }
            }
            for (key, value) in document.map(at.node) {
                let key = document.key(key).unwrap_or_default();
                self.value(&at, key, value);
                pending.push(Nested {
                    node: value,
                    depth: at.depth + 1,
                    key,
                    above: at.key,
                });
            }
        }
    }

    /// Adds the image that the value of a key is.
    fn value(&mut self, map: &Nested<'d>, key: &str, value: Id) {
        let document = self.document;
        let has = |key, text| {
            let value = document
                .get(map.node, key)
                .and_then(|id| document.scalar(id));
            value == Some(text)
        };
        let is_workflow = self.purpose == Purpose::Workflow;
        let is_service =
            self.purpose == Purpose::Compose && map.depth == 2 && map.above == "services";
        match key {
            "image" if self.purpose == Purpose::Compose && self.is_built(map.node) => {
                let text = document.resolved(value).and_then(|id| document.scalar(id));
                let image = text.and_then(|text| Unpinned::in_text(0, text, true));
                if let Some(UnpinnedKind::Pinnable(image)) = image.map(|image| image.kind) {
                    self.built.push(image.name());
                }
            }
            "image" => {
                let is_image = match self.purpose {
                    Purpose::Compose => is_service,
                    Purpose::Workflow => map.key == "container" || map.above == "services",
                    Purpose::GitLab => true,
                    Purpose::Kubernetes => CONTAINERS.contains(&map.key),
                    Purpose::Other => false,
                };
                self.add(value, is_image);
            }
            "name"
                if self.purpose == Purpose::GitLab && matches!(map.key, "image" | "services") =>
            {
                self.add(value, true);
            }
            "container" if is_workflow => self.add(value, true),
            "uses" => {
                let text = document.resolved(value).and_then(|id| document.scalar(id));
                if text.is_some_and(|text| text.starts_with("docker://")) {
                    self.add(value, true);
                }
            }
            "source" if map.key == "volumes" && has("type", "image") => self.add(value, true),
            _ => {}
        }
    }

    /// Whether a service is built, so that its image is the name of the result: a mapping, or one that a service
    /// merges.
    fn is_built(&self, map: Id) -> bool {
        let document = self.document;
        let is_built = |service: Id| {
            let policy = document.get(service, "pull_policy");
            document.get(service, "build").is_some()
                || policy.and_then(|policy| document.scalar(policy)) == Some("build")
        };
        let mut aliases = document.aliases_of(map).iter();
        // The mapping with the `<<`, which may be that of a list of aliases.
        let merging = |alias: &Id| {
            let mut above = document.ancestors(*alias).skip(1);
            above.find(|node| document.node(*node).kind == Kind::Map)
        };
        is_built(map) || aliases.any(|alias| merging(alias).is_some_and(is_built))
    }

    fn add(&mut self, value: Id, is_image: bool) {
        let document = self.document;
        let Some(scalar) = document.resolved(value) else {
            return;
        };
        let Some(text) = document.scalar(scalar) else {
            return;
        };
        let at = document.within_quotes(scalar).start;
        if let Some(mut image) = Unpinned::in_text(at, text, is_image) {
            if let Err(reason) = check_bytes(document, scalar) {
                image.kind = UnpinnedKind::Refused(reason);
            }
            self.images.push(image);
        }
    }
}

/// The references without a digest in the scalars of a YAML file that are images; none if it cannot be read.
pub(in crate::core::pins) fn references(path: &Path, content: &[u8]) -> Vec<Unpinned> {
    let mut images = Vec::new();
    let Ok(text) = std::str::from_utf8(content) else {
        return images;
    };
    let parsed = yaml::documents(text, |document| {
        images.append(&mut DocumentReader::read(document, path).images);
    });
    if parsed.is_err() {
        images.clear();
    }
    images.sort_by_key(|image| image.at);
    images.dedup_by_key(|image| image.at);
    images
}

/// Whether a file may be YAML.
pub(in crate::core::pins) fn is_yaml(path: &Path) -> bool {
    // kustomize also reads a file without an extension.
    has_yaml_extension(path) || DefaultFiles::Kustomizations.matches(path, &|_| false)
}

fn has_yaml_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml"))
}

/// Whether a file is in the templates of a chart, which are no YAML. `exists` checks whether a file exists at a path.
pub(in crate::core::pins) fn is_template(path: &Path, exists: &dyn Fn(&Path) -> bool) -> bool {
    has_yaml_extension(path) && !DefaultFiles::Values.matches(path, exists)
}
