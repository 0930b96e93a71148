//! Responses of GitHub and Gitea: a server on a loopback port sends the bytes of the input, and the
//! clients' errors must be safe to show.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::runtime::Runtime;

use crate::{
    base::{
        error::Error,
        http::{SharedDeadline, Transport},
        untrusted::Secrets,
    },
    forge::{
        Forge, Item, Kind, MergeMethod, Package, PullState, Pulls, Settings, Sign, Target, Token,
    },
};

/// A token as the clients send it; a server may return it in a response.
const TOKEN: &str = "s3cr3t-token-of-the-fuzzer";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// How long one call may wait for a rate limit that never ends.
const PATIENCE: Duration = Duration::from_millis(100);
/// The maximum number of requests of one call to which the server sends the same response.
const ENDLESS: usize = 1_100;

/// The server's responses, and the number of requests.
#[derive(Default)]
struct Script {
    answers: Vec<Vec<u8>>,
    asked: usize,
}

struct World {
    runtime: Runtime,
    script: Arc<Mutex<Script>>,
    github: Forge,
    gitea: Forge,
    gitlab: Forge,
    package: Package,
    time: SharedDeadline,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(Script::default()));
        let served = Arc::clone(&script);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let script = Arc::clone(&served);
                std::thread::spawn(move || serve(&connection, &script));
            }
        });
        let progress = Duration::from_secs(10);
        let transport = Transport::new(None, |_| None, &Secrets::default(), progress).unwrap();
        let time = SharedDeadline::new(PATIENCE, "the target");
        let settings = || Settings {
            time: time.clone(),
            attempts: 1,
            backoff: Duration::from_millis(1),
            limit_pause: Duration::from_millis(1),
            ..Settings::new(transport.clone(), SystemTime::now)
        };
        let target = |kind, path: &str| Target {
            kind,
            api: format!("http://127.0.0.1:{port}{path}").parse().unwrap(),
            owner: "acme".to_owned(),
            name: "flows".to_owned(),
        };
        let token = || Token::parse(TOKEN).unwrap();
        let forge = |target: &Target| {
            Forge::new(target, token(), settings(), MergeMethod::Auto, Sign::Auto).unwrap()
        };
        let github = target(Kind::Github, "/");
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            script,
            github: forge(&github),
            gitea: forge(&target(Kind::Gitea, "/api/v1")),
            gitlab: forge(&target(Kind::Gitlab, "/api/v4")),
            package: Package::new(&github.api, "acme", "app", token(), settings()).unwrap(),
            time,
        }
    }
}

/// Answers each request with the next part of the script, and repeats the last one. A part may
/// begin with a status.
fn serve(mut connection: &TcpStream, script: &Mutex<Script>) {
    let mut requests = BufReader::new(connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).is_ok_and(|read| read > 0) {
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line.is_empty() {
                    break;
                }
            } else {
                return;
            }
        }
        let mut body = vec![0; length];
        if requests.read_exact(&mut body).is_err() {
            return;
        }
        let answer = {
            let mut script = script.lock().unwrap();
            script.asked += 1;
            let at = script.asked.min(script.answers.len()).saturating_sub(1);
            script.answers.get(at).cloned().unwrap_or_default()
        };
        let statuses = [
            "201", "204", "302", "304", "400", "403", "404", "405", "409", "422",
        ];
        let status = statuses
            .iter()
            .find(|status| answer.starts_with(status.as_bytes()));
        let body = status.map_or(answer.as_slice(), |status| &answer[status.len()..]);
        let status = status.unwrap_or(&"200");
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
        let none = matches!(*status, "204" | "304");
        let head = if none {
            head + "\r\n"
        } else {
            format!("{head}content-length: {length}\r\n\r\n")
        };
        let sent = [head.as_bytes(), if none { b"" } else { body }].concat();
        if connection.write_all(&sent).is_err() {
            return;
        }
    }
}

/// The first byte selects the forge, the second the call; the rest are the responses, separated by
/// NULs.
pub fn forge(input: &[u8]) {
    let [kind, question, answers @ ..] = input else {
        return;
    };
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(World::new);
        *world.script.lock().unwrap() = Script {
            answers: answers
                .split(|byte| *byte == 0)
                .map(<[u8]>::to_vec)
                .collect(),
            asked: 0,
        };
        let forge: &Forge = match kind % 4 {
            3 => &world.gitlab,
            1 => &world.github,
            _ => &world.gitea,
        };
        world.time.restart();
        let asked = world
            .runtime
            .block_on(ask(forge, &world.package, *question));
        if let Err(error) = asked {
            check_error(&error);
        }
        assert!(world.script.lock().unwrap().asked <= ENDLESS);
    });
}

/// Checks that an error is safe to show: it has neither the token nor hidden characters, and a bounded
/// length.
fn check_error(error: &Error) {
    let shown = format!("{error} {:?}", error.help);
    assert!(!shown.contains(TOKEN), "{shown}");
    assert!(shown.len() < 4_000, "{shown}");
    let hidden = |c: char| crate::base::untrusted::is_hidden(c);
    assert!(!shown.contains(hidden), "{shown:?}");
}

async fn ask(forge: &Forge, package: &Package, question: u8) -> Result<(), Error> {
    match question % 16 {
        0 => drop(forge.repository().await?),
        1 => drop(forge.branch("main").await?),
        2 => {
            let pulls = forge.pulls(Pulls::Open).await?;
            assert!(pulls.iter().all(|pull| pull.state == PullState::Open));
        }
        3 => {
            let pulls = forge.pulls(Pulls::Closed("auto/x")).await?;
            let right = |pull: &crate::forge::Pull| pull.own && pull.head == "auto/x";
            assert!(
                pulls
                    .iter()
                    .all(|pull| right(pull) && pull.state != PullState::Open)
            );
        }
        4 => drop(forge.pull(7).await?),
        5 => drop(forge.comments(Item::Pull(7)).await?),
        6 => drop(forge.statuses(COMMIT, None).await?),
        7 => drop(forge.required_contexts("main").await?),
        8 => drop(forge.issues().await?),
        9..=11 => drop(forge.commit_signer("main", &[], None).await?),
        12 => drop(forge.commit("main").await?),
        13 => drop(forge.poll(7, None).await?),
        14 => {
            let versions = package.versions(&|_| ()).await?;
            let mut digests: Vec<_> = versions.all.iter().map(|version| version.digest).collect();
            digests.sort();
            digests.dedup();
            assert_eq!(digests.len(), versions.all.len());
        }
        _ => drop(package.version(7).await?),
    }
    Ok(())
}
