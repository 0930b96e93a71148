//! A server in front of real ones that lets requests through until one of them meets a fault.
//!
//! Each connection carries one request, so that a TLS fault, which precedes the
//! request, belongs to exactly one of them.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    certificates::{Certificates, Serves},
    kinds::{Kind, Where},
};
use crate::support::fake::{Accepting, Fake, Reaction};

/// The URL of the proxy in headers of the real servers.
pub(crate) const UPSTREAM: &str = "http://upstream.invalid";

/// A request as it came, and its head taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) authorization: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// Whether git sends it, not repin.
    pub(crate) fn is_of_git(&self) -> bool {
        self.target.contains(".git/")
    }
}

/// A response: its head without the empty line, and its body as on the wire.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A fault, and the request that it meets.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) kind: &'static Kind,
    /// The first request that meets it, from 1.
    pub(crate) at: usize,
    /// Whether every later request meets it, too.
    pub(crate) lasting: bool,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: Accepting,
}

struct Shared {
    base: String,
    /// Prefixes of paths with their servers.
    routes: Mutex<Vec<(String, String)>>,
    plan: Mutex<Option<Plan>>,
    count: AtomicUsize,
    log: Mutex<Vec<String>>,
    hit: Mutex<Option<Request>>,
    secrets: Mutex<BTreeSet<String>>,
    certificates: Option<Arc<Certificates>>,
    /// Another host, to which some faults lead.
    elsewhere: Fake,
}

/// A request with a fault, a function for the real response, and the connection.
pub(crate) struct Exchange<'e> {
    pub(crate) request: &'e Request,
    pub(crate) stream: &'e mut dyn Stream,
    shared: &'e Shared,
}

/// A connection that a fault can treat badly.
pub(crate) trait Stream: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

impl Proxy {
    /// Listens, with TLS if there are certificates.
    pub(crate) fn start(certificates: Option<Arc<Certificates>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let base = match certificates {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let page = Reaction::new(200, "<html>sign in</html>").with("Content-Type", "text/html");
        let shared = Arc::new(Shared {
            base,
            routes: Mutex::default(),
            plan: Mutex::default(),
            count: AtomicUsize::new(0),
            log: Mutex::default(),
            hit: Mutex::default(),
            secrets: Mutex::default(),
            certificates,
            elsewhere: Fake::start(move |_| page.clone()),
        });
        let behind = Arc::clone(&shared);
        let accepting = Accepting::at(address);
        let over = accepting.over();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let number = behind.count.fetch_add(1, Ordering::SeqCst) + 1;
                let plan = behind
                    .plan
                    .lock()
                    .unwrap()
                    .filter(|plan| plan.meets(number));
                // Closed before the next accept, so that later connections are refused.
                if let Some(Plan { kind, at, .. }) = *behind.plan.lock().unwrap()
                    && kind.at == Where::Listener
                    && number + 1 >= at
                {
                    if number + 1 == at {
                        drop(listener);
                        behind.serve(stream, None).ok();
                    }
                    return;
                }
                let shared = Arc::clone(&behind);
                // These tests are about disconnected clients, so this is expected.
                thread::spawn(move || shared.serve(stream, plan).ok());
            }
        });
        Self {
            address,
            shared,
            _accepting: accepting,
        }
    }

    /// Where it is, as clients call it.
    pub(crate) fn base(&self) -> String {
        self.shared.base.clone()
    }

    /// Host and port, as clients call them.
    pub(crate) fn host(&self) -> String {
        self.shared.base.split_once("//").unwrap().1.to_owned()
    }

    pub(crate) fn route(&self, path: &str, host: &str) {
        let host = host.trim_start_matches("http://").to_owned();
        self.shared
            .routes
            .lock()
            .unwrap()
            .push((path.to_owned(), host));
    }

    /// Restarts the count with another plan.
    pub(crate) fn arm(&self, plan: Option<Plan>) {
        *self.shared.plan.lock().unwrap() = plan;
        *self.shared.hit.lock().unwrap() = None;
        self.shared.count.store(0, Ordering::SeqCst);
        self.shared.log.lock().unwrap().clear();
    }

    /// The requests since, as `METHOD target`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The first request that met the fault; none where TLS failed before it was sent.
    pub(crate) fn hit(&self) -> Option<Request> {
        self.shared.hit.lock().unwrap().clone()
    }

    /// Every credential that was ever sent or handed out here.
    pub(crate) fn secrets(&self) -> BTreeSet<String> {
        self.shared.secrets.lock().unwrap().clone()
    }

    /// All bytes that clients sent to the other host.
    pub(crate) fn elsewhere(&self) -> String {
        format!("{:?}", self.shared.elsewhere.requests())
    }
}

impl Plan {
    fn meets(&self, number: usize) -> bool {
        number == self.at || self.lasting && number > self.at
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, plan: Option<Plan>) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        stream.set_write_timeout(Some(Duration::from_secs(90)))?;
        let Some(certificates) = &self.certificates else {
            return self.talk(stream, plan);
        };
        let serves = match plan.map(|plan| plan.kind.at) {
            Some(Where::Handshake(bytes)) => {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 4096])?;
                return stream.write_all(bytes);
            }
            Some(Where::Certificate(serves)) => serves,
            _ => Serves::Trusted,
        };
        let tls = rustls::ServerConnection::new(certificates.config(serves)).unwrap();
        self.talk(rustls::StreamOwned::new(tls, stream), plan)
    }

    fn talk(&self, mut stream: impl Stream, plan: Option<Plan>) -> io::Result<()> {
        let Some(request) = read(&mut stream)? else {
            return Ok(());
        };
        let line = format!("{} {}", request.method, request.target);
        self.log.lock().unwrap().push(line);
        self.learn(&request.authorization);
        let Some(Plan { kind, .. }) = plan else {
            let answer = self.forward(&request)?;
            stream.write_all(&answer.bytes())?;
            return end(&mut stream);
        };
        self.hit
            .lock()
            .unwrap()
            .get_or_insert_with(|| request.clone());
        let exchange = Exchange {
            request: &request,
            stream: &mut stream,
            shared: self,
        };
        (kind.act)(exchange)
    }

    fn learn(&self, authorization: &str) {
        let Some((_, secret)) = authorization.split_once(' ') else {
            return;
        };
        self.secrets.lock().unwrap().insert(secret.to_owned());
    }

    /// The real response.
    fn forward(&self, request: &Request) -> io::Result<Answer> {
        let routes = self.routes.lock().unwrap().clone();
        let route = routes
            .iter()
            .find(|(path, _)| request.target.starts_with(path));
        let Some((_, server)) = route else {
            return Ok(Answer {
                head: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close".to_owned(),
                body: Vec::new(),
            });
        };
        let mut server = TcpStream::connect(server)?;
        let head = request.head.trim_end().to_owned() + "\r\nConnection: close\r\n\r\n";
        server.write_all(&[head.as_bytes(), &request.body].concat())?;
        let (head, mut body) = head_of(&mut server)?;
        match field(&head, "content-length").and_then(|length| length.parse().ok()) {
            _ if request.method == "HEAD" => {}
            Some(length) => {
                let mut rest = vec![0; usize::saturating_sub(length, body.len())];
                server.read_exact(&mut rest)?;
                body.extend(rest);
            }
            None if head.contains(" 204 ") || head.contains(" 304 ") => {}
            None => drop(server.read_to_end(&mut body)?),
        }
        let kept = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
        let lines: Vec<_> = head.trim_end().split("\r\n").filter(kept).collect();
        let head = lines.join("\r\n").replace(UPSTREAM, &self.base) + "\r\nConnection: close";
        Ok(Answer { head, body })
    }
}

impl Exchange<'_> {
    /// The real response; the call sends the request.
    pub(crate) fn answer(&self) -> io::Result<Answer> {
        self.shared.forward(self.request)
    }

    pub(crate) fn base(&self) -> &str {
        &self.shared.base
    }

    /// Another host.
    pub(crate) fn elsewhere(&self) -> String {
        format!("http://{}", self.shared.elsewhere.host())
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    pub(crate) fn end(self) -> io::Result<()> {
        end(self.stream)
    }

    /// Until the other side hangs up.
    #[expect(clippy::unnecessary_wraps, reason = "all kinds have one signature")]
    pub(crate) fn hold(self) -> io::Result<()> {
        let _ = self.stream.read(&mut [0]);
        Ok(())
    }

    /// Closing with lingering off sends a reset instead of an end.
    pub(crate) fn reset(self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(
            self.stream.socket(),
            Some(Duration::ZERO),
        )?)
    }
}

impl Answer {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n\r\n", &self.body].concat()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The same without a field.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let named = |line: &&str| {
            let key = line.split(':').next().unwrap_or_default();
            !key.eq_ignore_ascii_case(name)
        };
        let lines: Vec<_> = self.head.split("\r\n").filter(named).collect();
        self.head = lines.join("\r\n");
        self
    }

    /// The same with another value of a field.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        let mut answer = self.without(name);
        answer.head.extend(["\r\n", name, ": ", value]);
        answer
    }
}

/// Closes the sending side; the other side may still be sending, which must not reset the
/// connection.
fn end(stream: &mut (impl Stream + ?Sized)) -> io::Result<()> {
    stream.flush()?;
    stream.socket().shutdown(std::net::Shutdown::Write)?;
    let socket = stream.socket();
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut socket = socket;
    while socket.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

fn read(stream: &mut impl Stream) -> io::Result<Option<Request>> {
    let (head, mut body) = head_of(stream)?;
    if head.is_empty() {
        return Ok(None);
    }
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        let mut more = vec![0; length - body.len()];
        let count = stream.read(&mut more)?;
        if count == 0 {
            return Ok(None);
        }
        body.extend(&more[..count]);
    }
    let mut words = head.split(' ').map(str::to_owned);
    Ok(Some(Request {
        method: words.next().unwrap(),
        target: words.next().unwrap(),
        authorization: field(&head, "authorization").unwrap_or_default().to_owned(),
        head,
        body,
    }))
}

/// All lines of a head, and the received part of the body; `None` at the end of a connection.
fn head_of(stream: &mut (impl Read + ?Sized)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        let mut more = [0; 4096];
        let count = stream.read(&mut more)?;
        if count == 0 {
            return Ok((String::new(), Vec::new()));
        }
        bytes.extend(&more[..count]);
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}
