//! Unified diffs that `git apply` and `patch -p1` accept, byte-exact.
//!
//! A plan replaces text within lines, so old and new have the same number of lines and comparing
//! them one by one is the whole difference: linear, also for very large files. Two versions of a
//! file from history may differ in any way: those are compared by the `similar` crate, as long as
//! little enough differs. Grouping changes into hunks is that crate's, too.

use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

use crate::plan::FileChange;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// The same where many diffs stand on one page.
const LITTLE_CONTEXT: usize = 1;
/// With more differing lines than this on either side, all of them count as replaced: comparing
/// takes time that grows with their square.
const MOST_COMPARED: usize = 2_000;

/// The diff of all files, in their order.
pub fn unified(changes: &[FileChange]) -> Vec<u8> {
    let files = changes
        .iter()
        .map(|change| of_file(change.path.as_bytes(), &change.old, &change.new));
    files.collect::<Vec<_>>().concat()
}

/// The diff of one file, in which text changes within lines.
pub fn of_file(path: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    header(&mut out, b"--- ", b"a/", path);
    header(&mut out, b"+++ ", b"b/", path);
    let (old, new) = (lines(old), lines(new));
    hunks(&mut out, &old, &new, operations(&old, &new), CONTEXT);
    out
}

/// Appends the diff of two versions of a file; `None`: there was none, or is none any more.
pub fn of_versions(out: &mut Vec<u8>, path: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
    for (mark, side, content) in [(b"--- ", b"a/", old), (b"+++ ", b"b/", new)] {
        match content {
            Some(_) => header(out, mark, side, path),
            None => out.extend_from_slice(&[mark.as_slice(), b"/dev/null\n"].concat()),
        }
    }
    let [old, new] = [old, new].map(|content| lines(content.unwrap_or_default()));
    hunks(out, &old, &new, compared(&old, &new), LITTLE_CONTEXT);
}

fn header(out: &mut Vec<u8>, mark: &[u8], side: &[u8], path: &[u8]) {
    out.extend_from_slice(mark);
    let name = [side, path].concat();
    if name
        .iter()
        .any(|b| b.is_ascii_control() || *b >= 0x80 || b"\"\\".contains(b))
    {
        out.extend_from_slice(&quoted(&name));
    } else {
        out.extend_from_slice(&name);
        // What follows a tab is no part of the name: without it, a reader may end the name at its
        // first space.
        if name.contains(&b' ') {
            out.push(b'\t');
        }
    }
    out.push(b'\n');
}

/// A name in the quotes that git and patch read: C escapes, octal for everything that is not
/// printable ASCII.
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in name {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte if byte.is_ascii_control() || byte >= 0x80 => {
                out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            byte => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

fn hunks(out: &mut Vec<u8>, old: &[&[u8]], new: &[&[u8]], operations: Vec<DiffOp>, context: usize) {
    for group in group_diff_ops(operations, context) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let old_range = first.old_range().start..last.old_range().end;
        let new_range = first.new_range().start..last.new_range().end;
        let range = |range: &std::ops::Range<usize>| match range.len() {
            // An empty range is behind the line that it names.
            0 => format!("{},0", range.start),
            1 => format!("{}", range.start + 1),
            length => format!("{},{length}", range.start + 1),
        };
        out.extend_from_slice(
            format!("@@ -{} +{} @@\n", range(&old_range), range(&new_range)).as_bytes(),
        );
        for operation in group {
            if let DiffOp::Equal { old_index, len, .. } = operation {
                old[old_index..old_index + len]
                    .iter()
                    .for_each(|text| line(out, b' ', text));
            } else {
                old[operation.old_range()]
                    .iter()
                    .for_each(|text| line(out, b'-', text));
                new[operation.new_range()]
                    .iter()
                    .for_each(|text| line(out, b'+', text));
            }
        }
    }
}

fn line(out: &mut Vec<u8>, mark: u8, text: &[u8]) {
    out.push(mark);
    out.extend_from_slice(text);
    if text.last() != Some(&b'\n') {
        out.extend_from_slice(b"\n\\ No newline at end of file\n");
    }
}

/// Lines with their ends.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut start = 0;
    for at in memchr::memchr_iter(b'\n', content) {
        lines.push(&content[start..=at]);
        start = at + 1;
    }
    if start < content.len() {
        lines.push(&content[start..]);
    }
    lines
}

/// The difference of any two texts.
fn compared(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let alike = |one: &(&&[u8], &&[u8])| one.0 == one.1;
    let start = old.iter().zip(new).take_while(alike).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let backward = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = backward.take_while(alike).count();
    let (old_len, new_len) = (old_rest.len() - end, new_rest.len() - end);
    if old_len.max(new_len) <= MOST_COMPARED {
        return capture_diff_slices(Algorithm::Myers, old, new);
    }
    let equal = |old_index, new_index, len| DiffOp::Equal {
        old_index,
        new_index,
        len,
    };
    vec![
        equal(0, 0, start),
        DiffOp::Replace {
            old_index: start,
            old_len,
            new_index: start,
            new_len,
        },
        equal(start + old_len, start + new_len, end),
    ]
}

/// Equal and replaced runs of lines.
fn operations(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let mut operations = Vec::new();
    let mut start = 0;
    while start < old.len() {
        let same = |at: usize| old.get(at) == new.get(at);
        let equal = same(start);
        let len = (start..old.len())
            .take_while(|at| same(*at) == equal)
            .count();
        operations.push(if equal {
            DiffOp::Equal {
                old_index: start,
                new_index: start,
                len,
            }
        } else {
            DiffOp::Replace {
                old_index: start,
                old_len: len,
                new_index: start,
                new_len: len,
            }
        });
        start += len;
    }
    operations
}

#[cfg(test)]
mod tests;
