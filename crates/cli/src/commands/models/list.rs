//! `kokeshi models list`.

use crate::args::ListArguments;
use crate::bytes;
use crate::env;
use crate::printer::Printer;
use kokeshi_hub::{HubConfig, KNOWN_MODELS, KnownModel};
use serde_json::json;
use std::path::PathBuf;
use unicode_width::UnicodeWidthStr;

pub(super) fn run(arguments: &ListArguments, printer: &Printer) -> anyhow::Result<()> {
    let hub = env::hub()?;
    let models: Vec<(&KnownModel, Option<PathBuf>)> = KNOWN_MODELS
        .iter()
        .map(|known| Ok((known, cached(&hub, known)?)))
        .collect::<anyhow::Result<_>>()?;
    if arguments.json {
        let models: Vec<_> = models.iter().map(|(known, folder)| json(known, folder)).collect();
        return printer.print(&format!("{}\n", json!(models)));
    }
    let mut text = line(["name", "parameters", "download", "licence", "local", "description"]);
    let mut entries = String::new();
    for (known, folder) in &models {
        let local = if known.repo.is_none() || folder.is_some() { "yes" } else { "no" };
        let download =
            known.repo.map_or("bundled".to_owned(), |_| bytes::format(known.download_bytes));
        let parameters = format!("{:.0} M", known.parameters as f64 / 1e6);
        let columns = [known.name, &parameters, &download, known.licence, local, known.description];
        text += &line(columns);
        entries += &entry(columns);
    }
    let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
    printer.print_lines(if printer.fits(widest) { &text } else { &entries })
}

fn cached(hub: &HubConfig, known: &KnownModel) -> kokeshi_hub::Result<Option<PathBuf>> {
    let Some(repo) = known.repo else { return Ok(None) };
    kokeshi_hub::locate(hub, repo, "main")
}

fn json(known: &KnownModel, folder: &Option<PathBuf>) -> serde_json::Value {
    json!({
        "name": known.name,
        "repository": known.repo,
        "parameters": known.parameters,
        "download_bytes": known.download_bytes,
        "licence": known.licence,
        "bundled": known.repo.is_none(),
        "cached": folder.as_ref().map(|folder| folder.display().to_string()),
        "description": known.description,
    })
}

/// A model in lines that are narrower than a row of the table.
fn entry([name, parameters, download, licence, local, description]: [&str; 6]) -> String {
    let local = if local == "yes" { "on this machine" } else { "not on this machine" };
    let download =
        if download == "bundled" { "bundled" } else { &format!("{download} to download") };
    format!("{name}\n  {description}\n  {parameters} parameters, {download}, {licence}, {local}\n")
}

fn line([name, parameters, download, licence, local, description]: [&str; 6]) -> String {
    format!("{name:<29}{parameters:>10}  {download:>11}  {licence:<13} {local:<5} {description}\n")
}
