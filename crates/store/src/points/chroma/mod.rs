//! Chroma, by version 2 of its HTTP interface. It has no aliases: they are points of a table of ours.

mod foreign;

use super::http::{Http, segment};
use super::row::Row;
use super::{BATCH, Engine, Kind, Near, Only, Page, Points};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::retry::Fault;
use crate::storage::Storage;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use ureq::http::Method;

/// Where Chroma listens unless it was told otherwise.
const PORT: u16 = 8000;
/// The table of aliases: paths are aliases, bodies are tables.
const ALIASES: &str = "kokeshi-aliases";
/// Tables that are listed with one call.
const LISTED: usize = 100;
/// What terms begin with among the fields of a point.
const TERM: &str = "term:";

/// A database of a Chroma server.
pub(crate) struct Chroma {
    http: Http,
    /// The path of its collections.
    path: String,
    /// Chroma's own ids of tables, which are remembered until one of them is not known any more.
    ids: RefCell<HashMap<String, String>>,
}

impl Chroma {
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer.
    pub(crate) fn open(url: &Url) -> Result<Points> {
        Ok(Points::new(Self::connect(url)?))
    }

    pub(super) fn connect(url: &Url) -> Result<Self> {
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
    fn id(&self, table: &str) -> Result<Option<String>, Fault> {
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

    /// Asks a table for something; `None` if there is no such table.
    fn ask(
        &self,
        table: &str,
        method: &Method,
        what: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, Fault> {
        // The id may be that of a table which another process has removed and made again.
        for _ in 0..2 {
            let Some(id) = self.id(table)? else { return Ok(None) };
            let path = format!("{}/{id}/{what}", self.path);
            if let Some(answer) = self.http.call(method.clone(), &path, body)? {
                return Ok(Some(answer));
            }
            self.ids.borrow_mut().remove(table);
        }
        Ok(None)
    }

    /// As [`Self::ask`], of a table that must be there.
    fn tell(&self, table: &str, what: &str, body: &Value) -> Result<(), Fault> {
        let answer = self.ask(table, &Method::POST, what, Some(body))?;
        let gone = || Error::Server {
            store: self.http.store().to_owned(),
            reason: format!("{what}: there is no table {table}"),
        };
        answer.map(drop).ok_or_else(|| gone().into())
    }
}

impl Engine for Chroma {
    fn address(&self) -> String {
        self.http.store().to_owned()
    }

    fn storages(&self) -> (&'static [Storage], &'static [Storage]) {
        (&[Storage::F32], &[])
    }

    fn tables(&self) -> Result<Vec<String>, Fault> {
        let mut tables = Vec::new();
        loop {
            let path = format!("{}?limit={LISTED}&offset={}", self.path, tables.len());
            let answer = self.http.call(Method::GET, &path, None)?.unwrap_or_default();
            let page = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            tables
                .extend(page.iter().filter_map(|table| table["name"].as_str().map(str::to_owned)));
            if page.len() < LISTED {
                return Ok(tables);
            }
        }
    }

    fn create(&self, table: &str, kind: Kind<'_>) -> Result<(), Fault> {
        // Chroma gives every table this index; the defaults are meant for smaller ones.
        let index = match kind {
            Kind::Chunks(_) => {
                json!({ "space": "cosine", "ef_construction": 200, "ef_search": 200 })
            }
            Kind::Records => json!({ "space": "cosine" }),
        };
        let body = json!({
            "name": table,
            "get_or_create": true,
            "configuration": { "hnsw": index },
        });
        self.http.call(Method::POST, &self.path, Some(&body)).map(drop)
    }

    fn remove(&self, table: &str) -> Result<(), Fault> {
        self.ids.borrow_mut().remove(table);
        self.http.call(Method::DELETE, &format!("{}/{}", self.path, segment(table)), None).map(drop)
    }

    fn put(&self, table: &str, rows: &[Row]) -> Result<(), Fault> {
        let column = |value: fn(&Row) -> Value| rows.iter().map(value).collect::<Vec<_>>();
        let body = json!({
            "ids": column(|row| json!(row.id)),
            "embeddings": column(|row| json!(row.vector)),
            "documents": column(|row| json!(row.text)),
            "metadatas": column(fields),
        });
        self.tell(table, "upsert", &body)
    }

    fn delete(&self, table: &str, paths: &[String]) -> Result<(), Fault> {
        let body = json!({ "where": { "path": { "$in": paths } } });
        self.tell(table, "delete", &body)
    }

    fn count(&self, table: &str) -> Result<usize, Fault> {
        let answer = self.ask(table, &Method::GET, "count", None)?;
        Ok(answer.and_then(|answer| answer.as_u64()).unwrap_or(0) as usize)
    }

    fn page(
        &self,
        table: &str,
        only: &Only,
        vectors: bool,
        after: Option<&str>,
    ) -> Result<Page, Fault> {
        let offset: usize = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        let mut include = vec!["documents", "metadatas"];
        if vectors {
            include.push("embeddings");
        }
        let mut body = json!({ "limit": BATCH, "offset": offset, "include": include });
        narrow(&mut body, only);
        let answer = self.ask(table, &Method::POST, "get", Some(&body))?.unwrap_or_default();
        let count = answer["ids"].as_array().map_or(0, Vec::len);
        let rows = (0..count).map(|at| row(&|field| &answer[field][at])).collect();
        let next = (count == BATCH).then(|| (offset + count).to_string());
        Ok(Page { rows, next })
    }

    fn nearest(&self, table: &str, near: &Near<'_>, only: &Only) -> Result<Vec<(f32, Row)>, Fault> {
        let mut body = json!({
            "query_embeddings": [near.vector],
            "n_results": near.limit,
            "include": ["documents", "metadatas", "distances"],
        });
        narrow(&mut body, only);
        let answer = self.ask(table, &Method::POST, "query", Some(&body))?.unwrap_or_default();
        let count = answer["ids"][0].as_array().map_or(0, Vec::len);
        let found = (0..count).map(|at| {
            let distance = answer["distances"][0][at].as_f64().unwrap_or(f64::INFINITY);
            ((1.0 - distance) as f32, row(&|field| &answer[field][0][at]))
        });
        Ok(found.collect())
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn aliases(&self) -> Result<Vec<(String, String)>, Fault> {
        let (mut aliases, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(ALIASES, &Only::default(), false, after.as_deref())?;
            aliases.extend(page.rows.into_iter().map(|row| (row.path, row.body)));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(aliases),
            }
        }
    }

    fn set_alias(&self, alias: &str, table: &str) -> Result<(), Fault> {
        self.create(ALIASES, Kind::Records)?;
        let (path, body) = (alias.to_owned(), table.to_owned());
        let row = Row { id: path.clone(), path, body, vector: vec![1.0, 0.0], ..Row::default() };
        self.put(ALIASES, &[row])
    }

    fn alias_calls(&self, alias: &str, table: &str) -> Vec<String> {
        vec![format!("upsert into the collection {ALIASES}: id {alias}, body {table}")]
    }

    fn remove_alias(&self, alias: &str) -> Result<(), Fault> {
        self.delete(ALIASES, &[alias.to_owned()])
    }
}

/// A point's fields: a term is a field that is true, so that any number of them can be asked for.
fn fields(row: &Row) -> Value {
    let mut fields = Map::new();
    fields.insert("path".to_owned(), json!(row.path));
    fields.insert("body".to_owned(), json!(row.body));
    fields.extend(row.terms.iter().map(|term| (format!("{TERM}{term}"), json!(true))));
    Value::Object(fields)
}

/// Adds the condition of `only` to a request.
fn narrow(body: &mut Value, only: &Only) {
    let paths = only.paths.iter().map(|paths| json!({ "path": { "$in": paths } }));
    let terms = only.terms.iter().map(|term| {
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

/// The point that `field` gives the parts of.
fn row<'a>(field: &dyn Fn(&str) -> &'a Value) -> Row {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let numbers = field("embeddings").as_array().map(Vec::as_slice).unwrap_or_default();
    Row {
        id: text(field("ids")),
        path: text(&field("metadatas")["path"]),
        terms: Vec::new(),
        text: text(field("documents")),
        body: text(&field("metadatas")["body"]),
        vector: numbers.iter().map(|x| x.as_f64().unwrap_or(0.0) as f32).collect(),
    }
}
