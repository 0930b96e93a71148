//! Several sets share one repository: git reads it once, and every set gets the same result as alone.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use crate::support::world::World;

/// Writes a set with one pin.
fn write_set(world: &World, directory: &str, file: &str, build: char) {
    let config = format!(
        "version: 1\nname: x\nfiles: ['{file}', '!none.yml']\nrevision: {{ pattern: '[a-c]{{40}}' }}\n\
         images: {{ app: {{ repository: r.example/app, pins: 1 }} }}\n"
    );
    world.write(&format!("{directory}repin.yaml"), config);
    write_pin(world, &format!("{directory}{file}"), build);
}

fn write_pin(world: &World, file: &str, build: char) {
    let digest = build.to_string().repeat(64);
    world.write(file, format!("image: r.example/app@sha256:{digest}\n"));
}

/// The number of git processes of a run, by command.
fn git_processes(world: &World, args: &[&str]) -> BTreeMap<String, usize> {
    let bin = tempfile::tempdir().unwrap();
    let (log, path) = (bin.path().join("log"), std::env::var("PATH").unwrap());
    let wrapper = format!(
        "#!/bin/sh\necho \"$*\" >>'{}'\nPATH='{path}' exec git \"$@\"\n",
        log.display()
    );
    fs::write(bin.path().join("git"), wrapper).unwrap();
    fs::set_permissions(bin.path().join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = world.command(args);
    command.env("PATH", format!("{}:{path}", bin.path().display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut processes = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        // The command follows the options and the root.
        let (_, command) = line.split_once(" -C ").unwrap_or(("", line));
        let mut words = command
            .split(' ')
            .skip(1)
            .filter(|word| !word.contains('='));
        let command = words.find(|word| *word != "-c").unwrap_or_default();
        *processes.entry(command.to_owned()).or_default() += 1;
    }
    processes
}

/// A repository to which a commit adds sets with one pin, and another one changes the pins.
fn environments(count: usize) -> World {
    let world = World::empty().with_git();
    for build in ['a', 'b'] {
        for number in 1..=count {
            write_set(&world, &format!("envs/{number}/"), "app.yml", build);
        }
        world.commit("change");
    }
    world.push();
    world
}

#[test]
fn number_of_git_processes_does_not_depend_on_the_sets() {
    let worlds = [2, 80].map(environments);
    for command in ["check", "status", "history"] {
        let [few, many] = worlds
            .each_ref()
            .map(|world| git_processes(world, &[command, "--all"]));
        assert_eq!(few, many, "{command}");
        assert!(many.values().sum::<usize>() <= 20, "{command} {many:?}");
    }
}

/// Sets whose histories and files overlap: nested ones, names that begin alike, moved configurations, former
/// directories, merges, and ignored and untracked files.
fn repository() -> World {
    let world = World::empty();
    for (directory, file) in [
        ("", "top/app.yml"),
        ("a/", "app.yml"),
        ("ab/", "app.yml"),
        ("a/deep/", "app.yml"),
        ("former/", "app.yml"),
        ("directory/", "old/app.yml"),
        ("hidden/", "app.yml"),
    ] {
        write_set(&world, directory, file, 'a');
    }
    let world = world.with_git();
    let commit = |message: &str, pins: &[(&str, char)]| {
        for (file, build) in pins {
            write_pin(&world, file, *build);
        }
        world.commit(message)
    };
    let revision = |build: char| format!("promote: x images @{}", build.to_string().repeat(40));
    commit(
        &revision('b'),
        &[
            ("a/app.yml", 'b'),
            ("ab/app.yml", 'b'),
            ("former/app.yml", 'b'),
            ("directory/old/app.yml", 'b'),
        ],
    );
    world.git(&["mv", "former", "moved"]);
    commit("move", &[]);
    fs::remove_dir_all(world.path("directory")).unwrap();
    write_set(&world, "directory/", "new/app.yml", 'b');
    commit("another directory", &[]);
    world.git(&["checkout", "-q", "-b", "side"]);
    commit(
        &revision('c'),
        &[("a/app.yml", 'c'), ("a/deep/app.yml", 'c')],
    );
    world.git(&["checkout", "-q", "main"]);
    commit(
        &revision('c'),
        &[("top/app.yml", 'c'), ("moved/app.yml", 'c')],
    );
    world.git(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    commit("revert", &[("moved/app.yml", 'b'), ("ab/app.yml", 'a')]);
    world.write(".gitignore", "/images\n/origin.git\nignored.yml\nhidden/\n");
    write_set(&world, "late/", "*.yml", 'b');
    fs::remove_file(world.path("late/*.yml")).unwrap();
    write_pin(&world, "late/app.yml", 'b');
    commit("late", &[]);
    world.push();
    // Not pushed, not tracked, and ignored.
    commit(&revision('d'), &[("a/app.yml", 'd')]);
    for file in [
        "late/ignored.yml",
        "late/untracked.yml",
        "hidden/other.yml",
        "a/notes.md",
    ] {
        write_pin(&world, file, 'b');
    }
    world
}

#[test]
fn each_set_has_the_same_result_as_alone() {
    let world = repository();
    for command in ["check", "status", "history"] {
        let all = world.run(&[command, "--all", "--format", "json"]).json();
        let sets = all["sets"].as_array().unwrap();
        assert_eq!(sets.len(), 8, "{all}");
        for set in sets {
            let path = set["set_path"].as_str().unwrap();
            let alone = world.run(&[command, "--config", path, "--format", "json"]);
            assert_eq!(set["document"], alone.json(), "{command} {path}");
        }
    }
    // A single set is the same.
    let all = world.run_in(
        &world.path("a/deep"),
        &["status", "--all", "--format", "json"],
        &[],
    );
    let alone = world.run(&[
        "status",
        "--config",
        "a/deep/repin.yaml",
        "--format",
        "json",
    ]);
    assert_eq!(all.json()["sets"][0]["document"], alone.json());
}
