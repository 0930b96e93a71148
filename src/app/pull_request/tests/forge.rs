//! One branch, one commit and one pull request on simulated forges, despite faults and concurrent
//! changes.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::{
    app::pull_request::{
        Base, Content, ContentPlace, ForgeRepository, Marker, MarkerKind, NoteListener, Permission,
        branches::{self, BranchDifference, BranchPair, Compared, OpenedPromotion},
        merging::{self, MergeAttempt},
        reconcile::{
            self, CompetingRevisions, Outcome, Proposal, PullRequestAction, PullRequestResult,
            RevisionAge,
        },
        waiting::{MergeObstacle, MergeSchedule, PollSchedule, WaitOutcome, WaitTarget, Waiting},
    },
    base::{
        error::{Class, Error},
        files::{Files, RelPath},
    },
    config::{self, Operation, SetPath, Trailer},
    core::plan::FileChange,
    forge::{
        Ability, Edit, Forge, GateState, Kind as ForgeKind, Merge, Mergeable, NewPull, Poll, Pull,
        PullState, Readiness, Settings, Target, Token, Transition, judge,
    },
    git::{Connections, Remote},
    oci::{Digest, registry},
    support::{
        forge::{self as fakes, Fake, Fault, Kind, Reply, TOKEN, When, broken, error},
        sweep::{one_of, sample},
    },
};

pub(crate) const KINDS: [Kind; 4] = [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab];
/// The kinds whose base branches require contexts by their names, and that start workflows on request.
const GATED: [Kind; 3] = [Kind::Github, Kind::Gitea, Kind::Forgejo];
pub(crate) const A: &str = ".github/workflows/a.yml";
pub(crate) const B: &str = "deploy/b.yml";

/// The request for a promotion.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) revision: &'static str,
    pub(crate) state: Readiness,
    pub(crate) reopen: bool,
    pub(crate) labels: bool,
    pub(crate) auto_merge: bool,
    /// The age of every other revision.
    pub(crate) age: &'static RevisionAge,
}

pub(crate) const REQUEST: Request = Request {
    revision: "rev2",
    state: Readiness::Ready,
    reopen: false,
    labels: false,
    auto_merge: false,
    age: &RevisionAge::Unknown,
};

pub(crate) fn fake(kind: Kind) -> Fake {
    let fake = Fake::start(kind);
    {
        let mut store = fake.store();
        store.push(
            "main",
            "first",
            &[
                (A, "image: x@rev1\r\n"),
                (B, "image: x@rev1 # é"),
                ("README.md", "hello"),
            ],
        );
        store.chmod("main", B, "100755");
    }
    fake
}

impl std::ops::Deref for ForgeRepository {
    type Target = Forge;

    fn deref(&self) -> &Forge {
        &self.forge
    }
}

pub(crate) fn forge(fake: &Fake) -> ForgeRepository {
    forge_with(fake, Duration::from_millis(1))
}

/// Like [`forge`], with this pause between two attempts.
pub(crate) fn forge_with(fake: &Fake, backoff: Duration) -> ForgeRepository {
    let api = fake.api();
    let kind = fake.store().kind;
    let kind = match kind {
        Kind::Github => ForgeKind::Github,
        Kind::Gitea | Kind::Forgejo => ForgeKind::Gitea,
        Kind::Gitlab => ForgeKind::Gitlab,
    };
    let target = Target {
        kind,
        api: api.parse().unwrap(),
        owner: "acme".to_owned(),
        name: "flows".to_owned(),
    };
    let registries = registry::Settings::new(registry::Environment::default(), SystemTime::now);
    let client = registry::Registries::new(registries)
        .unwrap()
        .client(&target.api)
        .unwrap();
    let mut settings = Settings::new(client, SystemTime::now);
    settings.backoff = backoff;
    settings.limit_pause = Duration::from_millis(1);
    let token = Token::parse(TOKEN).unwrap();
    let (method, sign) = (crate::forge::MergeMethod::Auto, crate::forge::Sign::Auto);
    let remote = Remote {
        url: target.git_url(),
        login: token.git_login(&target.git_url()).unwrap(),
    };
    let forge = Forge::new(&target, token, settings, method, sign).unwrap();
    // Like the runs in one clone, the clients share the fetched content.
    let directory = fake.store().repository.path().join("of-clients");
    with_content(forge, remote, directory, None)
}

/// A repository whose content is in a temporary directory.
pub(crate) fn of_temporary_content(forge: Forge, remote: Remote) -> ForgeRepository {
    let directory = tempfile::tempdir().unwrap();
    with_content(
        forge,
        remote,
        directory.path().join("forge"),
        Some(directory),
    )
}

fn with_content(
    forge: Forge,
    remote: Remote,
    directory: PathBuf,
    temporary: Option<tempfile::TempDir>,
) -> ForgeRepository {
    let place = ContentPlace {
        directory,
        clone: None,
        remote,
        connections: Connections {
            stall_limit: Some(Duration::from_secs(1)),
            ..Connections::default()
        },
        notes: NoteListener::default(),
        _temporary: temporary,
    };
    let content = Content::new(place, forge.policy().clone(), SystemTime::now);
    ForgeRepository { forge, content }
}

/// The number of a pull request, as users of the forge write it.
pub(crate) fn mark(kind: Kind, number: u64) -> String {
    let sign = if kind == Kind::Gitlab { '!' } else { '#' };
    format!("{sign}{number}")
}

pub(crate) fn branch(revision: &str) -> String {
    format!("auto/promote-{revision}")
}

/// The changes of a promotion to `revision`: each word after `x@` in the base's files.
async fn changes(
    forge: &ForgeRepository,
    base: &mut Base,
    revision: &str,
) -> Result<Vec<FileChange>, Error> {
    base.read_files(&forge.content, &[A.to_owned(), B.to_owned()])
        .await?;
    let files = base.snapshot("");
    let mut changes = Vec::new();
    for path in [A, B] {
        let path = RelPath::parse(path).unwrap();
        let old = files.read(&path).unwrap();
        let text = String::from_utf8(old.clone()).unwrap();
        let (before, after) = text.split_once("x@").unwrap();
        let new = format!("{before}x@{revision}{}", &after[4..]).into_bytes();
        if old != new {
            let (old_sha256, new_sha256) = (Digest::of(&old), Digest::of(&new));
            changes.push(FileChange {
                path,
                pins: 1,
                old,
                new,
                old_sha256,
                new_sha256,
            });
        }
    }
    Ok(changes)
}

/// Whether two contents are equal except for the revision after `x@`.
pub(crate) fn only_revisions_differ(_: &str, old: &[u8], new: &[u8]) -> bool {
    let masked = |content: &[u8]| {
        let text = String::from_utf8(content.to_vec()).unwrap();
        let (before, after) = text.split_once("x@").unwrap_or((&text, "1234"));
        format!("{before}x@{}", &after[4..])
    };
    masked(old) == masked(new)
}

/// Assigns one age to all other revisions.
pub(crate) struct OfOneAge {
    pub(crate) branch: fn(&str) -> String,
    pub(crate) age: &'static RevisionAge,
}

#[async_trait(?Send)]
impl CompetingRevisions for OfOneAge {
    fn has_branch(&self, marker: &Marker, branch: &str) -> bool {
        marker.set.is_top() && (self.branch)(&marker.revision) == branch
    }

    async fn age(&self, _: &str) -> RevisionAge {
        self.age.clone()
    }
}

/// Plans once against the base's head.
pub(crate) async fn attempt(forge: &ForgeRepository, request: Request) -> Result<Outcome, Error> {
    let labels: Vec<String> = if request.labels {
        vec!["ci".to_owned(), "automation".to_owned()]
    } else {
        Vec::new()
    };
    let marker = Marker {
        kind: MarkerKind::Set(Operation::Promotion),
        set: SetPath::top(),
        revision: request.revision.to_owned(),
    };
    let own = branch(request.revision);
    let mut base = Base::read(forge, None, Some(&own)).await?;
    let changes = changes(forge, &mut base, request.revision).await?;
    let competing_revisions = OfOneAge {
        branch,
        age: request.age,
    };
    let proposal = Proposal {
        branch: &branch(request.revision),
        title: &format!("promote: images @{}", request.revision),
        trailers: &[Trailer::line(request.revision, &marker.set)],
        body: &format!("changes\n\n{marker}\n"),
        marker: &marker,
        prefix: "",
        changes: &changes,
        labels: &labels,
        state: request.state,
        reopen: request.reopen,
        competing_revisions: &competing_revisions,
        supersede: true,
        only_pins: &only_revisions_differ,
        auto_merge: request.auto_merge,
    };
    reconcile::open(forge, &base, &proposal).await
}

/// Plans against the base's head, at most three times, like the command.
pub(crate) async fn promote(fake: &Fake, request: Request) -> Result<PullRequestResult, Error> {
    let forge = forge(fake);
    for _ in 0..3 {
        match attempt(&forge, request).await? {
            Outcome::Reconciled(result) => {
                return match result.late_error {
                    Some(error) => Err(error),
                    None => Ok(*result),
                };
            }
            Outcome::BaseMoved { .. } => {}
        }
    }
    panic!("the base moved in every round");
}

/// Checks for one branch with one commit on the base's head that changes the two files only, and
/// one open pull request.
pub(crate) fn is_whole(fake: &Fake, revision: &str) {
    let store = fake.store();
    let branch = branch(revision);
    let (main, head) = (&store.refs["main"], &store.refs[&branch]);
    assert_eq!(
        store.ahead(main, head),
        std::slice::from_ref(head),
        "one commit"
    );
    let commit = store.commit(head);
    assert_eq!(commit.parents, std::slice::from_ref(main));
    assert_eq!(
        commit.message,
        format!("promote: images @{revision}\n\nRepin-Set: {revision}\n")
    );
    assert_eq!(
        store.content(&branch, A),
        format!("image: x@{revision}\r\n")
    );
    assert_eq!(
        store.content(&branch, B),
        format!("image: x@{revision} # é")
    );
    let (files, before) = (store.files_of(head), store.files_of(main));
    assert_eq!(files.len(), before.len());
    for (path, entry) in files.iter() {
        assert_eq!(entry.0, before[path].0, "the mode of {path} stays");
        assert_eq!(entry != &before[path], path == A || path == B, "{path}");
    }
    let open: Vec<_> = store
        .open_pulls()
        .into_iter()
        .filter(|pull| pull.head == branch)
        .collect();
    assert_eq!(open.len(), 1);
    assert!(
        open[0].body.ends_with(&format!(
            "<!-- repin/2 kind=promote set=repin.yaml revision={revision} -->\n"
        )),
        "{}",
        open[0].body
    );
    assert_eq!(
        open[0]
            .title
            .trim_start_matches("WIP: ")
            .trim_start_matches("Draft: "),
        format!("promote: images @{revision}")
    );
}

#[tokio::test]
async fn pull_request_is_opened_reused_and_superseded() {
    for kind in KINDS {
        let fake = fake(kind);
        let first = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(first.change, PullRequestAction::Created, "{kind:?}");
        is_whole(&fake, "rev2");

        fake.forget();
        let again = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(
            (again.number, again.change),
            (first.number, PullRequestAction::Unchanged)
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
        // The repository, one exchange of git with its contents, and the pull requests.
        let asked = fake.asked();
        let (git, api): (Vec<_>, Vec<_>) = asked.iter().partition(|line| line.contains(".git/"));
        assert!(git.len() <= 6, "{kind:?}: {git:#?}");
        let most = if kind == Kind::Github { 2 } else { 3 };
        assert!(api.len() <= most, "{kind:?}: {api:#?}");

        let newer = promote(
            &fake,
            Request {
                revision: "rev3",
                ..REQUEST
            },
        )
        .await
        .unwrap();
        assert_eq!(
            (newer.change, newer.superseded),
            (PullRequestAction::Created, vec![first.number])
        );
        is_whole(&fake, "rev3");
        let store = fake.store();
        assert_eq!(store.open_pulls().len(), 1);
        assert!(
            store.refs.contains_key("auto/promote-rev2"),
            "its branch stays"
        );
        let comments = &store.comments[&first.number];
        assert!(
            comments.len() == 1 && comments[0].contains(&mark(kind, newer.number)),
            "{comments:?}"
        );
    }
}

#[tokio::test]
async fn superseded_pull_request_is_reopened_after_its_successor() {
    for kind in KINDS {
        let fake = fake(kind);
        let forge = forge(&fake);
        let older = promote(&fake, REQUEST).await.unwrap();
        let request = Request {
            revision: "rev3",
            ..REQUEST
        };
        let newer = promote(&fake, request).await.unwrap();
        let refused = promote(&fake, REQUEST).await.unwrap_err();
        let reason = format!("{} supersedes it, and is open", mark(kind, newer.number));
        assert!(refused.message.contains(&reason), "{kind:?}: {refused}");
        let close = Edit {
            transition: Some(Transition::Close),
            ..Edit::default()
        };
        forge.edit_pull(newer.number, &close).await.unwrap();
        let again = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(again.change, PullRequestAction::Updated, "{kind:?}");
        assert_eq!(again.number, older.number, "{kind:?}");
        is_whole(&fake, "rev2");
        // A reviewer closed the other pull request.
        let refused = promote(&fake, request).await.unwrap_err();
        assert_eq!(refused.class, Class::Refused, "{kind:?}: {refused}");
        assert!(
            refused
                .message
                .contains("repin does not reopen it by itself")
        );
    }
}

#[tokio::test]
async fn reopening_on_request_ignores_an_open_successor() {
    for kind in KINDS {
        let fake = fake(kind);
        let older = promote(&fake, REQUEST).await.unwrap();
        let request = Request {
            revision: "rev3",
            ..REQUEST
        };
        promote(&fake, request).await.unwrap();
        let reopening = Request {
            reopen: true,
            ..REQUEST
        };
        let reopened = promote(&fake, reopening).await.unwrap();
        assert_eq!(reopened.number, older.number, "{kind:?}");
        assert_eq!(fake.store().open_pulls().len(), 2, "{kind:?}");
    }
}

#[tokio::test]
async fn an_older_run_that_comes_late_closes_nothing() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        let newer = promote(
            &fake,
            Request {
                revision: "rev3",
                ..REQUEST
            },
        )
        .await
        .unwrap();
        let error = promote(&fake, REQUEST).await.unwrap_err();
        assert_eq!(
            error.class,
            Class::Refused,
            "the older one was closed: {error}"
        );
        let open: Vec<_> = fake
            .store()
            .open_pulls()
            .iter()
            .map(|pull| pull.number)
            .collect();
        assert_eq!(open, [newer.number]);
        // A reviewer reopens it: it is unchanged, and its revision is still the older one.
        fake.store().pulls[0].open = true;
        let again = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(
            (again.change, again.superseded),
            (PullRequestAction::Unchanged, Vec::new()),
            "{kind:?}"
        );
        assert_eq!(fake.store().open_pulls().len(), 2);
    }
}

#[tokio::test]
async fn pull_request_to_another_base_is_independent() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        {
            let mut store = fake.store();
            store.push("staging", "begin", &[]);
            store.pulls[0].base = "staging".to_owned();
        }
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap().change,
            PullRequestAction::Created,
            "{kind:?}"
        );
        assert_eq!(fake.store().open_pulls().len(), 2);
    }
}

#[tokio::test]
async fn only_pull_requests_of_the_set_are_superseded() {
    for kind in KINDS {
        let fake = fake(kind);
        let older = promote(&fake, REQUEST).await.unwrap().number;
        let mut others = Vec::new();
        {
            let mut store = fake.store();
            let like = store.pulls[0].clone();
            let mut add = |change: &dyn Fn(&mut fakes::PullRow)| {
                let mut pull = like.clone();
                pull.number = store.number();
                change(&mut pull);
                others.push(pull.number);
                store.pulls.push(pull);
            };
            add(&|pull| pull.head = "another/branch".to_owned());
            add(&|pull| pull.head_repo = "fork/flows".to_owned());
            add(&|pull| pull.body = "no marker".to_owned());
            add(&|pull| pull.body = pull.body.replace("kind=promote", "kind=rollback"));
            add(&|pull| pull.base = "auto/promote-rev2".to_owned());
        }
        let newer = promote(
            &fake,
            Request {
                revision: "rev3",
                ..REQUEST
            },
        )
        .await
        .unwrap();
        assert_eq!(newer.superseded, [older], "{kind:?}");
        let store = fake.store();
        assert!(others.iter().all(|number| {
            store
                .pulls
                .iter()
                .any(|pull| pull.number == *number && pull.open)
        }));
    }
}

#[tokio::test]
async fn concurrent_runs_create_one_pull_request() {
    for kind in KINDS {
        for stale in [false, true] {
            let fake = fake(kind);
            if stale && kind == Kind::Github {
                // The branch of an interrupted run, with another content.
                fake.store().push(
                    &branch("rev2"),
                    "promote: images @rev2\n\nRepin-Set: rev2\n",
                    &[(A, "image: x@rev0\r\n")],
                );
            }
            let runs =
                futures_util::future::join_all((0..4).map(|_| promote(&fake, REQUEST))).await;
            let numbers: Vec<_> = runs.into_iter().map(|run| run.unwrap().number).collect();
            assert!(
                numbers.iter().all(|number| *number == numbers[0]),
                "{kind:?} {numbers:?}"
            );
            is_whole(&fake, "rev2");
            assert_eq!(fake.store().pulls.len(), 1);
        }
    }
}

#[tokio::test]
async fn foreign_commit_is_preserved_and_reported() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        let foreign = fake.store().push(
            &branch("rev2"),
            "fix \u{1b}[31m typo",
            &[("README.md", "hi")],
        );
        fake.forget();
        let error = promote(&fake, REQUEST).await.unwrap_err();
        assert_eq!(error.class, Class::Conflict);
        assert!(
            error.message.contains(&foreign) && !error.message.contains('\u{1b}'),
            "{error}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
        assert_eq!(fake.store().refs[&branch("rev2")], foreign);
    }
}

#[tokio::test]
async fn commit_with_another_mode_is_foreign() {
    let fake = fake(Kind::Github);
    promote(&fake, REQUEST).await.unwrap();
    {
        let mut store = fake.store();
        let head = store.refs[&branch("rev2")].clone();
        let mut commit = store.commit(&head);
        let mut files = (*store.files_of(&head)).clone();
        files.get_mut(A).unwrap().0 = "100755".to_owned();
        commit.tree = store.put_tree(&files);
        let id = store.put_commit(&commit);
        store.refs.insert(branch("rev2"), id);
    }
    let error = promote(&fake, REQUEST).await.unwrap_err();
    assert_eq!(error.class, Class::Conflict, "{error}");
}

#[tokio::test]
async fn own_branch_with_other_content_is_rebuilt() {
    for kind in KINDS {
        let fake = fake(kind);
        let first = promote(&fake, REQUEST).await.unwrap();
        fake.store().push(
            "main",
            "other lines",
            &[(A, "image: x@rev1\r\nmore: lines\r\n")],
        );
        let again = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(
            (again.number, again.change),
            (first.number, PullRequestAction::Updated),
            "{kind:?}"
        );
        let store = fake.store();
        let head = &store.refs[&branch("rev2")];
        assert_eq!(store.commit(head).parents, [store.refs["main"].clone()]);
        assert_eq!(
            store.content(&branch("rev2"), A),
            "image: x@rev2\r\nmore: lines\r\n"
        );
        assert_eq!(store.open_pulls().len(), 1);
    }
}

#[tokio::test]
async fn commit_pushed_before_the_update_is_not_lost() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        fake.store().push(
            "main",
            "other lines",
            &[(A, "image: x@rev1\r\nmore: lines\r\n")],
        );
        fake.store().meddled = Some(branch("rev2"));
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap_err().class,
            Class::Conflict,
            "{kind:?}"
        );
        let store = fake.store();
        assert_eq!(
            store.commit(&store.refs[&branch("rev2")]).message,
            "somebody's work"
        );
    }
}

#[tokio::test]
async fn unrelated_base_commits_keep_the_branch() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        fake.store()
            .push("main", "unrelated", &[("README.md", "other")]);
        fake.forget();
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap().change,
            PullRequestAction::Unchanged,
            "{kind:?}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[tokio::test]
async fn concurrently_moved_base_is_replanned() {
    for kind in KINDS {
        for (path, content) in [("README.md", "other"), (A, "image: x@rev1\r\n# more\r\n")] {
            let fake = fake(kind);
            fake.store().intruder = Some((path.to_owned(), content.to_owned()));
            promote(&fake, REQUEST).await.unwrap();
            let store = fake.store();
            let head = &store.refs[&branch("rev2")];
            assert_eq!(store.ahead(&store.refs["main"], head).len(), 1, "{kind:?}");
            assert_eq!(
                store.commit(head).parents,
                [store.refs["main"].clone()],
                "{kind:?} {path}"
            );
            assert_eq!(
                store.content(&branch("rev2"), path),
                content.replace("rev1", "rev2")
            );
        }
    }
}

#[tokio::test]
async fn pull_request_closed_by_a_person_stays_closed() {
    for kind in KINDS {
        for deleted in [false, true] {
            let fake = fake(kind);
            let number = promote(&fake, REQUEST).await.unwrap().number;
            fake.store().close(number);
            if deleted {
                fake.store().refs.remove(&branch("rev2"));
            }
            fake.forget();
            let error = promote(&fake, REQUEST).await.unwrap_err();
            assert_eq!(error.class, Class::Refused, "{kind:?}");
            assert!(error.help.unwrap().contains("--reopen"));
            assert_eq!(fake.writes(), [] as [String; 0]);
            let again = promote(
                &fake,
                Request {
                    reopen: true,
                    ..REQUEST
                },
            )
            .await
            .unwrap();
            // GitHub cannot reopen a pull request after its branch was deleted.
            assert_eq!(
                again.number == number,
                !deleted || kind != Kind::Github,
                "{kind:?} {deleted}"
            );
            is_whole(&fake, "rev2");
        }
    }
}

#[tokio::test]
async fn branch_of_a_merged_pull_request_is_reused() {
    for kind in KINDS {
        let fake = fake(kind);
        let first = promote(&fake, REQUEST).await.unwrap().number;
        fake.store().merge(first);
        // A developer reverts it, and the set is promoted a second time.
        fake.store().push(
            "main",
            "revert",
            &[(A, "image: x@rev1\r\n"), (B, "image: x@rev1 # é")],
        );
        let second = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(second.change, PullRequestAction::Created, "{kind:?}");
        assert_ne!(second.number, first);
        is_whole(&fake, "rev2");
    }
}

#[tokio::test]
async fn squashed_and_reverted_branch_is_reused() {
    for kind in KINDS {
        let fake = fake(kind);
        let first = promote(&fake, REQUEST).await.unwrap().number;
        {
            let mut store = fake.store();
            let id = store.push(
                "main",
                "promote (#1)",
                &[(A, "image: x@rev2\r\n"), (B, "image: x@rev2 # é")],
            );
            let pull = store.pull_mut(first).unwrap();
            (pull.open, pull.merged) = (false, Some(id));
            store.push(
                "main",
                "revert",
                &[(A, "image: x@rev1\r\n#\r\n"), (B, "image: x@rev1 # é")],
            );
        }
        let second = promote(&fake, REQUEST).await.unwrap();
        assert_eq!(second.change, PullRequestAction::Created, "{kind:?}");
        let store = fake.store();
        let head = &store.refs[&branch("rev2")];
        assert_eq!(
            store.commit(head).parents,
            [store.refs["main"].clone()],
            "{kind:?}"
        );
    }
}

/// An error states whether a visible change may have happened.
#[tokio::test]
async fn mutation_without_a_response_may_have_succeeded() {
    let (fake, forge, pull) = opened(Kind::Github, &[]).await;
    fake.fault(("POST", "/graphql"), 99, Fault::Silence);
    let error = forge.set_state(&pull, Readiness::Draft).await.unwrap_err();
    assert!(
        error.may_have_changed && fake.store().pulls[0].draft,
        "{error}"
    );
    fake.forget();
    fake.store().graphql = false;
    let error = forge.set_state(&pull, Readiness::Draft).await.unwrap_err();
    assert!(!error.may_have_changed, "{error}");
}

#[tokio::test]
async fn draft_state_follows_the_request() {
    for kind in KINDS {
        let fake = fake(kind);
        let draft = Request {
            state: Readiness::Draft,
            ..REQUEST
        };
        let is_draft = || {
            let store = fake.store();
            let pull = &store.pulls[0];
            if kind == Kind::Github {
                pull.draft
            } else {
                ["WIP: ", "Draft: "]
                    .iter()
                    .any(|start| pull.title.starts_with(start))
            }
        };
        promote(&fake, draft).await.unwrap();
        assert!(is_draft());
        is_whole(&fake, "rev2");
        assert_eq!(
            promote(&fake, draft).await.unwrap().change,
            PullRequestAction::Unchanged,
            "{kind:?}"
        );
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap().change,
            PullRequestAction::Updated
        );
        assert!(!is_draft());
        assert_eq!(
            promote(&fake, draft).await.unwrap().change,
            PullRequestAction::Updated
        );
        assert!(is_draft());
    }
}

#[tokio::test]
async fn labels_are_created_and_a_refusal_warns() {
    for kind in KINDS {
        let request = Request {
            labels: true,
            ..REQUEST
        };
        let forge = fake(kind);
        forge.store().labels.push((90, "ci".to_owned()));
        assert_eq!(
            promote(&forge, request).await.unwrap().warnings,
            [] as [String; 0],
            "{kind:?}"
        );
        assert_eq!(
            forge.store().pulls[0].labels,
            ["ci", "automation"],
            "{kind:?}"
        );
        forge.forget();
        assert_eq!(
            promote(&forge, request).await.unwrap().change,
            PullRequestAction::Unchanged
        );
        assert_eq!(forge.writes(), [] as [String; 0]);
        // A label that a reviewer removed is not restored.
        forge.store().pulls[0].labels.pop();
        promote(&forge, request).await.unwrap();
        assert_eq!(forge.store().pulls[0].labels, ["ci"]);

        let forge = fake(kind);
        forge.store().may_label = false;
        let result = promote(&forge, request).await.unwrap();
        assert!(result.warnings[0].contains("403"), "{:?}", result.warnings);
        is_whole(&forge, "rev2");
    }
}

#[tokio::test]
async fn permissions_are_checked_before_any_write() {
    for kind in KINDS {
        let fake = fake(kind);
        fake.store().push = Some(false);
        let error = promote(&fake, REQUEST).await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{kind:?}");
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
    let fake = fake(Kind::Github);
    for (scopes, missing) in [
        ("", "repo"),
        ("read:org", "repo"),
        ("public_repo, workflow", "repo"),
        ("repo", "workflows: write"),
    ] {
        fake.store().scopes = Some(scopes);
        let error = promote(&fake, REQUEST).await.unwrap_err();
        assert_eq!(error.class, Class::Denied);
        assert!(error.message.contains(missing), "{error}");
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
    fake.store().scopes = Some("repo, workflow");
    promote(&fake, REQUEST).await.unwrap();
}

#[tokio::test]
async fn app_token_leaves_push_permission_unknown() {
    let fake = fake(Kind::Github);
    fake.store().push = Some(false);
    fake.store().installation = true;
    promote(&fake, REQUEST).await.unwrap();
    fake.store().push = None;
    promote(
        &fake,
        Request {
            revision: "rev3",
            ..REQUEST
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn token_without_workflows_names_the_missing_permission() {
    let fake = fake(Kind::Github);
    fake.store().workflows = false;
    let error = promote(&fake, REQUEST).await.unwrap_err();
    assert_eq!(error.class, Class::Denied);
    assert!(
        error.message.contains("`workflows: write` is missing"),
        "{error}"
    );
    assert!(error.help.unwrap().contains("GITHUB_TOKEN cannot have"));
    let store = fake.store();
    assert!(
        !store.refs.contains_key(&branch("rev2")) && store.pulls.is_empty(),
        "nothing anybody sees"
    );
}

#[tokio::test]
async fn read_only_token_is_reported_with_both_permissions() {
    let fake = fake(Kind::Github);
    let denied = error(403, "Write access to repository not granted.");
    let push = ("GET", "/info/refs?service=git-receive-pack");
    fake.fault(push, 9, Fault::Instead(denied));
    let error = promote(&fake, REQUEST).await.unwrap_err();
    assert_eq!(error.class, Class::Denied);
    let hint = error.help.clone().unwrap();
    assert!(
        hint.contains("`contents: write`") && hint.contains("`workflows: write`"),
        "{hint}"
    );
}

/// The steps of a run at which a temporary or permanent server error can interrupt it.
fn steps(kind: Kind) -> Vec<(&'static str, String)> {
    let labels = "/labels".to_owned();
    let mut steps = vec![
        ("GET", "/acme/flows".to_owned()),
        ("GET", "/info/refs?service=git-upload-pack".to_owned()),
        ("POST", "/git-upload-pack".to_owned()),
        ("GET", "/pulls".to_owned()),
        ("GET", "/info/refs?service=git-receive-pack".to_owned()),
        ("POST", "/git-receive-pack".to_owned()),
    ];
    if kind != Kind::Github {
        steps.push(("GET", labels.clone()));
    }
    steps.extend([
        ("POST", "/pulls".to_owned()),
        ("POST", labels),
        ("POST", "/1/comments".to_owned()),
        ("GET", "/comments".to_owned()),
    ]);
    steps
}

/// The faults of a request, and how often each occurs. The first forge has all; git's requests are the same for all.
fn interruptions(kind: Kind, path: &str) -> Vec<(Fault, usize)> {
    let is_of_git = path.contains("git-");
    match (kind, is_of_git) {
        (Kind::Github, _) => vec![
            (Fault::After(broken()), 1),
            (Fault::Instead(broken()), 100),
            (Fault::Silence, 1),
        ],
        (_, false) => vec![(Fault::After(broken()), 1), (Fault::After(broken()), 100)],
        (_, true) => Vec::new(),
    }
}

#[tokio::test]
async fn interrupted_creation_converges() {
    // Forgejo has the requests of Gitea.
    for kind in [Kind::Github, Kind::Gitea, Kind::Gitlab] {
        let cases = steps(kind).into_iter().flat_map(|(method, path)| {
            let faults = interruptions(kind, &path).into_iter();
            faults.map(move |(fault, times)| (method, path.clone(), fault, times))
        });
        for (method, path, fault, times) in sample(cases.collect(), 8) {
            let fake = fake(kind);
            let case = format!("{kind:?} {method} {path} {times}");
            // An older pull request to supersede; its number is 1 or close to it.
            promote(
                &fake,
                Request {
                    revision: "rev0",
                    ..REQUEST
                },
            )
            .await
            .unwrap();
            renumber(&fake);
            fake.fault((method, &path), times, fault.clone());
            let request = Request {
                labels: true,
                ..REQUEST
            };
            let broken_off = promote(&fake, request).await;
            if times == 1 {
                assert!(broken_off.is_ok(), "{case}: {broken_off:?}");
            }
            if let Err(error) = &broken_off {
                assert_eq!(error.class, Class::Unavailable, "{case}: {error}");
            }
            fake.forget();
            promote(&fake, request)
                .await
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            is_whole(&fake, "rev2");
            let store = fake.store();
            assert_eq!(store.pulls.len(), 2, "{case}");
            assert_eq!(store.open_pulls().len(), 1, "{case}");
            assert_eq!(store.comments[&1].len(), 1, "{case}");
            assert_eq!(store.open_pulls()[0].labels.len() % 2, 0, "{case}");
        }
    }
}

fn renumber(fake: &Fake) {
    fake.store().pulls[0].number = 1;
}

#[tokio::test]
async fn interrupted_branch_update_converges() {
    for kind in one_of(KINDS) {
        for (method, path) in [
            ("PATCH", "/pulls/1"),
            ("GET", "/info/refs?service=git-receive-pack"),
            ("POST", "/git-receive-pack"),
        ] {
            for (fault, times) in interruptions(kind, path) {
                let fake = fake(kind);
                let case = format!("{kind:?} {method} {path} {times}");
                promote(&fake, REQUEST).await.unwrap();
                renumber(&fake);
                fake.store().push(
                    "main",
                    "other lines",
                    &[(A, "image: x@rev1\r\n"), (B, "image: x@rev1 # é\n")],
                );
                fake.store().push(
                    "main",
                    "other lines",
                    &[(B, "image: x@rev1 # é"), ("x", "y")],
                );
                fake.store()
                    .push("main", "other lines", &[(A, "image: x@rev1\r\n# c")]);
                fake.fault((method, path), times, fault.clone());
                let _ = promote(&fake, REQUEST).await;
                fake.forget();
                let again = promote(&fake, REQUEST)
                    .await
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(again.number, 1, "{case}");
                let store = fake.store();
                assert_eq!(
                    store.content(&branch("rev2"), A),
                    "image: x@rev2\r\n# c",
                    "{case}"
                );
                assert_eq!(
                    store.commit(&store.refs[&branch("rev2")]).parents,
                    [store.refs["main"].clone()]
                );
                let open = store.open_pulls();
                assert!(
                    open.len() == 1 && open[0].body.starts_with("changes"),
                    "{case}: {}",
                    open[0].body
                );
            }
        }
    }
}

#[tokio::test]
async fn late_updates_are_waited_for() {
    for kind in KINDS {
        for lag in [1, 2, 4] {
            let fake = fake(kind);
            fake.store().lag = lag;
            assert_eq!(
                promote(&fake, REQUEST).await.unwrap().change,
                PullRequestAction::Created,
                "{kind:?} {lag}"
            );
            is_whole(&fake, "rev2");
            assert_eq!(fake.store().pulls.len(), 1);
        }
    }
}

#[tokio::test]
async fn short_rate_limits_are_respected() {
    for kind in KINDS {
        for limit in [
            error(429, "slow down"),
            error(403, "You have exceeded a secondary rate limit").with("retry-after", "0"),
            error(403, "You have exceeded a secondary rate limit"),
            error(403, "API rate limit exceeded")
                .with("x-ratelimit-remaining", "0")
                .with("x-ratelimit-reset", "1"),
            // Reported by users who open pull requests in quick succession.
            error(422, "Validation Failed: was submitted too quickly"),
        ] {
            let fake = fake(kind);
            fake.fault(("GET", "/pulls"), 2, Fault::Instead(limit.clone()));
            fake.fault(("POST", "/pulls"), 2, Fault::Instead(limit));
            promote(&fake, REQUEST).await.unwrap();
            is_whole(&fake, "rev2");
        }
        let fake = fake(kind);
        fake.fault(
            ("GET", "/pulls"),
            2,
            Fault::Instead(error(429, "slow down").with("retry-after", "3600")),
        );
        let error = promote(&fake, REQUEST).await.unwrap_err();
        assert!(
            error.class == Class::Limited && error.message.contains("3600 s"),
            "{error}"
        );
        // A refusal is not a rate limit.
        fake.forget();
        fake.fault(
            ("GET", "/pulls"),
            2,
            Fault::Instead(fakes::error(403, "Resource not accessible")),
        );
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap_err().class,
            Class::Denied
        );
    }
}

#[tokio::test]
async fn token_is_sent_to_its_forge_only() {
    for kind in KINDS {
        let fake = fake(kind);
        let elsewhere = Fake::start(kind);
        // GitHub is first queried by GraphQL; if that fails, the repository is read by REST.
        let fault = |reply: Reply| {
            if kind == Kind::Github {
                fake.fault(("POST", "/graphql"), 1, Fault::Instead(reply.clone()));
            }
            fake.fault(("GET", "/acme/flows"), 1, Fault::Instead(reply));
        };
        let to = format!("{}/repositories/1?{TOKEN}", elsewhere.server.url());
        for status in [301, 302, 307, 308] {
            fault(Reply::json(status, serde_json::Value::Null).with("location", &to));
            let error = promote(&fake, REQUEST).await.unwrap_err();
            assert!(error.message.contains("/repositories/1"), "{error}");
            assert!(!format!("{error} {error:?}").contains(TOKEN));
        }
        assert_eq!(
            elsewhere.asked(),
            [] as [String; 0],
            "a redirect was followed"
        );
        // An echoed request must not expose the token.
        fault(error(403, &format!("no {TOKEN} \u{1b}[31m")));
        let error = promote(&fake, REQUEST).await.unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains(TOKEN) && !error.message.contains('\u{1b}'),
            "{error}"
        );
        fault(fakes::error(401, "Bad credentials"));
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap_err().class,
            Class::Denied
        );
        assert!(
            fake.asked().iter().all(|line| !line.contains(TOKEN)),
            "never in a URL"
        );
    }
}

#[tokio::test]
async fn listings_are_complete_and_filtered_locally() {
    for kind in KINDS {
        let fake = fake(kind);
        let first = promote(&fake, REQUEST).await.unwrap().number;
        {
            let mut store = fake.store();
            let like = store.pulls[0].clone();
            for at in 0..230 {
                let mut pull = like.clone();
                (pull.number, pull.head, pull.open) =
                    (1000 + at, format!("other/{at}"), at % 2 == 0);
                pull.body = "other".to_owned();
                store.pulls.push(pull);
            }
        }
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap().number,
            first,
            "{kind:?}"
        );
        fake.store().close(first);
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap_err().class,
            Class::Refused,
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn foreign_pull_request_of_a_branch_is_ignored() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        for body in [
            "mine now",
            "<!-- repin/2 kind=promote set=repin.yaml revision=rev1 -->",
            "<!-- repin/2 kind=rollback set=repin.yaml revision=rev2 -->",
        ] {
            fake.store().pulls[0].body = body.to_owned();
            assert_eq!(
                promote(&fake, REQUEST).await.unwrap_err().class,
                Class::Conflict,
                "{kind:?} {body}"
            );
        }
        // A fork's branch of the same name belongs to another repository.
        {
            let marker = "<!-- repin/2 kind=promote set=repin.yaml revision=rev2 -->".to_owned();
            let pull = &mut fake.store().pulls[0];
            (pull.body, pull.head_repo) = (marker, "fork/flows".to_owned());
        }
        assert_eq!(
            promote(&fake, REQUEST).await.unwrap().change,
            PullRequestAction::Created,
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn plan_for_other_base_contents_is_refused() {
    for kind in KINDS {
        let fake = fake(kind);
        let forge = forge(&fake);
        let mut base = Base::read(&forge, None, None).await.unwrap();
        let mut changes = changes(&forge, &mut base, "rev2").await.unwrap();
        changes[0].old.push(b'\n');
        let marker = Marker {
            kind: MarkerKind::Set(Operation::Promotion),
            set: SetPath::top(),
            revision: "rev2".to_owned(),
        };
        let proposal = Proposal {
            branch: "b",
            title: "t",
            trailers: &["Repin-Set: x".to_owned()],
            body: "",
            marker: &marker,
            prefix: "",
            changes: &changes,
            labels: &[],
            state: Readiness::Ready,
            reopen: false,
            competing_revisions: &OfOneAge {
                branch,
                age: &RevisionAge::Unknown,
            },
            supersede: false,
            only_pins: &only_revisions_differ,
            auto_merge: false,
        };
        let error = reconcile::open(&forge, &base, &proposal).await.unwrap_err();
        assert_eq!(
            (error.class, error.subject.as_deref().unwrap()),
            (Class::Conflict, A),
            "{kind:?}"
        );
        assert_eq!(fake.writes(), [] as [String; 0]);
    }
}

#[tokio::test]
async fn only_a_regular_file_is_a_configuration() {
    for kind in KINDS {
        let fake = fake(kind);
        let config = "version: 1\nfiles: [x]\nimages:\n  a: { repository: r.example/a, pins: 1 }\n";
        fake.store().push(
            "main",
            "configurations",
            &[
                ("repin.yaml", config),
                ("x/repin.yaml", config),
                ("y/repin.yaml", "version: 2\n"),
            ],
        );
        fake.store().chmod("main", "x/repin.yaml", "120000");
        let forge = forge(&fake);
        let base = Base::read(&forge, None, None).await.unwrap();
        let read = async |path: &str| {
            let set = SetPath::new(Path::new(path)).unwrap();
            base.configuration(&forge.content, &set).await.unwrap()
        };
        assert!(matches!(read("repin.yaml").await, Some(Ok(_))), "{kind:?}");
        assert!(read("x/repin.yaml").await.is_none(), "{kind:?}");
        assert!(
            matches!(read("y/repin.yaml").await, Some(Err(_))),
            "{kind:?}"
        );
        assert!(read("z/repin.yaml").await.is_none(), "{kind:?}");
    }
}

fn status(kind: Kind, context: &str, said: &str, id: u64) -> serde_json::Value {
    let word = if kind == Kind::Github {
        "state"
    } else {
        "status"
    };
    let at = format!("2026-01-01T00:{:02}:{:02}Z", id / 60, id % 60);
    serde_json::json!({"id": id, word: said, "context": context, "target_url": format!("https://ci/{id}"), "created_at": at})
}

#[tokio::test]
async fn rule_added_during_a_run_counts() {
    let fake = fake(Kind::Github);
    fake.store().required.clear();
    let forge = forge(&fake);
    assert_eq!(
        forge.required_contexts("main").await.unwrap(),
        Some(Vec::new())
    );
    fake.store().ruled = vec!["ruled"];
    let required = forge.required_contexts("main").await.unwrap();
    assert_eq!(required, Some(vec!["ruled".to_owned()]));
}

#[tokio::test]
async fn latest_report_of_a_check_counts() {
    for kind in GATED {
        let fake = fake(kind);
        {
            let mut store = fake.store();
            // The oldest is first, over several pages.
            store.statuses = (1..=240)
                .map(|id| status(kind, "ci/build", "failure", id))
                .collect();
            store
                .statuses
                .push(status(kind, "ci/build", "success", 300));
            store
                .statuses
                .insert(3, status(kind, "ci/test", "pending", 299));
            store.runs = (1..=130)
                .map(|id| serde_json::json!({"id": id, "name": format!("run {id}"), "status": "completed", "conclusion": "skipped", "html_url": null, "started_at": "2026-01-01T00:00:00Z"}))
                .collect();
            store.required = vec!["ci/build".to_owned(), "ci/test".to_owned()];
            store.ruled = vec!["ruled"];
        }
        let forge = forge(&fake);
        let commit = forge.commit("main").await.unwrap().unwrap();
        assert_eq!(commit, fake.store().refs["main"]);
        assert_eq!(forge.commit("nowhere").await.unwrap(), None);
        let reports = forge.statuses(&commit, None).await.unwrap();
        let required = forge.required_contexts("main").await.unwrap().unwrap();
        let expected: &[&str] = if kind == Kind::Github {
            &["ci/build", "ci/test", "ruled"]
        } else {
            &["ci/build", "ci/test"]
        };
        assert_eq!(required, expected);
        let gates = judge(
            &[&required[..2], &["run 130".to_owned()]].concat(),
            &reports,
        );
        let run = if kind == Kind::Github {
            GateState::Pass
        } else {
            GateState::Absent
        };
        let states: Vec<_> = gates.iter().map(|gate| gate.state).collect();
        assert_eq!(
            states,
            [GateState::Pass, GateState::Pending, run],
            "{kind:?}"
        );
        assert_eq!(gates[0].url.as_deref(), Some("https://ci/300"));
    }
}

/// An open pull request, and contexts that its base requires.
pub(crate) async fn opened(kind: Kind, required: &[&str]) -> (Fake, ForgeRepository, Pull) {
    let fake = fake(kind);
    let number = promote(&fake, REQUEST).await.unwrap().number;
    fake.store().required = required
        .iter()
        .map(|context| (*context).to_owned())
        .collect();
    let forge = forge(&fake);
    let pull = forge.pull(number).await.unwrap().unwrap();
    (fake, forge, pull)
}

#[tokio::test]
async fn merge_is_scheduled_for_the_checked_head() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        let other = Pull {
            head_commit: "0".repeat(40),
            ..pull.clone()
        };
        let merge = merging::enable_auto_merge(&forge, &other, &[])
            .await
            .unwrap();
        // GitLab shows older heads for some time, so another head is no refusal.
        let is_refused = match kind {
            Kind::Gitlab => matches!(merge, Merge::Later(_)),
            _ => matches!(merge, Merge::Refused(_)),
        };
        assert!(is_refused, "{kind:?} {merge:?}");
        assert_eq!(fake.store().scheduled, []);
        assert_eq!(
            merging::enable_auto_merge(&forge, &pull, &[])
                .await
                .unwrap(),
            Merge::Scheduled
        );
        let head = pull.head_commit.clone();
        let expected = if kind == Kind::Github {
            format!("{head} SQUASH")
        } else {
            head
        };
        assert_eq!(fake.store().scheduled, [(pull.number, expected)]);
        assert_eq!(
            merging::enable_auto_merge(&forge, &pull, &[])
                .await
                .unwrap(),
            Merge::Scheduled,
            "already"
        );
        assert_eq!(fake.store().scheduled.len(), 1);
        fake.store().report("ci", "success");
        assert_eq!(
            forge.pull(pull.number).await.unwrap().unwrap().state,
            PullState::Merged(Some(fake.store().refs["main"].clone()))
        );
    }
}

#[tokio::test]
async fn pull_request_without_gates_is_not_merged() {
    for kind in GATED {
        let (fake, forge, pull) = opened(kind, &[]).await;
        let Merge::Refused(why) = merging::enable_auto_merge(&forge, &pull, &[])
            .await
            .unwrap()
        else {
            panic!("{kind:?}")
        };
        assert!(why.contains("forge.gates"), "{why}");
        assert_eq!(fake.store().open_pulls().len(), 1);
    }
}

#[tokio::test]
async fn gitea_merge_requires_all_contexts_reported() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci", "lint"]).await;
        fake.store().report("ci", "success");
        let merge = merging::enable_auto_merge(&forge, &pull, &[])
            .await
            .unwrap();
        if matches!(kind, Kind::Github | Kind::Gitlab) {
            assert_eq!(merge, Merge::Scheduled);
            continue;
        }
        assert!(
            matches!(&merge, Merge::Later(why) if why.contains("lint")),
            "{merge:?}"
        );
        assert!(!fake.asked().iter().any(|line| line.contains("/merge")));
        fake.store().report("lint", "pending");
        assert_eq!(
            merging::enable_auto_merge(&forge, &pull, &[])
                .await
                .unwrap(),
            Merge::Scheduled,
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn configured_gates_must_pass_first() {
    for kind in KINDS {
        let gates = ["mine".to_owned(), "ci".to_owned()];
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        for said in ["", "pending"] {
            if !said.is_empty() {
                fake.store().report("mine", said);
            }
            let merge = merging::enable_auto_merge(&forge, &pull, &gates)
                .await
                .unwrap();
            assert!(
                matches!(&merge, Merge::Later(why) if why.contains("mine")),
                "{kind:?} {merge:?}"
            );
        }
        fake.store().report("mine", "failure");
        assert!(matches!(
            merging::enable_auto_merge(&forge, &pull, &gates)
                .await
                .unwrap(),
            Merge::Refused(_)
        ));
        assert_eq!(fake.store().scheduled, []);
        fake.store().report("mine", "success");
        if kind == Kind::Gitlab {
            // A project cannot require a single job, so each named gate must pass before.
            let merge = merging::enable_auto_merge(&forge, &pull, &gates).await;
            let merge = merge.unwrap();
            assert!(matches!(&merge, Merge::Later(why) if why.contains("ci is still pending")));
            continue;
        }
        assert_eq!(
            merging::enable_auto_merge(&forge, &pull, &gates)
                .await
                .unwrap(),
            Merge::Scheduled
        );
    }
}

#[tokio::test]
async fn pull_request_without_pending_gates_is_merged_immediately() {
    for kind in KINDS {
        // Required by the branch or only by the configuration.
        for (required, gates) in [
            (&["ci"][..], &[][..]),
            (&[], &["ci".to_owned()]),
            (&["ci"], &["ci".to_owned()]),
        ] {
            let (fake, forge, pull) = opened(kind, required).await;
            fake.store().report("ci", "success");
            assert_eq!(
                merging::enable_auto_merge(&forge, &pull, gates)
                    .await
                    .unwrap(),
                Merge::Merged,
                "{kind:?}"
            );
            assert!(fake.store().pulls[0].merged.is_some());
        }
    }
}

#[tokio::test]
async fn clean_state_without_passed_gates_is_not_merged() {
    // GitHub reports `clean` for a pull request with hidden rules.
    let (fake, forge, pull) = opened(Kind::Github, &[]).await;
    fake.store().ruled = vec!["ruled"];
    assert!(
        matches!(merging::enable_auto_merge(&forge, &pull, &[]).await.unwrap(), Merge::Later(why) if why.contains("ruled"))
    );
    fake.store().report("ruled", "failure");
    assert!(
        matches!(merging::enable_auto_merge(&forge, &pull, &[]).await.unwrap(), Merge::Refused(why) if why.contains("ruled"))
    );
    assert!(!fake.asked().iter().any(|line| line.contains("/merge")));
    // The head moves before the merge: the request contains the verified head.
    fake.store().report("ruled", "success");
    fake.fault(
        ("PUT", "/merge"),
        1,
        Fault::Instead(error(409, "Head branch was modified")),
    );
    assert!(matches!(
        merging::enable_auto_merge(&forge, &pull, &[])
            .await
            .unwrap(),
        Merge::Refused(_)
    ));
}

#[tokio::test]
async fn refusal_of_merge_queue_is_reported_verbatim() {
    let (fake, forge, pull) = opened(Kind::Github, &["ci"]).await;
    let said = "Pull request cannot be queued: the merge queue is closed";
    fake.store().no_merge = Some(said);
    assert_eq!(
        merging::enable_auto_merge(&forge, &pull, &[])
            .await
            .unwrap(),
        Merge::Refused(said.to_owned())
    );
    fake.store().no_merge = None;
    fake.store().report("ci", "success");
    fake.fault(
        ("PUT", "/merge"),
        1,
        Fault::Instead(error(405, "Changes must be made through the merge queue")),
    );
    let merge = merging::enable_auto_merge(&forge, &pull, &[])
        .await
        .unwrap();
    assert!(
        matches!(&merge, Merge::Refused(why) if why.contains("merge queue")),
        "{merge:?}"
    );
}

#[tokio::test]
async fn pending_forge_state_is_not_a_refusal() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        if kind == Kind::Github {
            fake.store().no_merge = Some("Pull request is in unknown status");
        } else {
            let busy = error(405, "Please try again later");
            // On GitLab, repin repeats the request at once.
            let (method, times) = match kind {
                Kind::Gitlab => ("PUT", 5),
                _ => ("POST", 1),
            };
            fake.fault((method, "/merge"), times, Fault::Instead(busy));
        }
        assert!(
            matches!(
                merging::enable_auto_merge(&forge, &pull, &[])
                    .await
                    .unwrap(),
                Merge::Later(_)
            ),
            "{kind:?}"
        );
        fake.store().no_merge = None;
        assert_eq!(
            merging::enable_auto_merge(&forge, &pull, &[])
                .await
                .unwrap(),
            Merge::Scheduled
        );
    }
    let (fake, forge, pull) = opened(Kind::Github, &["ci"]).await;
    fake.store().report("ci", "success");
    let moved = error(
        405,
        "Base branch was modified. Review and try the merge again.",
    );
    fake.fault(("PUT", "/merge"), 1, Fault::Instead(moved));
    assert!(matches!(
        merging::enable_auto_merge(&forge, &pull, &[])
            .await
            .unwrap(),
        Merge::Later(_)
    ));
}

/// Two branches: the pull request's head must be that of the source branch.
pub(crate) const PERMISSION: Permission<'static> = Permission::Branches(BranchPair {
    from: "auto/promote-rev2",
    to: "main",
});

/// The outcome of a merge that was not refused.
fn scheduled_merge(scheduled_merge: Result<MergeAttempt, Error>) -> Option<Merge> {
    match scheduled_merge.unwrap() {
        MergeAttempt::Merge(merge) => Some(merge),
        MergeAttempt::Refused(_) | MergeAttempt::Lagging => None,
    }
}

#[tokio::test]
async fn pull_request_of_other_branches_is_refused() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        let schedule = async |pull: &Pull| merging::schedule(&forge, pull, &[], &PERMISSION).await;
        assert_eq!(
            scheduled_merge(schedule(&pull).await),
            Some(Merge::Scheduled),
            "{kind:?}"
        );
        let forked = Pull {
            own: false,
            ..pull.clone()
        };
        let other_head = Pull {
            head: "other".to_owned(),
            ..pull.clone()
        };
        let other_base = Pull {
            base: "release".to_owned(),
            ..pull.clone()
        };
        for (refused, reason) in [
            (&forked, "another repository"),
            (&other_head, "its branch is other"),
            (&other_base, "its base is release"),
        ] {
            scheduled_merge(schedule(&pull).await);
            assert_eq!(fake.store().scheduled.len(), 1, "{kind:?}");
            let attempt = schedule(refused).await;
            let Ok(MergeAttempt::Refused(error)) = attempt else {
                panic!("{kind:?} {attempt:?}")
            };
            assert_eq!(error.class, Class::Conflict);
            assert!(
                error.message.contains(reason) && error.message.contains("was canceled"),
                "{kind:?} {error}"
            );
            assert_eq!(fake.store().scheduled, []);
        }
    }
}

#[tokio::test]
async fn delayed_branch_does_not_prevent_scheduling_a_merge() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        {
            // The branch still has its earlier head for some requests.
            let mut store = fake.store();
            let mut before = store.refs.clone();
            let main = before["main"].clone();
            before.insert(branch("rev2"), main);
            store.stale = Some((before, 2));
        }
        assert_eq!(
            scheduled_merge(merging::schedule_new(&forge, pull.number, &[], &PERMISSION).await),
            Some(Merge::Scheduled),
            "{kind:?}"
        );
        // Polls do not schedule the merge of a closed pull request.
        fake.store().scheduled.clear();
        fake.store().close(pull.number);
        assert_eq!(
            scheduled_merge(merging::schedule_new(&forge, pull.number, &[], &PERMISSION).await),
            None
        );
        assert_eq!(fake.store().scheduled, []);
    }
}

#[tokio::test]
async fn branch_is_merged_at_its_checked_head() {
    for kind in KINDS {
        let fake = fake(kind);
        fake.store().push("staging", "work", &[("x", "y")]);
        fake.store().required = vec!["ci".to_owned()];
        fake.store().report("ci", "pending");
        let (forge, between) = (
            forge(&fake),
            BranchPair {
                from: "staging",
                to: "main",
            },
        );
        let configured = config::Forge {
            auto_merge: true,
            ..config::Forge::default()
        };
        let compared = branches::compare(&forge, between, &configured).await;
        let Ok(Compared::Offer(offer)) = compared else {
            panic!("{compared:?}");
        };
        // A developer opens a draft after the comparison: the draft is used and remains a draft.
        let new = NewPull {
            title: "mine",
            body: "",
            head: "staging",
            base: "main",
            state: Readiness::Draft,
            labels: &[],
        };
        forge.create_pull(&new).await.unwrap();
        let promote_staging = || branches::promote(&forge, between, "t", "b", &offer, &configured);
        let offered = promote_staging().await.unwrap();
        assert!(
            !offered.created && offered.pull.title == "mine",
            "{kind:?} {offered:?}"
        );
        assert!(
            matches!(&offered.merge, Some(Merge::Refused(why)) if why.contains("draft")),
            "{offered:?}"
        );
        forge
            .set_state(&offered.pull, Readiness::Ready)
            .await
            .unwrap();
        assert_eq!(
            promote_staging().await.unwrap().merge,
            Some(Merge::Scheduled)
        );
        fake.store().scheduled.clear();
        // The new head was not verified.
        fake.store().push("staging", "more", &[("x", "z")]);
        assert!(
            matches!(promote_staging().await.unwrap().merge, Some(Merge::Later(why)) if why.contains("moved")),
            "{kind:?}"
        );
        let store = fake.store();
        assert_eq!((store.scheduled.len(), store.pulls.len()), (0, 1));
    }
}

/// Waiting that ends at once, or at the first change.
pub(crate) const PACE: PollSchedule = PollSchedule {
    first: Duration::from_millis(5),
    most: Duration::from_millis(20),
    limit: Duration::from_secs(60),
    unclear: Duration::from_secs(120),
};

async fn waited(
    forge: &ForgeRepository,
    number: u64,
    arm: Option<&[String]>,
) -> (WaitOutcome, Vec<String>) {
    let reports = std::cell::RefCell::new(Vec::new());
    let report = |text: &str| reports.borrow_mut().push(text.to_owned());
    let arm = arm.map(|gates| MergeSchedule {
        gates,
        permission: PERMISSION,
    });
    let waited = Waiting::default()
        .until_merged(
            forge,
            &WaitTarget {
                number,
                pace: PACE,
                schedule: arm,
                report: &report,
            },
        )
        .await
        .unwrap();
    (waited, reports.into_inner())
}

/// Performs `then` after this number of requests for a pull request.
fn after_looks(fake: &Fake, looks: usize, then: impl FnOnce(&mut fakes::Store) + Send + 'static) {
    fake.when(looks, then);
}

#[tokio::test]
async fn wait_ends_with_the_outcome() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &[]).await;
        let number = pull.number;
        after_looks(&fake, 4, move |store| drop(store.merge(number)));
        let (merged, _) = waited(&forge, number, None).await;
        let WaitOutcome::Merged(_, commit) = merged else {
            panic!("{merged:?}")
        };
        assert_eq!(
            commit.as_deref(),
            Some(fake.store().refs["main"].as_str()),
            "{kind:?}"
        );

        let (fake, forge, pull) = opened(kind, &[]).await;
        let number = pull.number;
        after_looks(&fake, 3, move |store| store.close(number));
        assert!(matches!(
            waited(&forge, number, None).await.0,
            WaitOutcome::Closed(_)
        ));
        assert!(matches!(
            waited(&forge, 4000, None).await.0,
            WaitOutcome::Absent
        ));
    }
}

#[tokio::test]
async fn outage_during_the_wait_is_tolerated() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &[]).await;
        let number = pull.number;
        // Ten responses are two rounds of attempts.
        fake.fault(
            ("GET", &format!("/pulls/{number}")),
            10,
            Fault::Instead(broken()),
        );
        after_looks(&fake, 12, move |store| drop(store.merge(number)));
        assert!(
            matches!(
                waited(&forge, number, None).await.0,
                WaitOutcome::Merged(..)
            ),
            "{kind:?}"
        );
        // A permanent failure ends the wait: the timeout, or a refusal.
        fake.forget();
        fake.fault(
            ("GET", &format!("/pulls/{number}")),
            1000,
            Fault::Instead(broken()),
        );
        let over = PollSchedule {
            limit: Duration::ZERO,
            ..PACE
        };
        let watch = WaitTarget {
            number,
            pace: over,
            schedule: None,
            report: &|_| {},
        };
        assert!(matches!(
            Waiting::default().until_merged(&forge, &watch).await.unwrap(),
            WaitOutcome::OutOfTime(late) if late.trouble.is_some() && !late.answered
        ));
        fake.forget();
        fake.fault(
            ("GET", &format!("/pulls/{number}")),
            1,
            Fault::Instead(error(403, "no")),
        );
        let watch = WaitTarget {
            pace: PACE,
            ..watch
        };
        assert_eq!(
            Waiting::default()
                .until_merged(&forge, &watch)
                .await
                .unwrap_err()
                .class,
            Class::Denied
        );
    }
}

/// Waits with a pace that reports a pull request as stuck after two polls that are not mergeable.
async fn stuck(forge: &ForgeRepository, number: u64, unclear: Duration) -> WaitOutcome {
    let pace = PollSchedule {
        unclear,
        limit: Duration::from_millis(300),
        ..PACE
    };
    let watch = WaitTarget {
        number,
        pace,
        schedule: None,
        report: &|_| {},
    };
    Waiting::default()
        .until_merged(forge, &watch)
        .await
        .unwrap()
}

#[tokio::test]
async fn conflict_ends_the_wait_with_its_files() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let (fake, forge, pull) = opened(kind, &[]).await;
        let at_once = Duration::ZERO;
        assert!(matches!(
            stuck(&forge, pull.number, at_once).await,
            WaitOutcome::OutOfTime(_)
        ));
        // The check does not finish.
        fake.store().gitea.unchecked.insert(pull.number);
        let waited = stuck(&forge, pull.number, at_once).await;
        assert!(
            matches!(&waited, WaitOutcome::Stuck(_, MergeObstacle::Unchecked)),
            "{kind:?} {waited:?}"
        );
        fake.store().gitea.unchecked.clear();
        // A file was changed on both sides.
        fake.store()
            .push("main", "rival", &[(A, "image: x@rev9\r\n"), ("x", "y")]);
        let waited = stuck(&forge, pull.number, at_once).await;
        assert!(
            matches!(&waited, WaitOutcome::Stuck(_, MergeObstacle::Conflict(files)) if files == &[A]),
            "{kind:?} {waited:?}"
        );
        // Only after the delay. A draft is not mergeable either.
        let later = Duration::from_secs(120);
        assert!(matches!(
            stuck(&forge, pull.number, later).await,
            WaitOutcome::OutOfTime(_)
        ));
        forge.set_state(&pull, Readiness::Draft).await.unwrap();
        assert!(matches!(
            stuck(&forge, pull.number, at_once).await,
            WaitOutcome::OutOfTime(_)
        ));
    }
}

#[tokio::test]
async fn polls_use_conditional_requests() {
    let (fake, forge, pull) = opened(Kind::Github, &[]).await;
    let number = pull.number;
    fake.forget();
    after_looks(&fake, 6, move |store| drop(store.merge(number)));
    waited(&forge, number, None).await;
    assert_eq!(fake.answered(304), 4, "all but the first and the last");
}

#[tokio::test]
async fn unready_merge_is_scheduled_during_the_wait() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        let number = pull.number;
        after_looks(&fake, 4, |store| store.report("ci", "pending"));
        after_looks(&fake, 6, |store| store.report("ci", "success"));
        let (merged, reports) = waited(&forge, number, Some(&[])).await;
        assert!(
            matches!(merged, WaitOutcome::Merged(..)),
            "{kind:?} {merged:?}"
        );
        let is_gitea = matches!(kind, Kind::Gitea | Kind::Forgejo);
        if is_gitea {
            assert!(
                reports[0].contains("has not reported yet") && reports[1].contains("is scheduled"),
                "{reports:?}"
            );
        }
        assert_eq!(
            reports.len(),
            if is_gitea { 2 } else { 1 },
            "each is reported once: {reports:?}"
        );
    }
}

#[tokio::test]
async fn one_run_starts_the_workflow() {
    for kind in [Kind::Github, Kind::Forgejo] {
        let (fake, forge, pull) = opened(kind, &[]).await;
        fake.store().workflows_there = vec!["deploy.yml"];
        let commit = fake.store().merge(pull.number);
        let asked = ("deploy.yml", commit.as_str());
        // Certainly refused: the mark is deleted, and the next run may create it.
        fake.fault(
            ("POST", "/dispatches"),
            1,
            Fault::Instead(error(403, "Resource not accessible by integration")),
        );
        let refused = merging::once(&forge, &pull, asked.0, asked.1, "first")
            .await
            .unwrap_err();
        assert_eq!(refused.class, Class::Denied, "{kind:?} {refused}");
        assert!(fake.store().marks.is_empty() && fake.store().dispatched.is_empty());
        // The response to the mark is lost: the mark is recognized.
        let mark = if kind == Kind::Github {
            "/git/refs"
        } else {
            "/tags"
        };
        fake.fault(("POST", mark), 1, Fault::After(broken()));
        assert!(
            merging::once(&forge, &pull, asked.0, asked.1, "second")
                .await
                .unwrap()
        );
        for word in ["third", "fourth"] {
            assert!(
                !merging::once(&forge, &pull, asked.0, asked.1, word)
                    .await
                    .unwrap()
            );
        }
        assert_eq!(
            fake.store().dispatched,
            [("deploy.yml".to_owned(), "main".to_owned())]
        );
        // A start with an unknown result is not repeated.
        let other = Pull {
            number: 99,
            ..pull.clone()
        };
        fake.fault(("POST", "/dispatches"), 1, Fault::Silence);
        let error = merging::once(&forge, &other, asked.0, asked.1, "fifth")
            .await
            .unwrap_err();
        assert!(error.class == Class::Unavailable && error.help.unwrap().contains("check whether"));
        assert!(
            !merging::once(&forge, &other, asked.0, asked.1, "sixth")
                .await
                .unwrap()
        );
        assert_eq!(fake.store().dispatched.len(), 2);
    }
}

#[tokio::test]
async fn second_read_returns_only_new_names() {
    let fake = fake(Kind::Github);
    let number = promote(&fake, REQUEST).await.unwrap().number;
    let forge = forge(&fake);
    // A state that the forge computes in the background is not polled by its `ETag`.
    assert!(matches!(
        forge.poll(number, None).await.unwrap(),
        Poll::Changed(pull, None) if pull.mergeable == Mergeable::Unknown
    ));
    let Poll::Changed(pull, etag) = forge.poll(number, None).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!(pull.state, PullState::Open);
    assert_eq!(pull.mergeable, Mergeable::Yes);
    assert_eq!(
        forge.poll(number, etag.as_deref()).await.unwrap(),
        Poll::Unchanged
    );
    let merged = fake.store().merge(number);
    let Poll::Changed(pull, _) = forge.poll(number, etag.as_deref()).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!(pull.state, PullState::Merged(Some(merged)));
}

#[tokio::test]
async fn workflows_are_started_on_capable_forges() {
    for kind in GATED {
        let fake = fake(kind);
        fake.store().workflows_there = vec!["deploy.yml"];
        let forge = forge(&fake);
        if kind == Kind::Gitea {
            fake.store().version = "1.23.0";
            assert!(
                matches!(forge.can_dispatch("deploy.yml").await.unwrap(), Ability::No(why) if why.contains("1.23.0"))
            );
            continue;
        }
        fake.store().version = "12.0.0+gitea-1.22.0";
        assert_eq!(
            forge.can_dispatch("deploy.yml").await.unwrap(),
            Ability::Yes
        );
        forge.dispatch("deploy.yml", "main").await.unwrap();
        assert_eq!(
            fake.store().dispatched,
            [("deploy.yml".to_owned(), "main".to_owned())]
        );
        // A start with an unknown result is not repeated.
        fake.fault(("POST", "/dispatches"), 1, Fault::After(broken()));
        assert_eq!(
            forge
                .dispatch("deploy.yml", "main")
                .await
                .unwrap_err()
                .class,
            Class::Unavailable
        );
        assert_eq!(fake.store().dispatched.len(), 2);
    }
    let fake = fake(Kind::Github);
    let forge = forge(&fake);
    let error = forge.can_dispatch("deploy.yml").await.unwrap_err();
    assert!(error.class == Class::Denied && error.help.unwrap().contains("actions: write"));
}

#[tokio::test]
async fn issues_are_managed() {
    for kind in KINDS {
        let fake = fake(kind);
        promote(&fake, REQUEST).await.unwrap();
        let forge = forge(&fake);
        for at in 0..120 {
            fake.store().make_issue(&format!("other {at}"), "");
        }
        let issue = forge
            .open_issue("Pinned configs are stale", "since")
            .await
            .unwrap();
        let listed = forge.issues().await.unwrap();
        assert_eq!(
            listed.len(),
            121,
            "{kind:?}: all pages, and no pull request"
        );
        assert_eq!(
            listed
                .iter()
                .filter(|known| known.title == "Pinned configs are stale")
                .collect::<Vec<_>>(),
            [&issue]
        );
        forge
            .edit_issue(
                issue.number,
                &Edit {
                    body: Some("still"),
                    ..Edit::default()
                },
            )
            .await
            .unwrap();
        forge
            .edit_issue(
                issue.number,
                &Edit {
                    transition: Some(Transition::Close),
                    ..Edit::default()
                },
            )
            .await
            .unwrap();
        assert_eq!(forge.issues().await.unwrap().len(), 120);
        assert_eq!(fake.store().issues.last().unwrap().body, "still");
    }
}

#[test]
fn queries_match_the_schema_of_github() {
    use serde_json::json;
    let graphql = fakes::graphql::Graphql::new();
    let of = |fields: &str| {
        format!(
            "query($owner:String!,$name:String!){{repository(owner:$owner,name:$name){{{fields}}}}}"
        )
    };
    let names = json!({"owner": "a", "name": "b"});
    let good = of("b0:object(oid:\"00\"){...on Blob{text isTruncated}}");
    assert_eq!(graphql.check(&good, &names), Ok(()));
    for (query, why) in [
        (of("b0:object(oid:\"00\"){text}"), "no field GitObject.text"),
        (
            of("b0:object(oid:\"00\"){...on Blob{txt}}"),
            "no field Blob.txt",
        ),
        (
            of("b0:object(oid:\"00\"){...on Blog{text}}"),
            "is never Blog",
        ),
        (
            of("b0:object(oid:\"00\"){...on Repository{__typename}}"),
            "is never Repository",
        ),
        (of("b0:object(oid:\"00\"){...blob}"), "names a fragment"),
        (of("b0:object(id:\"00\"){oid}"), "takes no id"),
        (of("b0:object(oid:1){oid}"), "1 is no GitObjectID"),
        (of("b0:object(oid:[\"00\"]){oid}"), "is no GitObjectID"),
        (of("b0:object(oid:\"00\")"), "is selected"),
        (of("b0:object(oid:\"00\"){oid{x}}"), "has no fields"),
        (of("b0:object(oid:$x){oid}"), "undeclared"),
        (
            "query($owner:String!,$name:String!){repository(name:$name){object{oid}}}".to_owned(),
            "needs owner",
        ),
        (
            "query($owner:String,$name:String!){repository(owner:$owner,name:$name){__typename}}"
                .to_owned(),
            "$owner is String, wanted is String!",
        ),
        (
            "query($owner:String!,$name:String!){repository(owner:\"x\",name:$name){__typename}}"
                .to_owned(),
            "declared",
        ),
        ("query{".to_owned(), "parse error"),
        (
            "mutation($input:UpdateRefInput!){updateRefs(input:$input){clientMutationId}}"
                .to_owned(),
            "wanted is UpdateRefsInput!",
        ),
    ] {
        let error = graphql.check(&query, &names).unwrap_err();
        assert!(error.contains(why), "{query}: {error}");
    }
    let mutation = "mutation($input:UpdateRefsInput!){updateRefs(input:$input){clientMutationId}}";
    let update = |name: &str| json!({"input": {"repositoryId": "R", "refUpdates": [{name: "refs/heads/x", "afterOid": "0".repeat(40)}]}});
    assert_eq!(graphql.check(mutation, &update("name")), Ok(()));
    assert!(graphql.check(mutation, &update("ref")).is_err());
    assert!(graphql.check(&good, &json!({"owner": "a"})).is_err());
}

#[tokio::test]
async fn unreadable_rules_never_merge_without_a_gate() {
    let hidden = async |required: &[&str]| {
        let opened = opened(Kind::Github, required).await;
        // A token without the role of an administrator sees that the branch is protected, but not
        // its rules.
        let row = serde_json::json!({"name": "main", "protected": true});
        let hidden = Fault::Instead(Reply::json(200, row));
        opened.0.fault(("GET", "/flows/branches/main"), 9, hidden);
        opened
    };
    // GitHub waits for the required contexts.
    let (fake, forge, pull) = hidden(&["ci"]).await;
    fake.store().report("ci", "pending");
    let merge = merging::enable_auto_merge(&forge, &pull, &[])
        .await
        .unwrap();
    assert_eq!(merge, Merge::Scheduled);
    // No pending context: repin would have to merge.
    let (fake, forge, pull) = hidden(&[]).await;
    let merge = merging::enable_auto_merge(&forge, &pull, &[])
        .await
        .unwrap();
    assert!(matches!(merge, Merge::Refused(_)), "{merge:?}");
    assert_eq!(fake.store().pulls[0].merged, None);
    // A merge queue: repin would have to add the pull request.
    let (fake, forge, pull) = hidden(&[]).await;
    fake.store().rules.queue = Some("rebase");
    let merge = merging::enable_auto_merge(&forge, &pull, &[])
        .await
        .unwrap();
    assert!(matches!(merge, Merge::Refused(_)), "{merge:?}");
    assert_eq!(fake.store().rules.enqueued, [] as [u64; 0]);
}

#[tokio::test]
async fn branch_differing_from_the_head_is_not_checked() {
    for kind in KINDS {
        let (fake, forge, pull) = opened(kind, &["ci"]).await;
        fake.store().report("ci", "pending");
        let later = Pull {
            head_commit: "0".repeat(40),
            ..pull
        };
        let attempt = merging::schedule(&forge, &later, &[], &PERMISSION).await;
        assert!(
            matches!(attempt, Ok(MergeAttempt::Lagging)),
            "{kind:?} {attempt:?}"
        );
    }
}

const STAGING: BranchPair<'static> = BranchPair {
    from: "staging",
    to: "main",
};

/// A forge with a commit on `staging`.
fn staging(kind: Kind) -> (Fake, ForgeRepository) {
    let fake = fake(kind);
    fake.store().push("staging", "work", &[("x", "y")]);
    let forge = forge(&fake);
    (fake, forge)
}

async fn offer(forge: &ForgeRepository) -> Box<BranchDifference> {
    match branches::compare(forge, STAGING, &config::Forge::default()).await {
        Ok(Compared::Offer(offer)) => offer,
        other => panic!("{other:?}"),
    }
}

async fn promote_staging(
    forge: &Forge,
    offer: &BranchDifference,
    labels: &[&str],
) -> Result<OpenedPromotion, Error> {
    let configured = config::Forge {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..config::Forge::default()
    };
    let body = STAGING.marker(&SetPath::top()).to_string();
    branches::promote(forge, STAGING, "promote staging", &body, offer, &configured).await
}

/// An open pull request of `staging` into `main`.
fn open_pull(number: u64, body: &str) -> fakes::PullRow {
    fakes::PullRow {
        number,
        title: "mine".to_owned(),
        body: body.to_owned(),
        open: true,
        merged: None,
        draft: false,
        head: "staging".to_owned(),
        head_repo: "acme/flows".to_owned(),
        base: "main".to_owned(),
        labels: Vec::new(),
        closed_at: None,
    }
}

fn open_numbers(fake: &Fake) -> Vec<u64> {
    let store = fake.store();
    let mut open: Vec<_> = store.open_pulls().iter().map(|pull| pull.number).collect();
    open.sort_unstable();
    open
}

#[tokio::test]
async fn pull_request_between_other_branches_is_ignored() {
    for kind in KINDS {
        let (fake, forge) = staging(kind);
        {
            let mut store = fake.store();
            store.push("release", "release", &[("z", "z")]);
            let (mut other, mut forked) = (open_pull(901, ""), open_pull(902, ""));
            other.base = "release".to_owned();
            forked.head_repo = "fork/flows".to_owned();
            store.pulls.extend([other, forked]);
        }
        let offer = offer(&forge).await;
        assert_eq!(offer.pull, None, "{kind:?}");
        let opened = promote_staging(&forge, &offer, &[]).await.unwrap();
        assert!(opened.created, "{kind:?}");
        assert_eq!(
            open_numbers(&fake),
            [opened.pull.number, 901, 902],
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn only_duplicates_of_repin_are_closed() {
    for kind in KINDS {
        let (fake, forge) = staging(kind);
        let ours = STAGING.marker(&SetPath::top()).to_string();
        let promote = "<!-- repin/2 kind=promote set=repin.yaml revision=rev2 -->";
        {
            let mut store = fake.store();
            for (number, body) in [
                (7, &*ours),
                (5, "a person's"),
                (9, promote),
                (11, &ours),
                (12, ""),
            ] {
                store.pulls.push(open_pull(number, body));
            }
            store.comments.insert(7, vec!["please wait".to_owned()]);
        }
        let offer = offer(&forge).await;
        assert_eq!(
            offer.pull.as_ref().map(|pull| pull.number),
            Some(5),
            "{kind:?}"
        );
        // A refused comment is not retried.
        let refused = Fault::Instead(error(403, "Resource not accessible"));
        fake.fault(("POST", "/issues/7/comments"), 1, refused);
        let error = promote_staging(&forge, &offer, &[]).await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{kind:?}");
        assert!(open_numbers(&fake).contains(&7), "{kind:?}");
        let opened = promote_staging(&forge, &offer, &[]).await.unwrap();
        assert_eq!((opened.pull.number, opened.created), (5, false), "{kind:?}");
        assert_eq!(open_numbers(&fake), [5, 9, 12], "{kind:?}");
        let comments = &fake.store().comments;
        for (number, said) in [(7, 1), (11, 0)] {
            assert_eq!(comments[&number].len(), said + 1, "{kind:?} {comments:?}");
            assert!(
                comments[&number][said].contains("duplicate-of=5"),
                "{comments:?}"
            );
        }
    }
}

#[tokio::test]
async fn concurrent_pull_request_is_not_reported_as_created() {
    for kind in KINDS {
        let (fake, forge) = staging(kind);
        for _ in 0..5 {
            fake.store().number();
        }
        let offer = offer(&forge).await;
        // The branch is not on every server yet: the request is retried.
        let unknown = match kind {
            Kind::Github => error(422, "head invalid"),
            Kind::Gitea | Kind::Forgejo => error(404, "not found"),
            Kind::Gitlab => error(422, "Source branch \"staging\" does not exist"),
        };
        fake.fault(("POST", "/pulls"), 1, Fault::Instead(unknown));
        fake.at(When::After, "POST", "/pulls", 2, |store| {
            store.pulls.insert(0, open_pull(2, "a person's"));
        });
        let opened = promote_staging(&forge, &offer, &[]).await.unwrap();
        assert_eq!((opened.pull.number, opened.created), (2, false), "{kind:?}");
        assert_eq!(open_numbers(&fake), [2], "{kind:?}");
    }
}

#[tokio::test]
async fn equal_branches_need_no_pull_request() {
    for kind in KINDS {
        let (fake, forge) = staging(kind);
        {
            let mut store = fake.store();
            store.required = vec!["ci".to_owned()];
            let main = store.refs["main"].clone();
            store.refs.insert("staging".to_owned(), main);
            store.pulls.push(open_pull(5, ""));
        }
        let offer = offer(&forge).await;
        assert_eq!((offer.gates.len(), &offer.pull), (0, &None), "{kind:?}");
    }
}

#[tokio::test]
async fn branch_labels_are_added_once() {
    for kind in KINDS {
        let (fake, forge) = staging(kind);
        fake.store().labels.push((90, "ci".to_owned()));
        let found = offer(&forge).await;
        let first = promote_staging(&forge, &found, &["ci"]).await.unwrap();
        assert!(first.created && first.warnings.is_empty(), "{kind:?}");
        assert_eq!(fake.store().pulls[0].labels, ["ci"], "{kind:?}");
        fake.forget();
        // One label is enough: a reviewer removed the other.
        let found = offer(&forge).await;
        promote_staging(&forge, &found, &["ci", "automation"])
            .await
            .unwrap();
        assert_eq!(fake.writes(), [] as [String; 0], "{kind:?}");
        fake.store().pulls[0].labels.clear();
        fake.store().may_label = false;
        let found = offer(&forge).await;
        let refused = promote_staging(&forge, &found, &["automation"])
            .await
            .unwrap();
        assert!(
            matches!(&refused.warnings[..], [warning] if warning.contains("cannot add the labels")),
            "{kind:?} {:?}",
            refused.warnings
        );
    }
}

#[tokio::test]
async fn lost_dispatch_mark_needs_a_person() {
    for kind in [Kind::Github, Kind::Forgejo] {
        let (fake, forge, pull) = opened(kind, &[]).await;
        fake.store().workflows_there = vec!["deploy.yml"];
        let commit = fake.store().merge(pull.number);
        let mark = if kind == Kind::Github {
            "/git/refs"
        } else {
            "/contents"
        };
        let once = async |answer: Reply, word: &str| {
            fake.forget();
            fake.fault(("POST", mark), 99, Fault::Instead(answer));
            let once = merging::once(&forge, &pull, "deploy.yml", &commit, word).await;
            let error = once.unwrap_err();
            let help = error.help.unwrap_or_default();
            (
                error.class,
                help.contains("check whether deploy.yml was started"),
            )
        };
        assert_eq!(
            once(error(403, "no"), "first").await,
            (Class::Denied, false),
            "{kind:?}"
        );
        assert_eq!(
            once(broken(), "second").await,
            (Class::Unavailable, true),
            "{kind:?}"
        );
        assert_eq!(fake.store().dispatched, []);
    }
}
