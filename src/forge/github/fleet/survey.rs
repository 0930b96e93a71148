//! The heads, configurations and pull requests of many repositories with one query.

use super::{GithubFleet, Part, is_heavy, is_regular};
use crate::{
    base::files::MAX_CONFIG_SIZE,
    forge::{
        Mergeable, Pull, PullState, Readiness,
        fleet::{ConfigFile, Head, RepositoryState, Survey, SurveyRequest, SurveyedBranch},
        github::{
            before_pull::{FactsRow, NewestRow},
            graphql::Batch,
            repository::scopes,
            rules::RefUpdateRuleRow,
        },
        http::Failure,
    },
    git::{AheadCommit, blob_id},
};
use serde::Deserialize;
use serde_json::Value;

/// The fields of a repository. Without an order, connections list the oldest entries first (the
/// documentation, "Forming calls with GraphQL"), so the last entries are the newest.
const REPOSITORY: &str = include_str!("../queries/survey.graphql");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryRow {
    #[serde(flatten)]
    facts: FactsRow,
    is_empty: bool,
    standard: Option<NameRow>,
    base: Option<RefRow>,
    branch: Option<RefRow>,
    pulls: PullsRow,
    newest: NewestRow,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefRow {
    #[serde(default)]
    name: String,
    /// The protection of the branch, as every reader of the repository sees it.
    ref_update_rule: Option<RefUpdateRuleRow>,
    target: Option<HeadCommitRow>,
}

#[derive(Deserialize)]
struct HeadCommitRow {
    oid: String,
    tree: ObjectRow,
    file: Option<FileRow>,
    #[serde(default)]
    message: String,
    parents: Option<Nodes<ObjectRow>>,
}

#[derive(Deserialize)]
struct ObjectRow {
    oid: String,
}

#[derive(Deserialize)]
struct Nodes<T> {
    nodes: Vec<T>,
}

#[derive(Deserialize)]
struct FileRow {
    mode: u32,
    oid: String,
    object: Option<BlobRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobRow {
    // Every field is missing if the object is not a blob.
    byte_size: Option<u64>,
    is_binary: Option<bool>,
    #[serde(default)]
    is_truncated: bool,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullsRow {
    total_count: usize,
    nodes: Vec<PullRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullRow {
    number: u64,
    url: String,
    id: String,
    title: String,
    body: String,
    state: String,
    is_draft: bool,
    head_ref_name: String,
    head_ref_oid: String,
    is_cross_repository: bool,
    base_ref_name: String,
    head_ref: Option<NameRow>,
    merge_commit: Option<ObjectRow>,
    labels: Option<Nodes<NameRow>>,
}

#[derive(Deserialize)]
struct NameRow {
    name: String,
}

impl From<PullRow> for Pull {
    fn from(row: PullRow) -> Self {
        let state = match row.state.as_str() {
            "OPEN" => PullState::Open,
            "MERGED" => PullState::Merged(row.merge_commit.map(|commit| commit.oid)),
            _ => PullState::Closed,
        };
        let labels = row.labels.map(|labels| labels.nodes).unwrap_or_default();
        Self {
            number: row.number,
            url: row.url,
            node: row.id,
            title: row.title,
            body: row.body,
            state,
            merged_by: None,
            readiness: if row.is_draft {
                Readiness::Draft
            } else {
                Readiness::Ready
            },
            head: row.head_ref_name,
            head_commit: row.head_ref_oid,
            own: !row.is_cross_repository,
            base: row.base_ref_name,
            labels: labels.into_iter().map(|label| label.name).collect(),
            base_commit: String::new(),
            mergeable: Mergeable::Unknown,
            merge_delay: None,
            head_exists: row.head_ref.is_some(),
        }
    }
}

impl FileRow {
    fn config(self) -> ConfigFile {
        if !is_regular(self.mode) {
            return ConfigFile::Unusable("it is not a regular file".to_owned());
        }
        let Some(blob) = self.object else {
            return ConfigFile::Unusable("GitHub does not show its content".to_owned());
        };
        if blob.byte_size.is_some_and(|size| size > MAX_CONFIG_SIZE) {
            return ConfigFile::too_large();
        }
        match blob.text {
            Some(_) if blob.is_truncated => {
                ConfigFile::Unusable("GitHub shows only its beginning".to_owned())
            }
            // GitHub alters text that is not valid UTF-8: the id shows it.
            Some(text) if blob_id(text.as_bytes(), &self.oid) == self.oid => {
                ConfigFile::from_bytes(text.into_bytes())
            }
            None if blob.is_binary != Some(true) => {
                ConfigFile::Unusable("GitHub does not show its content".to_owned())
            }
            _ => ConfigFile::Unusable("it is not UTF-8".to_owned()),
        }
    }
}

impl RepositoryRow {
    fn survey(self, request: &SurveyRequest, scopes: Option<Vec<String>>) -> Survey {
        // GitHub follows renames silently.
        if !request.repository.is(&self.facts.name_with_owner) {
            return Survey::Moved(self.facts.name_with_owner);
        }
        if self.facts.is_archived {
            return Survey::Archived;
        }
        let Some(base) = self.base else {
            return match &request.base {
                Some(base) if !self.is_empty => Survey::NoBase(base.clone()),
                _ => Survey::Empty,
            };
        };
        let Some(commit) = base.target else {
            return Survey::Empty;
        };
        let all_pulls = self.pulls.nodes.len() >= self.pulls.total_count;
        let mut pulls: Vec<Pull> = self.pulls.nodes.into_iter().map(Pull::from).collect();
        pulls.retain(|pull| pull.own && pull.head == request.branch && pull.base == base.name);
        Survey::Present(Box::new(RepositoryState {
            repo: self.facts.repo(
                self.standard.map_or_else(String::new, |branch| branch.name),
                scopes,
            ),
            head: Head {
                commit: commit.oid,
                tree: commit.tree.oid,
            },
            config: commit.file.map_or(ConfigFile::Missing, FileRow::config),
            branch: self
                .branch
                .and_then(|branch| branch.target)
                .map(SurveyedBranch::from),
            pulls,
            all_pulls,
            newest_pull: self.newest.number(),
            requires_signatures: base
                .ref_update_rule
                .is_some_and(|rule| rule.requires_signatures),
            base: base.name,
        }))
    }
}

impl From<HeadCommitRow> for SurveyedBranch {
    fn from(row: HeadCommitRow) -> Self {
        let parents = row.parents.map(|parents| parents.nodes).unwrap_or_default();
        Self {
            commit: AheadCommit {
                id: row.oid,
                message: row.message,
                parents: parents.into_iter().map(|parent| parent.oid).collect(),
            },
            tree: row.tree.oid,
        }
    }
}

/// The query for some of the requests, and its variables.
fn query(requests: &[SurveyRequest], batch: &[usize]) -> (String, Value) {
    let mut query = Batch::default();
    for number in batch {
        let request = &requests[*number];
        query.repository(*number, &request.repository.owner, &request.repository.name);
        for (name, value) in [
            ("config", request.config.clone()),
            ("ref", format!("refs/heads/{}", request.branch)),
            ("head", request.branch.clone()),
        ] {
            query.variable(&format!("{name}_{number}"), "String!", value);
        }
        let Some(base) = &request.base else {
            query.select(REPOSITORY, *number);
            continue;
        };
        let base = format!("refs/heads/{base}");
        query.variable(&format!("base_{number}"), "String!", base);
        let base = "base: ref(qualifiedName: $base_0)";
        query.select(
            &REPOSITORY.replacen("base: defaultBranchRef", base, 1),
            *number,
        );
    }
    query.query()
}

impl GithubFleet {
    /// Surveys some of the repositories with one query.
    pub(super) async fn survey_batch(
        &self,
        requests: &[SurveyRequest],
        batch: &[usize],
    ) -> Result<Vec<Part<Survey>>, Failure> {
        let (query, variables) = query(requests, batch);
        let what = "surveying repositories";
        let mut fields = self.query(&query, &variables, what, batch.len()).await?;
        let scopes = scopes(&self.http, &fields.reply);
        let mut parts = Vec::new();
        for number in batch {
            let request = &requests[*number];
            let alias = format!("repository_{number}");
            let row = fields.data.remove(&alias).unwrap_or_default();
            let what = format!("GitHub: reading {}", request.repository);
            parts.push(match fields.error_of(&alias) {
                Some(error) if is_heavy(error) => Part::Heavy(self.part_error(&what, error)),
                // The field of the repository itself is missing.
                Some(error) if error.kind == "NOT_FOUND" && row.is_null() => {
                    Part::Done(Survey::Missing)
                }
                Some(error) => Part::Done(Survey::Failed(self.part_error(&what, error))),
                None => Part::Done(match serde_json::from_value::<RepositoryRow>(row) {
                    Ok(row) => row.survey(request, scopes.clone()),
                    Err(error) => Survey::Failed(self.malformed(&what, &error)),
                }),
            });
        }
        Ok(parts)
    }
}
