//! Split pins, which are separate from their repository: the block `places`.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::{
    keys::{KeyType, Named, Shape, block, choices, refined_type},
    reader::{ErrorCollector, Fields},
    types::{Text, is_name, name_schema, text_type},
    yaml::{Key, Node},
};
use crate::{
    base::{
        error::Span,
        files::{CHART, Globs},
    },
    oci::Repository,
};

/// A place of split pins.
#[derive(Debug, Clone)]
pub struct PinPlace {
    /// The name in messages and documents.
    pub name: String,
    /// The span of the name in the configuration.
    pub span: Span,
    /// The spans of the keys that select values in a file.
    pub keys: PlaceSpans,
    pub kind: PlaceKind,
    /// The files that are searched; `None`: those of the configuration's `files` that are also in
    /// `default_files`.
    pub files: Option<Globs>,
    pub default_files: DefaultFiles,
    /// `None`: the policy of the configuration.
    pub comment: Option<CommentPolicy>,
}

/// The spans of the values of a place's keys; `None` without the key.
#[derive(Debug, Clone, Default)]
pub struct PlaceSpans {
    pub entry: Option<Span>,
    pub registry: Option<Span>,
    pub repository: Option<Span>,
    pub tag: Option<Span>,
    pub digest: Option<Span>,
}

/// The kind of the entries of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceKind {
    Yaml(YamlKind),
    Text(TextKind),
}

/// A kind of entries that are values in YAML or JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YamlKind {
    /// Items of `images:` in a kustomization.
    Kustomize,
    /// Mappings with `repository`.
    Helm {
        /// The registry of entries without one.
        registry: Option<String>,
    },
    /// Values that a pointer selects.
    Keys(Box<KeysRule>),
}

/// A kind of entries that are lines of any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// Lines with a comment that names an image.
    Marked,
}

choices! {
    /// The effect of a promotion on the comment after a digest.
    #[derive(Default)]
    pub enum CommentPolicy {
        #[default]
        Keep = "keep",
        /// The single word of the comment is replaced with the new tag.
        Tag = "tag",
    }
}

/// The entries of a place of the kind `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysRule {
    /// The mappings or lists that are entries.
    pub entry: Vec<Step>,
    pub owner: Owner,
    /// The tag, from the entry on.
    pub tag: Option<Vec<Step>>,
    /// The digest, from the entry on.
    pub digest: Option<Vec<Step>>,
}

/// The image of an entry of the kind `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The image with this name.
    Image(String),
    /// The repository that the entry contains.
    Keys {
        /// The registry, if it is written apart.
        registry: Option<Vec<Step>>,
        repository: Vec<Step>,
    },
}

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of a key, or an item of a list by its number.
    Key(String),
    /// Every value or item.
    Any,
    /// Every value or item at any depth, including the node itself.
    Deep,
    /// The items of a list that have this text under this key.
    Item { key: String, text: String },
}

block! {
    /// The keys of a place of any kind.
    struct PlaceKeys {
        /// The form of an entry: an item of `images:` in a kustomization (`kustomize`), a mapping
        /// with `repository` (`helm`), a value that `entry` selects (`keys`), or a line with a
        /// comment `repin: NAME` (`marked`). Default: the place's name, if that is a kind.
        kind: Option<KindName>,
        /// Globs of the files that are searched for entries. Default: the files of `files` that the
        /// kind recognizes by name.
        files: Option<PlaceFiles>,
        /// The comment after a digest: left unchanged (`keep`), or its single word is replaced with
        /// the new tag (`tag`). Default: `comments`. Not for `marked`.
        comment: Option<CommentPolicy>,
        /// `keys`: a JSON pointer to the mappings or lists that are entries; `*` matches one level,
        /// `**` any depth, `[key=text]` an item of a list.
        entry: Option<EntryPointer>,
        /// `keys`: the image of every entry. Excludes `repository`.
        image: Option<Text>,
        /// `helm`: the registry of entries without one. `keys`: the key that contains the registry.
        registry: Option<Registry>,
        /// `keys`: the key that contains the repository.
        repository: Option<EntryKey>,
        /// `keys`: the key that contains the tag, or tag and digest as `TAG@sha256:…`.
        tag: Option<EntryKey>,
        /// `keys`: the key that contains the digest.
        digest: Option<EntryKey>,
    }
    rules |fields| {
        check_place(fields, kind.flatten(), registry.as_ref().and_then(|text| text.as_deref()));
    }
}

choices! {
    enum KindName {
        Kustomize = "kustomize",
        Helm = "helm",
        Keys = "keys",
        Marked = "marked",
    }
}

impl KindName {
    /// The keys of a place in addition to `kind` and `files`, and its files if it has no `files`.
    fn row(self) -> (&'static [&'static str], DefaultFiles) {
        const KEYS: &[&str] = &[
            "comment",
            "entry",
            "image",
            "registry",
            "repository",
            "tag",
            "digest",
        ];
        match self {
            Self::Kustomize => (&["comment"], DefaultFiles::Kustomizations),
            Self::Helm => (&["comment", "registry"], DefaultFiles::Values),
            Self::Keys => (KEYS, DefaultFiles::Values),
            Self::Marked => (&[], DefaultFiles::All),
        }
    }

    /// The kind of the place called `name` that has no key `kind`.
    fn from_place(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

fn check_place(fields: &Fields<'_>, kind: Option<KindName>, registry: Option<&str>) {
    let (problems, name) = (fields.problems, &fields.key.text);
    let is_written = fields.has("kind");
    let kind = if is_written {
        kind
    } else {
        KindName::from_place(name)
    };
    let Some(kind) = kind else {
        if !is_written {
            problems.report_hint(
                fields.key.span,
                format!("the key `kind` is missing: `{name}` is not the name of a kind"),
                format!(
                    "add `kind: {}",
                    KindName::shape().name.trim_start_matches('`')
                ),
            );
        }
        return;
    };
    let (keys, _) = kind.row();
    for (key, _) in fields.known_entries() {
        let name = key.text.as_str();
        if !["kind", "files"].contains(&name) && !keys.contains(&name) {
            let message = format!("`{name}` does not apply to the kind `{}`", kind.as_str());
            problems.report_hint(key.span, message, "remove it");
        }
    }
    if let (Some(node), Some(text)) = (fields.node("registry"), registry) {
        if kind == KindName::Keys {
            problems.parsed(node, entry_key);
        } else if kind == KindName::Helm
            && let Err(error) = helm_registry(text)
        {
            problems.report(node.span, error);
        }
    }
    if kind == KindName::Keys {
        check_keys(fields);
    }
}

fn check_keys(fields: &Fields<'_>) {
    if !fields.has("entry") {
        fields.report_missing("entry");
    }
    if fields.has("image") {
        for key in ["repository", "registry"] {
            if fields.has(key) {
                fields.report(format!("`image` and `{key}` exclude each other"));
                return;
            }
        }
    } else if !fields.has("repository") {
        fields
            .report("the key `repository` or `image` is missing: one of them must name the image");
        return;
    }
    if !fields.has("tag") && !fields.has("digest") {
        fields.report(
            "the key `digest` or `tag` is missing: one of them must name the key of the digest",
        );
    }
}

impl KeyType for PinPlace {
    type Value = Self;

    fn shape() -> Shape {
        PlaceKeys::shape().with(&json!({
            "if": {"properties": {"kind": {"const": "keys"}}, "required": ["kind"]},
            "then": keys_schema(),
        }))
    }

    fn read(key: &Key, node: &Node, problems: &ErrorCollector) -> Option<Self> {
        let keys = PlaceKeys::read(key, node, problems)?;
        let name = keys.kind.or_else(|| KindName::from_place(&key.text))?;
        let kind = match name {
            KindName::Kustomize => PlaceKind::Yaml(YamlKind::Kustomize),
            KindName::Helm => PlaceKind::Yaml(YamlKind::Helm {
                registry: helm_registry(&keys.registry.unwrap_or_default()).ok()?,
            }),
            KindName::Keys => {
                let owner = match (keys.image, keys.registry) {
                    (Some(image), _) => Owner::Image(image),
                    (None, registry) => Owner::Keys {
                        registry: registry.map(|text| entry_key(&text)).transpose().ok()?,
                        repository: keys.repository?,
                    },
                };
                PlaceKind::Yaml(YamlKind::Keys(Box::new(KeysRule {
                    entry: keys.entry?,
                    owner,
                    tag: keys.tag,
                    digest: keys.digest,
                })))
            }
            KindName::Marked => PlaceKind::Text(TextKind::Marked),
        };
        let (allowed, default_files) = name.row();
        let comment = (!allowed.contains(&"comment")).then_some(CommentPolicy::Keep);
        let span = |key: &str| node.pointer(key).map(|value| value.span);
        Some(Self {
            name: key.text.clone(),
            span: key.span,
            keys: PlaceSpans {
                entry: span("/entry"),
                registry: span("/registry"),
                repository: span("/repository"),
                tag: span("/tag"),
                digest: span("/digest"),
            },
            kind,
            files: keys.files,
            default_files,
            comment: keys.comment.or(comment),
        })
    }
}

/// The keys of a place of the kind `keys`.
fn keys_schema() -> Json {
    json!({
        "required": ["entry"],
        "oneOf": [
            {"required": ["image"], "not": {"required": ["registry"]}},
            {"required": ["repository"]},
        ],
        "anyOf": [{"required": ["digest"]}, {"required": ["tag"]}],
    })
}

/// The schema of a place that is called like its kind, or has the key `kind`.
pub(super) fn kinds_schema() -> Json {
    let mut names = serde_json::Map::new();
    for kind in KindName::ALL {
        let schema = if kind == KindName::Keys {
            json!({"if": {"not": {"required": ["kind"]}}, "then": keys_schema()})
        } else {
            json!(true)
        };
        names.insert(kind.as_str().to_owned(), schema);
    }
    json!({"properties": names, "additionalProperties": {"required": ["kind"]}})
}

impl Named for PinPlace {
    fn name_schema() -> Json {
        name_schema()
    }

    fn name_problem(name: &str) -> Option<String> {
        (!is_name(name)).then(|| {
            format!("`{name}` cannot name a place: use letters, digits, `.`, `_` and `-`, and do not begin with `-`")
        })
    }
}

/// The files of a place.
struct PlaceFiles;
refined_type!(PlaceFiles => Globs, {"minItems": 1}, check_place_files);

fn check_place_files(files: &Globs, node: &Node, problems: &ErrorCollector) -> bool {
    let is_empty = files.included().is_empty();
    if is_empty {
        problems.report_hint(
            node.span,
            "this list names no file",
            "leave `files` out for the files that `files:` matches",
        );
    }
    !is_empty
}

/// A registry of `helm`, which may be empty, or a key of `keys`.
struct Registry;

impl KeyType for Registry {
    type Value = String;

    fn shape() -> Shape {
        Shape::new("text", json!({"type": "string"}))
    }

    fn read(_: &Key, node: &Node, problems: &ErrorCollector) -> Option<String> {
        problems.string(node).map(str::to_owned)
    }
}

fn helm_registry(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // A registry and a path must form a repository.
    match Repository::parse(&format!("{text}/a")) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(error) => Err(error.to_string()),
    }
}

struct EntryPointer;
text_type!(
    EntryPointer => Vec<Step>,
    "JSON pointer",
    {"type": "string", "pattern": "^/"},
    entry_pointer
);

fn entry_pointer(text: &str) -> Result<Vec<Step>, String> {
    match text.strip_prefix('/') {
        Some(rest) => steps(rest),
        None => Err(format!("`{text}` is not a pointer: it must begin with `/`")),
    }
}

/// Steps from an entry to one value.
struct EntryKey;
text_type!(EntryKey => Vec<Step>, "text", {"type": "string", "minLength": 1}, entry_key);

fn entry_key(text: &str) -> Result<Vec<Step>, String> {
    let steps = steps(text)?;
    if steps
        .iter()
        .all(|step| matches!(step, Step::Key(_) | Step::Item { .. }))
    {
        Ok(steps)
    } else {
        Err(format!(
            "`{text}` may name several values: `*` and `**` belong into `entry`"
        ))
    }
}

/// The steps of a pointer without its leading slash (RFC 6901), with `*`, `**` and `[key=text]`.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let (step, after) = step(rest)?;
        steps.push(step);
        match after.strip_prefix('/') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(steps),
            None => return Err(format!("`{after}` cannot follow `]`")),
        }
    }
}

/// The first step, and the rest of the text.
fn step(text: &str) -> Result<(Step, &str), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let (inner, after) = inner
            .split_once(']')
            .ok_or_else(|| format!("`]` is missing in `{text}`"))?;
        let (key, value) = inner
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("`[{inner}]` must be written `[key=text]`"))?;
        let (key, text) = (key.to_owned(), value.to_owned());
        return Ok((Step::Item { key, text }, after));
    }
    let end = text.find('/').unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let step = match word {
        "*" => Step::Any,
        "**" => Step::Deep,
        "" => return Err("a step of the pointer is empty".to_owned()),
        _ => Step::Key(word.replace("~1", "/").replace("~0", "~")),
    };
    Ok((step, after))
}

/// All files that are searched: those of the configuration and those of its places.
pub(super) fn scanned(files: &Globs, places: &[PinPlace]) -> Globs {
    let mut scanned = files.clone();
    for own in places.iter().filter_map(|place| place.files.clone()) {
        scanned.add_list(own);
    }
    scanned
}

/// Reports places without files of their own, where the configuration has no `files`.
pub(super) fn check_files(problems: &ErrorCollector, places: &[PinPlace]) {
    for place in places.iter().filter(|place| place.files.is_none()) {
        let message = format!(
            "the place `{}` has no `files`, and the configuration has none",
            place.name
        );
        problems.report_hint(
            place.span,
            message,
            "add `files` to the place, or to the configuration",
        );
    }
}

/// Reports places of images that do not exist.
pub(super) fn check_images(problems: &ErrorCollector, places: &[PinPlace], images: &[&str]) {
    for place in places {
        if let PlaceKind::Yaml(YamlKind::Keys(rule)) = &place.kind
            && let Owner::Image(name) = &rule.owner
            && !images.contains(&name.as_str())
        {
            let message = format!(
                "`image: {name}` of the place `{}` is not an image",
                place.name
            );
            problems.report(place.span, message);
        }
    }
}

/// The directory of a chart's templates, which are not YAML.
const TEMPLATES: &str = "templates";
/// The names of kustomizations.
pub(crate) const KUSTOMIZATIONS: [&str; 3] =
    ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The files of a place without `files`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultFiles {
    Kustomizations,
    /// YAML and JSON, except the templates of charts.
    Values,
    All,
}

impl DefaultFiles {
    /// Whether they include a file. `exists` reports whether a path is a file.
    pub(crate) fn matches(self, path: &Path, exists: &dyn Fn(&Path) -> bool) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        match self {
            Self::All => true,
            Self::Kustomizations => name.is_some_and(|name| KUSTOMIZATIONS.contains(&name)),
            Self::Values => {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("yaml" | "yml" | "json")) && !is_template(path, exists)
            }
        }
    }
}

/// The numbers of the places that search a file. `files` are those of the configuration, and
/// `exists` reports whether a path is a file.
pub(crate) fn places_of(
    places: &[PinPlace],
    files: &Globs,
    path: &Path,
    exists: &dyn Fn(&Path) -> bool,
) -> Vec<usize> {
    let mut numbers = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let is_searched = match &place.files {
            Some(own) => own.matches(path),
            None => files.matches(path) && place.default_files.matches(path, exists),
        };
        if is_searched {
            numbers.push(number);
        }
    }
    numbers
}

/// Whether a file is in the templates of a chart.
fn is_template(path: &Path, exists: &dyn Fn(&Path) -> bool) -> bool {
    path.ancestors()
        .skip(1)
        .any(|directory| has_templates_name(directory) && exists(&directory.with_file_name(CHART)))
}

fn has_templates_name(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name == TEMPLATES)
}

/// The directory that contains the outermost `templates` of `directory`. A `Chart.yaml` in it makes
/// them the templates of a chart.
pub(crate) fn above_templates(directory: &Path) -> Option<&Path> {
    let templates = directory
        .ancestors()
        .filter(|path| has_templates_name(path));
    templates.last()?.parent()
}
