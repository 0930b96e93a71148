//! A pull request is fetched before it is closed or becomes a draft, on simulated forges.

use super::forge::{self, REQUEST, branch, fake, is_whole, only_revisions_differ, promote};
use crate::{
    app::pull_request::merging,
    base::error::Class,
    forge::{Push, Readiness, Repo},
    support::forge::{Kind, When},
};

const KINDS: [Kind; 4] = [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab];

#[tokio::test]
async fn pull_request_is_fetched_before_closing() {
    for kind in KINDS {
        let fake = fake(kind);
        let number = promote(&fake, REQUEST).await.unwrap().number;
        let forge = forge::forge(&fake);
        let repo = forge.repository().await.unwrap();
        let close = async || merging::close(&forge, &repo, number, &only_revisions_differ).await;
        fake.forget();
        fake.store().pull_mut(number).unwrap().merged = Some("0".repeat(40));
        fake.store().pull_mut(number).unwrap().open = false;
        assert!(close().await.unwrap().is_none(), "{kind:?}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        fake.store().pull_mut(number).unwrap().merged = None;
        fake.store().pull_mut(number).unwrap().open = true;
        is_whole(&fake, "rev2");
        let ours = fake.store().refs[&branch("rev2")].clone();
        fake.store()
            .push(&branch("rev2"), "theirs", &[("notes", "x")]);
        let error = close().await.unwrap_err();
        assert_eq!(error.class, Class::Conflict, "{kind:?} {error}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        fake.store().refs.insert(branch("rev2"), ours);
        let repo_of_others = Repo {
            push: Push::Denied,
            ..repo.clone()
        };
        let close_theirs = merging::close(&forge, &repo_of_others, number, &only_revisions_differ);
        let error = close_theirs.await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{kind:?} {error}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        // The branch moves after the pull request was read.
        fake.at(
            When::After,
            "GET",
            &format!("/pulls/{number}"),
            1,
            |store| {
                let head = store.refs[&branch("rev2")].clone();
                let commit = store.commit(&head);
                let again = store.put_commit(&commit);
                store.refs.insert(branch("rev2"), again);
            },
        );
        let error = close().await.unwrap_err();
        assert_eq!(error.class, Class::Unavailable, "{kind:?} {error}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        assert_eq!(close().await.unwrap().unwrap().number, number);
        assert!(fake.store().open_pulls().is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn pull_request_is_fetched_before_it_becomes_a_draft() {
    for kind in KINDS {
        let fake = fake(kind);
        let number = promote(&fake, REQUEST).await.unwrap().number;
        let forge = forge::forge(&fake);
        let repo = forge.repository().await.unwrap();
        let draft = async |repo| merging::make_draft(&forge, repo, number, "reason").await;
        fake.forget();
        fake.store().pull_mut(number).unwrap().open = false;
        assert!(draft(&repo).await.unwrap().is_none(), "{kind:?}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        fake.store().pull_mut(number).unwrap().open = true;
        let denied = Repo {
            push: Push::Denied,
            ..repo.clone()
        };
        assert_eq!(draft(&denied).await.unwrap_err().class, Class::Denied);
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        let head = fake.store().refs[&branch("rev2")].clone();
        fake.store().scheduled.push((number, head));
        let pull = draft(&repo).await.unwrap().unwrap();
        assert_eq!(pull.number, number);
        assert_eq!(fake.store().scheduled, [], "{kind:?}");
        let pull = forge.pull(number).await.unwrap().unwrap();
        assert_eq!(pull.readiness, Readiness::Draft, "{kind:?}");
        assert_eq!(fake.store().comments[&number].len(), 1);

        // Nothing remains to be done.
        fake.forget();
        assert!(draft(&repo).await.unwrap().is_some());
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");
    }
}
