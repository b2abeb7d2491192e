//! TLS with rustls.

use crate::config::TlsFiles;
use crate::error::{Error, Result};
use crate::files::read_file;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Accepts TLS connections with the certificate chain and key in `files`.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let (certificates, key) = (&files.certificates, &files.key);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read_file(certificates)?)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(certificates, &error))?;
    let key_der =
        PrivateKeyDer::from_pem_slice(&read_file(key)?).map_err(|error| invalid(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key_der))
        .map_err(|error| invalid(certificates, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The current acceptor. Clones share it.
#[derive(Clone)]
pub(crate) struct Certificate(Arc<RwLock<TlsAcceptor>>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// The certificate in `files`.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self> {
        Ok(Self(Arc::new(RwLock::new(acceptor(files)?))))
    }

    /// A change is one assignment, so the acceptor is usable after a panic.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses another acceptor for new connections.
    pub(crate) fn set(&self, acceptor: TlsAcceptor) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }
}

fn invalid(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::File { path: path.to_owned(), reason: error.to_string() }
}
