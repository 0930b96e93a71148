//! The revision argument of a command: literal, an abbreviated commit, `HEAD` or a tag.

use crate::{
    code::Code,
    config::Config,
    error::{Error, Errors},
    git::{Git, GitError, ObjectId},
    oci::{Revision, Tag, TagPattern, is_hex},
};

/// The number of digits of an abbreviated commit (gitrevisions(7), `<sha1>`: at least 4).
const DIGITS: std::ops::RangeInclusive<usize> = 4..=40;

/// Resolves the argument to a revision and its tag. A text that matches `revision.pattern` is the revision
/// itself. Other hex digits abbreviate a commit of the clone and never name a reference; any other text is
/// `HEAD` or a tag.
pub(crate) fn revision(config: &Config, text: &str) -> Result<(Revision, Tag), Errors> {
    let pattern = &config.revision.pattern;
    let revision = match pattern.revision(text) {
        Ok(revision) => revision,
        Err(mismatch) => {
            let commit = commit(config, text, &mismatch.to_string())?;
            pattern
                .revision(&commit.to_string())
                .map_err(|error| malformed(format!("`{text}` is commit {commit}: {error}")))?
        }
    };
    match config.revision.tag.tag(&revision) {
        Ok(TagPattern::Tag(tag)) => Ok((revision, tag)),
        Ok(pattern) => Err(malformed(format!("`{pattern}` is not a tag"))),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Resolves `text` to a commit of the clone around the root.
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
    let failed = |error| match error {
        GitError::Unborn => malformed(format!("{mismatch}; this clone has no commit")),
        error => Errors::from(Error::from(&error)),
    };
    let commits = if is_abbreviated {
        git.commits_named(text).map_err(failed)?
    } else if text == "HEAD" {
        vec![git.head().map_err(failed)?.tip]
    } else {
        let tagged = git.commit_of_tag(text).map_err(failed)?;
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
        commits => Err(ambiguous(text, commits)),
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
