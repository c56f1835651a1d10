//! In what the file systems that are put to the same operations differ.

/// In what the file systems under test differ.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What the kernel's overlay does: no directory of a layer is moved.
    pub overlay: bool,
    /// Whether there is anybody else to give a file to.
    pub has_ids: bool,
    /// Whether the root of each layer has an extended attribute. Without any in all layers a file that was not
    /// copied up says "not supported" on some systems where the model says "no data".
    pub marked: bool,
}

impl Rules {
    /// What the root of each layer has, where [`Rules::marked`]: name and value.
    pub(crate) fn mark(self) -> Option<(&'static str, &'static str)> {
        self.marked.then_some(("user.marked", "x"))
    }
}
