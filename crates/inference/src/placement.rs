//! Where and how a model runs, for who wants to know. Plain data.

use super::device::DeviceInfo;

/// Where and how a model runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The device.
    pub device: DeviceInfo,
    /// What its tensors hold, as `--precision` says it.
    pub precision: String,
    /// `fused` or `stock`.
    pub kernels: String,
}
