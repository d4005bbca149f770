//! The service under load: many clients at once on loopback, each with one request after the other.
//!
//! Starts the `serve` example (build it first) as a process of its own, so that its memory is its
//! own, and reports latencies, answers by status, and resident memory over time.

#![allow(clippy::print_stdout)] // a program for a terminal

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde::Serialize;
use tokio::task::JoinSet;
use vit_transforms::{Image, Pixels, encode_png};
use vitalight_examples::{Client, process};

/// Many clients at once against the service.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Model that is served.
    #[arg(long)]
    model: String,
    /// Clients at the same time.
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 10)]
    warmup: u64,
    /// Picture that is sent (default: a generated PNG of 512 x 512).
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Route that is asked.
    #[arg(long, default_value = "/embed")]
    route: String,
    /// Of every so many requests of a client one sends bytes that are no picture; 0 for none.
    #[arg(long, default_value_t = 0)]
    malformed_every: u64,
    /// Further flags of `serve`, as in `--serve-flag=--queue=64`.
    #[arg(long = "serve-flag", allow_hyphen_values = true)]
    serve_flags: Vec<String>,
}

/// What all clients saw.
#[derive(Debug, Default)]
struct Seen {
    /// Answers by status.
    statuses: BTreeMap<u16, u64>,
    /// Connections that broke.
    broken: u64,
    /// Malformed bodies that were not refused with 4xx.
    not_refused: u64,
    /// Answers to good pictures that differ from the first one by more than rounding.
    wrong: u64,
    /// Seconds of good requests, with retries.
    latencies: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    clients: usize,
    seconds: f64,
    requests_per_s: f64,
    statuses: BTreeMap<u16, u64>,
    broken_connections: u64,
    malformed_not_refused: u64,
    wrong_answers: u64,
    latency_ms: BTreeMap<&'static str, f64>,
    /// Resident memory of the service in MiB.
    resident_mib: BTreeMap<&'static str, f64>,
}

/// The service in a process of its own; ended with it.
struct Server {
    child: Child,
    host: String,
}

impl Server {
    fn start(cli: &Cli) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("serve");
        let mut child = Command::new(&program)
            .args(["--model", &cli.model, "--listen", "127.0.0.1:0"])
            .args(&cli.serve_flags)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: build the example serve first", program.display()))?;
        let output = child.stdout.take().context("the service has no output")?;
        for line in BufReader::new(output).lines() {
            if let Some((_, host)) = line?.split_once(" at http://") {
                return Ok(Self { host: host.to_string(), child });
            }
        }
        bail!("the service ended: {}", child.wait()?)
    }

    fn resident_mib(&self) -> f64 {
        let bytes = process::resident_bytes_of(self.child.id());
        bytes.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn picture(cli: &Cli) -> Result<Vec<u8>> {
    if let Some(path) = &cli.picture {
        return std::fs::read(path).with_context(|| path.display().to_string());
    }
    let side = 512usize;
    let value = |at: usize| ((at % side) * (at / side) / 300 % 256) as u8;
    let pixels = (0..side * side).map(value).collect();
    Ok(encode_png(&Image::new(side, side, 1, Pixels::U8(pixels))?)?)
}

/// One client until the end. What it saw before `begin` is thrown away.
async fn client(
    cli: Arc<Cli>,
    host: String,
    picture: Vec<u8>,
    first: Vec<f64>,
    begin: Instant,
) -> Seen {
    let end = begin + Duration::from_secs(cli.seconds);
    let mut seen = Seen::default();
    let mut connection = None;
    let mut number = 0u64;
    while Instant::now() < end {
        number += 1;
        let malformed = cli.malformed_every > 0 && number.is_multiple_of(cli.malformed_every);
        let body = if malformed { b"no picture".to_vec() } else { picture.clone() };
        let start = Instant::now();
        let counted = start >= begin;
        loop {
            let mut open = match connection.take() {
                Some(open) => open,
                None => match Client::connect(&host).await {
                    Ok(open) => open,
                    Err(_) => {
                        seen.broken += u64::from(counted);
                        break;
                    }
                },
            };
            let Ok(answer) = open.post(&cli.route, body.clone()).await else {
                seen.broken += u64::from(counted);
                break;
            };
            if !open.is_closed() {
                connection = Some(open);
            }
            if counted {
                *seen.statuses.entry(answer.status).or_default() += 1;
            }
            if answer.status == 503 {
                tokio::time::sleep(Duration::from_secs(answer.retry_after.unwrap_or(1))).await;
                if Instant::now() >= end {
                    break;
                }
                continue;
            }
            if counted && malformed {
                seen.not_refused += u64::from(!(400..500).contains(&answer.status));
            } else if counted {
                seen.latencies.push(start.elapsed().as_secs_f64());
                seen.wrong += u64::from(differs(&numbers(&answer.body), &first));
            }
            break;
        }
    }
    seen
}

/// All numbers of an answer, in order.
fn numbers(body: &[u8]) -> Vec<f64> {
    fn gather(value: &serde_json::Value, into: &mut Vec<f64>) {
        match value {
            serde_json::Value::Number(number) => into.extend(number.as_f64()),
            serde_json::Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
            serde_json::Value::Object(values) => values.values().for_each(|v| gather(v, into)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    if let Ok(value) = serde_json::from_slice(body) {
        gather(&value, &mut all);
    }
    all
}

/// Batches of other sizes round differently.
fn differs(a: &[f64], b: &[f64]) -> bool {
    a.len() != b.len() || a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-4 * (1. + b.abs()))
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).map_or(f64::NAN, |seconds| seconds * 1e3)
}

async fn load(cli: Arc<Cli>) -> Result<Report> {
    let server = Server::start(&cli)?;
    let mut resident = BTreeMap::from([("0 idle", server.resident_mib())]);
    let picture = picture(&cli)?;
    let answer = Client::connect(&server.host).await?.post(&cli.route, picture.clone()).await?;
    if answer.status != 200 {
        bail!("the first request: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    let first = numbers(&answer.body);
    let begin = Instant::now() + Duration::from_secs(cli.warmup);
    let mut clients = JoinSet::new();
    for _ in 0..cli.clients {
        let (host, picture, first) = (server.host.clone(), picture.clone(), first.clone());
        clients.spawn(client(Arc::clone(&cli), host, picture, first, begin));
    }
    tokio::time::sleep_until(begin.into()).await;
    resident.insert("1 after warm-up", server.resident_mib());
    tokio::time::sleep(Duration::from_secs(cli.seconds / 2)).await;
    resident.insert("2 half-way", server.resident_mib());
    let mut all = Seen::default();
    while let Some(seen) = clients.join_next().await {
        let seen = seen?;
        for (status, count) in seen.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
        all.broken += seen.broken;
        all.not_refused += seen.not_refused;
        all.wrong += seen.wrong;
        all.latencies.extend(seen.latencies);
    }
    let seconds = begin.elapsed().as_secs_f64();
    resident.insert("3 end", server.resident_mib());
    all.latencies.sort_by(f64::total_cmp);
    let percentiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("worst", 1.)];
    let latency = percentiles.map(|(name, share)| (name, percentile(&all.latencies, share)));
    Ok(Report {
        clients: cli.clients,
        seconds,
        requests_per_s: all.latencies.len() as f64 / seconds,
        statuses: all.statuses,
        broken_connections: all.broken,
        malformed_not_refused: all.not_refused,
        wrong_answers: all.wrong,
        latency_ms: BTreeMap::from(latency),
        resident_mib: resident,
    })
}

fn main() -> Result<()> {
    let cli = Arc::new(Cli::parse());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(load(cli))?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    if report.broken_connections + report.malformed_not_refused + report.wrong_answers > 0 {
        bail!("there were errors");
    }
    Ok(())
}
