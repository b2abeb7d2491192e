//! `kokeshi models verify`: compares the released weights with published values.

mod reference;
mod v2;
mod v3;

use crate::args::VerifyArguments;
use crate::exit::Exit;
use crate::failure::hinted;
use crate::printer::Printer;
use crate::selection::{self, Loader};
use kokeshi::Precision;
use reference::Family;
use serde::Serialize;

const V3: &str = "jina-embeddings-v3";

#[derive(Debug, Serialize)]
struct Verification<'a> {
    model: &'a str,
    /// The reason why closer agreement cannot be expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    caveat: Option<String>,
    cases: Vec<CaseResult>,
}

/// A comparison of measured with published values.
#[derive(Debug, Serialize)]
struct CaseResult {
    case: String,
    /// Difference at the element that comes closest to its tolerance, or exceeds it most.
    difference: f32,
    /// Tolerance at this element.
    tolerance: f32,
    pass: bool,
}

pub(super) fn run(arguments: &VerifyArguments, printer: &Printer) -> anyhow::Result<Exit> {
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
    Ok(if passed == cases { Exit::Success } else { Exit::Negative })
}

fn report(arguments: &VerifyArguments) -> anyhow::Result<Verification<'_>> {
    let name = arguments.name.as_str();
    let known = selection::known(name)?.map(|known| known.name);
    let family = reference::v2()?;
    let published = known.and_then(|known| family.models.get(known));
    if known.is_some_and(|known| known != V3) && published.is_none() {
        return Err(nothing_published(name, &family));
    }
    let mut device = arguments.device;
    // The published values were computed in f32, so a default that rounds more is not used.
    device.arithmetic.precision.get_or_insert(Precision::F32);
    device.check_model = true;
    let model = Loader::new(&device)?.get(name)?;
    if let Some(published) = published {
        let cases = v2::run(&model, &family, published)?;
        return Ok(Verification { model: name, caveat: Some(family.caveat), cases });
    }
    // A folder of any name contains v3 if it has the tasks of v3; only v3 has this one.
    if !model.config().tasks.iter().any(|task| task.name == "separation") {
        return Err(nothing_published(name, &family));
    }
    Ok(Verification { model: name, caveat: None, cases: v3::run(&model)? })
}

fn nothing_published(model: &str, family: &Family) -> anyhow::Error {
    let names: Vec<_> = family.models.keys().map(|name| format!("`{name}`")).collect();
    hinted(
        format!("no published vectors of `{model}` to compare with"),
        format!("published vectors exist for `{V3}`, {}", names.join(", ")),
    )
}

fn table(results: &[CaseResult]) -> String {
    let mut text = format!("{:<6}{:>12}{:>12}  case\n", "", "difference", "tolerance");
    for CaseResult { case, difference, tolerance, pass } in results {
        let verdict = if *pass { "pass" } else { "FAIL" };
        text += &format!("{verdict:<6}{difference:>12.2e}{tolerance:>12.2e}  {case}\n");
    }
    text
}

impl CaseResult {
    /// Compares elements; each may differ by `atol + rtol * |published|`.
    fn new(case: String, measured: &[f32], published: &[f32], atol: f32, rtol: f32) -> Self {
        let mut worst = (0.0, atol, f32::NEG_INFINITY);
        for (measured, published) in measured.iter().zip(published) {
            let difference = (measured - published).abs();
            let tolerance = atol + rtol * published.abs();
            // NaN is infinitely far off.
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
        CaseResult::new(String::new(), measured, published, 0.1, 0.01).pass
    }

    #[test]
    fn a_case_passes_within_the_tolerance_of_each_element_and_not_beyond() {
        assert!(pass(&[1.0, -20.25], &[1.05, -20.0]));
        assert!(!pass(&[1.0, -20.0], &[1.2, -20.0]));
        assert!(!pass(&[f32::NAN], &[1.0]));
        assert!(!pass(&[1.0], &[1.0, 1.0]));
    }

    #[test]
    fn the_reported_difference_is_that_of_the_element_that_fails() {
        let result = CaseResult::new(String::new(), &[100.5, 1.2], &[100.0, 1.0], 0.1, 0.01);
        assert!(!result.pass && (result.difference - 0.2).abs() < 1e-6, "{result:?}");
    }
}
