//! Chroma, by version 2 of its HTTP API. It has no aliases; kokeshi keeps them as points of a
//! table.

mod foreign;

use super::http::{Http, segment};
use super::point::Point;
use super::{BATCH, NearestQuery, Page, PointEngine, PointFilter, TableKind};
use crate::retry::CallError;
use kokeshi_store::{Error, Result, Storage, Url};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use ureq::http::Method;

/// The default port of Chroma.
const PORT: u16 = 8000;
/// The table of aliases: a point's path is an alias, and its body the table.
const ALIASES: &str = "kokeshi-aliases";
/// Number of tables listed per call.
const TABLES_PER_CALL: usize = 100;
/// The prefix of terms among the fields of a point.
const TERM: &str = "term:";

/// A database of a Chroma server.
pub(crate) struct Chroma {
    http: Http,
    /// The path of its collections.
    path: String,
    /// Chroma's own ids of tables, by name.
    ids: RefCell<HashMap<String, String>>,
}

impl Chroma {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer.
    pub(crate) fn connect(url: &Url) -> Result<Self> {
        let parts = url.parts()?;
        let login = parts.password.map(|token| ("x-chroma-token", token));
        let http = Http::new(url, PORT, login)?;
        http.greet("/api/v2/heartbeat")?;
        let (tenant, database) = match parts.path.split_once('/') {
            Some((tenant, database)) => (tenant.to_owned(), database.to_owned()),
            None if parts.path.is_empty() => {
                ("default_tenant".to_owned(), "default_database".to_owned())
            }
            None => ("default_tenant".to_owned(), parts.path),
        };
        let path = format!("/api/v2/tenants/{tenant}/databases/{database}/collections");
        Ok(Self { http, path, ids: RefCell::default() })
    }

    /// Chroma's id of a table.
    fn id(&self, table: &str) -> Result<Option<String>, CallError> {
        if let Some(id) = self.ids.borrow().get(table) {
            return Ok(Some(id.clone()));
        }
        let found =
            self.http.call(Method::GET, &format!("{}/{}", self.path, segment(table)), None)?;
        let id = found.and_then(|found| found["id"].as_str().map(str::to_owned));
        if let Some(id) = &id {
            self.ids.borrow_mut().insert(table.to_owned(), id.clone());
        }
        Ok(id)
    }

    /// Calls `action` of a table; `None` if the table does not exist.
    fn request(
        &self,
        table: &str,
        method: &Method,
        action: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, CallError> {
        // The cached id is stale if another process has removed the table and created it again.
        for _ in 0..2 {
            let Some(id) = self.id(table)? else { return Ok(None) };
            let path = format!("{}/{id}/{action}", self.path);
            if let Some(answer) = self.http.call(method.clone(), &path, body)? {
                return Ok(Some(answer));
            }
            self.ids.borrow_mut().remove(table);
        }
        Ok(None)
    }

    /// Changes a table, which must exist.
    fn send(&self, table: &str, action: &str, body: &Value) -> Result<(), CallError> {
        let answer = self.request(table, &Method::POST, action, Some(body))?;
        let missing = || Error::Server {
            store: self.http.store().to_owned(),
            reason: format!("{action}: the table {table} does not exist"),
        };
        answer.map(drop).ok_or_else(|| missing().into())
    }
}

impl PointEngine for Chroma {
    fn table_id(&self, table: &str) -> Result<Option<String>, CallError> {
        self.ids.borrow_mut().remove(table);
        self.id(table)
    }

    fn address(&self) -> String {
        self.http.store().to_owned()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F32], &[])
    }

    fn tables(&self) -> Result<Vec<String>, CallError> {
        let mut tables = Vec::new();
        loop {
            let path = format!("{}?limit={TABLES_PER_CALL}&offset={}", self.path, tables.len());
            let answer = self.http.call(Method::GET, &path, None)?.unwrap_or_default();
            let page = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            tables
                .extend(page.iter().filter_map(|table| table["name"].as_str().map(str::to_owned)));
            if page.len() < TABLES_PER_CALL {
                return Ok(tables);
            }
        }
    }

    fn create(&self, table: &str, kind: TableKind<'_>) -> Result<(), CallError> {
        // Every table in Chroma has this index; its defaults suit smaller tables.
        let index = match kind {
            TableKind::Chunks(_) => {
                json!({ "space": "cosine", "ef_construction": 200, "ef_search": 200 })
            }
            TableKind::Records => json!({ "space": "cosine" }),
        };
        let body = json!({
            "name": table,
            "get_or_create": true,
            "configuration": { "hnsw": index },
        });
        self.http.call(Method::POST, &self.path, Some(&body)).map(drop)
    }

    fn remove(&self, table: &str) -> Result<(), CallError> {
        self.ids.borrow_mut().remove(table);
        self.http.call(Method::DELETE, &format!("{}/{}", self.path, segment(table)), None).map(drop)
    }

    fn put(&self, table: &str, points: &[Point]) -> Result<(), CallError> {
        let column = |value: fn(&Point) -> Value| points.iter().map(value).collect::<Vec<_>>();
        let body = json!({
            "ids": column(|point| json!(point.id)),
            "embeddings": column(|point| json!(point.vector)),
            "documents": column(|point| json!(point.text)),
            "metadatas": column(fields),
        });
        self.send(table, "upsert", &body)
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), CallError> {
        let body = json!({ "where": { "path": { "$in": paths } } });
        self.send(table, "delete", &body)
    }

    fn count(&self, table: &str) -> Result<usize, CallError> {
        let answer = self.request(table, &Method::GET, "count", None)?;
        Ok(answer.and_then(|answer| answer.as_u64()).unwrap_or(0) as usize)
    }

    fn page(
        &self,
        table: &str,
        filter: &PointFilter,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, CallError> {
        let offset: usize = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        let mut include = vec!["documents", "metadatas"];
        if vectors {
            include.push("embeddings");
        }
        let mut body = json!({ "limit": BATCH, "offset": offset, "include": include });
        add_filter(&mut body, filter);
        let answer = self.request(table, &Method::POST, "get", Some(&body))?.unwrap_or_default();
        let count = answer["ids"].as_array().map_or(0, Vec::len);
        let points = (0..count).map(|at| point(&|field| &answer[field][at])).collect();
        let next = (count == BATCH).then(|| (offset + count).to_string());
        Ok(Page { points, next })
    }

    fn nearest(
        &self,
        table: &str,
        query: &NearestQuery<'_>,
        filter: &PointFilter,
    ) -> Result<Vec<(f32, Point)>, CallError> {
        let mut body = json!({
            "query_embeddings": [query.vector],
            "n_results": query.limit,
            "include": ["documents", "metadatas", "distances"],
        });
        add_filter(&mut body, filter);
        let answer = self.request(table, &Method::POST, "query", Some(&body))?.unwrap_or_default();
        let count = answer["ids"][0].as_array().map_or(0, Vec::len);
        let found = (0..count).map(|at| {
            let distance = answer["distances"][0][at].as_f64().unwrap_or(f64::INFINITY);
            ((1.0 - distance) as f32, point(&|field| &answer[field][0][at]))
        });
        Ok(found.collect())
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, CallError> {
        let (mut aliases, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(ALIASES, &PointFilter::default(), false, after.as_deref())?;
            aliases.extend(page.points.into_iter().map(|point| (point.path, point.body)));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(aliases),
            }
        }
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), CallError> {
        self.create(ALIASES, TableKind::Records)?;
        let (path, body) = (alias.to_owned(), table.to_owned());
        let point =
            Point { id: path.clone(), path, body, vector: vec![1.0, 0.0], ..Point::default() };
        self.put(ALIASES, &[point])
    }

    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String> {
        vec![format!("upsert into the collection {ALIASES}: id {alias}, body {table}")]
    }

    fn remove_alias(&self, alias: &str) -> Result<(), CallError> {
        self.delete(ALIASES, &[alias.to_owned()])
    }
}

/// A point's fields. Each term is a field with the value `true`, so that a condition may have any
/// number of terms.
fn fields(point: &Point) -> Value {
    let mut fields = Map::new();
    fields.insert("path".to_owned(), json!(point.path));
    fields.insert("body".to_owned(), json!(point.body));
    fields.extend(point.terms.iter().map(|term| (format!("{TERM}{term}"), json!(true))));
    Value::Object(fields)
}

/// Adds a condition to a request.
fn add_filter(body: &mut Value, filter: &PointFilter) {
    let paths = filter.paths.iter().map(|paths| json!({ "path": { "$in": paths } }));
    let terms = filter.terms.iter().map(|term| {
        let mut condition = Map::new();
        condition.insert(format!("{TERM}{term}"), json!(true));
        Value::Object(condition)
    });
    let mut conditions: Vec<Value> = paths.chain(terms).collect();
    match conditions.len() {
        0 => {}
        1 => body["where"] = conditions.remove(0),
        _ => body["where"] = json!({ "$and": conditions }),
    }
}

/// The point at one index of an answer, whose columns `field` returns.
fn point<'a>(field: &dyn Fn(&str) -> &'a Value) -> Point {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let vector = field("embeddings").as_array().map(Vec::as_slice).unwrap_or_default();
    Point {
        id: text(field("ids")),
        path: text(&field("metadatas")["path"]),
        terms: Vec::new(),
        text: text(field("documents")),
        body: text(&field("metadatas")["body"]),
        vector: vector.iter().map(|x| x.as_f64().unwrap_or(0.0) as f32).collect(),
    }
}
