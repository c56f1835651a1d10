//! What the rooms below say, sorted into the kinds that front ends know.

use super::api::{Failure, FailureKind};
use crate::monitor::client::SpawnError;
use crate::monitor::protocol::WireError;
use crate::spec::{Kind, SpecError};
use crate::store::StoreError;
use crate::sys::seccomp::SeccompError;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NoSpace { .. } => FailureKind::NoSpace,
            StoreError::NameInUse { .. } | StoreError::ImageInUse { .. } | StoreError::TagInUse { .. } => {
                FailureKind::Conflict
            }
            StoreError::NoSuchImage(_) | StoreError::NoSuchContainer(_) => FailureKind::NotFound,
            StoreError::AmbiguousImage { .. } | StoreError::AmbiguousContainer { .. } => FailureKind::Invalid,
            StoreError::SeveralNames { .. } => FailureKind::Conflict,
            StoreError::DamagedBlob(_) | StoreError::DigestMismatch { .. } | StoreError::BadImage { .. } => {
                FailureKind::Corrupt
            }
            _ => FailureKind::Store,
        };
        Self::new(kind, &error).hint(error.hint())
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        let kind = match error.kind() {
            Kind::User => FailureKind::Invalid,
            Kind::Unsupported => FailureKind::Host,
        };
        Self::new(kind, &error).hint(error.hint())
    }
}

impl From<SeccompError> for Failure {
    fn from(error: SeccompError) -> Self {
        Self::new(FailureKind::Invalid, &error)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        let kind = if matches!(error, WireError::Unborn { .. }) { FailureKind::Host } else { FailureKind::Internal };
        let hint = matches!(error, WireError::Deaf).then(|| "end it all the same: pybox rm -f CONTAINER".to_owned());
        Self::new(kind, &error).hint(hint)
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        Self::new(FailureKind::Host, &error)
    }
}
