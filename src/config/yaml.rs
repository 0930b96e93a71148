//! YAML text as a tree with byte spans.
//!
//! Scalars remain text, such as `012` or `yes`; the reader of a value interprets them. The parser
//! refuses, with their places: syntax errors, duplicate keys, keys that are not scalars, anchors,
//! aliases, tags, directives, a second document, and deep nesting.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};

use crate::base::error::Span;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// The bytes of the value; a block mapping or list begins with its first line.
    pub span: Span,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Scalar {
        /// The text after unquoting.
        text: String,
        /// Written without quotes or a block indicator. Only a plain scalar can be a number, a
        /// boolean or null.
        plain: bool,
    },
    List(Vec<Node>),
    /// The entries in the order of the file. Keys are distinct.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub struct Key {
    pub span: Span,
    pub text: String,
}

/// A problem of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub span: Span,
    pub message: String,
    /// The message without text of the file.
    pub unquoted: String,
}

/// The maximum nesting of collections, in block or flow style.
const DEPTH: usize = 64;

/// Parses one document; `None` if the text has none. All problems are reported, up to a syntax
/// error.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<YamlError>) {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let mut builder = Builder {
        text,
        open: Vec::new(),
        root: None,
        documents: 0,
        faults: Vec::new(),
    };
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.event(&event, range(&span, text)),
            Err(error) => {
                let at = error
                    .marker()
                    .byte_offset()
                    .unwrap_or(text.len())
                    .min(text.len());
                builder.fault(Span { start: at, end: at }, error.info());
                return (None, builder.faults);
            }
        }
    }
    (builder.root, builder.faults)
}

fn range(span: &granit_parser::Span, text: &str) -> Span {
    let range = span.byte_range().unwrap_or(0..0);
    Span {
        start: range.start.min(text.len()),
        end: range.end.min(text.len()),
    }
}

/// A collection that is being parsed.
enum Open {
    List(usize, Vec<Node>),
    Map(usize, Mapping),
}

/// A mapping without its end: its entries, the first place of each key, and a key without its
/// value.
#[derive(Default)]
struct Mapping {
    entries: Vec<(Key, Node)>,
    first: HashMap<String, Span>,
    pending: Option<Key>,
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    faults: Vec<YamlError>,
}

impl Builder<'_> {
    fn fault(&mut self, span: Span, message: impl Into<String>) {
        let message = message.into();
        self.faults.push(YamlError {
            span,
            unquoted: message.clone(),
            message,
        });
    }

    fn event(&mut self, event: &Event<'_>, span: Span) {
        if event.anchor_id().is_some_and(|id| id != 0) {
            self.fault(
                span,
                "anchors are not allowed here: write the value where it is used",
            );
        }
        if event.tag().is_some() {
            self.fault(span, "tags are not allowed here: write the plain value");
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.fault(
                        span,
                        "found a second document: the file must contain exactly one",
                    );
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.fault(
                    span,
                    "aliases are not allowed here: write the value where it is used",
                );
                self.node(Node {
                    span,
                    value: Value::Scalar {
                        text: String::new(),
                        plain: false,
                    },
                });
            }
            Event::Scalar(text, style, ..) => {
                let value = Value::Scalar {
                    text: text.to_string(),
                    plain: *style == ScalarStyle::Plain,
                };
                self.node(Node { span, value });
            }
            Event::SequenceStart(..) => self.open.push(Open::List(span.start, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Map(span.start, Mapping::default())),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => {}
        }
    }

    fn close(&mut self, span: Span) {
        let (start, value) = match self.open.pop() {
            Some(Open::List(start, items)) => (start, Value::List(items)),
            Some(Open::Map(start, mapping)) => (start, Value::Map(mapping.entries)),
            None => return,
        };
        // The end event of a block collection is after the blank lines that follow it.
        let end = self.text[start..span.end.max(start)].trim_end().len() + start;
        self.node(Node {
            span: Span { start, end },
            value,
        });
    }

    fn node(&mut self, node: Node) {
        match self.open.last_mut() {
            None => {
                self.root.get_or_insert(node);
            }
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, mapping)) => {
                self.faults.extend(mapping.add(node, self.text));
            }
        }
    }
}

impl Mapping {
    /// Adds the next key or value, and returns its problem.
    fn add(&mut self, node: Node, text: &str) -> Option<YamlError> {
        let span = node.span;
        if let Some(key) = self.pending.take() {
            let place = key.span;
            let duplicate = self.first.insert(key.text.clone(), place);
            let name = key.text.clone();
            self.entries.push((key, node));
            let first = duplicate?;
            let line = memchr::memchr_iter(b'\n', &text.as_bytes()[..first.start]).count() + 1;
            return Some(YamlError {
                span: place,
                message: format!("the key `{name}` is a duplicate: first defined on line {line}"),
                unquoted: format!("the key is a duplicate: first defined on line {line}"),
            });
        }
        let (text, error) = if let Value::Scalar { text, .. } = node.value {
            (text, None)
        } else {
            let message = "a key must be a plain word".to_owned();
            let unquoted = message.clone();
            let error = YamlError {
                span,
                message,
                unquoted,
            };
            (String::new(), Some(error))
        };
        self.pending = Some(Key { span, text });
        error
    }
}

impl Node {
    /// Whether the value is missing or null (YAML 1.2 core schema: empty, `~`, `null`).
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value below a JSON pointer (RFC 6901), such as `/sources/private/ref`.
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        self.select(pointer).first().copied()
    }

    /// The values at a JSON pointer in which `*` is every item of a list and every value of a mapping.
    pub fn select(&self, pointer: &str) -> Vec<&Node> {
        let Some(rest) = pointer.strip_prefix('/') else {
            return if pointer.is_empty() {
                vec![self]
            } else {
                Vec::new()
            };
        };
        let mut selected = vec![self];
        for token in rest.split('/') {
            let key = token.replace("~1", "/").replace("~0", "~");
            let mut below = Vec::new();
            for node in selected {
                match &node.value {
                    Value::Map(entries) => {
                        let matching = entries
                            .iter()
                            .filter(|(name, _)| token == "*" || name.text == key);
                        below.extend(matching.map(|(_, value)| value));
                    }
                    Value::List(items) if token == "*" => below.extend(items),
                    Value::List(items) => {
                        let index = key.parse::<usize>().ok();
                        below.extend(index.and_then(|index| items.get(index)));
                    }
                    Value::Scalar { .. } => {}
                }
            }
            selected = below;
        }
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (_, errors) = parse(text);
        errors
            .into_iter()
            .map(|f| format!("{}..{} {}", f.span.start, f.span.end, f.message))
            .collect()
    }

    #[test]
    fn tree_has_scalars_as_text_with_places() {
        let text = "a: 012\nb: ['x', \"y\"]\nc:\n  d: yes\n\n";
        let (root, errors) = parse(text);
        assert!(errors.is_empty(), "{errors:?}");
        let root = root.unwrap();
        let a = root.pointer("/a").unwrap();
        assert!(matches!(&a.value, Value::Scalar { text, plain: true } if text == "012"));
        assert_eq!(&text[a.span.start..a.span.end], "012");
        let y = root.pointer("/b/1").unwrap();
        assert!(matches!(&y.value, Value::Scalar { text, plain: false } if text == "y"));
        let c = root.pointer("/c").unwrap();
        assert_eq!(&text[c.span.start..c.span.end], "d: yes");
        assert!(root.pointer("/c/e").is_none());
    }

    #[test]
    fn ambiguous_yaml_is_refused_at_its_place() {
        assert_eq!(
            faults("a: 1\na: 2\n"),
            ["5..6 the key `a` is a duplicate: first defined on line 1"]
        );
        assert!(
            faults("a: &x 1\nb: *x\n")
                .iter()
                .any(|f| f.contains("anchors"))
        );
        assert!(
            faults("a: &x 1\nb: *x\n")
                .iter()
                .any(|f| f.contains("aliases"))
        );
        assert!(
            faults("b: *nowhere\n")
                .iter()
                .any(|f| f.contains("aliases"))
        );
        assert!(faults("a: !!str 1\n").iter().any(|f| f.contains("tags")));
        assert!(
            faults("a: 1\n---\nb: 1\n")
                .iter()
                .any(|f| f.contains("second document"))
        );
        assert!(
            faults("? [a]\n: 1\n")
                .iter()
                .any(|f| f.contains("plain word"))
        );
        assert_eq!(faults("%YAML 1.2\n---\na: 1\n").len(), 1);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        assert_eq!(faults(&"[".repeat(100_000)).len(), 1);
        assert_eq!(
            faults(
                &(0..10_000)
                    .map(|n| " ".repeat(n) + "a:\n")
                    .collect::<String>()
            )
            .len(),
            1
        );
    }

    #[test]
    fn empty_text_has_no_tree() {
        assert!(parse("").0.is_none());
        assert!(parse("# only a comment\n").0.is_none_or(|n| n.is_null()));
    }
}
