//! Tags, page by page, and deletions that are refused.

use repin::{
    image::Digest,
    source::{Deletion, Error, ErrorKind, Remote, Source},
};

use super::{settings, source};
use crate::support::fake::{Fake, Reaction};

fn remote(fake: &Fake) -> Remote {
    let Source::Remote(remote) = source(settings(&[]), &fake.host(), "team/app") else {
        panic!("not a registry")
    };
    remote
}

async fn tags(fake: &Fake) -> Result<Vec<String>, Error> {
    Ok(remote(fake)
        .tags()
        .await?
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect())
}

#[tokio::test]
async fn pages_are_followed_to_the_last() {
    let fake = Fake::start(|request| match request.target.as_str() {
        "/v2/team/app/tags/list?n=1000" => Reaction::new(200, r#"{"tags":["b","a"]}"#)
            .with("Link", "</v2/team/app/tags/list?last=b&n=2>; rel=\"next\""),
        "/v2/team/app/tags/list?last=b&n=2" => Reaction::new(200, r#"{"tags":["c","b"]}"#),
        _ => Reaction::new(500, ""),
    });
    assert_eq!(tags(&fake).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_listing_is_complete_or_an_error() {
    let next = "</v2/team/app/tags/list?last=b>; rel=next";
    for second in [
        Reaction::new(404, ""),
        Reaction::new(500, ""),
        Reaction::new(200, "{}"),
        Reaction::new(200, "<html>"),
    ] {
        let fake = Fake::start(move |request| match request.number {
            0 => Reaction::new(200, r#"{"tags":["a"]}"#).with("Link", next),
            _ => second.clone(),
        });
        assert_eq!(tags(&fake).await.unwrap_err().kind, ErrorKind::Unavailable);
    }
    let circle = Fake::start(move |_| Reaction::new(200, r#"{"tags":["a"]}"#).with("Link", next));
    assert!(tags(&circle).await.unwrap_err().why.contains("same page"));
    let endless = Fake::start(move |request| {
        let next = format!("<?n={}>; rel=next", request.number);
        Reaction::new(200, r#"{"tags":["a"]}"#).with("Link", next)
    });
    assert!(
        tags(&endless)
            .await
            .unwrap_err()
            .why
            .contains("does not come to an end")
    );
    let large = Fake::start(|_| {
        Reaction::Flood(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec(), 400)
    });
    assert!(tags(&large).await.unwrap_err().why.contains("more than"));
}

#[tokio::test]
async fn a_registry_that_does_not_delete_says_so() {
    let body = r#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#;
    for status in [405, 400] {
        let fake = Fake::start(move |_| Reaction::new(status, body));
        let deletion = remote(&fake).delete(Digest::of(b"x")).await.unwrap();
        assert!(
            matches!(&deletion, Deletion::Refused(why) if why.contains("UNSUPPORTED")),
            "{deletion:?}"
        );
        assert_eq!(
            fake.log(),
            [format!(
                "DELETE /v2/team/app/manifests/{}",
                Digest::of(b"x")
            )]
        );
    }
    let fake = Fake::start(|_| Reaction::new(307, "").with("Location", "/elsewhere"));
    assert!(matches!(
        remote(&fake).delete(Digest::of(b"x")).await.unwrap(),
        Deletion::Refused(_)
    ));
    assert_eq!(fake.requests().len(), 1);
    let fake = Fake::start(|_| Reaction::new(403, ""));
    assert_eq!(
        remote(&fake)
            .delete(Digest::of(b"x"))
            .await
            .unwrap_err()
            .kind,
        ErrorKind::Denied
    );
}
