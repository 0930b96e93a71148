//! Title and text of the pull request from one long-lived branch into another.
//!
//! The step summaries of the commands about pull requests: `branch`, `gates` and `wait`.

use std::fmt::Write as _;

use super::json::{BranchDocument, GatesDocument, WaitDocument};
use crate::{
    app::pull_request::branches::BranchPair,
    base::untrusted::markdown::{autolink, code, inline, link},
    config::SetPath,
    forge::{Gate, GateState, Words},
};

/// The number of commits or gates that the text lists.
const LISTED: usize = 50;

pub(crate) fn title(between: BranchPair<'_>) -> String {
    format!("promote: {} into {}", between.from, between.to)
}

/// The step summary of a run: its result, the commit and the pull request.
pub(crate) fn summary(document: &BranchDocument, conclusion: &str) -> String {
    let mut text = format!(
        "### branch {}: {} → {}\n\n**{}**: {}\n",
        document.action,
        code(&document.from),
        code(&document.to),
        document.state,
        inline(conclusion)
    );
    if let Some(commit) = &document.commit {
        let _ = writeln!(text, "\n- commit {}", code(commit));
    }
    if let Some(pull) = &document.pull_request {
        let _ = writeln!(
            text,
            "\n- {} {}",
            Words::for_page(&pull.url).pull_request,
            link(&pull.number.to_string(), &pull.url)
        );
    }
    text
}

/// The step summary of `gates`: a row for each required status.
pub(crate) fn gates_summary(document: &GatesDocument) -> String {
    let mut text = format!(
        "### Gates of {}\n\n**{}**, at commit {}\n\n| gate | state | detail |\n| --- | --- | --- |\n",
        code(&document.r#ref),
        document.state.unwrap_or_default(),
        code(document.commit.as_deref().unwrap_or_default()),
    );
    for gate in &document.gates {
        let mut details = Vec::new();
        details.extend(gate.url.as_deref().map(|url| link("details", url)));
        details.extend(gate.detail.map(inline));
        let (context, details) = (code(&gate.context), details.join(", "));
        let _ = writeln!(text, "| {context} | {} | {details} |", gate.state);
    }
    text
}

/// The step summary of `wait`: the state of the pull request, its commit, and the started workflows.
pub(crate) fn wait_summary(document: &WaitDocument, words: Words) -> String {
    let heading = wait_heading(document.number, words);
    let state = document.state.unwrap_or("unknown");
    let mut text = format!("### {heading}\n\n**{state}**");
    if let Some(commit) = &document.merge_commit {
        let _ = write!(text, " as {}", code(commit));
    }
    text.push('\n');
    for workflow in &document.dispatched {
        let _ = writeln!(text, "\n- started {}", code(workflow));
    }
    text
}

/// The outcome of a wait for the pull request with this mark, as text.
pub(crate) fn wait_lines(document: &WaitDocument, mark: &str) -> String {
    let Some(state) = document.state else {
        return String::new();
    };
    let commit = match &document.merge_commit {
        Some(commit) => format!(" as {commit}"),
        None => String::new(),
    };
    let mut text = format!("{mark} {state}{commit}\n");
    for workflow in &document.dispatched {
        let _ = writeln!(text, "started {workflow}");
    }
    text
}

/// The heading of the summary of a wait: `Pull request 5`, or on GitLab `Merge request 5`.
pub(crate) fn wait_heading(number: u64, words: Words) -> String {
    let (first, rest) = words.pull_request.split_at(1);
    format!("{}{rest} {number}", first.to_uppercase())
}

/// The text of the pull request: the commits, the gates that have not passed, and the marker. `subjects`
/// start with the oldest commit.
pub(crate) fn body(
    between: BranchPair<'_>,
    subjects: &[String],
    gates: &[Gate],
    set: &SetPath,
    words: Words,
) -> String {
    let pull_request = words.pull_request;
    let count = if subjects.len() == 1 {
        "1 commit".to_owned()
    } else {
        format!("{} commits", subjects.len())
    };
    let mut text = format!(
        "Merges {} into {}, {count}:\n\n",
        code(between.from),
        code(between.to)
    );
    for subject in subjects.iter().rev().take(LISTED) {
        let subject: String = subject.chars().take(200).collect();
        let _ = writeln!(text, "- {}", code(&subject));
    }
    if subjects.len() > LISTED {
        let _ = writeln!(text, "- … and {} older ones", subjects.len() - LISTED);
    }
    let pending: Vec<&Gate> = gates
        .iter()
        .filter(|gate| gate.state != GateState::Pass)
        .collect();
    if !pending.is_empty() {
        let _ = writeln!(
            text,
            "\nGates that had not passed when this {pull_request} was opened:\n"
        );
    }
    for gate in pending.iter().take(LISTED) {
        let context: String = gate.context.chars().take(200).collect();
        let _ = write!(text, "- {}: {}", code(&context), gate.state.as_str());
        let _ = match (gate.expiry(), &gate.url) {
            (Some(expiry), _) => writeln!(text, ", {expiry}"),
            (None, Some(url)) => writeln!(text, ", {}", autolink(url)),
            (None, None) => writeln!(text),
        };
    }
    if pending.len() > LISTED {
        let _ = writeln!(text, "- … and {} more", pending.len() - LISTED);
    }
    if gates.iter().any(|gate| gate.state == GateState::Fail) {
        let _ = writeln!(
            text,
            "\nA gate failed, and `--allow-failed-gates` opened this {pull_request} anyway; its merge was not requested."
        );
    }
    let _ = write!(text, "\n{}\n", between.marker(set));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::report::json::{GateRow, PullRequest};

    #[test]
    fn summaries_are_escaped() {
        let branch = BranchDocument {
            schema: "",
            action: "sync",
            from: "a`b".to_owned(),
            to: "main".to_owned(),
            state: "conflict",
            pull_request: Some(PullRequest::new(7, "https://x.example/7", "created")),
            commit: Some("abc".to_owned()),
            wait: None,
        };
        insta::assert_snapshot!(summary(&branch, "the <branches> conflict"), @r"
        ### branch sync: `` a`b `` → `main`

        **conflict**: the \<branches\> conflict

        - commit `abc`

        - pull request [7](https://x.example/7)
        ");
        let gate = |context: &str, url: Option<&str>, detail| GateRow {
            context: context.to_owned(),
            state: "pending",
            url: url.map(str::to_owned),
            detail,
        };
        let gates = GatesDocument {
            schema: "",
            r#ref: "main".to_owned(),
            commit: Some("abc".to_owned()),
            state: Some("pending"),
            gates: vec![
                gate("ci | <b>", Some("https://x.example/1"), None),
                gate("lint", Some("javascript:x"), Some("may have expired")),
            ],
        };
        insta::assert_snapshot!(gates_summary(&gates), @r"
        ### Gates of `main`

        **pending**, at commit `abc`

        | gate | state | detail |
        | --- | --- | --- |
        | `ci \| <b>` | pending | [details](https://x.example/1) |
        | `lint` | pending | details, may have expired |
        ");
        let waited = WaitDocument {
            schema: "",
            number: 7,
            state: Some("merged"),
            merge_commit: Some("abc".to_owned()),
            dispatched: vec!["deploy.yml".to_owned()],
        };
        let words = Words::for_page("https://git.example/a/b/pull/7");
        insta::assert_snapshot!(wait_summary(&waited, words), @r"
        ### Pull request 7

        **merged** as `abc`

        - started `deploy.yml`
        ");
        let words = Words::for_page("https://git.example/a/b/-/merge_requests/7");
        let summary = wait_summary(&waited, words);
        assert!(summary.starts_with("### Merge request 7\n"), "{summary}");
    }

    #[test]
    fn text_lists_commits_and_gates_without_markup() {
        let words = Words::for_page("https://git.example/a/b/pull/7");
        let subjects = ["first", "a `b` @team #12 <b>", ""].map(str::to_owned);
        let text = body(
            BranchPair {
                from: "staging",
                to: "main",
            },
            &subjects,
            &[],
            &SetPath::top(),
            words,
        );
        insta::assert_snapshot!(text, @r"
        Merges `staging` into `main`, 3 commits:

        - (empty)
        - `` a `b` @team #12 <b> ``
        - `first`

        <!-- repin/2 kind=branch set=repin.yaml revision=staging -->
        ");
        let between = BranchPair { from: "a", to: "b" };
        let gate = |context: &str, state| Gate {
            context: context.to_owned(),
            state,
            url: None,
            expired: false,
        };
        let expired = Gate {
            expired: true,
            ..gate("lint", GateState::Absent)
        };
        let gates = [
            gate("ci `x` @team", GateState::Pending),
            expired,
            gate("build", GateState::Pass),
        ];
        insta::assert_snapshot!(body(between, &["first".to_owned()], &gates, &SetPath::top(), words), @r"
        Merges `a` into `b`, 1 commit:

        - `first`

        Gates that had not passed when this pull request was opened:

        - `` ci `x` @team ``: pending
        - `lint`: absent, may have expired: the commit is older than 90 days

        <!-- repin/2 kind=branch set=repin.yaml revision=a -->
        ");
        let failed = Gate {
            url: Some("https://ci.example/<1>".to_owned()),
            ..gate("ci", GateState::Fail)
        };
        let text = body(
            between,
            &["first".to_owned()],
            &[failed],
            &SetPath::top(),
            words,
        );
        insta::assert_snapshot!(text, @r"
        Merges `a` into `b`, 1 commit:

        - `first`

        Gates that had not passed when this pull request was opened:

        - `ci`: fail, <https://ci.example/%3C1%3E>

        A gate failed, and `--allow-failed-gates` opened this pull request anyway; its merge was not requested.

        <!-- repin/2 kind=branch set=repin.yaml revision=a -->
        ");
        let gates = vec![gate(&"x".repeat(900), GateState::Pending); 900];
        assert!(
            body(
                between,
                &vec!["x".repeat(900); 900],
                &gates,
                &SetPath::top(),
                words
            )
            .len()
                < 60_000
        );
    }
}
