//! The kinds of fault, as data: the behavior on the wire, and the exit code.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a path to the method is not general enough over its lifetime"
)]

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    certificates::Serves,
    proxy::{Answer, Exchange},
};

/// A kind of fault.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) at: Where,
    pub(crate) means: Means,
    /// The fault of a request, if the request is sent.
    pub(crate) act: fn(Exchange<'_>) -> io::Result<()>,
}

/// Where on the way a fault is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// No process listens on the port.
    Listener,
    /// These bytes, then the end, instead of the server's part of the handshake.
    Handshake(&'static [u8]),
    Certificate(Serves),
    /// Within TLS that otherwise is as it should be.
    Encrypted,
    Http,
}

/// The effect of a fault on the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// None: the response is valid.
    Nothing,
    /// Temporary: retried, then unavailable (3).
    MayPass,
    /// Unusable bytes, or a status without a meaning: unavailable (3).
    Unusable,
    /// None or unusable: only some requests depend on the changed part.
    Doubtful,
    /// Credentials or permissions (4).
    Denied,
    /// The same, unless the place that it leads to is no use either (3).
    DeniedElsewhere,
    /// A statement that a server may make and that decides something: any exit but 0.
    Verdict,
    /// A limit: the server requests a time for the retry that exceeds the deadline of a run (3).
    Limit,
}

impl Kind {
    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self.at, Where::Listener | Where::Http)
    }

    /// Whether the fault always applies to all requests from one on.
    pub(crate) fn is_lasting(&self) -> bool {
        self.at == Where::Listener || self.is_slow()
    }

    /// Whether a run takes as long as an attempt may take in all, which no setting shortens.
    pub(crate) fn is_slow(&self) -> bool {
        self.name == "endless drip"
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.name.starts_with("silence")
    }
}

const fn http(name: &'static str, means: Means, act: fn(Exchange<'_>) -> io::Result<()>) -> Kind {
    Kind {
        name,
        at: Where::Http,
        means,
        act,
    }
}

const fn tls(name: &'static str, at: Where) -> Kind {
    Kind {
        name,
        at,
        means: Means::Unusable,
        act: |exchange| exchange.end(),
    }
}

use Means::{Denied, DeniedElsewhere, Doubtful, Limit, MayPass, Nothing, Unusable, Verdict};

pub(crate) static KINDS: &[Kind] = &[
    // Connections.
    Kind {
        name: "connection refused",
        at: Where::Listener,
        means: MayPass,
        act: |exchange| exchange.end(),
    },
    http("reset before the response", MayPass, |e| e.reset()),
    http("reset inside the head", MayPass, |mut e| {
        e.send("HTTP/1.1 200 OK\r\nContent-Ty")?;
        e.reset()
    }),
    http("reset inside the body", MayPass, |e| half(e, |e| e.reset())),
    http("closed without a response", MayPass, |e| e.end()),
    http("silence before the response", MayPass, |e| e.hold()),
    http("silence inside the head", MayPass, |mut e| {
        e.send("HTTP/1.1 200 OK\r\nContent-Ty")?;
        e.hold()
    }),
    http("silence inside the body", MayPass, |e| {
        half(e, |e| e.hold())
    }),
    http("finite drip", Nothing, |mut e| {
        let bytes = e.answer()?.bytes();
        for part in bytes.chunks(bytes.len().div_ceil(20)) {
            e.send(part)?;
            thread::sleep(Duration::from_millis(20));
        }
        e.end()
    }),
    http("endless drip", Unusable, |mut e| {
        e.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
        loop {
            e.send(" ")?;
            thread::sleep(Duration::from_millis(500));
        }
    }),
    // Lengths.
    http("body shorter than its length", MayPass, |e| {
        half(e, |e| e.end())
    }),
    http("body longer than its length", Nothing, |mut e| {
        let mut bytes = e.answer()?.bytes();
        bytes.extend(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        e.send(bytes)?;
        e.end()
    }),
    http("length too large", Doubtful, |e| {
        length(e, |true_one| (true_one + 7).to_string())
    }),
    http("length too small", Unusable, |e| {
        length(e, |true_one| (true_one / 2).to_string())
    }),
    http("length that is no number", MayPass, |e| {
        length(e, |_| "many".to_owned())
    }),
    http("length below zero", MayPass, |e| {
        length(e, |_| "-1".to_owned())
    }),
    http("length beyond any memory", Unusable, |mut e| {
        e.send("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n{")?;
        e.end()
    }),
    http("two lengths", MayPass, |mut e| {
        let answer = e.answer()?;
        let first = answer.with("Content-Length", "3");
        let second = Answer {
            head: first.head + "\r\nContent-Length: 4",
            body: first.body,
        };
        e.send(second.bytes())?;
        e.end()
    }),
    http("broken chunk", MayPass, |mut e| {
        e.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")?;
        e.end()
    }),
    http("chunks without an end", MayPass, |mut e| {
        let answer = e.answer()?.without("Content-Length");
        let answer = answer.with("Transfer-Encoding", "chunked");
        let (bytes, half) = (answer.bytes(), answer.body.len() / 2);
        let (head, body) = bytes.split_at(bytes.len() - answer.body.len());
        let size = format!("{half:x}\r\n");
        // The correct beginning, so that the client can fetch the remaining bytes; the body has no
        // last chunk.
        if half == 0 {
            e.send(head)?;
        } else {
            e.send([head, size.as_bytes(), &body[..half], b"\r\n"].concat())?;
        }
        e.end()
    }),
    // Bodies of a success.
    http("nothing", Unusable, |e| page(e, "application/json", "")),
    http("HTML", Unusable, |e| {
        page(e, "text/html", "<html><body>Sign in</body></html>")
    }),
    http("no JSON", Unusable, |e| {
        page(e, "application/json", "{\"sha\": \"0123\", ")
    }),
    http("another shape", Unusable, |e| {
        page(e, "application/json", r#"{"unexpected": [true]}"#)
    }),
    http("a number", Unusable, |e| page(e, "application/json", "42")),
    http("null", Unusable, |e| page(e, "application/json", "null")),
    http("list of null", Unusable, |e| {
        page(e, "application/json", "[null]")
    }),
    http("fields that are null", Unusable, |e| rewritten(e, &nulls)),
    http("fields of another type", Unusable, |e| {
        rewritten(e, &other_types)
    }),
    http("deep JSON", Unusable, |e| {
        page(e, "application/json", "[".repeat(200_000))
    }),
    http("wide list", Unusable, |e| {
        page(e, "application/json", wide("[", "0", "]", 30))
    }),
    http("wide object", Unusable, |e| {
        let (begin, end) = ("{\"name\": \"acme/app\", \"tags\": [", "]}");
        page(e, "application/json", wide(begin, "\"a\"", end, 15))
    }),
    http("wide errors", Unusable, |e| {
        page(
            e,
            "application/json",
            wide("{\"errors\": [", "{}", "]}", 30),
        )
    }),
    http("no UTF-8", Unusable, |e| {
        page(e, "application/json", b"{\"name\": \"\xff\xfe\"}")
    }),
    http("huge body", Unusable, |mut e| {
        e.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{")?;
        let spaces = vec![b' '; 1024 * 1024];
        for _ in 0..1024 {
            e.send(&spaces)?;
        }
        e.end()
    }),
    http("huge head", MayPass, |mut e| {
        e.send(format!(
            "HTTP/1.1 200 OK\r\nX-Long: {}\r\n",
            "x".repeat(4 << 20)
        ))?;
        e.send("Content-Length: 2\r\n\r\n{}")?;
        e.end()
    }),
    http("many fields", MayPass, |mut e| {
        let fields = (0..50_000).fold(String::new(), |mut fields, n| {
            write!(fields, "X-{n}: {n}\r\n").unwrap();
            fields
        });
        e.send(format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n{{}}"
        ))?;
        e.end()
    }),
    http("gzip bomb", Unusable, |mut e| {
        let body = bomb();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip";
        e.send(format!("{head}\r\nContent-Length: {}\r\n\r\n", body.len()))?;
        e.send(body)?;
        e.end()
    }),
    http("unknown encoding", Unusable, |mut e| {
        let body = "\u{1b}\u{3}\u{0}\u{0}";
        e.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))?;
        e.end()
    }),
    http("a partial body (206)", Unusable, |e| {
        status(e, "206 Partial Content", "Content-Range: bytes 0-1/100\r\n")
    }),
    // Heads.
    http("interim responses", Nothing, |mut e| {
        e.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")?;
        true_answer(e)
    }),
    http("another protocol (101)", Unusable, |mut e| {
        e.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: rubbish\r\nConnection: upgrade\r\n\r\n\0\0\0")?;
        e.end()
    }),
    http("HTTP/1.0", Nothing, |mut e| {
        let mut answer = e.answer()?;
        answer.head = answer.head.replacen("HTTP/1.1", "HTTP/1.0", 1);
        let answer = answer.without("Connection");
        e.send(answer.bytes())?;
        e.end()
    }),
    http("HTTP of no version", MayPass, |mut e| {
        e.send("HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
        e.end()
    }),
    http("no HTTP", MayPass, |mut e| {
        e.send("SSH-2.0-OpenSSH_9.2\r\n\r\n")?;
        e.end()
    }),
    http("two types", Doubtful, |mut e| {
        let mut answer = e.answer()?;
        let kind = answer
            .field("Content-Type")
            .unwrap_or("text/plain")
            .to_owned();
        write!(answer.head, "\r\nContent-Type: {kind}").unwrap();
        e.send(answer.bytes())?;
        e.end()
    }),
    http("another digest", Doubtful, |mut e| {
        let other = format!("sha256:{}", "0".repeat(64));
        let answer = e.answer()?.with("Docker-Content-Digest", &other);
        e.send(answer.bytes())?;
        e.end()
    }),
    http("1970", Doubtful, |mut e| {
        let answer = e.answer()?.with("Date", "Thu, 01 Jan 1970 00:00:00 GMT");
        e.send(answer.bytes())?;
        e.end()
    }),
    // Redirects.
    http("redirect loop", Unusable, |e| {
        let target = e.request.target.clone();
        redirect(e, &target)
    }),
    http("redirect to another host", Unusable, |e| {
        let place = e.elsewhere() + &e.request.target;
        redirect(e, &place)
    }),
    http("redirect nowhere", Unusable, |e| status(e, "302 Found", "")),
    http("redirect to a file", Unusable, |e| {
        redirect(e, "file:///etc/passwd")
    }),
    http("redirect with credentials", Unusable, |e| {
        let sent = percent(&e.request.authorization);
        let place = format!(
            "{}/?sent={sent}",
            e.elsewhere().replace("//", "//user:word@")
        );
        redirect(e, &place)
    }),
    // Statuses.
    http("400", Verdict, |e| status(e, "400 Bad Request", "")),
    http("401", Denied, |e| status(e, "401 Unauthorized", "")),
    http("401 with a challenge", DeniedElsewhere, |e| {
        let base = e.base().to_owned();
        status(
            e,
            "401 Unauthorized",
            &format!(
                "WWW-Authenticate: Bearer realm=\"{base}/token\",service=\"registry\",error=\"invalid_token\"\r\n"
            ),
        )
    }),
    http("401 with another host", DeniedElsewhere, |e| {
        let realm = e.elsewhere();
        status(
            e,
            "401 Unauthorized",
            &format!("WWW-Authenticate: Bearer realm=\"{realm}/token\",service=\"registry\"\r\n"),
        )
    }),
    http("401 with rubbish", Denied, |e| {
        status(
            e,
            "401 Unauthorized",
            "WWW-Authenticate: Bearer realm=\"\r\n",
        )
    }),
    http("403", Denied, |e| status(e, "403 Forbidden", "")),
    http("404", Verdict, |e| status(e, "404 Not Found", "")),
    http("405", Verdict, |e| status(e, "405 Method Not Allowed", "")),
    http("409", Verdict, |e| status(e, "409 Conflict", "")),
    http("410", Verdict, |e| status(e, "410 Gone", "")),
    http("418", Verdict, |e| status(e, "418 X", "")),
    http("422", Verdict, |e| {
        status(e, "422 Unprocessable Entity", "")
    }),
    http("451", Verdict, |e| status(e, "451 X", "")),
    http("408", MayPass, |e| status(e, "408 Request Timeout", "")),
    http("429", Limit, |e| status(e, "429 Too Many Requests", "")),
    http("429 for a second", Limit, |e| {
        status(e, "429 Too Many Requests", "Retry-After: 1\r\n")
    }),
    http("429 for ever", Unusable, |e| {
        status(
            e,
            "429 Too Many Requests",
            "Retry-After: 99999999999999999999\r\n",
        )
    }),
    http("429 until 9999", Unusable, |e| {
        status(
            e,
            "429 Too Many Requests",
            "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
        )
    }),
    http("429 until 1970", Limit, |e| {
        status(
            e,
            "429 Too Many Requests",
            "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        )
    }),
    http("429 until never", Limit, |e| {
        status(
            e,
            "429 Too Many Requests",
            "Retry-After: Mon, 99 Foo 20x6\r\n",
        )
    }),
    http("500", MayPass, |e| {
        status(e, "500 Internal Server Error", "")
    }),
    http("502", MayPass, |e| status(e, "502 Bad Gateway", "")),
    http("503", MayPass, |e| status(e, "503 Service Unavailable", "")),
    http("503 for ever", Unusable, |e| {
        status(e, "503 Service Unavailable", "Retry-After: 31536000\r\n")
    }),
    http("504", MayPass, |e| status(e, "504 Gateway Timeout", "")),
    http("done, then 502", MayPass, |e| {
        e.answer()?;
        status(e, "502 Bad Gateway", "")
    }),
    http("done, then closed", MayPass, |e| {
        e.answer()?;
        e.end()
    }),
    // TLS.
    tls("expired certificate", Where::Certificate(Serves::Expired)),
    tls(
        "certificate of tomorrow",
        Where::Certificate(Serves::NotYetValid),
    ),
    tls(
        "certificate of another name",
        Where::Certificate(Serves::WrongName),
    ),
    tls(
        "self-signed certificate",
        Where::Certificate(Serves::SelfSigned),
    ),
    tls(
        "unknown authority",
        Where::Certificate(Serves::UnknownAuthority),
    ),
    tls("closed in the handshake", Where::Handshake(b"")),
    tls(
        "plain HTTP",
        Where::Handshake(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    ),
    tls(
        "protocol too old (alert)",
        Where::Handshake(&[21, 3, 1, 0, 2, 2, 70]),
    ),
    tls("protocol too old (TLS 1.0)", Where::Handshake(TLS_1_0)),
    tls(
        "rubbish in the handshake",
        Where::Handshake(b"\x16\x03\x03\x00\x05rubbi"),
    ),
    Kind {
        name: "cut off within TLS",
        at: Where::Encrypted,
        means: MayPass,
        act: |mut e| {
            // The body has no length and no proper end.
            let answer = e.answer()?.without("Content-Length");
            let half = answer.body.len() / 2;
            e.send([answer.head.as_bytes(), b"\r\n\r\n", &answer.body[..half]].concat())?;
            e.end()
        },
    },
    Kind {
        name: "rubbish within TLS",
        at: Where::Encrypted,
        means: MayPass,
        act: |e| {
            let mut socket = e.stream.socket();
            socket.write_all(&[23, 3, 3, 0, 32])?;
            socket.write_all(&[7; 32])?;
            e.end()
        },
    },
];

/// A `ServerHello` that chooses TLS 1.0 (RFC 2246, section 7.4.1.3).
const TLS_1_0: &[u8] = &[
    22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
    9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0xc0, 0x13, 0,
];

fn true_answer(mut exchange: Exchange<'_>) -> io::Result<()> {
    let bytes = exchange.answer()?.bytes();
    exchange.send(bytes)?;
    exchange.end()
}

/// The real response without half of its body, or without the last byte of an empty one.
fn half(mut exchange: Exchange<'_>, then: fn(Exchange<'_>) -> io::Result<()>) -> io::Result<()> {
    let answer = exchange.answer()?;
    let (bytes, cut) = (answer.bytes(), answer.body.len() / 2 + 1);
    exchange.send(&bytes[..bytes.len() - cut])?;
    then(exchange)
}

fn length(mut exchange: Exchange<'_>, of: fn(usize) -> String) -> io::Result<()> {
    let answer = exchange.answer()?;
    let length = of(answer.body.len());
    let answer = answer.with("Content-Length", &length);
    exchange.send(answer.bytes())?;
    exchange.end()
}

/// A success that the real server never sent.
fn page(mut exchange: Exchange<'_>, media_type: &str, body: impl AsRef<[u8]>) -> io::Result<()> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}");
    exchange.send([head.as_bytes(), b"\r\nConnection: close\r\n\r\n", body].concat())?;
    exchange.end()
}

/// The real response with another document, or `None` if the body is not a document.
fn rewritten(mut exchange: Exchange<'_>, change: &dyn Fn(&mut Value)) -> io::Result<()> {
    let mut answer = exchange.answer()?;
    let mut document = serde_json::from_slice(&answer.body).unwrap_or_default();
    change(&mut document);
    answer.body = document.to_string().into();
    let length = answer.body.len().to_string();
    exchange.send(answer.with("Content-Length", &length).bytes())?;
    exchange.end()
}

fn each(document: &mut Value, change: &dyn Fn(&mut Value)) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each(field, change)),
        leaf => change(leaf),
    }
}

fn nulls(document: &mut Value) {
    each(document, &|leaf| *leaf = Value::Null);
    if let Value::Array(items) = document {
        items.push(Value::Null);
    }
}

fn other_types(document: &mut Value) {
    each(document, &|leaf| {
        *leaf = match leaf {
            Value::String(_) => json!({"is": [1, 2]}),
            Value::Number(_) => json!("NaN"),
            Value::Bool(_) => json!(2.5),
            _ => json!([]),
        }
    });
    if let Value::Array(items) = document {
        items.push(json!("text"));
    }
}

fn redirect(exchange: Exchange<'_>, place: &str) -> io::Result<()> {
    status(
        exchange,
        "307 Temporary Redirect",
        &format!("Location: {place}\r\n"),
    )
}

/// A response that contains the request in every form, like that of a careless server.
fn status(mut exchange: Exchange<'_>, status: &str, fields: &str) -> io::Result<()> {
    let sent = &exchange.request.authorization;
    let secret = sent.split_once(' ').map_or("", |(_, secret)| secret);
    let known = STANDARD.decode(secret).unwrap_or_default();
    let known = String::from_utf8_lossy(&known).into_owned();
    let forms = [
        sent.clone(),
        percent(sent),
        percent(&known),
        STANDARD.encode(secret),
        known,
    ];
    let said = format!("you sent {}", forms.join(" and "));
    let body =
        json!({"message": said, "errors": [{"code": "BAD", "message": said, "detail": said}]});
    let (body, shown) = (body.to_string(), percent(secret));
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}X-Sent: {secret} {shown}\r\nContent-Type: application/json"
    );
    let length = body.len();
    exchange.send(format!(
        "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))?;
    exchange.end()
}

/// Every character but letters and digits percent-encoded.
pub(crate) fn percent(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

/// A MiB that becomes 256, once unpacked.
fn bomb() -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1024 * 1024];
    for _ in 0..256 {
        packed.write_all(&spaces).unwrap();
    }
    packed.finish().unwrap()
}

/// `mib` MiB of small values in one list.
fn wide(begin: &str, item: &str, end: &str, mebibytes: usize) -> String {
    let count = (mebibytes << 20) / (item.len() + 1);
    format!("{begin}{}{item}{end}", format!("{item},").repeat(count - 1))
}
