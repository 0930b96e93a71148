//! The checks of an image with one platform.

use std::collections::BTreeMap;

use super::*;
use crate::{
    contents::{
        inventory::{gather, tests::inventory},
        layers::tests::{archive::Archive, layers},
    },
    oci::{Descriptor, Digest, ImageConfig, ImageManifest, Platform, RuntimeConfig},
};

const BLOCK: &str = "root: /r
user: \"1001\"
kinds:
  agents: { paths: ['^agents/([^/]+)\\.md$'], non_empty: true }
  skills: { paths: ['^skills/([^/]+)/'] }
required_files: [agents/ops.md]
forbidden_files: [.netrc]
modes: { directories: \"0755\", files: \"0644\" }
embedded_contract: /e.yaml";

const CONTRACT: &str =
    "must_contain: { agents: [ops] }\nmust_not_contain: { agents: [dev], skills: [a] }\n";

/// Has the length of the contents that the layers of tests retain.
const COPY: &str = "twenty bytes of text";

fn clean() -> Archive {
    Archive::new()
        .directory("r")
        .file("r/agents/ops.md", "")
        .file("e.yaml", COPY)
}

/// A platform of an image with these environment entries and no labels.
pub(in crate::core::checks) fn platform_facts(env: &[&str]) -> PlatformFacts {
    let digest = Digest::from_hex(&"a".repeat(64)).unwrap();
    let platform = Platform {
        os: "linux".into(),
        architecture: "arm64".into(),
        variant: None,
        os_version: None,
    };
    let config = Descriptor {
        media_type: String::new(),
        digest,
        size: 0,
        platform: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
    };
    PlatformFacts {
        annotations: BTreeMap::new(),
        platform: platform.clone(),
        digest,
        manifest: ImageManifest {
            config,
            layers: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        },
        config: ImageConfig {
            platform,
            created: None,
            labels: BTreeMap::new(),
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            user: String::new(),
            runtime: Ok(RuntimeConfig::default()),
            diff_ids: Vec::new(),
        },
    }
}

/// The standard of an image.
struct Case<'c> {
    block: &'c str,
    hygiene: bool,
    contract: Option<(&'c str, Enforcement)>,
    copy: bool,
}

/// `status code item: detail` of every check.
fn checks(case: &Case<'_>, archive: Archive) -> Vec<String> {
    let inventory = inventory(case.block);
    let contract = case.contract.map(|(text, enforcement)| {
        let file = ContractFile::parse("c.yaml", text.as_bytes().to_vec(), Some(&inventory));
        (file, enforcement)
    });
    let standard = Standard {
        inventory: &inventory,
        hygiene: case.hygiene,
        contract: contract.as_ref().map(|(file, status)| (file, *status)),
        copy: case.copy.then_some(COPY.as_bytes()),
    };
    let gathered = gather(&layers(&[archive]), &inventory).unwrap();
    let facts = platform_facts(&["A=1", "B=2"]);
    check_contents(&standard, "app", &facts, &gathered)
        .into_iter()
        .map(|check| {
            assert_eq!(check.image.as_deref(), Some("app"));
            assert_eq!(check.platform.as_deref(), Some("linux/arm64"));
            format!(
                "{} {}: {}",
                check.status.as_str(),
                check.code,
                check.describe()
            )
        })
        .collect()
}

const WHOLE: Case<'_> = Case {
    block: BLOCK,
    hygiene: true,
    contract: Some((CONTRACT, Enforcement::Fail)),
    copy: true,
};

#[test]
fn checks_of_a_clean_image_are_reported_once() {
    assert_eq!(
        checks(&WHOLE, clean()),
        [
            "pass enumeration_empty: 1 file under `/r`",
            "pass unreadable: user 1001 can read 1 file in 2 directories",
            "pass required_file_missing: each of 1 pattern matches a file",
            "pass mode_unexpected: 1 file and 2 directories have the expected modes",
            "pass kinds_all_empty: agents 1, skills 0",
            "pass kind_empty: 1 kind with `non_empty`, each with names",
            "pass inventory_must_contain_missing: 1 name present",
            "pass inventory_must_not_contain_present: none of 2 names is present",
            "pass forbidden_file_present: no layer contains a forbidden file",
            "pass embedded_contract_mismatch: /e.yaml equals the contract",
            "pass env_secret: none of 2 variables looks like a secret",
        ]
    );
}

#[test]
fn only_configured_rules_are_checked() {
    let bare = Case {
        block: "root: /r",
        contract: None,
        copy: false,
        ..WHOLE
    };
    assert_eq!(
        checks(&bare, clean()),
        [
            "pass enumeration_empty: 1 file under `/r`",
            "pass env_secret: none of 2 variables looks like a secret",
        ]
    );
    for modes in ["directories: \"0755\"", "files: \"0644\""] {
        let block = format!("root: /r\nmodes: {{ {modes} }}");
        let found = checks(
            &Case {
                block: &block,
                ..bare
            },
            clean(),
        );
        let matching = found.iter().filter(|line| line.contains("mode_unexpected"));
        assert_eq!(matching.count(), 1, "{modes}: {found:?}");
    }
}

#[test]
fn embedded_copy_is_skipped_without_a_contract() {
    let without = Case {
        contract: None,
        copy: false,
        ..WHOLE
    };
    let found = checks(&without, clean());
    assert!(
        found.contains(
            &"skip embedded_contract_mismatch: /e.yaml: no contract is configured to compare the copy in the image with"
                .to_owned()
        ),
        "{found:?}"
    );
    let no_hygiene = Case {
        hygiene: false,
        ..without
    };
    assert_eq!(checks(&no_hygiene, clean()), [] as [&str; 0]);
}

#[test]
fn only_the_contract_is_checked_without_hygiene() {
    let contract_only = Case {
        hygiene: false,
        copy: false,
        ..WHOLE
    };
    assert_eq!(
        checks(&contract_only, clean()),
        [
            "pass inventory_must_contain_missing: 1 name present",
            "pass inventory_must_not_contain_present: none of 2 names is present",
        ]
    );
    assert_eq!(
        checks(
            &Case {
                contract: Some(("must_contain: { agents: [ops] }", Enforcement::Fail)),
                ..contract_only
            },
            clean()
        ),
        ["pass inventory_must_contain_missing: 1 name present"]
    );
    assert_eq!(
        checks(
            &Case {
                contract: Some(("must_not_contain: { skills: [a] }", Enforcement::Fail)),
                ..contract_only
            },
            clean()
        ),
        ["pass inventory_must_not_contain_present: none of 1 name is present"]
    );
    // Without an enumeration, the contract is not compared and does not pass.
    assert_eq!(
        checks(&contract_only, Archive::new().directory("r")),
        ["fail enumeration_empty: no file under `/r`"]
    );
}

#[test]
fn empty_root_is_reported_once() {
    let archive = Archive::new().directory("r").file("e.yaml", COPY);
    let found = checks(&WHOLE, archive);
    let empty = found
        .iter()
        .filter(|line| line.contains(" enumeration_empty: "));
    assert_eq!(empty.count(), 1, "{found:?}");
    assert!(
        !found.iter().any(|line| line.starts_with("pass inventory_")),
        "{found:?}"
    );
}

#[test]
fn unreadable_directory_has_no_pass_for_its_contents() {
    let archive = clean().directory_of_mode("r/closed", 0o700);
    let found = checks(&WHOLE, archive);
    assert!(
        !found.iter().any(|line| line.contains("enumeration_empty")),
        "{found:?}"
    );
}

#[test]
fn unmet_later_contract_only_warns() {
    let current = |contract| Case {
        hygiene: false,
        copy: false,
        contract: Some((contract, Enforcement::Warn)),
        ..WHOLE
    };
    assert_eq!(
        checks(&current("must_contain: { agents: [ops, absent] }"), clean()),
        [
            "warn inventory_must_contain_missing: agents/absent: `absent` is missing from `agents`, but the contract requires it; this is the current contract, which was not in force when the set was promoted"
        ]
    );
    // A warning is unchanged.
    assert_eq!(
        checks(
            &current("must_contain: { agents: [ops], skills: }"),
            clean()
        ),
        ["warn expected_yaml_invalid_type: `must_contain.skills` lists nothing"]
    );
    assert_eq!(checks(&current(CONTRACT), clean()), [] as [&str; 0]);
}

use crate::config;
fn facts() -> ImageFacts {
    ImageFacts {
        digest: Digest::of(b"new"),
        media_type: String::new(),
        platforms: vec![platform_facts(&[])],
    }
}

fn config(keys: &str) -> Config {
    config::example(&format!(
        "version: 1\nfiles: [a]\nimages: {{ api: {{ repository: ghcr.io/acme/api, pins: 1 }} }}\n{keys}"
    ))
}

#[test]
fn wrong_bytes_of_a_pinned_image_are_no_skip() {
    for (class, skipped) in [(Class::WrongBytes, false), (Class::MissingContent, true)] {
        let error = Error::new(class, Code::CONTENT_MISMATCH, "not read");
        let old = [(Digest::of(b"old"), Err(error))];
        let config = config("");
        let image = &config.images[0];
        let result = check_lost_platforms(&config, image, &facts(), &old, LostPlatforms::Refuse);
        let statuses: Vec<_> = result.checks.iter().map(|check| check.status).collect();
        let expected = if skipped { &[Status::Skip][..] } else { &[] };
        assert_eq!(statuses, expected, "{class:?}");
        assert_eq!(result.errors.len(), usize::from(!skipped), "{class:?}");
    }
}

#[test]
fn only_declared_platforms_are_required() {
    let lost = Platform::parse("linux/amd64").unwrap();
    let old = [(Digest::of(b"old"), Ok(vec![lost]))];
    for (keys, expected) in [
        ("", Status::Fail),
        ("platforms: [linux/arm64]\n", Status::Pass),
        ("platforms: [Linux/aarch64]\n", Status::Pass),
        ("platforms: [linux/s390x]\n", Status::Fail),
    ] {
        let config = config(keys);
        let image = &config.images[0];
        let check = |reaction| {
            let result = check_lost_platforms(&config, image, &facts(), &old, reaction);
            assert_eq!(result.checks.len(), 1, "{keys}");
            result.checks[0].clone()
        };
        assert_eq!(check(LostPlatforms::Refuse).status, expected, "{keys}");
        if expected == Status::Fail {
            assert_eq!(check(LostPlatforms::Warn).status, Status::Warn);
            let allowed = check(LostPlatforms::Allow);
            assert_eq!(allowed.status, Status::Warn);
            assert!(
                allowed
                    .detail
                    .ends_with("; allowed by --allow-lost-platform")
            );
        }
    }
}
