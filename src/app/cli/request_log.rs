//! The request log of `-vv`: one line on standard error for each request.

use tracing::{Dispatch, Level, field::Field};
use tracing_subscriber::{
    field::MakeExt,
    filter::Targets,
    fmt::{self, MakeWriter, format},
    layer::{Layer, SubscriberExt},
};

use crate::base::http::LOG;

/// Starts the log of this process.
pub(super) fn start() {
    // A second call in one process has no effect.
    let _ = tracing::dispatcher::set_global_default(log(std::io::stderr));
}

/// Formats a request as `METHOD URL STATUS BYTES bytes MS ms attempt N (ERROR)`.
fn log(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Dispatch {
    let fields = format::debug_fn(|writer, field: &Field, value| match field.name() {
        "bytes" | "ms" => write!(writer, "{value:?} {field}"),
        "attempt" => write!(writer, "{field} {value:?}"),
        "error" => write!(writer, "({value:?})"),
        _ => write!(writer, "{value:?}"),
    });
    let lines = fmt::layer()
        .with_writer(writer)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .fmt_fields(fields.delimited(" "))
        // The crate would report them with a macro that panics if standard error is closed.
        .log_internal_errors(false);
    // Other crates log headers, which contain credentials.
    let requests = Targets::new().with_target(LOG, Level::DEBUG);
    tracing_subscriber::registry()
        .with(lines.with_filter(requests))
        .into()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn only_requests_are_logged() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&written);
        let log = log(move || Shared(Arc::clone(&writer)));
        tracing::dispatcher::with_default(&log, || {
            tracing::error!(target: "h2::codec", authorization = "s3cret");
            tracing::debug!("s3cret");
            let _span = tracing::error_span!(target: "hyper", "s3cret").entered();
            tracing::debug!(target: LOG, method = %"GET", bytes = 7, ms = 2, attempt = 1, error = %"x");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "GET 7 bytes 2 ms attempt 1 (x)\n");
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
