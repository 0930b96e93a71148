//! A pull request is fetched before it is closed, on simulated forges.

use super::forge::{self, REQUEST, branch, fake, is_whole, only_revisions_differ, promote};
use crate::{
    error::Class,
    forge::{Push, Repo},
    pull_request::withdraw,
    support::forge::Kind,
};

const KINDS: [Kind; 3] = [Kind::Github, Kind::Gitea, Kind::Forgejo];

#[tokio::test]
async fn pull_request_is_fetched_before_closing() {
    for kind in KINDS {
        let fake = fake(kind);
        let number = promote(&fake, REQUEST).await.unwrap().number;
        let forge = forge::forge(&fake);
        let repo = forge.repository().await.unwrap();
        let close = async || withdraw::close(&forge, &repo, number, &only_revisions_differ).await;
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
        let close_theirs = withdraw::close(&forge, &repo_of_others, number, &only_revisions_differ);
        let error = close_theirs.await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{kind:?} {error}");
        assert_eq!(fake.writes(), [""; 0], "{kind:?}");

        assert_eq!(close().await.unwrap().unwrap().number, number);
        assert!(fake.store().open_pulls().is_empty(), "{kind:?}");
    }
}
