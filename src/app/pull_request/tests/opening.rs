//! Pull requests after a survey: surveyed facts are not requested, and later changes are detected.

use std::time::{Duration, SystemTime};

use super::forge::{OfOneAge, of_temporary_content};
use crate::{
    app::pull_request::{
        Base, ForgeRepository, Marker, MarkerKind,
        reconcile::{self, Outcome, Proposal, PullRequestAction, PullRequestResult, RevisionAge},
    },
    base::{
        error::{Class, Error},
        files::RelPath,
    },
    config::{Operation, SetPath},
    core::plan::FileChange,
    forge::{
        self, Forge, MergeMethod, Readiness, Settings, Sign, Target, Token,
        fleet::{ContentRequest, FleetReader, RepositoryName, Survey, SurveyRequest},
    },
    git::{Remote, Tree, blob_id},
    oci::{Digest, registry},
    support::forge::{
        Kind, PullRow, TOKEN,
        github_rules::Signatures,
        thousand::{Logged, Options, Thousand, contents::PINNED},
    },
};

const BRANCH: &str = "auto/promote-x";
const COMMIT: &str = "promote: images @x\n\nRepin-Set: x\n";
const KINDS: [Kind; 4] = [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab];

/// A process that promotes the repositories of a forge.
struct Process {
    kind: Kind,
    forge: Thousand,
    settings: Settings,
}

/// A surveyed repository and its planned changes.
struct Planned {
    base: Base,
    changes: Vec<FileChange>,
}

fn marker(revision: &str) -> Marker {
    Marker {
        kind: MarkerKind::Set(Operation::Promotion),
        set: SetPath::top(),
        revision: revision.to_owned(),
    }
}

fn name(number: usize) -> RepositoryName {
    RepositoryName::parse(&format!("acme/app-{number:04}")).unwrap()
}

impl Process {
    fn new(kind: Kind, count: usize) -> Self {
        let mut options = Options::new(kind, count);
        BRANCH.clone_into(&mut options.branch);
        options.seeded.files = 20;
        let forge = Thousand::start(options);
        let registries = registry::Settings::new(registry::Environment::default(), SystemTime::now);
        let client = registry::Registries::new(registries)
            .unwrap()
            .client(&forge.api().parse().unwrap())
            .unwrap();
        let mut settings = Settings::new(client, SystemTime::now);
        settings.backoff = Duration::from_millis(1);
        Self {
            kind,
            forge,
            settings,
        }
    }

    fn reader(&self) -> FleetReader {
        let (api, token) = (
            self.forge.api().parse().unwrap(),
            Token::parse(TOKEN).unwrap(),
        );
        FleetReader::new(self.forge_kind(), &api, token, self.settings.clone()).unwrap()
    }

    fn forge_kind(&self) -> forge::Kind {
        match self.kind {
            Kind::Github => forge::Kind::Github,
            Kind::Gitea | Kind::Forgejo => forge::Kind::Gitea,
            Kind::Gitlab => forge::Kind::Gitlab,
        }
    }

    fn writer(&self, number: usize) -> ForgeRepository {
        let RepositoryName { owner, name } = name(number);
        let target = Target {
            kind: self.forge_kind(),
            api: self.forge.api().parse().unwrap(),
            owner,
            name,
        };
        let (token, settings) = (Token::parse(TOKEN).unwrap(), self.settings.clone());
        let remote = Remote {
            url: target.git_url(),
            login: token.git_login(&target.git_url()).unwrap(),
        };
        let (method, sign) = (MergeMethod::Auto, Sign::Auto);
        let forge = Forge::new(&target, token, settings, method, sign).unwrap();
        of_temporary_content(forge, remote)
    }

    /// Plans for the first `count` repositories.
    async fn plan(&self, count: usize) -> Vec<Planned> {
        let reader = self.reader();
        let requests: Vec<_> = (0..count)
            .map(|number| SurveyRequest {
                repository: name(number),
                base: None,
                branch: BRANCH.to_owned(),
                config: "repin.yaml".to_owned(),
            })
            .collect();
        let mut planned = Vec::new();
        for batch in requests.chunks(reader.batch_size()) {
            for (request, survey) in batch.iter().zip(reader.survey(batch).await) {
                let Survey::Present(state) = survey else {
                    panic!("{survey:?}")
                };
                let tree = reader.files(&request.repository, &state.head).await;
                let tree = tree.unwrap().tree;
                let id = |path: &&str| ((*path).to_owned(), tree.entries[*path].id.clone());
                let wanted = ContentRequest {
                    repository: request.repository.clone(),
                    commit: state.head.commit.clone(),
                    files: PINNED.iter().map(id).collect(),
                };
                let contents = reader.contents(&[wanted]).await.remove(0).unwrap();
                let base = Base::surveyed(&state, BRANCH, tree, contents);
                let changes = PINNED.iter().map(|path| change(&base, path)).collect();
                planned.push(Planned { base, changes });
            }
        }
        planned
    }

    async fn open(
        &self,
        number: usize,
        planned: &Planned,
        age: &'static RevisionAge,
    ) -> Result<Outcome, Error> {
        let marker = marker("x");
        let competing_revisions = OfOneAge {
            branch: |revision| format!("auto/promote-{revision}"),
            age,
        };
        let proposal = Proposal {
            branch: BRANCH,
            title: "promote: images @x",
            trailers: &["Repin-Set: x".to_owned()],
            body: &format!("changes\n\n{marker}\n"),
            marker: &marker,
            prefix: "",
            changes: &planned.changes,
            labels: &["images".to_owned()],
            state: Readiness::Draft,
            reopen: false,
            competing_revisions: &competing_revisions,
            supersede: true,
            only_pins: &|_, old, new| redigested(old) == redigested(new),
            auto_merge: false,
        };
        reconcile::open(&self.writer(number), &planned.base, &proposal).await
    }

    async fn opened(&self, planned: &Planned) -> PullRequestResult {
        match self.open(0, planned, &RevisionAge::Unknown).await.unwrap() {
            Outcome::Reconciled(result) => *result,
            Outcome::BaseMoved { .. } => panic!("the base moved"),
        }
    }

    /// The writing requests.
    fn writes(&self) -> Vec<String> {
        let writes = self.forge.log().into_iter().filter(|logged| logged.write);
        writes.map(|logged| logged.request).collect()
    }

    /// Checks for one open pull request: its branch has the planned contents on the base's head.
    fn is_whole(&self, case: &str) {
        let store = self.forge.store(0);
        let ours: Vec<_> = store.pulls.iter().filter(|it| it.head == BRANCH).collect();
        assert_eq!(ours.len(), 1, "{case}");
        let prefixes = ["WIP: ", "Draft: "];
        let title = &ours[0].title;
        let draft = ours[0].draft || prefixes.iter().any(|prefix| title.starts_with(prefix));
        assert!(ours[0].open && draft, "{case}");
        for path in PINNED {
            let [base, new] = ["main", BRANCH].map(|branch| store.content(branch, path));
            assert_eq!(new.as_bytes(), redigested(base.as_bytes()), "{case} {path}");
        }
        let (main, head) = (&store.refs["main"], &store.refs[BRANCH]);
        assert_eq!(store.conflicts(main, head), [""; 0], "{case}");
    }
}

/// The content with the planned digests.
fn redigested(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    let digests = [(b'a', b'c'), (b'b', b'd')];
    for (old, new) in digests.map(|(old, new)| ([old; 64], [new; 64])) {
        while let Some(at) = content.windows(64).position(|part| part == old) {
            content[at..at + 64].copy_from_slice(&new);
        }
    }
    content
}

fn change(base: &Base, path: &str) -> FileChange {
    let old = base.content(path).unwrap().to_vec();
    let new = redigested(&old);
    FileChange {
        path: RelPath::parse(path).unwrap(),
        pins: 2,
        old_sha256: Digest::of(&old),
        new_sha256: Digest::of(&new),
        old,
        new,
    }
}

/// A pull request of another run, according to the marker in its text.
fn pull(number: u64, revision: &str, open: bool) -> PullRow {
    PullRow {
        number,
        title: format!("promote: images @{revision}"),
        body: format!("changes\n\n{}\n", marker(revision)),
        open,
        merged: None,
        draft: true,
        head: format!("auto/promote-{revision}"),
        head_repo: "acme/flows".to_owned(),
        base: "main".to_owned(),
        labels: vec!["images".to_owned()],
        closed_at: None,
    }
}

/// Pushes the commit of a run on the head of `main`.
fn push_planned(process: &Process, revision: &str) -> String {
    let mut store = process.forge.store(0);
    let files = PINNED.map(|path| {
        let text = store.content("main", path);
        let new = String::from_utf8(redigested(text.as_bytes())).unwrap();
        (path, new)
    });
    let files: Vec<_> = files
        .iter()
        .map(|(path, new)| (*path, new.as_str()))
        .collect();
    let message = COMMIT.replace('x', revision);
    store.push(&format!("auto/promote-{revision}"), &message, &files)
}

#[tokio::test]
async fn new_pull_request_costs_few_requests() {
    const COUNT: usize = 6;
    for (kind, plan, most, writes) in [
        (Kind::Github, 220, 8, 3),
        (Kind::Gitea, 600, 8, 3),
        (Kind::Forgejo, 600, 8, 3),
        (Kind::Gitlab, 800, 6, 2),
    ] {
        let process = Process::new(kind, COUNT);
        for number in 0..COUNT {
            let id = process.forge.store(number).number();
            let label = (id, "images".to_owned());
            process.forge.store(number).labels.push(label);
        }
        let planned = process.plan(COUNT).await;
        let before = process.forge.log().len();
        assert!(before * 100 <= COUNT * plan, "{kind:?} {before}");
        for (number, planned) in planned.iter().enumerate() {
            let outcome = process.open(number, planned, &RevisionAge::Unknown).await;
            let Outcome::Reconciled(result) = outcome.unwrap() else {
                panic!("the base moved")
            };
            assert_eq!(result.change, PullRequestAction::Created, "{kind:?}");
            assert!(result.late_error.is_none(), "{:?}", result.late_error);
        }
        process.is_whole(&format!("{kind:?}"));
        let log = &process.forge.log()[before..];
        for number in 0..COUNT {
            let here = |logged: &&Logged| logged.repository == Some(number);
            let here: Vec<_> = log.iter().filter(here).collect();
            assert_eq!(here.len(), most, "{kind:?} {here:#?}");
            let written = here.iter().filter(|logged| logged.write).count();
            assert_eq!(written, writes, "{kind:?} {here:#?}");
        }
        // The owner's labels are requested for each repository of Gitea; its version only once, before.
        let rest = log.iter().filter(|logged| logged.repository.is_none());
        let expected = match kind {
            Kind::Gitea | Kind::Forgejo => COUNT,
            Kind::Github => 0,
            // The token's scopes.
            Kind::Gitlab => 1,
        };
        assert_eq!(rest.count(), expected, "{kind:?}");
    }
}

#[tokio::test]
async fn concurrent_changes_by_repin_are_adopted() {
    for kind in KINDS {
        // The other run opened the pull request.
        let process = Process::new(kind, 1);
        let planned = process.plan(1).await.remove(0);
        let first = process.opened(&planned).await;
        let again = process.opened(&planned).await;
        assert_eq!(
            (first.number, first.change),
            (again.number, PullRequestAction::Created)
        );
        assert_eq!(again.change, PullRequestAction::Unchanged, "{kind:?}");
        process.is_whole("opened");
        // The other run was killed after it created the branch.
        let process = Process::new(kind, 1);
        let planned = process.plan(1).await.remove(0);
        let head = push_planned(&process, "x");
        let opened = process.opened(&planned).await;
        assert_eq!(opened.change, PullRequestAction::Created, "{kind:?}");
        assert_eq!(process.forge.store(0).refs[BRANCH], head, "{kind:?}");
        process.is_whole("branch");
    }
}

#[tokio::test]
async fn concurrent_changes_by_people_are_preserved() {
    for kind in KINDS {
        let process = Process::new(kind, 1);
        let planned = process.plan(1).await.remove(0);
        let theirs = [("src/part0/file0.txt", "mine\n")];
        let head = process.forge.store(0).push(BRANCH, "fix: by hand", &theirs);
        let failed = process.open(0, &planned, &RevisionAge::Unknown).await;
        let error = failed.unwrap_err();
        assert_eq!(error.class, Class::Conflict, "{kind:?} {error}");
        assert!(error.message.contains(&head), "{kind:?} {error}");
        assert_eq!(process.forge.store(0).refs[BRANCH], head, "{kind:?}");
        assert_eq!(process.forge.open_pulls(), [], "{kind:?}");

        // A person closed the pull request; in the second case, its branch was deleted before the
        // survey.
        for since in [false, true] {
            let process = Process::new(kind, 1);
            let close = async || {
                push_planned(&process, "x");
                let mut store = process.forge.store(0);
                let number = store.number();
                store.pulls.push(pull(number, "x", true));
                store.close(number);
            };
            if !since {
                close().await;
                process.forge.store(0).refs.remove(BRANCH);
            }
            let planned = process.plan(1).await.remove(0);
            if since {
                close().await;
            }
            let failed = process.open(0, &planned, &RevisionAge::Unknown).await;
            let error = failed.unwrap_err();
            assert_eq!(error.class, Class::Refused, "{kind:?} {error}");
            assert!(error.message.contains("was closed without being merged"));
            assert_eq!(process.forge.open_pulls(), [], "{kind:?}");
        }
    }
}

#[tokio::test]
async fn unsurveyed_closed_pull_request_stays_closed() {
    for (kind, shown) in [
        (Kind::Github, 5),
        (Kind::Gitea, 50),
        (Kind::Forgejo, 50),
        (Kind::Gitlab, 100),
    ] {
        let process = Process::new(kind, 1);
        push_planned(&process, "x");
        {
            let mut store = process.forge.store(0);
            let number = store.number();
            store.pulls.push(pull(number, "x", true));
            store.close(number);
            store.refs.remove(BRANCH);
            // Pull requests of forks, from a branch of the same name.
            for _ in 0..shown {
                let theirs = pull(store.number(), "x", false);
                store.pulls.push(PullRow {
                    head_repo: "fork/flows".to_owned(),
                    closed_at: Some("0".repeat(40)),
                    ..theirs
                });
            }
        }
        let planned = process.plan(1).await.remove(0);
        let failed = process.open(0, &planned, &RevisionAge::Unknown).await;
        let error = failed.unwrap_err();
        assert_eq!(error.class, Class::Refused, "{kind:?} {error}");
        assert!(error.message.contains("was closed without being merged"));
        assert_eq!(process.writes(), [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn missing_permission_is_refused_before_any_write() {
    for kind in KINDS {
        let process = Process::new(kind, 1);
        process.forge.store(0).push = Some(false);
        let planned = process.plan(1).await.remove(0);
        let failed = process.open(0, &planned, &RevisionAge::Unknown).await;
        let error = failed.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{kind:?} {error}");
        assert_eq!(process.writes(), [""; 0], "{kind:?}");
    }
}

#[tokio::test]
async fn base_moved_since_the_survey_is_replanned() {
    for kind in KINDS {
        for path in [PINNED[0], "src/part0/file0.txt"] {
            let process = Process::new(kind, 1);
            let planned = process.plan(1).await.remove(0);
            {
                let mut store = process.forge.store(0);
                let text = store.content("main", path) + "# more\n";
                store.push("main", "another change", &[(path, &text)]);
            }
            let outcome = process.open(0, &planned, &RevisionAge::Unknown).await;
            let Outcome::BaseMoved { .. } = outcome.unwrap() else {
                panic!("{kind:?} {path}: the base is as it was")
            };
            let planned = process.plan(1).await.remove(0);
            process.opened(&planned).await;
            process.is_whole(&format!("{kind:?} {path}"));
        }
    }
}

#[tokio::test]
async fn newer_of_two_concurrent_sets_stays() {
    for kind in KINDS {
        for since in [false, true] {
            let process = Process::new(kind, 1);
            let other = async || {
                push_planned(&process, "y");
                let mut store = process.forge.store(0);
                let number = store.number();
                store.pulls.push(pull(number, "y", true));
            };
            if !since {
                other().await;
            }
            let planned = process.plan(1).await.remove(0);
            if since {
                other().await;
            }
            let outcome = process
                .open(0, &planned, &RevisionAge::Newer)
                .await
                .unwrap();
            let Outcome::Reconciled(result) = outcome else {
                panic!("{kind:?}: the base moved")
            };
            // A pull request that was already open in the survey stays open.
            assert_eq!(result.late_error.is_some(), since, "{kind:?}");
            let open = if since {
                vec![(0, 1)]
            } else {
                vec![(0, 1), (0, 2)]
            };
            assert_eq!(process.forge.open_pulls(), open, "{kind:?}");
        }
        let process = Process::new(kind, 1);
        push_planned(&process, "y");
        process.forge.store(0).pulls.push(pull(1, "y", true));
        process.forge.store(0).number();
        let planned = process.plan(1).await.remove(0);
        let outcome = process
            .open(0, &planned, &RevisionAge::Older)
            .await
            .unwrap();
        let Outcome::Reconciled(result) = outcome else {
            panic!("{kind:?}: the base moved")
        };
        assert_eq!(result.superseded, [1], "{kind:?}");
        assert_eq!(process.forge.open_pulls(), [(0, 2)], "{kind:?}");
    }
}

#[tokio::test]
async fn unsurveyed_branch_is_requested() {
    let process = Process::new(Kind::Github, 1);
    let mut planned = process.plan(1).await.remove(0);
    let reader = process.reader();
    let request = SurveyRequest {
        repository: name(0),
        base: None,
        branch: "auto/another".to_owned(),
        config: "repin.yaml".to_owned(),
    };
    let Survey::Present(state) = reader.survey(&[request]).await.remove(0) else {
        panic!()
    };
    planned.base = {
        let contents = planned.changes.iter();
        let contents = contents.map(|it| (blob_id(&it.old, ""), it.old.clone()));
        let tree = Tree::clone(&planned.base.tree);
        Base::surveyed(&state, "auto/another", tree, contents.collect())
    };
    process.opened(&planned).await;
    process.is_whole("another branch");
    let listed = |logged: &Logged| logged.request.contains("/pulls?");
    assert!(process.forge.log().iter().any(listed));
}

#[tokio::test]
async fn survey_contains_required_signatures() {
    let process = Process::new(Kind::Github, 1);
    process.forge.store(0).rules.signatures = Some(Signatures::Protection);
    process.forge.store(0).rules.signs = true;
    let planned = process.plan(1).await.remove(0);
    process.opened(&planned).await;
    process.is_whole("signed");
    let store = process.forge.store(0);
    assert!(store.rules.signed.contains(&store.refs[BRANCH]));
}

#[tokio::test]
async fn binary_contents_are_sent_unchanged() {
    for text in [false, true] {
        let process = Process::new(Kind::Github, 1);
        if !text {
            let mut store = process.forge.store(0);
            let mut content = store.content("main", PINNED[1]).into_bytes();
            content.extend(b"# \xff\n");
            let id = store.put_blob(&content);
            store.commit_files("main", "not text", |files| {
                files.insert(PINNED[1].to_owned(), ("100644".to_owned(), id));
            });
        }
        let planned = process.plan(1).await.remove(0);
        let opened = process.opened(&planned).await;
        assert_eq!(opened.change, PullRequestAction::Created);
        let store = process.forge.store(0);
        let (head, tree) = (&store.refs[BRANCH], &planned.base.tree);
        for change in &planned.changes {
            let path = change.path.to_string();
            let (mode, id) = &store.files_of(head)[&path];
            assert_eq!(store.blob(id).unwrap(), change.new, "{path}");
            assert_eq!(*mode, tree.entries[&path].mode, "{path}");
        }
    }
}
