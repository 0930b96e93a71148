//! What a set was verified against, as one hash: the configuration, the contracts, the keys and the
//! trusted roots.

use std::{collections::BTreeSet, io::Read as _};

use crate::{
    code::Code,
    config::{Config, RelPath, RootKind, Verify},
    error::Error,
    files::Files,
    oci::Digest,
    trust::BuiltIn,
};

/// The largest file that counts, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// The hash of the configuration, its contracts, keys and roots, those built in included. Files come
/// in the order of their paths' bytes, each once; lengths keep one part from running into the next.
pub fn config_sha256(config: &Config, files: &dyn Files) -> Result<Digest, Error> {
    let mut read = Vec::new();
    add(&mut read, "repin.yaml", config.source.text.as_bytes());
    for path in paths(config) {
        add(&mut read, &format!("file {path}"), &content(path, files)?);
    }
    for root in built_in(config) {
        let name = format!("built-in root {}", root.as_str());
        add(&mut read, &name, root.document().as_bytes());
    }
    Ok(Digest::of(&read))
}

fn add(read: &mut Vec<u8>, name: &str, content: &[u8]) {
    for part in [name.as_bytes(), content] {
        read.extend((part.len() as u64).to_be_bytes());
        read.extend(part);
    }
}

/// The contracts, keys and roots that are files.
fn paths(config: &Config) -> BTreeSet<&RelPath> {
    let contracts = config.images.iter();
    let contracts = contracts.filter_map(|image| image.contract.as_ref());
    let verify = config.verify.iter().flat_map(Verify::files);
    contracts.chain(verify).collect()
}

/// The built-in roots that the policy names, in its order.
fn built_in(config: &Config) -> Vec<BuiltIn> {
    let verify = config.verify.iter();
    let roots = verify.flat_map(|verify| &verify.trusted_roots);
    let built_in = roots.filter_map(|root| match root.kind {
        RootKind::Sigstore => Some(BuiltIn::Sigstore),
        RootKind::GitHub => Some(BuiltIn::GitHub),
        RootKind::File(_) => None,
    });
    built_in.collect()
}

fn content(path: &RelPath, files: &dyn Files) -> Result<Vec<u8>, Error> {
    let unreadable = |reason: String| {
        Error::input(Code::CONFIG, format!("cannot read {path}: {reason}"))
            .help("restore the file that the configuration names, or correct the configuration")
    };
    let mut bytes = Vec::new();
    let opened = files.open(path).map_err(|error| error.error);
    let read = opened.and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= FILE_MAX => Ok(bytes),
        Ok(_) => Err(unreadable("larger than 4 MiB".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{config, files::WorkTree};

    fn hash(root: &Path, text: &str) -> Result<String, Error> {
        fs::write(root.join("repin.yaml"), text).unwrap();
        let config = config::load(&root.join("repin.yaml"), "repin.yaml").unwrap();
        config_sha256(&config, &WorkTree::new(root)).map(|digest| digest.hex())
    }

    #[test]
    fn every_file_that_judges_images_changes_the_hash() {
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
    fn parts_do_not_run_into_each_other() {
        let framed = |parts: &[(&str, &str)]| {
            let mut read = Vec::new();
            for (name, content) in parts {
                add(&mut read, name, content.as_bytes());
            }
            read
        };
        assert_ne!(framed(&[("ab", "c")]), framed(&[("a", "bc")]));
        assert_ne!(framed(&[("a", "b"), ("c", "d")]), framed(&[("a", "bcd")]));
    }
}
