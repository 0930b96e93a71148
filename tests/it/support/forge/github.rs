//! A simulated GitHub, with the strictness and the pitfalls of the real one that matter here.
//!
//! Where a comment names "the documentation", it is that of GitHub's REST and GraphQL API;
//! "reported" refers to public reports by users of GitHub and of other tools. The simulation never
//! sleeps: actions that GitHub takes "in the background" take place a number of reads later.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Asked, PullRow, Reply, Store, error, github_rules, not_found, objects::blob_id, page};

pub const REPO: &str = "acme/flows";

/// The rule that requires a branch to contain its base's head before it is merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strict {
    Nowhere,
    RuleSet,
    /// Only administrators may read this one.
    Protection,
}

/// The state that only GitHub has.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub struct Settings {
    /// Prefixes of branches that a rule set forbids to create and update.
    pub ruled: Vec<&'static str>,
    /// The same by a classic protection that restricts who may push.
    pub protected: Vec<&'static str>,
    pub strict: Strict,
    /// Whether the server supports rule sets; older Enterprise Servers do not.
    pub rule_sets: bool,
    /// Whether the token may read protections, which only administrators may.
    pub administers: bool,
    /// The number of reads of a pull request that see `mergeable: null` after its branch or its
    /// base moved.
    pub delay: usize,
    /// The head and the base of the computation, and the number of requests until its result.
    computed: HashMap<u64, (String, String, usize)>,
    /// Whether the server has drafts: github.com has them on every plan since May 2025, and an
    /// Enterprise Server may refuse them.
    pub drafts: bool,
    /// The owner of the token.
    pub login: &'static str,
    /// The age of every commit, in days.
    pub days: u64,
    /// Whether scheduled merges can be canceled.
    pub cancels: bool,
    /// The workflow runs, each with `workflow_id` and `check_suite_id`; `None` if the token may not
    /// read them.
    pub workflow_runs: Option<Vec<Value>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ruled: Vec::new(),
            workflow_runs: None,
            protected: Vec::new(),
            strict: Strict::Nowhere,
            rule_sets: true,
            administers: false,
            delay: 1,
            computed: HashMap::new(),
            drafts: true,
            login: "someone",
            days: 0,
            cancels: true,
        }
    }
}

/// Reported: every write to an archived repository.
fn archived() -> Reply {
    error(403, "Repository was archived so is read-only.")
}

/// Whether a pull request is blocked, apart from its checks: it is in conflict, or outdated with a
/// base that requires up-to-date branches. Auto-merge then stays armed and does nothing (the
/// documentation, "Automatically merging a pull request"; reported, too).
pub fn is_held(store: &Store, number: u64) -> bool {
    let Some(pull) = store.pulls.iter().find(|pull| pull.number == number) else {
        return true;
    };
    let (base, head) = (&store.refs[&pull.base], &store.refs[&pull.head]);
    !store.conflicts(base, head).is_empty() || is_behind(store, pull)
}

fn is_behind(store: &Store, pull: &PullRow) -> bool {
    let (base, head) = (&store.refs[&pull.base], &store.refs[&pull.head]);
    store.github.strict != Strict::Nowhere && !store.ancestors(head).contains(base)
}

/// `mergeable` and `mergeable_state`. The documentation: `null` until a background job, which a look
/// starts, has come to an end. Reported: `blocked` hides `behind` where a required check has not
/// passed.
fn mergeability(store: &mut Store, number: u64) -> (Value, &'static str) {
    let pull = store.pull_mut(number).unwrap().clone();
    let (Some(head), Some(base)) = (store.refs.get(&pull.head), store.refs.get(&pull.base)) else {
        return (Value::Null, "unknown");
    };
    let (head, base, delay) = (head.clone(), base.clone(), store.github.delay);
    let job = store
        .github
        .computed
        .entry(number)
        .or_insert_with(|| (head.clone(), base.clone(), delay));
    if (&job.0, &job.1) != (&head, &base) {
        *job = (head.clone(), base.clone(), delay);
    }
    if job.2 > 0 {
        job.2 -= 1;
        return (Value::Null, "unknown");
    }
    if !store.conflicts(&base, &head).is_empty() {
        return (false.into(), "dirty");
    }
    let state = match () {
        () if pull.draft => "draft",
        () if !store.passed() => "blocked",
        () if is_behind(store, &pull) => "behind",
        () => "clean",
    };
    (true.into(), state)
}

pub fn answer(store: &mut Store, asked: &Asked) -> Reply {
    let is_query = asked.path == "/graphql" && asked.text("query").starts_with("query");
    if store.archived && asked.is_write() && !is_query {
        return if asked.path == "/graphql" {
            wrong("FORBIDDEN", "Repository was archived so is read-only.")
        } else {
            archived()
        };
    }
    if asked.path == "/graphql" {
        return graphql(store, asked);
    }
    if asked.path == "/installation/repositories" {
        return if store.installation {
            Reply::json(200, json!({"total_count": 1}))
        } else {
            not_found()
        };
    }
    // The documentation ("Best practices for using the REST API", "Follow redirects"): 301 to the
    // number of the repository.
    if let Some(name) = store.renamed {
        if asked.path == "/repositories/7" {
            return Reply::json(200, json!({"full_name": name}));
        }
        let to = asked.target.replace("/repos/acme/flows", "/repositories/7");
        let to = format!("{}{to}", store.root);
        return Reply::json(301, json!({"message": "Moved Permanently", "url": to}))
            .with("location", &to);
    }
    let Some(path) = asked.path.strip_prefix("/repos/acme/flows") else {
        return not_found();
    };
    let path = path.trim_start_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match (asked.method.as_str(), first) {
        ("GET", "") => repository(store),
        ("GET", "branches") if rest.ends_with("/protection/required_status_checks") => {
            // The documentation: only administrators; 404 hides it from others.
            if store.github.administers {
                let strict = store.github.strict == Strict::Protection;
                Reply::json(200, json!({"strict": strict, "contexts": store.required}))
            } else {
                not_found()
            }
        }
        ("GET", "branches") => match store.seen(rest) {
            Some(id) => Reply::json(
                200,
                json!({"name": rest, "protected": !store.required.is_empty() || store.rules.signatures == Some(github_rules::Signatures::Protection), "protection": {"required_status_checks": {"contexts": store.required}}, "commit": {"sha": id, "commit": {"tree": {"sha": store.commit(&id).tree}}}}),
            ),
            None => error(404, "Branch not found"),
        },
        ("GET", "commits") => commits(store, asked, rest),
        // Older Enterprise Servers have no rule sets.
        ("GET", "rules") if !store.github.rule_sets => not_found(),
        ("GET", "rules") => {
            let contexts = store
                .ruled
                .iter()
                .map(|context| json!({"context": context}));
            let parameters = json!({
                "required_status_checks": contexts.collect::<Vec<_>>(),
                "strict_required_status_checks_policy": store.github.strict == Strict::RuleSet,
            });
            let mut rules = vec![
                json!({"type": "deletion"}),
                json!({"type": "required_status_checks", "parameters": parameters}),
            ];
            rules.extend(store.rules.rows());
            page(asked, rules, ("per_page", 100, false))
        }
        (_, "actions") => actions(store, asked, rest),
        (_, "git") => git(store, asked, rest),
        (_, "pulls") => pulls(store, asked, rest),
        (_, "issues") => issues(store, asked, rest),
        ("POST", "labels") => make_label(store, asked),
        _ => not_found(),
    }
}

fn repository(store: &Store) -> Reply {
    let mut body = json!({"full_name": REPO, "default_branch": store.default_branch, "node_id": "R_1", "private": true, "archived": store.archived, "allow_merge_commit": store.rules.methods.contains(&"merge"), "allow_squash_merge": store.rules.methods.contains(&"squash"), "allow_rebase_merge": store.rules.methods.contains(&"rebase")});
    if let Some(push) = store.push {
        body["permissions"] = json!({"admin": false, "push": push, "pull": true});
    }
    let reply = Reply::json(200, body);
    if let Some(scopes) = store.scopes {
        reply.with("x-oauth-scopes", scopes)
    } else {
        reply
    }
}

fn git(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    let (kind, rest) = path.split_once('/').unwrap_or((path, ""));
    match (asked.method.as_str(), kind) {
        ("GET", "trees") => {
            let commit = store.repository.commit(rest);
            let id = commit.map_or(rest.to_owned(), |commit| commit.tree);
            let Some(files) = store.repository.files(&id) else {
                return not_found();
            };
            assert_eq!(asked.query("recursive"), Some("1"));
            let mut rows = vec![
                json!({"path": ".github", "mode": "040000", "type": "tree", "sha": "0".repeat(40)}),
            ];
            for (path, (mode, blob)) in files.iter() {
                let size = store.blob(blob).map_or(1, |content| content.len());
                let row =
                    json!({"path": path, "mode": mode, "type": "blob", "sha": blob, "size": size});
                rows.push(row);
            }
            Reply::json(200, json!({"sha": id, "truncated": false, "tree": rows}))
        }
        ("GET", "blobs") => match store.blob(rest) {
            // In lines, as GitHub sends it.
            Some(content) => {
                let text = STANDARD.encode(content);
                let lines: Vec<_> = text
                    .as_bytes()
                    .chunks(60)
                    .map(|line| std::str::from_utf8(line).unwrap())
                    .collect();
                Reply::json(
                    200,
                    json!({"sha": rest, "encoding": "base64", "content": lines.join("\n") + "\n"}),
                )
            }
            None => not_found(),
        },
        ("POST", "tags") => {
            assert!(store.has_commit(asked.text("object")) && asked.text("type") == "commit");
            let id = blob_id(format!("tag {}", asked.body).as_bytes());
            store
                .tags
                .insert(id.clone(), asked.text("message").to_owned());
            Reply::json(201, json!({"sha": id}))
        }
        ("POST", "refs") if asked.text("ref").starts_with("refs/repin/") => {
            let (name, id) = (asked.text("ref").to_owned(), asked.text("sha").to_owned());
            if store.marks.contains_key(&name) {
                return error(422, "Reference already exists");
            }
            assert!(store.tags.contains_key(&id));
            store.marks.insert(name, id);
            Reply::json(201, json!({}))
        }
        ("GET", "ref") => match store.marks.get(&format!("refs/{rest}")) {
            Some(id) => Reply::json(200, json!({"object": {"sha": id}})),
            None => not_found(),
        },
        ("DELETE", "refs") => match store.marks.remove(&format!("refs/{rest}")) {
            Some(_) => Reply::json(204, Value::Null),
            None => error(422, "Reference does not exist"),
        },
        _ => not_found(),
    }
}

fn merge(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    let pull = store
        .pulls
        .iter()
        .find(|pull| pull.number == number)
        .unwrap()
        .clone();
    if store.refs[&pull.head] != asked.text("sha") {
        return error(
            409,
            "Head branch was modified. Review and try the merge again.",
        );
    }
    if let Some(why) = store.merge_refusal(asked.text("merge_method"), number) {
        return error(405, &why);
    }
    if is_held(store, number) {
        return error(405, "Head branch is out of date, or has conflicts");
    }
    if !store.passed() || !pull.open {
        return error(405, "Pull Request is not mergeable");
    }
    let id = store.merge(number);
    Reply::json(200, json!({"merged": true, "sha": id}))
}

fn pulls(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    if let Some(number) = path.strip_suffix("/merge") {
        return merge(store, asked, number.parse().unwrap());
    }
    match (asked.method.as_str(), path.parse::<u64>().ok()) {
        ("GET", None) => {
            // `head` is ignored here: a client must not rely on the filter of a server.
            let open = asked.query("state").unwrap() == "open";
            let rows = store
                .pulls
                .iter()
                .rev()
                .filter(|pull| pull.open == open)
                .map(|pull| row(store, pull))
                .collect();
            page(asked, rows, ("per_page", 100, false))
        }
        ("POST", None) => open(store, asked),
        ("GET", Some(number)) => {
            if store.pull_mut(number).is_none() {
                return not_found();
            }
            let (mergeable, state) = mergeability(store, number);
            let pull = store.pull_mut(number).unwrap().clone();
            let mut row = row(store, &pull);
            // A listing has neither.
            row["mergeable"] = mergeable;
            row["mergeable_state"] = state.into();
            row["merged_by"] = store.merged_by(&pull);
            let etag = blob_id(row.to_string().as_bytes());
            let etag = format!("W/\"{etag}\"");
            if asked.header("if-none-match") == Some(&etag) {
                return Reply::json(304, Value::Null);
            }
            Reply::json(200, row).with("etag", &etag)
        }
        ("PATCH", Some(number)) => edit(store, asked, number),
        _ => not_found(),
    }
}

/// Private repositories on the plans Free and Pro (the documentation, "Create a pull request").
const NO_DRAFTS: &str = "Draft pull requests are not supported in this repository.";

fn open(store: &mut Store, asked: &Asked) -> Reply {
    let invalid = |why: &str| {
        Reply::json(
            422,
            json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "message": why}]}),
        )
    };
    let (head, base) = (asked.text("head").to_owned(), asked.text("base").to_owned());
    let Some(seen) = store.seen(&head) else {
        return Reply::json(
            422,
            json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "field": "head", "code": "invalid"}]}),
        );
    };
    let main = store.refs[&base].clone();
    if store.ahead(&main, &seen).is_empty() {
        return invalid(&format!("No commits between {base} and {head}"));
    }
    if store
        .pulls
        .iter()
        .any(|pull| pull.open && pull.head == head && pull.base == base && pull.head_repo == REPO)
    {
        return invalid(&format!("A pull request already exists for acme:{head}."));
    }
    // Reported, with these words.
    if asked.body["draft"] == true && !store.github.drafts {
        return error(422, NO_DRAFTS);
    }
    let pull = store.add_pull(&head, &base);
    asked.text("title").clone_into(&mut pull.title);
    asked.text("body").clone_into(&mut pull.body);
    pull.draft = asked.body["draft"] == true;
    let row = row(store, store.pulls.last().unwrap());
    Reply::json(201, row)
}

fn edit(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    if let Some(branch) = store.meddled.take() {
        store.push(&branch, "somebody's work", &[("work", "done")]);
    }
    let refs = store.refs.clone();
    let Some(pull) = store.pull_mut(number) else {
        return not_found();
    };
    if asked.text("state") == "open" && !pull.open {
        // A pull request cannot be reopened after its branch was deleted or moved by force.
        if pull.merged.is_some() || refs.get(&pull.head) != pull.closed_at.as_ref() {
            return error(422, "Validation Failed: state cannot be changed");
        }
        pull.open = true;
    }
    if let Some(title) = asked.body["title"].as_str() {
        title.clone_into(&mut pull.title);
    }
    if let Some(body) = asked.body["body"].as_str() {
        body.clone_into(&mut pull.body);
    }
    if asked.text("state") == "closed" {
        store.close(number);
    }
    let row = row(
        store,
        store
            .pulls
            .iter()
            .find(|pull| pull.number == number)
            .unwrap(),
    );
    Reply::json(200, row)
}

fn row(store: &Store, pull: &PullRow) -> Value {
    let labels: Vec<_> = pull
        .labels
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    let repo = if pull.head_repo.is_empty() {
        Value::Null
    } else {
        json!({"full_name": pull.head_repo})
    };
    let scheduled = store
        .scheduled
        .iter()
        .any(|(known, _)| *known == pull.number);
    let auto_merge = scheduled.then(|| json!({"merge_method": "squash"}));
    // A push after the merge does not change the pull request.
    let merged_head = pull.closed_at.as_ref().filter(|_| pull.merged.is_some());
    let head = merged_head.or_else(|| store.refs.get(&pull.head));
    json!({
        "auto_merge": auto_merge,
        "number": pull.number, "html_url": format!("https://github.example/acme/flows/pull/{}", pull.number),
        "node_id": format!("PR_{}", pull.number), "title": pull.title, "body": pull.body,
        "state": if pull.open { "open" } else { "closed" }, "draft": pull.draft,
        "merged_at": store.merged_at(pull), "merge_commit_sha": pull.merged,
        "head": {"ref": pull.head, "sha": head.cloned().unwrap_or("0".repeat(40)), "repo": repo},
        "base": {"ref": pull.base, "sha": store.refs[&pull.base], "repo": {"full_name": REPO}},
        "labels": labels,
    })
}

fn issues(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    match (asked.method.as_str(), path.parse::<u64>()) {
        ("GET", _) if path.is_empty() => {
            return page(asked, store.issue_rows(), ("per_page", 100, false));
        }
        ("POST", _) if path.is_empty() => {
            return Reply::json(
                201,
                store.make_issue(asked.text("title"), asked.text("body")),
            );
        }
        ("PATCH", Ok(number)) => {
            store.edit_issue(number, &asked.body);
            return Reply::json(200, json!({"number": number}));
        }
        _ => {}
    }
    let (number, what) = path.split_once('/').unwrap();
    let number: u64 = number.parse().unwrap();
    match (asked.method.as_str(), what) {
        ("GET", "comments") => {
            let rows = store
                .comments
                .get(&number)
                .into_iter()
                .flatten()
                .map(|body| json!({"body": body}))
                .collect();
            page(asked, rows, ("per_page", 100, false))
        }
        ("POST", "comments") => {
            store
                .comments
                .entry(number)
                .or_default()
                .push(asked.text("body").to_owned());
            Reply::json(201, json!({"id": 1}))
        }
        ("POST", "labels") => {
            if !store.may_label {
                return error(403, "Resource not accessible by integration");
            }
            let labels: Vec<String> = serde_json::from_value(asked.body["labels"].clone()).unwrap();
            if labels
                .iter()
                .any(|label| !store.labels.iter().any(|(_, known)| known == label))
            {
                return error(404, "Label does not exist");
            }
            store.labels_of(number).extend(labels);
            Reply::json(200, json!([]))
        }
        _ => not_found(),
    }
}

fn commits(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    if path.ends_with("/statuses") {
        return page(asked, store.statuses.clone(), ("per_page", 100, false));
    }
    if let Some(commit) = path.strip_suffix("/pulls") {
        if store.hides_merges {
            return error(403, "Resource not accessible by personal access token");
        }
        // "Lists the merged pull request that introduced the commit to the repository."
        let made = |pull: &&PullRow| {
            let merged = pull.merged.as_ref();
            merged.is_some_and(|merge| {
                merge == commit
                    || store.commit(merge).parents.get(1).is_some_and(|head| {
                        let base = store.ancestors(&store.commit(merge).parents[0]);
                        let branch = store.ancestors(head);
                        branch.iter().any(|id| id == commit) && base.iter().all(|id| id != commit)
                    })
            })
        };
        let rows = store
            .pulls
            .iter()
            .filter(made)
            .map(|pull| row(store, pull))
            .collect();
        return page(asked, rows, ("per_page", 100, false));
    }
    if path.ends_with("/check-runs") {
        let reply = page(asked, store.runs.clone(), ("per_page", 100, false));
        let rows: Value = serde_json::from_slice(&reply.body).unwrap();
        return Reply::json(
            200,
            json!({"total_count": store.runs.len(), "check_runs": rows}),
        );
    }
    let age = Duration::from_secs(store.github.days * 86_400);
    let date = OffsetDateTime::from(SystemTime::now() - age);
    let date = date.format(&Rfc3339).unwrap();
    let commit = json!({"committer": {"date": date}});
    store
        .seen(path)
        .map_or(error(422, "No commit found"), |id| {
            let commit_row = store.commit(&id);
            let parents = commit_row.parents.iter();
            let parents: Vec<_> = parents.map(|parent| json!({"sha": parent})).collect();
            Reply::json(
                200,
                json!({"sha": id, "commit": commit, "parents": parents}),
            )
        })
}

fn actions(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    if path == "runs" {
        // "List workflow runs for a repository": requires `actions: read` in a private repository.
        return match store.github.workflow_runs.clone() {
            Some(rows) => {
                let reply = page(asked, rows.clone(), ("per_page", 100, false));
                let page: Value = serde_json::from_slice(&reply.body).unwrap();
                Reply::json(
                    200,
                    json!({"total_count": rows.len(), "workflow_runs": page}),
                )
            }
            None => error(403, "Resource not accessible by integration"),
        };
    }
    let name = path
        .strip_prefix("workflows/")
        .unwrap()
        .trim_end_matches("/dispatches");
    if !store.workflows_there.contains(&name) {
        return not_found();
    }
    if asked.method == "GET" {
        return Reply::json(200, json!({"id": 1, "state": "active"}));
    }
    store
        .dispatched
        .push((name.to_owned(), asked.text("ref").to_owned()));
    Reply::json(204, Value::Null)
}

fn make_label(store: &mut Store, asked: &Asked) -> Reply {
    let name = asked.text("name").to_owned();
    let invalid = |entry: Value| {
        Reply::json(
            422,
            json!({"message": "Validation Failed", "errors": [entry]}),
        )
    };
    if store.labels.iter().any(|(_, known)| *known == name) {
        return invalid(json!({"resource": "Label", "code": "already_exists", "field": "name"}));
    }
    // Reported: GitHub takes 50 characters.
    if name.chars().count() > 50 {
        return invalid(
            json!({"resource": "Label", "code": "custom", "field": "name", "message": "name is too long (maximum is 50 characters)"}),
        );
    }
    let id = store.number();
    store.labels.push((id, name.clone()));
    Reply::json(201, json!({"id": id, "name": name}))
}

/// An error of GraphQL comes with 200.
fn wrong(kind: &str, message: &str) -> Reply {
    Reply::json(
        200,
        json!({"data": null, "errors": [{"type": kind, "message": message}]}),
    )
}

fn number_of(input: &Value) -> u64 {
    let id = input["pullRequestId"].as_str().unwrap();
    id.strip_prefix("PR_").unwrap().parse().unwrap()
}

/// A scheduled merge stays scheduled after a push by any user with write access (the
/// documentation, "Automatically merging a pull request"); this cancels it.
fn disarm(store: &mut Store, number: u64) -> Reply {
    let before = store.scheduled.len();
    if store.github.cancels {
        store.scheduled.retain(|(known, _)| *known != number);
    }
    if store.scheduled.len() == before {
        return wrong(
            "UNPROCESSABLE",
            "Can't disable auto-merge for this pull request.",
        );
    }
    Reply::json(200, json!({"data": {"disablePullRequestAutoMerge": {}}}))
}

fn graphql(store: &mut Store, asked: &Asked) -> Reply {
    if !store.graphql {
        return not_found();
    }
    let (query, input) = (asked.text("query"), &asked.body["variables"]["input"]);
    if query.contains("newest:") {
        return github_rules::before_pull(store, asked);
    }
    if query.contains("viewer") {
        return Reply::json(
            200,
            json!({"data": {"viewer": {"login": store.github.login}}}),
        );
    }
    if query.contains("mergeQueue(") {
        return github_rules::read(store, asked);
    }
    if query.contains("refUpdateRule") {
        return github_rules::read_protection(store);
    }
    if query.contains("enqueuePullRequest") {
        return github_rules::enqueue(store, input);
    }
    if query.contains("createCommitOnBranch") {
        return github_rules::commit_on_branch(store, asked);
    }
    if query.contains("disablePullRequestAutoMerge") {
        return disarm(store, number_of(input));
    }
    if query.contains("enablePullRequestAutoMerge") {
        let number = number_of(input);
        let head = input["expectedHeadOid"].as_str().unwrap();
        let branch = store.pull_mut(number).unwrap().head.clone();
        if store.refs.get(&branch).map(String::as_str) != Some(head) {
            return wrong("UNPROCESSABLE", "The head has been modified");
        }
        if let Some(why) = store.no_merge {
            return wrong("UNPROCESSABLE", why);
        }
        let method = input["mergeMethod"].as_str().unwrap().to_lowercase();
        if !store.rules.allows(&method) {
            let why = format!("Merge method {method} merging is not allowed on this repository");
            return wrong("UNPROCESSABLE", &why);
        }
        if store.passed() {
            return wrong(
                "UNPROCESSABLE",
                "Pull request Pull request is in clean status",
            );
        }
        store.scheduled.retain(|(known, _)| *known != number);
        store.scheduled.push((
            number,
            format!("{head} {}", input["mergeMethod"].as_str().unwrap()),
        ));
        return Reply::json(200, json!({"data": {}}));
    }
    let draft = query.contains("convertPullRequestToDraft");
    if draft && !store.github.drafts {
        return wrong("UNPROCESSABLE", NO_DRAFTS);
    }
    store.pull_mut(number_of(input)).unwrap().draft = draft;
    Reply::json(200, json!({"data": {}}))
}
