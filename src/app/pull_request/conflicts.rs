//! Determines the files that a pull request and its base have both changed, for forges that do not list
//! conflicts.

use crate::{
    base::error::Error,
    forge::{Forge, Head, Pull},
};

/// The files that the branch and its base have changed differently since their merge base. A text merge
/// may succeed for some of them, so a listed file is a likely conflict; an empty list means no conflict.
pub(super) async fn changed_on_both_sides(
    forge: &Forge,
    pull: &Pull,
) -> Result<Vec<String>, Error> {
    let Some(base) = forge.branch(&pull.base).await? else {
        return Ok(Vec::new());
    };
    let ahead = forge
        .ahead(&pull.base, &base, &pull.head, false)
        .await?
        .related();
    let Some(ahead) = ahead else {
        return Ok(Vec::new());
    };
    let origin = Head::of_commit(&ahead.merge_base);
    let (origin, base) = (forge.tree(&origin).await?, forge.tree(&base).await?);
    let both = ahead.changed.into_iter().filter(|(path, theirs)| {
        let now = base.entries.get(path).map(|entry| &entry.id);
        now != origin.entries.get(path).map(|entry| &entry.id) && now != theirs.as_ref()
    });
    Ok(both.map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        app::pull_request::tests::Commits,
        forge::{Mergeable, PullState, Readiness},
    };

    #[tokio::test]
    async fn equal_or_one_sided_changes_do_not_conflict() {
        let mut commits = Commits::default()
            .with(
                "m0",
                &[
                    ("a", "1"),
                    ("both", "1"),
                    ("base", "1"),
                    ("ours", "1"),
                    ("deleted", "1"),
                ],
            )
            .with(
                "b1",
                &[("a", "2"), ("both", "2"), ("base", "2"), ("ours", "1")],
            )
            .with(
                "c1",
                &[("a", "3"), ("both", "2"), ("base", "1"), ("ours", "2")],
            );
        for (branch, head) in [("main", "b1"), ("auto/promote", "c1")] {
            commits.branches.insert(branch.to_owned(), head.to_owned());
        }
        commits.comparison = json!({
            "total_commits": 1,
            "commits": [{"sha": "c1", "commit": {"message": ""}, "parents": [{"sha": "m0"}]}],
        });
        let pull = Pull {
            number: 1,
            url: String::new(),
            node: String::new(),
            title: String::new(),
            body: String::new(),
            state: PullState::Open,
            readiness: Readiness::Ready,
            head: "auto/promote".to_owned(),
            head_commit: "c1".to_owned(),
            own: true,
            base: "main".to_owned(),
            base_commit: String::new(),
            labels: Vec::new(),
            mergeable: Mergeable::Conflict,
            head_exists: true,
        };
        let changed = changed_on_both_sides(&commits.serve().forge, &pull).await;
        assert_eq!(changed.unwrap(), ["a"]);
        // A base that has not moved conflicts with nothing.
        commits.branches.insert("main".to_owned(), "m0".to_owned());
        let changed = changed_on_both_sides(&commits.serve().forge, &pull).await;
        assert_eq!(changed.unwrap(), [] as [&str; 0]);
    }
}
