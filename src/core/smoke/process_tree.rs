//! Kills a process and its descendants.
//!
//! The process leads its own group. Descendants outside the group are found in `/proc`, if it exists,
//! unless init has adopted them. Processes of an engine's daemon are no descendants: they are in the
//! container, which is removed by its name.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A process. Its start time distinguishes it from a later process with the same ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: Pid,
    parent: i32,
    start_time: u64,
}

/// Sends SIGTERM to the group.
pub(super) fn terminate(leader: Pid) {
    // Fails if the group is empty.
    let _ = kill_process_group(leader, Signal::TERM);
}

/// Kills the group, and those of `known` that still exist with their descendants.
///
/// The leader must not be reaped before: its process ID is the ID of the group.
pub(super) fn kill(leader: Pid, known: &[Process]) {
    let _ = kill_process_group(leader, Signal::KILL);
    let current = processes();
    for process in known {
        let is_alive = current
            .iter()
            .any(|other| other.pid == process.pid && other.start_time == process.start_time);
        if is_alive {
            for descendant in descendants_in(process.pid, &current) {
                let _ = kill_process(descendant.pid, Signal::KILL);
            }
            let _ = kill_process(process.pid, Signal::KILL);
        }
    }
}

/// The direct and indirect children of `root`.
pub(super) fn descendants(root: Pid) -> Vec<Process> {
    descendants_in(root, &processes())
}

fn descendants_in(root: Pid, processes: &[Process]) -> Vec<Process> {
    let mut descendants: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in processes {
            if process.parent == parent.as_raw_nonzero().get() && !descendants.contains(process) {
                descendants.push(*process);
                parents.push(process.pid);
            }
        }
    }
    descendants
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
    // proc_pid_stat(5): the name in parentheses may contain any bytes, including parentheses.
    let stat = fs::read(directory.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Process {
        pid: Pid::from_raw(pid)?,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}
