//! Which files a pull request and its base have both changed: what a forge that states no list of
//! conflicts cannot merge.

use crate::{
    error::Error,
    forge::{Branches, Head, Pull},
};

/// The files that the branch and its base have both changed, each in its own way, since their merge
/// base. A content that a text merge would join is among them, so that the list says where a
/// conflict is likely, and an empty one that there is none.
pub(super) async fn changed_on_both_sides(
    forge: &dyn Branches,
    pull: &Pull,
) -> Result<Vec<String>, Error> {
    let Some(base) = forge.branch(&pull.base).await? else {
        return Ok(Vec::new());
    };
    let ahead = forge
        .ahead(&pull.base, &base, &pull.head, false)
        .await?
        .related();
    let Some(ahead) = ahead else {
        return Ok(Vec::new());
    };
    if ahead.merge_base == base.commit {
        return Ok(Vec::new());
    }
    let origin = Head::of_commit(&ahead.merge_base);
    let (origin, base) = (forge.tree(&origin).await?, forge.tree(&base).await?);
    let differs = |(path, theirs): &(String, Option<String>)| {
        let now = base.entries.get(path).map(|entry| &entry.id);
        now != origin.entries.get(path).map(|entry| &entry.id) && now != theirs.as_ref()
    };
    let both = ahead.changed.into_iter().filter(differs);
    Ok(both.map(|(path, _)| path).collect())
}
