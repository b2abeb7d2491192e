//! Reading the configuration, the key file and the certificate again while the server runs: when
//! one of the files changes, and on SIGHUP. If anything is wrong with them, everything stays as it
//! was.

use crate::app::{App, Settings};
use crate::auth::Keys;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::tls::Certificate;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Time between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the settings again. Also returns the names of those outside of [`Config`] that differ.
pub type ReadConfig = Box<dyn FnMut() -> Result<(Config, Vec<&'static str>), String> + Send>;

/// What is read again.
pub(crate) struct Reload {
    app: Arc<App>,
    certificate: Option<Certificate>,
    /// The configuration file, if there is one, and how to read it.
    config: Option<(PathBuf, Mutex<ReadConfig>)>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("files", &self.files()).finish_non_exhaustive()
    }
}

/// What tells a file from its next version, without reading it. `None` for a file that is not
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, Option<SystemTime>, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        #[cfg(unix)]
        let number = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let number = |_: &fs::Metadata| 0;
        Self(metadata.map(|found| (found.len(), found.modified().ok(), number(&found))))
    }
}

impl Reload {
    pub(crate) fn new(
        app: Arc<App>,
        certificate: Option<Certificate>,
        config: Option<(PathBuf, ReadConfig)>,
    ) -> Arc<Self> {
        let config = config.map(|(file, read)| (file, Mutex::new(read)));
        Arc::new(Self { app, certificate, config })
    }

    /// Follows the files and SIGHUP until the future is dropped.
    pub(crate) async fn follow(self: &Arc<Self>) -> std::io::Result<()> {
        let mut hangup = Hangup::new()?;
        let mut known = self.stamps();
        loop {
            let is_asked = tokio::select! {
                () = hangup.recv() => true,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            // Before the files are read: one that changes meanwhile is read again.
            let stamps = self.stamps();
            if !is_asked && stamps == known {
                continue;
            }
            known = stamps;
            let reload = Arc::clone(self);
            // A panic is in the log.
            drop(tokio::task::spawn_blocking(move || reload.read_and_report()).await);
        }
    }

    /// The files that the current settings come from.
    fn files(&self) -> Vec<PathBuf> {
        let config = self.app.config();
        let own = self.config.as_ref().map(|(file, _)| file.clone());
        let tls = config.tls.iter().flat_map(|tls| [tls.certificates.clone(), tls.key.clone()]);
        own.into_iter().chain(config.api_key_file.clone()).chain(tls).collect()
    }

    fn stamps(&self) -> Vec<(PathBuf, Stamp)> {
        let stamp = |path: PathBuf| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        };
        self.files().into_iter().map(stamp).collect()
    }

    fn read_and_report(&self) {
        match self.read() {
            Ok(fixed) if fixed.is_empty() => {
                tracing::info!(keys = self.app.keys().len(), "the configuration was read again");
            }
            Ok(fixed) => {
                let fixed = fixed.join(", ");
                tracing::warn!(
                    fixed,
                    "the configuration was read again; some of it needs a restart"
                );
            }
            Err(error) => {
                tracing::error!(%error, "the configuration was not read again; nothing changed");
            }
        }
    }

    /// Reads everything, then uses it. Returns the names of settings that need a restart.
    fn read(&self) -> Result<Vec<&'static str>> {
        let current = self.app.config();
        let (new, mut fixed) = match &self.config {
            None => ((*current).clone(), Vec::new()),
            Some((_, read)) => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                read().map_err(Error::Settings)?
            }
        };
        let (config, also_fixed) = current.updated(&new);
        fixed.extend(also_fixed);
        let earlier = self.app.keys();
        let keys = Keys::new(&config, &earlier)?;
        if keys.is_empty() && !earlier.is_empty() {
            return Err(Error::NoKeyLeft);
        }
        let tls = config.tls.as_ref().filter(|_| self.certificate.is_some());
        let acceptor = tls.map(crate::tls::acceptor).transpose()?;
        if let (Some(certificate), Some(acceptor)) = (&self.certificate, acceptor) {
            certificate.set(acceptor);
        }
        self.app.set(Settings { config: Arc::new(config), keys: Arc::new(keys) });
        Ok(fixed)
    }
}

/// The signal HUP, which many programs are asked with to read their configuration again.
struct Hangup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangup {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        let received = self.signal.recv().await.is_some();
        #[cfg(not(unix))]
        let received = false;
        if !received {
            std::future::pending::<()>().await;
        }
    }
}
