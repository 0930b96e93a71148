//! The smoke command in real containers, by podman: from image layouts and from a registry.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::bench::{Bench, command};
use crate::{
    config::{Engine, Smoke},
    core::smoke::{ImageLocation, Outcome},
    support::{
        layout::Platform,
        machine::{platforms, processes},
    },
};

/// A bench with a real engine: an image with a shell, and podman with a storage of its own. A missing
/// program is a failure.
struct Real {
    bench: Bench,
    engine_args: Vec<String>,
}

impl Real {
    fn new() -> Self {
        let busybox = fs::read("/bin/busybox");
        let busybox = busybox.unwrap_or_else(|error| {
            panic!("/bin/busybox is needed ({error}): install busybox-static")
        });
        for program in ["podman", "runc"] {
            let found = Command::new(program).arg("--version").output();
            found.unwrap_or_else(|error| {
                panic!("{program} is needed ({error}): install podman and runc")
            });
        }
        let [this, other] = platforms();
        let platform = Platform::new(this, "a")
            .program("bin/busybox", &busybox)
            .program("bin/sh", &busybox);
        let bench = Bench::new(&[Platform::new(other, "a"), platform]);
        let directory = |name: &str| bench.path(name).to_str().unwrap().to_owned();
        // The arguments that containers need on machines that are containers themselves.
        let mut engine_args = vec![
            "--root".to_owned(),
            directory("root"),
            "--runroot".to_owned(),
            directory("runroot"),
        ];
        let others = "--storage-driver=vfs --runtime runc --cgroup-manager=cgroupfs --events-backend=file \
                      --ulimit nofile=1024:1024 --ulimit nproc=1024:1024";
        engine_args.extend(others.split_whitespace().map(str::to_owned));
        Self { bench, engine_args }
    }

    fn shell(&self, script: &str) -> Smoke {
        let mut smoke = command(&["/bin/busybox", "sh", "-c", script]);
        smoke.engine = Engine::Podman;
        smoke.engine_args.clone_from(&self.engine_args);
        smoke
    }

    /// podman's list of its containers or images.
    fn listed(&self, what: &[&str]) -> String {
        let mut podman = Command::new("podman");
        podman.args(["--root", self.bench.path("root").to_str().unwrap()]);
        podman.args([
            "--runroot",
            self.bench.path("runroot").to_str().unwrap(),
            "--storage-driver=vfs",
        ]);
        let output = podman.args(what).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn containers(&self) -> String {
        self.listed(&["ps", "--all", "--quiet"])
    }

    fn verdict(&self, smoke: &Smoke) -> (&'static str, &'static str, String) {
        let verdict = self.bench.verdict(smoke);
        assert_eq!(self.containers(), "", "{verdict:?}");
        verdict
    }
}

#[test]
fn command_has_user_and_secret_without_network() {
    let mut real = Real::new();
    real.bench
        .set("TOKEN", "hunter2")
        .set("OTHER", "x")
        .set("http_proxy", "http://user:password@proxy.example");
    let mut smoke = real.shell(
        "busybox() { /bin/busybox \"$@\"; }
         [ \"$(busybox id -u)\" = 1234 ] && [ \"$TOKEN\" = hunter2 ] && [ -z \"$OTHER$http_proxy\" ] \
         && [ \"$(busybox ls /sys/class/net)\" = lo ]",
    );
    smoke.user = Some("1234".to_owned());
    smoke.env = vec!["TOKEN".to_owned()];
    let (code, status, detail) = real.verdict(&smoke);
    assert_eq!((code, status), ("smoke_failed", "pass"), "{detail}");
    assert!(
        detail.ends_with(&format!("exited with 0; not run: {}", platforms()[1])),
        "{detail}"
    );
    assert_eq!(
        real.listed(&["images", "--all", "--quiet"]),
        "",
        "the image is removed"
    );
}

#[test]
fn failures_differ_from_unusable_engines() {
    let real = Real::new();
    for (script, exit) in [
        ("echo out; echo err >&2; exit 3", 3),
        ("exit 125", 125),
        ("exit 126", 126),
        ("exit 127", 127),
    ] {
        let (code, status, detail) = real.verdict(&real.shell(script));
        assert_eq!((code, status), ("smoke_failed", "fail"), "{detail}");
        assert!(detail.contains(&format!("exited with {exit}")), "{detail}");
    }
    let outcome = real.bench.run(&real.shell("echo out; exit 3")).outcome;
    assert!(
        matches!(&outcome, Outcome::Failed { output, .. } if output == "out\n"),
        "{outcome:?}"
    );
    // The image has no such command or user: the engine is not the cause.
    let mut smoke = real.shell("");
    smoke.command = vec!["/no/such".to_owned()];
    assert_eq!(real.verdict(&smoke).0, "smoke_failed");
    smoke.command = vec!["/bin".to_owned()];
    assert_eq!(real.verdict(&smoke).0, "smoke_failed");
    let mut smoke = real.shell("exit 0");
    smoke.user = Some("nosuchuser".to_owned());
    assert_eq!(real.verdict(&smoke).0, "smoke_failed");
    // An engine without its runtime, or with a flag that it does not know.
    for flag in ["--runtime=/no/such/runtime", "--no-such-flag"] {
        let mut smoke = real.shell("exit 0");
        smoke.engine_args.push(flag.to_owned());
        let (code, status, detail) = real.bench.verdict(&smoke);
        assert_eq!((code, status), ("smoke_unavailable", "fail"), "{detail}");
        assert!(
            detail.contains("podman: ") && detail.contains("Error: "),
            "{detail}"
        );
    }
}

#[test]
fn engine_flags_do_not_hide_the_exit() {
    let real = Real::new();
    let mut smoke = real.shell("exit 4");
    smoke
        .engine_args
        .extend(["--detach", "--rm"].map(str::to_owned));
    let (code, _, detail) = real.verdict(&smoke);
    assert!(
        code == "smoke_failed" && detail.contains("exited with 4"),
        "{detail}"
    );
}

#[test]
fn timeout_kills_the_command_and_its_container() {
    let real = Real::new();
    let marker = format!("repin-smoke-real-{}", std::process::id());
    let mut smoke = real.shell(&format!(
        "trap '' TERM INT HUP; echo started; (/bin/busybox sh -c \"trap '' TERM; while :; do /bin/busybox sleep 1; done\" {marker}) & \
         while :; do /bin/busybox sleep 1; done"
    ));
    // Long enough to start on a busy machine; the command never exits on its own.
    smoke.timeout = Duration::from_secs(15);
    let smoked = real.bench.run(&smoke);
    let Outcome::TimedOut { output } = &smoked.outcome else {
        panic!("{smoked:?}")
    };
    assert_eq!(output, "started\n");
    assert_eq!(smoked.unremoved_container, None);
    assert_eq!(real.containers(), "");
    assert_eq!(processes(&marker), Vec::<String>::new());
    assert_eq!(
        processes(real.bench.path("root").to_str().unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn unverified_layout_is_not_run() {
    let real = Real::new();
    let layer = real.bench.image.platforms[1].manifest.layers[0].digest;
    let path = real.bench.path("layout/blobs/sha256").join(layer.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[600] ^= 1;
    fs::write(&path, bytes).unwrap();
    let smoked = real.bench.run(&real.shell("exit 0"));
    let Outcome::UnreadableLayout(error) = &smoked.outcome else {
        panic!("{smoked:?}")
    };
    assert!(
        error.to_string().contains(&layer.hex()) && error.to_string().contains("have the digest"),
        "{error}"
    );
    assert_eq!(real.listed(&["images", "--all", "--quiet"]), "");
    assert_eq!(real.containers(), "");
}

/// A registry on a free port of this machine, stopped with the test.
struct Registry {
    process: Child,
    host: String,
}

impl Registry {
    fn start(bench: &Bench) -> Self {
        let root = bench.path("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            root.display()
        );
        fs::write(bench.path("registry.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(bench.path("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let process = command.spawn();
        let mut process = process.unwrap_or_else(|error| {
            panic!("docker-registry is needed ({error}): scripts/test installs it")
        });
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let host = lines.find_map(|line| {
            let line = line.unwrap();
            let at = line.find("listening on ")?;
            let rest = &line[at + "listening on ".len()..];
            Some(rest.split(['"', ' ', ',']).next().unwrap().to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            host: host.unwrap(),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn registry_index_is_run_by_digest() {
    let mut real = Real::new();
    let registry = Registry::start(&real.bench);
    let name = format!("{}/team/app", registry.host);
    let pushed = Command::new("skopeo")
        .args([
            "copy",
            "-q",
            "--all",
            "--preserve-digests",
            "--insecure-policy",
            "--dest-tls-verify=false",
        ])
        .arg(format!("oci:{}:v1", real.bench.path("layout").display()))
        .arg(format!("docker://{name}:v1"))
        .output();
    let pushed = pushed
        .unwrap_or_else(|error| panic!("skopeo is needed ({error}): scripts/test installs it"));
    assert!(
        pushed.status.success(),
        "{}",
        String::from_utf8_lossy(&pushed.stderr)
    );
    real.bench.place = ImageLocation::Registry {
        name: name.clone(),
        plain: true,
    };
    assert_eq!(real.verdict(&real.shell("exit 0")).1, "pass");
    let (code, _, detail) = real.verdict(&real.shell("echo sh: $0; exit 5"));
    assert!(
        code == "smoke_failed" && detail.contains("exited with 5: sh: "),
        "{detail}"
    );
    assert!(
        real.listed(&["images", "--digests", "--no-trunc"])
            .contains(&real.bench.image.digest.to_string())
    );
    // A missing image gives no verdict.
    real.listed(&["rmi", "--all", "--force"]);
    real.bench.place = ImageLocation::Registry {
        name: format!("{name}-not"),
        plain: true,
    };
    let (code, _, detail) = real.verdict(&real.shell("exit 0"));
    assert!(
        code == "smoke_unavailable" && detail.contains("podman: Error"),
        "{detail}"
    );
}
