//! Mappings with `repository`, in any document of a YAML or JSON file.

use super::{
    File,
    entry::{Entry, EntryImage, Refusal},
    strings::{Content, Field, Shape, field, global_registry, is_null},
    yaml::{Document, Id, Kind},
};
use crate::oci::Repository;

pub(super) const BOTH: &str = "a digest in `tag` and in `digest`: which of the two is used is up to the templates of the chart";

const BOTH_KEYS: &str = "a digest in `digest` and in `sha`: which of the two is used is up to the templates of the chart";

/// The entries of a document.
pub(super) fn entries(
    document: &Document<'_>,
    file: &File<'_>,
    registry: Option<&str>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut pending: Vec<Id> = document.root.into_iter().collect();
    while let Some(id) = pending.pop() {
        match document.node(id).kind {
            Kind::Map => {
                pending.extend(document.map(id).map(|(_, value)| value));
                entries.extend(entry(document, file, registry, id));
            }
            Kind::List => pending.extend(document.list(id)),
            _ => {}
        }
    }
    entries
}

fn entry(
    document: &Document<'_>,
    file: &File<'_>,
    registry: Option<&str>,
    id: Id,
) -> Option<Entry> {
    let repository = field(document, id, "repository")?;
    let (digest, refused) = digest(document, id);
    let naming = Naming {
        entry: id,
        registry: field(document, id, "registry"),
        repository,
    };
    let (image, names) = image_of(document, file, &naming, registry);
    Some(Entry {
        node: id,
        image,
        names,
        digest,
        tag: field(document, id, "tag"),
        refused,
        both: BOTH,
        global: true,
        bare: true,
    })
}

/// The digest of an entry, and the refusal of two digests.
fn digest(document: &Document<'_>, id: Id) -> (Option<Field>, Option<Refusal>) {
    let digest = field(document, id, "digest");
    let Some(sha) = field(document, id, "sha").filter(|sha| !is_commit(document, sha)) else {
        return (digest, None);
    };
    let is_empty = |field: &Field| matches!(Content::of(document, field.node).digest, Shape::None);
    match digest {
        Some(digest) if is_empty(&sha) => (Some(digest), None),
        Some(digest) if !is_empty(&digest) => {
            let at = document.span(sha.node).start;
            let reason = BOTH_KEYS.to_owned();
            (Some(digest), Some(Refusal { at, reason }))
        }
        _ => (Some(sha), None),
    }
}

/// Whether a `sha` is the ID of a commit, in full or abbreviated.
fn is_commit(document: &Document<'_>, sha: &Field) -> bool {
    let text = document.scalar(sha.node).unwrap_or_default();
    (4..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The fields that name the image of an entry.
pub(super) struct Naming {
    pub(super) entry: Id,
    pub(super) registry: Option<Field>,
    pub(super) repository: Field,
}

/// The image of an entry by its registry and repository, and the scalars that name it. `default` is the
/// registry of entries without one.
pub(super) fn image_of(
    document: &Document<'_>,
    file: &File<'_>,
    naming: &Naming,
    default: Option<&str>,
) -> (EntryImage, Vec<Field>) {
    let Naming {
        entry,
        registry,
        repository,
    } = *naming;
    let names: Vec<_> = registry.into_iter().chain([repository]).collect();
    let Some(name) = document.scalar(repository.node) else {
        return (EntryImage::Other, names);
    };
    let joined = |registry: &str| {
        let registry = Repository::without_scheme(registry);
        (file.image)(Repository::joined(registry, name).ok()?)
    };
    let own = registry
        .map(|registry| document.scalar(registry.node).unwrap_or_default())
        .filter(|registry| !is_null(registry));
    let image = match (own, default) {
        (Some(registry), _) => joined(registry),
        (None, Some(default))
            if !Repository::begins_with_host(Repository::without_scheme(name)) =>
        {
            joined(default)
        }
        (None, _) => file.image(name),
    };
    let global = || global_registry(document, entry).and_then(joined);
    let image = image
        .map(EntryImage::Image)
        .or_else(|| global().map(EntryImage::Global))
        .unwrap_or(EntryImage::Other);
    (image, names)
}
