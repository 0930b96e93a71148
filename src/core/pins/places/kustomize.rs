//! Items of `images:` in a kustomization or component, and of `spec.images` in Flux's Kustomization.

use std::collections::HashSet;

use super::{
    File,
    entry::{Entry, EntryImage, Refusal},
    strings::{Field, Via, field},
    yaml::{Document, Id},
};
use crate::core::pins::reference::split_tag;

const BOTH: &str =
    "a digest in `newTag` and in `digest`: kustomize uses `digest` and ignores `newTag`";

/// The entries of a kustomization, as kustomize and Flux parse it.
pub(super) fn entries(document: &Document<'_>, file: &File<'_>, place: usize) -> Vec<Entry> {
    let Some((images, refused)) = images(document, file) else {
        if let Some(key) = without_kind(document) {
            let mut found = file.without_kind.borrow_mut();
            let at = document.span(key).start;
            found.entry(place).or_insert(at);
        }
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let items = document
        .list(images)
        .iter()
        .filter_map(|item| document.resolved(*item))
        .filter(|item| seen.insert(*item));
    let entries = items.map(|item| {
        let entry = entry(document, file, item);
        let refused = refused.clone().or(entry.refused);
        Entry { refused, ..entry }
    });
    entries.collect()
}

/// The keys of an item that decide about its pin.
const KEYS: [&str; 5] = ["name", "newName", "digest", "newTag", "tagSuffix"];

/// The value of a key that differs from `key` in case only, and the refusal of that key: kustomize
/// decodes JSON into Go structures, and their fields match keys in any case.
fn in_other_case(document: &Document<'_>, map: Id, key: &str) -> Option<(Id, Refusal)> {
    let entries = document.with_merges(map);
    let (found, value) = entries.into_iter().find(|(found, _)| {
        let text = document.key(*found);
        text.is_some_and(|text| text != key && folded(text) == folded(key))
    })?;
    let text = super::key_excerpt(document, found);
    let reason = format!("kustomize takes the key `{text}` for `{key}`: write the key as `{key}`");
    let at = document.span(found).start;
    Some((document.resolved(value)?, Refusal { at, reason }))
}

/// A key in the form that Go's `encoding/json` compares.
fn folded(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// The list of images, and the refusal of all its items.
fn images(document: &Document<'_>, file: &File<'_>) -> Option<(Id, Option<Refusal>)> {
    let root = document.root?;
    let text = |key| document.get(root, key).and_then(|id| document.scalar(id));
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.is_some_and(|version| version.starts_with("kustomize.toolkit.fluxcd.io/")) {
        let spec = document
            .get(root, "spec")
            .filter(|_| kind == Some("Kustomization"))?;
        // Kubernetes matches keys in the same case only.
        return document.get(spec, "images").map(|images| (images, None));
    }
    let ours = match kind {
        Some("Kustomization" | "Component") => true,
        // The kind of a kustomization is optional.
        None => file.kustomization,
        Some(_) => false,
    };
    let version = version.is_none_or(|version| version.starts_with("kustomize.config.k8s.io/"));
    if !(ours && version) {
        return None;
    }
    match in_other_case(document, root, "images") {
        Some((images, refusal)) if document.get(root, "images").is_none() => {
            Some((images, Some(refusal)))
        }
        _ => document.get(root, "images").map(|images| (images, None)),
    }
}

/// The key of the images of a document without a kind.
fn without_kind(document: &Document<'_>) -> Option<Id> {
    let root = document.root?;
    let (key, images) = document.named(root, "images").first().copied()?;
    let mut items = document.list(document.resolved(images)?).iter();
    let is_image = |item: &Id| {
        let item = document.resolved(*item);
        item.is_some_and(|item| field(document, item, "name").is_some())
    };
    (document.get(root, "kind").is_none() && items.any(is_image)).then_some(key)
}

fn entry(document: &Document<'_>, file: &File<'_>, item: Id) -> Entry {
    let other_case = |key| in_other_case(document, item, key);
    let get = |key| {
        field(document, item, key).or_else(|| {
            let (node, _) = other_case(key)?;
            let via = Via::Own;
            Some(Field { node, via })
        })
    };
    let text = |field: &Field| document.scalar(field.node).unwrap_or_default();
    let new_name = get("newName").filter(|name| !text(name).is_empty());
    let old_name = get("name");
    let name = new_name.or(old_name);
    let whole = name.as_ref().map_or("", text);
    // The repository of a whole reference in `newName` counts, so that the entry is refused.
    let repository = repository_of(whole);
    let image = file.image(repository);
    let mut refused = None;
    if repository.len() < whole.len()
        && let Some(name) = new_name
    {
        refused = Some(Refusal {
            at: document.span(name.node).start,
            reason: "`newName` holds a whole reference next to a digest: kustomize takes all of it as the name".to_owned(),
        });
    } else if repository.len() < whole.len() {
        return other(item);
    }
    if let Some(suffix) = get("tagSuffix").filter(|suffix| !text(suffix).is_empty()) {
        let at = match suffix.via {
            Via::Own => document.span(suffix.node).start,
            Via::Alias(node) | Via::Merge(node) => document.span(node).start,
        };
        let reason = "`tagSuffix` next to a digest: kustomize appends it to the tag, and older releases ignore it";
        refused = Some(Refusal {
            at,
            reason: reason.to_owned(),
        });
    }
    if let Some((_, refusal)) = KEYS.into_iter().find_map(other_case) {
        refused = Some(refusal);
    }
    Entry {
        node: item,
        image: image.map_or(EntryImage::Other, EntryImage::Image),
        names: new_name.into_iter().chain(old_name).collect(),
        digest: get("digest"),
        tag: get("newTag"),
        refused,
        both: BOTH,
        global: false,
        bare: false,
    }
}

fn other(item: Id) -> Entry {
    Entry {
        node: item,
        image: EntryImage::Other,
        names: Vec::new(),
        digest: None,
        tag: None,
        refused: None,
        both: BOTH,
        global: false,
        bare: false,
    }
}

/// The part of a reference before its tag and digest.
fn repository_of(text: &str) -> &str {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    split_tag(name).0
}
