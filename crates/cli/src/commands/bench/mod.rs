//! `kokeshi bench`: the speed of a model, compared with the limit of this machine.
//!
//! It times forward passes over random token ids, from the embedding table to the pooled sums.
//! Tokenization, input and output are not included.

mod check;
mod exchange;
mod floor;
mod machine;
mod report;
mod residency;
mod timing;
mod workload;

use crate::args::BenchArguments;
use crate::commands::memory;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::meter::Progress;
use crate::output::is_stdout;
use crate::printer::Printer;
use crate::selection;
use crate::view::svg;
use floor::Cost;
use kokeshi::{Checkpoint, Device};
use kokeshi_model::Forward;
use machine::Machine;
use report::{BatchTiming, SpeedReport};
use residency::Residency;
use std::time::Instant;
use workload::{Workload, Workloads};

pub(crate) fn run(arguments: &BenchArguments, printer: &Printer) -> anyhow::Result<Exit> {
    if arguments.print_batches {
        let checkpoint = selection::locate(&arguments.model)?.checkpoint()?;
        let card = matches!(selection::device(&arguments.arithmetic)?, Device::Cuda { .. });
        exchange::print(checkpoint.config(), card, printer.data())?;
        return Ok(Exit::Success);
    }
    if arguments.read_batches {
        let device = selection::device(&arguments.arithmetic)?;
        let checkpoint = selection::locate(&arguments.model)?.checkpoint()?;
        let machine = Machine::new(device, &checkpoint)?;
        let forward = load(&checkpoint, &machine.device())?;
        exchange::run_batches(&*forward, machine.info(), printer.data())?;
        return Ok(Exit::Success);
    }
    if let Some(batches) = arguments.memory {
        let residency = residency(arguments, batches, printer)?;
        printer.print(&match arguments.json {
            true => serde_json::to_string(&residency)? + "\n",
            false => residency.text(),
        })?;
        return Ok(Exit::Success);
    }
    let report = measure(arguments, printer)?;
    // A chart on standard output replaces what is printed there.
    if !arguments.svg.as_deref().is_some_and(is_stdout) {
        printer.print(&match arguments.json {
            true => serde_json::to_string(&report)? + "\n",
            false => report.text(),
        })?;
    }
    for note in &report.left_out {
        printer.note(note);
    }
    if let Some(path) = &arguments.svg {
        svg::write(path, &report.chart(), printer)?;
    }
    if report.is_disturbed() {
        return Err(hinted(
            "some rows are faster than the peak of the processor: other programs were running while \
             it was measured",
            "run again when the machine is idle",
        ));
    }
    Ok(Exit::Success)
}

fn residency<'a>(
    arguments: &'a BenchArguments,
    batches: u32,
    printer: &Printer,
) -> anyhow::Result<Residency<'a>> {
    let progress = Progress::new(None, printer);
    let before = residency::now()?;
    let checkpoint = selection::locate(&arguments.model)?.checkpoint()?;
    let machine = Machine::new(selection::device(&arguments.arithmetic)?, &checkpoint)?;
    let forward = load(&checkpoint, &machine.device())?;
    Residency::measure(&arguments.model, machine.info(), before, &*forward, batches, &progress)
}

fn measure<'a>(
    arguments: &'a BenchArguments,
    printer: &Printer,
) -> anyhow::Result<SpeedReport<'a>> {
    let progress = Progress::new(None, printer);
    let device = selection::device(&arguments.arithmetic)?;
    progress.say("loading the model");
    let start = Instant::now();
    let checkpoint = selection::locate(&arguments.model)?.checkpoint()?;
    let machine = Machine::new(device, &checkpoint)?;
    let forward = load(&checkpoint, &machine.device())?;
    let load_seconds = start.elapsed().as_secs_f64();
    let loaded = memory::peak();
    let cost = Cost::new(&checkpoint, machine.precision());
    let workloads = Workloads::new(checkpoint.config(), machine.is_card());
    let Workloads { turns, left_out } = workloads.only(&arguments.batch)?;
    progress.say("checking its results");
    let check = check::run(&checkpoint, &*forward, &cost, machine.precision())?;
    progress.say("measuring the machine");
    let before = machine.peaks()?;
    // The check and the measurement used memory of their own.
    let peak_was_reset = memory::reset_peak();
    let timed = timed(&*forward, &turns, arguments.quick, &progress)?;
    let peak_resident_bytes = memory::peak().max(loaded).filter(|_| peak_was_reset);
    progress.say("measuring the machine again");
    let peaks = before.highest(machine.peaks()?);
    let row = |(workload, runs)| BatchTiming::new(workload, runs, &cost, peaks);
    let rows: Vec<BatchTiming> = timed.into_iter().map(row).collect();
    Ok(SpeedReport {
        model: &arguments.model,
        device: machine.info(),
        load_seconds,
        peak_resident_bytes,
        check,
        peaks,
        mixed_tasks_share: report::mixed_tasks_share(&rows),
        rows,
        left_out,
    })
}

/// Times each workload: the seconds of its runs.
fn timed<'a>(
    forward: &dyn Forward,
    turns: &'a [Vec<Workload>],
    quick: bool,
    progress: &Progress,
) -> kokeshi_model::Result<Vec<(&'a Workload, Vec<f64>)>> {
    let mut timed = Vec::new();
    for turn in turns {
        progress.say(format!("timing {}", turn.last().map_or("", |workload| workload.name)));
        timed.extend(turn.iter().zip(timing::time(forward, turn, quick)?));
    }
    Ok(timed)
}

fn load(checkpoint: &Checkpoint, device: &Device) -> kokeshi::Result<Box<dyn Forward>> {
    Ok(kokeshi_model::load(checkpoint, device)?)
}
