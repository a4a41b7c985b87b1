//! The spans of the log to a collector of OpenTelemetry, over HTTP, when the usual variables name one (`OTEL_*`).
//!
//! Promises: spans have ids, names, methods, paths and statuses, no messages, and no secret; a collector that is not
//! there costs a warning and a few seconds at the end, never the run.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use forge::settings::variable;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter as Export};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};

use super::{Heard, REDACTOR};

/// How long the end of forge waits for what is not sent yet.
const PATIENCE: Duration = Duration::from_secs(5);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();
static FAILED: Mutex<Option<String>> = Mutex::new(None);

/// Who sends spans, where somebody has said where to.
pub(super) fn start() -> Result<Option<Heard>, opentelemetry_otlp::ExporterBuildError> {
    let names = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ];
    let is_on = names.iter().any(|name| variable(name).is_some());
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|it| it == "none");
    if !is_on || is_off {
        return Ok(None);
    }
    // The same that forge's own connections use; without one there is no client.
    drop(rustls::crypto::ring::default_provider().install_default());
    let exporter = SpanExporter::builder()
        .with_http()
        // The one form of it that is here; what the variables say of the rest holds.
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .build()?;
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|it| it.contains("service.name"));
    if !is_named {
        resource = resource.with_service_name("forge");
    }
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(Clean(exporter))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_tracer(provider.tracer("forge"));
    PROVIDER.set(provider).ok();
    let spans = filter_fn(|about| about.is_span() && about.target().starts_with("forge"));
    Ok(Some(
        layer.with_filter(spans.and(LevelFilter::DEBUG)).boxed(),
    ))
}

/// Sends what is left; why not all of it was sent.
pub(super) fn end() -> Option<String> {
    let ended = PROVIDER.get()?.shutdown_with_timeout(PATIENCE);
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner).take();
    let why = failed.or_else(|| ended.err().map(|error| error.to_string()))?;
    let why = forge::plain::short(&why, 300);
    Some(format!(
        "not all spans could be sent to the collector: {why}"
    ))
}

/// Takes secrets out of what is sent, and notes why something was not.
struct Clean(SpanExporter);

impl fmt::Debug for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clean")
    }
}

impl Export for Clean {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        if let Some(redactor) = REDACTOR.get() {
            for attribute in batch.iter_mut().flat_map(|span| &mut span.attributes) {
                if let Value::String(text) = &attribute.value {
                    let clean = redactor.text(text.as_str()).into_owned();
                    attribute.value = Value::String(clean.into());
                }
            }
        }
        let sent = self.0.export(batch).await;
        if let Err(error) = &sent {
            let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| error.to_string());
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
