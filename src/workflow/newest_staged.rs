//! `promote --revision newest` of a set with stages: the newest set that passed them. Like any choice, it
//! verifies nothing.

use super::{
    Services,
    build_order::BuildOrder,
    newest::{Newest, unknown_age},
    site::Site,
    stages::{Candidate, Stages},
};
use crate::{
    checks,
    config::Operation,
    error::Errors,
    history::{Hold, Order},
    untrusted::plain,
};

/// Selects the newest set of the first stage that passes every stage and is newer than the current set.
/// `allow_older`: whether its age may be unknown.
pub(super) fn newest_staged(
    site: &dyn Site,
    allow_older: bool,
    services: &Services,
) -> Result<Newest, Errors> {
    let config = site.config();
    let (found, _) = site.pins(Operation::Promotion)?;
    let history = site.history(services);
    let stages = Stages::open(config, &history, site.has_forge(), services)?;
    let order = BuildOrder::new(config, history.git(), None, services);
    let pinned = checks::current_digests(config, &found);
    let known = history.known()?;
    let candidates = stages.candidates()?;
    let is_current = |candidate: &Candidate| {
        let mut digests = candidate.digests.iter();
        digests.all(|(name, digest)| pinned.get(name) == Some(digest))
    };
    let has_current = candidates.iter().any(is_current);
    // The sets after the current one are older in the stage.
    for candidate in candidates
        .iter()
        .take_while(|candidate| !is_current(candidate))
    {
        let Some(revision) = &candidate.revision else {
            continue;
        };
        let mut unknown_order = None;
        if let Some(known) = known {
            let order = order.of_set(known, revision, &pinned);
            let is_older = match services.wait(order, "determining the order of builds")?? {
                Order::Same => true,
                Order::Known(known) => known.is_older,
                Order::Unknown(_) => {
                    unknown_order = Some("neither commits nor the stage show its order");
                    false
                }
            };
            if is_older || matches!(known.hold(revision), Hold::Held { .. }) {
                continue;
            }
        }
        let verdicts = stages.judge(&candidate.digests, services)?.judged;
        let (checks, unknown) = checks::check_stages(&verdicts, false).into_parts();
        if !unknown.is_empty() {
            return Err(unknown.into());
        }
        if checks::any_failed(&checks) {
            continue;
        }
        if let Some(reason) = unknown_order.filter(|_| !has_current && !allow_older) {
            return Err(unknown_age(revision, reason));
        }
        let name = plain(revision.as_str());
        let note = format!("the newest set that passed every stage is {name}");
        services.console.note(&note);
        return Ok(Newest::Build(revision.clone()));
    }
    let current = known.and_then(|known| known.revision_of(&pinned));
    Ok(Newest::Nothing {
        current: current.cloned(),
        found: Box::new(found),
    })
}
