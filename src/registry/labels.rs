//! Labels that reports show.

use std::collections::BTreeMap;

use super::resolve::ImageFacts;

/// The value of each label in `names`; `None` where no platform has it. Where platforms differ,
/// each is shown.
pub fn reported(facts: &ImageFacts, names: &[String]) -> BTreeMap<String, Option<String>> {
    names
        .iter()
        .map(|name| (name.clone(), value(facts, name)))
        .collect()
}

fn value(facts: &ImageFacts, name: &str) -> Option<String> {
    let values: Vec<_> = facts
        .platforms
        .iter()
        .map(|p| (&p.platform, p.config.labels.get(name)))
        .collect();
    let (_, first) = values.first()?;
    if values.iter().all(|(_, value)| value == first) {
        return first.cloned();
    }
    let shown = values.iter().map(|(platform, value)| {
        format!(
            "{platform}: {}",
            value.map_or("(absent)", |value| value.as_str())
        )
    });
    Some(shown.collect::<Vec<_>>().join(", "))
}
