//! What the commits of entries changed in files with pins, from the objects of the clone.

use std::collections::HashMap;

use crate::{
    git::{Git, GitError, ObjectId},
    history::{ChangedFile, History, HistoryEntry},
    report::{diff, page::SetDiff},
};

/// The largest file that is compared, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;
/// The largest diff of one entry, in bytes.
const LARGEST_DIFF: usize = 32 * 1024;
/// All diffs together, in bytes: a page of this size opens at once on a phone.
const ALL_DIFFS: usize = 4 * 1024 * 1024;

/// The diff of each of `entries`, newest first, as far as they fit into a page.
pub fn set_diffs(
    git: &Git,
    history: &History,
    entries: &[HistoryEntry],
) -> Result<HashMap<ObjectId, SetDiff>, GitError> {
    let changed = history.changed_files();
    let mut objects = git.objects(|_| Ok(None::<()>))?;
    let mut diffs = HashMap::new();
    let mut left = ALL_DIFFS;
    for entry in entries {
        let Some(files) = changed.get(&entry.commit) else {
            continue;
        };
        let found = if left == 0 {
            SetDiff::Omitted("The diff of this older set is left out to keep the page small.")
        } else {
            let mut read = |id: Option<ObjectId>| match id {
                Some(id) => objects.blob(id, LARGEST_FILE),
                None => Ok(Some(Vec::new())),
            };
            one(files, &mut read)?
        };
        if let SetDiff::Text(text, _) = &found {
            left = left.saturating_sub(text.len());
        }
        diffs.insert(entry.commit, found);
    }
    Ok(diffs)
}

/// The diff of these files, whose contents `read` reads unless they are too large.
fn one(
    files: &[ChangedFile],
    read: &mut impl FnMut(Option<ObjectId>) -> Result<Option<Vec<u8>>, GitError>,
) -> Result<SetDiff, GitError> {
    const LARGE: SetDiff =
        SetDiff::Omitted("The diff of this set is too large for this page; git shows it.");
    if files.is_empty() {
        return Ok(SetDiff::Omitted(
            "This commit changed no file with pins: the configuration changed what counts.",
        ));
    }
    let mut text = Vec::new();
    for file in files {
        let (Some(old), Some(new)) = (read(file.old)?, read(file.new)?) else {
            return Ok(LARGE);
        };
        let side = |id: Option<ObjectId>, content| id.map(|_| content);
        diff::of_versions(
            &mut text,
            &file.path,
            side(file.old, old.as_slice()),
            side(file.new, new.as_slice()),
        );
        if text.len() > LARGEST_DIFF {
            return Ok(LARGE);
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(SetDiff::Text(text, files.len()))
}
