//! The part of a repository's own `repin.yaml` that a fleet accepts.
//!
//! An author of that file could otherwise use the fleet's token, which covers all repositories. The
//! file therefore determines only the places and number of the pins and the name and labels of the
//! pull request. The fleet's configuration determines everything that is trusted, requested,
//! executed or taken from the environment. This module accesses no files and sends no requests.
//!
//! One hash over the inputs of a verification: the configuration, the contracts, the keys and the trusted
//! roots.

use std::{collections::BTreeSet, io::Read as _};

use crate::{
    base::{
        error::{Code, Error},
        files::{Files, Globs, RelPath},
    },
    config::{ChangeParts, Config, Forge, Image, ImageInventory, OutsidePolicy, OwnPolicy, Report},
    core::checks::{Check, Status},
    oci::Digest,
    trust::{BuiltIn, RootKind, Verify},
};

/// The accepted keys, in addition to the repositories and pin counts of images.
const ACCEPTED: [&str; 9] = [
    "version",
    "name",
    "files",
    "places",
    "promote",
    "forge.base",
    "forge.labels",
    "forge.gates",
    "forge.auto_merge",
];
/// The keys of a member's own policy, which [`own_policy`] reports.
const POLICY: [&str; 3] = ["verify", "inventory", "smoke"];

/// A repository of a fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberBase<'m> {
    /// `owner/name`, as in the list.
    pub repository: &'m str,
    /// The target branch of its pull request.
    pub base: &'m str,
}

/// A repository's configuration, merged with that of its fleet.
#[derive(Debug)]
pub(crate) struct MemberConfig {
    pub config: Config,
    /// For each image of the repository, the index of the same image in the fleet's configuration.
    pub images: Vec<usize>,
    /// The policies of the repository that the fleet ignores.
    pub ignored_policies: Vec<String>,
    /// The other keys of the repository that the fleet ignores.
    pub ignored_keys: Vec<String>,
}

/// The reason to refuse a repository's configuration.
#[derive(Debug)]
pub(crate) enum MemberRefusal {
    /// The repository pins images that the fleet does not have.
    Foreign(Vec<Check>),
    /// The configuration contains a policy, or another base branch.
    Refused(Vec<Error>),
}

/// Merges the accepted keys of a repository's own configuration into the fleet's.
pub(crate) fn member_config(
    fleet: &Config,
    own: Config,
    member: MemberBase<'_>,
) -> Result<MemberConfig, MemberRefusal> {
    let mut refused: Vec<Error> = other_base(&own, member).into_iter().collect();
    let policy = own_policy(&own);
    let rule = fleet.fleet.clone().unwrap_or_default().own_policy;
    if rule == OwnPolicy::Refuse {
        refused.extend(policy.iter().map(|key| policy_refused(member, key)));
    }
    if !refused.is_empty() {
        return Err(MemberRefusal::Refused(refused));
    }
    let images = images(fleet, &own).map_err(MemberRefusal::Foreign)?;
    Ok(MemberConfig {
        ignored_policies: policy,
        ignored_keys: ignored_keys(&own),
        config: merged(fleet, own, member),
        images,
    })
}

/// The fleet's configuration with the repository's pins and pull request.
fn merged(fleet: &Config, own: Config, member: MemberBase<'_>) -> Config {
    let images = own.images.into_iter().map(|image| {
        let mut ours = fleet.images.iter();
        Image {
            platforms: ours
                .find(|ours| ours.repository == image.repository)
                .and_then(|ours| ours.platforms.clone()),
            contract: None,
            inventory: ImageInventory::None,
            ..image
        }
    });
    let theirs = own.forge.unwrap_or_default();
    let ours = fleet.forge_or_default();
    Config {
        name: own.name,
        source_text: own.source_text,
        file: own.file,
        set_path: own.set_path,
        former: own.former,
        files: own.files,
        scanned: own.scanned,
        places: own.places,
        promote: own.promote,
        images: images.collect(),
        forge: Some(Forge {
            kind: ours.kind,
            url: ours.url,
            repository: Some(member.repository.to_owned()),
            base: Some(member.base.to_owned()),
            labels: theirs.labels,
            gates: theirs.gates,
            auto_merge: theirs.auto_merge,
            merge_method: ours.merge_method,
            sign: ours.sign,
            dispatch: Vec::new(),
            delete_branch: ours.delete_branch,
            sync_targets: Vec::new(),
            has_gates: theirs.has_gates,
            job: ours.job,
        }),
        // A search for digests outside of pins requires the whole tree.
        outside: OutsidePolicy::Ignore,
        outside_ignore: Globs::default(),
        // The fleet verifies the images, once for all repositories.
        inventory: None,
        smoke: None,
        verify: None,
        prune: None,
        freshness: Vec::new(),
        rehearse: None,
        report: Report {
            template: None,
            // The images are not read again for each repository.
            changes: match fleet.report.changes {
                Some(ChangeParts::None) => Some(ChangeParts::None),
                _ => Some(ChangeParts::Source),
            },
            ..fleet.report.clone()
        },
        ..fleet.clone()
    }
}

/// The index of each of the repository's images in the fleet's configuration, or a failed check for each
/// image that the fleet does not have.
fn images(fleet: &Config, own: &Config) -> Result<Vec<usize>, Vec<Check>> {
    let (mut known, mut foreign) = (Vec::new(), Vec::new());
    for image in &own.images {
        let mut ours = fleet.images.iter();
        match ours.position(|ours| ours.repository == image.repository) {
            Some(index) => known.push(index),
            None => foreign.push(foreign_image(image)),
        }
    }
    if foreign.is_empty() {
        Ok(known)
    } else {
        Err(foreign)
    }
}

fn foreign_image(image: &Image) -> Check {
    let detail = format!("{} is not an image of the fleet", image.repository);
    Check::new(Code::FOREIGN_IMAGE, Status::Fail, detail).image(&image.name)
}

/// The keys with which a repository requires more of images than its fleet.
fn own_policy(own: &Config) -> Vec<String> {
    let blocks = [
        ("verify", own.verify.is_some()),
        ("inventory", own.inventory.is_some()),
        ("smoke", own.smoke.is_some()),
        ("outside: refuse", own.outside == OutsidePolicy::Refuse),
    ];
    let mut keys = Vec::new();
    for (key, is_set) in blocks {
        if is_set {
            keys.push(key.to_owned());
        }
    }
    for image in &own.images {
        if image.contract.is_some() {
            keys.push(format!("images.{}.contract", image.name));
        }
        if matches!(image.inventory, ImageInventory::Own(_)) {
            keys.push(format!("images.{}.inventory", image.name));
        }
    }
    keys
}

/// The configured keys that are neither accepted nor part of a policy.
fn ignored_keys(own: &Config) -> Vec<String> {
    let mut keys = own.written_keys(&["forge", "report", "provenance"]);
    keys.retain(|key| {
        let is_of_image = key.starts_with("images.")
            && [".repository", ".pins", ".contract", ".inventory"]
                .iter()
                .any(|end| key.ends_with(end));
        let is_policy = POLICY.contains(&key.as_str())
            || key == "outside" && own.outside == OutsidePolicy::Refuse;
        !(is_of_image || is_policy || ACCEPTED.contains(&key.as_str()))
    });
    keys
}

fn policy_refused(member: MemberBase<'_>, key: &str) -> Error {
    let message = format!(
        "{} has `{key}` in its own repin.yaml, which a fleet does not check",
        member.repository
    );
    Error::failed(Code::FLEET_REFUSED, message)
}

fn other_base(own: &Config, member: MemberBase<'_>) -> Option<Error> {
    let base = own.forge.as_ref()?.base.as_deref()?;
    if base == member.base {
        return None;
    }
    let message = format!(
        "{} has `forge.base: {base}` in its own repin.yaml, but its base in the fleet is {}",
        member.repository, member.base
    );
    let help = format!("list it as `{} {base}`", member.repository);
    Some(Error::failed(Code::FLEET_REFUSED, message).help(help))
}

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
    use crate::{
        base::{error::SourceText, files::WorkTree},
        config,
    };

    const FLEET: &str = "version: 1
source: acme/runtime
fleet: {}
sources: { ghcr.io/acme: 'https://mirror.example/acme' }
images:
  review: { repository: ghcr.io/acme/review, contract: review.yaml }
  fix: { repository: ghcr.io/acme/fix }
  nginx: { repository: nginx }
report: { labels: [dev.acme.version], template: body.j2 }
smoke: { command: [x], env: [FLEET_SECRET] }
forge: { kind: gitea, url: 'https://git.example/api/v1', dispatch: [deploy.yml], sign: never }
";
    const OWN: &str = "version: 1
name: the web
files: [deploy/*.yaml]
images:
  frontend: { repository: docker.io/library/nginx, pins: 2 }
  worker: { repository: ghcr.io/acme/fix, pins: 1 }
promote: { branch: 'pins/{revision}', title: 'pins: {revision}' }
";

    fn parsed(text: &str) -> Config {
        config::example(text)
    }

    const MEMBER: MemberBase<'_> = MemberBase {
        repository: "acme/web",
        base: "main",
    };

    fn merge(fleet: &str, own: &str) -> Result<MemberConfig, MemberRefusal> {
        member_config(&parsed(fleet), parsed(own), MEMBER)
    }

    fn reasons(own: &str) -> Vec<String> {
        match merge(FLEET, own).unwrap_err() {
            MemberRefusal::Refused(errors) => errors.iter().map(ToString::to_string).collect(),
            MemberRefusal::Foreign(checks) => panic!("{checks:?}"),
        }
    }

    #[test]
    fn repository_determines_its_pins_and_pull_request() {
        let own = format!(
            "{OWN}forge: {{ base: main, labels: [deps], gates: [ci], auto_merge: true }}\n"
        );
        let found = merge(FLEET, &own).unwrap();
        let config = &found.config;
        assert_eq!(found.images, [2, 1]);
        assert_eq!(config.name, "the web");
        assert_eq!(config.promote.branch.as_str(), "pins/{revision}");
        assert_eq!(config.image_names(), ["frontend", "worker"]);
        let pins: Vec<_> = config.images.iter().map(|image| image.pins).collect();
        assert_eq!(pins, [2, 1]);
        assert!(config.scanned.matches(Path::new("deploy/a.yaml")));
        let forge = config.forge_or_default();
        assert_eq!(
            (forge.labels, forge.gates, forge.auto_merge),
            (vec!["deps".to_owned()], vec!["ci".to_owned()], true)
        );
        assert_eq!(forge.repository.as_deref(), Some("acme/web"));
        assert!(found.ignored_keys.is_empty() && found.ignored_policies.is_empty());
    }

    #[test]
    fn set_is_that_of_the_repository() {
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: FLEET.into(),
        };
        let set = config::SetPath::new(Path::new("fleet/repin.yaml")).unwrap();
        let fleet = config::parse(&source, Path::new("/root"), &set).unwrap();
        let found = member_config(&fleet, parsed(OWN), MEMBER).unwrap();
        assert_eq!(found.config.set_path, config::SetPath::top());
        assert_eq!(found.config.former, parsed(OWN).former);
    }

    #[test]
    fn fleet_determines_all_other_keys() {
        let own = format!(
            "{OWN}sources: {{ ghcr.io: 'https://evil.example' }}
realms: {{ ghcr.io: evil.example }}
report: {{ template: etc.j2, labels: [x] }}
freshness:
  - {{ name: x, pinned: {{ file: a, pointer: /a }}, repository: 'https://evil.example/x.git', token_env: SECRET, branch: main, paths: [a] }}
provenance: {{ branch: origin/other, require: [content] }}
prune: {{}}
forge: {{ kind: github, url: 'https://evil.example/api', repository: evil/evil, dispatch: [evil.yml], sync_targets: [main], sign: auto, merge_method: rebase }}
fleet: {{ own_policy: ignore }}
comments: tag
places: {{ helm: {{}} }}
revision: {{ tag: 'v{{revision}}' }}
rollback: {{ title: 'back to {{revision}}' }}
outside: ignore
"
        );
        let found = merge(FLEET, &own).unwrap();
        let config = &found.config;
        let fleet = parsed(FLEET);
        assert_eq!(
            format!("{:?}", config.sources),
            format!("{:?}", fleet.sources)
        );
        assert!(config.realms.is_empty() && config.freshness.is_empty() && config.prune.is_none());
        assert_eq!(config.report.labels, ["dev.acme.version"]);
        assert!(config.report.template.is_none() && config.provenance.branch.is_none());
        let forge = config.forge_or_default();
        assert_eq!(forge.kind, config::ForgeKind::Gitea);
        assert_eq!(forge.url.as_deref(), Some("https://git.example/api/v1"));
        assert_eq!(forge.repository.as_deref(), Some("acme/web"));
        assert!(forge.dispatch.is_empty() && forge.sync_targets.is_empty());
        assert_eq!(forge.sign, crate::forge::Sign::Never);
        assert_eq!(forge.merge_method, crate::forge::MergeMethod::Auto);
        let place = config.comment_policy(&config.places[0]);
        assert_eq!(place, config::CommentPolicy::Keep);
        // The repository's plan contains no command, contract or secret of either configuration.
        assert!(config.smoke.is_none() && config.verify.is_none() && config.inventory.is_none());
        let written = Config {
            source_text: fleet.source_text,
            ..config.clone()
        };
        assert!(!format!("{written:?}").contains("evil"), "{written:?}");
        let keys = [
            "sources",
            "realms",
            "report.template",
            "report.labels",
            "freshness",
            "provenance.branch",
            "provenance.require",
            "prune",
            "forge.kind",
            "forge.url",
            "forge.repository",
            "forge.dispatch",
            "forge.sync_targets",
            "forge.sign",
            "forge.merge_method",
            "fleet",
            "comments",
            "revision",
            "rollback",
            "outside",
        ];
        assert_eq!(found.ignored_keys, keys);
        assert!(found.ignored_policies.is_empty());
    }

    #[test]
    fn member_policy_is_refused_unless_ignored() {
        let policies = [
            (
                "verify",
                "verify: { signers: [{ key: a.pub, commit: 'off' }] }\n",
            ),
            ("inventory", "inventory: { root: /opt }\n"),
            ("smoke", "smoke: { command: [rm, -rf, /] }\n"),
            ("outside: refuse", "outside: refuse\n"),
        ];
        for (key, text) in policies {
            let own = format!("{OWN}{text}");
            let refused = reasons(&own);
            assert!(
                refused.len() == 1 && refused[0].contains(&format!("`{key}`")),
                "{refused:?}"
            );
            let lenient = FLEET.replace("fleet: {", "fleet: { own_policy: ignore,");
            let found = merge(&lenient, &own).unwrap();
            assert_eq!(found.ignored_policies, [key]);
            assert!(found.ignored_keys.is_empty());
            let config = &found.config;
            assert!(config.verify.is_none() && config.inventory.is_none());
            assert!(config.smoke.is_none() && config.outside == OutsidePolicy::Ignore);
        }
        let of_images = [
            ("pins: 2, contract: a.yaml }", "images.frontend.contract"),
            (
                "pins: 2, inventory: { root: /x } }",
                "images.frontend.inventory",
            ),
        ];
        for (text, key) in of_images {
            let refused = reasons(&OWN.replace("pins: 2 }", text));
            assert!(
                refused.len() == 1 && refused[0].contains(key),
                "{refused:?}"
            );
        }
        // `inventory: false` requires nothing.
        assert!(
            merge(
                FLEET,
                &OWN.replace("pins: 2 }", "pins: 2, inventory: false }")
            )
            .is_ok()
        );
    }

    #[test]
    fn different_base_branch_is_refused() {
        let own = format!("{OWN}forge: {{ base: develop }}\n");
        let refused = reasons(&own);
        assert!(
            refused.len() == 1 && refused[0].contains("`forge.base: develop`"),
            "{refused:?}"
        );
    }

    #[test]
    fn foreign_image_is_refused_and_subset_accepted() {
        let own = OWN.replace("acme/fix", "acme/other");
        match merge(FLEET, &own).unwrap_err() {
            MemberRefusal::Foreign(checks) => {
                assert_eq!(checks.len(), 1);
                assert_eq!(checks[0].code, Code::FOREIGN_IMAGE);
                assert_eq!(checks[0].image.as_deref(), Some("worker"));
                assert!(checks[0].detail.contains("ghcr.io/acme/other"));
            }
            MemberRefusal::Refused(errors) => panic!("{errors:?}"),
        }
        let one = OWN.replace("  worker: { repository: ghcr.io/acme/fix, pins: 1 }\n", "");
        assert_eq!(merge(FLEET, &one).unwrap().images, [2]);
    }

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
