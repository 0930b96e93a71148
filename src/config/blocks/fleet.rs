//! Many repositories with one set: the block `fleet`.

use super::forge::owner_name;
use crate::config::{raw::ErrorCollector, yaml::Node};

/// What holds for the repositories of a fleet.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// `owner/name` of the repository that the images are built from, whose history orders builds.
    pub source: Option<String>,
    /// How much history a repository must show.
    pub history: FleetHistory,
    /// How a repository without a configuration counts.
    pub when_unconfigured: WhenUnconfigured,
    /// What a repository's own policy means that repin cannot check without a clone.
    pub own_policy: OwnPolicy,
}

/// How much history a repository must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FleetHistory {
    /// Its recent commits must show when the current set began.
    #[default]
    Required,
    /// Its recent commits are enough.
    Recent,
}

/// How a repository without a configuration counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnconfigured {
    /// It is left out.
    #[default]
    Skip,
    /// It is a failure.
    Fail,
}

/// What a repository's own policy means that repin cannot check without a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnPolicy {
    /// The repository is refused.
    #[default]
    Refuse,
    /// The policy is ignored, with a note.
    Ignore,
}

pub(in crate::config) fn fleet(g: &ErrorCollector, node: &Node) -> Option<Fleet> {
    let fields = g.map(node)?;
    let source = fields.optional("source", |node| g.parsed(node, owner_name));
    let histories = [
        ("required", FleetHistory::Required),
        ("recent", FleetHistory::Recent),
    ];
    let history = fields.or("history", FleetHistory::default(), |node| {
        g.choice(node, &histories)
    });
    let unconfigured = [
        ("skip", WhenUnconfigured::Skip),
        ("fail", WhenUnconfigured::Fail),
    ];
    let when_unconfigured = fields.or("when_unconfigured", WhenUnconfigured::default(), |node| {
        g.choice(node, &unconfigured)
    });
    let policies = [("refuse", OwnPolicy::Refuse), ("ignore", OwnPolicy::Ignore)];
    let own_policy = fields.or("own_policy", OwnPolicy::default(), |node| {
        g.choice(node, &policies)
    });
    fields.done();
    Some(Fleet {
        source: source?,
        history: history?,
        when_unconfigured: when_unconfigured?,
        own_policy: own_policy?,
    })
}
