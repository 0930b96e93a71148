//! A thousand repositories: memory and requests, as docs/fleet.md states them, and the time that it
//! took. Minutes each, so they are run on request.

use std::{
    fs,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    fleet::{Fleet, REV, options},
    forge::{
        Kind,
        thousand::{Limits, Options},
    },
};

const SHARDS: usize = 4;

/// A thousand repositories of 400 files, with a response time of 20 ms.
fn thousand() -> Options {
    let mut options = options(Kind::Github, 1000);
    options.seeded.files = 400;
    options.latency = Duration::from_millis(20);
    options
}

/// The costs of four concurrent shards: seconds, and the maximum memory of one of them, in KiB.
fn planned(fleet: &Fleet) -> (f64, u64) {
    let sha256 = fleet.verified();
    let begun = Instant::now();
    let shard = |number: usize| {
        let (shard, out) = (
            format!("{number}/{SHARDS}"),
            format!("shard-{number}.jsonl"),
        );
        let args = [
            "fleet",
            "promote",
            "--list",
            "list.txt",
            "--revision",
            REV,
            "--set",
            "set.json",
            "--set-sha256",
            &sha256,
            "--shard",
            &shard,
            "--out",
            &out,
            "--deadline",
            "1h",
        ];
        let mut command = fleet.command(&args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut open: Vec<_> = (0..SHARDS).map(shard).collect();
    let mut most = 0;
    while !open.is_empty() {
        for process in &open {
            let status = fs::read_to_string(format!("/proc/{}/status", process.id()));
            let line = status.unwrap_or_default();
            let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let amount = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            most = most.max(amount.unwrap_or(0));
        }
        open.retain_mut(|process| match process.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.code(), Some(0));
                false
            }
            None => true,
        });
        sleep(Duration::from_millis(50));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let args = [
        "fleet",
        "merge",
        "--list",
        "list.txt",
        "--format",
        "json",
        "shard-0.jsonl",
        "shard-1.jsonl",
        "shard-2.jsonl",
        "shard-3.jsonl",
    ];
    let merged = fleet.run(&args).exits(0).json();
    assert_eq!(merged["totals"]["planned"], json!(1000));
    (seconds, most)
}

#[test]
#[ignore = "a minute: a thousand repositories"]
fn four_shards_plan_a_thousand_repositories() {
    let fleet = Fleet::new(thousand());
    let (seconds, most) = planned(&fleet);
    let log = fleet.forge.log();
    let (requests, bytes) = (
        log.len(),
        log.iter().map(|logged| logged.bytes).sum::<usize>(),
    );
    println!("{seconds:.1} s, {most} KiB, {requests} requests, {bytes} bytes");
    assert!(most <= 128 * 1024, "{most}");
    // Four of them are those of git for the history.
    assert!(requests <= 5200, "{requests}");
}

#[test]
#[ignore = "minutes: a thousand repositories within GitHub's limits"]
fn thousand_are_planned_within_githubs_limits() {
    let mut options = thousand();
    options.limits = Limits::github();
    let fleet = Fleet::new(options);
    let (seconds, most) = planned(&fleet);
    let refused = fleet
        .forge
        .log()
        .iter()
        .filter(|logged| logged.status == 403)
        .count();
    println!("{seconds:.1} s, {most} KiB, {refused} refused");
    assert!(most <= 128 * 1024, "{most}");
}
