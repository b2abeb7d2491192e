//! Processes of this program that read what may be hostile: they have limits, and end with the
//! process that started them.

use anyhow::Context;
use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The command that starts the program, if that is not the file of this process.
static PROGRAM: OnceLock<Vec<OsString>> = OnceLock::new();

/// Sets the command that starts the program; empty for the file of this process.
pub(crate) fn set_program(command: Vec<OsString>) {
    // A process runs the program once.
    let _ = PROGRAM.set(command);
}

/// Starts `kokeshi NAME` with a limit of its memory, in bytes. The process ends when the thread
/// ends that starts it.
pub(crate) fn command(name: &str, memory: u64) -> std::io::Result<Command> {
    let mut command = match PROGRAM.get().map(Vec::as_slice) {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        _ => Command::new(std::env::current_exe()?),
    };
    command.args([name, "--memory", &memory.to_string()]);
    command.args(["--parent", &std::process::id().to_string()]);
    Ok(command)
}

/// Applies the limits to this process, from now on: of its address space, in bytes more than it has
/// already, and of its processor time.
///
/// # Errors
///
/// If the system refuses a limit, or the `parent` has ended already.
pub(crate) fn enter(
    parent: Option<u32>,
    memory: Option<u64>,
    time: Option<Duration>,
) -> anyhow::Result<()> {
    if let Some(parent) = parent {
        end_with(parent)?;
    }
    limit(memory, time)
}

/// Lets the system end this process when its parent ends, however that happens.
#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot wait for the parent")?;
    // The parent may have ended before that call.
    let current = getppid().map(|id| id.as_raw_nonzero().get().unsigned_abs());
    match current == Some(parent) {
        true => Ok(()),
        false => anyhow::bail!("the process that started this one has ended"),
    }
}

/// Other systems have no such signal; the limits still hold.
#[cfg(not(target_os = "linux"))]
fn end_with(_: u32) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn limit(memory: Option<u64>, time: Option<Duration>) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    if let Some(bytes) = memory {
        // The allocator has reserved an arena, of which little is used.
        let most = bytes.saturating_add(super::memory::addresses().unwrap_or(0));
        setrlimit(Resource::As, limit(most)).context("cannot limit memory")?;
    }
    if let Some(time) = time {
        setrlimit(Resource::Cpu, limit(time.as_secs())).context("cannot limit processor time")?;
    }
    Ok(())
}

/// Other systems have no such limits; those of the parent still hold.
#[cfg(not(unix))]
fn limit(_: Option<u64>, _: Option<Duration>) -> anyhow::Result<()> {
    Ok(())
}
