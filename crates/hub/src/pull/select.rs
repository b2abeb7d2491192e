//! Selects the files of a repository that belong to the model.

use crate::cache::{REQUIRED, WEIGHTS, WEIGHTS_INDEX};

/// Files to download if they exist.
const OPTIONAL: [&str; 6] = [
    "1_Pooling/config.json",
    "README.md",
    "config_sentence_transformers.json",
    "modules.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];
/// The files of one PEFT adapter, in a folder named after the adapter.
const ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// The files to download out of all `paths` of a repository.
///
/// Weights in other formats (PyTorch pickles, ONNX, OpenVINO) and program code are never
/// downloaded.
///
/// # Errors
///
/// A description of the files that are missing.
pub(crate) fn model_files<'a>(paths: &[&'a str]) -> Result<Vec<&'a str>, String> {
    if let Some(missing) = REQUIRED.into_iter().find(|required| !paths.contains(required)) {
        return Err(format!("`{missing}`"));
    }
    let is_split = !paths.contains(&WEIGHTS);
    if is_split && !paths.contains(&WEIGHTS_INDEX) {
        return Err(format!("weights in safetensors form (`{WEIGHTS}` or `{WEIGHTS_INDEX}`)"));
    }
    let selected =
        |path: &&str| is_description(path) || is_adapter(path) || is_weights(path, is_split);
    Ok(paths.iter().copied().filter(selected).collect())
}

fn is_description(path: &str) -> bool {
    REQUIRED.contains(&path) || OPTIONAL.contains(&path)
}

fn is_adapter(path: &str) -> bool {
    path.split_once('/').is_some_and(|(_, file)| ADAPTER.contains(&file))
}

/// Weights are one file, or the index and every safetensors file next to it, because their names
/// are known only from the index.
fn is_weights(path: &str, is_split: bool) -> bool {
    let is_part = !path.contains('/') && path.ends_with(".safetensors");
    if is_split { path == WEIGHTS_INDEX || is_part } else { path == WEIGHTS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_the_model_are_selected() {
        let paths = [
            ".gitattributes",
            "1_Pooling/config.json",
            "README.md",
            "config.json",
            "custom_st.py",
            "model.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "onnx/config.json",
            "other.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "separation/adapter_config.json",
            "separation/adapter_model.safetensors",
            "separation/adapter_model.bin",
        ];
        let expected = [
            "1_Pooling/config.json",
            "README.md",
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "separation/adapter_config.json",
            "separation/adapter_model.safetensors",
        ];
        assert_eq!(model_files(&paths).unwrap(), expected);
    }

    #[test]
    fn split_weights_are_selected_with_all_their_parts() {
        let paths = ["a-1.safetensors", "config.json", WEIGHTS_INDEX, "tokenizer.json"];
        assert_eq!(model_files(&paths).unwrap(), paths);
    }

    #[test]
    fn a_repository_without_a_model_is_refused_with_what_it_lacks() {
        for (paths, missing) in [
            (vec![], "`config.json`"),
            (vec!["config.json"], "`tokenizer.json`"),
            (
                vec!["config.json", "tokenizer.json", "pytorch_model.bin"],
                "weights in safetensors form (`model.safetensors` or `model.safetensors.index.json`)",
            ),
        ] {
            assert_eq!(model_files(&paths).unwrap_err(), missing);
        }
    }
}
