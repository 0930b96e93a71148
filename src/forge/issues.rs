//! Issues, and the claims by which exactly one run of repin starts a workflow.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub number: u64,
    /// The URL of its web page.
    pub url: String,
    pub title: String,
    pub body: String,
}

/// A mark on the forge that can be made once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// Its name, which git accepts as a part of a reference.
    pub name: &'a str,
    /// The commit that it is about.
    pub commit: &'a str,
    /// The branch of that commit.
    pub base: &'a str,
    /// A word unique to this run, which identifies its claim.
    pub word: &'a str,
}
