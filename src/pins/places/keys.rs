//! What the pointer of a place chooses, by the keys that the place names.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::{
    File,
    entry::{Entry, Refusal, Whose},
    helm::{self, Naming},
    values::{Field, Via, field, through},
    yaml::{Document, Id, Kind, MERGE},
};
use crate::config::{KeysRule, Owner, Step};

/// The entries of a document.
pub(super) fn entries(document: &Document<'_>, file: &File<'_>, rule: &KeysRule) -> Vec<Entry> {
    let chooser = Chooser {
        document,
        items: RefCell::default(),
    };
    let chosen = document.root.into_iter();
    let chosen = chosen.flat_map(|root| chooser.choose(root, &rule.entry));
    chosen
        .filter_map(|id| entry(&chooser, file, rule, id))
        .collect()
}

/// Which nodes were come to with how many steps left.
struct Met {
    bits: Vec<u64>,
    steps: usize,
}

impl Met {
    fn new(document: &Document<'_>, steps: &[Step]) -> Self {
        let steps = steps.len() + 1;
        Self {
            bits: vec![0; (document.len() * steps).div_ceil(64)],
            steps,
        }
    }

    fn is_first(&mut self, node: Id, left: usize) -> bool {
        let at = node as usize * self.steps + left;
        let (word, bit) = (&mut self.bits[at / 64], 1 << (at % 64));
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

/// Follows pointers in a document.
struct Chooser<'d, 't> {
    document: &'d Document<'t>,
    /// The items of a list that have a text under a key, by the list, the key and the text.
    items: RefCell<HashMap<ListQuery<'d>, Rc<[Id]>>>,
}

/// A list, and the step that was taken into it.
type ListQuery<'d> = (Id, &'d Step);

impl<'d> Chooser<'d, '_> {
    /// The nodes that the steps lead to from `root`, each once, aliases followed. Where two ways meet,
    /// one goes on.
    fn choose(&self, root: Id, steps: &'d [Step]) -> Vec<Id> {
        let mut met = Met::new(self.document, steps);
        let (mut chosen, mut pending) = (Vec::new(), vec![(root, steps)]);
        while let Some((at, steps)) = pending.pop() {
            let node = self.document.resolved(at);
            let Some(node) = node.filter(|node| met.is_first(*node, steps.len())) else {
                continue;
            };
            let Some((step, rest)) = steps.split_first() else {
                chosen.push(node);
                continue;
            };
            if matches!(step, Step::Any | Step::Deep) {
                // What a merge brings stands here, without a step.
                pending.extend(self.merges(node).map(|map| (map, steps)));
            }
            let is_deep = *step == Step::Deep;
            let behind = if is_deep { steps } else { rest };
            let children = self.children(node, step);
            pending.extend(children.iter().rev().map(|child| (*child, behind)));
            if is_deep {
                pending.push((node, rest));
            }
        }
        chosen
    }

    /// The mappings that a mapping merges, without what it writes itself.
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

    /// The values and items that a step leads to.
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

    /// A value of an entry, and the second one that its steps lead to.
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
                    items.first().and_then(|item| through(document, *item))
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
    chooser: &Chooser<'d, '_>,
    file: &File<'_>,
    rule: &'d KeysRule,
    id: Id,
) -> Option<Entry> {
    let document = chooser.document;
    let get = |steps: &'d Option<Vec<Step>>| {
        let steps = steps.as_ref();
        steps.map_or((None, None), |steps| chooser.value(id, steps))
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
            let (repository, _) = chooser.value(id, repository);
            let (registry, _) = get(registry);
            let naming = Naming {
                entry: id,
                registry,
                repository: repository?,
            };
            let (whose, named_by) = helm::whose(document, file, &naming, None);
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
