//! Gates: the required contexts of a commit and the state of each according to its reports.

use globset::GlobBuilder;

use super::{
    checks::{Status, StatusKind, StatusResult},
    client::Forge,
};
use crate::base::{error::Error, files::glob_regex, text::words};

/// The maximum length of a context that is a glob, in bytes: globset's time and stack grow with it.
const MAX_GLOB: usize = 4096;

words! {
    /// The state of a gate, the worst last.
    #[derive(PartialOrd, Ord)]
    pub(crate) enum GateState {
        Pass = "pass",
        Pending = "pending",
        /// Nothing was reported.
        Absent = "absent",
        Fail = "fail",
    }
}

/// A required context, and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gate {
    /// The required context; a glob on Gitea and Forgejo. On GitLab, the name of a job, or `pipeline`.
    pub context: String,
    pub state: GateState,
    /// A page with details.
    pub url: Option<String>,
    /// Whether its report may have been deleted because of the commit's age.
    pub expired: bool,
}

impl Gate {
    /// The reason why a missing report may have existed.
    pub(crate) fn expiry(&self) -> Option<&'static str> {
        self.expired
            .then_some("may have expired: the commit is older than 90 days")
    }

    /// The page with details, or the reason for a report that may have existed.
    pub(crate) fn detail(&self) -> &str {
        self.expiry().or(self.url.as_deref()).unwrap_or_default()
    }
}

/// The state of each required context: the worst of the latest reports of every source, because apps,
/// workflows and statuses may use the same name.
pub(crate) fn judge(required: &[String], reports: &[Status]) -> Vec<Gate> {
    required
        .iter()
        .map(|context| gate(context, reports))
        .collect()
}

/// Requests the reports of a commit, and of the pull request with this head, and evaluates them. The age of the commit is requested only if
/// a report is missing.
pub(crate) async fn read_gates(
    forge: &Forge,
    required: &[String],
    commit: &str,
    pull: Option<u64>,
) -> Result<Vec<Gate>, Error> {
    let mut gates = judge(required, &forge.statuses(commit, pull).await?);
    let is_absent = |gate: &Gate| gate.state == GateState::Absent;
    if gates.iter().any(is_absent) && forge.may_have_expired(commit).await? {
        for gate in &mut gates {
            gate.expired = is_absent(gate);
        }
    }
    Ok(gates)
}

/// The worst state of the gates.
pub(crate) fn worst_state(gates: &[Gate]) -> GateState {
    gates
        .iter()
        .map(|gate| gate.state)
        .max()
        .unwrap_or(GateState::Pass)
}

fn gate(required: &str, reports: &[Status]) -> Gate {
    let glob = Some(required)
        .filter(|required| required.len() <= MAX_GLOB)
        .and_then(|required| GlobBuilder::new(required).build().ok())
        .and_then(|glob| glob_regex(&glob).ok());
    let mut latest: Vec<&Status> = Vec::new();
    for report in reports {
        let matches_glob = glob
            .as_ref()
            .is_some_and(|glob| glob.is_match(report.context.as_bytes()));
        if report.context != required && !matches_glob {
            continue;
        }
        let same_source = latest.iter_mut().find(|known| {
            known.context == report.context
                && known.kind == report.kind
                && known.source == report.source
        });
        match same_source {
            Some(known) if order(known) < order(report) => *known = report,
            Some(_) => {}
            None => latest.push(report),
        }
    }
    let worst = latest.into_iter().max_by_key(|report| report.result);
    let state = match worst.map(|report| report.result) {
        None => GateState::Absent,
        Some(StatusResult::Pass) => GateState::Pass,
        Some(StatusResult::Pending) => GateState::Pending,
        Some(StatusResult::Fail) => GateState::Fail,
    };
    Gate {
        context: required.to_owned(),
        state,
        url: worst.and_then(|report| report.url.clone()),
        expired: false,
    }
}

/// The order of reports: a later time is greater. A malformed time is the oldest; a run that has not
/// begun is newer than every run that has.
fn order(report: &Status) -> (i64, u64) {
    let time = if report.kind == StatusKind::Run && report.reported.is_empty() {
        i64::MAX
    } else {
        seconds(&report.reported).unwrap_or(i64::MIN)
    };
    (time, report.id)
}

/// Seconds since 1970 of a date and time (RFC 3339).
fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let minutes =
                zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days of the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second - offset * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(context: &str, result: StatusResult, reported: &str, id: u64) -> Status {
        let kind = StatusKind::Status;
        Status {
            context: context.to_owned(),
            result,
            url: Some(format!("https://ci/{id}")),
            reported: reported.to_owned(),
            id,
            kind,
            source: String::new(),
        }
    }

    #[test]
    fn later_report_replaces_only_its_own_source() {
        let from = |source: &str, result, reported| Status {
            kind: StatusKind::Run,
            source: source.to_owned(),
            ..report("ci", result, reported, 1)
        };
        let (early, late) = ("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z");
        let state = |reports: &[Status]| judge(&["ci".to_owned()], reports)[0].state;
        let failed = from("15368/1", StatusResult::Fail, early);
        for (source, expected) in [
            ("15368/1", GateState::Pass),
            ("15368/2", GateState::Fail),
            ("7/1", GateState::Fail),
        ] {
            let later = from(source, StatusResult::Pass, late);
            assert_eq!(
                state(&[failed.clone(), later.clone()]),
                expected,
                "{source}"
            );
            assert_eq!(state(&[later, failed.clone()]), expected, "{source}");
        }
    }

    #[test]
    fn time_zones_are_converted() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2026-03-01T12:00:00.25Z"), Some(1_772_366_400));
        assert_eq!(
            seconds("2024-02-29T01:00:00+02:00"),
            seconds("2024-02-28T23:00:00Z")
        );
        assert_eq!(
            seconds("2024-02-29T01:00:00-02:30"),
            seconds("2024-02-29T03:30:00Z")
        );
        for bad in [
            "",
            "yesterday",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00 é",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn latest_report_counts_in_any_order() {
        let required = ["ci".to_owned()];
        let mut reports = vec![
            report("ci", StatusResult::Fail, "2026-01-01T10:00:00Z", 1),
            // An hour before the one above, although it looks later.
            report("ci", StatusResult::Pass, "2026-01-01T10:30:00+01:30", 2),
        ];
        assert_eq!(judge(&required, &reports)[0].state, GateState::Fail);
        reports.push(report("ci", StatusResult::Pass, "2026-01-01T10:00:00Z", 3));
        for _ in 0..3 {
            reports.rotate_left(1);
            let gate = &judge(&required, &reports)[0];
            assert_eq!(
                (gate.state, gate.url.as_deref()),
                (GateState::Pass, Some("https://ci/3"))
            );
        }
    }

    #[test]
    fn worst_gate_decides() {
        let reports = [
            report("a", StatusResult::Pass, "2026-01-01T10:00:00Z", 1),
            report("b", StatusResult::Pending, "2026-01-01T10:00:00Z", 2),
            report("c", StatusResult::Fail, "2026-01-01T10:00:00Z", 3),
        ];
        let state = |required: &[&str]| {
            let required: Vec<_> = required
                .iter()
                .map(|context| (*context).to_owned())
                .collect();
            worst_state(&judge(&required, &reports))
        };
        assert_eq!(state(&["a"]), GateState::Pass);
        assert_eq!(state(&["a", "b"]), GateState::Pending);
        assert_eq!(state(&["a", "b", "none"]), GateState::Absent);
        assert_eq!(state(&["a", "none", "c"]), GateState::Fail);
        assert_eq!(state(&["[ab]"]), GateState::Pending, "a glob");
    }

    #[test]
    fn queued_run_is_the_latest() {
        let run = |result, reported, id| Status {
            kind: StatusKind::Run,
            ..report("ci", result, reported, id)
        };
        let reports = [
            run(StatusResult::Pending, "", 9),
            run(StatusResult::Pass, "2026-01-01T11:00:00Z", 5),
        ];
        assert_eq!(
            judge(&["ci".to_owned()], &reports)[0].state,
            GateState::Pending
        );
    }

    #[test]
    fn status_and_check_run_both_count() {
        let run = Status {
            kind: StatusKind::Run,
            ..report("ci", StatusResult::Pass, "2026-01-01T11:00:00Z", 9)
        };
        let reports = [
            run,
            report("ci", StatusResult::Fail, "2026-01-01T10:00:00Z", 1),
        ];
        assert_eq!(
            judge(&["ci".to_owned()], &reports)[0].state,
            GateState::Fail
        );
    }
}
