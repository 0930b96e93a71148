//! A simulated GitHub for `benches/compare`: a promotion in a full clone of its repository.

use std::{io::BufRead, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    forge::{Kind, TOKEN},
    hosted::hosted,
    world::REV_B,
};

/// The response time of a server that is not near.
const LATENCY: Duration = Duration::from_millis(20);

#[test]
#[ignore = "benches/compare runs it"]
fn serve_a_forge() {
    let (world, fake) = hosted(Kind::Github, "labels: []");
    let url = format!("{}/acme/flows.git", fake.server.url());
    let login = STANDARD.encode(format!("x-access-token:{TOKEN}"));
    let header = format!("http.extraHeader=Authorization: Basic {login}");
    world.git(&["init", "-q", "-b", "main"]);
    world.git(&["remote", "add", "origin", &url]);
    world.git(&["-c", &header, "fetch", "-q", "origin"]);
    world.git(&["reset", "-q", "--hard", "origin/main"]);
    fake.delay(LATENCY);
    let api = fake.api();
    println!(
        "serving {} {api} {TOKEN} {login} {REV_B}",
        world.root().display()
    );
    // Each line of the caller removes the pull requests with their branches.
    for _ in std::io::stdin().lock().lines() {
        let mut store = fake.store();
        store.pulls.clear();
        store.refs.retain(|branch, _| branch == "main");
        drop(store);
        println!("ready");
    }
}
