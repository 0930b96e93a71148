//! GitHub: REST by the simulation of one repository, GraphQL for all.

use serde_json::{Value, json};

use super::{
    super::{Asked, Reply, error, github},
    Shared, not_found, of_one,
    query::Execution,
    renamed,
    troubles::Trouble,
};

/// The part of a query about one repository that only the simulated GitHub of one repository
/// supports.
const OF_ONE: [&str; 2] = ["mergeQueue(", "refUpdateRule"];

/// The repository that a query or mutation is about, if it is one.
pub(super) fn about(shared: &Shared, asked: &Asked) -> Option<usize> {
    let variables = &asked.body["variables"];
    let input = &variables["input"];
    let id = |id: &Value, prefix: &str| -> Option<usize> {
        let rest = id.as_str()?.strip_prefix(prefix)?;
        rest.split('_').next()?.parse().ok()
    };
    if let Some(number) =
        id(&input["repositoryId"], "R_").or_else(|| id(&input["pullRequestId"], "PR_"))
    {
        return Some(number);
    }
    if let Some(full) = input["branch"]["repositoryNameWithOwner"].as_str() {
        let (owner, name) = full.split_once('/')?;
        return shared.find(owner, name).map(|(number, _)| number);
    }
    let names: Vec<_> = ["owner", "o"]
        .iter()
        .zip(["name", "n"])
        .filter_map(|(owner, name)| Some((variables[owner].as_str()?, variables[name].as_str()?)))
        .collect();
    let (owner, name) = names.first()?;
    shared.find(owner, name).map(|(number, _)| number)
}

pub(super) fn answer(shared: &Shared, asked: &Asked, number: Option<usize>) -> Reply {
    if asked.path == "/graphql" {
        return graphql(shared, asked, number);
    }
    let Some(number) = number else {
        return Reply::json(404, not_found("Not Found"));
    };
    let path = asked.path.strip_prefix("/repos/").unwrap();
    let name: String = path.split('/').take(2).collect::<Vec<_>>().join("/");
    let (_, old) = shared
        .find("acme", name.split_once('/').unwrap().1)
        .unwrap();
    if old {
        // The documentation, "Follow redirects".
        let to = format!("{}/repositories/{number}", shared.root.get().unwrap());
        return Reply::json(301, json!({"message": "Moved Permanently", "url": to}))
            .with("location", &to);
    }
    let mut store = shared.store(number);
    // Reported of a repository without commits.
    if store.refs.is_empty() && asked.path.contains("/git/") {
        return error(409, "Git Repository is empty.");
    }
    let reply = github::answer(&mut store, &of_one(asked));
    drop(store);
    let reply = with_nodes(reply, number);
    let reply = if shared.trouble(number) == Some(Trouble::Truncated) {
        truncated(reply, asked)
    } else {
        reply
    };
    renamed(reply, &shared.current_name(number))
}

/// The GraphQL names of REST fields.
fn with_nodes(mut reply: Reply, number: usize) -> Reply {
    let text = String::from_utf8(reply.body).unwrap();
    let text = text.replace("\"node_id\":\"PR_", &format!("\"node_id\":\"PR_{number}_"));
    let text = text.replace(
        "\"node_id\":\"R_1\"",
        &format!("\"node_id\":\"R_{number}\""),
    );
    reply.body = text.into_bytes();
    reply
}

fn truncated(mut reply: Reply, asked: &Asked) -> Reply {
    if asked.path.contains("/git/trees/") && reply.status == 200 {
        let mut listing: Value = serde_json::from_slice(&reply.body).unwrap();
        listing["truncated"] = true.into();
        let rows = listing["tree"].as_array_mut().unwrap();
        rows.truncate(rows.len() / 2);
        reply.body = listing.to_string().into_bytes();
    }
    reply
}

fn graphql(shared: &Shared, asked: &Asked, number: Option<usize>) -> Reply {
    let query = asked.text("query");
    let of_one = OF_ONE.iter().any(|word| query.contains(word));
    if let Some(number) = number.filter(|_| of_one || query.starts_with("mutation")) {
        let mut one = asked.clone();
        let input = &mut one.body["variables"]["input"];
        if input["repositoryId"].is_string() {
            input["repositoryId"] = json!("R_1");
        }
        if let Some(id) = input["pullRequestId"].as_str() {
            let own = id.rsplit('_').next().unwrap();
            input["pullRequestId"] = json!(format!("PR_{own}"));
        }
        if input["branch"]["repositoryNameWithOwner"].is_string() {
            input["branch"]["repositoryNameWithOwner"] = json!("acme/flows");
        }
        let reply = github::answer(&mut shared.store(number), &one);
        return renamed(reply, &shared.current_name(number));
    }
    let asked_for = query.matches("repository(owner").count();
    if asked_for > shared.options.slow_above {
        return Reply {
            status: 502,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: b"<html>Unicorn!</html>".to_vec(),
        };
    }
    let mut execution = Execution::new(shared, &asked.body["variables"]);
    let data = execution.run(query);
    let mut body = json!({"data": data});
    if !execution.errors.is_empty() {
        body["errors"] = execution.errors.into();
    }
    Reply::json(200, body).with("x-oauth-scopes", "repo, workflow")
}
