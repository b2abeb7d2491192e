//! Which models are known, where they lie in the Hugging Face hub cache, and how they get there.
//!
//! [`ModelRef::parse`] turns what a user typed into a model, [`locate`] finds a whole snapshot of a
//! repository in the cache without any network, and [`pull`] downloads one. The cache has the layout
//! of the `huggingface_hub` Python library, so files that other tools downloaded are found and files
//! downloaded here are found by them.
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
mod config;
mod error;
mod id;
mod model_ref;
mod pull;

pub use cache::locate;
pub use catalog::{KNOWN, Known, known};
pub use config::HubConfig;
pub use error::{Error, Result};
pub use model_ref::ModelRef;
pub use pull::{PullEvent, pull};
