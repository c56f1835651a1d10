//! A container's request, told again.

use crate::engine::Engine;
use crate::engine::api::{DescribeContainer, Described, Failure};
use crate::store::Access;

impl Engine {
    /// What was asked for when the container was made.
    ///
    /// # Errors
    /// If there is no such container.
    pub(in crate::engine) fn describe_container(&self, describe: &DescribeContainer) -> Result<Described, Failure> {
        let store = self.store(Access::Read)?;
        let container = self.find_container(&store, &describe.name)?;
        Ok(Described { name: container.name, request: container.request })
    }
}
