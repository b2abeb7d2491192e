//! `kokeshi models quantize`.

use super::card;
use crate::args::QuantizeArguments;
use crate::bytes;
use crate::failure::hinted;
use crate::layout::counted;
use crate::meter::Progress;
use crate::printer::Printer;
use crate::selection;
use anyhow::Context;
use kokeshi::{Checkpoint, Device, Input, LoadOptions, ORIGINAL_CARD, TableBits, cosine};
use kokeshi_collections::ModelLocation;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What the original and the copy are compared on: several scripts, kinds and lengths.
const TEXTS: [&str; 12] = [
    "The lamp is too dark.",
    "How do I return an item that I bought three weeks ago?",
    "Berlin is the capital of Germany and has 3.7 million inhabitants, more than any other city of \
     the European Union.",
    "Der Zug nach München hat wegen einer Störung vierzig Minuten Verspätung.",
    "Le musée est fermé le mardi, mais le jardin reste ouvert jusqu'à la tombée de la nuit.",
    "¿Dónde puedo comer bien cerca de la estación?",
    "Как сбросить пароль от учётной записи?",
    "この製品は防水ではありませんので、水の近くで使わないでください。",
    "会议改到星期四下午三点，请提前准备材料。",
    "يغلق المتجر أبوابه عند الساعة التاسعة مساءً.",
    "मौसम विभाग ने कल भारी बारिश की चेतावनी दी है।",
    "def area(radius):\n    return 3.14159 * radius ** 2",
];

pub(super) fn run(arguments: &QuantizeArguments, printer: &Printer) -> anyhow::Result<()> {
    let QuantizeArguments { name, folder, table_bits, skip_comparison, json } = arguments;
    if folder.exists() {
        let message = format!("{} already exists", folder.display());
        return Err(hinted(message, "choose a folder that does not exist"));
    }
    let location = selection::locate(name)?;
    let source = Source { name, licence: licence(name, &location)?, location };
    let draft = Draft::new(folder)?;
    write(&source, &draft.path, *table_bits, printer)?;
    let comparison = match skip_comparison {
        true => None,
        false => Some(Comparison::of(&source.location, &draft.path, printer)?),
    };
    let bytes =
        [source.location.checkpoint()?.len_bytes(), Checkpoint::open(&draft.path)?.len_bytes()];
    let report = Report { source, folder, table_bits: *table_bits, bytes, comparison };
    draft.keep(&report.card(), folder)?;
    match json {
        true => printer.print(&format!("{}\n", report.json())),
        false => printer.print_lines(&report.text()),
    }
}

/// The model that is quantized.
struct Source<'a> {
    name: &'a str,
    location: ModelLocation,
    /// Its name and what it means for a user; `None` if the model is unknown and has no card.
    licence: Option<String>,
}

fn licence(name: &str, location: &ModelLocation) -> anyhow::Result<Option<String>> {
    let known = selection::known(name)?;
    Ok(known.map(|known| known.licence.to_owned()).or_else(|| card::licence(location)))
}

/// The copy under a temporary name next to its final one, removed unless it is kept.
struct Draft {
    path: PathBuf,
    // Dropped last, which removes the folder around the path.
    _parent: tempfile::TempDir,
}

impl Draft {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let cannot_write = || format!("cannot write {}", folder.display());
        fs::create_dir_all(parent).with_context(cannot_write)?;
        let parent = tempfile::Builder::new().prefix(".kokeshi-quantize-").tempdir_in(parent);
        let parent = parent.with_context(cannot_write)?;
        let path = parent.path().join("model");
        fs::create_dir(&path).with_context(cannot_write)?;
        Ok(Self { path, _parent: parent })
    }

    fn keep(self, card: &str, folder: &Path) -> anyhow::Result<()> {
        let cannot_write = || format!("cannot write {}", folder.display());
        fs::write(self.path.join(card::NAME), card).with_context(cannot_write)?;
        fs::rename(&self.path, folder).with_context(cannot_write)
    }
}

fn write(
    source: &Source<'_>,
    folder: &Path,
    table_bits: TableBits,
    printer: &Printer,
) -> anyhow::Result<()> {
    let progress = Progress::new(Some(0), printer);
    let path = match &source.location {
        ModelLocation::Bundled => None,
        ModelLocation::Folder(path) => Some(path.as_path()),
    };
    kokeshi::quantize(path, folder, table_bits, &mut |written, total| {
        progress.set_total(total);
        progress.set_done(written);
    })?;
    Ok(())
}

/// Cosines of vectors of the copy with those of the original, both in f32, over every text and task.
struct Comparison {
    mean: f64,
    worst: f32,
    /// Text and task of the worst.
    worst_at: (&'static str, String),
    count: usize,
}

impl Comparison {
    fn of(source: &ModelLocation, copy: &Path, printer: &Printer) -> anyhow::Result<Self> {
        let tasks = source.checkpoint()?.config().tasks.clone();
        let tasks: Vec<String> = tasks.into_iter().map(|task| task.name).collect();
        let cases: Vec<(&'static str, Option<&str>)> = match &tasks[..] {
            [] => TEXTS.iter().map(|text| (*text, None)).collect(),
            tasks => {
                let tasks = || tasks.iter().map(|task| Some(task.as_str()));
                TEXTS.iter().flat_map(|text| tasks().map(move |task| (*text, task))).collect()
            }
        };
        printer.detail(&format!("comparing {} in f32", counted(cases.len(), "vector")));
        let copy = ModelLocation::Folder(copy.to_owned());
        // One after the other: only one of them is in memory.
        let (before, after) = (vectors(source, &cases)?, vectors(&copy, &cases)?);
        let cosines: Vec<f32> = before.iter().zip(&after).map(|(a, b)| cosine(a, b)).collect();
        let worst = cosines.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let (at, worst) = worst.map_or((0, 1.0), |(at, worst)| (at, *worst));
        Ok(Self {
            mean: cosines.iter().copied().map(f64::from).sum::<f64>() / cosines.len() as f64,
            worst,
            worst_at: (cases[at].0, cases[at].1.unwrap_or_default().to_owned()),
            count: cosines.len(),
        })
    }
}

fn vectors(
    location: &ModelLocation,
    cases: &[(&'static str, Option<&str>)],
) -> anyhow::Result<Vec<Vec<f32>>> {
    let model = location.open(&LoadOptions { device: Device::EXACT })?;
    let input = |&(text, task): &(&'static str, Option<&str>)| match task {
        Some(task) => Input::new(text).task(task),
        None => Input::new(text),
    };
    let inputs: Vec<Input<'_>> = cases.iter().map(input).collect();
    Ok(model.embed(&inputs)?.into_iter().flat_map(|embedded| embedded.vectors).collect())
}

struct Report<'a> {
    source: Source<'a>,
    folder: &'a Path,
    table_bits: TableBits,
    /// Bytes of the weights of the original and of the copy.
    bytes: [usize; 2],
    comparison: Option<Comparison>,
}

impl Report<'_> {
    fn json(&self) -> Value {
        let comparison = self.comparison.as_ref().map(|comparison| {
            let (text, task) = &comparison.worst_at;
            json!({
                "cosine_mean": comparison.mean, "cosine_worst": comparison.worst,
                "worst_text": text, "worst_task": task, "vectors": comparison.count,
                "precision": "f32",
            })
        });
        json!({
            "model": self.source.name,
            "licence": self.source.licence,
            "folder": self.folder.display().to_string(),
            "table_bits": match self.table_bits { TableBits::Four => 4, TableBits::Eight => 8 },
            "bytes_before": self.bytes[0],
            "bytes_after": self.bytes[1],
            "comparison": comparison,
        })
    }

    fn text(&self) -> String {
        let licence = match &self.source.licence {
            Some(licence) => format!("{licence}: that of the original applies to the copy"),
            None => "unknown: see the card of the original; its licence applies to the copy".into(),
        };
        let lines = [
            ("folder", self.folder.display().to_string()),
            ("licence", licence),
            ("weights", self.sizes()),
            ("cosine", self.cosines()),
        ];
        lines.map(|(name, value)| format!("{name:<9}{value}\n")).concat()
    }

    fn sizes(&self) -> String {
        let [before, after] = self.bytes;
        let sizes = self.bytes.map(|bytes| bytes::format(bytes as u64));
        format!("{} → {} (÷ {:.1})", sizes[0], sizes[1], before as f64 / after as f64)
    }

    fn cosines(&self) -> String {
        let Some(Comparison { mean, worst, worst_at: (text, task), count }) = &self.comparison
        else {
            return "not compared".to_owned();
        };
        let task = if task.is_empty() { String::new() } else { format!(", {task}") };
        let text = text.replace('\n', " ");
        format!(
            "{mean:.5} to the original in f32 on average, {worst:.5} at worst of {count} \
             (`{text}`{task})"
        )
    }

    /// The original's name and, if it says more, its folder.
    fn location(&self) -> String {
        let Source { name, location, .. } = &self.source;
        let location = location.to_string();
        if *name == location { location } else { format!("{name} ({location})") }
    }

    /// The card of the copy.
    fn card(&self) -> String {
        let licence = self.source.licence.as_deref().unwrap_or("other").to_lowercase();
        let table = match self.table_bits {
            TableBits::Four => "four bits with a scale per group of at most 32 columns",
            TableBits::Eight => "eight bits with a scale per row",
        };
        format!(
            "---\nlicense: {licence}\nbase_model: {name}\n---\n# {name}, quantized\n\n\
             Written by `kokeshi models quantize` from {location}. Linear layers are in \
             eight bits with a scale per row, the embedding table in {table}; norms, biases and \
             adapters are as in the original. Names and `quantization_config` are those of \
             compressed-tensors.\n\n\
             The licence of the original applies to this copy: {stated}. The card of the \
             original, if it has one, is `{ORIGINAL_CARD}`.\n\n\
             - weights: {sizes}\n- cosine: {cosines}\n",
            name = self.source.name,
            location = self.location(),
            stated = self.source.licence.as_deref().unwrap_or("see the card of the original"),
            sizes = self.sizes(),
            cosines = self.cosines(),
        )
    }
}
