//! A service that embeds and classifies pictures over HTTP.
//!
//! The way of a request: a place in the queue (else 503) → its body (bounded in size and time) →
//! decoding on a blocking thread (bounded in number and pixels) → the model's thread, which takes
//! what has come in as one batch → the answer. Pictures are held by requests in the queue only, so
//! their memory is bounded by its length. A refused request's body is read and thrown away first, up
//! to a limit, so that the answer arrives; the number of connections is the proxy's to bound.

mod body;
mod handlers;
mod inference;
mod instruments;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use axum::serve::ListenerExt as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::DeviceArgs;
use crate::embedder::{Embedder, Features, ModelArgs};
use handlers::App;

/// A service that embeds and classifies pictures.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    /// The model.
    pub model: ModelArgs,
    #[command(flatten)]
    /// Where to compute.
    pub device: DeviceArgs,
    /// Address and port. The service has no access control: keep it local or behind something that
    /// has.
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    #[command(flatten)]
    /// How much at once.
    pub limits: ServeLimits,
}

/// How much the service takes on.
#[derive(Debug, Clone, Args)]
pub struct ServeLimits {
    /// Which numbers of the model `/embed` answers with.
    #[arg(long, value_enum, default_value_t = Features::Class)]
    pub features: Features,
    /// Most pictures that are computed together.
    #[arg(long, default_value_t = 16)]
    pub max_batch: usize,
    /// Longest wait for further pictures before a batch is computed, in milliseconds.
    #[arg(long, default_value_t = 2)]
    pub max_wait_ms: u64,
    /// Requests that may be under way; others get 503.
    #[arg(long, default_value_t = 256)]
    pub queue: usize,
    /// Largest body in bytes.
    #[arg(long, default_value_t = 16 << 20)]
    pub max_body: usize,
    /// Most pixels of a picture.
    #[arg(long, default_value_t = 50_000_000)]
    pub max_pixels: u64,
    /// Pictures decoded at the same time (default: one per core).
    #[arg(long)]
    pub decode_threads: Option<usize>,
    /// Longest time for a body to arrive, in seconds.
    #[arg(long, default_value_t = 30)]
    pub read_seconds: u64,
    /// Longest wait for accepted requests when told to stop, in seconds.
    #[arg(long, default_value_t = 30)]
    pub stop_seconds: u64,
}

impl ServeLimits {
    fn check(&self) -> Result<()> {
        ensure!(self.max_batch > 0, "--max-batch 0 computes nothing");
        ensure!(self.queue > 0, "--queue 0 takes nothing");
        Ok(())
    }

    fn decoders(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.decode_threads.unwrap_or_else(cores).max(1)
    }
}

/// Serves until SIGTERM or ctrl-c, then finishes what was accepted.
///
/// # Errors
/// When the model cannot be opened, the address is taken, or requests are unfinished when the time
/// to stop is over.
pub fn serve(args: &ServeArgs) -> Result<()> {
    args.limits.check()?;
    let embedder = Embedder::open(&args.model, &args.device.open()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(args.limits.decoders())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| format!("--listen {}", args.listen))?;
        println!("{} at http://{}", embedder.name, listener.local_addr()?);
        serve_on(listener, embedder, args.limits.clone(), stop_signal()?).await
    })
}

/// Serves on a listener until `stop` is ready, then finishes what was accepted. Needs a runtime
/// with network and time.
///
/// # Errors
/// As [`serve`].
pub async fn serve_on(
    listener: TcpListener,
    embedder: Embedder,
    limits: ServeLimits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    limits.check()?;
    let stop_time = Duration::from_secs(limits.stop_seconds);
    let (app, model) = App::start(Arc::new(embedder), limits)?;
    let (stopping, mut stopped) = watch::channel(false);
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    // Answers are small and written at once: nothing is gained by waiting for more.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let server = axum::serve(listener, handlers::router(app)).with_graceful_shutdown(stop);
    let overdue = async {
        // An error means that the server ended without being told to.
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(stop_time).await;
    };
    tokio::select! {
        result = server.into_future() => result?,
        () = overdue => bail!("requests were unfinished {} s after the stop", stop_time.as_secs()),
    }
    // The last sender went with the router, so the thread has nothing more to wait for.
    let joined = tokio::task::spawn_blocking(move || model.join()).await?;
    ensure!(joined.is_ok(), "the model's thread panicked");
    Ok(())
}

/// Ready at SIGTERM or ctrl-c.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        let interrupt = tokio::signal::ctrl_c();
        #[cfg(unix)]
        tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
        println!("stopping");
    })
}
