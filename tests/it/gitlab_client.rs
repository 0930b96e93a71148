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
opened = project.mergerequests.create({"source_branch": "auto/x", "target_branch": "main", "title": "Draft: one"})
assert opened.iid == 1 and opened.draft and opened.state == "opened"
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
        store.push("main", "first", &[("a", "1")]);
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
