//! The whole configuration: its keys, their defaults, and the rules between blocks.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};

use super::{
    forge::{Fleet, Forge},
    images::{self, Image},
    keys::{ByName, KeyType, NonEmpty, Shape, block, choices, refined_type},
    places::{self, CommentPolicy, PinPlace},
    prune::Prune,
    reader::{ErrorCollector, Fields},
    report::{ChangeTemplates, FormerSet, Freshness, Report},
    revision::{Provenance, Revisions},
    set_path::SetPath,
    smoke::{Rehearse, Smoke},
    stage::{Operation, SourceRepository, Stage},
    types::{BranchTemplate, TitleTemplate, line_schema, text_type},
    verify,
    yaml::{Key, Node, Value},
};
use crate::{
    base::{
        error::{Code, Error, Location, SourceText, Span},
        files::{Globs, RelPath},
        untrusted::{plain, shell},
    },
    contents::inventory::Inventory,
    oci::{
        Platform,
        registry::{LayoutDirectory, Mapping, Prefix, SourceLocation, is_host},
    },
    trust::Verify,
};

block! {
    /// A configuration.
    pub struct Config {
        /// The version of this format.
        version: Version,
        /// The set's name, in titles. Without this key, it is the set key, or `images` if the set key
        /// is empty.
        name: Name = "images",
        /// Required unless `fleet` is set, or `places` exist and each has `files`. Globs of
        /// the files that are scanned. `*` and `?` stay within a directory, `**` crosses
        /// directories, dot files match; a `!` glob excludes. A glob that matches
        /// no file is an error. A match that is a symbolic link is refused.
        files: Files,
        /// Whether files that git ignores and does not track are scanned too: `include`, or
        /// `exclude`.
        files_ignored: IgnoredFiles = "exclude",
        /// The comment after a digest: left unchanged (`keep`), or its single word is replaced with
        /// the new tag (`tag`). After a whole reference only a word is replaced that has the shape
        /// of `revision.tag`; for split pins, `places.*.comment` overrides.
        comments: CommentPolicy = "keep",
        /// The reaction to an image pinned outside the counted pins, or a pinned digest without its
        /// repository, in any tracked file: `warn`, `refuse`, or `ignore`.
        outside: OutsidePolicy = "warn",
        /// Globs of files where both are expected, such as changelogs and lock files.
        outside_ignore: Globs = [],
        /// Where repositories are read from, by prefix of their name; the longest matching prefix
        /// wins. Without a match, the registry in the repository name is used.
        sources: Sources = {},
        /// Token servers on another host that may receive a registry's credentials: registry to
        /// token server, each a host with an optional port. Docker Hub's is built in.
        realms: Realms = {},
        /// Where split pins are: digests that are written apart from their repository. The key is
        /// the place's name.
        places: ByName<PinPlace> = {},
        /// The form of a revision, and where an image records it.
        revision: Revisions = {},
        /// Required, unless the configuration has only `version`, `name`, `forge` and `freshness`. The
        /// images of the set, by name; messages, options and documents use the name. At least
        /// one must be pinned, and repositories must be distinct.
        images: Images,
        /// The platforms that every new image must have; others may be dropped. Absent: every platform
        /// of the replaced image.
        platforms: Option<NonEmpty<Platform>>,
        /// The contents of reports.
        report: Report = {},
        /// The required contents of an image. Absent: contents are not checked.
        inventory: Option<Inventory>,
        /// A command that must succeed in each image. Absent: no command runs.
        smoke: Option<Smoke>,
        /// The signatures and attestations that every image must have. Absent: none are required.
        verify: Option<Verify>,
        /// The evidence that a set was promoted.
        provenance: Provenance = {},
        /// How promotions are named.
        promote: Promote = {},
        /// How rollbacks are named.
        rollback: Rollback = {},
        /// Which versions of the images may be deleted. Absent: none.
        prune: Option<Prune>,
        /// References to other repositories, pinned in files, that should stay up to date.
        freshness: Vec<Freshness> = [],
        /// The sets that `repin rehearse` rehearses, and its issue.
        rehearse: Option<Rehearse>,
        /// Where pull requests are opened. Absent: nowhere.
        forge: Option<Forge>,
        /// The rules for the repositories of a fleet. With it, `files` and `images.*.pins` may be
        /// absent: each repository declares them.
        fleet: Option<Fleet>,
        /// The repository that the images are built from: OWNER/NAME on the configured forge, a
        /// URL, or a path that starts with `/`, `./` or `../`. The default branch of a clone is its
        /// `origin/HEAD` or, without one, the branch that is checked out. Its history orders builds
        /// with commits that this clone does not contain. Absent: this repository.
        source: Option<SourceRepository>,
    }
    with |fields| {
        /// The directory that every path is relative to.
        root: PathBuf = fields.problems.root().to_owned(),
        /// The text of the file, for places in it.
        source_text: SourceText = fields.problems.source().clone(),
        /// The name of the file, which is in the root.
        file: String = file_name(fields.problems.source()),
        /// The identity of the set.
        set_path: SetPath = fields.problems.set_path().clone(),
        /// The set at former paths, and by the defaults of earlier versions.
        former: Vec<FormerSet> = FormerSet::defaults(fields.problems.set_path()),
        /// The option `--config` that selects the file from the user's directory, with a space before
        /// it, for commands in messages; empty without it.
        option: String = String::new(),
        /// All files that are scanned: those of `files` and of every place.
        scanned: Globs = places::scanned(&files, &places),
    }
    rules |fields| {
        let names: Vec<_> = images.iter().flatten().map(|image| image.name.as_str()).collect();
        check_subject(fields);
        images::check(images.as_deref(), fields.has("fleet"), fields);
        if let Some(places) = &places
            && images.is_some()
        {
            places::check_images(fields.problems, places, &names);
        }
        if let Some(places) = &places
            && !fields.has("fleet")
            && !fields.has("files")
        {
            places::check_files(fields.problems, places);
        }
        if let (Some(Some(verify)), Some(node)) = (&verify, fields.node("verify"))
            && images.is_some()
        {
            verify::check_images(fields.problems, node.span, verify, &names);
        }
    }
}

block! {
    /// The names of promotions on the forge.
    pub struct Promote {
        /// The branch of the pull request; may also contain `{set}`.
        branch: BranchTemplate = "repin/{set}/promote-{revision}",
        /// The title of commit and pull request; may also contain `{name}` and `{set}`.
        title: TitleTemplate = "promote: {name} @{revision}",
        /// Whether a newer promotion closes the pull request of an older one.
        supersede: bool = true,
        /// Whether a build is refused whose commit the branch that counts does not contain.
        require_merged: bool = false,
        /// The stages in which a set must have been current before. Absent: none.
        after: Vec<Stage> = [],
    }
}

block! {
    /// The names of rollbacks on the forge.
    pub struct Rollback {
        /// The branch of the pull request; may also contain `{set}`.
        branch: BranchTemplate = "repin/{set}/rollback-{revision}",
        /// The title of commit and pull request; may also contain `{name}` and `{set}`.
        title: TitleTemplate = "rollback: {name} @{revision}",
    }
}

choices! {
    pub enum IgnoredFiles {
        Exclude = "exclude",
        Include = "include",
    }
}

choices! {
    /// The verdict on digests in the tree that belong to no pin.
    pub enum OutsidePolicy {
        Warn = "warn",
        Refuse = "refuse",
        /// The tree is not searched.
        Ignore = "ignore",
    }
}

/// Parses a configuration; the errors are all problems that can be found.
pub(crate) fn parse(source: &SourceText, root: &Path, set: &SetPath) -> Result<Config, Vec<Error>> {
    read(ErrorCollector::new(source.clone(), Code::CONFIG).with_root(root, set))
}

/// Parses a configuration from history for its files and pins: its variables are never passed to
/// another process, so they are not restricted. The content of [`UNREAD_IN_PAST`] is not read.
pub(crate) fn parse_past(
    source: &SourceText,
    root: &Path,
    set: &SetPath,
) -> Result<Config, Vec<Error>> {
    let problems = ErrorCollector::new(source.clone(), Code::CONFIG);
    read(problems.with_root(root, set).past())
}

/// Blocks of which a past configuration may have other keys, from another version of repin. They concern neither files nor pins.
const UNREAD_IN_PAST: [&str; 3] = ["fleet", "rehearse", "report"];

fn read(problems: ErrorCollector) -> Result<Config, Vec<Error>> {
    let mut tree = problems.tree();
    if problems.is_past()
        && let Some(Value::Map(entries)) = tree.as_mut().map(|tree| &mut tree.value)
    {
        for (key, node) in entries {
            if UNREAD_IN_PAST.contains(&key.text.as_str()) {
                node.value = Value::Map(Vec::new());
            }
        }
    }
    let span = Span { start: 0, end: 0 };
    if tree.is_none() && !problems.has_problems() {
        problems.report(span, "the configuration is empty");
    }
    let text = String::new();
    let mut config = tree
        .as_ref()
        .and_then(|tree| Config::read(&Key { span, text }, tree, &problems));
    let set_key = problems.set_key();
    if let (Some(config), Some(Value::Map(entries))) = (&mut config, tree.map(|tree| tree.value))
        && !set_key.is_empty()
        && !entries.iter().any(|(key, _)| key.text == "name")
    {
        set_key.clone_into(&mut config.name);
    }
    let errors = problems.into_problems();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors),
    }
}

/// The JSON schema of a configuration.
pub(crate) fn schema() -> Json {
    let shape = Config::shape().with(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "repin.yaml",
        "description": "The configuration of repin. Its directory is the root: every path in it is \
            relative to the root and stays beneath it.",
        "if": {
            "propertyNames": {"enum": KEYS_WITHOUT_IMAGES},
            "anyOf": KEYS_OF_FORGES.map(|key| json!({"required": [key]})),
        },
        "else": {
            "required": ["images"],
            "if": {"not": {"required": ["fleet"]}},
            "then": {
                "properties": {"images": {"additionalProperties": {"required": ["pins"]}}},
                "if": {"not": {"required": ["files"]}},
                "then": {
                    "required": ["places"],
                    "properties": {
                        "places": {"minProperties": 1, "additionalProperties": {"required": ["files"]}},
                    },
                },
            },
        },
    }));
    let mut schema = shape.schema;
    schema["properties"]["places"]["allOf"] = json!([places::kinds_schema()]);
    schema
}

/// The keys of a configuration without images.
const KEYS_WITHOUT_IMAGES: [&str; 4] = ["version", "name", "forge", "freshness"];

/// The keys of which a configuration without images needs at least one.
const KEYS_OF_FORGES: [&str; 2] = ["forge", "freshness"];

/// Reports that `images` or `files` is missing. The repositories of a fleet and places can have their own files, and
/// a configuration that only describes a forge has neither.
fn check_subject(fields: &Fields<'_>) {
    if !fields.has("images") {
        let mut others = fields.known_entries().map(|(key, _)| key.text.as_str());
        let has_others = others.any(|key| !KEYS_WITHOUT_IMAGES.contains(&key));
        if !has_others && KEYS_OF_FORGES.iter().any(|key| fields.has(key)) {
            return;
        }
        fields.report_missing("images");
    }
    if !["files", "fleet", "places"]
        .iter()
        .any(|key| fields.has(key))
    {
        fields.report_missing("files");
    }
}

/// The last part of the path in messages.
fn file_name(source: &SourceText) -> String {
    let name = Path::new(&source.name)
        .file_name()
        .and_then(|name| name.to_str());
    name.unwrap_or(super::FILE_NAME).to_owned()
}

/// The version of the format.
pub struct Version;

impl KeyType for Version {
    type Value = usize;

    fn shape() -> Shape {
        Shape::new("`1`", json!({"const": 1}))
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<usize> {
        let version = problems.number(node)?;
        if version != 1 {
            let message =
                format!("version {version} is not supported: this release reads version 1");
            problems.report(node.span, message);
            return None;
        }
        Some(version)
    }
}

/// The name of a set.
pub struct Name;
text_type!(Name => String, "text on one line", (line_schema()), name);

fn name(text: &str) -> Result<String, &'static str> {
    if text.contains(char::is_control) {
        Err("the name contains a control character: it must be one line of text")
    } else {
        Ok(text.to_owned())
    }
}

/// The images of a set.
pub struct Images;
refined_type!(Images => ByName<Image>, {"minProperties": 1}, images::are_present, absent: Vec::new());

/// The scanned files.
pub struct Files;
refined_type!(Files => Globs, {"minItems": 1}, check_globs, absent: Globs::default());

fn check_globs(files: &Globs, node: &Node, problems: &ErrorCollector) -> bool {
    let is_empty = files.included().is_empty();
    if is_empty {
        problems.report(node.span, "`files` is empty, so no pin can be found");
    }
    !is_empty
}

/// A mapping with registries or prefixes of repositories as keys.
fn by_registry(description: &str, pattern: &str) -> Shape {
    let schema = json!({
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 255},
        "additionalProperties": {
            "description": description,
            "type": "string",
            "pattern": pattern,
        },
    });
    Shape::new("mapping by name", schema)
}

/// Other locations of repositories.
pub struct Sources;

impl KeyType for Sources {
    type Value = Vec<Mapping>;

    fn shape() -> Shape {
        by_registry(
            "`oci:DIR` for OCI image layouts beneath a directory under the root, or \
             `http[s]://HOST[:PORT][/PATH]` for a registry.",
            r"^(oci:.+|https?://[^@?#%\\\s/][^@?#%\\\s]*)$",
        )
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Vec<Mapping>> {
        let location = |text: &str| source_location(text, problems.root());
        let pairs = read_pairs(node, problems, Prefix::parse, location)?.into_iter();
        Some(
            pairs
                .map(|(prefix, location)| Mapping { prefix, location })
                .collect(),
        )
    }
}

/// Parses a mapping of texts to texts.
fn read_pairs<K, V, E: Display>(
    node: &Node,
    problems: &ErrorCollector,
    parse_key: impl Fn(&str) -> Result<K, E>,
    parse_value: impl Fn(&str) -> Result<V, String>,
) -> Option<Vec<(K, V)>> {
    let mut pairs = Vec::new();
    for (key, node) in problems.entries(node)? {
        let key = match parse_key(&key.text) {
            Ok(key) => Some(key),
            Err(error) => {
                problems.report(key.span, error.to_string());
                None
            }
        };
        pairs.push(key.zip(problems.parsed(node, &parse_value)));
    }
    pairs.into_iter().collect()
}

/// A location in the configuration: its directories are inside `root`.
fn source_location(text: &str, root: &Path) -> Result<SourceLocation, String> {
    match text.strip_prefix("oci:") {
        Some(".") => Ok(SourceLocation::Layouts(LayoutDirectory {
            path: root.to_owned(),
            configured: PathBuf::new(),
        })),
        Some(directory) => RelPath::parse(directory)
            .map(|path| SourceLocation::Layouts(LayoutDirectory::new(path.as_path(), root)))
            .map_err(|error| error.to_string()),
        None => SourceLocation::parse(text, root).map_err(|error| error.to_string()),
    }
}

/// Token servers by registry.
pub struct Realms;

impl KeyType for Realms {
    type Value = BTreeMap<String, String>;

    fn shape() -> Shape {
        by_registry("The token server's host.", r"^[A-Za-z0-9.:\[\]-]+$")
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self::Value> {
        let realms = read_pairs(node, problems, host, host)?;
        Some(realms.into_iter().collect())
    }
}

fn host(text: &str) -> Result<String, String> {
    if is_host(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "`{}` is not a host name with an optional port",
            plain(text)
        ))
    }
}

impl Config {
    /// The directory that the set path is relative to.
    pub fn top(&self) -> PathBuf {
        // As for the set path: the root may be reached by a symbolic link.
        let root = self.root.canonicalize();
        let mut top = root.unwrap_or_else(|_| self.root.clone());
        for _ in self.set_path.directory().components() {
            top.pop();
        }
        top
    }

    /// The command that returns to a build that no rollback finds.
    pub fn return_command(&self, revision: &str) -> String {
        let (option, revision) = (&self.option, shell(revision));
        format!("repin promote{option} --revision {revision} --allow-older")
    }

    /// The branch and the title of an operation.
    pub fn templates(&self, operation: Operation) -> ChangeTemplates<'_> {
        let (branch, title) = match operation {
            Operation::Promotion => (&self.promote.branch, &self.promote.title),
            Operation::Rollback => (&self.rollback.branch, &self.rollback.title),
        };
        ChangeTemplates { branch, title }
    }

    /// The configured forge, or the defaults.
    pub fn forge_or_default(&self) -> Forge {
        self.forge.clone().unwrap_or_default()
    }

    /// Refuses a configuration without images.
    pub fn has_images(&self) -> Result<(), Error> {
        if !self.images.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} has no `images`, so there are no pins for this command",
            self.file
        );
        let hint = "add `images` and `files`, or use `branch`, `gates`, `wait`, `freshness`, `status` or `doctor`, which need none";
        Err(Error::input(Code::CONFIG, message).help(hint))
    }

    /// Refuses a configuration without images, and that of a fleet without files and counts.
    pub fn counts_pins(&self) -> Result<(), Error> {
        self.has_images()?;
        let no_files = self.scanned.included().is_empty();
        if !no_files && self.images.iter().any(|image| image.pins > 0) {
            return Ok(());
        }
        let lacks = if no_files {
            "`files`"
        } else {
            "`pins` of any image"
        };
        let message = format!(
            "{} describes a fleet and lacks {lacks}: this command works on one repository",
            self.file
        );
        let hint = "use `repin set` with a fleet's configuration, or run this command with the configuration of one of its repositories";
        Err(Error::input(Code::CONFIG, message).help(hint))
    }

    /// The images by name, in the order of the configuration.
    pub fn image_names(&self) -> Vec<&str> {
        let names = self.images.iter().map(|image| image.name.as_str());
        names.collect()
    }

    /// The policy for comments of a place.
    pub fn comment_policy(&self, place: &PinPlace) -> CommentPolicy {
        place.comment.unwrap_or(self.comments)
    }

    /// The keys that the file sets, in its order: those of `blocks` and of each image with their
    /// whole path, such as `forge.base` or `images.fix.pins`, all others with the first part of it.
    pub fn written_keys(&self, blocks: &[&str]) -> Vec<String> {
        let mut keys = Vec::new();
        for (block, node) in entries(super::yaml::parse(&self.source_text.text).0) {
            let block = block.text;
            if block != "images" && !blocks.contains(&block.as_str()) {
                keys.push(block);
                continue;
            }
            for (key, node) in entries(Some(node)) {
                let path = format!("{block}.{}", key.text);
                if block == "images" {
                    let keys_of_image = entries(Some(node)).into_iter();
                    keys.extend(keys_of_image.map(|(key, _)| format!("{path}.{}", key.text)));
                } else {
                    keys.push(path);
                }
            }
        }
        keys
    }

    /// The image called `name`.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name == name)
    }

    /// The name of the configuration file, which is in the root.
    pub fn file_name(&self) -> &str {
        &self.file
    }

    /// The location of the number of pins of the image called `name`: line and column, from 1.
    pub fn count_at(&self, name: &str) -> Option<(usize, usize)> {
        let image = self.image(name)?;
        Some(self.location(image.pins_at, "").line_column())
    }

    /// A location in the configuration file.
    pub fn location(&self, span: Span, label: &str) -> Location {
        Location {
            source: self.source_text.clone(),
            span,
            label: label.to_owned(),
            quoted: true,
        }
    }
}

fn entries(node: Option<Node>) -> Vec<(Key, Node)> {
    match node.map(|node| node.value) {
        Some(Value::Map(entries)) => entries,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
