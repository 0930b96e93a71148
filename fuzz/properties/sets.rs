//! Revisions in tags, trailers and markers: written, then read again, and compared with regular
//! expressions.

use std::{path::Path, sync::LazyLock};

use regex::Regex;

use super::text;
use crate::{
    app::pull_request::{Marker, MarkerKind},
    config::{Operation, RevisionLength, SetPath, TagTemplate, Trailer},
    oci::{Pattern, Tag, TagPattern},
};

static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z").unwrap());
static TRAILER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\A(?i-u:repin-set):(.*)\z").unwrap());

/// Templates of tags: one line each for the template, the pattern of revisions, a revision and a tag.
pub fn tags(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (template, pattern, revision, tag) = (line(), line(), line(), line());
    assert_eq!(Tag::parse(tag).is_ok(), TAG.is_match(tag), "{tag:?}");
    if let (Ok(pattern), Ok(tag)) = (TagPattern::parse(template), Tag::parse(tag)) {
        let regex = wildcard_regex(template);
        assert_eq!(pattern.matches(&tag), regex.is_match(tag.as_str()));
    }
    // A pattern of many repetitions takes the compiler long.
    let pattern = Some(pattern).filter(|pattern| !pattern.contains(['{', '*', '+', '\\']));
    let Ok(pattern) = Pattern::parse(pattern.unwrap_or("[0-9a-f]{40}")) else {
        return;
    };
    let Ok(template) = TagTemplate::parse(template) else {
        return;
    };
    let form = template.form(&pattern);
    if let Ok(tag) = Tag::parse(tag)
        && let Some(revision) = form.revision_in(tag.as_str())
    {
        // The way back: the tag is one of those of the revision.
        assert!(template.tag_of(revision).unwrap().matches(&tag));
    }
    let Ok(revision) = pattern.revision(revision) else {
        return;
    };
    assert_eq!(
        pattern.cmp_precedence(&revision, &revision).is_some(),
        pattern.is_semver()
    );
    let Ok(TagPattern::Tag(tag)) = template.tag(&revision) else {
        return;
    };
    let expected = match template.length() {
        RevisionLength::Full => revision.as_str(),
        RevisionLength::Digits(digits) => &revision.as_str()[..digits],
    };
    assert_eq!(form.revision_in(tag.as_str()), Some(expected));
}

/// A text in which `*` matches any characters of a tag.
fn wildcard_regex(text: &str) -> Regex {
    let parts: Vec<_> = text.split('*').map(regex::escape).collect();
    Regex::new(&format!(r"\A{}\z", parts.join("[A-Za-z0-9._-]*"))).unwrap()
}

/// Trailers: one line each for the path of a set and a revision, and the rest for a message.
pub fn trailers(input: &[u8]) {
    let Some((path, revision, message)) = parts(input) else {
        return;
    };
    let found: Vec<_> = Trailer::from_message(message).collect();
    for line in message.lines() {
        let value = TRAILER
            .captures(line)
            .map(|parts| parts.get(1).unwrap().as_str().trim());
        let value = value.filter(|value| !value.is_empty());
        assert_eq!(Trailer::parse(line).is_some(), value.is_some(), "{line:?}");
    }
    let lines = Trailer::message_lines(message);
    let lines = std::str::from_utf8(&lines).unwrap().lines();
    assert_eq!(lines.filter_map(Trailer::parse).collect::<Vec<_>>(), found);
    let Some(set) = set(path) else { return };
    if revision.is_empty() || revision.trim() != revision || revision.contains(char::is_control) {
        return;
    }
    let line = Trailer::line(revision, &set);
    assert_eq!(line.lines().count(), 1);
    let message = format!("title\n\n{message}\n{line}\n");
    let last = Trailer::from_message(&message).last().unwrap();
    assert_eq!(last.revision, revision);
    assert_eq!(last.set.unwrap_or_else(SetPath::top), set);
}

/// Markers: one line each for the path of a set and a revision, and the rest for the text before.
pub fn markers(input: &[u8]) {
    let Some((path, revision, before)) = parts(input) else {
        return;
    };
    if let Some(found) = Marker::find(before) {
        assert_eq!(Marker::find(&found.to_string()), Some(found));
    }
    let Some(set) = set(path) else { return };
    for kind in [
        MarkerKind::Set(Operation::Promotion),
        MarkerKind::Set(Operation::Rollback),
        MarkerKind::Branch,
    ] {
        let (set, revision) = (set.clone(), revision.to_owned());
        let marker = Marker {
            kind,
            set,
            revision,
        };
        let line = marker.to_string();
        assert_eq!((line.matches("-->").count(), line.lines().count()), (1, 1));
        assert_eq!(Marker::find(&format!("{before}\n{line}\n")), Some(marker));
    }
}

/// Two lines and the rest.
fn parts(input: &[u8]) -> Option<(&str, &str, &str)> {
    let (first, rest) = text(input)?.split_once('\n')?;
    let (second, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    Some((first, second, rest))
}

/// The set with a path; its encoding is the only text that is decoded to it.
fn set(path: &str) -> Option<SetPath> {
    if let Some(decoded) = SetPath::decode(path) {
        assert_eq!(decoded.encoded(), path);
    }
    let set = SetPath::new(Path::new(path)).ok()?;
    assert_eq!(SetPath::decode(&set.encoded()).as_ref(), Some(&set));
    Some(set)
}
