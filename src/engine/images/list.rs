//! `images`.

use crate::engine::Engine;
use crate::engine::api::{Failure, ImageName, ImageSummary};
use crate::store::Access;
use crate::store::image::{ImageNames, ImageSummary as Row};

impl Engine {
    /// All images, the newest first.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) fn list_images(&self) -> Result<Vec<ImageSummary>, Failure> {
        Ok(self.store(Access::Read)?.list_images()?.into_iter().map(summary).collect())
    }
}

fn summary(row: Row) -> ImageSummary {
    ImageSummary {
        id: row.id,
        names: names(row.names),
        created: row.created,
        size: row.size,
        containers: row.containers,
        labels: row.labels,
    }
}

/// Tags, and those names by digest that no tag of their repository speaks for.
fn names(names: ImageNames) -> Vec<ImageName> {
    let spoken_for = |reference: &crate::model::reference::Reference| {
        names.tags.iter().any(|tag| tag.reference.name() == reference.name())
    };
    let digests: Vec<_> = names.digests.iter().filter(|reference| !spoken_for(reference)).cloned().collect();
    let by_tag = names.tags.into_iter().map(|tag| ImageName { reference: tag.reference, digest: tag.target });
    let by_digest = digests.into_iter().map(|reference| ImageName { digest: reference.digest().cloned(), reference });
    by_tag.chain(by_digest).collect()
}
