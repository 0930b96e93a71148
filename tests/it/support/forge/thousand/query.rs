//! Execution of GraphQL: the selected fields, and an error with a path for a missing one.

use std::collections::BTreeMap;

use graphql_parser::query::{
    Definition, Field, OperationDefinition, Selection, SelectionSet, TypeCondition, Value as Given,
};
use serde_json::{Map, Value, json};

use super::{
    super::{PullRow, github_rules::Signatures},
    Shared, committed,
    troubles::Trouble,
};

/// A thing that a query selects fields of.
#[derive(Clone)]
enum Thing {
    Owner,
    Repository(usize),
    Ref(usize, String),
    Commit(usize, String),
    Tree(String),
    Blob(usize, String),
    /// Repository, mode, and the name of the content.
    Entry(usize, String, String),
    Pull(usize, Box<PullRow>),
    /// Fields that are known already.
    Plain(Value),
    /// Nodes, their total number, and the cursor of the next page.
    Page(Vec<Thing>, usize, Option<usize>),
}

enum Found {
    Leaf(Value),
    One(Thing),
    Many(Vec<Thing>),
}

/// A query while it is executed.
pub struct Execution<'s> {
    shared: &'s Shared,
    variables: &'s Value,
    pub errors: Vec<Value>,
    /// The number of repositories that the query requests by name.
    repositories: usize,
}

type Arguments = BTreeMap<String, Value>;

impl Thing {
    fn kind(&self) -> &'static str {
        match self {
            Self::Owner => "Organization",
            Self::Repository(_) => "Repository",
            Self::Ref(..) => "Ref",
            Self::Commit(..) => "Commit",
            Self::Tree(_) => "Tree",
            Self::Blob(..) => "Blob",
            Self::Entry(..) => "TreeEntry",
            Self::Pull(..) => "PullRequest",
            Self::Plain(_) => "",
            Self::Page(..) => "Connection",
        }
    }
}

impl<'s> Execution<'s> {
    pub fn new(shared: &'s Shared, variables: &'s Value) -> Self {
        Self {
            shared,
            variables,
            errors: Vec::new(),
            repositories: 0,
        }
    }

    /// The data of a query.
    pub fn run(&mut self, query: &str) -> Value {
        let document = graphql_parser::parse_query::<String>(query)
            .unwrap()
            .into_static();
        let Some(Definition::Operation(OperationDefinition::Query(query))) =
            document.definitions.first()
        else {
            panic!("it is no query");
        };
        let mut data = Map::new();
        let fields = query
            .selection_set
            .items
            .iter()
            .filter_map(|item| match item {
                Selection::Field(field) => Some(field),
                _ => None,
            });
        let fields: Vec<_> = fields.collect();
        self.repositories = fields
            .iter()
            .filter(|field| field.name == "repository")
            .count();
        for field in fields {
            let alias = field.alias.as_ref().unwrap_or(&field.name).clone();
            let arguments = self.arguments(field);
            let path = vec![json!(alias)];
            let value = match self.root(&field.name, &arguments, &path) {
                Some(thing) => self.select(&thing, &field.selection_set, &path),
                None => Value::Null,
            };
            data.insert(alias, value);
        }
        Value::Object(data)
    }

    /// Whether `@include` excludes a field.
    fn excludes(&self, field: &Field<'_, String>) -> bool {
        let mut conditions = field.directives.iter().flat_map(|one| &one.arguments);
        conditions.any(|(_, value)| self.given(value) == false)
    }

    fn arguments(&self, field: &Field<'_, String>) -> Arguments {
        let given = field.arguments.iter();
        given
            .map(|(name, value)| (name.clone(), self.given(value)))
            .collect()
    }

    fn given(&self, value: &Given<'_, String>) -> Value {
        match value {
            Given::Variable(name) => self.variables[name.as_str()].clone(),
            Given::Int(number) => number.as_i64().into(),
            Given::String(text) | Given::Enum(text) => text.clone().into(),
            Given::Boolean(value) => (*value).into(),
            Given::List(items) => items.iter().map(|item| self.given(item)).collect(),
            _ => Value::Null,
        }
    }

    fn fail(&mut self, kind: &str, path: &[Value], message: &str) {
        self.errors.push(json!({"type": kind, "path": path, "locations": [{"line": 1, "column": 1}], "message": message}));
    }

    fn root(&mut self, name: &str, arguments: &Arguments, path: &[Value]) -> Option<Thing> {
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match name {
            "viewer" => Some(Thing::Plain(json!({"login": "someone"}))),
            "repository" => {
                let (owner, name) = (text("owner"), text("name"));
                let found = self.shared.find(owner, name).map(|(number, _)| number);
                let missing =
                    |number: &usize| self.shared.trouble(*number) == Some(Trouble::Missing);
                if let Some(number) = found.filter(|number| !missing(number)) {
                    return Some(Thing::Repository(number));
                }
                let message =
                    format!("Could not resolve to a Repository with the name '{owner}/{name}'.");
                self.fail("NOT_FOUND", path, &message);
                None
            }
            "repositoryOwner" => text("login")
                .eq_ignore_ascii_case("acme")
                .then_some(Thing::Owner),
            "search" => Some(page(&self.all(), arguments)),
            _ => panic!("the simulated GitHub has no {name}"),
        }
    }

    fn all(&self) -> Vec<Thing> {
        let missing = |number: &usize| self.shared.trouble(*number) == Some(Trouble::Missing);
        let numbers = 0..self.shared.stores.len();
        numbers
            .filter(|number| !missing(number))
            .map(Thing::Repository)
            .collect()
    }

    fn select(
        &mut self,
        thing: &Thing,
        selected: &SelectionSet<'_, String>,
        path: &[Value],
    ) -> Value {
        let mut object = Map::new();
        self.collect(thing, selected, path, &mut object);
        Value::Object(object)
    }

    fn collect(
        &mut self,
        thing: &Thing,
        selected: &SelectionSet<'_, String>,
        path: &[Value],
        object: &mut Map<String, Value>,
    ) {
        for item in &selected.items {
            match item {
                Selection::Field(field) if self.excludes(field) => {}
                Selection::Field(field) => {
                    let alias = field.alias.as_ref().unwrap_or(&field.name).clone();
                    let below = [path, &[json!(alias)]].concat();
                    let arguments = self.arguments(field);
                    let value = match self.field(thing, &field.name, &arguments, &below) {
                        Some(Found::Leaf(value)) => value,
                        Some(Found::One(thing)) => {
                            self.select(&thing, &field.selection_set, &below)
                        }
                        Some(Found::Many(things)) => {
                            let one = |thing| self.select(thing, &field.selection_set, &below);
                            things.iter().map(one).collect()
                        }
                        None => Value::Null,
                    };
                    object.insert(alias, value);
                }
                Selection::InlineFragment(fragment) => {
                    let fits = match &fragment.type_condition {
                        Some(TypeCondition::On(name)) => name == thing.kind(),
                        None => true,
                    };
                    if fits {
                        self.collect(thing, &fragment.selection_set, path, object);
                    }
                }
                Selection::FragmentSpread(_) => panic!("it names a fragment"),
            }
        }
    }

    fn field(
        &mut self,
        thing: &Thing,
        name: &str,
        arguments: &Arguments,
        path: &[Value],
    ) -> Option<Found> {
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let leaf = |value: Value| Some(Found::Leaf(value));
        match (thing, name) {
            (Thing::Owner, "repositories") => Some(Found::One(page(&self.all(), arguments))),
            (Thing::Page(nodes, ..), "nodes") => Some(Found::Many(nodes.clone())),
            (Thing::Page(_, total, _), "totalCount" | "repositoryCount") => leaf(json!(total)),
            (Thing::Page(.., next), "pageInfo") => Some(Found::One(Thing::Plain(json!({
                "hasNextPage": next.is_some(),
                "endCursor": next.map(|next| next.to_string()),
            })))),
            (Thing::Plain(value), name) => match &value[name] {
                Value::Object(_) => Some(Found::One(Thing::Plain(value[name].clone()))),
                value => leaf(value.clone()),
            },
            (Thing::Repository(number), name) => self.of_repository(*number, name, arguments),
            (Thing::Ref(_, branch), "name") => leaf(json!(branch)),
            (Thing::Ref(number, branch), "refUpdateRule") => {
                let store = self.shared.store(*number);
                let protected = branch == store.default_branch
                    && store.rules.signatures == Some(Signatures::Protection);
                protected.then(|| Found::One(Thing::Plain(json!({"requiresSignatures": true}))))
            }
            (Thing::Ref(number, branch), "target") => {
                let id = self.shared.store(*number).refs[branch].clone();
                Some(Found::One(Thing::Commit(*number, id)))
            }
            (Thing::Commit(_, id) | Thing::Blob(_, id) | Thing::Tree(id), "oid") => leaf(json!(id)),
            (Thing::Commit(number, id), "file") => {
                if self.shared.options.heavy.contains(number) && self.repositories > 1 {
                    let message = "Resource limits for this query exceeded.";
                    self.fail("RESOURCE_LIMITS_EXCEEDED", path, message);
                    return None;
                }
                let store = self.shared.store(*number);
                let (mode, blob) = store.file(id, text("path"))?;
                Some(Found::One(Thing::Entry(*number, mode, blob)))
            }
            (Thing::Commit(number, id), name) => self.of_commit(*number, id, name, arguments),
            (Thing::Entry(_, mode, _), "mode") => {
                leaf(json!(u32::from_str_radix(mode, 8).unwrap()))
            }
            (Thing::Entry(.., blob), "oid") => leaf(json!(blob)),
            (Thing::Entry(number, _, blob), "object") => {
                Some(Found::One(Thing::Blob(*number, blob.clone())))
            }
            (Thing::Blob(number, id), name) => {
                let store = self.shared.store(*number);
                let content = &store.blob(id).unwrap();
                let binary = content.contains(&0);
                // The documentation of `Blob.isTruncated`; users report the length.
                let shown = &content[..content.len().min(512_000)];
                leaf(match name {
                    "byteSize" => json!(content.len()),
                    "isBinary" => json!(binary),
                    "isTruncated" => json!(shown.len() < content.len()),
                    // Text that is not UTF-8 is changed.
                    "text" if !binary => json!(String::from_utf8_lossy(shown)),
                    _ => Value::Null,
                })
            }
            (Thing::Pull(number, pull), name) => self.of_pull(*number, pull, name, arguments),
            (thing, name) => panic!("the simulated GitHub has no {}.{name}", thing.kind()),
        }
    }

    fn of_repository(&self, number: usize, name: &str, arguments: &Arguments) -> Option<Found> {
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let leaf = |value: Value| Some(Found::Leaf(value));
        let store = self.shared.store(number);
        let branch = |name: &str| {
            let known = store.refs.contains_key(name);
            known.then(|| Found::One(Thing::Ref(number, name.to_owned())))
        };
        match name {
            "nameWithOwner" => leaf(json!(self.shared.current_name(number))),
            "id" => leaf(json!(format!("R_{number}"))),
            "isArchived" => leaf(json!(store.archived)),
            "isEmpty" => leaf(json!(store.refs.is_empty())),
            "isPrivate" => leaf(json!(true)),
            "viewerPermission" => leaf(json!(match store.push {
                Some(false) => "READ",
                _ => "WRITE",
            })),
            "defaultBranchRef" => branch(store.default_branch),
            "ref" => branch(text("qualifiedName").strip_prefix("refs/heads/")?),
            "object" => {
                let oid = text("oid");
                if store.has_commit(oid) {
                    return Some(Found::One(Thing::Commit(number, oid.to_owned())));
                }
                if store.blob(oid).is_some() {
                    return Some(Found::One(Thing::Blob(number, oid.to_owned())));
                }
                let (reference, path) = text("expression").split_once(':')?;
                let reference = if reference == "HEAD" {
                    store.default_branch
                } else {
                    reference
                };
                let head = store.refs.get(reference)?;
                let (_, blob) = store.file(head, path)?;
                Some(Found::One(Thing::Blob(number, blob)))
            }
            "pullRequests" => {
                let head = arguments.get("headRefName").and_then(Value::as_str);
                let wanted = |pull: &&PullRow| head.is_none_or(|head| pull.head == head);
                // The oldest first.
                let pulls = store.pulls.iter().filter(wanted);
                let pulls: Vec<_> = pulls
                    .map(|pull| Thing::Pull(number, Box::new(pull.clone())))
                    .collect();
                Some(Found::One(page(&pulls, arguments)))
            }
            "repositoryTopics" => {
                let topics: &[&str] = if number.is_multiple_of(2) {
                    &["even", "service"]
                } else {
                    &["service"]
                };
                let topics: Vec<_> = topics
                    .iter()
                    .map(|name| Thing::Plain(json!({"topic": {"name": name}})))
                    .collect();
                Some(Found::One(page(&topics, arguments)))
            }
            name => panic!("the simulated GitHub has no Repository.{name}"),
        }
    }

    fn of_commit(
        &self,
        number: usize,
        id: &str,
        name: &str,
        arguments: &Arguments,
    ) -> Option<Found> {
        let leaf = |value: Value| Some(Found::Leaf(value));
        let store = self.shared.store(number);
        let commit = store.commit(id);
        match name {
            "message" => leaf(json!(commit.message)),
            "committedDate" => leaf(json!(committed(&store, id))),
            "author" => Some(Found::One(Thing::Plain(json!({"name": "Someone"})))),
            "tree" => Some(Found::One(Thing::Tree(commit.tree.clone()))),
            "parents" => {
                let parents = commit.parents.iter();
                let parents: Vec<_> = parents
                    .map(|id| Thing::Commit(number, id.clone()))
                    .collect();
                Some(Found::One(page(&parents, arguments)))
            }
            name => panic!("the simulated GitHub has no Commit.{name}"),
        }
    }

    fn of_pull(
        &self,
        number: usize,
        pull: &PullRow,
        name: &str,
        arguments: &Arguments,
    ) -> Option<Found> {
        let leaf = |value: Value| Some(Found::Leaf(value));
        let store = self.shared.store(number);
        let head = store.refs.get(&pull.head);
        let full_name = self.shared.current_name(number);
        match name {
            "number" => leaf(json!(pull.number)),
            "url" => leaf(json!(format!(
                "https://github.example/{full_name}/pull/{}",
                pull.number
            ))),
            "id" => leaf(json!(format!("PR_{number}_{}", pull.number))),
            "title" => leaf(json!(pull.title)),
            "body" => leaf(json!(pull.body)),
            "state" => leaf(json!(match (&pull.merged, pull.open) {
                (Some(_), _) => "MERGED",
                (None, true) => "OPEN",
                (None, false) => "CLOSED",
            })),
            "isDraft" => leaf(json!(pull.draft)),
            "headRefName" => leaf(json!(pull.head)),
            "headRefOid" => {
                let shown = store.gitea.shown.get(&pull.number).or(head);
                leaf(json!(shown.or(pull.closed_at.as_ref())))
            }
            "baseRefName" => leaf(json!(pull.base)),
            "isCrossRepository" => leaf(json!(pull.head_repo != "acme/flows")),
            "headRef" => head.map(|_| Found::One(Thing::Ref(number, pull.head.clone()))),
            "mergeCommit" => {
                let merged = pull.merged.as_ref()?;
                Some(Found::One(Thing::Commit(number, merged.clone())))
            }
            "labels" => {
                let labels = pull.labels.iter();
                let labels: Vec<_> = labels
                    .map(|name| Thing::Plain(json!({"name": name})))
                    .collect();
                Some(Found::One(page(&labels, arguments)))
            }
            name => panic!("the simulated GitHub has no PullRequest.{name}"),
        }
    }
}

/// A page of a connection: the documentation requires `first` or `last`, at most 100.
fn page(all: &[Thing], arguments: &Arguments) -> Thing {
    let number = |name: &str| arguments.get(name).and_then(Value::as_u64);
    let after = arguments.get("after").and_then(Value::as_str);
    let from: usize = after.map_or(0, |cursor| cursor.parse().unwrap());
    let total = all.len();
    if let Some(last) = number("last") {
        assert!(last <= 100);
        let skipped = total.saturating_sub(usize::try_from(last).unwrap());
        return Thing::Page(all[skipped..].to_vec(), total, None);
    }
    let first = number("first").expect("MISSING_PAGINATION_BOUNDARIES");
    assert!(first <= 100);
    let end = total.min(from + usize::try_from(first).unwrap());
    let next = (end < total).then_some(end);
    Thing::Page(all[from.min(end)..end].to_vec(), total, next)
}
