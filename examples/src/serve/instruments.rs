//! What the service tells of itself, for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::bench::process::resident_bytes;

type Labels = Vec<(&'static str, String)>;

/// Counters and histograms.
pub(super) struct Instruments {
    registry: Registry,
    requests: Family<Labels, Counter>,
    latency: Family<Labels, Histogram>,
    queue: Gauge,
    batch_size: Histogram,
    inference: Histogram,
    resident: Gauge,
}

/// 1 ms to 16 s, doubling.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2., 15))
}

impl Instruments {
    pub(super) fn new() -> Arc<Self> {
        let mut instruments = Self {
            registry: Registry::with_prefix("vitalight"),
            requests: Family::default(),
            latency: Family::new_with_constructor(seconds),
            queue: Gauge::default(),
            batch_size: Histogram::new(exponential_buckets(1., 2., 8)),
            inference: seconds(),
            resident: Gauge::default(),
        };
        let Self { registry, requests, latency, queue, batch_size, inference, resident } =
            &mut instruments;
        registry.register("requests", "Requests by route and status", requests.clone());
        let text = "From the first byte to the answer, by route";
        registry.register_with_unit("request", text, Unit::Seconds, latency.clone());
        registry.register("queue_length", "Requests under way", queue.clone());
        registry.register("batch_size", "Pictures computed together", batch_size.clone());
        let text = "The model's time per batch";
        registry.register_with_unit("inference", text, Unit::Seconds, inference.clone());
        registry.register_with_unit("resident", "Resident memory", Unit::Bytes, resident.clone());
        Arc::new(instruments)
    }

    /// An answered request.
    pub(super) fn request(&self, route: &str, status: u16, took: Duration) {
        let route = ("route", route.to_string());
        self.requests.get_or_create(&vec![route.clone(), ("status", status.to_string())]).inc();
        self.latency.get_or_create(&vec![route]).observe(took.as_secs_f64());
    }

    /// A computed batch.
    pub(super) fn batch(&self, pictures: usize, took: Duration) {
        self.batch_size.observe(pictures as f64);
        self.inference.observe(took.as_secs_f64());
    }

    /// All of it as text.
    pub(super) fn text(&self, under_way: usize) -> Result<String> {
        self.queue.set(under_way as i64);
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes as i64);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
