//! One issue, found by its exact title among the open ones: opened, kept up to date, closed.
//!
//! Only a part of its text is repin's, between two hidden lines; what people write around it stays.

use super::{Edit, Forge, Issue, Issues, LabelOutcome, Transition};
use crate::error::{Class, Error};

/// How often repin reads whether an issue exists whose creation is uncertain.
const ROUNDS: u32 = 3;

const BEGIN: &str = "<!-- repin/1 freshness -->";
const END: &str = "<!-- /repin -->";

/// The issue that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct IssueSpec<'a> {
    /// Its exact title.
    pub title: &'a str,
    /// Repin's part of its text.
    pub text: &'a str,
    /// Its labels, put on when it is opened.
    pub labels: &'a [String],
    /// What is to become of it.
    pub fate: IssueAction,
}

/// What is to become of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueAction {
    /// One must be open.
    Open,
    /// An open one is updated.
    Keep,
    /// None may be open.
    Close,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueChange {
    /// The issue.
    pub issue: Issue,
    /// `created`, `updated` or `closed`.
    pub change: &'static str,
    /// What did not work and does not matter much.
    pub warnings: Vec<String>,
}

/// Opens, updates or closes the issue; `None`: none is open, and none is wanted.
pub async fn keep(forge: &dyn Forge, wanted: &IssueSpec<'_>) -> Result<Option<IssueChange>, Error> {
    let open = named(forge, wanted.title).await?;
    let warnings = Vec::new();
    match (wanted.fate, open.first().cloned()) {
        (IssueAction::Close, Some(first)) => {
            for issue in &open {
                change(forge, issue, wanted.text, Some(Transition::Close)).await?;
            }
            Ok(Some(IssueChange {
                issue: first,
                change: "closed",
                warnings,
            }))
        }
        (IssueAction::Open | IssueAction::Keep, Some(first)) => {
            change(forge, &first, wanted.text, None).await?;
            close_twins(forge, &open[1..]).await?;
            Ok(Some(IssueChange {
                issue: first,
                change: "updated",
                warnings,
            }))
        }
        (IssueAction::Open, None) => create(forge, wanted).await.map(Some),
        (IssueAction::Keep | IssueAction::Close, None) => Ok(None),
    }
}

/// The open ones of this title, the oldest first.
async fn named(forge: &dyn Issues, title: &str) -> Result<Vec<Issue>, Error> {
    let mut open = forge.issues().await?;
    open.retain(|issue| issue.title == title);
    open.sort_by_key(|issue| issue.number);
    Ok(open)
}

async fn create(forge: &dyn Forge, wanted: &IssueSpec<'_>) -> Result<IssueChange, Error> {
    let body = within("", wanted.text);
    let mut made = None;
    for round in 1..=ROUNDS {
        match forge.open_issue(wanted.title, &body).await {
            Ok(issue) => made = Some(issue),
            // Whether it was opened is uncertain, so the listing decides.
            Err(error) if error.class == Class::Unavailable && round < ROUNDS => {
                forge.back_off(round).await;
            }
            Err(error) => return Err(error),
        }
        // Another process may have opened one concurrently: the oldest stays.
        let open = named(forge, wanted.title).await?;
        let Some(issue) = open.first().cloned().or_else(|| made.clone()) else {
            continue;
        };
        close_twins(forge, open.get(1..).unwrap_or_default()).await?;
        let mut warnings = Vec::new();
        if !wanted.labels.is_empty() {
            match forge.label(issue.number, wanted.labels).await {
                Ok(LabelOutcome::Done) => {}
                Ok(LabelOutcome::NotPermitted(message)) => {
                    warnings.push(format!("cannot add the labels: {message}"));
                }
                Err(error) => warnings.push(format!("cannot add the labels: {error}")),
            }
        }
        return Ok(IssueChange {
            issue,
            change: "created",
            warnings,
        });
    }
    let what = format!("{}: opening the issue `{}`", forge.name(), wanted.title);
    Err(Error::unavailable(
        what,
        "the issue is missing although it was opened",
    ))
}

/// Closes those that a run opened at the same time as another; what a person opened is left alone.
async fn close_twins(forge: &dyn Issues, others: &[Issue]) -> Result<(), Error> {
    for issue in others.iter().filter(|issue| issue.body.contains(BEGIN)) {
        forge
            .edit_issue(
                issue.number,
                &Edit {
                    transition: Some(Transition::Close),
                    ..Edit::default()
                },
            )
            .await?;
    }
    Ok(())
}

async fn change(
    forge: &dyn Issues,
    issue: &Issue,
    text: &str,
    transition: Option<Transition>,
) -> Result<(), Error> {
    let body = within(&issue.body, text);
    forge
        .edit_issue(
            issue.number,
            &Edit {
                body: Some(&body),
                transition,
                ..Edit::default()
            },
        )
        .await
}

/// `body` with `text` in repin's part; without one, it is added at the end.
fn within(body: &str, text: &str) -> String {
    let part = format!("{BEGIN}\n{}\n{END}", text.trim_end());
    let place = body
        .find(BEGIN)
        .and_then(|begin| Some((begin, begin + body[begin..].find(END)? + END.len())));
    match place {
        Some((begin, end)) => format!("{}{part}{}", &body[..begin], &body[end..]),
        None if body.trim().is_empty() => part + "\n",
        None => format!("{}\n\n{part}\n", body.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_the_section_is_preserved() {
        let first = within("", "one");
        assert_eq!(first, format!("{BEGIN}\none\n{END}\n"));
        let noted = format!("see also #3\r\n{first}my notes");
        assert_eq!(within(&noted, "two\n"), noted.replace("one", "two"));
        assert_eq!(
            within("a person's", "one"),
            format!("a person's\n\n{BEGIN}\none\n{END}\n")
        );
        let cut = format!("{BEGIN}\none");
        assert!(within(&cut, "two").ends_with(&format!("{BEGIN}\ntwo\n{END}\n")));
    }
}
