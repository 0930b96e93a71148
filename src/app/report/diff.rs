//! Unified diffs that `git apply` and `patch -p1` accept, byte-exact.
//!
//! A plan replaces text within lines: the old and new contents have the same number of lines, and a
//! comparison line by line takes linear time. Other versions of a file may differ in any way: the `similar`
//! crate compares them, unless too many lines differ. `similar` also groups the changes into hunks.

use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

use crate::core::plan::FileChange;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Lines of context in the history page, which contains many diffs.
const HISTORY_CONTEXT: usize = 1;
/// The maximum number of differing lines that are compared, because the time grows with their square. If
/// more lines differ, all of them count as replaced.
const MAX_COMPARED: usize = 2_000;

pub(crate) fn unified(changes: &[FileChange]) -> Vec<u8> {
    let mut out = Vec::new();
    for change in changes {
        out.extend(of_file(change.path.as_bytes(), &change.old, &change.new));
    }
    out
}

/// The diff of two versions of a file.
pub(crate) fn of_file(path: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    header(&mut out, b"--- ", b"a/", path);
    header(&mut out, b"+++ ", b"b/", path);
    let (old, new) = (lines(old), lines(new));
    let operations = if old.len() == new.len() {
        compare_lines(&old, &new)
    } else {
        compare(&old, &new)
    };
    hunks(&mut out, &old, &new, operations, CONTEXT);
    out
}

/// Appends the diff of two versions of a file; `None` if the file is new or was deleted.
pub(crate) fn of_versions(out: &mut Vec<u8>, path: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
    for (mark, side, content) in [(b"--- ", b"a/", old), (b"+++ ", b"b/", new)] {
        match content {
            Some(_) => header(out, mark, side, path),
            None => out.extend_from_slice(&[mark.as_slice(), b"/dev/null\n"].concat()),
        }
    }
    let [old, new] = [old, new].map(|content| lines(content.unwrap_or_default()));
    hunks(out, &old, &new, compare(&old, &new), HISTORY_CONTEXT);
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
        // A tab marks the end of the name; otherwise, a parser may end the name at its first space.
        if name.contains(&b' ') {
            out.push(b'\t');
        }
    }
    out.push(b'\n');
}

/// Quotes a name for git and patch: C escapes, and octal escapes for everything except printable ASCII.
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
            // An empty range refers to the line before it.
            0 => format!("{},0", range.start),
            1 => format!("{}", range.start + 1),
            length => format!("{},{length}", range.start + 1),
        };
        out.extend_from_slice(
            format!("@@ -{} +{} @@\n", range(&old_range), range(&new_range)).as_bytes(),
        );
        for operation in group {
            if let DiffOp::Equal { .. } = operation {
                for text in &old[operation.old_range()] {
                    line(out, b' ', text);
                }
                continue;
            }
            for text in &old[operation.old_range()] {
                line(out, b'-', text);
            }
            for text in &new[operation.new_range()] {
                line(out, b'+', text);
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

/// Splits a file into lines with their line breaks.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', content) {
        lines.push(&content[start..=end]);
        start = end + 1;
    }
    if start < content.len() {
        lines.push(&content[start..]);
    }
    lines
}

/// Compares any two texts.
fn compare(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let is_equal = |pair: &(&&[u8], &&[u8])| pair.0 == pair.1;
    let start = old.iter().zip(new).take_while(is_equal).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let backward = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = backward.take_while(is_equal).count();
    let (old_len, new_len) = (old_rest.len() - end, new_rest.len() - end);
    if old_len.max(new_len) <= MAX_COMPARED {
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

/// Compares two texts with the same number of lines.
fn compare_lines(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let mut operations = Vec::new();
    let mut start = 0;
    while start < old.len() {
        let is_same = |index: usize| old.get(index) == new.get(index);
        let is_equal = is_same(start);
        let len = (start..old.len())
            .take_while(|index| is_same(*index) == is_equal)
            .count();
        operations.push(if is_equal {
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
