//! The authorities and logs of a trusted root, and their differences between two roots.

use std::collections::BTreeMap;

use serde::Serialize;
use sigstore_verify::{
    trust_root::{
        TrustedRoot,
        trusted_root::{CertChain, CertificateSubject},
    },
    types::TimeRange,
};

use super::Root;
use crate::{base::text::words, oci::Digest};

/// An authority or a log of a trusted root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RootEntry {
    pub kind: RootEntryKind,
    /// The subject or the URL.
    pub name: String,
    /// The digest of its certificate, or the ID of the log.
    pub id: String,
    /// The first time at which it is valid (RFC 3339).
    pub valid_from: Option<String>,
    /// The last time at which it is valid (RFC 3339).
    pub valid_until: Option<String>,
}

words! {
    #[derive(PartialOrd, Ord)]
    pub(crate) enum RootEntryKind {
        /// Issues the certificates of signers.
        CertificateAuthority = "certificate_authority",
        /// Records signatures.
        TransparencyLog = "transparency_log",
        /// Records certificates.
        CertificateLog = "certificate_log",
        /// Signs timestamps.
        TimestampAuthority = "timestamp_authority",
    }
}

/// A difference between two roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    #[serde(rename = "change")]
    pub kind: ChangeKind,
    /// The entry of the new root, or of the old root if it was removed.
    #[serde(flatten)]
    pub entry: RootEntry,
    /// The validity in the old root, if it differs.
    pub previous_from: Option<String>,
    pub previous_until: Option<String>,
}

words! {
    pub(crate) enum ChangeKind {
        Added = "added",
        Removed = "removed",
        /// The new root trusts the entry for a shorter time.
        Ended = "ended",
        /// The new root trusts the entry for a longer time.
        Extended = "extended",
    }
}

impl ChangeKind {
    /// Whether the change indicates an older root: updates of a root only add entries and end their
    /// validity.
    pub(crate) fn is_rollback(self) -> bool {
        matches!(self, Self::Removed | Self::Extended)
    }

    /// Whether only the validity of the entry differs.
    pub(crate) fn is_of_validity(self) -> bool {
        matches!(self, Self::Ended | Self::Extended)
    }
}

struct EntryWithValidity {
    entry: RootEntry,
    valid: Option<TimeRange>,
}

/// The kind, the key material, and the number of earlier entries with the same material. Two roots
/// have the same entry if all of its key material is equal.
type Key = (RootEntryKind, Vec<u8>, usize);

/// The differences from one root to another, in the order of kinds.
pub(crate) fn difference(old: &Root, new: &Root) -> Vec<Change> {
    let mut before = entries(&old.trusted);
    let mut changes = Vec::new();
    for (key, EntryWithValidity { entry, valid }) in entries(&new.trusted) {
        let Some(old) = before.remove(&key) else {
            changes.push(Change {
                kind: ChangeKind::Added,
                entry,
                previous_from: None,
                previous_until: None,
            });
            continue;
        };
        if valid != old.valid {
            changes.push(Change {
                kind: validity_change(old.valid, valid),
                entry,
                previous_from: old.entry.valid_from,
                previous_until: old.entry.valid_until,
            });
        }
    }
    changes.extend(before.into_values().map(|old| Change {
        kind: ChangeKind::Removed,
        entry: old.entry,
        previous_from: None,
        previous_until: None,
    }));
    changes.sort_by_key(|change| change.entry.kind);
    changes
}

impl Root {
    /// Whether two roots belong to one instance: both list the same authority or log.
    pub(crate) fn shares_entry(&self, other: &Self) -> bool {
        let others = entries(&other.trusted);
        entries(&self.trusted)
            .keys()
            .any(|key| others.contains_key(key))
    }
}

fn validity_change(old: Option<TimeRange>, new: Option<TimeRange>) -> ChangeKind {
    let (Some(old), Some(new)) = (old, new) else {
        return match new {
            None => ChangeKind::Extended,
            Some(_) => ChangeKind::Ended,
        };
    };
    let ends_later = match (old.end, new.end) {
        (Some(old), Some(new)) => new > old,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if new.start < old.start || ends_later {
        ChangeKind::Extended
    } else {
        ChangeKind::Ended
    }
}

fn entries(root: &TrustedRoot) -> BTreeMap<Key, EntryWithValidity> {
    let mut entries = BTreeMap::new();
    for authority in &root.certificate_authorities {
        add_authority(
            &mut entries,
            RootEntryKind::CertificateAuthority,
            &authority.subject,
            Some(&authority.uri),
            &authority.cert_chain,
            authority.valid_for,
        );
    }
    for authority in &root.timestamp_authorities {
        add_authority(
            &mut entries,
            RootEntryKind::TimestampAuthority,
            &authority.subject,
            authority.uri.as_ref(),
            &authority.cert_chain,
            authority.valid_for,
        );
    }
    let logs = root.tlogs.iter().map(|log| {
        let kind = RootEntryKind::TransparencyLog;
        (kind, &log.base_url, &log.log_id, &log.public_key)
    });
    let certificate_logs = root.ctlogs.iter().map(|log| {
        let kind = RootEntryKind::CertificateLog;
        (kind, &log.base_url, &log.log_id, &log.public_key)
    });
    for (kind, url, id, key) in logs.chain(certificate_logs) {
        let id = id.key_id.to_string();
        let material = [id.as_bytes(), key.raw_bytes.as_bytes()].concat();
        add(&mut entries, kind, url.clone(), id, material, key.valid_for);
    }
    entries
}

fn add_authority(
    entries: &mut BTreeMap<Key, EntryWithValidity>,
    kind: RootEntryKind,
    subject: &CertificateSubject,
    uri: Option<&String>,
    chain: &CertChain,
    valid: Option<TimeRange>,
) {
    let chain = chain.certificates.iter();
    let chain: Vec<&[u8]> = chain.map(|entry| entry.raw_bytes.as_bytes()).collect();
    let subject = [&subject.organization, &subject.common_name];
    let names: Vec<&str> = (subject.into_iter().flatten().chain(uri))
        .map(String::as_str)
        .collect();
    let id = Digest::of(chain.first().copied().unwrap_or_default()).to_string();
    add(entries, kind, names.join(", "), id, chain.concat(), valid);
}

fn add(
    entries: &mut BTreeMap<Key, EntryWithValidity>,
    kind: RootEntryKind,
    name: String,
    id: String,
    material: Vec<u8>,
    valid: Option<TimeRange>,
) {
    let entry = RootEntry {
        kind,
        name,
        id,
        valid_from: valid.map(|valid| valid.start.to_string()),
        valid_until: valid.and_then(|valid| valid.end).map(|end| end.to_string()),
    };
    let mut key = (kind, material, 0);
    while entries.contains_key(&key) {
        key.2 += 1;
    }
    entries.insert(key, EntryWithValidity { entry, valid });
}
