//! `tag`.

use crate::engine::Engine;
use crate::engine::api::{Failure, FailureKind, Tag, Tagged};
use crate::store::{Access, Force};

impl Engine {
    /// Gives an image one more name. A name that another image has moves, as
    /// with docker: who types both names means it.
    ///
    /// # Errors
    /// If there is no such image, or the name has a digest.
    pub(in crate::engine) fn tag_image(&self, tag: &Tag) -> Result<Tagged, Failure> {
        if tag.reference.digest().is_some() || tag.reference.tag().is_none() {
            let message = format!("{} has a digest, which only content can give a name", tag.reference);
            return Err(Failure::say(FailureKind::Invalid, message).hint(format!(
                "pybox tag {} {}:TAG",
                tag.image,
                tag.reference.familiar_name()
            )));
        }
        let (id, _) = self.store(Access::Write)?.tag_image(&tag.image, &tag.reference, Force::Yes)?;
        self.tell_image("tag", &id.to_string(), Some(&tag.reference));
        Ok(Tagged { id })
    }
}
