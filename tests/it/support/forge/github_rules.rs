//! GitHub's rules for a branch: methods of merging, the merge queue, signed commits.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Asked, Reply, Store, error,
    github::REPO,
    store::{CommitRow, PullRow},
};

/// A repository's settings and rules.
pub struct Settings {
    /// The methods that the repository allows.
    pub methods: Vec<&'static str>,
    /// `allowed_merge_methods` of the rule about pull requests; empty: there is no such rule.
    pub rule_methods: Vec<&'static str>,
    /// Whether a rule requires a linear history.
    pub linear: bool,
    /// Where commits must be signed.
    pub signatures: Option<Signatures>,
    /// Whether the server signs its commits; GitHub Enterprise Server does only if web commit
    /// signing is set up ("Configuring web commit signing").
    pub signs: bool,
    /// The method of the base's merge queue.
    pub queue: Option<&'static str>,
    pub entries: Vec<Entry>,
    /// How often each pull request was put into the queue.
    pub enqueued: Vec<u64>,
    /// The removed pull requests, with their heads and the reasons.
    pub removed: Vec<(u64, String, Option<&'static str>)>,
    /// The commits that have a verified signature.
    pub signed: BTreeSet<String>,
}

/// A pull request in the queue, at the head that it had.
pub struct Entry {
    pub number: u64,
    pub head: String,
    pub state: &'static str,
}

/// The settings that require signed commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signatures {
    /// A rule set for the base.
    Base,
    /// A rule set for all branches.
    All,
    /// The base's branch protection, which rule sets do not show.
    Protection,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            methods: vec!["squash"],
            rule_methods: Vec::new(),
            linear: false,
            signatures: None,
            signs: true,
            queue: None,
            entries: Vec::new(),
            enqueued: Vec::new(),
            removed: Vec::new(),
            signed: BTreeSet::new(),
        }
    }
}

impl Settings {
    /// The rules of rule sets, as `GET rules/branches/{branch}` lists them.
    pub fn rows(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        if !self.rule_methods.is_empty() {
            rows.push(json!({"type": "pull_request", "parameters": {"allowed_merge_methods": self.rule_methods}}));
        }
        if self.linear {
            rows.push(json!({"type": "required_linear_history"}));
        }
        if matches!(self.signatures, Some(Signatures::Base | Signatures::All)) {
            rows.push(json!({"type": "required_signatures"}));
        }
        if let Some(method) = self.queue {
            rows.push(json!({"type": "merge_queue", "parameters": {"merge_method": method.to_uppercase()}}));
        }
        rows
    }

    pub fn allows(&self, method: &str) -> bool {
        self.methods.contains(&method)
            && (self.rule_methods.is_empty() || self.rule_methods.contains(&method))
    }
}

impl Store {
    /// The message with which a merge by `method` is refused with 405, in the words of the
    /// original.
    pub fn merge_refusal(&self, method: &str, number: u64) -> Option<String> {
        let settings = &self.rules;
        let rule = |rule: &str| Some(format!("Repository rule violations found\n\n{rule}"));
        if settings.queue.is_some() {
            // Reported by users of tools that merge by request.
            return rule("Changes must be made through the merge queue");
        }
        if !settings.allows(method) {
            let word = match method {
                "merge" => "Merge commits",
                "squash" => "Squash merges",
                _ => "Rebase merges",
            };
            return Some(format!("{word} are not allowed on this repository."));
        }
        if settings.linear && method == "merge" {
            return rule("This branch must not contain merge commits.");
        }
        if settings.signatures.is_some() {
            if method == "rebase" {
                // Reported: rebasing makes new commits, which GitHub does not sign.
                let why = "Base branch requires signed commits. Rebase merges cannot be automatically signed by GitHub";
                return Some(why.to_owned());
            }
            let pull = self.pulls.iter().find(|pull| pull.number == number)?;
            if !self.all_signed(&self.refs[&pull.head]) {
                return rule("Commits must have verified signatures.");
            }
        }
        None
    }

    /// Whether each commit that the base has not has a signature.
    pub fn all_signed(&self, head: &str) -> bool {
        let known = self.ancestors(&self.refs["main"]);
        self.ancestors(head)
            .iter()
            .all(|id| known.contains(id) || self.rules.signed.contains(id))
    }

    /// The reason that a branch may not move to a commit: a rule set for all branches checks each
    /// new commit ("Available rules for rulesets", Require signed commits).
    pub fn ref_refusal(&self, to: &str) -> Option<Reply> {
        let unsigned = self.rules.signatures == Some(Signatures::All) && !self.all_signed(to);
        unsigned.then(|| {
            let why =
                "Repository rule violations found\n\nCommits must have verified signatures.\n\n";
            error(422, why)
        })
    }

    /// GitHub closes a pull request without any commit that is not part of its base (reported of
    /// force pushes to the base's head), or without a branch.
    pub fn close_empty(&mut self, branch: &str) {
        let nothing = |pull: &&super::PullRow| match self.refs.get(branch) {
            Some(head) => self.ahead(&self.refs[&pull.base], head).is_empty(),
            None => true,
        };
        let open = self.open_pulls().into_iter();
        let empty: Vec<u64> = open
            .filter(|pull| pull.head == branch)
            .filter(nothing)
            .map(|pull| pull.number)
            .collect();
        for number in empty {
            self.close(number);
        }
    }

    /// A push takes a pull request out of the queue ("Merging a pull request with a merge queue").
    fn drop_pushed(&mut self) {
        let (refs, pulls) = (&self.refs, &self.pulls);
        let same = |number: u64, head: &str| {
            let pull = pulls.iter().find(|pull| pull.number == number);
            pull.is_some_and(|pull| refs.get(&pull.head).is_some_and(|now| now == head))
        };
        self.rules
            .entries
            .retain(|entry| same(entry.number, &entry.head));
        self.rules
            .removed
            .retain(|(number, head, _)| same(*number, head));
    }

    /// The queue takes its next step: the first entry's checks begin, pass, and it is merged.
    pub fn queue_moves(&mut self) {
        self.drop_pushed();
        let Some(entry) = self.rules.entries.first_mut() else {
            return;
        };
        let number = entry.number;
        entry.state = match entry.state {
            "QUEUED" => "AWAITING_CHECKS",
            "AWAITING_CHECKS" => "MERGEABLE",
            _ => {
                // A merge is recorded as a removal, too (reported).
                self.queue_removes(number, None);
                self.merge(number);
                return;
            }
        };
    }

    /// All entries go through the queue.
    pub fn queue_moves_all(&mut self) {
        while !self.rules.entries.is_empty() {
            self.queue_moves();
        }
    }

    /// Adds a pull request to the queue, as a user does.
    pub fn queue_takes(&mut self, number: u64, head: &str) {
        self.rules.entries.push(Entry {
            number,
            head: head.to_owned(),
            state: "QUEUED",
        });
    }

    /// The queue removes a pull request.
    pub fn queue_removes(&mut self, number: u64, reason: Option<&'static str>) {
        self.rules.entries.retain(|entry| entry.number != number);
        let head = self.head_of(number);
        self.rules.removed.push((number, head, reason));
    }

    pub fn head_of(&self, number: u64) -> String {
        let pull = self.pulls.iter().find(|pull| pull.number == number);
        self.refs[&pull.unwrap().head].clone()
    }

    /// The reason that the queue refuses a pull request, in the text of the original.
    fn queue_refusal(&self, number: u64, head: &str) -> Option<String> {
        let mut entries = self.rules.entries.iter();
        if entries.any(|entry| entry.number == number) {
            return Some("Pull request is already in the queue".to_owned());
        }
        if self.head_of(number) != head {
            return Some("Head branch was modified. Review and try the merge again.".to_owned());
        }
        let missing = self.required.iter().find(|_| !self.passed())?;
        Some(format!(
            "Pull request Required status check \"{missing}\" is expected."
        ))
    }

    fn entry_row(&self, number: u64) -> Value {
        let mut entries = self.rules.entries.iter();
        let at = entries.position(|entry| entry.number == number);
        at.map_or(
            Value::Null,
            |at| json!({"position": at + 1, "state": self.rules.entries[at].state}),
        )
    }
}

pub fn wrong(kind: &str, message: &str) -> Reply {
    Reply::json(
        200,
        json!({"data": null, "errors": [{"type": kind, "message": message}]}),
    )
}

/// The queries about merging.
pub fn read(store: &mut Store, asked: &Asked) -> Reply {
    store.drop_pushed();
    let settings = &store.rules;
    let queue = settings.queue.map_or(
        Value::Null,
        |method| json!({"configuration": {"mergeMethod": method.to_uppercase()}}),
    );
    let mut row = json!({"mergeQueue": queue});
    if let Some(number) = asked.body["variables"]["number"].as_u64() {
        let entry = store.entry_row(number);
        let mut removed = settings.removed.iter().rev();
        let node = match removed.find(|(known, ..)| *known == number) {
            Some((_, _, reason)) if entry.is_null() => {
                json!({"__typename": "RemovedFromMergeQueueEvent", "reason": reason})
            }
            _ => json!({"__typename": "PullRequestCommit"}),
        };
        row["pullRequest"] = json!({"mergeQueueEntry": entry, "timelineItems": {"nodes": [node]}});
    } else {
        for (key, method) in [
            ("mergeCommitAllowed", "merge"),
            ("squashMergeAllowed", "squash"),
            ("rebaseMergeAllowed", "rebase"),
        ] {
            row[key] = settings.methods.contains(&method).into();
        }
    }
    if asked.text("query").contains("refUpdateRule") {
        row["ref"] = protection(store);
    }
    Reply::json(200, json!({"data": {"repository": row}}))
}

/// The base's branch protection, as shown to a reader.
fn protection(store: &Store) -> Value {
    let signed = store.rules.signatures == Some(Signatures::Protection);
    let rule = json!({"requiresLinearHistory": false, "requiresSignatures": signed});
    json!({"refUpdateRule": if signed { rule } else { Value::Null }})
}

/// The repository before a pull request. GraphQL follows renames silently.
pub fn before_pull(store: &Store, asked: &Asked) -> Reply {
    let variables = &asked.body["variables"];
    let permission = match store.push {
        Some(true) => "WRITE".into(),
        // A token of an app has no role.
        Some(false) if !store.installation => "READ".into(),
        _ => Value::Null,
    };
    let mut default = protection(store);
    default["name"] = store.default_branch.into();
    let base = variables["base"].as_str().unwrap();
    let base = base.strip_prefix("refs/heads/").unwrap();
    let base = store.refs.contains_key(base).then(|| protection(store));
    let from_head = |pull: &&PullRow| Some(&*pull.head) == variables["head"].as_str();
    let newest = store.pulls.iter().map(|pull| pull.number).max();
    let newest: Vec<_> = newest
        .into_iter()
        .map(|number| json!({"number": number}))
        .collect();
    let row = json!({
        "nameWithOwner": store.renamed.unwrap_or(REPO),
        "isArchived": store.archived,
        "isPrivate": true,
        "viewerPermission": permission,
        "defaultBranchRef": default,
        "base": base,
        "pulls": {"totalCount": store.pulls.iter().filter(from_head).count()},
        "newest": {"nodes": newest},
    });
    let reply = Reply::json(200, json!({"data": {"repository": row}}));
    match store.scopes {
        Some(scopes) => reply.with("x-oauth-scopes", scopes),
        None => reply,
    }
}

pub fn read_protection(store: &Store) -> Reply {
    Reply::json(
        200,
        json!({"data": {"repository": {"ref": protection(store)}}}),
    )
}

pub fn enqueue(store: &mut Store, input: &Value) -> Reply {
    store.drop_pushed();
    let number = number(input);
    if store.rules.queue.is_none() {
        return wrong(
            "UNPROCESSABLE",
            "Merge queue is not enabled for this branch",
        );
    }
    // A request without a head refers to the current one.
    let head = input["expectedHeadOid"].as_str().map(str::to_owned);
    let head = head.unwrap_or_else(|| store.head_of(number));
    if let Some(why) = store.queue_refusal(number, &head) {
        return wrong("UNPROCESSABLE", &why);
    }
    store.rules.enqueued.push(number);
    store.rules.entries.push(Entry {
        number,
        head,
        state: "QUEUED",
    });
    let entry = store.entry_row(number);
    Reply::json(
        200,
        json!({"data": {"enqueuePullRequest": {"mergeQueueEntry": entry}}}),
    )
}

pub fn number(input: &Value) -> u64 {
    let id = input["pullRequestId"].as_str().unwrap();
    id.strip_prefix("PR_").unwrap().parse().unwrap()
}

/// One commit on a branch that is there, signed by the server.
pub fn commit_on_branch(store: &mut Store, asked: &Asked) -> Reply {
    store.intrude();
    let input = &asked.body["variables"]["input"];
    let branch = input["branch"]["branchName"].as_str().unwrap().to_owned();
    assert_eq!(input["branch"]["repositoryNameWithOwner"], "acme/flows");
    let Some(head) = store.refs.get(&branch).cloned() else {
        return wrong("NOT_FOUND", &format!("No ref found for branch {branch}"));
    };
    let expected = input["expectedHeadOid"].as_str().unwrap();
    if head != expected {
        // As reported by users of tools that commit this way.
        let why = format!(
            "Expected branch to point to \"{expected}\" but it did not.  Pull and try again."
        );
        return wrong("STALE_DATA", &why);
    }
    let additions = input["fileChanges"]["additions"].as_array().unwrap();
    let paths: Vec<&str> = additions
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    if store.touches_workflows(&paths) {
        return wrong("FORBIDDEN", "Resource not accessible by integration");
    }
    let mut files = (*store.files_of(&head)).clone();
    for (file, path) in additions.iter().zip(paths) {
        let content = STANDARD.decode(file["contents"].as_str().unwrap()).unwrap();
        let blob = store.put_blob(&content);
        // It writes regular files in place of any others (reported: executables lose their bit).
        files.insert(path.to_owned(), ("100644".to_owned(), blob));
    }
    let tree = store.put_tree(&files);
    let text = |name: &str| input["message"][name].as_str().unwrap_or_default();
    let message = format!("{}\n\n{}", text("headline"), text("body"));
    let id = store.put_commit(&CommitRow {
        tree,
        parents: vec![head],
        message: message.trim_end().to_owned(),
    });
    let signs = store.rules.signs;
    if signs {
        store.rules.signed.insert(id.clone());
    }
    store.refs.insert(branch, id.clone());
    let signature = if signs {
        json!({"isValid": true})
    } else {
        Value::Null
    };
    let commit = json!({"oid": id, "signature": signature});
    Reply::json(
        200,
        json!({"data": {"createCommitOnBranch": {"commit": commit}}}),
    )
}
