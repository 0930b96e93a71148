//! What a forge does with requests of git: it serves the branches and the heads of pull requests, refuses pushes in
//! the words of the original, and updates pull requests after a push.
//!
//! The refusals: <https://github.com/pretis/flexpret/issues/40> (GH006),
//! <https://github.com/yshavit/mdq/pull/255> (GH013), <https://github.com/repo-sync/github-sync/issues/23> (workflows),
//! <https://github.com/googleapis/repo-automation-bots/issues/2671> (archived),
//! <https://github.com/go-gitea/gitea/issues/31525> and Gitea's `routers/private/hook_pre_receive.go`.

use std::collections::BTreeMap;

use super::{Asked, Kind, Reply, gitea, gitlab, store::Store};

/// A refused push: the reason that the report of each reference has, and the message of the server.
struct Refusal {
    reason: String,
    message: String,
}

/// The name of a reference and its new commit; zeros if it is deleted.
struct Command {
    name: String,
    new: String,
}

impl Store {
    /// Answers a request of git. `service`: the path after that of the repository.
    pub fn serve_git(&mut self, asked: &Asked, service: &str) -> Reply {
        if let Some(reply) = self.refused_service(asked, service) {
            return reply;
        }
        let is_push = service == "git-receive-pack";
        if asked.target.ends_with("service=git-receive-pack") {
            self.intrude();
        }
        self.write_refs();
        let commands = if is_push {
            commands(&asked.bytes)
        } else {
            Vec::new()
        };
        if let Some(refusal) = commands.iter().find_map(|command| self.protects(command)) {
            return refused(&commands, &refusal);
        }
        let mut reply = self.repository.serve(asked, service);
        if is_push {
            let before = self.refs.clone();
            self.before_write();
            self.refs = self.repository.branches();
            match self.rule_violation(&before) {
                Some(refusal) => {
                    self.refs = before;
                    reply = refused(&commands, &refusal);
                }
                None => self.notice(&before),
            }
        }
        reply
    }

    /// The answer before a client may send anything.
    fn refused_service(&self, asked: &Asked, service: &str) -> Option<Reply> {
        let is_push =
            service == "git-receive-pack" || asked.target.ends_with("service=git-receive-pack");
        if let Some(name) = self.renamed {
            let to = asked.target.replace("acme/flows", name);
            return Some(text(301, "").with("location", &format!("{}{to}", self.root)));
        }
        if !is_push {
            return None;
        }
        let is_github = self.kind == Kind::Github;
        if self.archived && self.kind == Kind::Gitlab {
            return Some(text(403, "You can't push code to an archived project.\n"));
        }
        if self.archived {
            return Some(if is_github {
                text(403, "This repository was archived so it is read-only.\n")
            } else {
                text(
                    403,
                    "This repo is archived. You can view files and clone it, but cannot push or open issues/pull-requests.\n",
                )
            });
        }
        let denied = self.push == Some(false) && !self.installation;
        denied.then(|| text(403, "Permission to acme/flows.git denied to ada.\n"))
    }

    /// Whether a protection or a hook refuses to change a branch.
    fn protects(&self, command: &Command) -> Option<Refusal> {
        let branch = command.name.strip_prefix("refs/heads/").unwrap_or_default();
        let covers = |starts: &[&str]| starts.iter().any(|start| branch.starts_with(start));
        let hook = |message: String| {
            Some(Refusal {
                reason: "pre-receive hook declined".to_owned(),
                message,
            })
        };
        if let Some(text) = &self.refuses_pushes {
            return hook(text.clone());
        }
        if self.kind == Kind::Github {
            if covers(&self.github.protected) {
                return Some(Refusal {
                    reason: "protected branch hook declined".to_owned(),
                    message: format!(
                        "error: GH006: Protected branch update failed for {}.\nerror: You're not authorized to push to this branch. Visit https://docs.github.com/articles/about-protected-branches/ for more information.\n",
                        command.name
                    ),
                });
            }
            return covers(&self.github.ruled)
                .then(|| violation(&command.name, "Cannot update this protected ref."));
        }
        if self.kind == Kind::Gitlab {
            let role = self.gitlab.role.unwrap_or(40);
            let mut protected = self.gitlab.protected.iter();
            let refused = protected.any(|(name, level)| {
                let start = name.trim_end_matches('*');
                *level > role
                    && (branch == *name || name.ends_with('*') && branch.starts_with(start))
            });
            let text = "\nGitLab: You are not allowed to push code to protected branches on this project.\n";
            return if refused { hook(text.to_owned()) } else { None };
        }
        if covers(&self.gitea.protected) {
            let forge = if self.kind == Kind::Forgejo {
                "Forgejo"
            } else {
                "Gitea"
            };
            return hook(format!(
                "\n{forge}: Not allowed to push to protected branch {branch}\n"
            ));
        }
        hook(self.gitea.hook?.to_owned())
    }

    /// Whether a rule refuses the commits that were pushed.
    fn rule_violation(&self, before: &BTreeMap<String, String>) -> Option<Refusal> {
        for (branch, head) in &self.refs {
            if before.get(branch) == Some(head) || self.kind != Kind::Github {
                continue;
            }
            let name = format!("refs/heads/{branch}");
            if self.ref_refusal(head).is_some() {
                return Some(violation(&name, "Commits must have verified signatures."));
            }
            if self.workflows {
                continue;
            }
            let commit = self.commit(head);
            let parent = commit.parents.first();
            let old = parent.map(|parent| self.files_of(parent));
            for (path, file) in self.files_of(head).iter() {
                let is_changed = old.as_ref().and_then(|old| old.get(path)) != Some(file);
                if is_changed && self.touches_workflows(&[path]) {
                    return Some(Refusal {
                        reason: format!(
                            "refusing to allow a GitHub App to create or update workflow `{path}` without `workflows` permission"
                        ),
                        message: String::new(),
                    });
                }
            }
        }
        None
    }

    /// Updates pull requests after a push.
    fn notice(&mut self, before: &BTreeMap<String, String>) {
        let branches: Vec<_> = self.refs.keys().chain(before.keys()).cloned().collect();
        for branch in branches {
            let (old, new) = (before.get(&branch), self.refs.get(&branch));
            if old == new {
                continue;
            }
            match self.kind {
                Kind::Github => self.close_empty(&branch),
                Kind::Gitea | Kind::Forgejo => gitea::pushed(self, &branch),
                Kind::Gitlab => gitlab::pushed(self, &branch, old.cloned().as_ref()),
            }
        }
    }

    fn write_refs(&self) {
        let mut refs = BTreeMap::new();
        for (name, id) in &self.refs {
            refs.insert(format!("refs/heads/{name}"), id.clone());
        }
        for pull in &self.pulls {
            let head = pull
                .closed_at
                .as_ref()
                .or_else(|| self.refs.get(&pull.head));
            if let Some(head) = head.filter(|head| self.has_commit(head)) {
                let name = if self.kind == Kind::Gitlab {
                    "merge-requests"
                } else {
                    "pull"
                };
                refs.insert(format!("refs/{name}/{}/head", pull.number), head.clone());
            }
        }
        self.repository.write_refs(&refs, self.default_branch);
    }
}

fn violation(name: &str, rule: &str) -> Refusal {
    Refusal {
        reason: "push declined due to repository rule violations".to_owned(),
        message: format!(
            "error: GH013: Repository rule violations found for {name}.\nReview all repository rules at https://github.com/acme/flows/rules\n\n- {rule}\n\n"
        ),
    }
}

fn text(status: u16, text: &str) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: text.as_bytes().to_vec(),
    }
}

/// The commands of a push (gitprotocol-pack, "Reference Update Request").
fn commands(bytes: &[u8]) -> Vec<Command> {
    let (mut rest, mut commands) = (bytes, Vec::new());
    while let Some(length) = rest.get(..4) {
        let length = usize::from_str_radix(std::str::from_utf8(length).unwrap(), 16).unwrap();
        if length == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&rest[4..length]).into_owned();
        rest = &rest[length..];
        let line = line.split('\0').next().unwrap().trim_end().to_owned();
        let mut words = line.split(' ');
        if let (Some(_), Some(new), Some(name)) = (words.next(), words.next(), words.next()) {
            let (name, new) = (name.to_owned(), new.to_owned());
            commands.push(Command { name, new });
        }
    }
    commands
}

/// The report of a push that was refused as a whole (gitprotocol-pack, "Report Status"), in a side band.
fn refused(commands: &[Command], refusal: &Refusal) -> Reply {
    let packet =
        |content: &[u8]| [format!("{:04x}", content.len() + 4).as_bytes(), content].concat();
    let mut report = packet(b"unpack ok\n");
    for command in commands {
        let line = format!("ng {} {}\n", command.name, refusal.reason);
        report.extend(packet(line.as_bytes()));
    }
    report.extend(b"0000");
    let mut body = Vec::new();
    if !refusal.message.is_empty() {
        body.extend(packet(&[b"\x02", refusal.message.as_bytes()].concat()));
    }
    body.extend(packet(&[b"\x01", &report[..]].concat()));
    body.extend(b"0000");
    let kind = "application/x-git-receive-pack-result";
    Reply {
        status: 200,
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body,
    }
}
