//! A small HTTP client over one connection, for the load test and the tests.

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An open connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Kind of content.
    pub content_type: Option<String>,
    /// Seconds after which to ask again.
    pub retry_after: Option<u64>,
    /// The whole body.
    pub body: Bytes,
}

impl Client {
    /// Connects; `host` is an address with a port.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| host.to_string())?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // What goes wrong on the connection shows in the requests.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { sender, host: host.to_string() })
    }

    /// Whether the other side has closed the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        self.sender.ready().await?;
        let request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_string());
        let (status, content_type) = (response.status().as_u16(), text(CONTENT_TYPE));
        let retry_after = text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, content_type, retry_after, body })
    }

    /// A picture to a route.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send(Method::POST, path, body.into()).await
    }

    /// What is at a path.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new()).await
    }
}
