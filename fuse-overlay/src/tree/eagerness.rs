//! Whether listings carry the attributes of files along.
//!
//! A listing that brings attributes spares a lookup for each file that is
//! looked at next, and costs the kernel an inode for each that is not: `find`
//! wants names, `tar` wants files. The kernel asks for attributes with the
//! first page of every listing, so what is worth it is learnt from what follows.
//! Directories always carry theirs: whoever walks a tree goes into them.

/// So many lookups of listed files say that attributes are wanted.
const WANTED_AFTER: u32 = 64;
/// So many files listed and not touched say that they are not.
const UNWANTED_AFTER: u32 = 4096;

/// What has been learnt.
#[derive(Debug, Default)]
pub(super) struct Eagerness {
    eager: bool,
    count: u32,
}

impl Eagerness {
    /// Whether files are to be listed with attributes.
    pub(super) fn is_eager(&self) -> bool {
        self.eager
    }

    /// A file was listed with its attributes.
    pub(super) fn listed(&mut self) {
        self.count += 1;
        if self.count >= UNWANTED_AFTER {
            *self = Self::default();
        }
    }

    /// A file was looked up that a listing could have brought.
    pub(super) fn missed(&mut self) {
        if self.eager {
            self.count = 0;
            return;
        }
        self.count += 1;
        if self.count >= WANTED_AFTER {
            *self = Self { eager: true, count: 0 };
        }
    }

    /// A file was used.
    pub(super) fn used(&mut self) {
        if self.eager {
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_from_what_follows_a_listing() {
        let mut learnt = Eagerness::default();
        (1..WANTED_AFTER).for_each(|_| learnt.missed());
        assert!(!learnt.is_eager());
        learnt.missed();
        assert!(learnt.is_eager());
        (1..UNWANTED_AFTER).for_each(|_| learnt.listed());
        learnt.used();
        (1..UNWANTED_AFTER).for_each(|_| learnt.listed());
        assert!(learnt.is_eager());
        learnt.listed();
        assert!(!learnt.is_eager());
    }
}
