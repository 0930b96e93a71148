//! GitHub's published GraphQL schema, as the judge of queries and of what is handed to them.

use std::{collections::BTreeSet, fs, path::Path};

use graphql_tools::{
    parser::{query::parse_query, schema::parse_schema},
    static_graphql::{
        query::{Definition, OperationDefinition, Selection, VariableDefinition},
        schema,
    },
    validation::{
        rules::default_rules_validation_plan,
        validate::{ValidationPlan, validate},
    },
};
use serde_json::Value;

use super::super::schema::Schema;

pub struct Graphql {
    schema: schema::Document,
    plan: ValidationPlan,
    /// The inputs of mutations as JSON schemas, by the mutation's name.
    mutations: Value,
}

impl Graphql {
    pub fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/openapi/github.graphql");
        // Built into the language, and so in no schema.
        let text = fs::read_to_string(path).unwrap()
            + "scalar Boolean scalar Float scalar ID scalar Int scalar String";
        let schema = parse_schema::<String>(&text).unwrap().into_static();
        let mutations = super::schema::load("github-graphql.json")["mutations"].clone();
        Self {
            schema,
            plan: default_rules_validation_plan(),
            mutations,
        }
    }

    pub fn check(&self, query: &str, variables: &Value) -> Result<(), String> {
        let document = parse_query::<String>(query)
            .map_err(|error| error.to_string())?
            .into_static();
        let errors = validate(&self.schema, &document, &self.plan);
        if let Some(error) = errors.first() {
            return Err(error.message.clone());
        }
        let [Definition::Operation(operation)] = document.definitions.as_slice() else {
            return Err("it is not one operation".to_owned());
        };
        let (declared, mutation) = match operation {
            OperationDefinition::Query(query) => (&query.variable_definitions, None),
            OperationDefinition::Mutation(mutation) => {
                let [Selection::Field(field)] = mutation.selection_set.items.as_slice() else {
                    return Err("it is not one mutation".to_owned());
                };
                (&mutation.variable_definitions, Some(field.name.as_str()))
            }
            _ => return Err("it is neither a query nor a mutation".to_owned()),
        };
        self.check_variables(declared, variables, mutation)
    }

    fn check_variables(
        &self,
        declared: &[VariableDefinition],
        given: &Value,
        mutation: Option<&str>,
    ) -> Result<(), String> {
        let declared: BTreeSet<_> = declared
            .iter()
            .map(|variable| variable.name.as_str())
            .collect();
        let given_names: BTreeSet<_> = given
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        if declared != given_names {
            return Err(format!(
                "variables {declared:?} are declared and {given_names:?} given"
            ));
        }
        let Some(mutation) = mutation else {
            let texts = given
                .as_object()
                .is_some_and(|given| given.values().all(Value::is_string));
            return if texts {
                Ok(())
            } else {
                Err("a variable is not a text".to_owned())
            };
        };
        Schema::new(&self.mutations[mutation]["schema"]).validate(&given["input"])
    }
}
