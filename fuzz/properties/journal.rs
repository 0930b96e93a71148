//! Properties of the journal: its text round-trips, and a hostile one lists no file outside the root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use super::journal::{Journal, RunIdentity};
use crate::{base::files::RelPath, config::SetPath, core::plan::FileChange, oci::Digest};

/// Parses any text as a journal, with and without a valid checksum; then any paths and contents as a
/// journal with correct lengths and digests.
pub fn journal(input: &[u8]) {
    check_parsed_items(input);
    check_parsed_items(&with_checksum(input));
    let parts: Vec<_> = input.split(|byte| *byte == b'|').collect();
    let files: Vec<_> = parts
        .chunks(2)
        .map(|file| (file[0], file.get(1).copied().unwrap_or_default()))
        .collect();
    check_run(&parts);
    let earlier = journal_text(&files, None);
    let text = journal_text(&files, Some((b"repin.yaml", b"")));
    let parsed = Journal::parse(&text);
    let earlier = Journal::parse(&earlier).map(|journal| journal.items);
    assert_eq!(earlier, Journal::parse(&text).map(|journal| journal.items));
    if files.iter().all(|(path, _)| is_allowed(path)) {
        // A path has several spellings, but a journal lists each file once.
        let paths: BTreeSet<_> = files.iter().map(|(path, _)| components(path)).collect();
        assert_eq!(parsed.is_ok(), paths.len() == files.len(), "{parsed:?}");
    } else {
        assert!(parsed.is_err(), "{parsed:?}");
    }
    if let Ok(parsed) = parsed {
        check_round_trip(&parsed, &files);
        check_changed_byte(input, text);
    }
}

/// The text of a journal with these files; without a run that of an earlier build.
fn journal_text(files: &[(&[u8], &[u8])], run: Option<(&[u8], &[u8])>) -> Vec<u8> {
    let hex = |bytes: &[u8]| Digest::of(bytes).hex();
    let version = if run.is_some() { 2 } else { 1 };
    let header = format!("repin journal {version} {:016x} {}\n", 0xfeed, files.len());
    let mut body = header.into_bytes();
    if let Some((set_path, revision)) = run {
        let lengths = format!("{} {}\n", set_path.len(), revision.len());
        body.extend([lengths.as_bytes(), set_path, revision, b"\n"].concat());
    }
    for (path, content) in files {
        let line = format!(
            "{} {} {} {}\n",
            path.len(),
            hex(b"old"),
            hex(content),
            content.len()
        );
        body.extend([line.as_bytes(), path, content, b"\n"].concat());
    }
    with_checksum(&body)
}

/// A journal contains any set path below the top of the repository, and any revision.
fn check_run(parts: &[&[u8]]) {
    let (set_path, revision) = (parts[0], parts.last().copied().unwrap_or_default());
    let text = journal_text(&[], Some((set_path, revision)));
    let expected = SetPath::new(Path::new(OsStr::from_bytes(set_path)));
    let expected = expected.ok().zip(std::str::from_utf8(revision).ok());
    let expected = expected.map(|(set_path, revision)| RunIdentity {
        set_path,
        revision: (!revision.is_empty()).then(|| revision.to_owned()),
    });
    let parsed = Journal::parse(&text).ok();
    assert_eq!(parsed.and_then(|journal| journal.run), expected);
}

/// A journal that is made from the parsed items is equal to the parsed one, and so is its text.
fn check_round_trip(parsed: &Journal<'_>, files: &[(&[u8], &[u8])]) {
    let mut changes = Vec::new();
    for (item, (path, content)) in parsed.items.iter().zip(files) {
        assert_eq!(components(item.path.as_bytes()), components(path));
        assert_eq!(item.new_content, *content);
        changes.push(FileChange {
            path: item.path.clone(),
            pins: 1,
            old: b"old".to_vec(),
            new: content.to_vec(),
            old_sha256: item.old,
            new_sha256: item.new,
        });
    }
    let run = parsed.run.clone().unwrap();
    let journal = Journal::new(&changes, 0xfeed, run);
    assert_eq!(journal, *parsed);
    let mut text = Vec::new();
    journal.write(&mut text).unwrap();
    assert_eq!(Journal::parse(&text).unwrap(), *parsed);
}

/// A journal with one changed byte is refused. The input determines the byte.
fn check_changed_byte(input: &[u8], mut text: Vec<u8>) {
    let hash = input.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31) + usize::from(*byte)
    });
    let offset = hash % text.len();
    text[offset] ^= 1;
    assert!(Journal::parse(&text).is_err());
}

fn with_checksum(body: &[u8]) -> Vec<u8> {
    [body, Digest::of(body).hex().as_bytes(), b"\n"].concat()
}

/// If the text is a journal, its paths are below the root and do not belong to git or repin.
fn check_parsed_items(text: &[u8]) {
    let Ok(journal) = Journal::parse(text) else {
        return;
    };
    for item in &journal.items {
        assert!(is_allowed(item.path.as_bytes()));
        assert_eq!(Digest::of(item.new_content), item.new);
        for name in [&item.copy, &item.old_link] {
            let sibling = item.sibling(name);
            assert_eq!(sibling.as_path().parent(), item.path.as_path().parent());
        }
    }
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect()
}

/// Whether a journal may list the path.
fn is_allowed(path: &[u8]) -> bool {
    let components = components(path);
    let is_reserved =
        |name: &&[u8]| matches!(*name, b".." | b".git" | b".repin") || name.starts_with(b".repin-");
    !path.starts_with(b"/")
        && !path.contains(&0)
        && !components.is_empty()
        && !components.iter().any(is_reserved)
        // The other requirements of a relative path, such as its maximum length.
        && RelPath::new(Path::new(OsStr::from_bytes(path))).is_ok()
}
