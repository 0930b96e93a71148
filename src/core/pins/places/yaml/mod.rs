//! Documents of a YAML or JSON text as trees with byte spans, as far as places need them.
//!
//! The parser of the configuration refuses anchors, aliases, merges, tags, duplicate keys and
//! multiple documents. Other files may contain them, so they are part of these trees, and
//! [`entry`](super::entry) checks them. One document is in memory at a time. The time of a query
//! does not depend on the number of aliases.

mod builder;

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    collections::{HashMap, HashSet},
    ops::Range,
    rc::Rc,
};

use builder::Builder;
use granit_parser::{Event, Parser, ScalarStyle};

/// The maximum nesting of collections, block or flow, and of merges.
const DEPTH: usize = 64;
/// The maximum number of nodes of one document, which bounds the memory.
const NODES: usize = 500_000;

/// The key of a merge (YAML 1.1, "Merge Key Language-Independent Type").
pub(super) const MERGE: &str = "<<";
/// The maximum length of a pointer in bytes. Every pin has one, which bounds the memory.
pub(super) const POINTER: usize = 1024;

/// The index of a node in its document.
pub(super) type Id = u32;
const NONE: Id = Id::MAX;

/// One document.
pub(super) struct Document<'t> {
    /// The text of the file; spans refer to it.
    pub(super) text: &'t str,
    /// The number of the document in the text, from 0.
    pub(super) number: usize,
    pub(super) root: Option<Id>,
    nodes: Vec<Node>,
    /// The children of all collections: items, or keys and values in turn.
    children: Vec<Id>,
    /// The texts of scalars that differ from their bytes.
    texts: Vec<Box<str>>,
    /// The aliases of each node.
    aliases: HashMap<Id, Vec<Id>>,
    /// The entries of mappings, sorted by their keys.
    sorted: RefCell<HashMap<Id, Rc<[u32]>>>,
    /// The results of merges, by mapping and key.
    merged: RefCell<HashMap<(Id, String), Option<Id>>>,
    too_deep: Cell<bool>,
    /// The choice between duplicate keys of a mapping.
    reader: Cell<Reader>,
    /// The ends of all lines.
    line_ends: OnceCell<Vec<usize>>,
    /// The comments, by the end of the line.
    comments: RefCell<HashMap<usize, Option<Range<usize>>>>,
}

/// The choice of a reader between duplicate keys. YAML forbids them; kustomize and Helm use the
/// last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    First,
    Last,
}

/// A value or a key.
pub(super) struct Node {
    start: u32,
    end: u32,
    /// The collection that contains it; itself at the top.
    parent: Id,
    /// Its index among the children of the parent.
    number: u32,
    /// For a collection, the first child; for an alias, the node with the anchor; for a scalar with
    /// bytes that differ from its text, the text.
    of: u32,
    /// The number of children.
    count: u32,
    pub(super) kind: Kind,
    /// Compared with the cases of other parsers.
    #[cfg(test)]
    pub(super) anchored: bool,
    /// A YAML tag other than `!!str`.
    pub(super) tagged: bool,
}

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar(ScalarStyle),
    List,
    Map,
    Alias,
}

/// A syntax error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The offset.
    pub(super) at: usize,
    pub(super) reason: String,
}

/// Passes each document of a text to `each`. After a fault, the documents before it do not count.
pub(super) fn documents<'t>(
    text: &'t str,
    mut each: impl FnMut(&Document<'t>),
) -> Result<(), Fault> {
    let mut builder = Builder::new(text, 0);
    for next in parser(text) {
        let (event, span) = next.map_err(|error| fault(&error, text))?;
        if event != Event::DocumentEnd {
            builder.event(event, &bytes(&span))?;
            continue;
        }
        let document = &builder.document;
        each(document);
        if document.too_deep.get() {
            let at = document.root.map_or(0, |root| document.span(root).start);
            let reason = format!("merges are nested deeper than {DEPTH} levels");
            return Err(Fault { at, reason });
        }
        builder = Builder::new(text, document.number + 1);
    }
    Ok(())
}

/// Whether two texts differ only in the scalars that contain an offset of `moved` (sorted) in the old
/// text, and in the nodes within `added` of the new one. The scalars keep their style, or a plain scalar becomes
/// double-quoted.
pub(super) fn same_events(old: &str, new: &str, moved: &[usize], added: &[Range<usize>]) -> bool {
    let is_moved = |span: &Range<usize>| {
        let next = moved.partition_point(|at| *at < span.start);
        moved.get(next).is_some_and(|at| span.contains(at))
    };
    let is_added = |span: Range<usize>| {
        let mut ranges = added.iter();
        ranges.any(|range| range.start <= span.start && span.end <= range.end && !span.is_empty())
    };
    let mut before = parser(old);
    let mut after = parser(new).filter(|next| match next {
        Ok((Event::Scalar(..), span)) => !is_added(bytes(span)),
        _ => true,
    });
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
            ) if is_moved(&bytes(&was.1)) => {
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
        reason: error.info().clone(),
    }
}

fn bytes(span: &granit_parser::Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

impl<'t> Document<'t> {
    fn new(text: &'t str, number: usize) -> Self {
        Self {
            text,
            number,
            root: None,
            nodes: Vec::new(),
            children: Vec::new(),
            texts: Vec::new(),
            aliases: HashMap::new(),
            sorted: RefCell::default(),
            merged: RefCell::default(),
            too_deep: Cell::new(false),
            reader: Cell::new(Reader::First),
            line_ends: OnceCell::new(),
            comments: RefCell::default(),
        }
    }

    /// The number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes, in the order of the text.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        (0..).take(self.nodes.len())
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// The bytes of a node: a scalar with its quotes, without its anchor and tag.
    pub(super) fn span(&self, id: Id) -> Range<usize> {
        let node = self.node(id);
        node.start as usize..node.end as usize
    }

    /// The bytes of a scalar without its quotes.
    pub(super) fn within_quotes(&self, id: Id) -> Range<usize> {
        let node = self.node(id);
        within_quotes(node.kind, self.span(id))
    }

    /// The node that an alias refers to, or the node itself.
    pub(super) fn resolved(&self, id: Id) -> Option<Id> {
        let node = self.node(id);
        match node.kind {
            Kind::Alias => Some(node.of).filter(|target| *target != NONE),
            _ => Some(id),
        }
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self, id: Id) -> Option<&str> {
        let node = self.node(id);
        match (node.kind, node.of) {
            (Kind::Scalar(_), NONE) => Some(&self.text[self.within_quotes(id)]),
            (Kind::Scalar(_), text) => Some(&self.texts[text as usize]),
            _ => None,
        }
    }

    /// Whether the bytes of a scalar are its text.
    pub(super) fn is_verbatim(&self, id: Id) -> bool {
        self.node(id).of == NONE
    }

    fn children(&self, id: Id) -> &[Id] {
        let node = self.node(id);
        let first = node.of as usize;
        &self.children[first..first + node.count as usize]
    }

    /// The entries of a mapping; empty for other nodes.
    pub(super) fn map(&self, id: Id) -> impl ExactSizeIterator<Item = (Id, Id)> {
        let children = match self.node(id).kind {
            Kind::Map => self.children(id),
            _ => &[],
        };
        children.chunks_exact(2).map(|two| (two[0], two[1]))
    }

    /// The items of a list; empty for other nodes.
    pub(super) fn list(&self, id: Id) -> &[Id] {
        match self.node(id).kind {
            Kind::List => self.children(id),
            _ => &[],
        }
    }

    /// The readers that may understand the document in different ways.
    pub(super) fn readers(&self) -> &'static [Reader] {
        if self.has_duplicates() {
            &[Reader::First, Reader::Last]
        } else {
            &[Reader::First]
        }
    }

    /// Selects the reader for the following queries.
    pub(super) fn read_as(&self, reader: Reader) {
        self.reader.set(reader);
        self.merged.borrow_mut().clear();
    }

    /// Whether a mapping has duplicate keys.
    fn has_duplicates(&self) -> bool {
        self.ids().any(|map| {
            let mut keys: Vec<_> = self.map(map).filter_map(|(key, _)| self.key(key)).collect();
            keys.sort_unstable();
            keys.windows(2).any(|two| two[0] == two[1])
        })
    }

    /// The text of a key; an alias is resolved.
    pub(super) fn key(&self, id: Id) -> Option<&str> {
        self.scalar(self.resolved(id)?)
    }

    /// The value of a key that is written in a mapping, for the selected reader.
    pub(super) fn written(&self, map: Id, key: &str) -> Option<Id> {
        let named = self.named(map, key);
        let entry = match self.reader.get() {
            Reader::First => named.first(),
            Reader::Last => named.last(),
        };
        entry.map(|(_, value)| *value)
    }

    /// The entries of a mapping with this key, in their order.
    pub(super) fn named(&self, map: Id, key: &str) -> Vec<(Id, Id)> {
        let entry = |at: &u32| {
            let children = &self.children(map)[*at as usize * 2..];
            (children[0], children[1])
        };
        let text = |at: &u32| self.key(entry(at).0);
        let sorted = Rc::clone(self.sorted.borrow_mut().entry(map).or_insert_with(|| {
            let mut all: Vec<u32> = (0..).take(self.map(map).len()).collect();
            all.sort_by_key(|at| text(at));
            all.into()
        }));
        let first = sorted.partition_point(|at| text(at) < Some(key));
        let same = sorted[first..]
            .iter()
            .take_while(|at| text(at) == Some(key));
        same.map(entry).collect()
    }

    /// The value of a key that is written in a mapping; an alias is resolved.
    pub(super) fn get(&self, map: Id, key: &str) -> Option<Id> {
        self.resolved(self.written(map, key)?)
    }

    /// The `<<` of a mapping that supplies a key, and the value. The first merged mapping with the key
    /// counts.
    pub(super) fn merged(&self, map: Id, key: &str) -> Option<(Id, Id)> {
        self.merged_below(map, key, 0)
    }

    fn merged_below(&self, map: Id, key: &str, depth: usize) -> Option<(Id, Id)> {
        let mut merges = self.named(map, MERGE);
        if self.reader.get() == Reader::Last {
            merges.reverse();
        }
        for (merge, value) in merges {
            let Some(target) = self.resolved(value) else {
                continue;
            };
            let several = self
                .list(target)
                .iter()
                .filter_map(|item| self.resolved(*item));
            for map in std::iter::once(target).chain(several) {
                if let Some(node) = self.value_in_merged(map, key, depth + 1) {
                    return Some((merge, node));
                }
            }
        }
        None
    }

    /// The value of a key in a merged mapping, written there or merged into it.
    fn value_in_merged(&self, map: Id, key: &str, depth: usize) -> Option<Id> {
        if depth > DEPTH {
            self.too_deep.set(true);
            return None;
        }
        if let Some(value) = self.written(map, key) {
            return self.resolved(value);
        }
        let known = (map, key.to_owned());
        if let Some(found) = self.merged.borrow().get(&known) {
            return *found;
        }
        // A mapping that merges itself supplies nothing.
        self.merged.borrow_mut().insert(known.clone(), None);
        let found = self.merged_below(map, key, depth).map(|(_, node)| node);
        self.merged.borrow_mut().insert(known, found);
        found
    }

    /// The entries of a mapping, including those of merges.
    pub(super) fn with_merges(&self, map: Id) -> Vec<(Id, Id)> {
        let (mut entries, mut pending, mut seen) = (Vec::new(), vec![map], HashSet::new());
        while let Some(id) = pending.pop() {
            let Some(id) = self.resolved(id).filter(|id| seen.insert(*id)) else {
                continue;
            };
            pending.extend(self.list(id));
            for (key, value) in self.map(id) {
                if self.key(key) == Some(MERGE) {
                    pending.push(value);
                } else {
                    entries.push((key, value));
                }
            }
        }
        entries
    }

    /// Every alias to a node.
    pub(super) fn aliases_of(&self, target: Id) -> &[Id] {
        self.aliases.get(&target).map_or(&[], Vec::as_slice)
    }

    /// Whether another mapping merges a mapping: `<<: *alias` or `<<: [*alias]`.
    pub(super) fn is_merged(&self, map: Id) -> bool {
        self.aliases_of(map).iter().any(|alias| {
            self.ancestors(*alias).take(2).any(|node| {
                let key = self.parent(node).and_then(|map| self.key_of(map, node));
                key.and_then(|key| self.key(key)) == Some(MERGE)
            })
        })
    }

    /// A node and the collections that contain it.
    pub(super) fn ancestors(&self, id: Id) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(id), |id| self.parent(*id))
    }

    /// The collection that contains a node.
    fn parent(&self, id: Id) -> Option<Id> {
        Some(self.node(id).parent).filter(|parent| *parent != id)
    }

    /// The key of a value in a mapping.
    fn key_of(&self, parent: Id, value: Id) -> Option<Id> {
        let number = self.node(value).number as usize;
        let is_value = self.node(parent).kind == Kind::Map && number % 2 == 1;
        is_value.then(|| self.children(parent)[number - 1])
    }

    /// The pointer to a node (RFC 6901); `None` if it has more than [`POINTER`] bytes before escaping.
    pub(super) fn pointer(&self, id: Id) -> Option<String> {
        let mut steps = Vec::new();
        let mut child = id;
        let mut length = 0;
        while let Some(parent) = self.parent(child) {
            let step = match self.key_of(parent, child) {
                Some(key) => Cow::Borrowed(self.key(key).unwrap_or_default()),
                None => Cow::Owned(self.node(child).number.to_string()),
            };
            // Keys may be long, and any number of pins may be below one.
            length += 1 + step.len();
            if length > POINTER {
                return None;
            }
            steps.push(step);
            child = parent;
        }
        let mut pointer = String::with_capacity(length);
        for step in steps.iter().rev() {
            pointer.push('/');
            pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        Some(pointer)
    }

    /// The second of two equal keys on the way to a node: a reader that takes the other one never
    /// reaches the node.
    pub(super) fn duplicate_above(&self, id: Id) -> Option<Id> {
        let mut child = id;
        while let Some(parent) = self.parent(child) {
            let key = self.key_of(parent, child);
            if let Some(text) = key.and_then(|key| self.key(key))
                && let Some((second, _)) = self.named(parent, text).get(1)
            {
                return Some(*second);
            }
            child = parent;
        }
        None
    }

    /// The text after the `#` of the comment on the last line of a scalar.
    pub(super) fn comment_after(&self, scalar: Id) -> Option<Range<usize>> {
        let from = self.span(scalar).end;
        let ends = self.line_ends.get_or_init(|| {
            let ends = memchr::memchr2_iter(b'\n', b'\r', self.text.as_bytes());
            ends.chain([self.text.len()]).collect()
        });
        let end = ends[ends.partition_point(|end| *end < from)];
        // A line may contain any number of scalars.
        let mut comments = self.comments.borrow_mut();
        let comment = comments.entry(end);
        comment.or_insert_with(|| self.comment_before(end)).clone()
    }

    /// The comment at the end of a line: after the last node that starts in the line, only brackets,
    /// commas and colons precede it.
    fn comment_before(&self, line_end: usize) -> Option<Range<usize>> {
        let next = self
            .nodes
            .partition_point(|node| (node.start as usize) < line_end);
        // A collection ends after its first bracket here.
        let last = self.nodes[..next].last()?;
        let rest = self.text.get(last.end as usize..line_end)?;
        let hash = memchr::memchr_iter(b'#', rest.as_bytes())
            .find(|at| rest[..*at].ends_with([' ', '\t']))?;
        Some(last.end as usize + hash + 1..line_end)
    }
}

/// The bytes of a scalar without its quotes.
fn within_quotes(kind: Kind, span: Range<usize>) -> Range<usize> {
    use ScalarStyle::{DoubleQuoted, SingleQuoted};
    match kind {
        Kind::Scalar(SingleQuoted | DoubleQuoted) if span.len() >= 2 => {
            span.start + 1..span.end - 1
        }
        _ => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_no_part_of_a_scalar() {
        let quoted = Kind::Scalar(ScalarStyle::DoubleQuoted);
        for (kind, span, within) in [
            (quoted, 3..8, 4..7),
            (quoted, 3..5, 4..4),
            (quoted, 3..4, 3..4),
            (Kind::Scalar(ScalarStyle::Plain), 3..8, 3..8),
        ] {
            assert_eq!(within_quotes(kind, span), within);
        }
    }

    #[test]
    fn only_duplicate_keys_need_two_readers() {
        for (text, is_unique) in [
            ("{ a: 1, b: 2, c: { a: 1 } }", true),
            ("[a, a]", true),
            ("{ a: 1, b: 2, a: 3 }", false),
            ("- { b: { a: 1, c: 2, a: 3 } }", false),
        ] {
            let mut readers: Vec<Reader> = Vec::new();
            documents(text, |document| readers.extend(document.readers())).unwrap();
            assert_eq!(readers.len() == 1, is_unique, "{text}");
        }
    }
}
