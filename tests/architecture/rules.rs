//! The limits. Each rule is a function from sources to one line for each violation.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// The rooms that a room may use directly. It may also use everything below those, except `REFUSED`.
///
/// CONTRIBUTING.md contains the same table.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("base", &[]),
    ("oci", &["base"]),
    ("contents", &["oci"]),
    ("trust", &["oci"]),
    ("git", &["base"]),
    ("forge", &["git", "oci"]),
    ("config", &["contents", "trust", "forge"]),
    ("core", &["config"]),
    ("prune", &["core"]),
    ("app", &["prune"]),
];

/// Rooms that a room must not use although it reaches them through another room.
const REFUSED: [(&str, &str); 1] = [("core", "forge")];

/// The maximum length of a function, in lines.
const FUNCTION: usize = 80;
/// The maximum length of a file without its tests, in lines.
const FILE: usize = 600;

/// Macros that stop the program.
const STOPPING: [&str; 4] = ["panic!", "todo!", "unimplemented!", "dbg!"];
/// Macros that print; only the command line may use them.
const PRINTING: [&str; 4] = ["print!", "println!", "eprint!", "eprintln!"];
/// Methods that stop the program without a reason.
const UNWRAPPING: [&str; 2] = ["unwrap", "unwrap_err"];
/// The minimum length of a reason, in bytes.
const REASON: usize = 10;

/// Paths that only the command line may use: the environment, the wall clock, the standard streams,
/// the exit of the program.
const SURROUNDINGS: [&[&str]; 8] = [
    &["std", "env"],
    &["SystemTime", "now"],
    &["UNIX_EPOCH", "elapsed"],
    &["process", "exit"],
    &["process", "abort"],
    &["io", "stdin"],
    &["io", "stdout"],
    &["io", "stderr"],
];

/// Uses of a room that the table does not allow.
pub(crate) fn edges(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(allowed) = usable(source.top()) else {
            broken.push(format!(
                "{}: the room `{}` is not in the table",
                source.name,
                source.top()
            ));
            continue;
        };
        let strange = source
            .whole_crate_imports
            .iter()
            .map(|(line, problem)| format!("{}:{line}: {problem}", source.name));
        broken.extend(strange);
        for path in source.paths.iter().filter(|path| path.ours) {
            let Some(target) = path.segments.first().map(String::as_str) else {
                continue;
            };
            // A glob import of the crate was reported above.
            if target != source.top() && target != "*" && !allowed.contains(target) {
                let (name, line, top) = (&source.name, path.line, source.top());
                broken.push(format!(
                    "{name}:{line}: {top} → {target} (crate::{})",
                    path.segments.join("::")
                ));
            }
        }
    }
    broken
}

/// The rooms that each room may use directly, by name.
pub(crate) fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let mut edges = BTreeMap::new();
    for (module, direct) in ALLOWED {
        let direct = direct.iter().map(ToString::to_string);
        edges.insert(module.to_owned(), direct.collect());
    }
    edges
}

/// The rooms that each room may use, from the table of a page.
pub(crate) fn listed(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let rows = page
        .lines()
        .skip_while(|line| *line != "| room | knows | must not know | uses |");
    let mut edges = BTreeMap::new();
    for row in rows.skip(2).take_while(|row| row.starts_with('|')) {
        let codes = |cell: &str| -> Vec<String> {
            let parts = cell.split('`').skip(1).step_by(2);
            parts.map(str::to_owned).collect()
        };
        let cells: Vec<_> = row.split(" | ").collect();
        let modules = codes(cells[0]);
        let uses = codes(cells[cells.len() - 1]);
        edges.extend(
            modules
                .into_iter()
                .map(|module| (module, uses.iter().cloned().collect())),
        );
    }
    edges
}

/// Every room that a room may use; `None` if the room is not in the table.
fn usable(room: &str) -> Option<BTreeSet<&'static str>> {
    let mut rooms = below(room)?;
    rooms.retain(|other| !REFUSED.contains(&(room, other)));
    Some(rooms)
}

/// Every room that a room reaches by the table; `None` if the room is not in it.
fn below(module: &str) -> Option<BTreeSet<&'static str>> {
    let all = || ALLOWED.iter().map(|(name, _)| *name);
    match module {
        "lib" => return Some(all().collect()),
        "main" => return Some(BTreeSet::from(["app", "cli"])),
        _ => {}
    }
    let (_, direct) = ALLOWED.iter().find(|(name, _)| *name == module)?;
    let mut reached: BTreeSet<_> = direct.iter().copied().collect();
    for next in *direct {
        reached.extend(below(next)?);
    }
    Some(reached)
}

/// The file that defines the item with this path, through all re-exports.
fn defining<'s>(counted: &[&'s Source], path: &[String]) -> Option<&'s Source> {
    let mut path = path.to_vec();
    let mut passed = BTreeSet::new();
    loop {
        let holds = |source: &&&Source| path.starts_with(&source.module);
        let file = *counted
            .iter()
            .filter(holds)
            .max_by_key(|source| source.module.len())?;
        let rest = &path[file.module.len()..];
        let exported = rest.first().and_then(|name| file.exports.get(name));
        match exported {
            Some(target) if passed.insert(path.clone()) => {
                path = target.iter().chain(&rest[1..]).cloned().collect();
            }
            _ => return Some(file),
        }
    }
}

/// Cycles between files; a module and its submodules may form one.
pub(crate) fn cycles(sources: &[Source]) -> Vec<String> {
    let counted: Vec<_> = sources.iter().filter(|source| !source.is_test()).collect();
    let inside = |one: &Source, other: &Source| {
        one.module.starts_with(&other.module) || other.module.starts_with(&one.module)
    };
    let used = |source: &Source| -> Vec<&Source> {
        let ours = source.paths.iter().filter(|path| path.ours);
        ours.filter_map(|path| defining(&counted, &path.segments))
            .filter(|other| !inside(source, other))
            .collect()
    };
    let edges: BTreeMap<&str, BTreeSet<&str>> = counted
        .iter()
        .map(|source| {
            let names = used(source).into_iter().map(|other| other.name.as_str());
            (source.name.as_str(), names.collect())
        })
        .collect();
    let mut broken = Vec::new();
    for (name, direct) in &edges {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = direct.iter().copied().collect();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(&edges[next]);
            }
        }
        if reached.contains(name) {
            broken.push((*name).to_owned());
        }
    }
    broken
}

/// Functions and files that exceed their limits.
pub(crate) fn budgets(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        if source.lines > FILE {
            broken.push(format!(
                "{}: {} lines without tests, at most {FILE}",
                source.name, source.lines
            ));
        }
        for function in source
            .functions
            .iter()
            .filter(|function| function.lines > FUNCTION)
        {
            broken.push(format!(
                "{}:{}: fn {}: {} lines, at most {FUNCTION}",
                source.name, function.line, function.name, function.lines
            ));
        }
        for function in source
            .functions
            .iter()
            .filter(|function| function.tuples > 0)
        {
            broken.push(format!(
                "{}:{}: fn {}: a parameter is a tuple: give its values names",
                source.name, function.line, function.name
            ));
        }
    }
    broken
}

/// Calls and paths that are forbidden in their file.
pub(crate) fn forbidden(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let speaks = source.top() == "main"
            || source
                .module
                .starts_with(&["app".to_owned(), "cli".to_owned()]);
        let mut add =
            |line: usize, problem: &str| broken.push(format!("{}:{line}: {problem}", source.name));
        for call in &source.calls {
            let name = call.name.as_str();
            match name {
                _ if STOPPING.contains(&name) || UNWRAPPING.contains(&name) => add(call.line, name),
                _ if PRINTING.contains(&name) && !speaks => add(call.line, name),
                "expect" | "expect_err"
                    if call
                        .reason
                        .as_ref()
                        .is_some_and(|reason| reason.len() < REASON) =>
                {
                    add(call.line, "`expect` without the reason that it cannot fail");
                }
                _ => {}
            }
        }
        for path in source.paths.iter().filter(|path| !path.ours && !speaks) {
            let named = |wanted: &&[&str]| {
                path.segments
                    .windows(wanted.len())
                    .any(|part| part == *wanted)
            };
            if SURROUNDINGS.iter().any(named) {
                add(
                    path.line,
                    &format!(
                        "{}: only `app::cli` may use it, and passes the value on",
                        path.segments.join("::")
                    ),
                );
            }
        }
    }
    broken
}

/// Files without module docs. A file `tests.rs` needs none: its module has them.
pub(crate) fn undocumented(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| !source.documented && !source.name.ends_with("/tests.rs"))
        .map(|source| source.name.clone())
        .collect()
}

/// Tests that every rule reports a violation.
#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Vec<Source> {
        vec![Source::parse(name, text).unwrap()]
    }

    fn uses(name: &str, text: &str) -> Vec<String> {
        edges(&one(name, text))
    }

    fn does(name: &str, text: &str) -> Vec<String> {
        forbidden(&one(name, text))
    }

    #[test]
    fn files_that_need_each_other_are_reported() {
        let parse = |name: &str, text: &str| Source::parse(name, text).unwrap();
        let cycle = [
            parse(
                "src/core/pins/mod.rs",
                "mod find; mod pin; pub use find::Found;",
            ),
            parse("src/core/pins/find.rs", "use super::pin::Pin;"),
            parse("src/core/pins/pin.rs", "use crate::core::plan::Plan;"),
            parse("src/core/plan.rs", "use crate::core::pins::find::Found;"),
        ];
        assert_eq!(
            cycles(&cycle),
            [
                "src/core/pins/find.rs",
                "src/core/pins/pin.rs",
                "src/core/plan.rs"
            ]
        );
        let through_a_re_export = [
            parse(
                "src/core/pins/mod.rs",
                "mod find; mod pin; pub use find::Found;",
            ),
            parse("src/core/pins/find.rs", "use super::pin::Pin;"),
            parse("src/core/pins/pin.rs", "use super::Found;"),
        ];
        assert_eq!(
            cycles(&through_a_re_export),
            ["src/core/pins/find.rs", "src/core/pins/pin.rs"]
        );
        let line = [
            parse("src/core/pins/mod.rs", "mod find; pub use find::Found;"),
            parse("src/core/pins/find.rs", "use super::Pin;"),
            parse("src/core/plan.rs", "use crate::core::pins::find::Found;"),
        ];
        assert_eq!(cycles(&line), [] as [&str; 0]);
    }

    #[test]
    fn upward_use_is_reported_with_its_location() {
        assert_eq!(
            uses("src/core/plan/mod.rs", "\nuse crate::app::cli::Exit;"),
            ["src/core/plan/mod.rs:2: core → app (crate::app::cli::Exit)"]
        );
        assert_eq!(
            uses("src/core/plan/mod.rs", "use crate::forge::Forge;"),
            ["src/core/plan/mod.rs:1: core → forge (crate::forge::Forge)"]
        );
        assert_eq!(
            uses("src/config/forge.rs", "use crate::forge::Kind;"),
            [] as [&str; 0]
        );
        assert_eq!(
            uses(
                "src/core/plan/mod.rs",
                "use crate::{config::Config, oci::{self, Digest}};"
            ),
            [] as [&str; 0]
        );
        assert_eq!(
            uses(
                "src/oci/tag.rs",
                "use crate::{core::{Found, Pin}, oci::Tag};"
            )
            .len(),
            2
        );
        assert_eq!(
            uses("src/oci/tag.rs", "use crate::config as other;").len(),
            1
        );
        assert_eq!(
            uses("src/main.rs", "use repin::{cli, core};"),
            ["src/main.rs:1: main → core (crate::core)"]
        );
        assert_eq!(
            uses("src/other/mod.rs", ""),
            ["src/other/mod.rs: the room `other` is not in the table"]
        );
        assert_eq!(
            uses("src/core/plan/mod.rs", "use crate::shortcut;").len(),
            1
        );
    }

    #[test]
    fn path_without_a_use_item_is_found() {
        for text in [
            "fn f() { crate::app::run(); }",
            "fn f(_: &crate::app::Exit) {}",
            "fn f() { if let crate::app::Exit::Done = g() {} }",
            "fn f() { super::super::super::app::run(); }",
            "mod inner { fn f() { super::super::super::super::app::run(); } }",
            "mod inner { use super::super::super::super::app; }",
            "fn f() { format!(\"{}\", crate::app::run()); }",
            "fn f() { assert!(matches!(g(), [super::super::super::app::Exit::Done])); }",
            "macro_rules! m { () => { $crate::app::run() }; }",
            "impl crate::app::Speak for X {}",
            "pub use crate::app::Exit;",
            "fn f() { use crate::app::Exit; }",
            "fn f() -> Vec<crate::app::Exit> {}",
        ] {
            assert_eq!(uses("src/core/checks/pins.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn the_whole_crate_at_once_is_refused() {
        for text in [
            "use crate::*;",
            "use crate as root;",
            "use super::super::*;",
            "use crate::{self as root};",
        ] {
            assert_eq!(uses("src/core/checks.rs", text).len(), 1, "{text}");
        }
        assert_eq!(uses("src/core/checks.rs", "use super::*;"), [] as [&str; 0]);
    }

    #[test]
    fn tests_may_use_any_module() {
        let inline =
            "#[cfg(test)] mod tests { use crate::app; fn f() { crate::app::run(); panic!() } }";
        assert_eq!(uses("src/oci/tag.rs", inline), [] as [&str; 0]);
        assert_eq!(does("src/oci/tag.rs", inline), [] as [&str; 0]);
        assert_eq!(
            uses("src/oci/tag/tests.rs", "use crate::app;"),
            [] as [&str; 0]
        );
        assert_eq!(
            uses("src/oci/tag.rs", "#[cfg(all(test, unix))] use crate::app;"),
            [] as [&str; 0]
        );
        assert_eq!(
            uses("src/oci/tag.rs", "#[cfg(not(test))] use crate::app;").len(),
            1
        );
        assert_eq!(
            uses("src/oci/tag.rs", "mod tests { use crate::app; }").len(),
            2
        );
    }

    #[test]
    fn rules_of_rooms_have_no_cycle() {
        for (at, (room, direct)) in ALLOWED.iter().enumerate() {
            let earlier = &ALLOWED[..at];
            assert!(
                direct
                    .iter()
                    .all(|name| earlier.iter().any(|(other, _)| other == name)),
                "{room}"
            );
            assert_eq!(below(room).unwrap().contains("base"), *room != "base");
        }
        // What a room must not know.
        for (room, strangers) in [
            ("oci", ["config", "git"]),
            ("contents", ["config", "trust"]),
            ("trust", ["config", "git"]),
            ("git", ["config", "oci"]),
            ("forge", ["config", "contents"]),
            ("config", ["core", "app"]),
            ("core", ["forge", "prune"]),
            ("prune", ["app", "app"]),
        ] {
            let rooms = usable(room).unwrap();
            assert!(strangers.iter().all(|name| !rooms.contains(name)), "{room}");
        }
        assert!(usable("prune").unwrap().contains("forge"));
        assert_eq!(usable("app").unwrap().len(), ALLOWED.len() - 1);
    }

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "g();\n".repeat(lines - 2))
    }

    #[test]
    fn long_functions_and_files_are_reported() {
        let over = |text: &str| budgets(&one("src/core/pins/x.rs", text));
        assert_eq!(over(&function(80)), [] as [&str; 0]);
        assert_eq!(
            over(&function(81)),
            ["src/core/pins/x.rs:1: fn f: 81 lines, at most 80"]
        );
        let tuple = "src/core/pins/x.rs:1: fn f: a parameter is a tuple: give its values names";
        assert_eq!(over("fn f(at: (usize, usize)) {}"), [tuple]);
        assert_eq!(over("fn f(at: &(usize, usize)) {}"), [tuple]);
        assert_eq!(over("fn f(at: &[u8], of: ()) {}"), [] as [&str; 0]);
        assert_eq!(over(&"// line\n".repeat(600)), [] as [&str; 0]);
        assert_eq!(
            over(&"// line\n".repeat(601)),
            ["src/core/pins/x.rs: 601 lines without tests, at most 600"]
        );
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "// line\n".repeat(300)
        );
        assert_eq!(over(&("// line\n".repeat(599) + &tests)), [] as [&str; 0]);
        assert_eq!(over(&("// line\n".repeat(601) + &tests)).len(), 1);
    }

    #[test]
    fn panics_and_prints_inside_macros_are_reported() {
        for text in [
            "fn f() { g().unwrap(); }",
            "fn f() { g().unwrap_err(); }",
            "fn f() { panic!(\"x\") }",
            "fn f() { std::todo!() }",
            "fn f() { unimplemented!() }",
            "fn f() { dbg!(1); }",
            "fn f() { println!(); }",
            "fn f() { eprint!(\"x\"); }",
            "fn f() { g().expect(\"oops\"); }",
            "fn f() { format!(\"{}\", g().unwrap()); }",
            "fn f() { format!(\"{}\", g().expect(\"oops\")); }",
            "fn f() { vec![panic!()]; }",
            "fn f() { let x = || g().unwrap(); }",
        ] {
            assert_eq!(does("src/core/pins/x.rs", text).len(), 1, "{text}");
        }
        for text in [
            "fn f() { g().expect(\"the pattern is a constant\"); }",
            "fn f() { g().unwrap_or_default(); }",
            "fn f() { panic_free(); assert!(a != b); }",
            "fn f() { format!(\"{}\", g().unwrap_or(1)); }",
        ] {
            assert_eq!(does("src/core/pins/x.rs", text), [] as [&str; 0], "{text}");
        }
    }

    #[test]
    fn only_the_command_line_reads_its_environment() {
        for text in [
            "fn f() { println!(); }",
            "use std::env;",
            "use std::{io, env::var};",
            "fn f() { std::env::var(\"X\"); }",
            "fn f() { std::time::SystemTime::now(); }",
            "fn f() { SystemTime::now(); }",
            "fn f() { std::process::exit(1); }",
            "fn f() { write!(io::stdout(), \"x\"); }",
            "fn f() { format!(\"{:?}\", std::env::args()); }",
        ] {
            assert_eq!(does("src/core/history/x.rs", text).len(), 1, "{text}");
            assert_eq!(does("src/app/cli/x.rs", text), [] as [&str; 0], "{text}");
        }
        assert_eq!(
            does(
                "src/core/history/x.rs",
                "fn f() { env!(\"X\"); Instant::now(); }"
            ),
            [] as [&str; 0]
        );
        assert_eq!(does("src/app/cli/x.rs", "fn f() { g().unwrap() }").len(), 1);
    }

    #[test]
    fn file_without_docs_is_reported() {
        assert_eq!(
            undocumented(&one("src/core/pins/x.rs", "// no\nfn f() {}")),
            ["src/core/pins/x.rs"]
        );
        assert_eq!(
            undocumented(&one("src/core/pins/x/tests.rs", "fn f() {}")),
            [] as [&str; 0]
        );
        assert_eq!(
            undocumented(&one("src/core/pins/x.rs", "//! Yes.\nfn f() {}")),
            [] as [&str; 0]
        );
    }
}
