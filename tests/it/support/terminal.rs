//! A terminal with typed input, for programs that ask questions.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Output, Stdio},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Runs `command` at a terminal on which `text` is typed; returns its result, with the output on
/// the terminal as standard error.
pub fn typed(mut command: Command, text: &str) -> Output {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    let mut master = File::from(master);
    master.write_all(text.as_bytes()).unwrap();
    command
        .stdin(terminal.try_clone().unwrap())
        .stderr(terminal)
        .stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    // It holds the terminal's other side.
    drop(command);
    let mut stderr = Vec::new();
    // The end of a terminal is an error: EIO once its other side is closed.
    let _ = master.read_to_end(&mut stderr);
    Output {
        stderr,
        ..child.wait_with_output().unwrap()
    }
}

/// Runs `command` with both of its streams at a terminal; returns the remaining bytes without the
/// carriage return that a terminal writes before each line feed, and the exit status. A line of
/// progress, which appears during slow steps, is cleared.
pub fn shown(command: Command) -> (String, Option<i32>) {
    // The width of a terminal without a configured size.
    shown_at(0, command)
}

/// Like [`shown`], at a terminal of `columns` columns.
pub fn shown_at(columns: u16, mut command: Command) -> (String, Option<i32>) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize {
        ws_col: columns,
        ws_row: 24,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    let mut child = command.spawn().unwrap();
    // It holds the terminal's other side.
    drop(command);
    let mut bytes = Vec::new();
    let _ = File::from(master).read_to_end(&mut bytes);
    let mut text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    while let Some(end) = text.find(CLEARED) {
        let start = text[..end].rfind('\n').map_or(0, |at| at + 1);
        text.replace_range(start..end + CLEARED.len(), "");
    }
    (text, child.wait().unwrap().code())
}

/// The sequence that clears a line.
const CLEARED: &str = "\r\u{1b}[2K";

/// Starts `command` with standard error at a terminal; returns it with the other side of the terminal.
pub fn attached(mut command: Command) -> (Child, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal);
    let child = command.spawn().unwrap();
    // It holds the terminal's other side.
    drop(command);
    (child, File::from(master))
}
