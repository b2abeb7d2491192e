//! The internal request that all dialects are converted to, and how it is embedded.

use crate::admission::Caller;
use crate::app::App;
use crate::problem::{ApiResult, Problem};
use crate::registry::ModelRef;
use crate::running_model::RunningModel;
use crate::wire::input::RequestTexts;
use crate::work::Pace;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kokeshi::{Embedded, Input, Model, Options, Request, TextEnd};
use std::sync::Arc;

/// Texts to embed with a served model.
#[derive(Debug)]
pub(crate) struct EmbedRequest {
    /// As the client wrote it.
    pub(crate) model: Option<String>,
    pub(crate) texts: RequestTexts,
    pub(crate) task: RequestTask,
    pub(crate) dimensions: Option<usize>,
    pub(crate) normalized: bool,
    /// The end of a text over the limit that is dropped; `None` refuses the text.
    pub(crate) truncate: Option<TextEnd>,
    /// `None` applies it only to lists of lists.
    pub(crate) late_chunking: Option<bool>,
}

impl EmbedRequest {
    /// Tokens that the request has at least, as far as its size shows: what of them is charged
    /// before anything is tokenized.
    fn least_tokens(&self) -> usize {
        let least = |text: &String| match self.truncate {
            Some(_) => least_tokens(text.len()).min(TRUNCATED_TOKENS),
            None => least_tokens(text.len()),
        };
        let sum = |texts: &Vec<String>| texts.iter().map(least).sum::<usize>();
        match &self.texts {
            RequestTexts::Flat(texts) => sum(texts),
            RequestTexts::Nested(documents) => documents.iter().map(sum).sum(),
        }
    }
}

/// Tokens that a text of `bytes` bytes has at least, unless it consists of white space: a token has
/// seldom more than 16 bytes.
pub(crate) fn least_tokens(bytes: usize) -> usize {
    (bytes / 32).max(1)
}

/// Tokens of a truncated text that are charged before it is tokenized.
const TRUNCATED_TOKENS: usize = 1024;

/// The end that `truncate` of most dialects drops.
pub(crate) fn tail(truncate: bool) -> Option<TextEnd> {
    truncate.then_some(TextEnd::Tail)
}

/// The task in a body.
#[derive(Debug)]
pub(crate) enum RequestTask {
    /// A task's name. It overrides the tasks of the model's name, the path and the header. A model
    /// that lacks it is an error.
    Named(Option<String>),
    /// A task that another API implies. It applies to models that have it, unless a task is named.
    Implied(Option<String>),
    /// The task of a collection's queries, whatever the path or the header names.
    OfCollection(Option<String>),
}

impl RequestTask {
    /// The task `name`, for models that have it.
    pub(crate) fn implied(name: &str) -> Self {
        Self::Implied(Some(name.to_owned()))
    }
}

/// A tokenized request and the model that will run it.
struct PreparedRequest {
    model: Arc<RunningModel>,
    request: Request,
    task: Option<String>,
}

/// The result of an [`EmbedRequest`].
#[derive(Debug)]
pub(crate) struct EmbedResponse {
    /// The served name of the model.
    pub(crate) model: String,
    /// The task that was used.
    pub(crate) task: Option<String>,
    /// One for each text, in order.
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) tokens: usize,
    /// Maximum number of windows of a document.
    windows: usize,
    truncated_texts: usize,
    truncated_tokens: usize,
}

/// Windows of the longest document, if it needed more than one.
pub(crate) const WINDOWS: HeaderName = HeaderName::from_static("x-kokeshi-windows");
/// How many texts were truncated, and by how many tokens in total.
pub(crate) const TRUNCATED: HeaderName = HeaderName::from_static("x-kokeshi-truncated");

impl EmbedResponse {
    /// Headers with the results that the bodies of the dialects have no fields for.
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

/// Texts as the engine accepts them: one input per text, or one per document.
#[derive(Debug)]
enum EngineTexts {
    Whole(Vec<String>),
    Documents(Vec<Vec<String>>),
}

impl EngineTexts {
    /// The parts of each document as slices, which [`Self::inputs`] borrows.
    fn parts(&self) -> Vec<Vec<&str>> {
        match self {
            Self::Whole(_) => Vec::new(),
            Self::Documents(documents) => documents.iter().map(|parts| borrow(parts)).collect(),
        }
    }

    /// Refuses texts that cannot be tokenized in short steps.
    fn check_steps(&self, model: &Model, truncated_end: Option<TextEnd>) -> ApiResult<()> {
        let is_first_enough = truncated_end != Some(TextEnd::Head);
        let check = |(index, text): (usize, &String), is_first_enough| {
            check_step(model, index, text, is_first_enough)
        };
        match self {
            Self::Whole(texts) => {
                texts.iter().enumerate().try_for_each(|text| check(text, is_first_enough))
            }
            Self::Documents(documents) => {
                let mut parts = documents.iter().flatten().enumerate();
                parts.try_for_each(|part| check(part, false))
            }
        }
    }

    fn inputs<'a>(&'a self, parts: &'a [Vec<&'a str>], options: &Options) -> Vec<Input<'a>> {
        let with_options = |input: Input<'a>| input.options(options.clone());
        match self {
            Self::Whole(texts) => texts.iter().map(|text| with_options(Input::new(text))).collect(),
            Self::Documents(_) => {
                parts.iter().map(|parts| with_options(Input::late_parts(parts))).collect()
            }
        }
    }
}

/// The longest part of a text that may be tokenized in one step: some two seconds and 200 MB.
pub(crate) const MAX_STEP_BYTES: usize = 1 << 20;

/// Refuses a text with a longer step: nobody else could have a turn meanwhile.
pub(crate) fn check_step(
    model: &Model,
    index: usize,
    text: &str,
    is_first_enough: bool,
) -> ApiResult<()> {
    let bytes = model.longest_step(text, is_first_enough);
    if bytes <= MAX_STEP_BYTES {
        return Ok(());
    }
    let message = format!(
        "text {index} has {bytes} bytes without white space after a letter, digit or punctuation; \
         the limit is {MAX_STEP_BYTES} bytes. Split it, or set truncate to keep its beginning"
    );
    Err(Problem::bad_request("INPUT_TOO_LONG", message))
}

fn borrow(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

impl App {
    /// Embeds the texts of a request.
    pub(crate) async fn embed(
        self: &Arc<Self>,
        request: EmbedRequest,
        caller: &Caller,
    ) -> ApiResult<EmbedResponse> {
        // The name is resolved once, so that the model, the task and the dimensions agree.
        let reference = self.registry.resolve(request.model.as_deref())?;
        self.embed_with(reference, request, caller).await
    }

    /// Embeds the texts of a request with this model.
    pub(crate) async fn embed_with(
        self: &Arc<Self>,
        reference: ModelRef,
        request: EmbedRequest,
        caller: &Caller,
    ) -> ApiResult<EmbedResponse> {
        self.check_count(request.texts.count())?;
        if self.config().log_inputs {
            tracing::info!(request_id = %caller.request_id, texts = ?request.texts, "inputs");
        }
        let PreparedRequest { model, request, task } =
            self.prepare(reference, request, caller).await?;
        let limit = self.config().timeouts.request;
        let embedded = model.embed(request, &caller.name, limit).await?;
        let response = response(&model.name, task, embedded);
        let task = response.task.as_deref();
        self.count_tokens(&response.model, task, response.tokens, response.vectors.len());
        Ok(response)
    }

    /// Counts what a model has embedded.
    pub(crate) fn count_tokens(
        &self,
        model: &str,
        task: Option<&str>,
        tokens: usize,
        texts: usize,
    ) {
        let labels = [model, task.unwrap_or("")];
        self.metrics.tokens.with_label_values(&labels).inc_by(tokens as u64);
        self.metrics.texts.with_label_values(&labels).inc_by(texts as u64);
    }

    /// Refuses a request with too many items.
    pub(crate) fn check_count(&self, count: usize) -> ApiResult<()> {
        let items = self.config().limits.items;
        if count <= items {
            return Ok(());
        }
        let message =
            format!("\"input\" length {count} is larger than the largest allowed size {items}");
        Err(Problem::bad_request("INPUT_TOO_MANY_ITEMS", message))
    }

    /// Refuses a request with too many tokens.
    pub(crate) fn check_tokens(&self, tokens: usize) -> ApiResult<()> {
        let limit = self.config().limits.request_tokens;
        if tokens <= limit {
            return Ok(());
        }
        let message = format!(
            "the request has {tokens} tokens; the limit is {limit}. Send fewer texts per request"
        );
        Err(Problem::bad_request("INPUT_TOO_LONG", message))
    }

    /// Loads the model and tokenizes. A part of the tokens is charged before.
    async fn prepare(
        self: &Arc<Self>,
        reference: ModelRef,
        request: EmbedRequest,
        caller: &Caller,
    ) -> ApiResult<PreparedRequest> {
        let model = self.loaded(&caller.name, &reference).await?;
        model.check_room(&caller.name)?;
        let deposit = caller.deposit(request.least_tokens())?;
        let (app, client, size) =
            (Arc::clone(self), Arc::clone(&caller.name), request.texts.len_bytes());
        let state = caller.clone();
        let tokenize =
            move |pace: &mut Pace| app.prepare_blocking(request, (&reference, model), &state, pace);
        let prepared = self.work(&client, size, tokenize).await??;
        let tokens = prepared.request.tokens();
        self.check_tokens(tokens)?;
        caller.settle(deposit, tokens)?;
        Ok(prepared)
    }

    fn prepare_blocking(
        &self,
        request: EmbedRequest,
        (reference, model): (&ModelRef, Arc<RunningModel>),
        caller: &Caller,
        pace: &mut Pace,
    ) -> ApiResult<PreparedRequest> {
        let binding = reference.binding();
        let config = self.config();
        let default = match binding {
            Some(binding) => binding.query_task.as_ref(),
            None => config.default_task.as_ref(),
        };
        let suffix = reference.task.as_deref();
        let task = task(&model.model, &request.task, (suffix, default), caller);
        let options = Options {
            task: task.clone(),
            dimensions: request.dimensions.or(binding.map(|binding| binding.dimensions)),
            normalized: request.normalized,
            truncate: request.truncate.is_some(),
            truncated_end: request.truncate.unwrap_or_default(),
            ..Options::default()
        };
        let truncated_end = request.truncate;
        let texts = self.engine_texts(request.texts, request.late_chunking, task.as_deref())?;
        texts.check_steps(&model.model, truncated_end)?;
        let parts = texts.parts();
        let inputs = texts.inputs(&parts, &options);
        let request = model.model.prepare_while(&inputs, &mut || pace.keep_running())?;
        Ok(PreparedRequest { model, request, task })
    }

    fn engine_texts(
        &self,
        texts: RequestTexts,
        late_chunking: Option<bool>,
        task: Option<&str>,
    ) -> ApiResult<EngineTexts> {
        Ok(match (texts, late_chunking) {
            (RequestTexts::Flat(texts), None | Some(false)) => EngineTexts::Whole(texts),
            (RequestTexts::Flat(texts), Some(true))
                if task == Some("retrieval.query") && !self.config().join_queries =>
            {
                EngineTexts::Documents(texts.into_iter().map(|text| vec![text]).collect())
            }
            (RequestTexts::Flat(texts), Some(true)) => EngineTexts::Documents(vec![texts]),
            (RequestTexts::Nested(documents), None | Some(true)) => {
                EngineTexts::Documents(documents)
            }
            (RequestTexts::Nested(_), Some(false)) => {
                let message = "lists of lists are documents for late chunking; omit \
                               `late_chunking` or send one list";
                return Err(Problem::invalid("late_chunking", message));
            }
        })
    }
}

/// The task of a request: from the body, the model's name, the path, the header, an implied task,
/// or `default` (the task of the server or of a collection), in this order.
pub(crate) fn task(
    model: &Model,
    body: &RequestTask,
    (suffix, default): (Option<&str>, Option<&String>),
    caller: &Caller,
) -> Option<String> {
    let has = |task: &str| model.config().tasks.iter().any(|known| known.name == task);
    let default = default.map(String::as_str).filter(|task| has(task));
    // Later models call the same task `clustering`.
    let alias = |task| if task == "clustering" && !has(task) { "separation" } else { task };
    let (named, implied) = match body {
        RequestTask::Named(task) => (task.as_deref(), None),
        RequestTask::Implied(task) => (None, task.as_deref().map(alias).filter(|task| has(task))),
        RequestTask::OfCollection(task) => return task.clone(),
    };
    let named = named.or(suffix).or(caller.task.as_deref());
    named.or(implied).or(default).map(|task| alias(task).to_owned())
}

fn response(model: &str, task: Option<String>, embedded: Vec<Embedded>) -> EmbedResponse {
    let truncated = embedded.iter().filter(|result| result.truncated_tokens.get() > 0);
    EmbedResponse {
        model: model.to_owned(),
        task,
        tokens: embedded.iter().map(|result| result.tokens).sum(),
        windows: embedded.iter().map(|result| result.windows).max().unwrap_or(0),
        truncated_texts: truncated.clone().count(),
        truncated_tokens: truncated.map(|result| result.truncated_tokens.get()).sum(),
        vectors: embedded.into_iter().flat_map(|result| result.vectors).collect(),
    }
}
