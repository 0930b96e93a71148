//! The smoke command with scripts instead of engines: the causes of failures, the killed processes,
//! the reported output.

use std::{
    fs,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::bench::{Bench, command};
use crate::{
    config::{Engine, WhenUnavailable},
    core::smoke::{EngineName, ImageLocation, Outcome},
    support::{
        layout::Platform,
        machine::{platforms, processes},
    },
};

const SECRET: &str = "hunter2-and-more";
/// An engine that runs no container.
const BROKEN: &str = "echo \"Error: $(basename $0) is broken\" >&2; [ $1 = inspect ] && echo no such container; exit 125";

/// An image for this machine in a registry that receives no requests.
fn bench() -> Bench {
    let mut bench = Bench::new(&[Platform::new(platforms()[0], "a")]);
    bench.place = ImageLocation::Registry {
        name: "registry.example/team/app".to_owned(),
        plain: true,
    };
    bench
}

#[test]
fn command_line_contains_the_configured_options() {
    let mut bench = bench();
    bench.engine("podman", "printf '%s\\n' \"$@\" >> $HOME/log");
    let mut smoke = command(&["--version", "-x"]);
    smoke.engine_args = ["--root", "/r", "--ulimit", "nofile=9"]
        .map(str::to_owned)
        .to_vec();
    smoke.user = Some("1001".to_owned());
    assert_eq!(
        bench.verdict(&smoke),
        (
            "smoke_failed",
            "pass",
            "`--version -x` exited with 0".to_owned()
        )
    );
    let digest = bench.image.digest;
    let log = fs::read_to_string(bench.path("log")).unwrap();
    let (run, rest) = log.split_once("-x\n").unwrap();
    let name = run
        .lines()
        .find_map(|line| line.strip_prefix("--name="))
        .unwrap()
        .to_owned();
    let expected = format!(
        "--root /r run --ulimit nofile=9 --name={name} --label=repin.image=ghcr.io/acme/app@{digest} --rm=false \
         --detach=false --log-driver=none --no-healthcheck --network=none --quiet --http-proxy=false --user=1001 \
         --pull=missing --platform={} --tls-verify=false registry.example/team/app@{digest} --version ",
        platforms()[0]
    );
    assert_eq!(run.replace('\n', " "), expected);
    assert_eq!(
        rest.replace('\n', " "),
        format!("--root /r rm --force --volumes {name} ")
    );
}

#[test]
fn docker_gets_no_flags_of_podman() {
    let mut bench = bench();
    bench.engine("docker", "printf '%s\\n' \"$@\" >> $HOME/log");
    let mut smoke = command(&["--version"]);
    smoke.network = true;
    assert!(matches!(bench.run(&smoke).outcome, Outcome::Passed));
    assert_eq!(bench.last_engine(), "docker");
    let log = fs::read_to_string(bench.path("log")).unwrap();
    for flag in [
        "--quiet",
        "--tls-verify",
        "--http-proxy",
        "--network",
        "--user",
    ] {
        assert!(!log.contains(flag), "{flag} in {log}");
    }
}

#[test]
fn secrets_are_passed_by_name_and_redacted() {
    let mut bench = bench();
    bench.set("TOKEN", SECRET).engine(
        "podman",
        "tr '\\0' ' ' < /proc/$$/cmdline >> $HOME/log; [ $1 = run ] || exit 0
         printf %s \"$TOKEN\" > $HOME/seen; echo \"got <$TOKEN>\"; echo \"and $TOKEN\" >&2; exit 3",
    );
    let mut smoke = command(&["login"]);
    smoke.env = vec!["TOKEN".to_owned()];
    let smoked = bench.run(&smoke);
    assert_eq!(fs::read_to_string(bench.path("seen")).unwrap(), SECRET);
    let log = fs::read_to_string(bench.path("log")).unwrap();
    assert!(log.contains(" -e TOKEN ") && !log.contains(SECRET), "{log}");
    let Outcome::Failed {
        exit: Some(3),
        output,
        ..
    } = &smoked.outcome
    else {
        panic!("{smoked:?}")
    };
    assert_eq!(output, "got <***>\nand ***\n");
    assert_eq!(
        bench.verdict(&smoke).2,
        "`login` exited with 3: got <***>\\nand ***"
    );
    bench.set("TOKEN", "");
    assert_eq!(bench.secrets(&smoke).err().unwrap().names, ["TOKEN"]);
}

#[test]
fn secrets_in_engine_errors_are_redacted() {
    let mut bench = bench();
    bench
        .set("TOKEN", SECRET)
        .engine("podman", "echo \"Error: bad value $TOKEN\" >&2; exit 125");
    let mut smoke = command(&["login"]);
    smoke.env = vec!["TOKEN".to_owned()];
    let (code, status, detail) = bench.verdict(&smoke);
    assert_eq!((code, status), ("smoke_unavailable", "fail"));
    assert!(
        detail.contains("podman: Error: bad value ***") && !detail.contains(SECRET),
        "{detail}"
    );
}

#[test]
fn output_without_end_is_drained_and_capped() {
    let mut bench = bench();
    bench.engine(
        "podman",
        "[ $1 = run ] || exit 0; echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo last; exit 1",
    );
    let Outcome::Failed { output, .. } = bench.run(&command(&["x"])).outcome else {
        panic!()
    };
    assert!(
        output.starts_with("first\nxxx") && output.ends_with("xxxlast\n") && output.len() < 66_000
    );
    let (.., detail) = bench.verdict(&command(&["x"]));
    assert!(
        detail.len() < 1000 && detail.ends_with("xxxlast"),
        "{detail}"
    );
}

#[test]
fn command_output_is_escaped_on_one_line() {
    let mut bench = bench();
    bench.engine(
        "podman",
        "[ $1 = run ] || exit 0; printf 'a\\033[31m\\r\\nb \"q\" \\342\\200\\256 \\377'; exit 1",
    );
    assert_eq!(
        bench.verdict(&command(&["x"])).2,
        r#"`x` exited with 1: a\u{1b}[31m\r\nb "q" \u{202e} �"#
    );
}

#[test]
fn each_engine_reports_its_error() {
    let mut bench = bench();
    bench.engine("podman", BROKEN).engine("docker", BROKEN);
    let mut smoke = command(&["x"]);
    let detail = "no container engine could run `x`: podman: Error: podman is broken; docker: Error: docker is broken";
    assert_eq!(
        bench.verdict(&smoke),
        ("smoke_unavailable", "fail", detail.to_owned())
    );
    smoke.when_unavailable = WhenUnavailable::Skip;
    assert_eq!(
        bench.verdict(&smoke),
        ("smoke_unavailable", "skip", detail.to_owned())
    );
    smoke.engine = Engine::Docker;
    let detail = "no container engine could run `x`: docker: Error: docker is broken";
    assert_eq!(
        bench.verdict(&smoke),
        ("smoke_unavailable", "skip", detail.to_owned())
    );
}

#[test]
fn first_working_engine_is_used() {
    let mut bench = bench();
    bench.engine("docker", "exit 0");
    assert!(matches!(
        bench.run(&command(&["x"])).outcome,
        Outcome::Passed
    ));
    assert_eq!(bench.last_engine(), "docker");
    bench.engine("podman", BROKEN);
    assert!(matches!(
        bench.run(&command(&["x"])).outcome,
        Outcome::Passed
    ));
    assert_eq!(bench.last_engine(), "docker");
    bench.engine("podman", "exit 0");
    assert!(matches!(
        bench.run(&command(&["x"])).outcome,
        Outcome::Passed
    ));
    assert_eq!(bench.last_engine(), "podman");
    // A failure is a verdict: the other engine is not tried.
    bench.engine("podman", "[ $1 = run ] || exit 0; exit 1");
    assert!(matches!(
        bench.run(&command(&["x"])).outcome,
        Outcome::Failed {
            engine: EngineName::Podman,
            ..
        }
    ));
}

#[test]
fn missing_engine_is_reported() {
    let mut bench = bench();
    bench.set("PATH", "/nowhere");
    let detail = "no container engine could run `x`: podman: `podman` was not found in PATH; docker: `docker` was not found in PATH";
    assert_eq!(
        bench.verdict(&command(&["x"])),
        ("smoke_unavailable", "fail", detail.to_owned())
    );
}

#[test]
fn started_command_has_its_own_exit_codes() {
    let started = "case $1 in run) echo out; exit 12E;; inspect) echo 2026-01-02T03:04:05Z;; esac";
    let never = "case $1 in run) echo 'Error: SAID' >&2; exit 12E;; inspect) echo '0001-01-01 00:00:00 +0000 UTC';; esac";
    for exit in ["5", "6", "7"] {
        for (script, said, expected) in [
            (started, "", "smoke_failed"),
            (never, "no space left on device", "smoke_unavailable"),
            (
                never,
                "runc: exec: \"x\": executable file not found in $PATH",
                "smoke_failed",
            ),
            (
                never,
                "unable to find user x: no matching entries in passwd file",
                "smoke_failed",
            ),
        ] {
            let mut bench = bench();
            bench.engine(
                "podman",
                &script
                    .replace("12E", &format!("12{exit}"))
                    .replace("SAID", &said.replace('$', "")),
            );
            let (code, status, detail) = bench.verdict(&command(&["x"]));
            assert_eq!(
                (code, status),
                (expected, "fail"),
                "12{exit} {said}: {detail}"
            );
        }
    }
    // Without a response, the exit codes have the meaning in the engines' manuals.
    for (exit, expected) in [
        ("5", "smoke_unavailable"),
        ("6", "smoke_failed"),
        ("7", "smoke_failed"),
    ] {
        let mut bench = bench();
        bench.engine("podman", &format!("exit 12{exit}"));
        assert_eq!(bench.verdict(&command(&["x"])).0, expected, "12{exit}");
    }
}

#[test]
fn deadline_kills_all_started_processes() {
    let mut bench = bench();
    // A child that ignores SIGTERM, one in another session, and the engine itself.
    let marker = format!("repin-smoke-marker-{}", std::process::id());
    bench.set("MARKER", &marker).engine(
        "podman",
        "case $1 in run) ;; *) exit 1;; esac
         echo started
         exec 2>/dev/null # the shell's own word on a child that was killed before it
         sh -c 'trap \"\" TERM; while :; do sleep 1; done' $MARKER &
         setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' $MARKER &
         trap '' TERM
         while :; do sleep 1; done",
    );
    let mut smoke = command(&["x"]);
    smoke.timeout = Duration::from_secs(1);
    smoke.engine = Engine::Podman;
    let smoked = bench.run(&smoke);
    let Outcome::TimedOut { output } = &smoked.outcome else {
        panic!("{smoked:?}")
    };
    assert_eq!(output, "started\n");
    assert_eq!(processes(&marker), Vec::<String>::new());
    assert_eq!(
        processes(bench.path("bin").to_str().unwrap()),
        Vec::<String>::new()
    );
    assert!(
        smoked.unremoved_container.is_some(),
        "the engine did not report the removal of the container: {smoked:?}"
    );
}

#[test]
fn unresponsive_engine_is_abandoned() {
    let mut bench = bench();
    bench.engine("podman", "exec sleep 1000");
    let mut smoke = command(&["x"]);
    smoke.timeout = Duration::from_millis(300);
    smoke.engine = Engine::Podman;
    let (code, status, detail) = bench.verdict(&smoke);
    assert_eq!((code, status), ("smoke_failed", "fail"), "{detail}");
    assert_eq!(detail, "`x` was killed after 300ms and printed nothing");
}

#[test]
fn timeout_before_the_container_blames_the_engine() {
    let mut bench = bench();
    bench.engine(
        "podman",
        "case $1 in run) echo pulling; exec sleep 1000;; *) echo Error: no such container; exit 1;; esac",
    );
    let mut smoke = command(&["x"]);
    smoke.timeout = Duration::from_millis(300);
    smoke.engine = Engine::Podman;
    let detail = "no container engine could run `x`: \
                  podman: started no container within 300ms, including the time to fetch the image: pulling";
    assert_eq!(
        bench.verdict(&smoke),
        ("smoke_unavailable", "fail", detail.to_owned())
    );
}

#[test]
fn interruption_stops_the_run_and_cleans_up() {
    let mut bench = bench();
    bench.engine(
        "podman",
        "echo $1 >> $HOME/log; case $1 in run) exec sleep 1000;; esac",
    );
    let interrupted = bench.interrupted.clone();
    let log = bench.path("log");
    let other = thread::spawn(move || {
        // The shell creates the file before it writes to it.
        while fs::read_to_string(&log).unwrap_or_default() != "run\n" {
            thread::sleep(Duration::from_millis(5));
        }
        interrupted.store(true, Ordering::Relaxed);
    });
    let before = Instant::now();
    let smoked = bench.run(&command(&["x"]));
    other.join().unwrap();
    assert!(matches!(smoked.outcome, Outcome::Interrupted), "{smoked:?}");
    assert!(
        before.elapsed() < Duration::from_secs(50),
        "it was waited for"
    );
    assert_eq!(
        fs::read_to_string(bench.path("log")).unwrap(),
        "run\nkill\nrm\n"
    );
}

#[test]
fn only_this_machines_platform_is_run() {
    let [this, other] = platforms();
    let mut bench = Bench::new(&[Platform::new(other, "a"), Platform::new(this, "a")]);
    bench.engine("podman", "exit 0");
    let smoked = bench.run(&command(&["x"]));
    assert_eq!(smoked.platform.as_ref().unwrap().to_string(), this);
    assert_eq!(
        bench.verdict(&command(&["x"])).2,
        format!("`x` exited with 0; not run: {other}")
    );
    let mut bench = Bench::new(&[Platform::new(other, "a")]);
    bench.engine("podman", "exit 0");
    let detail = format!("the image has no platform for this machine ({this}); not run: {other}");
    assert_eq!(
        bench.verdict(&command(&["x"])),
        ("smoke_unavailable", "fail", detail)
    );
}
