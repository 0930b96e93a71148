//! The journal: what was written is read back, and a hostile one changes nothing outside the root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use super::journal::Journal;
use crate::{config::RelPath, oci::Digest, plan::FileChange};

/// Any text as a journal, as it is and with a right checksum; and any paths and contents as a
/// journal whose lengths and digests are right.
pub fn journal(input: &[u8]) {
    read(input);
    read(&sealed(input));
    let parts: Vec<_> = input.split(|byte| *byte == b'|').collect();
    let files: Vec<_> = parts
        .chunks(2)
        .map(|file| (file[0], file.get(1).copied().unwrap_or_default()))
        .collect();
    let hex = |bytes: &[u8]| Digest::of(bytes).hex();
    let mut body = format!("repin journal 1 {:016x} {}\n", 0xfeed, files.len()).into_bytes();
    for (path, content) in &files {
        let line = format!(
            "{} {} {} {}\n",
            path.len(),
            hex(b"old"),
            hex(content),
            content.len()
        );
        body.extend([line.as_bytes(), path, content, b"\n"].concat());
    }
    let text = sealed(&body);
    let parsed = Journal::parse(&text);
    if files.iter().all(|(path, _)| is_plain(path)) {
        // A path may be spelled in several ways; each names one file, once.
        let paths: BTreeSet<_> = files.iter().map(|(path, _)| names(path)).collect();
        assert_eq!(parsed.is_ok(), paths.len() == files.len(), "{parsed:?}");
    } else {
        assert!(parsed.is_err(), "{parsed:?}");
    }
    let Ok(parsed) = parsed else { return };
    let changes = parsed
        .items
        .iter()
        .zip(&files)
        .map(|(item, (path, content))| {
            assert_eq!(
                (names(item.path.as_bytes()), item.bytes),
                (names(path), *content)
            );
            FileChange {
                path: item.path.clone(),
                pins: 1,
                old: b"old".to_vec(),
                new: content.to_vec(),
                old_sha256: item.old,
                new_sha256: item.new,
            }
        });
    let changes: Vec<_> = changes.collect();
    let written = Journal::of(&changes, 0xfeed);
    assert_eq!(written, parsed);
    let mut text = Vec::new();
    written.write(&mut text).unwrap();
    assert_eq!(Journal::parse(&text).unwrap(), parsed);
    // One byte of it that changes is noticed.
    let at = input.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31) + usize::from(*byte)
    }) % text.len();
    text[at] ^= 1;
    assert!(Journal::parse(&text).is_err());
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [body, Digest::of(body).hex().as_bytes(), b"\n"].concat()
}

/// Whatever is read names files beneath the root, and none of git's or repin's own.
fn read(text: &[u8]) {
    let Ok(journal) = Journal::parse(text) else {
        return;
    };
    for item in &journal.items {
        assert!(is_plain(item.path.as_bytes()));
        assert_eq!(Digest::of(item.bytes), item.new);
        for name in [&item.copy, &item.spare] {
            let beside = item.beside(name);
            assert_eq!(beside.as_path().parent(), item.path.as_path().parent());
        }
    }
}

/// The names of a path.
fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect()
}

/// Whether a path stays beneath the root, and is neither git's nor repin's own.
fn is_plain(path: &[u8]) -> bool {
    let names = names(path);
    let own =
        |name: &&[u8]| matches!(*name, b".." | b".git" | b".repin") || name.starts_with(b".repin-");
    let relative = !path.starts_with(b"/") && !path.contains(&0);
    relative && !names.is_empty() && !names.iter().any(own) && is_path(path)
}

/// What else a relative path must be, for example no longer than the system allows.
fn is_path(path: &[u8]) -> bool {
    RelPath::new(Path::new(OsStr::from_bytes(path))).is_ok()
}
