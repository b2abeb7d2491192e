//! `kokeshi embed` from files of rows to a folder of Parquet files, which any number of processes can
//! share and which continues where it stopped.

use crate::args::{EmbedArguments, OffsetUnit, ShardChoice, VectorElement};
use crate::commands::index::stop_on_ctrl_c;
use crate::embedder::options;
use crate::exit::Exit;
use crate::failure::{hinted, usage};
use crate::layout::counted;
use crate::meter::Meter;
use crate::printer::Printer;
use crate::selection::{Loader, locate};
use kokeshi::{EmbeddingType, Options, Window};
use kokeshi_collections::fresh_revision;
use kokeshi_tables::{
    Columns, Error, FOLDER, Job, Keep, Manifest, Method, ModelRecord, SHARD_BYTES, Shard,
    ShardResult, VectorType, matching,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub(super) fn run(
    arguments: &EmbedArguments,
    output: &Path,
    printer: &Printer,
) -> anyhow::Result<Exit> {
    check(arguments)?;
    let start = Instant::now();
    let files = matching(&arguments.input.input).map_err(explained)?;
    let job = job(arguments, output)?;
    let shards = job.shards(&files).map_err(explained)?;
    let others = job.prepare(&shards).map_err(explained)?;
    if others > 0 {
        printer.warning(&format!(
            "{} also has {} of inputs that were not named",
            output.display(),
            counted(others, "file")
        ));
    }
    let own: Vec<&Shard> = match arguments.tables.shard {
        Some(choice) => choice.of(&shards).collect(),
        None => shards.iter().collect(),
    };
    let mut totals = Totals::default();
    if !own.is_empty() {
        let stop = stop_on_ctrl_c()?;
        totals = embed_all(&own, &job, arguments, &stop, printer)?;
    }
    totals.print(own.len(), output, start, printer);
    Ok(totals.exit(own.len()))
}

/// Refuses options that do not apply to tables.
fn check(arguments: &EmbedArguments) -> anyhow::Result<()> {
    if !arguments.input.texts.is_empty() || arguments.input.input.is_empty() {
        return Err(hinted(
            "a folder as --output needs files of rows as its input",
            "name Parquet, JSONL, CSV or TSV files with --input, for example --input 'in/*.parquet'",
        ));
    }
    let refused = [
        (arguments.input.input_format.is_some(), "--input-format"),
        (arguments.format.is_some(), "--format"),
        (arguments.offsets != OffsetUnit::Chars, "--offsets"),
        (arguments.embedding_type != [EmbeddingType::Float], "--embedding-type"),
    ];
    match refused.iter().find(|(is_given, _)| *is_given) {
        Some((_, "--embedding-type")) => Err(usage(
            "--embedding-type does not apply to a folder of Parquet files; --vector-type does",
        )),
        Some((_, option)) => {
            Err(usage(&format!("{option} does not apply to a folder of Parquet files as --output")))
        }
        None => Ok(()),
    }
}

fn job(arguments: &EmbedArguments, output: &Path) -> anyhow::Result<Job> {
    let tables = &arguments.tables;
    let name = &arguments.model.model;
    let keep = match tables.keep.as_slice() {
        [all] if all == "all" => Keep::All,
        names => Keep::Named(names.to_vec()),
    };
    let columns = Columns {
        text: arguments.input.text_field.clone(),
        id: arguments.id_field.clone(),
        document: tables.document_field.clone(),
        keep,
        vector: tables.vector_field.clone(),
    };
    let method = Method {
        options: Options {
            normalized: arguments.normalized,
            window: Window { size: arguments.window, overlap: None },
            ..options(&arguments.encoding, arguments.task.as_deref())
        },
        chunking: arguments.chunk,
        late: arguments.late_chunking,
        has_text: !arguments.no_text,
    };
    let revision = fresh_revision(&locate(name)?)?;
    let model = ModelRecord { name: name.clone(), revision };
    let mut job = Job::new(output.to_owned(), columns, method, vectors(tables.vector_type), model)
        .map_err(explained)?;
    job.shard_bytes = tables.shard_size.map_or(SHARD_BYTES, |size| size as u64);
    Ok(job)
}

fn vectors(dtype: VectorElement) -> VectorType {
    match dtype {
        VectorElement::F32 => VectorType::F32,
        VectorElement::F16 => VectorType::F16,
        VectorElement::Int8 => VectorType::Int8,
        VectorElement::Binary => VectorType::Binary,
        VectorElement::Ubinary => VectorType::Ubinary,
    }
}

/// Embeds `shards` one after the other. A file that cannot be read is reported, and the others are
/// embedded.
fn embed_all(
    shards: &[&Shard],
    job: &Job,
    arguments: &EmbedArguments,
    stop: &AtomicBool,
    printer: &Printer,
) -> anyhow::Result<Totals> {
    let model = Loader::new(&arguments.model.device)?.get(&arguments.model.model)?;
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    let mut meter = Meter::new(Some(bytes), "vector", printer);
    let mut totals = Totals::default();
    for shard in shards {
        let mut read = 0;
        let result = job.run(shard, &model, &mut |progress| {
            read += progress.bytes;
            meter.advance(progress.vectors, progress.tokens, progress.bytes);
            !stop.load(Ordering::Relaxed)
        });
        match result {
            Ok(result) => totals.add(&result),
            Err(Error::Stopped) => {
                totals.is_stopped = true;
                return Ok(totals);
            }
            Err(error @ (Error::Unreadable { .. } | Error::Changed { .. })) => {
                totals.unreadable += 1;
                printer.warning(&format!("left out {}: {error}", shard.input.display()));
            }
            Err(error) => return Err(explained(error)),
        }
        // What was finished before, or compressed, counts as a whole.
        meter.advance(0, 0, shard.bytes.saturating_sub(read));
    }
    Ok(totals)
}

/// `error`, and what to do about it.
fn explained(error: Error) -> anyhow::Error {
    let hint = match &error {
        Error::NoMatch { .. } => "--input accepts a file or a glob, such as `'in/*.parquet'`",
        Error::NoColumn { .. } | Error::NoText { .. } | Error::NotTexts { .. } => {
            "--text-field, --id-field, --document-field and --keep name columns"
        }
        Error::SameColumn { .. } => "name another column of vectors with --vector-field",
        Error::SameOutput { .. } => "embed them into two folders",
        Error::OtherSettings { .. } => {
            "use the same model and options, or another folder; to start again, remove this one"
        }
        _ => return error.into(),
    };
    hinted(error.to_string(), hint)
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    now: usize,
    before: usize,
    elsewhere: usize,
    unreadable: usize,
    vectors: u64,
    tokens: u64,
    failed: u64,
    is_stopped: bool,
}

impl Totals {
    fn add(&mut self, result: &ShardResult) {
        match result {
            ShardResult::Now(Manifest { vectors, tokens, failed, .. }) => {
                self.now += 1;
                self.vectors += vectors;
                self.tokens += tokens;
                self.failed += failed;
            }
            ShardResult::Before(manifest) => {
                self.before += 1;
                self.failed += manifest.failed;
            }
            ShardResult::Elsewhere => self.elsewhere += 1,
        }
    }

    fn print(&self, all: usize, output: &Path, start: Instant, printer: &Printer) {
        let seconds = start.elapsed().as_secs_f64();
        let mut parts = vec![format!(
            "wrote {} with {} ({}) in {seconds:.1} s",
            counted(self.now, "file"),
            counted(self.vectors as usize, "vector"),
            counted(self.tokens as usize, "token"),
        )];
        for (count, what) in [
            (self.before, "finished before"),
            (self.elsewhere, "being written by another process"),
            (self.unreadable, "left out"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        printer.note(&format!("{}: {}", output.display(), parts.join("; ")));
        if self.failed > 0 {
            printer.warning(&format!(
                "{} could not be embedded: {} says why",
                counted(self.failed as usize, "row"),
                output.join(FOLDER).join("*.failed.jsonl").display()
            ));
        }
        if self.is_stopped {
            let rest = all - self.now - self.before - self.elsewhere - self.unreadable;
            printer.note(&format!(
                "stopped: {} not finished; run the command again to continue",
                counted(rest, "file")
            ));
        }
    }

    fn exit(&self, all: usize) -> Exit {
        match self {
            Self { is_stopped: true, .. } => Exit::Interrupted,
            Self { unreadable, .. } if *unreadable > 0 && *unreadable == all => Exit::Failure,
            Self { failed: 0, unreadable: 0, .. } => Exit::Success,
            _ => Exit::Incomplete,
        }
    }
}

impl ShardChoice {
    /// The shards of one of the processes.
    fn of(self, shards: &[Shard]) -> impl Iterator<Item = &Shard> {
        shards.iter().skip(self.number - 1).step_by(self.count)
    }
}
