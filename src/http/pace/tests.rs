use tokio::time::Instant;

use super::*;

const ORIGIN: u64 = 1_767_268_800;

/// A clock that follows the runtime's, which is paused: waits take no time.
fn timer() -> Timer {
    let (origin, start) = (UNIX_EPOCH + Duration::from_secs(ORIGIN), Instant::now());
    Timer::new(move || origin + start.elapsed())
}

fn pace(number: u32, of: u32) -> Pace {
    Pace::new(Shard { number, of }, 4, timer())
}

fn url(path: &str) -> Url {
    format!("https://api.example{path}").parse().unwrap()
}

fn within(seconds: u64) -> Deadline {
    Deadline::after(Some(Duration::from_secs(seconds)))
}

fn headers(values: &[(&'static str, String)]) -> HeaderMap {
    let value =
        |(name, value): &(&'static str, String)| (name.parse().unwrap(), value.parse().unwrap());
    values
        .iter()
        .map(|header| -> (reqwest::header::HeaderName, _) { value(header) })
        .collect()
}

fn date(at: SystemTime) -> (&'static str, String) {
    ("date", httpdate::fmt_http_date(at))
}

fn rest(left: u64, reset: u64) -> [(&'static str, String); 3] {
    [
        ("x-ratelimit-limit", "5000".to_owned()),
        ("x-ratelimit-remaining", left.to_string()),
        ("x-ratelimit-reset", (ORIGIN + reset).to_string()),
    ]
}

async fn write(pace: &Pace) -> Permit {
    pace.begin(Effect::Writes, &url("/repos/a/b/pulls"), within(100_000))
        .await
        .unwrap()
}

fn since(at: SystemTime) -> f64 {
    let origin = UNIX_EPOCH + Duration::from_secs(ORIGIN);
    at.duration_since(origin).unwrap().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn each_shard_writes_in_its_own_seconds_of_the_servers_clock() {
    // The server's clock is ahead by a time that no one knows exactly.
    let ahead = Duration::from_millis(93_700);
    let paces: Vec<Pace> = (0..3).map(|number| pace(number, 3)).collect();
    let mut begun = Vec::new();
    for pace in &paces {
        for at in 0..20 {
            let permit = pace
                .begin(Effect::Reads, &url("/"), within(10))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(20 + at * 37)).await;
            let server = pace.timer().now() + ahead;
            pace.observe(&permit, &url("/"), &headers(&[date(server)]));
        }
    }
    for _ in 0..5 {
        for (number, pace) in paces.iter().enumerate() {
            let permit = write(pace).await;
            begun.push((number, permit.begun + ahead));
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    let second = |at: &SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (number, server) in &begun {
        assert_eq!(second(server) % 3, *number as u64, "{begun:?}");
    }
    let mut seconds: Vec<u64> = begun.iter().map(|(_, server)| second(server)).collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds.len(), begun.len(), "{begun:?}");
    for number in 0..3 {
        let own = begun.iter().filter(|(known, _)| *known == number);
        let own: Vec<SystemTime> = own.map(|(_, server)| *server).collect();
        let apart = |pair: &[SystemTime]| pair[1].duration_since(pair[0]).unwrap();
        assert!(
            own.windows(2)
                .all(|pair| apart(pair) >= Duration::from_secs(3)),
            "{own:?}"
        );
    }
}

#[test]
fn next_write_is_in_an_own_second_and_far_enough_from_the_last() {
    let at = |millis: u64| UNIX_EPOCH + Duration::from_secs(ORIGIN) + Duration::from_millis(millis);
    let shard = |number, of| Shard { number, of };
    // 1,767,268,800 is divisible by 4.
    for (shard, now, last, end, expected) in [
        (shard(0, 4), 0, None, None, 400),
        (shard(0, 4), 700, None, None, 700),
        (shard(0, 4), 801, None, None, 4_400),
        (shard(3, 4), 0, None, None, 3_400),
        (shard(1, 4), 2_000, None, None, 5_400),
        // The last one began late in its second.
        (shard(0, 4), 800, Some(750), None, 4_750),
        (shard(0, 4), 5_000, Some(400), None, 8_400),
        (shard(0, 4), 4_500, Some(850), None, 8_400),
        (shard(0, 1), 400, Some(400), Some(600), 1_400),
        // The last one took long: the server may have taken it in in the second in which it ended.
        (shard(0, 1), 1_450, Some(400), Some(1_300), 2_400),
        (shard(0, 4), 4_450, Some(400), Some(4_440), 8_400),
    ] {
        let next = next_write(shard, at(now), last.map(at), end.map(at));
        assert_eq!(next, at(expected), "{shard:?} {now} {last:?} {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn writes_go_one_after_another_and_reads_four_at_once() {
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
    let read = || pace.begin(Effect::Reads, &core, within(10));
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
async fn a_limited_write_parks_writes_and_leaves_reads() {
    let pace = pace(0, 1);
    let (pulls, graphql) = (url("/repos/a/b/pulls"), url("/graphql"));
    // Twice as long each time, up to 15 minutes; a write that succeeds begins anew.
    for expected in [60, 120, 240, 480, 900, 900] {
        let wait = pace.limited(Effect::Writes, &pulls, None);
        assert_eq!(wait, Duration::from_secs(expected));
        let before = pace.timer().now();
        pace.begin(Effect::Reads, &graphql, within(1))
            .await
            .unwrap();
        assert_eq!(pace.timer().now(), before);
        let refused = pace
            .begin(Effect::Writes, &pulls, within(30))
            .await
            .unwrap_err();
        assert_eq!(refused, TooLong(wait));
        write(&pace).await;
        let waited = pace.timer().now().duration_since(before).unwrap();
        assert!(
            waited >= wait && waited < wait + Duration::from_secs(2),
            "{waited:?}"
        );
    }
    let permit = write(&pace).await;
    assert_eq!(pace.parked(), None);
    pace.succeeded(&permit, Effect::Writes);
    assert_eq!(pace.limited(Effect::Writes, &pulls, None), UNNAMED);
    // What began before the limit says nothing about it.
    pace.succeeded(&permit, Effect::Writes);
    assert_eq!(pace.limited(Effect::Writes, &pulls, None), UNNAMED * 2);
    // A time that the server names is taken at its word.
    let asked = Duration::from_secs(1000);
    assert_eq!(pace.limited(Effect::Writes, &pulls, Some(asked)), asked);
    assert!(pace.parked().is_some());
    assert_eq!(
        pace.limited(Effect::Writes, &pulls, Some(Duration::MAX)),
        Duration::MAX
    );
}

#[tokio::test(start_paused = true)]
async fn a_limited_read_parks_the_reads_of_its_budget_too() {
    let pace = pace(0, 1);
    pace.limited(Effect::Reads, &url("/graphql"), None);
    assert!(
        pace.begin(Effect::Writes, &url("/"), within(30))
            .await
            .is_err()
    );
    assert!(
        pace.begin(Effect::Reads, &url("/graphql"), within(30))
            .await
            .is_err()
    );
    pace.begin(Effect::Reads, &url("/repos/a/b"), within(1))
        .await
        .unwrap();
    pace.begin(Effect::Reads, &url("/graphql"), within(61))
        .await
        .unwrap();
    assert!((60.0..61.0).contains(&since(pace.timer().now())));
}

#[tokio::test(start_paused = true)]
async fn reads_are_parked_while_less_than_a_twentieth_is_left() {
    let pace = pace(0, 1);
    let (core, graphql) = (url("/repos/a/b"), url("/graphql"));
    let read = |url| pace.begin(Effect::Reads, url, within(100));
    let permit = read(&core).await.unwrap();
    assert_eq!(pace.observe(&permit, &core, &headers(&rest(250, 90))), None);
    drop(read(&core).await.unwrap());
    let reset = UNIX_EPOCH + Duration::from_secs(ORIGIN + 90);
    let little = headers(&rest(249, 90));
    assert_eq!(pace.observe(&permit, &core, &little), Some(reset));
    // It is announced once.
    assert_eq!(pace.observe(&permit, &core, &little), None);
    drop(permit);
    let before = pace.timer().now();
    drop(read(&graphql).await.unwrap());
    assert_eq!(pace.timer().now(), before);
    // Writes have what is left.
    write(&pace).await;
    assert!(since(pace.timer().now()) < 1.0);
    drop(read(&core).await.unwrap());
    assert!(since(pace.timer().now()) >= 90.0);
    // A reset that has passed parks nothing.
    let permit = read(&core).await.unwrap();
    assert_eq!(pace.observe(&permit, &core, &little), None);
}

#[tokio::test(start_paused = true)]
async fn pull_requests_are_opened_at_the_pace_of_all_shards() {
    // 4 a minute over all: each of 3 shards opens one every 45 seconds.
    let pace = pace(1, 3);
    for at in 0..4 {
        assert!(pace.pull_request(within(100)).await);
        let expected = UNIX_EPOCH + Duration::from_secs(ORIGIN + at * 45);
        assert_eq!(pace.timer().now(), expected);
    }
    assert!(!pace.pull_request(within(44)).await);
    assert!(pace.pull_request(within(46)).await);
}

#[test]
fn a_clock_that_was_set_is_believed() {
    let seen = |least, most| Offset { least, most };
    assert_eq!(seen(0, 10).within(seen(5, 20)), Some(seen(5, 10)));
    assert_eq!(seen(0, 10).within(seen(11, 20)), None);
    assert_eq!(seen(0, 10).within(seen(10, 20)), Some(seen(10, 10)));
    let before = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(nanos(before), -1_000_000_000);
    assert_eq!(moved(UNIX_EPOCH, -1_000_000_000), before);
}

#[tokio::test]
async fn scaled_clocks_wait_less() {
    let origin = SystemTime::now();
    let timer = Timer::scaled(SystemTime::now, origin, 1000);
    let begun = timer.now();
    timer.sleep(Duration::from_secs(3)).await;
    assert!(timer.now() >= begun + Duration::from_secs(3));
    assert_eq!(timer.real(Duration::from_secs(5)), Duration::from_millis(5));
}
