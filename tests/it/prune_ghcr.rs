//! `prune` and `prune restore` against GitHub's packages API.

use serde_json::{Value, json};

use crate::support::{
    Digest, date,
    forge::server::Reply,
    images::{Image, descriptor},
    packages::{Deletes, Packages, Store, TOKEN},
    scene::{Scene, days_ago, protection, tags},
};

fn image(seed: &str) -> Image {
    Image::single("amd64", seed)
}

struct HostedRepository {
    packages: Packages,
    scene: Scene,
}

impl HostedRepository {
    /// A package with a pinned version, and the versions that `fill` adds.
    fn new(scope: &'static str, block: &str, fill: impl FnOnce(&mut Store)) -> Self {
        let packages = Packages::start(scope);
        let pinned = image("pinned");
        packages.store().push(&["main"], &pinned, &days_ago(90));
        fill(&mut packages.store());
        let url = packages.url();
        let config = format!(
            "version: 1\nfiles: ['.github/workflows/*.yml']\nsources: {{ ghcr.io: '{url}' }}\n\
             images: {{ app: {{ repository: ghcr.io/acme/team/app, pins: 1 }} }}\n\
             forge: {{ kind: github, url: '{url}' }}\nprune: {{ {block} }}\n"
        );
        let scene = Scene::new(&config, "ghcr.io/acme/team/app", pinned.digest())
            .env("REPIN_FORGE_TOKEN", TOKEN);
        Self { packages, scene }
    }

    fn prune(&self, args: &[&str], exit: i32) -> Value {
        let ran = self
            .scene
            .run(&[&["prune", "--format", "json"], args].concat())
            .exits(exit);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN));
        self.packages.is_content();
        ran.json()["images"][0].clone()
    }

    /// Runs with `--apply`, which must end so, and to delete nothing.
    fn refused(&self, exit: i32, code: &str) -> Value {
        let image = self.prune(&["--apply"], exit);
        assert_eq!(image["code"], code, "{image}");
        assert_eq!(
            (&image["deleted"], self.packages.store().deleted.len()),
            (&json!([]), 0),
            "{image}"
        );
        image
    }
}

/// Two stale versions.
fn two(store: &mut Store) {
    store.push(&["pending-a"], &image("a"), &days_ago(40));
    store.push(&["pending-b"], &image("b"), &days_ago(50));
}

#[test]
fn digest_in_text_protects_its_parts() {
    let index = || Image::index(vec![image("x"), Image::single("arm64", "x")]);
    let hosted = HostedRepository::new("orgs", "untagged: true", |store| {
        two(store);
        store.push(&[], &index(), &days_ago(60));
        store.push(&["pending-split"], &image("split"), &days_ago(60));
    });
    let text = format!(
        "images:\n  - digest: {}\n  - digest: '{}'\n",
        index().digest(),
        image("split").digest().hex()
    );
    hosted.scene.write("deploy/kustomization.yaml", text);
    hosted.scene.commit("a deployment");
    let document = hosted.prune(&["--apply"], 0);
    assert_eq!(
        tags(&document["deleted"]),
        ["pending-a", "pending-b"],
        "{document}"
    );
    let report = protection(&document, "pending-split");
    assert!(report.contains("in deploy/kustomization.yaml"), "{report}");
    let rows = document["protected"].as_array().unwrap();
    let parts = rows.iter().filter(|row| {
        row["reason"]
            .as_str()
            .unwrap()
            .contains("part of the index")
    });
    assert_eq!(parts.count(), 2, "{document}");
}

#[test]
fn stale_pending_versions_can_be_restored() {
    for scope in ["orgs", "users"] {
        let hosted = HostedRepository::new(scope, "", |store| {
            two(store);
            store.push(&["pending-young"], &image("young"), &days_ago(3));
            store.push(&["pending-both", "both"], &image("both"), &days_ago(40));
            let index = Image::index(vec![image("x"), Image::single("arm64", "x")]);
            store.push(&["latest"], &index, &days_ago(60));
            // A part of a protected index, with a separate tag.
            store.tag("pending-part", Image::single("arm64", "x").digest());
            let half = Image::index(vec![image("old"), Image::single("arm64", "new")]);
            store.push(&[], &Image::single("arm64", "new"), &days_ago(2));
            store.push(&["pending-half"], &half, &days_ago(40));
            store.push(&[], &image("orphan"), &days_ago(70));
        });
        let dry = hosted.prune(&[], 0);
        assert_eq!(
            tags(&dry["candidates"]),
            ["pending-a", "pending-b"],
            "{dry}"
        );
        assert_eq!(hosted.packages.store().deleted.len(), 0);
        assert!(protection(&dry, "pending-part").contains("part of the index"));
        assert!(protection(&dry, "pending-both").contains("both is not"));
        assert_eq!(
            (&dry["young"], &dry["mixed"], &dry["listed"]),
            (&json!(2), &json!(1), &json!(12)),
            "{dry}"
        );

        let ran = hosted.scene.run(&["prune", "--apply"]).exits(0);
        let gone: Vec<_> = hosted
            .packages
            .store()
            .deleted
            .iter()
            .map(|row| row.tags.join(","))
            .collect();
        assert_eq!(gone, ["pending-b", "pending-a"], "the oldest first");
        // The line of each deletion has the command that restores the version.
        let undo = ran
            .stderr
            .lines()
            .find(|line| line.contains("tags=pending-a"))
            .unwrap();
        let undo = undo.split("undo: repin ").nth(1).unwrap();
        let dry = undo.trim_end_matches(" --apply");
        let report = hosted
            .scene
            .run(&dry.split(' ').collect::<Vec<_>>())
            .exits(0)
            .stdout;
        assert!(
            report.contains("dry run: --apply would restore"),
            "{report}"
        );
        assert_eq!(hosted.packages.store().deleted.len(), 2);
        let report = hosted
            .scene
            .run(&undo.split(' ').collect::<Vec<_>>())
            .exits(0)
            .stdout;
        assert!(
            report.contains(&image("a").digest().to_string()),
            "{report}"
        );
        assert_eq!(
            hosted.packages.store().row(image("a").digest()).tags,
            ["pending-a"]
        );
        hosted
            .scene
            .run(&[
                "prune",
                "restore",
                "--image",
                "app",
                "--version",
                "1",
                "--apply",
            ])
            .exits(1);
    }
}

#[test]
fn untagged_versions_are_deleted_only_if_unneeded() {
    let index = Image::index(vec![image("part"), Image::single("arm64", "part")]);
    let stale = Image::index(vec![image("stale"), Image::single("arm64", "stale")]);
    let subject = |of: &Image| descriptor(of.media_type, &of.manifest);
    let (note, orphan) = (
        image("note").with("subject", subject(&index)),
        image("orphan"),
    );
    let stale_note = image("stale note").with("subject", subject(&stale));
    let hosted = HostedRepository::new("orgs", "untagged: true", |store| {
        store.push(&["latest"], &index, &days_ago(60));
        for (at, untagged) in [&note, &orphan, &stale_note].into_iter().enumerate() {
            store.push(&[], untagged, &days_ago(61 + at as u64));
        }
        store.push(&["pending-stale"], &stale, &days_ago(40));
    });
    let image_row = hosted.prune(&["--apply"], 0);
    for row in image_row["deleted"].as_array().unwrap() {
        let case = if row["tags"] == json!([]) {
            "untagged, and it is "
        } else {
            "every tag is pending, and it is "
        };
        assert!(row["reason"].as_str().unwrap().starts_with(case), "{row}");
    }
    let gone: Vec<_> = hosted
        .packages
        .store()
        .deleted
        .iter()
        .map(|row| row.digest)
        .collect();
    let at = |image: &Image| {
        gone.iter()
            .position(|digest| *digest == image.digest())
            .unwrap()
    };
    assert_eq!(gone.len(), 5, "{gone:?}");
    assert!(at(&stale) < at(&image("stale")) && at(&stale) < at(&Image::single("arm64", "stale")));
    assert!(at(&stale) < at(&stale_note) && at(&orphan) < 5);
}

/// Requests to the API by purpose: pages, single versions, deletions.
fn requests(packages: &Packages) -> (usize, usize, usize) {
    let api = packages.api();
    let pages = api.iter().filter(|line| line.contains("versions?")).count();
    let deletions = api.iter().filter(|line| line.starts_with("DELETE")).count();
    (pages, api.len() - pages - deletions, deletions)
}

/// Deletes `going` of `count` versions, and compares the requests to the API with the numbers
/// in docs/decisions/0008-prune.md.
fn measured(count: usize, going: usize) {
    let hosted = HostedRepository::new("orgs", "", |store| {
        for n in 1..count {
            let tag = match n % (count / going) {
                1 => format!("pending-{n}"),
                _ => format!("kept-{n}"),
            };
            let at = days_ago(20 + n as u64 % 80);
            store.push(&[&tag], &image(&n.to_string()), &at);
        }
    });
    let image = hosted.prune(&["--apply"], 0);
    let deleted = image["deleted"].as_array().unwrap().len();
    assert_eq!((&image["listed"], deleted), (&json!(count), going));
    // Before: full pages and an empty one; then: the newest; afterwards: as before, without the
    // versions that were deleted.
    let pages = count / 100 + 1;
    let after = (count - going).div_ceil(100) + 1;
    let api = requests(&hosted.packages);
    let all = hosted.packages.store().log.len();
    let manifests = all - hosted.packages.api().len();
    assert_eq!(api, (pages + 1 + after, going, going));
    // Each version once before, each deleted version once after, and the pinned version.
    assert_eq!(manifests, count + going + 1);
    hosted.packages.forget();
    hosted.prune(&[], 0);
    assert_eq!(requests(&hosted.packages), (after, 0, 0));
}

#[test]
fn requests_of_listings_and_deletions_are_bounded() {
    measured(1_000, 10);
}

#[test]
#[ignore = "takes minutes; docs/decisions/0008-prune.md has its numbers"]
fn ten_thousand_versions_stay_within_the_budget() {
    measured(10_000, 50);
}

#[test]
fn a_full_page_without_a_link_hides_nothing() {
    // The index with `a` is the last entry of the third page, and that is full, too.
    let index = Image::index(vec![image("a"), Image::single("arm64", "a")]);
    let hosted = HostedRepository::new("orgs", "", |store| {
        store.push(&["release"], &index, &days_ago(80));
        for n in 0..295 {
            store.push(
                &[&format!("kept-{n}")],
                &image(&n.to_string()),
                &days_ago(n % 80),
            );
        }
        two(store);
        let oldest = store.row(index.digest()).id;
        let first = [image("pinned").digest(), image("a").digest()];
        store
            .versions
            .sort_by_key(|row| (row.id == oldest, !first.contains(&row.digest)));
        store.links = false;
        assert_eq!(store.versions.len(), 300);
    });
    let report = hosted.prune(&["--apply"], 0);
    assert_eq!(report["listed"], 300);
    assert_eq!(tags(&report["deleted"]), ["pending-b"], "{report}");
    assert!(
        protection(&report, "pending-a").contains("part of the index"),
        "{report}"
    );
}

#[test]
fn deletion_404_without_admin_is_no_deletion() {
    let hosted = HostedRepository::new("orgs", "", two);
    hosted.packages.store().deletes = Deletes::NotPermitted;
    // Every night the same, until someone grants it.
    for _ in 0..2 {
        let report = hosted.refused(4, "deletion_refused");
        assert!(
            report["hint"].as_str().unwrap().contains("the role Admin"),
            "{report}"
        );
        assert!(
            report["refused"]
                .as_str()
                .unwrap()
                .contains("the version still exists"),
            "{report}"
        );
    }
    let ran = hosted.scene.run(&["prune", "--apply"]).exits(4);
    assert!(!ran.stderr.contains("already deleted"), "{}", ran.stderr);
    assert_eq!(requests(&hosted.packages).2, 3, "one a run");
}

#[test]
fn accepted_deletion_without_effect_is_not_reported() {
    let hosted = HostedRepository::new("orgs", "", two);
    hosted.packages.store().deletes = Deletes::Nothing;
    hosted.refused(3, "deletion_unverified");
    assert_eq!(requests(&hosted.packages).2, 1, "no other was tried");
    // The registry may serve a manifest for a while after its version is deleted.
    let hosted = HostedRepository::new("orgs", "", two);
    let b = image("b").digest();
    let manifest = hosted.packages.store().manifests[&b].clone();
    hosted.packages.store().hook(
        &format!("GET /v2/acme/team/app/manifests/{b}"),
        move |store| {
            store.hook(&format!("GET /v2/acme/team/app/manifests/{b}"), move |_| {
                let (media_type, bytes) = manifest;
                Some(Reply {
                    status: 200,
                    headers: vec![("content-type".to_owned(), media_type)],
                    body: bytes,
                })
            });
            None
        },
    );
    let report = hosted.prune(&["--apply"], 0);
    assert_eq!(
        tags(&report["deleted"]),
        ["pending-a", "pending-b"],
        "{report}"
    );
}

/// An action after the listing and before the first deletion: the last manifest that is fetched is
/// the pinned one's.
fn meanwhile(hosted: &HostedRepository, does: impl FnOnce(&mut Store) + Send + 'static) {
    let main = image("pinned").digest();
    let part = format!("GET /v2/acme/team/app/manifests/{main}");
    hosted.packages.store().hook(&part, |store| {
        does(store);
        None
    });
}

#[test]
fn index_pushed_after_listing_keeps_its_parts() {
    let index = Image::index(vec![image("a"), Image::single("arm64", "a")]);
    let hosted = HostedRepository::new("orgs", "", two);
    meanwhile(&hosted, move |store| {
        store.push(&["v2"], &index, &days_ago(0));
    });
    let report = hosted.refused(3, "changed");
    assert!(
        report["refused"]
            .as_str()
            .unwrap()
            .contains("is protected now: part of the index"),
        "{report}"
    );
    // So does a pending index that is a candidate by the age of its parts.
    let hosted = HostedRepository::new("orgs", "", two);
    meanwhile(&hosted, |store| {
        let index = Image::index(vec![image("a"), image("b")]);
        store.push(&["pending-new"], &index, &days_ago(0));
    });
    hosted.refused(3, "changed");
    // A push that needs no candidate is permitted.
    let hosted = HostedRepository::new("orgs", "", two);
    meanwhile(&hosted, |store| {
        store.push(&["v2"], &image("new"), &days_ago(0));
    });
    assert_eq!(
        hosted.prune(&["--apply"], 0)["deleted"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // A protected version that is retagged or deleted stops.
    let retag: fn(&mut Store) = |store| store.tag("stable", image("pinned").digest());
    let remove: fn(&mut Store) = |store| store.remove(image("pinned").digest());
    for change in [retag, remove] {
        let hosted = HostedRepository::new("orgs", "", two);
        let look = format!("GET /v2/acme/team/app/manifests/{}", image("b").digest());
        hosted.packages.store().hook(&look, move |store| {
            store.hook("versions?per_page=100&page=1", move |store| {
                change(store);
                None
            });
            None
        });
        let report = hosted.prune(&["--apply"], 3);
        assert_eq!(
            (&report["code"], &report["deleted"]),
            (&json!("changed"), &json!([])),
            "{report}"
        );
    }
}

#[test]
fn new_index_keeps_unlisted_nested_parts() {
    let inner = Image::index(vec![image("a"), Image::single("arm64", "a")]);
    let hosted = HostedRepository::new("orgs", "", two);
    meanwhile(&hosted, move |store| {
        let outer = Image::index(vec![inner.clone()]);
        store.push(&["v2"], &outer, &days_ago(0));
        store.versions.retain(|row| row.digest != inner.digest());
    });
    hosted.refused(3, "changed");
}

#[test]
fn index_before_a_page_of_new_versions_counts() {
    let index = Image::index(vec![image("a"), Image::single("arm64", "a")]);
    let hosted = HostedRepository::new("orgs", "", two);
    meanwhile(&hosted, move |store| {
        store.push(&["v2"], &index, &days_ago(0));
        for n in 0..100 {
            store.push(&[&format!("new-{n}")], &image(&n.to_string()), &days_ago(0));
        }
    });
    hosted.refused(3, "changed");
}

#[test]
fn new_version_without_a_manifest_counts() {
    let unreadable = |store: &mut Store| {
        store.push(&["v2"], &image("new"), &days_ago(0));
        store.manifests.remove(&image("new").digest());
    };
    // It may need a candidate.
    let hosted = HostedRepository::new("orgs", "", two);
    meanwhile(&hosted, unreadable);
    let report = hosted.refused(3, "listing");
    let refused = report["refused"].as_str().unwrap();
    assert!(refused.contains("was pushed during the run"), "{report}");
    // After the first deletion, repin cannot determine whether a version is missing.
    let hosted = HostedRepository::new("orgs", "", two);
    hosted.packages.store().hook("DELETE", move |store| {
        unreadable(store);
        None
    });
    let report = hosted.prune(&["--apply"], 3);
    let refused = report["refused"].as_str().unwrap();
    assert!(
        refused.contains("cannot verify that protected versions"),
        "{report}"
    );
    assert_eq!(
        tags(&report["deleted"]),
        ["pending-a", "pending-b"],
        "{report}"
    );
}

#[test]
fn kept_version_without_a_manifest_is_missing() {
    let hosted = HostedRepository::new("orgs", "", |store| {
        two(store);
        store.push(&["v1"], &image("v1"), &days_ago(60));
    });
    hosted.packages.store().hook("DELETE", |store| {
        store.manifests.remove(&image("pinned").digest());
        None
    });
    let ran = hosted.scene.run(&["prune", "--apply"]).exits(1);
    let cry = "PROTECTED VERSIONS OF app ARE MISSING NOW";
    let (_, missing) = ran.stderr.split_once(cry).unwrap();
    let [main, other] = ["pinned", "v1"].map(|seed| image(seed).digest().to_string());
    assert!(missing.contains(&main), "{missing}");
    for here in [other.as_str(), "the tag v1"] {
        assert!(!missing.contains(here), "{here}: {missing}");
    }
}

#[test]
fn index_pushed_during_deletion_suggests_a_restore() {
    let index = Image::index(vec![image("b"), Image::single("arm64", "b")]);
    let hosted = HostedRepository::new("orgs", "", two);
    let id = hosted.packages.store().row(image("b").digest()).id;
    hosted.packages.store().hook("DELETE", move |store| {
        store.push(&["v2"], &index, &days_ago(0));
        None
    });
    let ran = hosted.scene.run(&["prune", "--apply"]).exits(1);
    let way = format!("repin prune restore --image app --version {id} --apply");
    assert!(
        ran.stderr
            .contains("PROTECTED VERSIONS OF app ARE MISSING NOW")
            && ran.stderr.contains(&way),
        "{}",
        ran.stderr
    );
}

#[test]
fn version_without_manifest_dangles_if_it_stays() {
    let lost = || {
        HostedRepository::new("orgs", "", |store| {
            two(store);
            store.push(&["pending-lost"], &image("lost"), &days_ago(60));
            store.manifests.remove(&image("lost").digest());
        })
    };
    let hosted = lost();
    let report = hosted.prune(&["--apply"], 0);
    assert_eq!(
        tags(&report["deleted"]),
        ["pending-a", "pending-b"],
        "{report}"
    );
    assert_eq!(report["warnings"][0]["code"], "tag_dangling", "{report}");
    assert_eq!(hosted.packages.store().left(), ["main", "pending-lost"]);
    // A protected version, and one without a tag.
    for tags in [&["v1"][..], &[]] {
        let hosted = lost();
        hosted.packages.store().row(image("lost").digest()).tags =
            tags.iter().map(ToString::to_string).collect();
        let code = if tags.is_empty() {
            "listing"
        } else {
            "tag_dangling"
        };
        hosted.refused(3, code);
    }
}

/// The parts of an untagged index without a manifest are unknown.
#[test]
fn an_untagged_version_without_a_manifest_refuses() {
    let hosted = HostedRepository::new("orgs", "untagged: true", |store| {
        two(store);
        store.push(&[], &image("lost"), &days_ago(60));
        store.manifests.remove(&image("lost").digest());
    });
    let report = hosted.refused(3, "listing");
    let refused = report["refused"].as_str().unwrap();
    assert!(refused.contains("was listed, but is missing"), "{report}");
    // The plan is not printed either.
    hosted.prune(&[], 3);
}

#[test]
fn index_without_a_platform_is_broken() {
    let lost = || Image::single("arm64", "lost");
    let index = Image::index(vec![image("kept"), lost()]);
    let hosted = HostedRepository::new("orgs", "", |store| {
        two(store);
        store.push(&["pending-broken"], &index, &days_ago(60));
        store.manifests.remove(&lost().digest());
        store.remove(lost().digest());
    });
    let document = hosted.prune(&[], 0);
    let reason = protection(&document, "pending-broken");
    assert_eq!(reason, "broken: linux/arm64 is missing");
}

#[test]
fn changing_version_without_manifest_does_not_dangle() {
    let lost = image("lost").digest();
    let refused = |does: fn(&mut Store) -> Option<Reply>| {
        let hosted = HostedRepository::new("orgs", "", |store| {
            two(store);
            store.push(&["pending-lost"], &image("lost"), &days_ago(60));
        });
        let read = format!("GET /v2/acme/team/app/manifests/{lost}");
        hosted.packages.store().hook(&read, does);
        let report = hosted.prune(&["--apply"], 3);
        let outcome = (&report["code"], &report["deleted"]);
        assert_eq!(outcome, (&json!("listing"), &json!([])), "{report}");
    };
    // Another process deletes it, tag and all.
    refused(|store| {
        store.remove(image("lost").digest());
        None
    });
    // The registry has the manifest at the second request.
    refused(|_| {
        Some(Reply::json(
            404,
            json!({"errors": [{"code": "MANIFEST_UNKNOWN"}]}),
        ))
    });
}

#[test]
fn protected_version_missing_in_second_listing_refuses() {
    let hosted = || {
        HostedRepository::new("orgs", "", |store| {
            two(store);
            for n in 0..150 {
                let at = days_ago(30 + n % 50);
                store.push(&[&format!("kept-{n}")], &image(&n.to_string()), &at);
            }
            store.push(&["pending-both", "both"], &image("both"), &days_ago(20));
        })
    };
    let gone = hosted();
    meanwhile(&gone, |store| store.remove(image("both").digest()));
    let report = gone.prune(&["--apply"], 3);
    let outcome = (&report["code"], &report["deleted"]);
    assert_eq!(outcome, (&json!("changed"), &json!([])), "{report}");
    // One that only moved to another page is still there.
    let moved = hosted();
    meanwhile(&moved, |store| {
        let at = |row: &crate::support::packages::Row| row.digest == image("both").digest();
        let at = store.versions.iter().position(at).unwrap();
        let row = store.versions.remove(at);
        store.versions.push(row);
    });
    let report = moved.prune(&["--apply"], 0);
    assert_eq!(
        tags(&report["deleted"]),
        ["pending-a", "pending-b"],
        "{report}"
    );
}

#[test]
fn version_number_of_another_digest_refuses() {
    let hosted = HostedRepository::new("orgs", "", two);
    let id = hosted.packages.store().row(image("b").digest()).id;
    let look = format!("GET /orgs/acme/packages/container/team%2Fapp/versions/{id}");
    hosted.packages.store().hook(&look, |store| {
        store.row(image("b").digest()).digest = image("other").digest();
        None
    });
    let report = hosted.refused(3, "changed");
    let now = format!("it is {} now", image("other").digest());
    assert!(
        report["refused"].as_str().unwrap().contains(&now),
        "{report}"
    );
}

#[test]
fn global_options_precede_or_follow_restore() {
    let hosted = HostedRepository::new("orgs", "", two);
    let restore = ["restore", "--image", "app", "--version", "1001"];
    for words in [
        [&["--format", "json", "prune"], &restore[..]].concat(),
        [&["prune", "--format", "json"], &restore[..]].concat(),
        [&["prune"], &restore[..], &["--format", "json"]].concat(),
    ] {
        let document = hosted.scene.run(&words).exits(0).json();
        assert_eq!(document["schema"], "repin.restore/1");
    }
    let words = [&["prune", "--apply"], &restore[..]].concat();
    let ran = hosted.scene.run(&words).exits(2);
    assert!(
        ran.stderr.contains("--apply belongs to `prune`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn nothing_pending_needs_no_manifest() {
    let hosted = HostedRepository::new("orgs", "", |store| {
        store.push(&["pending-x"], &image("x"), &days_ago(1));
    });
    hosted.packages.store().manifests.clear();
    assert_eq!(hosted.prune(&[], 0)["young"], 1);
}

#[test]
fn version_that_changes_before_deletion_stops() {
    let (a, b) = (image("a").digest(), image("b").digest());
    let at = |hosted: &HostedRepository, digest| {
        let id = hosted.packages.store().row(digest).id;
        format!("GET /orgs/acme/packages/container/team%2Fapp/versions/{id}")
    };
    // The older one, `b`, goes first; someone releases `a` meanwhile.
    let hosted = HostedRepository::new("orgs", "", two);
    let look = at(&hosted, a);
    hosted.packages.store().hook(&look, move |store| {
        store.tag("released", a);
        None
    });
    let report = hosted.prune(&["--apply"], 3);
    assert_eq!(
        (&report["code"], tags(&report["deleted"])),
        (&json!("changed"), vec!["pending-b".to_owned()]),
        "{report}"
    );
    let refused = report["refused"].as_str().unwrap();
    let now = "its tags are pending-a, released now";
    assert!(refused.contains(now), "{report}");
    assert!(
        hosted
            .packages
            .store()
            .left()
            .contains(&"released".to_owned())
    );
    // A repetition is safe, and does not delete the released version.
    assert_eq!(hosted.prune(&["--apply"], 0)["deleted"], json!([]));

    let hosted = HostedRepository::new("orgs", "", two);
    let look = at(&hosted, b);
    hosted.packages.store().hook(&look, move |store| {
        store.remove(b);
        None
    });
    let report = hosted.prune(&["--apply"], 0);
    assert_eq!(
        tags(&report["deleted"]),
        ["pending-a"],
        "a deleted version is not an error: {report}"
    );
}

#[test]
fn refusal_by_github_has_its_reason() {
    let hosted = HostedRepository::new("orgs", "", two);
    hosted.packages.store().row(image("b").digest()).downloads = 5_001;
    let report = hosted.prune(&["--apply"], 4);
    assert_eq!(
        (&report["code"], &report["deleted"]),
        (&json!("deletion_refused"), &json!([]))
    );
    assert!(
        report["refused"]
            .as_str()
            .unwrap()
            .contains("more than 5000 downloads"),
        "{report}"
    );
    // The pinned version has no tag, so a pending version is the last tagged one.
    let hosted = HostedRepository::new("orgs", "", |store| {
        store.push(&["pending-a"], &image("a"), &days_ago(40));
        store.row(image("pinned").digest()).tags.clear();
    });
    let report = hosted.prune(&["--apply"], 4);
    assert!(
        report["refused"]
            .as_str()
            .unwrap()
            .contains("last tagged version"),
        "{report}"
    );
}

#[test]
fn lost_response_is_no_second_deletion() {
    let hosted = HostedRepository::new("orgs", "", two);
    let limited = || {
        Reply::json(
            403,
            json!({"message": "You have exceeded a secondary rate limit."}),
        )
        .with("retry-after", "1")
    };
    hosted
        .packages
        .store()
        .hook("versions?per_page", move |_| Some(limited()));
    hosted
        .packages
        .store()
        .hook("DELETE", move |_| Some(limited()));
    let primary = Reply::json(403, json!({"message": "API rate limit exceeded"}))
        .with("x-ratelimit-remaining", "0");
    let primary = primary.with("x-ratelimit-reset", "1");
    hosted.packages.store().hook(
        "GET /orgs/acme/packages/container/team%2Fapp/versions/",
        move |_| Some(primary),
    );
    assert_eq!(
        hosted.prune(&["--apply"], 0)["deleted"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // The deletion happens, and its response is lost.
    let hosted = HostedRepository::new("orgs", "", two);
    let b = image("b").digest();
    hosted.packages.store().hook("DELETE", move |store| {
        store.remove(b);
        Some(Reply::json(502, json!({"message": "Server Error"})))
    });
    let ran = hosted.scene.run(&["prune", "--apply", "--quiet"]).exits(0);
    let line = ran
        .stderr
        .lines()
        .find(|line| line.starts_with("deleted ") && line.contains(&b.to_string()))
        .unwrap();
    assert!(
        line.contains("prune restore --image app --version"),
        "{line}"
    );
    assert_eq!(hosted.packages.store().left(), ["main"]);
    // Longer than the deadline of a run.
    let hosted = HostedRepository::new("orgs", "", two);
    let long =
        Reply::json(403, json!({"message": "secondary rate limit"})).with("retry-after", "3600");
    hosted.packages.store().hook("DELETE", move |_| Some(long));
    hosted.refused(3, "unavailable");
    // GitHub often states no time, and requires a minute in its documentation.
    let mut hosted = HostedRepository::new("orgs", "", two);
    hosted.scene = hosted.scene.env("REPIN_DEADLINE", "30s");
    let unnamed = Reply::json(403, json!({"message": "secondary rate limit"}));
    hosted
        .packages
        .store()
        .hook("DELETE", move |_| Some(unnamed));
    let refused = hosted.refused(3, "unavailable");
    let reason = refused["refused"].as_str().unwrap();
    assert!(
        reason.contains("past this command's deadline (REPIN_DEADLINE, 30 s)"),
        "{reason}"
    );
}

/// More than a page, so that something can happen between two.
fn pages(store: &mut Store) {
    for n in 0..150 {
        store.push(
            &[&format!("kept-{n}")],
            &image(&n.to_string()),
            &days_ago(1 + n % 80),
        );
    }
    two(store);
}

#[test]
fn changing_or_broken_listing_refuses() {
    const SECOND: &str = "versions?per_page=100&page=2";
    let broken = HostedRepository::new("orgs", "", pages);
    broken.packages.store().hook(SECOND, |_| {
        Some(Reply::json(404, json!({"message": "Not Found"})))
    });
    broken.refused(3, "unavailable");

    let pushed = HostedRepository::new("orgs", "", pages);
    pushed.packages.store().hook(SECOND, |store| {
        store.push(&["new"], &image("new"), &days_ago(0));
        None
    });
    assert!(
        pushed.refused(3, "unavailable")["refused"]
            .as_str()
            .unwrap()
            .contains("is listed twice")
    );

    // A version of a previous page is deleted, so another version is never listed; here the version
    // with the parts.
    let index = Image::index(vec![image("a"), Image::single("arm64", "a")]);
    let skipped = HostedRepository::new("orgs", "", |store| {
        pages(store);
        store.push(&["release"], &index, &days_ago(45));
        let at = store
            .versions
            .iter()
            .position(|row| row.digest == index.digest())
            .unwrap();
        let row = store.versions.remove(at);
        store.versions.insert(100, row);
    });
    skipped.packages.store().hook(SECOND, |store| {
        let first = store.versions[50].digest;
        store.remove(first);
        store.deleted.clear();
        None
    });
    assert_eq!(skipped.refused(3, "listing")["code"], "listing");

    let shrunk = HostedRepository::new("orgs", "", |store| {
        pages(store);
        for n in 200..248 {
            store.push(&[], &image(&n.to_string()), &days_ago(9));
        }
    });
    assert_eq!(shrunk.packages.store().versions.len(), 201);
    shrunk.packages.store().hook(SECOND, |store| {
        let last = store.versions[200].digest;
        store.remove(last);
        store.deleted.clear();
        None
    });
    shrunk.refused(3, "unavailable");

    for (case, row) in [
        (
            "no tags",
            json!([{"id": 1, "name": image("a").digest(), "created_at": days_ago(40), "metadata": {}}]),
        ),
        (
            "no digest",
            json!([{"id": 1, "name": "1.2", "created_at": days_ago(40), "metadata": {"container": {"tags": ["pending-a"]}}}]),
        ),
        (
            "no date",
            json!([{"id": 1, "name": image("a").digest(), "created_at": "soon", "metadata": {"container": {"tags": ["pending-a"]}}}]),
        ),
        ("no list", json!({"message": "fine"})),
    ] {
        let strange = HostedRepository::new("orgs", "", two);
        strange
            .packages
            .store()
            .hook("versions?", move |_| Some(Reply::json(200, row)));
        let image = strange.prune(&["--apply"], 3);
        assert_eq!(image["deleted"], json!([]), "{case}: {image}");
    }
}

/// The refusal of a listing of more than a page, if `meanwhile` happens just before the
/// second.
fn between_pages(
    more: usize,
    meanwhile: impl FnOnce(&mut Store) -> Option<Reply> + Send + 'static,
) -> String {
    let hosted = HostedRepository::new("orgs", "", |store| {
        pages(store);
        for n in 0..more {
            store.push(&[], &image(&format!("more {n}")), &days_ago(9));
        }
    });
    hosted
        .packages
        .store()
        .hook("versions?per_page=100&page=2", meanwhile);
    hosted.refused(3, "unavailable")["refused"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn each_sign_of_incomplete_listing_refuses() {
    // A tag goes from a version that was read to one that was not.
    let moved = between_pages(0, |store| {
        store.tag("kept-149", image("pinned").digest());
        None
    });
    assert!(
        moved.contains("two versions have the tag kept-149"),
        "{moved}"
    );
    // One comes at the end, so that there is a third page.
    let grown = between_pages(47, |store| {
        assert_eq!(store.versions.len(), 200);
        store.push(&[], &image("restored"), &days_ago(80));
        let row = store.versions.remove(0);
        store.versions.push(row);
        None
    });
    assert!(
        grown.contains("the listing had 2 pages, but page 2 reports 3"),
        "{grown}"
    );
    // A page omits a version, which could be an index that needs all others.
    let link = "<https://api.github.com/x?page=3>; rel=\"next\"";
    let short = between_pages(0, |_| Some(Reply::json(200, json!([])).with("link", link)));
    assert!(
        short.contains("has 0 entries but announces another page"),
        "{short}"
    );
}

#[test]
fn tripwires_hold_here_too() {
    let clock = HostedRepository::new("orgs", "", two);
    let ahead = std::time::SystemTime::now() - std::time::Duration::from_secs(400);
    clock.packages.store().date = Some(httpdate::fmt_http_date(ahead));
    clock.refused(3, "clock");

    let alike = HostedRepository::new("orgs", "", two);
    alike
        .packages
        .store()
        .versions
        .iter_mut()
        .for_each(|row| row.created = days_ago(40));
    alike.refused(3, "timestamps");

    let future = HostedRepository::new("orgs", "", two);
    let row = image("pinned").digest();
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_secs(4_000);
    future.packages.store().row(row).created = date(ahead);
    future.refused(3, "timestamps");

    let unpinned = HostedRepository::new("orgs", "", two);
    unpinned
        .scene
        .pin("ghcr.io/acme/team/app", Digest::of(b"nobody has it"));
    unpinned.refused(3, "pinned_missing");

    let many = HostedRepository::new("orgs", "limit: 1", two);
    many.refused(1, "limit");

    let unreadable = HostedRepository::new("orgs", "", two);
    let main = image("pinned").digest();
    unreadable
        .packages
        .store()
        .hook(&format!("/v2/acme/team/app/manifests/{main}"), |_| {
            Some(Reply::json(403, json!({})))
        });
    assert_eq!(unreadable.prune(&["--apply"], 4)["deleted"], json!([]));
}

#[test]
fn missing_protected_version_suggests_a_restore() {
    let hosted = HostedRepository::new("orgs", "", two);
    let main = image("pinned").digest();
    let id = hosted.packages.store().row(main).id;
    hosted.packages.store().hook("DELETE", move |store| {
        store.remove(main);
        None
    });
    let ran = hosted.scene.run(&["prune", "--apply"]).exits(1);
    let way = format!("repin prune restore --image app --version {id} --apply");
    assert!(
        ran.stderr
            .contains("PROTECTED VERSIONS OF app ARE MISSING NOW")
            && ran.stderr.contains(&way),
        "{}",
        ran.stderr
    );
    hosted
        .scene
        .run(&way.split(' ').skip(1).collect::<Vec<_>>())
        .exits(0);
}

#[test]
fn a_token_is_needed_and_may_be_missing() {
    let hosted = HostedRepository::new("orgs", "", two);
    for (env, exit) in [
        (("REPIN_FORGE_TOKEN", ""), 4),
        (("REPIN_FORGE_TOKEN", "wrong"), 4),
    ] {
        hosted
            .scene
            .run_with(&["prune", "--apply"], &[env])
            .exits(exit);
    }
    let skip = [
        "prune",
        "--apply",
        "--if-unconfigured",
        "skip",
        "--format",
        "json",
    ];
    let ran = hosted
        .scene
        .run_with(&skip, &[("REPIN_FORGE_TOKEN", "")])
        .exits(0);
    assert_eq!(ran.json()["images"][0]["code"], "skip");
    let absent = HostedRepository::new("nobody", "", two);
    let report = absent.refused(4, "denied");
    assert!(
        report["hint"].as_str().unwrap().contains("packages: read"),
        "{report}"
    );
    // Only GitHub has this API, so an address is sufficient unless it is another forge's.
    let named = HostedRepository::new("orgs", "", two);
    let path = named.scene.path().join("repin.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    named
        .scene
        .write("repin.yaml", text.replace("kind: github, ", ""));
    named.scene.run(&["prune"]).exits(0);
    named.scene.write(
        "repin.yaml",
        text.replace("kind: github, ", "")
            .replace("' }\nprune", "/api/v1' }\nprune"),
    );
    named.scene.run(&["prune"]).exits(2);
    absent.scene.write(
        "repin.yaml",
        std::fs::read_to_string(absent.scene.path().join("repin.yaml"))
            .unwrap()
            .replace("kind: github", "kind: gitea"),
    );
    absent.scene.run(&["prune"]).exits(2);
}

#[test]
fn a_step_gets_annotations_outputs_and_a_summary() {
    let hosted = HostedRepository::new("orgs", "", two);
    let (output, summary) = (
        hosted.scene.path().join("../out"),
        hosted.scene.path().join("summary.md"),
    );
    let env = [
        ("GITHUB_OUTPUT", "output.txt"),
        ("GITHUB_STEP_SUMMARY", "summary.md"),
    ];
    drop(output);
    let ran = hosted
        .scene
        .run_with(
            &["prune", "--apply", "--limit", "1", "--format", "github"],
            &env,
        )
        .exits(1);
    assert!(
        ran.stdout
            .contains("::error title=limit::app: 2 candidates"),
        "{}",
        ran.stdout
    );
    assert!(
        std::fs::read_to_string(&summary)
            .unwrap()
            .contains("[!CAUTION]")
    );
    let outputs = || std::fs::read_to_string(hosted.scene.path().join("output.txt")).unwrap();
    assert!(!outputs().contains("true"), "{}", outputs());
    // The output of a dry run is that of a run that deletes.
    let dry = ["prune", "--format", "github"];
    hosted.scene.run_with(&dry, &env).exits(0);
    assert!(outputs().contains("\ntrue\n"), "{}", outputs());
    std::fs::remove_file(hosted.scene.path().join("output.txt")).unwrap();
    std::fs::remove_file(&summary).unwrap();
    hosted
        .scene
        .run_with(&["prune", "--apply", "--format", "github"], &env)
        .exits(0);
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(
        text.contains("2 deleted") && text.contains("`pending-a`") && text.contains("1 protected"),
        "{text}"
    );
    let outputs = outputs();
    assert!(
        outputs.contains("kind<<") && outputs.contains("\nprune\n") && outputs.contains("\ntrue\n"),
        "{outputs}"
    );
}

#[test]
fn packages_of_another_forge_are_not_those_of_github() {
    // Without a URL, the forge is that of the remote.
    for forge in ["repository: acme/app", "kind: gitea"] {
        let config = format!(
            "version: 1\nfiles: ['.github/workflows/*.yml']\n\
             images: {{ app: {{ repository: ghcr.io/acme/team/app, pins: 1 }} }}\n\
             forge: {{ {forge} }}\nprune: {{}}\n"
        );
        let scene = Scene::new(&config, "ghcr.io/acme/team/app", image("pinned").digest())
            .env("REPIN_FORGE_TOKEN", TOKEN);
        let remote = "https://git.invalid/acme/app.git";
        scene.git(&["remote", "set-url", "origin", remote]);
        let ran = scene.run(&["prune"]).exits(2);
        assert!(
            ran.stderr.contains("set forge.kind to github"),
            "{}",
            ran.stderr
        );
    }
}
