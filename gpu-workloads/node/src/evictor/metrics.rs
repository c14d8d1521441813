//! What the evictor says of itself, for Prometheus and for probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDevice {
    device: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAnswer {
    device: String,
    answer: &'static str,
}

type DeviceGauge = Family<OfDevice, Gauge<u64, AtomicU64>>;

/// Metrics, and the state that probes ask for.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    memory: DeviceGauge,
    used: DeviceGauge,
    outside: DeviceGauge,
    pressure: Family<OfDevice, Gauge>,
    evictions: Family<OfAnswer, Counter>,
    api_up: Gauge,
    driver_up: Gauge,
    simulated: Gauge,
    last_pass: AtomicI64,
    /// How long a pass may be ago for the evictor to count as alive.
    longest_pause: Duration,
}

impl Metrics {
    /// Metrics of an evictor that looks at least this often.
    #[must_use]
    pub fn new(longest_pause: Duration) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("plimsoll_gpu"),
            memory: Family::default(),
            used: Family::default(),
            outside: Family::default(),
            pressure: Family::default(),
            evictions: Family::default(),
            api_up: Gauge::default(),
            driver_up: Gauge::default(),
            simulated: Gauge::default(),
            last_pass: AtomicI64::new(Timestamp::now().as_second()),
            longest_pause,
        };
        let registry = &mut metrics.registry;
        let bytes = || Unit::Bytes;
        registry.register_with_unit("memory", "All memory of the device", bytes(), metrics.memory.clone());
        registry.register_with_unit(
            "memory_used",
            "Memory of the device that is in use or set aside",
            bytes(),
            metrics.used.clone(),
        );
        registry.register_with_unit(
            "memory_outside_pods",
            "Memory of the device that processes of no pod hold",
            bytes(),
            metrics.outside.clone(),
        );
        registry.register(
            "memory_pressure",
            "Whether the device counts as short of memory",
            metrics.pressure.clone(),
        );
        registry.register(
            "evictions",
            "Evictions asked for, by the API server's answer: evicted, forbidden, gone, failed, or dry-run",
            metrics.evictions.clone(),
        );
        registry.register("api_up", "Whether the API server answered last time", metrics.api_up.clone());
        registry.register("driver_up", "Whether the driver can be asked", metrics.driver_up.clone());
        registry.register(
            "simulated",
            "Whether the devices are made up by a simulated driver",
            metrics.simulated.clone(),
        );
        metrics
    }

    pub(super) fn device(&self, device: &str, total: u64, used: u64, outside: u64, pressure: bool) {
        let of = OfDevice { device: device.to_owned() };
        self.memory.get_or_create(&of).set(total);
        self.used.get_or_create(&of).set(used);
        self.outside.get_or_create(&of).set(outside);
        self.pressure.get_or_create(&of).set(pressure.into());
    }

    pub(super) fn answered(&self, device: &str, answer: &'static str) {
        self.evictions.get_or_create(&OfAnswer { device: device.to_owned(), answer }).inc();
    }

    pub(super) fn api(&self, up: bool) {
        self.api_up.set(up.into());
    }

    pub(super) fn driver(&self, up: bool) {
        self.driver_up.set(up.into());
    }

    pub(super) fn simulated(&self, simulated: bool) {
        self.simulated.set(simulated.into());
    }

    pub(super) fn passed(&self) {
        self.last_pass.store(Timestamp::now().as_second(), Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let ago = Timestamp::now().as_second() - self.last_pass.load(Ordering::Relaxed);
        u64::try_from(ago).is_ok_and(|ago| ago <= self.longest_pause.as_secs())
    }

    fn is_ready(&self) -> bool {
        self.api_up.get() == 1 && self.driver_up.get() == 1
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Serves `/metrics`, `/healthz` (the loop goes round) and `/readyz` (driver and API server answer), until `cancel`.
///
/// # Errors
/// What the listener says.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let state = |is_so: bool, no: &'static str| {
        if is_so { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
    };
    let (text, alive, ready) = (metrics.clone(), metrics.clone(), metrics);
    let router = Router::new()
        .route(
            "/metrics",
            get(async move || {
                let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, format)], text.text())
            }),
        )
        .route(
            "/healthz",
            get(async move || state(alive.is_alive(), "no look at the devices for too long\n")),
        )
        .route(
            "/readyz",
            get(async move || state(ready.is_ready(), "driver or API server does not answer\n")),
        );
    axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told() {
        let metrics = Metrics::new(Duration::from_secs(30));
        assert!(metrics.is_alive() && !metrics.is_ready());
        metrics.device("GPU-0", 100, 40, 5, true);
        metrics.answered("GPU-0", "evicted");
        metrics.api(true);
        metrics.driver(true);
        assert!(metrics.is_ready());
        let text = metrics.text();
        for line in [
            "plimsoll_gpu_memory_bytes{device=\"GPU-0\"} 100",
            "plimsoll_gpu_memory_used_bytes{device=\"GPU-0\"} 40",
            "plimsoll_gpu_memory_outside_pods_bytes{device=\"GPU-0\"} 5",
            "plimsoll_gpu_memory_pressure{device=\"GPU-0\"} 1",
            "plimsoll_gpu_evictions_total{device=\"GPU-0\",answer=\"evicted\"} 1",
            "plimsoll_gpu_api_up 1",
            "plimsoll_gpu_driver_up 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        metrics.last_pass.store(0, Ordering::Relaxed);
        assert!(!metrics.is_alive());
    }
}
