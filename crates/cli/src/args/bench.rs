//! Arguments of `kokeshi bench`.

use super::ArithmeticArguments;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    /// Known name, hub id or folder of the model; token ids are random, so no tokenizer is needed
    #[arg(long, value_name = "MODEL", default_value = "starter")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) arithmetic: ArithmeticArguments,
    /// Time every batch once, instead of at least three times and for at least a second
    #[arg(long)]
    pub(crate) quick: bool,
    /// Time only this batch, by its name in the table, such as `8×128` or `8x128`; can be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["memory", "print_batches", "read_batches"])]
    pub(crate) batch: Vec<String>,
    /// Print JSON, including the time of every run
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write an SVG chart of each batch's share of the floor: its least possible time, divided
    /// by its time
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Measure memory instead of time (resident, without mapped files): after loading, during a
    /// batch of 8×512 tokens, and over BATCHES of 1 to 8 texts of 8 to 512 tokens
    #[arg(
        long,
        value_name = "BATCHES",
        num_args = 0..=1,
        default_missing_value = "1000",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["quick", "svg"]
    )]
    pub(crate) memory: Option<u32>,
    /// Print the batches instead of timing them, so that other programs can be timed on the same
    /// tokens: one JSON object per line, with the token ids and the task of every text
    #[arg(long, conflicts_with_all = ["quick", "json", "svg", "memory"])]
    pub(crate) print_batches: bool,
    /// Read batches from standard input, in the format of --print-batches, and run each once as
    /// soon as it arrives.
    ///
    /// The output is one JSON object per line: first the program and its device, then, for each
    /// batch, the seconds that its pass took and the mean state of each text.
    #[arg(long, conflicts_with_all = ["quick", "json", "svg", "memory", "print_batches"])]
    pub(crate) read_batches: bool,
}
