//! `kokeshi models info`.

use super::card;
use crate::args::InfoArguments;
use crate::layout::counted;
use crate::printer::Printer;
use crate::selection;
use crate::visible::visible;
use kokeshi::{
    Activation, Checkpoint, Layout, LoadOptions, Model, Position, TensorInfo, TokenizerInfo,
};
use kokeshi_collections::ModelLocation;
use kokeshi_hub::KnownModel;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The properties of a model.
struct ModelInfo {
    name: String,
    location: String,
    checkpoint: Checkpoint,
    tensors: Vec<TensorInfo>,
    tokenizer: TokenizerInfo,
    known: Option<&'static KnownModel>,
    /// The licence that the card of a model that is not known states.
    stated_licence: Option<String>,
}

pub(super) fn run(arguments: &InfoArguments, printer: &Printer) -> anyhow::Result<()> {
    let info = ModelInfo::read(&arguments.name)?;
    match arguments.json {
        true => printer.print(&format!("{}\n", info.json())),
        false => printer.print_lines(&info.text()),
    }
}

impl ModelInfo {
    fn read(name: &str) -> anyhow::Result<Self> {
        let location = selection::locate(name)?;
        let tokenizer = match &location {
            ModelLocation::Bundled => Model::starter(&LoadOptions::default())?.tokenizer_info(),
            ModelLocation::Folder(folder) => {
                kokeshi::inspect_tokenizer(&folder.join("tokenizer.json"))?
            }
        };
        let checkpoint = location.checkpoint()?;
        let (tensors, known) = (checkpoint.tensors(), selection::known(name)?);
        let stated_licence = card::licence(&location);
        let (name, location) = (name.to_owned(), location.to_string());
        Ok(Self { name, location, checkpoint, tensors, tokenizer, known, stated_licence })
    }

    fn licence(&self) -> String {
        match (self.known, &self.stated_licence) {
            (Some(known), _) => format!("{}: {}", known.licence, known.licence_note),
            (None, Some(stated)) => format!("{stated}, as its model card says"),
            (None, None) => "unknown; see the model card".to_owned(),
        }
    }

    /// Number of tensors by dtype.
    fn dtypes(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for tensor in &self.tensors {
            *counts.entry(tensor.dtype).or_default() += 1;
        }
        counts
    }

    fn json(&self) -> Value {
        let (config, tokenizer) = (self.checkpoint.config(), &self.tokenizer);
        let tensors = self.tensors.iter().map(
            |tensor| json!({"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape}),
        );
        let tasks = config.tasks.iter();
        let tasks = tasks.map(|task| json!({"name": task.name, "instruction": task.instruction}));
        json!({
            "name": self.name,
            "place": self.location,
            "licence": self.known.map(|known| known.licence).or(self.stated_licence.as_deref()),
            "parameters": self.checkpoint.parameters(),
            "layout": self.checkpoint.layout().to_string(),
            "config": {
                "layers": config.layers, "heads": config.heads, "hidden": config.hidden,
                "ffn_hidden": config.ffn_hidden, "vocab": config.vocab,
                "max_tokens": config.max_tokens, "trained_tokens": config.trained_tokens,
                "quantized": self.checkpoint.is_quantized(), "lora_rank": config.lora_rank,
                "matryoshka": config.matryoshka, "truncatable": config.truncatable,
                "position": position(config.position),
                "activation": activation(config.activation),
            },
            "tasks": tasks.collect::<Vec<_>>(),
            "tokenizer": {
                "kind": tokenizer.kind, "vocab": tokenizer.vocab,
                "largest_id": tokenizer.largest_id, "special_tokens": tokenizer.special_tokens,
            },
            "device": selection::describe_auto_device(),
            "tensors": tensors.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let (config, tokenizer) = (self.checkpoint.config(), &self.tokenizer);
        let parameters = self.checkpoint.parameters() as f64 / 1e6;
        let dtypes = self.dtypes();
        let dtypes: Vec<_> = dtypes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let lines = [
            ("model", self.name.clone()),
            ("location", self.location.clone()),
            ("licence", self.licence()),
            ("parameters", format!("{parameters:.1} M in {} tensors", self.tensors.len())),
            ("stored as", dtypes.join(", ")),
            ("layout", self.checkpoint.layout().to_string()),
            (
                "network",
                format!(
                    "{} layers, {} heads, hidden {}, feed-forward {}",
                    config.layers, config.heads, config.hidden, config.ffn_hidden
                ),
            ),
            ("position", position(config.position)),
            ("activation", activation(config.activation).to_owned()),
            ("limit", format!("{} tokens, special tokens included", config.max_tokens)),
            ("trained on", format!("texts of up to {} tokens", config.trained_tokens)),
            ("dimensions", self.dimensions()),
            ("tokenizer", format!("{}, {} tokens", tokenizer.kind, tokenizer.vocab)),
            ("device", selection::describe_auto_device()),
            ("tasks", format!("{}, {}", counted(config.tasks.len(), "task"), self.adapters())),
        ];
        let lines = lines.map(|(name, value)| format!("{name:<12}{}\n", visible(&value)));
        lines.concat() + &self.tasks() + "\n" + &self.table()
    }

    fn dimensions(&self) -> String {
        let config = self.checkpoint.config();
        match (config.truncatable, config.matryoshka.as_slice()) {
            (false, _) => format!("{}, cannot be reduced", config.hidden),
            (true, []) => format!("1 to {}", config.hidden),
            (true, trained) => format!("1 to {}, trained for {trained:?}", config.hidden),
        }
    }

    fn adapters(&self) -> String {
        match self.checkpoint.layout() {
            _ if !self.checkpoint.has_adapters() => "no adapters".to_owned(),
            Layout::Original => format!("adapters of rank {}", self.checkpoint.config().lora_rank),
            Layout::NativeFused | Layout::NativeSplit => "adapters in folders".to_owned(),
            Layout::Bert | Layout::BertQkPostNorm => "no adapters".to_owned(),
        }
    }

    fn tasks(&self) -> String {
        let tasks = self.checkpoint.config().tasks.iter();
        tasks.map(|task| format!("  {:<20}{:?}\n", visible(&task.name), task.instruction)).collect()
    }

    /// The tensors; those whose names differ only in numbers (layers, tasks) share a line.
    fn table(&self) -> String {
        let mut groups: BTreeMap<(String, &str, &[usize]), usize> = BTreeMap::new();
        for tensor in &self.tensors {
            let key = (numbers_replaced(&tensor.name), tensor.dtype, tensor.shape.as_slice());
            *groups.entry(key).or_default() += 1;
        }
        let lines = groups.iter().map(|((name, dtype, shape), count)| {
            format!("{count:>5} × {dtype:<5}{:<18}{}\n", format!("{shape:?}"), visible(name))
        });
        lines.collect()
    }
}

fn position(position: Position) -> String {
    match position {
        Position::Rope { theta } => format!("rotary, theta {theta}"),
        Position::Alibi => "ALiBi".to_owned(),
    }
}

fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "GELU",
        Activation::GeGlu => "GEGLU",
        Activation::ReGlu => "ReGLU",
    }
}

/// `layers.11.mlp` as `layers.*.mlp`.
fn numbers_replaced(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> =
        name.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
    parts.join(".")
}
