//! The words of a forge for pull requests.

/// The names that users of a forge know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    /// `pull request`, or on GitLab `merge request`.
    pub pull_request: &'static str,
    /// `merge queue`, or on GitLab `merge train`.
    pub queue: &'static str,
    /// The sign before the number of one.
    pub sign: char,
    /// The prefix of the references to their heads.
    references: &'static str,
}

impl Words {
    pub(crate) const PULL_REQUEST: Self = Self {
        pull_request: "pull request",
        queue: "merge queue",
        sign: '#',
        references: "refs/pull",
    };

    pub(crate) const MERGE_REQUEST: Self = Self {
        pull_request: "merge request",
        queue: "merge train",
        sign: '!',
        references: "refs/merge-requests",
    };

    /// The words for a pull request with this page. GitLab's pages of merge requests have a path that no other
    /// forge uses.
    pub(crate) fn for_page(url: &str) -> Self {
        if url.contains("/-/merge_requests/") {
            Self::MERGE_REQUEST
        } else {
            Self::PULL_REQUEST
        }
    }

    /// The words of the sign at the beginning of `text`, and the text after it.
    pub(crate) fn split_sign(text: &str) -> Option<(Self, &str)> {
        let split = |words: Self| Some((words, text.strip_prefix(words.sign)?));
        split(Self::PULL_REQUEST).or_else(|| split(Self::MERGE_REQUEST))
    }

    /// The reference to the head of a pull request.
    pub(crate) fn head_reference(self, number: u64) -> String {
        format!("{}/{number}/head", self.references)
    }

    /// `#5`, or on GitLab `!5`.
    pub(crate) fn mark(self, number: u64) -> String {
        format!("{}{number}", self.sign)
    }

    /// `pull request #5`, or on GitLab `merge request !5`.
    pub(crate) fn name(self, number: u64) -> String {
        format!("{} {}{number}", self.pull_request, self.sign)
    }
}
