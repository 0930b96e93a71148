//! The rules of git for the names of branches.

/// A name that git refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid branch name: {1}")]
pub struct BranchNameError(String, &'static str);

/// Checks a branch name by git's rules (git-check-ref-format, rules 1 to 10), and that it does not
/// begin with `-`.
pub(crate) fn check_branch(name: &str) -> Result<(), BranchNameError> {
    let malformed = |reason| Err(BranchNameError(name.to_owned(), reason));
    if name.starts_with('-') {
        return malformed("it begins with `-`");
    }
    if name == "@" || name.contains("@{") || name.contains("..") {
        return malformed("`@{`, `..` and a lone `@` have a special meaning in git");
    }
    if name.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c)) {
        return malformed("a space, a control character or one of ~ ^ : ? * [ \\");
    }
    // The case of `.lock` matters to git.
    let is_malformed = |part: &str| {
        part.is_empty() || part.starts_with('.') || part.strip_suffix(".lock").is_some()
    };
    if name.split('/').any(is_malformed) || name.ends_with('.') {
        return malformed("an empty part, or one that begins with `.` or ends with `.lock` or `.`");
    }
    Ok(())
}
