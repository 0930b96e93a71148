//! A fleet of the simulated forge: its configuration, its images as layouts, its list, and runs of
//! the program on it, also in a process with a pacing clock as fast as that of the forge.

use std::{
    ops::Deref,
    process::Command,
    time::{Duration, SystemTime},
};

use repin::cli;
use serde_json::Value;

use super::{
    forge::{
        Kind, TOKEN,
        thousand::{Options, Thousand, contents::PINNED},
    },
    layout::{Layout, Platform},
    world::{Ran, World},
};

/// The promoted revision, which [`super::forge::thousand::Trouble`] uses.
pub const REV: &str = "x";
/// The branch of its pull requests.
pub const BRANCH: &str = "repin/promote-x";
/// Precedes the output of the program in a process of the test binary.
const MARK: &str = "=== the program ===\n";

pub struct Fleet {
    world: World,
    pub forge: Thousand,
    origin: SystemTime,
    speed: u32,
}

/// Options of a forge for promotes of [`REV`].
pub fn options(kind: Kind, count: usize) -> Options {
    let mut options = Options::new(kind, count);
    BRANCH.clone_into(&mut options.branch);
    options.seeded.files = 20;
    options
}

impl Deref for Fleet {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Fleet {
    pub fn new(options: Options) -> Self {
        let (kind, count) = (options.kind, options.count);
        let (origin, speed) = (options.origin, options.speed);
        let forge = Thousand::start(options);
        let fleet = Self {
            world: World::empty().env("REPIN_FORGE_TOKEN", TOKEN),
            forge,
            origin,
            speed,
        };
        fleet.build(REV);
        fleet.write("repin.yaml", fleet.config(kind, "{}"));
        let list: String = (0..count).map(|at| name(at) + "\n").collect();
        fleet.write("list.txt", &list);
        fleet
    }

    /// The fleet's configuration; `rules`: its block `fleet`.
    pub fn config(&self, kind: Kind, rules: &str) -> String {
        let kind = kind.name();
        format!(
            "version: 1\nname: images\nsource: acme/app-0000\nfleet: {rules}\nsources: {{ ghcr.io/acme: oci:images }}\n\
             revision: {{ pattern: 'x|[0-9a-f]{{40}}' }}\nimages:\n  \
             api: {{ repository: ghcr.io/acme/api }}\n  web: {{ repository: ghcr.io/acme/web }}\n\
             forge: {{ kind: {kind}, url: '{}' }}\n",
            self.forge.api()
        )
    }

    /// Builds both images at a revision; returns their digests.
    pub fn build(&self, revision: &str) -> [String; 2] {
        ["api", "web"].map(|image| {
            let layout = Layout::at(&self.path("images").join(image));
            layout.untag(revision);
            layout.image(revision, &[Platform::new("linux/amd64", revision)])
        })
    }

    /// Verifies the set at [`REV`] into `set.json`; returns its hash.
    pub fn verified(&self) -> String {
        let ran = self.run(&["set", "--revision", REV, "--out", "set.json"]);
        ran.exits(0).stdout.trim().to_owned()
    }

    /// The lines of a report, the last of each repository, in the order of the repositories.
    pub fn lines(&self, file: &str) -> Vec<Value> {
        let text = self.read(file);
        let mut lines = std::collections::BTreeMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            lines.insert(line["repository"].as_str().unwrap().to_owned(), line);
        }
        lines.into_values().collect()
    }

    /// `OUTCOME EXIT` of every repository in a report.
    pub fn outcomes(&self, file: &str) -> Vec<String> {
        let shown =
            |line: &Value| format!("{} {}", line["outcome"].as_str().unwrap(), line["exit"]);
        self.lines(file).iter().map(shown).collect()
    }

    /// Moves the pins of a repository to these digests, in a commit with this message.
    pub fn pin(&self, number: usize, digests: &[String; 2], message: &str) {
        let mut store = self.forge.store(number);
        let moved = |line: &str| {
            let pins = ["api", "web"].map(|image| format!("ghcr.io/acme/{image}@"));
            let pinned = pins.iter().zip(digests).find_map(|(pin, digest)| {
                let at = line.find(pin)?;
                Some(format!("{}{digest}\n", &line[..at + pin.len()]))
            });
            pinned.unwrap_or_else(|| format!("{line}\n"))
        };
        let texts = PINNED
            .map(|path| -> String { store.content("main", path).lines().map(moved).collect() });
        let texts = texts.each_ref().map(String::as_str);
        let files: Vec<(&str, &str)> = PINNED.into_iter().zip(texts).collect();
        store.push("main", message, &files);
    }

    /// Runs the program in a process with the forge's clock for pacing.
    pub fn scaled(&self, args: &[&str]) -> Ran {
        let mut ran = Ran::of(&mut self.scaled_command(args));
        let printed = ran.stdout.split_once(MARK).expect("the program ran").1;
        ran.stdout = printed.to_owned();
        ran
    }

    pub fn scaled_command(&self, args: &[&str]) -> Command {
        let mut command = self.other_command(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "support::fleet::process",
            "--ignored",
            "--nocapture",
        ]);
        let origin = self.origin.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        command
            .env("FLEET_ARGS", serde_json::to_string(args).unwrap())
            .env("FLEET_ORIGIN", origin.as_nanos().to_string())
            .env("FLEET_SPEED", self.speed.to_string())
            // Time without a response is real.
            .env("REPIN_HTTP_TIMEOUT", "2s");
        command
    }

    /// Requests since `before`, by their kinds: all, and writes.
    pub fn requests_since(&self, before: usize) -> [usize; 2] {
        let log = self.forge.log();
        let since: Vec<_> = log[before..]
            .iter()
            .filter(|logged| !logged.request.contains(".git/"))
            .collect();
        [
            since.len(),
            since.iter().filter(|logged| logged.write).count(),
        ]
    }
}

pub fn name(number: usize) -> String {
    format!("acme/app-{number:04}")
}

/// The program, linked into the test binary, with a clock that runs faster; for processes that tests
/// start.
#[test]
#[ignore = "a process of other tests"]
fn process() {
    let Some(args) = std::env::var_os("FLEET_ARGS") else {
        return;
    };
    let args: Vec<String> = serde_json::from_str(args.to_str().unwrap()).unwrap();
    let number = |name: &str| -> u64 { std::env::var(name).unwrap().parse().unwrap() };
    let origin = SystemTime::UNIX_EPOCH + Duration::from_nanos(number("FLEET_ORIGIN"));
    let speed = u32::try_from(number("FLEET_SPEED")).unwrap();
    let mut environment = cli::environment().unwrap();
    environment.use_server_clock(origin, speed);
    let args = std::iter::once("repin".to_owned()).chain(args);
    println!("\n{}", MARK.trim_end());
    let args = args.map(Into::into).collect::<Vec<_>>();
    // As much as the first thread of the program has.
    let run = std::thread::Builder::new().stack_size(8 << 20);
    let run = run.spawn(move || cli::run(&args, environment)).unwrap();
    let exit = run.join().unwrap();
    // The code can be shown and not read.
    let shown = format!("{exit:?}");
    let code: String = shown.chars().filter(char::is_ascii_digit).collect();
    std::process::exit(code.parse().unwrap());
}
