//! How much of a sweep runs: a sample in the normal tests, all of it with `REPIN_SWEEP=long` (`scripts/crash-sweep`,
//! `.ci/run --all`).

use std::{env, thread};

/// Whether all of it runs.
pub fn is_long() -> bool {
    env::var_os("REPIN_SWEEP").is_some_and(|sweep| sweep == "long")
}

/// All of them in a long sweep, otherwise `count` at even distances, first and last included.
pub fn sample<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let total = all.len();
    if is_long() || total <= count {
        return all;
    }
    let chosen: Vec<_> = (0..count).map(|n| n * (total - 1) / (count - 1)).collect();
    all.into_iter()
        .enumerate()
        .filter(|(at, _)| chosen.contains(at))
        .map(|(_, one)| one)
        .collect()
}

/// All of them in a long sweep, otherwise the one that the name of the test selects, so that all tests together use
/// each. For rules that apply to every server.
pub fn one_of<T: Clone, const N: usize>(all: [T; N]) -> Vec<T> {
    from_own(all).take(if is_long() { N } else { 1 }).collect()
}

/// Each case with one of the servers, or with all of them in a long sweep.
pub fn with_each<T: Clone, S: Clone, const N: usize>(cases: &[T], servers: &[S; N]) -> Vec<(S, T)> {
    let times = if is_long() { N } else { 1 };
    let mut pairs = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let servers = from_own(servers.clone()).skip(at).take(times);
        pairs.extend(servers.map(|server| (server, case.clone())));
    }
    pairs
}

/// All of them again and again, from the one that the name of the test selects.
fn from_own<T: Clone, const N: usize>(all: [T; N]) -> impl Iterator<Item = T> {
    let thread = thread::current();
    let name = thread.name().unwrap_or_default().bytes();
    let first = name.map(usize::from).sum::<usize>() % N;
    all.into_iter().cycle().skip(first)
}
