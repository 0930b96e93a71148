//! A minimal HTTP/1.1 server on a loopback port: one request for each connection.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use serde_json::Value;

use crate::support::fake::Accepting;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// As it came.
    pub target: String,
    /// Decoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Of JSON; otherwise null.
    pub body: Value,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub struct Server {
    address: std::net::SocketAddr,
    _accepting: Accepting,
}

impl Server {
    /// Responds with the result of `handle`; `None`: the connection is closed.
    pub fn start(handle: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handle = Arc::new(handle);
        let accepting = Accepting::each(listener, move |stream| {
            let handle = Arc::clone(&handle);
            thread::spawn(move || serve(&stream, &*handle));
        });
        Self {
            address,
            _accepting: accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(stream: &TcpStream, handle: &dyn Fn(&Asked) -> Option<Reply>) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let Some(reply) = handle(&asked) else { return };
        let mut text = format!(
            "HTTP/1.1 {} X\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend(&reply.body);
        let mut stream = stream;
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let url = reqwest::Url::parse(&format!("http://x{target}")).ok()?;
    let query = url.query_pairs().into_owned().collect();
    let is_git = headers
        .iter()
        .any(|(name, value)| name == "content-type" && value.starts_with("application/x-git-"));
    let body = if bytes.is_empty() || is_git {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    Some(Asked {
        method,
        target,
        path: decoded(url.path()),
        query,
        headers,
        body,
        bytes,
    })
}

pub fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The request without the path of its server; `None` if it is for another server.
    pub fn below(&self, server: &str) -> Option<Self> {
        let strip = |text: &str| Some(text.strip_prefix(server)?.to_owned());
        Some(Self {
            path: strip(&self.path)?,
            target: strip(&self.target)?,
            ..self.clone()
        })
    }

    /// Whether git requests a file of a repository.
    pub fn is_git(&self) -> bool {
        self.path.contains(".git/")
    }

    /// The path after that of a repository that git requests.
    pub fn git_service(&self) -> Option<&str> {
        let (_, service) = self.path.split_once(".git/")?;
        let known = ["info/refs", "git-upload-pack", "git-receive-pack"];
        known.contains(&service).then_some(service)
    }

    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Whether the path has this suffix; a word of the GraphQL query follows `#`, a part of the query string `?`.
    pub fn is_at(&self, place: &str) -> bool {
        let (path, word) = place.split_once('#').unwrap_or((place, ""));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let is_asked = query.is_empty() || self.target.ends_with(query);
        self.path.ends_with(path) && is_asked && self.text("query").contains(word)
    }

    /// GraphQL queries are sent as POST, too.
    pub fn is_write(&self) -> bool {
        let is_fetch = self.path.ends_with("git-upload-pack");
        self.method != "GET" && !is_fetch && !self.text("query").starts_with("query")
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        for (at, (name, value)) in self.query.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl Reply {
    #[allow(clippy::needless_pass_by_value)]
    pub fn json(status: u16, body: Value) -> Self {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        Self {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}
