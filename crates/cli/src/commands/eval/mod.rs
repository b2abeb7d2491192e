//! `kokeshi eval`: retrieval quality on sets with known answers: late chunking against each chunk
//! alone, dense against hybrid search.
//!
//! Documents are indexed as by `kokeshi index` and queries searched as by `kokeshi search`; a
//! document has the rank of its best chunk.

mod dataset;
mod report;

use super::extract::Subprocess;
use super::index::stop_on_ctrl_c;
use crate::args::{EvalArguments, VectorArguments};
use crate::collection;
use crate::exit::Exit;
use crate::meter::Meter;
use crate::printer::Printer;
use anyhow::Context;
use dataset::{Dataset, JudgedQuery};
use kokeshi_analysis::{DEPTH, Quality};
use kokeshi_collections::{IndexPlan, IndexRun, LeftOutReason, OpenCollection, StoreLocation};
use kokeshi_documents::WalkOptions;
use kokeshi_store::{Address, Filter, Provenance, Query, Source, Sqlite, Store};
use report::{Figures, SetFigures};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Chunks that are searched for each document to be ranked, at first.
const CHUNKS_PER_DOCUMENT: usize = 20;

pub(crate) fn run(arguments: &EvalArguments, printer: &Printer) -> anyhow::Result<ExitCode> {
    let stop = stop_on_ctrl_c()?;
    let sets: Vec<Dataset> =
        arguments.folders.iter().map(|folder| Dataset::read(folder)).collect::<Result<_, _>>()?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let file = folder.path().join("eval.db");
    let location = StoreLocation::to_index(Some(&Address::File(file.clone())), &[])?;
    let mut store = Sqlite::create(&file)?;
    // The first collection stays empty: its provenance is the template of all others.
    let vectors = VectorArguments { late_chunking: None, ..arguments.vectors.clone() };
    let template = collection::to_index(&mut store, "model", &vectors, &arguments.device)?;
    let late_settings =
        arguments.vectors.late_chunking.map_or(vec![false, true], |late| vec![late]);
    let mut evaluation =
        Evaluation { folder, location, store, template, late_settings, printer, stop: &stop };
    let mut all = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        match evaluation.measure(number, set)? {
            Some(figures) => all.push(figures),
            None => return Ok(Exit::Interrupted.into()),
        }
    }
    printer.print(&match arguments.json {
        true => report::json(&evaluation.template, &all)?,
        false => report::text(&evaluation.template, &all),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What all sets are measured with.
struct Evaluation<'a> {
    folder: TempDir,
    location: StoreLocation,
    store: Sqlite,
    template: OpenCollection,
    /// With late chunking, without, or both.
    late_settings: Vec<bool>,
    printer: &'a Printer,
    stop: &'a AtomicBool,
}

impl Evaluation<'_> {
    /// The figures of a set; `None` if stopped.
    fn measure(&mut self, number: usize, set: &Dataset) -> anyhow::Result<Option<SetFigures>> {
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
        let queries = self.template.embedder.queries(texts)?;
        let mut rows = Vec::new();
        for late in self.late_settings.clone() {
            let collection = format!("{number}, {late}");
            if !self.index(&collection, late, &documents)? {
                return Ok(None);
            }
            let chunks = self.store.count(&collection)?.chunks;
            for hybrid in [false, true] {
                let Some(quality) = self.quality(&collection, set, &queries, hybrid)? else {
                    return Ok(None);
                };
                rows.push(Figures { late, hybrid, chunks, quality });
            }
            self.store.drop_collection(&collection)?;
        }
        let (documents, queries) = (corpus.documents, set.queries.len());
        Ok(Some(SetFigures { name: set.name.clone(), documents, queries, rows }))
    }

    /// Indexes the files in `documents`; `false` if stopped.
    fn index(
        &mut self,
        collection: &str,
        late: bool,
        documents: &std::path::Path,
    ) -> anyhow::Result<bool> {
        let provenance = Provenance { late, ..self.template.provenance.clone() };
        self.store.create(collection, &provenance)?;
        let model = self.template.embedder.model.clone();
        let collection = OpenCollection::new(collection.to_owned(), provenance, model);
        let all = WalkOptions { hidden: true, ignored: true, globs: Vec::new() };
        let plan = IndexPlan::new(&self.location, &[(documents.to_owned(), all)], Vec::new())?;
        let mut meter = Meter::new(Some(plan.bytes()), "document", self.printer);
        let (store, stop) = (&self.location.store, self.stop);
        let run = IndexRun { store, collection: &collection, extractor: &Subprocess(stop), stop };
        let summary = run.execute(plan, &mut meter)?;
        let mut left_out = summary.left_out.iter();
        // A document without text is found by no search.
        if let Some(file) = left_out.find(|file| file.reason != LeftOutReason::NoText) {
            anyhow::bail!("a document cannot be read: {file}");
        }
        Ok(!summary.stopped)
    }

    /// The mean over all queries; `None` if stopped.
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
        query: &JudgedQuery,
        vector: &[f32],
        hybrid: bool,
    ) -> anyhow::Result<Vec<String>> {
        let filter = Filter::default();
        let words = hybrid.then_some(query.text.as_str());
        let mut limit = DEPTH * CHUNKS_PER_DOCUMENT;
        loop {
            let query = Query { vector, words, limit, filter: &filter, exact: false };
            let hits = self.store.search(collection, &query)?;
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
