//! Judges the entries of a document alike, whatever chose them: which digest is whose, what moves
//! with it, and what a reader of the file could take otherwise.
//!
//! An alias, or a merge, is no pin of its own: the scalar with the anchor is one, once, for the image
//! that everything which uses it belongs to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use granit_parser::ScalarStyle;

use super::{
    File, Sight, What,
    values::{Field, Shape, Via, comment_behind, global_registry, is_placeholder, shape},
    yaml::{Document, Id, Value},
};
use crate::{
    config::CommentPolicy,
    oci::Tag,
    pins::scan::{Split, TagEdit},
};

/// What may hold a digest of an image.
pub(super) struct Entry {
    /// The mapping or list.
    pub(super) node: Id,
    pub(super) whose: Whose,
    /// The scalars that say whose it is.
    pub(super) named_by: Vec<Field>,
    pub(super) digest: Option<Field>,
    pub(super) tag: Option<Field>,
    /// What the kind itself refuses if there is a digest.
    pub(super) refused: Option<Refusal>,
    /// What refuses a digest in both.
    pub(super) both: &'static str,
    /// Whether some readers prefer a global registry to the entry's.
    pub(super) global: bool,
}

/// Whose an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Image(usize),
    /// An image's with the global registry of the document, which some charts prefer.
    Global(usize),
    Other,
}

/// Why an entry is refused, and where.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) at: usize,
    pub(super) why: String,
}

/// A digest where an entry has it.
struct Carrier<'d> {
    field: Field,
    /// The bytes of the digest; of the whole scalar where it is malformed.
    at: Range<usize>,
    shape: Shape,
    /// What stands before the `@`, if the digest stands behind one.
    before: Option<&'d str>,
}

/// An entry with what was read of it.
struct Read<'e, 'd> {
    entry: &'e Entry,
    digest: Option<Carrier<'d>>,
    in_tag: Option<Carrier<'d>>,
}

struct Judge<'j> {
    file: &'j File<'j>,
    document: &'j Document<'j>,
    place: usize,
}

/// The pins and refusals of a document's entries.
pub(super) fn judge(
    file: &File<'_>,
    document: &Document<'_>,
    place: usize,
    entries: &[Entry],
) -> Vec<Sight> {
    let judge = Judge {
        file,
        document,
        place,
    };
    let reads: Vec<_> = entries.iter().map(|entry| judge.read(entry)).collect();
    if reads.iter().all(|read| read.carrier().is_none()) {
        return Vec::new();
    }
    let mut sights = Vec::new();
    let mut moving = Vec::new();
    for read in reads.iter().filter(|read| read.image().is_some()) {
        if read.carrier().is_none() {
            continue;
        }
        match judge.alone(read) {
            Some(refusal) => sights.push(judge.refused(read, refusal)),
            None => moving.push(read),
        }
    }
    judge.together(&reads, &moving, &mut sights);
    sights
}

impl<'d> Read<'_, 'd> {
    fn carrier(&self) -> Option<&Carrier<'d>> {
        self.digest.as_ref().or(self.in_tag.as_ref())
    }

    fn image(&self) -> Option<usize> {
        match self.entry.whose {
            Whose::Image(image) | Whose::Global(image) => Some(image),
            Whose::Other => None,
        }
    }
}

impl<'j> Judge<'j> {
    fn read<'e>(&self, entry: &'e Entry) -> Read<'e, 'j> {
        let text = |field: &Option<Field>| {
            let field = (*field)?;
            Some((field, self.document.scalar(field.node)?))
        };
        let digest =
            text(&entry.digest).and_then(|(field, text)| self.carrier(field, text, text, None));
        let in_tag = text(&entry.tag).and_then(|(field, text)| match text.split_once('@') {
            Some((before, after)) => self.carrier(field, text, after, Some(before)),
            None => self.carrier(field, text, text, None),
        });
        Read {
            entry,
            digest,
            in_tag,
        }
    }

    fn carrier(
        &self,
        field: Field,
        text: &str,
        digest: &str,
        before: Option<&'j str>,
    ) -> Option<Carrier<'j>> {
        let shape = shape(digest);
        let within = super::within_quotes(self.document, field.node);
        let at = match shape {
            Shape::None => return None,
            Shape::Malformed => self.document.span(field.node),
            Shape::Digest(_) => within.start + text.len() - digest.len()..within.end,
        };
        Some(Carrier {
            field,
            at,
            shape,
            before,
        })
    }

    /// Why an entry with a digest is refused by itself.
    fn alone(&self, read: &Read<'_, '_>) -> Option<Refusal> {
        let carrier = read.carrier()?;
        let entry = read.entry;
        let fields = entry.named_by.iter().chain(&entry.digest).chain(&entry.tag);
        let duplicate = fields.filter_map(|field| self.document.duplicate_above(field.node));
        if let Some(second) = duplicate.min() {
            let key = self.document.scalar(second).unwrap_or_default();
            return Some(self.at(
                second,
                format!("duplicate key `{key}`: YAML forbids it, and readers take the first or the last one"),
            ));
        }
        if let (Some(_), Some(in_tag)) = (&read.digest, &read.in_tag) {
            return Some(self.at(in_tag.field.node, entry.both.to_owned()));
        }
        entry
            .refused
            .clone()
            .or_else(|| self.written(carrier.field.node, "the digest"))
            .or_else(|| self.malformed(carrier))
            .or_else(|| self.merged(read, carrier))
            .or_else(|| self.registry(entry, carrier))
            .or_else(|| self.signed(entry, carrier))
            .or_else(|| self.tag(read))
            .or_else(|| self.comment(carrier).err())
    }

    fn at(&self, node: Id, why: String) -> Refusal {
        Refusal {
            at: self.document.span(node).start,
            why,
        }
    }

    /// Why a scalar's bytes are not its text.
    fn written(&self, node: Id, what: &str) -> Option<Refusal> {
        let Value::Scalar(text, style) = &self.document.node(node).value else {
            return None;
        };
        let why = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                format!(
                    "{what} is in a block scalar, which ends with a line break for most readers"
                )
            }
            _ if self.document.node(node).tagged => {
                format!(
                    "{what} has a YAML tag other than `!!str`, so a reader may take it for something else than text"
                )
            }
            _ if self.document.text[super::within_quotes(self.document, node)] != **text => {
                format!(
                    "{what} is written with an escape or over several lines, so its bytes are not its text"
                )
            }
            _ => return None,
        };
        Some(self.at(node, why))
    }

    fn malformed(&self, carrier: &Carrier<'_>) -> Option<Refusal> {
        matches!(carrier.shape, Shape::Malformed).then(|| {
            let why = "the digest is not of the form sha256:<64 lowercase hex digits>, the only one that every registry and engine takes";
            self.at(carrier.field.node, why.to_owned())
        })
    }

    /// A repository that a merge brings to a digest which is written out.
    fn merged(&self, read: &Read<'_, '_>, carrier: &Carrier<'_>) -> Option<Refusal> {
        if matches!(carrier.field.via, Via::Merge(_)) {
            return None;
        }
        let merge = read
            .entry
            .named_by
            .iter()
            .find_map(|field| match field.via {
                Via::Merge(merge) => Some(merge),
                _ => None,
            })?;
        let why = "the merge key `<<` brings the repository of a digest that is written out, and readers of YAML 1.2 do not merge";
        Some(self.at(merge, why.to_owned()))
    }

    fn registry(&self, entry: &Entry, carrier: &Carrier<'_>) -> Option<Refusal> {
        let registry = global_registry(self.document).filter(|_| entry.global)?;
        let why = format!(
            "`global.imageRegistry` is `{registry}`, and some charts prefer it to the registry of the entry; a place of the kind `keys` with `image:` says what is meant"
        );
        Some(Refusal {
            at: carrier.at.start,
            why,
        })
    }

    /// SOPS's signature over values that a promote would change.
    fn signed(&self, entry: &Entry, carrier: &Carrier<'_>) -> Option<Refusal> {
        let document = self.document;
        let sops = document.get(document.root?, "sops")?;
        document.get(sops, "mac")?;
        let only = document.get(sops, "mac_only_encrypted");
        let encrypted = |(_, value): &(Id, Id)| {
            let text = document.resolved(*value).and_then(|id| document.scalar(id));
            text.is_some_and(|text| text.starts_with("ENC["))
        };
        if only.and_then(|only| document.scalar(only)) == Some("true")
            && !document.map(entry.node).iter().any(encrypted)
        {
            return None;
        }
        let why = "SOPS signed this document (`sops.mac`), and would not decrypt it after a change";
        Some(Refusal {
            at: carrier.at.start,
            why: why.to_owned(),
        })
    }

    /// Why the tag beside a digest cannot be replaced.
    fn tag(&self, read: &Read<'_, '_>) -> Option<Refusal> {
        let field = read.entry.tag?;
        let text = self.document.scalar(field.node)?;
        if read.in_tag.is_none() && !self.replaced(field.node, text) {
            return None;
        }
        if let Some(refusal) = self.written(field.node, "the tag") {
            return Some(refusal);
        }
        let tag = read
            .in_tag
            .as_ref()
            .map_or(text, |in_tag| in_tag.before.unwrap_or_default());
        let fine = tag.is_empty() || is_placeholder(tag) || Tag::parse(tag).is_ok();
        (!fine).then(|| {
            let why = "the tag beside the digest is malformed, so no registry has it".to_owned();
            self.at(field.node, why)
        })
    }

    /// Whether a tag gets the new one: an empty or null one and a placeholder stay.
    fn replaced(&self, node: Id, text: &str) -> bool {
        let plain = matches!(
            self.document.node(node).value,
            Value::Scalar(_, ScalarStyle::Plain)
        );
        let null = plain && matches!(text, "~" | "null" | "Null" | "NULL");
        !text.is_empty() && !null && !is_placeholder(text)
    }

    /// The word behind a digest that becomes the new tag.
    fn comment(&self, carrier: &Carrier<'_>) -> Result<Option<Range<usize>>, Refusal> {
        if self.file.comments(self.place) == CommentPolicy::Keep {
            return Ok(None);
        }
        let Some(comment) = comment_behind(self.document, carrier.field.node) else {
            return Ok(None);
        };
        let text = &self.document.text[comment.clone()];
        let word = text.trim();
        let start = comment.start + (text.len() - text.trim_start().len());
        if word.is_empty() || word.contains(char::is_whitespace) || Tag::parse(word).is_err() {
            return Err(Refusal {
                at: start,
                why: "the comment behind the digest is not a single word, so `comment: tag` cannot replace it".to_owned(),
            });
        }
        Ok(Some(start..start + word.len()))
    }

    fn refused(&self, read: &Read<'_, '_>, refusal: Refusal) -> Sight {
        Sight {
            place: self.place,
            image: read.image(),
            at: refusal.at,
            what: What::Refused(refusal.why),
        }
    }

    /// Judges what several entries share, and makes pins of the rest.
    fn together(&self, all: &[Read<'_, '_>], moving: &[&Read<'_, '_>], sights: &mut Vec<Sight>) {
        let moved: HashSet<Id> = moving.iter().map(|read| read.entry.node).collect();
        let shared = Shared::of(all);
        let mut groups: BTreeMap<usize, Vec<&Read<'_, '_>>> = BTreeMap::new();
        for read in moving {
            let refusal = self
                .foreign_digest(read, all, &shared)
                .or_else(|| self.foreign_tag(read, all, &shared, &moved));
            match (refusal, read.carrier()) {
                (Some(refusal), _) => sights.push(self.refused(read, refusal)),
                (None, Some(carrier)) => groups.entry(carrier.at.start).or_default().push(read),
                (None, None) => {}
            }
        }
        for reads in groups.values() {
            sights.extend(self.pin(reads));
        }
    }

    /// Why a digest that an entry shares with others cannot move.
    fn foreign_digest(
        &self,
        read: &Read<'_, '_>,
        all: &[Read<'_, '_>],
        shared: &Shared,
    ) -> Option<Refusal> {
        let carrier = read.carrier()?;
        let node = carrier.field.node;
        let users = shared.digests.get(&node)?;
        let users: Vec<_> = users.iter().map(|at| &all[*at]).collect();
        let other = users
            .iter()
            .find(|other| other.entry.whose != read.entry.whose);
        let own = |read: &&Read<'_, '_>| {
            read.carrier()
                .is_some_and(|carrier| matches!(carrier.field.via, Via::Own))
        };
        if let Some(other) = other {
            // It is told at the alias or merge of either.
            let via = [read.carrier(), other.carrier()]
                .into_iter()
                .flatten()
                .find_map(|carrier| carrier.field.via.node());
            let why =
                "an alias or a merge shares this digest with an entry of another image".to_owned();
            return Some(self.at(via.unwrap_or(node), why));
        }
        if users.iter().any(own) {
            return None;
        }
        // It stands in no entry: then everything that uses it has to be known.
        let used: HashSet<Id> = users
            .iter()
            .filter_map(|read| read.carrier()?.field.via.node())
            .collect();
        let unknown = self
            .document
            .aliases_of(node)
            .find(|alias| !used.contains(alias))?;
        let why = "this alias of an image's digest belongs to no entry, and would change with it";
        Some(self.at(unknown, why.to_owned()))
    }

    /// Why a tag that an entry shares with others cannot move.
    fn foreign_tag(
        &self,
        read: &Read<'_, '_>,
        all: &[Read<'_, '_>],
        shared: &Shared,
        moved: &HashSet<Id>,
    ) -> Option<Refusal> {
        let field = read.entry.tag.filter(|_| read.in_tag.is_none())?;
        let text = self.document.scalar(field.node)?;
        if !self.replaced(field.node, text) {
            return None;
        }
        let users = shared.tags.get(&field.node)?;
        let mut known = HashSet::new();
        for user in users.iter().map(|at| &all[*at]) {
            let via = user.entry.tag.and_then(|tag| tag.via.node());
            if !moved.contains(&user.entry.node) {
                let why =
                    "this tag is shared by an alias or a merge with an entry that does not move"
                        .to_owned();
                let at = via.or_else(|| field.via.node()).unwrap_or(field.node);
                return Some(self.at(at, why));
            }
            known.extend(via);
        }
        if !self.document.node(field.node).anchored {
            return None;
        }
        let unknown = self
            .document
            .aliases_of(field.node)
            .find(|alias| !known.contains(alias))?;
        let why =
            "this alias of an image's tag belongs to no entry that moves, and would change with it";
        Some(self.at(unknown, why.to_owned()))
    }

    /// The one pin of entries that share a digest.
    fn pin(&self, reads: &[&Read<'_, '_>]) -> Option<Sight> {
        let first = reads.first()?;
        let carrier = first.carrier()?;
        let Shape::Digest(digest) = carrier.shape else {
            return None;
        };
        let mut tags: Vec<TagEdit> = Vec::new();
        for read in reads {
            if let Some(edit) = self.tag_edit(read)
                && !tags.contains(&edit)
            {
                tags.push(edit);
            }
        }
        let nodes = reads.iter().flat_map(|read| {
            let entry = read.entry;
            entry.named_by.iter().chain(&entry.digest).chain(&entry.tag)
        });
        let mut nodes = nodes.map(|field| field.node);
        let managed = nodes.any(|node| {
            comment_behind(self.document, node)
                .is_some_and(|comment| self.document.text[comment].contains(r#"{"$imagepolicy""#))
        });
        let comment = self.comment(carrier).ok().flatten();
        Some(Sight {
            place: self.place,
            image: first.image(),
            at: carrier.at.start,
            what: What::Pin {
                digest,
                tag: tags.first().map(|edit| edit.tag.clone()),
                split: Box::new(Split {
                    place: self.place,
                    pointer: Some(self.document.pointer(carrier.field.node)),
                    document: Some(self.document.number),
                    tags,
                    comment,
                    managed,
                }),
            },
        })
    }

    /// The tag of an entry that gets the new one.
    fn tag_edit(&self, read: &Read<'_, '_>) -> Option<TagEdit> {
        let field = read.entry.tag?;
        let text = self.document.scalar(field.node)?;
        let within = super::within_quotes(self.document, field.node);
        if let Some(in_tag) = &read.in_tag {
            let before = in_tag.before?;
            return Some(TagEdit {
                tag: Tag::parse(before).ok()?,
                at: within.start..within.start + before.len(),
                plain: false,
                scalar: self.document.span(field.node),
            });
        }
        if !self.replaced(field.node, text) {
            return None;
        }
        let span = self.document.span(field.node);
        Some(TagEdit {
            tag: Tag::parse(text).ok()?,
            plain: within == span,
            at: within,
            scalar: span,
        })
    }
}

/// Which entries use which scalars, by their places among all.
struct Shared {
    digests: HashMap<Id, Vec<usize>>,
    tags: HashMap<Id, Vec<usize>>,
}

impl Shared {
    fn of(all: &[Read<'_, '_>]) -> Self {
        let (mut digests, mut tags) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, read) in all.iter().enumerate() {
            if let Some(carrier) = read.carrier() {
                digests.entry(carrier.field.node).or_default().push(at);
            }
            if let Some(field) = read.entry.tag {
                tags.entry(field.node).or_default().push(at);
            }
        }
        Self { digests, tags }
    }
}
