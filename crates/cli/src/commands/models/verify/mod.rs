//! `kokeshi models verify`: the released weights against numbers that others have published.

mod cases;
mod reference;

use crate::args::VerifyArguments;
use crate::failure::hinted;
use crate::printer::Printer;
use crate::selection;
use kokeshi_hub::ModelRef;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    cases: Vec<Outcome>,
}

/// Measured against published.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    /// Largest difference of a number.
    difference: f32,
    /// Largest difference that is accepted, at the number where `difference` comes closest to it
    /// or passes it.
    tolerance: f32,
    pass: bool,
}

pub(super) fn run(arguments: &VerifyArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    if ModelRef::parse(&arguments.name)? == ModelRef::Starter {
        return Err(nothing_published("the starter model"));
    }
    let model = selection::load_named(&arguments.name, &arguments.device)?;
    if !model.config().tasks.iter().any(|task| task.name == "separation") {
        let message = format!("`{}`, which lacks the tasks of v3,", arguments.name);
        return Err(nothing_published(&message));
    }
    let report = Report { model: &arguments.name, cases: cases::run(&model)? };
    let (cases, passed) =
        (report.cases.len(), report.cases.iter().filter(|case| case.pass).count());
    printer.print(&match arguments.json {
        true => serde_json::to_string(&report)? + "\n",
        false => table(&report.cases),
    })?;
    printer.note(&format!("{passed} of {cases} cases pass"));
    Ok(if passed == cases { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn nothing_published(model: &str) -> anyhow::Error {
    hinted(
        format!("there are no published vectors of {model} to compare with"),
        "`kokeshi models pull jina-embeddings-v3`, then `kokeshi models verify`",
    )
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:<6}{:>12}{:>12}  case\n", "", "difference", "tolerance");
    for Outcome { case, difference, tolerance, pass } in outcomes {
        let verdict = if *pass { "pass" } else { "FAIL" };
        text += &format!("{verdict:<6}{difference:>12.2e}{tolerance:>12.2e}  {case}\n");
    }
    text
}

impl Outcome {
    /// Compares numbers; each may differ by `atol + rtol * |published|`.
    fn new(case: String, measured: &[f32], published: &[f32], atol: f32, rtol: f32) -> Self {
        let mut worst = (0.0, atol, f32::NEG_INFINITY);
        for (measured, published) in measured.iter().zip(published) {
            let difference = (measured - published).abs();
            let tolerance = atol + rtol * published.abs();
            // A number that is none is as far off as can be.
            let excess = if difference.is_nan() { f32::INFINITY } else { difference - tolerance };
            if excess > worst.2 {
                worst = (difference, tolerance, excess);
            }
        }
        let complete = measured.len() == published.len();
        Self { case, difference: worst.0, tolerance: worst.1, pass: complete && worst.2 <= 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(measured: &[f32], published: &[f32]) -> bool {
        Outcome::new(String::new(), measured, published, 0.1, 0.01).pass
    }

    #[test]
    fn a_case_passes_within_the_tolerance_of_each_number_and_not_beyond() {
        assert!(pass(&[1.0, -20.25], &[1.05, -20.0]));
        assert!(!pass(&[1.0, -20.0], &[1.2, -20.0]));
        assert!(!pass(&[f32::NAN], &[1.0]));
        assert!(!pass(&[1.0], &[1.0, 1.0]));
    }

    #[test]
    fn the_number_shown_is_the_one_that_fails() {
        let outcome = Outcome::new(String::new(), &[100.5, 1.2], &[100.0, 1.0], 0.1, 0.01);
        assert!(!outcome.pass && (outcome.difference - 0.2).abs() < 1e-6, "{outcome:?}");
    }
}
