//! GitLab: many projects, each with the simulation of one.

use serde_json::{Value, json};

use super::{
    super::{
        Asked, Reply, error,
        gitlab::{self, GITLAB, page, segments},
    },
    Shared, renamed,
    troubles::Trouble,
};

/// The number of the first project.
const FIRST: u64 = 1000;

fn id(number: usize) -> u64 {
    FIRST + number as u64
}

/// The repository in a path, by the number of its project or by its name, and whether the name is an old one.
fn find(shared: &Shared, segments: &[String]) -> Option<(usize, bool)> {
    let [top, project, ..] = segments else {
        return None;
    };
    if top != "projects" {
        return None;
    }
    if let Ok(id) = project.parse::<u64>() {
        let number = usize::try_from(id.checked_sub(FIRST)?).ok()?;
        return (number < shared.stores.len()).then_some((number, false));
    }
    let (owner, name) = project.rsplit_once('/')?;
    shared.find(owner, name)
}

pub(super) fn about(shared: &Shared, asked: &Asked) -> Option<usize> {
    find(shared, &segments(asked)).map(|(number, _)| number)
}

pub(super) fn answer(shared: &Shared, asked: &Asked) -> Reply {
    let segments = segments(asked);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match path[..] {
        ["version"] => {
            let version = shared.options.version.unwrap_or(GITLAB);
            return Reply::json(200, json!({"version": version, "revision": "x"}));
        }
        ["groups", "acme", "projects"] | ["projects"] => return page(asked, rows(shared, asked)),
        ["groups" | "users", ..] => return error(404, "404 Not Found"),
        _ => {}
    }
    let Some((number, is_old)) = find(shared, &segments) else {
        return error(404, "404 Project Not Found");
    };
    let mut store = shared.store(number);
    if is_old {
        let location = format!("{}/api/v4/projects/{}", store.root, id(number));
        return Reply::json(301, Value::Null).with("location", &location);
    }
    store.gitlab.project = id(number);
    store.gitlab.empty = store.refs.is_empty();
    let mut one = asked.clone();
    // A listing that never ends.
    let endless = shared.trouble(number) == Some(Trouble::Truncated) && path.contains(&"tree");
    if endless {
        one.query.retain(|(name, _)| name != "page");
    }
    if !path[1].bytes().all(|byte| byte.is_ascii_digit()) {
        let by_name = format!("projects/{}", path[1].replace('/', "%2F"));
        one.target = one.target.replacen(&by_name, "projects/acme%2Fflows", 1);
    }
    let mut reply = gitlab::answer(&mut store, &one);
    drop(store);
    if endless {
        reply.headers.retain(|(name, _)| name != "x-next-page");
        reply = reply.with("x-next-page", "2");
    }
    renamed(reply, &shared.current_name(number))
}

/// The projects with the topic and the text that a request selects.
fn rows(shared: &Shared, asked: &Asked) -> Vec<Value> {
    let is_selected = |number: &usize| {
        let topic = asked.query("topic");
        let name = shared.current_name(*number);
        topic.is_none_or(|topic| topic == "service" || number.is_multiple_of(2))
            && asked.query("search").is_none_or(|text| name.contains(text))
    };
    let numbers = (0..shared.stores.len()).filter(is_selected);
    let row = |number: usize| {
        let mut store = shared.store(number);
        store.gitlab.project = id(number);
        store.gitlab.empty = store.refs.is_empty();
        let reply = renamed(gitlab::project(&store), &shared.current_name(number));
        serde_json::from_slice(&reply.body).unwrap()
    };
    numbers.map(row).collect()
}
