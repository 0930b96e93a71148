//! Ending a process with everything that it started.
//!
//! The process leads its own group; what left the group without being handed over to init is found
//! through `/proc`, where there is one. What an engine's daemon runs for it is not here: that is
//! the container, which is removed by its name.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A process, with its time of start, which distinguishes it from a later process with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: Pid,
    parent: i32,
    started: u64,
}

/// Asks the group to end.
pub(super) fn ask(leader: Pid) {
    // Nobody may be left in it.
    let _ = kill_process_group(leader, Signal::TERM);
}

/// Kills the group, and those of `known` and their descendants that are still there.
///
/// The leader must not have been waited for: its number is the group's.
pub(super) fn kill(leader: Pid, known: &[Process]) {
    let _ = kill_process_group(leader, Signal::KILL);
    let now = processes();
    let alive = known.iter().filter(|process| {
        now.iter()
            .any(|p| p.pid == process.pid && p.started == process.started)
    });
    for process in alive {
        for below in below(process.pid, &now) {
            let _ = kill_process(below.pid, Signal::KILL);
        }
        let _ = kill_process(process.pid, Signal::KILL);
    }
}

/// The processes that `root` started, and those that they started.
pub(super) fn descendants(root: Pid) -> Vec<Process> {
    below(root, &processes())
}

fn below(root: Pid, all: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in all
            .iter()
            .filter(|process| process.parent == parent.as_raw_nonzero().get())
        {
            if !found.contains(child) {
                found.push(*child);
                parents.push(child.pid);
            }
        }
    }
    found
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| process(&entry.path()))
        .collect()
}

fn process(directory: &Path) -> Option<Process> {
    let pid = directory.file_name()?.to_str()?.parse().ok()?;
    // proc_pid_stat(5): the name in parentheses may hold anything, also parentheses.
    let stat = fs::read(directory.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Process {
        pid: Pid::from_raw(pid)?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}
