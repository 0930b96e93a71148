//! The trouble of a repository, by its number.

use serde_json::json;

use super::{
    super::{Asked, Reply, Store, error},
    Outcome, Shared,
    contents::PINNED,
    not_found,
};

/// A scripted trouble of one repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The first write meets a secondary limit with `Retry-After: 1`.
    RetryAfter,
    /// The first write exceeds a secondary limit without a stated end.
    Limited,
    /// Every write is denied.
    Denied,
    /// Every new pull request is denied.
    DeniedPull,
    /// The listing of its files is denied.
    Unlisted,
    /// Every fetch of git is denied.
    Unfetched,
    /// Each listing of its pull requests finds another branch in its configuration.
    Reconfigured,
    /// The first write finds the hourly budget used up, until two seconds later.
    UsedUp,
    /// The first pull request "was submitted too quickly".
    TooQuickly,
    /// It was renamed: REST redirects, GraphQL and the new name work.
    Renamed,
    Archived,
    /// It has no commit.
    Empty,
    /// The listing of its files is cut off.
    Truncated,
    /// It has no `repin.yaml`.
    Unconfigured,
    /// A pin is missing.
    WrongCounts,
    /// Someone committed to repin's branch.
    Foreign,
    /// Someone closed repin's pull request.
    Closed,
    /// The first pull request is opened, and the response is 502.
    DoneThenBroken,
    /// The first response to a write is missing.
    Silent,
    /// It does not exist, or the token may not see it.
    Missing,
}

impl Trouble {
    /// Applies the trouble to the repository.
    pub fn prepare(self, store: &mut Store, branch: &str) {
        match self {
            Self::Archived => store.archived = true,
            Self::Empty => store.refs.clear(),
            Self::Unconfigured => {
                store.commit_files("main", "no configuration", |files| {
                    files.remove("repin.yaml");
                });
            }
            Self::WrongCounts => {
                store.push("main", "one pin less", &[(PINNED[0], "jobs: {}\n")]);
            }
            Self::Foreign => {
                store.push(branch, "fix: by hand", &[("src/part0/file0.txt", "mine\n")]);
            }
            Self::Closed => {
                let text = store.content("main", PINNED[0]).replace("aaaa", "cccc");
                let message = "promote: images @x\n\nRepin-Set: x";
                store.push(branch, message, &[(PINNED[0], &text)]);
                let pull = store.add_pull(branch, "main");
                let body = "<!-- repin/2 kind=promote set=repin.yaml revision=x -->";
                body.clone_into(&mut pull.body);
                let number = pull.number;
                store.close(number);
            }
            _ => {}
        }
    }
}

/// Whether a request opens a pull request.
fn opens(asked: &Asked) -> bool {
    asked.method == "POST"
        && (asked.path.ends_with("/pulls") || asked.path.ends_with("/merge_requests"))
}

impl Shared {
    pub(super) fn troubled(
        &self,
        asked: &Asked,
        number: usize,
        trouble: Trouble,
        write: bool,
    ) -> Outcome {
        let carried_out = || Outcome::Answer(self.carry_out(asked, Some(number)));
        let reset = || {
            let now = self.now().duration_since(std::time::UNIX_EPOCH).unwrap();
            (now.as_secs() + 2).to_string()
        };
        let is_denied = match trouble {
            Trouble::Denied => write,
            Trouble::DeniedPull => opens(asked),
            Trouble::Unlisted => {
                asked.path.contains("/git/trees/") || asked.path.ends_with("/repository/tree")
            }
            _ => false,
        };
        if is_denied {
            let message = "Resource not accessible by personal access token";
            return Outcome::Answer(error(403, message));
        }
        if trouble == Trouble::Reconfigured && asked.path.ends_with("/pulls") {
            let branch = format!("pins-{}/{{revision}}", self.times(number));
            let keys = format!("promote: {{ branch: '{branch}' }}\n");
            let config = self.options.seeded.config() + &keys;
            let files = [("repin.yaml", &*config)];
            self.store(number).push("main", "another branch", &files);
        }
        let due = match trouble {
            Trouble::RetryAfter | Trouble::Limited | Trouble::UsedUp | Trouble::Silent => write,
            Trouble::TooQuickly | Trouble::DoneThenBroken => opens(asked),
            Trouble::Missing if !asked.path.ends_with("/graphql") => {
                return Outcome::Answer(Reply::json(404, not_found("Not Found")));
            }
            _ => false,
        };
        if !due || self.times(number) > 0 {
            return carried_out();
        }
        let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        match trouble {
            Trouble::RetryAfter => Outcome::Answer(error(403, secondary).with("retry-after", "1")),
            Trouble::Limited => Outcome::Answer(error(403, secondary)),
            Trouble::UsedUp => Outcome::Answer(
                error(403, "API rate limit exceeded for user ID 1.")
                    .with("x-ratelimit-limit", "5000")
                    .with("x-ratelimit-remaining", "0")
                    .with("x-ratelimit-reset", &reset()),
            ),
            Trouble::TooQuickly => Outcome::Answer(Reply::json(
                422,
                json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "code": "custom", "message": "was submitted too quickly"}]}),
            )),
            Trouble::DoneThenBroken => {
                self.carry_out(asked, Some(number));
                Outcome::Answer(error(502, "Server Error"))
            }
            _ => {
                self.carry_out(asked, Some(number));
                Outcome::Hang
            }
        }
    }
}
