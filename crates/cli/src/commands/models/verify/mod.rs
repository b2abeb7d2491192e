//! `kokeshi models verify`: the released weights against numbers that others have published.

mod reference;
mod v2;
mod v3;

use crate::args::VerifyArguments;
use crate::failure::hinted;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::Precision;
use reference::Family;
use serde::Serialize;
use std::process::ExitCode;

const V3: &str = "jina-embeddings-v3";

#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    /// Why no closer agreement can be expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    caveat: Option<String>,
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
    let report = report(arguments)?;
    let (cases, passed) =
        (report.cases.len(), report.cases.iter().filter(|case| case.pass).count());
    printer.print(&match arguments.json {
        true => serde_json::to_string(&report)? + "\n",
        false => table(&report.cases),
    })?;
    if let Some(caveat) = &report.caveat {
        printer.note(caveat);
    }
    printer.note(&format!("{passed} of {cases} cases pass"));
    Ok(if passed == cases { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(arguments: &VerifyArguments) -> anyhow::Result<Report<'_>> {
    let name = arguments.name.as_str();
    let known = selection::known(name)?.map(|known| known.name);
    let family = reference::v2()?;
    let published = known.and_then(|known| family.models.get(known));
    if known.is_some_and(|known| known != V3) && published.is_none() {
        return Err(nothing_published(name, &family));
    }
    let mut device = arguments.device;
    // The published numbers were made in f32: a default that rounds more is not compared with them.
    device.arithmetic.precision.get_or_insert(Precision::F32);
    let model = Loader::new(&device)?.get(name)?;
    if let Some(published) = published {
        let cases = v2::run(&model, &family, published)?;
        return Ok(Report { model: name, caveat: Some(family.caveat), cases });
    }
    // A folder of any name holds v3 if it has v3's tasks; no other model has this one.
    if !model.config().tasks.iter().any(|task| task.name == "separation") {
        return Err(nothing_published(name, &family));
    }
    Ok(Report { model: name, caveat: None, cases: v3::run(&model)? })
}

fn nothing_published(model: &str, family: &Family) -> anyhow::Error {
    let names: Vec<_> = family.models.keys().map(|name| format!("`{name}`")).collect();
    hinted(
        format!("there are no published vectors of `{model}` to compare with"),
        format!("there are some of `{V3}`, {}", names.join(", ")),
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
