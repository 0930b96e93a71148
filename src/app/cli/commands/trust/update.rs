//! `repin trust update`: fetches the current trusted roots, compares them with those in use, and writes them.
//!
//! This is the only command that fetches roots. All roots are fetched and verified before any file is written.
//! Existing files are exchanged together, as in a promotion.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use futures_util::future;
use reqwest::Url;

use crate::{
    app::{
        cli::{
            args::ApplyOptions,
            context::Context,
            format::Format,
            output::Exit,
            write_file::{self, TargetFile},
        },
        report::json::{ErrorRow, RootRow, TrustUpdateDocument},
        workflow::{begin, trust::read_material},
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        files::{RelPath, WorkTree},
        http::address::is_safe_for_credentials,
        input_file,
        untrusted::plain,
    },
    config::Config,
    core::{
        apply::{RunIdentity, Session},
        plan::FileChange,
    },
    oci::Digest,
    trust::{self, BuiltIn, Change, Mirror, Root, RootKind, RootSource, Verify},
};

const HELP: &str = "\
Without --apply, this is a dry run: repin shows the authorities and logs that were added, removed, or changed in validity. \
A NAME is `sigstore` (Sigstore's public instance) or `github` (GitHub's instance for private repositories); without it, the \
roots of verify.trusted_roots are updated, or both if there is no `verify`. A configured file is replaced; in place of a \
built-in root, trusted_root.NAME.json is written next to the configuration. Only this command fetches trusted roots.

Examples:
  repin trust update
  repin trust update --apply
  repin trust update sigstore --mirror https://tuf.example/sigstore/";

/// An instance of Sigstore: the public one, or GitHub's for private repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Instance {
    Sigstore,
    Github,
}

/// Fetch the current trusted roots, show the difference, and write them
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Instances to update: sigstore (public), github (GitHub's for private repositories) [default:
    /// those of the configuration]
    #[arg(value_name = "NAME")]
    names: Vec<Instance>,
    /// Read the TUF repository of the one NAME from this URL
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Start from this TUF root document of the one NAME instead of the built-in one
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Accept roots that remove entries or extend their validity
    #[arg(long)]
    allow_removed: bool,
    #[command(flatten)]
    options: ApplyOptions,
}

struct RootFile {
    path: RelPath,
    /// The current content; `None` if the file does not exist.
    old: Option<Vec<u8>>,
    documents: Vec<String>,
    /// Whether a document was replaced.
    is_changed: bool,
}

/// A trusted root in use, and its place.
struct UsedRoot {
    instance: BuiltIn,
    root: Root,
    /// The index of the file.
    file: usize,
    /// The index of the document in the file.
    document: usize,
}

/// The trusted roots in use, and the files for them.
#[derive(Default)]
struct RootInventory {
    files: Vec<RootFile>,
    used: Vec<UsedRoot>,
}

/// The values of --mirror and --root. They are read before the lock is taken, because a wrong argument must
/// not finish or undo an interrupted run.
struct Overrides {
    mirror: Option<Url>,
    first: Option<Vec<u8>>,
}

pub(super) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let apply = cx.may_change(args.options.apply, args.options.dry_run)?;
    let config = cx.load()?;
    let overrides = Overrides::read(args, cx)?;
    let mut session = if apply {
        let session = begin(&config, "trust update", &cx.services)?;
        Some(session)
    } else {
        None
    };
    let mut inventory = RootInventory::read(&config, args, cx)?;
    let instances = instances(&inventory);
    let origins = origins(&instances, &overrides)?;
    let fetched = fetch(origins, &config, cx)?;

    let mut document = TrustUpdateDocument {
        schema: "repin.trust-update/1",
        written: false,
        roots: Vec::new(),
        errors: Vec::new(),
    };
    let mut errors = Vec::new();
    for used in &inventory.used {
        let Some(new) = fetched.iter().find(|new| new.instance == used.instance) else {
            continue;
        };
        let file = &mut inventory.files[used.file];
        let changes = trust::difference(&used.root, &new.root);
        if !args.allow_removed {
            errors.extend(rollback_error(&file.path, &changes));
        }
        let is_current = is_same_json(&file.documents[used.document], &new.text);
        document.roots.push(RootRow {
            name: used.instance.as_str(),
            repository: new.url.to_string(),
            file: file.path.to_string(),
            built_in: file.old.is_none(),
            current: is_current,
            changes,
        });
        if !is_current {
            file.documents[used.document].clone_from(&new.text);
            file.is_changed = true;
        }
    }
    document.errors = errors.iter().map(ErrorRow::of).collect();
    let outdated = document.roots.iter().any(|root| !root.current);
    if let (Some(session), true, true) = (&mut session, errors.is_empty(), outdated) {
        let step = cx
            .services
            .interruption
            .step("the trusted roots may have been written; run the command again");
        write_files(&inventory.files, &config, session, cx)?;
        step.done("the trusted roots were written");
        document.written = true;
    }
    Ok(report(&document, errors, &config, cx))
}

impl Overrides {
    fn read(args: &Arguments, cx: &Context) -> Result<Self, Errors> {
        if (args.mirror.is_some() || args.root.is_some()) && args.names.len() != 1 {
            let error = Error::input(Code::USAGE, "--mirror and --root require exactly one NAME");
            return Err(error.help("add `sigstore` or `github`").into());
        }
        let mirror = match &args.mirror {
            Some(mirror) => Some(repository(mirror)?),
            None => None,
        };
        let first = match &args.root {
            Some(path) => Some(first_document(
                &cx.services.environment.directory().join(path),
            )?),
            None => None,
        };
        Ok(Self { mirror, first })
    }
}

impl RootInventory {
    /// Loads the roots of the configuration that belong to the instances in the arguments.
    fn read(config: &Config, args: &Arguments, cx: &Context) -> Result<Self, Errors> {
        let mut inventory = Self::default();
        let work_tree = WorkTree::new(&config.root);
        let unconfigured = Verify::without_signers();
        let verify = config.verify.as_ref().unwrap_or(&unconfigured);
        let wanted: Vec<BuiltIn> = args.names.iter().map(|name| built_in(*name)).collect();
        let is_wanted = |instance: BuiltIn| wanted.is_empty() || wanted.contains(&instance);
        for source in &verify.trusted_roots {
            match &source.kind {
                RootKind::Sigstore if is_wanted(BuiltIn::Sigstore) => {
                    inventory.add_built_in(BuiltIn::Sigstore, &work_tree)?;
                }
                RootKind::GitHub if is_wanted(BuiltIn::GitHub) => {
                    inventory.add_built_in(BuiltIn::GitHub, &work_tree)?;
                }
                RootKind::Sigstore | RootKind::GitHub => {}
                RootKind::File(path) => {
                    let foreign = inventory.add_file(path, source, config, &is_wanted)?;
                    if foreign > 0 {
                        let path = plain(&path.to_string());
                        cx.services.console.note(&format!(
                            "note: {path}: a root of neither Sigstore nor GitHub is left as it is"
                        ));
                    }
                }
            }
        }
        for instance in wanted {
            if !inventory.used.iter().any(|used| used.instance == instance) {
                inventory.add_built_in(instance, &work_tree)?;
            }
        }
        Ok(inventory)
    }

    fn contains(&self, path: &RelPath) -> bool {
        self.files.iter().any(|file| file.path == *path)
    }

    /// Adds the file for a built-in root, with the root of the file or, if the file does not exist, the
    /// built-in one.
    fn add_built_in(&mut self, instance: BuiltIn, work_tree: &WorkTree) -> Result<(), Errors> {
        let name = format!("trusted_root.{}.json", instance.as_str());
        let path = RelPath::parse(&name).map_err(|error| Errors::io(error.to_string()))?;
        if self.contains(&path) {
            return Ok(());
        }
        let unusable = |reason: String| {
            let message = format!("cannot use the trusted root {name}: {reason}");
            Errors::from(Error::input(Code::CONFIG, message))
        };
        let (root, old, text) = match read_material(work_tree, &path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes.clone()).map_err(|e| unusable(e.to_string()))?;
                let root = parse_single(&name, &bytes).map_err(unusable)?;
                (root, Some(bytes), text)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (
                Root::built_in(instance),
                None,
                instance.document().to_owned(),
            ),
            Err(error) => return Err(unusable(error.to_string())),
        };
        self.used.push(UsedRoot {
            instance,
            root,
            file: self.files.len(),
            document: 0,
        });
        self.files.push(RootFile {
            path,
            old,
            documents: vec![text],
            is_changed: false,
        });
        Ok(())
    }

    /// Adds a configured file, and returns the number of roots of other instances.
    fn add_file(
        &mut self,
        path: &RelPath,
        source: &RootSource,
        config: &Config,
        is_wanted: &dyn Fn(BuiltIn) -> bool,
    ) -> Result<usize, Errors> {
        if self.contains(path) {
            return Ok(0);
        }
        let work_tree = WorkTree::new(&config.root);
        let unusable = |reason: String| {
            let message = format!("cannot use the trusted root {path}: {reason}");
            Errors::from(Error::input(Code::CONFIG, message).at(config.location(source.span, "")))
        };
        let bytes = read_material(&work_tree, path).map_err(|error| unusable(error.to_string()))?;
        let roots = Root::parse(&source.name, &bytes).map_err(unusable)?;
        let text = String::from_utf8(bytes.clone()).map_err(|error| unusable(error.to_string()))?;
        let documents: Vec<String> = if roots.len() == 1 {
            vec![text]
        } else {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.map(str::to_owned).collect()
        };
        let mut foreign = 0;
        for (document, root) in roots.into_iter().enumerate() {
            let Some(instance) = instance_of(&root) else {
                foreign += 1;
                continue;
            };
            if is_wanted(instance) {
                self.used.push(UsedRoot {
                    instance,
                    root,
                    file: self.files.len(),
                    document,
                });
            }
        }
        self.files.push(RootFile {
            path: path.clone(),
            old: Some(bytes),
            documents,
            is_changed: false,
        });
        Ok(foreign)
    }
}

impl RootFile {
    /// The content with the current documents: a single document as it was fetched, or one document per line.
    fn content(&self) -> String {
        let is_jsonl = self.path.as_path().extension() == Some("jsonl".as_ref());
        if let ([document], false) = (self.documents.as_slice(), is_jsonl) {
            return document.clone();
        }
        let mut content = String::new();
        for document in &self.documents {
            content.push_str(&on_one_line(document));
            content.push('\n');
        }
        content
    }
}

fn built_in(instance: Instance) -> BuiltIn {
    match instance {
        Instance::Sigstore => BuiltIn::Sigstore,
        Instance::Github => BuiltIn::GitHub,
    }
}

/// The instance of a root in a file.
fn instance_of(root: &Root) -> Option<BuiltIn> {
    let mut instances = [BuiltIn::Sigstore, BuiltIn::GitHub].into_iter();
    instances.find(|instance| root.shares_entry(&Root::built_in(*instance)))
}

/// The distinct instances of the roots.
fn instances(inventory: &RootInventory) -> Vec<BuiltIn> {
    let mut instances = Vec::new();
    for used in &inventory.used {
        if !instances.contains(&used.instance) {
            instances.push(used.instance);
        }
    }
    instances
}

/// The error if the fetched root seems to be older than the current one.
fn rollback_error(path: &RelPath, changes: &[Change]) -> Option<Error> {
    let mut notes = Vec::new();
    for change in changes {
        if change.kind.is_rollback() {
            let (change, entry) = (change.kind.as_str(), &change.entry);
            let kind = entry.kind.as_str().replace('_', " ");
            notes.push(format!("{change}: {kind} {}", plain(&entry.name)));
        }
    }
    if notes.is_empty() {
        return None;
    }
    let message = format!("the fetched root seems to be older than {path}");
    let mut error = Error::failed(Code::ROOT_ROLLBACK, message);
    error.notes = notes;
    Some(error)
}

/// Whether two documents are equal as JSON.
fn is_same_json(old: &str, new: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(old) == parse(new)
}

fn on_one_line(document: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(document);
    value.map_or_else(|_| document.to_owned(), |value| value.to_string())
}

/// Exchanges the existing files together, then creates the others.
fn write_files(
    files: &[RootFile],
    config: &Config,
    session: &mut Session,
    cx: &Context,
) -> Result<(), Errors> {
    let mut changes = Vec::new();
    for file in files.iter().filter(|file| file.is_changed) {
        let Some(old) = file.old.clone() else {
            continue;
        };
        let new = file.content().into_bytes();
        changes.push(FileChange {
            path: file.path.clone(),
            pins: 0,
            old_sha256: Digest::of(&old),
            new_sha256: Digest::of(&new),
            old,
            new,
        });
    }
    let run = RunIdentity {
        set_path: config.set_path.clone(),
        revision: None,
    };
    session.apply(&changes, run)?;
    for file in files
        .iter()
        .filter(|file| file.is_changed && file.old.is_none())
    {
        let path = config.root.join(file.path.as_path());
        let target = TargetFile::new(&path, cx.services.environment.directory())?;
        write_file::write(&target, &file.content(), false)?;
    }
    Ok(())
}

fn report(
    document: &TrustUpdateDocument,
    errors: Vec<Error>,
    config: &Config,
    cx: &mut Context,
) -> Exit {
    if cx.output.format == Format::Json {
        cx.output.print_json(document);
    } else {
        cx.output.print_text(&document.text());
    }
    if !errors.is_empty() {
        let errors = Errors::from(errors);
        if cx.output.format == Format::Json {
            return Exit::from(&errors);
        }
        return cx.output.report_errors(&errors);
    }
    if !document.written && document.roots.iter().any(|root| !root.current) {
        cx.output
            .note("dry run: nothing was written; `--apply` writes the roots");
    }
    if let Some(line) = next_step(document, config) {
        cx.output.note(&line);
    }
    Exit::Done
}

/// The next step: a change of the configuration, if it does not use the files yet.
fn next_step(document: &TrustUpdateDocument, config: &Config) -> Option<String> {
    let unconfigured = Verify::without_signers();
    let verify = config.verify.as_ref().unwrap_or(&unconfigured);
    let before: Vec<&str> = (verify.trusted_roots.iter())
        .map(|source| source.name.as_str())
        .collect();
    let mut names = before.clone();
    for root in &document.roots {
        let exists = !root.built_in || document.written && !root.current;
        if !exists || names.contains(&root.file.as_str()) {
            continue;
        }
        match names.iter_mut().find(|name| **name == root.name) {
            Some(name) => *name = &root.file,
            None => names.push(&root.file),
        }
    }
    if names == before {
        return None;
    }
    let names = plain(&names.join(", "));
    Some(format!(
        "next: commit the files, and set `trusted_roots: [{names}]` under `verify`"
    ))
}

/// The maximum size of a TUF root document, in bytes.
const MAX_ROOT_DOCUMENT: u64 = 512_000;

/// A TUF repository, and the first root document of its chain.
struct Origin {
    instance: BuiltIn,
    url: Url,
    first: Vec<u8>,
}

struct Fetched {
    instance: BuiltIn,
    url: Url,
    text: String,
    root: Root,
}

/// The repositories to read.
fn origins(instances: &[BuiltIn], overrides: &Overrides) -> Result<Vec<Origin>, Errors> {
    let mut origins = Vec::new();
    for instance in instances {
        let url = match &overrides.mirror {
            Some(mirror) => mirror.clone(),
            None => repository(instance.repository())?,
        };
        let first = match &overrides.first {
            Some(document) => document.clone(),
            None => instance.first_root_document().into(),
        };
        origins.push(Origin {
            instance: *instance,
            url,
            first,
        });
    }
    Ok(origins)
}

/// Parses the URL of a repository, and appends `/` to its path.
fn repository(text: &str) -> Result<Url, Errors> {
    let malformed = |reason: String| usage(format!("--mirror: `{}` {reason}", plain(text)));
    let mut url = Url::parse(text).map_err(|error| malformed(format!("is not a URL: {error}")))?;
    if !is_safe_for_credentials(&url) || !["http", "https"].contains(&url.scheme()) {
        return Err(malformed("is not an https URL".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(usage("--mirror: the URL must not contain credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(malformed("has a query or a fragment".to_owned()));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn first_document(path: &Path) -> Result<Vec<u8>, Errors> {
    let name = plain(&path.display().to_string());
    input_file::read(path, MAX_ROOT_DOCUMENT)
        .map_err(|error| usage(format!("--root: cannot read {name}: {error}")))
}

/// Fetches and verifies every root, and reports every error.
fn fetch(origins: Vec<Origin>, config: &Config, cx: &Context) -> Result<Vec<Fetched>, Errors> {
    let registries = cx.services.registries(config)?;
    let usable = registries.read_roots();
    usable.map_err(|error| usage(error.to_string()))?;
    let now = (cx.services.environment.clock)();
    let requests = origins.into_iter().map(|origin| {
        let mirror = Mirror::new(registries.clone(), origin.url.clone());
        async move {
            let bytes = trust::current_root(mirror, &origin.first, now).await?;
            parse_fetched(origin, bytes)
        }
    });
    let work = future::join_all(requests);
    let mut fetched = Vec::new();
    let mut errors = Vec::new();
    for result in cx.services.wait(work, "fetching the trusted roots") {
        match result {
            Ok(root) => fetched.push(root),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(fetched)
    } else {
        Err(errors.into())
    }
}

/// Parses a fetched root, which this release must support.
fn parse_fetched(origin: Origin, bytes: Vec<u8>) -> Result<Fetched, Error> {
    let Origin { instance, url, .. } = origin;
    let unusable = |reason: String| {
        let message = format!("cannot use the trusted root of {url}: {reason}");
        Error::new(Class::Unavailable, Code::ROOT_UNVERIFIED, message).help("update repin")
    };
    let root = parse_single(instance.as_str(), &bytes).map_err(unusable)?;
    let text = String::from_utf8(bytes).map_err(|error| unusable(error.to_string()))?;
    Ok(Fetched {
        instance,
        url,
        text,
        root,
    })
}

/// Parses a document that must contain exactly one root.
fn parse_single(name: &str, bytes: &[u8]) -> Result<Root, String> {
    let mut roots = Root::parse(name, bytes)?;
    match (roots.pop(), roots.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err("it contains several roots".to_owned()),
    }
}
