//! How a pull request is merged: the method that its base allows, or the base's merge queue.
//!
//! A merge queue decides the method itself, and refuses every merge that does not come from it.
//! Whether a pull request may enter is judged by `pull_request::merging` and by the queue.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Github, rules::METHODS};
use crate::{
    config::MergeMethod,
    error::{Class, Error},
    forge::{Merge, Merging, Pull, Queue, shared},
};

/// The last of these events shows whether a pull request left the queue at the head that it has.
const EVENTS: &str = "ADDED_TO_MERGE_QUEUE_EVENT,REMOVED_FROM_MERGE_QUEUE_EVENT,\
                      PULL_REQUEST_COMMIT,HEAD_REF_FORCE_PUSHED_EVENT";

/// How often a pull request is read while GitHub works out its state.
const LOOKS: u32 = 3;

/// How pull requests are merged into a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MergeRoute {
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

/// What GitHub works out about a pull request in the background.
#[derive(Deserialize)]
struct PullRow {
    mergeable_state: Option<String>,
}

#[async_trait(?Send)]
impl Merging for Github {
    async fn admits(&self, base: &str) -> Result<(), Error> {
        if self.method != MergeMethod::Auto {
            self.way(base).await?;
        }
        Ok(())
    }

    /// Whether GitHub refuses to merge the pull request as its branch is now: it is in conflict, or
    /// behind a base that requires it to be up to date.
    async fn is_outdated(&self, pull: Option<&Pull>, base: &str) -> Result<bool, Error> {
        if let Some(pull) = pull {
            match self.mergeable_state(pull.number).await?.as_deref() {
                Some("behind" | "dirty") => return Ok(true),
                Some("clean" | "unstable" | "has_hooks") => return Ok(false),
                // `blocked` and `draft` hide `behind`, and a state that stays unknown decides nothing.
                _ => {}
            }
        }
        self.requires_up_to_date(base).await
    }

    fn waits_for_silent(&self) -> bool {
        true
    }

    fn checks_when_scheduled(&self) -> bool {
        true
    }

    async fn auto_merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let query = "mutation($input:EnablePullRequestAutoMergeInput!)\
                     {enablePullRequestAutoMerge(input:$input){clientMutationId}}";
        let method = match self.way(&pull.base).await? {
            MergeRoute::Queue => return self.queued(pull).await,
            MergeRoute::Method(method) => method.as_str().to_ascii_uppercase(),
        };
        let input =
            json!({"pullRequestId": pull.node, "expectedHeadOid": head, "mergeMethod": method});
        let what = format!("scheduling the merge of #{}", pull.number);
        let answer = self.mutate(query, input, &what).await?;
        let what = format!("GitHub: {what}");
        let Some(error) = answer.first_error() else {
            return Ok(Merge::Scheduled);
        };
        let message = self.http.clean(&error.message);
        match error.kind.as_str() {
            // Nothing is missing that it could wait for ("clean"), or nothing that is required
            // ("unstable", "has_hooks").
            _ if ["clean status", "unstable status", "has_hooks status"]
                .iter()
                .any(|word| message.contains(word)) =>
            {
                Ok(Merge::Clean(message))
            }
            // While it checks for conflicts, which it does right after the branch was made.
            _ if message.contains("unknown status") => Ok(Merge::Later(message)),
            "FORBIDDEN" => Err(Error::about(Class::Denied, what, message)
                .help("give the token `contents: write` and `pull-requests: write`")),
            _ => Ok(Merge::Refused(message)),
        }
    }

    async fn cancel_merge(&self, pull: &Pull) -> Result<bool, Error> {
        let query = "mutation($input:DisablePullRequestAutoMergeInput!)\
                     {disablePullRequestAutoMerge(input:$input){clientMutationId}}";
        let what = format!("cancelling the scheduled merge of #{}", pull.number);
        let input = json!({"pullRequestId": pull.node});
        let answer = self.mutate(query, input, &what).await?;
        let what = format!("GitHub: {what}");
        match answer.first_error() {
            None => Ok(true),
            Some(error) if error.kind == "FORBIDDEN" => Err(Error::about(
                Class::Denied,
                what,
                self.http.clean(&error.message),
            )),
            // "Can't disable auto-merge for this pull request": since none is scheduled, or since it
            // may not be canceled.
            Some(_) if !self.is_scheduled(pull).await? => Ok(false),
            Some(error) => Err(Error::about(
                Class::Refused,
                what,
                self.http.clean(&error.message),
            )),
        }
    }

    async fn merge(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let method = match self.way(&pull.base).await? {
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
            403 => Err(reply
                .error()
                .help("give the token `contents: write` and `pull-requests: write`")),
            _ => Err(reply.error()),
        }
    }

    async fn queue(&self, pull: &Pull) -> Result<Queue, Error> {
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
}

impl Github {
    /// `mergeable_state`, waited for a little while GitHub works it out.
    async fn mergeable_state(&self, number: u64) -> Result<Option<String>, Error> {
        let what = format!("reading whether pull request #{number} can be merged");
        let request = self.request(Method::GET, &format!("pulls/{number}"), what);
        for round in 1..=LOOKS {
            let row: Option<PullRow> = self.http.find(&request, &[404]).await?;
            let state = row.and_then(|row| row.mergeable_state);
            if state.as_deref() != Some("unknown") {
                return Ok(state);
            }
            if round < LOOKS {
                self.http.back_off(round).await;
            }
        }
        Ok(None)
    }

    /// How pull requests are merged into `base`; an error where the configured method is not
    /// allowed there.
    async fn way(&self, base: &str) -> Result<MergeRoute, Error> {
        let settings = self.merge_settings(base).await?;
        let configured = self.method;
        let what = format!("GitHub: merging into {base}");
        match settings.queue {
            Some(MergeQueue(Some(method)))
                if ![MergeMethod::Auto, method].contains(&configured) =>
            {
                let queue = format!("the merge queue of {base}");
                return Err(shared::method_refused(
                    what,
                    configured,
                    &queue,
                    &[method.as_str()],
                ));
            }
            Some(_) => return Ok(MergeRoute::Queue),
            None => {}
        }
        let mut rules = self.rules(base).await?;
        rules.linear |= settings.linear;
        rules.signatures |= settings.signatures;
        let by_rules = METHODS.into_iter().filter(|method| rules.allow(*method));
        let by_rules: Vec<_> = by_rules.collect();
        let allowed = by_rules
            .iter()
            .filter(|method| settings.methods.contains(method));
        let allowed: Vec<MergeMethod> = allowed.copied().collect();
        match (configured, allowed.first()) {
            (MergeMethod::Auto, Some(first)) => Ok(MergeRoute::Method(*first)),
            (method, _) if allowed.contains(&method) => Ok(MergeRoute::Method(method)),
            (_, None) => {
                let reason = format!(
                    "no merge method is allowed: the repository allows {}, and the rules of {base} allow {}",
                    listed(&settings.methods),
                    listed(&by_rules),
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
        let request = self.request(Method::GET, "", what);
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

    /// Whether the merge of a pull request is scheduled.
    async fn is_scheduled(&self, pull: &Pull) -> Result<bool, Error> {
        let path = format!("pulls/{}", pull.number);
        let what = format!("reading whether the merge of #{} is scheduled", pull.number);
        let row: Option<Value> = self
            .http
            .find(&self.request(Method::GET, &path, what), &[404])
            .await?;
        Ok(row.is_some_and(|row| row["state"] == "open" && !row["auto_merge"].is_null()))
    }

    /// What a scheduled merge is where the base has a merge queue: the pull request's place in it,
    /// or the response that it enters on request.
    async fn queued(&self, pull: &Pull) -> Result<Merge, Error> {
        Ok(match self.queue(pull).await? {
            Queue::Waiting(position, state) => Merge::Queued(position, state),
            Queue::Removed(reason) => Merge::Refused(removed(&pull.base, reason.as_deref())),
            Queue::Missing | Queue::Outside => Merge::Unscheduled(format!(
                "the merge queue of {} accepts only a pull request whose gates have passed",
                pull.base
            )),
        })
    }

    /// Puts a pull request into the merge queue of its base, if its head is still `head`. The queue
    /// leaves it where it is if it is in already.
    async fn enqueue(&self, pull: &Pull, head: &str) -> Result<Merge, Error> {
        let query = "mutation($input:EnqueuePullRequestInput!)\
                     {enqueuePullRequest(input:$input){mergeQueueEntry{state position}}}";
        let input = json!({"pullRequestId": pull.node, "expectedHeadOid": head});
        let what = format!("putting #{} into the merge queue", pull.number);
        let answer = self.mutate(query, input, &what).await?;
        let what = format!("GitHub: {what}");
        let Some(error) = answer.first_error() else {
            let entry = &answer.data()["enqueuePullRequest"]["mergeQueueEntry"];
            let position = entry["position"].as_u64().unwrap_or_default();
            let state = self.http.clean(entry["state"].as_str().unwrap_or("QUEUED"));
            return Ok(Merge::Queued(position, state));
        };
        let message = self.http.clean(&error.message);
        match error.kind.as_str() {
            // "Pull request is already in the queue": another run, or this one if a response was
            // lost.
            _ if message.contains("already in the queue") => self.queued(pull).await,
            "FORBIDDEN" => Err(Error::about(Class::Denied, what, message)
                .help("give the token `contents: write` and `pull-requests: write`")),
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
