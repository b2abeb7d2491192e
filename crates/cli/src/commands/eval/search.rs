//! The methods of search on retrieval sets: late chunking against each chunk alone, dense against
//! hybrid.
//!
//! Documents are indexed as by `kokeshi index` and queries searched as by `kokeshi search`; a
//! document has the rank of its best chunk.

use super::dataset::{Dataset, JudgedQuery};
use super::figures::SearchSettings;
use super::pass::{Pass, Stopped};
use crate::args::TextUse;
use crate::commands::extract::Subprocess;
use crate::meter::Meter;
use crate::printer::Printer;
use anyhow::Context;
use kokeshi_analysis::{DEPTH, Quality};
use kokeshi_collections::{
    IndexPlan, IndexRun, LeftOutReason, NamedModel, OpenCollection, Settings, StoreLocation,
};
use kokeshi_documents::WalkOptions;
use kokeshi_store::{Address, Filter, Provenance, Query, Source, Sqlite, Store};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Chunks that are searched for each document to be ranked, at first.
const CHUNKS_PER_DOCUMENT: usize = 20;

/// A method of search and its quality.
#[derive(Clone, Debug)]
pub(super) struct MethodFigures {
    pub(super) late: bool,
    pub(super) hybrid: bool,
    pub(super) chunks: usize,
    pub(super) quality: Quality,
}

impl MethodFigures {
    pub(super) fn title(&self) -> String {
        let late = if self.late { "late chunking" } else { "each chunk alone" };
        format!("{late}, {}", if self.hybrid { "hybrid" } else { "dense" })
    }
}

/// A store in a temporary folder, and what all sets are indexed with.
pub(super) struct SearchMethods<'a> {
    folder: TempDir,
    location: StoreLocation,
    store: Sqlite,
    template: OpenCollection,
    /// With late chunking, without, or both.
    late_settings: Vec<bool>,
    printer: &'a Printer,
    stop: &'a AtomicBool,
    /// Number of sets so far.
    sets: usize,
}

impl<'a> SearchMethods<'a> {
    /// For the model and the first number of dimensions of `pass`.
    pub(super) fn new(pass: &Pass<'a>, revision: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let file = folder.path().join("eval.db");
        let location = StoreLocation::to_index(Some(&Address::File(file.clone())), &[])?;
        let mut store = Sqlite::create(&file)?;
        let search = &pass.arguments.search;
        let settings = Settings {
            dimensions: pass.dimensions.first().copied(),
            chunking: search.chunk,
            late: None,
            storage: search.storage,
            codes: search.shortlist,
        };
        let (name, revision) = (pass.arguments.sweep.model.clone(), revision.to_owned());
        let model = NamedModel { name, revision, model: pass.model.clone() };
        // The first collection stays empty: its provenance is the template of all others.
        let template = OpenCollection::to_index(&mut store, "model", None, &settings, model)?;
        let [query_task, passage_task] =
            [TextUse::Query, TextUse::Passage].map(|text_use| pass.task(text_use));
        let provenance = Provenance { query_task, passage_task, ..template.provenance };
        let model = template.embedder.model;
        let template = OpenCollection::new(template.name, provenance, model);
        let late_settings = search.late_chunking.map_or(vec![false, true], |late| vec![late]);
        let (printer, stop) = (pass.printer, pass.stop);
        Ok(Self { folder, location, store, template, late_settings, printer, stop, sets: 0 })
    }

    /// How it indexes.
    pub(super) fn settings(&self) -> SearchSettings {
        let Provenance { dimensions, chunking, storage, codes, .. } = &self.template.provenance;
        SearchSettings {
            dimensions: *dimensions,
            chunking: chunking.clone(),
            storage: storage.name().to_owned(),
            shortlist: codes.map(|codes| codes.to_string()),
        }
    }

    /// The figures of a set, one for each method.
    ///
    /// # Errors
    ///
    /// [`Stopped`] after Ctrl-C.
    pub(super) fn measure(&mut self, set: &mut Dataset) -> anyhow::Result<Vec<MethodFigures>> {
        let number = self.sets;
        self.sets += 1;
        let documents = self.folder.path().join(number.to_string());
        std::fs::create_dir(&documents)?;
        set.copy_corpus(&documents)?;
        let texts: Vec<&str> = set.queries.iter().map(|query| query.text.as_str()).collect();
        let queries = self.template.embedder.queries(texts)?;
        let mut methods = Vec::new();
        for late in self.late_settings.clone() {
            let collection = format!("{number}, {late}");
            self.index(&collection, late, &documents)?;
            let chunks = self.store.count(&collection)?.chunks;
            for hybrid in [false, true] {
                let quality = self.quality(&collection, set, &queries, hybrid)?;
                methods.push(MethodFigures { late, hybrid, chunks, quality });
            }
            self.store.drop_collection(&collection)?;
        }
        std::fs::remove_dir_all(&documents)?;
        Ok(methods)
    }

    /// Indexes the files in `documents`.
    fn index(&mut self, collection: &str, late: bool, documents: &Path) -> anyhow::Result<()> {
        let provenance = Provenance { late, ..self.template.provenance.clone() };
        self.store.create(collection, &provenance)?;
        let model = self.template.embedder.model.clone();
        let collection = OpenCollection::new(collection.to_owned(), provenance, model);
        let all = WalkOptions { hidden: true, ignored: true, globs: Vec::new() };
        let roots = [(documents.to_owned(), all)];
        let plan = IndexPlan::new(&self.location, &roots, &[], Vec::new())?;
        let mut meter = Meter::new(Some(plan.bytes()), "document", self.printer);
        let (store, stop) = (&self.location.store, self.stop);
        let run = IndexRun { store, collection: &collection, extractor: &Subprocess(stop), stop };
        let summary = run.execute(plan, &mut meter)?;
        let mut left_out = summary.left_out.iter();
        // A document without text is found by no search.
        if let Some(file) = left_out.find(|file| file.reason != LeftOutReason::NoText) {
            anyhow::bail!("a document cannot be read: {file}");
        }
        if summary.stopped { Err(Stopped.into()) } else { Ok(()) }
    }

    /// The mean over all queries.
    fn quality(
        &self,
        collection: &str,
        set: &Dataset,
        vectors: &[Vec<f32>],
        hybrid: bool,
    ) -> anyhow::Result<Quality> {
        let mut all = Vec::new();
        for (query, vector) in set.queries.iter().zip(vectors) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Stopped.into());
            }
            let ranking = self.ranking(collection, query, vector, hybrid)?;
            all.push(Quality::of(&ranking, &query.relevant));
        }
        Ok(Quality::mean(&all))
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
            let search = Query { vector, words, limit, filter: &filter, exact: false };
            let hits = self.store.search(collection, &search)?;
            let mut ids: Vec<String> = Vec::new();
            for hit in &hits {
                let id = hit.metadata["_id"].as_str().unwrap_or_default();
                if !ids.iter().any(|known| known == id) {
                    ids.push(id.to_owned());
                }
            }
            let ids = query.allowed(ids.into_iter(), DEPTH);
            if ids.len() >= DEPTH || hits.len() < limit {
                return Ok(ids);
            }
            limit *= 4;
        }
    }
}
