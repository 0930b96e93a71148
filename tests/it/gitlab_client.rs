//! The simulated GitLab, used by a client that shares no code with repin: python-gitlab.

use std::process::Command;

use crate::support::forge::{Fake, GITLAB_TOKEN, Kind};

const SCRIPT: &str = r#"
import sys, gitlab
url, token = sys.argv[1:]
gl = gitlab.Gitlab(url, private_token=token)
assert gl.version()[0] == "17.11.0-ee", gl.version()
project = gl.projects.get("acme/flows")
assert project.get_id() == 7 and project.default_branch == "main"
assert project.branches.get("auto/x").commit["id"] == project.commits.get("auto/x").id
opened = project.mergerequests.create({"source_branch": "auto/x", "target_branch": "main", "title": "Draft: one", "labels": "a,b"})
assert opened.iid == 1 and opened.draft and opened.state == "opened"
assert project.mergerequests.get(1).labels == ["a", "b"]
project.mergerequests.update(1, {"add_labels": "b,c"})
assert project.mergerequests.get(1).labels == ["a", "b", "c"]
try:
    project.mergerequests.create({"source_branch": "auto/x", "target_branch": "main", "title": "two"})
    raise SystemExit("a second merge request was opened")
except gitlab.GitlabCreateError as error:
    assert error.response_code == 409 and "!1" in str(error), error
opened.title = "one"
opened.save()
assert not project.mergerequests.get(1).draft
opened.notes.create({"body": "hello"})
assert [note.body for note in opened.notes.list(get_all=True)] == ["hello"]
issue = project.issues.create({"title": "broken", "description": "text"})
assert issue.iid == 1 and len(project.issues.list(state="opened", get_all=True)) == 1
for number in range(2, 26):
    assert project.issues.create({"title": "more"}).iid == number
assert [issue.iid for issue in project.issues.list(per_page=20, page=2)] == list(range(21, 26))
assert len(project.issues.list(state="opened", per_page=20, get_all=True)) == 25
pages = project.issues.list(iterator=True, per_page=20)
assert pages.next_page == 2 and len(list(pages)) == 25
assert pages.next_page is None
assert [(row.name, row.push_access_levels[0]["access_level"]) for row in project.protectedbranches.list(get_all=True)] == [("main", 40)]
file = project.files.get("directory/b", ref="main")
assert file.decode() == b"text" and file.commit_id == project.commits.get("main").id
paths = lambda **query: [row["path"] for row in project.repository_tree(get_all=True, **query) if row["type"] == "blob"]
assert paths(ref="main", recursive=True) == ["a", "directory/b"]
assert paths(ref="main") == ["a"] and paths(ref="main", path="directory") == ["directory/b"]
main = project.commits.get("main")
reports = lambda: [(row.name, row.status) for row in main.statuses.list(get_all=True, query_parameters={"all": "true"})]
assert reports() == [] and project.pipelines.list(sha=main.id, get_all=True) == []
main.statuses.create({"state": "success", "name": "ci"})
assert reports() == [("ci", "success")]
[pipeline] = project.pipelines.list(sha=main.id, get_all=True)
assert (pipeline.status, pipeline.ref, pipeline.sha) == ("success", "main", main.id)
head = project.branches.get("auto/x").commit["id"]
assert [one.status for one in opened.pipelines.list(get_all=True)] == []
assert len(project.mergerequests.list(state="opened", source_branch="auto/x", get_all=True)) == 1
# Nothing has to end first, so there is nothing to schedule; a merge happens without any pipeline: trap 1.
merge = "/projects/7/merge_requests/1/merge"
try:
    gl.http_put(merge, post_data={"sha": head, "auto_merge": True})
    raise SystemExit("a merge without a pipeline was scheduled")
except gitlab.GitlabHttpError as error:
    assert error.response_code == 405, error
merged = gl.http_put(merge, post_data={"sha": head})
assert merged["state"] == "merged", merged
assert project.mergerequests.get(1).merged_at
assert len(project.commits.get(merged["merge_commit_sha"]).merge_requests()) == 1
try:
    gitlab.Gitlab(url, private_token="glpat-wrong").projects.get("acme/flows")
    raise SystemExit("a wrong token was accepted")
except gitlab.GitlabAuthenticationError:
    pass
"#;

/// The first Python with the module `gitlab`; the system's has it also if another one is first in `PATH`.
fn python_with_gitlab() -> &'static str {
    let has_gitlab = |python: &str| {
        let import = Command::new(python).args(["-c", "import gitlab"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    if has_gitlab("python3") {
        "python3"
    } else {
        "/usr/bin/python3"
    }
}

#[test]
fn independent_client_works_with_the_simulated_gitlab() {
    let fake = Fake::start(Kind::Gitlab);
    {
        let mut store = fake.store();
        store.push("main", "first", &[("a", "1"), ("directory/b", "text")]);
        store.gitlab.protected.push(("main", 40));
        store.push("auto/x", "second", &[("a", "2")]);
    }
    let output = Command::new(python_with_gitlab())
        .args(["-c", SCRIPT, &fake.server.url(), GITLAB_TOKEN])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "python3 with the module gitlab (Debian: python3-gitlab): {errors}"
    );
    assert_eq!(fake.store().gitlab.unvalidated, [1]);
}
