//! Surveys of many repositories with few requests; a problem of one repository does not affect the
//! others.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use reqwest::Url;

use super::{
    ConfigFile, ContentRequest, FileListing, FleetReader, Head, ListQuery, RepositoryName,
    RepositoryState, Survey, SurveyRequest,
};
use crate::{
    base::{
        error::Class,
        http::{RequestPacer, Shard, SharedDeadline, Timer},
    },
    forge::{
        self, CreateOutcome, Forge, MergeMethod, NewPull, PullState, Pulls, Readiness, Settings,
        Sign, Target, Token,
    },
    git::blob_id,
    oci::registry,
    support::forge::{
        Kind, TOKEN,
        thousand::{Limits, Options, Thousand, Trouble, contents::PINNED},
    },
};

const BRANCH: &str = "repin/promote";

fn settings() -> Settings {
    let registries = registry::Settings::new(registry::Environment::default(), SystemTime::now);
    let registries = registry::Registries::new(registries).unwrap();
    let client = registries
        .client(&"http://127.0.0.1".parse().unwrap())
        .unwrap();
    let mut settings = Settings::new(client, SystemTime::now);
    settings.backoff = Duration::from_millis(1);
    settings
}

fn reader_with(forge: &Thousand, kind: Kind, settings: Settings) -> FleetReader {
    reader_as(forge, kind, Token::parse(TOKEN).unwrap(), settings)
}

fn reader_as(forge: &Thousand, kind: Kind, token: Token, settings: Settings) -> FleetReader {
    let api: Url = forge.api().parse().unwrap();
    let kind = match kind {
        Kind::Github => forge::Kind::Github,
        Kind::Gitea | Kind::Forgejo => forge::Kind::Gitea,
        Kind::Gitlab => forge::Kind::Gitlab,
    };
    FleetReader::new(kind, &api, token, settings).unwrap()
}

fn reader(forge: &Thousand, kind: Kind) -> FleetReader {
    reader_with(forge, kind, settings())
}

fn name(number: usize) -> RepositoryName {
    RepositoryName::parse(&format!("acme/app-{number:04}")).unwrap()
}

fn requests(numbers: impl IntoIterator<Item = usize>) -> Vec<SurveyRequest> {
    let request = |number| SurveyRequest {
        repository: name(number),
        base: None,
        branch: BRANCH.to_owned(),
        config: "repin.yaml".to_owned(),
    };
    numbers.into_iter().map(request).collect()
}

fn present(survey: &Survey) -> &RepositoryState {
    match survey {
        Survey::Present(state) => state,
        other => panic!("{other:?}"),
    }
}

/// The files with pins, and the ids of their contents.
fn pinned(listing: &FileListing) -> BTreeMap<String, String> {
    let entry = |path: &&str| ((*path).to_owned(), listing.tree.entries[*path].id.clone());
    PINNED.iter().map(entry).collect()
}

/// What a plan reads of some repositories by their forge: heads, files, contents.
async fn plan(reader: &FleetReader, count: usize) {
    let all = requests(0..count);
    for batch in all.chunks(reader.batch_size()) {
        let surveys = reader.survey(batch).await;
        let mut wanted = Vec::new();
        for (request, survey) in batch.iter().zip(&surveys) {
            let state = present(survey);
            let listing = reader
                .files(&request.repository, &state.head)
                .await
                .unwrap();
            assert_eq!(listing.tree.entries.len(), 400);
            assert!(!listing.truncated);
            let files = pinned(&listing);
            wanted.push(ContentRequest {
                repository: request.repository.clone(),
                commit: state.head.commit.clone(),
                files,
            });
        }
        for contents in reader.contents(&wanted).await {
            assert_eq!(contents.unwrap().len(), PINNED.len());
        }
    }
}

#[tokio::test]
async fn survey_of_a_plan_costs_few_requests() {
    for (kind, count, most) in [
        (Kind::Github, 100, 220),
        // The server's version is requested once.
        (Kind::Gitea, 20, 605),
        (Kind::Forgejo, 20, 605),
    ] {
        let forge = Thousand::start(Options::new(kind, count));
        let reader = reader(&forge, kind);
        plan(&reader, count).await;
        let requests = forge.log().len();
        assert!(requests * 100 <= count * most, "{kind:?}: {requests}");
        assert!(forge.log().iter().all(|logged| !logged.write));
    }
}

/// Adds a commit and a pull request of repin to a repository: other digests in the pinned files.
fn promote(forge: &Thousand, number: usize) -> BTreeMap<String, String> {
    let mut store = forge.store(number);
    let files: Vec<(String, String)> = PINNED
        .iter()
        .map(|path| {
            let text = store.content("main", path);
            (
                (*path).to_owned(),
                text.replace("aaaa", "cccc").replace("bbbb", "dddd"),
            )
        })
        .collect();
    let borrowed: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    store.push(BRANCH, "promote: images @x\n\nRepin-Set: x", &borrowed);
    let number = store.number();
    store.pulls.push(crate::support::forge::PullRow {
        number,
        title: "promote: images @x".to_owned(),
        body: "<!-- repin/2 kind=promote set=repin.yaml revision=x -->".to_owned(),
        open: true,
        merged: None,
        draft: true,
        head: BRANCH.to_owned(),
        head_repo: "acme/flows".to_owned(),
        base: "main".to_owned(),
        labels: vec!["images".to_owned()],
        closed_at: None,
    });
    let ids = files
        .iter()
        .map(|(path, text)| (path.clone(), blob_id(text.as_bytes(), "")));
    ids.collect()
}

#[tokio::test]
async fn open_pull_request_is_recognized_by_its_tree() {
    for (kind, count, most) in [
        (Kind::Github, 60, 110),
        (Kind::Gitea, 20, 420),
        (Kind::Forgejo, 20, 420),
    ] {
        let forge = Thousand::start(Options::new(kind, count));
        let planned: Vec<_> = (0..count).map(|number| promote(&forge, number)).collect();
        let reader = reader(&forge, kind);
        let all = requests(0..count);
        let mut wanted = Vec::new();
        for (at, batch) in all.chunks(reader.batch_size()).enumerate() {
            for (below, survey) in reader.survey(batch).await.iter().enumerate() {
                let number = at * reader.batch_size() + below;
                let state = present(survey);
                let [pull] = state.pulls.as_slice() else {
                    panic!("{:?}", state.pulls)
                };
                assert_eq!(
                    (&pull.state, &*pull.labels),
                    (&PullState::Open, &["images".to_owned()][..])
                );
                assert!(state.all_pulls && pull.own && pull.head_exists);
                let repository = &batch[below].repository;
                let listing = reader.files(repository, &state.head).await.unwrap();
                let branch = state.branch.as_ref().unwrap();
                assert_eq!(branch.commit.parents.join(" "), state.head.commit);
                assert_eq!(pull.head_commit, branch.commit.id);
                assert!(branch.commit.message.ends_with("Repin-Set: x"));
                let tree = listing.tree.id_with(&planned[number]);
                assert_eq!(tree.as_ref(), Some(&branch.tree));
                assert_ne!(listing.tree.id_with(&BTreeMap::new()), tree);
                wanted.push(ContentRequest {
                    repository: repository.clone(),
                    commit: state.head.commit.clone(),
                    files: pinned(&listing),
                });
            }
        }
        if kind == Kind::Github {
            for contents in reader.contents(&wanted).await {
                assert_eq!(contents.unwrap().len(), PINNED.len());
            }
        }
        let requests = forge.log().len();
        assert!(requests * 100 <= count * most, "{kind:?}: {requests}");
    }
}

fn with_all_troubles(kind: Kind) -> Thousand {
    let options = Options::new(kind, 12)
        .trouble(1, Trouble::Renamed)
        .trouble(2, Trouble::Archived)
        .trouble(3, Trouble::Empty)
        .trouble(4, Trouble::Truncated)
        .trouble(5, Trouble::Unconfigured)
        .trouble(6, Trouble::Missing)
        .trouble(7, Trouble::Foreign)
        .trouble(8, Trouble::Closed);
    Thousand::start(options)
}

#[tokio::test]
async fn survey_distinguishes_the_repositories() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let forge = with_all_troubles(kind);
        let reader = reader(&forge, kind);
        let surveys = reader.survey(&requests(0..13)).await;
        assert_eq!(surveys.len(), 13);
        let word = |at: usize| match &surveys[at] {
            Survey::Missing => "missing".to_owned(),
            Survey::Moved(to) => format!("moved to {to}"),
            Survey::Archived => "archived".to_owned(),
            Survey::Empty => "empty".to_owned(),
            Survey::NoBase(base) => format!("no {base}"),
            Survey::Failed(error) => format!("failed: {error}"),
            Survey::Present(state) => format!("present, {:?}", state.config)
                .chars()
                .take(13)
                .collect(),
        };
        let expected = [
            "present, Text",
            "moved to acme/app-0001-renamed",
            "archived",
            "empty",
            "present, Text",
            "present, Miss",
            "missing",
            "present, Text",
            "present, Text",
            "present, Text",
            "present, Text",
            "present, Text",
            // Past the last one.
            "missing",
        ];
        for (at, expected) in expected.iter().enumerate() {
            assert_eq!(word(at), *expected, "{kind:?} {at}");
        }
        let truncated = reader.files(&name(4), &present(&surveys[4]).head).await;
        // GitLab does not report that a listing is cut off; it never ends.
        match truncated {
            Ok(listing) => assert!(listing.truncated, "{kind:?}"),
            Err(error) => assert!(kind == Kind::Gitlab, "{error}"),
        }
        let [closed] = present(&surveys[8]).pulls.as_slice() else {
            panic!()
        };
        assert_eq!(closed.state, PullState::Closed);
        // The survey contains foreign commits on the branch, if the forge reports them.
        let foreign = &present(&surveys[7]).branch;
        assert_eq!(foreign.is_some(), kind == Kind::Github);
        assert!(
            foreign
                .as_ref()
                .is_none_or(|head| head.commit.message == "fix: by hand")
        );
        let ConfigFile::Text(text) = &present(&surveys[0]).config else {
            panic!()
        };
        assert!(text.contains("ghcr.io/acme/api"), "{text}");
    }
}

/// A fleet's repository without pull requests is denied before anything is planned for it.
#[tokio::test]
async fn disabled_pull_requests_fail_the_survey() {
    for kind in [Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let forge = Thousand::start(Options::new(kind, 2));
        forge.store(0).gitea.pull_requests = false;
        forge.store(0).gitlab.merge_requests = "disabled";
        let surveys = reader(&forge, kind).survey(&requests(0..2)).await;
        let Survey::Failed(error) = &surveys[0] else {
            panic!("{kind:?} {:?}", surveys[0])
        };
        assert_eq!(error.class, Class::Denied, "{kind:?} {error}");
        assert!(error.to_string().contains("disabled"), "{error}");
        assert!(matches!(surveys[1], Survey::Present(_)), "{kind:?}");
    }
}

/// GitLab blocks an address that repeats a refused token.
#[tokio::test]
async fn refused_token_is_sent_once() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let forge = Thousand::start(Options::new(kind, 4));
        let settings = settings();
        for _ in 0..2 {
            let token = Token::parse("unknown").unwrap();
            let reader = reader_as(&forge, kind, token, settings.clone());
            for survey in reader.survey(&requests(0..4)).await {
                let Survey::Failed(error) = survey else {
                    panic!("{kind:?} {survey:?}")
                };
                assert_eq!(error.class, Class::Denied, "{kind:?} {error}");
            }
        }
        assert_eq!(forge.log().len(), 1, "{kind:?}");
        // Another token is sent.
        let surveys = reader_with(&forge, kind, settings)
            .survey(&requests([0]))
            .await;
        present(&surveys[0]);
    }
}

#[tokio::test]
async fn base_branches_are_those_of_the_list() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Gitlab] {
        let forge = Thousand::start(Options::new(kind, 1));
        let release = forge
            .store(0)
            .push("release/1", "release", &[("src/x", "x")]);
        let reader = reader(&forge, kind);
        let mut asked = requests([0, 0]);
        asked[0].base = Some("release/1".to_owned());
        asked[1].base = Some("removed".to_owned());
        let surveys = reader.survey(&asked).await;
        let state = present(&surveys[0]);
        assert_eq!(
            (&*state.base, &*state.repo.default_branch),
            ("release/1", "main")
        );
        assert_eq!(state.head.commit, release);
        assert!(
            matches!(&surveys[1], Survey::NoBase(base) if base == "removed"),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn rejected_query_is_divided() {
    let mut options = Options::new(Kind::Github, 40);
    options.slow_above = 10;
    options.heavy = [3, 17].into();
    let forge = Thousand::start(options);
    let reader = reader(&forge, Kind::Github);
    let surveys = reader.survey(&requests(0..40)).await;
    for survey in &surveys {
        assert!(matches!(&present(survey).config, ConfigFile::Text(_)));
    }
    // Queries of 40 and 20 repositories are too large, and each is tried twice; a query of 10
    // succeeds, and two repositories are requested separately at the end.
    let log = forge.log();
    let broken = log.iter().filter(|logged| logged.status == 502).count();
    assert_eq!(broken, 2 * 3, "{log:#?}");
    assert!(log.len() <= 20, "{}", log.len());
}

#[tokio::test]
async fn contents_are_held_against_their_names() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let forge = Thousand::start(Options::new(kind, 2));
        let long = "x".repeat(600_000);
        {
            let mut store = forge.store(0);
            let binary = store.put_blob(b"\0binary");
            let changed = store.put_blob(b"not quite \xff UTF-8");
            store.commit_files("main", "odd files", |files| {
                files.insert("binary".to_owned(), ("100644".to_owned(), binary));
                files.insert("changed".to_owned(), ("100644".to_owned(), changed));
            });
            store.push("main", "long", &[("long", &long)]);
        }
        let reader = reader(&forge, kind);
        let surveys = reader.survey(&requests([0])).await;
        let head = present(&surveys[0]).head.clone();
        let listing = reader.files(&name(0), &head).await.unwrap();
        let files = ["binary", "changed", "long", PINNED[0]];
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|path| ((*path).to_owned(), listing.tree.entries[*path].id.clone()))
            .collect();
        let missing = BTreeMap::from([("removed".to_owned(), "0".repeat(40))]);
        let asked = |repository, files: &BTreeMap<String, String>| ContentRequest {
            repository,
            commit: head.commit.clone(),
            files: files.clone(),
        };
        let answers = reader
            .contents(&[asked(name(0), &files), asked(name(1), &missing)])
            .await;
        let contents = answers[0].as_ref().unwrap();
        assert_eq!(contents[&files["binary"]], b"\0binary");
        assert_eq!(contents[&files["changed"]], b"not quite \xff UTF-8");
        assert_eq!(contents[&files["long"]].len(), long.len());
        assert!(answers[1].is_err());
    }
}

#[tokio::test]
async fn oversized_responses_are_refused() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let forge = Thousand::start(Options::new(kind, 2));
        let config = "#".repeat(1024 * 1024 + 1);
        let long = "x".repeat(4 * 1024 * 1024 + 1);
        forge.store(0).push(
            "main",
            "long",
            &[("repin.yaml", &config), (PINNED[0], &long)],
        );
        let reader = reader(&forge, kind);
        let surveys = reader.survey(&requests(0..2)).await;
        let state = present(&surveys[0]);
        assert!(
            matches!(&state.config, ConfigFile::Unusable(why) if why.contains("more than 1048576 bytes")),
            "{kind:?} {:?}",
            state.config
        );
        assert!(matches!(&present(&surveys[1]).config, ConfigFile::Text(_)));
        let listing = reader.files(&name(0), &state.head).await.unwrap();
        let request = ContentRequest {
            repository: name(0),
            commit: state.head.commit.clone(),
            files: pinned(&listing),
        };
        assert!(reader.contents(&[request]).await[0].is_err(), "{kind:?}");
    }
}

#[tokio::test]
async fn lists_are_complete_sorted_and_without_archived_repositories() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Gitlab] {
        let options = Options::new(kind, 130)
            .trouble(7, Trouble::Archived)
            .trouble(8, Trouble::Empty)
            .trouble(10, Trouble::Unconfigured);
        let forge = Thousand::start(options);
        let reader = reader(&forge, kind);
        let of = |topic: Option<&str>, has: Option<&str>| ListQuery::Owner {
            owner: "acme".to_owned(),
            topic: topic.map(str::to_owned),
            has: has.map(str::to_owned),
        };
        let all = reader.list(&of(None, None)).await.unwrap();
        assert_eq!(all.repositories.len(), 129, "{kind:?}");
        assert!(all.repositories.is_sorted());
        assert_eq!(all.archived, ["acme/app-0007"]);
        let even = reader.list(&of(Some("even"), None)).await.unwrap();
        assert_eq!((even.repositories.len(), even.archived.len()), (65, 0));
        let configured = reader
            .list(&of(Some("even"), Some("repin.yaml")))
            .await
            .unwrap();
        assert_eq!(configured.repositories.len(), 63);
        assert!(
            !configured
                .repositories
                .contains(&"acme/app-0008".to_owned())
        );
        let found = reader
            .list(&ListQuery::Search("app-".to_owned()))
            .await
            .unwrap();
        assert_eq!((found.repositories.len(), found.archived.len()), (129, 1));
        let nobody = ListQuery::Owner {
            owner: "missing".to_owned(),
            topic: None,
            has: None,
        };
        let error = reader.list(&nobody).await.unwrap_err();
        assert_eq!(error.class, Class::Input, "{error}");
    }
}

#[tokio::test]
async fn incomplete_search_results_are_refused() {
    let mut options = Options::new(Kind::Github, 1001);
    options.seeded.files = 4;
    let forge = Thousand::start(options);
    let reader = reader(&forge, Kind::Github);
    let error = reader
        .list(&ListQuery::Search("org:acme".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Input);
    assert!(error.message.contains("1001 repositories"), "{error}");
}

#[tokio::test]
async fn read_requests_wait_for_the_next_hour() {
    // The server's clock, and with it its hours, runs 20,000 times as fast: one has 180 ms.
    let mut options = Options::new(Kind::Github, 30);
    options.speed = 20_000;
    options.limits = Limits {
        hourly: 10,
        ..Limits::github()
    };
    let origin = options.origin;
    let forge = Thousand::start(options);
    let timer = Timer::scaled(SystemTime::now, origin, 20_000);
    let mut settings = settings();
    settings.pace = Some(RequestPacer::new(
        Shard {
            number: 0,
            count: 1,
        },
        4,
        timer,
    ));
    let reader = reader_with(&forge, Kind::Github, settings);
    for (number, survey) in reader.survey(&requests(0..30)).await.iter().enumerate() {
        let head = &present(survey).head;
        let listing = reader.files(&name(number), head).await.unwrap();
        assert_eq!(listing.tree.entries.len(), 400);
    }
    // An early request would have been refused.
    let refused = forge
        .log()
        .iter()
        .filter(|logged| logged.status != 200)
        .count();
    assert_eq!(refused, 0);
}

#[tokio::test]
async fn request_past_the_deadline_is_not_sent() {
    let mut options = Options::new(Kind::Github, 1);
    options.limits = Limits {
        hourly: 5,
        ..Limits::github()
    };
    let forge = Thousand::start(options);
    let mut settings = settings();
    settings.time = SharedDeadline::new(Duration::from_secs(600), "--deadline");
    let timer = Timer::new(SystemTime::now);
    settings.pace = Some(RequestPacer::new(
        Shard {
            number: 0,
            count: 1,
        },
        4,
        timer,
    ));
    let reader = reader_with(&forge, Kind::Github, settings);
    let head = Head::from_commit(&forge.store(0).refs["main"].clone());
    for _ in 0..5 {
        reader.files(&name(0), &head).await.unwrap();
    }
    let error = reader.files(&name(0), &head).await.unwrap_err();
    assert_eq!(error.class, Class::Limited, "{error}");
    assert!(error.message.contains("--deadline, 600 s"), "{error}");
    assert_eq!(forge.log().len(), 5);
    // GraphQL has a separate budget.
    present(&reader.survey(&requests([0])).await[0]);
}

/// Opens the pull request of repin's branch, which was pushed before, with retries.
async fn propose(forge: &Forge) -> Result<(), crate::base::error::Error> {
    let pull = NewPull {
        title: "promote: images @x",
        body: "<!-- repin/2 kind=promote set=repin.yaml revision=x -->",
        head: BRANCH,
        base: "main",
        state: Readiness::Draft,
        labels: &[],
    };
    match forge.create_pull(&pull).await? {
        CreateOutcome::New(_) => {}
        CreateOutcome::Unsure(_) => {
            let open = forge.pulls(Pulls::Open).await?;
            assert_eq!(open.len(), 1);
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn writes_are_spread_out_parked_and_never_repeated() {
    let troubles = [
        Trouble::RetryAfter,
        Trouble::Limited,
        Trouble::UsedUp,
        Trouble::TooQuickly,
        Trouble::Denied,
        Trouble::DoneThenBroken,
        Trouble::Silent,
        Trouble::WrongCounts,
    ];
    let mut options = Options::new(Kind::Github, 10);
    options.speed = 1000;
    options.troubles = troubles.into_iter().enumerate().collect();
    let origin = options.origin;
    let forge = Thousand::start(options);
    let timer = Timer::scaled(SystemTime::now, origin, 1000);
    let mut settings = settings();
    // The progress limit uses real time.
    settings.progress = Duration::from_secs(2);
    settings.pace = Some(RequestPacer::new(
        Shard {
            number: 0,
            count: 1,
        },
        4,
        timer,
    ));
    for number in 0..10 {
        let target = Target {
            kind: forge::Kind::Github,
            api: forge.api().parse().unwrap(),
            owner: "acme".to_owned(),
            name: name(number).name,
        };
        let token = Token::parse(TOKEN).unwrap();
        let settings = settings.clone();
        let (method, sign) = (MergeMethod::Auto, Sign::Auto);
        let github = Forge::new(&target, token, settings, method, sign).unwrap();
        let promoted = [(PINNED[0], "promoted\n")];
        forge.store(number).push(BRANCH, "promote", &promoted);
        let proposed = propose(&github).await;
        if number == 4 {
            assert_eq!(proposed.unwrap_err().class, Class::Denied);
        } else {
            proposed.unwrap();
        }
    }
    let open = forge.open_pulls();
    let expected: Vec<_> = (0..10)
        .filter(|number| *number != 4)
        .map(|number| (number, 1))
        .collect();
    assert_eq!(open, expected);
    let hasty = forge.hasty_writes();
    assert!(hasty.is_empty(), "{hasty:#?}");
    // Only idempotent requests were sent twice.
    for number in 0..10 {
        let opened = forge.log().into_iter().filter(|logged| {
            // 0: carried out without a response.
            let accepted = matches!(logged.status, 0 | 201 | 502);
            logged.repository == Some(number)
                && logged.request.ends_with("/pulls")
                && logged.write
                && accepted
        });
        assert_eq!(opened.count(), usize::from(number != 4), "{number}");
    }
}
