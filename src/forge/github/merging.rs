//! Merges pull requests by a method that the base allows, or through the merge queue of the base.
//!
//! A merge queue chooses the method itself, and refuses every other merge. `pull_request::merging` and
//! the queue decide whether a pull request may enter.

use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::{
    Github,
    graphql::{MAY_WRITE, Response},
    rules::{METHODS, RefRow},
};
use crate::{
    base::error::{Class, Error},
    forge::{Merge, MergeMethod, Pull, Queue, shared},
};

/// The maximum number of requests for a pull request while GitHub computes its state.
const MAX_READS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MergeRoute {
    Method(MergeMethod),
    /// The merge queue of the base, which chooses the method.
    Queue,
}

/// The settings of the repository and the protection of a branch.
#[derive(Debug, Default)]
struct Settings {
    /// The methods that the repository allows.
    methods: Vec<MergeMethod>,
    queue: Option<MergeQueue>,
    linear: bool,
    signatures: bool,
}

/// A merge queue, and its method if it is known.
#[derive(Debug)]
struct MergeQueue(Option<MergeMethod>);

#[derive(Deserialize)]
struct PullRow {
    state: Option<String>,
    /// GitHub computes it in the background.
    mergeable_state: Option<String>,
    /// Null unless a merge is scheduled.
    auto_merge: Option<IgnoredAny>,
}

/// The merge methods of a repository in REST.
#[derive(Deserialize)]
struct MethodsRow {
    #[serde(default)]
    allow_merge_commit: bool,
    #[serde(default)]
    allow_squash_merge: bool,
    #[serde(default)]
    allow_rebase_merge: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SettingsRow {
    #[serde(default)]
    merge_commit_allowed: bool,
    #[serde(default)]
    squash_merge_allowed: bool,
    #[serde(default)]
    rebase_merge_allowed: bool,
    merge_queue: Option<QueueRow>,
    r#ref: Option<RefRow>,
}

#[derive(Deserialize)]
struct QueueRow {
    configuration: Option<QueueConfigurationRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueueConfigurationRow {
    merge_method: Option<String>,
}

impl QueueRow {
    fn method(self) -> Option<MergeMethod> {
        let name = self.configuration?.merge_method?.to_ascii_lowercase();
        METHODS.into_iter().find(|method| method.as_str() == name)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PositionRow {
    merge_queue: Option<QueueRow>,
    pull_request: Option<QueuedPullRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueuedPullRow {
    merge_queue_entry: Option<QueueEntryRow>,
    timeline_items: Option<TimelineRow>,
}

#[derive(Deserialize)]
struct QueueEntryRow {
    position: Option<u64>,
    state: Option<String>,
}

/// The last event shows whether the pull request left the queue at its current head.
#[derive(Deserialize)]
struct TimelineRow {
    nodes: Option<Vec<Option<EventRow>>>,
}

#[derive(Deserialize)]
struct EventRow {
    #[serde(rename = "__typename")]
    kind: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnqueueData {
    enqueue_pull_request: Option<EnqueuedRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnqueuedRow {
    merge_queue_entry: Option<QueueEntryRow>,
}

/// The methods of [`METHODS`] that are allowed.
fn allowed_methods(is_allowed: [bool; 3]) -> Vec<MergeMethod> {
    let methods = METHODS.into_iter().zip(is_allowed);
    methods
        .filter(|(_, is_allowed)| *is_allowed)
        .map(|(method, _)| method)
        .collect()
}

impl Github {
    pub(crate) async fn check_merge_method(&self, base: &str) -> Result<(), Error> {
        if self.method != MergeMethod::Auto {
            self.merge_route(base).await?;
        }
        Ok(())
    }

    /// Whether GitHub refuses to merge the pull request in its current state: its branch is in
    /// conflict, or must be updated from its base.
    pub(crate) async fn is_outdated(&self, pull: Option<&Pull>, base: &str) -> Result<bool, Error> {
        if let Some(pull) = pull {
            match self.mergeable_state(pull.number).await?.as_deref() {
                Some("behind" | "dirty") => return Ok(true),
                Some("clean" | "unstable" | "has_hooks") => return Ok(false),
                // `blocked` and `draft` take precedence over `behind`, and the state may stay unknown.
                _ => {}
            }
        }
        self.requires_up_to_date(base).await
    }

    pub(crate) async fn schedule_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let method = match self.merge_route(&pull.base).await? {
            MergeRoute::Queue => return self.queue_outcome(pull).await,
            MergeRoute::Method(method) => method.as_str().to_ascii_uppercase(),
        };
        let input =
            json!({"pullRequestId": pull.node, "expectedHeadOid": head, "mergeMethod": method});
        let what = format!("scheduling the merge of #{}", pull.number);
        let mutation = include_str!("queries/schedule_merge.graphql");
        let response: Response<IgnoredAny> = self.mutate(mutation, input, &what).await?;
        let Some(error) = response.errors.first() else {
            return Ok(Merge::Scheduled);
        };
        let message = self.http.clean(&error.message);
        match error.kind.as_str() {
            // Nothing pending ("clean"), or only optional checks ("unstable", "has_hooks").
            _ if ["clean status", "unstable status", "has_hooks status"]
                .iter()
                .any(|word| message.contains(word)) =>
            {
                Ok(Merge::Clean(message))
            }
            // GitHub checks for conflicts right after the branch was created.
            _ if message.contains("unknown status") => Ok(Merge::Later(message)),
            "FORBIDDEN" => {
                let what = format!("GitHub: {what}");
                Err(Error::about(Class::Denied, what, message).help(MAY_WRITE))
            }
            _ => Ok(Merge::Refused(message)),
        }
    }

    pub(crate) async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let what = format!("canceling the scheduled merge of #{}", pull.number);
        let input = json!({"pullRequestId": pull.node});
        let mutation = include_str!("queries/cancel_merge.graphql");
        let response: Response<IgnoredAny> = self.mutate(mutation, input, &what).await?;
        let Some(error) = response.errors.first() else {
            return Ok(true);
        };
        let class = if error.kind == "FORBIDDEN" {
            Class::Denied
        } else if self.is_scheduled(pull).await? {
            Class::Refused
        } else {
            // "Can't disable auto-merge for this pull request", because no merge is scheduled.
            return Ok(false);
        };
        let message = self.http.clean(&error.message);
        Err(Error::about(class, format!("GitHub: {what}"), message))
    }

    pub(crate) async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let method = match self.merge_route(&pull.base).await? {
            MergeRoute::Queue => return self.enqueue(pull, head).await,
            MergeRoute::Method(method) => method.as_str(),
        };
        let path = format!("pulls/{}/merge", pull.number);
        let request = self.request(Method::PUT, &path, format!("merging #{}", pull.number));
        let reply = self
            .http
            .send(&request.body(json!({"sha": head, "merge_method": method})))
            .await?;
        match reply.status.as_u16() {
            200 => Ok(Merge::Merged),
            405 if reply.text().contains("try the merge again") => Ok(Merge::Later(reply.text())),
            405 | 409 | 422 => Ok(Merge::Refused(reply.text())),
            403 => Err(reply.error().help(MAY_WRITE)),
            _ => Err(reply.error()),
        }
    }

    pub(crate) async fn queue(&self, pull: &Pull) -> Result<Queue, Error> {
        let query = include_str!("queries/queue_position.graphql");
        let variables = json!({"base": pull.base, "number": pull.number});
        let what = format!("looking for #{} in the merge queue", pull.number);
        let row: Option<PositionRow> = self.query_repository(query, variables, &what).await?;
        let Some(PositionRow {
            merge_queue: Some(_),
            pull_request,
        }) = row
        else {
            return Ok(Queue::Missing);
        };
        let Some(row) = pull_request else {
            return Ok(Queue::Outside);
        };
        if let Some(entry) = row.merge_queue_entry
            && let Some(position) = entry.position
        {
            let state = entry.state.as_deref().unwrap_or("QUEUED");
            return Ok(Queue::Waiting(position, self.http.clean(state)));
        }
        let events = row.timeline_items.and_then(|items| items.nodes);
        let reason = match events.into_iter().flatten().next().flatten() {
            Some(event) if event.kind == "RemovedFromMergeQueueEvent" => {
                event.reason.unwrap_or_default()
            }
            _ => return Ok(Queue::Outside),
        };
        let reason = reason.trim();
        // A merged pull request is removed from the queue as well, and may be listed as open for a moment. The
        // webhook `dequeued` lists the reasons.
        if ["merge", "merged", "already_merged"].contains(&&*reason.to_ascii_lowercase()) {
            return Ok(Queue::Outside);
        }
        let reason = self.http.clean(reason);
        Ok(Queue::Removed(
            Some(reason).filter(|reason| !reason.is_empty()),
        ))
    }

    /// `mergeable_state`, requested again while GitHub computes it.
    async fn mergeable_state(&self, number: u64) -> Result<Option<String>, Error> {
        let what = format!("reading whether pull request #{number} can be merged");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        for round in 1..=MAX_READS {
            let row: Option<PullRow> = self.http.find(&request, &[404]).await?;
            let state = row.and_then(|row| row.mergeable_state);
            if state.as_deref() != Some("unknown") {
                return Ok(state);
            }
            if round < MAX_READS {
                self.http.back_off(round).await;
            }
        }
        Ok(None)
    }

    /// The route of merges into `base`; an error if the configured method is not allowed.
    async fn merge_route(&self, base: &str) -> Result<MergeRoute, Error> {
        let settings = self.merge_settings(base).await?;
        let configured = self.method;
        let what = format!("GitHub: merging into {base}");
        if let Some(MergeQueue(method)) = settings.queue {
            return match method {
                Some(method) if ![MergeMethod::Auto, method].contains(&configured) => {
                    let queue = format!("the merge queue of {base}");
                    let allowed = [method.as_str()];
                    Err(shared::method_refused(what, configured, &queue, &allowed))
                }
                _ => Ok(MergeRoute::Queue),
            };
        }
        let mut rules = self.rules(base).await?;
        rules.linear |= settings.linear;
        rules.signatures |= settings.signatures;
        let by_rules = METHODS.map(|method| rules.allow(method));
        let by_rules = allowed_methods(by_rules);
        let mut allowed = by_rules.clone();
        allowed.retain(|method| settings.methods.contains(method));
        match (configured, allowed.first()) {
            (MergeMethod::Auto, Some(first)) => Ok(MergeRoute::Method(*first)),
            (method, _) if allowed.contains(&method) => Ok(MergeRoute::Method(method)),
            (_, None) => {
                let reason = format!(
                    "no merge method is allowed: the repository allows {}, and the rules of {base} allow {}",
                    join(&settings.methods),
                    join(&by_rules),
                );
                let hint = "allow one method in the repository's settings and in the rules";
                Err(Error::about(Class::Refused, what, reason).help(hint))
            }
            (method, Some(_)) => {
                let allowed: Vec<_> = allowed.iter().map(|method| method.as_str()).collect();
                Err(shared::method_refused(what, method, base, &allowed))
            }
        }
    }

    async fn merge_settings(&self, base: &str) -> Result<Settings, Error> {
        let query = include_str!("queries/merge_settings.graphql");
        let variables = json!({"base": base, "ref": format!("refs/heads/{base}")});
        let what = format!("reading how {base} is merged into");
        let row: Option<SettingsRow> = self.query_repository(query, variables, &what).await?;
        let Some(row) = row else {
            // The server is older than merge queues.
            let request = self.request(Method::GET, "", &what);
            let row: MethodsRow = self.http.send(&request).await?.expect(&[200])?;
            return Ok(Settings {
                methods: allowed_methods([
                    row.allow_merge_commit,
                    row.allow_squash_merge,
                    row.allow_rebase_merge,
                ]),
                ..Settings::default()
            });
        };
        let rule = row
            .r#ref
            .and_then(|row| row.ref_update_rule)
            .unwrap_or_default();
        Ok(Settings {
            methods: allowed_methods([
                row.merge_commit_allowed,
                row.squash_merge_allowed,
                row.rebase_merge_allowed,
            ]),
            queue: row.merge_queue.map(|queue| MergeQueue(queue.method())),
            linear: rule.requires_linear_history,
            signatures: rule.requires_signatures,
        })
    }

    async fn is_scheduled(&self, pull: &Pull) -> Result<bool, Error> {
        let path = format!("pulls/{}", pull.number);
        let what = format!("reading whether the merge of #{} is scheduled", pull.number);
        let request = self.request(Method::GET, &path, what);
        let row: Option<PullRow> = self.http.find(&request, &[404]).await?;
        Ok(row.is_some_and(|row| row.state.as_deref() == Some("open") && row.auto_merge.is_some()))
    }

    /// The outcome of scheduling a merge if the base has a merge queue: the position of the pull request,
    /// or that it enters the queue on request.
    async fn queue_outcome(&self, pull: &Pull) -> Result<Merge, Error> {
        Ok(match self.queue(pull).await? {
            Queue::Waiting(position, state) => Merge::Queued(position, state),
            Queue::Removed(reason) => Merge::Refused(removed(&pull.base, reason.as_deref())),
            Queue::Missing | Queue::Outside | Queue::Unscheduled => Merge::Unscheduled(format!(
                "the merge queue of {} accepts only a pull request whose gates have passed",
                pull.base
            )),
        })
    }

    /// Adds a pull request to the merge queue of its base, if its head is still `head`. A pull request
    /// that is in the queue keeps its position.
    async fn enqueue(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let input = json!({"pullRequestId": pull.node, "expectedHeadOid": head});
        let what = format!("putting #{} into the merge queue", pull.number);
        let mutation = include_str!("queries/enqueue.graphql");
        let response: Response<EnqueueData> = self.mutate(mutation, input, &what).await?;
        let Some(error) = response.errors.first() else {
            let row = response.data.and_then(|data| data.enqueue_pull_request);
            let entry = row.and_then(|row| row.merge_queue_entry);
            let (position, state) = match entry {
                Some(entry) => (entry.position, entry.state),
                None => (None, None),
            };
            let state = self.http.clean(state.as_deref().unwrap_or("QUEUED"));
            return Ok(Merge::Queued(position.unwrap_or_default(), state));
        };
        let message = self.http.clean(&error.message);
        match error.kind.as_str() {
            // Another run added it, or this run if a response was lost.
            _ if message.contains("already in the queue") => self.queue_outcome(pull).await,
            "FORBIDDEN" => {
                let what = format!("GitHub: {what}");
                Err(Error::about(Class::Denied, what, message).help(MAY_WRITE))
            }
            // "Pull request Required status check "ci" is expected.", "Pull request Waiting on code
            // owner review from …", and "… is not satisfied" of a required workflow.
            _ if ["is expected", "aiting on", "not satisfied", "in progress"]
                .iter()
                .any(|word| message.contains(word)) =>
            {
                Ok(Merge::Later(message))
            }
            _ => Ok(Merge::Refused(message)),
        }
    }
}

/// The refusal to add a removed pull request to the queue.
fn removed(base: &str, reason: Option<&str>) -> String {
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("it was removed from the merge queue of {base}{reason}; a person may put it back")
}

fn join(methods: &[MergeMethod]) -> String {
    match methods {
        [] => "none".to_owned(),
        _ => methods
            .iter()
            .map(|method| method.as_str())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}
