//! A spinner at a terminal, for work that takes longer than a blink.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::untrusted::plain;

/// Runs `work`; if it takes longer than a blink and `shown` says so, a spinner with `message` turns
/// meanwhile.
pub(super) async fn while_waiting<T>(
    shown: bool,
    message: &str,
    work: impl Future<Output = T>,
) -> T {
    while_counting(shown, || message.to_owned(), work).await
}

/// The same with a message that changes while it works.
pub(super) async fn while_counting<T>(
    shown: bool,
    told: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = tokio::time::sleep(Duration::from_millis(150)), if shown => {}
    }
    let spinner = ProgressBar::new_spinner().with_message(plain(&told()));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = tokio::time::sleep(Duration::from_millis(200)) => spinner.set_message(plain(&told())),
        }
    };
    spinner.finish_and_clear();
    done
}
