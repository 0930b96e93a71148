//! Builds the tree of a document from the events of the parser.

use std::{collections::HashMap, ops::Range};

use granit_parser::{Event, ScalarStyle, Tag};

use super::{Document, Fault, Id, Kind, NODES, NONE, Node, within_quotes};

/// A collection that is being built.
struct Open {
    id: Id,
    /// The index of its first child in `pending`.
    first: usize,
}

pub(super) struct Builder<'t> {
    pub(super) document: Document<'t>,
    open: Vec<Open>,
    /// The children of open collections.
    pending: Vec<Id>,
    anchors: HashMap<usize, Id>,
}

/// The properties of a node.
struct Properties<'e> {
    anchor: usize,
    tag: Option<&'e Tag>,
}

impl<'t> Builder<'t> {
    pub(super) fn new(text: &'t str, number: usize) -> Self {
        Self {
            document: Document::new(text, number),
            open: Vec::new(),
            pending: Vec::new(),
            anchors: HashMap::new(),
        }
    }

    pub(super) fn event(&mut self, event: Event<'t>, span: &Range<usize>) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(span, &text, style, anchor, tag.as_deref())
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied();
                self.alias(span, target)
            }
            Event::UnresolvedAlias(_) => self.alias(span, None),
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(span, Kind::List, anchor, tag.as_deref())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(span, Kind::Map, anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        span: &Range<usize>,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Fault> {
        let kind = Kind::Scalar(style);
        let id = self.add(span, kind, &Properties { anchor, tag })?;
        let within = within_quotes(kind, span.clone());
        // The parser's text for a missing value is `~`.
        if !span.is_empty() && self.document.text.get(within) != Some(text) {
            let texts = &mut self.document.texts;
            self.document.nodes[id as usize].of =
                u32::try_from(texts.len()).map_err(|_| too_large(span.start))?;
            texts.push(text.into());
        }
        Ok(())
    }

    fn alias(&mut self, span: &Range<usize>, target: Option<Id>) -> Result<(), Fault> {
        let none = Properties {
            anchor: 0,
            tag: None,
        };
        let id = self.add(span, Kind::Alias, &none)?;
        if let Some(target) = target {
            self.document.nodes[id as usize].of = target;
            self.document.aliases.entry(target).or_default().push(id);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        span: &Range<usize>,
        kind: Kind,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Fault> {
        let id = self.add(span, kind, &Properties { anchor, tag })?;
        let first = self.pending.len();
        self.open.push(Open { id, first });
        Ok(())
    }

    fn end(&mut self) {
        let Some(Open { id, first }) = self.open.pop() else {
            return;
        };
        let children = &mut self.document.children;
        let node = &mut self.document.nodes[id as usize];
        // There are at most as many children as nodes, and the number of nodes fits.
        node.of = u32::try_from(children.len()).unwrap_or(0);
        children.extend(self.pending.drain(first..));
        node.count = u32::try_from(children.len()).unwrap_or(0) - node.of;
    }

    fn add(
        &mut self,
        span: &Range<usize>,
        kind: Kind,
        properties: &Properties<'_>,
    ) -> Result<Id, Fault> {
        let offset = |at: usize| u32::try_from(at).ok();
        let nodes = &mut self.document.nodes;
        let open = self.open.last();
        let number = open.map_or(0, |open| self.pending.len() - open.first);
        let (Some(id), Some(start), Some(end), Some(number)) = (
            offset(nodes.len()),
            offset(span.start),
            offset(span.end),
            offset(number),
        ) else {
            return Err(too_large(span.start));
        };
        if nodes.len() >= NODES {
            return Err(too_large(span.start));
        }
        let tag = properties.tag;
        nodes.push(Node {
            start,
            end,
            parent: open.map_or(id, |open| open.id),
            number,
            of: NONE,
            count: 0,
            kind,
            #[cfg(test)]
            anchored: properties.anchor != 0,
            tagged: tag.is_some_and(|tag| !tag.is_yaml_core_schema_tag("str")),
        });
        // No alias refers to 0, which means that the node has no anchor.
        self.anchors.insert(properties.anchor, id);
        if open.is_some() {
            self.pending.push(id);
        } else {
            self.document.root = Some(id);
        }
        Ok(id)
    }
}

fn too_large(at: usize) -> Fault {
    Fault {
        at,
        reason: format!("one document has more than {NODES} values"),
    }
}
