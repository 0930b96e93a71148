//! Mappings with `repository`, in any document of a YAML or JSON file.

use super::{
    File,
    entry::{Entry, Whose},
    values::{Field, field, global_registry},
    yaml::{Document, Id, Kind},
};
use crate::oci::Repository;

pub(super) const BOTH: &str = "a digest in `tag` and in `digest`: which of the two is used is up to the templates of the chart";

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
    let (digest, tag) = (field(document, id, "digest"), field(document, id, "tag"));
    let naming = Naming {
        entry: id,
        registry: field(document, id, "registry"),
        repository,
    };
    let (whose, named_by) = whose(document, file, &naming, registry);
    Some(Entry {
        node: id,
        whose,
        named_by,
        digest,
        tag,
        refused: None,
        both: BOTH,
        global: true,
    })
}

/// What says whose an entry is.
pub(super) struct Naming {
    pub(super) entry: Id,
    pub(super) registry: Option<Field>,
    pub(super) repository: Field,
}

/// Whose an entry is by its registry and repository, and the scalars that say so; `default` is the
/// registry of entries that have none.
pub(super) fn whose(
    document: &Document<'_>,
    file: &File<'_>,
    naming: &Naming,
    default: Option<&str>,
) -> (Whose, Vec<Field>) {
    let Naming {
        entry,
        registry,
        repository,
    } = *naming;
    let named_by: Vec<_> = registry.into_iter().chain([repository]).collect();
    let Some(name) = document.scalar(repository.node) else {
        return (Whose::Other, named_by);
    };
    let joined = |registry: &str| {
        let length = registry.len() + 1 + name.len();
        let registry = registry.trim_end_matches('/');
        (length <= 2 * Repository::MAX).then(|| file.image(&format!("{registry}/{name}")))?
    };
    let own = registry.map(|registry| document.scalar(registry.node).unwrap_or_default());
    let own = own.filter(|registry| !matches!(*registry, "" | "~" | "null"));
    let image = match (own, default) {
        (Some(registry), _) => joined(registry),
        (None, Some(default)) if !Repository::begins_with_host(name) => joined(default),
        (None, _) => file.image(name),
    };
    let global = || global_registry(document, entry).and_then(joined);
    let whose = image
        .map(Whose::Image)
        .or_else(|| global().map(Whose::Global))
        .unwrap_or(Whose::Other);
    (whose, named_by)
}
