//! A Gitea with a few commits on a loopback port, for unit tests.

mod closing;
mod forge;
mod opening;
mod reconcile;
mod waiting;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    base::{http::Transport, untrusted::Secrets},
    forge::{Forge, Kind, MergeMethod, Settings, Sign, Target, Token, Tree, TreeEntry, blob_id},
};

/// Commits by their ids, and branches with the commits that the base does not contain: a server that
/// returns exactly these, since the simulated forges refuse what a real one would refuse.
#[derive(Default, Clone)]
pub(super) struct Commits {
    pub(super) trees: BTreeMap<String, Tree>,
    contents: BTreeMap<String, String>,
    /// The heads of branches.
    pub(super) branches: BTreeMap<String, String>,
    /// The response to every comparison.
    pub(super) comparison: Value,
}

/// A client of the server, and the ids of the blobs that it requested.
pub(super) struct Client {
    pub(super) forge: Forge,
    pub(super) blobs: Arc<Mutex<Vec<String>>>,
}

impl Commits {
    /// Adds a commit with these files, and with a symlink to a path that resembles a pin.
    pub(super) fn with(mut self, commit: &str, files: &[(&str, &str)]) -> Self {
        self.trees.insert(commit.to_owned(), Tree::default());
        self = self
            .with_file(commit, "link", "x@1")
            .with_mode(commit, "link", "120000");
        for (path, text) in files {
            self = self.with_file(commit, path, text);
        }
        self
    }

    pub(super) fn with_file(mut self, commit: &str, path: &str, text: &str) -> Self {
        let id = blob_id(text.as_bytes(), "");
        self.contents.insert(id.clone(), text.to_owned());
        let mode = "100644".to_owned();
        let tree = self.trees.get_mut(commit).unwrap();
        tree.entries.insert(path.to_owned(), TreeEntry { mode, id });
        self
    }

    pub(super) fn with_mode(mut self, commit: &str, path: &str, mode: &str) -> Self {
        let tree = self.trees.get_mut(commit).unwrap();
        mode.clone_into(&mut tree.entries.get_mut(path).unwrap().mode);
        self
    }

    /// Starts a server with these commits.
    pub(super) fn serve(&self) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target {
            kind: Kind::Gitea,
            api: format!("http://{}", listener.local_addr().unwrap())
                .parse()
                .unwrap(),
            owner: "acme".to_owned(),
            name: "flows".to_owned(),
        };
        let blobs = Arc::<Mutex<Vec<String>>>::default();
        let (commits, requested) = (self.clone(), Arc::clone(&blobs));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                commits.respond(&connection, &requested);
            }
        });
        let timeout = Duration::from_secs(10);
        let transport = Transport::new(None, |_| None, &Secrets::default(), timeout).unwrap();
        let settings = Settings {
            attempts: 1,
            ..Settings::new(transport, SystemTime::now)
        };
        let token = Token::parse("token").unwrap();
        let forge = Forge::new(&target, token, settings, MergeMethod::Auto, Sign::Auto).unwrap();
        Client { forge, blobs }
    }

    /// Responds to one request and closes the connection.
    fn respond(&self, mut connection: &TcpStream, requested: &Mutex<Vec<String>>) {
        let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
        let Some(request) = lines.next() else { return };
        let headers = lines.take_while(|line| !line.is_empty());
        headers.for_each(drop);
        let path = request.split([' ', '?']).nth(1).unwrap();
        let body = match path.strip_prefix("/repos/acme/flows/").unwrap() {
            path if path.starts_with("compare/") => self.comparison.clone(),
            path => {
                let (kind, id) = path.trim_start_matches("git/").split_once('/').unwrap();
                match kind {
                    "trees" => self.tree(id),
                    "blobs" => {
                        requested.lock().unwrap().push(id.to_owned());
                        json!({"content": STANDARD.encode(&self.contents[id]), "encoding": "base64"})
                    }
                    _ => json!({"commit": {"id": self.branches[id]}}),
                }
            }
        };
        let body = body.to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n");
        write!(connection, "{head}\r\n{body}").unwrap();
    }

    fn tree(&self, commit: &str) -> Value {
        let entries = self.trees[commit].entries.iter();
        let rows: Vec<Value> = entries
            .map(|(path, entry)| {
                json!({"path": path, "mode": entry.mode, "type": "blob", "sha": entry.id})
            })
            .collect();
        json!({"sha": commit, "tree": rows})
    }
}
