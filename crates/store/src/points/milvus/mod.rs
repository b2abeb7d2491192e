//! Milvus, by its own client: <https://docs.rs/milvus-sdk-rust>. Aliases are Milvus's. Which tables there
//! are stands in a table of ours: the client takes a list of collections only with ids and times, which
//! milvus-lite leaves out.

mod foreign;
mod server;

use super::row::{self, Row};
use super::{BATCH, Engine, Kind, Near, Only, Page, Points};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::retry::Fault;
use crate::storage::Storage;
use ::milvus::v2::prelude::{
    AlterAliasRequest, CollectionSchema, ConsistencyLevel, CreateAliasRequest,
    CreateCollectionRequest, CreateIndexRequest, DataType, DeleteRequest, DescribeAliasRequest,
    DropAliasRequest, DropCollectionRequest, FieldData, FieldSchema, HasCollectionRequest, Ids,
    IndexParam, IndexType, InsertRequest, ListAliasesRequest, MetricType, QueryRequest,
    QueryResults, SearchRequest, SearchRequestBuilder, SearchVectors, UpsertRequest,
};
use server::{Case, Failure, Server, there};
use std::collections::HashMap;

/// Bytes of a text, at most: Milvus takes no longer ones.
const LONGEST: usize = 65_535;
/// Terms of a point, at most: Milvus takes no more.
const TERMS: usize = 4096;
/// Bytes of a term, at most: more than [`crate::terms`] makes.
const TERM: usize = 512;
/// Bytes of an id: those of a UUID.
const ID: usize = 36;
/// The table of tables: paths are tables. No collection's name leads to this one.
const TABLES: &str = "kokeshi__tables";
const VECTOR: &str = "vector";
/// The fields of a point that are read, without its vector and with it.
const FIELDS: [&str; 4] = ["id", "path", "text", "body"];
const ALL_FIELDS: [&str; 5] = ["id", "path", "text", "body", VECTOR];

/// A database of a Milvus server.
pub(crate) struct Milvus {
    server: Server,
}

impl Milvus {
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer, or refuses user or password.
    pub(crate) fn open(url: &Url) -> Result<Points> {
        Ok(Points::new(Self::connect(url)?))
    }

    pub(super) fn connect(url: &Url) -> Result<Self> {
        Ok(Self { server: Server::connect(url)? })
    }

    fn is_there(&self, table: &str) -> Result<bool, Failure> {
        let request = HasCollectionRequest::builder().collection_name(table);
        let answer = self.server.call(&format!("look for {table}"), async |client| {
            client.has_collection(request.build()?).await
        })?;
        Ok(answer.exists())
    }

    /// Makes what is missing of a table, and loads it.
    fn make(&self, table: &str, width: usize) -> Result<(), Failure> {
        if !self.is_there(table)? {
            let request = CreateCollectionRequest::builder()
                .collection_name(table)
                .schema(schema(width))
                .consistency_level(ConsistencyLevel::Strong);
            self.server.call(&format!("make {table}"), async |client| {
                client.create_collection(request.build()?).await
            })?;
        }
        let vectors = IndexParam::new().field_name(VECTOR).index_type(IndexType::AutoIndex);
        let paths = IndexParam::new().field_name("path").index_type(IndexType::Inverted);
        self.index(table, vectors.metric_type(MetricType::Cosine))?;
        self.index(table, paths)?;
        self.server.load(table)
    }

    /// Makes an index, unless there is one.
    fn index(&self, table: &str, index: IndexParam) -> Result<(), Failure> {
        let request =
            CreateIndexRequest::builder().collection_name(table).index_params(vec![index]);
        let answer = self.server.call(&format!("index {table}"), async |client| {
            client.create_index(request.sync(false).build()?).await
        });
        match answer {
            Err(Failure { case: Case::Taken, .. }) => Ok(()),
            answer => answer,
        }
    }

    /// The first points by their keys that a condition holds for: as many as an answer can hold. Says
    /// whether there may be more.
    fn some(
        &self,
        table: &str,
        condition: &str,
        fields: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(QueryResults, bool), Fault> {
        // In the order of their keys, as the client's own iterator asks for them.
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
                Err(Failure { case: Case::TooLong, .. }) if limit > 1 => limit /= 2,
                answer => {
                    let answer = answer?.map(|answer| answer.results().clone());
                    let found = answer.unwrap_or_else(QueryResults::new);
                    let more = found.get_row_count() >= limit as u64;
                    return Ok((found, more));
                }
            }
        }
    }

    /// As [`Self::some`], of a table of ours.
    fn first(&self, table: &str, conditions: &[String], vectors: bool) -> Result<Page, Fault> {
        let fields = if vectors { &ALL_FIELDS[..] } else { &FIELDS };
        let (found, more) = self.some(table, &conditions.join(" and "), fields.iter().copied())?;
        let rows = rows(&found);
        let last = rows.last().filter(|_| more);
        Ok(Page { next: last.map(|row| row.id.clone()), rows })
    }

    /// All points that all of `conditions` hold for, without vectors.
    fn every(&self, table: &str, mut conditions: Vec<String>) -> Result<Vec<Row>, Fault> {
        let (count, mut rows) = (conditions.len(), Vec::new());
        loop {
            let page = self.first(table, &conditions, false)?;
            rows.extend(page.rows);
            let Some(last) = page.next else { return Ok(rows) };
            conditions.truncate(count);
            conditions.push(after(&last));
        }
    }

    /// Keys of the nearest points with their scores, best first.
    fn scored(
        &self,
        table: &str,
        request: SearchRequestBuilder,
    ) -> Result<Vec<(String, f32)>, Fault> {
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

    /// The table that an alias leads to.
    fn target(&self, alias: &str) -> Result<Option<String>, Failure> {
        let request = DescribeAliasRequest::builder().alias(alias);
        let answer = self.server.call(&format!("look for {alias}"), async |client| {
            client.describe_alias(request.build()?).await
        });
        Ok(there(answer)?.map(|answer| answer.collection_name().to_owned()))
    }

    /// The error of a point that Milvus cannot hold.
    fn check(&self, row: &Row) -> Result<()> {
        let refused = |count: usize, most: usize, what: &str| Error::Unsupported {
            store: self.server.store().to_owned(),
            wanted: format!("room for {count} {what}, which {} has", row.path),
            known: format!("room for {most}"),
        };
        for text in [&row.path, &row.text, &row.body] {
            if text.len() > LONGEST {
                return Err(refused(text.len(), LONGEST, "bytes of a text or of its metadata"));
            }
        }
        if row.terms.len() > TERMS {
            return Err(refused(row.terms.len(), TERMS, "entries of metadata"));
        }
        Ok(())
    }
}

/// A text in an expression.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn one_of<'a>(field: &str, texts: impl IntoIterator<Item = &'a String>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("{field} in [{}]", texts.join(", "))
}

fn after(id: &str) -> String {
    format!("id > {}", quoted(id))
}

fn conditions(only: &Only) -> Vec<String> {
    let paths = only.paths.iter().map(|paths| one_of("path", paths));
    let terms = only.terms.iter().map(|term| format!("array_contains(terms, {})", quoted(term)));
    paths.chain(terms).collect()
}

/// The points of an answer.
fn rows(found: &QueryResults) -> Vec<Row> {
    let texts = |name: &str| {
        found.get_output_field(name).and_then(FieldData::as_varchar).unwrap_or_default()
    };
    let [ids, paths, all, bodies] = FIELDS.map(texts);
    let vectors = found.get_output_field(VECTOR).and_then(FieldData::as_float_vectors);
    let text = |texts: &[String], at: usize| texts.get(at).cloned().unwrap_or_default();
    let row = |at| Row {
        id: text(ids, at),
        path: text(paths, at),
        terms: Vec::new(),
        text: text(all, at),
        body: text(bodies, at),
        vector: vectors.and_then(|all| all.get(at)).cloned().unwrap_or_default(),
    };
    (0..ids.len()).map(row).collect()
}

/// The fields of points with vectors of this width.
fn schema(width: usize) -> CollectionSchema {
    let text = |name: &str, longest: usize| {
        FieldSchema::new().name(name).data_type(DataType::VarChar).max_length(longest as u32)
    };
    let terms = text("terms", TERM)
        .data_type(DataType::Array)
        .element_type(DataType::VarChar)
        .max_capacity(TERMS as u32);
    let vector = FieldSchema::new().name(VECTOR).data_type(DataType::FloatVector);
    CollectionSchema::new()
        .add_field(text("id", ID).primary_key(true))
        .add_field(text("path", LONGEST))
        .add_field(terms)
        .add_field(text("text", LONGEST))
        .add_field(text("body", LONGEST))
        .add_field(vector.dimension(width as u32))
}

/// Points, field by field.
fn columns(rows: &[Row]) -> Vec<FieldData> {
    let texts = |name: &str, value: fn(&Row) -> &String| {
        FieldData::varchar(name, rows.iter().map(|row| value(row).clone()).collect())
    };
    vec![
        texts("id", |row| &row.id),
        texts("path", |row| &row.path),
        FieldData::array_varchar("terms", rows.iter().map(|row| row.terms.clone()).collect()),
        texts("text", |row| &row.text),
        texts("body", |row| &row.body),
        FieldData::float_vector(VECTOR, rows.iter().map(|row| row.vector.clone()).collect()),
    ]
}

impl Engine for Milvus {
    fn address(&self) -> String {
        self.server.store().to_owned()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F32], &[])
    }

    fn tables(&self) -> Result<Vec<String>, Fault> {
        Ok(self.every(TABLES, Vec::new())?.into_iter().map(|row| row.path).collect())
    }

    fn create(&self, table: &str, kind: Kind<'_>) -> Result<(), Fault> {
        let nowhere = row::NOWHERE.to_vec();
        let width = match kind {
            Kind::Chunks(made) => made.dimensions,
            Kind::Records => nowhere.len(),
        };
        self.make(TABLES, nowhere.len())?;
        self.make(table, width)?;
        let (id, path) = (row::id(&["table", table]), table.to_owned());
        self.put(TABLES, &[Row { id, path, vector: nowhere, ..Row::default() }])
    }

    fn remove(&self, table: &str) -> Result<(), Fault> {
        self.delete(TABLES, &[table.to_owned()])?;
        let request = DropCollectionRequest::builder().collection_name(table);
        let answer = self.server.call(&format!("remove {table}"), async |client| {
            client.drop_collection(request.build()?).await
        });
        Ok(there(answer).map(drop)?)
    }

    fn put(&self, table: &str, rows: &[Row]) -> Result<(), Fault> {
        rows.iter().try_for_each(|row| self.check(row))?;
        let rows = InsertRequest::builder().collection_name(table).columns(columns(rows));
        let answer = self.server.call(&format!("write {table}"), async |client| {
            client.upsert(UpsertRequest::builder().insert(rows.build()?).build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), Fault> {
        let request = DeleteRequest::builder().collection_name(table).filter(one_of("path", paths));
        let answer = self.server.read("delete from", table, async |client| {
            client.delete(request.clone().build()?).await
        });
        Ok(answer.map(drop)?)
    }

    fn count(&self, table: &str) -> Result<usize, Fault> {
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
        only: &Only,
        vectors: bool,
        last: Option<&str>,
    ) -> Result<Page, Fault> {
        let mut conditions = conditions(only);
        conditions.extend(last.map(after));
        self.first(table, &conditions, vectors)
    }

    fn nearest(&self, table: &str, near: &Near<'_>, only: &Only) -> Result<Vec<(f32, Row)>, Fault> {
        let request = SearchRequest::builder()
            .vector_field(VECTOR)
            .vectors(SearchVectors::Float(vec![near.vector.to_vec()]))
            .filter(conditions(only).join(" and "))
            .output_fields(["id"])
            .limit(near.limit as i64)
            .metric_type(MetricType::Cosine);
        let nearest = self.scored(table, request)?;
        // Their texts come in parts, because an answer cannot hold all of many.
        let mut rows = HashMap::new();
        for ids in nearest.chunks(BATCH) {
            let found = self.every(table, vec![one_of("id", ids.iter().map(|(id, _)| id))])?;
            rows.extend(found.into_iter().map(|row| (row.id.clone(), row)));
        }
        let found = nearest.into_iter().filter_map(|(id, score)| Some((score, rows.remove(&id)?)));
        Ok(found.collect())
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, Fault> {
        let answer = self.server.call("list aliases", async |client| {
            client.list_aliases(ListAliasesRequest::builder().build()?).await
        })?;
        let mut aliases = Vec::new();
        for alias in answer.aliases() {
            aliases.extend(self.target(alias)?.map(|table| (alias.clone(), table)));
        }
        Ok(aliases)
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), Fault> {
        let (is_new, what) = (self.target(alias)?.is_none(), format!("lead {alias} to {table}"));
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

    fn remove_alias(&self, alias: &str) -> Result<(), Fault> {
        let request = DropAliasRequest::builder().alias(alias);
        let answer = self.server.call(&format!("remove {alias}"), async |client| {
            client.drop_alias(request.build()?).await
        });
        Ok(there(answer).map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_ends_its_own_quotes() {
        let only = Only { paths: Some(vec!["a\"b\\".to_owned()]), terms: vec!["x\n\t".to_owned()] };
        let wanted = [r#"path in ["a\"b\\"]"#, r#"array_contains(terms, "x\n\t")"#];
        assert_eq!(conditions(&only), wanted);
    }
}
