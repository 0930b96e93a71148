//! Mappings with `repository`, in any document of a YAML or JSON file.

use super::{
    File,
    entry::{Entry, Whose},
    values::{Field, field, global_registry},
    yaml::{Document, Id, Value},
};

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
        match &document.node(id).value {
            Value::Map(pairs) => {
                pending.extend(pairs.iter().map(|(_, value)| *value));
                if let Some(repository) = field(document, id, "repository") {
                    let own = field(document, id, "registry");
                    let (whose, named_by) = whose(document, file, own, repository, registry);
                    entries.push(Entry {
                        node: id,
                        whose,
                        named_by,
                        digest: field(document, id, "digest"),
                        tag: field(document, id, "tag"),
                        refused: None,
                        both: BOTH,
                        global: true,
                    });
                }
            }
            Value::List(items) => pending.extend(items),
            _ => {}
        }
    }
    entries
}

/// Whose an entry is by its registry and repository, and the scalars that say so; `default` is the
/// registry of entries that have none.
pub(super) fn whose(
    document: &Document<'_>,
    file: &File<'_>,
    registry: Option<Field>,
    repository: Field,
    default: Option<&str>,
) -> (Whose, Vec<Field>) {
    let named_by: Vec<_> = registry.into_iter().chain([repository]).collect();
    let Some(name) = document.scalar(repository.node) else {
        return (Whose::Other, named_by);
    };
    let joined = |registry: &str| file.image(&format!("{}/{name}", registry.trim_end_matches('/')));
    let own = registry.map(|registry| document.scalar(registry.node).unwrap_or_default());
    let own = own.filter(|registry| !matches!(*registry, "" | "~" | "null"));
    let image = match (own, default) {
        (Some(registry), _) => joined(registry),
        (None, Some(default)) if !begins_with_host(name) => joined(default),
        (None, _) => file.image(name),
    };
    let global = || global_registry(document).and_then(joined);
    let whose = image
        .map(Whose::Image)
        .or_else(|| global().map(Whose::Global))
        .unwrap_or(Whose::Other);
    (whose, named_by)
}

/// Whether the first part of a name is a host, by the rule of all engines.
fn begins_with_host(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']))
}
