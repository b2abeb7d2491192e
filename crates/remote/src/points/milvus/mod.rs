//! Milvus, by its own client: <https://docs.rs/milvus-sdk-rust>. Aliases are those of Milvus.
//! kokeshi keeps its own table of tables: the client can parse a list of collections only with ids
//! and times, which milvus-lite omits.

mod columns;
mod expression;
mod foreign;
mod server;

use super::point::{self, Point};
use super::{BATCH, NearestQuery, Page, PointEngine, PointFilter, TableKind};
use crate::retry::CallError;
use ::milvus::v2::prelude::{
    AlterAliasRequest, ConsistencyLevel, CreateAliasRequest, CreateCollectionRequest,
    CreateIndexRequest, DeleteRequest, DescribeAliasRequest, DropAliasRequest,
    DropCollectionRequest, HasCollectionRequest, Ids, IndexParam, IndexType, InsertRequest,
    ListAliasesRequest, MetricType, QueryRequest, QueryResults, SearchRequest,
    SearchRequestBuilder, SearchVectors, UpsertRequest,
};
use columns::{ALL_FIELDS, FIELDS, MAX_TERMS, MAX_TEXT, VECTOR, schema, to_columns, to_points};
use expression::{after, conditions, one_of, quoted};
use kokeshi_store::{Error, Result, Storage, Url};
use server::{Failure, FailureCause, Server, if_exists};
use std::collections::HashMap;

/// The table of tables: a point's path is a table. No collection's name encodes to this name.
const TABLES: &str = "kokeshi__tables";

/// A database of a Milvus server.
pub(crate) struct Milvus {
    server: Server,
}

impl Milvus {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer or refuses the user or password.
    pub(crate) fn connect(url: &Url) -> Result<Self> {
        Ok(Self { server: Server::connect(url)? })
    }

    fn exists(&self, table: &str) -> Result<bool, Failure> {
        let request = HasCollectionRequest::builder().collection_name(table);
        let answer = self.server.call(&format!("look for {table}"), async |client| {
            client.has_collection(request.build()?).await
        })?;
        Ok(answer.exists())
    }

    /// Creates the table or its indexes, as far as they are missing, and loads it.
    fn complete(&self, table: &str, width: usize) -> Result<(), Failure> {
        if !self.exists(table)? {
            let request = CreateCollectionRequest::builder()
                .collection_name(table)
                .schema(schema(width))
                .consistency_level(ConsistencyLevel::Strong);
            self.server.call(&format!("create {table}"), async |client| {
                client.create_collection(request.build()?).await
            })?;
        }
        let vectors = IndexParam::new().field_name(VECTOR).index_type(IndexType::AutoIndex);
        let paths = IndexParam::new().field_name("path").index_type(IndexType::Inverted);
        self.index(table, vectors.metric_type(MetricType::Cosine))?;
        self.index(table, paths)?;
        self.server.load(table)
    }

    /// Creates an index, unless it exists.
    fn index(&self, table: &str, index: IndexParam) -> Result<(), Failure> {
        let request =
            CreateIndexRequest::builder().collection_name(table).index_params(vec![index]);
        let answer = self.server.call(&format!("index {table}"), async |client| {
            client.create_index(request.sync(false).build()?).await
        });
        match answer {
            Err(Failure { cause: FailureCause::Taken, .. }) => Ok(()),
            answer => answer,
        }
    }

    /// The first points, by key, that meet a condition: as many as an answer can contain, and
    /// whether there may be more.
    fn first_results(
        &self,
        table: &str,
        condition: &str,
        fields: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(QueryResults, bool), CallError> {
        // The client's own iterator uses these to request points in the order of their keys.
        let ordered = [("iterator", "true"), ("reduce_stop_for_best", "true")];
        let request = QueryRequest::builder()
            .collection_name(table)
            .filter(condition)
            .output_fields(fields)
            .extra_params(ordered.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
            .consistency_level(ConsistencyLevel::Strong);
        let mut limit = BATCH;
        loop {
            let answer = self.server.read("query", table, async |client| {
                client.query(request.clone().limit(limit as i64).build()?).await
            });
            match answer {
                Err(Failure { cause: FailureCause::AnswerTooLong, .. }) if limit > 1 => limit /= 2,
                answer => {
                    let answer = answer?.map(|answer| answer.results().clone());
                    let found = answer.unwrap_or_else(QueryResults::new);
                    let more = found.get_row_count() >= limit as u64;
                    return Ok((found, more));
                }
            }
        }
    }

    /// The results of [`Self::first_results`], as points of a table of kokeshi.
    fn first_page(
        &self,
        table: &str,
        conditions: &[String],
        vectors: bool,
    ) -> Result<Page, CallError> {
        let fields = if vectors { &ALL_FIELDS[..] } else { &FIELDS };
        let (found, more) =
            self.first_results(table, &conditions.join(" and "), fields.iter().copied())?;
        let points = to_points(&found);
        let last = points.last().filter(|_| more);
        Ok(Page { next: last.map(|point| point.id.clone()), points })
    }

    /// All points that meet all of `conditions`, without vectors.
    fn all_points(
        &self,
        table: &str,
        mut conditions: Vec<String>,
    ) -> Result<Vec<Point>, CallError> {
        let (count, mut points) = (conditions.len(), Vec::new());
        loop {
            let page = self.first_page(table, &conditions, false)?;
            points.extend(page.points);
            let Some(last) = page.next else { return Ok(points) };
            conditions.truncate(count);
            conditions.push(after(&last));
        }
    }

    /// Keys of the nearest points with their scores, best first.
    fn scored_keys(
        &self,
        table: &str,
        request: SearchRequestBuilder,
    ) -> Result<Vec<(String, f32)>, CallError> {
        let request = request.collection_name(table).consistency_level(ConsistencyLevel::Strong);
        let answer = self
            .server
            .read("search", table, async |client| client.search(request.clone().build()?).await)?;
        let mut scored = Vec::new();
        for found in answer.iter().flat_map(|answer| answer.results().iter()) {
            let scores = found.get_scores().iter().copied();
            match found.get_ids() {
                Ids::VarChar(keys) => scored.extend(keys.iter().cloned().zip(scores)),
                Ids::Int64(keys) => scored.extend(keys.iter().map(i64::to_string).zip(scores)),
                _ => {}
            }
        }
        Ok(scored)
    }

    /// The table that an alias points to.
    fn target(&self, alias: &str) -> Result<Option<String>, Failure> {
        let request = DescribeAliasRequest::builder().alias(alias);
        let answer = self.server.call(&format!("look for {alias}"), async |client| {
            client.describe_alias(request.build()?).await
        });
        Ok(if_exists(answer)?.map(|answer| answer.collection_name().to_owned()))
    }

    /// Checks the limits of Milvus.
    ///
    /// # Errors
    ///
    /// If the point is over one of them.
    fn check(&self, point: &Point) -> Result<()> {
        let over_limit = |count: usize, limit: usize, what: &'static str| {
            let (store, path) = (self.server.store().to_owned(), point.path.clone());
            Error::OverLimit { store, path, count, what, limit }
        };
        for text in [&point.path, &point.text, &point.body] {
            if text.len() > MAX_TEXT {
                return Err(over_limit(text.len(), MAX_TEXT, "bytes in a text or its metadata"));
            }
        }
        if point.terms.len() > MAX_TERMS {
            return Err(over_limit(point.terms.len(), MAX_TERMS, "entries of metadata"));
        }
        Ok(())
    }
}

impl PointEngine for Milvus {
    fn address(&self) -> String {
        self.server.store().to_owned()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F32], &[])
    }

    fn tables(&self) -> Result<Vec<String>, CallError> {
        Ok(self.all_points(TABLES, Vec::new())?.into_iter().map(|point| point.path).collect())
    }

    fn create(&self, table: &str, kind: TableKind<'_>) -> Result<(), CallError> {
        let record_vector = point::RECORD_VECTOR.to_vec();
        let width = match kind {
            TableKind::Chunks(provenance) => provenance.dimensions,
            TableKind::Records => record_vector.len(),
        };
        self.complete(TABLES, record_vector.len())?;
        self.complete(table, width)?;
        let (id, path) = (point::id(&["table", table]), table.to_owned());
        self.put(TABLES, &[Point { id, path, vector: record_vector, ..Point::default() }])
    }

    fn remove(&self, table: &str) -> Result<(), CallError> {
        self.delete(TABLES, &[table.to_owned()])?;
        let request = DropCollectionRequest::builder().collection_name(table);
        let answer = self.server.call(&format!("remove {table}"), async |client| {
            client.drop_collection(request.build()?).await
        });
        Ok(if_exists(answer).map(drop)?)
    }

    fn put(&self, table: &str, points: &[Point]) -> Result<(), CallError> {
        points.iter().try_for_each(|point| self.check(point))?;
        let insert = InsertRequest::builder().collection_name(table).columns(to_columns(points));
        let answer = self.server.call(&format!("write {table}"), async |client| {
            client.upsert(UpsertRequest::builder().insert(insert.build()?).build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), CallError> {
        let request = DeleteRequest::builder().collection_name(table).filter(one_of("path", paths));
        let answer = self.server.read("delete from", table, async |client| {
            client.delete(request.clone().build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn count(&self, table: &str) -> Result<usize, CallError> {
        let request = QueryRequest::builder()
            .collection_name(table)
            .output_fields(["count(*)"])
            .consistency_level(ConsistencyLevel::Strong);
        let answer = self
            .server
            .read("count", table, async |client| client.query(request.clone().build()?).await)?;
        Ok(answer.map_or(0, |answer| answer.results().get_row_count() as usize))
    }

    fn page(
        &self,
        table: &str,
        filter: &PointFilter,
        vectors: bool,
        last: Option<&str>,
    ) -> Result<Page, CallError> {
        let mut conditions = conditions(filter);
        conditions.extend(last.map(after));
        self.first_page(table, &conditions, vectors)
    }

    fn nearest(
        &self,
        table: &str,
        query: &NearestQuery<'_>,
        filter: &PointFilter,
    ) -> Result<Vec<(f32, Point)>, CallError> {
        let request = SearchRequest::builder()
            .vector_field(VECTOR)
            .vectors(SearchVectors::Float(vec![query.vector.to_vec()]))
            .filter(conditions(filter).join(" and "))
            .output_fields(["id"])
            .limit(query.limit as i64)
            .metric_type(MetricType::Cosine);
        let nearest = self.scored_keys(table, request)?;
        // Texts are read in batches, because one answer cannot contain many long ones.
        let mut points = HashMap::new();
        for ids in nearest.chunks(BATCH) {
            let batch = self.all_points(table, vec![one_of("id", ids.iter().map(|(id, _)| id))])?;
            points.extend(batch.into_iter().map(|point| (point.id.clone(), point)));
        }
        let scored = nearest.into_iter();
        Ok(scored.filter_map(|(id, score)| Some((score, points.remove(&id)?))).collect())
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, CallError> {
        let answer = self.server.call("list aliases", async |client| {
            client.list_aliases(ListAliasesRequest::builder().build()?).await
        })?;
        let mut aliases = Vec::new();
        for alias in answer.aliases() {
            aliases.extend(self.target(alias)?.map(|table| (alias.clone(), table)));
        }
        Ok(aliases)
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), CallError> {
        let (is_new, what) = (self.target(alias)?.is_none(), format!("point {alias} to {table}"));
        let answer = self.server.call(&what, async |client| {
            if is_new {
                let request = CreateAliasRequest::builder().alias(alias).collection_name(table);
                return client.create_alias(request.build()?).await;
            }
            let request = AlterAliasRequest::builder().alias(alias).collection_name(table);
            client.alter_alias(request.build()?).await
        });
        Ok(answer?)
    }

    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String> {
        vec![format!("AlterAlias: alias {alias}, collection_name {table}")]
    }

    fn remove_alias(&self, alias: &str) -> Result<(), CallError> {
        let request = DropAliasRequest::builder().alias(alias);
        let answer = self.server.call(&format!("remove {alias}"), async |client| {
            client.drop_alias(request.build()?).await
        });
        Ok(if_exists(answer).map(drop)?)
    }
}
