//! Tags, page by page, and deletions that are refused.

use super::{settings, source};
use crate::{
    base::error::{Class, Error},
    oci::{
        Digest,
        registry::{Deletion, Remote, Source},
    },
    support::fake::{Fake, Reaction},
};

fn remote(fake: &Fake) -> Remote {
    let Source::Remote(remote) = source(settings(&[]), &fake.host(), "team/app") else {
        panic!("not a registry")
    };
    remote
}

async fn tags(fake: &Fake) -> Result<Vec<String>, Error> {
    Ok(remote(fake)
        .tags_with_clock()
        .await?
        .tags
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
        "/v2/team/app/tags/list?last=b&n=2" => Reaction::new(200, r#"{"tags":["b","c"]}"#),
        "/v2/team/app/tags/list?n=1000&last=c" => Reaction::new(200, r#"{"tags":[]}"#),
        _ => Reaction::new(500, ""),
    });
    assert_eq!(tags(&fake).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(fake.requests().len(), 3);
}

/// `Link` is optional (OCI distribution specification 1.1, "Listing Tags"); a page of exactly `n`
/// tags without it is no end.
#[tokio::test]
async fn full_page_without_a_link_is_followed() {
    let all: Vec<String> = (0..100_000).map(|n| format!("t{n:06}")).collect();
    for linked in [true, false] {
        let all = all.clone();
        let fake = Fake::start(move |request| {
            let last = request.target.split("last=").nth(1).unwrap_or_default();
            let from = all.partition_point(|tag| tag.as_str() <= last);
            let page = &all[from..all.len().min(from + 1_000)];
            let body = format!("{{\"tags\":{page:?}}}");
            let reaction = Reaction::new(200, body);
            match page.last().filter(|_| linked && from + 1_000 < all.len()) {
                Some(last) => reaction.with(
                    "Link",
                    format!("</v2/team/app/tags/list?n=1000&last={last}>; rel=\"next\""),
                ),
                None => reaction,
            }
        });
        assert_eq!(tags(&fake).await.unwrap().len(), 100_000);
        assert_eq!(
            fake.requests().len(),
            101,
            "100 full pages, and one that is empty"
        );
    }
}

/// docker-registry 2.8.2 and Google's registries ignore `n` and `last`.
#[tokio::test]
async fn repeated_page_completes_the_listing() {
    let fake = Fake::start(|_| Reaction::new(200, r#"{"tags":["b","a"]}"#));
    assert_eq!(tags(&fake).await.unwrap(), ["a", "b"]);
    assert_eq!(fake.requests().len(), 2);
    // A missing second response leads to an incomplete listing.
    let fake = Fake::start(|request| match request.number {
        0 => Reaction::new(200, r#"{"tags":["b","a"]}"#),
        _ => Reaction::new(404, ""),
    });
    assert_eq!(tags(&fake).await.unwrap_err().class, Class::Unavailable);
}

#[tokio::test]
async fn foreign_or_cyclic_links_are_refused() {
    let elsewhere = Fake::start(|_| Reaction::new(200, r#"{"tags":["stolen"]}"#));
    let host = elsewhere.host();
    for link in [
        format!("<http://{host}/v2/team/app/tags/list>; rel=\"next\""),
        format!("<//{host}/v2/team/app/tags/list>; rel=\"next\""),
        "<https://evil.example/v2/team/app/tags/list>; rel=\"next\"".to_owned(),
    ] {
        let fake = Fake::start(move |_| {
            Reaction::new(200, r#"{"tags":["a"]}"#).with("Link", link.clone())
        });
        let error = tags(&fake).await.unwrap_err();
        assert!(error.message.contains("another host"), "{error}");
        assert_eq!(fake.requests().len(), 1);
    }
    assert_eq!(elsewhere.requests().len(), 0);
    // Two pages that link to one another.
    let circle = Fake::start(|request| {
        let (tag, next) = if request.target.contains("last=b") {
            ("b", "a")
        } else {
            ("a", "b")
        };
        let link = format!("</v2/team/app/tags/list?last={next}>; rel=next");
        Reaction::new(200, format!("{{\"tags\":[\"{tag}\"]}}")).with("Link", link)
    });
    let error = tags(&circle).await.unwrap_err();
    assert!(error.message.contains("no new tag"), "{error}");
    assert_eq!(circle.requests().len(), 102);
}

#[tokio::test]
async fn listing_is_complete_or_an_error() {
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
        assert_eq!(tags(&fake).await.unwrap_err().class, Class::Unavailable);
    }
    let circle = Fake::start(move |_| Reaction::new(200, r#"{"tags":["a"]}"#).with("Link", next));
    assert!(
        tags(&circle)
            .await
            .unwrap_err()
            .message
            .contains("same page")
    );
    let endless = Fake::start(move |request| {
        let next = format!("<?n={}>; rel=next", request.number);
        Reaction::new(200, r#"{"tags":["a"]}"#).with("Link", next)
    });
    assert!(
        tags(&endless)
            .await
            .unwrap_err()
            .message
            .contains("does not end")
    );
    let large = Fake::start(|_| {
        Reaction::Flood(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec(), 400)
    });
    assert!(
        tags(&large)
            .await
            .unwrap_err()
            .message
            .contains("more than")
    );
}

#[tokio::test]
async fn registry_without_deletion_is_reported() {
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
    let fake = Fake::start(|_| Reaction::new(307, "").with("Location", "/other"));
    let redirected = remote(&fake).delete(Digest::of(b"x")).await.unwrap_err();
    assert_eq!(redirected.class, Class::Unavailable);
    assert_eq!(fake.requests().len(), 1);
    let fake = Fake::start(|_| Reaction::new(403, ""));
    let forbidden = remote(&fake).delete(Digest::of(b"x")).await.unwrap();
    assert!(
        matches!(&forbidden, Deletion::Forbidden(error) if error.class == Class::Denied),
        "{forbidden:?}"
    );
}
