//! Judges the entries of a document alike, whatever chose them: which digest is whose, what moves
//! with it, and what a reader of the file could take otherwise.
//!
//! An alias, or a merge, is no pin of its own: the scalar with the anchor is one, once, for the image
//! that everything which uses it belongs to.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use granit_parser::ScalarStyle;

use super::{
    File, Sight, What,
    values::{Content, Field, Shape, Via, global_registry},
    yaml::{Document, Id, Kind, POINTER},
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
struct Carrier {
    field: Field,
    /// The bytes of the digest; of the whole scalar where it is malformed.
    at: Range<usize>,
    shape: Shape,
    /// The bytes before the `@`, if the digest stands behind one.
    before: Option<usize>,
}

/// An entry with what was read of it.
struct Read<'e> {
    entry: &'e Entry,
    digest: Option<Carrier>,
    in_tag: Option<Carrier>,
    /// What the tag is.
    tag: Option<Content>,
}

struct Judge<'j> {
    file: &'j File<'j>,
    document: &'j Document<'j>,
    place: usize,
    /// What scalars with anchors are, since any number of entries may use them.
    contents: RefCell<HashMap<Id, Option<Content>>>,
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
        contents: RefCell::default(),
    };
    let reads = entries.iter().map(|entry| judge.read(entry));
    // Without a digest an entry matters by the tag that it shares.
    let matters = |read: &Read<'_>| {
        let shares = |field: &Field| document.node(field.node).anchored;
        read.carrier().is_some() || read.entry.tag.as_ref().is_some_and(shares)
    };
    let reads: Vec<_> = reads.filter(matters).collect();
    let mut sights = Vec::new();
    let mut moving = Vec::new();
    for read in &reads {
        if read.image().is_none() || read.carrier().is_none() {
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

impl Read<'_> {
    fn carrier(&self) -> Option<&Carrier> {
        self.digest.as_ref().or(self.in_tag.as_ref())
    }

    fn image(&self) -> Option<usize> {
        match self.entry.whose {
            Whose::Image(image) | Whose::Global(image) => Some(image),
            Whose::Other => None,
        }
    }

    /// The tag beside a digest, if it gets the new one.
    fn own_tag(&self) -> Option<Field> {
        let replaced = self.in_tag.is_none() && self.tag.is_some_and(|tag| tag.replaced);
        self.entry.tag.filter(|_| replaced)
    }
}

impl Judge<'_> {
    fn read<'e>(&self, entry: &'e Entry) -> Read<'e> {
        let content = |field: Option<Field>| field.and_then(|field| self.content(field.node));
        let (digest, tag) = (content(entry.digest), content(entry.tag));
        let carrier = |field: Option<Field>, shape, before| self.carrier(field?, shape, before);
        Read {
            entry,
            digest: digest.and_then(|content| carrier(entry.digest, content.whole, None)),
            in_tag: tag.and_then(|content| match content.behind {
                Some((before, shape)) => carrier(entry.tag, shape, Some(before)),
                None => carrier(entry.tag, content.whole, None),
            }),
            tag,
        }
    }

    fn content(&self, node: Id) -> Option<Content> {
        if !self.document.node(node).anchored {
            return Content::of(self.document, node);
        }
        let mut contents = self.contents.borrow_mut();
        let content = contents.entry(node);
        *content.or_insert_with(|| Content::of(self.document, node))
    }

    fn carrier(&self, field: Field, shape: Shape, before: Option<usize>) -> Option<Carrier> {
        let within = self.document.within_quotes(field.node);
        let at = match shape {
            Shape::None => return None,
            Shape::Malformed => self.document.span(field.node),
            Shape::Digest(_) => within.end.saturating_sub(DIGEST).max(within.start)..within.end,
        };
        Some(Carrier {
            field,
            at,
            shape,
            before,
        })
    }

    /// Why an entry with a digest is refused by itself.
    fn alone(&self, read: &Read<'_>) -> Option<Refusal> {
        let carrier = read.carrier()?;
        let entry = read.entry;
        let fields = entry.named_by.iter().chain(&entry.digest).chain(&entry.tag);
        let duplicate = fields.filter_map(|field| self.document.duplicate_above(field.node));
        if let Some(second) = duplicate.min() {
            let key = super::excerpt(self.document.key(second).unwrap_or_default().as_bytes());
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
            .or_else(|| self.nameless(carrier))
    }

    fn at(&self, node: Id, why: String) -> Refusal {
        Refusal {
            at: self.document.span(node).start,
            why,
        }
    }

    /// A digest whose pointer would be too long.
    fn nameless(&self, carrier: &Carrier) -> Option<Refusal> {
        let node = carrier.field.node;
        self.document.pointer(node).is_none().then(|| {
            let why = format!("the keys above this digest take more than {POINTER} bytes");
            self.at(node, why)
        })
    }

    /// Why a scalar's bytes are not its text.
    fn written(&self, node: Id, what: &str) -> Option<Refusal> {
        let Kind::Scalar(style) = self.document.node(node).kind else {
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
            _ if !self.document.is_verbatim(node) => {
                format!(
                    "{what} is written with an escape or over several lines, so its bytes are not its text"
                )
            }
            _ => return None,
        };
        Some(self.at(node, why))
    }

    fn malformed(&self, carrier: &Carrier) -> Option<Refusal> {
        matches!(carrier.shape, Shape::Malformed).then(|| {
            let why = "the digest is not of the form sha256:<64 lowercase hex digits>, the only one that every registry and engine takes";
            self.at(carrier.field.node, why.to_owned())
        })
    }

    /// A repository that a merge brings to a digest which is written out.
    fn merged(&self, read: &Read<'_>, carrier: &Carrier) -> Option<Refusal> {
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

    fn registry(&self, entry: &Entry, carrier: &Carrier) -> Option<Refusal> {
        if !entry.global {
            return None;
        }
        let registry = super::excerpt(global_registry(self.document, entry.node)?.as_bytes());
        let why = format!(
            "`global.imageRegistry` is `{registry}`, and some charts prefer it to the registry of the entry; a place of the kind `keys` with `image:` says what is meant"
        );
        Some(Refusal {
            at: carrier.at.start,
            why,
        })
    }

    /// SOPS's signature over values that a promote would change.
    fn signed(&self, entry: &Entry, carrier: &Carrier) -> Option<Refusal> {
        let document = self.document;
        let sops = document.get(document.root?, "sops")?;
        document.get(sops, "mac")?;
        let only = document.get(sops, "mac_only_encrypted");
        let encrypted = |(_, value): (Id, Id)| {
            let text = document.resolved(value).and_then(|id| document.scalar(id));
            text.is_some_and(|text| text.starts_with("ENC["))
        };
        if only.and_then(|only| document.scalar(only)) == Some("true")
            && !document.map(entry.node).any(encrypted)
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
    fn tag(&self, read: &Read<'_>) -> Option<Refusal> {
        let (field, tag) = (read.entry.tag?, read.tag?);
        if read.in_tag.is_none() && !tag.replaced {
            return None;
        }
        if let Some(refusal) = self.written(field.node, "the tag") {
            return Some(refusal);
        }
        (!tag.fine).then(|| {
            let why = "the tag beside the digest is malformed, so no registry has it".to_owned();
            self.at(field.node, why)
        })
    }

    /// The word behind a digest that becomes the new tag.
    fn comment(&self, carrier: &Carrier) -> Result<Option<Range<usize>>, Refusal> {
        if self.file.comments(self.place) == CommentPolicy::Keep {
            return Ok(None);
        }
        let Some(comment) = self.document.comment_behind(carrier.field.node) else {
            return Ok(None);
        };
        let text = &self.document.text[comment.clone()];
        // A longer one is not looked into: any number of pins may stand in its line.
        let text = if text.len() > COMMENT { "" } else { text };
        let word = text.trim();
        let start = comment.start + (text.len() - text.trim_start().len());
        if Tag::parse(word).is_err() {
            return Err(Refusal {
                at: start,
                why: "the comment behind the digest is not a single word, so `comment: tag` cannot replace it".to_owned(),
            });
        }
        Ok(Some(start..start + word.len()))
    }

    fn refused(&self, read: &Read<'_>, refusal: Refusal) -> Sight {
        Sight {
            place: self.place,
            image: read.image(),
            at: refusal.at,
            what: What::Refused(refusal.why),
        }
    }

    /// Judges what several entries share, and makes pins of the rest.
    fn together(&self, all: &[Read<'_>], moving: &[&Read<'_>], sights: &mut Vec<Sight>) {
        let shared = Shared::of(self, all, moving);
        let mut groups: BTreeMap<usize, Vec<&Read<'_>>> = BTreeMap::new();
        for read in moving {
            let refusal = self
                .foreign_digest(read, &shared)
                .or_else(|| self.foreign_tag(read, &shared));
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
    fn foreign_digest(&self, read: &Read<'_>, shared: &Shared<'_>) -> Option<Refusal> {
        let carrier = read.carrier()?;
        let node = carrier.field.node;
        let users = shared.digests.get(&node)?;
        if let Some(other) = users.of_another(read) {
            // It is told at the alias or merge of either.
            let via = [Some(carrier), other.carrier()]
                .into_iter()
                .flatten()
                .find_map(|carrier| carrier.field.via.node());
            let why =
                "an alias or a merge shares this digest with an entry of another image".to_owned();
            return Some(self.at(via.unwrap_or(node), why));
        }
        let why = "this alias of an image's digest belongs to no entry, and would change with it";
        Some(self.at(users.unknown?, why.to_owned()))
    }

    /// Why a tag that an entry shares with others cannot move.
    fn foreign_tag(&self, read: &Read<'_>, shared: &Shared<'_>) -> Option<Refusal> {
        let field = read.own_tag()?;
        match shared.tags.get(&field.node)? {
            SharedTag::Moves => None,
            SharedTag::Stays(via) => {
                let why =
                    "this tag is shared by an alias or a merge with an entry that does not move"
                        .to_owned();
                let at = via.or_else(|| field.via.node()).unwrap_or(field.node);
                Some(self.at(at, why))
            }
            SharedTag::Unknown(alias) => {
                let why = "this alias of an image's tag belongs to no entry that moves, and would change with it";
                Some(self.at(*alias, why.to_owned()))
            }
        }
    }

    /// The one pin of entries that share a digest.
    fn pin(&self, reads: &[&Read<'_>]) -> Option<Sight> {
        let first = reads.first()?;
        let carrier = first.carrier()?;
        let Shape::Digest(digest) = carrier.shape else {
            return None;
        };
        let edits = reads.iter().filter_map(|read| self.tag_edit(read));
        let edits: BTreeMap<usize, TagEdit> = edits.map(|edit| (edit.at.start, edit)).collect();
        let tags: Vec<_> = edits.into_values().collect();
        let nodes = reads.iter().flat_map(|read| {
            let entry = read.entry;
            entry.named_by.iter().chain(&entry.digest).chain(&entry.tag)
        });
        let mut nodes = nodes.map(|field| field.node);
        let managed = nodes.any(|node| self.is_managed(node));
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
                    pointer: self.document.pointer(carrier.field.node),
                    document: Some(self.document.number),
                    tags,
                    comment,
                    managed,
                }),
            },
        })
    }

    /// Whether the comment behind a value is one of Flux's.
    fn is_managed(&self, node: Id) -> bool {
        let comment = self.document.comment_behind(node);
        comment.is_some_and(|comment| {
            let text = &self.document.text.as_bytes()[comment];
            let text = text[..text.len().min(COMMENT)].trim_ascii_start();
            text.starts_with(br#"{"$imagepolicy""#)
        })
    }

    /// The tag of an entry that gets the new one.
    fn tag_edit(&self, read: &Read<'_>) -> Option<TagEdit> {
        let field = read.entry.tag?;
        let within = self.document.within_quotes(field.node);
        let scalar = self.document.span(field.node);
        if let Some(in_tag) = &read.in_tag {
            let before = self.document.scalar(field.node)?.get(..in_tag.before?)?;
            return Some(TagEdit {
                tag: Tag::parse(before).ok()?,
                at: within.start..within.start + before.len(),
                plain: false,
                scalar,
            });
        }
        read.own_tag()?;
        Some(TagEdit {
            tag: Tag::parse(self.document.scalar(field.node)?).ok()?,
            plain: within == scalar,
            at: within,
            scalar,
        })
    }
}

/// Bytes of a comment that are looked at: any number of pins may stand in its line.
const COMMENT: usize = 1024;
/// Bytes of a digest.
const DIGEST: usize = "sha256:".len() + 64;

/// What becomes of a tag that several entries may use.
enum SharedTag {
    Moves,
    /// An entry that does not move has it, by this alias or merge if not by itself.
    Stays(Option<Id>),
    /// This alias is of no entry that moves.
    Unknown(Id),
}

/// The entries that use one digest.
struct Users<'r> {
    first: &'r Read<'r>,
    /// The first that is of another image than that.
    other: Option<&'r Read<'r>>,
    /// Whether the digest stands in one of them.
    own: bool,
    /// The aliases and merges that they come by.
    via: HashSet<Id>,
    /// Where it stands in none: an alias that belongs to no entry.
    unknown: Option<Id>,
}

impl<'r> Users<'r> {
    /// The first that is of another image.
    fn of_another(&self, read: &Read<'_>) -> Option<&'r Read<'r>> {
        let differs = self.first.entry.whose != read.entry.whose;
        if differs {
            Some(self.first)
        } else {
            self.other
        }
    }
}

/// Which entries use which scalars.
struct Shared<'r> {
    digests: HashMap<Id, Users<'r>>,
    tags: HashMap<Id, SharedTag>,
}

impl<'r> Shared<'r> {
    fn of(judge: &Judge<'_>, all: &'r [Read<'r>], moving: &[&Read<'_>]) -> Self {
        let mut digests = HashMap::<Id, Users<'_>>::new();
        for read in all {
            let Some(carrier) = read.carrier() else {
                continue;
            };
            let users = digests.entry(carrier.field.node).or_insert(Users {
                first: read,
                other: None,
                own: false,
                via: HashSet::new(),
                unknown: None,
            });
            users.own |= matches!(carrier.field.via, Via::Own);
            users.via.extend(carrier.field.via.node());
            let differs = users.first.entry.whose != read.entry.whose;
            users.other = users.other.or(differs.then_some(read));
        }
        for (node, users) in &mut digests {
            // A digest that stands in no entry moves only if everything that uses it is known.
            if !users.own {
                let mut aliases = judge.document.aliases_of(*node).iter();
                users.unknown = aliases.find(|alias| !users.via.contains(alias)).copied();
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
    all: &[Read<'_>],
    moving: &[&Read<'_>],
) -> HashMap<Id, SharedTag> {
    let moved: HashSet<Id> = moving.iter().map(|read| read.entry.node).collect();
    let (mut tags, mut known) = (HashMap::new(), HashMap::<Id, HashSet<Id>>::new());
    for read in all {
        let Some(field) = read.entry.tag else {
            continue;
        };
        let tag = tags.entry(field.node).or_insert(SharedTag::Moves);
        if !moved.contains(&read.entry.node) && matches!(tag, SharedTag::Moves) {
            *tag = SharedTag::Stays(field.via.node());
        }
        let known = known.entry(field.node).or_default();
        known.extend(field.via.node());
    }
    for (node, tag) in &mut tags {
        let known = known.get(node);
        let mut aliases = document.aliases_of(*node).iter();
        let unknown = aliases.find(|alias| !known.is_some_and(|known| known.contains(alias)));
        if let (SharedTag::Moves, Some(alias)) = (&tag, unknown) {
            *tag = SharedTag::Unknown(*alias);
        }
    }
    tags
}
