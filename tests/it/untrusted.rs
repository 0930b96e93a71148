//! External text in whole runs: the output at a terminal, in a runner and in a pipe, and that no
//! secret comes back from a server that echoes it.

use std::process::{Command, Stdio};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use crate::support::{
    self,
    fake::{self, Reaction},
    forge::{self as fakes, Fake, Fault, Kind, TOKEN, error},
    layout::Platform,
    runner, terminal,
    world::{REV_A, REV_B, Ran, World, world},
};

/// At the start of a line, anywhere in a line, and after blanks that a runner ignores.
const COMMANDS: &str = "##[add-mask]l\u{2028}\u{200b}";

/// Checks that a runner accepts only annotations of repin in the output of a run, and the number of
/// those.
fn annotations(ran: &Ran) -> usize {
    assert_eq!(runner::obeyed(&ran.stderr), [], "{}", ran.stderr);
    let obeyed = runner::obeyed(&ran.stdout);
    for command in &obeyed {
        assert!(
            ["error", "warning", "notice"].contains(&command.command.as_str()),
            "{obeyed:?}\n{}",
            ran.stdout
        );
    }
    obeyed.len()
}

fn github(world: &World, args: &[&str]) -> Ran {
    world.run_with(
        &[args, &["--format", "github"]].concat(),
        &[("REPIN_FORGE_TOKEN", TOKEN)],
    )
}

/// A world with files that are called like commands.
fn hostile() -> World {
    let world = world();
    world.replace(
        "repin.yaml",
        "['.github/workflows/*.yml']",
        "['*.yml', '.github/workflows/*.yml']",
    );
    // Warnings are annotations of repin.
    world.write("repin.yaml", world.read("repin.yaml") + "outside: ignore\n");
    for (from, to) in [
        ("a.yml", "::stop-commands::x.yml"),
        ("b.yml", "\u{a0}::add-mask::##[add-mask]y.yml"),
    ] {
        let text = world.read(&format!(".github/workflows/{from}"));
        world.write(to, format!("::add-mask::a\n##[add-mask]b\n{text}"));
        std::fs::remove_file(world.path(&format!(".github/workflows/{from}"))).unwrap();
    }
    world
}

#[test]
fn file_names_are_inert_for_runners() {
    let world = hostile();
    let ran = github(&world, &["scan"]).exits(0);
    assert_eq!(annotations(&ran), 0);
    assert!(
        ran.stdout.contains("\\u{3a}:stop-commands::x.yml:")
            && ran
                .stdout
                .contains("\u{a0}\\u{3a}:add-mask::##\\u{5b}add-mask]y.yml:"),
        "{}",
        ran.stdout
    );
    // One reports that no image declares `fix-extra`.
    let ran = github(&world, &["check", "-v"]).exits(0);
    assert_eq!(annotations(&ran), 1, "{}", ran.stdout);
    world.write(
        "::error::z.yml",
        "ghcr.io/acme/fix@sha256:abc ##[add-mask]b\n",
    );
    let ran = github(&world, &["check", "-v"]).exits(1);
    assert_eq!(annotations(&ran), 2, "{}", ran.stdout);
    assert_eq!(annotations(&github(&world, &["scan", "-v"]).exits(0)), 0);
    let ran = github(&world, &["promote", "--revision", REV_B, "-v"]).exits(1);
    assert_eq!(annotations(&ran), 1, "{}", ran.stdout);
}

#[test]
fn runner_gets_files_without_commands() {
    let mut world = hostile();
    let label = "x\n::add-mask::a\r::error::b ##[add-mask]c";
    let labelled = Platform::new("linux/amd64", REV_B).label("dev.acme.version", label);
    world.rebuild("fix", REV_B, &[labelled]);
    let world = world.with_git();
    let named = ["--diff-file", "-", "--body-file", "-", "-v"];
    let promote = [&["promote", "--revision", REV_B], &named[..]].concat();
    let ran = github(&world, &promote).exits(0);
    // One reports that history does not record the pinned set.
    assert_eq!(annotations(&ran), 1, "{}", ran.stdout);
    // The diff is there, byte by byte.
    assert!(
        ran.stdout.contains("\n ::add-mask::a\n ##[add-mask]b\n"),
        "{}",
        ran.stdout
    );
    world.promoted(REV_A);
    github(&world, &["promote", "--revision", REV_B, "--apply"]).exits(0);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    let rollback = [&["rollback", "--to", REV_A], &named[..]].concat();
    let ran = github(&world, &rollback).exits(0);
    assert_eq!(annotations(&ran), 0, "{}", ran.stdout);
    assert!(ran.stdout.contains("\n ##[add-mask]b\n"), "{}", ran.stdout);
}

#[test]
fn commit_subjects_are_inert_for_runners() {
    let world = world().with_git();
    world
        .run(&["promote", "--revision", REV_B, "--apply"])
        .exits(0);
    world.commit(&format!("{COMMANDS} \u{e0041}\u{202e}x"));
    world.push();
    let ran = github(&world, &["history", "-v"]).exits(0);
    assert_eq!(annotations(&ran), 0);
    let shown = "##\\u{5b}add-mask]l\\u{2028}\\u{200b} \\u{e0041}\\u{202e}x\n";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    // The same characters are escaped in a pipe, and in a document.
    let ran = world.run(&["history", "-v"]).exits(0);
    let shown = "##[add-mask]l\\u{2028}\\u{200b} \\u{e0041}\\u{202e}x\n";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    let ran = world.run(&["history", "--format", "json"]).exits(0);
    let shown = "##\\u005badd-mask]l\\u2028\\u200b \\udb40\\udc41\\u202ex";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    let subject = ran.json()["entries"][0]["subject"].clone();
    assert_eq!(subject, format!("{COMMANDS} \u{e0041}\u{202e}x"));
}

/// A world with a base branch on a forge.
fn hosted(settings: &str) -> (World, Fake) {
    let (world, fake) = (world(), Fake::start(Kind::Github));
    let block = format!(
        "forge: {{ kind: github, url: '{}', repository: acme/flows, {settings} }}\n",
        fake.api()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &block);
    let text = world.read("repin.yaml");
    fake.store()
        .push("main", "as it is", &[("repin.yaml", &text)]);
    (world, fake)
}

#[test]
fn gates_output_is_inert_for_runners() {
    let (world, fake) = hosted("gates: ['::stop-commands::x', 'a ##[add-mask]b']");
    fake.store().report("::stop-commands::x", "failure");
    let ran = github(&world, &["gates", "--ref", "main"]).exits(1);
    assert_eq!(annotations(&ran), 2, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("\n\\u{3a}:stop-commands::x "),
        "{}",
        ran.stdout
    );
}

#[test]
fn server_messages_are_inert_for_runners() {
    let (world, fake) = hosted("gates: [ci]");
    let said = "no\r\n::add-mask::a\u{2028}::add-mask::b ##[add-mask]c\u{1b}[2J";
    fake.fault(
        ("GET", "/acme/flows/commits/main"),
        9,
        Fault::Instead(error(403, said)),
    );
    let ran = github(&world, &["gates", "--ref", "main"]).exits(4);
    assert_eq!(annotations(&ran), 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("##\\u{5b}add-mask]c"), "{}", ran.stderr);
    // Arguments are foreign too, and wrong before the format is known.
    for args in [
        &["scan", "\n::add-mask::a ##[add-mask]b"][..],
        &["promote", "--revision", "\r::add-mask::a\n##[add-mask]b"],
        &["--config", "##[add-mask]b/\n::add-mask::a.yaml", "scan"],
    ] {
        assert_eq!(annotations(&github(&world, args).exits(2)), 1, "{args:?}");
    }
}

#[test]
fn freshness_output_is_inert_for_runners() {
    let world = world();
    let name = "::stop-commands::x ##[add-mask]y";
    let entry = format!(
        "freshness:\n  - name: '{name}'\n    pinned: {{ file: m.yaml, pointer: /ref }}\n    repository: '{}'\n",
        world.path("none.git").display()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &entry);
    world.write("m.yaml", "ref: main\n");
    let ran = github(&world, &["freshness"]);
    assert_ne!(ran.code, 0);
    annotations(&ran);
    assert!(
        ran.stdout
            .contains("\n\\u{3a}:stop-commands::x ##\\u{5b}add-mask]y "),
        "{}\n{}",
        ran.stdout,
        ran.stderr
    );
}

/// Escape sequences in a file, next to a pin so that a diff shows them.
const ATTACK: &str =
    "x: \u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m \u{202e}txet\u{200b}\u{feff}\u{e0041}\r# end";

fn attacked() -> World {
    let world = world();
    let text = world.read(".github/workflows/a.yml");
    world.write(".github/workflows/a.yml", format!("{ATTACK}\n{text}"));
    world
}

/// The text without the colors of the program.
fn uncolored(text: &str) -> String {
    [
        "0m", "1m", "31m", "32m", "33m", "36m", "1;91m", "91m", "1;94m", "94m", "1;96m",
    ]
    .iter()
    .fold(text.to_owned(), |text, end| {
        text.replace(&format!("\u{1b}[{end}"), "")
    })
}

#[test]
fn terminal_gets_no_escape_sequence_of_files() {
    let world = attacked();
    let escaped = "\\u{1b}[2J\\u{1b}]0;title\\u{7}\\u{9b}31m \\u{202e}txet\\u{200b}\\u{feff}\\u{e0041}\\r# end";
    let dash = ["--diff-file", "-"];
    for (args, env, colored) in [
        (&[][..], Some(("NO_COLOR", "1")), false),
        (&["--color", "never"], None, false),
        (&["--color", "always"], None, true),
        (&[], Some(("TERM", "dumb")), false),
        (&[], Some(("TERM", "xterm")), true),
        (&dash, Some(("NO_COLOR", "1")), false),
        (&dash, Some(("TERM", "xterm")), true),
        (&["--format", "github", "--diff-file", "-"], None, false),
    ] {
        let mut command = world.command(&["promote", "--revision", REV_B]);
        command.args(args).envs(env);
        let (shown, code) = terminal::shown(command);
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains(escaped), "{args:?} {env:?}: {shown:?}");
        assert_eq!(shown.contains("\u{1b}[32m"), colored, "{args:?}: {shown}");
        let rest = uncolored(&shown);
        let bad = |c: char| {
            c != '\n' && (c.is_control() || "\u{202e}\u{200b}\u{feff}\u{e0041}".contains(c))
        };
        assert!(!rest.contains(bad), "{args:?} {env:?}: {rest:?}");
    }
}

#[test]
fn shown_configuration_line_is_escaped() {
    let world = world();
    world.replace("repin.yaml", "pins: 3", "pins: 3\u{200b}\u{e0041}");
    let (shown, code) = terminal::shown(world.command(&["scan"]));
    assert_eq!(code, Some(2), "{shown}");
    let ran = world.run(&["scan"]).exits(2);
    for text in [shown, ran.stderr] {
        assert!(text.contains("pins: 3\\u{200b}\\u{e0041}"), "{text}");
        assert!(!text.contains(['\u{200b}', '\u{e0041}']), "{text:?}");
    }
}

#[test]
fn body_at_a_terminal_has_visible_marks() {
    let mut world = world();
    let labelled = Platform::new("linux/amd64", REV_B).label("dev.acme.version", "@team\u{202e}");
    world.rebuild("fix", REV_B, &[labelled]);
    let args = ["promote", "--revision", REV_B, "--body-file", "-"];
    let (shown, code) = terminal::shown(world.command(&args));
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("@team") && !shown.contains("200b"),
        "{shown}"
    );
    assert!(
        shown.contains("u{202e}") && !shown.contains('\u{202e}'),
        "{shown}"
    );
    let ran = world.run(&args).exits(0);
    assert!(ran.stdout.contains("\u{200b}"), "{}", ran.stdout);
}

#[test]
fn colored_pipe_gets_no_escape_sequence_of_files() {
    let world = attacked();
    let args = ["promote", "--revision", REV_B, "--color", "always"];
    let ran = world.run(&args).exits(0);
    assert!(ran.stdout.contains("\u{1b}[32m"), "{}", ran.stdout);
    assert!(!uncolored(&ran.stdout).contains('\u{1b}'), "{}", ran.stdout);
}

#[test]
fn pipe_gets_a_diff_for_git_apply() {
    let world = attacked();
    let file = ".github/workflows/a.yml";
    let text = [b"\xff\xfe ", world.read(file).as_bytes()].concat();
    world.write(file, text);
    for args in [
        &[][..],
        &["--color", "never"],
        &["--color", "always", "--diff-file", "-"],
    ] {
        let mut command = world.command(&["promote", "--revision", REV_B]);
        let output = command.args(args).output().unwrap();
        assert!(output.status.success());
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(copy.path().join(".github/workflows")).unwrap();
        for name in ["a.yml", "b.yml"] {
            let name = format!(".github/workflows/{name}");
            std::fs::copy(world.path(&name), copy.path().join(&name)).unwrap();
        }
        let mut git = Command::new("git");
        git.current_dir(copy.path()).args(["apply", "-"]);
        let mut git = git.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut git.stdin.take().unwrap(), &output.stdout).unwrap();
        assert!(git.wait().unwrap().success(), "{args:?}");
        let applied = std::fs::read(copy.path().join(file)).unwrap();
        let pins = applied
            .windows(64)
            .filter(|part| *part == &world.digest("review", REV_B).as_bytes()["sha256:".len()..]);
        assert!(
            pins.count() > 0 && applied.starts_with(b"\xff\xfe x: \x1b[2J"),
            "{args:?}"
        );
    }
}

const USER: &str = "robot";
/// With characters that each way of encoding treats differently.
const PASSWORD: &str = "pa/ss\"w+rd?>~ü&";

/// The response of a careless server or proxy to a request with these credentials.
fn echoes(user: &str, secret: &str) -> Vec<String> {
    let pair = format!("{user}:{secret}");
    let mut echoes = vec![secret.to_owned(), pair.clone()];
    for text in [
        pair.clone(),
        secret.to_owned(),
        // A name that was never sent, and the text that a proxy appended.
        format!("x:{secret}"),
        format!("xy:{secret}:host"),
        format!("<{pair}>"),
    ] {
        echoes.extend([
            STANDARD.encode(&text),
            STANDARD_NO_PAD.encode(&text),
            URL_SAFE.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
        ]);
    }
    let percent = |text: &str, plain: &str, lower: bool| -> String {
        let one = |byte: u8| match char::from(byte) {
            c if c.is_ascii_alphanumeric() || plain.contains(c) => c.to_string(),
            _ if lower => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    };
    for text in [secret, &STANDARD.encode(&pair)] {
        echoes.extend([
            percent(text, "-._~", false),
            percent(text, "-._~", true),
            percent(text, "-._~/:&=+$,", false),
            serde_json::Value::from(text)
                .to_string()
                .trim_matches('"')
                .to_owned(),
            text.replace('/', "\\/").replace('"', "\\u0022"),
        ]);
    }
    echoes
}

/// Checks that the output of a run contains no part of a secret, and no longer part of its base64
/// form.
fn keeps(secret: &str, ran: &Ran, case: &str) {
    let all = format!("{}\n{}", ran.stdout, ran.stderr);
    assert!(all.contains("***"), "{case}: {all}");
    let mut pieces: Vec<String> = echoes(USER, secret).into_iter().take(1).collect();
    for before in ["", "x", "xy"] {
        let text = format!("{before}{secret}");
        for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            let inner = &encoded[4..encoded.len() - 2];
            pieces.extend(
                inner
                    .as_bytes()
                    .windows(5)
                    .map(|part| String::from_utf8(part.to_vec()).unwrap()),
            );
        }
    }
    for piece in pieces {
        assert!(!all.contains(&piece), "{case}: {piece} in {all}");
    }
}

#[test]
fn registry_echo_of_password_is_redacted() {
    let world = world();
    for (at, echo) in echoes(USER, PASSWORD).into_iter().enumerate() {
        // A retried request results in the same message.
        for status in if at == 2 { vec![403, 500] } else { vec![403] } {
            let echo = echo.clone();
            let registry = fake::Fake::start(move |request| {
                if request.header("authorization").is_none() {
                    return Reaction::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"");
                }
                let message = format!("you sent <{echo}>");
                let body = serde_json::json!({"errors": [{"code": "X", "message": message}]});
                Reaction::new(status, body.to_string())
            });
            let host = registry.host();
            let source = format!("ghcr.io/acme=http://{host}/acme");
            let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            let login = serde_json::json!({"auths": {host: {"auth": auth}}}).to_string();
            let formats: &[&str] = if at < 3 {
                &["human", "json", "github"]
            } else {
                &["human"]
            };
            for format in formats {
                let ran = world.run_with(
                    &[
                        "promote",
                        "--revision",
                        REV_B,
                        "--source",
                        &source,
                        "--format",
                        format,
                    ],
                    &[("DOCKER_AUTH_CONFIG", login.as_str())],
                );
                assert_eq!(
                    ran.code,
                    if status == 403 { 4 } else { 3 },
                    "{}",
                    ran.stderr
                );
                keeps(PASSWORD, &ran, &format!("{at} {format}"));
            }
        }
    }
}

#[test]
fn forge_echo_of_token_is_redacted() {
    for echo in echoes("x-access-token", TOKEN) {
        let (world, fake) = hosted("gates: [ci]");
        fake.fault(
            ("GET", "/acme/flows/commits/main"),
            9,
            Fault::Instead(error(403, &format!("you sent <{echo}>"))),
        );
        let ran = github(&world, &["gates", "--ref", "main"]).exits(4);
        keeps(TOKEN, &ran, &echo);
    }
}

#[test]
fn git_echo_of_token_is_redacted() {
    let world = world();
    for echo in [
        STANDARD.encode(format!("x-access-token:{TOKEN}")),
        TOKEN.to_owned(),
    ] {
        // git shows the plain text of a server.
        let server = fakes::server::Server::start(move |_| {
            Some(fakes::Reply {
                status: 403,
                headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
                body: format!("you sent <{echo}>\n").into_bytes(),
            })
        });
        let entry = format!(
            "freshness:\n  - name: configs\n    token_env: CONFIGS\n    pinned: {{ file: m.yaml, pointer: /ref }}\n    repository: '{}/acme/configs.git'\n",
            server.url()
        );
        world.write("repin.yaml", support::world::CONFIG.to_owned() + &entry);
        world.write("m.yaml", "ref: main\n");
        let ran = world
            .run_with(&["freshness"], &[("CONFIGS", TOKEN)])
            .exits(4);
        assert!(ran.stderr.contains("you sent <***>"), "{}", ran.stderr);
        keeps(TOKEN, &ran, "git");
    }
}

#[test]
fn passwords_in_the_configuration_are_not_shown() {
    for configured in [
        "source: https://ada:s3cr3tvalue@git.example.com/acme/app",
        "source: https://ada:p@ss:s3cr3tvalue@git.example.com/acme/app",
        "forge: { kind: nope, remote: 'https://ada:s3cr3tvalue@git.example.com/acme/app' }",
    ] {
        let world = world();
        world.write("repin.yaml", world.read("repin.yaml") + configured + "\n");
        for format in ["human", "json", "github"] {
            let ran = world.run(&["check", "--format", format]).exits(2);
            for output in [&ran.stdout, &ran.stderr] {
                assert!(!output.contains("s3cr3tvalue"), "{configured}: {output}");
            }
        }
    }
}
