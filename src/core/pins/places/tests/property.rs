//! Generated documents before and after a move, read by another YAML reader (libyaml): only the scalars
//! of the places changed, to the expected values.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde::Deserialize as _;
use serde_yaml_ng::Value;

use super::*;

/// A generated entry.
#[derive(Debug, Clone)]
struct Drawn {
    repository: &'static str,
    /// The quote around scalars, or nothing.
    quote: &'static str,
    flow: bool,
    /// `None`: no tag; an empty one stays.
    tag: Option<&'static str>,
    /// Whether the tag contains the digest.
    in_tag: bool,
    /// Whether an entry with an alias of the digest follows.
    alias: bool,
    comment: &'static str,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let repository = prop_oneof![
        Just("nginx"),
        Just("ghcr.io/acme/app"),
        Just("r.example/other")
    ];
    let quote = prop_oneof![Just(""), Just("'"), Just("\"")];
    let tag = prop_oneof![
        Just(None),
        Just(Some("")),
        Just(Some("v1")),
        Just(Some("1.25")),
        Just(Some("0x1f")),
    ];
    let comment = prop_oneof![Just(""), Just(" # é: [x] 'y'")];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (repository, quote, tag, comment, flags).prop_map(
        |(repository, quote, tag, comment, (flow, in_tag, alias))| Drawn {
            repository,
            quote,
            flow,
            tag,
            in_tag: in_tag && tag.is_some_and(|tag| !tag.is_empty()),
            alias,
            comment,
        },
    )
}

impl Drawn {
    /// The fields of the entry, keys and values.
    fn fields(&self, at: usize) -> Vec<(&'static str, String)> {
        let q = self.quote;
        let mut fields = vec![("repository", format!("{q}{}{q}", self.repository))];
        match (self.tag, self.in_tag) {
            (Some(tag), true) => {
                fields.push(("tag", format!("&a{at} {q}{tag}@{}{q}", old())));
            }
            (tag, _) => {
                let tag = tag.map(|tag| {
                    if tag.is_empty() {
                        "''".into()
                    } else {
                        format!("{q}{tag}{q}")
                    }
                });
                fields.extend(tag.map(|tag| ("tag", tag)));
                fields.push(("digest", format!("&a{at} {q}{}{q}", old())));
            }
        }
        fields
    }

    fn write(&self, out: &mut String, at: usize) {
        let mut entry = |name: String, fields: &[(&str, String)]| {
            if self.flow {
                let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                let _ = writeln!(out, "{name}: {{ {} }}{}", fields.join(", "), self.comment);
                return;
            }
            let _ = writeln!(out, "{name}:{}", self.comment);
            for (key, value) in fields {
                let _ = writeln!(out, "  {key}: {value}{}", self.comment);
            }
        };
        entry(format!("e{at}"), &self.fields(at));
        if self.alias {
            let key = if self.in_tag { "tag" } else { "digest" };
            let fields = [
                ("repository", self.repository.to_owned()),
                (key, format!("*a{at}")),
                ("other", "[1, {a: b}]".to_owned()),
            ];
            entry(format!("f{at}"), &fields);
        }
    }
}

/// Changes a document as the move must change it.
fn moved(value: &mut Value, to: &str) {
    if let Value::Sequence(items) = value {
        for item in items {
            moved(item, to);
        }
    }
    let Value::Mapping(map) = value else { return };
    map.values_mut().for_each(|value| moved(value, to));
    let ours = map.get("repository").and_then(Value::as_str);
    if !ours.is_some_and(|name| ["nginx", "ghcr.io/acme/app"].contains(&name)) {
        return;
    }
    if map.contains_key("digest") {
        map.insert("digest".into(), new().into());
        let empty = map.get("tag").is_none_or(|tag| tag == "");
        if !empty {
            map.insert("tag".into(), to.into());
        }
    } else if map.contains_key("tag") {
        map.insert("tag".into(), format!("{to}@{}", new()).into());
    }
}

fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn only_the_pinned_values_change(
        entries in prop::collection::vec((drawn(), any::<bool>()), 1..8),
        crlf in any::<bool>(),
        newline in any::<bool>(),
        to in prop_oneof![Just("rev-2"), Just("0012"), Just("1234e56"), Just("yes"), Just("2026-11-21")],
    ) {
        let mut text = String::from("# first\n");
        for (at, (entry, separate)) in entries.iter().enumerate() {
            if *separate {
                text.push_str("---\n");
            }
            entry.write(&mut text, at);
        }
        if !newline {
            text.truncate(text.trim_end().len());
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let after = helm().moved_to(to, &text);
        let mut expected = documents(&text);
        for document in &mut expected {
            moved(document, to);
        }
        prop_assert_eq!(documents(&after), expected, "{}\n{}", text, after);
    }
}
