//! A real registry: docker-registry on a free loopback port, and tools that push to it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Digest, images::Image};

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "s3cret-Passw0rd";
/// bcrypt of [`PASSWORD`].
const HTPASSWD: &str = "robot:$2b$05$abcdefghijklmnopqrstuugcO5vo4i5a2aa/W7eUDccAcfGbEhsYO\n";

/// How a registry is protected.
pub(crate) enum Protection<'a> {
    None,
    /// Nothing can be deleted.
    Undeletable,
    Password,
    /// A token server's realm, and the file with the certificate of its key.
    Token {
        realm: &'a str,
        certificate: &'a Path,
    },
    /// Files with certificate and key.
    Tls {
        certificate: &'a Path,
        key: &'a Path,
    },
}

/// A running registry; it stops when dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// Starts a registry on the storage in `directory`, which may already exist.
    pub(crate) fn start(directory: &Path, protection: &Protection<'_>) -> Self {
        let extra = match protection {
            Protection::None | Protection::Undeletable | Protection::Tls { .. } => String::new(),
            Protection::Password => {
                let file = directory.join("htpasswd");
                fs::write(&file, HTPASSWD).unwrap();
                format!(
                    "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                    file.display()
                )
            }
            Protection::Token { realm, certificate } => format!(
                "auth: {{token: {{realm: \"{realm}\", service: registry, issuer: issuer, rootcertbundle: {}}}}}\n",
                certificate.display()
            ),
        };
        let tls = if let Protection::Tls { certificate, key } = protection {
            format!(
                ", tls: {{certificate: {}, key: {}}}",
                certificate.display(),
                key.display()
            )
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\n\
             storage: {{filesystem: {{rootdirectory: {}/data}}, delete: {{enabled: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: x{tls}}}\n{extra}",
            directory.display(),
            !matches!(protection, Protection::Undeletable)
        );
        let file = directory.join(format!("config-{}.yml", config.len()));
        fs::write(&file, config).unwrap();
        Self::run(&file)
    }

    fn run(config: &Path) -> Self {
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .env_remove("OTEL_TRACES_EXPORTER")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(
                "these tests need docker-registry: `apt-get install docker-registry skopeo umoci`",
            );
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().unwrap(), &log);
        collect(child.stderr.take().unwrap(), &log);
        let end = Instant::now() + Duration::from_secs(30);
        let host = loop {
            let lines = log.lock().unwrap().clone();
            let found = lines
                .iter()
                .find_map(|line| line.split("listening on ").nth(1).map(str::to_owned));
            if let Some(rest) = found {
                break rest.split([',', '"']).next().unwrap().to_owned();
            }
            assert!(
                Instant::now() < end && child.try_wait().unwrap().is_none(),
                "no registry: {lines:?}"
            );
            thread::sleep(Duration::from_millis(5));
        };
        Self { child, host, log }
    }

    /// `METHOD PATH STATUS` of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        // The log is written just after the response.
        thread::sleep(Duration::from_millis(100));
        let lines = self.log.lock().unwrap().clone();
        let request = |line: &String| {
            let (_, rest) = line.split_once("] \"")?;
            let (request, rest) = rest.split_once("\" ")?;
            let mut words = request.split(' ');
            Some(format!(
                "{} {} {}",
                words.next()?,
                words.next()?,
                rest.split(' ').next()?
            ))
        };
        lines.iter().filter_map(request).collect()
    }

    /// The complete log of the registry.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Pushes an image without another tool.
    pub(crate) async fn push(&self, name: &str, tag: &str, image: &Image) {
        let client = reqwest_client();
        let base = format!("http://{}/v2/{name}", self.host);
        for (digest, bytes) in image.blobs() {
            client.blob(&base, &digest.to_string(), bytes).await;
        }
        for manifest in image.manifests() {
            let reference = if manifest.digest() == image.digest() {
                tag.to_owned()
            } else {
                manifest.digest().to_string()
            };
            let content = (manifest.media_type, manifest.manifest.clone());
            client.manifest(&base, &reference, content).await;
        }
    }
}

impl Registry {
    /// Pushes a whole layout: every blob, every manifest, every tag.
    pub(crate) async fn push_layout(&self, name: &str, directory: &Path) {
        let client = reqwest_client();
        let base = format!("http://{}/v2/{name}", self.host);
        let mut manifests = Vec::new();
        for file in fs::read_dir(directory.join("blobs/sha256")).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let digest = Digest::of(&bytes).to_string();
            client.blob(&base, &digest, bytes.clone()).await;
            let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if let Some(kind) = document["mediaType"]
                .as_str()
                .filter(|kind| kind.contains("image"))
            {
                manifests.push((kind.to_owned(), digest, bytes));
            }
        }
        // Indexes are pushed after their manifests.
        manifests.sort_by_key(|(kind, ..)| kind.contains("index"));
        for (kind, digest, bytes) in manifests {
            client.manifest(&base, &digest, (&kind, bytes)).await;
        }
        let index = fs::read(directory.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        for entry in index["manifests"].as_array().unwrap() {
            let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let Some(tag) = tag else { continue };
            let hex = entry["digest"]
                .as_str()
                .unwrap()
                .trim_start_matches("sha256:");
            let bytes = fs::read(directory.join("blobs/sha256").join(hex)).unwrap();
            let kind = entry["mediaType"].as_str().unwrap();
            client.manifest(&base, tag, (kind, bytes)).await;
        }
    }
}

/// Pushes an image of a world's layouts without a change, over any earlier one of the tag.
pub(crate) fn push_layout(images: &Path, registry: &Registry, image: &str, tag: &str) {
    let from = format!("oci:{}:{tag}", images.join(image).display());
    let to = format!("docker://{}/acme/{image}:{tag}", registry.host);
    let flags = [
        "-q",
        "--all",
        "--preserve-digests",
        "--insecure-policy",
        "--dest-tls-verify=false",
    ];
    run("skopeo", &[&["copy"], &flags[..], &[&from, &to]].concat());
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The process may have finished.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl std::io::Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

struct Pusher(reqwest::Client);

fn reqwest_client() -> Pusher {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    Pusher(
        reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()
            .unwrap(),
    )
}

impl Pusher {
    async fn blob(&self, base: &str, digest: &str, bytes: Vec<u8>) {
        let begun = self.post(&format!("{base}/blobs/uploads/"), None).await;
        let location = begun.1.expect("an upload has a place");
        let join = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{join}digest={digest}");
        let put = self.put(&url, ("application/octet-stream", bytes)).await;
        assert_eq!(put.0, 201, "blob {digest}");
    }

    async fn manifest(&self, base: &str, reference: &str, manifest: (&str, Vec<u8>)) {
        let url = format!("{base}/manifests/{reference}");
        let put = self.put(&url, manifest).await;
        assert_eq!(put.0, 201, "manifest {reference}: {}", put.1);
    }

    async fn post(&self, url: &str, body: Option<Vec<u8>>) -> (u16, Option<String>) {
        let answer = self
            .0
            .post(url)
            .body(body.unwrap_or_default())
            .send()
            .await
            .unwrap();
        let location = answer
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location)
    }

    async fn put(&self, url: &str, (kind, body): (&str, Vec<u8>)) -> (u16, String) {
        let answer = self
            .0
            .put(url)
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Runs a program that the tests need.
pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| {
        panic!("these tests need {program}: `apt-get install {program}` ({error})")
    });
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A `config.json` with an `auths` entry for `host`; `DOCKER_CONFIG` must be the directory.
pub(crate) fn docker_config(
    directory: &Path,
    host: &str,
    (user, password): (&str, &str),
) -> PathBuf {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let config = serde_json::json!({"auths": {host: {"auth": auth}}});
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    directory.to_owned()
}
