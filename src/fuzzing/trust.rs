//! Bundles, payloads and roots from outside: whatever the bytes are, there is a verdict, and nothing
//! that was altered is trusted.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    config::Verify,
    oci::Digest,
    trust::{Attached, BuiltIn, CosignLayer, Policy, PublicKey, Root, Standing, Subject},
};

/// A bundle, a payload with annotations, a trusted root and a key.
pub fn trust(input: &[u8]) {
    let verify = Verify::nobody();
    let built_in = [BuiltIn::Sigstore, BuiltIn::GitHub];
    let policy = Policy {
        verify: &verify,
        keys: Vec::new(),
        roots: built_in.map(|which| Root::built_in(which).unwrap()).into(),
    };
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
        let judged = policy.judge(candidate, subject);
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
