//! Where digests stand that are not behind their repository: the block `places`.

use std::path::Path;

use super::text;
use crate::{
    config::{
        path::Globs,
        raw::{ErrorCollector, Fields},
        yaml::{Key, Node},
    },
    error::Span,
    oci::Repository,
};

/// Where split pins of the images may stand.
#[derive(Debug, Clone)]
pub struct PinPlace {
    /// Its name in messages and documents.
    pub name: String,
    /// Where the name stands in the configuration.
    pub at: Span,
    /// What an entry is.
    pub kind: PlaceKind,
    /// The files that are looked into; `None`: those of `files` that have a name of the kind.
    pub files: Option<Globs>,
    /// What becomes of the comment behind a digest.
    pub comment: CommentPolicy,
}

/// What an entry of a place is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceKind {
    /// An item of `images:` in a kustomization.
    Kustomize,
    /// A mapping with `repository`.
    Helm {
        /// The registry of entries that have none.
        registry: Option<String>,
    },
    /// What a pointer chooses.
    Keys(Box<KeysRule>),
    /// A line with a comment that names an image.
    Marked,
}

/// What becomes of the comment behind a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommentPolicy {
    /// It stays.
    #[default]
    Keep,
    /// Its only word becomes the new tag.
    Tag,
}

/// The entries of a place of the kind `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysRule {
    /// Which mappings or lists are entries.
    pub entry: Vec<Step>,
    /// Whose they are.
    pub owner: Owner,
    /// The tag, from the entry on.
    pub tag: Option<Vec<Step>>,
    /// The digest, from the entry on.
    pub digest: Option<Vec<Step>>,
}

/// Whose an entry of the kind `keys` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The image with this name.
    Image(String),
    /// What these keys say, from the entry on.
    Keys {
        /// The registry, where it stands apart.
        registry: Option<Vec<Step>>,
        /// The repository.
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
    /// Every value or item at any depth, the node itself included.
    Deep,
    /// The items of a list that have this text under this key.
    Item {
        /// The key.
        key: String,
        /// The text.
        text: String,
    },
}

/// The file that makes a directory a Helm chart.
pub const CHART: &str = "Chart.yaml";
/// The directory of a chart that holds templates, which are not YAML.
const TEMPLATES: &str = "templates";
/// The names that kustomize looks for.
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

impl PlaceKind {
    /// Whether a file that `files` matches is one of this kind by its name; `exists` tells whether
    /// there is a file at a path.
    pub fn has_name(&self, path: &Path, exists: &dyn Fn(&Path) -> bool) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        match self {
            Self::Marked => true,
            Self::Kustomize => name.is_some_and(|name| KUSTOMIZATIONS.contains(&name)),
            Self::Helm { .. } | Self::Keys(_) => {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("yaml" | "yml" | "json")) && !is_template(path, exists)
            }
        }
    }

    /// As it is written in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kustomize => "kustomize",
            Self::Helm { .. } => "helm",
            Self::Keys(_) => "keys",
            Self::Marked => "marked",
        }
    }
}

/// The places, by their numbers, that look into a file: `files` are those of the configuration, and
/// `exists` tells whether there is a file at a path.
pub fn looking_into(
    places: &[PinPlace],
    files: &Globs,
    path: &Path,
    exists: &dyn Fn(&Path) -> bool,
) -> Vec<usize> {
    let looks = |place: &PinPlace| match &place.files {
        Some(own) => own.matches(path),
        None => files.matches(path) && place.kind.has_name(path, exists),
    };
    let places = places.iter().enumerate();
    places
        .filter(|(_, place)| looks(place))
        .map(|(at, _)| at)
        .collect()
}

/// Whether the file lies in the templates of a chart.
fn is_template(path: &Path, exists: &dyn Fn(&Path) -> bool) -> bool {
    let named = |directory: &&Path| directory.file_name().is_some_and(|name| name == TEMPLATES);
    let mut directories = path.ancestors().skip(1).filter(named);
    directories.any(|directory| exists(&directory.with_file_name(CHART)))
}

/// `comments` is what becomes of comments where a place does not say.
pub(in crate::config) fn places(
    g: &ErrorCollector,
    node: &Node,
    comments: CommentPolicy,
) -> Option<Vec<PinPlace>> {
    let entries = g.map(node)?.entries().iter();
    let places: Vec<_> = entries
        .map(|(key, value)| place(g, key, value, comments))
        .collect();
    places.into_iter().collect()
}

/// What becomes of comments.
pub(in crate::config) fn comment_policy(g: &ErrorCollector, node: &Node) -> Option<CommentPolicy> {
    let policies = [("keep", CommentPolicy::Keep), ("tag", CommentPolicy::Tag)];
    g.choice(node, &policies)
}

fn place(g: &ErrorCollector, key: &Key, node: &Node, comments: CommentPolicy) -> Option<PinPlace> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if key.text.is_empty() || !key.text.chars().all(plain) || key.text.starts_with('-') {
        g.report(
            key.span,
            format!(
                "`{}` cannot name a place: use letters, digits, `.`, `_` and `-`, and do not begin with `-`",
                key.text
            ),
        );
    }
    let fields = g.map(node)?;
    let word = kind_of(g, key, &fields)?;
    foreign_keys(g, &fields, word);
    let files = fields.optional("files", |node| files(g, node));
    let comment = if word == "marked" {
        Some(CommentPolicy::Keep)
    } else {
        fields.or("comment", comments, |node| comment_policy(g, node))
    };
    let kind = match word {
        "kustomize" => Some(PlaceKind::Kustomize),
        "helm" => helm(g, &fields),
        "keys" => keys(g, &fields),
        _ => Some(PlaceKind::Marked),
    };
    fields.done();
    Some(PinPlace {
        name: key.text.clone(),
        at: key.span,
        kind: kind?,
        files: files?,
        comment: comment?,
    })
}

/// The files that are searched: those of the configuration and those of its places.
pub(in crate::config) fn scanned(files: &Globs, places: &[PinPlace]) -> Globs {
    let mut scanned = files.clone();
    for own in places.iter().filter_map(|place| place.files.clone()) {
        scanned.add_list(own);
    }
    scanned
}

/// Reports places without files of their own, where the configuration has no `files`.
pub(in crate::config) fn places_have_files(g: &ErrorCollector, places: &[PinPlace]) {
    for place in places.iter().filter(|place| place.files.is_none()) {
        let message = format!(
            "the place `{}` has no `files`, and the configuration has none",
            place.name
        );
        g.report_hint(
            place.at,
            message,
            "add `files` to the place, or to the configuration",
        );
    }
}

/// Reports places whose `image` no image is called.
pub(in crate::config) fn owners_exist(g: &ErrorCollector, places: &[PinPlace], images: &[&str]) {
    for place in places {
        if let PlaceKind::Keys(rule) = &place.kind
            && let Owner::Image(name) = &rule.owner
            && !images.contains(&name.as_str())
        {
            let message = format!(
                "`image: {name}` of the place `{}` is not an image",
                place.name
            );
            g.report(place.at, message);
        }
    }
}

/// The names of the kinds.
const KINDS: [&str; 4] = ["kustomize", "helm", "keys", "marked"];

/// The kind that is written, or that the place is named after.
fn kind_of(g: &ErrorCollector, key: &Key, fields: &Fields<'_>) -> Option<&'static str> {
    if let Some(node) = fields.get("kind") {
        return g.choice(node, &KINDS.map(|name| (name, name)));
    }
    let named = KINDS.into_iter().find(|name| *name == key.text);
    if named.is_none() {
        g.report_hint(
            key.span,
            format!(
                "the key `kind` is missing: `{}` is not the name of a kind",
                key.text
            ),
            "add `kind: kustomize`, `helm`, `keys` or `marked`",
        );
    }
    named
}

/// Reports keys that have no meaning for the kind.
fn foreign_keys(g: &ErrorCollector, fields: &Fields<'_>, kind: &str) {
    let kinds: [(&'static str, &[&str]); 7] = [
        ("comment", &["kustomize", "helm", "keys"]),
        ("registry", &["helm", "keys"]),
        ("entry", &["keys"]),
        ("image", &["keys"]),
        ("repository", &["keys"]),
        ("tag", &["keys"]),
        ("digest", &["keys"]),
    ];
    for (name, kinds) in kinds {
        fields.also_known(name);
        let written = fields.entries().iter().find(|(key, _)| key.text == name);
        if let Some((key, _)) = written.filter(|_| !kinds.contains(&kind)) {
            g.report_hint(
                key.span,
                format!("`{name}` does not apply to the kind `{kind}`"),
                "remove it",
            );
        }
    }
}

fn files(g: &ErrorCollector, node: &Node) -> Option<Globs> {
    let globs = g.globs(node)?;
    if globs.included().is_empty() {
        g.report_hint(
            node.span,
            "this list names no file",
            "leave `files` out for the files that `files:` matches",
        );
        return None;
    }
    Some(globs)
}

fn helm(g: &ErrorCollector, fields: &Fields<'_>) -> Option<PlaceKind> {
    let registry = fields.or("registry", None, |node| {
        let text = g.string(node)?;
        if text.is_empty() {
            return Some(None);
        }
        // What stands before a slash must make a repository of what follows.
        match Repository::parse(&format!("{text}/a")) {
            Ok(_) => Some(Some(text.to_owned())),
            Err(error) => {
                g.report(node.span, error.to_string());
                None
            }
        }
    });
    Some(PlaceKind::Helm {
        registry: registry?,
    })
}

fn keys(g: &ErrorCollector, fields: &Fields<'_>) -> Option<PlaceKind> {
    let entry = fields.required("entry", |node| {
        g.parsed(node, |text| match text.strip_prefix('/') {
            Some(rest) => steps(rest),
            None => Err(format!("`{text}` is not a pointer: it must begin with `/`")),
        })
    });
    let key = |name: &'static str| {
        fields.optional(name, |node| {
            g.parsed(node, |text| within(steps(text)?, text))
        })
    };
    let (registry, repository) = (key("registry"), key("repository"));
    let (tag, digest) = (key("tag"), key("digest"));
    let image = fields.optional("image", |node| text(g, node));
    let (registry, repository, image) = (registry?, repository?, image?);
    let (tag, digest) = (tag?, digest?);
    let problem = |message: &str| {
        let at = Span {
            start: fields.span.start,
            end: fields.span.start,
        };
        g.report(at, message.to_owned());
        None
    };
    let owner = match (image, repository) {
        (Some(_), Some(_)) => return problem("`image` and `repository` exclude each other"),
        (Some(_), None) if registry.is_some() => {
            return problem("`image` and `registry` exclude each other");
        }
        (Some(image), None) => Owner::Image(image),
        (None, Some(repository)) => Owner::Keys {
            registry,
            repository,
        },
        (None, None) => {
            return problem(
                "the key `repository` or `image` is missing: one of them must name the image",
            );
        }
    };
    if tag.is_none() && digest.is_none() {
        return problem(
            "the key `digest` or `tag` is missing: one of them must name the key of the digest",
        );
    }
    Some(PlaceKind::Keys(Box::new(KeysRule {
        entry: entry?,
        owner,
        tag,
        digest,
    })))
}

/// The steps of a pointer without its leading slash (RFC 6901), with `*`, `**` and `[key=text]`.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let (step, behind) = step(rest)?;
        steps.push(step);
        match behind.strip_prefix('/') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(steps),
            None => return Err(format!("`{behind}` cannot follow `]`")),
        }
    }
}

/// The first step, and what follows it.
fn step(text: &str) -> Result<(Step, &str), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let (inner, behind) = inner
            .split_once(']')
            .ok_or_else(|| format!("`]` is missing in `{text}`"))?;
        let (key, value) = inner
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("`[{inner}]` must be written `[key=text]`"))?;
        let (key, text) = (key.to_owned(), value.to_owned());
        return Ok((Step::Item { key, text }, behind));
    }
    let end = text.find('/').unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    let step = match word {
        "*" => Step::Any,
        "**" => Step::Deep,
        "" => return Err("a step of the pointer is empty".to_owned()),
        _ => Step::Key(word.replace("~1", "/").replace("~0", "~")),
    };
    Ok((step, behind))
}

/// Steps that name one value of an entry.
fn within(steps: Vec<Step>, text: &str) -> Result<Vec<Step>, String> {
    let one = |step: &Step| matches!(step, Step::Key(_) | Step::Item { .. });
    if steps.iter().all(one) {
        Ok(steps)
    } else {
        Err(format!(
            "`{text}` may name several values: `*` and `**` belong into `entry`"
        ))
    }
}

/// The directory above the templates that `directory` lies in: whether they are a chart's shows there.
pub fn above_templates(directory: &Path) -> Option<&Path> {
    let named = |directory: &&Path| directory.file_name().is_some_and(|name| name == TEMPLATES);
    directory.ancestors().filter(named).last()?.parent()
}
