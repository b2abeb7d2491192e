//! What a model was trained for: tasks and dimensions. A refusal names a model that can do more.

use crate::error::{Error, Result};
use kokeshi_model::{EncoderConfig, Position, released_tasks};

/// The adapter index of `task`.
///
/// # Errors
///
/// [`Error::UnknownTask`] if the model has no such task.
pub(crate) fn adapter(config: &EncoderConfig, index: usize, task: &str) -> Result<usize> {
    let position = config.tasks.iter().position(|known| known.name == task);
    position.ok_or_else(|| Error::UnknownTask {
        index,
        task: task.to_owned(),
        known: known_tasks(config),
        hint: is_v2(config).then(|| v2_task_hint(task)),
    })
}

/// Refuses `dimensions` that the model's vectors cannot be cut to.
///
/// # Errors
///
/// [`Error::FixedWidth`] or [`Error::Dimensions`].
pub(crate) fn check_dimensions(
    config: &EncoderConfig,
    index: usize,
    dimensions: Option<usize>,
) -> Result<()> {
    let hidden = config.hidden;
    match dimensions {
        Some(dimensions) if !config.truncatable && dimensions != hidden => {
            Err(Error::FixedWidth { index, dimensions, hidden })
        }
        Some(dimensions) if !(1..=hidden).contains(&dimensions) => {
            Err(Error::Dimensions { index, dimensions, hidden })
        }
        _ => Ok(()),
    }
}

/// Whether the model is jina-embeddings-v2, the only supported family with ALiBi.
fn is_v2(config: &EncoderConfig) -> bool {
    config.position == Position::Alibi
}

/// A clause that lists the model's tasks.
fn known_tasks(config: &EncoderConfig) -> String {
    let names: Vec<_> = config.tasks.iter().map(|task| format!("`{}`", task.name)).collect();
    let names = names.join(", ");
    if is_v2(config) {
        let family = "this model (jina-embeddings-v2)";
        format!("{family} was trained for one task, {names}, and has no task adapters")
    } else if names.is_empty() {
        "this model has no tasks".to_owned()
    } else {
        format!("this model has {names}")
    }
}

/// Advice for a v2 model that was asked for `task`.
fn v2_task_hint(task: &str) -> String {
    if released_tasks().any(|known| known == task) {
        return format!("leave the task out, or use jina-embeddings-v3, which has `{task}`");
    }
    let known: Vec<_> = released_tasks().map(|known| format!("`{known}`")).collect();
    format!("leave the task out; jina-embeddings-v3 has {}", known.join(", "))
}
