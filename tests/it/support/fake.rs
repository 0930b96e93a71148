//! A scripted server: it sends the responses of a test, byte for byte, and records the requests.
//!
//! HTTP/1.1 without a library, because no library would send half of these responses.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A request, as received.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The number of earlier requests.
    pub(crate) number: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The reaction to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reaction {
    /// A well-formed response.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then nothing for a minute.
    Stall(Vec<u8>),
    /// These bytes, then one byte repeatedly.
    Drip(Vec<u8>, Duration),
    /// These bytes, then spaces until the client disconnects, up to a number of MiB.
    Flood(Vec<u8>, usize),
    /// The connection is reset.
    Reset,
}

impl Reaction {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.into()));
        }
        self
    }
}

/// Stops a thread that accepts connections: a process with thousands of them is slow to start
/// others.
pub(crate) struct Accepting {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Accepting {
    /// Passes on every connection, on a thread.
    pub(crate) fn each(
        listener: TcpListener,
        mut each: impl FnMut(TcpStream) + Send + 'static,
    ) -> Self {
        let accepting = Self::at(listener.local_addr().unwrap());
        let over = accepting.over();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                each(stream);
            }
        });
        accepting
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let over = Arc::default();
        Self { address, over }
    }

    /// Whether the server is stopped; the thread checks this after each connection.
    pub(crate) fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.over)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread, if it still listens.
        let _ = TcpStream::connect(self.address);
    }
}

/// The server; it accepts connections until it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    _accepting: Accepting,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
}

struct Shared<F> {
    react: F,
    requests: Arc<Mutex<Vec<Request>>>,
    open: AtomicUsize,
    busiest: Arc<AtomicUsize>,
}

impl Fake {
    pub(crate) fn start(react: impl Fn(&Request) -> Reaction + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), react)
    }

    pub(crate) fn on(
        listener: TcpListener,
        react: impl Fn(&Request) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (requests, connections, busiest) =
            <(Arc<Mutex<Vec<Request>>>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let shared = Arc::new(Shared {
            react,
            requests: Arc::clone(&requests),
            open: AtomicUsize::new(0),
            busiest: Arc::clone(&busiest),
        });
        let counter = Arc::clone(&connections);
        let accepting = Accepting::each(listener, move |stream| {
            counter.fetch_add(1, Ordering::SeqCst);
            let shared = Arc::clone(&shared);
            // Some tests disconnect the client during a response.
            thread::spawn(move || shared.serve(stream).ok());
        });
        Self {
            address,
            _accepting: accepting,
            requests,
            connections,
            busiest,
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// `METHOD PATH` of each request, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| format!("{} {}", request.method, request.path()))
            .collect()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.target.contains(part))
            .count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The maximum number of concurrent requests.
    pub(crate) fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }
}

impl<F: Fn(&Request) -> Reaction> Shared<F> {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(mut request) = read(&mut reader)? {
            {
                let mut requests = self.requests.lock().unwrap();
                request.number = requests.len();
                requests.push(request.clone());
            }
            let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.busiest.fetch_max(open, Ordering::SeqCst);
            let done = self.react(&mut stream, &request);
            self.open.fetch_sub(1, Ordering::SeqCst);
            if !done? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the connection stays open.
    fn react(&self, stream: &mut TcpStream, request: &Request) -> std::io::Result<bool> {
        match (self.react)(request) {
            Reaction::Answer {
                status,
                headers,
                body,
            } => {
                let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    write!(head, "{name}: {value}\r\n").unwrap();
                }
                stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat())?;
                return Ok(request.header("connection") != Some("close"));
            }
            Reaction::Raw(bytes) => stream.write_all(&bytes)?,
            Reaction::Stall(bytes) => {
                stream.write_all(&bytes)?;
                // Until the other side hangs up.
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                let _ = stream.read(&mut [0]);
            }
            Reaction::Drip(bytes, pause) => {
                stream.write_all(&bytes)?;
                loop {
                    stream.write_all(b" ")?;
                    thread::sleep(pause);
                }
            }
            Reaction::Flood(bytes, mebibytes) => {
                stream.write_all(&bytes)?;
                let chunk = vec![b' '; 1024 * 1024];
                for _ in 0..mebibytes {
                    stream.write_all(&chunk)?;
                }
            }
            Reaction::Reset => reset(stream),
        }
        Ok(false)
    }
}

/// Closing with lingering off sends a reset instead of an end.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        target,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        number: 0,
    }))
}

/// A server of one private repository, `acme/app`: it serves the files of a `.git` directory to the user of a token.
pub(crate) fn private_repository(files: std::path::PathBuf, token: &str) -> Fake {
    let login = STANDARD.encode(format!("x-access-token:{token}"));
    repository(files, Some(format!("Basic {login}")), 0)
}

/// A server of the same files, for every user, which is unavailable for the first requests.
pub(crate) fn late_repository(files: std::path::PathBuf, failures: usize) -> Fake {
    repository(files, None, failures)
}

fn repository(files: std::path::PathBuf, authorization: Option<String>, failures: usize) -> Fake {
    Fake::start(move |request| {
        if request.number < failures {
            return Reaction::new(503, "");
        }
        let Some(path) = request.path().strip_prefix("/acme/app.git/") else {
            return Reaction::new(404, "{}");
        };
        let found = request.header("authorization");
        if authorization.is_some() && found != authorization.as_deref() {
            return Reaction::new(401, "").with("www-authenticate", "Basic realm=\"git\"");
        }
        match std::fs::read(files.join(path)) {
            Ok(content) => Reaction::new(200, content),
            Err(_) => Reaction::new(404, ""),
        }
    })
}
