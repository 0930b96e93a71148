//! A minimal writer of OCI image layouts. Tests of layouts that other tools write use those tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Digest, archive::Archive};

/// One platform of an image.
#[derive(Clone)]
pub struct Platform {
    /// `os/architecture[/variant]`.
    pub name: &'static str,
    /// Labels of the config.
    pub labels: BTreeMap<String, String>,
    /// Files of the first layer: path and content.
    pub files: Vec<(String, String)>,
    /// Programs of the same layer: path and content.
    pub programs: Vec<(String, Vec<u8>)>,
    /// Layers above that one: archives, and whether they are stored compressed by gzip.
    pub layers: Vec<(Vec<u8>, bool)>,
    /// Environment entries of the config.
    pub env: Vec<String>,
    /// The creation time in the config.
    pub created: String,
    /// Further values of the object `config`, malformed ones too.
    pub settings: BTreeMap<String, Value>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A layout under construction.
pub struct Layout {
    directory: PathBuf,
}

/// A descriptor of stored bytes.
pub struct Written {
    /// `sha256:…`.
    pub digest: String,
    descriptor: Value,
}

pub const REVISION_LABEL: &str = "org.opencontainers.image.revision";
const OCI: &str = "application/vnd.oci.image";

impl Platform {
    /// A platform with the revision label `revision`.
    pub fn new(name: &'static str, revision: &str) -> Self {
        let labels = BTreeMap::from([(REVISION_LABEL.to_owned(), revision.to_owned())]);
        Self {
            name,
            labels,
            files: vec![("hello".to_owned(), format!("built from {revision}\n"))],
            programs: Vec::new(),
            layers: Vec::new(),
            env: Vec::new(),
            created: "2026-01-02T03:04:05Z".to_owned(),
            settings: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The same with one more label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with these files.
    pub fn files(mut self, files: &[(&str, &str)]) -> Self {
        self.files = files
            .iter()
            .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
            .collect();
        self
    }
}

impl Platform {
    /// The same with a program in a directory that everyone can read.
    pub fn program(mut self, path: &str, content: &[u8]) -> Self {
        self.programs.push((path.to_owned(), content.to_owned()));
        self
    }

    /// The same with one more layer, stored as it is.
    pub fn layer(mut self, archive: Vec<u8>) -> Self {
        self.layers.push((archive, false));
        self
    }

    /// The same with one more layer, stored compressed.
    pub fn gzipped(mut self, archive: Vec<u8>) -> Self {
        self.layers.push((archive, true));
        self
    }

    /// The same, created at another time.
    pub fn created(mut self, time: &str) -> Self {
        time.clone_into(&mut self.created);
        self
    }

    /// The same with this value in the object `config`.
    pub fn setting(mut self, key: &str, value: Value) -> Self {
        self.settings.insert(key.to_owned(), value);
        self
    }

    /// The same with one more annotation of its manifest.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The `platform` of an index, and the same keys of a config.
    fn platform(&self) -> Value {
        let mut parts = self.name.split('/');
        let mut platform = json!({"os": parts.next(), "architecture": parts.next()});
        if let Some(variant) = parts.next() {
            platform["variant"] = json!(variant);
        }
        platform
    }

    /// The same with one more entry of its environment.
    pub fn env(mut self, entry: &str) -> Self {
        self.env.push(entry.to_owned());
        self
    }
}

impl Layout {
    /// The layout in `directory`; creates an empty one if it is missing.
    pub fn at(directory: &Path) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        fs::write(
            directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        let layout = Self {
            directory: directory.to_owned(),
        };
        if !directory.join("index.json").exists() {
            layout.write_index(&[]);
        }
        layout
    }

    /// Writes an image with a tag; more than one platform make an index. Returns its digest.
    pub fn image(&self, tag: &str, platforms: &[Platform]) -> String {
        let mut manifests: Vec<_> = platforms
            .iter()
            .map(|platform| self.manifest(platform))
            .collect();
        let top = if manifests.len() == 1 {
            manifests.remove(0)
        } else {
            let entries = manifests.iter().zip(platforms).map(|(manifest, platform)| {
                let mut entry = manifest.descriptor.clone();
                entry["platform"] = platform.platform();
                entry
            });
            self.index(&entries.collect::<Vec<_>>())
        };
        self.tag(tag, &top);
        top.digest
    }

    /// Writes one platform's layer, config and manifest.
    pub fn manifest(&self, platform: &Platform) -> Written {
        let mut layers = vec![self.blob(
            &format!("{OCI}.layer.v1.tar"),
            &tar(&platform.files, &platform.programs),
        )];
        let mut diff_ids = vec![layers[0].digest.clone()];
        for (archive, compressed) in &platform.layers {
            diff_ids.push(Digest::of(archive).to_string());
            layers.push(match compressed {
                true => self.blob(&format!("{OCI}.layer.v1.tar+gzip"), &gzip(archive)),
                false => self.blob(&format!("{OCI}.layer.v1.tar"), archive),
            });
        }
        let named = platform.platform();
        let mut config = json!({
            "architecture": named["architecture"], "os": named["os"], "created": platform.created,
            "config": {"Labels": platform.labels, "User": "1001"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        if let Some(variant) = named.get("variant") {
            config["variant"] = variant.clone();
        }
        if !platform.env.is_empty() {
            config["config"]["Env"] = json!(platform.env);
        }
        for (key, value) in &platform.settings {
            config["config"][key] = value.clone();
        }
        let config = self.json(&format!("{OCI}.config.v1+json"), &config);
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": format!("{OCI}.manifest.v1+json"),
            "config": config.descriptor, "layers": layers.iter().map(Written::descriptor).collect::<Vec<_>>(),
        });
        if !platform.annotations.is_empty() {
            manifest["annotations"] = json!(platform.annotations);
        }
        self.json(&format!("{OCI}.manifest.v1+json"), &manifest)
    }

    /// Writes an index of these entries.
    pub fn index(&self, entries: &[Value]) -> Written {
        let media_type = format!("{OCI}.index.v1+json");
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        self.json(&media_type, &index)
    }

    /// Writes a JSON blob.
    pub fn json(&self, media_type: &str, value: &Value) -> Written {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Writes a blob.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Written {
        let digest = Digest::of(bytes);
        fs::write(
            self.directory.join("blobs/sha256").join(digest.hex()),
            bytes,
        )
        .unwrap();
        let digest = digest.to_string();
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        Written { digest, descriptor }
    }

    /// Adds a tag to a stored image.
    pub fn tag(&self, tag: &str, written: &Written) {
        let mut entry = written.descriptor.clone();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let mut entries = self.entries();
        entries.push(entry);
        self.write_index(&entries);
    }

    /// Adds an entry without a tag.
    pub fn add(&self, entry: Value) {
        let mut entries = self.entries();
        entries.push(entry);
        self.write_index(&entries);
    }

    /// Removes every entry with this tag.
    pub fn untag(&self, tag: &str) {
        let mut entries = self.entries();
        entries.retain(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] != tag);
        self.write_index(&entries);
    }

    /// The path of a blob.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.directory
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    fn entries(&self) -> Vec<Value> {
        let index: Value =
            serde_json::from_slice(&fs::read(self.directory.join("index.json")).unwrap()).unwrap();
        index["manifests"].as_array().unwrap().clone()
    }

    fn write_index(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(self.directory.join("index.json"), index.to_string()).unwrap();
    }
}

impl Written {
    /// The descriptor, for an index or a manifest that names it.
    pub fn descriptor(&self) -> Value {
        self.descriptor.clone()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An uncompressed layer with these files, the same bytes each time.
fn tar(files: &[(String, String)], programs: &[(String, Vec<u8>)]) -> Vec<u8> {
    // docker creates a directory without an entry, only for root.
    let parents: BTreeSet<_> = programs
        .iter()
        .filter_map(|(path, _)| Path::new(path).parent()?.to_str())
        .collect();
    let archive = parents.iter().fold(Archive::new(), Archive::directory);
    let archive = files.iter().fold(archive, |archive, (path, content)| {
        archive.file(path, content)
    });
    let whole = programs.iter().fold(archive, |archive, (path, content)| {
        archive.file_with(path, 0o755, content)
    });
    whole.end()
}
