//! Pull requests, their comments, and the outcomes of opening, editing and polling them.
//!
//! The outcomes of merging: scheduled, immediate, or through a merge queue.
//!
//! Issues, and the claims by which exactly one run of repin starts a workflow.

use serde_json::{Map, Value};

use super::Words;
use crate::base::text::words;

/// Whether the author considers a pull request ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Draft,
    Ready,
}

/// The beginnings of titles by which a forge recognizes drafts, without regard to case. repin writes the first one.
#[derive(Debug, Clone, Copy)]
pub(super) struct DraftPrefixes(pub &'static [&'static str]);

impl DraftPrefixes {
    /// Splits a title into the text after the prefix of a draft, and the state.
    pub(super) fn split(self, title: &str) -> (&str, Readiness) {
        for prefix in self.0 {
            if let Some((start, rest)) = title.split_at_checked(prefix.len())
                && start.eq_ignore_ascii_case(prefix)
            {
                return (rest.trim_start(), Readiness::Draft);
            }
        }
        (title, Readiness::Ready)
    }

    /// The title of a draft or of a ready pull request.
    pub(super) fn title(self, title: &str, state: Readiness) -> String {
        match state {
            Readiness::Draft => format!("{} {title}", self.0[0]),
            Readiness::Ready => title.to_owned(),
        }
    }
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
    /// Its id in GraphQL; empty on other forges than GitHub.
    pub node: String,
    /// Its title, without the prefix of a draft.
    pub title: String,
    pub body: String,
    pub state: PullState,
    /// The account that merged it, if the forge reports it here: listings do not.
    pub merged_by: Option<Merger>,
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
    /// source branch last changed, on GitLab, Gitea and Forgejo when it was read.
    pub base_commit: String,
    pub labels: Vec<String>,
    pub mergeable: Mergeable,
    /// The forge's reason for which it cannot be merged yet; only GitLab reports one.
    pub merge_delay: Option<String>,
    /// Whether its branch is known to exist.
    pub head_exists: bool,
}

/// The account that merged a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merger {
    pub login: String,
    /// Whether it is the account of workflow runs: a merge with the token of a run starts no workflow.
    pub is_workflow_run: bool,
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
    /// The forge is still checking it, which may never end on GitLab.
    Checking,
    /// The forge does not report it here.
    Unknown,
}

/// A filter for pull requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulls<'a> {
    Open,
    /// Open, with a source branch of this name.
    OpenFrom(&'a str),
    /// Closed or merged, with a source branch of this name.
    Closed(&'a str),
}

impl Pull {
    /// `pull request #5`, or on GitLab `merge request !5`.
    pub(crate) fn name(&self) -> String {
        Words::for_page(&self.url).name(self.number)
    }

    /// `#5`, or on GitLab `!5`.
    pub(crate) fn mark(&self) -> String {
        Words::for_page(&self.url).mark(self.number)
    }

    /// Whether the labels must be added. A person may have removed one from an older pull request, and it is not restored: an
    /// interrupted run has added all of them or none.
    pub(crate) fn lacks_labels(&self, labels: &[String], is_new: bool) -> bool {
        let has = |label: &String| self.labels.contains(label);
        if is_new {
            !labels.iter().all(has)
        } else {
            !labels.is_empty() && !labels.iter().any(has)
        }
    }
}

impl Pulls<'_> {
    /// Whether the pull request matches; servers may ignore a filter.
    pub(super) fn matches(self, pull: &Pull) -> bool {
        match self {
            Self::Open => pull.state == PullState::Open,
            Self::OpenFrom(head) => pull.state == PullState::Open && pull.head == head && pull.own,
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
    /// Its labels, on GitLab: there, they belong to the variables of the first pipeline. The other forges get them later.
    pub labels: &'a [String],
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
    /// The title and the draft state (GitLab, Gitea and Forgejo mark drafts in the title).
    pub title: Option<(&'a str, Readiness)>,
    pub body: Option<&'a str>,
    pub transition: Option<Transition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Close,
    Reopen,
}

/// The words of an API for an [`Edit`].
#[derive(Debug)]
pub(super) struct EditNames {
    pub body: &'static str,
    pub transition: &'static str,
    pub close: &'static str,
    pub reopen: &'static str,
}

impl EditNames {
    /// The names on GitHub, Gitea and Forgejo.
    pub(super) const STATE: Self = Self {
        body: "body",
        transition: "state",
        close: "closed",
        reopen: "open",
    };

    /// The names on GitLab.
    pub(super) const EVENT: Self = Self {
        body: "description",
        transition: "state_event",
        close: "close",
        reopen: "reopen",
    };
}

impl Edit<'_> {
    /// An edit that only closes or reopens.
    pub(super) fn transition(transition: Transition) -> Self {
        Self {
            transition: Some(transition),
            ..Self::default()
        }
    }

    /// The body of the request. `spell`: the title of a draft or of a ready pull request.
    pub(super) fn request_body(
        &self,
        names: &EditNames,
        spell: impl Fn(&str, Readiness) -> String,
    ) -> Value {
        let mut fields = Map::new();
        if let Some((title, state)) = self.title {
            fields.insert("title".to_owned(), spell(title, state).into());
        }
        if let Some(body) = self.body {
            fields.insert(names.body.to_owned(), body.into());
        }
        let state = match self.transition {
            Some(Transition::Close) => names.close,
            Some(Transition::Reopen) => names.reopen,
            None => return Value::Object(fields),
        };
        fields.insert(names.transition.to_owned(), state.into());
        Value::Object(fields)
    }
}

/// The subject of labels and comments. GitLab numbers pull requests and issues separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Pull(u64),
    Issue(u64),
}

impl Item {
    /// The number, on a forge with one sequence of numbers.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Pull(number) | Self::Issue(number) => number,
        }
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

words! {
    /// How a pull request is merged.
    pub enum MergeMethod {
        /// The first method that the base and the repository allow.
        Auto = "auto",
        Merge = "merge",
        Squash = "squash",
        Rebase = "rebase",
    }
}

/// The outcome of a request to merge a pull request once its gates pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The forge will merge the pull request.
    Scheduled,
    /// It is scheduled although every required status passed: the forge refuses to merge it now,
    /// for this reason, and checks its state when a status or a review arrives.
    Held(String),
    Merged,
    /// The merge queue of the base will merge it: its position there, and the queue's word for its
    /// state.
    Queued(u64, String),
    /// Not yet, for this reason.
    Later(String),
    /// No check is pending on the forge; its message.
    Clean(String),
    /// The forge schedules no merge here, for this reason; it merges on request.
    Unscheduled(String),
    /// The forge refused; its message.
    Refused(String),
}

impl Merge {
    /// Whether the forge merged the pull request, or will.
    pub(crate) fn is_scheduled(&self) -> bool {
        match self {
            Self::Scheduled | Self::Held(_) | Self::Merged | Self::Queued(..) => true,
            Self::Later(_) | Self::Clean(_) | Self::Unscheduled(_) | Self::Refused(_) => false,
        }
    }
}

/// The position of a pull request in the merge queue of its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Queue {
    /// The base has no merge queue.
    Missing,
    /// The pull request is not in the queue.
    Outside,
    /// It is neither in the queue nor scheduled to enter it. GitLab reports no removal: if it was in the queue, it was
    /// removed.
    Unscheduled,
    /// At this position, in this state.
    Waiting(u64, String),
    /// The forge reports that it was removed after the last push; the reason, if the forge reports one.
    Removed(Option<String>),
}

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
pub(crate) struct RunMark<'a> {
    /// Its name, which git accepts as a part of a reference.
    pub name: &'a str,
    /// The commit that it is about.
    pub commit: &'a str,
    /// The branch of that commit.
    pub base: &'a str,
    /// A word unique to this run, which identifies its claim.
    pub word: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_mark_drafts() {
        let gitea = DraftPrefixes(&["WIP:", "[WIP]"]);
        let gitlab = DraftPrefixes(&["Draft:", "[Draft]", "(Draft)", "Draft -"]);
        for (prefixes, title, without_prefix, state) in [
            (gitea, "WIP: promote: x", "promote: x", Readiness::Draft),
            (gitea, "wip:promote", "promote", Readiness::Draft),
            (gitea, "[WIP] promote", "promote", Readiness::Draft),
            (
                gitea,
                "promote: WIP: x",
                "promote: WIP: x",
                Readiness::Ready,
            ),
            (gitea, "é", "é", Readiness::Ready),
            (gitlab, "Draft: promote: x", "promote: x", Readiness::Draft),
            (gitlab, "draft:promote", "promote", Readiness::Draft),
            (gitlab, "[Draft] promote", "promote", Readiness::Draft),
            (gitlab, "(DRAFT) promote", "promote", Readiness::Draft),
            (
                gitlab,
                "promote: Draft: x",
                "promote: Draft: x",
                Readiness::Ready,
            ),
            (gitlab, "é", "é", Readiness::Ready),
        ] {
            assert_eq!(prefixes.split(title), (without_prefix, state), "{title}");
        }
        for prefixes in [gitea, gitlab] {
            let draft = prefixes.title("a", Readiness::Draft);
            assert_eq!(prefixes.split(&draft), ("a", Readiness::Draft));
        }
    }

    #[test]
    fn filter_does_not_depend_on_the_server() {
        let pull = |head: &str, state, own| Pull {
            number: 1,
            url: String::new(),
            node: String::new(),
            title: String::new(),
            body: String::new(),
            state,
            merged_by: None,
            readiness: Readiness::Ready,
            head: head.to_owned(),
            head_commit: String::new(),
            own,
            base: "main".to_owned(),
            base_commit: String::new(),
            labels: Vec::new(),
            mergeable: Mergeable::Unknown,
            merge_delay: None,
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
