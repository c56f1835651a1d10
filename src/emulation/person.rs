//! Who a process takes itself for: the rules of credentials(7), without a kernel that enforces them. Pure.

use rustix::io::Errno;

/// Real, effective and saved id, and the one that files are asked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Whose process it is.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// What it may go back to.
    pub saved: u32,
    /// Whose files it makes.
    pub files: u32,
}

/// The credentials of a thread, as it believes them to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Its user.
    pub user: Ids,
    /// Its group.
    pub group: Ids,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// As many groups as the kernel knows (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

impl Ids {
    /// All four the same.
    pub fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, files: id }
    }

    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2).
    fn set(&mut self, id: u32, privileged: bool) -> Result<(), Errno> {
        if id == u32::MAX {
            return Err(Errno::INVAL);
        }
        if privileged {
            *self = Self::all(id);
        } else if id == self.real || id == self.saved {
            (self.effective, self.files) = (id, id);
        } else {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    /// setresuid(2); the highest number leaves an id as it is.
    fn set_three(&mut self, [real, effective, saved]: [u32; 3], privileged: bool) -> Result<(), Errno> {
        let allowed = |id| id == u32::MAX || privileged || self.has(id);
        if ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::PERM);
        }
        let or = |id, kept| if id == u32::MAX { kept } else { id };
        let effective = or(effective, self.effective);
        *self = Self { real: or(real, self.real), effective, saved: or(saved, self.saved), files: effective };
        Ok(())
    }

    /// setreuid(2).
    fn set_two(&mut self, real: u32, effective: u32, privileged: bool) -> Result<(), Errno> {
        let real_allowed = real == u32::MAX || privileged || real == self.real || real == self.effective;
        if !real_allowed || !(effective == u32::MAX || privileged || self.has(effective)) {
            return Err(Errno::PERM);
        }
        let before = self.real;
        let or = |id, kept| if id == u32::MAX { kept } else { id };
        (self.real, self.effective) = (or(real, self.real), or(effective, self.effective));
        if real != u32::MAX || (effective != u32::MAX && effective != before) {
            self.saved = self.effective;
        }
        self.files = self.effective;
        Ok(())
    }

    /// setfsuid(2): the one before, whether it has changed or not.
    fn set_files(&mut self, id: u32, privileged: bool) -> u32 {
        let before = self.files;
        if id != u32::MAX && (privileged || self.has(id) || id == before) {
            self.files = id;
        }
        before
    }
}

/// Which of the two kinds of ids a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Users.
    User,
    /// Groups.
    Group,
}

impl Person {
    /// Somebody with these ids.
    pub fn of(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        Self { user: Ids::all(uid), group: Ids::all(gid), groups }
    }

    /// Whether it may become anybody.
    pub fn is_root(&self) -> bool {
        self.user.effective == 0
    }

    fn ids(&mut self, kind: Kind) -> &mut Ids {
        match kind {
            Kind::User => &mut self.user,
            Kind::Group => &mut self.group,
        }
    }

    /// setuid(2) and setgid(2).
    ///
    /// # Errors
    /// EPERM and EINVAL, as there.
    pub fn set(&mut self, kind: Kind, id: u32) -> Result<(), Errno> {
        let root = self.is_root();
        self.ids(kind).set(id, root)
    }

    /// setreuid(2) and setregid(2).
    ///
    /// # Errors
    /// EPERM.
    pub fn set_two(&mut self, kind: Kind, real: u32, effective: u32) -> Result<(), Errno> {
        let root = self.is_root();
        self.ids(kind).set_two(real, effective, root)
    }

    /// setresuid(2) and setresgid(2).
    ///
    /// # Errors
    /// EPERM.
    pub fn set_three(&mut self, kind: Kind, ids: [u32; 3]) -> Result<(), Errno> {
        let root = self.is_root();
        self.ids(kind).set_three(ids, root)
    }

    /// setfsuid(2) and setfsgid(2): the id before.
    pub fn set_files(&mut self, kind: Kind, id: u32) -> u32 {
        let root = self.is_root();
        self.ids(kind).set_files(id, root)
    }

    /// setgroups(2).
    ///
    /// # Errors
    /// EPERM, and EINVAL for more than there can be.
    pub fn set_groups(&mut self, groups: Vec<u32>) -> Result<(), Errno> {
        if !self.is_root() {
            return Err(Errno::PERM);
        }
        if groups.len() > MOST_GROUPS {
            return Err(Errno::INVAL);
        }
        self.groups = groups;
        Ok(())
    }

    /// Whether it may give a file of `owner` and `group` to `uid` and `gid`; the highest number leaves one as it is.
    pub fn may_give(&self, (owner, group): (u32, u32), uid: u32, gid: u32) -> bool {
        if self.user.files == 0 {
            return true;
        }
        let own = owner == self.user.files;
        let known = gid == group || gid == self.group.files || self.groups.contains(&gid);
        (uid == u32::MAX || (own && uid == owner)) && (gid == u32::MAX || (own && known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: u32 = u32::MAX;

    #[test]
    fn who_leaves_root_for_good_cannot_come_back() {
        let mut person = Person::default();
        person.set(Kind::Group, 33).expect("root may");
        person.set(Kind::User, 33).expect("root may");
        assert_eq!(person.user, Ids::all(33));
        assert_eq!(person.set(Kind::User, 0), Err(Errno::PERM));
        assert_eq!(person.set(Kind::Group, 0), Err(Errno::PERM));
        assert_eq!(person.set_groups(vec![0]), Err(Errno::PERM));
        assert_eq!(person.set_three(Kind::User, [33, 33, 33]), Ok(()));
    }

    #[test]
    fn who_keeps_a_saved_id_can() {
        let mut person = Person::default();
        person.set_three(Kind::User, [SAME, 33, SAME]).expect("root may");
        assert_eq!(person.user, Ids { real: 0, effective: 33, saved: 0, files: 33 });
        assert!(!person.is_root());
        assert_eq!(person.set_three(Kind::User, [SAME, 44, SAME]), Err(Errno::PERM));
        assert_eq!(person.set(Kind::User, 0), Ok(()));
        // Not root at that moment: only the effective id has changed.
        assert_eq!(person.user, Ids::all(0));
    }

    #[test]
    fn two_ids_set_the_third() {
        let mut person = Person::default();
        person.set_two(Kind::User, SAME, 33).expect("root may");
        assert_eq!(person.user, Ids { real: 0, effective: 33, saved: 33, files: 33 });
        person.set_two(Kind::User, 33, 0).expect("they trade places");
        assert_eq!(person.user, Ids { real: 33, effective: 0, saved: 0, files: 0 });
        let mut person = Person::of(5, 5, vec![]);
        assert_eq!(person.set_two(Kind::User, 6, SAME), Err(Errno::PERM));
        assert_eq!(person.set_two(Kind::User, SAME, SAME), Ok(()));
    }

    #[test]
    fn the_id_for_files_tells_what_it_was() {
        let mut person = Person::default();
        assert_eq!(person.set_files(Kind::User, 33), 0);
        assert_eq!(person.set_files(Kind::User, SAME), 33);
        assert_eq!(person.set_files(Kind::User, 0), 33);
        let mut person = Person::of(5, 5, vec![]);
        assert_eq!((person.set_files(Kind::User, 0), person.user.files), (5, 5));
    }

    #[test]
    fn files_are_given_away_by_root_alone() {
        let ann = Person::of(5, 5, vec![7]);
        for (owner, uid, gid, allowed) in [
            (5, SAME, 7, true),
            (5, 5, 5, true),
            (5, SAME, SAME, true),
            (5, SAME, 8, false),
            (5, 6, SAME, false),
            (6, SAME, 7, false),
            // What changes nothing takes no right, and a group that the file has already none to that.
            (6, SAME, SAME, true),
            (5, 5, 9, true),
            (6, SAME, 9, false),
        ] {
            assert_eq!(ann.may_give((owner, 9), uid, gid), allowed, "{owner} {uid} {gid}");
        }
        assert!(Person::default().may_give((6, 6), 7, 8));
    }
}
