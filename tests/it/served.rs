//! A simulated GitHub for `benches/compare`: a promotion in a clone of its repository.

use std::{env, io::BufRead, path::Path, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    forge::{Kind, TOKEN},
    hosted::hosted,
    world::REV_B,
};

/// The bare repository below whose branch `main` the served one begins. The clone is shallow then.
const HISTORY: &str = "SERVED_HISTORY";

/// The response time of a server that is not near.
const LATENCY: Duration = Duration::from_millis(20);

#[test]
#[ignore = "benches/compare runs it"]
fn serve_a_forge() {
    let (world, fake) = hosted(Kind::Github, "labels: []");
    let history = env::var_os(HISTORY);
    if let Some(history) = &history {
        let history = Path::new(history);
        let mut git = Command::new("git");
        git.arg("-C").arg(history).args(["rev-parse", "main"]);
        let tip = String::from_utf8(git.output().unwrap().stdout).unwrap();
        fake.store().build_upon(history, tip.trim());
    }
    let url = format!("{}/acme/flows.git", fake.server.url());
    let login = STANDARD.encode(format!("x-access-token:{TOKEN}"));
    let header = format!("http.extraHeader=Authorization: Basic {login}");
    world.git(&["init", "-q", "-b", "main"]);
    world.git(&["remote", "add", "origin", &url]);
    let mut fetch = vec!["-c", &*header, "fetch", "-q", "origin"];
    fetch.extend(history.map(|_| "--depth=1"));
    world.git(&fetch);
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
