//! The one request that all dialects become, and its way through the model.

use crate::app::App;
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::running::Running;
use crate::wire::input::Texts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kokeshi::{Embedded, Input, Model, Options, Request};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Texts to embed with a served model.
#[derive(Debug)]
pub(crate) struct EmbedRequest {
    /// As the client wrote it.
    pub(crate) model: Option<String>,
    pub(crate) texts: Texts,
    pub(crate) task: Task,
    pub(crate) dimensions: Option<usize>,
    pub(crate) normalized: bool,
    pub(crate) truncate: bool,
    /// `None`: for lists of lists alone.
    pub(crate) late_chunking: Option<bool>,
}

/// The task in a body.
#[derive(Debug)]
pub(crate) enum Task {
    /// By its name: it wins over those of the model's name, the path and the header, and a model
    /// that does not have it is an error.
    Asked(Option<String>),
    /// By what another API calls it: for models that have it, unless another task is named.
    Hinted(Option<&'static str>),
}

/// A request that is tokenised, and the model that is to run it.
struct Ready {
    running: Arc<Running>,
    prepared: Request,
    task: Option<String>,
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
        self.check_count(request.texts.count())?;
        if self.config.log_inputs {
            tracing::info!(request_id = %caller.request_id, texts = ?request.texts, "inputs");
        }
        let ready = self.prepare(request, caller).await?;
        let tokens = ready.prepared.tokens();
        self.check_tokens(tokens)?;
        caller.charge(tokens)?;
        let limit = self.config.timeouts.request;
        let embedded = ready.running.embed(ready.prepared, &caller.name, limit).await?;
        let response = response(&ready.running.name, embedded);
        let labels = [response.model.as_str(), ready.task.as_deref().unwrap_or("")];
        self.metrics.tokens.with_label_values(&labels).inc_by(response.tokens as u64);
        self.metrics.texts.with_label_values(&labels).inc_by(response.vectors.len() as u64);
        Ok(response)
    }

    /// Refuses too many items.
    pub(crate) fn check_count(&self, count: usize) -> Outcome<()> {
        let items = self.config.limits.items;
        if count <= items {
            return Ok(());
        }
        let message =
            format!("\"input\" length {count} is larger than the largest allowed size {items}");
        Err(Problem::bad_request("INPUT_TOO_MANY_ITEMS", message))
    }

    /// Refuses too many tokens.
    pub(crate) fn check_tokens(&self, tokens: usize) -> Outcome<()> {
        let limit = self.config.limits.request_tokens;
        if tokens <= limit {
            return Ok(());
        }
        let message = format!(
            "the request has {tokens} tokens, more than the {limit} that one may have; send fewer \
             texts at once"
        );
        Err(Problem::bad_request("INPUT_TOO_LONG", message))
    }

    /// Finds and loads the model and tokenises, on a thread where that harms nobody.
    async fn prepare(self: &Arc<Self>, request: EmbedRequest, caller: &Caller) -> Outcome<Ready> {
        let named = self.registry.find(request.model.as_deref())?;
        if let Some(running) = self.registry.at_hand(named.entry()) {
            running.check_room(&caller.name)?;
        }
        let (app, caller) = (Arc::clone(self), caller.clone());
        self.compute(move || app.prepare_now(request, &caller)).await?
    }

    /// Runs `work`, which is short, on a thread for blocking work, when a core is free for it.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        blocking(&self.workers, work).await
    }

    /// Runs `work` with a forward pass of its own, beside the queue: one at a time, and without
    /// keeping short work waiting.
    pub(crate) async fn forward<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        blocking(&self.passes, work).await
    }

    fn prepare_now(&self, request: EmbedRequest, caller: &Caller) -> Outcome<Ready> {
        // A name is looked up once: all of a request goes to the model that it leads to now.
        let named = self.registry.find(request.model.as_deref())?;
        let (running, bound) = (self.registry.run(named.entry())?, named.bound());
        let default = bound.map_or(self.config.default_task.as_ref(), |to| to.query_task.as_ref());
        let suffix = named.task.as_deref();
        let task = task(&running.model, &request.task, (suffix, default), caller);
        let options = Options {
            task: task.clone(),
            dimensions: request.dimensions.or(bound.map(|to| to.dimensions)),
            normalized: request.normalized,
            truncate: request.truncate,
            ..Options::default()
        };
        let units = self.units(request.texts, request.late_chunking, task.as_deref())?;
        let prepared = running.model.prepare(&units.inputs(&units.parts(), &options))?;
        Ok(Ready { running, prepared, task })
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

/// The task of a request: the body's, the model name's, the path's, the header's, and in the end
/// `default`: the server's, or that of a collection.
pub(crate) fn task(
    model: &Model,
    body: &Task,
    (suffix, default): (Option<&str>, Option<&String>),
    caller: &Caller,
) -> Option<String> {
    let has = |task: &str| model.config().tasks.iter().any(|known| known.name == task);
    let default = default.map(String::as_str).filter(|task| has(task));
    // Later models call the same task `clustering`.
    let alias = |task| if task == "clustering" && !has(task) { "separation" } else { task };
    let (asked, hinted) = match body {
        Task::Asked(task) => (task.as_deref(), None),
        Task::Hinted(task) => (None, task.map(alias).filter(|task| has(task))),
    };
    let named = asked.or(suffix).or(caller.task.as_deref());
    named.or(hinted).or(default).map(|task| alias(task).to_owned())
}

/// Runs `work` on a thread for blocking work, when one of `permits` is free.
async fn blocking<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Outcome<T> {
    let stopped = || Problem::internal("the work failed; the log says more");
    let permit = Arc::clone(permits).acquire_owned().await.map_err(|_| stopped())?;
    let work = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    work.await.map_err(|_| stopped())
}

fn response(model: &str, embedded: Vec<Embedded>) -> EmbedResponse {
    let cut = embedded.iter().filter(|result| result.truncated_tokens > 0);
    EmbedResponse {
        model: model.to_owned(),
        tokens: embedded.iter().map(|result| result.tokens).sum(),
        windows: embedded.iter().map(|result| result.windows).max().unwrap_or(0),
        truncated_texts: cut.clone().count(),
        truncated_tokens: cut.map(|result| result.truncated_tokens).sum(),
        vectors: embedded.into_iter().flat_map(|result| result.vectors).collect(),
    }
}
