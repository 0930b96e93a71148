//! Simulated Gitea and Forgejo, with the pitfalls of the real ones.
//!
//! "Seen" means observed on a Gitea 1.25.4, 1.25.5 and 1.26.1, a Forgejo 11.0.1 and a Gitea before
//! 1.22; other behavior is from the servers' source. The simulation never sleeps: actions that real
//! servers take "a while later" take place a number of requests later.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Asked, PullRow, Reply, Store, error, not_found, page, store::CommitRow};

const REPO: &str = "acme/flows";

/// The default version of the simulated Gitea.
pub const GITEA: &str = "1.26.1";
/// A Gitea that cannot replace a branch.
pub const GITEA_1_25: &str = "1.25.5";
/// The default version of the simulated Forgejo.
pub const FORGEJO: &str = "11.0.1+gitea-1.22.0";

/// The maximum number of entries in one page, for any request.
const PAGE: usize = 50;

/// A task of the server's queue.
#[derive(Clone, Debug)]
enum Task {
    /// Closes the open pull requests of a branch that was deleted.
    Deleted(String),
    /// Takes a branch's new head into its open pull requests, and checks them for conflicts.
    Pushed(String),
    /// Checks a new pull request for conflicts.
    Opened(u64),
    /// Checks the merges that were scheduled.
    Scheduled,
}

/// The state that only Gitea and Forgejo have.
#[allow(clippy::struct_excessive_bools)]
pub struct Settings {
    /// The number of requests after which a task of the queue runs.
    pub delay: usize,
    queue: Vec<(usize, Task)>,
    requests: usize,
    /// Pull requests that were checked for conflicts since the creation of their branch.
    pub checked: BTreeSet<u64>,
    /// Pull requests with a check that hangs.
    pub unchecked: BTreeSet<u64>,
    /// The commits of `refs/pull/N/head`.
    pub shown: BTreeMap<u64, String>,
    /// Pull requests that were scheduled with a style that is not allowed.
    pub stuck: BTreeSet<u64>,
    pub issues: bool,
    /// Whether a pull request has the approvals that its base requires.
    pub approved: bool,
    /// Whether a status arrives right before the next merge is scheduled.
    pub late_status: Option<&'static str>,
    /// Whether pull requests are enabled.
    pub pull_requests: bool,
    /// Whether the server knows the request for the pull request between two branches.
    pub finds_by_branch: bool,
    /// The name of the repository after its organization was renamed, which the server follows silently.
    pub followed: Option<&'static str>,
    /// Whether the token's owner is an administrator of the server, the only user to whom a server
    /// in production shows the text of a 500 (`services/context/api.go`, `APIErrorInternal`).
    pub admin: bool,
    /// Whether the client disappears while the current request is carried out.
    pub cut: bool,
    /// The heads of branches that the queue has processed.
    noticed: BTreeMap<String, String>,
    /// Whether the token has a scope for issues, and `read:organization`.
    pub issue_scope: bool,
    pub organization_scope: bool,
    /// The labels of the owner; `None` for a user.
    pub organization: Option<Vec<(u64, String)>>,
    /// The styles that the repository allows, and its default style.
    pub styles: Vec<&'static str>,
    pub default_style: &'static str,
    /// `WORK_IN_PROGRESS_PREFIXES`.
    pub drafts: Vec<&'static str>,
    /// Prefixes of protected branches that reject every push.
    pub protected: Vec<&'static str>,
    /// The message with which a hook of the server refuses every push.
    pub hook: Option<&'static str>,
    /// The dates of commits, if not the present.
    pub times: BTreeMap<String, String>,
    /// Branches that were pushed to with a commit that starts `on: push` workflows.
    pub started: Vec<String>,
    /// Tags with a broken row in the database.
    /// The style that was requested last.
    pub asked_style: String,
    /// The numbers of labels that were put on.
    pub put_on: Vec<u64>,
    /// Whether the current request is one of several concurrent ones that do not see each other.
    pub racing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay: 2,
            queue: Vec::new(),
            requests: 0,
            checked: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            shown: BTreeMap::new(),
            stuck: BTreeSet::new(),
            issues: true,
            approved: true,
            late_status: None,
            pull_requests: true,
            finds_by_branch: true,
            followed: None,
            admin: true,
            cut: false,
            noticed: BTreeMap::new(),
            issue_scope: true,
            organization_scope: true,
            organization: None,
            styles: vec!["squash"],
            default_style: "merge",
            drafts: vec!["WIP:", "[WIP]"],
            protected: Vec::new(),
            hook: None,
            times: BTreeMap::new(),
            started: Vec::new(),
            asked_style: String::new(),
            put_on: Vec::new(),
            racing: false,
        }
    }
}

/// The version's numbers, and whether the server is Forgejo.
fn version(store: &Store) -> (bool, (u32, u32)) {
    let mut numbers = store.version.split(['.', '+', '-']);
    let mut next = || numbers.next().unwrap_or_default().parse().unwrap_or(0);
    (store.version.contains("+gitea"), (next(), next()))
}

pub(super) fn is_at_least(store: &Store, gitea: (u32, u32), forgejo: u32) -> bool {
    match version(store) {
        (true, version) => version >= (forgejo, 0),
        (false, version) => version >= gitea,
    }
}

pub fn answer(store: &mut Store, asked: &Asked) -> Reply {
    let reply = answer_admin(store, asked);
    // The text of an error is in the server's log.
    if reply.status == 500 && !store.gitea.admin {
        return error(500, "");
    }
    reply
}

fn answer_admin(store: &mut Store, asked: &Asked) -> Reply {
    notice_pushes(store);
    work(store);
    let path = asked.path.strip_prefix("/api/v1").unwrap();
    if path == "/version" {
        return Reply::json(200, json!({"version": store.version}));
    }
    if path == "/orgs/acme/labels" {
        return organization_labels(store, asked);
    }
    let Some(path) = path.strip_prefix("/repos/acme/flows") else {
        return not_found();
    };
    // The same path below the new name (`services/context/repo.go`, `RedirectToRepo`).
    if let Some(name) = store.renamed {
        let to = asked.target.replace("acme/flows", name);
        return Reply::json(307, Value::Null).with("location", &to);
    }
    // Seen: every write to an archived repository.
    if store.archived && asked.method != "GET" {
        return error(423, "acme/flows is archived");
    }
    let path = path.trim_start_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match (asked.method.as_str(), first) {
        ("GET", "") => Reply::json(200, repository(store)),
        ("GET", "branches") if rest.is_empty() => branches(store, asked),
        ("GET", "branches") => match store.seen(rest) {
            Some(id) => Reply::json(200, branch(store, rest, &id)),
            None => not_found(),
        },
        ("DELETE", "branches") => delete(store, rest),
        ("GET", "git") if rest.starts_with("refs/pull/") => pull_refs(store, rest),
        ("GET", "git") if rest.starts_with("commits/") => store
            .seen(&rest["commits/".len()..])
            .map_or(not_found(), |id| Reply::json(200, json!({"sha": id}))),
        ("GET", "git") => git(store, asked, rest),
        ("GET", "commits") if rest.ends_with("/pull") => {
            if store.hides_merges {
                return error(403, "token does not have at least one of required scope(s)");
            }
            let commit = rest.strip_suffix("/pull");
            let made = |pull: &&PullRow| pull.merged.as_deref() == commit;
            match store.pulls.iter().find(made) {
                Some(pull) => Reply::json(200, row(store, pull)),
                None => not_found(),
            }
        }
        ("GET", "commits") => page(asked, store.statuses.clone(), ("limit", PAGE, true)),
        ("POST", "actions") => dispatch(store, asked, rest),
        // Seen: where pull requests are disabled.
        ("POST", "contents") => contents(store, asked),
        (_, "pulls") if !store.gitea.pull_requests => not_found(),
        (_, "pulls") => pulls(store, asked, rest),
        (_, "issues") => issues(store, asked, rest),
        (_, "labels") => labels(store, asked),
        _ => not_found(),
    }
}

/// Updates the pull requests at once after a push without the API.
fn notice_pushes(store: &mut Store) {
    for (branch, head) in store.refs.clone() {
        let known = store.gitea.noticed.insert(branch.clone(), head.clone());
        if known.is_none_or(|known| known == head) {
            continue;
        }
        let open = store.pulls.iter().filter(|pull| pull.open);
        for pull in open.filter(|pull| pull.head == branch) {
            store.gitea.shown.insert(pull.number, head.clone());
        }
    }
}

/// The heads of pull requests, as the server shows them.
fn pull_refs(store: &Store, path: &str) -> Reply {
    let number = path.strip_prefix("refs/pull/").unwrap();
    let number: u64 = number.strip_suffix("/head").unwrap().parse().unwrap();
    let Some(pull) = store.pulls.iter().find(|pull| pull.number == number) else {
        return not_found();
    };
    // Pull requests that a test makes show the head of their branch.
    let head = store.refs.get(&pull.head);
    let Some(sha) = store.gitea.shown.get(&number).or(head) else {
        return not_found();
    };
    Reply::json(
        200,
        json!([{"ref": path, "object": {"type": "commit", "sha": sha}}]),
    )
}

/// Puts a task into the queue.
fn later(store: &mut Store, task: Task) {
    let due = store.gitea.requests + store.gitea.delay;
    store.gitea.queue.push((due, task));
}

/// Runs the remaining tasks of the queue, as if enough time had passed.
pub fn drain(store: &mut Store) {
    let before = store.gitea.requests;
    store.gitea.requests = usize::MAX - 1;
    work(store);
    store.gitea.requests = before;
}

/// Runs the due tasks of the queue in order.
fn work(store: &mut Store) {
    store.gitea.requests += 1;
    while let Some((_, task)) = store
        .gitea
        .queue
        .first()
        .filter(|(due, _)| *due < store.gitea.requests)
        .cloned()
    {
        store.gitea.queue.remove(0);
        match task {
            // Seen: 0.6 to 2 s after the branch was deleted, also if it was recreated by then.
            Task::Deleted(branch) => {
                for pull in store.pulls.iter_mut().filter(|pull| pull.head == branch) {
                    pull.open = false;
                }
            }
            // Seen: only of open pull requests; one that is reopened later keeps the old
            // commit in `refs/pull/N/head` and is never checked.
            Task::Pushed(branch) => {
                let head = store.refs.get(&branch).cloned();
                for pull in store.pulls.iter().filter(|pull| pull.head == branch) {
                    if let Some(head) = head.as_ref().filter(|_| pull.open) {
                        store.gitea.shown.insert(pull.number, head.clone());
                        store.gitea.checked.insert(pull.number);
                    } else {
                        store.gitea.checked.remove(&pull.number);
                    }
                }
            }
            Task::Opened(number) => drop(store.gitea.checked.insert(number)),
            Task::Scheduled => store.settle(),
        }
    }
}

fn repository(store: &Store) -> Value {
    let permissions = json!({"admin": false, "push": store.push, "pull": true});
    let allows = |style: &str| store.gitea.styles.contains(&style);
    let mut row = json!({
        "full_name": store.gitea.followed.unwrap_or(REPO), "default_branch": store.default_branch, "private": false, "permissions": permissions,
        "archived": store.archived, "has_issues": store.gitea.issues, "has_pull_requests": store.gitea.pull_requests,
        "allow_merge_commits": allows("merge"), "allow_squash_merge": allows("squash"),
        "allow_rebase": allows("rebase"), "allow_rebase_explicit": allows("rebase-merge"),
        "allow_fast_forward_only_merge": allows("fast-forward-only"), "default_merge_style": store.gitea.default_style,
    });
    if is_at_least(store, (1, 22), 7) {
        row["object_format_name"] = "sha1".into();
    }
    row
}

fn branch(store: &Store, name: &str, id: &str) -> Value {
    let now = "2099-01-01T00:00:00Z".to_owned();
    let at = store.gitea.times.get(id).unwrap_or(&now);
    json!({"name": name, "enable_status_check": !store.required.is_empty(), "status_check_contexts": store.required,
           "commit": {"id": id, "message": store.commit(id).message, "timestamp": at}})
}

fn branches(store: &Store, asked: &Asked) -> Reply {
    let rows = store.refs.iter().map(|(name, id)| branch(store, name, id));
    page(asked, rows.collect(), ("limit", PAGE, true))
}

/// Seen: a workflow that does not exist is 404 on Gitea, and 500 on Forgejo. Gitea has the endpoint
/// from 1.24 on, Forgejo from 8 on.
fn dispatch(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    let name = path
        .strip_prefix("workflows/")
        .unwrap()
        .trim_end_matches("/dispatches")
        .to_owned();
    if !is_at_least(store, (1, 24), 8) {
        return not_found();
    }
    if !store.workflows_there.contains(&name.as_str()) {
        return if version(store).0 {
            error(500, "workflow not found")
        } else {
            error(404, &format!("workflow \"{name}\" not found"))
        };
    }
    store.dispatched.push((name, asked.text("ref").to_owned()));
    Reply::json(204, Value::Null)
}

fn git(store: &Store, asked: &Asked, path: &str) -> Reply {
    let (kind, id) = path.split_once('/').unwrap();
    if kind == "blobs" {
        let Some(content) = store.blob(id) else {
            return not_found();
        };
        return Reply::json(
            200,
            json!({"sha": id, "encoding": "base64", "content": STANDARD.encode(content), "size": 1}),
        );
    }
    // Seen: `sha` is the requested text, also that of a commit.
    let commit = store.repository.commit(id);
    let tree = commit.map_or(id.to_owned(), |commit| commit.tree);
    let Some(files) = store.repository.files(&tree) else {
        return not_found();
    };
    let number: usize = asked.query("page").unwrap().parse().unwrap();
    let size = asked
        .query("per_page")
        .unwrap()
        .parse::<usize>()
        .unwrap()
        .min(1000);
    let rows: Vec<_> = files
        .iter()
        .skip((number - 1) * size)
        .take(size)
        .map(
            |(path, (mode, blob))| json!({"path": path, "mode": mode, "type": "blob", "sha": blob}),
        )
        .collect();
    Reply::json(
        200,
        json!({"sha": id, "tree": rows, "truncated": number * size < files.len(), "page": number, "total_count": files.len()}),
    )
}

/// The loser of a race deletes a branch that it still sees (`git branch -D` in
/// `modules/git/repo_branch.go`): its 500 is an assumption.
fn delete(store: &mut Store, name: &str) -> Reply {
    if let Some(refused) = rejected(store, name) {
        return refused;
    }
    if !store.refs.contains_key(name) {
        return if store.gitea.racing {
            error(
                500,
                &format!("exit status 1 - error: branch '{name}' not found"),
            )
        } else {
            not_found()
        };
    }
    delete_branch(store, name);
    Reply::json(204, Value::Null)
}

/// Deletes a branch. Its pull requests are closed later, from the queue.
pub fn delete_branch(store: &mut Store, name: &str) {
    store.refs.remove(name);
    later(store, Task::Deleted(name.to_owned()));
}

/// Seen: a push that a protection or a hook refuses is 500.
fn rejected(store: &Store, branch: &str) -> Option<Reply> {
    let said = if store
        .gitea
        .protected
        .iter()
        .any(|start| branch.starts_with(start))
    {
        format!("Gitea: Not allowed to push to protected branch {branch}")
    } else {
        store.gitea.hook?.to_owned()
    };
    let text = format!(
        "PushRejected Error: exit status 1 - remote: {said}\n ! [remote rejected] {branch} (pre-receive hook declined)"
    );
    Some(error(500, &text))
}

fn contents(store: &mut Store, asked: &Asked) -> Reply {
    store.intrude();
    let (from, to) = (asked.text("branch"), asked.body["new_branch"].as_str());
    let Some(parent) = store.refs.get(from).cloned() else {
        return error(404, "branch does not exist");
    };
    // Seen: `force_push` from Gitea 1.26 on; older servers ignore an unknown field.
    let force = asked.body["force_push"] == true && replaces_branches(store);
    if to.is_some_and(|to| to != from && store.refs.contains_key(to)) {
        // The others of a race do not see the branch, and git refuses the push.
        let rebuilt = store.commit(&store.refs[to.unwrap()]).parents == [parent.clone()];
        if store.gitea.racing && (rebuilt || !force) {
            return lost_race(store, to.unwrap(), force);
        }
        if !force {
            return error(422, "branch already exists");
        }
    }
    let mut files = (*store.files_of(&parent)).clone();
    for change in asked.body["files"].as_array().unwrap() {
        let path = change["path"].as_str().unwrap();
        let new = STANDARD
            .decode(change["content"].as_str().unwrap())
            .unwrap();
        let there = files.get(path).cloned();
        let mode = match (change["operation"].as_str().unwrap(), there) {
            ("create", None) => "100644".to_owned(),
            ("create", Some(_)) => return error(422, "repository file already exists"),
            (_, None) => return error(404, "repository file does not exist"),
            (_, Some((mode, blob))) => {
                if change["sha"].as_str() != Some(&blob) {
                    let given = &change["sha"];
                    let text = format!("sha does not match [given: {given}, expected: {blob}]");
                    return error(422, &text);
                }
                mode
            }
        };
        let new = store.put_blob(&new);
        files.insert(path.to_owned(), (mode, new));
    }
    let branch = to.unwrap_or(from).to_owned();
    if let Some(refused) = rejected(store, &branch) {
        return refused;
    }
    let tree = store.put_tree(&files);
    // The server trims the message.
    let message = asked.text("message").trim().to_owned() + "\n";
    let quiet = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]"];
    if !quiet.iter().any(|word| message.contains(word)) {
        store.gitea.started.push(branch.clone());
    }
    let id = store.put_commit(&CommitRow {
        tree,
        parents: vec![parent.clone()],
        message,
    });
    store.before_write();
    store.refs.insert(branch.clone(), id.clone());
    store.gitea.noticed.insert(branch.clone(), id.clone());
    // Seen on Gitea 1.26: the branch moves, and `refs/pull/N/head` does not.
    if !(store.gitea.cut && replaces_branches(store)) {
        later(store, Task::Pushed(branch));
    }
    Reply::json(
        201,
        json!({"commit": {"sha": id, "parents": [{"sha": parent}]}, "files": []}),
    )
}

fn replaces_branches(store: &Store) -> bool {
    !version(store).0 && is_at_least(store, (1, 26), u32::MAX)
}

/// Seen: the losers of a race for a branch get 500 from Gitea 1.25 and Forgejo 11, and 403 with the
/// same text from Gitea 1.26.
fn lost_race(store: &Store, branch: &str, force: bool) -> Reply {
    let (name, head) = (format!("refs/heads/{branch}"), &store.refs[branch]);
    let reason = if force {
        format!(
            "cannot lock ref '{name}': is at {head} but expected {}",
            "0".repeat(40)
        )
    } else {
        format!("cannot lock ref '{name}': reference already exists")
    };
    let text = format!(
        "PushRejected Error: exit status 1 - remote: error: {reason}\n ! [remote rejected] {branch} (failed to update ref)"
    );
    error(if replaces_branches(store) { 403 } else { 500 }, &text)
}

/// Puts the tasks of a push into the queue.
pub fn pushed(store: &mut Store, branch: &str) {
    let Some(head) = store.refs.get(branch).cloned() else {
        later(store, Task::Deleted(branch.to_owned()));
        return;
    };
    let message = &store.commit(&head).message;
    let quiet = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]"];
    if !quiet.iter().any(|word| message.contains(word)) {
        store.gitea.started.push(branch.to_owned());
    }
    store.gitea.noticed.insert(branch.to_owned(), head);
    later(store, Task::Pushed(branch.to_owned()));
}

fn merge(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    if asked.method == "DELETE" {
        let before = store.scheduled.len();
        store.scheduled.retain(|(known, _)| *known != number);
        return if store.scheduled.len() < before {
            Reply::json(204, Value::Null)
        } else {
            not_found()
        };
    }
    let head = asked.text("head_commit_id").to_owned();
    let Some(pull) = store.pulls.iter().find(|pull| pull.number == number) else {
        return not_found();
    };
    let pull = pull.clone();
    if !pull.open {
        return not_found();
    }
    if store.refs.get(&pull.head) != Some(&head) {
        return error(409, "head out of date");
    }
    if is_draft(store, &pull) {
        return error(405, "Work in progress PRs cannot be merged");
    }
    let automatic = asked.body["merge_when_checks_succeed"] == true;
    if automatic && store.scheduled.iter().any(|(known, _)| *known == number) {
        return error(409, "The auto merge is already scheduled");
    }
    if let Some(why) = store.no_merge {
        return error(405, why);
    }
    // Seen: a conflict, and an unfinished check, are the same response.
    if !is_mergeable(store, &pull) {
        return error(405, "Please try again later");
    }
    let style = asked.text("Do");
    style.clone_into(&mut store.gitea.asked_style);
    let allowed = store.gitea.styles.contains(&style);
    // Seen on Gitea: if fast-forward is the only style, the merge is not scheduled with any
    // requested style.
    let ignored = style == "fast-forward-only" && !version(store).0;
    if !automatic || ignored {
        // Without a required context, the merge is not delayed.
        if store.passed() && allowed && store.gitea.approved {
            store.scheduled.retain(|(known, _)| *known != number);
            store.merge(number);
            return Reply::json(200, Value::Null);
        }
        return if !store.gitea.approved {
            error(
                405,
                "not allowed to merge [reason: Does not have enough approvals]",
            )
        } else if allowed {
            error(405, "Not all required status checks successful")
        } else {
            error(405, "Invalid merge style")
        };
    }
    // Seen: a style that is not allowed is scheduled all the same, and nothing ever happens; the
    // server logs "not allowed".
    if !allowed {
        store.gitea.stuck.insert(number);
    }
    // Before the merge is scheduled, the status finds nothing to check.
    if let Some(context) = store.gitea.late_status.take() {
        store.report(context, "success");
    }
    store.scheduled.push((number, head));
    // Seen: since Gitea 1.24 the merge is checked from a queue; older servers and Forgejo 8 to 11
    // check it only when a status or a review arrives (`ScheduleAutoMerge` in
    // `services/automerge/automerge.go`).
    if is_at_least(store, (1, 24), 12) {
        later(store, Task::Scheduled);
    }
    Reply::json(201, Value::Null)
}

fn pulls(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    if let Some(number) = path.strip_suffix("/merge") {
        return merge(store, asked, number.parse().unwrap());
    }
    match (asked.method.as_str(), path.parse::<u64>().ok()) {
        ("GET", None) if !path.is_empty() => from_branch(store, path),
        ("GET", None) => {
            let state = asked.query("state").unwrap();
            let rows = store
                .pulls
                .iter()
                .rev()
                .filter(|pull| state == "all" || pull.open == (state == "open"))
                .map(|pull| row(store, pull))
                .collect();
            page(asked, rows, ("limit", PAGE, true))
        }
        ("POST", None) => open(store, asked),
        ("GET", Some(number)) => match store.pulls.iter().find(|pull| pull.number == number) {
            Some(pull) => Reply::json(200, row(store, pull)),
            None => not_found(),
        },
        ("PATCH", Some(number)) => edit(store, asked, number),
        _ => not_found(),
    }
}

/// The first pull request from one branch into another, in any state (`GetPullRequestByBaseHead` in
/// `routers/api/v1/repo/pull.go`).
fn from_branch(store: &Store, path: &str) -> Reply {
    if !store.gitea.finds_by_branch {
        return not_found();
    }
    let (base, head) = path.split_once('/').unwrap();
    let is_from =
        |pull: &&PullRow| pull.base == base && pull.head == head && pull.head_repo == REPO;
    // `pulls/{index}/reviews/{id}` comes first.
    let is_review = head.starts_with("reviews/");
    match store.pulls.iter().find(is_from).filter(|_| !is_review) {
        Some(pull) => Reply::json(200, row(store, pull)),
        None => Reply::json(
            404,
            json!({"errors": [], "message": "not found", "url": "https://gitea.example/api/swagger"}),
        ),
    }
}

fn open(store: &mut Store, asked: &Asked) -> Reply {
    let (head, base) = (asked.text("head").to_owned(), asked.text("base").to_owned());
    let Some(shown) = store.seen(&head) else {
        return error(404, "head branch does not exist");
    };
    let same = |pull: &PullRow| {
        pull.open && pull.head == head && pull.base == base && pull.head_repo == REPO
    };
    // Seen on both: 201 to all of several at once.
    if !store.gitea.racing && store.pulls.iter().any(same) {
        return error(409, "pull request already exists for these targets");
    }
    let pull = store.add_pull(&head, &base);
    asked.text("title").clone_into(&mut pull.title);
    asked.text("body").clone_into(&mut pull.body);
    let number = pull.number;
    store.gitea.shown.insert(number, shown);
    let row = row(store, store.pulls.last().unwrap());
    let due = store.gitea.requests;
    store.gitea.queue.insert(0, (due, Task::Opened(number)));
    Reply::json(201, row)
}

fn edit(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    if let Some(branch) = store.meddled.take() {
        store.push(&branch, "somebody's work", &[("work", "done")]);
    }
    // Seen on Forgejo: the body is stored before the state.
    let forgejo = version(store).0;
    let cut = store.gitea.cut && forgejo && asked.body["state"].is_string();
    let Some(pull) = store.pull_mut(number) else {
        return not_found();
    };
    if let Some(title) = asked.body["title"].as_str() {
        title.clone_into(&mut pull.title);
    }
    if let Some(body) = asked.body["body"].as_str() {
        body.clone_into(&mut pull.body);
    }
    match asked.text("state") {
        _ if cut => {}
        "closed" => pull.open = false,
        "open" if pull.merged.is_some() => {
            return error(
                412,
                "cannot change state of this pull request, it was already merged",
            );
        }
        // Seen: also while the branch is missing; it does not update `refs/pull/N/head` or repeat
        // the check.
        "open" => pull.open = true,
        _ => {}
    }
    let row = row(
        store,
        store
            .pulls
            .iter()
            .find(|pull| pull.number == number)
            .unwrap(),
    );
    Reply::json(201, row)
}

fn is_draft(store: &Store, pull: &PullRow) -> bool {
    let title = pull.title.to_uppercase();
    store
        .gitea
        .drafts
        .iter()
        .any(|prefix| title.starts_with(&prefix.to_uppercase()))
}

/// `pull.Mergeable`: not being checked, not in conflict and not a draft.
fn is_mergeable(store: &Store, pull: &PullRow) -> bool {
    let (base, head) = (store.refs.get(&pull.base), store.refs.get(&pull.head));
    let clean = match (base, head) {
        (Some(base), Some(head)) => store.conflicts(base, head).is_empty(),
        _ => false,
    };
    clean
        && !is_draft(store, pull)
        && store.gitea.checked.contains(&pull.number)
        && !store.gitea.unchecked.contains(&pull.number)
}

fn row(store: &Store, pull: &PullRow) -> Value {
    let labels: Vec<_> = pull
        .labels
        .iter()
        .map(|name| json!({"id": 1, "name": name}))
        .collect();
    let hidden = format!("refs/pull/{}/head", pull.number);
    let shown = store.gitea.shown.get(&pull.number);
    let (head, commit) = match store.refs.get(&pull.head) {
        Some(commit) => (&pull.head, commit.as_str()),
        None if pull.head_repo != REPO => (&pull.head, ""),
        None => (&hidden, shown.map_or("", String::as_str)),
    };
    json!({
        "number": pull.number, "html_url": format!("https://gitea.example/acme/flows/pulls/{}", pull.number),
        "title": pull.title, "body": pull.body, "state": if pull.open { "open" } else { "closed" },
        "draft": is_draft(store, pull), "mergeable": is_mergeable(store, pull),
        "merged": pull.merged.is_some(), "merge_commit_sha": pull.merged,
        "merged_at": store.merged_at(pull), "merged_by": store.merged_by(pull),
        "head": {"label": pull.head, "ref": head, "sha": commit, "repo": {"full_name": pull.head_repo}},
        "base": {"label": pull.base, "ref": pull.base, "sha": store.refs[&pull.base], "repo": repository(store)},
        "labels": if labels.is_empty() { Value::Null } else { labels.into() },
    })
}

fn issues(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    // Seen: where issues are switched off.
    let of_issues = path.is_empty()
        || path
            .parse()
            .is_ok_and(|number: u64| store.issues.iter().any(|issue| issue.number == number));
    if of_issues && !store.gitea.issues {
        return not_found();
    }
    match (asked.method.as_str(), path.parse::<u64>()) {
        ("GET", _) if path.is_empty() => {
            return page(asked, store.issue_rows(), ("limit", PAGE, true));
        }
        ("POST", _) if path.is_empty() => {
            return Reply::json(
                201,
                store.make_issue(asked.text("title"), asked.text("body")),
            );
        }
        ("PATCH", Ok(number)) => {
            store.edit_issue(number, &asked.body);
            return Reply::json(201, json!({"number": number}));
        }
        _ => {}
    }
    let (number, what) = path.split_once('/').unwrap();
    let number: u64 = number.parse().unwrap();
    if !store.gitea.issue_scope {
        return no_scope("write:issue");
    }
    match (asked.method.as_str(), what) {
        ("GET", "comments") => Reply::json(
            200,
            store
                .comments
                .get(&number)
                .into_iter()
                .flatten()
                .map(|body| json!({"body": body}))
                .collect::<Vec<_>>()
                .into(),
        ),
        ("POST", "comments") => {
            store
                .comments
                .entry(number)
                .or_default()
                .push(asked.text("body").to_owned());
            Reply::json(201, json!({"id": 1}))
        }
        ("POST", "labels") => put_on(store, asked, number),
        _ => not_found(),
    }
}

/// By their numbers; by their names (Gitea 1.22, Forgejo 8) those of the repository and of its
/// organization; an unknown name is ignored.
fn put_on(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    let organization = store.gitea.organization.clone().unwrap_or_default();
    let mut names = Vec::new();
    for label in asked.body["labels"].as_array().unwrap() {
        let known = store.labels.iter().chain(&organization);
        let found = if let Some(name) = label.as_str() {
            known.clone().find(|(_, known)| known == name)
        } else {
            let id = label.as_u64().unwrap();
            let found = known.clone().find(|(known, _)| *known == id);
            if found.is_none() {
                return not_found();
            }
            found
        };
        if let Some((id, name)) = found.cloned() {
            store.gitea.put_on.push(id);
            names.push(name);
        }
    }
    store.labels_of(number).extend(names);
    let rows: Vec<_> = store
        .labels_of(number)
        .iter()
        .map(|name| json!({"id": 1, "name": name}))
        .collect();
    Reply::json(200, rows.into())
}

/// Seen: 403 for a token without the scope.
fn no_scope(scope: &str) -> Reply {
    let text = format!("token does not have at least one of required scope(s): [{scope}]");
    error(403, &text)
}

fn labels(store: &mut Store, asked: &Asked) -> Reply {
    // Seen: a token with only write:repository opens pull requests and may not list labels.
    if !store.gitea.issue_scope {
        return no_scope("read:issue");
    }
    if asked.method == "GET" {
        let rows = store
            .labels
            .iter()
            .map(|(id, name)| json!({"id": id, "name": name}))
            .collect();
        return page(asked, rows, ("limit", PAGE, true));
    }
    if !store.may_label {
        return error(403, "user should have write access");
    }
    // Seen: a duplicate name is accepted.
    let id = store.number();
    let name = asked.text("name").to_owned();
    store.labels.push((id, name.clone()));
    Reply::json(201, json!({"id": id, "name": name}))
}

fn organization_labels(store: &Store, asked: &Asked) -> Reply {
    let Some(labels) = &store.gitea.organization else {
        return not_found();
    };
    // Seen: its labels need a separate scope.
    if !store.gitea.organization_scope {
        return no_scope("read:organization");
    }
    let rows = labels
        .iter()
        .map(|(id, name)| json!({"id": id, "name": name}))
        .collect();
    page(asked, rows, ("limit", PAGE, true))
}
