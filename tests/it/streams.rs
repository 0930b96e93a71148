//! HTTP/2: a registry that offers it gets more requests at once than one that does not.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use h2::server::SendResponse;
use tokio_rustls::TlsAcceptor;

use crate::{
    faults::certificates::{Certificates, Serves},
    support::world::{REV_B, world},
};

/// Images of the set, and requests of the run: none of them has the tag.
const IMAGES: usize = 20;
/// The number of concurrent requests before the first response, more than over HTTP/1.1.
const OPEN: usize = 16;

/// A registry without images: it responds to the first request, and then to none before [`OPEN`] of
/// them are open, or no other one came for five seconds.
struct Registry {
    address: SocketAddr,
    /// The most requests that were open at once.
    most: Arc<Mutex<usize>>,
}

impl Registry {
    fn start(certificates: &Certificates) -> Self {
        let mut tls = (*certificates.config(Serves::Trusted)).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (listening, address) = mpsc::channel();
        let most = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&most);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                listening.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    // A client that was not sure of HTTP/2 may open connections that it does not use.
                    let Ok(stream) = acceptor.accept(socket).await else {
                        continue;
                    };
                    let Ok(connection) = h2::server::handshake(stream).await else {
                        continue;
                    };
                    serve(connection, &seen).await;
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            most,
        }
    }
}

type Stream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

async fn serve(mut connection: h2::server::Connection<Stream, bytes::Bytes>, most: &Mutex<usize>) {
    let mut open = Vec::new();
    let mut answered = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(5), connection.accept()).await;
        match next {
            Ok(Some(Ok((_, respond)))) => open.push(respond),
            Ok(None | Some(Err(_))) => return,
            Err(_) if open.is_empty() => return,
            Err(_) => answered += OPEN,
        }
        let mut most = most.lock().unwrap();
        *most = open.len().max(*most);
        if answered == 0 || answered >= OPEN || open.len() >= OPEN {
            answered += open.len();
            open.drain(..).for_each(not_found);
        }
    }
}

fn not_found(mut respond: SendResponse<bytes::Bytes>) {
    let response = http::Response::builder().status(404).body(()).unwrap();
    let body = respond.send_response(response, false);
    // The run may have finished.
    if let Ok(mut body) = body {
        let _ = body.send_data(bytes::Bytes::from_static(b"{}"), true);
    }
}

fn configuration(directory: &Path) {
    let image = |at| format!("  i{at}: {{ repository: ghcr.io/acme/i{at}, pins: 1 }}\n");
    let images: String = (0..IMAGES).map(image).collect();
    let text = format!("version: 1\nname: images\nfiles: ['*.yml']\nimages:\n{images}");
    fs::write(directory.join("repin.yaml"), text).unwrap();
}

#[test]
fn shared_connection_allows_more_concurrent_requests() {
    let world = world();
    configuration(world.root());
    let authority = world.path("ca.pem");
    let registry = Registry::start(&Certificates::issue(&authority));
    let source = format!(
        "ghcr.io/acme=https://localhost:{}/acme",
        registry.address.port()
    );
    let args = ["resolve", "--revision", REV_B, "--source", &source];
    let ran = world.run_with(&args, &[("REPIN_CA_FILE", authority.to_str().unwrap())]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(*registry.most.lock().unwrap() >= OPEN, "{}", ran.stderr);
}
