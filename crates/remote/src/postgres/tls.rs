//! TLS: whom a connection trusts, by the parameters of libpq.

use kokeshi_store::{Error, Result, Url};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// The value of `sslrootcert` for the authorities that the system trusts.
const SYSTEM: &str = "system";

/// The parameters of an address that concern TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// The file of the authorities to trust.
    root: Option<String>,
    /// The files of the client's certificate and key.
    certificate: Option<String>,
    key: Option<String>,
    /// Whether the name in the server's certificate does not matter.
    any_name: bool,
}

impl Tls {
    /// Takes the parameters that the client library does not know from an address.
    pub(super) fn split(address: &str) -> (String, Self) {
        let mut tls = Self::default();
        let Some((base, query)) = address.split_once('?') else {
            return (address.to_owned(), tls);
        };
        let mut rest = Vec::new();
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let file = || Some(decoded(value));
            match (name, value) {
                ("sslrootcert", _) => tls.root = file(),
                ("sslcert", _) => tls.certificate = file(),
                ("sslkey", _) => tls.key = file(),
                ("sslmode", "verify-ca" | "verify-full") => {
                    tls.any_name = value == "verify-ca";
                    rest.push("sslmode=require");
                }
                _ => rest.push(parameter),
            }
        }
        (format!("{base}?{}", rest.join("&")), tls)
    }

    /// The connector of `url`.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or is not what it should be.
    pub(super) fn connector(&self, url: &Url) -> Result<MakeRustlsConnect> {
        let failed = |what: &str, reason: &dyn fmt::Display| -> Error {
            let reason = format!("{what} cannot be used: {reason}");
            Error::Server { store: url.to_string(), reason }
        };
        let roots = Arc::new(self.roots(&failed)?);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed("TLS", &error))?;
        let builder = match self.any_name {
            false => builder.with_root_certificates(roots),
            true => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
                let verifier = verifier.map_err(|error| failed("sslrootcert", &error))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
            }
        };
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate).map_err(|error| failed("sslcert", &error))?;
                let key = PrivateKeyDer::from_pem_file(key);
                let key = key.map_err(|error| failed("sslkey", &error))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| failed("sslcert with sslkey", &error))?
            }
            _ => return Err(failed("sslcert without sslkey, or the reverse,", &"both are needed")),
        };
        Ok(MakeRustlsConnect::new(config))
    }

    /// The authorities in `sslrootcert` or, without that, those that the system trusts (or the
    /// variable `SSL_CERT_FILE` names) and those of Mozilla.
    fn roots(&self, failed: &dyn Fn(&str, &dyn fmt::Display) -> Error) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = self.root.as_deref().filter(|file| *file != SYSTEM) {
            for one in certificates(file).map_err(|error| failed("sslrootcert", &error))? {
                roots.add(one).map_err(|error| failed("sslrootcert", &error))?;
            }
            return Ok(roots);
        }
        // Some systems have certificates that rustls cannot parse.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if self.root.is_none() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Ok(roots)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates in a PEM file.
fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = |error: rustls::pki_types::pem::Error| format!("{file}: {error}");
    let all = CertificateDer::pem_file_iter(Path::new(file)).map_err(read)?;
    let all: Vec<_> = all.collect::<std::result::Result<_, _>>().map_err(read)?;
    if all.is_empty() { Err(format!("{file} has no certificate in PEM")) } else { Ok(all) }
}

/// `value` without percent encoding; malformed parts stay.
fn decoded(value: &str) -> String {
    let (bytes, mut decoded, mut at) = (value.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let code = value.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Checks who signed a certificate, and not the name in it.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        use CertificateError as E;
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                E::NotValidForName | E::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_tls_are_taken_from_an_address() {
        let address = "postgres://me@db/app?sslmode=verify-ca&sslrootcert=%2Fa%20b.pem&options=x";
        let (rest, tls) = Tls::split(address);
        assert_eq!(rest, "postgres://me@db/app?sslmode=require&options=x");
        assert_eq!(tls.root.as_deref(), Some("/a b.pem"));
        assert!(tls.any_name);
        let (rest, tls) = Tls::split("postgres://me@db/app?sslmode=verify-full");
        assert_eq!((rest.as_str(), tls), ("postgres://me@db/app?sslmode=require", Tls::default()));
        assert_eq!(Tls::split("postgres://me@db/app").0, "postgres://me@db/app");
        assert_eq!(decoded("a%2"), "a%2");
    }
}
