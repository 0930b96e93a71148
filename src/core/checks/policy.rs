//! Detects a change to the policy of signatures or stages with fewer requirements than the policy of the
//! base branch, and a change of the branches whose history and policy count.
//!
//! A changed value counts as weaker unless it is known to allow no more, such as another commit in
//! `since`, or another branch of a stage.

use std::collections::BTreeSet;

use super::{Check, Code, Status};
use crate::{
    config::{Config, Stage},
    trust::{
        CommitBinding, IdentityRule, LogRule, Runner, SignedSubject, Signer, SignerIdentity,
        SubjectName, Triggers, Verify,
    },
};

/// A warning if `changed` requires less than the configuration `base` of the branch `base_name`.
/// `replaced`: changed keys and roots.
pub(crate) fn policy_weakened(
    base_name: &str,
    base: &Config,
    changed: &Config,
    replaced: &[String],
) -> Option<Check> {
    let keys = weakened_keys(base, changed, replaced);
    if keys.is_empty() {
        return None;
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let old_path = if base.set_path == changed.set_path {
        String::new()
    } else {
        format!("{} ", base.set_path)
    };
    let detail = format!("weaker than {old_path}on {base_name}: {}", keys.join(", "));
    Some(Check::new(Code::POLICY_WEAKENED, Status::Warn, detail))
}

/// The skipped check if the configuration may have replaced removed ones of the base branch.
pub(crate) fn policy_of_removed(base_name: &str, removed: &[String]) -> Check {
    policy_unknown(&format!(
        "{base_name} has no such configuration, and git pairs it with none of the removed ones: {}",
        removed.join(", ")
    ))
}

/// The skipped check if the configuration of the base branch is unknown.
pub(crate) fn policy_unknown(reason: &str) -> Check {
    let detail = format!("cannot compare the policy with the base branch: {reason}");
    Check::new(Code::POLICY_WEAKENED, Status::Skip, detail)
}

/// The keys that require less than those of the base, or select another branch, on which nothing may be held.
fn weakened_keys(base: &Config, changed: &Config, replaced: &[String]) -> BTreeSet<String> {
    let mut keys = changed_branches(base, changed);
    if base.verify.is_none() && base.promote.after.is_empty() {
        return keys;
    }
    keys.extend(weakened_signatures(base, changed, replaced));
    if omits_stage(&base.promote.after, &changed.promote.after) {
        keys.insert("promote.after".to_owned());
    }
    keys.extend(changed_images(base, changed));
    keys
}

/// The images that leave the policy, because they are removed, not pinned or in another repository, or
/// that may be signed under further names.
fn changed_images(base: &Config, changed: &Config) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for old in &base.images {
        let name = &old.name;
        let Some(new) = changed.images.iter().find(|image| image.name == *name) else {
            keys.insert(format!("images.{name}"));
            continue;
        };
        if new.repository != old.repository {
            keys.insert(format!("images.{name}.repository"));
        }
        if old.pins > 0 && new.pins == 0 {
            keys.insert(format!("images.{name}.pins"));
        }
        let signed = old.signed_repositories();
        if base.verify.is_some() && new.signed_as.iter().any(|name| !signed.contains(name)) {
            keys.insert(format!("images.{name}.signed_as"));
        }
    }
    keys
}

/// The keys that select another branch. A pull request could select its own branch, on which its set is
/// current.
fn changed_branches(base: &Config, changed: &Config) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    if changed.provenance.branch != base.provenance.branch {
        keys.insert("provenance.branch".to_owned());
    }
    let base_of = |config: &Config| config.forge.as_ref().and_then(|forge| forge.base.clone());
    if base_of(changed) != base_of(base) {
        keys.insert("forge.base".to_owned());
    }
    keys
}

/// Whether a stage is missing, or its required time is shorter.
fn omits_stage(base: &[Stage], changed: &[Stage]) -> bool {
    base.iter().any(|old| {
        let is_required = |new: &Stage| new.set == old.set && new.r#for >= old.r#for;
        !changed.iter().any(is_required)
    })
}

/// The keys of the signature policy that require less than those of the base.
fn weakened_signatures(base: &Config, changed: &Config, replaced: &[String]) -> BTreeSet<String> {
    let Some(old) = &base.verify else {
        return BTreeSet::new();
    };
    let Some(new) = &changed.verify else {
        return ["verify".to_owned()].into();
    };
    let mut keys: BTreeSet<String> = weakened_verify(old, new)
        .into_iter()
        .map(|key| format!("verify.{key}"))
        .collect();
    for (index, signer) in new.signers.iter().enumerate() {
        for key in loosened_signer(signer, &old.signers) {
            keys.insert(format!("verify.signers[{index}]{key}"));
        }
    }
    for path in replaced {
        keys.insert(format!("{path} (replaced)"));
    }
    keys
}

/// The keys under `verify`, other than signers, that require less.
fn weakened_verify(old: &Verify, new: &Verify) -> Vec<&'static str> {
    let omits_kind = old.require.iter().any(|kind| !new.require.contains(kind));
    let has_new_type = (new.predicate_types.iter()).any(|kind| !old.predicate_types.contains(kind));
    // Then the list of platforms in an index need not be signed.
    let omits_index =
        old.subject == SignedSubject::Pinned && new.subject == SignedSubject::Platforms;
    let allows_any_name =
        old.subject_name == SubjectName::Repository && new.subject_name == SubjectName::Any;
    let roots: Vec<_> = old.trusted_roots.iter().map(|root| &root.kind).collect();
    let has_new_root = (new.trusted_roots.iter()).any(|root| !roots.contains(&&root.kind));
    let since = |verify: &Verify| verify.since.as_ref().map(|since| since.commit.clone());
    let has_new_start = since(new).is_some() && since(new) != since(old);
    [
        (omits_kind, "require"),
        (has_new_type, "predicate_types"),
        (omits_index, "subject"),
        (allows_any_name, "subject_name"),
        (has_new_root, "trusted_roots"),
        (has_new_start, "since"),
    ]
    .into_iter()
    .filter_map(|(is_weaker, key)| is_weaker.then_some(key))
    .collect()
}

/// The keys of a signer that allow more than the most similar signer of the base; one empty key if the
/// base has no such signer.
fn loosened_signer(signer: &Signer, base: &[Signer]) -> Vec<&'static str> {
    let loosened = base.iter().filter_map(|other| loosened(signer, other));
    loosened.min_by_key(Vec::len).unwrap_or_else(|| vec![""])
}

/// The keys of a signer that allow more than `base`; `None` if it is another signer.
fn loosened(signer: &Signer, base: &Signer) -> Option<Vec<&'static str>> {
    let mut keys = Vec::new();
    let is_looser = |new: Runner, old: Runner| new == Runner::Any && old != Runner::Any;
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
                workflow: old_workflow,
                git_ref: old_ref,
                source_ref: old_source_ref,
                issuer: old_issuer,
                runner: old_runner,
            },
        ) => {
            if workflow != old_workflow || issuer != old_issuer {
                return None;
            }
            // Without `source_ref`, the source must have the workflow's ref.
            let effective = source_ref.as_ref().or(git_ref.as_ref());
            let old_effective = old_source_ref.as_ref().or(old_ref.as_ref());
            if old_ref.is_some() && git_ref != old_ref {
                keys.push(".ref");
            } else if old_effective.is_some() && effective != old_effective {
                keys.push(".source_ref");
            }
            keys.extend(is_looser(*runner, *old_runner).then_some(".runner"));
        }
        (
            SignerIdentity::Certificate {
                identity,
                issuer,
                runner,
            },
            SignerIdentity::Certificate {
                identity: old_identity,
                issuer: old_issuer,
                runner: old_runner,
            },
        ) => {
            if issuer != old_issuer || !is_within(identity, old_identity) {
                return None;
            }
            keys.extend(is_looser(*runner, *old_runner).then_some(".runner"));
        }
        (
            SignerIdentity::Key { path, log, .. },
            SignerIdentity::Key {
                path: old_path,
                log: old_log,
                ..
            },
        ) => {
            if path != old_path {
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

/// The keys common to all kinds of signers that allow more than those of `base`.
fn loosened_restrictions(signer: &Signer, base: &Signer) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if !allows_no_more(&signer.trigger, &base.trigger) {
        keys.push(".trigger");
    }
    if base.commit != CommitBinding::Off && signer.commit != base.commit {
        keys.push(".commit");
    }
    if base.source.is_some() && signer.source != base.source {
        keys.push(".source");
    }
    if !base.images.is_empty()
        && (signer.images.is_empty()
            || !signer.images.iter().all(|name| base.images.contains(name)))
    {
        keys.push(".images");
    }
    keys
}

fn is_within(identity: &IdentityRule, base: &IdentityRule) -> bool {
    match (identity, base) {
        (IdentityRule::Exact(new), IdentityRule::Exact(old)) => new == old,
        (IdentityRule::Exact(new), IdentityRule::Pattern(old)) => old.is_match(new),
        (IdentityRule::Pattern(new), IdentityRule::Pattern(old)) => new.as_str() == old.as_str(),
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
    use super::*;
    use crate::config;

    const WORKFLOW: &str = "workflow: https://github.com/acme/app/.github/workflows/b.yml";

    fn config(verify: &str, images: &str) -> Config {
        let verify = verify.replace('W', WORKFLOW);
        config::example(&format!(
            "version: 1\nfiles: [x]\nimages: {{ {images} }}\n{verify}"
        ))
    }

    const IMAGES: &str = "a: { repository: r.example/a, pins: 1 }";

    fn keys(base: &str, changed: &str) -> Vec<String> {
        let config = |policy: &str| match policy {
            "" => config("", IMAGES),
            policy => config(&format!("verify: {{ {policy} }}"), IMAGES),
        };
        weakened_keys(&config(base), &config(changed), &[])
            .into_iter()
            .collect()
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
            "signers: [{ identity: i, issuer: j, commit: off }]",
            "signers: [{ identity: k, issuer: j, commit: off }]",
            "verify.signers[0]",
        ),
        (
            "signers: [{ identity: i, issuer: j, commit: off }]",
            "signers: [{ identity: i, issuer: k, commit: off }]",
            "verify.signers[0]",
        ),
        (
            "signers: [{ identity: i, issuer: j, commit: off, runner: github-hosted }]",
            "signers: [{ identity: i, issuer: j, commit: off, runner: any }]",
            "verify.signers[0].runner",
        ),
        (
            "signers: [{ identity_pattern: 'i|k', issuer: j, commit: off }]",
            "signers: [{ identity_pattern: 'i|k|l', issuer: j, commit: off }]",
            "verify.signers[0]",
        ),
        (
            "signers: [{ W }]",
            "signers: [{ workflow: https://github.com/acme/app/.github/workflows/c.yml }]",
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
        for (base, changed, expected) in WEAKER {
            assert_eq!(keys(base, changed), [*expected], "{base} -> {changed}");
        }
    }

    #[test]
    fn equally_strict_policy_is_not_reported() {
        for (base, changed) in [
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
            (
                "signers: [{ identity_pattern: 'i|k', issuer: j, commit: off }]",
                "signers: [{ identity_pattern: 'i|k', issuer: j, commit: off }]",
            ),
            (
                "signers: [{ identity: i, issuer: j, commit: off }]",
                "signers: [{ identity: i, issuer: j, commit: off, source: s }]",
            ),
            (
                "signers: [{ W, images: [a] }]",
                "signers: [{ W, images: [a] }]",
            ),
        ] {
            assert_eq!(keys(base, changed), [""; 0], "{base} -> {changed}");
        }
    }

    #[test]
    fn present_exception_is_not_reported() {
        for policy in [
            "subject: platforms, signers: [{ W }]",
            "subject_name: any, signers: [{ W }]",
            "since: 1111111111111111111111111111111111111111, signers: [{ W }]",
            "signers: [{ key: k, commit: off, log: off }]",
        ] {
            assert_eq!(keys(policy, policy), [""; 0], "{policy}");
        }
    }

    #[test]
    fn further_images_of_a_signer_are_listed() {
        let images = format!("{IMAGES}, b: {{ repository: r.example/b, pins: 1 }}");
        let signs = |list: &str| {
            config(
                &format!(
                    "verify: {{ signers: [{{ W, images: [{list}] }}, {{ key: k, commit: off }}] }}"
                ),
                &images,
            )
        };
        for (base, changed, is_weaker) in
            [("a", "b", true), ("a", "a, b", true), ("a, b", "b", false)]
        {
            let keys = weakened_keys(&signs(base), &signs(changed), &[]);
            assert_eq!(
                keys.contains("verify.signers[0].images"),
                is_weaker,
                "{base} -> {changed}"
            );
        }
    }

    #[test]
    fn removed_or_shortened_stages_are_listed() {
        let after = |stages: &str| config(&format!("promote: {{ after: [{stages}] }}"), IMAGES);
        let keys = |base: &str, changed: &str| weakened_keys(&after(base), &after(changed), &[]);
        let (day, hour) = ("{ set: a.yaml, for: 24h }", "{ set: a.yaml, for: 1h }");
        let two = format!("{{ set: b.yaml }}, {day}");
        for (base, changed, is_weaker) in [
            (day, "", true),
            (day, hour, true),
            (day, "{ set: b.yaml, for: 24h }", true),
            (&two, day, true),
            ("", day, false),
            (hour, day, false),
            (day, &two, false),
            (day, day, false),
        ] {
            let found = keys(base, changed).contains("promote.after");
            assert_eq!(found, is_weaker, "{base} -> {changed}");
        }
    }

    #[test]
    fn images_that_leave_the_stages_are_listed() {
        let after = "promote: { after: [{ set: a.yaml }] }";
        let b = "b: { repository: r.example/b, pins: 1 }";
        let base = config(after, &format!("{IMAGES}, {b}"));
        for (changed, key) in [
            (b, &[][..]),
            ("c: { repository: r.example/b, pins: 1 }", &["images.b"]),
            (
                "b: { repository: r.example/c, pins: 1 }",
                &["images.b.repository"],
            ),
            (
                "b: { repository: r.example/b, pins: 0 }",
                &["images.b.pins"],
            ),
            // No signature is required.
            (
                "b: { repository: r.example/b, signed_as: [r.example/c], pins: 1 }",
                &[],
            ),
        ] {
            let changed = config(after, &format!("{IMAGES}, {changed}"));
            let keys: Vec<_> = weakened_keys(&base, &changed, &[]).into_iter().collect();
            assert_eq!(keys, key);
        }
    }

    #[test]
    fn other_selected_branch_is_listed() {
        let after = "promote: { after: [{ set: a.yaml }] }";
        let with = |more: &str| config(&format!("{after}\n{more}"), IMAGES);
        let provenance = "provenance: { branch: origin/x }";
        let forge = "forge: { kind: github, repository: a/b, base: x }";
        for (base, changed, key) in [
            ("", provenance, "provenance.branch"),
            (provenance, "", "provenance.branch"),
            ("", forge, "forge.base"),
            (forge, "", "forge.base"),
        ] {
            let keys: Vec<_> = weakened_keys(&with(base), &with(changed), &[])
                .into_iter()
                .collect();
            assert_eq!(keys, [key], "{base} -> {changed}");
            assert!(weakened_keys(&with(base), &with(base), &[]).is_empty());
        }
        // Without a policy, holds still depend on the branch.
        let keys = weakened_keys(&config("", IMAGES), &config(provenance, IMAGES), &[]);
        assert_eq!(Vec::from_iter(keys), ["provenance.branch"]);
    }

    #[test]
    fn changed_images_are_listed() {
        let config = |images: &str| config("verify: { signers: [{ W }] }", images);
        let b = "b: { repository: r.example/b, pins: 1 }";
        let base = config(&format!("{IMAGES}, {b}"));
        let list = |keys: BTreeSet<String>| keys.into_iter().collect::<Vec<_>>();
        let keys = |images: &str| list(weakened_keys(&base, &config(images), &[]));
        assert_eq!(keys(IMAGES), ["images.b"]);
        let other = "b: { repository: r.example/c, signed_as: [r.example/b], pins: 1 }";
        assert_eq!(keys(&format!("{IMAGES}, {other}")), ["images.b.repository"]);
        let copy = "b: { repository: r.example/b, signed_as: [r.example/c], pins: 1 }";
        assert_eq!(keys(&format!("{IMAGES}, {copy}")), ["images.b.signed_as"]);
        let replaced = weakened_keys(&base, &base, &["root.json".to_owned()]);
        assert_eq!(list(replaced), ["root.json (replaced)"]);
    }
}
