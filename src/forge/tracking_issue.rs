//! One issue with an exact title: opened, updated, closed.
//!
//! repin writes only the section between two hidden lines; the text around it is preserved.

use super::{Edit, Forge, Issue, LabelOutcome, Transition};
use crate::error::{Class, Error};

/// The maximum number of attempts to open an issue.
const ATTEMPTS: u32 = 3;

const BEGIN: &str = "<!-- repin/1 freshness -->";
const END: &str = "<!-- /repin -->";

/// The desired state of the issue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IssueSpec<'a> {
    pub title: &'a str,
    /// The section of its text that repin writes.
    pub text: &'a str,
    /// The labels that a new issue gets.
    pub labels: &'a [String],
    pub action: IssueAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IssueAction {
    /// Updates the open issue, or opens a new one.
    Open,
    /// Updates the open issue, if one is open.
    Update,
    /// Closes every open issue of this title.
    Close,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssueChange {
    pub issue: Issue,
    /// `created`, `updated` or `closed`.
    pub change: &'static str,
    /// Minor problems, such as labels that were not added.
    pub warnings: Vec<String>,
}

/// Opens, updates or closes the issue; `None` if no issue is open and none is needed.
pub(crate) async fn apply(
    forge: &Forge,
    spec: &IssueSpec<'_>,
) -> Result<Option<IssueChange>, Error> {
    let open = open_issues(forge, spec.title).await?;
    let Some(first) = open.first() else {
        return match spec.action {
            IssueAction::Open => create(forge, spec).await.map(Some),
            IssueAction::Update | IssueAction::Close => Ok(None),
        };
    };
    let change = match spec.action {
        IssueAction::Close => {
            for issue in &open {
                update(forge, issue, spec.text, Some(Transition::Close)).await?;
            }
            "closed"
        }
        IssueAction::Open | IssueAction::Update => {
            update(forge, first, spec.text, None).await?;
            close_duplicates(forge, &open[1..]).await?;
            "updated"
        }
    };
    Ok(Some(IssueChange {
        issue: first.clone(),
        change,
        warnings: Vec::new(),
    }))
}

/// The open issues of this title, the oldest first.
async fn open_issues(forge: &Forge, title: &str) -> Result<Vec<Issue>, Error> {
    let mut open = forge.issues().await?;
    open.retain(|issue| issue.title == title);
    open.sort_by_key(|issue| issue.number);
    Ok(open)
}

async fn create(forge: &Forge, spec: &IssueSpec<'_>) -> Result<IssueChange, Error> {
    let body = with_section("", spec.text);
    let mut created = None;
    for attempt in 1..=ATTEMPTS {
        match forge.open_issue(spec.title, &body).await {
            Ok(issue) => created = Some(issue),
            // The issue may be open: the listing shows it.
            Err(error) if error.class == Class::Unavailable && attempt < ATTEMPTS => {
                forge.back_off(attempt).await;
            }
            Err(error) => return Err(error),
        }
        // Another process may have opened an issue concurrently: the oldest stays.
        let open = open_issues(forge, spec.title).await?;
        let Some(issue) = open.first().or(created.as_ref()) else {
            continue;
        };
        close_duplicates(forge, open.get(1..).unwrap_or_default()).await?;
        let mut warnings = Vec::new();
        if !spec.labels.is_empty() {
            match forge.add_labels(issue.number, spec.labels).await {
                Ok(LabelOutcome::Done) => {}
                Ok(LabelOutcome::NotPermitted(message)) => {
                    warnings.push(format!("cannot add the labels: {message}"));
                }
                Err(error) => warnings.push(format!("cannot add the labels: {error}")),
            }
        }
        return Ok(IssueChange {
            issue: issue.clone(),
            change: "created",
            warnings,
        });
    }
    let what = format!("{}: opening the issue `{}`", forge.name(), spec.title);
    Err(Error::unavailable(
        what,
        "the issue is missing although it was opened",
    ))
}

/// Closes the issues that other runs opened concurrently. An issue without repin's section was opened
/// by a user and stays.
async fn close_duplicates(forge: &Forge, others: &[Issue]) -> Result<(), Error> {
    for issue in others.iter().filter(|issue| issue.body.contains(BEGIN)) {
        let edit = Edit::transition(Transition::Close);
        forge.edit_issue(issue.number, &edit).await?;
    }
    Ok(())
}

async fn update(
    forge: &Forge,
    issue: &Issue,
    text: &str,
    transition: Option<Transition>,
) -> Result<(), Error> {
    let edit = Edit {
        body: Some(&with_section(&issue.body, text)),
        transition,
        ..Edit::default()
    };
    forge.edit_issue(issue.number, &edit).await
}

/// `body` with `text` in repin's section, which is added at the end if it is missing.
fn with_section(body: &str, text: &str) -> String {
    let section = format!("{BEGIN}\n{}\n{END}", text.trim_end());
    if let Some((before, rest)) = body.split_once(BEGIN)
        && let Some((_, after)) = rest.split_once(END)
    {
        return format!("{before}{section}{after}");
    }
    if body.trim().is_empty() {
        return section + "\n";
    }
    format!("{}\n\n{section}\n", body.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_the_section_is_preserved() {
        let first = with_section("", "one");
        assert_eq!(first, format!("{BEGIN}\none\n{END}\n"));
        let noted = format!("see also #3\r\n{first}my notes");
        assert_eq!(with_section(&noted, "two\n"), noted.replace("one", "two"));
        assert_eq!(
            with_section("a person's", "one"),
            format!("a person's\n\n{BEGIN}\none\n{END}\n")
        );
        let cut = format!("{BEGIN}\none");
        assert!(with_section(&cut, "two").ends_with(&format!("{BEGIN}\ntwo\n{END}\n")));
    }
}
