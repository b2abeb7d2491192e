//! `kokeshi eval`: how well questions find their answers, where answers are known: late chunking beside
//! each chunk alone, by meaning beside by meaning and words.
//!
//! Documents take the way of `kokeshi index`, questions that of `kokeshi search`; a document's rank is
//! that of its best chunk.

mod dataset;
mod report;

use super::index::{STOPPED, stop_on_ctrl_c};
use crate::args::{CollectionArguments, EvalArguments, VectorArguments};
use crate::collection::indexer;
use crate::collection::place::Place;
use crate::collection::plan::Plan;
use crate::collection::settings::{self, Opened};
use crate::printer::Printer;
use anyhow::Context;
use dataset::{Dataset, Query};
use kokeshi_analysis::{DEPTH, Quality};
use kokeshi_documents::WalkOptions;
use kokeshi_store::{Address, Filter, Provenance, Source, Sqlite, Store};
use report::{Measured, Row};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Chunks that are looked at for each document wanted, at first.
const CHUNKS_A_DOCUMENT: usize = 20;

pub(crate) fn run(arguments: &EvalArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let stop = stop_on_ctrl_c()?;
    let sets: Vec<Dataset> =
        arguments.folders.iter().map(|folder| Dataset::read(folder)).collect::<Result<_, _>>()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let file = folder.path().join("eval.db");
    let place = Place::to_index(Some(&Address::File(file.clone())), &[])?;
    let mut store = Sqlite::create(&file)?;
    // The first collection stays empty: it tells what all others are made like.
    let collection = CollectionArguments { store: None, collection: "model".to_owned() };
    let vectors = VectorArguments { late_chunking: None, ..arguments.vectors.clone() };
    let pattern = settings::to_index(&mut store, &collection, &vectors, &arguments.device)?;
    let lates = arguments.vectors.late_chunking.map_or(vec![false, true], |late| vec![late]);
    let mut bench = Bench { folder, place, store, pattern, lates, printer, stop: &stop };
    let mut measured = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        match bench.measure(number, set)? {
            Some(figures) => measured.push(figures),
            None => return Ok(ExitCode::from(STOPPED)),
        }
    }
    printer.print(&match arguments.json {
        true => report::json(&bench.pattern, &measured)?,
        false => report::text(&bench.pattern, &measured),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where sets are measured.
struct Bench<'a> {
    folder: TempDir,
    place: Place,
    store: Sqlite,
    pattern: Opened,
    /// With late chunking, without, or both.
    lates: Vec<bool>,
    printer: &'a Printer,
    stop: &'a AtomicBool,
}

impl Bench<'_> {
    /// `None` if it was stopped.
    fn measure(&mut self, number: usize, set: &Dataset) -> anyhow::Result<Option<Measured>> {
        let documents = self.folder.path().join(number.to_string());
        std::fs::create_dir(&documents)?;
        let corpus = set.copy_corpus(&documents)?;
        if corpus.absent > 0 {
            let (absent, name) = (corpus.absent, &set.name);
            self.printer.warning(&format!(
                "{name}: {absent} of the answers are not in the corpus, and count as not found"
            ));
        }
        let texts: Vec<&str> = set.queries.iter().map(|query| query.text.as_str()).collect();
        let queries = self.pattern.embed_queries(&texts)?;
        let mut rows = Vec::new();
        for late in self.lates.clone() {
            let collection = format!("{number}, {late}");
            if !self.index(&collection, late, &documents)? {
                return Ok(None);
            }
            let chunks = self.store.count(&collection)?.chunks;
            for hybrid in [false, true] {
                let Some(quality) = self.quality(&collection, set, &queries, hybrid)? else {
                    return Ok(None);
                };
                rows.push(Row { late, hybrid, chunks, quality });
            }
            self.store.drop_collection(&collection)?;
        }
        let (documents, queries) = (corpus.documents, set.queries.len());
        Ok(Some(Measured { name: set.name.clone(), documents, queries, rows }))
    }

    /// Indexes the files in `documents`; `false` if it was stopped.
    fn index(
        &mut self,
        collection: &str,
        late: bool,
        documents: &std::path::Path,
    ) -> anyhow::Result<bool> {
        let provenance = Provenance { late, ..self.pattern.provenance.clone() };
        self.store.create(collection, &provenance)?;
        let model = self.pattern.model.clone();
        let opened = Opened { name: collection.to_owned(), provenance, model };
        let all = WalkOptions { hidden: true, ignored: true, globs: Vec::new() };
        let plan = Plan::make(&self.place, &[documents.to_owned()], &all, Vec::new())?;
        let report = indexer::run(&self.place, &opened, plan, self.printer, self.stop)?;
        if let Some(reason) = report.left_out.first() {
            anyhow::bail!("a document cannot be read: {reason}");
        }
        Ok(!report.stopped)
    }

    /// The mean over all queries; `None` if it was stopped.
    fn quality(
        &self,
        collection: &str,
        set: &Dataset,
        vectors: &[Vec<f32>],
        hybrid: bool,
    ) -> anyhow::Result<Option<Quality>> {
        let mut all = Vec::new();
        for (query, vector) in set.queries.iter().zip(vectors) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let ranking = self.ranking(collection, query, vector, hybrid)?;
            all.push(Quality::of(&ranking, &query.relevant));
        }
        Ok(Some(Quality::mean(&all)))
    }

    /// The ids of the best documents, each at the rank of its best chunk.
    fn ranking(
        &self,
        collection: &str,
        query: &Query,
        vector: &[f32],
        hybrid: bool,
    ) -> anyhow::Result<Vec<String>> {
        let filter = Filter::default();
        let words = hybrid.then_some(query.text.as_str());
        let mut limit = DEPTH * CHUNKS_A_DOCUMENT;
        loop {
            let search =
                kokeshi_store::Query { vector, words, limit, filter: &filter, exact: false };
            let hits = self.store.search(collection, &search)?;
            let mut ids: Vec<String> = Vec::new();
            for hit in &hits {
                let id = hit.metadata["_id"].as_str().unwrap_or_default();
                if !ids.iter().any(|known| known == id) {
                    ids.push(id.to_owned());
                }
            }
            if ids.len() >= DEPTH || hits.len() < limit {
                ids.truncate(DEPTH);
                return Ok(ids);
            }
            limit *= 4;
        }
    }
}
