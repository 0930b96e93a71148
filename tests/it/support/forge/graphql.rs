//! GitHub's published GraphQL schema, for the validation of queries and their variables.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use graphql_parser::{
    parse_query, parse_schema,
    query::{
        Definition, Field, OperationDefinition, Selection, SelectionSet, TypeCondition,
        Value as Given,
    },
    schema::{self, Type, TypeDefinition},
};
use serde_json::Value;

use super::super::schema::Schema;

/// The fields of a type that a query may select, by GitHub's schema.
#[derive(Default)]
struct Shape {
    fields: HashMap<String, schema::Field<'static, String>>,
    /// The interfaces of an object, the members of a union.
    related: Vec<String>,
}

pub struct Graphql {
    types: HashMap<String, Shape>,
    /// The inputs of mutations as JSON schemas, by the mutation's name.
    mutations: Value,
}

/// An operation while it is checked.
struct Operation {
    /// The types of its variables.
    declared: BTreeMap<String, String>,
    used: BTreeSet<String>,
}

impl Graphql {
    pub fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/openapi/github.graphql");
        let text = fs::read_to_string(path).unwrap();
        let document = parse_schema::<String>(&text).unwrap().into_static();
        let definitions = document.definitions.into_iter();
        let types = definitions.filter_map(|definition| match definition {
            schema::Definition::TypeDefinition(definition) => shape(definition),
            _ => None,
        });
        Self {
            types: types.collect(),
            mutations: super::schema::load("github-graphql.json")["mutations"].clone(),
        }
    }

    pub fn check(&self, query: &str, variables: &Value) -> Result<(), String> {
        let document = parse_query::<String>(query).map_err(|error| error.to_string())?;
        let [Definition::Operation(operation)] = document.definitions.as_slice() else {
            return Err("it is not one operation".to_owned());
        };
        let (root, declared, selected, mutation) = match operation {
            OperationDefinition::Query(query) => (
                "Query",
                &query.variable_definitions,
                &query.selection_set,
                None,
            ),
            OperationDefinition::Mutation(mutation) => {
                let [Selection::Field(field)] = mutation.selection_set.items.as_slice() else {
                    return Err("it is not one mutation".to_owned());
                };
                let (declared, selected) =
                    (&mutation.variable_definitions, &mutation.selection_set);
                ("Mutation", declared, selected, Some(field.name.as_str()))
            }
            _ => return Err("expected a query or a mutation".to_owned()),
        };
        let declared: BTreeMap<_, _> = declared
            .iter()
            .map(|variable| (variable.name.clone(), variable.var_type.to_string()))
            .collect();
        let names: BTreeSet<_> = declared.keys().cloned().collect();
        let mut operation = Operation {
            declared,
            used: BTreeSet::new(),
        };
        self.select(root, selected, &mut operation)?;
        if operation.used != names {
            return Err(format!(
                "variables {names:?} are declared and {:?} used",
                operation.used
            ));
        }
        self.check_variables(&names, variables, mutation)
    }

    /// Checks the selected fields of a type (GraphQL specification, "Validation": fields, leaf
    /// fields, fragments).
    fn select(
        &self,
        on: &str,
        selected: &SelectionSet<'_, String>,
        operation: &mut Operation,
    ) -> Result<(), String> {
        for item in &selected.items {
            match item {
                Selection::Field(field) if field.name == "__typename" => {}
                Selection::Field(field) => self.field(on, field, operation)?,
                Selection::InlineFragment(fragment) => {
                    let narrowed = match &fragment.type_condition {
                        Some(TypeCondition::On(name)) => name.as_str(),
                        None => on,
                    };
                    if !self.may_be(on, narrowed) {
                        return Err(format!("{on} is never {narrowed}"));
                    }
                    self.select(narrowed, &fragment.selection_set, operation)?;
                }
                Selection::FragmentSpread(_) => return Err("it names a fragment".to_owned()),
            }
        }
        Ok(())
    }

    fn field(
        &self,
        on: &str,
        field: &Field<'_, String>,
        operation: &mut Operation,
    ) -> Result<(), String> {
        let name = format!("{on}.{}", field.name);
        operation.directives(field)?;
        let known = self
            .types
            .get(on)
            .and_then(|shape| shape.fields.get(&field.name))
            .ok_or(format!("there is no field {name}"))?;
        for (argument, value) in &field.arguments {
            let known = known
                .arguments
                .iter()
                .find(|known| known.name == *argument)
                .ok_or(format!("{name} takes no {argument}"))?;
            operation
                .takes(&known.value_type, value)
                .map_err(|error| format!("{argument} of {name}: {error}"))?;
        }
        let given = |name: &str| field.arguments.iter().any(|(given, _)| given == name);
        let required = |argument: &&schema::InputValue<'_, String>| {
            matches!(argument.value_type, Type::NonNullType(_)) && argument.default_value.is_none()
        };
        let mut required = known.arguments.iter().filter(required);
        if let Some(missing) = required.find(|argument| !given(&argument.name)) {
            return Err(format!("{name} needs {}", missing.name));
        }
        let of = named(&known.field_type);
        match (
            self.types.contains_key(of),
            field.selection_set.items.is_empty(),
        ) {
            (true, true) => Err(format!("no field of {name} is selected")),
            (false, false) => Err(format!("{name} has no fields")),
            _ => self.select(of, &field.selection_set, operation),
        }
    }

    /// Whether a value of one type may be one of another.
    fn may_be(&self, on: &str, narrowed: &str) -> bool {
        let related = |one: &str, other: &str| {
            let shape = self.types.get(one);
            shape.is_some_and(|shape| shape.related.iter().any(|name| name == other))
        };
        on == narrowed || related(on, narrowed) || related(narrowed, on)
    }

    fn check_variables(
        &self,
        declared: &BTreeSet<String>,
        given: &Value,
        mutation: Option<&str>,
    ) -> Result<(), String> {
        let given_names: BTreeSet<_> = given
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect();
        if *declared != given_names {
            return Err(format!(
                "variables {declared:?} are declared and {given_names:?} given"
            ));
        }
        let Some(mutation) = mutation else {
            let is_scalar = |value: &Value| !value.is_object() && !value.is_array();
            let scalars = given
                .as_object()
                .is_some_and(|given| given.values().all(is_scalar));
            return if scalars {
                Ok(())
            } else {
                Err("a variable is not a scalar".to_owned())
            };
        };
        Schema::new(&self.mutations[mutation]["schema"]).validate(&given["input"])
    }
}

impl Operation {
    /// Only `@include(if: $name)` with a variable that is never null.
    fn directives(&mut self, field: &Field<'_, String>) -> Result<(), String> {
        for directive in &field.directives {
            let [(argument, Given::Variable(name))] = directive.arguments.as_slice() else {
                return Err(format!("unexpected arguments of @{}", directive.name));
            };
            let declared = self.declared.get(name).map(String::as_str);
            if (&*directive.name, &**argument, declared) != ("include", "if", Some("Boolean!")) {
                return Err(format!("unexpected directive @{}", directive.name));
            }
            self.used.insert(name.clone());
        }
        Ok(())
    }

    /// Whether an argument takes a value. A value with fields must be a variable.
    fn takes(
        &mut self,
        wanted: &Type<'_, String>,
        given: &Given<'_, String>,
    ) -> Result<(), String> {
        let fits = match given {
            Given::Variable(name) => {
                let declared = self.declared.get(name).ok_or("an undeclared variable")?;
                self.used.insert(name.clone());
                let wanted = wanted.to_string();
                return if *declared == wanted || *declared == format!("{wanted}!") {
                    Ok(())
                } else {
                    Err(format!("${name} is {declared}, wanted is {wanted}"))
                };
            }
            Given::String(_) => !["Boolean", "Float", "Int"].contains(&named(wanted)),
            Given::Int(_) => named(wanted) == "Int",
            Given::Boolean(_) => named(wanted) == "Boolean",
            Given::List(items) => {
                let Some(item) = item(wanted) else {
                    return Err(format!("{given} is no {wanted}"));
                };
                return items.iter().try_for_each(|one| self.takes(item, one));
            }
            Given::Enum(_) => !["Boolean", "Float", "Int", "String", "ID"].contains(&named(wanted)),
            _ => false,
        };
        fits.then_some(()).ok_or(format!("{given} is no {wanted}"))
    }
}

/// The element type of a list.
fn item<'o, 't>(of: &'o Type<'t, String>) -> Option<&'o Type<'t, String>> {
    match of {
        Type::ListType(item) => Some(item),
        Type::NonNullType(inner) => item(inner),
        Type::NamedType(_) => None,
    }
}

/// The type within lists and exclamation marks.
fn named<'t>(of: &'t Type<'_, String>) -> &'t str {
    match of {
        Type::NamedType(name) => name,
        Type::ListType(inner) | Type::NonNullType(inner) => named(inner),
    }
}

/// A type of which something is selected, with its name.
fn shape(definition: TypeDefinition<'static, String>) -> Option<(String, Shape)> {
    let (name, fields, related) = match definition {
        TypeDefinition::Object(object) => {
            (object.name, object.fields, object.implements_interfaces)
        }
        TypeDefinition::Interface(interface) => (
            interface.name,
            interface.fields,
            interface.implements_interfaces,
        ),
        TypeDefinition::Union(union) => (union.name, Vec::new(), union.types),
        _ => return None,
    };
    let fields = fields.into_iter().map(|field| (field.name.clone(), field));
    let fields = fields.collect();
    Some((name, Shape { fields, related }))
}
