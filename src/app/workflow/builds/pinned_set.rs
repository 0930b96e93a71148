//! The pinned set with which builds are compared.

use std::{cell::OnceCell, collections::HashMap};

use crate::{
    app::workflow::{
        Services, SiteHistory,
        build_order::{BuildOrder, created as created_at},
        tags,
    },
    base::error::Errors,
    config::Config,
    core::{
        builds::{ImageTime, Push},
        checks,
        history::{Digests, UnknownOrder},
        pins::Found,
    },
    oci::{Revision, Tag, registry::resolve::ImageFacts},
};

pub(super) struct PinnedSet<'s> {
    config: &'s Config,
    found: &'s Found,
    services: &'s Services,
    pub(super) digests: Digests,
    /// The recorded revision, otherwise that in the labels of the images, or the reason that it is unknown.
    pub(super) revision: Result<Revision, UnknownOrder>,
    images: OnceCell<Result<Vec<Option<ImageFacts>>, Errors>>,
    /// The times of the pushes that the packages API lists, by image.
    pushed: HashMap<String, ImageTime>,
}

impl<'s> PinnedSet<'s> {
    pub(super) fn read(
        config: &'s Config,
        found: &'s Found,
        history: &SiteHistory,
        order: &BuildOrder<'_>,
        versions: &[HashMap<Tag, Push>],
        services: &'s Services,
    ) -> Result<Self, Errors> {
        let digests = checks::current_digests(config, found);
        let revision = match history.known()? {
            None => Err(UnknownOrder::NoHistory(
                "there is no git history".to_owned(),
            )),
            Some(known) => {
                let recorded = known.revision_of(&digests).cloned();
                recorded.ok_or_else(|| known.unrecorded())
            }
        };
        let mut pushed = HashMap::new();
        for (image, versions) in config.images.iter().zip(versions) {
            let digest = digests.get(&image.name);
            let push = versions.values().find(|push| Some(&push.digest) == digest);
            if let Some(push) = push {
                pushed.insert(image.name.clone(), ImageTime::Pushed(push.time));
            }
        }
        let mut set = Self {
            config,
            found,
            services,
            digests,
            revision,
            images: OnceCell::new(),
            pushed,
        };
        if let Err(unknown) = &set.revision
            && unknown.is_unrecorded()
            && let Some(label) = order.label(&config.images, set.images()?)
        {
            set.revision = Ok(label);
        }
        Ok(set)
    }

    /// The pinned images, in the order of the configuration; `None` for one that cannot be read.
    fn images(&self) -> Result<&[Option<ImageFacts>], Errors> {
        let images = self
            .images
            .get_or_init(|| tags::readable_images(self.config, self.found, self.services));
        images.as_deref().map_err(Errors::clone)
    }

    /// The times of the images, by name.
    pub(super) fn times(&self) -> Result<HashMap<String, ImageTime>, Errors> {
        let mut times = self.pushed.clone();
        if times.len() == self.digests.len() {
            return Ok(times);
        }
        for (image, facts) in self.config.images.iter().zip(self.images()?) {
            let subject = format!("the pinned `{}`", image.name);
            let created = facts.as_ref();
            let created = created.and_then(|facts| created_at(facts, &subject, self.services));
            if let Some(created) = created {
                let time = times.entry(image.name.clone());
                time.or_insert(ImageTime::Created(created));
            }
        }
        Ok(times)
    }
}
