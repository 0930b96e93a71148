//! The diffs of the commits that promoted sets, in files with pins, from the objects of the clone.

use std::collections::HashMap;

use crate::{
    app::report::{diff, history_page::SetDiff},
    core::history::{ChangedFile, History, HistoryEntry},
    git::{Git, GitError, ObjectId},
};

/// The maximum size of a compared file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The maximum size of one diff, in bytes.
const MAX_DIFF: usize = 32 * 1024;
/// The maximum size of all diffs, in bytes. A page of this size opens quickly on a phone.
const MAX_TOTAL: usize = 4 * 1024 * 1024;

/// Creates the diffs of `entries`, newest first, until the page is full.
pub(crate) fn set_diffs(
    git: &Git,
    history: &History,
    entries: &[HistoryEntry],
) -> Result<HashMap<ObjectId, SetDiff>, GitError> {
    let changed = history.changed_files();
    let mut diffs = HashMap::new();
    let mut remaining = MAX_TOTAL;
    for entry in entries {
        let Some(files) = changed.get(&entry.commit) else {
            continue;
        };
        let diff = if remaining == 0 {
            SetDiff::Omitted("The diff of this older set is omitted to keep the page small.")
        } else {
            set_diff(git, files)?
        };
        if let SetDiff::Text(text, _) = &diff {
            remaining = remaining.saturating_sub(text.len());
        }
        diffs.insert(entry.commit, diff);
    }
    Ok(diffs)
}

fn set_diff(git: &Git, files: &[ChangedFile]) -> Result<SetDiff, GitError> {
    const LARGE: SetDiff =
        SetDiff::Omitted("The diff of this set is too large for this page; git shows it.");
    if files.is_empty() {
        return Ok(SetDiff::Omitted(
            "This commit changed no file with pins: it changed which pins count.",
        ));
    }
    let mut text = Vec::new();
    for file in files {
        let mut contents = [None, None];
        for (content, id) in contents.iter_mut().zip([file.old, file.new]) {
            if let Some(id) = id {
                *content = git.blob(id, MAX_FILE)?;
                if content.is_none() {
                    return Ok(LARGE);
                }
            }
        }
        let [old, new] = &contents;
        diff::of_versions(&mut text, &file.path, old.as_deref(), new.as_deref());
        if text.len() > MAX_DIFF {
            return Ok(LARGE);
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(SetDiff::Text(text, files.len()))
}
