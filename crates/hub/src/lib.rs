//! Known models, the Hugging Face hub cache, and downloads into it.
//!
//! [`ModelRef::parse`] parses the name of a model, [`locate`] finds a complete snapshot of a
//! repository in the cache without network access, [`pull`] downloads one, and [`check_files`] compares
//! its files with their checksums. The cache has the
//! layout of the Python library `huggingface_hub`, so this program and other tools find each
//! other's downloads.
//!
//! ```no_run
//! use kokeshi_hub::{HubConfig, ModelRef, PullEvent, locate, pull};
//!
//! let config = HubConfig::from_env(&|name| std::env::var_os(name))?;
//! if let ModelRef::Repo { repo, revision } = ModelRef::parse("jina-embeddings-v3")? {
//!     let folder = match locate(&config, &repo, &revision)? {
//!         Some(folder) => folder,
//!         None => pull(&config, &repo, &revision, &mut |event: PullEvent<'_>| {
//!             eprintln!("{event:?}");
//!         })?,
//!     };
//!     assert!(folder.join("config.json").is_file());
//! }
//! # Ok::<(), kokeshi_hub::Error>(())
//! ```

mod cache;
mod catalog;
mod check;
mod config;
mod error;
mod id;
mod model_ref;
mod pull;

pub use cache::locate;
pub use catalog::{KNOWN_MODELS, KnownModel, known};
pub use check::{Check, check_files};
pub use config::HubConfig;
pub use error::{Error, Result};
pub use model_ref::ModelRef;
pub use pull::{PullEvent, pull};
