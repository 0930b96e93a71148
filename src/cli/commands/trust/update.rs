//! `repin trust update`: fetch the current trusted roots, show how they differ from those in use, and
//! write them.
//!
//! The only command that fetches roots. Every root is fetched and verified before any file is written;
//! files that exist are exchanged together, like those of a promotion.

use futures_util::future;
use reqwest::Url;

use crate::{
    cli::{
        args::{self, Instance},
        context::Context,
        exit::Exit,
        format::Format,
        write::{self, Target},
    },
    code::Code,
    config::{Config, RelPath, RootKind, RootSource, Verify},
    error::{Class, Error, Errors, usage},
    files::WorkTree,
    http::address::is_safe_for_credentials,
    oci::Digest,
    plan::FileChange,
    report::json::{ErrorRow, RootChange, RootRow, TrustUpdateDocument},
    trust::{self, BuiltIn, Change, Mirror, Root},
    untrusted::plain,
    workflow::{lock, trust::read_material},
};

/// The maximum size of a TUF root document, in bytes.
const ROOT_DOCUMENT_MAX: u64 = 512_000;

/// A file with trusted roots.
struct RootFile {
    path: RelPath,
    /// Its content; `None` if it does not exist.
    old: Option<Vec<u8>>,
    documents: Vec<String>,
    /// Whether a document differs from the old one.
    changed: bool,
}

/// A trusted root in use, and its place.
struct Used {
    instance: BuiltIn,
    root: Root,
    /// The file and the document in it that an update replaces.
    file: usize,
    document: usize,
}

/// The trusted roots in use, with the files that contain them or will.
#[derive(Default)]
struct Inventory {
    files: Vec<RootFile>,
    used: Vec<Used>,
}

/// The values of --mirror and --root. They are read before the lock is taken: a wrong argument must not
/// finish or undo an interrupted run.
struct Overrides {
    mirror: Option<Url>,
    first: Option<Vec<u8>>,
}

/// The repository to read, and the document that its chain of root documents begins with.
struct Origin {
    instance: BuiltIn,
    url: Url,
    first: Vec<u8>,
}

/// A fetched root.
struct Fetched {
    instance: BuiltIn,
    url: Url,
    text: String,
    root: Root,
}

pub(super) fn run(args: &args::TrustUpdate, cx: &mut Context) -> Result<Exit, Errors> {
    let apply = cx.armed(args.arm.apply, args.arm.dry_run)?;
    let config = cx.load()?;
    let overrides = Overrides::read(args, cx)?;
    let mut session = None;
    if apply {
        let mut locked = lock(&config, "trust update", &cx.services)?;
        locked.recover()?;
        session = Some(locked);
    }
    let mut inventory = Inventory::read(&config, args, cx)?;
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
            errors.extend(rollback(&file.path, &changes));
        }
        let current = same_json(&file.documents[used.document], &new.text);
        document.roots.push(RootRow {
            name: used.instance.as_str(),
            repository: new.url.to_string(),
            file: file.path.to_string(),
            built_in: file.old.is_none(),
            current,
            changes: changes.iter().map(RootChange::of).collect(),
        });
        if !current {
            file.documents[used.document].clone_from(&new.text);
            file.changed = true;
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
    fn read(args: &args::TrustUpdate, cx: &Context) -> Result<Self, Errors> {
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

impl Inventory {
    /// The roots that the configuration uses and that belong to the instances of the arguments.
    fn read(config: &Config, args: &args::TrustUpdate, cx: &Context) -> Result<Self, Errors> {
        let mut inventory = Self::default();
        let work_tree = WorkTree::new(&config.root);
        let unconfigured = Verify::without_signers();
        let verify = config.verify.as_ref().unwrap_or(&unconfigured);
        let wanted: Vec<BuiltIn> = args.names.iter().map(|name| named(*name)).collect();
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

    fn lists(&self, path: &RelPath) -> bool {
        self.files.iter().any(|file| file.path == *path)
    }

    /// Adds the file for a built-in root: the root in it, if the file exists, otherwise the built-in
    /// one.
    fn add_built_in(&mut self, instance: BuiltIn, work_tree: &WorkTree) -> Result<(), Errors> {
        let name = format!("trusted_root.{}.json", instance.as_str());
        let path = RelPath::parse(&name).map_err(|error| Errors::io(error.to_string()))?;
        if self.lists(&path) {
            return Ok(());
        }
        let unusable = |reason: String| {
            let message = format!("cannot use the trusted root {name}: {reason}");
            Errors::from(Error::input(Code::CONFIG, message))
        };
        let (root, old, text) = match read_material(work_tree, &path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes.clone()).map_err(|e| unusable(e.to_string()))?;
                let mut roots = Root::parse(&name, &bytes).map_err(unusable)?;
                let root = roots.pop().filter(|_| roots.is_empty());
                let several = || unusable("it contains several roots".to_owned());
                (root.ok_or_else(several)?, Some(bytes), text)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let root = Root::built_in(instance).map_err(unusable)?;
                (root, None, instance.document().to_owned())
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        self.used.push(Used {
            instance,
            root,
            file: self.files.len(),
            document: 0,
        });
        self.files.push(RootFile {
            path,
            old,
            documents: vec![text],
            changed: false,
        });
        Ok(())
    }

    /// Adds a configured file; the result is the number of roots of other instances.
    fn add_file(
        &mut self,
        path: &RelPath,
        source: &RootSource,
        config: &Config,
        is_wanted: &dyn Fn(BuiltIn) -> bool,
    ) -> Result<usize, Errors> {
        if self.lists(path) {
            return Ok(0);
        }
        let work_tree = WorkTree::new(&config.root);
        let unusable = |reason: String| {
            let message = format!("cannot use the trusted root {path}: {reason}");
            Errors::from(Error::input(Code::CONFIG, message).at(config.place(source.span, "")))
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
            let Some(instance) = instance_of(&root).map_err(unusable)? else {
                foreign += 1;
                continue;
            };
            if is_wanted(instance) {
                self.used.push(Used {
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
            changed: false,
        });
        Ok(foreign)
    }
}

impl RootFile {
    /// The content with the current documents: one document as it was fetched, or one on each line.
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

fn named(instance: Instance) -> BuiltIn {
    match instance {
        Instance::Sigstore => BuiltIn::Sigstore,
        Instance::Github => BuiltIn::GitHub,
    }
}

/// The instance that a root of a file belongs to.
fn instance_of(root: &Root) -> Result<Option<BuiltIn>, String> {
    for instance in [BuiltIn::Sigstore, BuiltIn::GitHub] {
        if root.shares_entry(&Root::built_in(instance)?) {
            return Ok(Some(instance));
        }
    }
    Ok(None)
}

/// The instances of the roots, each once.
fn instances(inventory: &Inventory) -> Vec<BuiltIn> {
    let mut instances = Vec::new();
    for used in &inventory.used {
        if !instances.contains(&used.instance) {
            instances.push(used.instance);
        }
    }
    instances
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
        let instance = *instance;
        origins.push(Origin {
            instance,
            url,
            first,
        });
    }
    Ok(origins)
}

/// The URL of a repository, whose path ends in `/`.
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

fn first_document(path: &std::path::Path) -> Result<Vec<u8>, Errors> {
    use std::io::Read as _;
    let shown = plain(&path.display().to_string());
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(ROOT_DOCUMENT_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| usage(format!("--root: cannot read {shown}: {error}")))?;
    if bytes.len() as u64 > ROOT_DOCUMENT_MAX {
        return Err(usage(format!(
            "--root: {shown} has more than {ROOT_DOCUMENT_MAX} bytes"
        )));
    }
    Ok(bytes)
}

/// Fetches every root; the errors of all that failed.
fn fetch(origins: Vec<Origin>, config: &Config, cx: &Context) -> Result<Vec<Fetched>, Errors> {
    let registries = cx.services.registries(config)?;
    let now = (cx.services.environment.clock)();
    let work = origins.into_iter().map(|origin| {
        let mirror = Mirror::new(registries.clone(), origin.url.clone());
        async move {
            let bytes = trust::current_root(mirror, &origin.first, now).await?;
            verified(origin, bytes)
        }
    });
    let work = future::join_all(work);
    let mut fetched = Vec::new();
    let mut errors = Vec::new();
    for result in cx.services.wait(work, "fetching the trusted roots")? {
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

/// A fetched root that this release can use.
fn verified(origin: Origin, bytes: Vec<u8>) -> Result<Fetched, Error> {
    let Origin { instance, url, .. } = origin;
    let unusable = |reason: String| {
        let message = format!("cannot use the trusted root of {url}: {reason}");
        Error::new(Class::Unavailable, Code::ROOT_UNVERIFIED, message).help("update repin")
    };
    let mut roots = Root::parse(instance.as_str(), &bytes).map_err(unusable)?;
    let root = roots.pop().filter(|_| roots.is_empty());
    let root = root.ok_or_else(|| unusable("it contains several roots".to_owned()))?;
    let text = String::from_utf8(bytes).map_err(|error| unusable(error.to_string()))?;
    Ok(Fetched {
        instance,
        url,
        text,
        root,
    })
}

/// The error of a root that an older one would look like.
fn rollback(path: &RelPath, changes: &[Change]) -> Option<Error> {
    let lost = changes.iter().filter(|change| change.kind.is_rollback());
    let notes: Vec<String> = lost
        .map(|change| {
            let (kind, name) = (change.entry.kind.as_str(), plain(&change.entry.name));
            format!(
                "{}: {} {name}",
                change.kind.as_str(),
                kind.replace('_', " ")
            )
        })
        .collect();
    if notes.is_empty() {
        return None;
    }
    let message = format!("the fetched root seems to be older than {path}");
    let mut error = Error::failed(Code::ROOT_ROLLBACK, message);
    error.notes = notes;
    Some(error)
}

/// Whether two documents are equal as JSON.
fn same_json(old: &str, new: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(old) == parse(new)
}

fn on_one_line(document: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(document);
    value.map_or_else(|_| document.to_owned(), |value| value.to_string())
}

/// Exchanges the files that exist, together, then creates the others.
fn write_files(
    files: &[RootFile],
    config: &Config,
    session: &mut crate::apply::Session,
    cx: &Context,
) -> Result<(), Errors> {
    let mut changes = Vec::new();
    for file in files.iter().filter(|file| file.changed) {
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
    session.apply(&changes)?;
    for file in files
        .iter()
        .filter(|file| file.changed && file.old.is_none())
    {
        let path = config.root.join(file.path.as_path());
        let target = Target::new(&path, cx.services.environment.directory())?;
        write::put(&target, &file.content(), false)?;
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
        cx.output.json(document);
    } else {
        cx.output.print(document.lines());
    }
    if !errors.is_empty() {
        let errors = Errors::from(errors);
        if cx.output.format == Format::Json {
            return Exit::from(&errors);
        }
        return cx.output.fault(&errors);
    }
    if !document.written && document.roots.iter().any(|root| !root.current) {
        cx.output
            .note("dry run: nothing was written; `--apply` writes the roots");
    }
    if let Some(line) = next_line(document, config) {
        cx.output.note(&line);
    }
    Exit::Done
}

/// The line of the configuration that uses the files in place of built-in roots; `None` if it uses them
/// already.
fn next_line(document: &TrustUpdateDocument, config: &Config) -> Option<String> {
    let exists = |root: &&RootRow| !root.built_in || document.written && !root.current;
    let unconfigured = Verify::without_signers();
    let verify = config.verify.as_ref().unwrap_or(&unconfigured);
    let before: Vec<&str> = (verify.trusted_roots.iter())
        .map(|source| source.name.as_str())
        .collect();
    let mut names = before.clone();
    for root in document.roots.iter().filter(exists) {
        if names.contains(&root.file.as_str()) {
            continue;
        }
        match names.iter_mut().find(|name| **name == root.name) {
            Some(name) => *name = &root.file,
            None => names.push(&root.file),
        }
    }
    let names_shown = plain(&names.join(", "));
    (names != before).then(|| {
        format!("next: commit the files, and set `trusted_roots: [{names_shown}]` under `verify`")
    })
}
