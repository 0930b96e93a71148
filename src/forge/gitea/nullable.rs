//! Lists in responses of Gitea and Forgejo. An empty list may be `null`, as Go encodes a nil slice:
//! Forgejo 11 sends `"topics": null`.

use serde::{Deserialize, Deserializer};

/// A list; empty if it is null.
pub(super) fn list<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<Vec<T>>::deserialize(from).map(Option::unwrap_or_default)
}

/// A list that older servers do not send: `None` if it is missing, empty if it is null.
pub(super) fn reported_list<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    list(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Row {
        #[serde(default, deserialize_with = "list")]
        parents: Vec<String>,
        #[serde(default, deserialize_with = "reported_list")]
        topics: Option<Vec<String>>,
    }

    #[test]
    fn null_list_is_empty_but_missing_is_unknown() {
        for (text, parents, topics) in [
            (r#"{"parents": ["a"], "topics": ["b"]}"#, 1, Some(1)),
            (r#"{"parents": null, "topics": null}"#, 0, Some(0)),
            ("{}", 0, None),
        ] {
            let row: Row = serde_json::from_str(text).unwrap();
            let found = (row.parents.len(), row.topics.map(|topics| topics.len()));
            assert_eq!(found, (parents, topics), "{text}");
        }
    }
}
