//! An authority for tests: certificates, their transparency log, a log of signatures, timestamps.
//!
//! It issues the documents of Fulcio, Rekor and a timestamp server, for the verifier: RFC 5280
//! and 6962 (certificates and the promise in them), Rekor's `dsse` and `hashedrekord` entries with
//! signed promise, inclusion proof and checkpoint, RFC 3161 tokens. Keys are fixed, and so is every
//! time; only the nonces of signatures differ.

pub mod der;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use der::{
    bits, boolean, explicit, generalized_time, integer, name, octets, oid, sequence, set, tlv,
    utc_time, utf8,
};

/// When everything is signed: 2024-06-01T12:00:00Z.
pub const NOW: i64 = 1_717_243_200;
/// The workflow that signs.
pub const WORKFLOW: &str = "https://github.com/acme/runtime/.github/workflows/build.yml";
pub const SOURCE: &str = "https://github.com/acme/runtime";
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
pub const SLSA: &str = "https://slsa.dev/provenance/v1";

const YEAR: i64 = 365 * 86_400;
const ECDSA: &str = "1.2.840.10045.4.3.2";
const FULCIO: &str = "1.3.6.1.4.1.57264.1";

/// A key pair on P-256.
pub struct Key(EcdsaKeyPair);

/// The signer, the runner, the subject and the time of a signature.
#[derive(Clone)]
pub struct Signing {
    pub identity: String,
    pub issuer: String,
    pub source: Option<String>,
    pub commit: Option<String>,
    pub runner: Option<String>,
    /// The ref of the source, and the event that started the build.
    pub source_ref: Option<String>,
    pub trigger: Option<String>,
    pub time: i64,
    /// The permitted uses of the certificate.
    pub usage: &'static str,
    /// Who issues the certificate, and who vouches for it.
    pub ca: &'static str,
    pub ct: Option<&'static str>,
    /// Who records the signature, and who stamps it.
    pub log: Option<&'static str>,
    pub stamp: Option<&'static str>,
}

impl Key {
    /// The key with this name in `keys.txt`.
    pub fn named(name: &str) -> Self {
        let keys = include_str!("keys.txt").lines();
        let mut keys = keys.filter_map(|line| line.split_once(' '));
        let (_, key) = keys
            .find(|(of, _)| *of == name)
            .expect("a key with this name");
        let key = STANDARD.decode(key).unwrap();
        let chance = SystemRandom::new();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &chance).unwrap())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }

    /// The public key, as certificates and files hold it.
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = sequence(&[oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")]);
        sequence(&[algorithm, bits(self.0.public_key().as_ref())])
    }

    /// The SHA-256 of the public key, which names a log.
    pub fn id(&self) -> Vec<u8> {
        Sha256::digest(self.spki()).to_vec()
    }

    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki())
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap());
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![oid(id)];
    parts.extend(critical.then(boolean));
    parts.push(octets(value));
    sequence(&parts)
}

/// The signed part of a certificate.
struct ToBeSigned<'c> {
    serial: u64,
    issuer: &'c str,
    subject: Vec<u8>,
    validity: (i64, i64),
    key: &'c Key,
    extensions: Vec<Vec<u8>>,
}

impl ToBeSigned<'_> {
    fn der(&self) -> Vec<u8> {
        sequence(&[
            explicit(0, &integer(2)),
            integer(self.serial),
            sequence(&[oid(ECDSA)]),
            name(self.issuer),
            sequence(&[utc_time(self.validity.0), utc_time(self.validity.1)]),
            self.subject.clone(),
            self.key.spki(),
            explicit(3, &sequence(&self.extensions)),
        ])
    }

    fn signed_by(&self, issuer: &Key) -> Vec<u8> {
        let tbs = self.der();
        let signature = bits(&issuer.sign(&tbs));
        sequence(&[tbs, sequence(&[oid(ECDSA)]), signature])
    }
}

/// The self-signed certificate of an authority.
fn authority(named: &str) -> Vec<u8> {
    let key = Key::named(named);
    let tbs = ToBeSigned {
        serial: 1,
        issuer: named,
        subject: name(named),
        validity: (NOW - 4 * YEAR, NOW + 20 * YEAR),
        key: &key,
        extensions: vec![
            extension("2.5.29.19", true, &sequence(&[boolean()])),
            extension("2.5.29.15", true, &tlv(0x03, &[1, 0x06])),
        ],
    };
    tbs.signed_by(&key)
}

fn tsa_certificate() -> Vec<u8> {
    let usage = sequence(&[oid("1.3.6.1.5.5.7.3.8")]);
    let tbs = ToBeSigned {
        serial: 7,
        issuer: "tsa_root",
        subject: name("tsa"),
        validity: (NOW - 2 * YEAR, NOW + 8 * YEAR),
        key: &Key::named("tsa"),
        extensions: vec![extension("2.5.29.37", true, &usage)],
    };
    tbs.signed_by(&Key::named("tsa_root"))
}

impl Signing {
    /// The workflow builds and signs `commit` on main, on GitHub's runner.
    pub fn of(commit: &str) -> Self {
        Self {
            identity: format!("{WORKFLOW}@refs/heads/main"),
            issuer: ISSUER.to_owned(),
            source: Some(SOURCE.to_owned()),
            commit: Some(commit.to_owned()),
            runner: Some("github-hosted".to_owned()),
            source_ref: Some("refs/heads/main".to_owned()),
            trigger: Some("push".to_owned()),
            time: NOW,
            usage: "1.3.6.1.5.5.7.3.3",
            ca: "ca",
            ct: Some("ct"),
            log: Some("log"),
            stamp: None,
        }
    }

    /// A user of another issuer signs.
    pub fn by(email: &str) -> Self {
        Self {
            identity: email.to_owned(),
            issuer: "https://accounts.example".to_owned(),
            source: None,
            commit: None,
            runner: None,
            source_ref: None,
            trigger: None,
            ..Self::of("")
        }
    }

    /// The certificate of the signer.
    pub fn certificate(&self) -> Vec<u8> {
        let san = if self.identity.contains("://") {
            tlv(0x86, self.identity.as_bytes())
        } else {
            tlv(0x81, self.identity.as_bytes())
        };
        let mut extensions = vec![
            extension("2.5.29.15", true, &tlv(0x03, &[7, 0x80])),
            extension("2.5.29.37", false, &sequence(&[oid(self.usage)])),
            extension("2.5.29.17", true, &sequence(&[san])),
            extension(&format!("{FULCIO}.8"), false, &utf8(&self.issuer)),
        ];
        let claims = [
            (11, &self.runner),
            (12, &self.source),
            (13, &self.commit),
            (14, &self.source_ref),
            (20, &self.trigger),
        ];
        for (number, claim) in claims {
            let claim: Option<Vec<u8>> = claim.as_deref().map(utf8);
            let id = format!("{FULCIO}.{number}");
            extensions.extend(claim.map(|claim| extension(&id, false, &claim)));
        }
        let ca = Key::named(self.ca);
        let mut tbs = ToBeSigned {
            serial: 42,
            issuer: self.ca,
            subject: sequence(&[]),
            validity: (self.time - 60, self.time + 540),
            key: &Key::named("leaf"),
            extensions,
        };
        if let Some(ct) = self.ct {
            let promise = self.promise(&Key::named(ct), &ca, &tbs.der());
            let list = octets(&promise);
            tbs.extensions
                .push(extension("1.3.6.1.4.1.11129.2.4.2", false, &list));
        }
        tbs.signed_by(&ca)
    }

    /// The list of one signed certificate timestamp (RFC 6962, 3.3).
    fn promise(&self, ct: &Key, ca: &Key, tbs: &[u8]) -> Vec<u8> {
        let time = u64::try_from(self.time * 1000).unwrap().to_be_bytes();
        let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
        let signed = [
            &[0, 0],
            &time[..],
            &[0, 1],
            &ca.id(),
            &length[1..],
            tbs,
            &[0, 0],
        ]
        .concat();
        let signature = ct.sign(&signed);
        let short = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let sct = [
            &[0],
            ct.id().as_slice(),
            &time,
            &[0, 0, 4, 3],
            &short(&signature),
            &signature,
        ]
        .concat();
        let entry = [&short(&sct)[..], &sct].concat();
        [&short(&entry)[..], &entry].concat()
    }

    /// A bundle around a statement, as GitHub's action and newer cosign versions attach it.
    pub fn bundle(&self, statement: &Value) -> Value {
        let certificate = self.certificate();
        let content = json!({ "certificate": { "rawBytes": STANDARD.encode(&certificate) } });
        self.envelope(
            statement,
            "leaf",
            &pem("CERTIFICATE", &certificate),
            content,
        )
    }

    /// A bundle around a statement, by a key.
    pub fn bundle_by_key(&self, statement: &Value, key: &str) -> Value {
        let content = json!({ "publicKey": { "hint": "" } });
        self.envelope(statement, key, &Key::named(key).pem(), content)
    }

    fn envelope(&self, statement: &Value, key: &str, verifier: &str, content: Value) -> Value {
        let kind = "application/vnd.in-toto+json";
        let payload = statement.to_string();
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = Key::named(key).sign(message.as_bytes());
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": "00".repeat(32)},
            "payloadHash": {"algorithm": "sha256", "value": hash(payload.as_bytes())},
            "signatures": [{
                "signature": STANDARD.encode(&signature), "verifier": STANDARD.encode(verifier),
            }],
        }});
        let mut material = content;
        let entries = self.log.map(|log| entry(log, self.time, &body));
        material["tlogEntries"] = entries.into_iter().collect();
        material["timestampVerificationData"] = self.stamps(&signature);
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": kind,
                "signatures": [{ "sig": STANDARD.encode(signature) }],
            },
        })
    }

    /// The annotations of an older cosign's signature of `payload`; by a key where one is given.
    pub fn annotations(&self, payload: &[u8], key: Option<&str>) -> Vec<(String, String)> {
        let (signer, verifier) = match key {
            Some(key) => (key, Key::named(key).pem()),
            None => ("leaf", pem("CERTIFICATE", &self.certificate())),
        };
        let signature = Key::named(signer).sign(payload);
        let body = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hash(payload)}},
            "signature": {
                "content": STANDARD.encode(&signature),
                "publicKey": {"content": STANDARD.encode(&verifier)},
            },
        }});
        let cosign = "dev.sigstore.cosign";
        let mut annotations = vec![(
            "dev.cosignproject.cosign/signature".to_owned(),
            STANDARD.encode(&signature),
        )];
        if key.is_none() {
            let chain = pem("CERTIFICATE", &authority(self.ca));
            annotations.push((format!("{cosign}/certificate"), verifier));
            annotations.push((format!("{cosign}/chain"), chain));
        }
        if let Some(log) = self.log {
            let entry = entry(log, self.time, &body);
            let number = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
            let bundle = json!({
                "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                "Payload": {
                    "body": entry["canonicalizedBody"],
                    "integratedTime": number(&entry["integratedTime"]),
                    "logIndex": number(&entry["logIndex"]),
                    "logID": hex::encode(Key::named(log).id()),
                },
            });
            annotations.push((format!("{cosign}/bundle"), bundle.to_string()));
        }
        if self.stamp.is_some() {
            let stamp = self.stamps(&signature)["rfc3161Timestamps"][0].clone();
            let stamp = json!({ "SignedRFC3161Timestamp": stamp["signedTimestamp"] });
            annotations.push((format!("{cosign}/rfc3161timestamp"), stamp.to_string()));
        }
        annotations
    }

    fn stamps(&self, signature: &[u8]) -> Value {
        let stamp =
            |tsa| json!({ "signedTimestamp": STANDARD.encode(stamp(tsa, self.time, signature)) });
        json!({ "rfc3161Timestamps": self.stamp.map(stamp).into_iter().collect::<Vec<_>>() })
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// An entry of a log that has one other, with promise, proof and checkpoint.
fn entry(log: &str, time: i64, body: &Value) -> Value {
    let log = Key::named(log);
    let body = body.to_string();
    let promised = json!({
        "body": STANDARD.encode(&body),
        "integratedTime": time,
        "logID": hex::encode(log.id()),
        "logIndex": 1001,
    });
    let other = Sha256::digest(b"\0the entry before");
    let leaf = Sha256::digest([b"\0", body.as_bytes()].concat());
    let top = Sha256::digest([&[1][..], &other, &leaf].concat());
    let note = format!("log.example - 1\n2\n{}\n", STANDARD.encode(top));
    let signed = [&log.id()[..4], &log.sign(note.as_bytes())].concat();
    let checkpoint = format!("{note}\n\u{2014} log.example {}\n", STANDARD.encode(signed));
    json!({
        "logIndex": "1001",
        "logId": { "keyId": STANDARD.encode(log.id()) },
        "kindVersion": {
            "kind": serde_json::from_str::<Value>(&body).unwrap()["kind"], "version": "0.0.1",
        },
        "integratedTime": time.to_string(),
        "inclusionPromise": {
            "signedEntryTimestamp": STANDARD.encode(log.sign(promised.to_string().as_bytes())),
        },
        "inclusionProof": {
            "logIndex": "1",
            "rootHash": STANDARD.encode(top),
            "treeSize": "2",
            "hashes": [STANDARD.encode(other)],
            "checkpoint": { "envelope": checkpoint },
        },
        "canonicalizedBody": STANDARD.encode(body),
    })
}

/// A token over a signature (RFC 3161, 2.4.2, in CMS, RFC 5652).
fn stamp(tsa: &str, time: i64, signature: &[u8]) -> Vec<u8> {
    let sha256 = || sequence(&[oid("2.16.840.1.101.3.4.2.1")]);
    let info = sequence(&[
        integer(1),
        oid("1.3.6.1.4.1.57264.2"),
        sequence(&[sha256(), octets(&Sha256::digest(signature))]),
        integer(99),
        generalized_time(time),
    ]);
    let content_type = oid("1.2.840.113549.1.9.16.1.4");
    let attribute = |id: &str, value: Vec<u8>| sequence(&[oid(id), set(&[value])]);
    let attributes = [
        attribute("1.2.840.113549.1.9.3", content_type.clone()),
        attribute("1.2.840.113549.1.9.4", octets(&Sha256::digest(&info))),
    ];
    let signature = Key::named(tsa).sign(&set(&attributes));
    let signer = sequence(&[
        integer(1),
        sequence(&[name("tsa_root"), integer(7)]),
        sha256(),
        explicit(0, &attributes.concat()),
        sequence(&[oid(ECDSA)]),
        octets(&signature),
    ]);
    let content = sequence(&[
        integer(3),
        set(&[sha256()]),
        sequence(&[content_type, explicit(0, &octets(&info))]),
        set(&[signer]),
    ]);
    sequence(&[oid("1.2.840.113549.1.7.2"), explicit(0, &content)])
}

/// The root that trusts all parts of the authority.
pub fn root() -> Value {
    let from = |years: i64| {
        let start = time::OffsetDateTime::from_unix_timestamp(NOW - years * YEAR).unwrap();
        json!({ "start": start.format(&time::format_description::well_known::Rfc3339).unwrap() })
    };
    let certificate = |der: Vec<u8>| json!({ "rawBytes": STANDARD.encode(der) });
    let log = |named: &str, url: &str| {
        let key = Key::named(named);
        json!({
            "baseUrl": url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(key.spki()),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": from(2),
            },
            "logId": { "keyId": STANDARD.encode(key.id()) },
        })
    };
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [log("log", "https://log.example")],
        "ctlogs": [log("ct", "https://ct.example")],
        "certificateAuthorities": [{
            "subject": { "organization": "example", "commonName": "ca" },
            "uri": "https://ca.example",
            "certChain": { "certificates": [certificate(authority("ca"))] },
            "validFor": from(2),
        }],
        "timestampAuthorities": [{
            "subject": { "organization": "example", "commonName": "tsa" },
            "uri": "https://tsa.example",
            "certChain": { "certificates": [
                certificate(tsa_certificate()), certificate(authority("tsa_root")),
            ] },
            "validFor": from(2),
        }],
    })
}

/// The same without logs, as that of GitHub's private instance is: timestamps only.
pub fn root_without_logs() -> Value {
    let mut root = root();
    root["tlogs"] = json!([]);
    root["ctlogs"] = json!([]);
    root
}

/// A statement of the image `name` with a digest (64 digits) that was built from `commit`, as
/// GitHub's `actions/attest` writes it: the name is its input `subject-name`.
pub fn provenance(name: &str, digest: &str, commit: &str) -> Value {
    statement(
        name,
        digest,
        SLSA,
        &json!({ "buildDefinition": { "resolvedDependencies": [{
        "uri": format!("git+{SOURCE}@refs/heads/main"), "digest": { "gitCommit": commit },
    }] } }),
    )
}

pub fn statement(name: &str, digest: &str, predicate_type: &str, predicate: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": name, "digest": { "sha256": digest } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// The statement of `cosign sign` of version 3, which has no name (cosign 3.1.2,
/// `cmd/cosign/cli/sign/sign.go`, `signDigestBundle`).
pub fn cosign_signature(digest: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest }, "annotations": {} }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

/// The statement of `cosign attest`, which has the older type; for an image of Docker Hub the name
/// begins with `index.docker.io` (cosign 3.1.2, `pkg/cosign/attestation/attestation.go`).
pub fn cosign_attestation(name: &str, digest: &str, commit: &str) -> Value {
    let mut statement = provenance(name, digest, commit);
    statement["_type"] = json!("https://in-toto.io/Statement/v0.1");
    statement
}

/// The payload of an older cosign's signature: the name is the repository without tag and digest, or
/// the text of `--sign-container-identity`; the first versions left it empty (sigstore,
/// `pkg/signature/payload/payload.go`).
pub fn payload(name: &str, digest: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": format!("sha256:{digest}") },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}
