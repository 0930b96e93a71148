//! One issue with an exact title: opened, updated, closed.
//!
//! repin writes only the section between two hidden lines; the text around it is preserved.

use super::{Edit, Forge, Issue, Item, LabelOutcome, Transition};
use crate::base::error::{Class, Error};

/// The maximum number of attempts to open an issue.
const ATTEMPTS: u32 = 3;

const END: &str = "<!-- /repin -->";

/// The desired state of the issue.
#[derive(Clone, Copy)]
pub(crate) struct IssueSpec<'a> {
    /// The name of the section of the issue's text that repin writes.
    pub section: &'static str,
    pub title: &'a str,
    /// Returns the section, given the section of the open issue; empty without one.
    pub text: &'a dyn Fn(&str) -> String,
    /// The labels that a new issue gets.
    pub labels: &'a [String],
    pub action: IssueAction,
    /// The comment that is added before the issue is closed.
    pub closing_comment: Option<&'a str>,
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
                if let Some(comment) = spec.closing_comment {
                    forge
                        .add_comment(Item::Issue(issue.number), comment)
                        .await?;
                }
                update(forge, issue, spec, Some(Transition::Close)).await?;
            }
            "closed"
        }
        IssueAction::Open | IssueAction::Update => {
            update(forge, first, spec, None).await?;
            close_duplicates(forge, &open[1..], spec).await?;
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
    let body = with_section("", spec);
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
        close_duplicates(forge, open.get(1..).unwrap_or_default(), spec).await?;
        let mut warnings = Vec::new();
        if !spec.labels.is_empty() {
            let item = Item::Issue(issue.number);
            match forge.add_labels(item, spec.labels).await {
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
async fn close_duplicates(
    forge: &Forge,
    others: &[Issue],
    spec: &IssueSpec<'_>,
) -> Result<(), Error> {
    let begin = begin(spec);
    for issue in others.iter().filter(|issue| issue.body.contains(&begin)) {
        let edit = Edit::transition(Transition::Close);
        forge.edit_issue(issue.number, &edit).await?;
    }
    Ok(())
}

async fn update(
    forge: &Forge,
    issue: &Issue,
    spec: &IssueSpec<'_>,
    transition: Option<Transition>,
) -> Result<(), Error> {
    let edit = Edit {
        body: Some(&with_section(&issue.body, spec)),
        transition,
        ..Edit::default()
    };
    forge.edit_issue(issue.number, &edit).await
}

/// The hidden line before repin's section.
fn begin(spec: &IssueSpec<'_>) -> String {
    format!("<!-- repin/1 {} -->", spec.section)
}

/// `body` with a new section of repin, which is added at the end if it is missing.
fn with_section(body: &str, spec: &IssueSpec<'_>) -> String {
    let begin = begin(spec);
    let section = |before: &str| {
        let text = (spec.text)(before);
        format!("{begin}\n{}\n{END}", text.trim_end())
    };
    if let Some((before, rest)) = body.split_once(&begin)
        && let Some((old, after)) = rest.split_once(END)
    {
        return format!("{before}{}{after}", section(old));
    }
    let section = section("");
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
        const BEGIN: &str = "<!-- repin/1 freshness -->";
        let with_section = |body: &str, text: &str| {
            let spec = IssueSpec {
                section: "freshness",
                title: "",
                text: &|_| text.to_owned(),
                labels: &[],
                action: IssueAction::Open,
                closing_comment: None,
            };
            super::with_section(body, &spec)
        };
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

    #[test]
    fn next_section_is_made_of_the_last_one() {
        let append = |before: &str| format!("{}x", before.trim());
        let spec = IssueSpec {
            section: "rehearse",
            title: "",
            text: &append,
            labels: &[],
            action: IssueAction::Update,
            closing_comment: None,
        };
        let first = with_section("notes", &spec);
        assert!(first.contains("<!-- repin/1 rehearse -->\nx\n"), "{first}");
        let second = with_section(&first, &spec);
        assert!(
            second.starts_with("notes\n") && second.contains("-->\nxx\n<!--"),
            "{second}"
        );
    }
}
