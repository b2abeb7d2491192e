//! The one request that all dialects become, and its way through the model.

use crate::app::App;
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::registry::ModelEntry;
use crate::wire::input::Texts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kokeshi::{Embedded, Input, Model, Options};
use std::sync::Arc;

/// Texts to embed with a served model.
#[derive(Debug)]
pub(crate) struct EmbedRequest {
    /// As the client wrote it.
    pub(crate) model: Option<String>,
    pub(crate) texts: Texts,
    /// A task in the body, which wins over those of the model's name, path and header.
    pub(crate) task: Option<String>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) normalized: bool,
    pub(crate) truncate: bool,
    /// `None`: for lists of lists alone.
    pub(crate) late_chunking: Option<bool>,
}

/// What came of an [`EmbedRequest`].
#[derive(Debug)]
pub(crate) struct EmbedResponse {
    /// The model's name as it is served.
    pub(crate) model: String,
    /// One for each text, in their order.
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) tokens: usize,
    /// Most windows that a document took.
    windows: usize,
    truncated_texts: usize,
    truncated_tokens: usize,
}

/// Windows of the longest document, where it took more than one.
const WINDOWS: HeaderName = HeaderName::from_static("x-kokeshi-windows");
/// How many texts were cut, and by how many tokens together.
const TRUNCATED: HeaderName = HeaderName::from_static("x-kokeshi-truncated");

impl EmbedResponse {
    /// Headers that say what bodies of the dialects have no place for.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.windows > 1 {
            headers.insert(WINDOWS, HeaderValue::from(self.windows));
        }
        if self.truncated_texts > 0 {
            let value = format!("texts={}, tokens={}", self.truncated_texts, self.truncated_tokens);
            headers.extend(HeaderValue::try_from(value).map(|value| (TRUNCATED, value)));
        }
        headers
    }
}

/// Texts as the engine takes them: one input each, or one a document.
#[derive(Debug)]
enum Units {
    Whole(Vec<String>),
    Documents(Vec<Vec<String>>),
}

impl Units {
    /// Borrowed parts of each document, which [`Self::inputs`] borrows in turn.
    fn parts(&self) -> Vec<Vec<&str>> {
        match self {
            Self::Whole(_) => Vec::new(),
            Self::Documents(documents) => documents.iter().map(|parts| borrowed(parts)).collect(),
        }
    }

    fn inputs<'a>(&'a self, parts: &'a [Vec<&'a str>], options: &Options) -> Vec<Input<'a>> {
        let with = |input: Input<'a>| input.options(options.clone());
        match self {
            Self::Whole(texts) => texts.iter().map(|text| with(Input::new(text))).collect(),
            Self::Documents(_) => {
                parts.iter().map(|parts| with(Input::late_parts(parts))).collect()
            }
        }
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

impl App {
    /// Embeds the texts of a request.
    pub(crate) async fn embed(
        self: &Arc<Self>,
        request: EmbedRequest,
        caller: &Caller,
    ) -> Outcome<EmbedResponse> {
        let items = self.config.limits.items;
        if request.texts.count() > items {
            return Err(Problem::bad_request(
                "INPUT_TOO_MANY_ITEMS",
                format!(
                    "\"input\" length {} is larger than the largest allowed size {items}",
                    request.texts.count()
                ),
            ));
        }
        let (app, caller) = (Arc::clone(self), caller.clone());
        let run = move || app.embed_now(request, &caller);
        let ran = tokio::task::spawn_blocking(run).await;
        ran.map_err(|_| Problem::internal("the request failed; the log says more"))?
    }

    fn embed_now(&self, request: EmbedRequest, caller: &Caller) -> Outcome<EmbedResponse> {
        let named = self.registry.find(request.model.as_deref())?;
        let model = self.registry.load(named.entry)?;
        let task = self.task(&model, request.task.as_deref(), named.task, caller);
        let options = Options {
            task,
            dimensions: request.dimensions,
            normalized: request.normalized,
            truncate: request.truncate,
            ..Options::default()
        };
        let units = self.units(request.texts, request.late_chunking, options.task.as_deref())?;
        let parts = units.parts();
        let embedded = model.embed(&units.inputs(&parts, &options))?;
        Ok(response(named.entry, embedded))
    }

    /// The task of a request: the body's, the model name's, the path's, the header's, the server's.
    fn task(
        &self,
        model: &Model,
        body: Option<&str>,
        suffix: Option<&str>,
        caller: &Caller,
    ) -> Option<String> {
        let has = |task: &str| model.config().tasks.iter().any(|known| known.name == task);
        let default = self.config.default_task.as_deref().filter(|task| has(task));
        let asked = body.or(suffix).or(caller.task.as_deref()).or(default)?;
        // Later models call the same task `clustering`.
        let alias = if asked == "clustering" && !has(asked) { "separation" } else { asked };
        Some(alias.to_owned())
    }

    fn units(&self, texts: Texts, late: Option<bool>, task: Option<&str>) -> Outcome<Units> {
        Ok(match (texts, late) {
            (Texts::Flat(texts), None | Some(false)) => Units::Whole(texts),
            (Texts::Flat(texts), Some(true))
                if task == Some("retrieval.query") && !self.config.join_queries =>
            {
                Units::Documents(texts.into_iter().map(|text| vec![text]).collect())
            }
            (Texts::Flat(texts), Some(true)) => Units::Documents(vec![texts]),
            (Texts::Nested(documents), None | Some(true)) => Units::Documents(documents),
            (Texts::Nested(_), Some(false)) => {
                let message = "lists of lists are documents for late chunking; leave \
                               `late_chunking` out or send one list";
                return Err(Problem::invalid("late_chunking", message));
            }
        })
    }
}

fn response(entry: &ModelEntry, embedded: Vec<Embedded>) -> EmbedResponse {
    let cut = embedded.iter().filter(|result| result.truncated_tokens > 0);
    EmbedResponse {
        model: entry.name.clone(),
        tokens: embedded.iter().map(|result| result.tokens).sum(),
        windows: embedded.iter().map(|result| result.windows).max().unwrap_or(0),
        truncated_texts: cut.clone().count(),
        truncated_tokens: cut.map(|result| result.truncated_tokens).sum(),
        vectors: embedded.into_iter().flat_map(|result| result.vectors).collect(),
    }
}
