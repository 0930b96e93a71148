//! A token server that docker-registry trusts (distribution specification, "Token Authentication").

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{CertificateParams, KeyPair};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::json;

use super::{
    fake::{Fake, Reaction, Request},
    registry::{PASSWORD, USER},
};

/// The users who get a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grants {
    /// Everyone.
    Anonymous,
    /// [`USER`] with [`PASSWORD`], or with the identity token [`IDENTITY`].
    Login,
}

pub(crate) const IDENTITY: &str = "identity/t0ken+of=robot";

pub(crate) struct TokenServer {
    pub(crate) fake: Fake,
    pub(crate) certificate: PathBuf,
}

struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
}

impl TokenServer {
    pub(crate) fn start(directory: &Path, grants: Grants) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["issuer".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let file = directory.join("token.pem");
        fs::write(&file, certificate.pem()).unwrap();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.serialize_der(),
            &random,
        )
        .unwrap();
        let signer = Signer {
            key,
            certificate: STANDARD.encode(certificate.der()),
        };
        let fake = Fake::start(move |request| react(request, (&signer, grants)));
        Self {
            fake,
            certificate: file,
        }
    }

    pub(crate) fn realm(&self) -> String {
        format!("http://{}/token", self.fake.host())
    }
}

fn react(request: &Request, (signer, grants): (&Signer, Grants)) -> Reaction {
    let pairs = if request.method == "POST" {
        request.body.as_str()
    } else {
        request.target.split_once('?').unwrap().1
    };
    let url = reqwest::Url::parse(&format!("http://x/?{pairs}")).unwrap();
    let get = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let known = match request.method.as_str() {
        "POST" => {
            get("grant_type").as_deref() == Some("refresh_token")
                && get("refresh_token").as_deref() == Some(IDENTITY)
        }
        _ => request.header("authorization") == Some(&basic),
    };
    if grants == Grants::Login && !known {
        return Reaction::new(401, r#"{"details":"incorrect username or password"}"#);
    }
    let scope = get("scope").unwrap();
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>().try_into().unwrap();
    let actions: Vec<_> = actions.split(',').collect();
    let token = signer.token(&json!([{"type": kind, "name": name, "actions": actions}]));
    let field = if request.method == "POST" {
        "access_token"
    } else {
        "token"
    };
    Reaction::new(200, json!({field: token, "expires_in": 300}).to_string())
}

impl Signer {
    fn token(&self, access: &serde_json::Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": "issuer", "sub": USER, "aud": "registry", "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 300, "access": access,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
