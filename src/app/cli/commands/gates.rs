//! `repin gates`: shows the required statuses of a commit.

use clap::Args;

use crate::{
    app::{
        cli::{
            args::{IfPending, IfUnconfigured},
            context::Context,
            format::Format,
            output::{Exit, Output},
        },
        pull_request::branches,
        report::{
            branch,
            json::{GateRow, GatesDocument},
            layout::{Align, aligned},
        },
        workflow::{Access, connect_or_skip},
    },
    base::{
        error::{Class, Code, Error, Errors, usage},
        untrusted::{
            markdown, plain,
            workflow::{Commands, Level},
        },
    },
    config::Forge as Configured,
    forge::{Forge, Gate, GateState, read_gates, worst_state},
    git::check_branch,
};

const HELP: &str = "\
The required contexts are those of forge.gates in the configuration, or otherwise those that the base branch requires. The \
latest status or check run of each context counts. Exit 0: all passed; 3: one is pending (0 with --pending skip); 1: one failed \
or is absent.

Examples:
  repin gates --ref staging
  repin gates --ref 4f2a… --pending skip --format github     # in a job that runs after each workflow";

/// Show the required statuses of a commit
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(in crate::app::cli) struct Arguments {
    /// Branch, tag or commit
    #[arg(long = "ref", value_name = "REF", allow_hyphen_values = true)]
    reference: String,
    /// Exit with 0 and a notice while a gate is pending, and none failed; the output `state` is `pending`
    #[arg(long, value_name = "WHAT")]
    pending: Option<IfPending>,
    /// Skip instead of failing when a token is missing
    #[arg(long, value_name = "WHAT")]
    if_unconfigured: Option<IfUnconfigured>,
}

pub(in crate::app::cli) fn run(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    let result = read_and_report(args, cx);
    cx.summarize_errors(
        &format!("Gates of {}", markdown::code(&args.reference)),
        result,
    )
}

fn read_and_report(args: &Arguments, cx: &mut Context) -> Result<Exit, Errors> {
    check_branch(&args.reference).map_err(|_| {
        usage(format!(
            "--ref: `{}` is not a valid reference",
            args.reference
        ))
    })?;
    let config = cx.load_without_images()?;
    cx.step_files()?;
    let forge = match connect_or_skip(&config, args.if_unconfigured.into(), &cx.services)? {
        Access::Granted(forge) => forge,
        Access::NoToken(reason) => {
            cx.write_outputs(&state_output("skipped"))?;
            return Ok(skipped(args, &reason, cx));
        }
    };
    cx.services
        .wait(forge.check_version(), "querying the forge's version")?;
    let configured = config.forge_or_default();
    let work = read(&forge, &configured, &args.reference);
    let (commit, gates) = cx.services.wait(work, "reading statuses")?;
    let state = worst_state(&gates);
    if gates.iter().any(|gate| gate.state == GateState::Absent) {
        note_held_runs(&forge, &commit, cx)?;
    }
    let document = GatesDocument {
        schema: "repin.gates/1",
        r#ref: args.reference.clone(),
        commit: Some(commit),
        state: Some(state.as_str()),
        gates: gates.iter().map(GateRow::of).collect(),
    };
    if cx.output.format == Format::Json {
        cx.output.print_json(&document);
    } else {
        cx.output.print_text(&table(&gates));
        annotate(&gates, args.pending, &mut cx.output);
    }
    let (output, exit) = match (state, args.pending) {
        (GateState::Pass, _) => ("pass", Exit::Done),
        (GateState::Pending, Some(IfPending::Skip)) => {
            cx.output
                .note("note: a gate is pending, so this run decides nothing");
            ("pending", Exit::Done)
        }
        (GateState::Pending, None) => ("pending", Exit::Failed(Class::Unavailable)),
        (GateState::Absent | GateState::Fail, _) => ("fail", Exit::Failed(Class::Failed)),
    };
    let summary = branch::gates_summary(&document);
    Ok(exit.worse(cx.end_step(&state_output(output), summary, None)))
}

/// The output of the step.
fn state_output(state: &str) -> [(&'static str, String); 1] {
    [("state", state.to_owned())]
}

/// Prints the workflow runs that start only after an approval: until then, their checks are absent.
fn note_held_runs(forge: &Forge, commit: &str, cx: &Context) -> Result<(), Errors> {
    let work = forge.runs_awaiting_approval(commit);
    let runs = cx.services.wait(work, "reading workflow runs")?;
    for url in runs.unwrap_or_default() {
        cx.output.note(&format!(
            "note: a workflow run waits for approval: a user with write access must approve it ({})",
            plain(&url)
        ));
    }
    Ok(())
}

/// Fetches the commit of a reference, and its required statuses.
async fn read(
    forge: &Forge,
    configured: &Configured,
    reference: &str,
) -> Result<(String, Vec<Gate>), Errors> {
    let Some(commit) = forge.commit(reference).await? else {
        return Err(usage(format!(
            "--ref: {} has no commit `{reference}`",
            forge.name()
        )));
    };
    let base = match &configured.base {
        Some(base) => {
            forge.check_base(base).await?;
            base.clone()
        }
        None if configured.gates.is_empty() => forge.repository().await?.default_branch,
        None => String::new(),
    };
    let required = branches::required(forge, &base, &configured.gates).await?;
    let hint = "list the contexts in `forge.gates`";
    let Some(required) = required else {
        let reason = format!("this token cannot read which statuses {base} requires");
        return Err(Errors::from(
            Error::new(Class::Denied, Code::DENIED, reason).help(hint),
        ));
    };
    if required.is_empty() {
        let reason =
            format!("no status is required: {base} requires none, and `forge.gates` is empty");
        return Err(Errors::from(Error::input(Code::CONFIG, reason).help(hint)));
    }
    let pull = forge.reporting_pull(reference, &commit, &base).await?;
    let gates = read_gates(forge, &required, &commit, pull).await?;
    Ok((commit, gates))
}

pub(super) fn table(gates: &[Gate]) -> String {
    let mut rows = vec![["GATE", "STATE", "MORE"].map(str::to_owned).to_vec()];
    for gate in gates {
        rows.push(vec![
            plain(&gate.context),
            gate.state.as_str().to_owned(),
            plain(gate.detail()),
        ]);
    }
    aligned(&[Align::Left; 3], &rows)
}

fn annotate(gates: &[Gate], pending: Option<IfPending>, output: &mut Output) {
    if output.format != Format::Github {
        return;
    }
    for gate in gates.iter().filter(|gate| gate.state != GateState::Pass) {
        let message = format!("{} {}", gate.state.as_str(), gate.detail());
        let mut commands = Commands::default();
        let level = match (gate.state, pending) {
            (GateState::Pending, Some(IfPending::Skip)) => Level::Notice,
            _ => Level::Error,
        };
        commands.annotate(level, &gate.context, &message, None);
        output.annotate(&commands);
    }
}

fn skipped(args: &Arguments, reason: &str, cx: &mut Context) -> Exit {
    cx.output.write_stderr(&format!("skipped: {reason}\n"));
    if cx.output.format == Format::Json {
        cx.output.print_json(&GatesDocument {
            schema: "repin.gates/1",
            r#ref: args.reference.clone(),
            commit: None,
            state: None,
            gates: Vec::new(),
        });
    }
    cx.note_skip("gates", reason)
}
