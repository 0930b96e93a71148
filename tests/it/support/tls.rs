//! A certificate authority for a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A certificate authority and a server's certificate by the authority, as files.
pub(crate) fn authority(directory: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::from_params(&params, &key);
    let server = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let signed = CertificateParams::new(names)
        .unwrap()
        .signed_by(&server, &issuer)
        .unwrap();
    let files = (
        directory.join("ca.pem"),
        directory.join("server.pem"),
        directory.join("server.key"),
    );
    fs::write(&files.0, certificate.pem()).unwrap();
    fs::write(&files.1, signed.pem()).unwrap();
    fs::write(&files.2, server.serialize_pem()).unwrap();
    files
}
