//! Checks the entries of a document by the same rules for every kind of place: the image of a
//! digest, the tags that move with it, and ambiguity between readers.
//!
//! An alias or a merge is not a separate pin: the scalar with the anchor is one pin, for the image
//! of all entries that use it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use granit_parser::ScalarStyle;

use super::{
    File, Finding, FindingKind,
    marked::Uses,
    strings::{Content, Field, Shape, Via, global_registry, is_signed, needs_quotes},
    yaml::{Document, Id, Kind, POINTER},
};
use crate::{
    config::CommentPolicy,
    core::pins::scan::{DigestForm, Split, TagEdit},
    oci::Tag,
};

/// A mapping or list that may contain a digest of an image.
pub(super) struct Entry {
    pub(super) node: Id,
    pub(super) image: EntryImage,
    /// The scalars that name the image.
    pub(super) names: Vec<Field>,
    pub(super) digest: Option<Field>,
    pub(super) tag: Option<Field>,
    /// The refusal by the kind of the place, if there is a digest.
    pub(super) refused: Option<Refusal>,
    /// The reason to refuse a digest in both fields.
    pub(super) both: &'static str,
    /// Whether some readers prefer a global registry to that of the entry.
    pub(super) global: bool,
    /// Whether the digits alone are a digest.
    pub(super) bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum EntryImage {
    Image(usize),
    /// The image with the global registry of the document, which some charts prefer.
    Global(usize),
    /// Not a configured image.
    Other,
}

/// A refused entry: the reason and its offset.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) at: usize,
    pub(super) reason: String,
}

struct EntryDigest {
    field: Field,
    /// The bytes of the digest; of the whole scalar if the digest is malformed.
    at: Range<usize>,
    shape: Shape,
    /// The number of bytes before the `@`, if the digest follows one.
    before: Option<usize>,
}

/// An entry with its parsed values.
struct ParsedEntry<'e> {
    fields: &'e Entry,
    digest: Option<EntryDigest>,
    in_tag: Option<EntryDigest>,
    tag: Option<Content>,
}

/// The refusal of a document that [`is_signed`].
pub(super) const SIGNED: &str =
    "SOPS signed this document (`sops.mac`), and would not decrypt it after a change";

/// The refusal of a scalar below a duplicate key.
pub(super) fn duplicate_key(document: &Document<'_>, key: Id) -> String {
    let key = super::key_excerpt(document, key);
    format!("duplicate key `{key}`: YAML forbids it, and readers take the first or the last one")
}

/// The refusal of a scalar with bytes that differ from its text.
pub(super) fn written_otherwise(document: &Document<'_>, node: Id, what: &str) -> Option<String> {
    let Kind::Scalar(style) = document.node(node).kind else {
        return None;
    };
    Some(match style {
        ScalarStyle::Literal | ScalarStyle::Folded => {
            format!("{what} is in a block scalar, which ends with a line break for most readers")
        }
        _ if document.node(node).tagged => {
            format!(
                "{what} has a YAML tag other than `!!str`, so a reader may take it for something else than text"
            )
        }
        _ if !document.is_verbatim(node) => {
            format!(
                "{what} is written with an escape or over several lines, so its bytes are not its text"
            )
        }
        _ => return None,
    })
}

struct Judge<'j> {
    file: &'j File<'j>,
    document: &'j Document<'j>,
    place: usize,
    /// The parsed scalars: any number of entries may use one with an anchor.
    contents: RefCell<HashMap<Id, Content>>,
}

/// The pins and refusals of a document's entries.
pub(super) fn judge(
    file: &File<'_>,
    document: &Document<'_>,
    place: usize,
    entries: &[Entry],
) -> Vec<Finding> {
    let judge = Judge {
        file,
        document,
        place,
        contents: RefCell::default(),
    };
    // An entry without a digest may share its tag.
    let parsed: Vec<_> = entries.iter().map(|entry| judge.parse(entry)).collect();
    let mut findings = Vec::new();
    let mut moving = Vec::new();
    for entry in &parsed {
        let Some(image) = entry.image() else {
            continue;
        };
        if entry.digest().is_none() {
            if let Some(field) = entry.own_tag() {
                file.note_tag(document, image, field);
            }
            continue;
        }
        match judge.refusal(entry) {
            Some(refusal) => findings.push(judge.refused(entry, refusal)),
            None => moving.push(entry),
        }
    }
    judge.add_pins(&parsed, &moving, &mut findings);
    findings
}

impl ParsedEntry<'_> {
    fn digest(&self) -> Option<&EntryDigest> {
        self.digest.as_ref().or(self.in_tag.as_ref())
    }

    fn image(&self) -> Option<usize> {
        match self.fields.image {
            EntryImage::Image(image) | EntryImage::Global(image) => Some(image),
            EntryImage::Other => None,
        }
    }

    /// The tag outside of the digest, unless it is empty or a placeholder.
    fn own_tag(&self) -> Option<Field> {
        let replaced = self.in_tag.is_none() && self.tag.is_some_and(|tag| tag.replaced);
        self.fields.tag.filter(|_| replaced)
    }
}

impl Judge<'_> {
    fn parse<'e>(&self, entry: &'e Entry) -> ParsedEntry<'e> {
        let content = |field: Option<Field>| field.map(|field| self.content(field.node));
        let (digest, tag) = (content(entry.digest), content(entry.tag));
        ParsedEntry {
            fields: entry,
            digest: digest.and_then(|content| {
                let shape = match content.digest {
                    Shape::Digest(_, DigestForm::Bare) if !entry.bare => Shape::Malformed,
                    shape => shape,
                };
                self.digest(entry.digest?, shape, None)
            }),
            in_tag: tag.and_then(|content| match content.suffix {
                Some((before, shape)) => self.digest(entry.tag?, shape, Some(before)),
                None => self.digest(entry.tag?, content.in_tag, None),
            }),
            tag,
        }
    }

    fn content(&self, node: Id) -> Content {
        let mut contents = self.contents.borrow_mut();
        let content = contents.entry(node);
        *content.or_insert_with(|| Content::of(self.document, node))
    }

    fn digest(&self, field: Field, shape: Shape, before: Option<usize>) -> Option<EntryDigest> {
        let within = self.document.within_quotes(field.node);
        let at = match shape {
            Shape::None => return None,
            Shape::Malformed => self.document.span(field.node),
            Shape::Digest(_, form) => {
                within.end.saturating_sub(form.length()).max(within.start)..within.end
            }
        };
        Some(EntryDigest {
            field,
            at,
            shape,
            before,
        })
    }

    /// The refusal of an entry with a digest, independent of other entries.
    fn refusal(&self, entry: &ParsedEntry<'_>) -> Option<Refusal> {
        let digest = entry.digest()?;
        let fields = entry.fields;
        let scalars = fields.names.iter().chain(&fields.digest).chain(&fields.tag);
        let duplicate = scalars.filter_map(|field| self.document.duplicate_above(field.node));
        if let Some(second) = duplicate.min() {
            return Some(self.at(second, duplicate_key(self.document, second)));
        }
        if let (Some(_), Some(in_tag)) = (&entry.digest, &entry.in_tag) {
            return Some(self.at(in_tag.field.node, fields.both.to_owned()));
        }
        fields
            .refused
            .clone()
            .or_else(|| self.written(digest.field.node, "the digest"))
            .or_else(|| self.malformed(digest))
            .or_else(|| self.merged(fields, digest))
            .or_else(|| self.registry(fields, digest))
            .or_else(|| self.signed(fields, digest))
            .or_else(|| self.tag(entry))
            .or_else(|| self.comment(digest).err())
            .or_else(|| self.long_pointer(digest))
    }

    fn at(&self, node: Id, reason: String) -> Refusal {
        Refusal {
            at: self.document.span(node).start,
            reason,
        }
    }

    /// The refusal of a digest with an overlong pointer.
    fn long_pointer(&self, digest: &EntryDigest) -> Option<Refusal> {
        let node = digest.field.node;
        self.document.pointer(node).is_none().then(|| {
            let reason = format!("the keys above this digest take more than {POINTER} bytes");
            self.at(node, reason)
        })
    }

    /// The refusal of a scalar with bytes that differ from its text.
    fn written(&self, node: Id, what: &str) -> Option<Refusal> {
        let reason = written_otherwise(self.document, node, what)?;
        Some(self.at(node, reason))
    }

    fn malformed(&self, digest: &EntryDigest) -> Option<Refusal> {
        let node = digest.field.node;
        let reason = match digest.shape {
            Shape::Malformed => {
                "the digest is not of the form sha256:<64 lowercase hex digits>, the only one that every registry and engine takes; a placeholder is empty or contains `{{ … }}`, `${…}` or `<…>`"
            }
            Shape::Digest(digest, DigestForm::Bare)
                if self.document.node(node).kind == Kind::Scalar(ScalarStyle::Plain)
                    && needs_quotes(&digest.hex()) =>
            {
                "the digits of this digest are a number for readers of YAML: write them in quotes"
            }
            Shape::None | Shape::Digest(..) => return None,
        };
        Some(self.at(node, reason.to_owned()))
    }

    /// The refusal of an entry with a literal digest and a repository from a merge.
    fn merged(&self, entry: &Entry, digest: &EntryDigest) -> Option<Refusal> {
        if matches!(digest.field.via, Via::Merge(_)) {
            return None;
        }
        let merge = entry.names.iter().find_map(|field| match field.via {
            Via::Merge(merge) => Some(merge),
            _ => None,
        })?;
        let reason = "the merge key `<<` provides the repository of a digest that is written out, and readers of YAML 1.2 do not merge";
        Some(self.at(merge, reason.to_owned()))
    }

    fn registry(&self, entry: &Entry, digest: &EntryDigest) -> Option<Refusal> {
        if !entry.global {
            return None;
        }
        let registry = super::excerpt(global_registry(self.document, entry.node)?.as_bytes());
        let reason = format!(
            "`global.imageRegistry` is `{registry}`, and some charts prefer it to the registry of the entry; a place of the kind `keys` with `image:` says what is meant"
        );
        Some(Refusal {
            at: digest.at.start,
            reason,
        })
    }

    /// The refusal of a document that SOPS signed: a promotion would change the signed values.
    fn signed(&self, entry: &Entry, digest: &EntryDigest) -> Option<Refusal> {
        is_signed(self.document, Some(entry.node)).then(|| Refusal {
            at: digest.at.start,
            reason: SIGNED.to_owned(),
        })
    }

    /// The refusal of a tag that cannot be replaced.
    fn tag(&self, entry: &ParsedEntry<'_>) -> Option<Refusal> {
        let (field, tag) = (entry.fields.tag?, entry.tag?);
        if entry.in_tag.is_none() && !tag.replaced {
            return None;
        }
        if let Some(refusal) = self.written(field.node, "the tag") {
            return Some(refusal);
        }
        (!tag.well_formed).then(|| {
            let reason =
                "the tag next to the digest is malformed, so no registry has it".to_owned();
            self.at(field.node, reason)
        })
    }

    /// The word in the comment after a digest that becomes the new tag.
    fn comment(&self, digest: &EntryDigest) -> Result<Option<Range<usize>>, Refusal> {
        if self.file.comments(self.place) == CommentPolicy::Keep {
            return Ok(None);
        }
        let Some(comment) = self.document.comment_after(digest.field.node) else {
            return Ok(None);
        };
        let text = &self.document.text[comment.clone()];
        // A longer comment is not examined, because its line may contain any number of pins.
        let text = if text.len() > COMMENT { "" } else { text };
        let word = text.trim();
        let start = comment.start + (text.len() - text.trim_start().len());
        if Tag::parse(word).is_err() {
            return Err(Refusal {
                at: start,
                reason: "the comment after the digest is not a single word, so `comment: tag` cannot replace it".to_owned(),
            });
        }
        Ok(Some(start..start + word.len()))
    }

    fn refused(&self, entry: &ParsedEntry<'_>, refusal: Refusal) -> Finding {
        Finding {
            place: self.place,
            image: entry.image(),
            at: refusal.at,
            kind: FindingKind::Refused(refusal.reason),
        }
    }

    /// Refuses the scalars that entries share with entries that do not move, and adds the other
    /// pins.
    fn add_pins(
        &self,
        all: &[ParsedEntry<'_>],
        moving: &[&ParsedEntry<'_>],
        findings: &mut Vec<Finding>,
    ) {
        let shared = Shared::of(self, all, moving);
        let mut groups: BTreeMap<usize, Vec<&ParsedEntry<'_>>> = BTreeMap::new();
        for entry in moving {
            let refusal = self
                .foreign_digest(entry, &shared)
                .or_else(|| self.foreign_tag(entry, &shared));
            match (refusal, entry.digest()) {
                (Some(refusal), _) => findings.push(self.refused(entry, refusal)),
                (None, Some(digest)) => groups.entry(digest.at.start).or_default().push(entry),
                (None, None) => {}
            }
        }
        for entries in groups.values() {
            findings.extend(self.pin(entries));
        }
    }

    /// The refusal of a digest that an entry shares with an entry of another image.
    fn foreign_digest(&self, entry: &ParsedEntry<'_>, shared: &Shared<'_>) -> Option<Refusal> {
        let digest = entry.digest()?;
        let node = digest.field.node;
        let users = shared.digests.get(&node)?;
        if let Some(other) = users.of_another(entry) {
            // The refusal is at the alias or merge of either entry.
            let via = [Some(digest), other.digest()]
                .into_iter()
                .flatten()
                .find_map(|digest| digest.field.via.node());
            let reason =
                "an alias or a merge shares this digest with an entry of another image".to_owned();
            return Some(self.at(via.unwrap_or(node), reason));
        }
        let reason =
            "this alias of an image's digest belongs to no entry, and would change with it";
        Some(self.at(users.unknown?, reason.to_owned()))
    }

    /// The refusal of a tag that an entry shares with an entry that does not move.
    fn foreign_tag(&self, entry: &ParsedEntry<'_>, shared: &Shared<'_>) -> Option<Refusal> {
        let field = entry.own_tag()?;
        match shared.tags.get(&field.node)? {
            SharedTag::Moves => None,
            SharedTag::Stays(via) => {
                let reason =
                    "this tag is shared by an alias or a merge with an entry that does not move"
                        .to_owned();
                let at = via.or_else(|| field.via.node()).unwrap_or(field.node);
                Some(self.at(at, reason))
            }
            SharedTag::Unknown(alias) => {
                let reason = "this alias of an image's tag belongs to no entry that moves, and would change with it";
                Some(self.at(*alias, reason.to_owned()))
            }
        }
    }

    /// The pin of entries that share a digest.
    fn pin(&self, entries: &[&ParsedEntry<'_>]) -> Option<Finding> {
        let first = entries.first()?;
        let own = first.digest()?;
        let Shape::Digest(digest, form) = own.shape else {
            return None;
        };
        let edits: BTreeMap<usize, TagEdit> = entries
            .iter()
            .filter_map(|entry| self.tag_edit(entry))
            .map(|edit| (edit.at.start, edit))
            .collect();
        let tags: Vec<_> = edits.into_values().collect();
        let mut nodes = entries
            .iter()
            .flat_map(|entry| {
                let fields = entry.fields;
                fields.names.iter().chain(&fields.digest).chain(&fields.tag)
            })
            .map(|field| field.node);
        let managed = nodes.any(|node| self.is_managed(node));
        let comment = self.comment(own).ok().flatten();
        Some(Finding {
            place: self.place,
            image: first.image(),
            at: own.at.start,
            kind: FindingKind::Pin {
                digest,
                tag: tags.first().map(|edit| edit.tag.clone()),
                split: Box::new(Split {
                    place: self.place,
                    form,
                    pointer: self.document.pointer(own.field.node),
                    document: Some(self.document.number),
                    tags,
                    comment,
                    managed,
                }),
            },
        })
    }

    /// Whether the comment after a value is a marker of Flux.
    fn is_managed(&self, node: Id) -> bool {
        let comment = self.document.comment_after(node);
        comment.is_some_and(|comment| {
            let text = &self.document.text.as_bytes()[comment];
            let text = text[..text.len().min(COMMENT)].trim_ascii_start();
            text.starts_with(br#"{"$imagepolicy""#)
        })
    }

    /// The tag of an entry that is replaced.
    fn tag_edit(&self, entry: &ParsedEntry<'_>) -> Option<TagEdit> {
        let field = entry.fields.tag?;
        let within = self.document.within_quotes(field.node);
        let scalar = self.document.span(field.node);
        if let Some(in_tag) = &entry.in_tag {
            let before = self.document.scalar(field.node)?.get(..in_tag.before?)?;
            return Some(TagEdit {
                tag: Tag::parse(before).ok()?,
                at: within.start..within.start + before.len(),
                plain: false,
                scalar,
            });
        }
        entry.own_tag()?;
        Some(TagEdit {
            tag: Tag::parse(self.document.scalar(field.node)?).ok()?,
            plain: within == scalar,
            at: within,
            scalar,
        })
    }
}

/// The maximum number of bytes of a comment that are examined.
const COMMENT: usize = 1024;

/// The movability of a tag that several entries may use.
enum SharedTag {
    Moves,
    /// An entry that does not move uses it, through this alias or merge, or directly.
    Stays(Option<Id>),
    /// This alias belongs to no entry that moves.
    Unknown(Id),
}

/// The entries that use one digest.
struct Users<'r> {
    first: &'r ParsedEntry<'r>,
    /// The first entry of another image than `first`.
    other: Option<&'r ParsedEntry<'r>>,
    uses: Uses,
    /// If the digest is written in none of them: an alias that belongs to no entry.
    unknown: Option<Id>,
}

impl<'r> Users<'r> {
    /// The first entry of another image.
    fn of_another(&self, entry: &ParsedEntry<'_>) -> Option<&'r ParsedEntry<'r>> {
        let differs = self.first.fields.image != entry.fields.image;
        if differs {
            Some(self.first)
        } else {
            self.other
        }
    }
}

/// The scalars that entries use, with their users.
struct Shared<'r> {
    digests: HashMap<Id, Users<'r>>,
    tags: HashMap<Id, SharedTag>,
}

impl<'r> Shared<'r> {
    fn of(judge: &Judge<'_>, all: &'r [ParsedEntry<'r>], moving: &[&ParsedEntry<'_>]) -> Self {
        let mut digests = HashMap::<Id, Users<'_>>::new();
        for entry in all {
            let Some(digest) = entry.digest() else {
                continue;
            };
            let users = digests.entry(digest.field.node).or_insert(Users {
                first: entry,
                other: None,
                uses: Uses::default(),
                unknown: None,
            });
            users.uses.add(entry.fields.node, digest.field);
            let differs = users.first.fields.image != entry.fields.image;
            users.other = users.other.or(differs.then_some(entry));
        }
        for (node, users) in &mut digests {
            // A digest that is written in no entry moves only if all of its users are known.
            if !users.uses.own {
                users.unknown = users.uses.unknown_alias(judge.document, *node);
            }
        }
        Self {
            digests,
            tags: shared_tags(judge.document, all, moving),
        }
    }
}

fn shared_tags(
    document: &Document<'_>,
    all: &[ParsedEntry<'_>],
    moving: &[&ParsedEntry<'_>],
) -> HashMap<Id, SharedTag> {
    let moved: HashSet<Id> = moving.iter().map(|entry| entry.fields.node).collect();
    let (mut tags, mut uses) = (HashMap::new(), HashMap::<Id, Uses>::new());
    for entry in all {
        let Some(field) = entry.fields.tag else {
            continue;
        };
        let tag = tags.entry(field.node).or_insert(SharedTag::Moves);
        if !moved.contains(&entry.fields.node) && matches!(tag, SharedTag::Moves) {
            *tag = SharedTag::Stays(field.via.node());
        }
        let uses = uses.entry(field.node).or_default();
        uses.add(entry.fields.node, field);
    }
    for (node, uses) in uses {
        if let Some(tag @ SharedTag::Moves) = tags.get_mut(&node)
            && let Some(alias) = uses.unknown_alias(document, node)
        {
            *tag = SharedTag::Unknown(alias);
        }
    }
    tags
}
