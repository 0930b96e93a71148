//! What goes to forges and comes from them, the same for all.

use std::collections::BTreeMap;

use crate::error::Error;

/// The repository.
#[derive(Debug, Clone)]
pub struct Repo {
    /// `owner/name` as the forge spells it.
    pub full_name: String,
    /// The branch that pull requests go to unless another is configured.
    pub default_branch: String,
    /// The forge's own name of the repository in its other API; may be empty.
    pub node: String,
    /// Whether whoever the token belongs to may push; `None`: not told.
    pub may_push: Option<bool>,
    /// What the token is for, where the forge tells.
    pub scopes: Option<Vec<String>>,
    /// Whether strangers may read it.
    pub public: bool,
    /// Whether it is archived: it can be read and not written.
    pub archived: bool,
}

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Whether files of workflows change.
    pub workflows: bool,
}

/// What signs commits where a base requires it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// The base requires no signature.
    NotRequired,
    /// The forge signs what it is asked to commit.
    Forge,
    /// The forge signs because the token is an app's.
    App,
    /// Nothing does; why, and what to do.
    Nothing(String, String),
    /// The forge is not asked.
    Unknown,
}

/// A commit on the forge, and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit's name.
    pub commit: String,
    /// The tree's name, where the forge tells it.
    pub tree: String,
}

/// A commit as far as its message and its parents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// Its message.
    pub message: String,
    /// Its parents; empty where the forge does not list them.
    pub parents: Vec<String>,
}

/// How a branch relates to its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The branch is missing.
    Absent,
    /// The branch exists at this head and has no commit in common with its base.
    Unrelated(String),
    /// The branch exists and has a merge base with its base.
    Related(Ahead),
}

impl Comparison {
    /// What the branch has ahead of its base, if both are related.
    pub fn related(self) -> Option<Ahead> {
        match self {
            Self::Related(ahead) => Some(ahead),
            Self::Absent | Self::Unrelated(_) => None,
        }
    }
}

/// What a branch has that its base has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The branch's head.
    pub head: String,
    /// The last commit that both have.
    pub merge_base: String,
    /// Commits on the branch that are not on the base, the oldest first.
    pub commits: Vec<Commit>,
    /// What the branch changed since then: path, and the name of the content; `None`: it is gone.
    pub changed: BTreeMap<String, Option<String>>,
}

/// A commit to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewCommit<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Its parent: the head of the base branch.
    pub parent: &'a Head,
    /// The base branch.
    pub base: &'a str,
    /// The whole message.
    pub message: &'a str,
    /// The files that change.
    pub files: &'a [NewFile],
    /// The pull request of the branch, if there is one.
    pub pull: Option<Carried<'a>>,
}

/// A pull request whose branch gets a new commit.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    /// As it was listed.
    pub pull: &'a Pull,
    /// The text that it has once the commit is there.
    pub body: &'a str,
}

/// A file of a commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Path from the top of the repository.
    pub path: String,
    /// The mode that it has and keeps.
    pub mode: String,
    /// The name of the content that it has.
    pub old: String,
    /// The name of the content that it gets.
    pub new: String,
    /// The content that it gets.
    pub content: Vec<u8>,
}

/// How a branch was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Was {
    /// Not there.
    Absent,
    /// At this commit, with nothing of its own.
    Behind(String),
    /// At this commit, with commits of its own that may go.
    Diverged(String),
}

/// What became of a commit.
#[derive(Debug, Clone)]
pub enum Published {
    /// The branch is at it.
    Done(String),
    /// Another process created or moved the branch meanwhile; nothing was written.
    Raced(String),
    /// The forge refused, for the reason in the error unless the branch turns out to have moved;
    /// nothing was written.
    Refused(Error),
    /// The answer was lost: the branch may be at it.
    Unsure(String),
    /// Another process moved the base branch meanwhile; nothing was written.
    BaseMoved,
    /// The branch is at a commit whose parent is another one than was asked for: the base branch
    /// moved at the last moment.
    OnMovedBase,
}

/// Whether a pull request may be merged as far as its author goes.
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
    /// Merged, by this commit where it is told.
    Merged(Option<String>),
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// The forge's own name of it in its other API; may be empty.
    pub node: String,
    /// Its title, without what marks a draft.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Open, closed, merged.
    pub state: PullState,
    /// Draft or ready.
    pub draft: State,
    /// The branch that it brings in.
    pub head: String,
    /// That branch's head, where it is told.
    pub head_commit: String,
    /// Whether that branch is in this repository, and not in a fork.
    pub own: bool,
    /// The branch that it goes to.
    pub base: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whether it can be merged as far as conflicts go.
    pub mergeable: Mergeable,
    /// Whether its branch is known to exist.
    pub head_exists: bool,
}

/// Whether a pull request can be merged as far as conflicts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mergeable {
    /// The forge states that there is no conflict.
    Yes,
    /// The forge states that there is no conflict, and that the branch must be brought up to date
    /// with its base first.
    Behind,
    /// The forge states a conflict.
    Conflict,
    /// Either a conflict, or a check for conflicts that has not ended: Gitea and Forgejo state both
    /// alike.
    ConflictOrChecking,
    /// The forge does not state it here.
    Unknown,
}

/// Which pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulls<'a> {
    /// All open ones.
    Open,
    /// Those closed or merged whose branch has this name.
    Closed(&'a str),
}

impl Pulls<'_> {
    /// Whether it is one of them: what a server filters, or ignores, is looked at again.
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
    /// The branch that it brings in.
    pub head: &'a str,
    /// The branch that it goes to.
    pub base: &'a str,
    /// Draft or ready.
    pub state: State,
}

/// What became of a pull request to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is open.
    New(Box<Pull>),
    /// There is one for this branch already.
    Exists(String),
    /// The forge does not know the branch yet, or sees nothing on it.
    NotYet(String),
    /// The answer was lost: it may be open.
    Unsure(String),
}

/// A change to a pull request or issue; `None`: as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit<'a> {
    /// The title, and whether it is a draft (some forges tell it by the title).
    pub title: Option<(&'a str, State)>,
    /// The text.
    pub body: Option<&'a str>,
    /// Open (`true`) or closed.
    pub open: Option<bool>,
}

impl Edit<'_> {
    /// The fields of the request, the same for all forges; `titled` tells how a title shows that it
    /// is a draft's.
    pub(super) fn fields(&self, titled: impl Fn(&str, State) -> String) -> serde_json::Value {
        let title = self
            .title
            .map(|(title, state)| ("title", titled(title, state)));
        let body = self.body.map(|text| ("body", text.to_owned()));
        let state = self
            .open
            .map(|open| ("state", if open { "open" } else { "closed" }.to_owned()));
        let fields = [title, body, state].into_iter().flatten();
        fields
            .map(|(name, value)| (name.to_owned(), serde_json::Value::from(value)))
            .collect()
    }
}

/// What became of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labelled {
    /// They are there.
    Done,
    /// The token may not do that; what the forge said.
    NotPermitted(String),
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its text.
    pub body: String,
}

/// What became of a pull request that is to be merged once its gates are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// The forge will merge it.
    Scheduled,
    /// It was merged at once.
    Merged,
    /// The base's merge queue will merge it: its position there, and the queue's word for its state.
    Queued(u64, String),
    /// Not yet; what it waits for.
    Later(String),
    /// There is nothing that the forge could wait for; what it said.
    Clean(String),
    /// The forge schedules no merge here, for this reason; it merges on request.
    Unscheduled(String),
    /// The forge said no; what it said.
    Refused(String),
}

/// Where a pull request is in the merge queue of its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queue {
    /// The base has no merge queue.
    Missing,
    /// The queue does not hold it.
    Outside,
    /// At this position, in this state.
    Waiting(u64, String),
    /// It was removed, and nothing was pushed since; the reason where the forge gives one.
    Removed(Option<String>),
}

/// A mark on the forge that can be made once.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// What is claimed; a name that git takes for a part of a reference.
    pub name: &'a str,
    /// The commit that it is about.
    pub commit: &'a str,
    /// The branch that the commit is on.
    pub base: &'a str,
    /// A word that nobody else has, by which a claim is known to be one's own.
    pub word: &'a str,
}

/// A pull request that was looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Nothing is new.
    Same,
    /// How it is now, and what to ask with next time.
    Now(Box<Pull>, Option<String>),
    /// There is no such pull request, or the token may not see it.
    Absent,
}

/// Whether a forge can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    /// It can.
    Yes,
    /// It cannot, for this reason.
    No(String),
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_hold_what_was_asked_for_whatever_the_server_sends() {
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
