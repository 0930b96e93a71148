//! What the pointer of a place chooses, by the keys that the place names.

use std::collections::HashSet;

use super::{
    File,
    entry::{Entry, Refusal, Whose},
    helm,
    values::{Field, Via, field},
    yaml::{Document, Id, Value},
};
use crate::config::{KeysRule, Owner, Step};

/// The entries of a document.
pub(super) fn entries(document: &Document<'_>, file: &File<'_>, rule: &KeysRule) -> Vec<Entry> {
    let mut chosen = Vec::new();
    if let Some(root) = document.root {
        choose(document, root, &rule.entry, &mut chosen);
    }
    let mut seen = HashSet::new();
    chosen.retain(|id| seen.insert(*id));
    chosen
        .into_iter()
        .filter_map(|id| entry(document, file, rule, id))
        .collect()
}

fn choose(document: &Document<'_>, at: Id, steps: &[Step], chosen: &mut Vec<Id>) {
    let Some(at) = document.resolved(at) else {
        return;
    };
    let Some((step, rest)) = steps.split_first() else {
        chosen.push(at);
        return;
    };
    if *step == Step::Deep {
        choose(document, at, rest, chosen);
    }
    let steps = if *step == Step::Deep { steps } else { rest };
    for child in children(document, at, step) {
        // Below `**` an alias is not followed: its anchor is come to by itself.
        if *step != Step::Deep || document.resolved(child) == Some(child) {
            choose(document, child, steps, chosen);
        }
    }
}

/// The values and items that a step leads to.
fn children(document: &Document<'_>, at: Id, step: &Step) -> Vec<Id> {
    match &document.node(at).value {
        Value::Map(pairs) => match step {
            Step::Any | Step::Deep => pairs.iter().map(|(_, value)| *value).collect(),
            Step::Key(key) => {
                let named = pairs
                    .iter()
                    .filter(|(name, _)| document.scalar(*name) == Some(key));
                let mut named: Vec<_> = named.map(|(_, value)| *value).collect();
                if named.is_empty() {
                    named.extend(field(document, at, key).map(|field| field.node));
                }
                named
            }
            Step::Item { .. } => Vec::new(),
        },
        Value::List(items) => match step {
            Step::Any | Step::Deep => items.clone(),
            Step::Key(key) => key
                .parse()
                .ok()
                .and_then(|at: usize| items.get(at).copied())
                .into_iter()
                .collect(),
            Step::Item { key, text } => {
                let has = |item: &&Id| {
                    let item = document.resolved(**item);
                    let value = item.and_then(|item| field(document, item, key));
                    value.is_some_and(|value| document.scalar(value.node) == Some(text))
                };
                items.iter().filter(has).copied().collect()
            }
        },
        _ => Vec::new(),
    }
}

/// A value of an entry, and the second one that its steps lead to.
fn value(document: &Document<'_>, entry: Id, steps: &[Step]) -> (Option<Field>, Option<Id>) {
    let mut reached = Field {
        node: entry,
        via: Via::Own,
    };
    let mut second = None;
    for step in steps {
        let next = match step {
            Step::Key(key) if !document.map(reached.node).is_empty() => {
                field(document, reached.node, key)
            }
            _ => {
                let items = children(document, reached.node, step);
                second = second.or(items.get(1).copied());
                items.first().and_then(|item| {
                    let node = document.resolved(*item)?;
                    let via = if node == *item {
                        Via::Own
                    } else {
                        Via::Alias(*item)
                    };
                    Some(Field { node, via })
                })
            }
        };
        let Some(next) = next else {
            return (None, second);
        };
        let via = match reached.via {
            Via::Own => next.via,
            before => before,
        };
        reached = Field {
            node: next.node,
            via,
        };
    }
    (Some(reached), second)
}

fn entry(document: &Document<'_>, file: &File<'_>, rule: &KeysRule, id: Id) -> Option<Entry> {
    let get = |steps: &Option<Vec<Step>>| {
        let steps = steps.as_ref();
        steps.map_or((None, None), |steps| value(document, id, steps))
    };
    let ((digest, second_digest), (tag, second_tag)) = (get(&rule.digest), get(&rule.tag));
    let (whose, named_by, both) = match &rule.owner {
        Owner::Image(name) => {
            let image = file.rules.names.get(name).copied();
            (
                image.map_or(Whose::Other, Whose::Image),
                Vec::new(),
                OF_IMAGE,
            )
        }
        Owner::Keys {
            registry,
            repository,
        } => {
            let (repository, _) = value(document, id, repository);
            let (registry, _) = get(registry);
            let (whose, named_by) = helm::whose(document, file, registry, repository?, None);
            (whose, named_by, helm::BOTH)
        }
    };
    let refused = second_digest.or(second_tag).map(|second| Refusal {
        at: document.span(second).start,
        why: "a second item of the list has the same text: which of the two is used is up to whoever reads the list".to_owned(),
    });
    Some(Entry {
        node: id,
        whose,
        named_by,
        digest,
        tag,
        refused,
        both,
        global: matches!(rule.owner, Owner::Keys { .. }),
    })
}

const OF_IMAGE: &str = "a digest in the tag and in the digest of one entry: which of the two is used is up to whoever reads them";
