//! Gitea and Forgejo, as strict as the real ones where it matters here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Asked, PullRow, Reply, Store, error, not_found, page, store::CommitRow};

const REPO: &str = "acme/flows";

/// What a server gives at most in one page, whatever is asked for.
const PAGE: usize = 50;

pub fn answer(store: &mut Store, asked: &Asked) -> Reply {
    let path = asked.path.strip_prefix("/api/v1").unwrap();
    if path == "/version" {
        return Reply::json(200, json!({"version": store.version}));
    }
    if path == "/orgs/acme/labels" {
        return not_found();
    }
    let Some(path) = path.strip_prefix("/repos/acme/flows") else {
        return not_found();
    };
    let path = path.trim_start_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match (asked.method.as_str(), first) {
        ("GET", "") => {
            let permissions = json!({"admin": false, "push": store.push, "pull": true});
            Reply::json(
                200,
                json!({"full_name": REPO, "default_branch": store.default_branch, "private": false, "permissions": permissions, "allow_merge_commits": false, "allow_squash_merge": true}),
            )
        }
        ("GET", "branches") => match store.seen(rest) {
            Some(id) => Reply::json(
                200,
                json!({"name": rest, "enable_status_check": !store.required.is_empty(), "status_check_contexts": store.required, "commit": {"id": id, "message": store.commits[&id].message}}),
            ),
            None => not_found(),
        },
        ("DELETE", "branches") => delete(store, rest),
        ("GET", "git") if rest.starts_with("commits/") => store
            .seen(&rest["commits/".len()..])
            .map_or(not_found(), |id| Reply::json(200, json!({"sha": id}))),
        ("GET", "git") => git(store, asked, rest),
        ("GET", "commits") => page(asked, store.statuses.clone(), ("limit", PAGE, true)),
        ("POST", "actions") => {
            let name = rest
                .strip_prefix("workflows/")
                .unwrap()
                .trim_end_matches("/dispatches")
                .to_owned();
            store.dispatched.push((name, asked.text("ref").to_owned()));
            Reply::json(204, Value::Null)
        }
        ("POST", "contents") => contents(store, asked),
        ("GET", "compare") => compare(store, rest),
        (_, "pulls") => pulls(store, asked, rest),
        (_, "issues") => issues(store, asked, rest),
        (_, "labels") => labels(store, asked),
        (_, "tags") => tags(store, asked, rest),
        _ => not_found(),
    }
}

fn git(store: &Store, asked: &Asked, path: &str) -> Reply {
    let (kind, id) = path.split_once('/').unwrap();
    if kind == "blobs" {
        let Some(content) = store.blobs.get(id) else {
            return not_found();
        };
        return Reply::json(
            200,
            json!({"sha": id, "encoding": "base64", "content": STANDARD.encode(content), "size": 1}),
        );
    }
    let tree = store.commits.get(id).map_or(id, |commit| &commit.tree);
    let Some(files) = store.trees.get(tree) else {
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
        json!({"sha": tree, "tree": rows, "truncated": number * size < files.len(), "page": number, "total_count": files.len()}),
    )
}

fn delete(store: &mut Store, name: &str) -> Reply {
    if store.refs.remove(name).is_none() {
        return not_found();
    }
    // A branch takes its open pull requests with it.
    for pull in store.pulls.iter_mut().filter(|pull| pull.head == name) {
        pull.open = false;
    }
    Reply::json(204, Value::Null)
}

fn contents(store: &mut Store, asked: &Asked) -> Reply {
    store.intrude();
    let (from, to) = (asked.text("branch"), asked.body["new_branch"].as_str());
    let Some(parent) = store.refs.get(from).cloned() else {
        return error(404, "branch does not exist");
    };
    if to.is_some_and(|to| store.refs.contains_key(to)) {
        return error(422, "branch already exists");
    }
    let mut files = store.files_of(&parent).clone();
    for change in asked.body["files"].as_array().unwrap() {
        assert_eq!(change["operation"], "update");
        let path = change["path"].as_str().unwrap();
        let Some((mode, blob)) = files.get(path).cloned() else {
            return error(422, "repository file does not exist");
        };
        if change["sha"].as_str() != Some(&blob) {
            return error(
                422,
                &format!(
                    "sha does not match [given: {}, expected: {blob}]",
                    change["sha"]
                ),
            );
        }
        let new = store.put_blob(
            &STANDARD
                .decode(change["content"].as_str().unwrap())
                .unwrap(),
        );
        files.insert(path.to_owned(), (mode, new));
    }
    let tree = store.put_tree(files);
    let message = asked.text("message").to_owned();
    let id = store.put_commit(CommitRow {
        tree,
        parents: vec![parent.clone()],
        message,
    });
    store.before_write();
    store.refs.insert(to.unwrap_or(from).to_owned(), id.clone());
    Reply::json(
        201,
        json!({"commit": {"sha": id, "parents": [{"sha": parent}]}, "files": []}),
    )
}

fn compare(store: &mut Store, basehead: &str) -> Reply {
    let (base, head) = basehead.split_once("...").unwrap();
    let (Some(base), Some(head)) = (store.refs.get(base).cloned(), store.seen(head)) else {
        return not_found();
    };
    let ids = store.ahead(&base, &head);
    let row = |id: &String| {
        let commit = &store.commits[id];
        let parents: Vec<_> = commit
            .parents
            .iter()
            .map(|parent| json!({"sha": parent}))
            .collect();
        json!({"sha": id, "commit": {"message": commit.message}, "parents": parents})
    };
    Reply::json(
        200,
        json!({"total_commits": ids.len(), "commits": ids.iter().map(row).collect::<Vec<_>>()}),
    )
}

fn merge(store: &mut Store, asked: &Asked, number: u64) -> Reply {
    let head = asked.text("head_commit_id").to_owned();
    let pull = store
        .pulls
        .iter()
        .find(|pull| pull.number == number)
        .unwrap()
        .clone();
    if store.refs[&pull.head] != head {
        return error(409, "head out of date");
    }
    if store.scheduled.iter().any(|(known, _)| *known == number) {
        return error(409, "The auto merge is already scheduled");
    }
    assert_eq!(asked.text("Do"), "squash");
    if let Some(why) = store.no_merge {
        return error(405, why);
    }
    // Where it knows of no required context, nothing holds it back.
    if store.passed() {
        store.merge(number);
        return Reply::json(200, Value::Null);
    }
    if asked.body["merge_when_checks_succeed"] != true {
        return error(405, "Not all required status checks successful");
    }
    store.scheduled.push((number, head));
    Reply::json(201, Value::Null)
}

fn pulls(store: &mut Store, asked: &Asked, path: &str) -> Reply {
    if let Some(number) = path.strip_suffix("/merge") {
        return merge(store, asked, number.parse().unwrap());
    }
    match (asked.method.as_str(), path.parse::<u64>().ok()) {
        ("GET", None) => {
            let open = asked.query("state").unwrap() == "open";
            let rows = store
                .pulls
                .iter()
                .rev()
                .filter(|pull| pull.open == open)
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

fn open(store: &mut Store, asked: &Asked) -> Reply {
    let (head, base) = (asked.text("head").to_owned(), asked.text("base").to_owned());
    if store.seen(&head).is_none() {
        return error(404, "head branch does not exist");
    }
    if store
        .pulls
        .iter()
        .any(|pull| pull.open && pull.head == head && pull.base == base && pull.head_repo == REPO)
    {
        return error(409, "pull request already exists for these targets");
    }
    let number = store.number();
    store.pulls.push(PullRow {
        number,
        title: asked.text("title").to_owned(),
        body: asked.text("body").to_owned(),
        open: true,
        merged: None,
        draft: false,
        head,
        head_repo: REPO.to_owned(),
        base,
        labels: Vec::new(),
        closed_at: None,
    });
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
    if let Some(title) = asked.body["title"].as_str() {
        title.clone_into(&mut pull.title);
    }
    if let Some(body) = asked.body["body"].as_str() {
        body.clone_into(&mut pull.body);
    }
    match asked.text("state") {
        "closed" => pull.open = false,
        "open" if pull.merged.is_some() => {
            return error(
                412,
                "cannot change state of this pull request, it was already merged",
            );
        }
        "open" if !refs.contains_key(&pull.head) => return error(422, "the head branch is gone"),
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

fn row(store: &Store, pull: &PullRow) -> Value {
    let labels: Vec<_> = pull
        .labels
        .iter()
        .map(|name| json!({"id": 1, "name": name}))
        .collect();
    let gone = format!("refs/pull/{}/head", pull.number);
    let head = if store.refs.contains_key(&pull.head) {
        &pull.head
    } else {
        &gone
    };
    json!({
        "number": pull.number, "html_url": format!("https://gitea.example/acme/flows/pulls/{}", pull.number),
        "title": pull.title, "body": pull.body, "state": if pull.open { "open" } else { "closed" },
        "merged": pull.merged.is_some(), "merge_commit_sha": pull.merged,
        "head": {"label": pull.head, "ref": head, "sha": store.refs.get(&pull.head).map_or("", String::as_str), "repo": {"full_name": pull.head_repo}},
        "base": {"label": pull.base, "ref": pull.base, "sha": store.refs[&pull.base], "repo": {"full_name": REPO}},
        "labels": if labels.is_empty() { Value::Null } else { labels.into() },
    })
}

fn issues(store: &mut Store, asked: &Asked, path: &str) -> Reply {
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
        ("POST", "labels") => {
            let mut names = Vec::new();
            for id in asked.body["labels"].as_array().unwrap() {
                let Some((_, name)) = store
                    .labels
                    .iter()
                    .find(|(known, _)| Some(*known) == id.as_u64())
                else {
                    return not_found();
                };
                names.push(name.clone());
            }
            store.labels_of(number).extend(names);
            Reply::json(200, json!([]))
        }
        _ => not_found(),
    }
}

fn tags(store: &mut Store, asked: &Asked, name: &str) -> Reply {
    match asked.method.as_str() {
        "POST" => {
            assert!(store.commits.contains_key(asked.text("target")));
            let name = asked.text("tag_name").to_owned();
            if store.marks.contains_key(&name) {
                return error(409, "tag already exists");
            }
            store.marks.insert(name, asked.text("message").to_owned());
            Reply::json(201, json!({}))
        }
        "GET" => match store.marks.get(name) {
            Some(word) => Reply::json(200, json!({"name": name, "message": format!("{word}\n")})),
            None => not_found(),
        },
        _ => match store.marks.remove(name) {
            Some(_) => Reply::json(204, Value::Null),
            None => not_found(),
        },
    }
}

fn labels(store: &mut Store, asked: &Asked) -> Reply {
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
    let id = store.number();
    let name = asked.text("name").to_owned();
    store.labels.push((id, name.clone()));
    Reply::json(201, json!({"id": id, "name": name}))
}
