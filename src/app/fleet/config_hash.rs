//! One hash over the inputs of a verification: the configuration, the contracts, the keys and the trusted
//! roots.

use std::{collections::BTreeSet, io::Read as _};

use crate::{
    base::{
        code::Code,
        error::Error,
        files::{Files, RelPath},
    },
    config::Config,
    oci::Digest,
    trust::{BuiltIn, RootKind, Verify},
};

/// The maximum size of a file, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Hashes the configuration, its contracts, keys and trusted roots, including the built-in ones. Each file
/// is hashed once, ordered by the bytes of its path. Lengths separate the parts.
pub(crate) fn config_sha256(config: &Config, files: &dyn Files) -> Result<Digest, Error> {
    let mut input = Vec::new();
    add(&mut input, "repin.yaml", config.source_text.text.as_bytes());
    for path in paths(config) {
        add(&mut input, &format!("file {path}"), &content(path, files)?);
    }
    for root in built_in(config) {
        let name = format!("built-in root {}", root.as_str());
        add(&mut input, &name, root.document().as_bytes());
    }
    Ok(Digest::of(&input))
}

fn add(input: &mut Vec<u8>, name: &str, content: &[u8]) {
    for part in [name.as_bytes(), content] {
        input.extend((part.len() as u64).to_be_bytes());
        input.extend(part);
    }
}

/// The paths of the contracts, keys and trusted roots.
fn paths(config: &Config) -> BTreeSet<&RelPath> {
    let images = config.images.iter();
    let contracts = images.filter_map(|image| image.contract.as_ref());
    let policy_files = config.verify.iter().flat_map(Verify::files);
    contracts.chain(policy_files).collect()
}

/// The built-in roots of the policy, in its order.
fn built_in(config: &Config) -> Vec<BuiltIn> {
    let mut built_in = Vec::new();
    for root in config
        .verify
        .iter()
        .flat_map(|verify| &verify.trusted_roots)
    {
        match root.kind {
            RootKind::Sigstore => built_in.push(BuiltIn::Sigstore),
            RootKind::GitHub => built_in.push(BuiltIn::GitHub),
            RootKind::File(_) => {}
        }
    }
    built_in
}

fn content(path: &RelPath, files: &dyn Files) -> Result<Vec<u8>, Error> {
    let unreadable = |reason: String| {
        Error::input(Code::CONFIG, format!("cannot read {path}: {reason}"))
            .help("restore the file that the configuration names, or correct the configuration")
    };
    let mut bytes = Vec::new();
    let opened = files.open(path).map_err(|error| error.error);
    let read = opened.and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_FILE => Ok(bytes),
        Ok(_) => Err(unreadable("larger than 4 MiB".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{base::files::WorkTree, config};

    fn hash(root: &Path, text: &str) -> Result<String, Error> {
        fs::write(root.join("repin.yaml"), text).unwrap();
        let config = config::load(&root.join("repin.yaml"), "repin.yaml").unwrap();
        config_sha256(&config, &WorkTree::new(root)).map(|digest| digest.hex())
    }

    #[test]
    fn every_input_of_verification_changes_the_hash() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let config = "version: 1
fleet: {}
images:
  a: { repository: ghcr.io/acme/a, contract: a.yaml }
verify:
  signers: [{ key: a.pub, commit: 'off' }]
  trusted_roots: [github, root.json]
";
        for file in ["a.yaml", "a.pub", "root.json"] {
            fs::write(root.join(file), "first").unwrap();
        }
        let first = hash(root, config).unwrap();
        assert_eq!(hash(root, config).unwrap(), first);
        for file in ["a.yaml", "a.pub", "root.json"] {
            fs::write(root.join(file), "other").unwrap();
            assert_ne!(hash(root, config).unwrap(), first, "{file}");
            fs::write(root.join(file), "first").unwrap();
        }
        for (from, to) in [("acme/a", "acme/b"), ("[github", "[sigstore")] {
            assert_ne!(
                hash(root, &config.replace(from, to)).unwrap(),
                first,
                "{to}"
            );
        }
        fs::remove_file(root.join("a.pub")).unwrap();
        let error = hash(root, config).unwrap_err();
        assert_eq!((error.class.exit_code(), error.code), (2, Code::CONFIG));
        assert!(error.to_string().contains("a.pub"), "{error}");
    }

    #[test]
    fn parts_are_separated() {
        let framed = |parts: &[(&str, &str)]| {
            let mut input = Vec::new();
            for (name, content) in parts {
                add(&mut input, name, content.as_bytes());
            }
            input
        };
        assert_ne!(framed(&[("ab", "c")]), framed(&[("a", "bc")]));
        assert_ne!(framed(&[("a", "b"), ("c", "d")]), framed(&[("a", "bcd")]));
    }
}
