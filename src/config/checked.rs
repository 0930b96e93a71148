//! The configuration as the rest of the program sees it: defaults filled in, everything parsed,
//! nothing contradictory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    blocks::{
        self, CommentPolicy, Fleet, Forge, Freshness, Inventory, PinPlace, Prune, Smoke, Verify,
        looking_into,
    },
    images::{self, Image, ImageInventory},
    operation::Operation,
    path::{Globs, RelPath},
    raw::{ErrorCollector, Fields},
    sources::{Mapping, Prefix, Where},
    template::Template,
    yaml::{Key, Node},
};
use crate::{
    code::Code,
    error::{Error, Place, SourceText, Span},
    oci::{Pattern, Revision},
    untrusted::plain,
};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that every path is relative to.
    pub root: PathBuf,
    /// The file's text, for places in it.
    pub source: SourceText,
    /// The name of the file, which lies in the root.
    pub file: String,
    /// The set's name in titles.
    pub name: String,
    /// The files that are scanned for whole references, beside those of places.
    pub files: Globs,
    /// All files that are scanned: those of `files` and of every place.
    pub scanned: Globs,
    /// Where split pins may stand.
    pub places: Vec<PinPlace>,
    /// What becomes of a comment behind a whole pin that names the version.
    pub comments: CommentPolicy,
    /// Whether files that git ignores and does not track are scanned too.
    pub ignored_files: bool,
    /// What becomes of digests that no pin accounts for.
    pub outside: Outside,
    /// Where repositories are read from, if not from the registry that they name.
    pub sources: Vec<Mapping>,
    /// Token servers that a registry's credentials go to although they are another host: registry →
    /// token server.
    pub realms: BTreeMap<String, String>,
    /// The form of a revision, its tag and its label.
    pub revision: Revisions,
    /// The images of the set, in the order of the file; at least one has pins, unless there is a
    /// fleet.
    pub images: Vec<Image>,
    /// What reports show.
    pub report: Report,
    /// What an image must contain.
    pub inventory: Option<Inventory>,
    /// A command that must work in the image.
    pub smoke: Option<Smoke>,
    /// The signatures and attestations that images must carry.
    pub verify: Option<Verify>,
    /// Where promoted sets are looked up.
    pub provenance: Provenance,
    /// How promotes are named.
    pub promote: ChangeNames,
    /// How rollbacks are named.
    pub rollback: ChangeNames,
    /// What may be deleted.
    pub prune: Option<Prune>,
    /// Pinned references to other repositories.
    pub freshness: Vec<Freshness>,
    /// The forge, as far as it is configured.
    pub forge: Option<Forge>,
    /// What holds for the repositories of a fleet.
    pub fleet: Option<Fleet>,
}

/// What becomes of digests in the tree that no pin accounts for.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// How they are judged.
    pub policy: OutsidePolicy,
    /// Files in which they are expected.
    pub ignore: Globs,
}

/// How a digest that no pin accounts for is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutsidePolicy {
    /// It warns.
    #[default]
    Warn,
    /// It fails.
    Refuse,
    /// Nothing is looked for.
    Ignore,
}

/// The form of a revision, and where it is found.
#[derive(Debug, Clone)]
pub struct Revisions {
    /// The shape of the whole string.
    pub pattern: Pattern,
    /// How a revision becomes a tag.
    pub tag: Template,
    /// The label that carries it.
    pub label: String,
}

impl Revisions {
    /// The revision whose tag this is, as far as its shape tells.
    pub fn of_tag(&self, tag: &str) -> Option<Revision> {
        let revision = self.tag.revision_in(tag, "")?;
        self.pattern.revision(revision).ok()
    }
}

/// What reports show.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Labels to show, in this order.
    pub labels: Vec<String>,
    /// A template for the pull request's body.
    pub template: Option<RelPath>,
}

/// Where promoted sets are looked up in history.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// A remote-tracking branch; `None` is the remote's default branch.
    pub branch: Option<String>,
    /// Whether a commit's title or trailer must say so, beside its content.
    pub require_title: bool,
}

impl Default for Provenance {
    fn default() -> Self {
        Self {
            branch: None,
            require_title: true,
        }
    }
}

/// Branch and title of one kind of change.
#[derive(Debug, Clone)]
pub struct ChangeNames {
    /// The branch's name.
    pub branch: Template,
    /// The commit's and pull request's title.
    pub title: Template,
    /// Whether a newer pull request closes the older one.
    pub supersede: bool,
}

/// Reads a configuration from its text; every problem that can be found is in the error.
pub fn parse(source: &SourceText, root: &Path) -> Result<Config, Vec<Error>> {
    gathered(
        ErrorCollector::new(source.clone(), Code::CONFIG),
        source,
        root,
    )
}

/// Reads what once was the configuration, by the rules that concern reading files and history; what
/// it would hand on to others is of no concern.
pub fn parse_past(source: &SourceText, root: &Path) -> Result<Config, Vec<Error>> {
    let gather = ErrorCollector::new(source.clone(), Code::CONFIG);
    gathered(gather.of_the_past(), source, root)
}

fn gathered(
    gather: ErrorCollector,
    source: &SourceText,
    root: &Path,
) -> Result<Config, Vec<Error>> {
    let tree = gather.tree();
    if tree.is_none() && !gather.has_problems() {
        gather.report(Span { start: 0, end: 0 }, "the configuration is empty");
    }
    let fields = tree.as_ref().and_then(|tree| gather.map(tree));
    let config = fields.and_then(|fields| whole(&gather, &fields, source, root));
    let errors = gather.into_problems();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors),
    }
}

fn whole(
    g: &ErrorCollector,
    fields: &Fields<'_>,
    source: &SourceText,
    root: &Path,
) -> Option<Config> {
    // Each part is read before the first `?`, so that one run reports the problems of all.
    let version = fields.required("version", |node| version(g, node));
    let name = fields.or("name", "images".to_owned(), |node| name(g, node));
    let (files, counts) = files_and_counts(g, fields);
    let ignored = [("exclude", false), ("include", true)];
    let ignored_files = fields.or("files_ignored", false, |node| g.choice(node, &ignored));
    let outside = outside(g, fields);
    let sources = fields.or("sources", Vec::new(), |node| sources(g, node, root));
    let realms = fields.or("realms", BTreeMap::new(), |node| realms(g, node));
    let revision = revisions(g, fields.get("revision"));
    let images = fields.required("images", |node| images::images(g, node, counts));
    let comments = fields.get("comments");
    let comments = comments.and_then(|node| blocks::comment_policy(g, node));
    let comments = comments.unwrap_or_default();
    let places = places(g, fields, comments, images.as_deref());
    let report = fields.or("report", Report::default(), |node| report(g, node));
    let inventory = fields.optional("inventory", |node| blocks::inventory(g, node));
    let smoke = fields.optional("smoke", |node| blocks::smoke(g, node));
    let verify = fields.optional("verify", |node| {
        let verify = blocks::verify(g, node)?;
        let names = images.iter().flatten().map(|image| image.name.as_str());
        blocks::images_are_signed(g, node.span, &verify, &names.collect::<Vec<_>>());
        Some(verify)
    });
    let provenance = fields.or("provenance", Provenance::default(), |n| provenance(g, n));
    let promote = naming(g, fields, Operation::Promotion);
    let rollback = naming(g, fields, Operation::Rollback);
    let prune = fields.optional("prune", |node| blocks::prune(g, node));
    let freshness = fields.or("freshness", Vec::new(), |node| blocks::freshness(g, node));
    let forge = fields.optional("forge", |node| blocks::forge(g, node));
    let fleet = fields.optional("fleet", |node| blocks::fleet(g, node));
    fields.done();
    version?;
    let (files, places) = (files?, places?);
    Some(Config {
        root: root.to_owned(),
        source: source.clone(),
        file: name_of(source),
        name: name?,
        scanned: blocks::scanned(&files, &places),
        files,
        places,
        comments,
        ignored_files: ignored_files?,
        outside: outside?,
        sources: sources?,
        realms: realms?,
        revision: revision?,
        images: images?,
        report: report?,
        inventory: inventory?,
        smoke: smoke?,
        verify: verify?,
        provenance: provenance?,
        promote: promote?,
        rollback: rollback?,
        prune: prune?,
        freshness: freshness?,
        forge: forge?,
        fleet: fleet?,
    })
}

/// The key `places`, whose places have files and images.
fn places(
    g: &ErrorCollector,
    fields: &Fields<'_>,
    comments: CommentPolicy,
    images: Option<&[Image]>,
) -> Option<Vec<PinPlace>> {
    let places = fields.or("places", Vec::new(), |node| {
        blocks::places(g, node, comments)
    })?;
    if let Some(images) = images {
        let names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
        blocks::owners_exist(g, &places, &names);
    }
    if fields.get("fleet").is_none() && fields.get("files").is_none() {
        blocks::places_have_files(g, &places);
    }
    Some(places)
}

fn version(g: &ErrorCollector, node: &Node) -> Option<()> {
    match g.number(node)? {
        1 => Some(()),
        other => {
            g.report(
                node.span,
                format!("version {other} is not supported: this release reads version 1"),
            );
            None
        }
    }
}

fn name(g: &ErrorCollector, node: &Node) -> Option<String> {
    g.parsed(node, |text| {
        if text.contains(char::is_control) {
            Err("the name contains a control character: it must be one line of text")
        } else {
            Ok(text.to_owned())
        }
    })
}

/// The key `files`, and whether images state counts. A fleet's own configuration may leave both to its
/// repositories, and places may have files of their own.
fn files_and_counts(g: &ErrorCollector, fields: &Fields<'_>) -> (Option<Globs>, images::Counts) {
    let [fleet, places] = ["fleet", "places"].map(|key| fields.get(key).is_some());
    let files = if fleet || places {
        fields.or("files", Globs::default(), |node| files(g, node))
    } else {
        fields.required("files", |node| files(g, node))
    };
    let counts = if fleet {
        images::Counts::Optional
    } else {
        images::Counts::Required
    };
    (files, counts)
}

fn files(g: &ErrorCollector, node: &Node) -> Option<Globs> {
    let globs = g.globs(node)?;
    if globs.included().is_empty() {
        g.report(node.span, "`files` is empty, so no pin can be found");
        return None;
    }
    Some(globs)
}

fn outside(g: &ErrorCollector, fields: &Fields<'_>) -> Option<Outside> {
    let policies = [
        ("warn", OutsidePolicy::Warn),
        ("refuse", OutsidePolicy::Refuse),
        ("ignore", OutsidePolicy::Ignore),
    ];
    let policy = fields.or("outside", OutsidePolicy::Warn, |node| {
        g.choice(node, &policies)
    });
    let ignore = fields.or("outside_ignore", Globs::default(), |node| g.globs(node));
    Some(Outside {
        policy: policy?,
        ignore: ignore?,
    })
}

fn sources(g: &ErrorCollector, node: &Node, root: &Path) -> Option<Vec<Mapping>> {
    let read = |(key, value): &(Key, Node)| {
        let prefix = Prefix::parse(&key.text)
            .map_err(|error| g.report(key.span, error.to_string()))
            .ok();
        let place = g.parsed(value, |text| {
            if let Some(directory) = text.strip_prefix("oci:") {
                let directory = if directory == "." {
                    Ok(root.to_owned())
                } else {
                    RelPath::parse(directory).map(|p| root.join(p.as_path()))
                };
                return directory
                    .map(Where::Layouts)
                    .map_err(|error| error.to_string());
            }
            Where::parse(text, root).map_err(|error| error.to_string())
        });
        Some(Mapping {
            prefix: prefix?,
            place: place?,
        })
    };
    let mappings: Vec<_> = g.map(node)?.entries().iter().map(read).collect();
    mappings.into_iter().collect()
}

fn realms(g: &ErrorCollector, node: &Node) -> Option<BTreeMap<String, String>> {
    let host = |text: &str| {
        let wrong = || format!("`{}` is not a host name with an optional port", plain(text));
        super::sources::is_host(text)
            .then(|| text.to_ascii_lowercase())
            .ok_or_else(wrong)
    };
    let read = |(key, value): &(Key, Node)| {
        let registry = host(&key.text)
            .map_err(|reason| g.report(key.span, reason))
            .ok();
        let server = g.parsed(value, host);
        Some((registry?, server?))
    };
    let realms: Vec<_> = g.map(node)?.entries().iter().map(read).collect();
    realms.into_iter().collect()
}

fn revisions(g: &ErrorCollector, node: Option<&Node>) -> Option<Revisions> {
    let default = || {
        Some(Revisions {
            pattern: Pattern::parse("[0-9a-f]{40}").ok()?,
            tag: Template::parse("{revision}", false).ok()?,
            label: "org.opencontainers.image.revision".to_owned(),
        })
    };
    let Some(node) = node else { return default() };
    let fields = g.map(node)?;
    let default = default()?;
    let pattern = fields.or("pattern", default.pattern, |node| {
        g.parsed(node, Pattern::parse)
    });
    let tag = fields.or("tag", default.tag, |node| {
        g.parsed(node, |text| Template::parse(text, false))
    });
    let label = fields.or("label", default.label, |node| {
        g.nonempty(node).map(str::to_owned)
    });
    fields.done();
    Some(Revisions {
        pattern: pattern?,
        tag: tag?,
        label: label?,
    })
}

fn report(g: &ErrorCollector, node: &Node) -> Option<Report> {
    let fields = g.map(node)?;
    let labels = fields.or("labels", Vec::new(), |node| g.strings(node));
    let template = fields.optional("template", |node| g.parsed(node, RelPath::parse));
    fields.done();
    Some(Report {
        labels: labels?,
        template: template?,
    })
}

fn provenance(g: &ErrorCollector, node: &Node) -> Option<Provenance> {
    let fields = g.map(node)?;
    let branch = fields.optional("branch", |node| {
        g.parsed(node, |text| {
            super::template::check_branch(text)?;
            Ok::<_, super::template::TemplateError>(text.to_owned())
        })
    });
    let require_title = fields.or("require", true, |node| {
        let words: Option<Vec<bool>> = g
            .list(node)?
            .iter()
            .map(|i| g.choice(i, &[("title", true), ("content", false)]))
            .collect();
        let words = words?;
        if !words.contains(&false) {
            g.report_hint(
                node.span,
                "`content` is required: a title alone proves nothing",
                "write [title, content] or [content]",
            );
            return None;
        }
        Some(words.contains(&true))
    });
    fields.done();
    Some(Provenance {
        branch: branch?,
        require_title: require_title?,
    })
}

fn naming(g: &ErrorCollector, fields: &Fields<'_>, operation: Operation) -> Option<ChangeNames> {
    let kind = operation.as_str();
    let branch = || Template::branch(&format!("auto/runtime-{kind}-{{revision}}")).ok();
    let title = || Template::parse(&format!("{kind}: {{name}} @{{revision}}"), true).ok();
    let Some(node) = fields.get(kind) else {
        return Some(ChangeNames {
            branch: branch()?,
            title: title()?,
            supersede: true,
        });
    };
    let fields = g.map(node)?;
    let branch = fields.or("branch", branch()?, |node| g.parsed(node, Template::branch));
    let title = fields.or("title", title()?, |node| {
        g.parsed(node, |text| Template::parse(text, true))
    });
    let supersede = match operation {
        Operation::Promotion => fields.or("supersede", true, |node| g.boolean(node)),
        Operation::Rollback => Some(true),
    };
    fields.done();
    Some(ChangeNames {
        branch: branch?,
        title: title?,
        supersede: supersede?,
    })
}

/// The last part of the path that a configuration is shown by.
fn name_of(source: &SourceText) -> String {
    let name = Path::new(&source.name)
        .file_name()
        .and_then(|name| name.to_str());
    name.unwrap_or(super::FILE_NAME).to_owned()
}

impl Config {
    /// The names of the branch and the commit of an operation.
    pub fn names(&self, operation: Operation) -> &ChangeNames {
        match operation {
            Operation::Promotion => &self.promote,
            Operation::Rollback => &self.rollback,
        }
    }

    /// The configured forge, or the defaults.
    pub fn forge_or_default(&self) -> Forge {
        self.forge.clone().unwrap_or_default()
    }

    /// Refuses the configuration of a fleet that leaves files and counts to its repositories, for
    /// what concerns pins.
    pub fn counts_pins(&self) -> Result<(), Error> {
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

    /// The names of the images, in the order of the configuration.
    pub fn image_names(&self) -> Vec<&str> {
        let names = self.images.iter().map(|image| image.name.as_str());
        names.collect()
    }

    /// The places, by their numbers, that search a scanned file; `exists` tells whether there is a
    /// file at a path.
    pub fn places_of(&self, path: &Path, exists: &dyn Fn(&Path) -> bool) -> Vec<usize> {
        looking_into(&self.places, &self.files, path, exists)
    }

    /// What an image must contain.
    pub fn inventory_of<'c>(&'c self, image: &'c Image) -> Option<&'c Inventory> {
        match &image.inventory {
            ImageInventory::OfSet => self.inventory.as_ref(),
            ImageInventory::None => None,
            ImageInventory::Own(own) => Some(own),
        }
    }

    /// The image called `name`.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name == name)
    }

    /// The name of the configuration file, which lies in the root.
    pub fn file_name(&self) -> &str {
        &self.file
    }

    /// Where the configuration states how many pins the image called `name` has: line and column,
    /// from 1.
    pub fn count_at(&self, name: &str) -> Option<(usize, usize)> {
        let image = self.image(name)?;
        Some(self.place(image.pins_at, "").line_column())
    }

    /// A place in the configuration file.
    pub fn place(&self, span: Span, label: &str) -> Place {
        Place {
            source: self.source.clone(),
            span,
            label: label.to_owned(),
            quoted: true,
        }
    }
}

#[cfg(test)]
mod tests;
