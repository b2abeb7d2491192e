//! PostgreSQL with pgvector: one schema `kokeshi` per database, two tables per collection, and one
//! transaction for everything that belongs together.

mod collections;
mod connect;
mod queries;
mod read;
mod search;
mod session;
mod table;
mod tls;
mod write;

use table::Table;

use crate::open::Opener;
use crate::retry::CallError;
use ::postgres::Transaction;
use kokeshi_store::backend::Field;
use kokeshi_store::{
    Collection, Counts, Document, Entry, Error, Fields, Hit, IndexedFolders, Lock, Provenance,
    Query, Replacement, Result, Source, Storage, Store, Url,
};
use session::Session;
use std::fmt;
use std::ops::Deref;

/// The supported storages: `halfvec` and `vector`.
const STORAGES: [Storage; 2] = [Storage::F16, Storage::F32];
/// The supported codes of short lists: `bit`.
const CODES: [Storage; 1] = [Storage::Bits];
/// Minimum number of chunks for an approximate index: with fewer, a scan takes a few milliseconds.
const MIN_INDEXED_CHUNKS: usize = 10_000;

/// Opens databases and foreign tables.
pub(crate) struct PostgresOpener;

impl Opener for PostgresOpener {
    fn open(&self, url: &Url) -> Result<Box<dyn Store>> {
        Ok(Box::new(Postgres::open(url)?))
    }

    fn open_foreign(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(Table::open(url, fields, collection)?))
    }

    fn open_source(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Box<dyn Source>> {
        Ok(Box::new(Table::open(url, fields, collection)?))
    }

    fn fields(&self, url: &Url, fields: &Fields, _collection: &str) -> Result<Option<Vec<Field>>> {
        match fields.table {
            Some(_) => Table::fields(url, fields).map(Some),
            None => Ok(None),
        }
    }
}

/// A database.
struct Postgres {
    session: Session,
    /// The schema of pgvector, which need not be in the search path.
    vectors: String,
}

impl Deref for Postgres {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Postgres {
    /// Connects, and creates the extension and the schema unless they exist.
    ///
    /// # Errors
    ///
    /// If the server does not answer, refuses the user, or has no pgvector.
    fn open(url: &Url) -> Result<Self> {
        let mut client = connect::connect(url)?;
        let prepared = collections::prepare(&mut client);
        prepared.map_err(|error| connect::preparation_error(url, &error))?;
        let vectors = connect::vector_schema(url, &mut client)?;
        Ok(Self { session: Session::new(url, client), vectors })
    }

    /// The collection that `name` resolves to, with its id.
    fn require(
        &self,
        transaction: &mut Transaction<'_>,
        name: &str,
    ) -> Result<(i64, Collection), CallError> {
        let fail = self.fail();
        if let Some(found) = collections::find(transaction, name).map_err(fail)? {
            return Ok(found);
        }
        let all = collections::all(transaction).map_err(fail)?;
        let names = all.iter().map(|(_, found)| found.name.as_str());
        Err(Error::unknown_collection(name, self.name(), names).into())
    }

    /// The collection with this [`Collection::id`], with its id.
    fn require_id(
        &self,
        transaction: &mut Transaction<'_>,
        id: &str,
    ) -> Result<(i64, Collection), CallError> {
        let found = collections::find_id(transaction, id).map_err(self.fail())?;
        found.ok_or_else(|| Error::gone(self.name()).into())
    }

    fn refuse_taken(&self, transaction: &mut Transaction<'_>, name: &str) -> Result<(), CallError> {
        let found = collections::find(transaction, name).map_err(self.fail())?;
        found.map_or(Ok(()), |(_, found)| {
            let kind = if found.name == name { "collection" } else { "alias" };
            Err(Error::NameTaken { name: name.to_owned(), kind, store: self.name() }.into())
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.address()).finish()
    }
}

impl Source for Postgres {
    fn name(&self) -> String {
        self.address()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        self.read(|transaction| {
            let found = collections::find(transaction, name).map_err(self.fail())?;
            Ok(found.map(|(_, collection)| collection))
        })
    }

    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        self.read(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            read::list_after(transaction, id, after, limit).map_err(self.fail())
        })
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        self.read(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            read::entries(transaction, id, paths).map_err(self.fail())
        })
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        self.read(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            read::documents(transaction, id, paths).map_err(self.fail())
        })
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        self.read(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            read::count(transaction, id).map_err(self.fail())
        })
    }
}

impl Store for Postgres {
    fn storages(&self) -> &'static [Storage] {
        &STORAGES
    }

    fn lock(&self) -> Result<Lock> {
        self.session.lock(&self.name())
    }

    fn collections(&self) -> Result<Vec<Collection>> {
        self.read(|transaction| {
            let all = collections::all(transaction).map_err(self.fail())?;
            Ok(all.into_iter().map(|(_, collection)| collection).collect())
        })
    }

    fn create(&mut self, name: &str, provenance: &Provenance) -> Result<()> {
        provenance.check_storable(&self.name(), &STORAGES, &CODES)?;
        self.write(|transaction| {
            self.refuse_taken(transaction, name)?;
            collections::insert(transaction, name, provenance, &self.vectors).map_err(self.fail())
        })
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        self.write(|transaction| {
            let (id, _) = self.require(transaction, name)?;
            collections::delete(transaction, id).map_err(self.fail())
        })
    }

    fn set_alias(&mut self, alias: &str, collection: &str) -> Result<()> {
        self.write(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            match collections::find(transaction, alias).map_err(self.fail())? {
                Some((_, found)) if found.name == alias => {
                    let (name, store) = (alias.to_owned(), self.name());
                    Err(Error::NameTaken { name, kind: "collection", store }.into())
                }
                _ => collections::set_alias(transaction, alias, id).map_err(self.fail()),
            }
        })
    }

    fn upsert(&mut self, collection: &str, documents: &[Document]) -> Result<()> {
        self.write(|transaction| {
            let (id, found) = self.require(transaction, collection)?;
            found.provenance.check_widths(documents)?;
            write::upsert(transaction, id, &found.provenance, documents).map_err(self.fail())
        })
    }

    fn append(&mut self, collection: &str, document: &Document, first: usize) -> Result<()> {
        self.write(|transaction| {
            let (id, found) = self.require(transaction, collection)?;
            found.provenance.check_widths(std::slice::from_ref(document))?;
            let written = write::append(transaction, id, &found.provenance, (document, first));
            written.map_err(self.fail())
        })
    }

    fn remove(&mut self, collection: &str, paths: &[String]) -> Result<usize> {
        self.write(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            write::remove(transaction, id, paths).map_err(self.fail())
        })
    }

    fn search(&self, collection: &str, query: &Query<'_>) -> Result<Vec<Hit>> {
        query.refuse_words(&self.name())?;
        self.read(|transaction| {
            let (id, found) = self.require(transaction, collection)?;
            found.provenance.check_width(query.vector.len())?;
            let source = (id, &found.provenance, self.vectors.as_str());
            search::search(transaction, source, query).map_err(self.fail())
        })
    }

    fn list(&self, collection: &str) -> Result<Vec<Entry>> {
        self.read(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            read::list(transaction, id).map_err(self.fail())
        })
    }

    fn insert(&mut self, collection: &str, documents: &[Document]) -> Result<usize> {
        self.write(|transaction| {
            let (id, found) = self.require(transaction, collection)?;
            found.provenance.check_widths(documents)?;
            write::insert(transaction, id, &found.provenance, documents).map_err(self.fail())
        })
    }

    fn switch(&mut self, replacement: &Replacement<'_>) -> Result<()> {
        self.write(|transaction| {
            let name = replacement.name;
            let named = collections::find(transaction, name).map_err(self.fail())?;
            let found = named.as_ref().map(|(_, found)| found);
            if !replacement.needs_switch(&self.name(), found)? {
                return Ok(());
            }
            let (new, _) = self.require_id(transaction, replacement.new)?;
            if let Some((old, _)) = named.filter(|(_, found)| found.name == name) {
                self.refuse_taken(transaction, replacement.kept)?;
                collections::rename(transaction, old, replacement.kept).map_err(self.fail())?;
            }
            collections::set_alias(transaction, name, new).map_err(self.fail())
        })
    }

    fn switch_back(&mut self, replacement: &Replacement<'_>) -> Result<Collection> {
        self.write(|transaction| {
            let name = replacement.name;
            let found = collections::find(transaction, name).map_err(self.fail())?;
            let found = found.map(|(_, found)| found);
            let is_needed = replacement.needs_switch_back(&self.name(), found.as_ref())?;
            let (id, old) = self.require_id(transaction, replacement.old.unwrap_or_default())?;
            if is_needed {
                collections::set_alias(transaction, name, id).map_err(self.fail())?;
            }
            Ok(old)
        })
    }

    fn remove_replaced(&mut self, replacement: &Replacement<'_>) -> Result<Option<String>> {
        self.write(|transaction| {
            let old = collections::find_id(transaction, replacement.old.unwrap_or_default());
            let Some((id, old)) = old.map_err(self.fail())? else { return Ok(None) };
            let found = collections::find(transaction, replacement.name).map_err(self.fail())?;
            let found = found.map(|(_, found)| found);
            replacement.check_removal(&self.name(), found.as_ref(), &old)?;
            collections::delete(transaction, id).map_err(self.fail())?;
            Ok(Some(old.name))
        })
    }

    fn refusal(&self, document: &Document) -> Option<String> {
        let has_nul = |text: &str| text.contains('\0');
        let what = match has_nul(&document.path) {
            true => "its path",
            false if document.chunks.iter().any(|chunk| has_nul(&chunk.text)) => "its text",
            false => return None,
        };
        Some(format!(
            "{what} contains the character U+0000, which PostgreSQL cannot store; remove it"
        ))
    }

    fn switch_calls(&self, name: &str, collection: &str, kept: &str) -> Result<Vec<String>> {
        let is_own_name = self.collection(name)?.is_some_and(|found| found.name == name);
        let [name, collection, kept] =
            [name, collection, kept].map(|text| text.replace('\'', "''"));
        let rename =
            format!("UPDATE kokeshi.collections SET name = '{kept}' WHERE name = '{name}'");
        let alias = format!(
            "INSERT INTO kokeshi.aliases (alias, collection) VALUES ('{name}', (SELECT id FROM \
             kokeshi.collections WHERE name = '{collection}')) ON CONFLICT (alias) DO UPDATE \
             SET collection = excluded.collection"
        );
        let mut calls = vec!["BEGIN".to_owned()];
        calls.extend(is_own_name.then_some(rename));
        calls.extend([alias, "COMMIT".to_owned()]);
        Ok(calls)
    }

    fn finish(&mut self, collection: &str) -> Result<()> {
        if self.count(collection)?.chunks < MIN_INDEXED_CHUNKS {
            return Ok(());
        }
        self.write(|transaction| {
            let (id, found) = self.require(transaction, collection)?;
            collections::index(transaction, id, &found.provenance, &self.vectors)
                .map_err(self.fail())
        })
    }

    fn folders(&self) -> Option<&dyn IndexedFolders> {
        Some(self)
    }

    fn folders_mut(&mut self) -> Option<&mut dyn IndexedFolders> {
        Some(self)
    }
}

impl IndexedFolders for Postgres {
    fn set_seen(&mut self, collection: &str, seen: &[(String, i64, u64)]) -> Result<()> {
        self.write(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            write::set_seen(transaction, id, seen).map_err(self.fail())
        })
    }

    fn roots(&self, collection: &str) -> Result<Vec<(String, String)>> {
        self.read(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            collections::roots(transaction, id).map_err(self.fail())
        })
    }

    fn set_root(&mut self, collection: &str, path: &str, options: &str) -> Result<()> {
        self.write(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            collections::set_root(transaction, id, path, options).map_err(self.fail())
        })
    }

    fn remove_root(&mut self, collection: &str, path: &str) -> Result<bool> {
        self.write(|transaction| {
            let (id, _) = self.require(transaction, collection)?;
            collections::remove_root(transaction, id, path).map_err(self.fail())
        })
    }
}
