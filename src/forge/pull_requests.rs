//! Pull requests: list, open, edit, label, comment, poll.

use async_trait::async_trait;

use crate::error::Error;

/// The pull requests of a repository. Every listing is complete or an error, and no request that
/// must not be repeated is sent twice.
#[async_trait(?Send)]
pub trait PullRequests {
    /// Pull requests, filtered by repin whatever the server filters.
    async fn pulls(&self, which: Pulls<'_>) -> Result<Vec<Pull>, Error>;

    /// One pull request in its current state; `None` if it is missing.
    async fn pull(&self, number: u64) -> Result<Option<Pull>, Error>;

    /// A pull request, unless it is unchanged since `etag` was given.
    async fn poll(&self, number: u64, etag: Option<&str>) -> Result<Poll, Error>;

    /// Opens a pull request exactly once, even if a response is lost.
    async fn create_pull(&self, new: &NewPull<'_>) -> Result<CreateOutcome, Error>;

    /// Changes a pull request's text, or closes or reopens it.
    async fn edit_pull(&self, number: u64, edit: &Edit<'_>) -> Result<Pull, Error>;

    /// Makes a pull request a draft, or ready for review.
    async fn set_state(&self, pull: &Pull, state: State) -> Result<(), Error>;

    /// Adds labels, which are created if they are missing.
    async fn label(&self, number: u64, labels: &[String]) -> Result<LabelOutcome, Error>;

    /// All comments of a pull request or issue.
    async fn comments(&self, number: u64) -> Result<Vec<Comment>, Error>;

    /// Adds a comment.
    async fn comment(&self, number: u64, text: &str) -> Result<(), Error>;

    /// Whether the pull request shows this head of its branch, which may take a server seconds.
    async fn shows(&self, pull: &Pull, head: &str) -> Result<bool, Error>;

    /// Whether this run deleted the branch while it had no pull request, and made it again.
    fn has_recreated(&self, branch: &str) -> bool;

    /// Whether a pull request stays open although its branch was deleted and made again: by this
    /// run, or, if `interrupted`, by an earlier one.
    async fn stays_open(&self, pull: &Pull, interrupted: bool) -> Result<bool, Error>;
}

/// Whether the author considers a pull request ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not yet.
    Draft,
    /// Ready for review.
    Ready,
}

/// Open, closed, merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    /// Open.
    Open,
    /// Closed, and not merged.
    Closed,
    /// Merged, by this commit if the forge names it.
    Merged(Option<String>),
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// The URL of its web page.
    pub url: String,
    /// Its id in the forge's other API; may be empty.
    pub node: String,
    /// Its title, without the mark of a draft.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Open, closed, merged.
    pub state: PullState,
    /// Draft or ready.
    pub draft: State,
    /// Its source branch.
    pub head: String,
    /// That branch's head, if the forge names it.
    pub head_commit: String,
    /// Whether that branch is in this repository, and not in a fork.
    pub own: bool,
    /// Its target branch.
    pub base: String,
    /// That branch's head, if the forge shows it: on GitHub when the pull request was opened or its
    /// source branch last changed, elsewhere when it was read.
    pub base_commit: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whether it has conflicts.
    pub mergeable: Mergeable,
    /// Whether its branch is known to exist.
    pub head_exists: bool,
}

/// Whether a pull request has conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mergeable {
    /// The forge reports no conflict.
    Yes,
    /// The forge reports no conflict, but the branch must be updated from its base first.
    Behind,
    /// The forge reports a conflict.
    Conflict,
    /// Either a conflict, or a check for conflicts that has not ended: Gitea and Forgejo do not
    /// distinguish them.
    ConflictOrChecking,
    /// The forge does not report it here.
    Unknown,
}

/// A filter for pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulls<'a> {
    /// All open ones.
    Open,
    /// Those closed or merged whose branch has this name.
    Closed(&'a str),
}

impl Pulls<'_> {
    /// Whether the pull request is one of them; servers may ignore a filter.
    pub(super) fn matches(self, pull: &Pull) -> bool {
        match self {
            Self::Open => pull.state == PullState::Open,
            Self::Closed(head) => pull.state != PullState::Open && pull.head == head && pull.own,
        }
    }
}

/// A pull request to be opened.
#[derive(Debug, Clone, Copy)]
pub struct NewPull<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its text.
    pub body: &'a str,
    /// Its source branch.
    pub head: &'a str,
    /// Its target branch.
    pub base: &'a str,
    /// Draft or ready.
    pub state: State,
}

/// The outcome of opening a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is open.
    New(Box<Pull>),
    /// The branch already has one.
    Exists(String),
    /// The forge does not know the branch yet, or sees nothing on it.
    NotYet(String),
    /// The response was lost: it may be open.
    Unsure(String),
}

/// A change to a pull request or issue; `None` leaves the field unchanged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit<'a> {
    /// The title, and whether it is a draft's (some forges mark drafts in the title).
    pub title: Option<(&'a str, State)>,
    /// The text.
    pub body: Option<&'a str>,
    /// Closing or reopening.
    pub transition: Option<Transition>,
}

/// A change between open and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Close it.
    Close,
    /// Reopen it.
    Reopen,
}

impl Edit<'_> {
    /// The fields of the request, the same for all forges; `titled` spells the title of a draft.
    pub(super) fn fields(&self, titled: impl Fn(&str, State) -> String) -> serde_json::Value {
        let title = self
            .title
            .map(|(title, state)| ("title", titled(title, state)));
        let body = self.body.map(|text| ("body", text.to_owned()));
        let state = self.transition.map(|transition| {
            let state = match transition {
                Transition::Close => "closed",
                Transition::Reopen => "open",
            };
            ("state", state.to_owned())
        });
        let fields = [title, body, state].into_iter().flatten();
        fields
            .map(|(name, value)| (name.to_owned(), serde_json::Value::from(value)))
            .collect()
    }
}

/// The outcome of adding labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelOutcome {
    /// The labels were added.
    Done,
    /// The token may not add them; the forge's message.
    NotPermitted(String),
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its text.
    pub body: String,
}

/// A pull request that was polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// It is unchanged.
    Same,
    /// Its current state, and the `ETag` for the next poll.
    Now(Box<Pull>, Option<String>),
    /// The pull request is missing, or the token may not see it.
    Absent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_filtered_whatever_the_server_sends() {
        let pull = |head: &str, state, own| Pull {
            number: 1,
            url: String::new(),
            node: String::new(),
            title: String::new(),
            body: String::new(),
            state,
            draft: State::Ready,
            head: head.to_owned(),
            head_commit: String::new(),
            own,
            base: "main".to_owned(),
            base_commit: String::new(),
            labels: Vec::new(),
            mergeable: Mergeable::Unknown,
            head_exists: true,
        };
        let open = pull("a", PullState::Open, true);
        let closed = pull("a", PullState::Closed, true);
        let merged = pull("a", PullState::Merged(None), true);
        assert!(
            Pulls::Open.matches(&open)
                && !Pulls::Open.matches(&closed)
                && !Pulls::Open.matches(&merged)
        );
        let of_a = Pulls::Closed("a");
        assert!(of_a.matches(&closed) && of_a.matches(&merged) && !of_a.matches(&open));
        assert!(!of_a.matches(&pull("b", PullState::Closed, true)));
        assert!(!of_a.matches(&pull("a", PullState::Closed, false)));
    }
}
