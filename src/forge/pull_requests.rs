//! Pull requests, their comments, and the outcomes of opening, editing and polling them.

use serde_json::{Map, Value};

/// Whether the author considers a pull request ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Draft,
    Ready,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PullState {
    Open,
    /// Closed, and not merged.
    Closed,
    /// Merged, by this commit if the forge reports it.
    Merged(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pull {
    pub number: u64,
    /// The URL of its web page.
    pub url: String,
    /// Its id in GraphQL; empty on Gitea and Forgejo.
    pub node: String,
    /// Its title, without the prefix of a draft.
    pub title: String,
    pub body: String,
    pub state: PullState,
    pub readiness: Readiness,
    /// Its source branch.
    pub head: String,
    /// That branch's head, if the forge reports it.
    pub head_commit: String,
    /// Whether that branch is in this repository, and not in a fork.
    pub own: bool,
    /// Its target branch.
    pub base: String,
    /// That branch's head, if the forge reports it: on GitHub when the pull request was opened or its
    /// source branch last changed, on Gitea and Forgejo when it was read.
    pub base_commit: String,
    pub labels: Vec<String>,
    pub mergeable: Mergeable,
    /// Whether its branch is known to exist.
    pub head_exists: bool,
}

/// A commit that a pull request may have brought to a branch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BranchCommit<'c> {
    pub commit: &'c str,
    pub branch: &'c str,
    /// The number in its subject, which may be wrong.
    pub number: Option<u64>,
}

/// The merge of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergedPull {
    pub number: u64,
    /// When it was merged (RFC 3339).
    pub date: String,
    /// The login of the user who merged it, if the forge reports it.
    pub by: Option<String>,
}

/// Whether a pull request has conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mergeable {
    /// The forge reports no conflict.
    Yes,
    /// The forge reports no conflict, but the branch must be updated from its base first.
    Behind,
    /// The forge reports a conflict.
    Conflict,
    /// A conflict, or a pending check for conflicts: Gitea and Forgejo do not distinguish them.
    ConflictOrChecking,
    /// The forge does not report it here.
    Unknown,
}

/// A filter for pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulls<'a> {
    Open,
    /// Closed or merged, with a source branch of this name.
    Closed(&'a str),
}

impl Pulls<'_> {
    /// Whether the pull request matches; servers may ignore a filter.
    pub(super) fn matches(self, pull: &Pull) -> bool {
        match self {
            Self::Open => pull.state == PullState::Open,
            Self::Closed(head) => pull.state != PullState::Open && pull.head == head && pull.own,
        }
    }
}

/// A pull request to be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewPull<'a> {
    pub title: &'a str,
    pub body: &'a str,
    /// Its source branch.
    pub head: &'a str,
    /// Its target branch.
    pub base: &'a str,
    pub state: Readiness,
}

/// The outcome of opening a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CreateOutcome {
    New(Box<Pull>),
    /// The branch already has a pull request.
    Exists(String),
    /// The forge does not show the branch or its commits yet.
    NotYet(String),
    /// The response was lost: the pull request may be open.
    Unsure(String),
}

/// A change to a pull request or issue. A field that is `None` remains unchanged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Edit<'a> {
    /// The title and the draft state (Gitea and Forgejo mark drafts in the title).
    pub title: Option<(&'a str, Readiness)>,
    pub body: Option<&'a str>,
    pub transition: Option<Transition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Close,
    Reopen,
}

impl Edit<'_> {
    /// An edit that only closes or reopens.
    pub(super) fn transition(transition: Transition) -> Self {
        Self {
            transition: Some(transition),
            ..Self::default()
        }
    }

    /// The body of the request, the same for all forges. `spell`: the title of a draft or of a ready
    /// pull request.
    pub(super) fn request_body(&self, spell: impl Fn(&str, Readiness) -> String) -> Value {
        let mut fields = Map::new();
        if let Some((title, state)) = self.title {
            fields.insert("title".to_owned(), spell(title, state).into());
        }
        if let Some(body) = self.body {
            fields.insert("body".to_owned(), body.into());
        }
        let state = match self.transition {
            Some(Transition::Close) => "closed",
            Some(Transition::Reopen) => "open",
            None => return Value::Object(fields),
        };
        fields.insert("state".to_owned(), state.into());
        Value::Object(fields)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelOutcome {
    Done,
    /// The token may not add them; the forge's message.
    NotPermitted(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    pub body: String,
}

/// The outcome of polling a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Poll {
    Unchanged,
    /// The current state, and the `ETag` for the next poll.
    Changed(Box<Pull>, Option<String>),
    /// The pull request is missing, or the token may not see it.
    Absent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_does_not_depend_on_the_server() {
        let pull = |head: &str, state, own| Pull {
            number: 1,
            url: String::new(),
            node: String::new(),
            title: String::new(),
            body: String::new(),
            state,
            readiness: Readiness::Ready,
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
        let filter = Pulls::Closed("a");
        assert!(filter.matches(&closed) && filter.matches(&merged) && !filter.matches(&open));
        assert!(!filter.matches(&pull("b", PullState::Closed, true)));
        assert!(!filter.matches(&pull("a", PullState::Closed, false)));
    }
}
