//! Hand-written histories of a stage, and random ones compared with an independent oracle.

use proptest::prelude::*;

use super::*;
use crate::{
    config,
    core::history::{ExampleCommit, History},
    support::sweep::is_long,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn at(hours: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(3_600 * (480_000 + hours))
}

/// Commits of a line: the set, and the hours since the start. `?` cannot be read; `A!` is promoted by
/// its title.
fn line(commits: &[(&str, u64)]) -> Vec<ExampleCommit> {
    let mut line = Vec::new();
    for (index, (text, hours)) in commits.iter().enumerate() {
        let letter = text.chars().next().unwrap();
        line.push(ExampleCommit {
            parents: index.checked_sub(1).into_iter().collect(),
            set: (letter != '?').then_some([letter; 2]),
            promotes: text.ends_with('!').then_some(letter),
            date: at(*hours),
        });
    }
    line
}

fn verdict_on(history: &History, set: char, now: u64, merged: Option<&MergeTimes>) -> String {
    let now = at(now);
    let found = history.periods(&History::example_digests([set; 2]));
    match judge_stage(&found, DAY, &StageClock { now, merged }) {
        StageVerdict::Passed(soak) => format!("passed since {}", hours(soak.since)),
        StageVerdict::Missing => "missing".to_owned(),
        StageVerdict::TooShort { passes, .. } => match passes {
            Some(passes) => format!("passes at {}", hours(passes)),
            None => "replaced".to_owned(),
        },
        StageVerdict::Held(rollback) => format!("held by {}", number(rollback.commit)),
        StageVerdict::Unknown(reason) => reason,
    }
}

/// The index of an example commit.
fn number(commit: ObjectId) -> u64 {
    u64::from_str_radix(&commit.to_string()[30..], 16).unwrap()
}

fn hours(time: SystemTime) -> u64 {
    time.duration_since(at(0)).unwrap().as_secs() / 3600
}

/// The verdict on `A` after 100 hours.
fn verdict(commits: &[(&str, u64)]) -> String {
    let commits = line(commits);
    let history = History::example(&commits, commits.len() - 1, false);
    verdict_on(&history, 'A', 100, None)
}

#[test]
fn set_soaks_while_it_is_current() {
    assert_eq!(verdict(&[("B!", 0), ("A!", 76)]), "passed since 76");
    assert_eq!(verdict(&[("B!", 0), ("A!", 77)]), "passes at 101");
    assert_eq!(
        verdict(&[("A!", 0), ("A", 5), ("B!", 24)]),
        "passed since 0"
    );
    assert_eq!(verdict(&[("A!", 0), ("A", 5), ("B!", 23)]), "replaced");
    assert_eq!(verdict(&[("B!", 0)]), "missing");
}

#[test]
fn periods_do_not_add_up() {
    let twice = [("A!", 0), ("B!", 20), ("A!", 40), ("C!", 60)];
    assert_eq!(verdict(&twice), "replaced");
    let longest = [("A!", 0), ("B!", 24), ("A!", 80)];
    assert_eq!(verdict(&longest), "passed since 0");
}

#[test]
fn rollback_forfeits_earlier_time() {
    let undone = [("B!", 0), ("A!", 1), ("B", 60)];
    assert_eq!(verdict(&undone), "held by 2");
    let replaced = [("B!", 0), ("A!", 1), ("B", 60), ("C!", 61)];
    assert_eq!(verdict(&replaced), "held by 2");
    let again = [("B!", 0), ("A!", 1), ("B", 60), ("A!", 80)];
    assert_eq!(verdict(&again), "passes at 104");
    let returned = [("A!", 0), ("B!", 70), ("A", 90)];
    assert_eq!(verdict(&returned), "passes at 114");
    let uninvolved = [("A!", 0), ("B!", 30), ("C!", 40), ("B", 50)];
    assert_eq!(verdict(&uninvolved), "passed since 0");
}

#[test]
fn merged_rollback_forfeits_earlier_time() {
    let mut commits = line(&[("B!", 0), ("A!", 1), ("B", 30), ("A", 40)]);
    // The rollback is a commit of another branch, and the merge keeps the set of the line.
    commits[3].parents = vec![1, 2];
    let history = History::example(&commits, 3, false);
    assert_eq!(verdict_on(&history, 'A', 100, None), "held by 2");
}

#[test]
fn wrong_clocks_are_unknown() {
    let future = [("B!", 0), ("A!", 101)];
    let reason = verdict(&future);
    assert!(reason.contains("is dated in the future"), "{reason}");
    let start = [("B!", 60), ("A!", 58)];
    assert!(verdict(&start).contains("more than an hour before its parent"));
    assert_eq!(verdict(&[("B!", 60), ("A!", 59)]), "passed since 59");
    assert_eq!(verdict(&[("B!", 60), ("A!", 100)]), "passes at 124");
    // The end is dated too late, which the commit after it shows.
    let end = [("A!", 0), ("B!", 90), ("B", 10)];
    assert!(verdict(&end).contains("more than an hour before its parent"));
    let later = [("A!", 0), ("B!", 30), ("B", 90), ("B", 10)];
    assert_eq!(verdict(&later), "passed since 0");
}

#[test]
fn unreadable_commit_since_the_start_is_unknown() {
    let later = [("A!", 0), ("?", 30), ("A", 40)];
    assert!(verdict(&later).starts_with("cannot read commit "));
    let replaced = [("A!", 0), ("B!", 30), ("?", 40)];
    assert!(verdict(&replaced).starts_with("cannot read commit "));
    let before = [("B!", 0), ("?", 10), ("A!", 40)];
    assert_eq!(verdict(&before), "passed since 40");
    let never = [("B!", 0), ("?", 10)];
    assert!(verdict(&never).starts_with("cannot read commit "));
}

#[test]
fn shallow_history_does_not_prove_absence() {
    let of = |commits: &[(&str, u64)]| {
        let commits = line(commits);
        let history = History::example(&commits, commits.len() - 1, true);
        verdict_on(&history, 'A', 100, None)
    };
    let missing = "older commits are missing in the clone";
    assert_eq!(of(&[("B!", 0)]), missing);
    assert_eq!(of(&[("A", 0)]), missing);
    assert_eq!(of(&[("B!", 0), ("A!", 1), ("B!", 2)]), "held by 2");
    assert_eq!(of(&[("B!", 0), ("A!", 1), ("C!", 2)]), missing);
    assert!(of(&[("A!", 0)]).contains("its date is unproven"));
    assert_eq!(of(&[("B!", 0), ("A!", 1)]), "passed since 1");
}

#[test]
fn merge_time_of_the_forge_counts() {
    let commits = line(&[("B!", 0), ("A!", 10), ("C!", 50)]);
    let history = History::example(&commits, 2, false);
    let times = |of_start: Result<Option<SystemTime>, String>| {
        let mut times = MergeTimes::new();
        for entry in history.entries() {
            times.insert(entry.commit, Ok(None));
        }
        times.insert(history.entries()[1].commit, of_start);
        times
    };
    let verdict = |times: &MergeTimes| verdict_on(&history, 'A', 100, Some(times));
    assert_eq!(verdict(&times(Ok(None))), "passed since 10");
    assert_eq!(verdict(&times(Ok(Some(at(26))))), "passed since 26");
    assert_eq!(verdict(&times(Ok(Some(at(27))))), "replaced");
    assert_eq!(verdict(&times(Ok(Some(at(5))))), "passed since 10");
    assert!(verdict(&times(Ok(Some(at(101))))).contains("merged in the future"));
    assert!(verdict(&times(Err("HTTP 502".into()))).ends_with("was merged: HTTP 502"));
    assert!(verdict(&MergeTimes::new()).starts_with("cannot read when commit"));
}

#[test]
fn merge_at_this_moment_is_not_in_the_future() {
    let history = History::example(&line(&[("B!", 0), ("A!", 10)]), 1, false);
    let times = history.entries().iter();
    let times: MergeTimes = times
        .map(|entry| (entry.commit, Ok(Some(at(100)))))
        .collect();
    assert_eq!(
        verdict_on(&history, 'A', 100, Some(&times)),
        "passes at 124"
    );
}

fn judged(item: &str, required: Duration) -> JudgedStage {
    JudgedStage {
        item: item.to_owned(),
        required,
        has_merge_times: false,
        missing: Vec::new(),
        must_be_complete: false,
        verdict: StageVerdict::Missing,
    }
}

#[test]
fn incomplete_stage_warns_or_fails() {
    for (must_be_complete, is_allowed, expected) in [
        (false, false, Status::Warn),
        (true, false, Status::Fail),
        (true, true, Status::Warn),
    ] {
        let stage = JudgedStage {
            missing: vec!["b".to_owned(), "c".to_owned()],
            must_be_complete,
            ..judged("staging", DAY)
        };
        let (checks, _) = check_stages(&[stage], is_allowed).into_parts();
        let partial = &checks[0];
        assert_eq!(
            (partial.code, partial.status),
            (Code::STAGE_PARTIAL, expected)
        );
        assert!(partial.detail.contains("`b`, `c`"), "{}", partial.detail);
    }
    let (checks, _) = check_stages(&[judged("staging", DAY)], false).into_parts();
    assert!(checks.iter().all(|check| check.code != Code::STAGE_PARTIAL));
}

#[test]
fn every_stage_of_a_fleet_needs_its_verdict() {
    let text = "version: 1\nfiles: [x]\npromote: { after: [{ set: a/repin.yaml }, { set: b/repin.yaml }] }\nimages:\n  a: { repository: r.example/a, pins: 1 }\n";
    let config = config::example(text);
    let after = &config.promote.after;
    let only = [judged(&after[1].item(), DAY)];
    let checks = check_stages_on_forge(after, &only);
    let found: Vec<_> = checks
        .iter()
        .map(|check| (check.code, check.status))
        .collect();
    assert_eq!(
        found,
        [
            (Code::STAGE_UNKNOWN, Status::Fail),
            (Code::STAGE_MISSING, Status::Fail)
        ]
    );
}

#[test]
fn required_time_is_shown_in_its_largest_unit() {
    for (seconds, text) in [
        (48 * 3_600, "2d"),
        (72 * 3_600, "3d"),
        (24 * 3_600, "24h"),
        (60 * 3_600, "60h"),
        (90 * 60, "90m"),
        (61, "61s"),
    ] {
        assert_eq!(duration(Duration::from_secs(seconds)), text);
    }
    let history = History::example(&line(&[("B!", 0), ("A!", 10)]), 1, false);
    let found = history.periods(&History::example_digests(['A'; 2]));
    for (required, part) in [(Duration::ZERO, " (commit"), (HOUR, "1h required")] {
        let clock = StageClock {
            now: at(100),
            merged: None,
        };
        let mut stage = judged("a", required);
        stage.verdict = judge_stage(&found, required, &clock);
        let detail = stage.evidence().1;
        assert_eq!(
            detail.contains("required"),
            part.contains("required"),
            "{detail}"
        );
        assert!(detail.contains(part), "{detail}");
    }
}

/// A step of a random history.
#[derive(Debug, Clone)]
struct Move {
    stage: usize,
    kind: u8,
    set: usize,
    minutes: u64,
    skew: u8,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..3_usize, 0..20_u8, 0..5_usize, 0..900_u64, 0..40_u8);
    let one = one.prop_map(|(stage, kind, set, minutes, skew)| Move {
        stage,
        kind,
        set,
        minutes,
        skew,
    });
    proptest::collection::vec(one, 1..32)
}

/// The commits of a stage, with the line.
#[derive(Default)]
struct StageLine {
    commits: Vec<ExampleCommit>,
    line: Vec<usize>,
}

impl StageLine {
    fn tip(&self) -> Option<[char; 2]> {
        let readable = self.line.iter().rev();
        readable
            .copied()
            .find_map(|commit| self.commits[commit].set)
    }

    fn commit(
        &mut self,
        parents: Vec<usize>,
        commit: (Option<[char; 2]>, bool),
        date: SystemTime,
    ) -> usize {
        let (set, is_titled) = commit;
        let promotes = set.filter(|_| is_titled).map(|set| set[0]);
        self.commits.push(ExampleCommit {
            parents,
            set,
            promotes,
            date,
        });
        self.commits.len() - 1
    }

    /// Adds a commit to the line.
    fn add(&mut self, set: Option<[char; 2]>, is_titled: bool, date: SystemTime) {
        let parents = self.line.last().copied().into_iter().collect();
        let commit = self.commit(parents, (set, is_titled), date);
        self.line.push(commit);
    }

    /// Merges a branch that begins before the tip.
    fn merge(&mut self, start: usize, sets: &[([char; 2], bool)], takes: bool, date: SystemTime) {
        let Some(tip) = self.line.last().copied() else {
            return;
        };
        let mut parent = self.line[start % self.line.len()];
        for (set, is_titled) in sets {
            parent = self.commit(vec![parent], (Some(*set), *is_titled), date);
        }
        let set = if takes {
            self.commits[parent].set
        } else {
            self.tip()
        };
        let merge = self.commit(vec![tip, parent], (set, false), date);
        self.line.push(merge);
    }

    fn history(&self) -> Option<History> {
        let tip = self.line.last()?;
        Some(History::example(&self.commits, *tip, false))
    }
}

/// Whether a set was current for `required` on the line, by its own reading of the commits.
fn is_proven(stage: &StageLine, set: [char; 2], required: Duration, now: SystemTime) -> bool {
    let commits: Vec<&ExampleCommit> = stage.line.iter().map(|c| &stage.commits[*c]).collect();
    let trusted = |position: usize| {
        let date = commits[position].date;
        let parent = position.checked_sub(1).map(|parent| commits[parent].date);
        date <= now && parent.is_none_or(|parent| parent <= date + HOUR)
    };
    (0..commits.len()).any(|start| {
        let others = |position: &usize| commits[*position].set != Some(set);
        let end = (start..commits.len()).find(others).unwrap_or(commits.len());
        let end_date = commits.get(end).map_or(now, |commit| commit.date);
        let length = end_date
            .duration_since(commits[start].date)
            .unwrap_or_default();
        let limits = [start, end, end + 1];
        let is_first = start == 0 || commits[start - 1].set != Some(set);
        end > start
            && is_first
            && length >= required
            && commits[start..].iter().all(|commit| commit.set.is_some())
            && limits.iter().all(|at| *at >= commits.len() || trusted(*at))
            && !was_rolled_back(stage, start, set)
    })
}

/// Whether any commit that reached the line after `start` returned from the set to an earlier one.
fn was_rolled_back(stage: &StageLine, start: usize, set: [char; 2]) -> bool {
    for merged in (start + 1).max(first_record(stage))..stage.line.len() {
        let mut tips = vec![stage.line[merged]];
        tips.extend(stage.commits[stage.line[merged]].parents.iter().skip(1));
        for tip in tips {
            // The first parents of the commit, oldest first.
            let mut path = vec![tip];
            while let Some(parent) = stage.commits[path[path.len() - 1]].parents.first() {
                path.push(*parent);
            }
            path.reverse();
            for (index, commit) in path.iter().enumerate() {
                if stage.line[..merged].contains(commit) {
                    continue;
                }
                let commit = &stage.commits[*commit];
                let before = |wanted: Option<[char; 2]>| {
                    path[..index]
                        .iter()
                        .rposition(|c| stage.commits[*c].set == wanted)
                };
                let is_return = commit.set.is_some()
                    && commit.set != Some(set)
                    && !is_promotion(stage, &path[..index], commit)
                    && before(commit.set).is_some()
                    && before(Some(set)) > before(commit.set);
                if is_return {
                    return true;
                }
            }
        }
    }
    false
}

/// The position in the line of the first commit that records a set, or merges one that does: no change before
/// it is a rollback.
fn first_record(stage: &StageLine) -> usize {
    let records = |position: &usize| {
        let before = &stage.line[..*position];
        let mut next = vec![stage.line[*position]];
        while let Some(commit) = next.pop() {
            if stage.commits[commit].promotes.is_some() {
                return true;
            }
            let parents = stage.commits[commit].parents.iter();
            next.extend(parents.filter(|parent| !before.contains(*parent)));
        }
        false
    };
    let mut line = 0..stage.line.len();
    line.find(records).unwrap_or(stage.line.len())
}

/// Whether the title of a commit, or that of a commit that it merges, promotes its set. `before`: the
/// first parents of the commit.
fn is_promotion(stage: &StageLine, before: &[usize], commit: &ExampleCommit) -> bool {
    let mut next: Vec<_> = commit.parents.iter().skip(1).copied().collect();
    while let Some(merged) = next.pop() {
        if before.contains(&merged) {
            continue;
        }
        let merged = &stage.commits[merged];
        if merged.set == commit.set && merged.promotes.is_some() {
            return true;
        }
        next.extend(&merged.parents);
    }
    commit.promotes.is_some()
}

/// Whether each set was current once, and the line has no merge.
fn is_simple(stage: &StageLine) -> bool {
    let mut runs: Vec<_> = stage.line.iter().map(|c| stage.commits[*c].set).collect();
    runs.dedup();
    let distinct: std::collections::HashSet<_> = runs.iter().collect();
    distinct.len() == runs.len() && stage.commits.len() == stage.line.len()
}

fn cases() -> u32 {
    if is_long() { 20_000 } else { 2_000 }
}

/// The soak time of production; that of staging is half of it.
const REQUIRED: Duration = Duration::from_secs(12 * 3_600);

fn play(moves: &[Move]) -> Result<usize, TestCaseError> {
    let mut stages: [StageLine; 3] = Default::default();
    let mut now = at(0);
    let mut received = 0;
    for step in moves {
        now += Duration::from_secs(60 * step.minutes);
        let date = match step.skew {
            0 => now + 5 * HOUR,
            1 => now - 3 * HOUR,
            2 => now - HOUR / 2,
            _ => now,
        };
        let letter = char::from(b"ABCDE"[step.set]);
        let set = [letter; 2];
        let before = step.stage.checked_sub(1);
        let before = before.filter(|_| step.kind <= 8);
        let history = before.and_then(|before| stages[before].history());
        let required = if step.stage == 2 {
            REQUIRED
        } else {
            REQUIRED / 2
        };
        let stage_verdict = history.as_ref().map(|history| {
            let found = history.periods(&History::example_digests(set));
            judge_stage(&found, required, &StageClock { now, merged: None })
        });
        if let (Some(before), Some(verdict)) = (before, &stage_verdict) {
            let is_proven = is_proven(&stages[before], set, required, now);
            let passed = matches!(verdict, StageVerdict::Passed(_));
            prop_assert!(!passed || is_proven, "{:?}", verdict);
            if is_simple(&stages[before]) {
                prop_assert_eq!(passed, is_proven, "{:?}", verdict);
            }
        }
        let line = &mut stages[step.stage];
        let known: Vec<_> = line
            .line
            .iter()
            .filter_map(|c| line.commits[*c].set)
            .collect();
        let earlier = known.get(step.set % known.len().max(1)).copied();
        match (step.kind, earlier) {
            // A promotion, possibly a squash merge.
            (0..=8, _) => match stage_verdict {
                None | Some(StageVerdict::Passed(_)) => {
                    received += usize::from(step.stage == 2);
                    line.add(Some(set), true, date);
                }
                Some(_) => {}
            },
            // A rollback or a revert.
            (9..=11, Some(earlier)) => line.add(Some(earlier), false, date),
            (12, _) => line.add(line.tip(), false, date),
            (13, _) => line.add(Some([letter, 'A']), false, date),
            (14, _) if step.minutes.is_multiple_of(4) => line.add(None, false, date),
            (15, Some(earlier)) => {
                line.merge(step.set, &[(set, true), (earlier, false)], true, date);
            }
            (16, Some(earlier)) => {
                line.merge(step.set, &[(set, true), (earlier, false)], false, date);
            }
            (17, _) => line.merge(usize::MAX / 2, &[(set, true)], true, date),
            // A rollback on another branch, whose merge keeps the set of the line.
            (18, Some(earlier)) => {
                let last = line.line.len() - 1;
                line.merge(last, &[(earlier, false)], false, date);
            }
            (_, _) => line.add(Some(set), true, date),
        }
    }
    Ok(received)
}

#[test]
fn received_sets_had_soaked() {
    use proptest::test_runner::{Config, TestRunner};
    let received = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&moves(), |moves| {
        received.set(received.get() + play(&moves)?);
        Ok(())
    });
    result.unwrap();
    // Production received sets, so the property is not empty.
    assert!(received.get() > cases() as usize / 10, "{}", received.get());
}
