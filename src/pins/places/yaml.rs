//! Documents of a YAML or JSON text as trees with byte spans, as far as places need them.
//!
//! Unlike the configuration's reader this one has to read what others wrote: anchors, aliases,
//! merges, tags, duplicate keys and several documents are kept as they stand, for the judge of
//! entries to see. One document is in memory at a time.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, Tag};

/// Nesting of collections, block or flow; deeper text is refused.
const DEPTH: usize = 64;
/// Nodes of one document; more are refused, so that memory stays bounded.
const NODES: usize = 500_000;

/// A node, by its place in its document.
pub(super) type Id = u32;

/// One document.
pub(super) struct Document<'t> {
    /// The whole text, which spans are of.
    pub(super) text: &'t str,
    /// Its number in the text, from 0.
    pub(super) number: usize,
    pub(super) root: Option<Id>,
    nodes: Vec<Node<'t>>,
}

/// A value or a key.
pub(super) struct Node<'t> {
    start: u32,
    end: u32,
    /// The collection that it stands in; itself at the top.
    parent: Id,
    pub(super) anchored: bool,
    /// Whether it has a tag other than `!!str`.
    pub(super) tagged: bool,
    pub(super) value: Value<'t>,
}

/// What a node is.
pub(super) enum Value<'t> {
    Scalar(Cow<'t, str>, ScalarStyle),
    List(Vec<Id>),
    Map(Vec<(Id, Id)>),
    /// The node with the anchor; `None` where there is none.
    Alias(Option<Id>),
}

/// Why a text cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where, in bytes.
    pub(super) at: usize,
    pub(super) why: String,
}

/// Hands over each document of a text; what was handed over before a fault counts for nothing.
pub(super) fn documents<'t>(
    text: &'t str,
    mut each: impl FnMut(&Document<'t>),
) -> Result<(), Fault> {
    let mut builder = Builder::new(text);
    for next in parser(text) {
        let (event, span) = next.map_err(|error| fault(&error, text))?;
        match event {
            Event::DocumentEnd => {
                each(&builder.document);
                let number = builder.document.number + 1;
                builder = Builder::new(text);
                builder.document.number = number;
            }
            event => builder.event(event, &bytes(&span))?,
        }
    }
    Ok(())
}

/// Whether two texts differ in nothing but the scalars that hold an offset of `moved` in the old one
/// (sorted), which stay scalars of their style, or become double-quoted where they were plain.
pub(super) fn same_events(old: &str, new: &str, moved: &[usize]) -> bool {
    let holds = |span: &Range<usize>| {
        let next = moved.partition_point(|at| *at < span.start);
        moved.get(next).is_some_and(|at| *at < span.end)
    };
    let (mut before, mut after) = (parser(old), parser(new));
    loop {
        let (was, is) = match (before.next(), after.next()) {
            (None, None) => return true,
            (Some(Ok(was)), Some(Ok(is))) => (was, is),
            _ => return false,
        };
        let same = match (&was.0, &is.0) {
            (
                Event::Scalar(_, was_style, was_anchor, was_tag),
                Event::Scalar(_, style, anchor, tag),
            ) if holds(&bytes(&was.1)) => {
                let quoted =
                    *was_style == ScalarStyle::Plain && *style == ScalarStyle::DoubleQuoted;
                (was_style == style || quoted) && was_anchor == anchor && was_tag == tag
            }
            (was, is) => was == is,
        };
        if !same {
            return false;
        }
    }
}

fn parser(text: &str) -> Parser<'_, granit_parser::StrInput<'_>> {
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    Parser::new_from_str_with_options(text, options)
}

fn fault(error: &granit_parser::ScanError, text: &str) -> Fault {
    let at = error.marker().byte_offset().unwrap_or(text.len());
    Fault {
        at: at.min(text.len()),
        why: error.info().clone(),
    }
}

fn bytes(span: &granit_parser::Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

impl<'t> Document<'t> {
    pub(super) fn node(&self, id: Id) -> &Node<'t> {
        &self.nodes[id as usize]
    }

    /// Its bytes: of a scalar with its quotes, without its anchor and tag.
    pub(super) fn span(&self, id: Id) -> Range<usize> {
        let node = self.node(id);
        node.start as usize..node.end as usize
    }

    /// The node that an alias stands for, or the node itself.
    pub(super) fn resolved(&self, id: Id) -> Option<Id> {
        match self.node(id).value {
            Value::Alias(target) => target,
            _ => Some(id),
        }
    }

    /// A scalar's text.
    pub(super) fn scalar(&self, id: Id) -> Option<&str> {
        match &self.node(id).value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The entries of a mapping; none of anything else.
    pub(super) fn map(&self, id: Id) -> &[(Id, Id)] {
        match &self.node(id).value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(super) fn list(&self, id: Id) -> &[Id] {
        match &self.node(id).value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The first value of a key that is written in a mapping, aliases followed.
    pub(super) fn get(&self, map: Id, key: &str) -> Option<Id> {
        let entries = self.map(map).iter();
        let mut named = entries.filter(|(name, _)| self.scalar(*name) == Some(key));
        named.next().and_then(|(_, value)| self.resolved(*value))
    }

    /// Every alias to a node.
    pub(super) fn aliases_of(&self, target: Id) -> impl Iterator<Item = Id> {
        let nodes = self.nodes.iter().zip(0..);
        nodes.filter_map(move |(node, id)| match node.value {
            Value::Alias(to) => (to == Some(target)).then_some(id),
            _ => None,
        })
    }

    /// The collection that a node stands in.
    fn parent(&self, id: Id) -> Option<Id> {
        Some(self.node(id).parent).filter(|parent| *parent != id)
    }

    /// Where a node stands (RFC 6901).
    pub(super) fn pointer(&self, id: Id) -> String {
        let mut steps = Vec::new();
        let mut child = id;
        while let Some(parent) = self.parent(child) {
            let of_child = |(_, value): &&(Id, Id)| *value == child;
            let step = match &self.node(parent).value {
                Value::Map(entries) => entries
                    .iter()
                    .find(of_child)
                    .and_then(|(key, _)| self.scalar(*key))
                    .map(|key| key.replace('~', "~0").replace('/', "~1")),
                Value::List(items) => items
                    .iter()
                    .position(|item| *item == child)
                    .map(|at| at.to_string()),
                _ => None,
            };
            steps.push(step.unwrap_or_default());
            child = parent;
        }
        steps.iter().rev().fold(String::new(), |mut pointer, step| {
            pointer.push('/');
            pointer.push_str(step);
            pointer
        })
    }

    /// The second of two equal keys, of the mapping that a node stands in or of one above: a reader
    /// that takes the other one never comes to the node.
    pub(super) fn duplicate_above(&self, id: Id) -> Option<Id> {
        let mut child = id;
        while let Some(parent) = self.parent(child) {
            let entries = self.map(parent);
            let key = entries.iter().find(|(_, value)| *value == child);
            if let Some(text) = key.and_then(|(key, _)| self.scalar(*key)) {
                let same = |(key, _): &&(Id, Id)| self.scalar(*key) == Some(text);
                if let Some((second, _)) = entries.iter().filter(same).nth(1) {
                    return Some(*second);
                }
            }
            child = parent;
        }
        None
    }
}

/// A collection whose end has not been seen.
struct Open {
    id: Id,
    children: Vec<Id>,
}

struct Builder<'t> {
    document: Document<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Id>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            document: Document {
                text,
                number: 0,
                root: None,
                nodes: Vec::new(),
            },
            open: Vec::new(),
            anchors: HashMap::new(),
        }
    }

    fn event(&mut self, event: Event<'t>, span: &Range<usize>) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.add(span, Value::Scalar(text, style), anchor, tag.as_deref())?;
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied();
                self.add(span, Value::Alias(target), 0, None)?;
            }
            Event::UnresolvedAlias(_) => {
                self.add(span, Value::Alias(None), 0, None)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                let id = self.add(span, Value::List(Vec::new()), anchor, tag.as_deref())?;
                self.begin(id);
            }
            Event::MappingStart(_, anchor, tag) => {
                let id = self.add(span, Value::Map(Vec::new()), anchor, tag.as_deref())?;
                self.begin(id);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, id: Id) {
        self.open.push(Open {
            id,
            children: Vec::new(),
        });
    }

    fn end(&mut self) {
        let Some(Open { id, children }) = self.open.pop() else {
            return;
        };
        match &mut self.document.nodes[id as usize].value {
            Value::List(items) => *items = children,
            Value::Map(entries) => {
                *entries = children
                    .chunks_exact(2)
                    .map(|two| (two[0], two[1]))
                    .collect();
            }
            _ => {}
        }
    }

    fn add(
        &mut self,
        span: &Range<usize>,
        value: Value<'t>,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<Id, Fault> {
        let offset = |at: usize| u32::try_from(at).ok();
        let nodes = &mut self.document.nodes;
        let (Some(id), Some(start), Some(end)) =
            (offset(nodes.len()), offset(span.start), offset(span.end))
        else {
            return Err(too_large(span.start));
        };
        if nodes.len() >= NODES {
            return Err(too_large(span.start));
        }
        let parent = self.open.last().map_or(id, |open| open.id);
        nodes.push(Node {
            start,
            end,
            parent,
            anchored: anchor != 0,
            tagged: tag.is_some_and(|tag| !tag.is_yaml_core_schema_tag("str")),
            value,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(id),
            None => self.document.root = Some(id),
        }
        Ok(id)
    }
}

fn too_large(at: usize) -> Fault {
    Fault {
        at,
        why: format!("one document has more than {NODES} values"),
    }
}
