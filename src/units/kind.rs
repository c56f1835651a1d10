//! The kinds of files, by the end of their names.

/// What a file describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `.image`: an image that is pulled.
    Image,
    /// `.build`: an image that is built.
    Build,
    /// `.volume`.
    Volume,
    /// `.network`.
    Network,
    /// `.container`.
    Container,
}

impl Kind {
    /// All of them; whatever others may refer to comes first.
    pub const ALL: [Self; 5] = [Self::Image, Self::Build, Self::Volume, Self::Network, Self::Container];

    /// The kind of the file `name`, and its name without the extension.
    #[must_use]
    pub fn split(name: &str) -> Option<(&str, Self)> {
        let (stem, extension) = name.rsplit_once('.')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        (!stem.is_empty() && stem != "@").then_some((stem, kind))
    }

    /// The end of the name, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Build => "build",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Container => "container",
        }
    }

    /// The section that is ours.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Build => "Build",
            Self::Volume => "Volume",
            Self::Network => "Network",
            Self::Container => "Container",
        }
    }

    /// The service that `stem` becomes, without `.service`: a container's has its own name.
    pub(super) fn service(self, stem: &str) -> String {
        match self {
            Self::Container => stem.to_owned(),
            // The instance stays the end of the name: web@.volume becomes web-volume@.service.
            _ => match stem.split_once('@') {
                Some((prefix, instance)) => format!("{prefix}-{}@{instance}", self.extension()),
                None => format!("{stem}-{}", self.extension()),
            },
        }
    }
}
