//! The other side of `workflow::template_process`: renders one template within limits.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::app::{
    report::body::TemplateJob,
    workflow::template_process::{MEMORY, PROCESSOR_SECONDS, STACK},
};

/// The memory for each byte of the input.
const MEMORY_PER_BYTE: u64 = 32;

/// Reads a job from standard input and writes its result to standard output. The caller reports a failure.
pub(super) fn run() -> ExitCode {
    match render() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn render() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    limit(Resource::As, MEMORY + MEMORY_PER_BYTE * input.len() as u64)?;
    limit(Resource::Stack, STACK)?;
    limit(Resource::Cpu, PROCESSOR_SECONDS)?;
    limit(Resource::Core, 0)?;
    let job: TemplateJob = serde_json::from_slice(&input)?;
    let result = serde_json::to_vec(&job.render())?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&result)?;
    stdout.flush()
}

/// Lowers a limit of this process.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let current = getrlimit(resource);
    let lowered = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    let limit = Rlimit {
        current: lowered(current.current),
        maximum: lowered(current.maximum),
    };
    Ok(setrlimit(resource, limit)?)
}
