//! Arguments of `kokeshi models`.

use super::{DeviceArguments, one_of};
use clap::{Args, Subcommand};
use kokeshi::{SyntheticShape, TableBits};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the known models, and which of them are on this machine
    List(ListArguments),
    /// Download a model into the cache that Hugging Face tools share
    Pull(PullArguments),
    /// Show a model's configuration, tensors, tasks, tokenizer and licence
    Info(InfoArguments),
    /// Compare a model with vectors published for the released weights, in f32 unless --precision
    /// is given
    Verify(VerifyArguments),
    /// Write a copy of a model with eight-bit weights, about half its size, and report what that
    /// costs
    Quantize(QuantizeArguments),
    /// Write a checkpoint with random weights, to try size, memory and speed without a download
    Synthesize(SynthesizeArguments),
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PullArguments {
    /// Known name or hub id `owner/name[@revision]` of the model
    pub(crate) name: String,
}

#[derive(Args, Debug)]
pub(crate) struct InfoArguments {
    /// Known name, hub id or folder of the model
    #[arg(default_value = "starter")]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    /// Known name, hub id or folder of the model
    #[arg(default_value = "jina-embeddings-v3")]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
pub(crate) struct QuantizeArguments {
    /// Known name, hub id or folder of the model
    pub(crate) name: String,
    /// Folder to create
    pub(crate) folder: PathBuf,
    /// Bits of the embedding table: 8, or 4 with a scale per 32 columns
    #[arg(long, value_name = "BITS", default_value = TableBits::Eight.name(), value_parser = table_bits)]
    pub(crate) table_bits: TableBits,
    /// Skip the comparison with the original, which loads both models in f32, one after the other
    #[arg(long)]
    pub(crate) skip_comparison: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SynthesizeArguments {
    /// Folder to create
    pub(crate) folder: PathBuf,
    /// Shape: `v3` as released (1.1 GB), `starter-v1` and `tiny` (the same architecture), or
    /// `v2-base`
    #[arg(long, default_value = SyntheticShape::V3.name(), value_parser = shape)]
    pub(crate) shape: SyntheticShape,
    /// Seed of the weights; the same seed writes the same file
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn shape(name: &str) -> Result<SyntheticShape, String> {
    one_of(SyntheticShape::ALL, SyntheticShape::name, name)
}

fn table_bits(name: &str) -> Result<TableBits, String> {
    one_of(TableBits::ALL, TableBits::name, name)
}
