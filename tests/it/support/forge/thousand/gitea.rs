//! Gitea and Forgejo: the requests that the simulation of one repository does not support.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    super::{Asked, Kind, Reply, Store, error, gitea, page},
    Shared, committed, not_found, of_one, renamed,
    troubles::Trouble,
};

/// The maximum number of entries of a page (`MAX_RESPONSE_ITEMS`).
const PAGE: usize = 50;
/// Files of one request (`DEFAULT_PAGING_NUM`).
const FILES: usize = 30;

pub(super) fn answer(shared: &Shared, asked: &Asked, number: Option<usize>) -> Reply {
    let path = asked.path.strip_prefix("/api/v1").unwrap();
    match path {
        "/version" => {
            let forgejo = shared.options.kind == Kind::Forgejo;
            let default = if forgejo {
                gitea::FORGEJO
            } else {
                gitea::GITEA
            };
            let version = shared.options.version.unwrap_or(default);
            return Reply::json(200, json!({"version": version}));
        }
        "/orgs/acme/repos" => {
            let rows = rows(shared);
            return page(asked, rows, ("limit", PAGE, true));
        }
        "/repos/search" => {
            let word = asked.query("q").unwrap_or_default();
            let named = |row: &Value| row["full_name"].as_str().unwrap().contains(word);
            let rows = rows(shared).into_iter().filter(named).collect();
            let mut reply = page(asked, rows, ("limit", PAGE, true));
            let data: Value = serde_json::from_slice(&reply.body).unwrap();
            reply.body = json!({"ok": true, "data": data}).to_string().into_bytes();
            return reply;
        }
        _ => {}
    }
    let Some(number) = number else {
        return Reply::json(404, not_found("The target couldn't be found."));
    };
    let below = path.strip_prefix("/repos/").unwrap();
    let mut parts = below.splitn(3, '/');
    let (owner, name) = (parts.next().unwrap(), parts.next().unwrap());
    let (_, old) = shared.find(owner, name).unwrap();
    let current = shared.current_name(number);
    if old {
        // The same path below the new name.
        let to = asked.target.replace(&format!("{owner}/{name}"), &current);
        return Reply::json(301, Value::Null).with("location", &to);
    }
    let mut store = shared.store(number);
    let rest = parts.next().unwrap_or_default();
    let reply = own(shared, &mut store, asked, rest, number)
        .unwrap_or_else(|| gitea::answer(&mut store, &of_one(asked)));
    drop(store);
    renamed(reply, &current)
}

fn rows(shared: &Shared) -> Vec<Value> {
    let numbers = 0..shared.stores.len();
    numbers
        .map(|number| row(shared, &shared.store(number), number))
        .collect()
}

/// A repository as listings and pull requests show it.
fn row(shared: &Shared, store: &Store, number: usize) -> Value {
    // Seen: Forgejo 11 sends null where there are no topics, Gitea an empty list.
    let topics = match number {
        5 if shared.options.kind == Kind::Forgejo => Value::Null,
        5 => json!([]),
        _ if number.is_multiple_of(2) => json!(["even", "service"]),
        _ => json!(["service"]),
    };
    json!({"full_name": shared.current_name(number), "default_branch": store.default_branch, "private": true,
           "archived": store.archived, "empty": store.refs.is_empty(), "topics": topics, "has_pull_requests": store.gitea.pull_requests,
           "object_format_name": "sha1", "permissions": {"admin": false, "push": store.push, "pull": true}})
}

/// The requests that the simulated Gitea of one repository does not support, or only in part.
fn own(
    shared: &Shared,
    store: &mut Store,
    asked: &Asked,
    path: &str,
    number: usize,
) -> Option<Reply> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let forgejo = shared.options.kind == Kind::Forgejo;
    // An empty repository has a row and nothing else (`RepoRefForAPI`).
    if store.refs.is_empty() && !matches!(first, "" | "pulls") {
        return Some(error(409, "Git Repository is empty."));
    }
    match (asked.method.as_str(), first) {
        ("GET", "") => Some(Reply::json(200, row(shared, store, number))),
        ("GET", "pulls") if rest.is_empty() && asked.query("state") == Some("all") => {
            let mut reply = gitea::answer(store, &of_one(asked));
            if reply.status != 200 {
                return Some(reply);
            }
            let mut rows: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
            for pull in &mut rows {
                pull["base"]["repo"] = row(shared, store, number);
            }
            reply.body = serde_json::to_vec(&rows).unwrap();
            Some(reply)
        }
        ("GET", "git") if rest.starts_with("trees/") => {
            Some(tree(shared, store, asked, &rest["trees/".len()..], number))
        }
        ("GET", "git") if rest == "blobs" && forgejo => {
            let ids = asked.query("shas").unwrap().split(',');
            let rows = ids.filter_map(|id| Some(blob(id, "", &store.blob(id)?)));
            Some(Reply::json(200, rows.collect()))
        }
        ("GET", "git") if rest.starts_with("commits/") => {
            let id = &rest["commits/".len()..];
            let known = store.has_commit(id);
            Some(if known {
                Reply::json(200, commit(store, id))
            } else {
                Reply::json(404, not_found("commit not found"))
            })
        }
        ("POST", "file-contents") if gitea::is_at_least(store, (1, 24), u32::MAX) => {
            let head = store.seen(asked.query("ref").unwrap())?;
            let paths = asked.body["files"].as_array().unwrap().iter().take(FILES);
            let rows = paths.map(|path| {
                let path = path.as_str().unwrap();
                let (_, id) = store.file(&head, path)?;
                Some(blob(&id, path, &store.blob(&id).unwrap()))
            });
            let rows: Vec<Option<Value>> = rows.collect();
            Some(Reply::json(200, json!(rows)))
        }
        ("GET", "contents") => {
            let head = store.seen(asked.query("ref").unwrap_or(store.default_branch))?;
            let found = store.file(&head, rest);
            Some(match found {
                Some((_, id)) => Reply::json(200, blob(&id, rest, &store.blob(&id).unwrap())),
                None => Reply::json(404, not_found("object does not exist")),
            })
        }
        _ => None,
    }
}

fn blob(id: &str, path: &str, content: &[u8]) -> Value {
    json!({"sha": id, "path": path, "type": "file", "size": content.len(), "encoding": "base64", "content": STANDARD.encode(content)})
}

fn commit(store: &Store, id: &str) -> Value {
    let row = store.commit(id);
    let parents = row.parents.iter().map(|parent| json!({"sha": parent}));
    let person = json!({"name": "Someone", "date": committed(store, id)});
    json!({"sha": id, "parents": parents.collect::<Vec<_>>(),
           "commit": {"message": row.message, "author": person, "committer": person, "tree": {"sha": row.tree}}})
}

/// The listing names the commit that it was resolved to.
fn tree(shared: &Shared, store: &Store, asked: &Asked, name: &str, number: usize) -> Reply {
    let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
    let known = store.has_commit(name).then(|| name.to_owned());
    let Some(id) = known.or_else(|| store.refs.get(branch).cloned()) else {
        return error(404, "sha not found");
    };
    let files = store.files_of(&id);
    let at: usize = asked.query("page").unwrap().parse().unwrap();
    let size: usize = asked
        .query("per_page")
        .unwrap()
        .parse::<usize>()
        .unwrap()
        .min(1000);
    let rows: Vec<_> = files
        .iter()
        .skip((at - 1) * size)
        .take(size)
        .map(|(path, (mode, blob))| {
            let size = store.blob(blob).unwrap().len();
            json!({"path": path, "mode": mode, "type": "blob", "sha": blob, "size": size})
        })
        .collect();
    // An endless listing simulates one that is too long.
    let endless = shared.trouble(number) == Some(Trouble::Truncated);
    let more = at * size < files.len() || endless;
    Reply::json(
        200,
        json!({"sha": id, "tree": rows, "truncated": more, "page": at, "total_count": files.len()}),
    )
}
