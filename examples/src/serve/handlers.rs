//! Routes and answers.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use crossbeam_channel::TrySendError;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use vit_datasets::Task;
use vit_transforms::{DecodeLimits, Image, decode_bytes};

use super::inference::{Ask, Job, ModelQueue};
use super::instruments::Instruments;
use super::{ServeLimits, body, inference};
use crate::embedder::{Embedder, Features};

/// Seconds after which a refused client may ask again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Longer sides than so many times the shorter one are refused: resizing by the shorter side makes
/// a small body into a huge picture.
const MOST_ASPECT: usize = 50;

/// What all requests share.
pub(super) struct App {
    embedder: Arc<Embedder>,
    limits: ServeLimits,
    /// The model's part of every answer.
    identity: Identity,
    model: ModelQueue,
    /// Places in the queue.
    places: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
    instruments: Arc<Instruments>,
}

/// Which model answered, and how it sees pictures.
#[derive(Debug, Clone, Serialize)]
struct Identity {
    model: String,
    model_sha256: String,
    preprocessing: String,
}

#[derive(Serialize)]
struct Embedding<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    features: Features,
    embedding: Vec<f32>,
}

#[derive(Serialize)]
struct Classes<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    /// `single_label`: the probabilities add up to 1. `multi_label`: each stands alone.
    kind: &'static str,
    labels: Vec<Label<'a>>,
    /// Whether the probabilities went through a calibration fitted on validation data.
    calibrated: bool,
    /// The most probable class, where exactly one is true.
    predicted: Option<&'a str>,
}

#[derive(Serialize)]
struct Label<'a> {
    name: &'a str,
    probability: f32,
    /// For findings: whether the probability is above the threshold chosen on validation data.
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<bool>,
}

/// An answer that says no, with the reason.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    fn full() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the queue is full")
    }

    /// A picture that cannot be used.
    fn picture(error: &vit_transforms::Error) -> Self {
        let status = match error {
            vit_transforms::Error::Limit { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }

    fn internal(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
    }
}

fn check_aspect(image: &Image) -> Result<(), Refusal> {
    let (width, height) = (image.width(), image.height());
    if width.max(height) / width.min(height).max(1) <= MOST_ASPECT {
        return Ok(());
    }
    let reason = format!("{width} x {height}: one side is over {MOST_ASPECT} times the other");
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &json!({"error": self.reason}));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        response
    }
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value);
    let (status, text) =
        text.map_or((StatusCode::INTERNAL_SERVER_ERROR, Vec::new()), |t| (status, t));
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, text).into_response()
}

impl App {
    /// Starts the model's thread.
    pub(super) fn start(
        embedder: Arc<Embedder>,
        limits: ServeLimits,
    ) -> Result<(Arc<Self>, JoinHandle<()>)> {
        let instruments = Instruments::new();
        let (model, thread) =
            inference::start(Arc::clone(&embedder), &limits, Arc::clone(&instruments))?;
        let identity = Identity {
            model: embedder.name.clone(),
            model_sha256: embedder.sha256.clone(),
            preprocessing: embedder.preprocessing()?,
        };
        let places = Arc::new(Semaphore::new(limits.queue));
        let decoders = Arc::new(Semaphore::new(limits.decoders()));
        let app = Self { embedder, limits, identity, model, places, decoders, instruments };
        Ok((Arc::new(app), thread))
    }

    /// From the request to the model's numbers.
    async fn numbers(&self, ask: Ask, request: Request) -> Result<Vec<f32>, Refusal> {
        let (head, body) = request.into_parts();
        let (limit, time) = (self.limits.max_body, Duration::from_secs(self.limits.read_seconds));
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            body::discard(body, time);
            return Err(Refusal::full());
        };
        let bytes = body::read(&head.headers, body, limit, time).await?;
        if bytes.is_empty() {
            let reason = "the body is empty: send the bytes of a picture";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
        }
        let values = self.prepare(bytes).await?;
        self.ask(ask, values, place).await
    }

    /// Decodes and prepares on a thread that may block.
    async fn prepare(&self, bytes: axum::body::Bytes) -> Result<Vec<f32>, Refusal> {
        let turn = Arc::clone(&self.decoders).acquire_owned().await;
        let turn = turn.map_err(|_| Refusal::internal("decoding has ended"))?;
        let (embedder, max_pixels) = (Arc::clone(&self.embedder), self.limits.max_pixels);
        let work = move || {
            let _turn = turn;
            let limits = DecodeLimits { max_pixels, ..DecodeLimits::default() };
            let image =
                decode_bytes("the picture", &bytes, &limits).map_err(|e| Refusal::picture(&e))?;
            check_aspect(&image)?;
            embedder.prepare(image).map_err(|e| Refusal::picture(&e))
        };
        let unexpected = "preparing the picture failed unexpectedly";
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|_| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, unexpected)))
    }

    async fn ask(
        &self,
        ask: Ask,
        values: Vec<f32>,
        place: OwnedSemaphorePermit,
    ) -> Result<Vec<f32>, Refusal> {
        let (reply, answer) = oneshot::channel();
        match self.model.jobs.try_send(Job { ask, values, reply, place }) {
            Ok(()) => {}
            // Requests whose clients went away may still be in the queue.
            Err(TrySendError::Full(_)) => return Err(Refusal::full()),
            Err(TrySendError::Disconnected(_)) => {
                return Err(Refusal::internal("the model has ended"));
            }
        }
        match answer.await {
            Ok(Ok(numbers)) => Ok(numbers),
            Ok(Err(error)) => Err(Refusal::internal(format!("{error:#}"))),
            Err(_) => Err(Refusal::internal("the model has ended")),
        }
    }

    fn classes(&self, probabilities: &[f32]) -> Classes<'_> {
        let single = !matches!(self.embedder.labels, Task::MultiLabel { .. });
        let decisions = self.embedder.decisions.as_ref();
        let present = |place: usize, probability: f32| {
            let point = decisions.filter(|_| !single)?.operating_points.get(place)?;
            Some(probability > point.threshold)
        };
        let names = self.embedder.labels.names().iter().zip(probabilities).enumerate();
        let labels: Vec<Label> = names
            .map(|(place, (name, &probability))| Label {
                name,
                probability,
                present: present(place, probability),
            })
            .collect();
        let most = labels.iter().max_by(|a, b| a.probability.total_cmp(&b.probability));
        let predicted = most.filter(|_| single).map(|label| label.name);
        let kind = if single { "single_label" } else { "multi_label" };
        let calibrated = decisions.is_some();
        Classes { identity: &self.identity, kind, labels, calibrated, predicted }
    }

    fn finish(&self, route: &str, start: Instant, result: Result<Response, Refusal>) -> Response {
        let response = result.unwrap_or_else(Refusal::into_response);
        self.instruments.request(route, response.status().as_u16(), start.elapsed());
        response
    }
}

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(model))
        .route("/embed", post(embed))
        .route("/classify", post(classify))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .with_state(app)
}

async fn embed(State(app): State<Arc<App>>, request: Request) -> Response {
    let start = Instant::now();
    let result = app.numbers(Ask::Embedding, request).await.map(|embedding| {
        let features = app.limits.features;
        let answer = Embedding { identity: &app.identity, features, embedding };
        json_response(StatusCode::OK, &answer)
    });
    app.finish("embed", start, result)
}

async fn classify(State(app): State<Arc<App>>, request: Request) -> Response {
    let start = Instant::now();
    let result = if app.embedder.classifies() {
        app.numbers(Ask::Classes, request)
            .await
            .map(|probabilities| json_response(StatusCode::OK, &app.classes(&probabilities)))
    } else {
        let reason = format!("{} has no classes; POST to /embed", app.identity.model);
        Err(Refusal::new(StatusCode::NOT_FOUND, reason))
    };
    app.finish("classify", start, result)
}

/// What the model is.
async fn model(State(app): State<Arc<App>>) -> Response {
    let answer: Value = json!({
        "identity": app.identity,
        "input": app.embedder.input,
        "embed_dim": app.embedder.model.embed_dim(),
        "features": app.limits.features,
        "labels": app.embedder.labels,
        "pipeline": app.embedder.pipeline,
    });
    json_response(StatusCode::OK, &answer)
}

/// Whether the model takes work.
async fn health(State(app): State<Arc<App>>) -> Response {
    if app.model.is_alive() {
        return json_response(StatusCode::OK, &json!({"status": "ok"}));
    }
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the model has ended").into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let under_way = app.limits.queue - app.places.available_permits();
    match app.instruments.text(under_way) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], Body::from(text)).into_response()
        }
        Err(error) => Refusal::internal(format!("{error:#}")).into_response(),
    }
}

async fn unknown(request: Request) -> Response {
    let reason = format!(
        "there is no {}; there are POST /embed, POST /classify, GET /, GET /healthz, GET /metrics",
        request.uri().path()
    );
    Refusal::new(StatusCode::NOT_FOUND, reason).into_response()
}
