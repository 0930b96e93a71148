//! How a pull request is merged: the method that its base allows, or the base's merge queue.
//!
//! A merge queue decides the method itself, and refuses every merge that does not come from it.
//! Whether a pull request may enter is judged by [`crate::pull_request::merging`] and by the queue.

use serde_json::{Value, json};

use super::{Github, rules::METHODS};
use crate::{
    config::MergeMethod,
    error::{Class, Error},
    forge::{Merge, Pull, Queue},
};

/// The last of these events tells whether a pull request left the queue at the head that it has.
const EVENTS: &str = "ADDED_TO_MERGE_QUEUE_EVENT,REMOVED_FROM_MERGE_QUEUE_EVENT,\
                      PULL_REQUEST_COMMIT,HEAD_REF_FORCE_PUSHED_EVENT";

/// How pull requests are merged into a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By this method.
    Method(MergeMethod),
    /// By the branch's merge queue, which chooses the method.
    Queue,
}

/// What the repository and the branch's protection say about merging.
#[derive(Debug, Default)]
struct Settings {
    /// The methods that the repository allows.
    methods: Vec<MergeMethod>,
    /// The branch's merge queue.
    queue: Option<MergeQueue>,
    linear: bool,
    signatures: bool,
}

/// A merge queue, and its method where it is known.
#[derive(Debug)]
struct MergeQueue(Option<MergeMethod>);

impl Github {
    /// How pull requests are merged into `base`; an error where the configured method is not
    /// allowed there.
    pub(super) async fn way(&self, base: &str) -> Result<Way, Error> {
        let settings = self.merge_settings(base).await?;
        let configured = self.method;
        let refused = |why: String, hint: String| {
            let what = format!("GitHub: merging into {base}");
            Err(Error::about(Class::Refused, what, why).help(hint))
        };
        if let Some(MergeQueue(queue)) = settings.queue {
            return match queue {
                Some(method) if ![MergeMethod::Auto, method].contains(&configured) => refused(
                    format!(
                        "forge.merge_method is {}, and the merge queue of {base} merges by {}",
                        configured.as_str(),
                        method.as_str()
                    ),
                    format!("set forge.merge_method to auto or {}", method.as_str()),
                ),
                _ => Ok(Way::Queue),
            };
        }
        let mut rules = self.rules(base).await?;
        rules.linear |= settings.linear;
        rules.signatures |= settings.signatures;
        let allowed: Vec<MergeMethod> = METHODS
            .into_iter()
            .filter(|method| settings.methods.contains(method) && rules.allow(*method))
            .collect();
        match (configured, allowed.first()) {
            (MergeMethod::Auto, Some(first)) => Ok(Way::Method(*first)),
            (method, _) if allowed.contains(&method) => Ok(Way::Method(method)),
            (_, None) => refused(
                format!(
                    "no method of merging is left: the repository allows {}, and the rules of {base} allow {}",
                    listed(&settings.methods),
                    listed(
                        &METHODS
                            .into_iter()
                            .filter(|m| rules.allow(*m))
                            .collect::<Vec<_>>()
                    ),
                ),
                "allow one method in the repository's settings and in the rules".to_owned(),
            ),
            (method, Some(_)) => refused(
                format!(
                    "forge.merge_method is {}, and {base} allows {}",
                    method.as_str(),
                    listed(&allowed)
                ),
                format!("set forge.merge_method to auto, or to {}", listed(&allowed)),
            ),
        }
    }

    async fn merge_settings(&self, base: &str) -> Result<Settings, Error> {
        let query = "query($owner:String!,$name:String!,$base:String!,$ref:String!)\
            {repository(owner:$owner,name:$name)\
            {mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed \
            mergeQueue(branch:$base){configuration{mergeMethod}} \
            ref(qualifiedName:$ref){refUpdateRule{requiresLinearHistory requiresSignatures}}}}";
        let variables = json!({"owner": self.owner, "name": self.name, "base": base,
                               "ref": format!("refs/heads/{base}")});
        let what = format!("reading how {base} is merged into");
        let Some(row) = self.read_of_repository(query, variables, &what).await? else {
            // Servers from before merge queues.
            let methods = self.repository_methods(&what).await?;
            return Ok(Settings {
                methods,
                ..Settings::default()
            });
        };
        let keys = [
            "mergeCommitAllowed",
            "squashMergeAllowed",
            "rebaseMergeAllowed",
        ];
        let methods = METHODS.into_iter().zip(keys);
        let queue = &row["mergeQueue"];
        let rule = &row["ref"]["refUpdateRule"];
        Ok(Settings {
            methods: methods
                .filter(|(_, key)| row[*key] == true)
                .map(|(method, _)| method)
                .collect(),
            queue: (!queue.is_null())
                .then(|| MergeQueue(method(&queue["configuration"]["mergeMethod"]))),
            linear: rule["requiresLinearHistory"] == true,
            signatures: rule["requiresSignatures"] == true,
        })
    }

    async fn repository_methods(&self, what: &str) -> Result<Vec<MergeMethod>, Error> {
        let request = self.request(reqwest::Method::GET, "", what);
        let row: Value = self.http.send(&request).await?.expect(&[200])?;
        let keys = [
            "allow_merge_commit",
            "allow_squash_merge",
            "allow_rebase_merge",
        ];
        let methods = METHODS.into_iter().zip(keys);
        Ok(methods
            .filter(|(_, key)| row[*key] == true)
            .map(|(method, _)| method)
            .collect())
    }

    /// Where a pull request is in the merge queue of its base.
    pub(super) async fn read_queue(&self, pull: &Pull) -> Result<Queue, Error> {
        let query = format!(
            "query($owner:String!,$name:String!,$base:String!){{repository(owner:$owner,name:$name)\
             {{mergeQueue(branch:$base){{configuration{{mergeMethod}}}} \
             pullRequest(number:{}){{mergeQueueEntry{{state position}} \
             timelineItems(last:1,itemTypes:[{EVENTS}])\
             {{nodes{{__typename ...on RemovedFromMergeQueueEvent{{reason}}}}}}}}}}}}",
            pull.number
        );
        let variables = json!({"owner": self.owner, "name": self.name, "base": pull.base});
        let what = format!("looking for #{} in the merge queue", pull.number);
        let Some(row) = self.read_of_repository(&query, variables, &what).await? else {
            return Ok(Queue::Missing);
        };
        if row["mergeQueue"].is_null() {
            return Ok(Queue::Missing);
        }
        let pull = &row["pullRequest"];
        if let Some(position) = pull["mergeQueueEntry"]["position"].as_u64() {
            let state = pull["mergeQueueEntry"]["state"].as_str();
            return Ok(Queue::Waiting(
                position,
                self.http.clean(state.unwrap_or("QUEUED")),
            ));
        }
        let last = &pull["timelineItems"]["nodes"][0];
        if last["__typename"] != "RemovedFromMergeQueueEvent" {
            return Ok(Queue::Outside);
        }
        let reason = last["reason"].as_str().unwrap_or_default().trim();
        // What was merged leaves the queue, too; the pull request may read as open for a moment
        // longer. The webhook `dequeued` lists the reasons.
        if ["merge", "merged", "already_merged"].contains(&&*reason.to_ascii_lowercase()) {
            return Ok(Queue::Outside);
        }
        let reason = self.http.clean(reason);
        Ok(Queue::Removed(
            Some(reason).filter(|reason| !reason.is_empty()),
        ))
    }

    /// What a scheduled merge is where the base has a merge queue: the pull request's place in it,
    /// or the answer that it enters on request.
    pub(super) async fn queued(&self, pull: &Pull) -> Result<Merge, Error> {
        Ok(match self.read_queue(pull).await? {
            Queue::Waiting(position, state) => Merge::Queued(position, state),
            Queue::Removed(reason) => Merge::Refused(removed(&pull.base, reason.as_deref())),
            Queue::Missing | Queue::Outside => Merge::Unscheduled(format!(
                "the merge queue of {} takes a pull request whose gates have passed",
                pull.base
            )),
        })
    }

    /// Puts a pull request into the merge queue of its base, if its head is still `head`. The queue
    /// leaves it where it is if it is in already.
    pub(super) async fn enqueue(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let query = "mutation($input:EnqueuePullRequestInput!)\
                     {enqueuePullRequest(input:$input){mergeQueueEntry{state position}}}";
        let input = json!({"input": {"pullRequestId": pull.node, "expectedHeadOid": head}});
        let what = format!("putting #{} into the merge queue", pull.number);
        let answer = self.graphql(query, input, &what).await?;
        let what = format!("GitHub: {what}");
        let answer =
            answer.ok_or_else(|| Error::unavailable(&what, "this server has no GraphQL"))?;
        let Some((kind, said)) = answer.wrong() else {
            let entry = &answer.data()["enqueuePullRequest"]["mergeQueueEntry"];
            let position = entry["position"].as_u64().unwrap_or_default();
            let state = self.http.clean(entry["state"].as_str().unwrap_or("QUEUED"));
            return Ok(Merge::Queued(position, state));
        };
        let said = self.http.clean(said);
        match kind {
            // "Pull request is already in the queue": another run, or this one if an answer was
            // lost.
            _ if said.contains("already in the queue") => self.queued(pull).await,
            "FORBIDDEN" => Err(Error::about(Class::Denied, what, said)
                .help("the token needs `contents: write` and `pull-requests: write`")),
            // "Pull request Required status check "ci" is expected.", "Pull request Waiting on code
            // owner review from …", and "… is not satisfied" of a required workflow.
            _ if ["is expected", "aiting on", "not satisfied", "in progress"]
                .iter()
                .any(|word| said.contains(word)) =>
            {
                Ok(Merge::Later(said))
            }
            _ => Ok(Merge::Refused(said)),
        }
    }
}

/// Why a pull request that left the queue is not put back.
fn removed(base: &str, reason: Option<&str>) -> String {
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("it was removed from the merge queue of {base}{reason}; a person may put it back")
}

fn method(name: &Value) -> Option<MergeMethod> {
    let name = name.as_str()?.to_ascii_lowercase();
    METHODS.into_iter().find(|method| method.as_str() == name)
}

fn listed(methods: &[MergeMethod]) -> String {
    match methods {
        [] => "none".to_owned(),
        _ => methods
            .iter()
            .map(|method| method.as_str())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}
