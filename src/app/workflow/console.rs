//! The receiver of messages during a run. The result of the run is rendered by the caller.

use std::cell::RefCell;

use crate::base::{http::PauseListener, text::few};

/// The maximum number of names in a progress message.
const NAMES_SHOWN: usize = 3;

pub(crate) trait Console {
    /// Shows a note; hidden by `--quiet`.
    fn note(&self, text: &str);

    fn warn(&self, text: &str);

    /// Shows the reason for a wait until it is dropped: a changing line on a terminal, otherwise a
    /// line every ten seconds. `None` if no progress is shown.
    fn progress(&self, message: &str) -> Option<Box<dyn Progress>>;

    /// Receives the pauses that servers request.
    fn pause_listener(&self) -> PauseListener;
}

/// The message about a wait.
pub(crate) trait Progress {
    fn set_message(&self, message: &str);
}

/// The progress of concurrent work.
pub(super) struct ItemProgress<'w> {
    task: &'w str,
    names: &'w [&'w str],
    is_open: RefCell<Vec<bool>>,
}

impl<'w> ItemProgress<'w> {
    pub(super) fn new(task: &'w str, names: &'w [&'w str]) -> Self {
        Self {
            task,
            names,
            is_open: RefCell::new(vec![true; names.len()]),
        }
    }

    /// Records that the work on one item is done.
    pub(super) fn finish(&self, index: usize) {
        if let Some(is_open) = self.is_open.borrow_mut().get_mut(index) {
            *is_open = false;
        }
    }

    pub(super) fn describe(&self) -> String {
        let is_open = self.is_open.borrow();
        let mut open = Vec::new();
        for (name, is_open) in self.names.iter().zip(is_open.iter()) {
            if *is_open {
                open.push(*name);
            }
        }
        format!(
            "{}: {} of {} done, waiting for {}",
            self.task,
            self.names.len() - open.len(),
            self.names.len(),
            few(open.into_iter(), NAMES_SHOWN)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lists_open_items() {
        let names = ["review", "fix", "base", "ops", "web"];
        let progress = ItemProgress::new("resolving tags", &names);
        assert_eq!(
            progress.describe(),
            "resolving tags: 0 of 5 done, waiting for review, fix, base and 2 more"
        );
        progress.finish(0);
        progress.finish(3);
        assert_eq!(
            progress.describe(),
            "resolving tags: 2 of 5 done, waiting for fix, base, web"
        );
    }
}
