//! The entries that the pointer of a place selects, with the keys that the place defines.
//!
//! Readers that choose different entries of a duplicate key.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{
    File, Finding, FindingKind,
    entry::{Entry, EntryImage, Refusal},
    helm::{self, Naming},
    strings::{Field, Via, field, through},
    yaml::{Document, Id, Kind, MERGE},
};
use crate::{
    config::{KeysRule, Owner, Step},
    core::pins::scan::PlacePart,
};

/// The entries of a document.
pub(super) fn entries(
    document: &Document<'_>,
    file: &File<'_>,
    place: usize,
    rule: &KeysRule,
) -> Vec<Entry> {
    let selector = Selector {
        document,
        items: RefCell::default(),
    };
    let Some(root) = document.root else {
        return Vec::new();
    };
    let selected = selector.select(root, &rule.entry);
    if !selected.is_empty() {
        file.meet(place, PlacePart::Entry);
    }
    let meet = |part| file.meet(place, part);
    let entries = selected.into_iter();
    entries
        .filter_map(|id| entry(&selector, file, rule, id, &meet))
        .collect()
}

/// The nodes that were visited, with the number of remaining steps.
struct Visited {
    bits: Vec<u64>,
    steps: usize,
}

impl Visited {
    fn new(document: &Document<'_>, steps: &[Step]) -> Self {
        let steps = steps.len() + 1;
        Self {
            bits: vec![0; (document.len() * steps).div_ceil(64)],
            steps,
        }
    }

    /// Marks a node as visited; returns true on the first visit.
    fn insert(&mut self, node: Id, left: usize) -> bool {
        let at = node as usize * self.steps + left;
        let (word, bit) = (&mut self.bits[at / 64], 1 << (at % 64));
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

/// Follows pointers in a document.
struct Selector<'d, 't> {
    document: &'d Document<'t>,
    /// The items of lists that a step of the kind `[key=text]` selects.
    items: RefCell<HashMap<ListQuery<'d>, Rc<[Id]>>>,
}

/// A list and a step.
type ListQuery<'d> = (Id, &'d Step);

impl<'d> Selector<'d, '_> {
    /// The nodes that the steps select from `root`, without duplicates; aliases are resolved.
    fn select(&self, root: Id, steps: &'d [Step]) -> Vec<Id> {
        let mut visited = Visited::new(self.document, steps);
        let (mut selected, mut pending) = (Vec::new(), vec![(root, steps)]);
        while let Some((at, steps)) = pending.pop() {
            let node = self.document.resolved(at);
            let Some(node) = node.filter(|node| visited.insert(*node, steps.len())) else {
                continue;
            };
            let Some((step, rest)) = steps.split_first() else {
                selected.push(node);
                continue;
            };
            if matches!(step, Step::Any | Step::Deep) {
                // A merged mapping is at this level, without a step.
                pending.extend(self.merges(node).map(|map| (map, steps)));
            }
            let is_deep = *step == Step::Deep;
            let after = if is_deep { steps } else { rest };
            let children = self.children(node, step);
            pending.extend(children.iter().rev().map(|child| (*child, after)));
            if is_deep {
                pending.push((node, rest));
            }
        }
        selected
    }

    /// The mappings that a mapping merges.
    fn merges(&self, at: Id) -> impl Iterator<Item = Id> {
        let document = self.document;
        let merges = document.named(at, MERGE).into_iter();
        merges.flat_map(|(_, value)| {
            let target = document.resolved(value);
            let several = target.map_or(&[][..], |target| document.list(target));
            let several = several.iter().filter_map(|item| document.resolved(*item));
            let all = target.into_iter().chain(several);
            all.filter(|map| document.node(*map).kind == Kind::Map)
        })
    }

    /// The values and items that a step selects.
    fn children(&self, at: Id, step: &'d Step) -> Rc<[Id]> {
        let document = self.document;
        match (document.node(at).kind, step) {
            (Kind::Map, Step::Any | Step::Deep) => {
                let written = document.map(at);
                let written = written.filter(|(key, _)| document.key(*key) != Some(MERGE));
                written.map(|(_, value)| value).collect()
            }
            (Kind::Map, Step::Key(key)) => {
                let named = document.named(at, key);
                if named.is_empty() {
                    let merged = field(document, at, key);
                    return merged.map(|field| field.node).into_iter().collect();
                }
                named.into_iter().map(|(_, value)| value).collect()
            }
            (Kind::List, Step::Any | Step::Deep) => document.list(at).into(),
            (Kind::List, Step::Key(key)) => {
                let item = key
                    .parse()
                    .ok()
                    .and_then(|at_item: usize| document.list(at).get(at_item));
                item.copied().into_iter().collect()
            }
            (Kind::List, Step::Item { key, text }) => {
                let mut items = self.items.borrow_mut();
                let items = items
                    .entry((at, step))
                    .or_insert_with(|| self.items_with(at, key, text));
                Rc::clone(items)
            }
            _ => Rc::default(),
        }
    }

    fn items_with(&self, list: Id, key: &str, text: &str) -> Rc<[Id]> {
        let document = self.document;
        let has = |item: &&Id| {
            let item = document.resolved(**item);
            let value = item.and_then(|item| field(document, item, key));
            value.is_some_and(|value| document.scalar(value.node) == Some(text))
        };
        document.list(list).iter().filter(has).copied().collect()
    }

    /// The value of an entry that the steps select, and a second one.
    fn value(&self, entry: Id, steps: &'d [Step]) -> (Option<Field>, Option<Id>) {
        let document = self.document;
        let mut reached = Field {
            node: entry,
            via: Via::Own,
        };
        let mut second = None;
        for step in steps {
            let next = match step {
                Step::Key(key) if document.node(reached.node).kind == Kind::Map => {
                    field(document, reached.node, key)
                }
                _ => {
                    let items = self.children(reached.node, step);
                    second = second.or(items.get(1).copied());
                    items.first().map(|item| through(document, *item))
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
}

fn entry<'d>(
    selector: &Selector<'d, '_>,
    file: &File<'_>,
    rule: &'d KeysRule,
    id: Id,
    meet: &dyn Fn(PlacePart),
) -> Option<Entry> {
    let document = selector.document;
    let get = |steps: &'d Option<Vec<Step>>, part| {
        let steps = steps.as_ref();
        let found = steps.map_or((None, None), |steps| selector.value(id, steps));
        if found.0.is_some() {
            meet(part);
        }
        found
    };
    let (digest, second_digest) = get(&rule.digest, PlacePart::Digest);
    let (tag, second_tag) = get(&rule.tag, PlacePart::Tag);
    let (image, names, both) = match &rule.owner {
        Owner::Image(name) => {
            let image = file.rules.names.get(name);
            let image = image.map_or(EntryImage::Other, |image| EntryImage::Image(*image));
            (image, Vec::new(), OF_IMAGE)
        }
        Owner::Keys {
            registry,
            repository,
        } => {
            let (registry, _) = get(registry, PlacePart::Registry);
            let (repository, _) = selector.value(id, repository);
            let repository = repository?;
            meet(PlacePart::Repository);
            let naming = Naming {
                entry: id,
                registry,
                repository,
            };
            let (image, names) = helm::image_of(document, file, &naming, None);
            (image, names, helm::BOTH)
        }
    };
    let refused = second_digest.or(second_tag).map(|second| Refusal {
        at: document.span(second).start,
        reason: "a second item of the list has the same text: which of the two is used is up to whoever reads the list".to_owned(),
    });
    Some(Entry {
        node: id,
        image,
        names,
        digest,
        tag,
        refused,
        both,
        global: matches!(rule.owner, Owner::Keys { .. }),
        bare: true,
    })
}

const OF_IMAGE: &str = "a digest in the tag and in the digest of one entry: which of the two is used is up to whoever reads them";

const WHY: &str = "a duplicate key in this document decides whose digest this is: YAML forbids it, and readers take the first or the last one";

/// Refuses the entries that readers of a document with duplicate keys interpret differently:
/// `first` are those of a reader that uses the first entry with a key, `last` those of a reader
/// that uses the last one.
pub(super) fn reconcile(first: Vec<Finding>, last: Vec<Finding>) -> Vec<Finding> {
    let mut findings = first;
    let (pins_of_first, pins_of_last) = (pins(&findings), pins(&last));
    for finding in &mut findings {
        if pin(finding).is_some_and(|pin| !pins_of_last.contains(&pin)) {
            finding.kind = FindingKind::Refused(WHY.to_owned());
        }
    }
    for finding in last {
        match &finding.kind {
            FindingKind::Pin { .. } => {
                if pin(&finding).is_some_and(|pin| !pins_of_first.contains(&pin)) {
                    let kind = FindingKind::Refused(WHY.to_owned());
                    findings.push(Finding { kind, ..finding });
                }
            }
            FindingKind::Refused(reason) => {
                let is_same = |other: &Finding| {
                    other.at == finding.at
                        && matches!(&other.kind, FindingKind::Refused(known) if known == reason)
                };
                if !findings.iter().any(is_same) {
                    findings.push(finding);
                }
            }
        }
    }
    findings
}

/// The offset and the image of a pin.
fn pin(finding: &Finding) -> Option<(usize, Option<usize>)> {
    matches!(finding.kind, FindingKind::Pin { .. }).then_some((finding.at, finding.image))
}

fn pins(findings: &[Finding]) -> HashSet<(usize, Option<usize>)> {
    findings.iter().filter_map(pin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_both_readers_are_reported_once() {
        let refused = |at, reason: &str| Finding::refused(0, None, at, reason.to_owned());
        let first = vec![refused(1, "a")];
        let last = vec![refused(1, "a"), refused(1, "b"), refused(2, "a")];
        let findings = reconcile(first, last).into_iter();
        let found: Vec<_> = findings
            .map(|finding| match finding.kind {
                FindingKind::Refused(reason) => (finding.at, reason),
                FindingKind::Pin { .. } => panic!("no pin"),
            })
            .collect();
        let expected = [(1, "a"), (1, "b"), (2, "a")];
        assert_eq!(found, expected.map(|(at, reason)| (at, reason.to_owned())));
    }
}
