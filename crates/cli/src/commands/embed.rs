//! `kokeshi embed`: texts in, vectors out, block by block, so that the input may be of any length.

use crate::args::EmbedArguments;
use crate::forward::{BLOCK_BYTES, BLOCK_TEXTS, Forward, options};
use crate::input::{self, Document, Origin, Purpose, Texts};
use crate::meter::Meter;
use crate::output::{Output, Row, Totals};
use crate::printer::Printer;
use crate::selection::Loader;
use kokeshi::{Chunk, Chunking, Input, Options, Position, Text};
use std::iter::Peekable;
use std::process::ExitCode;

/// Said of late chunking with a model of v2, which are those with ALiBi: nobody should expect to
/// get the same vectors from the service.
const BEYOND_HOSTED: &str = "late chunking with jina-embeddings-v2 goes beyond the hosted API, \
                             which has it for jina-embeddings-v3 only";

pub(crate) fn run(arguments: &EmbedArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut output = Output::open(arguments, printer)?;
    let purpose = purpose(arguments);
    let texts = Texts::open(&arguments.input, purpose, printer)?;
    let name = &arguments.model.model;
    let model = Loader::new(&arguments.model.device)?.get(name)?;
    if arguments.late_chunking && model.config().position == Position::Alibi {
        printer.note(BEYOND_HOSTED);
    }
    let forward = Forward { name, model, meter: Meter::new(texts.bytes, printer), printer };
    let options = Options {
        normalized: arguments.normalized,
        ..options(&arguments.encoding, arguments.task.as_deref())
    };
    let (chunking, late) = (arguments.chunk, arguments.late_chunking);
    let mut run = Run { forward, options, chunking, late, totals: Totals::default() };
    let mut texts = texts.peekable();
    if texts.peek().is_none() {
        return Err(input::no_texts());
    }
    while let Some(block) = next_block(&mut texts, purpose)? {
        run.embed(&block, &mut output)?;
        output.flush()?;
    }
    let totals = run.totals;
    drop(run);
    output.finish(totals)?;
    Ok(ExitCode::SUCCESS)
}

fn purpose(arguments: &EmbedArguments) -> Purpose {
    match (arguments.chunk, arguments.late_chunking) {
        (Some(_), _) => Purpose::Chunks,
        (None, true) => Purpose::Parts,
        (None, false) => Purpose::Texts,
    }
}

/// The next texts to embed together; all of a source if they are the parts of one document.
fn next_block(
    texts: &mut Peekable<Texts>,
    purpose: Purpose,
) -> anyhow::Result<Option<Vec<Document>>> {
    let Some(first) = texts.next().transpose()? else { return Ok(None) };
    let mut bytes = first.text.len();
    let mut block = vec![first];
    loop {
        let next = texts.next_if(|next| match (next, purpose) {
            (Err(_), _) => false,
            (Ok(next), Purpose::Parts) => next.origin.source == block[0].origin.source,
            (Ok(next), _) => block.len() < BLOCK_TEXTS && bytes + next.text.len() <= BLOCK_BYTES,
        });
        let Some(next) = next.transpose()? else { return Ok(Some(block)) };
        bytes += next.text.len();
        block.push(next);
    }
}

/// A vector to come: what it stands for.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    origin: &'a Origin,
    chunk: Option<&'a Chunk>,
}

impl<'a> From<&'a Document> for Piece<'a> {
    fn from(document: &'a Document) -> Self {
        Self { text: &document.text, origin: &document.origin, chunk: None }
    }
}

/// One input of the engine and the pieces that it gives vectors for, at least one.
struct Item<'a> {
    text: Text<'a>,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Item<'a> {
    fn whole(piece: Piece<'a>) -> Self {
        Self { text: Text::Whole(piece.text), pieces: vec![piece] }
    }
}

/// What a call of the command does with its blocks.
struct Run<'p> {
    forward: Forward<'p>,
    options: Options,
    chunking: Option<Chunking>,
    late: bool,
    totals: Totals,
}

impl Run<'_> {
    fn embed(&mut self, block: &[Document], output: &mut Output<'_>) -> anyhow::Result<()> {
        let chunks = self.chunks(block)?;
        let parts: Vec<&str> = block.iter().map(|document| document.text.as_str()).collect();
        let items = match (&chunks, self.late) {
            (Some(chunks), late) => chunked(block, chunks, late),
            (None, true) => {
                let pieces = block.iter().map(Piece::from).collect();
                vec![Item { text: Text::LateParts(&parts), pieces }]
            }
            (None, false) => block.iter().map(|document| Item::whole(document.into())).collect(),
        };
        let bytes = block.iter().map(|document| document.bytes as u64).sum();
        self.write(&items, bytes, output)
    }

    /// The chunks of each document, if documents are cut.
    fn chunks(&self, block: &[Document]) -> anyhow::Result<Option<Vec<Vec<Chunk>>>> {
        let Some(chunking) = self.chunking else { return Ok(None) };
        let cut = |document: &Document| {
            let chunks = self.forward.model.chunk(&document.text, chunking);
            chunks.map_err(|error| anyhow::Error::new(error).context(document.origin.to_string()))
        };
        let chunks: Vec<Vec<Chunk>> = block.iter().map(cut).collect::<anyhow::Result<_>>()?;
        for (document, _) in block.iter().zip(&chunks).filter(|(_, chunks)| chunks.is_empty()) {
            let warning = format!("{} has no chunk: it holds only white space", document.origin);
            self.forward.meter.aside(|| self.forward.printer.warning(&warning));
        }
        Ok(Some(chunks))
    }

    fn write(
        &mut self,
        items: &[Item<'_>],
        bytes: u64,
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        let options = || self.options.clone();
        let inputs: Vec<Input<'_>> =
            items.iter().map(|item| Input { text: item.text, options: options() }).collect();
        let origins: Vec<&Origin> = items.iter().map(|item| item.pieces[0].origin).collect();
        let embedded = self.forward.embed(&inputs, &origins, bytes)?;
        self.totals.tokens += embedded.iter().map(|result| result.tokens).sum::<usize>();
        let vectors = embedded.iter().flat_map(|result| &result.vectors);
        let pieces = items.iter().flat_map(|item| &item.pieces);
        for (&Piece { text, origin, chunk }, vector) in pieces.zip(vectors) {
            let row = Row { index: self.totals.vectors, text, origin, chunk, vector };
            output.row(&row)?;
            self.totals.vectors += 1;
        }
        Ok(())
    }
}

/// Late: one input a document. Otherwise each chunk is an input of its own.
fn chunked<'a>(block: &'a [Document], chunks: &'a [Vec<Chunk>], late: bool) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for (document, chunks) in block.iter().zip(chunks).filter(|(_, chunks)| !chunks.is_empty()) {
        let text = document.text.as_str();
        let pieces = chunks.iter().map(|chunk| Piece {
            text: &text[chunk.bytes.clone()],
            origin: &document.origin,
            chunk: Some(chunk),
        });
        if late {
            let pieces = pieces.collect();
            items.push(Item { text: Text::LateChunks { text, chunks }, pieces });
        } else {
            items.extend(pieces.map(Item::whole));
        }
    }
    items
}
