//! The published API descriptions, as judges of requests.

use std::{fs, path::Path, sync::LazyLock};

use serde_json::Value;

use super::{super::schema::Schema, Asked, Kind, graphql::Graphql};

pub struct Description {
    prefix: &'static str,
    operations: Vec<Operation>,
    graphql: Option<Graphql>,
}

struct Operation {
    method: String,
    path: Vec<String>,
    query: Vec<String>,
    body: Option<Schema>,
}

impl Description {
    /// The published API description of this kind of forge, read once per process.
    pub fn of(kind: Kind) -> &'static Self {
        static GITHUB: LazyLock<Description> = LazyLock::new(|| Description {
            graphql: Some(Graphql::new()),
            ..Description::read("github.json", "")
        });
        static GITEA: LazyLock<Description> =
            LazyLock::new(|| Description::read("gitea.json", "/api/v1"));
        static FORGEJO: LazyLock<Description> =
            LazyLock::new(|| Description::read("forgejo.json", "/api/v1"));
        static GITLAB: LazyLock<Description> =
            LazyLock::new(|| Description::read("gitlab.json", "/api/v4"));
        match kind {
            Kind::Gitlab => &GITLAB,
            Kind::Github => &GITHUB,
            Kind::Gitea => &GITEA,
            Kind::Forgejo => &FORGEJO,
        }
    }

    fn read(file: &str, prefix: &'static str) -> Self {
        let description = load(file);
        let operations = description["operations"]
            .as_array()
            .unwrap()
            .iter()
            .map(Operation::of)
            .collect();
        Self {
            prefix,
            operations,
            graphql: None,
        }
    }

    pub fn check(&self, asked: &Asked) -> Result<(), String> {
        if let Some(graphql) = self.graphql.as_ref().filter(|_| asked.path == "/graphql") {
            return graphql.check(asked.text("query"), &asked.body["variables"]);
        }
        let path = asked
            .path
            .strip_prefix(self.prefix)
            .ok_or("it is not below the API's base")?;
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let fitting = self
            .operations
            .iter()
            .filter(|op| op.method == asked.method && op.fits(&parts));
        // A path with a parameter at its end matches all paths below it; the most specific one is
        // meant.
        let operation = fitting
            .max_by_key(|operation| operation.literal())
            .ok_or("there is no such operation")?;
        if let Some((name, _)) = asked
            .query
            .iter()
            // A server puts these two into the URL of the next page of a listing by keyset.
            .filter(|(name, _)| !["pagination", "cursor"].contains(&name.as_str()))
            .find(|(name, _)| !operation.query.contains(name))
        {
            return Err(format!("there is no query parameter `{name}`"));
        }
        match (&operation.body, &asked.body) {
            (None, Value::Null) => Ok(()),
            (None, _) => Err("it takes no body".to_owned()),
            (Some(schema), body) => schema.validate(body),
        }
    }
}

pub fn load(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/openapi")
        .join(file);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

impl Operation {
    fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let query = value["query"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned());
        Self {
            method: text("method"),
            path: text("path").split('/').skip(1).map(str::to_owned).collect(),
            query: query.collect(),
            body: Some(&value["body"])
                .filter(|body| !body.is_null())
                .map(Schema::new),
        }
    }

    /// How much of the path is spelled out.
    fn literal(&self) -> (usize, usize) {
        (
            self.path
                .iter()
                .filter(|part| !part.starts_with('{'))
                .count(),
            self.path.len(),
        )
    }

    /// The last parameter takes the rest, since branches have slashes.
    fn fits(&self, parts: &[&str]) -> bool {
        let named = |part: &String| part.starts_with('{');
        let same = |(part, given): (&String, &&str)| named(part) || part == given;
        let last = self.path.last().is_some_and(named);
        let length = if last {
            parts.len() >= self.path.len()
        } else {
            parts.len() == self.path.len()
        };
        length && self.path.iter().zip(parts).all(same)
    }
}
