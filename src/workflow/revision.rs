//! The revision argument of a command: literal, an abbreviated commit, `HEAD` or a tag.

use crate::{
    code::Code,
    config::Config,
    error::{Error, Errors},
    git::{Git, GitError, ObjectId},
    oci::{Revision, Tag, is_hex},
};

/// How many digits an abbreviated commit may have (gitrevisions(7), `<sha1>`: at least 4).
const DIGITS: std::ops::RangeInclusive<usize> = 4..=40;

/// The revision that `text` names, and its tag. A text that matches `revision.pattern` as a whole is
/// taken literally; otherwise hex digits name a commit of the clone, never a reference, and anything
/// else can be `HEAD` or a tag.
pub fn revision(config: &Config, text: &str) -> Result<(Revision, Tag), Errors> {
    let pattern = &config.revision.pattern;
    let revision = match pattern.revision(text) {
        Ok(revision) => revision,
        Err(mismatch) => {
            let commit = commit(config, text, &mismatch.to_string())?;
            let expanded = pattern.revision(&commit.to_string());
            expanded.map_err(|error| malformed(format!("`{text}` is commit {commit}: {error}")))?
        }
    };
    let tag = config.revision.tag.tag(&revision);
    let tag = tag.map_err(|error| malformed(error.to_string()))?;
    Ok((revision, tag))
}

/// The commit that `text` names in the clone around the root.
fn commit(config: &Config, text: &str, mismatch: &str) -> Result<ObjectId, Errors> {
    let is_abbreviated = DIGITS.contains(&text.len()) && is_hex(text.as_bytes());
    let is_name = !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control);
    if !is_name {
        return Err(malformed(mismatch.to_owned()));
    }
    let Some(git) = Git::discover(&config.root).map_err(Error::from)? else {
        return Err(malformed(format!(
            "{mismatch}; expanding it needs a git repository"
        )));
    };
    let unread = |error| match error {
        GitError::Unborn => malformed(format!("{mismatch}; this clone has no commit")),
        error => Errors::from(Error::from(&error)),
    };
    let commits = if is_abbreviated {
        git.commits_named(text).map_err(unread)?
    } else if text == "HEAD" {
        vec![git.head().map_err(unread)?.tip]
    } else {
        let tagged = git.commit_of_tag(text).map_err(unread)?;
        tagged.into_iter().collect()
    };
    match commits.as_slice() {
        [commit] => Ok(*commit),
        [] if is_abbreviated => Err(malformed(format!(
            "{mismatch}; no commit of this clone begins with `{text}`"
        ))),
        [] => Err(malformed(format!(
            "{mismatch}; this clone has no tag `{text}`"
        ))),
        several => Err(ambiguous(text, several)),
    }
}

fn ambiguous(text: &str, commits: &[ObjectId]) -> Errors {
    let message = format!("`{text}` is ambiguous: several commits begin with it");
    let mut error =
        Error::input(Code::REVISION_SHAPE, message).help("write more digits of the commit");
    error.notes = commits.iter().map(|id| format!("commit {id}")).collect();
    Errors::from(error)
}

fn malformed(message: String) -> Errors {
    let help = "write the revision in full, as `revision.pattern` in the configuration requires, or \
                name a commit of this clone: `HEAD`, a tag, or at least 4 digits; `repin history -v` lists the sets \
                with their revisions in full";
    Errors::from(Error::input(Code::REVISION_SHAPE, message).help(help))
}
