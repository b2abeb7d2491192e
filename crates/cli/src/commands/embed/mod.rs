//! `kokeshi embed`: embeds texts block by block, so that the input can be of any length.

#[cfg(feature = "parquet")]
mod tables;

use crate::args::{EmbedArguments, OffsetUnit, TableArguments, VectorElement};
use crate::embedder::{Embedder, options};
use crate::exit::Exit;
use crate::failure::usage;
use crate::input::{self, Origin, Purpose, Record, SourceText, Texts};
use crate::meter::Meter;
use crate::output::{Output, Row, RowChunk, Totals};
use crate::printer::Printer;
use crate::selection::Loader;
use kokeshi::{BlockSize, Chunk, Chunking, Input, Options, Position, Text, Window};
use std::iter::Peekable;
use std::path::Path;

/// The note for late chunking with a model of v2 (those with ALiBi): the hosted service cannot
/// return the same vectors.
const BEYOND_HOSTED: &str = "late chunking with jina-embeddings-v2 goes beyond the hosted API, \
                             which offers it for jina-embeddings-v3 only";

pub(crate) fn run(arguments: &EmbedArguments, printer: &Printer) -> anyhow::Result<Exit> {
    if let Some(folder) = arguments.output.as_deref().filter(|path| is_folder(path)) {
        return to_tables(arguments, folder, printer);
    }
    refuse_table_options(&arguments.tables)?;
    let mut output = Output::open(arguments, printer)?;
    let purpose = purpose(arguments);
    let texts = Texts::open(&arguments.input, purpose, printer)?;
    let name = &arguments.model.model;
    let model = Loader::new(&arguments.model.device)?.get(name)?;
    if arguments.late_chunking && model.config().position == Position::Alibi {
        printer.note(BEYOND_HOSTED);
    }
    let noun = if purpose == Purpose::Chunks { "document" } else { "text" };
    let meter = Meter::new(texts.bytes, noun, printer);
    let embedder = Embedder::new(name, model, meter, printer);
    let options = Options {
        normalized: arguments.normalized,
        window: Window { size: arguments.window, overlap: None },
        ..options(&arguments.encoding, arguments.task.as_deref())
    };
    let (chunking, late) = (arguments.chunk, arguments.late_chunking);
    let mut pipeline = Pipeline {
        embedder,
        options,
        chunking,
        late,
        id_field: arguments.id_field.as_deref(),
        has_text: !arguments.no_text,
        offsets: arguments.offsets,
        totals: Totals::default(),
    };
    let mut texts = texts.peekable();
    if texts.peek().is_none() {
        return Err(input::no_texts());
    }
    while let Some(block) = next_block(&mut texts, purpose)? {
        pipeline.embed(&block, &mut output)?;
        output.flush()?;
    }
    let totals = pipeline.totals;
    drop(pipeline);
    output.finish(totals)?;
    Ok(Exit::Success)
}

/// Whether an output is a folder: it is there, or its name ends like one.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir()
}

#[cfg(feature = "parquet")]
fn to_tables(arguments: &EmbedArguments, folder: &Path, printer: &Printer) -> anyhow::Result<Exit> {
    tables::run(arguments, folder, printer)
}

#[cfg(not(feature = "parquet"))]
fn to_tables(_: &EmbedArguments, folder: &Path, _: &Printer) -> anyhow::Result<Exit> {
    let action = format!("write Parquet files to {}", folder.display());
    Err(kokeshi_store::Error::MissingFeature { action, feature: "parquet" }.into())
}

/// Refuses options that apply to a folder of Parquet files only.
fn refuse_table_options(tables: &TableArguments) -> anyhow::Result<()> {
    let TableArguments { keep, document_field, vector_field: _, vector_type, shard, shard_size } =
        tables;
    let given = [
        (!keep.is_empty(), "--keep"),
        (document_field.is_some(), "--document-field"),
        (*vector_type != VectorElement::F32, "--vector-type"),
        (shard.is_some(), "--shard"),
        (shard_size.is_some(), "--shard-size"),
    ];
    match given.iter().find(|(is_given, _)| *is_given) {
        Some((_, option)) => Err(usage(&format!(
            "{option} needs a folder of Parquet files as --output: a path that ends in `/`"
        ))),
        None => Ok(()),
    }
}

fn purpose(arguments: &EmbedArguments) -> Purpose {
    match (arguments.chunk, arguments.late_chunking) {
        (Some(_), _) => Purpose::Chunks,
        (None, true) => Purpose::Parts,
        (None, false) => Purpose::Texts,
    }
}

/// The next texts to embed together: all of a source if they are the parts of one document.
fn next_block(
    texts: &mut Peekable<Texts>,
    purpose: Purpose,
) -> anyhow::Result<Option<Vec<SourceText>>> {
    let Some(first) = texts.next().transpose()? else { return Ok(None) };
    let mut size = BlockSize::of(&first.text);
    let mut block = vec![first];
    loop {
        let next = texts.next_if(|next| match (next, purpose) {
            (Err(_), _) => false,
            (Ok(next), Purpose::Parts) => next.origin.source == block[0].origin.source,
            (Ok(next), _) => size.has_room_for(BlockSize::of(&next.text)),
        });
        let Some(next) = next.transpose()? else { return Ok(Some(block)) };
        size.add(BlockSize::of(&next.text));
        block.push(next);
    }
}

/// The text that a vector represents.
#[derive(Clone, Copy)]
struct Passage<'a> {
    text: &'a str,
    origin: &'a Origin,
    record: Option<&'a Record>,
    chunk: Option<&'a Chunk>,
}

impl<'a> From<&'a SourceText> for Passage<'a> {
    fn from(document: &'a SourceText) -> Self {
        let (text, origin, record) = (&document.text, &document.origin, document.record.as_deref());
        Self { text, origin, record, chunk: None }
    }
}

/// One input of the engine and the passages that get a vector each, at least one.
struct EngineInput<'a> {
    text: Text<'a>,
    passages: Vec<Passage<'a>>,
}

impl<'a> EngineInput<'a> {
    fn whole(passage: Passage<'a>) -> Self {
        Self { text: Text::Whole(passage.text), passages: vec![passage] }
    }
}

/// Embeds blocks of texts and writes their vectors.
struct Pipeline<'p> {
    embedder: Embedder<'p>,
    options: Options,
    chunking: Option<Chunking>,
    late: bool,
    id_field: Option<&'p str>,
    has_text: bool,
    offsets: OffsetUnit,
    totals: Totals,
}

impl Pipeline<'_> {
    fn embed(&mut self, block: &[SourceText], output: &mut Output<'_>) -> anyhow::Result<()> {
        let chunks = self.chunks(block)?;
        let parts: Vec<&str> = block.iter().map(|document| document.text.as_str()).collect();
        let inputs = match (&chunks, self.late) {
            (Some(chunks), late) => chunked(block, chunks, late),
            (None, true) => {
                let passages = block.iter().map(Passage::from).collect();
                vec![EngineInput { text: Text::LateParts(&parts), passages }]
            }
            (None, false) => {
                block.iter().map(|document| EngineInput::whole(document.into())).collect()
            }
        };
        let bytes = block.iter().map(|document| document.bytes as u64).sum();
        self.write(&inputs, bytes, output)
    }

    /// The chunks of each document, if documents are cut.
    fn chunks(&self, block: &[SourceText]) -> anyhow::Result<Option<Vec<Vec<Chunk>>>> {
        let Some(chunking) = self.chunking else { return Ok(None) };
        let cut = |document: &SourceText| {
            let chunks = self.embedder.model.chunk(&document.text, chunking);
            chunks.map_err(|error| anyhow::Error::new(error).context(document.origin.to_string()))
        };
        let chunks: Vec<Vec<Chunk>> = block.iter().map(cut).collect::<anyhow::Result<_>>()?;
        for (document, _) in block.iter().zip(&chunks).filter(|(_, chunks)| chunks.is_empty()) {
            let warning =
                format!("{} has no chunks: it contains only white space", document.origin);
            self.embedder.printer.warning(&warning);
        }
        Ok(Some(chunks))
    }

    fn write(
        &mut self,
        inputs: &[EngineInput<'_>],
        bytes: u64,
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        let options = || self.options.clone();
        let requests: Vec<Input<'_>> =
            inputs.iter().map(|input| Input { text: input.text, options: options() }).collect();
        let origins: Vec<&Origin> = inputs.iter().map(|input| input.passages[0].origin).collect();
        let embedded = self.embedder.embed(&requests, &origins, bytes)?;
        self.totals.tokens += embedded.iter().map(|result| result.tokens).sum::<usize>();
        let vectors = embedded.iter().flat_map(|result| &result.vectors);
        let passages = inputs.iter().flat_map(|input| &input.passages);
        for (passage, vector) in passages.zip(vectors) {
            output.row(&self.row(passage, vector)?)?;
            self.totals.vectors += 1;
        }
        Ok(())
    }

    fn row<'r>(&self, passage: &Passage<'r>, vector: &'r [f32]) -> anyhow::Result<Row<'r>> {
        let Passage { text, origin, record, chunk } = *passage;
        let id = record.map(|record| record.id(self.id_field, origin)).transpose()?.flatten();
        let metadata = record.map(|record| record.metadata(id)).unwrap_or_default();
        let has_text = chunk.is_some() && self.has_text;
        let chunk = chunk.map(|chunk| RowChunk::new(chunk, self.offsets));
        Ok(Row { index: self.totals.vectors, text, origin, chunk, has_text, id, metadata, vector })
    }
}

/// With late chunking one input per document, otherwise one per chunk.
fn chunked<'a>(
    block: &'a [SourceText],
    chunks: &'a [Vec<Chunk>],
    late: bool,
) -> Vec<EngineInput<'a>> {
    let mut inputs = Vec::new();
    for (document, chunks) in block.iter().zip(chunks).filter(|(_, chunks)| !chunks.is_empty()) {
        let text = document.text.as_str();
        let passages = chunks.iter().map(|chunk| Passage {
            text: &text[chunk.bytes.clone()],
            origin: &document.origin,
            record: document.record.as_deref(),
            chunk: Some(chunk),
        });
        if late {
            let passages = passages.collect();
            inputs.push(EngineInput { text: Text::LateChunks { text, chunks }, passages });
        } else {
            inputs.extend(passages.map(EngineInput::whole));
        }
    }
    inputs
}
