//! TLS with rustls.

use crate::config::TlsFiles;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Accepts TLS connections with the certificate chain and key in `files`.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let (certificates, key) = (&files.certificates, &files.key);
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(|error| invalid(certificates, &error))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| invalid(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key_der))
        .map_err(|error| invalid(certificates, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn invalid(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::File { path: path.to_owned(), reason: error.to_string() }
}
