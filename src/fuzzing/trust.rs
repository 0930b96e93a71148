//! Bundles, payloads and roots from outside: whatever the bytes are, there is a verdict, and nothing
//! that was altered is trusted.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    config::Verify,
    oci::Digest,
    trust::{Attached, BuiltIn, CosignLayer, Policy, PublicKey, Root, Standing, Subject},
};

static VERIFY: LazyLock<Verify> = LazyLock::new(Verify::nobody);
/// Reading the roots takes longer than most inputs.
static POLICY: LazyLock<Policy<'static>> = LazyLock::new(|| Policy {
    verify: &VERIFY,
    keys: Vec::new(),
    roots: [BuiltIn::Sigstore, BuiltIn::GitHub]
        .map(|which| Root::built_in(which).unwrap())
        .into(),
});

/// A bundle, a payload with annotations, a trusted root and a key.
pub fn trust(input: &[u8]) {
    let subject = Subject {
        image: "app",
        digest: Digest::of(b"the image"),
        revision: "1111111111111111111111111111111111111111",
        now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    let mut candidates = vec![Attached::Bundle(input.to_vec())];
    // The first line is the payload, each further one an annotation.
    let mut lines = input.split(|byte| *byte == b'\n');
    let payload = lines.next().unwrap_or_default().to_vec();
    let annotations = lines.filter_map(|line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once('=')?;
        Some((name.to_owned(), value.replace("\\n", "\n")))
    });
    let annotations: BTreeMap<String, String> = annotations.collect();
    candidates.push(Attached::Cosign(CosignLayer {
        payload,
        annotations,
    }));
    for candidate in &candidates {
        let judged = POLICY.judge(candidate, subject);
        // Nobody is trusted, and nothing real is about this digest.
        assert!(
            matches!(judged.standing, Standing::Invalid(_)),
            "{judged:?}"
        );
        assert!(judged.proof.is_none());
    }
    if let Ok(roots) = Root::parse("root", input) {
        assert!(!roots.is_empty());
        for root in roots {
            root.age();
        }
    }
    if let Ok(key) = PublicKey::parse(input) {
        assert_eq!(PublicKey::parse(input).unwrap().digest(), key.digest());
    }
}
