//! A foreign table, whose rows get new vectors in a column next to the old one.
//!
//! Each column of vectors is a collection, and each row a chunk; rows with the same value in the
//! column of documents are one document, and without such a column each row is a document. A column
//! that kokeshi created has a comment with its provenance, and a trigger that removes a row's new
//! vector when its text changes: so a row without a vector must be embedded. Readers use one column
//! name, which a switch gives to another column. The comment of a column that kokeshi created keeps
//! its first name, by which plans refer to it.

mod attributes;
mod columns;
mod dependents;
mod effects;
mod guard;
mod index;
mod rows;
mod schema;
mod switch;
mod switching;

use super::session::Session;
use super::{CODES, MIN_INDEXED_CHUNKS, STORAGES, connect};
use crate::retry::CallError;
use ::postgres::Transaction;
use columns::Column;
use kokeshi_store::backend::Field;
use kokeshi_store::{
    Collection, Counts, Document, Entry, Error, Fields, Hit, Lock, Provenance, Query, Replacement,
    Result, Source, Storage, Store, SwitchCheck, SwitchEffect, Url,
};
use schema::TableSchema;
use switch::Names;

/// A table.
pub(super) struct Table {
    session: Session,
    schema: TableSchema,
    /// The column that new ones replace.
    from: String,
}

impl Table {
    /// Connects, and reads the schema of the table that `fields` names.
    ///
    /// # Errors
    ///
    /// If the server does not answer, refuses the user, or has no pgvector; if there is no such
    /// table or column, or ids are not unique.
    pub(crate) fn open(url: &Url, fields: &Fields, from: &str) -> Result<Self> {
        let mut client = connect::connect(url)?;
        let vectors = connect::vector_schema(url, &mut client)?;
        let session = Session::new(url, client);
        let schema =
            session.read(|transaction| schema::read(&session, transaction, fields, &vectors))?;
        Ok(Self { session, schema, from: from.to_owned() })
    }

    /// The columns of the table that `fields` names; none if there is no such table.
    ///
    /// # Errors
    ///
    /// If the server does not answer or refuses the user.
    pub(crate) fn fields(url: &Url, fields: &Fields) -> Result<Vec<Field>> {
        let session = Session::new(url, connect::connect(url)?);
        session.read(|transaction| schema::fields(transaction, fields).map_err(session.fail()))
    }

    fn unsupported<T>(&self, wanted: &str) -> Result<T> {
        Err(Error::Unsupported {
            store: self.name(),
            wanted: wanted.to_owned(),
            known: "rows that another program writes, and columns of vectors".to_owned(),
        })
    }

    /// The column that `name` resolves to.
    fn require(&self, transaction: &mut Transaction<'_>, name: &str) -> Result<Column, CallError> {
        let all = self.columns(transaction)?;
        if let Some(found) = columns::find(&all, name) {
            return Ok(found.clone());
        }
        let names = all.iter().map(|column| column.collection.as_str());
        Err(Error::unknown_collection(name, self.name(), names).into())
    }

    fn columns(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Column>, CallError> {
        columns::all(transaction, &self.schema).map_err(self.session.fail())
    }

    /// The column that `name` resolves to, and the one with the [`Collection::id`] `id`.
    fn named_and_identified(
        &self,
        transaction: &mut Transaction<'_>,
        (name, id): (&str, &str),
    ) -> Result<(Option<Collection>, Option<Column>), CallError> {
        let all = self.columns(transaction)?;
        let as_collection = |column: &Column| column.as_collection(&self.schema);
        let named = columns::find(&all, name).map(as_collection);
        Ok((named, all.into_iter().find(|column| as_collection(column).id == id)))
    }
}

impl Source for Table {
    fn name(&self) -> String {
        format!("{} of {}", self.schema.table, self.session.address())
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        self.session.read(|transaction| {
            let all = self.columns(transaction)?;
            Ok(columns::find(&all, name).map(|column| column.as_collection(&self.schema)))
        })
    }

    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        self.session.read(|transaction| {
            let column = self.require(transaction, collection)?;
            let listed = rows::list_after(transaction, &self.schema, &column, after, limit);
            listed.map_err(self.session.fail())
        })
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        self.session.read(|transaction| {
            let column = self.require(transaction, collection)?;
            rows::entries(transaction, &self.schema, &column, paths).map_err(self.session.fail())
        })
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        self.session.read(|transaction| {
            let column = self.require(transaction, collection)?;
            rows::documents(transaction, &self.schema, &column, paths).map_err(self.session.fail())
        })
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        self.session.read(|transaction| {
            let column = self.require(transaction, collection)?;
            rows::count(transaction, &self.schema, &column).map_err(self.session.fail())
        })
    }
}

impl Store for Table {
    fn storages(&self) -> &'static [Storage] {
        &STORAGES
    }

    fn lock(&self) -> Result<Lock> {
        self.session.lock(&self.name())
    }

    fn collections(&self) -> Result<Vec<Collection>> {
        self.session.read(|transaction| {
            let all = self.columns(transaction)?;
            Ok(all.iter().map(|column| column.as_collection(&self.schema)).collect())
        })
    }

    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()> {
        provenance.check_storable(&self.name(), &STORAGES, &CODES[..0])?;
        self.session.write(|transaction| {
            let all = self.columns(transaction)?;
            if columns::find(&all, name).is_some() || self.schema.columns.iter().any(|c| c == name)
            {
                let (name, store) = (name.to_owned(), self.name());
                return Err(Error::NameTaken { name, kind: "column", store }.into());
            }
            let names = (name, columns::find(&all, &self.from));
            let created = columns::create(transaction, &self.schema, names, provenance);
            created.map_err(self.session.fail())
        })
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        self.session.write(|transaction| {
            let column = self.require(transaction, name)?;
            columns::remove(transaction, &self.schema, &column).map_err(self.session.fail())
        })
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        self.session.write(|transaction| {
            let target = self.require(transaction, collection)?;
            let names = Names { name: alias, target: &target, kept: None, is_full: false };
            self.rename(transaction, names).map(drop)
        })
    }

    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        self.session.write(|transaction| {
            let column = self.require(transaction, collection)?;
            column.provenance.check_widths(documents)?;
            let written = rows::write(transaction, &self.schema, &column, documents, false);
            written.map_err(self.session.fail())
        })
    }

    fn insert(&mut self, collection: &str, documents: &[Document]) -> Result<usize> {
        self.session.write(|transaction| {
            let column = self.require(transaction, collection)?;
            column.provenance.check_widths(documents)?;
            let written = rows::write(transaction, &self.schema, &column, documents, true);
            written.map(|()| documents.len()).map_err(self.session.fail())
        })
    }

    fn remove(&mut self, _collection: &str, _paths: &[String]) -> Result<usize> {
        self.unsupported("way to remove rows of another program")
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        query.refuse_words(&self.name())?;
        self.session.read(|transaction| {
            let column = self.require(transaction, collection)?;
            column.provenance.check_width(query.vector.len())?;
            rows::search(transaction, &self.schema, &column, query).map_err(self.session.fail())
        })
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        self.list_after(collection, "", usize::MAX)
    }

    fn switch(&mut self, replacement: &Replacement<'_>) -> Result<()> {
        let Replacement { name, kept, .. } = *replacement;
        let is_full = self.is_full(replacement.new)?;
        let rest = self.session.write(|transaction| {
            let (named, new) = self.named_and_identified(transaction, (name, replacement.new))?;
            if !replacement.needs_switch(&self.name(), named.as_ref())? {
                return Ok(None);
            }
            let new = new.ok_or_else(|| Error::gone(self.name()))?;
            let names = Names { name, target: &new, kept: Some(kept), is_full };
            self.rename(transaction, names).map(Some)
        })?;
        self.settle(rest.map_or_else(|| self.unsettled(name), Ok)?)
    }

    fn switch_back(&mut self, replacement: &Replacement<'_>) -> Result<Collection> {
        let (name, id) = (replacement.name, replacement.old.unwrap_or_default());
        let is_full = self.is_full(id)?;
        let (old, rest) = self.session.write(|transaction| {
            let (named, old) = self.named_and_identified(transaction, (name, id))?;
            let is_needed = replacement.needs_switch_back(&self.name(), named.as_ref())?;
            let old = old.ok_or_else(|| Error::gone(self.name()))?;
            let names = Names { name, target: &old, kept: None, is_full };
            let rest = is_needed.then(|| self.rename(transaction, names)).transpose()?;
            Ok((old.as_collection(&self.schema), rest))
        })?;
        self.settle(rest.map_or_else(|| self.unsettled(name), Ok)?)?;
        Ok(old)
    }

    fn remove_replaced(&mut self, replacement: &Replacement<'_>) -> Result<Option<String>> {
        self.session.write(|transaction| {
            let ids = (replacement.name, replacement.old.unwrap_or_default());
            let (named, old) = self.named_and_identified(transaction, ids)?;
            let Some(column) = old else { return Ok(None) };
            let old = column.as_collection(&self.schema);
            replacement.check_removal(&self.name(), named.as_ref(), &old)?;
            columns::remove(transaction, &self.schema, &column).map_err(self.session.fail())?;
            // Nothing is embedded into the new column from now on.
            let all = self.columns(transaction)?;
            let new = all.iter().find(|one| one.as_collection(&self.schema).id == replacement.new);
            if let Some(new) = new {
                let drop = guard::drop_record(&self.schema, new);
                transaction.batch_execute(&drop).map_err(self.session.fail())?;
            }
            Ok(Some(old.name))
        })
    }

    fn switch_calls(&self, name: &str, collection: &str, kept: &str) -> Result<Vec<String>> {
        self.session.read(|transaction| {
            let target = self.require(transaction, collection)?;
            let is_full = rows::is_full(transaction, &self.schema, &target);
            let is_full = is_full.map_err(self.session.fail())?;
            let names = Names { name, target: &target, kept: Some(kept), is_full };
            Ok(self.switch_statements(transaction, names)?.into_lines())
        })
    }

    fn switch_effects(&self, name: &str) -> Result<Vec<SwitchEffect>> {
        self.session.read(|transaction| {
            let column = self.require(transaction, name)?;
            effects::of(transaction, &self.schema, &column).map_err(self.session.fail())
        })
    }

    fn switch_checks(&self, old: &str, new: &str) -> Result<Vec<SwitchCheck>> {
        self.session.read(|transaction| {
            let columns = (self.require(transaction, old)?, self.require(transaction, new)?);
            effects::checks(transaction, &self.schema, &columns).map_err(self.session.fail())
        })
    }

    /// Creates the approximate indexes, if every row has its vector.
    fn finish(&mut self, collection: &str) -> Result<()> {
        let statements = self.session.read(|transaction| {
            let column = self.require(transaction, collection)?;
            let is_complete = rows::is_complete(transaction, &self.schema, &column);
            if !is_complete.map_err(self.session.fail())? {
                return Ok(Vec::new());
            }
            let counts = rows::count(transaction, &self.schema, &column);
            let is_large = counts.map_err(self.session.fail())?.chunks >= MIN_INDEXED_CHUNKS;
            let all = self.columns(transaction)?;
            let replaced = columns::find(&all, &self.from);
            let both = (&column, replaced.filter(|replaced| replaced.number != column.number));
            let missing = index::missing(transaction, &self.schema, both, is_large);
            missing.map_err(self.session.fail())
        })?;
        statements.iter().try_for_each(|statement| {
            let run = |client: &mut ::postgres::Client| {
                client.batch_execute(statement).map_err(self.session.fail())
            };
            self.session.without_transaction(run)
        })
    }
}
