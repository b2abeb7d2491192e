//! Milvus, by its own client: <https://docs.rs/milvus-sdk-rust>. Aliases are Milvus's. Which tables there
//! are stands in a table of ours: the client takes a list of collections only with ids and times, which
//! milvus-lite leaves out.

use super::row::{self, Row};
use super::{BATCH, Engine, Kind, Near, Only, Page, Points};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::retry::Fault;
use crate::storage::Storage;
use milvus::v2::error::Error as Cause;
use milvus::v2::prelude::*;
use std::collections::HashMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Where Milvus listens unless it was told otherwise.
const PORT: u16 = 19530;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a call may take.
const SILENCE: Duration = Duration::from_secs(120);
/// How often a server that works on a call is asked whether it is still there. Servers end connections
/// that ask much more often.
const ASK: Duration = Duration::from_secs(60);
/// Bytes of a text, at most: Milvus takes no longer ones.
const LONGEST: u32 = 65_535;
/// Bytes of a term, at most: more than [`crate::terms`] makes.
const TERM: u32 = 512;
/// Terms of a point, at most: Milvus takes no more.
const TERMS: u32 = 4096;
/// Bytes of an id: those of a UUID.
const ID: u32 = 36;
/// The table of tables: paths are tables. No name of a collection leads to this one.
const TABLES: &str = "kokeshi__tables";
/// The fields of a point that are read, beside its vector.
const FIELDS: [&str; 4] = ["id", "path", "text", "body"];
const VECTOR: &str = "vector";

/// A database of a Milvus server.
pub(crate) struct Milvus {
    store: String,
    client: ClientV2,
    runtime: Runtime,
}

/// Why a call failed, and what its caller may make of that.
struct Failure {
    case: Case,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// There is no such collection, or alias.
    Missing,
    /// There is one already.
    Taken,
    /// The collection is not in the server's memory, where it can be read.
    Released,
    /// The answer is longer than the client takes.
    TooLong,
    Other,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        failure.fault
    }
}

impl Milvus {
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer, or refuses user or password.
    pub(crate) fn open(url: &Url) -> Result<Points> {
        let parts = url.parts()?;
        if parts.host.is_empty() {
            return Err(url.refused("it names no host"));
        }
        let unreachable = |reason| Error::Unreachable { store: url.to_string(), reason };
        let base = parts.base(PORT);
        greet(&base).map_err(|error| unreachable(error.to_string()))?;
        // The tries are ours, and nobody is told what is called how often.
        let config = ConnectConfig::new()
            .uri(base)
            .database(parts.path)
            .connect_timeout(CONNECT)
            .keepalive_time(ASK)
            .keepalive_while_idle(false)
            .retry(RetryConfig::new().max_attempts(1))
            .telemetry(TelemetryConfig::new().enabled(false));
        let config = match (parts.user, parts.password) {
            (Some(user), password) => config.username(user).password(password.unwrap_or_default()),
            (None, Some(token)) => config.token(token),
            (None, None) => config,
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        let client = runtime.block_on(ClientV2::new(&config)).map_err(|error| {
            match failure(&url.to_string(), "connect", error).fault {
                Fault::Lasting(error) => error,
                Fault::Passing(reason) => unreachable(reason),
            }
        })?;
        Ok(Points::new(Self { store: url.to_string(), client, runtime }))
    }

    /// Makes a call; `what` says which, for people.
    fn call<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Failure> {
        let timed = async { tokio::time::timeout(SILENCE, work).await };
        let answer = self.runtime.block_on(timed).unwrap_or_else(|_| {
            Err(Cause::Timeout(format!("no answer in {} s", SILENCE.as_secs())))
        });
        answer.map_err(|error| failure(&self.store, what, error))
    }

    /// Has a table in the server's memory.
    fn load(&self, table: &str) -> Result<(), Failure> {
        self.call(&format!("load {table}"), async {
            let request = LoadCollectionRequest::builder().collection_name(table).build()?;
            self.client.load_collection(request).await
        })
    }

    /// Reads a table; `None` if it is not there. A server that was started again may have to be told to
    /// load it.
    fn read<T>(
        &self,
        table: &str,
        work: impl Fn() -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let answer = match work() {
            Err(Failure { case: Case::Released, .. }) => self.load(table).and_then(|()| work()),
            answer => answer,
        };
        there(answer)
    }

    /// Points that `filter` holds for, in the order of their ids: the first `limit`.
    fn query(
        &self,
        table: &str,
        filter: &str,
        fields: &[&str],
        limit: usize,
    ) -> Result<Option<QueryResponse>, Failure> {
        // What the client's own iterator asks for: else, which come first is for the server to say.
        let ordered = [("iterator", "true"), ("reduce_stop_for_best", "true")];
        let ordered = ordered.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let request = QueryRequest::builder()
            .collection_name(table)
            .filter(filter)
            .output_fields(fields.iter().copied())
            .limit(limit as i64)
            .extra_params(ordered.into())
            .consistency_level(ConsistencyLevel::Strong);
        self.read(table, || {
            self.call(&format!("query {table}"), async {
                self.client.query(request.clone().build()?).await
            })
        })
    }

    /// The first points that all of `conditions` hold for: as many as an answer can hold.
    fn first(&self, table: &str, conditions: &[String], vectors: bool) -> Result<Page, Fault> {
        let (filter, mut limit) = (conditions.join(" and "), BATCH);
        let fields = [&FIELDS[..], &[VECTOR]].concat();
        let fields = if vectors { &fields } else { &FIELDS[..] };
        loop {
            match self.query(table, &filter, fields, limit) {
                Err(Failure { case: Case::TooLong, .. }) if limit > 1 => limit /= 2,
                answer => {
                    let found = answer?.map(|answer| rows(answer.results()));
                    let rows = found.unwrap_or_default();
                    let last = rows.last().filter(|_| rows.len() >= limit);
                    return Ok(Page { next: last.map(|row| row.id.clone()), rows });
                }
            }
        }
    }

    /// Ids of the nearest points with their cosines, best first.
    fn nearest_ids(
        &self,
        table: &str,
        near: &Near<'_>,
        only: &Only,
    ) -> Result<Vec<(String, f32)>, Fault> {
        let request = SearchRequest::builder()
            .collection_name(table)
            .vector_field(VECTOR)
            .vectors(SearchVectors::Float(vec![near.vector.to_vec()]))
            .filter(conditions(only).join(" and "))
            .output_fields([FIELDS[0]])
            .limit(near.limit as i64)
            .metric_type(MetricType::Cosine)
            .consistency_level(ConsistencyLevel::Strong);
        let answer = self.read(table, || {
            self.call(&format!("search {table}"), async {
                self.client.search(request.clone().build()?).await
            })
        })?;
        let found = answer.iter().flat_map(|answer| answer.results().iter());
        let found = found.filter_map(|found| match found.get_ids() {
            Ids::VarChar(ids) => Some(ids.iter().cloned().zip(found.get_scores().iter().copied())),
            _ => None,
        });
        Ok(found.flatten().collect())
    }

    fn is_there(&self, table: &str) -> Result<bool, Failure> {
        let answer = self.call(&format!("look for {table}"), async {
            let request = HasCollectionRequest::builder().collection_name(table).build()?;
            self.client.has_collection(request).await
        })?;
        Ok(answer.exists())
    }

    /// Makes an index, unless there is one.
    fn index(&self, table: &str, index: IndexParam) -> Result<(), Failure> {
        let answer = self.call(&format!("index {table}"), async {
            let request = CreateIndexRequest::builder()
                .collection_name(table)
                .index_params(vec![index])
                .sync(false);
            self.client.create_index(request.build()?).await
        });
        match answer {
            Err(Failure { case: Case::Taken, .. }) => Ok(()),
            answer => answer,
        }
    }

    /// Makes what is missing of a table, and loads it.
    fn make(&self, table: &str, width: usize) -> Result<(), Failure> {
        if !self.is_there(table)? {
            self.call(&format!("create {table}"), async {
                let request = CreateCollectionRequest::builder()
                    .collection_name(table)
                    .schema(schema(width))
                    .consistency_level(ConsistencyLevel::Strong);
                self.client.create_collection(request.build()?).await
            })?;
        }
        let index = IndexParam::new().field_name(VECTOR).index_type(IndexType::AutoIndex);
        self.index(table, index.metric_type(MetricType::Cosine))?;
        let index = IndexParam::new().field_name("path").index_type(IndexType::Inverted);
        self.index(table, index)?;
        self.load(table)
    }

    /// The table that an alias leads to.
    fn target(&self, alias: &str) -> Result<Option<String>, Failure> {
        let answer = there(self.call(&format!("look for {alias}"), async {
            let request = DescribeAliasRequest::builder().alias(alias).build()?;
            self.client.describe_alias(request).await
        }))?;
        Ok(answer.map(|answer| answer.collection_name().to_owned()))
    }
}

/// Whether somebody listens: the client would go on asking for a server that is not there.
fn greet(base: &str) -> io::Result<()> {
    let (scheme, host) = base.split_once("://").unwrap_or(("", base));
    let has_port = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let host = if has_port { host.to_owned() } else { format!("{host}:443") };
    debug_assert!(has_port || scheme == "https");
    let mut failed = io::ErrorKind::NotFound.into();
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// `None` for what is not there.
fn there<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(Failure { case: Case::Missing, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What a failed call means: by the numbers of gRPC,
/// <https://grpc.io/docs/guides/status-codes>, and those of Milvus.
fn failure(store: &str, what: &str, error: Cause) -> Failure {
    let error = match error {
        Cause::RetryExhausted { source, .. } => *source,
        other => other,
    };
    let reason = format!("{what}: {error}");
    let lasting = |case, reason| {
        let store = store.to_owned();
        Failure { case, fault: Error::Server { store, reason }.into() }
    };
    let refused = |reason| {
        let store = store.to_owned();
        Failure { case: Case::Other, fault: Error::Refused { store, reason }.into() }
    };
    let passing = |reason| Failure { case: Case::Other, fault: Fault::Passing(reason) };
    match &error {
        Cause::Grpc(status) => match status.code() as i32 {
            // Cancelled, unknown, out of time, aborted, internal, unavailable.
            1 | 2 | 4 | 10 | 13 | 14 => passing(reason),
            7 | 16 => refused(reason),
            11 => lasting(Case::TooLong, reason),
            _ => lasting(Case::Other, reason),
        },
        Cause::Server(error) => match error.code() {
            // Not ready, unavailable, too many requests, resources, not yet loaded, nodes that moved.
            1 | 2 | 4 | 5 | 8 | 12 | 103 | 106 | 202 | 503 | 901..=906 => passing(reason),
            35 => lasting(Case::Taken, reason),
            100 | 1600 => lasting(Case::Missing, reason),
            101 => lasting(Case::Released, reason),
            1400 | 1401 => refused(reason),
            _ => lasting(Case::Other, reason),
        },
        Cause::Timeout(_) | Cause::Cancelled(_) => passing(reason),
        _ => lasting(Case::Other, reason),
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
    let [ids, paths, bodies, all] = ["id", "path", "body", "text"].map(texts);
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

/// The fields of points whose vectors have this width.
fn schema(width: usize) -> CollectionSchema {
    let text = |name: &str, length: u32| {
        FieldSchema::new().name(name).data_type(DataType::VarChar).max_length(length)
    };
    let terms = FieldSchema::new()
        .name("terms")
        .data_type(DataType::Array)
        .element_type(DataType::VarChar)
        .max_length(TERM)
        .max_capacity(TERMS);
    let vector = FieldSchema::new().name(VECTOR).data_type(DataType::FloatVector);
    CollectionSchema::new()
        .add_field(text("id", ID).primary_key(true))
        .add_field(text("path", LONGEST))
        .add_field(terms)
        .add_field(text("text", LONGEST))
        .add_field(text("body", LONGEST))
        .add_field(vector.dimension(width as u32))
}

impl Engine for Milvus {
    fn address(&self) -> String {
        self.store.clone()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F32], &[])
    }

    fn tables(&self) -> Result<Vec<String>, Fault> {
        let (mut tables, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(TABLES, &Only::default(), false, after.as_deref())?;
            tables.extend(page.rows.into_iter().map(|row| row.path));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(tables),
            }
        }
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
        let answer = self.call(&format!("remove {table}"), async {
            let request = DropCollectionRequest::builder().collection_name(table).build()?;
            self.client.drop_collection(request).await
        });
        Ok(there(answer).map(drop)?)
    }

    fn put(&self, table: &str, rows: &[Row]) -> Result<(), Fault> {
        let column = |name: &str, value: fn(&Row) -> &String| {
            FieldData::varchar(name, rows.iter().map(|row| value(row).clone()).collect())
        };
        let terms = rows.iter().map(|row| row.terms.clone()).collect();
        let columns = vec![
            column("id", |row| &row.id),
            column("path", |row| &row.path),
            FieldData::array_varchar("terms", terms),
            column("text", |row| &row.text),
            column("body", |row| &row.body),
            FieldData::float_vector(VECTOR, rows.iter().map(|row| row.vector.clone()).collect()),
        ];
        self.call(&format!("write {table}"), async {
            let insert =
                InsertRequest::builder().collection_name(table).columns(columns).build()?;
            self.client.upsert(UpsertRequest::builder().insert(insert).build()?).await
        })?;
        Ok(())
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), Fault> {
        let request = DeleteRequest::builder().collection_name(table).filter(one_of("path", paths));
        self.read(table, || {
            self.call(&format!("delete from {table}"), async {
                self.client.delete(request.clone().build()?).await
            })
        })?;
        Ok(())
    }

    fn count(&self, table: &str) -> Result<usize, Fault> {
        let request = QueryRequest::builder()
            .collection_name(table)
            .output_fields(["count(*)"])
            .consistency_level(ConsistencyLevel::Strong);
        let answer = self.read(table, || {
            self.call(&format!("count {table}"), async {
                self.client.query(request.clone().build()?).await
            })
        })?;
        Ok(answer.map_or(0, |answer| answer.results().get_row_count() as usize))
    }

    fn page(
        &self,
        table: &str,
        only: &Only,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, Fault> {
        let mut conditions = conditions(only);
        conditions.extend(after.map(|after| format!("id > {}", quoted(after))));
        self.first(table, &conditions, vectors)
    }

    fn nearest(&self, table: &str, near: &Near<'_>, only: &Only) -> Result<Vec<(f32, Row)>, Fault> {
        let nearest = self.nearest_ids(table, near, only)?;
        // The points themselves come in parts: an answer may not be long, but a text may.
        let mut rows = HashMap::new();
        for ids in nearest.chunks(BATCH) {
            let mut conditions = vec![one_of("id", ids.iter().map(|(id, _)| id))];
            loop {
                let page = self.first(table, &conditions, false)?;
                rows.extend(page.rows.into_iter().map(|row| (row.id.clone(), row)));
                let Some(next) = page.next else { break };
                conditions.truncate(1);
                conditions.push(format!("id > {}", quoted(&next)));
            }
        }
        let found = nearest.into_iter().filter_map(|(id, score)| Some((score, rows.remove(&id)?)));
        Ok(found.collect())
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, Fault> {
        let answer = self.call("list aliases", async {
            self.client.list_aliases(ListAliasesRequest::builder().build()?).await
        })?;
        let mut aliases = Vec::new();
        for alias in answer.aliases() {
            aliases.extend(self.target(alias)?.map(|table| (alias.clone(), table)));
        }
        Ok(aliases)
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), Fault> {
        let is_new = self.target(alias)?.is_none();
        Ok(self.call(&format!("lead {alias} to {table}"), async {
            if is_new {
                let request = CreateAliasRequest::builder().alias(alias).collection_name(table);
                self.client.create_alias(request.build()?).await
            } else {
                let request = AlterAliasRequest::builder().alias(alias).collection_name(table);
                self.client.alter_alias(request.build()?).await
            }
        })?)
    }

    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String> {
        vec![format!("AlterAlias: alias {alias}, collection_name {table}")]
    }

    fn remove_alias(&self, alias: &str) -> Result<(), Fault> {
        let answer = self.call(&format!("remove the alias {alias}"), async {
            self.client.drop_alias(DropAliasRequest::builder().alias(alias).build()?).await
        });
        Ok(there(answer).map(drop)?)
    }
}
