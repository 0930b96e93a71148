//! Renders a custom template in another process of this program, whose memory, stack and time are limited.
//!
//! A template of a pull request may double a value thirty times or nest a list a million times. The engine has
//! no limit for either, and an overflow of the stack would end this process.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::app::report::body::{TemplateError, TemplateJob};

/// The argument that selects the work of the other process.
pub(crate) const RENDER_TEMPLATE: &str = "__render-template";

/// The memory of the other process in addition to that of its input, in bytes.
pub(crate) const MEMORY: u64 = 512 * 1024 * 1024;
/// The stack of the other process, in bytes.
pub(crate) const STACK: u64 = 8 * 1024 * 1024;
/// The processor time of the other process, in seconds.
pub(crate) const PROCESSOR_SECONDS: u64 = 10;

/// The maximum time on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum size of the result, in bytes. The output of a template has at most 4 MiB, before its escapes.
const MAX_RESULT: u64 = 64 * 1024 * 1024;

/// The result of the other process.
pub(crate) type Rendered = Result<String, TemplateError>;

/// Renders a template; `program`: this program.
pub(super) fn render(job: &TemplateJob, program: &Path) -> Rendered {
    let failed = |error: &dyn std::error::Error| TemplateError {
        message: format!("cannot render it in another process: {error}"),
        line: None,
    };
    let input = serde_json::to_vec(job).map_err(|error| failed(&error))?;
    let child = Command::new(program)
        .arg(RENDER_TEMPLATE)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| failed(&error))?;
    let output = exchange(&mut child, input);
    // The process may have exited.
    let _ = child.kill();
    let status = child.wait().map_err(|error| failed(&error))?;
    match output.and_then(|output| serde_json::from_slice::<Rendered>(&output).ok()) {
        Some(rendered) => rendered,
        None => Err(TemplateError {
            message: format!(
                "the template needs more than {} MiB of memory, {} MiB of stack or {PROCESSOR_SECONDS} s ({status})",
                MEMORY >> 20,
                STACK >> 20
            ),
            line: None,
        }),
    }
}

/// Writes the input and reads the output; `None` without an output in time.
fn exchange(child: &mut Child, input: Vec<u8>) -> Option<Vec<u8>> {
    let mut stdin = child.stdin.take()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // The end of the process ends both threads.
    thread::spawn(move || {
        // The process may end before it has read the input.
        let _ = stdin.write_all(&input);
    });
    thread::spawn(move || {
        let mut output = Vec::new();
        if stdout.take(MAX_RESULT).read_to_end(&mut output).is_ok() {
            // The receiver is gone after the timeout.
            let _ = sender.send(output);
        }
    });
    receiver.recv_timeout(TIMEOUT).ok()
}
