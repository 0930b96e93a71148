//! A simulated GitLab, with the pitfalls of the real one.
//!
//! No GitLab was available: the behavior follows its documentation, its source (`lib/api`,
//! `app/services/merge_requests`) and reports of users. It never sleeps: what a server does "a while later"
//! takes place a number of requests later.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Asked, PullRow, Reply, Store, error, not_found};

const REPO: &str = "acme/flows";
/// The number of a fork.
const FORK: u64 = 99;

/// The default version.
pub const GITLAB: &str = "17.11.0-ee";

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub id: u64,
    pub sha: String,
    pub reference: String,
    pub status: String,
}

/// The state that only GitLab has.
#[allow(clippy::struct_excessive_bools)]
pub struct Settings {
    /// The number of the project.
    pub project: u64,
    pub public: bool,
    /// The access level of the token's owner; `None`: GitLab does not report it.
    pub role: Option<u64>,
    /// The access level of a role in the group.
    pub group_role: Option<u64>,
    pub scopes: Vec<&'static str>,
    pub merge_method: &'static str,
    pub squash_option: &'static str,
    /// Whether pipelines must succeed.
    pub requires_pipelines: bool,
    pub passes_skipped: bool,
    pub trains: bool,
    pub removes_branches: bool,
    pub merge_requests: &'static str,
    pub issues: &'static str,
    pub mirror: bool,
    pub empty: bool,
    /// Names of protected branches, and the access level that may push to them.
    pub protected: Vec<(&'static str, u64)>,
    /// Whether the list of protected branches is refused.
    pub hides_protected: bool,
    /// Whether protected branches accept force pushes.
    pub forced: bool,
    /// Users, groups and deploy keys that may push to protected branches.
    pub pushers: Vec<Value>,
    /// Whether only maintainers may merge.
    pub maintainers_merge: bool,
    /// Whether GitLab lets the token merge.
    pub may_merge: bool,
    /// Roles, users and groups that may merge into protected branches.
    pub mergers: Vec<Value>,
    /// Whether GitLab, asked to schedule a merge that has to wait for nothing, merges at once instead of refusing.
    pub merges_ready: bool,
    /// Whether merge requests are being merged.
    pub locked: bool,
    /// Whether a required approval exists.
    pub approved: bool,
    /// The number of reads in which a merge request shows its old head after a push, and of merges that are
    /// refused after it was opened or pushed to.
    pub lag: usize,
    /// The heads that merge requests show until the lag is over.
    old_heads: BTreeMap<u64, (String, usize)>,
    /// The merges that are still refused, by merge request: with 405, then with 422.
    unready: BTreeMap<u64, usize>,
    /// The requests that do not see a branch that was pushed.
    pub hidden: usize,
    /// Merges are refused although they would be possible, with this error of an earlier one.
    pub stubborn: Option<&'static str>,
    /// The word that overrides `detailed_merge_status`.
    pub status: Option<&'static str>,
    pub pipelines: Vec<Pipeline>,
    /// The bodies of requests to open and to merge.
    pub opened: Vec<Value>,
    pub merged: Vec<Value>,
    /// Merge requests that were merged without a pipeline.
    pub unvalidated: Vec<u64>,
    /// The merge requests on the train of the base.
    pub train: Vec<u64>,
    /// Whether the current request has the token of a job.
    pub job: bool,
    /// Listings are by keyset, with one entry on a page and links to this server; empty: to itself.
    pub keyset: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            project: 7,
            public: false,
            role: Some(40),
            group_role: None,
            scopes: vec!["api"],
            merge_method: "merge",
            squash_option: "default_off",
            requires_pipelines: false,
            passes_skipped: false,
            trains: false,
            removes_branches: false,
            merge_requests: "enabled",
            issues: "enabled",
            mirror: false,
            empty: false,
            protected: Vec::new(),
            hides_protected: false,
            forced: true,
            pushers: Vec::new(),
            maintainers_merge: false,
            may_merge: true,
            mergers: Vec::new(),
            merges_ready: false,
            locked: false,
            approved: true,
            lag: 0,
            old_heads: BTreeMap::new(),
            unready: BTreeMap::new(),
            hidden: 0,
            stubborn: None,
            status: None,
            pipelines: Vec::new(),
            opened: Vec::new(),
            merged: Vec::new(),
            unvalidated: Vec::new(),
            train: Vec::new(),
            job: false,
            keyset: None,
        }
    }
}

impl Store {
    /// A pipeline for a commit, newer than all before.
    pub fn pipeline(&mut self, reference: &str, sha: &str, status: &str) -> u64 {
        let id = 1000 + self.gitlab.pipelines.len() as u64;
        self.gitlab.pipelines.push(Pipeline {
            id,
            sha: sha.to_owned(),
            reference: reference.to_owned(),
            status: status.to_owned(),
        });
        settle(self);
        id
    }

    /// The branch with this head.
    fn branch_at(&self, sha: &str) -> String {
        let mut branches = self.refs.iter();
        branches.find(|(_, head)| *head == sha).unwrap().0.clone()
    }

    /// A user opens a merge request of a branch or, with a commit that is on no branch, of a fork.
    pub fn open_pull(&mut self, head: &str, commit: &str) {
        let own = self.refs.contains_key(head);
        let pull = self.add_pull(head, "main");
        if !own {
            "other/fork".clone_into(&mut pull.head_repo);
        }
        pull.closed_at = Some(commit.to_owned());
    }

    /// A merge request shows an older head, for a number of reads.
    pub fn show_head(&mut self, number: u64, head: &str, reads: usize) {
        let shown = (head.to_owned(), reads);
        self.gitlab.old_heads.insert(number, shown);
    }

    /// A user approves all merge requests.
    pub fn approve(&mut self) {
        self.gitlab.approved = true;
        settle(self);
    }

    /// The last pipeline has another status from now on.
    pub fn pipeline_ends(&mut self, status: &str) {
        status.clone_into(&mut self.gitlab.pipelines.last_mut().unwrap().status);
        settle(self);
    }

    /// A job of a commit, newer than all before.
    pub fn job(&mut self, name: &str, sha: &str, reference: &str, status: &str, may_fail: bool) {
        let id = 5000 + self.statuses.len() as u64;
        let at = format!("2026-01-01T10:{:02}:00.000Z", self.statuses.len() % 60);
        self.statuses.push(json!({
            "id": id, "sha": sha, "ref": reference, "status": status, "name": name,
            "target_url": format!("https://ci.example/{id}"), "created_at": at,
            "allow_failure": may_fail,
        }));
    }
}

/// The segments of the path below the API, decoded: GitLab does not find names with slashes that are not
/// encoded.
pub fn segments(asked: &Asked) -> Vec<String> {
    let path = asked.target.split('?').next().unwrap();
    let below = path.strip_prefix("/api/v4/").unwrap_or_default();
    below.split('/').map(super::server::decoded).collect()
}

/// The requests that the token of a job may send; for others, it counts as no token
/// (<https://docs.gitlab.com/ci/jobs/ci_job_token/#job-token-access>).
fn may_be_of_job(method: &str, below: &[&str]) -> bool {
    let commit = ["repository", "commits"];
    method == "GET"
        && match below {
            ["repository", "branches"]
            | ["merge_requests"]
            | ["merge_requests", _]
            | ["merge_requests", _, "notes"] => true,
            [one, two, _] | [one, two, _, "merge_requests"] => [*one, *two] == commit,
            _ => false,
        }
}

pub fn answer(store: &mut Store, asked: &Asked) -> Reply {
    let Some(server) = store.gitlab.keyset.clone() else {
        return answer_one(store, asked);
    };
    if asked.query("page").is_some_and(|page| page != "1") {
        return error(400, "page is not supported");
    }
    let mut numbered = asked.clone();
    numbered
        .query
        .retain(|(name, _)| !["page", "per_page"].contains(&name.as_str()));
    let cursor = asked.query("cursor").unwrap_or("1").to_owned();
    let pages = [("page", cursor), ("per_page", "1".to_owned())];
    numbered
        .query
        .extend(pages.map(|(name, value)| (name.to_owned(), value)));
    let mut reply = answer_one(store, &numbered);
    let next = reply
        .headers
        .iter()
        .find(|(name, _)| name == "x-next-page")
        .cloned();
    reply
        .headers
        .retain(|(name, _)| !["link", "x-next-page"].contains(&name.as_str()));
    match next {
        Some((_, next)) if !next.is_empty() => {
            let server = if server.is_empty() {
                store.root.clone()
            } else {
                server
            };
            let (path, query) = asked.target.split_once('?').unwrap();
            let first = query.split("&page=1").next().unwrap();
            let query = first.split("&pagination=").next().unwrap();
            let url = format!("{server}{path}?{query}&pagination=keyset&cursor={next}");
            reply.with("link", &format!("<{url}>; rel=\"next\""))
        }
        _ => reply,
    }
}

fn answer_one(store: &mut Store, asked: &Asked) -> Reply {
    let segments = segments(asked);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = asked.method.as_str();
    let job = store.gitlab.job;
    let project_id = store.gitlab.project.to_string();
    let is_private = !store.gitlab.public;
    if let Some(reply) = administer(store, asked, &path) {
        return reply;
    }
    match (method, &path[..]) {
        ("GET", ["version"] | ["personal_access_tokens", "self"]) if job => unauthorized(),
        ("GET", ["projects", _, below @ ..])
            if job && is_private && !may_be_of_job(method, below) =>
        {
            error(404, "404 Project Not Found")
        }
        ("GET", ["version"]) => {
            Reply::json(200, json!({"version": store.version, "revision": "x"}))
        }
        ("GET", ["personal_access_tokens", "self"]) => Reply::json(
            200,
            json!({"id": 1, "user_id": 3, "scopes": store.gitlab.scopes, "active": true}),
        ),
        ("GET", ["projects", "acme/flows"]) => match store.renamed {
            Some(_) => Reply::json(301, Value::Null).with(
                "location",
                &format!("{}/api/v4/projects/{project_id}", store.root),
            ),
            None => project(store),
        },
        ("GET", ["projects", id]) if *id == project_id => project(store),
        (_, ["projects", id, ..]) if *id == project_id && job && method != "GET" => unauthorized(),
        (_, ["projects", id, ..]) if *id == project_id && store.archived && method != "GET" => {
            error(403, "403 Forbidden")
        }
        (_, ["projects", id, below @ ..]) if *id == project_id => in_project(store, asked, below),
        // Of a group or of a user, or by a search.
        ("GET", ["groups", "acme", "projects"] | ["projects"]) => {
            let row: Value = serde_json::from_slice(&project(store).body).unwrap();
            let mut rows = vec![row.clone()];
            if path[0] == "groups" && asked.query("include_subgroups") == Some("true") {
                let mut below = row.clone();
                below["path_with_namespace"] = json!("acme/sub/flows");
                rows.push(below);
            }
            // GitLab lists the projects that other groups share with this one, unless it is asked not to.
            if path[0] == "groups" && asked.query("with_shared") != Some("false") {
                let mut shared = row;
                shared["path_with_namespace"] = json!("other/shared");
                rows.push(shared);
            }
            page(asked, rows)
        }
        _ => error(404, "404 Project Not Found"),
    }
}

/// The requests of the tests that also run against a real server (`tests/it/real_gitlab.rs`).
fn administer(store: &mut Store, asked: &Asked, path: &[&str]) -> Option<Reply> {
    match (asked.method.as_str(), path) {
        ("POST", ["projects"]) => {
            let mut row: Value = serde_json::from_slice(&project(store).body).unwrap();
            row["http_url_to_repo"] = json!(format!("{}/{REPO}.git", store.root));
            Some(Reply::json(201, row))
        }
        ("DELETE", ["projects", _]) => Some(Reply::json(202, json!({"message": "202 Accepted"}))),
        ("POST", ["projects", _, word @ ("archive" | "unarchive")]) => {
            store.archived = *word == "archive";
            Some(Reply::json(201, json!({})))
        }
        ("POST", ["projects", _, "protected_branches"]) => {
            let name = asked.text("name").to_owned().leak();
            // Nobody may push.
            assert_eq!(asked.body["push_access_level"], 0);
            store.gitlab.protected.push((name, u64::MAX));
            Some(Reply::json(201, json!({"name": name})))
        }
        ("POST", ["projects", _, "statuses", sha]) => {
            let state = asked.text("state");
            let (name, branch) = (asked.text("name"), store.branch_at(sha));
            store.job(name, sha, &branch, state, false);
            let known = store.gitlab.pipelines.iter().any(|row| row.sha == *sha);
            if known {
                store.pipeline_ends(state);
            } else {
                store.pipeline(&branch, sha, state);
            }
            Some(Reply::json(201, json!({"name": name, "status": state})))
        }
        _ => None,
    }
}

/// Whether pipelines must succeed: a project cannot require a single job.
fn requires_pipelines(store: &Store) -> bool {
    store.gitlab.requires_pipelines || !store.required.is_empty()
}

fn unauthorized() -> Reply {
    error(401, "401 Unauthorized")
}

pub fn project(store: &Store) -> Reply {
    let settings = &store.gitlab;
    let role = match store.push {
        Some(false) => Some(10),
        _ => settings.role,
    };
    let access = |role: u64| json!({"access_level": role, "notification_level": 3});
    let (access, group) = (role.map(access), settings.group_role.map(access));
    let mut row = json!({
            "id": settings.project, "path_with_namespace": store.renamed.unwrap_or(REPO),
            "default_branch": if settings.empty { Value::Null } else { json!(store.default_branch) },
            "visibility": if settings.public { "public" } else { "private" }, "archived": store.archived, "empty_repo": settings.empty,
            "mirror": settings.mirror, "merge_requests_access_level": settings.merge_requests,
            "issues_access_level": settings.issues,
            "permissions": {"project_access": if settings.job { Value::Null } else { json!(access) }, "group_access": group},
            "merge_method": settings.merge_method, "squash_option": settings.squash_option,
            "only_allow_merge_if_pipeline_succeeds": requires_pipelines(store),
            "allow_merge_on_skipped_pipeline": settings.passes_skipped,
            "merge_trains_enabled": settings.trains,
            "remove_source_branch_after_merge": settings.removes_branches,
    });
    if store.version >= "16.9" {
        row["repository_object_format"] = "sha1".into();
    }
    Reply::json(200, row)
}

fn in_project(store: &mut Store, asked: &Asked, path: &[&str]) -> Reply {
    let method = asked.method.as_str();
    match (method, path) {
        ("GET", ["repository", "branches", name]) => match store.seen(name) {
            Some(id) => Reply::json(200, branch(store, name, &id)),
            None => error(404, "404 Branch Not Found"),
        },
        ("GET", ["repository", "commits", id, "statuses"]) => {
            assert_eq!(asked.query("all"), Some("true"));
            let rows = store.statuses.iter();
            let rows = rows.filter(|row| row["sha"].is_null() || row["sha"] == *id);
            page(asked, rows.cloned().collect())
        }
        ("GET", ["repository", "commits", id, "merge_requests"]) => {
            if store.hides_merges {
                return error(403, "403 Forbidden");
            }
            let of = |pull: &&PullRow| {
                pull.merged.as_deref() == Some(*id)
                    || store.refs.get(&pull.head).is_some_and(|h| h == id)
            };
            let pulls: Vec<_> = store.pulls.iter().filter(of).cloned().collect();
            let rows = pulls.iter().map(|pull| row(store, pull)).collect();
            page(asked, rows)
        }
        ("GET", ["repository", "commits", id]) => match store.seen(id) {
            Some(id) => {
                let commit = store.commit(&id);
                Reply::json(
                    200,
                    json!({"id": id, "message": commit.message, "parent_ids": commit.parents}),
                )
            }
            None => error(404, "404 Commit Not Found"),
        },
        ("GET", ["repository", below @ ..]) => content(store, asked, below),
        ("GET", ["pipelines"]) => {
            let sha = asked.query("sha").unwrap();
            let rows = store.gitlab.pipelines.iter().rev();
            let rows = rows.filter(|row| row.sha == sha);
            let reported = reported(store, sha, "main");
            page(asked, rows.chain(&reported).map(pipeline_row).collect())
        }
        ("GET", ["protected_branches"]) if store.gitlab.hides_protected => {
            error(403, "403 Forbidden")
        }
        ("GET", ["protected_branches"]) => {
            let rows = store.gitlab.protected.iter().map(|(name, level)| {
                let mut pushers = store.gitlab.pushers.clone();
                pushers.push(json!({"access_level": level, "user_id": null, "group_id": null}));
                json!({"name": name, "push_access_levels": pushers,
                       "merge_access_levels": store.gitlab.mergers, "allow_force_push": store.gitlab.forced})
            });
            page(asked, rows.collect())
        }
        (_, ["merge_requests", ..]) if store.gitlab.merge_requests == "disabled" => {
            error(403, "403 Forbidden")
        }
        (_, ["merge_requests", below @ ..]) => merge_requests(store, asked, below),
        (_, ["merge_trains", below @ ..]) => trains(store, asked, below),
        (_, ["issues", ..]) if store.gitlab.issues == "disabled" => error(403, "403 Forbidden"),
        (_, ["issues", below @ ..]) => issues(store, asked, below),
        _ => not_found(),
    }
}

/// Files and history, which only fleets read by the API.
#[allow(clippy::too_many_lines)]
fn content(store: &mut Store, asked: &Asked, path: &[&str]) -> Reply {
    let commit_of = |store: &mut Store, name: &str| {
        let name = asked.query(name).unwrap_or_default().to_owned();
        store.seen(&name)
    };
    match path {
        ["files", path] => {
            let Some(id) = commit_of(store, "ref") else {
                return error(404, "404 Commit Not Found");
            };
            let Some((_, blob)) = store.file(&id, path) else {
                return error(404, "404 File Not Found");
            };
            let content = store.blob(&blob).unwrap();
            Reply::json(
                200,
                json!({"file_path": path, "size": content.len(), "encoding": "base64",
                       "content": STANDARD.encode(content), "blob_id": blob, "commit_id": id}),
            )
        }
        ["blobs", id, "raw"] => match store.blob(id) {
            Some(content) => Reply {
                status: 200,
                headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
                body: content,
            },
            None => error(404, "404 Blob Not Found"),
        },
        ["tree"] => {
            let Some(id) = commit_of(store, "ref") else {
                return error(404, "404 Tree Not Found");
            };
            let directory = asked
                .query("path")
                .map_or(String::new(), |path| format!("{path}/"));
            let recursive = asked
                .query("recursive")
                .is_some_and(|word| word.eq_ignore_ascii_case("true"));
            let files = store.files_of(&id);
            let rows: Vec<_> = files
                .iter()
                .filter(|(path, _)| {
                    let below = path.strip_prefix(&directory);
                    below.is_some_and(|below| recursive || !below.contains('/'))
                })
                .map(|(path, (mode, blob))| json!({"id": blob, "path": path, "type": "blob", "mode": mode}))
                .collect();
            if rows.is_empty() && !directory.is_empty() {
                return error(404, "404 Tree Not Found");
            }
            page(asked, rows)
        }
        _ => not_found(),
    }
}

fn branch(store: &Store, name: &str, id: &str) -> Value {
    let protection = store
        .gitlab
        .protected
        .iter()
        .find(|(known, _)| *known == name);
    let developers = !store.gitlab.maintainers_merge;
    json!({"name": name, "commit": {"id": id, "message": store.commit(id).message},
           "protected": protection.is_some() || !developers, "developers_can_merge": developers})
}

/// One page; GitLab does not count long listings.
pub fn page(asked: &Asked, all: Vec<Value>) -> Reply {
    let number = |name| {
        asked
            .query(name)
            .and_then(|text| text.parse::<usize>().ok())
    };
    let (at, size) = (
        number("page").unwrap_or(1),
        number("per_page").unwrap_or(20).min(100),
    );
    let total = all.len();
    let rows: Vec<_> = all.into_iter().skip((at - 1) * size).take(size).collect();
    let next = if at * size < total {
        (at + 1).to_string()
    } else {
        String::new()
    };
    let reply = Reply::json(200, rows.into()).with("x-next-page", &next);
    if next.is_empty() {
        return reply;
    }
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut parameters: Vec<_> = query.split('&').map(str::to_owned).collect();
    parameters.retain(|one| !one.is_empty() && !one.starts_with("page="));
    parameters.push(format!("page={next}"));
    let (host, query) = (asked.header("host").unwrap(), parameters.join("&"));
    reply.with(
        "link",
        &format!("<http://{host}{path}?{query}>; rel=\"next\""),
    )
}

fn pipeline_row(row: &Pipeline) -> Value {
    json!({"id": row.id, "sha": row.sha, "ref": row.reference, "status": row.status,
           "web_url": format!("https://gitlab.example/acme/flows/-/pipelines/{}", row.id),
           "created_at": "2026-01-01T10:00:00.000Z"})
}

/// The pipeline of the reports about any commit ([`Store::report`]): GitLab makes one for the first status of a commit.
/// The required contexts are jobs of it.
fn reported(store: &Store, sha: &str, reference: &str) -> Option<Pipeline> {
    let mut jobs: BTreeMap<&str, &str> = BTreeMap::new();
    for row in &store.statuses {
        if let (Value::Null, Some(name), Some(status)) =
            (&row["sha"], row["name"].as_str(), row["status"].as_str())
        {
            jobs.insert(name, status);
        }
    }
    if jobs.is_empty() {
        return None;
    }
    for required in &store.required {
        jobs.entry(required).or_insert("created");
    }
    let status = if jobs.values().any(|status| *status == "failed") {
        "failed"
    } else if jobs.values().all(|status| *status == "success") {
        "success"
    } else {
        "running"
    };
    Some(Pipeline {
        id: 1,
        sha: sha.to_owned(),
        reference: reference.to_owned(),
        status: status.to_owned(),
    })
}

/// The last pipeline that GitLab shows for the head of a merge request.
fn head_pipeline(store: &Store, pull: &PullRow) -> Option<Pipeline> {
    let head = store.refs.get(&pull.head)?;
    let own = format!("refs/merge-requests/{}/", pull.number);
    let fits = |row: &&Pipeline| {
        let is_own = row.reference.starts_with(&own);
        let merged = is_own && row.reference.ends_with("/merge");
        let of_head = |sha: &str| {
            let commit = store.repository.commit(sha);
            commit.is_some_and(|commit| commit.parents.contains(head))
        };
        row.sha == *head && (is_own || row.reference == pull.head) || merged && of_head(&row.sha)
    };
    let last = store.gitlab.pipelines.iter().rev().find(fits);
    last.cloned().or_else(|| reported(store, head, &pull.head))
}

fn merge_requests(store: &mut Store, asked: &Asked, path: &[&str]) -> Reply {
    let method = asked.method.as_str();
    let number = path.first().and_then(|text| text.parse::<u64>().ok());
    let found = number.and_then(|number| store.pull_mut(number).cloned());
    match (method, path, found) {
        ("GET", [], _) => list(store, asked),
        ("POST", [], _) => open(store, asked),
        (_, _, None) => error(404, "404 Not found"),
        ("GET", [_], Some(pull)) => Reply::json(200, row(store, &pull)),
        ("PUT", [_], Some(pull)) => edit(store, asked, pull.number),
        ("PUT", [_, "merge"], Some(pull)) => merge(store, asked, &pull),
        ("POST", [_, "cancel_merge_when_pipeline_succeeds"], Some(pull)) => {
            store.scheduled.retain(|(known, _)| *known != pull.number);
            store.gitlab.train.retain(|known| *known != pull.number);
            Reply::json(201, json!({"status": "success"}))
        }
        ("GET", [_, "pipelines"], Some(pull)) => {
            // Pipelines of branches are listed as well.
            let own = format!("refs/merge-requests/{}/", pull.number);
            let rows = store.gitlab.pipelines.iter().rev();
            let rows =
                rows.filter(|row| row.reference.starts_with(&own) || row.reference == pull.head);
            let head = store.refs.get(&pull.head);
            let reported = head.and_then(|head| reported(store, head, &pull.head));
            page(asked, rows.chain(&reported).map(pipeline_row).collect())
        }
        (_, [_, "notes"], Some(pull)) => {
            let known = store.comments.entry(pull.number).or_default();
            notes(known, asked)
        }
        _ => not_found(),
    }
}

fn notes(known: &mut Vec<String>, asked: &Asked) -> Reply {
    if asked.method == "POST" {
        known.push(asked.text("body").to_owned());
        return Reply::json(201, json!({"id": known.len(), "body": asked.text("body")}));
    }
    page(
        asked,
        known.iter().map(|body| json!({"body": body})).collect(),
    )
}

fn list(store: &mut Store, asked: &Asked) -> Reply {
    let state = asked.query("state").unwrap_or("all");
    let fits = |pull: &PullRow, rows: &Value| {
        (state == "all" || rows["state"] == state)
            && asked
                .query("source_branch")
                .is_none_or(|head| pull.head == head)
            && asked
                .query("target_branch")
                .is_none_or(|base| pull.base == base)
    };
    let pulls: Vec<_> = store.pulls.iter().rev().cloned().collect();
    let mut rows = Vec::new();
    for pull in pulls {
        let row = row(store, &pull);
        if fits(&pull, &row) {
            rows.push(row);
        }
    }
    page(asked, rows)
}

fn open(store: &mut Store, asked: &Asked) -> Reply {
    let (head, base) = (
        asked.text("source_branch").to_owned(),
        asked.text("target_branch").to_owned(),
    );
    store.gitlab.opened.push(asked.body.clone());
    if !store.gitlab.scopes.contains(&"api") {
        return Reply::json(
            403,
            json!({"error": "insufficient_scope", "error_description": "The request requires higher privileges than provided by the access token."}),
        );
    }
    let hidden = store.gitlab.hidden > 0;
    store.gitlab.hidden = store.gitlab.hidden.saturating_sub(1);
    let Some(commit) = store.seen(&head).filter(|_| !hidden) else {
        let text = format!("Source branch \"{head}\" does not exist");
        return Reply::json(422, json!({"message": [text]}));
    };
    let same = |pull: &&PullRow| {
        pull.open && pull.head == head && pull.base == base && pull.head_repo == REPO
    };
    if let Some(other) = store.pulls.iter().find(same) {
        let text = format!(
            "Another open merge request already exists for this source branch: !{}",
            other.number
        );
        return Reply::json(409, json!({"message": [text]}));
    }
    let mut title = asked.text("title").to_owned();
    let subject = store.commit(&commit).message.to_lowercase();
    if ["draft", "wip", "fixup!"]
        .iter()
        .any(|word| subject.starts_with(word))
        && !is_draft(&title)
    {
        title = format!("Draft: {title}");
    }
    let may_label = store.may_label;
    let pull = store.add_pull(&head, &base);
    pull.title = title;
    asked.text("description").clone_into(&mut pull.body);
    // GitLab drops the labels of a user who may not set them.
    if may_label {
        add_labels(&mut pull.labels, asked.text("labels"));
    }
    let pull = pull.clone();
    let lag = store.gitlab.lag;
    store.gitlab.unready.insert(pull.number, lag);
    Reply::json(201, row(store, &pull))
}

fn is_draft(title: &str) -> bool {
    let title = title.to_lowercase();
    ["draft:", "[draft]", "(draft)", "draft - "]
        .iter()
        .any(|prefix| title.starts_with(prefix))
}

fn edit(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    if let Some(branch) = store.meddled.take() {
        store.push(&branch, "somebody's work", &[("work", "done")]);
        pushed(store, &branch, None);
    }
    if asked.text("state_event") == "reopen" {
        let pull = store.pull_mut(number).unwrap().clone();
        if pull.merged.is_some() {
            return Reply::json(
                400,
                json!({"message": {"state": ["cannot transition via \"reopen\""]}}),
            );
        }
    }
    if asked.body["add_labels"].is_string() && !store.may_label {
        return error(403, "403 Forbidden");
    }
    let pull = store.pull_mut(number).unwrap();
    add_labels(&mut pull.labels, asked.text("add_labels"));
    if let Some(title) = asked.body["title"].as_str() {
        title.clone_into(&mut pull.title);
    }
    if let Some(body) = asked.body["description"].as_str() {
        body.clone_into(&mut pull.body);
    }
    match asked.text("state_event") {
        "close" => store.close(number),
        "reopen" => pull.open = true,
        _ => {}
    }
    let pull = store.pull_mut(number).unwrap().clone();
    Reply::json(200, row(store, &pull))
}

/// Adds the labels of a request; one that is added again remains one.
fn add_labels(labels: &mut Vec<String>, new: &str) {
    for label in new.split(',') {
        if !label.is_empty() && !labels.iter().any(|known| known == label) {
            labels.push(label.to_owned());
        }
    }
}

/// The word of the first check that fails, in GitLab's order.
fn detailed_status(store: &Store, pull: &PullRow) -> &'static str {
    if let Some(word) = store.gitlab.status {
        return word;
    }
    let (base, head) = (store.refs.get(&pull.base), store.refs.get(&pull.head));
    let (Some(base), Some(head)) = (base, head) else {
        return "commits_status";
    };
    let pipeline = head_pipeline(store, pull).map(|row| row.status);
    if !pull.open {
        "not_open"
    } else if store
        .gitlab
        .unready
        .get(&pull.number)
        .is_some_and(|left| *left > 0)
    {
        "checking"
    } else if !store.conflicts(base, head).is_empty() {
        "conflict"
    } else if is_draft(&pull.title) {
        "draft_status"
    } else if store.gitlab.merge_method != "merge" && !store.ancestors(head).contains(base) {
        "need_rebase"
    } else if !store.gitlab.approved {
        "not_approved"
    } else if requires_pipelines(store) {
        match pipeline.as_deref() {
            Some("success") => "mergeable",
            Some("running" | "pending" | "created") => "ci_still_running",
            _ => "ci_must_pass",
        }
    } else {
        "mergeable"
    }
}

fn row(store: &mut Store, pull: &PullRow) -> Value {
    let now = store.refs.get(&pull.head).cloned();
    // One that is not open stays at its last head.
    let head = if pull.open {
        now.or(pull.closed_at.clone())
    } else {
        pull.closed_at.clone().or(now)
    };
    let shown = match store.gitlab.old_heads.get_mut(&pull.number) {
        Some((old, left)) if *left > 0 => {
            *left -= 1;
            Some(old.clone())
        }
        _ => head,
    };
    let state = match (&pull.merged, pull.open) {
        (Some(_), _) => "merged",
        (None, true) if store.gitlab.locked => "locked",
        (None, true) => "opened",
        (None, false) => "closed",
    };
    let status = detailed_status(store, pull);
    let is_ff = pull.merged.is_some() && pull.merged == shown;
    let own = pull.head_repo == REPO;
    // One on the train is scheduled as well.
    let scheduled = store.scheduled.iter().map(|(number, _)| number);
    let mut scheduled = scheduled.chain(&store.gitlab.train);
    let scheduled = scheduled.any(|number| *number == pull.number);
    let refs = store
        .refs
        .get(&pull.base)
        .map(|base| json!({"start_sha": base, "base_sha": base, "head_sha": shown}));
    json!({
        "id": pull.number + 1_000_000, "iid": pull.number, "project_id": store.gitlab.project,
        "web_url": format!("https://gitlab.example/acme/flows/-/merge_requests/{}", pull.number),
        "title": pull.title, "description": pull.body, "state": state, "draft": is_draft(&pull.title),
        "source_branch": pull.head, "target_branch": pull.base,
        "source_project_id": if own { store.gitlab.project } else { FORK }, "target_project_id": store.gitlab.project,
        "labels": pull.labels, "sha": shown,
        "merge_commit_sha": if is_ff { None } else { pull.merged.clone() }, "squash_commit_sha": null,
        "detailed_merge_status": status, "has_conflicts": status == "conflict",
        "merge_error": store.gitlab.stubborn, "merge_when_pipeline_succeeds": scheduled,
        "merged_at": store.merged_at(pull), "merge_user": pull.merged.as_ref().map(|_| json!({"username": "merger"})),
        "diff_refs": refs,
    })
}

fn refused() -> Reply {
    error(405, "405 Method Not Allowed")
}

/// `PUT /projects/:id/merge_requests/:iid/merge`, with the checks in the order of `lib/api/merge_requests.rb`.
fn merge(store: &mut Store, asked: &Asked, pull: &PullRow) -> Reply {
    store.gitlab.merged.push(asked.body.clone());
    let number = pull.number;
    if !store.gitlab.may_merge {
        return unauthorized();
    }
    if let Some(left) = store
        .gitlab
        .unready
        .get_mut(&number)
        .filter(|left| **left > 0)
    {
        *left -= 1;
        // 405 after it was opened, 422 right before it can be merged.
        return if *left == 0 {
            error(422, "Branch cannot be merged")
        } else {
            refused()
        };
    }
    let is_new = store.version >= "17.11";
    let parameter = if is_new {
        "auto_merge"
    } else {
        "merge_when_pipeline_succeeds"
    };
    let auto = asked.body[parameter] == true;
    let status = detailed_status(store, pull);
    let waits = ["ci_must_pass", "ci_still_running", "not_approved"].contains(&status);
    let is_accepted = status == "mergeable" || (auto && waits);
    if !is_accepted || !pull.open || is_draft(&pull.title) || store.gitlab.stubborn.is_some() {
        return refused();
    }
    let wanted = asked.body["sha"].as_str();
    if wanted.is_some() && store.refs.get(&pull.head).map(String::as_str) != wanted {
        return error(409, "SHA does not match HEAD of source branch");
    }
    let pipeline = head_pipeline(store, pull).map(|row| row.status);
    let active = matches!(pipeline.as_deref(), Some("running" | "pending" | "created"));
    if auto && (active || waits) {
        schedule(store, asked, number);
        let pull = store.pull_mut(number).unwrap().clone();
        return Reply::json(200, row(store, &pull));
    }
    if auto && !store.gitlab.merges_ready {
        return refused();
    }
    if pipeline.is_none() {
        store.gitlab.unvalidated.push(number);
    }
    perform(store, number, &asked.body.clone());
    let pull = store.pull_mut(number).unwrap().clone();
    Reply::json(200, row(store, &pull))
}

/// Schedules a merge at the head of the request, instead of an earlier one.
fn schedule(store: &mut Store, asked: &Asked, number: u64) {
    store.scheduled.retain(|(known, _)| *known != number);
    store.scheduled.push((number, asked.text("sha").to_owned()));
}

/// Merges by the method of the project, with the message of the request.
fn perform(store: &mut Store, number: u64, body: &Value) {
    let pull = store.pull_mut(number).unwrap().clone();
    let squash = body["squash"] == true;
    store.scheduled.retain(|(known, _)| *known != number);
    store.gitlab.train.retain(|known| *known != number);
    if store.gitlab.merge_method == "ff" && !squash {
        let head = store.refs[&pull.head].clone();
        store.refs.insert(pull.base.clone(), head.clone());
        let pull = store.pull_mut(number).unwrap();
        (pull.open, pull.merged) = (false, Some(head.clone()));
        pull.closed_at = Some(head);
        return;
    }
    store.merge(number);
    let name = if squash {
        "squash_commit_message"
    } else {
        "merge_commit_message"
    };
    let default = format!(
        "Merge branch '{}' into '{}'\n\n{}\n\nSee merge request acme/flows!{number}",
        pull.head, pull.base, pull.title
    );
    let message = body[name].as_str().unwrap_or(&default).to_owned();
    store.reword(&pull.base, &message);
    let id = store.refs[&pull.base].clone();
    store.pull_mut(number).unwrap().merged = Some(id);
}

/// Merges what is scheduled and may be merged: its last pipeline succeeded, and it is approved.
pub fn settle(store: &mut Store) {
    for (number, head) in store.scheduled.clone() {
        let Some(pull) = store.pull_mut(number).cloned() else {
            continue;
        };
        let passed = head_pipeline(store, &pull).is_some_and(|row| row.status == "success");
        if passed && store.gitlab.approved && store.refs.get(&pull.head) == Some(&head) {
            let last = store.gitlab.merged.last().cloned().unwrap_or_default();
            perform(store, number, &last);
        }
    }
}

/// A branch moved, or was deleted: the merge requests follow a number of requests later, and a scheduled
/// merge is canceled.
pub fn pushed(store: &mut Store, branch: &str, before: Option<&String>) {
    let head = store.refs.get(branch).cloned();
    let lag = store.gitlab.lag;
    let numbers: Vec<u64> = store
        .pulls
        .iter()
        .filter(|pull| pull.open && pull.head == branch && pull.head_repo == REPO)
        .map(|pull| pull.number)
        .collect();
    for number in numbers {
        store.scheduled.retain(|(known, _)| *known != number);
        if head.is_none() {
            let pull = store.pull_mut(number).unwrap();
            (pull.open, pull.closed_at) = (false, before.cloned());
            continue;
        }
        store.gitlab.unready.insert(number, lag);
        if let Some(before) = before {
            store.gitlab.old_heads.insert(number, (before.clone(), lag));
        }
    }
}

fn trains(store: &mut Store, asked: &Asked, path: &[&str]) -> Reply {
    let row = |number: u64| json!({"merge_request": {"iid": number}, "status": "fresh"});
    match (asked.method.as_str(), path) {
        ("GET", ["merge_requests", number]) => {
            let number: u64 = number.parse().unwrap();
            if store.gitlab.train.contains(&number) {
                Reply::json(200, row(number))
            } else {
                error(404, "404 Not found")
            }
        }
        ("POST", ["merge_requests", number]) => {
            let number: u64 = number.parse().unwrap();
            let pull = store.pull_mut(number).unwrap().clone();
            store.gitlab.merged.push(asked.body.clone());
            if store.refs.get(&pull.head).map(String::as_str) != asked.body["sha"].as_str() {
                return error(409, "SHA does not match HEAD of source branch");
            }
            let passed = head_pipeline(store, &pull).is_some_and(|row| row.status == "success");
            if passed {
                store.gitlab.train.push(number);
                return Reply::json(201, json!([row(number)]));
            }
            schedule(store, asked, number);
            Reply::json(202, json!([]))
        }
        ("GET", [_]) => {
            let rows = store.gitlab.train.iter().map(|number| row(*number));
            page(asked, rows.collect())
        }
        _ => not_found(),
    }
}

fn issues(store: &mut Store, asked: &Asked, path: &[&str]) -> Reply {
    let row = |issue: &super::store::IssueRow| {
        json!({"iid": issue.number, "web_url": format!("https://gitlab.example/acme/flows/-/issues/{}", issue.number),
               "title": issue.title, "description": issue.body, "state": if issue.open { "opened" } else { "closed" },
               "labels": issue.labels})
    };
    match (asked.method.as_str(), path) {
        ("GET", []) => {
            let open = store.issues.iter().filter(|issue| issue.open);
            page(asked, open.map(row).collect())
        }
        ("POST", []) => {
            let count = if std::mem::take(&mut store.rival) {
                2
            } else {
                1
            };
            for _ in 0..count {
                let numbers = store.issues.iter().map(|issue| issue.number);
                let number = numbers.max().unwrap_or(0) + 1;
                store.issues.push(super::store::IssueRow {
                    number,
                    title: asked.text("title").to_owned(),
                    body: asked.text("description").to_owned(),
                    open: true,
                    labels: Vec::new(),
                });
            }
            Reply::json(201, row(store.issues.last().unwrap()))
        }
        ("PUT", [number]) => {
            let number: u64 = number.parse().unwrap();
            let Some(issue) = store.issues.iter_mut().find(|issue| issue.number == number) else {
                return error(404, "404 Not found");
            };
            if let Some(text) = asked.body["description"].as_str() {
                text.clone_into(&mut issue.body);
            }
            add_labels(&mut issue.labels, asked.text("add_labels"));
            match asked.text("state_event") {
                "close" => issue.open = false,
                "reopen" => issue.open = true,
                _ => {}
            }
            Reply::json(200, row(issue))
        }
        // Comments of issues, apart from those of merge requests with the same number.
        (_, [number, "notes"]) => {
            let number: u64 = number.parse::<u64>().unwrap() + 1_000_000;
            notes(store.comments.entry(number).or_default(), asked)
        }
        _ => not_found(),
    }
}
