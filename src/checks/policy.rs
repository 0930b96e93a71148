//! Whether the policy of a change requires less than that of the base branch.

use std::collections::BTreeSet;

use super::{Check, Code, Status};
use crate::config::{
    CommitBinding, Config, IdentityRule, LogRule, RootKind, Runner, SignedSubject, Signer,
    SignerIdentity, SubjectName, Triggers, Verify,
};

/// The warning that `here` requires less than the configuration of the branch `base_name`; `None` if
/// it does not. `replaced`: keys and roots whose files differ.
pub fn policy_weakened(
    base_name: &str,
    base: &Config,
    here: &Config,
    replaced: &[String],
) -> Option<Check> {
    let keys = weakened(base, here, replaced);
    if keys.is_empty() {
        return None;
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let detail = format!("weaker than on {base_name}: {}", keys.join(", "));
    Some(Check::new(Code::POLICY_WEAKENED, Status::Warn, detail))
}

/// The comparison could not be made.
pub fn policy_unknown(reason: &str) -> Check {
    let detail = format!("cannot compare the policy with the base branch: {reason}");
    Check::new(Code::POLICY_WEAKENED, Status::Skip, detail)
}

/// The keys that require less than those of the base.
fn weakened(base: &Config, here: &Config, replaced: &[String]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let Some(old) = &base.verify else {
        return keys;
    };
    let Some(new) = &here.verify else {
        keys.insert("verify".to_owned());
        return keys;
    };
    let mut weaker = |is_weaker: bool, key: String| {
        if is_weaker {
            keys.insert(key);
        }
    };
    let is_subset = |new: &[String], old: &[String]| new.iter().all(|one| old.contains(one));
    let omitted = old.require.iter().any(|kind| !new.require.contains(kind));
    weaker(omitted, "verify.require".to_owned());
    let same_types = is_subset(&new.predicate_types, &old.predicate_types);
    weaker(!same_types, "verify.predicate_types".to_owned());
    // The index, and with it the list of its platforms, is no longer signed.
    let of_platforms =
        old.subject == SignedSubject::Pinned && new.subject == SignedSubject::Platforms;
    weaker(of_platforms, "verify.subject".to_owned());
    let any_name =
        old.subject_name == SubjectName::Repository && new.subject_name == SubjectName::Any;
    weaker(any_name, "verify.subject_name".to_owned());
    let roots: Vec<_> = old.trusted_roots.iter().map(|root| &root.kind).collect();
    let is_new = |kind: &RootKind| !roots.contains(&kind);
    let new_root = new.trusted_roots.iter().any(|root| is_new(&root.kind));
    weaker(new_root, "verify.trusted_roots".to_owned());
    let since = |verify: &Verify| verify.since.as_ref().map(|since| since.commit.clone());
    let is_later = since(new).is_some() && since(new) != since(old);
    weaker(is_later, "verify.since".to_owned());
    for (at, signer) in new.signers.iter().enumerate() {
        for key in loosened_signer(signer, &old.signers) {
            weaker(true, format!("verify.signers[{at}]{key}"));
        }
    }
    for path in replaced {
        weaker(true, format!("{path} (replaced)"));
    }
    for then in &base.images {
        let Some(now) = here.images.iter().find(|image| image.name == then.name) else {
            weaker(true, format!("images.{}", then.name));
            continue;
        };
        let moved = now.repository != then.repository;
        weaker(moved, format!("images.{}.repository", now.name));
        let known = then.signed_repositories();
        let further = now.signed_as.iter().any(|name| !known.contains(name));
        weaker(further, format!("images.{}.signed_as", now.name));
    }
    keys
}

/// The keys of a signer that allow more than every signer of the base; a signer that the base does
/// not have is one as a whole.
fn loosened_signer(signer: &Signer, base: &[Signer]) -> Vec<&'static str> {
    let loosened = base.iter().filter_map(|other| loosened(signer, other));
    loosened.min_by_key(Vec::len).unwrap_or_else(|| vec![""])
}

/// The keys of a signer that allow more than `base`; `None` if it is another signer.
fn loosened(signer: &Signer, base: &Signer) -> Option<Vec<&'static str>> {
    let mut keys = Vec::new();
    let is_looser = |now: Runner, then: Runner| now == Runner::Any && then != Runner::Any;
    match (&signer.who, &base.who) {
        (
            SignerIdentity::Workflow {
                workflow,
                git_ref,
                source_ref,
                issuer,
                runner,
            },
            SignerIdentity::Workflow {
                workflow: then,
                git_ref: old_ref,
                source_ref: old_source_ref,
                issuer: old_issuer,
                runner: old_runner,
            },
        ) => {
            if workflow != then || issuer != old_issuer {
                return None;
            }
            let differs =
                |now: &Option<String>, then: &Option<String>| then.is_some() && now != then;
            keys.extend(differs(git_ref, old_ref).then_some(".ref"));
            let effective = |source_ref: &Option<String>, git_ref: &Option<String>| {
                source_ref.clone().or_else(|| git_ref.clone())
            };
            let source_refs = (
                effective(source_ref, git_ref),
                effective(old_source_ref, old_ref),
            );
            let loose = differs(&source_refs.0, &source_refs.1) && !keys.contains(&".ref");
            keys.extend(loose.then_some(".source_ref"));
            keys.extend(is_looser(*runner, *old_runner).then_some(".runner"));
        }
        (
            SignerIdentity::Certificate {
                identity,
                issuer,
                runner,
            },
            SignerIdentity::Certificate {
                identity: then,
                issuer: old_issuer,
                runner: old_runner,
            },
        ) => {
            if issuer != old_issuer || !is_within(identity, then) {
                return None;
            }
            keys.extend(is_looser(*runner, *old_runner).then_some(".runner"));
        }
        (
            SignerIdentity::Key { path, log, .. },
            SignerIdentity::Key {
                path: then,
                log: old_log,
                ..
            },
        ) => {
            if path != then {
                return None;
            }
            let is_unlogged = *log == LogRule::Off && *old_log == LogRule::Required;
            keys.extend(is_unlogged.then_some(".log"));
        }
        _ => return None,
    }
    keys.extend(loosened_restrictions(signer, base));
    Some(keys)
}

/// The keys of every kind of signer that allow more than those of `base`.
fn loosened_restrictions(signer: &Signer, base: &Signer) -> Vec<&'static str> {
    let mut keys = Vec::new();
    keys.extend((!allows_no_more(&signer.trigger, &base.trigger)).then_some(".trigger"));
    let commit = base.commit != CommitBinding::Off && signer.commit != base.commit;
    keys.extend(commit.then_some(".commit"));
    let source = base.source.is_some() && signer.source != base.source;
    keys.extend(source.then_some(".source"));
    let is_listed = |name: &String| base.images.contains(name);
    let images = !base.images.is_empty()
        && (signer.images.is_empty() || !signer.images.iter().all(is_listed));
    keys.extend(images.then_some(".images"));
    keys
}

fn is_within(identity: &IdentityRule, base: &IdentityRule) -> bool {
    match (identity, base) {
        (IdentityRule::Exact(now), IdentityRule::Exact(then)) => now == then,
        (IdentityRule::Exact(now), IdentityRule::Pattern(then)) => then.is_match(now),
        (IdentityRule::Pattern(now), IdentityRule::Pattern(then)) => now.as_str() == then.as_str(),
        (IdentityRule::Pattern(_), IdentityRule::Exact(_)) => false,
    }
}

fn allows_no_more(triggers: &Triggers, base: &Triggers) -> bool {
    match (triggers, base) {
        (_, Triggers::Any) | (Triggers::Trusted, Triggers::Trusted) => true,
        (Triggers::Any | Triggers::Trusted, _) => false,
        (Triggers::Listed(events), _) => events.iter().all(|event| base.allow(Some(event))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config, error::SourceText};

    const WORKFLOW: &str = "workflow: https://github.com/acme/app/.github/workflows/b.yml";

    fn config(verify: &str, images: &str) -> Config {
        let verify = verify.replace('W', WORKFLOW);
        let source = SourceText {
            name: "repin.yaml".to_owned(),
            text: format!("version: 1\nfiles: [x]\nimages: {{ {images} }}\n{verify}").into(),
        };
        config::parse(&source, Path::new("/root")).unwrap()
    }

    const IMAGES: &str = "a: { repository: r.example/a, pins: 1 }";

    fn keys(base: &str, here: &str) -> Vec<String> {
        let of = |policy: &str| match policy {
            "" => config("", IMAGES),
            policy => config(&format!("verify: {{ {policy} }}"), IMAGES),
        };
        weakened(&of(base), &of(here), &[]).into_iter().collect()
    }

    /// A policy of the base, one of a change, and the key that requires less.
    const WEAKER: &[(&str, &str, &str)] = &[
        ("signers: [{ W }]", "", "verify"),
        (
            "require: [attestation, signature], signers: [{ W }]",
            "signers: [{ W }]",
            "verify.require",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W }, { key: k, commit: off }]",
            "verify.signers[1]",
        ),
        (
            "signers: [{ W, ref: x }]",
            "signers: [{ W }]",
            "verify.signers[0].ref",
        ),
        (
            "signers: [{ W, ref: x }]",
            "signers: [{ W, ref: y }]",
            "verify.signers[0].ref",
        ),
        (
            "signers: [{ W, ref: x }]",
            "signers: [{ W, ref: x, source_ref: y }]",
            "verify.signers[0].source_ref",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W, runner: any }]",
            "verify.signers[0].runner",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W, commit: off }]",
            "verify.signers[0].commit",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W, source: s }]",
            "verify.signers[0].source",
        ),
        (
            "signers: [{ W, images: [a] }, { key: k, commit: off }]",
            "signers: [{ W }, { key: k, commit: off }]",
            "verify.signers[0].images",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W, trigger: [workflow_run] }]",
            "verify.signers[0].trigger",
        ),
        (
            "signers: [{ W, trigger: [push] }]",
            "signers: [{ W }]",
            "verify.signers[0].trigger",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W, issuer: i }]",
            "verify.signers[0]",
        ),
        (
            "signers: [{ key: k, commit: off }]",
            "signers: [{ key: k, commit: off, log: off }]",
            "verify.signers[0].log",
        ),
        (
            "signers: [{ key: k, commit: off }]",
            "signers: [{ key: l, commit: off }]",
            "verify.signers[0]",
        ),
        (
            "signers: [{ identity: i, issuer: j, commit: off }]",
            "signers: [{ identity_pattern: '.*', issuer: j, commit: off }]",
            "verify.signers[0]",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W }], predicate_types: [p]",
            "verify.predicate_types",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W }], subject: platforms",
            "verify.subject",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W }], subject_name: any",
            "verify.subject_name",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W }], trusted_roots: [sigstore, r.json]",
            "verify.trusted_roots",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ W }], since: 1111111111111111111111111111111111111111",
            "verify.since",
        ),
    ];

    #[test]
    fn weaker_keys_are_listed() {
        for (base, here, expected) in WEAKER {
            assert_eq!(keys(base, here), [*expected], "{base} -> {here}");
        }
    }

    #[test]
    fn policy_that_is_as_strict_is_not_reported() {
        for (base, here) in [
            ("", ""),
            ("", "signers: [{ W }]"),
            ("signers: [{ W }]", "signers: [{ W }]"),
            (
                "signers: [{ W }]",
                "require: [attestation, signature], signers: [{ W }]",
            ),
            (
                "signers: [{ W }, { key: k, commit: off }]",
                "signers: [{ W }]",
            ),
            (
                "signers: [{ key: k, commit: off }, { W }]",
                "signers: [{ W }, { key: k, commit: off }]",
            ),
            (
                "signers: [{ W }]",
                "signers: [{ W, ref: x, images: [a], trigger: [push] }]",
            ),
            (
                "signers: [{ W, ref: x }]",
                "signers: [{ W, ref: x, source_ref: x }]",
            ),
            (
                "signers: [{ W, runner: any, commit: off }]",
                "signers: [{ W }]",
            ),
            (
                "signers: [{ identity_pattern: '.*', issuer: j, commit: off }]",
                "signers: [{ identity: i, issuer: j, commit: off }]",
            ),
            (
                "signers: [{ W }], subject_name: any, since: 1111111111111111111111111111111111111111",
                "signers: [{ W }]",
            ),
        ] {
            assert_eq!(keys(base, here), [""; 0], "{base} -> {here}");
        }
    }

    #[test]
    fn images_keep_their_names_and_repositories() {
        let of = |images: &str| config("verify: { signers: [{ W }] }", images);
        let b = "b: { repository: r.example/b, pins: 1 }";
        let base = of(&format!("{IMAGES}, {b}"));
        let keys = |images: &str| {
            weakened(&base, &of(images), &[])
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(IMAGES), ["images.b"]);
        let other = "b: { repository: r.example/c, signed_as: [r.example/b], pins: 1 }";
        assert_eq!(keys(&format!("{IMAGES}, {other}")), ["images.b.repository"]);
        let copy = "b: { repository: r.example/b, signed_as: [r.example/c], pins: 1 }";
        assert_eq!(keys(&format!("{IMAGES}, {copy}")), ["images.b.signed_as"]);
        let replaced = weakened(&base, &base, &["root.json".to_owned()]);
        assert_eq!(
            replaced.into_iter().collect::<Vec<_>>(),
            ["root.json (replaced)"]
        );
    }
}
