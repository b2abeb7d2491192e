//! From an address to an open store or source.

#[cfg(any(feature = "points", feature = "postgres"))]
use kokeshi_store::Engine;
use kokeshi_store::backend::{Field, Rows};
use kokeshi_store::{Address, Error, Fields, Result, Source, Sqlite, Store, Url};

#[cfg(feature = "points")]
use crate::points;
#[cfg(feature = "postgres")]
use crate::postgres;

/// Opens the servers of one engine.
pub(crate) trait Opener {
    /// Opens the collections that kokeshi created.
    fn open(&self, url: &Url) -> Result<Box<dyn Store>>;

    /// Opens a foreign table, or the foreign collection `collection`, for new vectors next to its
    /// own.
    fn open_foreign(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Box<dyn Store>>;

    /// Opens the same for reading only.
    fn open_source(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Box<dyn Source>>;

    /// The fields of one of its rows; `None` if it does not exist.
    fn fields(&self, url: &Url, fields: &Fields, collection: &str) -> Result<Option<Vec<Field>>>;
}

/// The opener for an address. Nothing else depends on which engines this build has.
fn opener(url: &Url) -> Result<Box<dyn Opener>> {
    match url.parts()?.engine {
        #[cfg(feature = "chroma")]
        Engine::Chroma => Ok(Box::new(points::PointsOpener(points::Chroma::connect))),
        #[cfg(feature = "milvus")]
        Engine::Milvus => Ok(Box::new(points::PointsOpener(points::Milvus::connect))),
        #[cfg(feature = "postgres")]
        Engine::Postgres => Ok(Box::new(postgres::PostgresOpener)),
        #[cfg(feature = "qdrant")]
        Engine::Qdrant => Ok(Box::new(points::PointsOpener(points::Qdrant::connect))),
        #[cfg(not(all(
            feature = "chroma",
            feature = "milvus",
            feature = "postgres",
            feature = "qdrant"
        )))]
        engine => {
            Err(Error::MissingFeature { action: format!("open {url}"), feature: engine.feature() })
        }
    }
}

/// Opens a store, which must exist if it is a file.
///
/// # Errors
///
/// If it does not exist, does not answer, is not a store, or was written by a newer version;
/// [`Error::MissingFeature`] if this build cannot open such an address.
pub fn open(address: &Address) -> Result<Box<dyn Store>> {
    match address {
        Address::File(path) => Ok(Box::new(Sqlite::open(path)?)),
        Address::Server(url) => opener(url)?.open(url),
    }
}

/// Opens a store, or creates an empty one if it is a file that does not exist.
///
/// # Errors
///
/// As [`open`], and if it cannot be written.
pub fn create(address: &Address) -> Result<Box<dyn Store>> {
    match address {
        Address::File(path) => Ok(Box::new(Sqlite::create(path)?)),
        Address::Server(url) => opener(url)?.open(url),
    }
}

/// Opens foreign data with the fields `fields`, to write new vectors next to the old ones: a table
/// of PostgreSQL, or the collection that `from` resolves to in a vector database.
///
/// # Errors
///
/// As [`open`], if there is no such table or field, and if the address is a file.
pub fn open_foreign(address: &Address, fields: &Fields, from: &str) -> Result<Box<dyn Store>> {
    match address {
        Address::File(path) => Err(Error::NotAStore {
            path: path.clone(),
            reason: "kokeshi writes only to files that it created".to_owned(),
        }),
        Address::Server(url) => opener(url)?.open_foreign(url, fields, from),
    }
}

/// The fields of texts and documents in foreign data, detected unless `fields` names them; in a
/// vector database, those of the collection `collection`. `None` if there is no such data, or the
/// address is a file without rows.
///
/// # Errors
///
/// If the file cannot be read, or the server does not answer.
pub fn detect_fields(
    address: &Address,
    fields: &Fields,
    collection: &str,
) -> Result<Option<Fields>> {
    let row = match address {
        Address::File(path) if address.is_rows() => Some(Rows::fields(path)?),
        Address::File(_) => None,
        Address::Server(url) => opener(url)?.fields(url, fields, collection)?,
    };
    Ok(row.map(|row| fields.clone().detect(&row)))
}

/// Opens a source for reading only: a store; if `fields` is given, a foreign table, or the foreign
/// collection `collection` of a vector database; or a JSONL or Parquet file with its vectors in the
/// field `collection`.
///
/// # Errors
///
/// As [`open`] and [`open_foreign`], and if a row of the file cannot be read.
pub fn open_source(
    address: &Address,
    fields: Option<&Fields>,
    collection: &str,
) -> Result<Box<dyn Source>> {
    match (address, fields) {
        (Address::File(path), _) if address.is_rows() => {
            let fields = fields.cloned().unwrap_or_default();
            Ok(Box::new(Rows::read(path, &fields, collection)?))
        }
        (Address::Server(url), Some(fields)) => opener(url)?.open_source(url, fields, collection),
        (_, Some(fields)) => Ok(open_foreign(address, fields, collection)?),
        (_, None) => Ok(open(address)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_this_build_lacks_is_named_with_its_feature() {
        for (scheme, is_built) in [
            ("chroma", cfg!(feature = "chroma")),
            ("milvus", cfg!(feature = "milvus")),
            ("postgres", cfg!(feature = "postgres")),
            ("qdrant", cfg!(feature = "qdrant")),
        ] {
            let address = Address::from(format!("{scheme}://me:secret@127.0.0.1:1").as_str());
            let message = open(&address).err().expect("no server").to_string();
            let missing = format!(
                "this build cannot open {scheme}://me:***@127.0.0.1:1: it lacks the feature `{scheme}`"
            );
            assert_eq!(message == missing, !is_built, "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
