//! What a fleet obeys of a repository's own `repin.yaml`.
//!
//! Whoever may write that file in one repository meets a token for all of them. So it says where pins
//! are and how many, and how its pull request is named and labeled; what is trusted, requested, run or
//! read from the environment is the fleet's alone. Nothing here reads a file or asks a server.

use crate::{
    checks::{Check, Status},
    code::Code,
    config::{
        Config, Forge, Globs, Image, ImageInventory, OutsidePolicy, OwnPolicy, Report, Template,
    },
    error::Error,
};

/// The keys that are obeyed, beside where images are pinned and how often.
const OBEYED: [&str; 9] = [
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
/// The keys of a policy of its own, which [`own_policy`] names.
const JUDGED: [&str; 3] = ["verify", "inventory", "smoke"];

/// A repository of a fleet.
#[derive(Debug, Clone, Copy)]
pub struct Member<'m> {
    /// `owner/name`, as listed.
    pub repository: &'m str,
    /// The branch that its pull request is for.
    pub base: &'m str,
}

/// A repository's configuration, as far as its fleet obeys it.
#[derive(Debug)]
pub struct ObeyedConfig {
    /// The configuration to plan with.
    pub config: Config,
    /// The titles of the repository's own rollbacks: nothing gets them, but its history may have them.
    pub own_rollbacks: Template,
    /// For each of its images, the same image in the fleet's configuration, by its index.
    pub images: Vec<usize>,
    /// The policies of the repository that the fleet ignores.
    pub ignored_policies: Vec<String>,
    /// The other keys that the fleet ignores.
    pub ignored_keys: Vec<String>,
}

/// Why a repository's configuration cannot be obeyed.
#[derive(Debug)]
pub enum Disobeyed {
    /// It pins images that are not the fleet's.
    Foreign(Vec<Check>),
    /// It has a policy of its own, or is about another base branch.
    Refused(Vec<Error>),
}

/// What the fleet obeys of a repository's own configuration.
pub fn obeyed(fleet: &Config, own: Config, member: Member<'_>) -> Result<ObeyedConfig, Disobeyed> {
    let mut refused: Vec<Error> = other_base(&own, member).into_iter().collect();
    let policy = own_policy(&own);
    let rule = fleet.fleet.clone().unwrap_or_default().own_policy;
    if rule == OwnPolicy::Refuse {
        refused.extend(policy.iter().map(|key| policy_refused(member, key)));
    }
    if !refused.is_empty() {
        return Err(Disobeyed::Refused(refused));
    }
    let images = images(fleet, &own).map_err(Disobeyed::Foreign)?;
    Ok(ObeyedConfig {
        own_rollbacks: own.rollback.title.clone(),
        ignored_policies: policy,
        ignored_keys: ignored_keys(&own),
        config: merged(fleet, own, member),
        images,
    })
}

/// The fleet's configuration with what the repository says about its pins and its pull request.
fn merged(fleet: &Config, own: Config, member: Member<'_>) -> Config {
    let image = |image: Image| Image {
        contract: None,
        inventory: ImageInventory::None,
        ..image
    };
    let theirs = own.forge.unwrap_or_default();
    let ours = fleet.forge_or_default();
    Config {
        name: own.name,
        source: own.source,
        file: own.file,
        files: own.files,
        scanned: own.scanned,
        places: own.places,
        promote: own.promote,
        images: own.images.into_iter().map(image).collect(),
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
            sync_targets: Vec::new(),
        }),
        // Digests outside need the whole tree.
        outside: OutsidePolicy::Ignore,
        outside_ignore: Globs::default(),
        // Images are the fleet's to judge, once.
        inventory: None,
        smoke: None,
        verify: None,
        prune: None,
        freshness: Vec::new(),
        report: Report {
            labels: fleet.report.labels.clone(),
            template: None,
        },
        ..fleet.clone()
    }
}

/// The image of the fleet that each of the repository's images is, or a failed check for each that
/// is none.
fn images(fleet: &Config, own: &Config) -> Result<Vec<usize>, Vec<Check>> {
    let (mut known, mut foreign) = (Vec::new(), Vec::new());
    for image in &own.images {
        let same = |ours: &Image| ours.repository == image.repository;
        match fleet.images.iter().position(same) {
            Some(at) => known.push(at),
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

/// The keys by which a repository demands more of images than its fleet.
fn own_policy(own: &Config) -> Vec<String> {
    let blocks = [
        ("verify", own.verify.is_some()),
        ("inventory", own.inventory.is_some()),
        ("smoke", own.smoke.is_some()),
        ("outside: refuse", own.outside == OutsidePolicy::Refuse),
    ];
    let blocks = blocks.into_iter().filter(|(_, is_set)| *is_set);
    let mut keys: Vec<String> = blocks.map(|(key, _)| key.to_owned()).collect();
    for image in &own.images {
        let of_image = [
            ("contract", image.contract.is_some()),
            (
                "inventory",
                matches!(image.inventory, ImageInventory::Own(_)),
            ),
        ];
        let set = of_image.into_iter().filter(|(_, is_set)| *is_set);
        keys.extend(set.map(|(key, _)| format!("images.{}.{key}", image.name)));
    }
    keys
}

/// The other keys that it sets and that are not obeyed.
fn ignored_keys(own: &Config) -> Vec<String> {
    let obeyed = |key: &str| {
        let of_image = key.starts_with("images.")
            && [".repository", ".pins", ".contract", ".inventory"]
                .iter()
                .any(|end| key.ends_with(end));
        of_image || OBEYED.contains(&key) || JUDGED.contains(&key)
    };
    let keys = own.written_keys(&["forge", "report", "provenance"]);
    // A policy of its own, too.
    let judged = |key: &str| key == "outside" && own.outside == OutsidePolicy::Refuse;
    let ignored = |key: &String| !(obeyed(key) || judged(key));
    keys.into_iter().filter(ignored).collect()
}

fn policy_refused(member: Member<'_>, key: &str) -> Error {
    let message = format!(
        "{} has `{key}` in its own repin.yaml, which a fleet does not check",
        member.repository
    );
    Error::failed(Code::FLEET_REFUSED, message)
}

fn other_base(own: &Config, member: Member<'_>) -> Option<Error> {
    let base = own.forge.as_ref()?.base.as_deref()?;
    let message = format!(
        "{} has `forge.base: {base}` in its own repin.yaml, but its pull request is for {}",
        member.repository, member.base
    );
    let help = format!("list it as `{} {base}`", member.repository);
    (base != member.base).then(|| Error::failed(Code::FLEET_REFUSED, message).help(help))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config, error::SourceText};

    const FLEET: &str = "version: 1
fleet: { source: acme/runtime }
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
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: text.into(),
        };
        config::parse(&source, Path::new("/root")).unwrap()
    }

    const MEMBER: Member<'_> = Member {
        repository: "acme/web",
        base: "main",
    };

    fn obey(fleet: &str, own: &str) -> Result<ObeyedConfig, Disobeyed> {
        obeyed(&parsed(fleet), parsed(own), MEMBER)
    }

    fn reasons(own: &str) -> Vec<String> {
        match obey(FLEET, own).unwrap_err() {
            Disobeyed::Refused(errors) => errors.iter().map(ToString::to_string).collect(),
            Disobeyed::Foreign(checks) => panic!("{checks:?}"),
        }
    }

    #[test]
    fn repository_says_where_its_pins_are_and_what_its_pull_request_is_called() {
        let own = format!(
            "{OWN}forge: {{ base: main, labels: [deps], gates: [ci], auto_merge: true }}\n"
        );
        let found = obey(FLEET, &own).unwrap();
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
    fn what_is_trusted_requested_and_run_is_the_fleets() {
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
        let found = obey(FLEET, &own).unwrap();
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
        assert_eq!(forge.sign, config::Sign::Never);
        assert_eq!(forge.merge_method, config::MergeMethod::Auto);
        let place = config.comment_policy(&config.places[0]);
        assert_eq!(place, config::CommentPolicy::Keep);
        // No command, contract or secret of either reaches the repository's plan.
        assert!(config.smoke.is_none() && config.verify.is_none() && config.inventory.is_none());
        let written = Config {
            source: fleet.source,
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
    fn every_policy_of_its_own_refuses_a_repository_unless_the_fleet_ignores_them() {
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
            let found = obey(&lenient, &own).unwrap();
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
        // Leaving content unchecked demands nothing.
        assert!(
            obey(
                FLEET,
                &OWN.replace("pins: 2 }", "pins: 2, inventory: false }")
            )
            .is_ok()
        );
    }

    #[test]
    fn another_base_branch_is_refused() {
        let own = format!("{OWN}forge: {{ base: develop }}\n");
        let refused = reasons(&own);
        assert!(
            refused.len() == 1 && refused[0].contains("`forge.base: develop`"),
            "{refused:?}"
        );
    }

    #[test]
    fn image_of_others_is_foreign_and_a_subset_is_not() {
        let own = OWN.replace("acme/fix", "acme/other");
        match obey(FLEET, &own).unwrap_err() {
            Disobeyed::Foreign(checks) => {
                assert_eq!(checks.len(), 1);
                assert_eq!(checks[0].code, Code::FOREIGN_IMAGE);
                assert_eq!(checks[0].image.as_deref(), Some("worker"));
                assert!(checks[0].detail.contains("ghcr.io/acme/other"));
            }
            Disobeyed::Refused(errors) => panic!("{errors:?}"),
        }
        let one = OWN.replace("  worker: { repository: ghcr.io/acme/fix, pins: 1 }\n", "");
        assert_eq!(obey(FLEET, &one).unwrap().images, [2]);
    }
}
