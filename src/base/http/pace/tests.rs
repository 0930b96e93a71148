use tokio::time::Instant;

use super::*;

const ORIGIN: u64 = 1_767_268_800;

/// A clock that follows the runtime's paused clock: pauses take no real time.
fn timer() -> Timer {
    let (origin, start) = (UNIX_EPOCH + Duration::from_secs(ORIGIN), Instant::now());
    Timer::new(move || origin + start.elapsed())
}

fn pace(number: u32, count: u32) -> RequestPacer {
    RequestPacer::new(Shard { number, count }, 4, timer())
}

fn url(path: &str) -> Url {
    format!("https://api.example{path}").parse().unwrap()
}

fn within(seconds: u64) -> Deadline {
    Deadline::after(Some(Duration::from_secs(seconds)))
}

fn headers(values: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        headers.insert(*name, value.parse().unwrap());
    }
    headers
}

fn date(time: SystemTime) -> (&'static str, String) {
    ("date", httpdate::fmt_http_date(time))
}

fn rate_limit(remaining: u64, reset: u64) -> [(&'static str, String); 3] {
    [
        ("x-ratelimit-limit", "5000".to_owned()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", (ORIGIN + reset).to_string()),
    ]
}

async fn write(pace: &RequestPacer) -> Permit {
    pace.begin(Effect::Write, &url("/repos/a/b/pulls"), within(100_000))
        .await
        .unwrap()
}

fn seconds_since_origin(time: SystemTime) -> f64 {
    let origin = UNIX_EPOCH + Duration::from_secs(ORIGIN);
    time.duration_since(origin).unwrap().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn shards_write_in_different_seconds() {
    // The server's clock is ahead; the shards estimate the difference from its dates.
    let ahead = Duration::from_millis(93_700);
    let paces: Vec<RequestPacer> = (0..3).map(|number| pace(number, 3)).collect();
    let mut writes = Vec::new();
    for pace in &paces {
        for round in 0..20 {
            let permit = pace
                .begin(Effect::Read, &url("/"), within(10))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(20 + round * 37)).await;
            let server = pace.timer().now() + ahead;
            pace.observe(&permit, &url("/"), &headers(&[date(server)]));
        }
    }
    for _ in 0..5 {
        for (number, pace) in paces.iter().enumerate() {
            let permit = write(pace).await;
            writes.push((number, permit.start + ahead));
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    for (number, start) in &writes {
        assert_eq!(unix_seconds(*start) % 3, *number as u64, "{writes:?}");
    }
    let mut seconds: Vec<u64> = writes
        .iter()
        .map(|(_, start)| unix_seconds(*start))
        .collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds.len(), writes.len(), "{writes:?}");
    for number in 0..3 {
        let of_shard = writes.iter().filter(|(shard, _)| *shard == number);
        let starts: Vec<SystemTime> = of_shard.map(|(_, start)| *start).collect();
        for pair in starts.windows(2) {
            let interval = pair[1].duration_since(pair[0]).unwrap();
            assert!(interval >= Duration::from_secs(3), "{starts:?}");
        }
    }
}

#[test]
fn next_write_is_in_a_later_own_second() {
    let at = |millis: u64| UNIX_EPOCH + Duration::from_secs(ORIGIN) + Duration::from_millis(millis);
    let shard = |number, count| Shard { number, count };
    // 1,767,268,800 is divisible by 4.
    for (shard, now, last, end, expected) in [
        (shard(0, 4), 0, None, None, 400),
        (shard(0, 4), 700, None, None, 700),
        (shard(0, 4), 801, None, None, 4_400),
        (shard(3, 4), 0, None, None, 3_400),
        (shard(1, 4), 2_000, None, None, 5_400),
        // The last write began late in its second.
        (shard(0, 4), 800, Some(750), None, 4_750),
        (shard(0, 4), 5_000, Some(400), None, 8_400),
        (shard(0, 4), 4_500, Some(850), None, 8_400),
        (shard(0, 1), 400, Some(400), Some(600), 1_400),
        // The response to the last write arrived in a later second, in which the server may have
        // counted it.
        (shard(0, 1), 1_450, Some(400), Some(1_300), 2_400),
        (shard(0, 4), 4_450, Some(400), Some(4_440), 8_400),
    ] {
        let next = next_write(shard, at(now), last.map(at), end.map(at));
        assert_eq!(next, at(expected), "{shard:?} {now} {last:?} {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn writes_are_sequential_and_reads_limited() {
    let pace = pace(0, 1);
    let first = write(&pace).await;
    let second = write(&pace);
    assert!(
        tokio::time::timeout(Duration::from_secs(30), second)
            .await
            .is_err()
    );
    drop(first);
    write(&pace).await;
    let core = url("/");
    let read = || pace.begin(Effect::Read, &core, within(10));
    let mut reads = Vec::new();
    for _ in 0..READS {
        reads.push(read().await.unwrap());
    }
    assert!(
        tokio::time::timeout(Duration::from_secs(30), read())
            .await
            .is_err()
    );
    reads.pop();
    assert!(read().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn limited_write_parks_only_writes() {
    let pace = pace(0, 1);
    let (pulls, graphql) = (url("/repos/a/b/pulls"), url("/graphql"));
    // The pause doubles up to 15 minutes; a successful write resets it.
    for expected in [60, 120, 240, 480, 900, 900] {
        let wait = pace.park(Effect::Write, &pulls, None);
        assert_eq!(wait, Duration::from_secs(expected));
        let before = pace.timer().now();
        pace.begin(Effect::Read, &graphql, within(1)).await.unwrap();
        assert_eq!(pace.timer().now(), before);
        let refused = pace
            .begin(Effect::Write, &pulls, within(30))
            .await
            .unwrap_err();
        assert_eq!(refused, PastDeadline(wait));
        write(&pace).await;
        let waited = pace.timer().now().duration_since(before).unwrap();
        assert!(
            waited >= wait && waited < wait + Duration::from_secs(2),
            "{waited:?}"
        );
    }
    let permit = write(&pace).await;
    pace.record_success(&permit, Effect::Write);
    assert_eq!(pace.park(Effect::Write, &pulls, None), LIMIT_PAUSE);
    // A write that began before the limit does not reset the pause.
    pace.record_success(&permit, Effect::Write);
    assert_eq!(pace.park(Effect::Write, &pulls, None), LIMIT_PAUSE * 2);
    drop(permit);
    // A wait that the server requests is used unchanged.
    let requested = Duration::from_secs(1000);
    assert_eq!(pace.park(Effect::Write, &pulls, Some(requested)), requested);
    assert!(
        pace.begin(Effect::Write, &pulls, within(999))
            .await
            .is_err()
    );
    assert_eq!(
        pace.park(Effect::Write, &pulls, Some(Duration::MAX)),
        Duration::MAX
    );
}

#[tokio::test(start_paused = true)]
async fn limited_read_parks_reads_of_its_limit() {
    let pace = pace(0, 1);
    pace.park(Effect::Read, &url("/graphql"), None);
    assert!(
        pace.begin(Effect::Write, &url("/"), within(30))
            .await
            .is_err()
    );
    assert!(
        pace.begin(Effect::Read, &url("/graphql"), within(30))
            .await
            .is_err()
    );
    pace.begin(Effect::Read, &url("/repos/a/b"), within(1))
        .await
        .unwrap();
    pace.begin(Effect::Read, &url("/graphql"), within(61))
        .await
        .unwrap();
    assert!((60.0..61.0).contains(&seconds_since_origin(pace.timer().now())));
}

#[tokio::test(start_paused = true)]
async fn reads_stop_when_a_twentieth_remains() {
    let pace = pace(0, 1);
    let (core, graphql) = (url("/repos/a/b"), url("/graphql"));
    let read = |url| pace.begin(Effect::Read, url, within(100));
    let permit = read(&core).await.unwrap();
    assert_eq!(
        pace.observe(&permit, &core, &headers(&rate_limit(250, 90))),
        None
    );
    drop(read(&core).await.unwrap());
    let reset = UNIX_EPOCH + Duration::from_secs(ORIGIN + 90);
    // GitLab's headers have another name.
    let gitlab = rate_limit(249, 80).map(|(name, value)| (&name[2..], value));
    let later = UNIX_EPOCH + Duration::from_secs(ORIGIN + 80);
    assert_eq!(pace.observe(&permit, &core, &headers(&gitlab)), Some(later));
    let little = headers(&rate_limit(249, 90));
    assert_eq!(pace.observe(&permit, &core, &little), Some(reset));
    // A reset time is reported once.
    assert_eq!(pace.observe(&permit, &core, &little), None);
    drop(permit);
    let before = pace.timer().now();
    drop(read(&graphql).await.unwrap());
    assert_eq!(pace.timer().now(), before);
    // The remaining budget is for writes.
    write(&pace).await;
    assert!(seconds_since_origin(pace.timer().now()) < 1.0);
    drop(read(&core).await.unwrap());
    assert!(seconds_since_origin(pace.timer().now()) >= 90.0);
    // A reset in the past parks nothing.
    let permit = read(&core).await.unwrap();
    assert_eq!(pace.observe(&permit, &core, &little), None);
}

#[tokio::test(start_paused = true)]
async fn pull_requests_follow_the_common_pace() {
    // All 3 shards open 4 pull requests per minute: each opens one every 45 seconds.
    let pace = pace(1, 3);
    for number in 0..4 {
        assert!(pace.wait_for_turn(within(100)).await);
        let expected = UNIX_EPOCH + Duration::from_secs(ORIGIN + number * 45);
        assert_eq!(pace.timer().now(), expected);
    }
    assert!(!pace.wait_for_turn(within(44)).await);
    assert!(pace.wait_for_turn(within(46)).await);
}

#[test]
fn contradicting_offset_replaces_the_estimate() {
    let offset = |min, max| Offset { min, max };
    assert_eq!(
        offset(0, 10).intersection(offset(5, 20)),
        Some(offset(5, 10))
    );
    assert_eq!(offset(0, 10).intersection(offset(11, 20)), None);
    assert_eq!(
        offset(0, 10).intersection(offset(10, 20)),
        Some(offset(10, 10))
    );
    let before = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(nanos(before), -1_000_000_000);
    assert_eq!(add_nanos(UNIX_EPOCH, -1_000_000_000), before);
}

#[tokio::test]
async fn scaled_clock_waits_less() {
    let origin = SystemTime::now();
    let timer = Timer::scaled(SystemTime::now, origin, 1000);
    let start = timer.now();
    timer.sleep(Duration::from_secs(3)).await;
    assert!(timer.now() >= start + Duration::from_secs(3));
    assert_eq!(
        timer.real_duration(Duration::from_secs(5)),
        Duration::from_millis(5)
    );
}
