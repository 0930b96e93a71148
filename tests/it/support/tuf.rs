//! A TUF repository with separate keys: in its valid form, and in those of an attacker.
//!
//! Metadata is that of the specification 1.0 with consistent snapshots: two root keys that must both
//! sign, and one online key for every other role.

use std::collections::BTreeMap;

use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::fake::{Fake, Reaction};

/// A date that no metadata reaches.
pub const LATER: &str = "2126-01-01T00:00:00Z";
/// A date that is over.
pub const OVER: &str = "2020-01-01T00:00:00Z";

/// The responses by path.
pub type Responses = BTreeMap<String, Reaction>;

/// A key, which is known by its public half.
pub struct Key(Ed25519KeyPair);

/// The keys of a repository, and the trusted root that it publishes.
pub struct Repository {
    pub root_keys: [Key; 2],
    /// The root keys after a rotation.
    pub next_keys: [Key; 2],
    pub online: Key,
    pub stranger: Key,
    pub target: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn public(&self) -> String {
        hex::encode(self.0.public_key().as_ref())
    }

    fn declared(&self) -> Value {
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": self.public()}})
    }
}

/// A signed document.
pub fn signed(document: &Value, keys: &[&Key]) -> Vec<u8> {
    let bytes = canonical(document);
    let signatures = keys.iter().map(|key| {
        let signature = hex::encode(key.0.sign(bytes.as_bytes()));
        json!({"keyid": key.public(), "sig": signature})
    });
    let signatures: Vec<Value> = signatures.collect();
    json!({"signed": document, "signatures": signatures})
        .to_string()
        .into_bytes()
}

/// Canonical JSON of documents without escapes: sorted keys, no spaces.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
            let entries = sorted
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

fn document(kind: &str, version: u64, expires: &str, fields: Value) -> Value {
    let mut document = json!({
        "_type": kind, "spec_version": "1.0.31", "version": version, "expires": expires,
    });
    let fields: Map<String, Value> = serde_json::from_value(fields).unwrap();
    document.as_object_mut().unwrap().extend(fields);
    document
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn found(body: impl Into<Vec<u8>>) -> Reaction {
    Reaction::new(200, body)
}

impl Repository {
    /// A repository that publishes this trusted root.
    pub fn new(target: impl Into<Vec<u8>>) -> Self {
        Self {
            root_keys: [Key::new(), Key::new()],
            next_keys: [Key::new(), Key::new()],
            online: Key::new(),
            stranger: Key::new(),
            target: target.into(),
        }
    }

    /// An unsigned root document that lists these root keys.
    pub fn root(&self, version: u64, expires: &str, keys: &[Key; 2]) -> Value {
        let ids = keys.each_ref().map(Key::public);
        let online = json!({"keyids": [self.online.public()], "threshold": 1});
        let declared = [&keys[0], &keys[1], &self.online];
        let declared = declared.map(|key| (key.public(), key.declared()));
        let fields = json!({
            "consistent_snapshot": true,
            "keys": Map::from_iter(declared),
            "roles": {
                "root": {"keyids": ids, "threshold": 2},
                "timestamp": online, "snapshot": online, "targets": online,
            },
        });
        document("root", version, expires, fields)
    }

    /// The root document that clients begin with.
    pub fn first_root(&self) -> Vec<u8> {
        let [a, b] = &self.root_keys;
        signed(&self.root(1, LATER, &self.root_keys), &[a, b])
    }

    /// The root document of a rotation, signed by the old and the new keys.
    pub fn second_root(&self, expires: &str) -> Vec<u8> {
        let ([a, b], [c, d]) = (&self.root_keys, &self.next_keys);
        signed(&self.root(2, expires, &self.next_keys), &[a, b, c, d])
    }

    pub fn snapshot(&self, version: u64, expires: &str) -> Vec<u8> {
        let fields = json!({"meta": {"targets.json": {"version": 3}}});
        signed(
            &document("snapshot", version, expires, fields),
            &[&self.online],
        )
    }

    pub fn targets(&self, version: u64, expires: &str, name: &str) -> Vec<u8> {
        let file = json!({
            "length": self.target.len(), "hashes": {"sha256": sha256(&self.target)},
        });
        let fields = json!({"targets": {name: file}});
        signed(
            &document("targets", version, expires, fields),
            &[&self.online],
        )
    }

    /// The path of the trusted root.
    pub fn target_path(&self) -> String {
        format!("/targets/{}.trusted_root.json", sha256(&self.target))
    }

    /// The responses of an honest server.
    pub fn responses(&self) -> Responses {
        let snapshot = self.snapshot(2, LATER);
        let timestamp = timestamp(LATER, &snapshot, &self.online);
        let targets = self.targets(3, LATER, "trusted_root.json");
        BTreeMap::from([
            ("/1.root.json".to_owned(), found(self.first_root())),
            ("/timestamp.json".to_owned(), found(timestamp)),
            ("/2.snapshot.json".to_owned(), found(snapshot)),
            ("/3.targets.json".to_owned(), found(targets)),
            (self.target_path(), found(self.target.clone())),
        ])
    }
}

/// A timestamp document that pins this snapshot.
pub fn timestamp(expires: &str, snapshot: &[u8], key: &Key) -> Vec<u8> {
    let pin =
        json!({"version": 2, "length": snapshot.len(), "hashes": {"sha256": sha256(snapshot)}});
    timestamp_with(expires, &pin, key)
}

/// A timestamp document that pins a snapshot like this.
pub fn timestamp_with(expires: &str, pin: &Value, key: &Key) -> Vec<u8> {
    let fields = json!({"meta": {"snapshot.json": pin}});
    signed(&document("timestamp", 7, expires, fields), &[key])
}

/// Replaces the response of a path.
pub fn put(responses: &mut Responses, path: &str, body: Vec<u8>) {
    responses.insert(path.to_owned(), found(body));
}

/// Serves the responses, and 404 for every other path.
pub fn serve(responses: Responses) -> Fake {
    Fake::start(move |request| {
        let response = responses.get(request.path()).cloned();
        response.unwrap_or_else(|| Reaction::new(404, ""))
    })
}
