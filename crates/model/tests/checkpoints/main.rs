//! Checkpoints in every form: what loads, and what is refused.

mod damaged;
mod files;
mod quantized;
