//! Which blob a layer's blob became when it was compressed in another way: one small file each.
//!
//! It holds neither of the two. So a push knows what a registry is to be asked for, also when nothing here needs the
//! compressed blob any more.

use std::path::PathBuf;

use super::image::ImageLayer;
use super::{Durability, Store, StoreError, atomic, gc};
use crate::model::compression::Compression;

impl Store {
    /// What `layer` became when it was compressed in this way; its blob may be gone.
    pub fn repressed(&self, layer: &ImageLayer, compression: Compression) -> Option<ImageLayer> {
        let text = std::fs::read(self.pressing(layer, compression)).ok()?;
        let known: ImageLayer = serde_json::from_slice(&text).ok()?;
        (known.diff_id == layer.diff_id).then_some(known)
    }

    /// Notes it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn note_repressed(
        &self,
        layer: &ImageLayer,
        compression: Compression,
        made: &ImageLayer,
    ) -> Result<(), StoreError> {
        let path = self.pressing(layer, compression);
        let directory = self.layout.pressings();
        std::fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        let text = serde_json::to_vec(made).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        atomic::replace(&path, &text, 0o600, Durability::Throwaway)
    }

    /// Forgets what is noted of blobs that are gone.
    pub(super) fn forget_pressings(&self) -> Result<(), StoreError> {
        let directory = self.layout.pressings();
        for name in gc::names(&directory)? {
            let blob = name.split('-').next().and_then(|hex| format!("sha256:{hex}").parse().ok());
            if blob.is_some_and(|blob| !self.has_blob(&blob)) {
                let path = directory.join(name);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StoreError::io("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn pressing(&self, layer: &ImageLayer, compression: Compression) -> PathBuf {
        self.layout.pressings().join(format!("{}-{}", layer.blob.hex(), compression.name()))
    }
}
