//! Digests and images in text that cannot be read as YAML, or before it is.

use std::collections::HashSet;

use memchr::memmem;

use super::{File, Finding, PREFIX, Rules, yaml::Fault};
use crate::core::pins::{
    digests::{Run, Width, runs_in},
    embedded::is_in_component,
    scan::Scan,
};

impl File<'_> {
    /// The refusal of a file that is not YAML but contains an image and a digest that is not
    /// counted.
    pub(super) fn unreadable(
        &self,
        scan: &Scan,
        findings: &[Finding],
        place: usize,
        fault: &Fault,
    ) -> Option<Finding> {
        let mut counted: HashSet<usize> = findings.iter().map(|finding| finding.at).collect();
        counted.extend(scan.pins.iter().map(|pin| pin.offset));
        let mut uncounted = None;
        runs_in(self.content, 0..self.content.len(), |run| {
            let at = value_at(self.content, &run);
            if uncounted.is_none() && at.is_some_and(|at| !counted.contains(&at)) {
                uncounted = at;
            }
        });
        let digest = uncounted?;
        let image = self.rules.image_named_in(self.content)?;
        let before = &self.content[..fault.at.min(self.content.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let reason = format!(
            "the file names the image and holds this digest, but cannot be read as YAML: line {line}: {}",
            fault.reason
        );
        Some(Finding::refused(place, Some(image), digest, reason))
    }
}

impl Rules {
    /// The first image of which the repository occurs in a text, with any text between host and
    /// path.
    pub(super) fn image_named_in(&self, content: &[u8]) -> Option<usize> {
        let images = self.images.iter();
        let named = images.filter(|(repository, _)| {
            let path = repository.path();
            contains_name(content, path.strip_prefix("library/").unwrap_or(path))
        });
        named.map(|(_, image)| *image).min()
    }
}

/// Whether the path of a repository occurs in a text as a whole name.
pub(super) fn contains_name(content: &[u8], path: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| is_in_component(*byte));
    memmem::find_iter(content, path).any(|at| {
        let before = at.checked_sub(1).and_then(|at| content.get(at));
        !is_part(before) && !is_part(content.get(at + path.len()))
    })
}

/// The offset of a digest in text that cannot be read: after `sha256:`, or alone after a key of digests.
pub(super) fn value_at(content: &[u8], run: &Run) -> Option<usize> {
    let before = &content[..run.offset];
    if run.width == Width::Two {
        return None;
    }
    if let Some(before) = before.strip_suffix(PREFIX) {
        return Some(before.len());
    }
    let blanks = before.iter().rev().take(MAX_BLANKS);
    let blanks = blanks.take_while(|byte| b" \t\"'".contains(byte)).count();
    let key = &before[..before.len() - blanks];
    let is_key = [&b"sha:"[..], b"sha\":", b"digest:", b"digest\":"]
        .iter()
        .any(|end| key.ends_with(end));
    is_key.then_some(run.offset)
}

/// The maximum number of blanks and quotes between a key and its value that are examined.
const MAX_BLANKS: usize = 64;

/// Whether a text contains `sha256:` or `sha512:` in any case, or the digits of a digest.
pub(super) fn may_contain_digest(content: &[u8]) -> bool {
    let mut has_digits = false;
    runs_in(content, 0..content.len(), |_| has_digits = true);
    has_digits
        || [b"256:", b"512:"].iter().any(|digits| {
            memmem::find_iter(content, *digits).any(|at| {
                let before = content[..at].last_chunk::<3>();
                before.is_some_and(|before| before.eq_ignore_ascii_case(b"sha"))
            })
        })
}
