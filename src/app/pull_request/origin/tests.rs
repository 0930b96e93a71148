use super::*;
use crate::{app::pull_request::tests::Commits, git::blob_id};

impl Commits {
    /// The first foreign commit of a branch, and the reason.
    async fn judge(
        &self,
        commits: &[AheadCommit],
        only_pins: OnlyPins<'_>,
    ) -> Option<(String, String)> {
        let repository = self.serve().await;
        let id = |name: &String| repository.ids[name].clone();
        let commits: Vec<_> = commits
            .iter()
            .map(|commit| AheadCommit {
                id: id(&commit.id),
                message: commit.message.clone(),
                parents: commit.parents.iter().map(id).collect(),
            })
            .collect();
        let planned = blob_id(b"x@2", "");
        let ahead = AheadCommits {
            head: commits.last().unwrap().id.clone(),
            merge_base: repository.ids["m0"].clone(),
            commits,
            changed: BTreeMap::from([(
                "a".to_owned(),
                Some(TreeEntry {
                    mode: "100644".to_owned(),
                    id: planned.clone(),
                }),
            )]),
        };
        let expected = |path: &str, id: &str| (path, id) == ("a", planned.as_str());
        let found = foreign(&repository.content, &ahead, &expected, only_pins)
            .await
            .unwrap();
        let name = |id: String| {
            let mut names = repository.ids.iter();
            names.find(|(_, other)| **other == id).unwrap().0.clone()
        };
        found.map(|foreign| (name(foreign.id), foreign.reason))
    }

    async fn foreign(&self, commits: &[AheadCommit]) -> Option<(String, String)> {
        self.judge(commits, &digits).await
    }
}

/// Whether texts differ only in the digits after `@`.
fn digits(_: &str, old: &[u8], new: &[u8]) -> bool {
    let without = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.replace("@1", "@")
            .replace("@2", "@")
            .replace("@3", "@")
    };
    without(old) == without(new)
}

fn commit(id: &str, message: &str, parents: &[&str]) -> AheadCommit {
    AheadCommit {
        id: id.to_owned(),
        message: message.to_owned(),
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
    }
}

fn promote(id: &str, parent: &str) -> AheadCommit {
    commit(id, "promote\n\nRepin-Set: rev2\n", &[parent])
}

fn merge(id: &str, parents: &[&str]) -> AheadCommit {
    commit(id, "Merge branch 'main'", parents)
}

fn because(id: &str, reason: &str) -> (String, String) {
    (id.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn message_of_a_commit_is_no_evidence() {
    let commits = Commits::default()
        .with("m0", &[("a", "x@1"), ("b", "y@1")])
        .with("c1", &[("a", "x@2"), ("b", "y@1")])
        .with("c2", &[("a", "x@2"), ("b", "y@2")]);
    let plain = commit("c2", "my pins", &["c1"]);
    assert_eq!(commits.foreign(&[promote("c1", "m0"), plain]).await, None);
    let plain = commit("c1", "my pins", &[]);
    assert_eq!(commits.foreign(&[plain]).await, None);
}

#[tokio::test]
async fn digest_outside_the_set_is_foreign() {
    let commits = Commits::default()
        .with("m0", &[("a", "x@1"), ("notes", "x@1")])
        .with("c1", &[("a", "x@2"), ("notes", "x@2")])
        .with("c2", &[("a", "x@3"), ("notes", "x@2")]);
    let of_set = |path: &str, old: &[u8], new: &[u8]| path == "a" && digits(path, old, new);
    let branch = [promote("c1", "m0"), promote("c2", "c1")];
    assert_eq!(commits.foreign(&branch).await, None);
    assert_eq!(
        commits.judge(&branch, &of_set).await,
        Some(because("c1", "it changes more than pins in notes"))
    );
}

#[tokio::test]
async fn undone_change_is_still_foreign() {
    let commits = Commits::default()
        .with("m0", &[("a", "x@1")])
        .with("c1", &[("a", "x@2"), ("notes", "mine")])
        .with("c2", &[("a", "x@2")]);
    assert_eq!(
        commits
            .foreign(&[promote("c1", "m0"), promote("c2", "c1")])
            .await,
        Some(because("c1", "it changes more than pins in notes"))
    );
}

#[tokio::test]
async fn merge_of_other_commits_is_foreign() {
    let commits = ["m0", "b1", "b2", "c1", "c2", "m"]
        .iter()
        .fold(Commits::default(), |commits, id| {
            commits.with(id, &[("a", "x@2")])
        });
    for parents in [&["c1", "b1", "b2"][..], &["b1", "b2"], &["c1", "c2"]] {
        let branch = [
            promote("c1", "m0"),
            promote("c2", "c1"),
            merge("m", parents),
        ];
        assert_eq!(
            commits.foreign(&branch).await,
            Some(because("m", "it merges other branches")),
            "{parents:?}"
        );
    }
    let branch = [
        promote("c1", "m0"),
        promote("c2", "c1"),
        merge("m", &["c2", "b1"]),
    ];
    assert_eq!(commits.foreign(&branch).await, None);
}

#[tokio::test]
async fn changed_symlink_is_foreign() {
    let commits = Commits::default()
        .with("m0", &[("a", "x@1")])
        .with("c1", &[("a", "x@2"), ("link", "x@2")])
        .with_mode("c1", "link", "120000")
        .with("c2", &[("a", "x@2"), ("link", "x@2")])
        .with_mode("c2", "link", "120000");
    assert_eq!(
        commits
            .foreign(&[promote("c1", "m0"), promote("c2", "c1")])
            .await,
        Some(because("c1", "it changes more than pins in link"))
    );
}

/// A branch into which the base was merged twice. The base changed `README` before each merge, the
/// pins of `both` in the same way, and other lines of `text`.
fn merged_twice() -> Commits {
    let files =
        |readme, a, both, text| [("README", readme), ("a", a), ("both", both), ("text", text)];
    Commits::default()
        .with("m0", &files("0", "x@1", "z@1", "x@1\ny@1\nend"))
        .with("c1", &files("0", "x@2", "z@2", "x@2\ny@2\nend"))
        .with("b1", &files("1", "x@1", "z@2", "y@1\nx@1\nthe end"))
        .with("m1", &files("1", "x@2", "z@2", "y@2\nx@2\nthe end"))
        .with("b2", &files("2", "x@1", "z@2", "y@1\nx@1\nThe End"))
        .with("m2", &files("2", "x@2", "z@2", "y@2\nx@2\nThe End"))
}

#[tokio::test]
async fn clean_merges_of_the_base_are_repins() {
    let commits = merged_twice();
    let (first, second) = (merge("m1", &["c1", "b1"]), merge("m2", &["m1", "b2"]));
    let in_order = [promote("c1", "m0"), first.clone(), second.clone()];
    assert_eq!(commits.foreign(&in_order).await, None);
    let turned = [
        promote("c1", "m0"),
        merge("m1", &["b1", "c1"]),
        merge("m2", &["b2", "m1"]),
    ];
    assert_eq!(commits.foreign(&turned).await, None);
    // A forge may list commits by dates, and clocks differ.
    assert_eq!(
        commits.foreign(&[second, first, promote("c1", "m0")]).await,
        None
    );
}

#[tokio::test]
async fn merge_that_also_changes_something_is_foreign() {
    let of = |path: &str| format!("it merges the base, and also changes {path}");
    let branch = [promote("c1", "m0"), merge("m1", &["c1", "b1"])];
    let commits = merged_twice();
    assert_eq!(commits.foreign(&branch).await, None);
    for (path, text) in [
        // The base did not change this file: other pins, and the same pins in another place.
        ("a", "x@3"),
        // Both changed it.
        ("text", "y@2\nx@3\nthe end"),
        ("text", "y@1\nx@2\nthe end"),
        ("text", "y@2\nx@2\nthe end\nmore"),
        // Both have it alike.
        ("both", "z@3"),
        ("README", "mine"),
        ("notes", "mine"),
    ] {
        let commits = merged_twice().with_file("m1", path, text);
        assert_eq!(
            commits.foreign(&branch).await,
            Some(because("m1", &of(path))),
            "{path}: {text}"
        );
    }
    for path in ["a", "both", "text"] {
        let commits = merged_twice().with_mode("m1", path, "100755");
        assert_eq!(
            commits.foreign(&branch).await,
            Some(because("m1", &of(path)))
        );
    }
}

#[tokio::test]
async fn merge_that_moves_a_change_is_foreign() {
    let commits = Commits::default()
        .with("m0", &[("a", "x@1\n\nx@1")])
        .with("c1", &[("a", "x@2\n\nx@1")])
        .with("b1", &[("README", "1"), ("a", "x@1\n\nx@1")])
        .with("m1", &[("README", "1"), ("a", "x@1\n\nx@2")]);
    let branch = [promote("c1", "m0"), merge("m1", &["c1", "b1"])];
    assert_eq!(
        commits.foreign(&branch).await,
        Some(because("m1", "it merges the base, and also changes a"))
    );
}

#[tokio::test]
async fn merge_that_adds_lines_is_foreign() {
    let commits = Commits::default()
        .with("m0", &[("a", "x@1\n")])
        .with("c1", &[("a", "x@2\nmore\n")])
        .with("b1", &[("a", "x@1\nend")])
        .with("m1", &[("a", "x@2\nmore\nend")]);
    let branch = [promote("c1", "m0"), merge("m1", &["c1", "b1"])];
    let everything = |_: &str, _: &[u8], _: &[u8]| true;
    assert_eq!(
        commits.judge(&branch, &everything).await,
        Some(because("m1", "it merges the base, and also changes a"))
    );
    assert_eq!(changed_lines(b"x@1", b"x@1\nmore"), None);
}
