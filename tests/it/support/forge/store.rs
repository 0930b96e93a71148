//! A repository as a forge keeps it: objects by name, branches, pull requests, labels, comments.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use serde_json::{Value, json};

use super::{Kind, objects::Repository};

pub type Files = BTreeMap<String, (String, String)>;

#[derive(Clone, Debug)]
pub struct CommitRow {
    pub tree: String,
    pub parents: Vec<String>,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct IssueRow {
    pub number: u64,
    pub title: String,
    pub body: String,
    pub open: bool,
    pub labels: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct PullRow {
    pub number: u64,
    pub title: String,
    pub body: String,
    pub open: bool,
    pub merged: Option<String>,
    pub draft: bool,
    pub head: String,
    pub head_repo: String,
    pub base: String,
    pub labels: Vec<String>,
    /// The head's commit when it was closed.
    pub closed_at: Option<String>,
}

#[allow(clippy::struct_excessive_bools)]
pub struct Store {
    pub kind: Kind,
    pub root: String,
    /// The path of the server in its URL.
    pub path: String,
    pub default_branch: &'static str,
    /// The header `Date` of every response.
    pub date: Option<String>,
    pub refs: BTreeMap<String, String>,
    pub pulls: Vec<PullRow>,
    pub labels: Vec<(u64, String)>,
    pub comments: HashMap<u64, Vec<String>>,
    /// The value in GET of the repository; `None`: it is absent.
    pub push: Option<bool>,
    pub installation: bool,
    pub scopes: Option<&'static str>,
    /// Whether workflow files may be written.
    pub workflows: bool,
    /// Whether labels may be created or added.
    pub may_label: bool,
    pub graphql: bool,
    /// Moved right before the next branch is created or moved: a user merged another change.
    pub intruder: Option<(String, String)>,
    /// The number of repetitions after the first time.
    pub restless: usize,
    /// A branch that someone pushes to while its pull request's text is changed.
    pub meddled: Option<String>,
    /// The number of reads that return branches from before the last write.
    pub lag: usize,
    pub stale: Option<(BTreeMap<String, String>, usize)>,
    /// Statuses of any commit, as rows; check runs likewise.
    pub statuses: Vec<Value>,
    pub runs: Vec<Value>,
    pub required: Vec<String>,
    /// Further requirements of rule sets (GitHub).
    pub ruled: Vec<&'static str>,
    /// Marks that can be created once: their names and their texts.
    pub marks: BTreeMap<String, String>,
    /// Tag objects and the words in them.
    pub tags: HashMap<String, String>,
    pub issues: Vec<IssueRow>,
    pub workflows_there: Vec<&'static str>,
    /// Workflow and branch.
    pub dispatched: Vec<(String, String)>,
    /// When pull requests were merged, by number; otherwise at the start of 2026.
    pub merge_times: HashMap<u64, String>,
    /// The login of the account that merges pull requests; empty if it is not reported.
    pub merger: &'static str,
    /// Whether requests for the pull requests of a commit fail.
    pub hides_merges: bool,
    /// Pull requests that will be merged, and at which head.
    pub scheduled: Vec<(u64, String)>,
    pub version: &'static str,
    /// Someone opens the same issue right before the next one.
    pub rival: bool,
    /// The reason that it schedules no merge.
    pub no_merge: Option<&'static str>,
    /// GitHub's rules for the base.
    pub rules: super::github_rules::Settings,
    /// Whether the repository is archived.
    pub archived: bool,
    /// The repository's new name: requests for the old one are redirected.
    pub renamed: Option<&'static str>,
    /// The state that only Gitea and Forgejo have.
    pub gitea: super::gitea::Settings,
    /// The state that only GitLab has.
    pub gitlab: super::gitlab::Settings,
    /// The state that only GitHub has.
    pub github: super::github::Settings,
    /// The text with which a hook refuses every push.
    pub refuses_pushes: Option<String>,
    /// Its objects.
    pub repository: Repository,
    /// A commit whose parents are not read, because there are too many.
    history: Option<String>,
    next: u64,
    clock: u64,
}

impl Store {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            root: String::new(),
            path: String::new(),
            default_branch: "main",
            date: None,
            refs: BTreeMap::new(),
            pulls: Vec::new(),
            labels: Vec::new(),
            comments: HashMap::new(),
            push: Some(true),
            installation: false,
            scopes: None,
            workflows: true,
            may_label: true,
            graphql: true,
            intruder: None,
            restless: 0,
            meddled: None,
            lag: 0,
            stale: None,
            statuses: Vec::new(),
            runs: Vec::new(),
            required: Vec::new(),
            ruled: Vec::new(),
            marks: BTreeMap::new(),
            tags: HashMap::new(),
            issues: Vec::new(),
            workflows_there: Vec::new(),
            dispatched: Vec::new(),
            scheduled: Vec::new(),
            merge_times: HashMap::new(),
            merger: "merger",
            hides_merges: false,
            version: match kind {
                Kind::Forgejo => super::gitea::FORGEJO,
                Kind::Gitlab => super::gitlab::GITLAB,
                _ => super::gitea::GITEA,
            },
            rival: false,
            no_merge: None,
            rules: super::github_rules::Settings::default(),
            archived: false,
            renamed: None,
            gitea: super::gitea::Settings::default(),
            github: super::github::Settings::default(),
            gitlab: super::gitlab::Settings::default(),
            refuses_pushes: None,
            repository: Repository::new(),
            history: None,
            next: 0,
            clock: 0,
        }
    }

    /// Lets the token of a workflow run merge. Gitea has no row for its account, and shows that of a deleted user.
    pub fn merge_in_workflow_runs(&mut self) {
        self.merger = match self.kind {
            Kind::Github => "github-actions[bot]",
            Kind::Gitea => "Ghost",
            Kind::Forgejo => "forgejo-actions",
            // A merge by a token starts the pipeline of the target.
            Kind::Gitlab => "project_7_bot",
        };
    }

    /// The account that merged a pull request.
    pub fn merged_by(&self, pull: &PullRow) -> Value {
        match (&pull.merged, self.merger) {
            (None, _) | (Some(_), "") => Value::Null,
            (Some(_), login) => json!({"login": login}),
        }
    }

    /// When a pull request was merged.
    pub fn merged_at(&self, pull: &PullRow) -> Value {
        match (&pull.merged, self.merge_times.get(&pull.number)) {
            (None, _) => Value::Null,
            (Some(_), Some(time)) => json!(time),
            (Some(_), None) => json!("2026-01-01T00:00:00Z"),
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn put_blob(&self, content: &[u8]) -> String {
        self.repository.write("blob", content)
    }

    pub fn put_tree(&self, files: &Files) -> String {
        self.repository.write_tree(files)
    }

    pub fn put_commit(&mut self, commit: &CommitRow) -> String {
        // Two runs that make the same commit at different times make two.
        let time = self.tick();
        self.repository.write_commit(commit, time)
    }

    pub fn blob(&self, id: &str) -> Option<Vec<u8>> {
        self.repository.read("blob", id)
    }

    pub fn has_commit(&self, id: &str) -> bool {
        self.repository.commit(id).is_some()
    }

    pub fn commit(&self, id: &str) -> CommitRow {
        let mut commit = self.repository.commit(id).unwrap();
        if self.history.as_deref() == Some(id) {
            commit.parents.clear();
        }
        commit
    }

    /// A user pushes a commit that writes these files; a missing branch starts at
    /// `main`.
    pub fn push(&mut self, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
        let from = self
            .refs
            .get(branch)
            .or_else(|| self.refs.get("main"))
            .cloned();
        let mut tree = from
            .as_ref()
            .map_or_else(Files::new, |from| (*self.files_of(from)).clone());
        for (path, content) in files {
            let mode = tree
                .get(*path)
                .map_or("100644", |(mode, _)| mode)
                .to_owned();
            let blob = self.put_blob(content.as_bytes());
            tree.insert((*path).to_owned(), (mode, blob));
        }
        let tree = self.put_tree(&tree);
        let id = self.put_commit(&CommitRow {
            tree,
            parents: from.into_iter().collect(),
            message: message.to_owned(),
        });
        self.refs.insert(branch.to_owned(), id.clone());
        id
    }

    /// Puts the files of `main` upon the commit `tip` of a bare repository, with its history.
    pub fn build_upon(&mut self, history: &Path, tip: &str) {
        self.repository.borrow(history.join("objects"));
        self.history = Some(tip.to_owned());
        let mut files = (*self.files_of(tip)).clone();
        files.extend((*self.files_of(&self.refs["main"])).clone());
        let head = self.put_commit(&CommitRow {
            tree: self.put_tree(&files),
            parents: vec![tip.to_owned()],
            message: "as it is".to_owned(),
        });
        self.refs.insert("main".to_owned(), head);
    }

    /// Git finds the objects of this clone in the repository, too.
    pub fn borrow(&mut self, clone: &Path) {
        self.repository.borrow(clone.join(".git/objects"));
    }

    /// Moves a branch to a commit that this clone has.
    pub fn name_head(&mut self, branch: &str, id: &str, clone: &Path) {
        self.borrow(clone);
        self.refs.insert(branch.to_owned(), id.to_owned());
    }

    /// A user gives the last commit of a branch another message.
    pub fn reword(&mut self, branch: &str, message: &str) {
        let mut commit = self.commit(&self.refs[branch]);
        message.clone_into(&mut commit.message);
        let id = self.put_commit(&commit);
        self.refs.insert(branch.to_owned(), id);
    }

    pub fn chmod(&mut self, branch: &str, path: &str, mode: &str) {
        self.commit_files(branch, "chmod", |files| {
            mode.clone_into(&mut files.get_mut(path).unwrap().0);
        });
    }

    pub fn rename(&mut self, branch: &str, old: &str, new: &str) {
        self.commit_files(branch, "rename", |files| {
            let file = files.remove(old).unwrap();
            files.insert(new.to_owned(), file);
        });
    }

    /// A user pushes a commit that changes the files of a branch.
    pub fn commit_files(&mut self, branch: &str, message: &str, change: impl FnOnce(&mut Files)) {
        let head = self.refs[branch].clone();
        let mut files = (*self.files_of(&head)).clone();
        change(&mut files);
        let tree = self.put_tree(&files);
        let id = self.put_commit(&CommitRow {
            tree,
            parents: vec![head],
            message: message.to_owned(),
        });
        self.refs.insert(branch.to_owned(), id);
    }

    /// Merges a pull request, as a user does.
    pub fn merge(&mut self, number: u64) -> String {
        let pull = self
            .pulls
            .iter()
            .find(|pull| pull.number == number)
            .unwrap()
            .clone();
        let (base, head) = (self.refs[&pull.base].clone(), self.refs[&pull.head].clone());
        let origin = self.files_of(&self.merge_base(&base, &head));
        let mut files = (*self.files_of(&base)).clone();
        for (path, mut theirs) in (*self.files_of(&head)).clone() {
            let old = origin.get(&path);
            if old == Some(&theirs) {
                continue;
            }
            if let Some(content) = self.merge_lines([files.get(&path), old, Some(&theirs)]) {
                theirs.1 = self.put_blob(&content);
            }
            files.insert(path, theirs);
        }
        let tree = self.put_tree(&files);
        let message = format!("{} (#{number})", pull.title);
        let id = self.put_commit(&CommitRow {
            tree,
            parents: vec![base, head],
            message,
        });
        let merged_head = self.refs.get(&pull.head).cloned();
        self.refs.insert(pull.base, id.clone());
        let pull = self.pull_mut(number).unwrap();
        (pull.open, pull.merged) = (false, Some(id.clone()));
        pull.closed_at = merged_head;
        id
    }

    /// Whether everything that is required was reported as well.
    pub fn passed(&self) -> bool {
        let said = |row: &Value| row["state"] == "success" || row["status"] == "success";
        let good = |context: &String| {
            self.statuses
                .iter()
                .rev()
                .find(|row| row["context"].as_str() == Some(context))
                .is_some_and(said)
        };
        self.required.iter().all(good)
    }

    /// The forge merges a scheduled pull request as soon as it is permitted, at its current head
    /// (seen on GitHub and on Gitea 1.25.4: after a push by a user with write access, the merge is
    /// still scheduled).
    pub fn settle(&mut self) {
        if self.kind == Kind::Gitlab {
            return super::gitlab::settle(self);
        }
        if self.passed() && (self.kind == Kind::Github || self.gitea.approved) {
            let held = |number| {
                self.gitea.stuck.contains(&number)
                    || self.kind == Kind::Github && super::github::is_held(self, number)
            };
            let (now, never) = self
                .scheduled
                .clone()
                .into_iter()
                .partition(|(number, _)| !held(*number));
            self.scheduled = never;
            let now: Vec<(u64, String)> = now;
            for (number, _) in now {
                self.merge(number);
            }
        }
    }

    /// A report about any commit, newer than all before.
    pub fn report(&mut self, context: &str, said: &str) {
        let id = self.tick() + 1000;
        let [name, word] = match self.kind {
            Kind::Github => ["context", "state"],
            Kind::Gitea | Kind::Forgejo => ["context", "status"],
            Kind::Gitlab => ["name", "status"],
        };
        let said = match (self.kind, said) {
            (Kind::Gitlab, "failure" | "error") => "failed",
            _ => said,
        };
        let at = format!("2026-01-01T{:02}:{:02}:00Z", id / 60 % 24, id % 60);
        self.statuses.push(json!({"id": id, word: said, name: context, "target_url": format!("https://ci.example/{id}"), "created_at": at}));
        self.settle();
    }

    /// Closes a pull request, as a user does.
    pub fn close(&mut self, number: u64) {
        let head = self
            .pulls
            .iter()
            .find(|pull| pull.number == number)
            .and_then(|pull| self.refs.get(&pull.head));
        let closed_at = head.cloned();
        let pull = self.pull_mut(number).unwrap();
        (pull.open, pull.closed_at) = (false, closed_at);
    }

    /// The rows of issues; pull requests are issues, too.
    pub fn issue_rows(&self) -> Vec<Value> {
        let row = |issue: &IssueRow| {
            json!({"number": issue.number, "html_url": format!("https://x/issues/{}", issue.number), "title": issue.title,
                   "body": issue.body, "state": if issue.open { "open" } else { "closed" }})
        };
        let pull = |pull: &PullRow| {
            json!({"number": pull.number, "html_url": "https://x", "title": pull.title, "body": pull.body,
                   "state": "open", "pull_request": {"url": "https://x"}})
        };
        let issues = self.issues.iter().filter(|issue| issue.open).map(row);
        issues
            .chain(self.pulls.iter().filter(|pull| pull.open).map(pull))
            .collect()
    }

    pub fn make_issue(&mut self, title: &str, body: &str) -> Value {
        if std::mem::take(&mut self.rival) {
            self.make_issue(title, body);
        }
        let number = self.number();
        self.issues.push(IssueRow {
            number,
            title: title.to_owned(),
            body: body.to_owned(),
            open: true,
            labels: Vec::new(),
        });
        self.issue_rows()
            .into_iter()
            .find(|row| row["number"] == number)
            .unwrap()
    }

    pub fn edit_issue(&mut self, number: u64, edit: &Value) {
        let issue = self
            .issues
            .iter_mut()
            .find(|issue| issue.number == number)
            .unwrap();
        if let Some(body) = edit["body"].as_str() {
            body.clone_into(&mut issue.body);
        }
        issue.open = edit["state"]
            .as_str()
            .map_or(issue.open, |state| state == "open");
    }

    pub fn pull_mut(&mut self, number: u64) -> Option<&mut PullRow> {
        self.pulls.iter_mut().find(|pull| pull.number == number)
    }

    /// The labels of a pull request or an issue.
    pub fn labels_of(&mut self, number: u64) -> &mut Vec<String> {
        if let Some(at) = self.pulls.iter().position(|pull| pull.number == number) {
            return &mut self.pulls[at].labels;
        }
        &mut self
            .issues
            .iter_mut()
            .find(|issue| issue.number == number)
            .unwrap()
            .labels
    }

    pub fn open_issues(&self) -> Vec<&IssueRow> {
        self.issues.iter().filter(|issue| issue.open).collect()
    }

    /// Adds an open pull request.
    pub fn add_pull(&mut self, head: &str, base: &str) -> &mut PullRow {
        let number = self.number();
        self.pulls.push(PullRow {
            number,
            title: String::new(),
            body: String::new(),
            open: true,
            merged: None,
            draft: false,
            head: head.to_owned(),
            head_repo: "acme/flows".to_owned(),
            base: base.to_owned(),
            labels: Vec::new(),
            closed_at: None,
        });
        self.pulls.last_mut().unwrap()
    }

    pub fn open_pulls(&self) -> Vec<&PullRow> {
        self.pulls.iter().filter(|pull| pull.open).collect()
    }

    pub fn files_of(&self, commit: &str) -> Arc<Files> {
        self.repository.files(&self.commit(commit).tree).unwrap()
    }

    /// The mode and the id of a file.
    pub fn file(&self, commit: &str, path: &str) -> Option<(String, String)> {
        self.files_of(commit).get(path).cloned()
    }

    pub fn content(&self, branch: &str, path: &str) -> String {
        let (_, blob) = self.file(&self.refs[branch], path).unwrap();
        String::from_utf8(self.blob(&blob).unwrap()).unwrap()
    }

    pub fn ancestors(&self, commit: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut next = vec![commit.to_owned()];
        while let Some(id) = next.pop() {
            if seen.insert(id.clone()) {
                next.extend(self.commit(&id).parents);
            }
        }
        seen
    }

    /// Commits of `head` that `base` has not, the newest first.
    pub fn ahead(&self, base: &str, head: &str) -> Vec<String> {
        let known = self.ancestors(base);
        let (mut list, mut next) = (Vec::new(), vec![head.to_owned()]);
        while let Some(id) = next.pop() {
            if !known.contains(&id) && !list.contains(&id) {
                next.extend(self.commit(&id).parents.into_iter().rev());
                list.push(id);
            }
        }
        list
    }

    pub fn merge_base(&self, base: &str, head: &str) -> String {
        self.common_ancestor(base, head)
            .expect("unrelated histories")
    }

    /// The merge base; `None`: the histories are unrelated.
    pub fn common_ancestor(&self, base: &str, head: &str) -> Option<String> {
        let known = self.ancestors(base);
        let mut next = std::collections::VecDeque::from([head.to_owned()]);
        while let Some(id) = next.pop_front() {
            if known.contains(&id) {
                return Some(id);
            }
            next.extend(self.commit(&id).parents);
        }
        None
    }

    /// A user pushes a branch with an unrelated history.
    pub fn push_orphan(&mut self, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
        let mut tree = Files::new();
        for (path, content) in files {
            let blob = self.put_blob(content.as_bytes());
            tree.insert((*path).to_owned(), ("100644".to_owned(), blob));
        }
        let tree = self.put_tree(&tree);
        let id = self.put_commit(&CommitRow {
            tree,
            parents: Vec::new(),
            message: message.to_owned(),
        });
        self.refs.insert(branch.to_owned(), id.clone());
        id
    }

    /// The content that git gives a file of the base, its merge base and the head; `None` for a conflict, or
    /// if one of them does not have the file.
    fn merge_lines(&self, versions: [Option<&(String, String)>; 3]) -> Option<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (version, name) in versions.iter().zip(["ours", "old", "theirs"]) {
            let path = directory.path().join(name);
            std::fs::write(&path, self.blob(&(*version)?.1).unwrap()).unwrap();
            paths.push(path);
        }
        let mut git = std::process::Command::new("git");
        git.args(["merge-file", "-p"]).args(paths);
        let output = git.output().unwrap();
        output.status.success().then_some(output.stdout)
    }

    /// Paths that both sides changed in different ways since their merge base.
    pub fn conflicts(&self, base: &str, head: &str) -> Vec<String> {
        let Some(origin) = self.common_ancestor(base, head) else {
            return vec![".".to_owned()];
        };
        let (origin, base, head) = (
            self.files_of(&origin),
            self.files_of(base),
            self.files_of(head),
        );
        let paths: BTreeSet<_> = base.keys().chain(head.keys()).collect();
        let both = |path: &&&String| {
            let (old, ours, theirs) = (origin.get(**path), base.get(**path), head.get(**path));
            let is_changed = ours != old && theirs != old && ours != theirs;
            is_changed && self.merge_lines([ours, old, theirs]).is_none()
        };
        paths
            .iter()
            .filter(both)
            .map(|path| (*path).clone())
            .collect()
    }

    /// A branch or a commit, as an outdated read returns it.
    pub fn seen(&mut self, name: &str) -> Option<String> {
        if self.has_commit(name) {
            return Some(name.to_owned());
        }
        if let Some((refs, reads)) = &mut self.stale {
            if *reads > 0 {
                *reads -= 1;
                return refs.get(name).cloned();
            }
            self.stale = None;
        }
        self.refs.get(name).cloned()
    }

    /// Before a branch is written: others may be faster, and reads may not see it for a while.
    pub fn before_write(&mut self) {
        if self.lag > 0 {
            self.stale = Some((self.refs.clone(), self.lag));
        }
    }

    /// A user merges another change right before the creation of a commit.
    pub fn intrude(&mut self) {
        let Some((path, content)) = self.intruder.take() else {
            return;
        };
        self.push("main", "somebody was faster", &[(&path, &content)]);
        if self.restless > 0 {
            self.restless -= 1;
            self.intruder = Some((path, content + "."));
        }
    }

    /// Whether a commit changes files that only few tokens may change.
    pub fn touches_workflows(&self, paths: &[&str]) -> bool {
        !self.workflows
            && paths
                .iter()
                .any(|path| path.starts_with(".github/workflows/"))
    }
}
