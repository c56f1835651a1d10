//! Which driver makes a root file system: chosen from what was found by trying, and
//! from what a container needs. Pure; the trying is [`super::trial`]'s.

use serde::{Deserialize, Serialize};

use crate::model::storage::StorageDriver;

/// What a place allows: why not, where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The kernel's overlay, with directories replaced and renamed in it.
    pub overlay: Option<String>,
    /// A FUSE mount.
    pub fuse: Option<String>,
    /// Giving files to other ids of the user's.
    #[serde(default)]
    pub owners: Option<String>,
}

/// What a container needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Its files have other owners inside than its id map gives those on disk.
    pub shifted: bool,
    /// One user owns all files on disk, and their owners are recorded.
    pub recorded: bool,
}

impl Needs {
    /// Why files would not show or keep their owners with `driver`; none if they do.
    pub fn unmet_by(self, driver: StorageDriver) -> Option<&'static str> {
        match driver {
            StorageDriver::Overlay | StorageDriver::Hybrid if self.recorded => {
                Some("owners of files are recorded, which the driver fuse alone can do")
            }
            StorageDriver::Overlay if self.shifted => {
                Some("files would show the owners that they have on disk, not those of the image")
            }
            _ => None,
        }
    }
}

/// Why there is no driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The one that was asked for does not work here.
    #[error("the storage driver {driver} does not work here: {why}")]
    Forced {
        /// It.
        driver: StorageDriver,
        /// Why.
        why: String,
    },
    /// None works here.
    #[error("no storage driver works here: the kernel's overlay: {overlay}; fuse: {fuse}")]
    None {
        /// Why the kernel's overlay does not.
        overlay: String,
        /// Why ours does not.
        fuse: String,
    },
}

impl Found {
    /// Why `driver` cannot be had; none if it can.
    pub fn against(&self, driver: StorageDriver) -> Option<&str> {
        match driver {
            StorageDriver::Overlay => self.overlay.as_deref(),
            StorageDriver::Hybrid => self.overlay.as_deref().or(self.fuse.as_deref()),
            StorageDriver::Fuse => self.fuse.as_deref(),
        }
    }

    /// The driver for a container: `forced`, or the fastest that has what it needs.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn choose(&self, forced: Option<StorageDriver>, needs: Needs) -> Result<StorageDriver, Unfit> {
        if let Some(driver) = forced {
            return match self.against(driver).or(needs.unmet_by(driver)) {
                Some(why) => Err(Unfit::Forced { driver, why: why.to_owned() }),
                None => Ok(driver),
            };
        }
        let order = match needs {
            // It alone writes down whose the files are.
            Needs { recorded: true, .. } => [StorageDriver::Fuse, StorageDriver::Overlay].as_slice(),
            Needs { shifted: true, .. } => &[StorageDriver::Hybrid, StorageDriver::Fuse, StorageDriver::Overlay],
            Needs { .. } => &[StorageDriver::Overlay, StorageDriver::Fuse],
        };
        order.iter().copied().find(|driver| self.against(*driver).is_none()).ok_or_else(|| Unfit::None {
            overlay: self.overlay.clone().unwrap_or_default(),
            fuse: self.fuse.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(overlay: bool, fuse: bool) -> Found {
        let why = |works: bool, why: &str| (!works).then(|| why.to_owned());
        Found { overlay: why(overlay, "no overlay"), fuse: why(fuse, "no fuse"), owners: None }
    }

    #[test]
    fn the_fastest_that_has_what_is_needed() {
        let shifted = Needs { shifted: true, recorded: false };
        let recorded = Needs { shifted: false, recorded: true };
        for (overlay, fuse, needs, chosen) in [
            (true, true, Needs::default(), StorageDriver::Overlay),
            (false, true, Needs::default(), StorageDriver::Fuse),
            (true, false, Needs::default(), StorageDriver::Overlay),
            (true, true, shifted, StorageDriver::Hybrid),
            (false, true, shifted, StorageDriver::Fuse),
            (true, false, shifted, StorageDriver::Overlay),
            (true, true, recorded, StorageDriver::Fuse),
            (true, false, recorded, StorageDriver::Overlay),
        ] {
            let name = format!("{overlay} {fuse} {needs:?}");
            assert_eq!(found(overlay, fuse).choose(None, needs), Ok(chosen), "{name}");
        }
        let none = found(false, false).choose(None, Needs::default()).expect_err("no driver");
        assert_eq!(none.to_string(), "no storage driver works here: the kernel's overlay: no overlay; fuse: no fuse");
    }

    #[test]
    fn what_is_asked_for_or_why_not() {
        let forced = |driver, needs| found(true, false).choose(Some(driver), needs).map_err(|unfit| unfit.to_string());
        assert_eq!(forced(StorageDriver::Overlay, Needs::default()), Ok(StorageDriver::Overlay));
        for driver in [StorageDriver::Fuse, StorageDriver::Hybrid] {
            let sentence = format!("the storage driver {driver} does not work here: no fuse");
            assert_eq!(forced(driver, Needs::default()), Err(sentence));
        }
        let refused =
            forced(StorageDriver::Overlay, Needs { shifted: true, recorded: false }).expect_err("wrong owners");
        assert!(refused.contains("not those of the image"), "{refused}");
        let recorded = Needs { shifted: false, recorded: true };
        for driver in [StorageDriver::Overlay, StorageDriver::Hybrid] {
            let unfit = found(true, true).choose(Some(driver), recorded).expect_err("owners are lost");
            assert!(unfit.to_string().contains("owners of files are recorded"), "{unfit}");
        }
        assert_eq!(found(true, true).choose(Some(StorageDriver::Fuse), recorded), Ok(StorageDriver::Fuse));
    }
}
