//! Values that no log, error or debug line may show.

use std::fmt;

/// A password, a token or a header made of one: prints as `[secret]`, and is
/// read only where the code says [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, to be put on the wire and nowhere else.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing() {
        let secret = Some(Secret::new("hunter2".to_owned()));
        assert_eq!(format!("{secret:?}"), "Some([secret])");
        assert!(!format!("{secret:#?}").contains("hunter2"));
    }
}
