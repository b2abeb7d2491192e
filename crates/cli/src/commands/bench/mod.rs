//! `kokeshi bench`: how fast a model runs, beside how fast this machine could run it.
//!
//! Timed are forward passes over random token ids, from the embedding table to the pooled sums.
//! Tokenization, input and output are no part of them.

mod check;
mod exchange;
mod floor;
mod memory;
mod report;
mod residency;
mod timing;
mod workload;

use crate::args::BenchArguments;
use crate::failure::usage;
use crate::meter;
use crate::printer::Printer;
use crate::selection;
use crate::view::svg;
use floor::{Cost, Peaks};
use indicatif::{ProgressBar, ProgressFinish};
use kokeshi::{Checkpoint, Device, Level, Precision};
use kokeshi_kernels::threads::Threads;
use kokeshi_model::Forward;
use report::{Report, Row};
use residency::Residency;
use std::process::ExitCode;
use std::time::Instant;
use workload::{Workload, Workloads};

pub(crate) fn run(arguments: &BenchArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    if arguments.print_batches {
        let checkpoint = selection::find(&arguments.model)?.checkpoint()?;
        exchange::print(checkpoint.config(), printer.data())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.read_batches {
        let device = selection::device(&arguments.arithmetic)?;
        let checkpoint = selection::find(&arguments.model)?.checkpoint()?;
        let cpu = Cpu::new(device, &checkpoint)?;
        exchange::answer(&*load(&checkpoint, &cpu.device())?, (&cpu).into(), printer.data())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(batches) = arguments.memory {
        let residency = residency(arguments, batches, printer)?;
        printer.print(&match arguments.json {
            true => serde_json::to_string(&residency)? + "\n",
            false => residency.text(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = measure(arguments, printer)?;
    printer.print(&match arguments.json {
        true => serde_json::to_string(&report)? + "\n",
        false => report.text(),
    })?;
    for note in &report.left_out {
        printer.note(note);
    }
    if report.is_disturbed() {
        printer.warning(
            "something else kept the processor busy while its peak was measured, so that some \
             rows seem faster than that; run again when the machine is quiet",
        );
    }
    if let Some(path) = &arguments.svg {
        svg::write(path, &report.chart())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn residency<'a>(
    arguments: &'a BenchArguments,
    batches: u32,
    printer: &Printer,
) -> anyhow::Result<Residency<'a>> {
    let bar = meter::bar(None, printer).with_finish(ProgressFinish::AndClear);
    let before = residency::now()?;
    let checkpoint = selection::find(&arguments.model)?.checkpoint()?;
    let cpu = Cpu::new(selection::device(&arguments.arithmetic)?, &checkpoint)?;
    let forward = load(&checkpoint, &cpu.device())?;
    Residency::measure(&arguments.model, (&cpu).into(), before, &*forward, batches, &bar)
}

fn measure<'a>(arguments: &'a BenchArguments, printer: &Printer) -> anyhow::Result<Report<'a>> {
    let bar = meter::bar(None, printer).with_finish(ProgressFinish::AndClear);
    let device = selection::device(&arguments.arithmetic)?;
    bar.set_message("loading the model");
    let start = Instant::now();
    let checkpoint = selection::find(&arguments.model)?.checkpoint()?;
    let cpu = Cpu::new(device, &checkpoint)?;
    let forward = load(&checkpoint, &cpu.device())?;
    let load_seconds = start.elapsed().as_secs_f64();
    let loaded = memory::peak();
    let cost = Cost::new(&checkpoint, cpu.precision);
    bar.set_message("checking its results");
    let check = check::run(&checkpoint, &*forward, &cost, cpu.precision)?;
    bar.set_message("measuring the machine");
    let before = Peaks::measure(&cpu)?;
    // Both took memory of their own.
    let forgotten = memory::forget_peak();
    let Workloads { turns, left_out } = Workloads::new(checkpoint.config());
    let timed = timed(&*forward, &turns, arguments.quick, &bar);
    let peak_resident_bytes = memory::peak().max(loaded).filter(|_| forgotten);
    bar.set_message("measuring the machine again");
    let peaks = before.highest(Peaks::measure(&cpu)?);
    let row = |(workload, runs)| Row::new(workload, runs, &cost, peaks);
    let rows: Vec<Row> = timed.into_iter().map(row).collect();
    Ok(Report {
        model: &arguments.model,
        device: (&cpu).into(),
        load_seconds,
        peak_resident_bytes,
        check,
        peaks,
        mixed_tasks_share: report::mixed_tasks_share(&rows),
        rows,
        left_out,
    })
}

/// Each workload with the seconds of its runs.
fn timed<'a>(
    forward: &dyn Forward,
    turns: &'a [Vec<Workload>],
    quick: bool,
    bar: &ProgressBar,
) -> Vec<(&'a Workload, Vec<f64>)> {
    let timed = turns.iter().flat_map(|turn| {
        bar.set_message(format!("timing {}", turn.last().map_or("", |workload| workload.name)));
        turn.iter().zip(timing::time(forward, turn, quick))
    });
    timed.collect()
}

/// The CPU, with what its defaults stand for.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    threads: usize,
    level: Level,
    precision: Precision,
}

impl Cpu {
    fn new(device: Device, checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        match device {
            Device::Cpu { threads, level, precision } => {
                let level = level.unwrap_or_else(Level::best);
                let default = || kokeshi_model::default_precision(checkpoint, level);
                let threads = threads.unwrap_or_else(Threads::available);
                Ok(Self { threads, level, precision: precision.unwrap_or_else(default) })
            }
            Device::Reference => Err(usage(
                "`--device reference` is what results are checked against, and too slow to be timed",
            )),
        }
    }

    fn device(&self) -> Device {
        let Self { threads, level, precision } = *self;
        Device::Cpu { threads: Some(threads), level: Some(level), precision: Some(precision) }
    }
}

fn load(checkpoint: &Checkpoint, device: &Device) -> kokeshi::Result<Box<dyn Forward>> {
    Ok(kokeshi_model::load(checkpoint, device)?)
}
