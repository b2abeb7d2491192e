//! Errors as Python's exceptions.

use kokeshi::Error;
use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileNotFoundError, PyKeyboardInterrupt, PyOSError, PyRuntimeError, PyValueError,
};

/// `ValueError` for what the caller can change, `RuntimeError` for the rest.
pub(crate) fn of_engine(error: Error) -> PyErr {
    let message = match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    match error {
        Error::UnknownTask { .. }
        | Error::Dimensions { .. }
        | Error::FixedWidth { .. }
        | Error::TooLong { .. }
        | Error::TooLarge { .. }
        | Error::Options(_) => PyValueError::new_err(message),
        Error::Stopped => PyKeyboardInterrupt::new_err(message),
        _ => PyRuntimeError::new_err(message),
    }
}

/// Errors of finding and downloading models.
pub(crate) fn of_hub(error: kokeshi_hub::Error) -> PyErr {
    PyOSError::new_err(with_causes(&error))
}

/// Errors of collections, and of files that determine the revision of a model.
pub(crate) fn of_collections(error: kokeshi_collections::Error) -> PyErr {
    use kokeshi_collections::Error;
    let message = with_causes(&error);
    match error {
        Error::Store(error) => of_store(error),
        Error::Engine(error) => of_engine(error),
        Error::Io { .. } | Error::Read { .. } => PyOSError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}

/// Errors of stores.
pub(crate) fn of_store(error: kokeshi_store::Error) -> PyErr {
    use kokeshi_store::Error;
    let message = with_causes(&error);
    match error {
        Error::Missing { .. } => PyFileNotFoundError::new_err(message),
        Error::Parse(_) | Error::ProvenanceMismatch { .. } | Error::InvalidAddress { .. } => {
            PyValueError::new_err(message)
        }
        _ => PyOSError::new_err(message),
    }
}

/// Errors of tables.
pub(crate) fn of_tables(error: kokeshi_tables::Error) -> PyErr {
    use kokeshi_tables::Error;
    let message = with_causes(&error);
    match error {
        Error::Engine(error) => of_engine(error),
        Error::Stopped => PyKeyboardInterrupt::new_err(message),
        Error::NoMatch { .. } => PyFileNotFoundError::new_err(message),
        Error::Io { .. } | Error::Unreadable { .. } | Error::Unwritable { .. } => {
            PyOSError::new_err(message)
        }
        _ => PyValueError::new_err(message),
    }
}

/// The message of `error` and those of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
