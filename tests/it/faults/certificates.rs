//! Valid and invalid certificates of a test authority.

use std::{fs, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    Trusted,
    Expired,
    NotYetValid,
    WrongName,
    SelfSigned,
    UnknownAuthority,
}

const ALL: [Serves; 6] = [
    Serves::Trusted,
    Serves::Expired,
    Serves::NotYetValid,
    Serves::WrongName,
    Serves::SelfSigned,
    Serves::UnknownAuthority,
];

pub(crate) struct Certificates(Vec<Arc<ServerConfig>>);

impl Certificates {
    /// All certificates; that of the authority is written to `file`.
    pub(crate) fn issue(file: &Path) -> Self {
        let (known, foreign) = (Authority::new(), Authority::new());
        fs::write(file, known.certificate.pem()).unwrap();
        Self(
            ALL.iter()
                .map(|serves| serves.issued(&known, &foreign))
                .collect(),
        )
    }

    pub(crate) fn config(&self, serves: Serves) -> Arc<ServerConfig> {
        let at = ALL.iter().position(|other| *other == serves);
        Arc::clone(&self.0[at.unwrap()])
    }
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            params,
            key,
            certificate,
        }
    }
}

impl Serves {
    fn issued(self, known: &Authority, foreign: &Authority) -> Arc<ServerConfig> {
        let names = match self {
            Self::WrongName => vec!["registry.invalid".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        match self {
            Self::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Self::NotYetValid => params.not_before = date_time_ymd(2200, 1, 1),
            _ => {}
        }
        let authority = if self == Self::UnknownAuthority {
            foreign
        } else {
            known
        };
        let key = KeyPair::generate().unwrap();
        let certificate = if self == Self::SelfSigned {
            params.self_signed(&key).unwrap()
        } else {
            let issuer = Issuer::from_params(&authority.params, &authority.key);
            params.signed_by(&key, &issuer).unwrap()
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        Arc::new(config)
    }
}
