//! The part of a runner of GitHub Actions that parses the output of a step.
//!
//! As in actions/runner: `OutputManager.OnDataReceived`, `ActionCommandManager.TryProcessCommand`,
//! `ActionCommand.TryParseV2` and `TryParse`. Lines end with a line feed, a carriage return or both
//! (.NET, `StreamReader.ReadLine`).

/// The supported commands (the extensions in `Runner.Worker/ActionCommandManager.cs`).
const KNOWN: [&str; 19] = [
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "internal-set-repo-path",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
    "pause-logging",
    "resume-logging",
    "command",
];

/// A command that it executed, with the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obeyed {
    pub command: String,
    pub data: String,
}

/// The commands that it executed in a step's stream, without `::stop-commands::` and its end; a
/// missing end is reported.
pub fn obeyed(stream: &str) -> Vec<Obeyed> {
    let mut stopped: Option<String> = None;
    let mut all = Vec::new();
    for line in stream.split(['\n', '\r']) {
        let token = stopped.as_deref();
        let Some((command, data)) = modern(line, token).or_else(|| legacy(line, token)) else {
            continue;
        };
        match token {
            Some(token) if command.eq_ignore_ascii_case(token) => stopped = None,
            Some(_) => {}
            None if command.eq_ignore_ascii_case("stop-commands") => {
                let ours = data.strip_prefix("repin-").is_some_and(|word| {
                    word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
                });
                if !ours {
                    let (command, data) = (command.clone(), data.clone());
                    all.push(Obeyed { command, data });
                }
                stopped = Some(data);
            }
            None => all.push(Obeyed { command, data }),
        }
    }
    if let Some(data) = stopped {
        let command = "stop-commands".to_owned();
        all.push(Obeyed { command, data });
    }
    all
}

fn modern(line: &str, token: Option<&str>) -> Option<(String, String)> {
    let (head, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    known(head, token).map(|command| (command, data.to_owned()))
}

fn legacy(line: &str, token: Option<&str>) -> Option<(String, String)> {
    let (_, rest) = line.split_once("##[")?;
    let (head, data) = rest.split_once(']')?;
    known(head, token).map(|command| (command, data.to_owned()))
}

fn known(head: &str, token: Option<&str>) -> Option<String> {
    let name = head.split(' ').next().unwrap_or_default();
    let mut names = KNOWN.into_iter().chain(token);
    names
        .any(|known| known.eq_ignore_ascii_case(name))
        .then(|| name.to_owned())
}

#[test]
fn simulated_runner_obeys_real_commands() {
    let commands = |text: &str| -> Vec<String> {
        let of = |obeyed: Obeyed| format!("{}={}", obeyed.command, obeyed.data);
        obeyed(text).into_iter().map(of).collect()
    };
    for (text, all) in [
        ("::error::x", &["error=x"][..]),
        (" \u{3000}::Error title=y::x", &["Error=x"]),
        ("a\r::debug::x", &["debug=x"]),
        ("a ##[group]x", &["group=x"]),
        ("a ::error::x\n:: error::x\n::unknown::x", &[]),
        (
            "::stop-commands::t\n::error::x",
            &["stop-commands=t", "stop-commands=t"],
        ),
        (
            "::stop-commands::t\n::error::x\n##[t]\n::error::y",
            &["stop-commands=t", "error=y"],
        ),
    ] {
        assert_eq!(commands(text), all, "{text:?}");
    }
}
